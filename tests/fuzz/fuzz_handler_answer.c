/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a handler answers: a line of a program, a list of messages to publish, an event or a batch of
 * CloudEvents. What is taken lies in its own memory and within the limits of a message.
 */
#include "fuzz.h"

#include "handler/emitted.h"
#include "handler/exec_line.h"

static void check_answer(struct ow_bytes line)
{
    struct ow_exec_answer answer;
    struct ow_buf scratch = {0};
    struct ow_error err = {0};
    int r = ow_exec_read_answer(line, &scratch, &answer, &err);
    if (r < 0) {
        must(r == OW_EINVALID, "the code of the error");
        must_say_why(r, &err);
    } else {
        must(answer.id.data, "an answer is for a message");
        must(answer.retry_after_ms >= -1, "a time to wait");
    }
    ow_buf_done(&scratch);
}

static void check_emitted(int r, struct ow_emitted *emitted, const struct ow_error *err)
{
    if (r < 0) {
        must(r == OW_EINVALID || r == OW_ETOOBIG, "the code of the error");
        must_say_why(r, err);
        return;
    }
    size_t count = emitted ? emitted->count : 0;
    must(count <= OW_EMITTED_MAX, "no more than may be");
    for (size_t i = 0; i < count; i++) {
        struct ow_message *m = &emitted->messages[i];
        must(m->id.size > 0, "every message has an id");
        for (size_t h = 0; h < m->header_count; h++)
            must(m->headers[h].name.data, "every header has a name");
    }
    ow_emitted_free(emitted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes text = {(const char *)data, size};
    check_answer(text);
    for (int form = 0; form < 3; form++) {
        struct ow_emitted *emitted = NULL;
        struct ow_error err = {0};
        int r = form == 0 ? ow_emitted_read_list(text, &emitted, &err)
                          : ow_emitted_read_cloud_events(text, form == 2, &emitted, &err);
        check_emitted(r, emitted, &err);
    }
    return 0;
}
