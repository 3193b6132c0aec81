/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as a line of JSON, as headers, as a document that is looked into, and as base64. What is
 * read as a record is written and read again and must be the same record.
 */
#include "fuzz.h"

#include "codec/base64.h"
#include "codec/json.h"
#include "codec/jsonl.h"

#define HEADERS_MAX 16

static void compare_headers(const struct ow_header *a, const struct ow_header *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        must(ow_bytes_equal(a[i].name, b[i].name), "same name of a header");
        must(ow_bytes_equal(a[i].value, b[i].value), "same value of a header");
    }
}

static void compare(const struct ow_record *a, const struct ow_record *b)
{
    const struct ow_message *m = &a->message, *n = &b->message;
    must(a->partition == b->partition && a->offset == b->offset, "same place");
    must(m->time_ms == n->time_ms, "same time");
    must(ow_bytes_equal(m->topic, n->topic), "same topic");
    must(ow_bytes_equal(m->id, n->id), "same id");
    must(ow_bytes_equal(m->key, n->key), "same key");
    must(ow_bytes_equal(m->type, n->type), "same type");
    must(ow_bytes_equal(m->payload, n->payload), "same payload");
    must(m->header_count == n->header_count, "as many headers");
    compare_headers(m->headers, n->headers, m->header_count);
}

static void try_record(struct ow_bytes input)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch_again = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
    struct ow_header headers[HEADERS_MAX], headers_again[HEADERS_MAX + 1];
    struct ow_record record, again;
    struct ow_error err = {0};
    if (ow_jsonl_read(input, &record, headers, HEADERS_MAX, &scratch, &err) < 0) {
        must(err.code < 0 && err.text[0], "an error says what it is");
        return;
    }
    ow_jsonl_write(&line, &record);
    must(!line.has_failed && memchr(line.data, '\n', line.size) == line.data + line.size - 1, "one line");
    /* One more than there were: a type that was taken out of them is one of them again. */
    int r = ow_jsonl_read(ow_buf_bytes(&line), &again, headers_again, HEADERS_MAX + 1, &scratch_again, &err);
    must(r == 0, err.text);
    compare(&record, &again);
}

static void try_headers(struct ow_bytes input)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch_again = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    struct ow_header headers[HEADERS_MAX], again[HEADERS_MAX];
    size_t count = 0, count_again = 0;
    struct ow_error err = {0};
    ow_buf_add_text(&scratch, "what is there already stays");
    if (ow_json_read_headers(input, headers, HEADERS_MAX, &count, &scratch, &err) < 0)
        return;
    ow_json_write_headers(&text, headers, count);
    must(ow_json_read_headers(ow_buf_bytes(&text), again, HEADERS_MAX, &count_again, &scratch_again, &err) == 0,
         "written headers can be read");
    must(count == count_again, "as many headers");
    compare_headers(headers, again, count);
}

static void try_lookup(struct ow_bytes input)
{
    static const char *const paths[] = {"a", "a.b.0.c", "0.1", "value.base64", ""};
    OW_CLEANUP(ow_buf_done) struct ow_buf found = {0};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        size_t before = found.size;
        if (ow_json_lookup(input, ow_bytes_of(paths[i]), &found, NULL) != 1)
            must(found.size == before, "nothing is appended unless it is found");
    }
    must(ow_utf8_is_valid(ow_buf_bytes(&found)), "what is found is UTF-8");
}

static void try_base64(struct ow_bytes input)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf bytes = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    if (ow_base64_decode(&bytes, input, NULL) == 0) {
        ow_base64_encode(&text, ow_buf_bytes(&bytes));
        must(ow_bytes_equal(input, ow_buf_bytes(&text)), "one text for the same bytes");
    }
    ow_buf_clear(&bytes);
    ow_buf_clear(&text);
    ow_base64_encode(&text, input);
    must(ow_base64_decode(&bytes, ow_buf_bytes(&text), NULL) == 0, "what was encoded can be decoded");
    must(ow_bytes_equal(input, ow_buf_bytes(&bytes)), "the same bytes again");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes input = {size ? (const char *)data : "", size};
    try_record(input);
    try_headers(input);
    try_lookup(input);
    try_base64(input);
    return 0;
}
