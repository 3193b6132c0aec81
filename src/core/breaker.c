/* SPDX-License-Identifier: Apache-2.0 */
#include "core/breaker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"

const struct ow_breaker_policy ow_breaker_policy_default = {
    .failures = 5, .rate = 0.5, .window = 20, .probes = 1, .open_ms = 5000, .open_ms_max = 300000};

void ow_breaker_init(struct ow_breaker *b, const struct ow_breaker_policy *policy)
{
    *b = (struct ow_breaker){.policy = *policy};
    if (b->policy.window == 0 || b->policy.window > OW_BREAKER_WINDOW_MAX)
        b->policy.window = OW_BREAKER_WINDOW_MAX;
    if (b->policy.probes == 0)
        b->policy.probes = 1;
}

static bool is_on(const struct ow_breaker *b)
{
    return b->policy.failures > 0 || b->policy.rate > 0;
}

static void open_it(struct ow_breaker *b, int64_t wall_ms)
{
    int64_t ms = b->policy.open_ms;
    for (uint32_t i = 0; i < b->opened && ms < b->policy.open_ms_max; i++)
        ms *= 2;
    if (ms > b->policy.open_ms_max)
        ms = b->policy.open_ms_max;
    b->opened++;
    b->state = OW_BREAKER_OPEN;
    b->until_ms = wall_ms + ms;
    b->probes_begun = b->probes_done = 0;
}

static void close_it(struct ow_breaker *b)
{
    struct ow_breaker_policy policy = b->policy;
    *b = (struct ow_breaker){.policy = policy};
}

bool ow_breaker_admits(struct ow_breaker *b, int64_t wall_ms)
{
    if (b->state == OW_BREAKER_OPEN && wall_ms >= b->until_ms)
        b->state = OW_BREAKER_HALF_OPEN;
    if (b->state == OW_BREAKER_CLOSED)
        return true;
    if (b->state == OW_BREAKER_OPEN || b->probes_begun >= b->policy.probes)
        return false;
    b->probes_begun++;
    return true;
}

int64_t ow_breaker_due_ms(const struct ow_breaker *b)
{
    return b->state == OW_BREAKER_OPEN ? b->until_ms : INT64_MAX;
}

static bool is_too_bad(const struct ow_breaker *b)
{
    if (b->policy.failures > 0 && b->in_a_row >= b->policy.failures)
        return true;
    if (b->policy.rate <= 0 || b->recent_count < b->policy.window)
        return false;
    uint64_t mask = b->policy.window == 64 ? UINT64_MAX : ((uint64_t)1 << b->policy.window) - 1;
    return (double)__builtin_popcountll(b->recent & mask) >= b->policy.rate * (double)b->policy.window;
}

bool ow_breaker_outcome(struct ow_breaker *b, bool has_failed, int64_t wall_ms)
{
    if (!is_on(b) || b->state == OW_BREAKER_OPEN) /* an outcome of a call from before it opened */
        return false;
    if (b->state == OW_BREAKER_HALF_OPEN) {
        if (b->probes_begun == 0)
            return false;
        if (has_failed)
            open_it(b, wall_ms);
        else if (++b->probes_done >= b->policy.probes)
            close_it(b);
        return b->state != OW_BREAKER_HALF_OPEN;
    }
    b->in_a_row = has_failed ? b->in_a_row + 1 : 0;
    b->recent = b->recent << 1 | has_failed;
    if (b->recent_count < OW_BREAKER_WINDOW_MAX)
        b->recent_count++;
    if (!has_failed || !is_too_bad(b))
        return false;
    open_it(b, wall_ms);
    return true;
}

void ow_breaker_gave_up(struct ow_breaker *b)
{
    if (b->state == OW_BREAKER_HALF_OPEN && b->probes_begun > b->probes_done)
        b->probes_begun--;
}

void ow_breaker_format(const struct ow_breaker *b, char to[96])
{
    /* Half open is open and due: whoever reads it begins its own probes. */
    (void)snprintf(to, 96, "%s opened=%" PRIu32 " until=%" PRId64, b->state == OW_BREAKER_CLOSED ? "closed" : "open",
                   b->opened, b->until_ms);
}

static bool skip(struct ow_bytes *text, const char *word)
{
    size_t size = strlen(word);
    if (text->size < size || memcmp(text->data, word, size) != 0)
        return false;
    *text = (struct ow_bytes){text->data + size, text->size - size};
    return true;
}

static bool take_number(struct ow_bytes *text, int64_t high, int64_t *ret)
{
    size_t size = 0;
    while (size < text->size && text->data[size] >= '0' && text->data[size] <= '9')
        size++;
    if (ow_integer_parse((struct ow_bytes){text->data, size}, 0, high, ret, NULL) < 0)
        return false;
    *text = (struct ow_bytes){text->data + size, text->size - size};
    return true;
}

int ow_breaker_parse(struct ow_breaker *b, struct ow_bytes text, struct ow_error *err)
{
    struct ow_bytes rest = text;
    int64_t opened, until;
    close_it(b);
    bool is_open = skip(&rest, "open ");
    if ((!is_open && !skip(&rest, "closed ")) || !skip(&rest, "opened=") || !take_number(&rest, UINT32_MAX, &opened) ||
        !skip(&rest, " until=") || !take_number(&rest, INT64_MAX - 1, &until) || rest.size > 0)
        return ow_error_set(err, OW_EINVALID, "not the state of a breaker");
    if (is_open && is_on(b)) {
        b->state = OW_BREAKER_OPEN;
        b->opened = (uint32_t)opened;
        b->until_ms = until;
    }
    return 0;
}
