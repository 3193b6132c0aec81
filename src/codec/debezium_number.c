/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SCALE_MAX 100000

/* digits "12345" and exponent 2 are 123.45; both of at least two digits, the second of which may be zero. */
static char *java_text(const char *digits, int exponent, bool is_negative, char *to)
{
    char *s = to;
    if (is_negative)
        *s++ = '-';
    int count = (int)strlen(digits);
    if (exponent >= -3 && exponent < 7) {
        if (exponent < 0)
            *s++ = '0';
        for (int i = 0; i <= exponent; i++)
            *s++ = i < count ? digits[i] : '0';
        *s++ = '.';
        for (int i = exponent + 1; i < 0; i++)
            *s++ = '0';
        int from = exponent < 0 ? 0 : exponent + 1;
        if (from >= count)
            *s++ = '0';
        for (int i = from; i < count; i++)
            *s++ = digits[i];
        *s = '\0';
        return to;
    }
    (void)snprintf(s, OW_JAVA_NUMBER_TEXT_SIZE - 1, "%c.%sE%d", digits[0], count > 1 ? digits + 1 : "0", exponent);
    return to;
}

static char *special_text(double number, char *to)
{
    const char *text = isnan(number)     ? "NaN"
                       : signbit(number) ? (isinf(number) ? "-Infinity" : "-0.0")
                       : isinf(number)   ? "Infinity"
                                         : "0.0";
    memcpy(to, text, strlen(text) + 1);
    return to;
}

static char *shortest(double number, bool is_float, char to[OW_JAVA_NUMBER_TEXT_SIZE])
{
    if (isnan(number) || isinf(number) || number == 0)
        return special_text(number, to);
    char text[40];
    /* Two digits at least: where one would do, Java takes the nearest of those with two. */
    for (int precision = 1; precision < 17; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, fabs(number));
        if (is_float ? (double)strtof(text, NULL) == fabs(number) : strtod(text, NULL) == fabs(number))
            break;
    }
    char digits[20] = "";
    size_t count = 0;
    const char *s = text;
    for (; *s && *s != 'e'; s++)
        if (*s != '.')
            digits[count++] = *s;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    digits[count] = '\0';
    return java_text(digits, (int)strtol(s + 1, NULL, 10), signbit(number) != 0, to);
}

char *ow_java_double(double number, char to[OW_JAVA_NUMBER_TEXT_SIZE])
{
    return shortest(number, false, to);
}

char *ow_java_float(float number, char to[OW_JAVA_NUMBER_TEXT_SIZE])
{
    return shortest((double)number, true, to);
}

void ow_decimal_done(struct ow_decimal *decimal)
{
    ow_buf_done(&decimal->digits);
}

static void drop_leading_zeros(struct ow_decimal *decimal)
{
    size_t zeros = 0;
    while (zeros + 1 < decimal->digits.size && decimal->digits.data[zeros] == '0')
        zeros++;
    if (zeros == 0)
        return;
    decimal->digits.size -= zeros;
    memmove(decimal->digits.data, decimal->digits.data + zeros, decimal->digits.size);
    decimal->digits.data[decimal->digits.size] = '\0';
}

static int no_number(struct ow_bytes text, struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "\"%.*s\" is no decimal number", OW_PRINT(text));
}

static bool parse_exponent(const char *s, const char *end, int64_t *ret)
{
    bool is_negative = s < end && *s == '-';
    if (s < end && (*s == '-' || *s == '+'))
        s++;
    if (s == end || end - s > 6)
        return false;
    int64_t exponent = 0;
    for (; s < end; s++) {
        if (*s < '0' || *s > '9')
            return false;
        exponent = exponent * 10 + (*s - '0');
    }
    *ret = is_negative ? -exponent : exponent;
    return true;
}

int ow_decimal_parse(struct ow_bytes text, struct ow_decimal *ret, struct ow_error *err)
{
    *ret = (struct ow_decimal){0};
    const char *s = text.data ? text.data : "", *end = s + text.size;
    ret->is_negative = s < end && *s == '-';
    if (s < end && (*s == '-' || *s == '+'))
        s++;
    bool has_point = false;
    int64_t scale = 0, exponent = 0;
    for (; s < end && *s != 'e' && *s != 'E'; s++) {
        if (*s == '.' && !has_point) {
            has_point = true;
            continue;
        }
        if (*s < '0' || *s > '9')
            return no_number(text, err);
        ow_buf_add_char(&ret->digits, *s);
        scale += has_point;
    }
    int r = ow_buf_check(&ret->digits, err);
    if (r != 0)
        return r;
    if (ret->digits.size == 0 || (s < end && !parse_exponent(s + 1, end, &exponent)) || scale - exponent > SCALE_MAX ||
        exponent - scale > SCALE_MAX)
        return no_number(text, err);
    ret->scale = (int32_t)(scale - exponent);
    drop_leading_zeros(ret);
    if (ow_bytes_is(ow_buf_bytes(&ret->digits), "0"))
        ret->is_negative = false;
    return 0;
}

void ow_decimal_strip(struct ow_decimal *decimal)
{
    bool is_zero = ow_bytes_is(ow_buf_bytes(&decimal->digits), "0");
    while (decimal->scale > 0 && (is_zero || decimal->digits.data[decimal->digits.size - 1] == '0')) {
        decimal->scale--;
        if (!is_zero)
            decimal->digits.data[--decimal->digits.size] = '\0';
    }
}

/* One more in the last place. */
static void increment(struct ow_decimal *decimal)
{
    for (size_t i = decimal->digits.size; i > 0; i--) {
        if (decimal->digits.data[i - 1] != '9') {
            decimal->digits.data[i - 1]++;
            return;
        }
        decimal->digits.data[i - 1] = '0';
    }
    ow_buf_add_char(&decimal->digits, '0');
    decimal->digits.data[0] = '1';
}

static void cut_digits(struct ow_decimal *decimal, size_t count, bool is_half_up)
{
    if (count > decimal->digits.size) {
        ow_buf_clear(&decimal->digits);
        ow_buf_add_char(&decimal->digits, '0');
        return;
    }
    size_t kept = decimal->digits.size - count;
    const char *cut = decimal->digits.data + kept;
    bool is_half = cut[0] == '5';
    for (size_t i = 1; i < count; i++)
        is_half = is_half && cut[i] == '0';
    bool is_odd = kept > 0 && ((cut[-1] - '0') & 1) != 0;
    bool goes_up = is_half && !is_half_up ? is_odd : cut[0] >= '5';
    decimal->digits.size = kept;
    decimal->digits.data[kept] = '\0';
    if (kept == 0)
        ow_buf_add_char(&decimal->digits, '0');
    if (goes_up)
        increment(decimal);
}

int ow_decimal_rescale(struct ow_decimal *decimal, int32_t scale, bool is_half_up, struct ow_error *err)
{
    int64_t more = (int64_t)scale - decimal->scale;
    if (more > SCALE_MAX || more < -SCALE_MAX)
        return ow_error_set(err, OW_EINVALID, "a number with a scale of %d", (int)decimal->scale);
    bool is_zero = ow_bytes_is(ow_buf_bytes(&decimal->digits), "0");
    for (int64_t i = 0; i < more && !is_zero; i++)
        ow_buf_add_char(&decimal->digits, '0');
    if (more < 0)
        cut_digits(decimal, (size_t)-more, is_half_up);
    decimal->scale = scale;
    return ow_buf_check(&decimal->digits, err);
}

void ow_decimal_plain(struct ow_buf *to, const struct ow_decimal *decimal)
{
    size_t size = decimal->digits.size;
    const char *digits = decimal->digits.data;
    if (decimal->is_negative)
        ow_buf_add_char(to, '-');
    if (decimal->scale <= 0) {
        ow_buf_add(to, digits, size);
        for (int32_t i = decimal->scale; i < 0 && !(size == 1 && digits[0] == '0'); i++)
            ow_buf_add_char(to, '0');
        return;
    }
    size_t scale = (size_t)decimal->scale;
    if (size > scale) {
        ow_buf_add(to, digits, size - scale);
        ow_buf_add_char(to, '.');
        ow_buf_add(to, digits + size - scale, scale);
        return;
    }
    ow_buf_add_text(to, "0.");
    for (size_t i = size; i < scale; i++)
        ow_buf_add_char(to, '0');
    ow_buf_add(to, digits, size);
}

void ow_decimal_text(struct ow_buf *to, const struct ow_decimal *decimal)
{
    size_t size = decimal->digits.size;
    int64_t adjusted = (int64_t)size - 1 - decimal->scale;
    if (decimal->scale == 0 || (decimal->scale > 0 && adjusted >= -6)) {
        ow_decimal_plain(to, decimal);
        return;
    }
    if (decimal->is_negative)
        ow_buf_add_char(to, '-');
    ow_buf_add_char(to, decimal->digits.data[0]);
    if (size > 1) {
        ow_buf_add_char(to, '.');
        ow_buf_add(to, decimal->digits.data + 1, size - 1);
    }
    if (adjusted != 0)
        ow_buf_printf(to, "E%s%lld", adjusted > 0 ? "+" : "", (long long)adjusted);
}

/* The magnitude in base 2^32, little end first; the number of words, or -1 without memory. */
static ssize_t magnitude_words(const struct ow_decimal *decimal, uint32_t **ret)
{
    /* nine digits are less than 2^30, so one word holds them and 32 bits of carry fit beside */
    size_t capacity = decimal->digits.size / 9 + 2, count = 0;
    uint32_t *words = calloc(capacity, sizeof(*words));
    if (!words)
        return -1;
    for (size_t at = 0; at < decimal->digits.size;) {
        size_t take = (decimal->digits.size - at) % 9 == 0 ? 9 : (decimal->digits.size - at) % 9;
        uint64_t carry = 0, factor = 1;
        for (size_t i = 0; i < take; i++, factor *= 10)
            carry = carry * 10 + (uint64_t)(decimal->digits.data[at + i] - '0');
        for (size_t i = 0; i < count; i++) {
            uint64_t product = words[i] * factor + carry;
            words[i] = (uint32_t)product;
            carry = product >> 32;
        }
        if (carry != 0)
            words[count++] = (uint32_t)carry;
        at += take;
    }
    *ret = words;
    return (ssize_t)count;
}

void ow_decimal_unscaled(struct ow_buf *to, const struct ow_decimal *decimal)
{
    uint32_t *words = NULL;
    ssize_t count = magnitude_words(decimal, &words);
    if (count < 0) {
        to->has_failed = true;
        return;
    }
    size_t size = (size_t)count * 4 + 1; /* one more for the sign */
    char *bytes = ow_buf_reserve(to, size);
    if (!bytes) {
        free(words);
        return;
    }
    uint32_t carry = decimal->is_negative ? 1 : 0;
    for (size_t i = 0; i < size; i++) {
        uint32_t byte = i / 4 < (size_t)count ? words[i / 4] >> (i % 4 * 8) & 0xff : 0;
        if (decimal->is_negative) {
            byte = (~byte & 0xff) + carry;
            carry = byte >> 8;
        }
        bytes[size - 1 - i] = (char)(byte & 0xff);
    }
    free(words);
    size_t spare = 0;
    while (spare + 1 < size && (bytes[spare] == 0 || bytes[spare] == (char)0xff) &&
           ((bytes[spare] ^ bytes[spare + 1]) & 0x80) == 0)
        spare++;
    memmove(bytes, bytes + spare, size - spare);
    bytes[size - spare] = '\0';
    to->size += size - spare;
}
