/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCHEDULES = 200000 };

enum ow_mutant ow_mutant_planted = OW_MUTANT_NONE;

/* What the first schedule that failed has broken, and its number; NULL: none did. */
static const char *run(const struct sim_program *p, uint64_t seed, uint64_t schedules, bool traces, uint64_t *ret)
{
    const char *failure = NULL;
    for (*ret = 0; *ret < schedules && !(failure = p->run(seed + *ret, traces));)
        ++*ret;
    return failure;
}

static int report(const struct sim_program *p, uint64_t seed, uint64_t schedules, bool traces, const char *mutant)
{
    uint64_t done;
    const char *failure = run(p, seed, schedules, traces, &done);
    if (!failure)
        return 0;
    char options[600];
    p->describe(options, sizeof options);
    printf("seed %llu: %s\n  %s\n  again, with every event: %s --seed %llu --schedules 1 --trace%s%s\n",
           (unsigned long long)(seed + done), failure, options, p->name, (unsigned long long)(seed + done),
           mutant ? " --mutant " : "", mutant ? mutant : "");
    return 1;
}

/* A run in which a kind of fault never happened has shown nothing about it. */
static int missing_happenings(const struct sim_program *p)
{
    int missing = 0;
    for (size_t i = 0; i < p->happening_count; i++) {
        printf("%12llu  %s\n", (unsigned long long)p->happenings[i], p->happening_texts[i]);
        missing += p->happenings[i] == 0;
    }
    if (missing)
        printf("%d of these never happened\n", missing);
    return missing > 0;
}

static int all_mutants(const struct sim_program *p, uint64_t seed, uint64_t schedules)
{
    int survivors = 0;
    for (size_t m = 0; m < p->mutant_count; m++) {
        uint64_t found;
        ow_mutant_planted = p->mutants[m].planted;
        const char *failure = run(p, seed, schedules, false, &found);
        if (failure)
            printf("%-20s found after %llu schedules: %s\n", p->mutants[m].name, (unsigned long long)found + 1,
                   failure);
        else
            printf("%-20s SURVIVED %llu schedules: %s\n", p->mutants[m].name, (unsigned long long)schedules,
                   p->mutants[m].what);
        survivors += !failure;
    }
    return survivors > 0;
}

static int list_mutants(const struct sim_program *p)
{
    for (size_t m = 0; m < p->mutant_count; m++)
        printf("%-20s %s\n", p->mutants[m].name, p->mutants[m].what);
    return 0;
}

static int usage(const struct sim_program *p)
{
    fprintf(stderr, "usage: %s [--schedules N] [--seed S] [--mutant NAME] [--trace] [--all-mutants] [--list-mutants]\n",
            p->name);
    return 2;
}

int sim_main(const struct sim_program *p, int argc, char **argv)
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
            return list_mutants(p);
        default:
            return usage(p);
        }
    }
    schedules = schedules ? schedules : SCHEDULES;
    if (optind < argc)
        return usage(p);
    if (wants_all)
        return all_mutants(p, seed, schedules);
    for (size_t m = 0; mutant && m < p->mutant_count; m++)
        if (strcmp(p->mutants[m].name, mutant) == 0)
            ow_mutant_planted = p->mutants[m].planted;
    if (mutant && ow_mutant_planted == OW_MUTANT_NONE)
        return usage(p);
    int failed = report(p, seed, schedules, traces, mutant);
    if (!failed && !mutant && schedules >= 1000)
        failed = missing_happenings(p);
    if (!failed)
        printf("%llu schedules, %s\n", (unsigned long long)schedules, p->kept);
    return failed;
}
