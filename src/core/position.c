/* SPDX-License-Identifier: Apache-2.0 */
#include "core/position.h"

#include <inttypes.h>
#include <stdio.h>

char *ow_position_format(struct ow_position position, char to[OW_POSITION_TEXT_SIZE])
{
    if (position.minor)
        (void)snprintf(to, OW_POSITION_TEXT_SIZE, "%" PRIu64 "/%" PRIu64, position.major, position.minor);
    else
        (void)snprintf(to, OW_POSITION_TEXT_SIZE, "%" PRIu64, position.major);
    return to;
}

static bool parse_number(const char **s, const char *end, uint64_t *ret)
{
    const char *start = *s;
    uint64_t number = 0;
    for (; *s < end && **s >= '0' && **s <= '9'; (*s)++)
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(**s - '0'), &number))
            return false;
    *ret = number;
    return *s == start + 1 || (*s > start && *start != '0');
}

int ow_position_parse(struct ow_bytes text, struct ow_position *ret, struct ow_error *err)
{
    const char *s = text.data ? text.data : "", *end = s + text.size;
    struct ow_position position = {0};
    bool is_good = text.size > 0 && parse_number(&s, end, &position.major);
    if (is_good && s < end)
        is_good = *s++ == '/' && parse_number(&s, end, &position.minor) && position.minor > 0 && s == end;
    if (!is_good)
        return ow_error_set(err, OW_EINVALID, "\"%.*s\" is not a position", OW_PRINT(text));
    *ret = position;
    return 0;
}
