/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/record_headers.h"

#include "codec/json_value.h"

void ow_record_headers_write(struct ow_buf *to, const struct ow_header *headers, size_t count)
{
    ow_buf_add_char(to, '[');
    for (size_t i = 0; i < count; i++) {
        ow_buf_add_text(to, i ? ",[" : "[");
        ow_json_write_bytes(to, headers[i].name);
        ow_buf_add_char(to, ',');
        ow_json_write_bytes(to, headers[i].value);
        ow_buf_add_char(to, ']');
    }
    ow_buf_add_char(to, ']');
}

static int unexpected(struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "headers are an array of [name, value], and these are not");
}

int ow_record_headers_read(struct ow_bytes text, struct ow_header *headers, size_t max, size_t *ret_count,
                           struct ow_buf *scratch, struct ow_error *err)
{
    struct ow_json json;
    *ret_count = 0;
    if (text.size == 0)
        return 0;
    ow_buf_clear(scratch);
    if (!ow_buf_reserve(scratch, text.size)) /* so that nothing moves */
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_json_init(&json, text);
    int token = ow_json_next(&json, err);
    if (token != OW_JSON_ARRAY_BEGIN)
        return token < 0 ? token : unexpected(err);
    while ((token = ow_json_next(&json, err)) == OW_JSON_ARRAY_BEGIN) {
        if (*ret_count == max)
            return ow_error_set(err, OW_ETOOBIG, "more than %zu headers", max);
        struct ow_header *header = &headers[*ret_count];
        int r = ow_json_read_bytes(&json, scratch, &header->name, err);
        if (r == 0)
            r = ow_json_read_bytes(&json, scratch, &header->value, err);
        if (r < 0)
            return r;
        token = ow_json_next(&json, err);
        if (token != OW_JSON_ARRAY_END || !header->name.data)
            return token < 0 ? token : unexpected(err);
        ++*ret_count;
    }
    if (token == OW_JSON_ARRAY_END)
        token = ow_json_next(&json, err);
    return token == OW_JSON_END ? 0 : token < 0 ? token : unexpected(err);
}
