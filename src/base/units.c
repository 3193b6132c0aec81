/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

static int64_t clock_ms(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t ow_clock_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

int64_t ow_clock_monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

double ow_dice_roll(void)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        bits = (uint64_t)ow_clock_monotonic_ms() * 0x9e3779b97f4a7c15u;
    return (double)(bits >> 11) * 0x1p-53;
}

char *ow_time_format(int64_t wall_ms, char to[OW_TIME_TEXT_SIZE])
{
    int64_t seconds = wall_ms / 1000, ms = wall_ms % 1000;
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    time_t t = (time_t)seconds;
    struct tm tm = {0};
    /* Years of four digits only: what lies outside is somebody's garbage and is shown as a number. */
    if (seconds < -62135596800 || seconds > 253402300799 || !gmtime_r(&t, &tm)) {
        (void)snprintf(to, OW_TIME_TEXT_SIZE, "%lld", (long long)wall_ms);
        return to;
    }
    (void)snprintf(to, OW_TIME_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000u,
                   (unsigned)(tm.tm_mon + 1) % 100u, (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u,
                   (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u, (unsigned)ms % 1000u);
    return to;
}

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};
static const struct unit sizes[] = {
    {"B", 1},     {"KiB", 1 << 10}, {"MiB", 1 << 20},   {"GiB", 1 << 30},      {"TiB", (int64_t)1 << 40},
    {"kB", 1000}, {"MB", 1000000},  {"GB", 1000000000}, {"TB", 1000000000000}, {0}};

/* A sum of numbers with units, e.g. "1h30m"; the whole text must be used up. */
static int parse_sum(struct ow_bytes text, const struct unit *units, const char *what, int64_t *ret,
                     struct ow_error *err)
{
    const char *s = text.data, *end = s + text.size;
    int64_t sum = 0;
    if (ow_bytes_is(text, "0")) {
        *ret = 0;
        return 0;
    }
    if (s == end)
        goto bad;
    while (s < end) {
        int64_t number = 0, product;
        const char *digits = s;
        for (; s < end && *s >= '0' && *s <= '9'; s++)
            if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *s - '0', &number))
                goto bad;
        const char *name = s;
        while (s < end && !(*s >= '0' && *s <= '9'))
            s++;
        const struct unit *unit = units;
        while (unit->name && !ow_bytes_is((struct ow_bytes){name, (size_t)(s - name)}, unit->name))
            unit++;
        if (digits == name || !unit->name || __builtin_mul_overflow(number, unit->factor, &product) ||
            __builtin_add_overflow(sum, product, &sum))
            goto bad;
    }
    *ret = sum;
    return 0;
bad:
    return ow_error_set(err, OW_EINVALID, "\"%.*s\" is not %s", OW_PRINT(text), what);
}

int ow_duration_parse(struct ow_bytes text, int64_t *ret_ms, struct ow_error *err)
{
    return parse_sum(text, durations, "a duration; write a number with a unit: 250ms, 10s, 5m, 2h, 7d", ret_ms, err);
}

int ow_size_parse(struct ow_bytes text, int64_t *ret_bytes, struct ow_error *err)
{
    return parse_sum(text, sizes, "a size; write a number with a unit: 512B, 64KiB, 16MiB, 2GiB", ret_bytes, err);
}

int ow_integer_parse(struct ow_bytes text, int64_t low, int64_t high, int64_t *ret, struct ow_error *err)
{
    const char *s = text.data, *end = s + text.size;
    int64_t number = 0;
    bool is_good = text.size > 0;
    for (; is_good && s < end; s++)
        is_good = *s >= '0' && *s <= '9' && !__builtin_mul_overflow(number, 10, &number) &&
                  !__builtin_add_overflow(number, *s - '0', &number);
    if (!is_good || number < low || number > high)
        return ow_error_set(err, OW_EINVALID, "\"%.*s\" is not a whole number from %lld to %lld", OW_PRINT(text),
                            (long long)low, (long long)high);
    *ret = number;
    return 0;
}

char *ow_duration_format(int64_t ms, char to[OW_UNIT_TEXT_SIZE])
{
    static const struct unit down[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t n = 0;
    to[0] = '\0';
    for (size_t i = 0, parts = 0; i < sizeof down / sizeof down[0] && parts < 2; i++) {
        int64_t count = ms / down[i].factor;
        if (count == 0)
            continue;
        n += (size_t)snprintf(to + n, OW_UNIT_TEXT_SIZE - n, "%lld%s", (long long)count, down[i].name);
        ms -= count * down[i].factor;
        parts++;
    }
    if (n == 0)
        (void)snprintf(to, OW_UNIT_TEXT_SIZE, "0s");
    return to;
}

char *ow_size_format(int64_t bytes, char to[OW_UNIT_TEXT_SIZE])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t i = 0;
    for (; value >= 1024 && i + 1 < sizeof names / sizeof names[0]; i++)
        value /= 1024;
    bool is_whole = value == (double)(int64_t)value;
    (void)snprintf(to, OW_UNIT_TEXT_SIZE, is_whole ? "%.0f%s" : "%.1f%s", value, names[i]);
    return to;
}
