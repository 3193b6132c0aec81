/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json_value.h"

#include "codec/base64.h"

int ow_json_read_text(struct ow_json *json, struct ow_buf *scratch, struct ow_bytes *ret, struct ow_error *err)
{
    int token = ow_json_next(json, err);
    *ret = OW_NULL_BYTES;
    if (token < 0 || token == OW_JSON_NULL)
        return token < 0 ? token : 0;
    if (token != OW_JSON_STRING)
        return ow_error_set(err, OW_EINVALID, "must be a string or null");
    return ow_json_string(json, scratch, ret, err);
}

static int unexpected(int token, struct ow_error *err)
{
    return token < 0 ? token : ow_error_set(err, OW_EINVALID, "must be a string, null or {\"base64\": \"…\"}");
}

/* {"base64":"…"} after its brace. */
static int read_base64(struct ow_json *json, struct ow_buf *scratch, struct ow_bytes *ret, struct ow_error *err)
{
    int token = ow_json_next(json, err);
    if (token != OW_JSON_KEY || !ow_bytes_is(json->text, "base64"))
        return unexpected(token, err);
    token = ow_json_next(json, err);
    if (token != OW_JSON_STRING)
        return unexpected(token, err);
    size_t before = scratch->size;
    int r = ow_base64_decode(scratch, json->text, err);
    if (r < 0)
        return r;
    *ret = (struct ow_bytes){scratch->data + before, scratch->size - before};
    token = ow_json_next(json, err);
    return token == OW_JSON_OBJECT_END ? 0 : unexpected(token, err);
}

int ow_json_read_bytes(struct ow_json *json, struct ow_buf *scratch, struct ow_bytes *ret, struct ow_error *err)
{
    int token = ow_json_next(json, err);
    *ret = OW_NULL_BYTES;
    switch (token) {
    case OW_JSON_STRING:
        return ow_json_string(json, scratch, ret, err);
    case OW_JSON_NULL:
        return 0;
    case OW_JSON_OBJECT_BEGIN:
        return read_base64(json, scratch, ret, err);
    default:
        return unexpected(token, err);
    }
}

void ow_json_write_bytes(struct ow_buf *to, struct ow_bytes bytes)
{
    if (!bytes.data || ow_utf8_is_valid(bytes)) {
        ow_json_write_string(to, bytes);
        return;
    }
    ow_buf_add_text(to, "{\"base64\":\"");
    ow_base64_encode(to, bytes);
    ow_buf_add_text(to, "\"}");
}
