/* SPDX-License-Identifier: Apache-2.0 */
#include "core/retry.h"

#include <string.h>

const struct ow_retry_policy ow_retry_policy_default = {
    .initial_ms = 100, .max_ms = 30000, .multiplier = 2, .jitter = 0.2, .attempts_max = 0, .elapsed_max_ms = 30000};

int64_t ow_retry_delay_ms(const struct ow_retry_policy *policy, uint32_t failures, double dice)
{
    double delay = (double)policy->initial_ms, cap = (double)policy->max_ms;
    for (uint32_t i = 1; i < failures && delay < cap && policy->multiplier > 1; i++)
        delay *= policy->multiplier;
    if (delay > cap)
        delay = cap;
    delay *= 1 + policy->jitter * (2 * dice - 1);
    if (delay > cap)
        delay = cap;
    return delay < 1 ? 1 : (int64_t)delay;
}

static bool is_of_code(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

bool ow_retry_class_is(const char *pattern, const char *class)
{
    size_t size = strlen(pattern), fixed = size;
    if (strlen(class) != size)
        return false;
    while (fixed > 0 && pattern[fixed - 1] == 'x')
        fixed--;
    if (fixed == 0 || !is_of_code(pattern[fixed - 1]))
        fixed = size;
    for (size_t i = fixed; i < size; i++)
        if (!is_of_code(class[i]))
            return false;
    return memcmp(pattern, class, fixed) == 0;
}

enum ow_retry_decision ow_retry_decide(const struct ow_retry_policy *policy, uint32_t failures, int64_t elapsed_ms,
                                       enum ow_error_class class)
{
    if (class == OW_CLASS_PERMANENT)
        return OW_RETRY_ASIDE;
    bool is_worn_out = (policy->attempts_max && failures >= policy->attempts_max) ||
                       (policy->elapsed_max_ms && elapsed_ms >= policy->elapsed_max_ms);
    return is_worn_out && class == OW_CLASS_RETRYABLE ? OW_RETRY_ASIDE : OW_RETRY_AGAIN;
}
