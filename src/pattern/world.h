/* SPDX-License-Identifier: Apache-2.0 */
/* What a pattern asks of the world beside its contracts: time and dice. The simulator brings its own. */
#ifndef OW_PATTERN_WORLD_H
#define OW_PATTERN_WORLD_H

#include <stdint.h>

struct ow_world {
    int64_t (*now_ms)(void *context); /* monotonic */
    double (*dice)(void *context);    /* [0, 1) */
    void *context;
    int64_t (*wall_ms)(void *context); /* milliseconds since 1970 UTC; a relay does not ask */
};
extern const struct ow_world ow_world_real;

#endif
