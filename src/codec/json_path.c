/* SPDX-License-Identifier: Apache-2.0 */
/* The value at a path of a JSON text, found without a tree of it. */
#include "codec/json.h"

/* Forgets what was appended since the buffer had `size` bytes. */
static void cut_back(struct ow_buf *buf, size_t size)
{
    if (buf->size > size) {
        buf->size = size;
        buf->data[size] = '\0';
    }
}

/* The number that a path element is, or SIZE_MAX: such an element is in no array. */
static size_t array_index(struct ow_bytes element)
{
    size_t index = 0;
    if (element.size == 0 || element.size > 9 || (element.data[0] == '0' && element.size > 1))
        return SIZE_MAX;
    for (size_t i = 0; i < element.size; i++) {
        if (element.data[i] < '0' || element.data[i] > '9')
            return SIZE_MAX;
        index = index * 10 + (size_t)(element.data[i] - '0');
    }
    return index;
}

/* One step of a path: 1 and the JSON text of the member or element, or 0. Reads the whole value, so that
   what is not JSON is found wherever it is. */
static int find_child(struct ow_bytes value, struct ow_bytes element, struct ow_buf *scratch, struct ow_bytes *ret,
                      struct ow_error *err)
{
    struct ow_json json;
    ow_json_init(&json, value);
    int token = ow_json_next(&json, err), is_found = 0;
    size_t wanted = token == OW_JSON_ARRAY_BEGIN ? array_index(element) : 0, before = scratch->size;
    for (size_t i = 0; token > 0; i++) {
        token = ow_json_next(&json, err);
        if (token <= 0 || json.depth == 0)
            continue;
        bool is_it = token != OW_JSON_KEY && i == wanted;
        struct ow_bytes text;
        if (token == OW_JSON_KEY) {
            int r = ow_json_string(&json, scratch, &text, err);
            if (r < 0)
                return r;
            is_it = ow_bytes_equal(text, element);
            cut_back(scratch, before);
        }
        int r = ow_json_skip(&json, &text, err);
        if (r < 0)
            return r;
        if (is_it) {
            *ret = text;
            is_found = 1;
        }
    }
    return token < 0 ? token : is_found;
}

/* Where the value at a path stands. 1, 0, < 0. */
static int find_path(struct ow_bytes text, struct ow_bytes path, struct ow_buf *scratch, struct ow_bytes *ret,
                     struct ow_error *err)
{
    if (!text.data)
        return 0;
    for (struct ow_bytes rest = path; rest.data;) {
        const char *dot = rest.size ? memchr(rest.data, '.', rest.size) : NULL;
        struct ow_bytes element = {rest.data, dot ? (size_t)(dot - rest.data) : rest.size};
        int r = find_child(text, element, scratch, &text, err);
        if (r <= 0)
            return r;
        rest = dot ? (struct ow_bytes){dot + 1, rest.size - element.size - 1} : OW_NULL_BYTES;
    }
    *ret = text;
    return 1;
}

int ow_json_lookup_any(struct ow_bytes text, struct ow_bytes path, struct ow_buf *to, struct ow_error *err)
{
    struct ow_json json;
    struct ow_bytes found;
    int r = find_path(text, path, to, &found, err);
    if (r <= 0)
        return r;
    ow_json_init(&json, found);
    int token = ow_json_next(&json, err);
    if (token != OW_JSON_OBJECT_BEGIN && token != OW_JSON_ARRAY_BEGIN)
        return ow_json_lookup(text, path, to, err);
    ow_buf_add_bytes(to, found);
    r = ow_buf_check(to, err);
    return r < 0 ? r : 1;
}

int ow_json_lookup(struct ow_bytes text, struct ow_bytes path, struct ow_buf *to, struct ow_error *err)
{
    struct ow_json json;
    struct ow_bytes found;
    int r = find_path(text, path, to, &text, err);
    if (r <= 0)
        return r;
    ow_json_init(&json, text);
    int token = ow_json_next(&json, err);
    if (token < 0 || token == OW_JSON_NULL)
        return token < 0 ? token : 0;
    if (token == OW_JSON_OBJECT_BEGIN || token == OW_JSON_ARRAY_BEGIN)
        return ow_error_set(err, OW_EINVALID, "%s stands at \"%.*s\", not a string, a number or a boolean",
                            token == OW_JSON_OBJECT_BEGIN ? "an object" : "an array", OW_PRINT(path));
    if (token != OW_JSON_STRING || !json.has_escapes) {
        ow_buf_add_bytes(to, json.text);
    } else {
        r = ow_json_string(&json, to, &found, err);
        if (r < 0)
            return r;
    }
    r = ow_buf_check(to, err);
    return r < 0 ? r : 1;
}
