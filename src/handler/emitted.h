/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Emitted: the messages that a handler's answer wants published, read out of it and checked as an outbox would. Private
 * to src/handler.
 *
 *   a list    [{"aggregatetype":"order","aggregateid":"42","type":"Paid","payload":{…},"headers":{…},"id":"…"}, …]
 *             payload: a string is its text, null a tombstone, anything else its JSON text; payload_base64: bytes
 *   CloudEvents 1.0 as JSON, one event or a batch: id, type, subject (the aggregate's id), the extension aggregatetype,
 *             data or data_base64; source and whatever else stands there go as the headers ce_NAME
 *
 * A message without an id gets one (UUID version 7).
 */
#ifndef OW_HANDLER_EMITTED_H
#define OW_HANDLER_EMITTED_H

#include "core/message.h"

enum { OW_EMITTED_MAX = 1000 }; /* messages in an answer */

struct ow_emitted {
    struct ow_emitted *next; /* of a handler's list */
    struct ow_message *messages;
    size_t count;
    /* private to emitted.c: what the messages point into */
    struct ow_header *headers;
    struct ow_buf text, scratch;
};

/* `text` is copied. OW_EINVALID or OW_ETOOBIG, with the number of the message and its field named; OW_ENOMEM. */
int ow_emitted_read_list(struct ow_bytes text, struct ow_emitted **ret, struct ow_error *err) OW_MUST_CHECK;
int ow_emitted_read_cloud_events(struct ow_bytes text, bool is_batch, struct ow_emitted **ret,
                                 struct ow_error *err) OW_MUST_CHECK;
/* The list from here on. */
void ow_emitted_free(struct ow_emitted *emitted);

#endif
