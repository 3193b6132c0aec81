/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: a borrowed run of bytes with its length, and a buffer that grows.
 *
 * A struct ow_bytes owns nothing and need not end in NUL. data == NULL means null, as in SQL, and is
 * another thing than empty. A struct ow_buf owns its memory; it latches the first failure to allocate,
 * so that a run of appends is checked once, at the end.
 */
#ifndef OW_BASE_BYTES_H
#define OW_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

struct ow_bytes {
    const char *data;
    size_t size;
};

#define OW_NULL_BYTES     ((struct ow_bytes){NULL, 0})
#define OW_BYTES(literal) ((struct ow_bytes){"" literal, sizeof(literal) - 1})
/* For printf("%.*s"): never more than 200 bytes of somebody else's data on a line. */
#define OW_PRINT(bytes) (int)((bytes).size > 200 ? 200 : (bytes).size), (bytes).data ? (bytes).data : ""

static inline struct ow_bytes ow_bytes_of(const char *text)
{
    return (struct ow_bytes){text, text ? strlen(text) : 0};
}

static inline bool ow_bytes_equal(struct ow_bytes a, struct ow_bytes b)
{
    if (!a.data || !b.data)
        return a.data == b.data;
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static inline bool ow_bytes_is(struct ow_bytes a, const char *text)
{
    return a.data && a.size == strlen(text) && memcmp(a.data, text, a.size) == 0;
}

/* A copy that ends in NUL, on the heap; of null bytes it is empty. NULL: out of memory. (strndup(3) may look for the
   NUL that borrowed bytes do not have.) */
char *ow_bytes_text(struct ow_bytes bytes);

/* Whether the bytes are well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, no surrogates). */
bool ow_utf8_is_valid(struct ow_bytes bytes);
/* Makes one line of UTF-8 of a text, in place: control characters become spaces, half a character at the end goes, and
   what else is no UTF-8 becomes "?". */
void ow_text_make_plain(char *text);

/* 64-bit hash for tables in memory (FNV-1a with a final mix); not for anything that is stored. */
uint64_t ow_hash(struct ow_bytes bytes);
/* 32-bit Murmur2 with the seed of Apache Kafka's default partitioner, so that the same key goes to the
   same partition number as with the Java client: (murmur2 & 0x7fffffff) % partitions. */
uint32_t ow_murmur2(struct ow_bytes bytes);

struct ow_buf {
    char *data; /* NUL after the last byte, once something was appended */
    size_t size, capacity;
    bool has_failed; /* an allocation failed; what was appended since is missing */
};

void ow_buf_done(struct ow_buf *buf); /* frees; the buffer may be used again */
static inline void ow_buf_clear(struct ow_buf *buf)
{
    buf->size = 0;
    buf->has_failed = false;
}
void ow_buf_add(struct ow_buf *buf, const void *data, size_t size);
void ow_buf_add_char(struct ow_buf *buf, char c);
void ow_buf_add_text(struct ow_buf *buf, const char *text);
static inline void ow_buf_add_bytes(struct ow_buf *buf, struct ow_bytes bytes)
{
    ow_buf_add(buf, bytes.data, bytes.size);
}
void ow_buf_printf(struct ow_buf *buf, const char *format, ...) OW_PRINTF(2, 3);
/* Makes room for `more` bytes after the end and returns where they go, or NULL. Does not change size. */
char *ow_buf_reserve(struct ow_buf *buf, size_t more);
static inline struct ow_bytes ow_buf_bytes(const struct ow_buf *buf)
{
    return (struct ow_bytes){buf->data ? buf->data : "", buf->size};
}
/* OW_ENOMEM if an append failed. */
int ow_buf_check(const struct ow_buf *buf, struct ow_error *err) OW_MUST_CHECK;

#define OW_CLEANUP(function) __attribute__((cleanup(function)))

#endif
