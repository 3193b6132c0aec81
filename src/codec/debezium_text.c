/* SPDX-License-Identifier: Apache-2.0 */
/* The texts that Java and Kafka Connect make of a value: StringConverter and SimpleHeaderConverter. */
#include <stdio.h>

#include "codec/base64.h"
#include "codec/debezium_json.h"
#include "codec/debezium_number.h"
#include "codec/debezium_time.h"

static void add_decimal(struct ow_buf *to, struct ow_bytes text)
{
    struct ow_decimal decimal;
    if (ow_decimal_parse(text, &decimal, NULL) == 0)
        ow_decimal_text(to, &decimal);
    else
        to->has_failed = true;
    ow_decimal_done(&decimal);
}

/* What both texts have in common; false: it is none of these. */
static bool add_scalar(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    char text[OW_JAVA_NUMBER_TEXT_SIZE];
    if (value->is_null) {
        ow_buf_add_text(to, "null");
        return true;
    }
    switch (schema ? schema->type : OW_DBZ_STRING) {
    case OW_DBZ_BOOLEAN:
        ow_buf_add_text(to, value->as.boolean ? "true" : "false");
        return true;
    case OW_DBZ_INT16:
    case OW_DBZ_INT32:
    case OW_DBZ_INT64:
        if (schema->logic != OW_DBZ_PLAIN)
            return false;
        ow_buf_printf(to, "%lld", (long long)value->as.integer);
        return true;
    case OW_DBZ_FLOAT32:
        ow_buf_add_text(to, ow_java_float((float)value->as.number, text));
        return true;
    case OW_DBZ_FLOAT64:
        ow_buf_add_text(to, ow_java_double(value->as.number, text));
        return true;
    case OW_DBZ_BYTES:
        if (schema->logic != OW_DBZ_DECIMAL)
            return false;
        add_decimal(to, value->as.bytes);
        return true;
    default:
        return false;
    }
}

/* Milliseconds since 1970 of a java.util.Date. */
static int64_t date_ms(const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    return schema->logic == OW_DBZ_CONNECT_DATE ? value->as.integer * 86400000 : value->as.integer;
}

/* Java writes where the bytes are in its memory; we write what they are. */
static void add_java_address(struct ow_buf *to, struct ow_bytes bytes)
{
    ow_buf_add_text(to, bytes.size > 0 ? "[B@" : "[B@0");
    for (size_t i = 0; i < bytes.size; i++)
        ow_buf_printf(to, "%02x", (unsigned)(unsigned char)bytes.data[i]);
}

static void add_java_fields(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    bool is_first = true;
    ow_buf_add_text(to, "Struct{");
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct ow_dbz_value *item = &value->as.list.items[i];
        if (item->is_null)
            continue;
        if (!is_first)
            ow_buf_add_char(to, ',');
        is_first = false;
        ow_buf_add_bytes(to, schema->fields[i].name);
        ow_buf_add_char(to, '=');
        if (schema->logic == OW_DBZ_VARIABLE_DECIMAL && schema->fields[i].schema->type == OW_DBZ_BYTES)
            add_java_address(to, item->as.bytes);
        else
            ow_dbz_java_text(to, schema->fields[i].schema, item);
    }
    ow_buf_add_char(to, '}');
}

static void add_java_items(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    bool is_map = schema->type == OW_DBZ_MAP;
    ow_buf_add_char(to, is_map ? '{' : '[');
    for (size_t i = 0; i < value->as.list.count; i++) {
        if (i > 0)
            ow_buf_add_text(to, ", ");
        if (is_map) {
            ow_buf_add_bytes(to, value->as.list.items[i++].as.bytes);
            ow_buf_add_char(to, '=');
        }
        ow_dbz_java_text(to, schema->element, &value->as.list.items[i]);
    }
    ow_buf_add_char(to, is_map ? '}' : ']');
}

void ow_dbz_java_text(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    if (add_scalar(to, schema, value))
        return;
    switch (schema ? schema->type : OW_DBZ_STRING) {
    case OW_DBZ_BYTES:
        if (ow_bytes_is(schema->name, "io.debezium.data.Bits")) {
            add_java_address(to, value->as.bytes);
            return;
        }
        ow_buf_printf(to, "java.nio.HeapByteBuffer[pos=0 lim=%zu cap=%zu]", value->as.bytes.size, value->as.bytes.size);
        return;
    case OW_DBZ_STRUCT:
        add_java_fields(to, schema, value);
        return;
    case OW_DBZ_ARRAY:
    case OW_DBZ_MAP:
        add_java_items(to, schema, value);
        return;
    case OW_DBZ_STRING:
        ow_buf_add_bytes(to, value->as.bytes);
        return;
    default:
        ow_dbz_java_date(to, date_ms(schema, value));
    }
}

/* In quotes, with a backslash before quotes and backslashes. */
static void add_quoted(struct ow_buf *to, struct ow_bytes text)
{
    ow_buf_add_char(to, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            ow_buf_add_char(to, '\\');
        ow_buf_add_char(to, text.data[i]);
    }
    ow_buf_add_char(to, '"');
}

static void add_simple(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value,
                       bool is_inside);

static void add_simple_items(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    bool is_array = schema->type == OW_DBZ_ARRAY;
    ow_buf_add_char(to, is_array ? '[' : '{');
    for (size_t i = 0; i < value->as.list.count; i++) {
        const struct ow_dbz_schema *element = schema->element;
        if (i > 0)
            ow_buf_add_char(to, ',');
        if (schema->type == OW_DBZ_STRUCT) {
            add_quoted(to, schema->fields[i].name);
            element = schema->fields[i].schema;
        } else if (!is_array) {
            add_quoted(to, value->as.list.items[i++].as.bytes);
        }
        if (!is_array)
            ow_buf_add_char(to, ':');
        add_simple(to, element, &value->as.list.items[i], true);
    }
    ow_buf_add_char(to, is_array ? ']' : '}');
}

/* ISO 8601 in UTC: a date, a time of day, or both, by the logical type. */
static void add_simple_date(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    struct ow_buf text = {0};
    ow_dbz_timestamp_text(&text, date_ms(schema, value) * 1000, 3);
    struct ow_bytes all = ow_buf_bytes(&text);
    const char *middle = memchr(all.data, 'T', all.size);
    size_t date_size = middle ? (size_t)(middle - all.data) : all.size;
    if (schema->logic == OW_DBZ_CONNECT_DATE)
        ow_buf_add(to, all.data, date_size);
    else if (schema->logic == OW_DBZ_CONNECT_TIME && middle)
        ow_buf_add(to, middle + 1, all.size - date_size - 1);
    else
        ow_buf_add_bytes(to, all);
    to->has_failed = to->has_failed || text.has_failed;
    ow_buf_done(&text);
}

static void add_simple(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value,
                       bool is_inside)
{
    if (add_scalar(to, schema, value))
        return;
    switch (schema ? schema->type : OW_DBZ_STRING) {
    case OW_DBZ_STRING:
        if (is_inside)
            add_quoted(to, value->as.bytes);
        else
            ow_buf_add_bytes(to, value->as.bytes);
        return;
    case OW_DBZ_BYTES:
        if (is_inside)
            ow_buf_add_char(to, '"');
        ow_base64_encode(to, value->as.bytes);
        if (is_inside)
            ow_buf_add_char(to, '"');
        return;
    case OW_DBZ_ARRAY:
    case OW_DBZ_MAP:
    case OW_DBZ_STRUCT:
        add_simple_items(to, schema, value);
        return;
    default:
        add_simple_date(to, schema, value);
    }
}

void ow_dbz_simple_text(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    add_simple(to, schema, value, false);
}
