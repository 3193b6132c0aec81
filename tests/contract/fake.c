/* SPDX-License-Identifier: Apache-2.0 */
/* A broker in memory, to try the contract suite itself: an honest one passes, each lie is found. */
#include <stdlib.h>

#include "base/units.h"
#include "contract.h"

enum { RECORDS_MAX = 8192 };

enum fake_lie fake_lie;

/* What is "on disk": all brokers and subscribers share it. */
static struct ow_message *records[RECORDS_MAX];
static size_t record_count;

struct fake_broker {
    struct ow_broker base;
    struct ow_message *queued[RECORDS_MAX];
    uint64_t tokens[RECORDS_MAX];
    size_t queued_count;
    size_t unsafe_from; /* FAKE_ACCEPTS_AND_LOSES: records from here on go with the connection */
    struct ow_receipt again;
    bool has_again;
};

void fake_forget(void)
{
    for (size_t i = 0; i < record_count; i++)
        ow_message_free(records[i]);
    record_count = 0;
}

static struct fake_broker *self_of(struct ow_broker *broker)
{
    return (struct fake_broker *)broker;
}

static int fake_open(struct ow_broker *broker, struct ow_error *err)
{
    (void)err;
    self_of(broker)->unsafe_from = record_count;
    return 0;
}

static int fake_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    struct fake_broker *f = self_of(broker);
    struct ow_message view = *message;
    if (fake_lie == FAKE_NULL_IS_EMPTY && !view.payload.data)
        view.payload = OW_BYTES("");
    if (f->queued_count == RECORDS_MAX)
        return ow_error_set(err, OW_EAGAIN, "full");
    f->queued[f->queued_count] = ow_message_copy(&view);
    if (!f->queued[f->queued_count])
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    f->tokens[f->queued_count++] = token;
    return 0;
}

static int fake_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct fake_broker *f = self_of(broker);
    (void)err;
    size_t n = 0;
    if (f->has_again && max > 0) {
        receipts[n++] = f->again;
        f->has_again = false;
    }
    size_t taken = 0;
    for (; taken < f->queued_count && n < max && record_count < RECORDS_MAX; taken++, n++) {
        receipts[n] = (struct ow_receipt){.token = f->tokens[taken], .verdict = OW_ACCEPTED};
        records[record_count++] = f->queued[taken];
        if (fake_lie == FAKE_SWAPS && record_count % 11 == 0) {
            struct ow_message *last = records[record_count - 1];
            records[record_count - 1] = records[record_count - 11];
            records[record_count - 11] = last;
        }
        f->again = receipts[n];
        f->has_again = fake_lie == FAKE_RECEIPT_TWICE;
    }
    f->queued_count -= taken;
    memmove(f->queued, f->queued + taken, f->queued_count * sizeof f->queued[0]);
    memmove(f->tokens, f->tokens + taken, f->queued_count * sizeof f->tokens[0]);
    return (int)n;
}

static void fake_wait(struct ow_broker *broker, struct ow_wait *wait)
{
    if (self_of(broker)->queued_count > 0 || self_of(broker)->has_again)
        ow_wait_until(wait, ow_clock_monotonic_ms());
}

static void fake_close(struct ow_broker *broker)
{
    struct fake_broker *f = self_of(broker);
    if (fake_lie == FAKE_ACCEPTS_AND_LOSES)
        while (record_count > f->unsafe_from)
            ow_message_free(records[--record_count]);
    if (fake_lie == FAKE_REMEMBERS)
        return;
    while (f->queued_count > 0)
        ow_message_free(f->queued[--f->queued_count]);
    f->has_again = false;
}

static void fake_discard(struct ow_broker *broker)
{
    struct fake_broker *f = self_of(broker);
    fake_close(broker);
    while (f->queued_count > 0)
        ow_message_free(f->queued[--f->queued_count]);
    free(f);
}

static const struct ow_broker_ops fake_ops = {
    .name = "fake",
    .keeps_order = true,
    .open = fake_open,
    .send = fake_send,
    .step = fake_step,
    .wait = fake_wait,
    .close = fake_close,
    .discard = fake_discard,
};

static int fake_new(const char *folder, struct ow_broker **ret, struct ow_error *err)
{
    (void)folder;
    struct fake_broker *f = calloc(1, sizeof *f);
    if (!f)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    f->base.ops = &fake_ops;
    *ret = &f->base;
    return 0;
}

/* --- reading it back ----------------------------------------------------------------------------------- */

struct fake_subscriber {
    struct ow_subscriber base;
    size_t at;
};

static int fake_subscriber_open(struct ow_subscriber *subscriber, struct ow_error *err)
{
    (void)subscriber;
    (void)err;
    return 0;
}

static int fake_next(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err)
{
    struct fake_subscriber *f = (struct fake_subscriber *)subscriber;
    (void)err;
    if (f->at >= record_count)
        return 0;
    *ret = (struct ow_record){.message = *records[f->at], .offset = (int64_t)f->at};
    f->at++;
    return 1;
}

static void fake_subscriber_close(struct ow_subscriber *subscriber)
{
    free(subscriber);
}

static const struct ow_subscriber_ops fake_subscriber_ops = {
    .name = "fake", .open = fake_subscriber_open, .next = fake_next, .close = fake_subscriber_close};

static int fake_subscriber_new(const char *folder, const struct ow_subscriber_options *options,
                               struct ow_subscriber **ret, struct ow_error *err)
{
    (void)folder;
    (void)options;
    struct fake_subscriber *f = calloc(1, sizeof *f);
    if (!f)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    f->base.ops = &fake_subscriber_ops;
    *ret = &f->base;
    return 0;
}

const struct contract_subject contract_fake = {"fake", fake_new, fake_subscriber_new};
