/* SPDX-License-Identifier: Apache-2.0 */
/* Headers as an object of JSON. */
#include "codec/json.h"

static bool is_blank(struct ow_bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!strchr(" \t\r\n", text.data[i]) || !text.data[i])
            return false;
    return true;
}

static int read_header(struct ow_json *json, struct ow_header *ret, struct ow_buf *scratch, struct ow_error *err)
{
    int r = ow_json_string(json, scratch, &ret->name, err);
    if (r < 0)
        return r;
    int token = ow_json_next(json, err);
    if (token < 0)
        return token;
    if (token == OW_JSON_STRING)
        return ow_json_string(json, scratch, &ret->value, err);
    r = ow_json_skip(json, &ret->value, err);
    if (token == OW_JSON_NULL)
        ret->value = OW_NULL_BYTES;
    return r;
}

int ow_json_read_headers(struct ow_bytes text, struct ow_header *headers, size_t max, size_t *ret_count,
                         struct ow_buf *scratch, struct ow_error *err)
{
    *ret_count = 0;
    if (is_blank(text))
        return 0;
    /* Enough for all that can follow: from here on nothing in scratch moves. */
    if (memchr(text.data, '\\', text.size) && !ow_buf_reserve(scratch, text.size))
        return ow_buf_check(scratch, err);
    struct ow_json json;
    ow_json_init(&json, text);
    size_t count = 0;
    int token = ow_json_next(&json, err);
    if (token > 0 && token != OW_JSON_OBJECT_BEGIN && token != OW_JSON_NULL)
        return ow_error_set(err, OW_EINVALID, "headers must be a JSON object, {\"name\": \"value\"}");
    while (token > 0 && (token = ow_json_next(&json, err)) == OW_JSON_KEY) {
        if (count == max)
            return ow_error_set(err, OW_ETOOBIG, "more than %zu headers", max);
        int r = read_header(&json, &headers[count++], scratch, err);
        if (r < 0)
            return r;
    }
    if (token > 0) /* the closing brace */
        token = ow_json_next(&json, err);
    if (token < 0)
        return token;
    *ret_count = count;
    return 0;
}

void ow_json_write_headers(struct ow_buf *to, const struct ow_header *headers, size_t count)
{
    ow_buf_add_char(to, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            ow_buf_add_char(to, ',');
        ow_json_write_string(to, headers[i].name.data ? headers[i].name : OW_BYTES(""));
        ow_buf_add_char(to, ':');
        ow_json_write_string(to, headers[i].value);
    }
    ow_buf_add_char(to, '}');
}
