/* SPDX-License-Identifier: Apache-2.0 */
/* sim_consumer: the consumer in a fake world (runner.h has its options). */
#include "consumer_world.h"
#include "runner.h"

static const struct sim_mutant mutants[] = {
#define ROW(name, what) {OW_MUTANT_##name, #name, what},
    OW_CONSUMER_MUTANTS(ROW)
#undef ROW
};

static struct csim_world world;

static const char *run(uint64_t seed, bool traces)
{
    csim_run(&world, seed, traces);
    return world.has_failed ? world.failure : NULL;
}

static void describe(char *to, size_t size)
{
    csim_describe(&world.options, to, size);
}

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "sim_consumer",
        .kept = "nothing lost, nothing twice",
        .run = run,
        .describe = describe,
        .mutants = mutants,
        .mutant_count = sizeof mutants / sizeof mutants[0],
        .happenings = csim_happenings,
        .happening_texts = csim_happening_texts,
        .happening_count = CSIM_HAPPENING_COUNT,
    };
    return sim_main(&program, argc, argv);
}
