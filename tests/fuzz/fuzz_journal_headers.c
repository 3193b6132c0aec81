/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the headers of a row of the journal, and as headers that are written: a line each, "name=value". What is
 * read lies within what was read, and what is written is read as the same.
 */
#include "fuzz.h"

#include "broker/journal/file.h"

enum { HEADERS_MAX = 64 };

static void check_again(const struct ow_header *headers, size_t count)
{
    struct ow_header again[HEADERS_MAX];
    struct ow_buf text = {0};
    struct ow_error err = {0};
    ow_journal_headers_write(&text, headers, count);
    must(ow_journal_headers_read(ow_buf_bytes(&text), again, HEADERS_MAX, &err) == (int)count, "all are read again");
    for (size_t i = 0; i < count; i++) {
        must(ow_bytes_equal(headers[i].name, again[i].name), "the name");
        must(!headers[i].value.data == !again[i].value.data, "null is null");
        must(ow_bytes_equal(headers[i].value, again[i].value), "the value");
    }
    ow_buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes bytes = {(const char *)data, size};
    struct ow_header headers[HEADERS_MAX];
    struct ow_error err = {0};
    int count = ow_journal_headers_read(bytes, headers, HEADERS_MAX, &err);
    if (count < 0) {
        must(count == OW_ECORRUPT, "the code of the error");
        must_say_why(count, &err);
    }
    for (int i = 0; i < count && i < HEADERS_MAX; i++)
        must(headers[i].name.data >= bytes.data && headers[i].name.data + headers[i].name.size <= bytes.data + size,
             "a name within the bytes");
    if (count >= 0 && count <= HEADERS_MAX)
        check_again(headers, (size_t)count);
    check_again(headers, split_headers(bytes, headers, HEADERS_MAX));
    return 0;
}
