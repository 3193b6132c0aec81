/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the text of a record's headers, and as headers that are written: a line each, "name=value"; without "="
 * the value is null. What is read or given, written and read once more, is the same.
 */
#include "fuzz.h"

#include "codec/record_headers.h"

enum { HEADERS_MAX = 64 };

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
    check_again(headers, split_headers(text, headers, HEADERS_MAX));
    return 0;
}
