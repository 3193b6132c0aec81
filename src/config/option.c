/* SPDX-License-Identifier: Apache-2.0 */
#include "config/option.h"

#include <stdlib.h>

#include "base/units.h"

#define NAME_SIZE_MAX 64

static bool is_text(enum ow_option_type type)
{
    return type == OW_OPTION_TEXT || type == OW_OPTION_WORDS || type == OW_OPTION_NAME || type == OW_OPTION_TEMPLATE ||
           type == OW_OPTION_STATEMENT || type == OW_OPTION_URL;
}

static int64_t high_of(const struct ow_option *option)
{
    if (option->high)
        return option->high;
    return option->type == OW_OPTION_DURATION ? OW_OPTION_DURATION_MAX_MS
           : option->type == OW_OPTION_SIZE   ? OW_OPTION_SIZE_MAX_BYTES
                                              : INT32_MAX;
}

static void store_integer(const struct ow_option *option, void *base, int64_t value)
{
    char *to = (char *)base + option->offset;
    if (option->width == sizeof(uint32_t)) {
        uint32_t narrow = (uint32_t)value;
        memcpy(to, &narrow, sizeof narrow);
    } else {
        memcpy(to, &value, sizeof value);
    }
}

/* gcc's analyzer loses track of a text that is kept at an offset it does not know, and calls it a leak.
   ow_option_done() frees it; valgrind and AddressSanitizer watch that in the tests. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
static int store_text(const struct ow_option *option, void *base, struct ow_bytes value, struct ow_error *err)
{
    char **place = (char **)(void *)((char *)base + option->offset);
    char *text = realloc(*place, value.size + 1);
    if (!text)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    if (value.size)
        memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    *place = text;
    return 0;
}
#ifndef __clang__
#pragma GCC diagnostic pop
#endif

bool ow_name_is_valid(struct ow_bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
              c == '-'))
            return false;
    }
    return name.size > 0 && name.size <= NAME_SIZE_MAX;
}

/* "2", "0.25": digits with at most one point between them; independent of the locale. */
static bool parse_number(struct ow_bytes text, double *ret)
{
    double number = 0, scale = 1;
    size_t digits = 0, point = SIZE_MAX;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '.' && point == SIZE_MAX && i > 0 && i + 1 < text.size) {
            point = i;
            continue;
        }
        if (c < '0' || c > '9' || ++digits > 15)
            return false;
        number = number * 10 + (c - '0');
        if (point != SIZE_MAX)
            scale *= 10;
    }
    *ret = number / scale;
    return digits > 0;
}

void ow_option_expected(const struct ow_option *option, struct ow_buf *to)
{
    char low[OW_UNIT_TEXT_SIZE], high[OW_UNIT_TEXT_SIZE];
    switch (option->type) {
    case OW_OPTION_TEXT:
        ow_buf_add_text(to, "a text");
        break;
    case OW_OPTION_WORDS:
        ow_buf_add_text(to, "a text or a list of texts");
        break;
    case OW_OPTION_NAME:
        ow_buf_printf(to, "a name of 1 to %d characters from A-Z a-z 0-9 _ . -", NAME_SIZE_MAX);
        break;
    case OW_OPTION_TEMPLATE:
        ow_buf_add_text(to, "a template such as events.${!aggregatetype}");
        break;
    case OW_OPTION_STATEMENT:
        ow_buf_add_text(to, "an SQL statement");
        break;
    case OW_OPTION_URL:
        ow_buf_add_text(to, "a URL");
        break;
    case OW_OPTION_INTEGER:
        ow_buf_printf(to, "a whole number from %lld to %lld", (long long)option->low, (long long)high_of(option));
        break;
    case OW_OPTION_NUMBER:
        ow_buf_printf(to, "a number from %lld to %lld", (long long)option->low, (long long)high_of(option));
        break;
    case OW_OPTION_DURATION:
        ow_buf_add_text(to, "a duration such as 250ms, 10s, 5m, 2h, 7d");
        if (option->low || option->high)
            ow_buf_printf(to, ", from %s to %s", ow_duration_format(option->low, low),
                          ow_duration_format(high_of(option), high));
        break;
    case OW_OPTION_SIZE:
        ow_buf_add_text(to, "a size such as 512B, 64KiB, 16MiB, 2GiB");
        if (option->low || option->high)
            ow_buf_printf(to, ", from %s to %s", ow_size_format(option->low, low),
                          ow_size_format(high_of(option), high));
        break;
    case OW_OPTION_CHOICE:
        for (size_t i = 0; option->choices[i]; i++)
            ow_buf_printf(to, "%s%s", i == 0 ? "" : option->choices[i + 1] ? ", " : " or ", option->choices[i]);
        break;
    case OW_OPTION_GROUP:
    case OW_OPTION_MAP:
        for (size_t i = 0; option->choices && option->choices[i]; i++)
            ow_buf_printf(to, "%s, or ", option->choices[i]);
        ow_buf_add_text(to, "a map");
        break;
    case OW_OPTION_LIST:
        ow_buf_add_text(to, "a list");
        break;
    case OW_OPTION_NODE:
    case OW_OPTION_LATER:
        break;
    }
}

static int refuse(const struct ow_option *option, struct ow_bytes shown, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf expected = {0};
    ow_option_expected(option, &expected);
    return ow_error_set(err, OW_EINVALID, "expected %s, found \"%.*s\"", ow_buf_bytes(&expected).data, OW_PRINT(shown));
}

int ow_option_set(const struct ow_option *option, void *base, struct ow_bytes value, struct ow_bytes shown,
                  struct ow_error *err)
{
    int64_t integer = -1;
    int r = 0;
    switch (option->type) {
    case OW_OPTION_NAME:
        if (!ow_name_is_valid(value))
            return refuse(option, shown, err);
        return store_text(option, base, value, err);
    case OW_OPTION_TEXT:
    case OW_OPTION_WORDS:
    case OW_OPTION_URL:
    case OW_OPTION_TEMPLATE:
    case OW_OPTION_STATEMENT:
        if (value.size == 0)
            return refuse(option, shown, err);
        return store_text(option, base, value, err);
    case OW_OPTION_NUMBER: {
        double number;
        if (!parse_number(value, &number) || number < (double)option->low || number > (double)high_of(option))
            return refuse(option, shown, err);
        memcpy((char *)base + option->offset, &number, sizeof number);
        return 0;
    }
    case OW_OPTION_CHOICE:
        for (int64_t i = 0; option->choices[i]; i++)
            if (ow_bytes_is(value, option->choices[i]))
                integer = i;
        if (integer < 0)
            return refuse(option, shown, err);
        store_integer(option, base, integer);
        return 0;
    case OW_OPTION_INTEGER:
        r = ow_integer_parse(value, option->low, high_of(option), &integer, NULL);
        break;
    case OW_OPTION_DURATION:
        r = ow_duration_parse(value, &integer, NULL);
        break;
    case OW_OPTION_SIZE:
        r = ow_size_parse(value, &integer, NULL);
        break;
    default:
        return ow_error_set(err, OW_EINTERNAL, "%s is no scalar", option->key);
    }
    if (r < 0 || integer < option->low || integer > high_of(option))
        return refuse(option, shown, err);
    store_integer(option, base, integer);
    return 0;
}

int ow_option_set_defaults(const struct ow_option *table, void *base, struct ow_error *err)
{
    for (const struct ow_option *option = table; option->key; option++) {
        int r = 0;
        struct ow_bytes fallback = ow_bytes_of(option->fallback);
        if (option->type == OW_OPTION_GROUP)
            r = ow_option_set_defaults(option->group, base, err);
        else if (option->fallback)
            r = ow_option_set(option, base, fallback, fallback, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void ow_option_done(const struct ow_option *table, void *base)
{
    for (const struct ow_option *option = table; option->key; option++) {
        if (option->type == OW_OPTION_GROUP)
            ow_option_done(option->group, base);
        if (!is_text(option->type))
            continue;
        char **place = (char **)(void *)((char *)base + option->offset);
        free(*place);
        *place = NULL;
    }
}

const struct ow_option *ow_option_find(const struct ow_option *table, struct ow_bytes key)
{
    for (const struct ow_option *option = table; option && option->key; option++)
        if (ow_bytes_is(key, option->key))
            return option;
    return NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Three rows of the usual table: this one, the one before, and the one before that for swaps. */
static size_t distance_of(struct ow_bytes a, struct ow_bytes b)
{
    size_t rows[3][NAME_SIZE_MAX + 1];
    for (size_t j = 0; j <= b.size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t *row = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            bool is_same = a.data[i - 1] == b.data[j - 1];
            row[j] = least(least(before[j] + 1, row[j - 1] + 1), before[j - 1] + (is_same ? 0 : 1));
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                row[j] = least(row[j], earlier[j - 2] + 1);
        }
    }
    return rows[a.size % 3][b.size];
}

void ow_nearest_offer(struct ow_nearest *nearest, const char *candidate)
{
    struct ow_bytes other = ow_bytes_of(candidate);
    if (nearest->word.size > NAME_SIZE_MAX || other.size > NAME_SIZE_MAX || nearest->word.size == 0)
        return;
    size_t longer = nearest->word.size > other.size ? nearest->word.size : other.size;
    size_t distance = distance_of(nearest->word, other);
    if (distance > (longer + 2) / 3 || distance == longer || (nearest->best && distance >= nearest->distance))
        return;
    nearest->best = candidate;
    nearest->distance = distance;
}
