/* SPDX-License-Identifier: Apache-2.0 */
/* sim: the relay in a fake world (runner.h has its options). */
#include "runner.h"
#include "world.h"

static const struct sim_mutant mutants[] = {
#define ROW(name, what) {OW_MUTANT_##name, #name, what},
    OW_MUTANTS(ROW)
#undef ROW
};

static struct sim_world world;

static const char *run(uint64_t seed, bool traces)
{
    sim_run(&world, seed, traces);
    return world.has_failed ? world.failure : NULL;
}

static void describe(char *to, size_t size)
{
    sim_describe(&world.options, to, size);
}

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "sim",
        .kept = "nothing lost",
        .run = run,
        .describe = describe,
        .mutants = mutants,
        .mutant_count = sizeof mutants / sizeof mutants[0],
        .happenings = sim_happenings,
        .happening_texts = sim_happening_texts,
        .happening_count = SIM_HAPPENING_COUNT,
    };
    return sim_main(&program, argc, argv);
}
