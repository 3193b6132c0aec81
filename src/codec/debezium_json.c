/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_json.h"

#include <math.h>

#include "codec/base64.h"
#include "codec/debezium_number.h"

/* The length of the well-formed UTF-8 sequence at s, or 0. */
static size_t sequence_length(const char *s, const char *end)
{
    unsigned char c = (unsigned char)*s;
    size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if ((size_t)(end - s) < length || !ow_utf8_is_valid((struct ow_bytes){s, length}))
        return 0;
    return length;
}

static void add_surrogates(struct ow_buf *to, const char *s)
{
    uint32_t code = ((uint32_t)s[0] & 7) << 18 | ((uint32_t)s[1] & 63) << 12 | ((uint32_t)s[2] & 63) << 6 |
                    ((uint32_t)s[3] & 63);
    code -= 0x10000;
    ow_buf_printf(to, "\\u%04X\\u%04X", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
}

static void add_control(struct ow_buf *to, char c)
{
    static const char letters[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (letters[(unsigned char)c] != 0)
        ow_buf_printf(to, "\\%c", letters[(unsigned char)c]);
    else
        ow_buf_printf(to, "\\u%04X", (unsigned)(unsigned char)c);
}

static bool is_ordinary(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

void ow_dbz_json_escape(struct ow_buf *to, struct ow_bytes text)
{
    const char *s = text.data, *end = s + text.size;
    while (s < end) {
        const char *from = s;
        while (s < end && is_ordinary(*s))
            s++;
        ow_buf_add(to, from, (size_t)(s - from));
        if (s == end)
            return;
        size_t length = sequence_length(s, end);
        if (length == 0) {
            ow_buf_add_text(to, "\xef\xbf\xbd");
            length = 1;
        } else if (length == 4) {
            add_surrogates(to, s);
        } else if (length > 1) {
            ow_buf_add(to, s, length);
        } else if ((unsigned char)*s < 0x20) {
            add_control(to, *s);
        } else {
            ow_buf_add_char(to, '\\');
            ow_buf_add_char(to, *s);
        }
        s += length;
    }
}

static void add_string(struct ow_buf *to, struct ow_bytes text)
{
    ow_buf_add_char(to, '"');
    ow_dbz_json_escape(to, text);
    ow_buf_add_char(to, '"');
}

static void add_base64(struct ow_buf *to, struct ow_bytes bytes)
{
    ow_buf_add_char(to, '"');
    ow_base64_encode(to, bytes);
    ow_buf_add_char(to, '"');
}

/* The text of a decimal was checked when its value was made. */
static void add_decimal(struct ow_buf *to, struct ow_bytes text, bool is_numeric)
{
    struct ow_decimal decimal;
    struct ow_buf unscaled = {0};
    if (ow_decimal_parse(text, &decimal, NULL) != 0) {
        to->has_failed = true;
    } else if (is_numeric) {
        ow_decimal_text(to, &decimal);
    } else {
        ow_decimal_unscaled(&unscaled, &decimal);
        add_base64(to, ow_buf_bytes(&unscaled));
        to->has_failed = to->has_failed || unscaled.has_failed;
    }
    ow_buf_done(&unscaled);
    ow_decimal_done(&decimal);
}

static void add_floating(struct ow_buf *to, const struct ow_dbz_schema *schema, double number)
{
    char text[OW_JAVA_NUMBER_TEXT_SIZE];
    if (schema->type == OW_DBZ_FLOAT32)
        ow_java_float((float)number, text);
    else
        ow_java_double(number, text);
    if (isnan(number) || isinf(number))
        ow_buf_printf(to, "\"%s\"", text);
    else
        ow_buf_add_text(to, text);
}

static void add_struct(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value,
                       bool is_numeric)
{
    ow_buf_add_char(to, '{');
    for (size_t i = 0; i < schema->field_count; i++) {
        if (i > 0)
            ow_buf_add_char(to, ',');
        add_string(to, schema->fields[i].name);
        ow_buf_add_char(to, ':');
        ow_dbz_json_value(to, schema->fields[i].schema, &value->as.list.items[i], is_numeric);
    }
    ow_buf_add_char(to, '}');
}

static void add_items(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value,
                      bool is_numeric)
{
    bool is_map = schema->type == OW_DBZ_MAP;
    ow_buf_add_char(to, is_map ? '{' : '[');
    for (size_t i = 0; i < value->as.list.count; i++) {
        if (i > 0)
            ow_buf_add_char(to, ',');
        if (is_map) {
            add_string(to, value->as.list.items[i++].as.bytes);
            ow_buf_add_char(to, ':');
        }
        ow_dbz_json_value(to, schema->element, &value->as.list.items[i], is_numeric);
    }
    ow_buf_add_char(to, is_map ? '}' : ']');
}

void ow_dbz_json_value(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value,
                       bool has_numeric_decimals)
{
    if (value->is_null) {
        ow_buf_add_text(to, "null");
        return;
    }
    switch (schema ? schema->type : OW_DBZ_STRING) {
    case OW_DBZ_BOOLEAN:
        ow_buf_add_text(to, value->as.boolean ? "true" : "false");
        return;
    case OW_DBZ_INT16:
    case OW_DBZ_INT32:
    case OW_DBZ_INT64:
        ow_buf_printf(to, "%lld", (long long)value->as.integer);
        return;
    case OW_DBZ_FLOAT32:
    case OW_DBZ_FLOAT64:
        add_floating(to, schema, value->as.number);
        return;
    case OW_DBZ_STRING:
        add_string(to, value->as.bytes);
        return;
    case OW_DBZ_BYTES:
        if (schema->logic == OW_DBZ_DECIMAL)
            add_decimal(to, value->as.bytes, has_numeric_decimals);
        else
            add_base64(to, value->as.bytes);
        return;
    case OW_DBZ_ARRAY:
    case OW_DBZ_MAP:
        add_items(to, schema, value, has_numeric_decimals);
        return;
    case OW_DBZ_STRUCT:
        add_struct(to, schema, value, has_numeric_decimals);
        return;
    }
}

static void add_schema(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_field *field,
                       bool is_numeric);

static void add_parts(struct ow_buf *to, const struct ow_dbz_schema *schema, bool is_numeric)
{
    if (schema->type == OW_DBZ_ARRAY) {
        ow_buf_add_text(to, ",\"items\":");
        add_schema(to, schema->element, NULL, is_numeric);
    } else if (schema->type == OW_DBZ_MAP) {
        ow_buf_add_text(to, ",\"keys\":{\"type\":\"string\",\"optional\":false},\"values\":");
        add_schema(to, schema->element, NULL, is_numeric);
    } else if (schema->type == OW_DBZ_STRUCT) {
        ow_buf_add_text(to, ",\"fields\":[");
        for (size_t i = 0; i < schema->field_count; i++) {
            if (i > 0)
                ow_buf_add_char(to, ',');
            add_schema(to, schema->fields[i].schema, &schema->fields[i], is_numeric);
        }
        ow_buf_add_char(to, ']');
    }
}

static void add_parameters(struct ow_buf *to, const struct ow_dbz_schema *schema)
{
    ow_buf_add_text(to, ",\"parameters\":{");
    for (size_t i = 0; i < schema->parameter_count; i++) {
        if (i > 0)
            ow_buf_add_char(to, ',');
        add_string(to, schema->parameters[i].name);
        ow_buf_add_char(to, ':');
        add_string(to, schema->parameters[i].value);
    }
    ow_buf_add_char(to, '}');
}

static void add_schema(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_field *field,
                       bool is_numeric)
{
    static const char *const types[] = {
        [OW_DBZ_BOOLEAN] = "boolean", [OW_DBZ_INT16] = "int16",    [OW_DBZ_INT32] = "int32",   [OW_DBZ_INT64] = "int64",
        [OW_DBZ_FLOAT32] = "float",   [OW_DBZ_FLOAT64] = "double", [OW_DBZ_STRING] = "string", [OW_DBZ_BYTES] = "bytes",
        [OW_DBZ_ARRAY] = "array",     [OW_DBZ_MAP] = "map",        [OW_DBZ_STRUCT] = "struct",
    };
    ow_buf_printf(to, "{\"type\":\"%s\"", types[schema->type]);
    add_parts(to, schema, is_numeric);
    ow_buf_printf(to, ",\"optional\":%s", schema->is_optional ? "true" : "false");
    if (schema->name.data) {
        ow_buf_add_text(to, ",\"name\":");
        add_string(to, schema->name);
    }
    if (schema->has_version)
        ow_buf_printf(to, ",\"version\":%d", (int)schema->version);
    if (schema->doc.data) {
        ow_buf_add_text(to, ",\"doc\":");
        add_string(to, schema->doc);
    }
    if (schema->parameter_count > 0)
        add_parameters(to, schema);
    if (schema->fallback) {
        ow_buf_add_text(to, ",\"default\":");
        ow_dbz_json_value(to, schema, schema->fallback, is_numeric);
    }
    if (field) {
        ow_buf_add_text(to, ",\"field\":");
        add_string(to, field->name);
    }
    ow_buf_add_char(to, '}');
}

void ow_dbz_json_schema(struct ow_buf *to, const struct ow_dbz_schema *schema, bool has_numeric_decimals)
{
    if (schema)
        add_schema(to, schema, NULL, has_numeric_decimals);
    else
        ow_buf_add_text(to, "null");
}
