/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the text of a record's headers, and as headers that are written: a line each, "name=value"; without "="
 * the value is null. What is read or given, written and read once more, is the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/record_headers.h"

enum { HEADERS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

static void check_again(const struct ow_header *headers, size_t count)
{
    struct ow_header again[HEADERS_MAX];
    struct ow_buf text = {0}, scratch = {0};
    struct ow_error err;
    size_t found;
    ow_record_headers_write(&text, headers, count);
    must(ow_record_headers_read(ow_buf_bytes(&text), again, HEADERS_MAX, &found, &scratch, &err) == 0, "it is read");
    must(found == count, "none is lost");
    for (size_t i = 0; i < count; i++) {
        must(ow_bytes_equal(headers[i].name, again[i].name), "the name");
        must(!headers[i].value.data == !again[i].value.data, "null is null");
        must(ow_bytes_equal(headers[i].value, again[i].value), "the value");
    }
    ow_buf_done(&text);
    ow_buf_done(&scratch);
}

static size_t split(struct ow_bytes text, struct ow_header *to)
{
    size_t count = 0;
    while (text.size > 0 && count < HEADERS_MAX) {
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes text = {(const char *)data, size};
    struct ow_header headers[HEADERS_MAX];
    struct ow_buf scratch = {0};
    struct ow_error err = {0};
    size_t count;
    int r = ow_record_headers_read(text, headers, HEADERS_MAX, &count, &scratch, &err);
    if (r == 0)
        check_again(headers, count);
    else
        must((r == OW_EINVALID || r == OW_ETOOBIG) && err.text[0] && !strchr(err.text, '\n'), "one line of text");
    ow_buf_done(&scratch);
    check_again(headers, split(text, headers));
    return 0;
}
