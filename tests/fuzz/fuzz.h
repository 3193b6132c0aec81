/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. */
#ifndef OW_TESTS_FUZZ_H
#define OW_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

/* A failure says so with its code and with one line of text. */
static inline void must_say_why(int r, const struct ow_error *err)
{
    must(r == err->code && err->text[0] && !strchr(err->text, '\n'), "one line of text");
}

/* What stands before the first NUL, which goes; null bytes when nothing is left. */
static inline struct ow_bytes cut_field(struct ow_bytes *rest)
{
    const char *end = rest->size ? memchr(rest->data, '\0', rest->size) : NULL;
    struct ow_bytes field = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
    *rest = end ? (struct ow_bytes){end + 1, rest->size - field.size - 1} : OW_NULL_BYTES;
    return field;
}

/* A line each, "name=value"; without "=" the value is null. Returns how many; at most `max`. */
static inline size_t split_headers(struct ow_bytes text, struct ow_header *to, size_t max)
{
    size_t count = 0;
    while (text.size > 0 && count < max) {
        const char *end = memchr(text.data, '\n', text.size);
        size_t length = end ? (size_t)(end - text.data) : text.size;
        const char *equals = memchr(text.data, '=', length);
        size_t name = equals ? (size_t)(equals - text.data) : length;
        to[count++] = (struct ow_header){{text.data, name},
                                         equals ? (struct ow_bytes){equals + 1, length - name - 1} : OW_NULL_BYTES};
        length += end != NULL;
        text = (struct ow_bytes){text.data + length, text.size - length};
    }
    return count;
}

#endif
