/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any headers, read as those of a dead letter: a line each, "name=value"; without "=" the value is null. Written once
 * more in each form, the place and the reason of the last failure are found again; sent back, nothing of the user's is
 * lost.
 */
#include "fuzz.h"

#include "codec/dead_letter_headers.h"

enum { HEADERS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_header headers[HEADERS_MAX], to[2 * HEADERS_MAX], back[2 * HEADERS_MAX];
    struct ow_dead_letter letter, again;
    struct ow_dead_letter_scratch scratch;
    size_t count = split_headers((struct ow_bytes){(const char *)data, size}, headers, HEADERS_MAX);
    int r = ow_dead_letter_read(headers, count, &letter);
    must(r == 0 || r == 1, "a dead letter or none");
    must(letter.origin.partition >= -1 && letter.last.offset >= -1 && letter.last.time_ms >= -1, "numbers");
    letter.last.topic = OW_BYTES("t"); /* one is always known to who writes */
    for (int form = OW_DEAD_LETTER_SPRING; form <= OW_DEAD_LETTER_NSERVICEBUS; form++) {
        size_t n = ow_dead_letter_write((enum ow_dead_letter_form)form, headers, count, &letter, to, &scratch);
        must(n <= count + OW_DEAD_LETTER_HEADERS_MAX, "room");
        must(ow_dead_letter_read(to, n, &again) == 1, "read again");
        must(ow_bytes_equal(again.last.topic, letter.last.topic), "topic");
        size_t left = ow_dead_letter_strip(to, n, back);
        must(left <= n, "fewer");
        must(ow_dead_letter_strip(back, left, back) == left, "stripped twice");
    }
    return 0;
}
