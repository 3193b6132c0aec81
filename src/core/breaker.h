/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breaker: stops asking a target that fails, and tries it again carefully. Pure: the caller brings the clock.
 *
 *     CLOSED --failures in a row, or their share of the last calls--> OPEN --after open_ms--> HALF_OPEN
 *        ^                                                             ^                        |
 *        +------------ `probes` calls in a row succeed ----------------+--- one of them fails --+
 *
 * open_ms doubles each time it opens again, up to open_ms_max. Only failures of the target count (it is away, times
 * out, is overloaded), never those of a message.
 */
#ifndef OW_CORE_BREAKER_H
#define OW_CORE_BREAKER_H

#include "base/bytes.h"

struct ow_breaker_policy {
    uint32_t failures; /* in a row; 0: there is no breaker */
    double rate;       /* of the last `window` calls, once there were so many; 0: does not count */
    uint32_t window;   /* 1 .. OW_BREAKER_WINDOW_MAX */
    uint32_t probes;   /* calls that are let through half open, and must succeed */
    int64_t open_ms, open_ms_max;
};
extern const struct ow_breaker_policy
    ow_breaker_policy_default; /* 5 in a row; half of the last 20; 1 probe; 5 s .. 5 min */

enum { OW_BREAKER_WINDOW_MAX = 64 };
enum ow_breaker_state { OW_BREAKER_CLOSED, OW_BREAKER_OPEN, OW_BREAKER_HALF_OPEN };

struct ow_breaker {
    struct ow_breaker_policy policy;
    enum ow_breaker_state state;
    uint32_t in_a_row, opened; /* failures; times that it opened since it was closed */
    uint32_t probes_begun, probes_done;
    uint64_t recent; /* bits of the last calls, 1: failed; the newest is the lowest */
    uint32_t recent_count;
    int64_t until_ms; /* OPEN: wall clock, so that it survives a restart */
};

void ow_breaker_init(struct ow_breaker *breaker, const struct ow_breaker_policy *policy);
/* Whether a call may begin now; half open it counts as begun. */
bool ow_breaker_admits(struct ow_breaker *breaker, int64_t wall_ms);
/* When to ask again; INT64_MAX: ask at once, or an outcome decides. */
int64_t ow_breaker_due_ms(const struct ow_breaker *breaker);
/* What became of a call that was admitted. True: the state has changed. A call without an outcome (given up) is
   ow_breaker_gave_up(). */
bool ow_breaker_outcome(struct ow_breaker *breaker, bool has_failed, int64_t wall_ms);
void ow_breaker_gave_up(struct ow_breaker *breaker);
/* The text that is kept over a restart, and back: OW_EINVALID: it is none; the breaker is as new then. */
void ow_breaker_format(const struct ow_breaker *breaker, char to[96]);
int ow_breaker_parse(struct ow_breaker *breaker, struct ow_bytes text, struct ow_error *err) OW_MUST_CHECK;

#endif
