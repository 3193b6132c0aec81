/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern/world.h"

#include "base/units.h"

static int64_t real_now_ms(void *context)
{
    (void)context;
    return ow_clock_monotonic_ms();
}

static double real_dice(void *context)
{
    (void)context;
    return ow_dice_roll();
}

static int64_t real_wall_ms(void *context)
{
    (void)context;
    return ow_clock_wall_ms();
}

const struct ow_world ow_world_real = {real_now_ms, real_dice, NULL, real_wall_ms};
