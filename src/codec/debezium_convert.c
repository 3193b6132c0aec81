/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_convert.h"

#include "codec/debezium_json.h"

static bool is_raw_bytes(const struct ow_dbz_schema *schema)
{
    return schema && schema->type == OW_DBZ_BYTES && schema->logic == OW_DBZ_PLAIN;
}

static int convert_json(bool has_schemas, bool is_numeric, struct ow_buf *to, const struct ow_dbz_schema *schema,
                        const struct ow_dbz_value *value)
{
    if (!schema && value->is_null)
        return 0;
    if (has_schemas) {
        ow_buf_add_text(to, "{\"schema\":");
        ow_dbz_json_schema(to, schema, is_numeric);
        ow_buf_add_text(to, ",\"payload\":");
    }
    ow_dbz_json_value(to, schema, value, is_numeric);
    if (has_schemas)
        ow_buf_add_char(to, '}');
    return 1;
}

/* What makes a text or JSON of any value: 1, or 0 for null. */
static int convert_any(int32_t kind, bool has_schemas, bool is_numeric, struct ow_buf *to,
                       const struct ow_dbz_schema *schema, const struct ow_dbz_value *value)
{
    if (kind == OW_DBZ_CONVERTER_JSON)
        return convert_json(has_schemas, is_numeric, to, schema, value);
    if (value->is_null)
        return 0;
    if (kind == OW_DBZ_CONVERTER_SIMPLE)
        ow_dbz_simple_text(to, schema, value);
    else
        ow_dbz_java_text(to, schema, value);
    return 1;
}

static int no_bytes(const char *why, struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "%s", why);
}

int ow_dbz_convert(const struct ow_dbz_converter *converter, struct ow_dbz_arena *arena,
                   const struct ow_dbz_schema *schema, const struct ow_dbz_value *value, bool is_header,
                   struct ow_bytes *ret, struct ow_error *err)
{
    int32_t kind = converter->kind;
    bool has_schemas = converter->has_schemas, is_bytes = kind == OW_DBZ_CONVERTER_BYTES;
    *ret = OW_NULL_BYTES;
    if (kind == OW_DBZ_CONVERTER_BYTES || kind == OW_DBZ_CONVERTER_BINARY) {
        if (!schema || is_raw_bytes(schema)) {
            *ret = value->is_null ? OW_NULL_BYTES : value->as.bytes;
            return 0;
        }
        if (is_bytes || converter->delegate < 0)
            return no_bytes(is_bytes ? "ByteArrayConverter takes bytes only, and this is something else"
                                     : "BinaryDataConverter takes bytes only, and this is something else; "
                                       "delegate.converter.type names what is to write it",
                            err);
        kind = converter->delegate;
        has_schemas = converter->delegate_has_schemas;
        if (kind == OW_DBZ_CONVERTER_BYTES)
            return no_bytes("ByteArrayConverter takes bytes only, and this is something else", err);
    }
    bool is_text = !schema || schema->type == OW_DBZ_STRING;
    bool is_as_it_is = kind == OW_DBZ_CONVERTER_STRING && !is_header && is_raw_bytes(schema);
    if (!value->is_null && kind != OW_DBZ_CONVERTER_JSON && (is_text || is_as_it_is)) {
        *ret = value->as.bytes;
        return 0;
    }
    OW_CLEANUP(ow_buf_done) struct ow_buf buf = {0};
    int has_bytes = convert_any(kind, has_schemas, converter->has_numeric_decimals, &buf, schema, value);
    int r = ow_buf_check(&buf, err);
    if (r == 0 && has_bytes)
        *ret = ow_dbz_copy(arena, ow_buf_bytes(&buf));
    return r != 0 ? r : ow_dbz_arena_check(arena, err);
}
