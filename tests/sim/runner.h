/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulators have in common: many schedules, each a function of its seed, until the first that breaks a
 * promise.
 *
 *   PROGRAM [--schedules N] [--seed S] [--mutant NAME] [--trace]   seeds S, S+1, … S+N-1
 *   PROGRAM --all-mutants [--schedules N]                          each planted fault must be found
 *   PROGRAM --list-mutants
 */
#ifndef SIM_RUNNER_H
#define SIM_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mutant.h"

struct sim_mutant {
    enum ow_mutant planted;
    const char *name, *what;
};

struct sim_program {
    const char *name;
    const char *kept; /* what holds when all schedules have run */
    /* NULL, or what was broken; until the next call. */
    const char *(*run)(uint64_t seed, bool traces);
    /* The world of the last run. */
    void (*describe)(char *to, size_t size);
    const struct sim_mutant *mutants;
    size_t mutant_count;
    const uint64_t *happenings; /* over the whole run */
    const char *const *happening_texts;
    size_t happening_count;
};

/* The exit status. */
int sim_main(const struct sim_program *program, int argc, char **argv);

#endif
