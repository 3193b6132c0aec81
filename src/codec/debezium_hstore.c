/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_hstore.h"

#include <stdlib.h>

#include "codec/debezium_json.h"

/* String.hashCode(), as HashMap spreads it. */
static uint32_t java_hash(struct ow_bytes text)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < text.size;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        uint32_t code = length == 1 ? c : c & (0x7fU >> length);
        for (size_t at = i + 1; at < i + length && at < text.size; at++)
            code = code << 6 | ((unsigned char)text.data[at] & 63);
        if (code > 0xffff) {
            hash = 31 * hash + 0xd800 + ((code - 0x10000) >> 10);
            code = 0xdc00 + ((code - 0x10000) & 0x3ff);
        }
        hash = 31 * hash + code;
        i += length;
    }
    return hash ^ hash >> 16;
}

struct pair {
    uint32_t bucket;
    size_t at;
};

static int compare_pairs(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    if (a->bucket != b->bucket)
        return a->bucket < b->bucket ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

int ow_dbz_hstore_sort(struct ow_dbz_arena *arena, struct ow_dbz_value *map, struct ow_error *err)
{
    size_t count = map->as.list.count / 2, capacity = 16;
    const struct ow_dbz_value *from = map->as.list.items;
    while (count > capacity / 4 * 3)
        capacity *= 2;
    struct pair *pairs = ow_dbz_alloc_array(arena, count, sizeof(*pairs));
    struct ow_dbz_value *items = ow_dbz_alloc_array(arena, 2 * count, sizeof(*items));
    int r = ow_dbz_arena_check(arena, err);
    if (r != 0 || count == 0)
        return r;
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct pair){java_hash(from[2 * i].as.bytes) & (uint32_t)(capacity - 1), i};
    qsort(pairs, count, sizeof(*pairs), compare_pairs);
    for (size_t i = 0; i < count; i++) {
        items[2 * i] = from[2 * pairs[i].at];
        items[2 * i + 1] = from[2 * pairs[i].at + 1];
    }
    map->as.list.items = items;
    return 0;
}

/* As a converter writes it, but for letters beyond U+FFFF: they stay. */
static void add_json_text(struct ow_buf *to, struct ow_bytes text)
{
    ow_buf_add_char(to, '"');
    for (size_t from = 0, at = 0; from < text.size; from = at) {
        bool is_beyond = (unsigned char)text.data[from] >= 0xf0;
        for (at = from; at < text.size && ((unsigned char)text.data[at] >= 0xf0) == is_beyond;)
            at += is_beyond && text.size - at >= 4 ? 4 : 1;
        struct ow_bytes part = {text.data + from, at - from};
        if (is_beyond)
            ow_buf_add_bytes(to, part);
        else
            ow_dbz_json_escape(to, part);
    }
    ow_buf_add_char(to, '"');
}

void ow_dbz_hstore_json(struct ow_buf *to, const struct ow_dbz_value *map)
{
    ow_buf_add_char(to, '{');
    for (size_t i = 0; i < map->as.list.count; i += 2) {
        const struct ow_dbz_value *value = &map->as.list.items[i + 1];
        ow_buf_add_text(to, i == 0 ? "" : ",");
        add_json_text(to, map->as.list.items[i].as.bytes);
        ow_buf_add_char(to, ':');
        if (value->is_null)
            ow_buf_add_text(to, "null");
        else
            add_json_text(to, value->as.bytes);
    }
    ow_buf_add_char(to, '}');
}
