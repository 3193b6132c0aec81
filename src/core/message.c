/* SPDX-License-Identifier: Apache-2.0 */
#include "core/message.h"

#include <stddef.h>
#include <stdlib.h>

const struct ow_message_limits ow_message_limits_default = {
    .payload_bytes_max = 1 << 20,
    .key_bytes_max = 64 << 10,
    .headers_bytes_max = 64 << 10,
    .header_count_max = 256,
    .topic_bytes_max = 249,
};

static bool has_control(struct ow_bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        if ((unsigned char)bytes.data[i] < 0x20 || bytes.data[i] == 0x7f)
            return true;
    return false;
}

/* Whether one of eight bytes is over 0x7f, under 0x20, or 0x7f. */
static bool has_unprintable(const char *bytes)
{
    const uint64_t ones = 0x0101010101010101u, highs = ones * 0x80;
    uint64_t w;
    memcpy(&w, bytes, sizeof w);
    return ((w | (w - ones * 0x20) | (w + ones)) & highs) != 0;
}

/* Printable ASCII and nothing else, as nearly all names are: eight bytes at a time, the last ones perhaps twice. */
static bool is_printable(struct ow_bytes bytes)
{
    size_t i = 0;
    for (; i + 8 <= bytes.size; i += 8)
        if (has_unprintable(bytes.data + i))
            return false;
    if (i < bytes.size && bytes.size > 8)
        return !has_unprintable(bytes.data + bytes.size - 8);
    for (; i < bytes.size; i++)
        if ((unsigned char)bytes.data[i] < 0x20 || (unsigned char)bytes.data[i] >= 0x7f)
            return false;
    return true;
}

/* A short piece of text that names something: UTF-8, no control characters, within a limit. */
static int check_name(const char *field, struct ow_bytes bytes, size_t size_max, struct ow_error *err)
{
    if (bytes.size > size_max)
        return ow_error_set(err, OW_ETOOBIG, "%s has %zu bytes, the limit is %zu", field, bytes.size, size_max);
    if (is_printable(bytes))
        return 0;
    if (!ow_utf8_is_valid(bytes))
        return ow_error_set(err, OW_EINVALID, "%s is not valid UTF-8", field);
    if (has_control(bytes))
        return ow_error_set(err, OW_EINVALID, "%s has a control character or a line break in it", field);
    return 0;
}

static int check_header_value(const struct ow_header *h, struct ow_error *err)
{
    for (size_t i = 0; i < h->value.size; i++)
        if (h->value.data[i] == '\n' || h->value.data[i] == '\r' || h->value.data[i] == '\0')
            return ow_error_set(err, OW_EINVALID, "header \"%.*s\" has a line break or NUL in its value",
                                OW_PRINT(h->name));
    if (!ow_utf8_is_valid(h->value))
        return ow_error_set(err, OW_EINVALID, "header \"%.*s\" is not valid UTF-8", OW_PRINT(h->name));
    return 0;
}

static int check_headers(const struct ow_message *m, const struct ow_message_limits *limits, struct ow_error *err)
{
    if (m->header_count > limits->header_count_max)
        return ow_error_set(err, OW_ETOOBIG, "the message has %zu headers, the limit is %zu", m->header_count,
                            limits->header_count_max);
    size_t bytes = 0;
    for (size_t i = 0; i < m->header_count; i++) {
        const struct ow_header *h = &m->headers[i];
        if (!h->name.data || h->name.size == 0)
            return ow_error_set(err, OW_EINVALID, "a header has an empty name");
        int r = check_name("a header name", h->name, limits->headers_bytes_max, err);
        if (r < 0)
            return r;
        r = m->is_shaped ? 0 : check_header_value(h, err);
        if (r < 0)
            return r;
        bytes += h->name.size + h->value.size;
    }
    if (bytes > limits->headers_bytes_max)
        return ow_error_set(err, OW_ETOOBIG, "the headers have %zu bytes, the limit is %zu", bytes,
                            limits->headers_bytes_max);
    return 0;
}

static bool is_plain(struct ow_bytes bytes, size_t size_max)
{
    return bytes.size <= size_max && is_printable(bytes);
}

/* As nearly all are: then nothing has to be found out about any single one. */
static bool has_plain_names(const struct ow_message *m, const struct ow_message_limits *limits)
{
    bool is_key_other = m->key.data != m->aggregate_id.data || m->key.size != m->aggregate_id.size;
    return !m->is_shaped && m->id.size > 0 && is_plain(m->id, limits->key_bytes_max) &&
           is_plain(m->aggregate_type, limits->key_bytes_max) && is_plain(m->aggregate_id, limits->key_bytes_max) &&
           is_plain(m->type, limits->key_bytes_max) && (!is_key_other || is_plain(m->key, limits->key_bytes_max)) &&
           is_plain(m->topic, limits->topic_bytes_max);
}

static int check_names(const struct ow_message *m, const struct ow_message_limits *limits, struct ow_error *err)
{
    const struct {
        const char *name;
        struct ow_bytes bytes;
        size_t size_max;
        bool is_needed, is_written; /* is_written: part of a record, and all that counts of a shaped message */
    } fields[] = {
        {"id", m->id, limits->key_bytes_max, true, false},
        {"aggregatetype", m->aggregate_type, limits->key_bytes_max, false, false},
        {"aggregateid", m->aggregate_id, limits->key_bytes_max, false, false},
        {"type", m->type, limits->key_bytes_max, false, false},
        {"key", m->key, limits->key_bytes_max, false, false},
        {"topic", m->topic, limits->topic_bytes_max, false, true},
    };
    if (m->is_shaped && m->key.size > limits->key_bytes_max)
        return ow_error_set(err, OW_ETOOBIG, "key has %zu bytes, the limit is %zu", m->key.size, limits->key_bytes_max);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (m->is_shaped && !fields[i].is_written)
            continue;
        if (fields[i].is_needed && fields[i].bytes.size == 0)
            return ow_error_set(err, OW_EINVALID, "%s is empty", fields[i].name);
        int r = check_name(fields[i].name, fields[i].bytes, fields[i].size_max, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int ow_message_check(const struct ow_message *m, const struct ow_message_limits *limits, struct ow_error *err)
{
    if (m->defect.data)
        return ow_error_set(err, OW_EINVALID, "%.*s", OW_PRINT(m->defect));
    int r = has_plain_names(m, limits) ? 0 : check_names(m, limits, err);
    if (r < 0)
        return r;
    if (m->topic.data && m->topic.size == 0)
        return ow_error_set(err, OW_EINVALID, "topic is empty");
    if (m->payload.size > limits->payload_bytes_max)
        return ow_error_set(err, OW_ETOOBIG, "payload has %zu bytes, the limit is %zu", m->payload.size,
                            limits->payload_bytes_max);
    return m->header_count > 0 ? check_headers(m, limits, err) : 0;
}

size_t ow_message_size(const struct ow_message *m)
{
    size_t size = sizeof *m + m->header_count * sizeof *m->headers + m->id.size + m->topic.size + m->key.size +
                  m->type.size + m->aggregate_type.size + m->aggregate_id.size + m->payload.size + m->defect.size +
                  m->image.size;
    for (size_t i = 0; i < m->header_count; i++)
        size += m->headers[i].name.size + m->headers[i].value.size;
    return size;
}

/* Copies the bytes to *at and moves it on; null stays null, and empty stays a non-null pointer. */
static struct ow_bytes put(char **at, struct ow_bytes bytes)
{
    if (!bytes.data)
        return OW_NULL_BYTES;
    struct ow_bytes copy = {*at, bytes.size};
    if (bytes.size)
        memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return copy;
}

/* One spare byte, so that an empty field at the very end still points into the block. */
static size_t block_size(const struct ow_message *m)
{
    return ow_message_size(m) + 1;
}

static struct ow_message *fill(void *block, const struct ow_message *m, struct ow_message_piece *piece)
{
    struct ow_message *copy = block;
    struct ow_header *headers = (struct ow_header *)(copy + 1);
    char *at = (char *)(headers + m->header_count);
    *copy = *m;
    copy->row = NULL;
    copy->piece = piece;
    copy->headers = m->header_count ? headers : NULL;
    copy->id = put(&at, m->id);
    copy->topic = put(&at, m->topic);
    copy->key = put(&at, m->key);
    copy->type = put(&at, m->type);
    copy->aggregate_type = put(&at, m->aggregate_type);
    copy->aggregate_id = put(&at, m->aggregate_id);
    copy->payload = put(&at, m->payload);
    copy->defect = put(&at, m->defect);
    copy->image = put(&at, m->image);
    for (size_t i = 0; i < m->header_count; i++) {
        headers[i].name = put(&at, m->headers[i].name);
        headers[i].value = put(&at, m->headers[i].value);
    }
    return copy;
}

struct ow_message *ow_message_copy(const struct ow_message *m)
{
    void *block = malloc(block_size(m));
    return block ? fill(block, m, NULL) : NULL;
}

/* --- in pieces ----------------------------------------------------------------------------------------- */

enum { PIECE_BYTES = 64 << 10, SHARE_BYTES_MAX = PIECE_BYTES / 8 };

struct ow_message_piece {
    size_t used;
    uint32_t users; /* messages, and the pool while it fills this one */
    _Alignas(max_align_t) char bytes[];
};

static void leave(struct ow_message_piece *piece)
{
    if (--piece->users == 0)
        free(piece);
}

void ow_message_pool_done(struct ow_message_pool *pool)
{
    if (pool->piece)
        leave(pool->piece);
    pool->piece = NULL;
}

struct ow_message *ow_message_copy_to(struct ow_message_pool *pool, const struct ow_message *m)
{
    const size_t align = _Alignof(max_align_t);
    size_t size = (block_size(m) + align - 1) / align * align;
#ifdef __SANITIZE_ADDRESS__ /* each has a block of its own: who reads too far is found out */
    size = SHARE_BYTES_MAX + 1;
#endif
    if (size > SHARE_BYTES_MAX)
        return ow_message_copy(m);
    if (!pool->piece || pool->piece->used + size > PIECE_BYTES) {
        struct ow_message_piece *piece = malloc(sizeof *piece + PIECE_BYTES);
        if (!piece)
            return NULL;
        ow_message_pool_done(pool);
        piece->used = 0;
        piece->users = 1;
        pool->piece = piece;
    }
    struct ow_message *copy = fill(pool->piece->bytes + pool->piece->used, m, pool->piece);
    pool->piece->used += size;
    pool->piece->users++;
    return copy;
}

void ow_message_free(struct ow_message *message)
{
    if (message && message->piece)
        leave(message->piece);
    else
        free(message);
}
