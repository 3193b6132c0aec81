/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines that a program reads and writes: one message, one answer. Private to src/handler.
 *
 *     {"id":"…","attempt":1,"topic":"orders","partition":0,"offset":17,"time":"2026-11-21T12:40:00.123Z","key":"42",
 *      "type":"OrderPlaced","headers":{"trace":"…"},"payload":"…"}
 *
 * key, payload: null, or text; what is not UTF-8 is there as key_base64, payload_base64 instead. partition and offset
 * are left out where there is no such thing.
 *
 *     {"id":"…","ok":true,"publish":[…]}
 *     {"id":"…","ok":false,"retry":true,"class":"…","reason":"…","retry_after":"5s"}
 */
#ifndef OW_HANDLER_EXEC_LINE_H
#define OW_HANDLER_EXEC_LINE_H

#include "handler/handler.h"

struct ow_exec_answer {
    struct ow_bytes id, class, reason;
    struct ow_bytes publish; /* JSON text; null: nothing */
    bool is_ok, is_retried;
    int64_t retry_after_ms; /* -1: not said */
};

void ow_exec_write_task(struct ow_buf *to, const struct ow_task *task);
/* Points into the line or into `scratch`, which is cleared first. OW_EINVALID: what is wrong; ret->id is null unless it
   stood before that. */
int ow_exec_read_answer(struct ow_bytes line, struct ow_buf *scratch, struct ow_exec_answer *ret,
                        struct ow_error *err) OW_MUST_CHECK;

#endif
