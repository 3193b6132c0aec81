/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a column to its value. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base64.h"
#include "codec/debezium_column.h"
#include "codec/debezium_hstore.h"
#include "codec/debezium_number.h"
#include "codec/debezium_time.h"

static int cannot(const char *what, struct ow_bytes text, struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "\"%.*s\" is no %s", OW_PRINT(text), what);
}

/* Moves what was built into the arena. */
static int take(struct ow_dbz_arena *arena, struct ow_buf *buf, struct ow_dbz_value *ret, struct ow_error *err)
{
    int r = ow_buf_check(buf, err);
    if (r == 0)
        *ret = ow_dbz_text(ow_dbz_copy(arena, ow_buf_bytes(buf)));
    ow_buf_done(buf);
    return r != 0 ? r : ow_dbz_arena_check(arena, err);
}

static int boolean_value(struct ow_bytes text, struct ow_dbz_value *ret, struct ow_error *err)
{
    bool is_true = ow_bytes_is(text, "t") || ow_bytes_is(text, "true") || ow_bytes_is(text, "1");
    if (!is_true && !ow_bytes_is(text, "f") && !ow_bytes_is(text, "false") && !ow_bytes_is(text, "0"))
        return cannot("boolean", text, err);
    *ret = (struct ow_dbz_value){.as.boolean = is_true};
    return 0;
}

static int integer_value(enum ow_dbz_type type, struct ow_bytes text, struct ow_dbz_value *ret, struct ow_error *err)
{
    char copy[24], *end;
    if (text.size == 0 || text.size >= sizeof(copy) || !strchr("-0123456789", text.data[0]))
        return cannot("integer", text, err);
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    errno = 0;
    long long number = strtoll(copy, &end, 10);
    long long limit = type == OW_DBZ_INT16 ? INT16_MAX : type == OW_DBZ_INT32 ? INT32_MAX : INT64_MAX;
    if (errno != 0 || end != copy + text.size || number > limit || number < -limit - 1)
        return cannot("integer of its type", text, err);
    *ret = ow_dbz_integer(number);
    return 0;
}

static int floating_value(enum ow_dbz_type type, struct ow_bytes text, struct ow_dbz_value *ret, struct ow_error *err)
{
    char copy[400], *end;
    if (text.size == 0 || text.size >= sizeof(copy) || !strchr("-.0123456789NI", text.data[0]))
        return cannot("number", text, err);
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    double number = type == OW_DBZ_FLOAT32 ? (double)strtof(copy, &end) : strtod(copy, &end);
    if (end != copy + text.size)
        return cannot("number", text, err);
    *ret = (struct ow_dbz_value){.as.number = number};
    return 0;
}

/* A decimal of a known scale. */
static int fixed_value(const struct ow_dbz_schema *schema, struct ow_dbz_arena *arena, struct ow_decimal *decimal,
                       struct ow_dbz_value *ret, struct ow_error *err)
{
    struct ow_buf plain = {0};
    if (decimal->scale < 0)
        ow_decimal_text(&plain, decimal); /* with its exponent, so that the scale stays */
    else
        ow_decimal_plain(&plain, decimal);
    int r = take(arena, &plain, ret, err);
    if (r != 0 || schema->type != OW_DBZ_FLOAT64)
        return r;
    *ret = (struct ow_dbz_value){.as.number = strtod(ret->as.bytes.data, NULL)};
    return 0;
}

static int variable_value(struct ow_dbz_arena *arena, struct ow_decimal *decimal, struct ow_dbz_value *ret,
                          struct ow_error *err)
{
    ow_decimal_strip(decimal);
    int r = decimal->scale < 0 ? ow_decimal_rescale(decimal, 0, false, err) : 0;
    struct ow_dbz_value *items = ow_dbz_alloc_array(arena, 2, sizeof(*items));
    if (r != 0 || !items)
        return r != 0 ? r : ow_dbz_arena_check(arena, err);
    struct ow_buf unscaled = {0};
    ow_decimal_unscaled(&unscaled, decimal);
    items[0] = ow_dbz_integer(decimal->scale);
    *ret = (struct ow_dbz_value){.as.list = {items, 2}};
    return take(arena, &unscaled, &items[1], err);
}

/* NaN and the infinities: a decimal has none of them, so they become null. */
static bool special_value(const struct ow_dbz_schema *schema, struct ow_bytes text, struct ow_dbz_value *ret)
{
    bool is_nan = ow_bytes_is(text, "NaN"), is_more = ow_bytes_is(text, "Infinity");
    if (!is_nan && !is_more && !ow_bytes_is(text, "-Infinity"))
        return false;
    if (schema->type == OW_DBZ_STRING)
        *ret = ow_dbz_text(is_nan    ? OW_BYTES("NAN")
                           : is_more ? OW_BYTES("POSITIVE_INFINITY")
                                     : OW_BYTES("NEGATIVE_INFINITY"));
    else if (schema->type == OW_DBZ_FLOAT64)
        *ret = (struct ow_dbz_value){.as.number = is_nan ? (double)NAN : is_more ? HUGE_VAL : -HUGE_VAL};
    else
        *ret = ow_dbz_null();
    return true;
}

static void cleanup_decimal(struct ow_decimal *decimal)
{
    ow_decimal_done(decimal);
}

static int numeric_value(const struct ow_dbz_column *column, const struct ow_dbz_schema *schema,
                         struct ow_dbz_arena *arena, struct ow_bytes text, struct ow_dbz_value *ret,
                         struct ow_error *err)
{
    if (special_value(schema, text, ret))
        return 0;
    OW_CLEANUP(cleanup_decimal) struct ow_decimal decimal = {0};
    int r = ow_decimal_parse(text, &decimal, err);
    if (r != 0)
        return r;
    if (schema->logic == OW_DBZ_VARIABLE_DECIMAL)
        return variable_value(arena, &decimal, ret, err);
    if (schema->logic == OW_DBZ_DECIMAL)
        r = ow_decimal_rescale(&decimal, column->digits, false, err);
    return r != 0 ? r : fixed_value(schema, arena, &decimal, ret, err);
}

/* "$1,234.50", "-$0.01", "1.234,50 €", "($5.00)": whatever the locale, its last digits are the fraction. */
static int money_value(const struct ow_dbz_column *column, const struct ow_dbz_schema *schema,
                       struct ow_dbz_arena *arena, struct ow_bytes text, struct ow_dbz_value *ret, struct ow_error *err)
{
    OW_CLEANUP(cleanup_decimal) struct ow_decimal decimal = {0};
    struct ow_buf plain = {0};
    const char *point = NULL;
    size_t digits = 0;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '.' || text.data[i] == ',')
            point = text.data + i;
    for (const char *s = point ? point + 1 : NULL; s && s < text.data + text.size && *s >= '0' && *s <= '9'; s++)
        digits++;
    if (digits == 3) /* a separator of thousands: no locale has three digits of a fraction without another sign */
        point = column->digits == 3 ? point : NULL;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if ((c == '-' || c == '(') && plain.size == 0)
            ow_buf_add_char(&plain, '-');
        else if ((c >= '0' && c <= '9') || text.data + i == point)
            ow_buf_add_char(&plain, c == ',' ? '.' : c);
    }
    int r = ow_buf_check(&plain, err);
    if (r == 0)
        r = ow_decimal_parse(ow_buf_bytes(&plain), &decimal, err);
    if (r == 0 && schema->logic == OW_DBZ_DECIMAL)
        r = ow_decimal_rescale(&decimal, column->digits, true, err);
    ow_buf_done(&plain);
    return r != 0 ? r : fixed_value(schema, arena, &decimal, ret, err);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int ow_dbz_bytes_value(const struct ow_dbz_modes *modes, struct ow_dbz_arena *arena, struct ow_bytes bytes,
                       struct ow_dbz_value *ret, struct ow_error *err)
{
    *ret = ow_dbz_text(bytes);
    if (modes->binary == OW_DBZ_BINARY_BYTES || !bytes.data)
        return 0;
    struct ow_buf encoded = {0};
    if (modes->binary == OW_DBZ_BINARY_HEX)
        for (size_t i = 0; i < bytes.size; i++)
            ow_buf_printf(&encoded, "%02x", (unsigned)(unsigned char)bytes.data[i]);
    else
        ow_base64_encode(&encoded, bytes);
    for (size_t i = 0; i < encoded.size && modes->binary == OW_DBZ_BINARY_BASE64_URL_SAFE; i++)
        encoded.data[i] = (char)(encoded.data[i] == '+' ? '-' : encoded.data[i] == '/' ? '_' : encoded.data[i]);
    return take(arena, &encoded, ret, err);
}

static int bytea_value(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                       struct ow_dbz_value *ret, struct ow_error *err)
{
    if (text.size < 2 || text.data[0] != '\\' || text.data[1] != 'x' || text.size % 2 != 0)
        return cannot("bytea in hexadecimal digits (bytea_output must be hex)", text, err);
    size_t size = text.size / 2 - 1;
    char *bytes = ow_dbz_alloc(arena, size + 1);
    if (!bytes)
        return ow_dbz_arena_check(arena, err);
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text.data[2 + 2 * i]), low = hex_digit(text.data[3 + 2 * i]);
        if (high < 0 || low < 0)
            return cannot("bytea", text, err);
        bytes[i] = (char)(high << 4 | low);
    }
    return ow_dbz_bytes_value(column->modes, arena, (struct ow_bytes){bytes, size}, ret, err);
}

/* The last digit is bit 0 of the first byte; no zero bytes at the end. */
static int bits_value(const struct ow_dbz_schema *schema, struct ow_dbz_arena *arena, struct ow_bytes text,
                      struct ow_dbz_value *ret, struct ow_error *err)
{
    if (schema->type == OW_DBZ_BOOLEAN)
        return boolean_value(text, ret, err);
    char *bytes = ow_dbz_alloc(arena, text.size / 8 + 2);
    if (!bytes)
        return ow_dbz_arena_check(arena, err);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[text.size - 1 - i];
        if (c != '0' && c != '1')
            return cannot("run of bits", text, err);
        if (c == '0')
            continue;
        bytes[i / 8] = (char)(bytes[i / 8] | 1 << (i % 8));
        size = i / 8 + 1;
    }
    *ret = ow_dbz_text((struct ow_bytes){bytes, size});
    return 0;
}

static int64_t divided(int64_t us, int64_t divisor)
{
    return us / divisor - (us % divisor < 0);
}

static int time_value(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                      struct ow_dbz_value *ret, struct ow_error *err)
{
    int64_t number = 0;
    int32_t offset_s = 0;
    struct ow_buf written = {0};
    int r = 0;
    switch (column->kind) {
    case OW_DBZ_KIND_DATE:
        r = ow_dbz_date_parse(text, &number, err);
        break;
    case OW_DBZ_KIND_TIME:
    case OW_DBZ_KIND_TIMETZ:
        r = ow_dbz_time_parse(text, &number, &offset_s, err);
        break;
    default:
        r = ow_dbz_timestamp_parse(text, &number, err);
    }
    if (r != 0)
        return r;
    *ret = ow_dbz_integer(divided(number, column->divisor));
    if (column->kind == OW_DBZ_KIND_TIMETZ)
        ow_dbz_time_text(&written, number, offset_s);
    else if (column->kind == OW_DBZ_KIND_TIMESTAMPTZ)
        ow_dbz_timestamp_text(&written, number, column->digits < 0 ? 6 : column->digits);
    else
        return 0;
    return take(arena, &written, ret, err);
}

static int interval_value(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                          struct ow_dbz_value *ret, struct ow_error *err)
{
    struct ow_dbz_interval interval;
    int r = ow_dbz_interval_parse(text, &interval, err);
    if (r != 0)
        return r;
    *ret = ow_dbz_integer(ow_dbz_interval_us(&interval));
    if (!column->modes->interval_is_text)
        return 0;
    struct ow_buf written = {0};
    ow_dbz_interval_text(&written, &interval);
    return take(arena, &written, ret, err);
}

/* --- what holds several ---------------------------------------------------------------------------------- */

/* A growing run of values in memory of its own, moved into the arena at the end. */
struct values {
    struct ow_buf buf;
};

static void values_add(struct values *values, struct ow_dbz_value value)
{
    ow_buf_add(&values->buf, &value, sizeof(value));
}

static int values_take(struct values *values, struct ow_dbz_arena *arena, struct ow_dbz_value *ret,
                       struct ow_error *err)
{
    size_t count = values->buf.size / sizeof(struct ow_dbz_value);
    struct ow_dbz_value *items = ow_dbz_alloc_array(arena, count, sizeof(*items));
    int r = ow_buf_check(&values->buf, err);
    if (r == 0 && items && count > 0)
        memcpy(items, values->buf.data, count * sizeof(*items));
    ow_buf_done(&values->buf);
    *ret = (struct ow_dbz_value){.as.list = {items, count}};
    return r != 0 ? r : ow_dbz_arena_check(arena, err);
}

/* An element from *s on, up to a comma or a brace, or between quotes; backslashes taken away. */
static int read_element(struct ow_dbz_arena *arena, const char **s, const char *end, struct ow_bytes *ret)
{
    bool is_quoted = *s < end && **s == '"';
    const char *at = *s + is_quoted;
    char *copy = ow_dbz_alloc(arena, (size_t)(end - at) + 1);
    size_t size = 0;
    if (!copy)
        return OW_ENOMEM;
    while (at < end && (is_quoted ? *at != '"' : *at != ',' && *at != '}')) {
        if (*at == '\\' && at + 1 < end)
            at++;
        copy[size++] = *at++;
    }
    if (at == end)
        return OW_EINVALID;
    *s = at + is_quoted;
    *ret = (struct ow_bytes){copy, size};
    if (!is_quoted && size == 4 && strncasecmp(copy, "NULL", 4) == 0)
        *ret = OW_NULL_BYTES;
    return 0;
}

static int scalar_value(const struct ow_dbz_column *column, const struct ow_dbz_schema *schema,
                        struct ow_dbz_arena *arena, struct ow_bytes text, struct ow_dbz_value *ret,
                        struct ow_error *err);

static int array_items(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                       struct values *values, struct ow_error *err)
{
    const char *s = text.data + 1, *end = text.data + text.size;
    while (s < end && *s != '}') {
        if (*s == '{')
            return ow_error_set(err, OW_EINVALID, "an array of more than one dimension: \"%.*s\"", OW_PRINT(text));
        struct ow_bytes element;
        struct ow_dbz_value value;
        int r = read_element(arena, &s, end, &element);
        if (r != 0)
            return r == OW_ENOMEM ? ow_dbz_arena_check(arena, err) : cannot("array", text, err);
        r = scalar_value(column, column->schema->element, arena, element, &value, err);
        if (r != 0)
            return r;
        values_add(values, value);
        if (s < end && *s == ',')
            s++;
        else if (s >= end || *s != '}')
            return cannot("array", text, err);
    }
    return s + 1 == end ? 0 : cannot("array", text, err);
}

static int array_value(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                       struct ow_dbz_value *ret, struct ow_error *err)
{
    /* "[2:3]={1,2}" says where the indexes begin, which JSON cannot */
    const char *brace = memchr(text.data, '{', text.size);
    if (!brace || (brace != text.data && text.data[0] != '['))
        return cannot("array", text, err);
    struct values values = {{0}};
    struct ow_bytes rest = {brace, text.size - (size_t)(brace - text.data)};
    int r = array_items(column, arena, rest, &values, err);
    int taken = values_take(&values, arena, ret, r != 0 ? NULL : err);
    return r != 0 ? r : taken;
}

/* "k"=>"v", "n"=>NULL */
static int hstore_items(struct ow_dbz_arena *arena, struct ow_bytes text, struct values *values)
{
    const char *s = text.data, *end = s + text.size;
    while (s < end) {
        struct ow_bytes key, value = OW_NULL_BYTES;
        if (*s != '"' || read_element(arena, &s, end, &key) != 0 || end - s < 3 || memcmp(s, "=>", 2) != 0)
            return OW_EINVALID;
        s += 2;
        if (*s == '"' && read_element(arena, &s, end, &value) != 0)
            return OW_EINVALID;
        if (!value.data) {
            if (end - s < 4 || memcmp(s, "NULL", 4) != 0)
                return OW_EINVALID;
            s += 4;
        }
        values_add(values, ow_dbz_text(key));
        values_add(values, ow_dbz_text(value));
        if (end - s >= 2 && memcmp(s, ", ", 2) == 0)
            s += 2;
        else if (s != end)
            return OW_EINVALID;
    }
    return 0;
}

static int hstore_value(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                        struct ow_dbz_value *ret, struct ow_error *err)
{
    struct values values = {{0}};
    int r = hstore_items(arena, text, &values);
    int taken = values_take(&values, arena, ret, err);
    if (r != 0 || taken != 0)
        return taken != 0 ? taken : cannot("hstore", text, err);
    r = ow_dbz_hstore_sort(arena, ret, err);
    if (r != 0 || column->modes->hstore_is_map)
        return r;
    struct ow_buf json = {0};
    ow_dbz_hstore_json(&json, ret);
    return take(arena, &json, ret, err);
}

static int scalar_value(const struct ow_dbz_column *column, const struct ow_dbz_schema *schema,
                        struct ow_dbz_arena *arena, struct ow_bytes text, struct ow_dbz_value *ret,
                        struct ow_error *err)
{
    *ret = ow_dbz_text(text);
    if (!text.data)
        return 0;
    switch (column->kind) {
    case OW_DBZ_KIND_UNKNOWN:
    case OW_DBZ_KIND_TEXT:
        return 0;
    case OW_DBZ_KIND_BOOLEAN:
        return boolean_value(text, ret, err);
    case OW_DBZ_KIND_INTEGER:
        return integer_value(schema->type, text, ret, err);
    case OW_DBZ_KIND_FLOATING:
        return floating_value(schema->type, text, ret, err);
    case OW_DBZ_KIND_NUMERIC:
        return numeric_value(column, schema, arena, text, ret, err);
    case OW_DBZ_KIND_MONEY:
        return money_value(column, schema, arena, text, ret, err);
    case OW_DBZ_KIND_BYTEA:
        return bytea_value(column, arena, text, ret, err);
    case OW_DBZ_KIND_BITS:
        return bits_value(schema, arena, text, ret, err);
    case OW_DBZ_KIND_DATE:
    case OW_DBZ_KIND_TIME:
    case OW_DBZ_KIND_TIMETZ:
    case OW_DBZ_KIND_TIMESTAMP:
    case OW_DBZ_KIND_TIMESTAMPTZ:
        return time_value(column, arena, text, ret, err);
    case OW_DBZ_KIND_INTERVAL:
        return interval_value(column, arena, text, ret, err);
    case OW_DBZ_KIND_HSTORE:
        return hstore_value(column, arena, text, ret, err);
    }
    return ow_error_set(err, OW_EINTERNAL, "a column of no kind");
}

int ow_dbz_column_value(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                        struct ow_dbz_value *ret, struct ow_error *err)
{
    if (!text.data) {
        *ret = ow_dbz_null();
        return 0;
    }
    if (column->is_array)
        return array_value(column, arena, text, ret, err);
    return scalar_value(column, column->schema, arena, text, ret, err);
}

/* Double.toString() of a decimal, where that says all of it. */
static int floating_text(struct ow_dbz_arena *arena, struct ow_dbz_value *value, struct ow_error *err)
{
    OW_CLEANUP(cleanup_decimal) struct ow_decimal exact = {0}, read_back = {0};
    char text[OW_JAVA_NUMBER_TEXT_SIZE];
    int r = ow_decimal_parse(value->as.bytes, &exact, err);
    if (r != 0)
        return r;
    ow_java_double(strtod(value->as.bytes.data, NULL), text);
    r = ow_decimal_parse(ow_bytes_of(text), &read_back, err);
    if (r == 0)
        r = ow_decimal_rescale(&read_back, exact.scale, false, err);
    if (r != 0 || !ow_bytes_equal(ow_buf_bytes(&exact.digits), ow_buf_bytes(&read_back.digits)))
        return r;
    *value = ow_dbz_text(ow_dbz_copy(arena, ow_bytes_of(text)));
    return ow_dbz_arena_check(arena, err);
}

int ow_dbz_column_value_of(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, enum ow_row_op op,
                           struct ow_bytes text, struct ow_dbz_value *ret, struct ow_error *err)
{
    int r = ow_dbz_column_value(column, arena, text, ret, err);
    bool is_floating = op == OW_ROW_SNAPSHOT && column->kind == OW_DBZ_KIND_MONEY && !column->is_array &&
                       column->schema->type == OW_DBZ_STRING;
    return r == 0 && is_floating && !ret->is_null ? floating_text(arena, ret, err) : r;
}
