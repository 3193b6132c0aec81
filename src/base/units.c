/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

static int64_t clock_us(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t ow_clock_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

int64_t ow_clock_monotonic_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t ow_clock_monotonic_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
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

/* `count` digits at *s as a number within [low, high], then the character `then` (0: none); -1 if not. */
static int read_digits(const char **s, const char *end, int count, int low, int high, char then)
{
    int number = 0;
    if (end - *s < count + (then != 0))
        return -1;
    for (int i = 0; i < count; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return -1;
        number = number * 10 + (**s - '0');
    }
    if (number < low || number > high || (then && (**s | 0x20) != (then | 0x20)))
        return -1;
    *s += then != 0;
    return number;
}

/* "Z" or "+02:00": minutes. */
static bool read_offset(const char *s, const char *end, int64_t *ret_minutes)
{
    *ret_minutes = 0;
    if (end - s == 1)
        return *s == 'Z' || *s == 'z';
    if (end - s != 6 || (*s != '+' && *s != '-'))
        return false;
    int sign = *s++ == '-' ? -1 : 1;
    int hours = read_digits(&s, end, 2, 0, 23, ':'), minutes = read_digits(&s, end, 2, 0, 59, 0);
    *ret_minutes = sign * (hours * 60 + minutes);
    return hours >= 0 && minutes >= 0;
}

/* Days from 1970 to a day of the Gregorian calendar, counted in years that begin in March. timegm() is ten times
   slower, and a source may read a time for every row. */
static int64_t days_to(int year, int month, int day)
{
    int years = year - (month < 3) + 400, months = month < 3 ? month + 9 : month - 3; /* year 0 may be the one before */
    int64_t days = (int64_t)years * 365 + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1;
    return days - 719468 - 146097;
}

static bool is_day(int year, int month, int day)
{
    static const char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= lengths[month - 1] + (month == 2 && is_leap);
}

static bool parse_time(const char *s, const char *end, int64_t *ret_ms)
{
    int year = read_digits(&s, end, 4, 0, 9999, '-'), month = read_digits(&s, end, 2, 1, 12, '-');
    int day = read_digits(&s, end, 2, 1, 31, 'T'), hour = read_digits(&s, end, 2, 0, 23, ':');
    int minute = read_digits(&s, end, 2, 0, 59, ':'), second = read_digits(&s, end, 2, 0, 60, 0);
    if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0 || !is_day(year, month, day))
        return false;
    int64_t seconds = days_to(year, month, day) * 86400 + hour * 3600 + minute * 60, ms = 0, offset;
    if (s < end && *s == '.') {
        const char *digits = ++s;
        for (int scale = 100; s < end && *s >= '0' && *s <= '9'; s++, scale /= 10)
            ms += (*s - '0') * scale;
        if (s == digits)
            return false;
    }
    if (!read_offset(s, end, &offset))
        return false;
    *ret_ms = (seconds + second - offset * 60) * 1000 + ms;
    return true;
}

/* Milliseconds as a bare number: how ow_time_format() writes what no four-digit year holds. */
static bool parse_milliseconds(const char *s, const char *end, int64_t *ret_ms)
{
    int64_t number = 0;
    bool is_negative = s < end && *s == '-';
    s += is_negative;
    if (s == end)
        return false;
    for (; s < end; s++) /* counts downwards: the lowest number has no positive twin */
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, *s - '0', &number))
            return false;
    if (!is_negative && number == INT64_MIN)
        return false;
    *ret_ms = is_negative ? number : -number;
    return true;
}

int ow_time_parse(struct ow_bytes text, int64_t *ret_wall_ms, struct ow_error *err)
{
    const char *end = text.data + text.size;
    if (text.size == 0 ||
        (!parse_time(text.data, end, ret_wall_ms) && !parse_milliseconds(text.data, end, ret_wall_ms)))
        return ow_error_set(err, OW_EINVALID, "\"%.*s\" is not a time; write 2026-11-21T12:40:00Z", OW_PRINT(text));
    return 0;
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
    const char *s = text.data ? text.data : "", *end = s + text.size;
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
    const char *s = text.data ? text.data : "", *end = s + text.size;
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
