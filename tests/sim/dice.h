/* SPDX-License-Identifier: Apache-2.0 */
/* The dice of the simulator: splitmix64. The same seed gives the same throws on every machine. */
#ifndef OW_SIM_DICE_H
#define OW_SIM_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct sim_dice {
    uint64_t state;
};

static inline uint64_t sim_throw(struct sim_dice *dice)
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 .. sides - 1 */
static inline uint32_t sim_roll(struct sim_dice *dice, uint32_t sides)
{
    return (uint32_t)(((sim_throw(dice) >> 32) * sides) >> 32);
}

static inline uint32_t sim_between(struct sim_dice *dice, uint32_t low, uint32_t high)
{
    return low + sim_roll(dice, high - low + 1);
}

static inline bool sim_chance(struct sim_dice *dice, uint32_t per_mille)
{
    return per_mille > 0 && sim_roll(dice, 1000) < per_mille;
}

static inline double sim_fraction(struct sim_dice *dice)
{
    return (double)(sim_throw(dice) >> 11) * 0x1p-53;
}

#endif
