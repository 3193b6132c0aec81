/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `onewrite publish` publishes to: the outbox of a store, or a broker. Either takes a batch of messages,
 * all of it or, as far as it has transactions, nothing. May block for a statement timeout or until the broker
 * has accepted. One thread.
 */
#ifndef OW_CMD_PUBLISH_TARGET_H
#define OW_CMD_PUBLISH_TARGET_H

#include "config/url.h"
#include "store/store.h"

enum {
    OW_PUBLISH_BATCH_COUNT_MAX = 1000,
    OW_PUBLISH_BATCH_BYTES_MAX = 8 << 20,
    OW_PUBLISH_HEADERS_MAX = 256,
};

struct ow_publish_batch {
    struct ow_message *messages[OW_PUBLISH_BATCH_COUNT_MAX]; /* owned */
    size_t count, bytes;
};
void ow_publish_batch_clear(struct ow_publish_batch *batch);
static inline bool ow_publish_batch_is_full(const struct ow_publish_batch *batch)
{
    return batch->count == OW_PUBLISH_BATCH_COUNT_MAX || batch->bytes >= OW_PUBLISH_BATCH_BYTES_MAX;
}
/* Checks and copies the message; it must not be full. A missing id and time are made. As ow_message_check(). */
int ow_publish_batch_add(struct ow_publish_batch *batch, struct ow_message message, struct ow_error *err) OW_MUST_CHECK;

struct ow_publish_target {
    const struct ow_url *url; /* the caller's */
    struct ow_store *store;   /* one of the two */
    struct ow_broker *broker;
};
int ow_publish_target_open(struct ow_publish_target *target, const struct ow_url *url,
                           struct ow_error *err) OW_MUST_CHECK;
void ow_publish_target_close(struct ow_publish_target *target);
/* Publishes the batch, prints the ids on standard output, and empties it, also when it fails. */
int ow_publish_target_flush(struct ow_publish_target *target, struct ow_publish_batch *batch,
                            struct ow_error *err) OW_MUST_CHECK;

#endif
