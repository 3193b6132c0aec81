/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_consumer: runs many schedules, each a function of its seed, and stops at the first that breaks a promise.
 *
 *   sim_consumer [--schedules N] [--seed S] [--mutant NAME] [--trace]   seeds S, S+1, … S+N-1
 *   sim_consumer --all-mutants [--schedules N]                          each planted fault must be found
 *   sim_consumer --list-mutants
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer_world.h"
#include "core/mutant.h"

enum ow_mutant ow_mutant_planted = OW_MUTANT_NONE;

enum { MUTANT_COUNT = OW_MUTANT_ALL - OW_MUTANT_COUNT }; /* and none */

static const struct {
    const char *name, *what;
} mutants[MUTANT_COUNT] = {{"NONE", "nothing is broken"},
#define ROW(name, what) {#name, what},
                           OW_CONSUMER_MUTANTS(ROW)
#undef ROW
};

static struct csim_world world;

/* The number of the schedule that failed, or `schedules`. */
static uint64_t run(uint64_t seed, uint64_t schedules, bool traces)
{
    for (uint64_t i = 0; i < schedules; i++) {
        csim_run(&world, seed + i, traces);
        if (world.has_failed)
            return i;
    }
    return schedules;
}

static int report(uint64_t seed, uint64_t schedules, bool traces, const char *mutant)
{
    uint64_t done = run(seed, schedules, traces);
    if (done == schedules)
        return 0;
    char options[600];
    csim_describe(&world.options, options, sizeof options);
    printf("seed %llu: %s\n  %s\n  again, with every event: sim_consumer --seed %llu --schedules 1 --trace%s%s\n",
           (unsigned long long)world.seed, world.failure, options, (unsigned long long)world.seed,
           mutant ? " --mutant " : "", mutant ? mutant : "");
    return 1;
}

/* A run in which a kind of fault never happened has shown nothing about it. */
static int missing_happenings(void)
{
    int missing = 0;
    for (int i = 0; i < CSIM_HAPPENING_COUNT; i++) {
        printf("%12llu  %s\n", (unsigned long long)csim_happenings[i], csim_happening_texts[i]);
        missing += csim_happenings[i] == 0;
    }
    if (missing)
        printf("%d of these never happened\n", missing);
    return missing > 0;
}

static int all_mutants(uint64_t seed, uint64_t schedules)
{
    int survivors = 0;
    for (int m = 1; m < MUTANT_COUNT; m++) {
        ow_mutant_planted = (enum ow_mutant)(OW_MUTANT_COUNT + m);
        uint64_t found = run(seed, schedules, false);
        if (found < schedules)
            printf("%-20s found after %llu schedules: %s\n", mutants[m].name, (unsigned long long)found + 1,
                   world.failure);
        else
            printf("%-20s SURVIVED %llu schedules: %s\n", mutants[m].name, (unsigned long long)schedules,
                   mutants[m].what);
        survivors += found == schedules;
    }
    return survivors > 0;
}

static int list_mutants(void)
{
    for (int m = 1; m < MUTANT_COUNT; m++)
        printf("%-20s %s\n", mutants[m].name, mutants[m].what);
    return 0;
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: sim_consumer [--schedules N] [--seed S] [--mutant NAME] [--trace] [--all-mutants] [--list-mutants]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"schedules", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {"mutant", required_argument, NULL, 'm'},
        {"trace", no_argument, NULL, 't'},
        {"all-mutants", no_argument, NULL, 'a'},
        {"list-mutants", no_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    uint64_t seed = 1, schedules = 0;
    bool traces = false, wants_all = false;
    const char *mutant = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            schedules = strtoull(optarg, NULL, 10);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            mutant = optarg;
            break;
        case 't':
            traces = true;
            break;
        case 'a':
            wants_all = true;
            break;
        case 'l':
            return list_mutants();
        default:
            return usage();
        }
    }
    if (optind < argc)
        return usage();
    if (wants_all)
        return all_mutants(seed, schedules ? schedules : 200000);
    for (int m = 1; mutant && m < MUTANT_COUNT; m++)
        if (strcmp(mutants[m].name, mutant) == 0)
            ow_mutant_planted = (enum ow_mutant)(OW_MUTANT_COUNT + m);
    if (mutant && ow_mutant_planted == OW_MUTANT_NONE)
        return usage();
    schedules = schedules ? schedules : 200000;
    int failed = report(seed, schedules, traces, mutant);
    if (!failed && !mutant && schedules >= 1000)
        failed = missing_happenings();
    if (!failed)
        printf("%llu schedules, nothing lost, nothing twice\n", (unsigned long long)schedules);
    return failed;
}
