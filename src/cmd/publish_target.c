/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/publish_target.h"

#include <onewrite/outbox.h>

#include "base/units.h"
#include "base/uuid.h"
#include "cmd/output.h"
#include "config/construct.h"
#include "store/migrate.h"

enum { PATIENCE_MS = 30000 }; /* how long a broker may take to accept a batch */

/* --- into the outbox of a store ------------------------------------------------------------------------ */

static int open_store(struct ow_publish_target *target, struct ow_error *err)
{
    int64_t version;
    struct ow_sqlite_options how = {.path = target->url->path, .mode = OW_SQLITE_MUST_EXIST, .is_durable = true};
    int r = ow_sqlite_open(&how, &target->store, err);
    if (r < 0)
        return r;
    r = ow_schema_version(target->store, &ow_schema_outbox, &version, err);
    return r < 0 ? ow_error_prefix(err, "%s", target->url->path) : 0;
}

/* The library takes strings that end in NUL. ow_message_check() has seen to it that there is none within. */
static char *string_of(struct ow_bytes bytes, struct ow_buf *to)
{
    size_t at = to->size;
    ow_buf_add_bytes(to, bytes);
    ow_buf_add_char(to, '\0');
    return to->has_failed ? NULL : to->data + at;
}

static int put(struct ow_publish_target *target, const struct ow_message *m, struct ow_error *err)
{
    struct ow_outbox_header headers[OW_PUBLISH_HEADERS_MAX];
    OW_CLEANUP(ow_buf_done) struct ow_buf strings = {0};
    /* Reserved at once, so that the strings do not move while more are added. */
    if (!ow_buf_reserve(&strings, ow_message_size(m) + 2 * m->header_count + 8))
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    struct ow_outbox_message message = {
        .id = string_of(m->id, &strings),
        .aggregate_type = string_of(m->aggregate_type, &strings),
        .aggregate_id = string_of(m->aggregate_id, &strings),
        .type = string_of(m->type, &strings),
        .payload = m->payload.data,
        .payload_size = m->payload.size,
        .headers = headers,
        .header_count = m->header_count,
        .time_ms = m->time_ms,
    };
    for (size_t i = 0; i < m->header_count; i++) {
        headers[i].name = string_of(m->headers[i].name, &strings);
        headers[i].value = m->headers[i].value.data ? string_of(m->headers[i].value, &strings) : NULL;
    }
    int r = ow_outbox_put_sqlite(ow_sqlite_connection(target->store), &message, NULL, err);
    return r < 0 ? ow_error_prefix(err, "%s", target->url->path) : 0;
}

static int put_batch(struct ow_publish_target *target, const struct ow_publish_batch *batch, struct ow_error *err)
{
    int r = target->store->ops->begin(target->store, OW_TRANSACTION_WRITE, err);
    for (size_t i = 0; r == 0 && i < batch->count; i++)
        r = put(target, batch->messages[i], err);
    if (r == 0)
        r = target->store->ops->commit(target->store, err);
    if (r < 0)
        target->store->ops->rollback(target->store);
    return r;
}

/* --- to a broker --------------------------------------------------------------------------------------- */

/* Takes what receipts there are; an error if one of them is not an acceptance. */
static int take_receipts(struct ow_broker *broker, const struct ow_publish_batch *batch, size_t *accepted,
                         struct ow_error *err)
{
    struct ow_receipt receipts[64];
    int n;
    do {
        n = broker->ops->step(broker, receipts, sizeof receipts / sizeof receipts[0], err);
        for (int i = 0; i < n; i++) {
            if (receipts[i].verdict != OW_ACCEPTED)
                return ow_error_set(err, receipts[i].verdict == OW_RETRY ? OW_EAGAIN : OW_EINVALID,
                                    "message %.*s was not accepted: %s",
                                    OW_PRINT(batch->messages[receipts[i].token]->id), receipts[i].reason);
            (*accepted)++;
        }
    } while (n == (int)(sizeof receipts / sizeof receipts[0]));
    return n < 0 ? n : 0;
}

static int wait_for_broker(struct ow_broker *broker, int64_t deadline_ms, struct ow_error *err)
{
    struct ow_wait wait;
    if (ow_clock_monotonic_ms() >= deadline_ms)
        return ow_error_set(err, OW_EUNREACHABLE, "the broker did not accept what was sent within %d s",
                            PATIENCE_MS / 1000);
    ow_wait_init(&wait);
    broker->ops->wait(broker, &wait);
    ow_wait_until(&wait, deadline_ms);
    ow_wait_sleep(&wait);
    return 0;
}

static int send_all(struct ow_broker *broker, const struct ow_publish_batch *batch, size_t *accepted,
                    struct ow_error *err)
{
    int64_t deadline_ms = ow_clock_monotonic_ms() + PATIENCE_MS;
    for (size_t sent = 0; sent < batch->count;) {
        int r = broker->ops->send(broker, batch->messages[sent], sent, err);
        if (r == 0) {
            sent++;
            continue;
        }
        if (r == OW_EAGAIN)
            r = take_receipts(broker, batch, accepted, err);
        if (r == 0)
            r = wait_for_broker(broker, deadline_ms, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_batch(struct ow_publish_target *target, const struct ow_publish_batch *batch, struct ow_error *err)
{
    struct ow_broker *broker = target->broker;
    size_t accepted = 0;
    int64_t deadline_ms = ow_clock_monotonic_ms() + PATIENCE_MS;
    int r = broker->ops->has_transactions ? broker->ops->txn_begin(broker, err) : 0;
    if (r == 0)
        r = send_all(broker, batch, &accepted, err);
    if (r == 0 && broker->ops->has_transactions)
        r = broker->ops->txn_commit(broker, NULL, (struct ow_position){0}, err);
    if (r < 0 && broker->ops->has_transactions)
        broker->ops->txn_abort(broker);
    if (r == 0)
        r = take_receipts(broker, batch, &accepted, err);
    while (r == 0 && accepted < batch->count) {
        r = wait_for_broker(broker, deadline_ms, err);
        if (r == 0)
            r = take_receipts(broker, batch, &accepted, err);
    }
    return r;
}

/* --- both ---------------------------------------------------------------------------------------------- */

int ow_publish_target_open(struct ow_publish_target *target, const struct ow_url *url, struct ow_error *err)
{
    target->url = url;
    if (url->scheme->kinds & OW_URL_STORE)
        return open_store(target, err);
    int r = ow_config_new_broker(url, &target->broker, err);
    return r < 0 ? r : target->broker->ops->open(target->broker, err);
}

void ow_publish_target_close(struct ow_publish_target *target)
{
    ow_store_cleanup(&target->store);
    if (target->broker)
        target->broker->ops->discard(target->broker);
}

/* Publishes the batch, prints the ids, and empties it. */
int ow_publish_target_flush(struct ow_publish_target *target, struct ow_publish_batch *batch, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf ids = {0};
    int r = 0;
    if (batch->count)
        r = target->store ? put_batch(target, batch, err) : send_batch(target, batch, err);
    /* On standard output, where stdout: has put the messages themselves, ids would be in the way. */
    bool prints = r == 0 && target->url->scheme->id != OW_SCHEME_STDOUT;
    for (size_t i = 0; prints && i < batch->count; i++) {
        ow_buf_add_bytes(&ids, batch->messages[i]->id);
        ow_buf_add_char(&ids, '\n');
    }
    ow_publish_batch_clear(batch);
    if (r == 0)
        r = ow_buf_check(&ids, err);
    if (r == 0)
        r = ow_output_write(ow_buf_bytes(&ids), err);
    /* That nobody wants the ids any more must not keep the rest from being published. */
    return r == OW_ECLOSED && prints ? 0 : r;
}

/* Checks and copies the message. A missing id and time are made. */
int ow_publish_batch_add(struct ow_publish_batch *batch, struct ow_message message, struct ow_error *err)
{
    char id[OW_UUID_TEXT_SIZE];
    if (!message.id.data) {
        int r = ow_uuid_v7(id, err);
        if (r < 0)
            return r;
        message.id = ow_bytes_of(id);
    }
    if (!message.time_ms)
        message.time_ms = ow_clock_wall_ms();
    int r = ow_message_check(&message, &ow_message_limits_default, err);
    if (r < 0)
        return r;
    struct ow_message *copy = ow_message_copy(&message);
    if (!copy)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    batch->messages[batch->count++] = copy;
    batch->bytes += ow_message_size(copy);
    return 0;
}

void ow_publish_batch_clear(struct ow_publish_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        ow_message_free(batch->messages[i]);
    batch->count = batch->bytes = 0;
}
