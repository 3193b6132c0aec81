/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retry: how long to wait before the next attempt, and when to stop trying. Pure: the dice are thrown by
 * the caller.
 *
 *     delay(n) = min(initial * multiplier^(n-1), max), spread evenly over [1 - jitter, 1 + jitter], at most max
 */
#ifndef OW_CORE_RETRY_H
#define OW_CORE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct ow_retry_policy {
    int64_t initial_ms, max_ms;
    double multiplier;      /* at least 1 */
    double jitter;          /* 0 .. 1 */
    uint32_t attempts_max;  /* 0: no end */
    int64_t elapsed_max_ms; /* from the first failure on, as far as time counts; 0: no end */
};
extern const struct ow_retry_policy ow_retry_policy_default; /* 100 ms, 30 s, x2, 0.2, no end, 30 s */

/* Before attempt `failures` + 1, after `failures` (at least 1) failed ones. dice in [0, 1). */
int64_t ow_retry_delay_ms(const struct ow_retry_policy *policy, uint32_t failures, double dice);

/* Whether a policy that names `pattern` means failures of `class`. They are the same text, or the pattern ends in an x
   for each digit or capital that does not matter, behind one that does: "http 4xx" is http 400 to 499, "23xxx" all of
   SQLSTATE class 23. */
bool ow_retry_class_is(const char *pattern, const char *class);

/* What becomes of a message after a failed attempt: the dead-letter decision. */
enum ow_retry_decision {
    OW_RETRY_AGAIN, /* after ow_retry_delay_ms() */
    OW_RETRY_ASIDE, /* it becomes a dead letter */
};
/* A permanent error goes aside at once, a retryable one when its attempts or its time are used up; an error that is a
   bug of ours is never a reason to take a message out of its order, so it is tried again. */
enum ow_retry_decision ow_retry_decide(const struct ow_retry_policy *policy, uint32_t failures, int64_t elapsed_ms,
                                       enum ow_error_class class);

#endif
