/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_time.h"

#include <stdio.h>

#define US_PER_SECOND ((int64_t)1000000)
#define US_PER_DAY    (86400 * US_PER_SECOND)

struct civil {
    int64_t year;
    int month, day;
};

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days of a date of the proleptic Gregorian calendar; the year is taken to begin in March, so that the leap day is
   its last one. */
static int64_t days_of(struct civil date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t era = floor_divide(year, 400), of_era = year - era * 400;
    int64_t of_year = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static struct civil civil_of(int64_t days)
{
    days += 719468;
    int64_t era = floor_divide(days, 146097), of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct civil date = {.day = (int)(of_year - (153 * month + 2) / 5 + 1),
                         .month = (int)(month + (month < 10 ? 3 : -9))};
    date.year = year_of_era + era * 400 + (date.month <= 2);
    return date;
}

struct reader {
    const char *s, *end;
};

/* A run of `min` to `max` digits. */
static bool read_number(struct reader *in, int min, int max, int64_t *ret)
{
    int64_t number = 0;
    int count = 0;
    while (in->s < in->end && count < max && *in->s >= '0' && *in->s <= '9') {
        number = number * 10 + (*in->s++ - '0');
        count++;
    }
    *ret = number;
    return count >= min;
}

static bool read_char(struct reader *in, char c)
{
    if (in->s == in->end || *in->s != c)
        return false;
    in->s++;
    return true;
}

static bool read_date(struct reader *in, struct civil *ret)
{
    int64_t month, day;
    if (!read_number(in, 4, 7, &ret->year) || !read_char(in, '-') || !read_number(in, 2, 2, &month) ||
        !read_char(in, '-') || !read_number(in, 2, 2, &day))
        return false;
    ret->month = (int)month;
    ret->day = (int)day;
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* The rest of a second, from the point on, in microseconds; nothing is 0. */
static bool read_fraction(struct reader *in, int64_t *ret)
{
    *ret = 0;
    if (!read_char(in, '.'))
        return true;
    const char *from = in->s;
    if (!read_number(in, 1, 6, ret))
        return false;
    for (ptrdiff_t i = in->s - from; i < 6; i++)
        *ret *= 10;
    return true;
}

static bool read_clock(struct reader *in, int hour_digits, int64_t *ret_us)
{
    int64_t hour, minute, second, fraction;
    if (!read_number(in, 1, hour_digits, &hour) || !read_char(in, ':') || !read_number(in, 2, 2, &minute) ||
        !read_char(in, ':') || !read_number(in, 2, 2, &second) || !read_fraction(in, &fraction))
        return false;
    *ret_us = (hour * 3600 + minute * 60 + second) * US_PER_SECOND + fraction;
    return true;
}

static bool read_offset(struct reader *in, int32_t *ret_s)
{
    *ret_s = 0;
    if (in->s == in->end || (*in->s != '+' && *in->s != '-'))
        return true;
    int sign = *in->s++ == '-' ? -1 : 1;
    int64_t parts[3] = {0};
    for (int i = 0; i < 3 && (i == 0 || read_char(in, ':')); i++)
        if (!read_number(in, 2, 2, &parts[i]))
            return false;
    *ret_s = (int32_t)(sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]));
    return true;
}

static bool read_end(struct reader *in, struct civil *date)
{
    if (in->end - in->s == 3 && memcmp(in->s, " BC", 3) == 0) {
        date->year = 1 - date->year;
        in->s += 3;
    }
    return in->s == in->end;
}

static struct reader reader_of(struct ow_bytes text)
{
    const char *s = text.data ? text.data : "";
    return (struct reader){s, s + text.size};
}

static int cannot(const char *what, struct ow_bytes text, struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "\"%.*s\" is no %s", OW_PRINT(text), what);
}

int ow_dbz_date_parse(struct ow_bytes text, int64_t *ret_days, struct ow_error *err)
{
    if (ow_bytes_is(text, "infinity") || ow_bytes_is(text, "-infinity")) {
        *ret_days = text.data[0] == '-' ? OW_DBZ_DATE_MINUS_INFINITY : OW_DBZ_DATE_INFINITY;
        return 0;
    }
    struct reader in = reader_of(text);
    struct civil date;
    if (!read_date(&in, &date) || !read_end(&in, &date))
        return cannot("date", text, err);
    *ret_days = days_of(date);
    return 0;
}

int ow_dbz_time_parse(struct ow_bytes text, int64_t *ret_us, int32_t *ret_offset_s, struct ow_error *err)
{
    struct reader in = reader_of(text);
    if (!read_clock(&in, 2, ret_us) || !read_offset(&in, ret_offset_s) || in.s != in.end)
        return cannot("time of day", text, err);
    return 0;
}

int ow_dbz_timestamp_parse(struct ow_bytes text, int64_t *ret_us, struct ow_error *err)
{
    if (ow_bytes_is(text, "infinity") || ow_bytes_is(text, "-infinity")) {
        *ret_us = text.data[0] == '-' ? OW_DBZ_TIMESTAMP_MINUS_INFINITY : OW_DBZ_TIMESTAMP_INFINITY;
        return 0;
    }
    struct reader in = reader_of(text);
    struct civil date;
    int64_t us = 0;
    int32_t offset_s = 0;
    bool is_good = read_date(&in, &date);
    if (is_good && read_char(&in, ' ') && in.s < in.end && *in.s != 'B')
        is_good = read_clock(&in, 2, &us) && read_offset(&in, &offset_s);
    else if (is_good && in.s > text.data && in.s[-1] == ' ')
        in.s--; /* a default may be a date alone */
    if (!is_good || !read_end(&in, &date) || date.year > 294277 || date.year < -4713)
        return cannot("timestamp", text, err);
    /* What the server can hold, up to the year 294276, fits. */
    *ret_us = days_of(date) * US_PER_DAY + us - offset_s * US_PER_SECOND;
    return 0;
}

static bool read_sign(struct reader *in)
{
    bool is_negative = in->s < in->end && *in->s == '-';
    if (in->s < in->end && (*in->s == '-' || *in->s == '+'))
        in->s++;
    return is_negative;
}

static bool read_unit(struct reader *in, int64_t number, struct ow_dbz_interval *ret)
{
    const char *from = in->s;
    while (in->s < in->end && *in->s != ' ')
        in->s++;
    struct ow_bytes unit = {from, (size_t)(in->s - from)};
    if (unit.size >= 4 && memcmp(from, "year", 4) == 0)
        ret->months += 12 * number;
    else if (unit.size >= 3 && memcmp(from, "mon", 3) == 0)
        ret->months += number;
    else if (unit.size >= 3 && memcmp(from, "day", 3) == 0)
        ret->days += number;
    else
        return false;
    return true;
}

int ow_dbz_interval_parse(struct ow_bytes text, struct ow_dbz_interval *ret, struct ow_error *err)
{
    struct reader in = reader_of(text);
    *ret = (struct ow_dbz_interval){0};
    while (in.s < in.end) {
        bool is_negative = read_sign(&in);
        struct reader clock = in;
        int64_t number;
        if (read_clock(&clock, 10, &number)) {
            ret->us += is_negative ? -number : number;
            in = clock;
        } else if (!read_number(&in, 1, 10, &number) || !read_char(&in, ' ') ||
                   !read_unit(&in, is_negative ? -number : number, ret)) {
            return cannot("interval", text, err);
        }
        if (in.s < in.end && !read_char(&in, ' '))
            return cannot("interval", text, err);
    }
    return 0;
}

/* Java rounds each product; a compiler may not put it together with the sum it is in. */
static double times(double a, double b)
{
    volatile double product = a * b;
    return product;
}

/* Debezium calculates with floating numbers, and 69359781.1 seconds are 69359781099999 microseconds so. */
int64_t ow_dbz_interval_us(const struct ow_dbz_interval *interval)
{
    int64_t whole = interval->us / US_PER_SECOND, whole_hours = whole / 3600, whole_minutes = whole / 60 % 60;
    double seconds = (double)(whole % 60) + (double)(interval->us % US_PER_SECOND) / 1e6;
    double days = times((double)interval->months, 30.4375) + (double)interval->days; /* 365.25 / 12 */
    double hours = times(days, 24) + (double)whole_hours;
    double minutes = times(hours, 60) + (double)whole_minutes;
    double us = times(times(minutes, 60) + seconds, 1e6);
    if (us >= 0x1p63 || us < -0x1p63)
        return us < 0 ? INT64_MIN : INT64_MAX;
    return (int64_t)us;
}

/* So many digits without the zeros at the end, after a point; nothing for 0. */
static void add_fraction(struct ow_buf *to, int digits, int64_t fraction)
{
    if (fraction == 0)
        return;
    ow_buf_printf(to, ".%0*lld", digits, (long long)fraction);
    while (to->size > 0 && to->data[to->size - 1] == '0')
        to->data[--to->size] = '\0';
}

/* The nanoseconds that nine digits say of a sum of floating numbers: one less where it is below the number meant. */
static int64_t nanoseconds_of(int64_t seconds, int64_t us)
{
    double sum = (double)seconds + (double)us / 1e6, meant = (double)(seconds * US_PER_SECOND + us) / 1e6;
    return us * 1000 - (sum < meant);
}

void ow_dbz_interval_text(struct ow_buf *to, const struct ow_dbz_interval *interval)
{
    int64_t seconds = interval->us / US_PER_SECOND, fraction = interval->us % US_PER_SECOND;
    ow_buf_printf(to, "P%lldY%lldM%lldDT%lldH%lldM", (long long)(interval->months / 12),
                  (long long)(interval->months % 12), (long long)interval->days, (long long)(seconds / 3600),
                  (long long)(seconds / 60 % 60));
    bool is_negative = interval->us < 0;
    int64_t rest = seconds % 60;
    ow_buf_printf(to, "%s%lld", is_negative && (rest != 0 || fraction != 0) ? "-" : "",
                  (long long)(rest < 0 ? -rest : rest));
    add_fraction(to, 9, nanoseconds_of(rest < 0 ? -rest : rest, fraction < 0 ? -fraction : fraction));
    ow_buf_add_char(to, 'S');
}

static void add_clock(struct ow_buf *to, int64_t us_of_day)
{
    int64_t second = us_of_day / US_PER_SECOND;
    ow_buf_printf(to, "%02lld:%02lld:%02lld", (long long)(second / 3600), (long long)(second / 60 % 60),
                  (long long)(second % 60));
}

void ow_dbz_timestamp_text(struct ow_buf *to, int64_t us, int digits)
{
    if (us == OW_DBZ_TIMESTAMP_INFINITY || us == OW_DBZ_TIMESTAMP_MINUS_INFINITY) {
        ow_buf_add_text(to, us < 0 ? "-infinity" : "infinity");
        return;
    }
    int64_t days = floor_divide(us, US_PER_DAY), of_day = us - days * US_PER_DAY, fraction = of_day % US_PER_SECOND;
    struct civil date = civil_of(days);
    int64_t year = date.year < 0 ? -date.year : date.year;
    ow_buf_printf(to, "%s%04lld-%02d-%02dT",
                  date.year < 0 ? "-"
                  : year > 9999 ? "+"
                                : "",
                  (long long)year, date.month, date.day);
    add_clock(to, of_day);
    char text[24];
    (void)snprintf(text, sizeof(text), ".%06lld", (long long)fraction);
    if (digits == 0)
        digits = fraction == 0 ? 0 : fraction % 1000 == 0 ? 3 : 6;
    if (digits > 0)
        ow_buf_add(to, text, (size_t)(digits > 6 ? 6 : digits) + 1);
    ow_buf_add_char(to, 'Z');
}

void ow_dbz_time_text(struct ow_buf *to, int64_t us, int32_t offset_s)
{
    int64_t utc = us - offset_s * US_PER_SECOND;
    utc -= floor_divide(utc, US_PER_DAY) * US_PER_DAY;
    add_clock(to, utc);
    add_fraction(to, 6, utc % US_PER_SECOND);
    ow_buf_add_char(to, 'Z');
}

void ow_dbz_java_date(struct ow_buf *to, int64_t ms)
{
    static const char weekdays[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t days = floor_divide(ms, 86400000), of_day = ms - days * 86400000;
    struct civil date = civil_of(days);
    ow_buf_printf(to, "%s %s %02d ", weekdays[days - floor_divide(days, 7) * 7], months[date.month - 1], date.day);
    add_clock(to, of_day * 1000);
    ow_buf_printf(to, " UTC %lld", (long long)date.year);
}
