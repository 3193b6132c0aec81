/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *ow_bytes_text(struct ow_bytes bytes)
{
    char *text = malloc(bytes.size + 1);
    if (!text)
        return NULL;
    if (bytes.size)
        memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    return text;
}

bool ow_utf8_is_valid(struct ow_bytes bytes)
{
    if (bytes.size == 0) /* there may be no pointer to count from */
        return true;
    const unsigned char *s = (const unsigned char *)bytes.data, *end = s + bytes.size;
    while (s < end) {
        while (end - s >= 8) { /* eight ASCII bytes at a time */
            uint64_t word;
            memcpy(&word, s, 8);
            if (word & 0x8080808080808080u)
                break;
            s += 8;
        }
        if (s >= end)
            break;
        unsigned char c = *s++;
        if (c < 0x80)
            continue;
        unsigned char low = 0x80, high = 0xbf;
        int more;
        if (c >= 0xc2 && c <= 0xdf) {
            more = 1;
        } else if (c >= 0xe0 && c <= 0xef) {
            more = 2;
            if (c == 0xe0)
                low = 0xa0;
            if (c == 0xed)
                high = 0x9f;
        } else if (c >= 0xf0 && c <= 0xf4) {
            more = 3;
            if (c == 0xf0)
                low = 0x90;
            if (c == 0xf4)
                high = 0x8f;
        } else {
            return false;
        }
        for (; more > 0; more--, low = 0x80, high = 0xbf) {
            if (s >= end || *s < low || *s > high)
                return false;
            s++;
        }
    }
    return true;
}

void ow_text_make_plain(char *text)
{
    size_t n = 0, start;
    for (; text[n]; n++)
        if ((unsigned char)text[n] < 0x20 || text[n] == 0x7f)
            text[n] = ' ';
    for (start = n; start > 0 && n - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80;)
        start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0 &&
        !ow_utf8_is_valid((struct ow_bytes){text + start - 1, n - start + 1}))
        text[n = start - 1] = '\0';
    if (!ow_utf8_is_valid((struct ow_bytes){text, n}))
        for (size_t i = 0; i < n; i++)
            text[i] = (unsigned char)text[i] >= 0x80 ? '?' : text[i];
}

uint64_t ow_hash(struct ow_bytes bytes)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes.size; i++)
        h = (h ^ (unsigned char)bytes.data[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

uint32_t ow_murmur2(struct ow_bytes bytes)
{
    const uint32_t m = 0x5bd1e995;
    const unsigned char *p = (const unsigned char *)bytes.data;
    size_t left = bytes.size;
    uint32_t h = 0x9747b28cu ^ (uint32_t)bytes.size;
    for (; left >= 4; p += 4, left -= 4) {
        uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = (h * m) ^ k;
    }
    if (left >= 3)
        h ^= (uint32_t)p[2] << 16;
    if (left >= 2)
        h ^= (uint32_t)p[1] << 8;
    if (left >= 1)
        h = (h ^ p[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ (h >> 15);
}

void ow_buf_done(struct ow_buf *buf)
{
    free(buf->data);
    *buf = (struct ow_buf){0};
}

char *ow_buf_reserve(struct ow_buf *buf, size_t more)
{
    if (buf->has_failed)
        return NULL;
    if (more >= buf->capacity - buf->size) { /* one byte is kept for the NUL */
        size_t want = buf->capacity ? buf->capacity : 64;
        if (more > SIZE_MAX / 4 - buf->size) {
            buf->has_failed = true;
            return NULL;
        }
        while (want - buf->size <= more)
            want *= 2;
        char *data = realloc(buf->data, want);
        if (!data) {
            buf->has_failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = want;
    }
    return buf->data + buf->size;
}

void ow_buf_add(struct ow_buf *buf, const void *data, size_t size)
{
    char *to = ow_buf_reserve(buf, size);
    if (!to)
        return;
    if (size)
        memcpy(to, data, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void ow_buf_add_char(struct ow_buf *buf, char c)
{
    ow_buf_add(buf, &c, 1);
}

void ow_buf_add_text(struct ow_buf *buf, const char *text)
{
    ow_buf_add(buf, text, strlen(text));
}

void ow_buf_printf(struct ow_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = n < 0 ? NULL : ow_buf_reserve(buf, (size_t)n);
    if (to) {
        (void)vsnprintf(to, (size_t)n + 1, format, again);
        buf->size += (size_t)n;
    } else {
        buf->has_failed = true;
    }
    va_end(again);
}

int ow_buf_check(const struct ow_buf *buf, struct ow_error *err)
{
    return buf->has_failed ? ow_error_set(err, OW_ENOMEM, "out of memory") : 0;
}
