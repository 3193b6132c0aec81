/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void ow_base64_encode(struct ow_buf *buf, struct ow_bytes bytes)
{
    if (bytes.size > SIZE_MAX / 8) {
        buf->has_failed = true;
        return;
    }
    size_t size = (bytes.size + 2) / 3 * 4;
    char *to = ow_buf_reserve(buf, size);
    if (!to)
        return;
    const unsigned char *s = (const unsigned char *)bytes.data;
    for (size_t left = bytes.size; left > 0; to += 4) {
        size_t n = left < 3 ? left : 3;
        uint32_t bits = (uint32_t)s[0] << 16 | (n > 1 ? (uint32_t)s[1] << 8 : 0) | (n > 2 ? s[2] : 0);
        to[0] = alphabet[bits >> 18];
        to[1] = alphabet[bits >> 12 & 63];
        to[2] = n > 1 ? alphabet[bits >> 6 & 63] : '=';
        to[3] = n > 2 ? alphabet[bits & 63] : '=';
        s += n;
        left -= n;
    }
    *to = '\0';
    buf->size += size;
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int ow_base64_decode(struct ow_buf *buf, struct ow_bytes text, struct ow_error *err)
{
    if (text.size % 4 != 0)
        return ow_error_set(err, OW_EINVALID, "not base64: %zu characters, which is no multiple of 4", text.size);
    size_t padding = 0, size = text.size / 4 * 3, at = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=')
        padding++;
    char *to = ow_buf_reserve(buf, size);
    if (!to)
        return ow_buf_check(buf, err);
    for (; at < text.size; at += 4) {
        size_t digits = at + 4 == text.size ? 4 - padding : 4;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            int value = i < digits ? digit_value(text.data[at + i]) : 0;
            if (value < 0)
                return ow_error_set(err, OW_EINVALID, "not base64: a bad character at %zu", at + i + 1);
            bits = bits << 6 | (uint32_t)value;
        }
        if (digits < 4 && (bits & (digits == 3 ? 0xffu : 0xffffu)) != 0)
            return ow_error_set(err, OW_EINVALID, "not base64: bits left over at %zu", at + digits);
        *to++ = (char)(bits >> 16);
        *to++ = (char)(bits >> 8);
        *to++ = (char)bits;
    }
    buf->size += size - padding;
    buf->data[buf->size] = '\0';
    return 0;
}
