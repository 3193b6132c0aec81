/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "contract.h"

enum { PATIENCE_MS = 10000, TOKENS_MAX = 4096 };

const char *contract_broken(const char *format, ...)
{
    static char text[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return text;
}

struct ow_message contract_message(const char *topic, uint64_t number, char text[64])
{
    int n = snprintf(text, 64, "%llu", (unsigned long long)number);
    struct ow_bytes id = {text, (size_t)n};
    return (struct ow_message){
        .topic = ow_bytes_of(topic), .id = id, .key = id, .type = OW_BYTES("Thing"), .payload = id, .time_ms = 1000};
}

static const char *open_new(const struct contract_subject *subject, const char *folder, struct ow_broker **ret)
{
    struct ow_error err = {0};
    if (subject->new_broker(folder, ret, &err) != 0 || (*ret)->ops->open(*ret, &err) != 0)
        return contract_broken("cannot be opened: %s", err.text);
    return NULL;
}

/* In a transaction, where the broker has such. */
static int begin(struct ow_broker *broker, struct ow_error *err)
{
    return broker->ops->has_transactions ? broker->ops->txn_begin(broker, err) : 0;
}

static int commit(struct ow_broker *broker, uint64_t position, struct ow_error *err)
{
    struct ow_position at = {position, 0};
    return broker->ops->has_transactions ? broker->ops->txn_commit(broker, "source", at, err) : 0;
}

/* Waits as a pipeline does, and for a second at most. */
static void wait_for(struct ow_broker *broker)
{
    struct ow_wait wait;
    ow_wait_init(&wait);
    broker->ops->wait(broker, &wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + 1000);
    ow_wait_sleep(&wait);
}

struct receipts {
    uint64_t from, count, taken;
    bool *seen; /* by token - from */
};

/* Takes those that are there; `*ret_taken` says how many. */
static const char *take_some(struct ow_broker *broker, struct receipts *all, int *ret_taken)
{
    struct ow_error err = {0};
    struct ow_receipt receipts[7];
    *ret_taken = broker->ops->step(broker, receipts, 7, &err);
    if (*ret_taken < 0)
        return contract_broken("step: %s", err.text);
    for (int i = 0; i < *ret_taken; i++, all->taken++) {
        const struct ow_receipt *r = &receipts[i];
        if (r->token < all->from || r->token >= all->from + all->count)
            return contract_broken("a receipt for token %llu, which was not sent", (unsigned long long)r->token);
        if (all->seen[r->token - all->from])
            return contract_broken("token %llu has two receipts", (unsigned long long)r->token);
        all->seen[r->token - all->from] = true;
        if (r->verdict != OW_ACCEPTED || r->reason[0])
            return contract_broken("token %llu: not accepted: %s", (unsigned long long)r->token, r->reason);
    }
    return NULL;
}

static const char *take_all(struct ow_broker *broker, struct receipts *all)
{
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    int n = 0;
    while (all->taken < all->count) {
        CONTRACT_TRY(take_some(broker, all, &n));
        if (ow_clock_monotonic_ms() > deadline)
            return contract_broken("%llu of %llu receipts never came", (unsigned long long)(all->count - all->taken),
                                   (unsigned long long)all->count);
        if (n == 0)
            wait_for(broker);
    }
    CONTRACT_TRY(take_some(broker, all, &n));
    return n == 0 ? NULL : contract_broken("a receipt too many (%d)", n);
}

/* A broker may be full for a moment: then its receipts are taken, and it is given the message again. */
static const char *send(struct ow_broker *broker, const struct ow_message *message, uint64_t token,
                        struct receipts *all)
{
    struct ow_error err = {0};
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    int r, n;
    while ((r = broker->ops->send(broker, message, token, &err)) == OW_EAGAIN) {
        CONTRACT_TRY(take_some(broker, all, &n));
        if (ow_clock_monotonic_ms() > deadline)
            return contract_broken("send: full, and it stays so: %s", err.text);
        if (n == 0)
            wait_for(broker);
    }
    return r == 0 ? NULL : contract_broken("send: %s", err.text);
}

const char *contract_publish(struct ow_broker *broker, const char *topic, uint64_t from, uint64_t count, uint64_t keys)
{
    static char texts[TOKENS_MAX][64], key_texts[TOKENS_MAX][64];
    static bool seen[TOKENS_MAX];
    struct ow_error err = {0};
    struct receipts all = {.from = from, .count = count, .seen = seen};
    CONTRACT_MUST(count <= TOKENS_MAX);
    memset(seen, 0, sizeof seen);
    if (begin(broker, &err) != 0)
        return contract_broken("begin: %s", err.text);
    for (uint64_t i = 0; i < count; i++) {
        struct ow_message m = contract_message(topic, from + i, texts[i]);
        (void)snprintf(key_texts[i], 64, "key%llu", (unsigned long long)((from + i) % keys));
        m.key = ow_bytes_of(key_texts[i]);
        CONTRACT_TRY(send(broker, &m, from + i, &all));
    }
    if (commit(broker, from + count, &err) != 0)
        return contract_broken("commit: %s", err.text);
    return take_all(broker, &all);
}

static const char *reader(const struct contract_subject *subject, const char *folder, struct ow_subscriber **ret)
{
    struct ow_error err = {0};
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    if (subject->new_subscriber(folder, &options, ret, &err) != 0 || (*ret)->ops->open(*ret, &err) != 0)
        return contract_broken("cannot be read: %s", err.text);
    return NULL;
}

/* A stranger reads exactly the messages [from, from + count), those of a key in their order. */
static const char *check_there(const struct contract_subject *subject, const char *folder, uint64_t from,
                               uint64_t count, uint64_t keys)
{
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    uint64_t last[64] = {0};
    CONTRACT_MUST(keys <= 64);
    CONTRACT_TRY(reader(subject, folder, &subscriber));
    for (uint64_t i = 0; i < count; i++) {
        char id[32] = "";
        int r = contract_next(subscriber, &record, 0, &err);
        if (r <= 0)
            return contract_broken("%llu messages that were accepted are not there %s", (unsigned long long)(count - i),
                                   err.text);
        CONTRACT_MUST(record.message.id.size < sizeof id);
        memcpy(id, record.message.id.data, record.message.id.size);
        uint64_t number = strtoull(id, NULL, 10);
        CONTRACT_MUST(number >= from && number < from + count);
        CONTRACT_MUST(ow_bytes_equal(record.message.payload, record.message.id));
        if (last[number % keys] > number)
            return contract_broken("message %llu stands before %llu of its key",
                                   (unsigned long long)last[number % keys], (unsigned long long)number);
        last[number % keys] = number;
    }
    CONTRACT_MUST(contract_next(subscriber, &record, 0, &err) == 0);
    return NULL;
}

static const char *every_message_has_one_receipt(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    CONTRACT_TRY(open_new(subject, folder, &broker));
    CONTRACT_TRY(contract_publish(broker, "t", 1, 1000, 10));
    CONTRACT_TRY(contract_publish(broker, "t", 1001, 1, 10));
    CONTRACT_TRY(contract_publish(broker, "t", 1002, 999, 10));
    return check_there(subject, folder, 1, 2000, 10);
}

static const char *accepted_means_it_is_there(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    CONTRACT_TRY(open_new(subject, folder, &broker));
    for (uint64_t i = 0; i < 20; i++) {
        CONTRACT_TRY(contract_publish(broker, "t", 1 + i * 5, 5, 3));
        CONTRACT_TRY(check_there(subject, folder, 1, i * 5 + 5, 3));
    }
    broker->ops->close(broker);
    return check_there(subject, folder, 1, 100, 3);
}

static const char *close_forgets_what_has_no_receipt(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    struct ow_error err = {0};
    struct ow_receipt receipt;
    char text[64];
    CONTRACT_TRY(open_new(subject, folder, &broker));
    CONTRACT_TRY(contract_publish(broker, "t", 1, 3, 3));
    CONTRACT_MUST(begin(broker, &err) == 0);
    struct ow_message m = contract_message("t", 4, text);
    CONTRACT_MUST(broker->ops->send(broker, &m, 4, &err) == 0);
    broker->ops->close(broker);
    memset(text, '?', sizeof text); /* its bytes were lent until close() */
    CONTRACT_MUST(broker->ops->open(broker, &err) == 0);
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 0);
    CONTRACT_TRY(contract_publish(broker, "t", 4, 3, 3));
    return check_there(subject, folder, 1, 6, 3);
}

static const char *no_receipt_without_a_message(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    struct ow_error err = {0};
    struct ow_receipt receipt;
    CONTRACT_TRY(open_new(subject, folder, &broker));
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 0);
    CONTRACT_MUST(begin(broker, &err) == 0);
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 0);
    CONTRACT_MUST(commit(broker, 1, &err) == 0);
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 0);
    broker->ops->close(broker);
    broker->ops->close(broker);
    return NULL;
}

static bool is_same(const struct ow_message *a, const struct ow_message *b)
{
    bool is = ow_bytes_equal(a->topic, b->topic) && ow_bytes_equal(a->key, b->key) && ow_bytes_equal(a->id, b->id) &&
              ow_bytes_equal(a->type, b->type) && ow_bytes_equal(a->payload, b->payload) && a->time_ms == b->time_ms &&
              a->header_count == b->header_count;
    for (size_t i = 0; is && i < a->header_count; i++)
        is = ow_bytes_equal(a->headers[i].name, b->headers[i].name) &&
             ow_bytes_equal(a->headers[i].value, b->headers[i].value);
    return is;
}

static const char *bytes_pass_through_verbatim(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    const struct ow_header headers[] = {
        {OW_BYTES("a"), OW_BYTES("1")}, {OW_BYTES("b"), OW_NULL_BYTES}, {OW_BYTES("a"), OW_BYTES("")}};
    char texts[5][64];
    struct ow_message sent[5];
    for (uint64_t i = 0; i < 5; i++) {
        sent[i] = contract_message("t", i, texts[i]);
        sent[i].key = OW_BYTES("k"); /* one key: their order is known */
    }
    sent[0].payload = OW_NULL_BYTES;
    sent[1].payload = OW_BYTES("");
    sent[2].payload = (struct ow_bytes){"\0\xff\r\n\"\\", 6};
    sent[3].headers = headers;
    sent[3].header_count = 3;
    sent[4].payload = OW_BYTES("{ \"n\": 12345678901234567890.10, \"s\": \"\xc3\xbc\" }");
    bool seen[5] = {false};
    CONTRACT_TRY(open_new(subject, folder, &broker));
    CONTRACT_MUST(begin(broker, &err) == 0);
    for (uint64_t i = 0; i < 5; i++)
        CONTRACT_MUST(broker->ops->send(broker, &sent[i], i, &err) == 0);
    CONTRACT_MUST(commit(broker, 1, &err) == 0);
    CONTRACT_TRY(take_all(broker, &(struct receipts){.from = 0, .count = 5, .seen = seen}));
    CONTRACT_TRY(reader(subject, folder, &subscriber));
    for (uint64_t i = 0; i < 5; i++) {
        struct ow_record record;
        CONTRACT_MUST(contract_next(subscriber, &record, 0, &err) == 1);
        if (!is_same(&sent[i], &record.message))
            return contract_broken("message %llu did not come back as it went", (unsigned long long)i);
    }
    return NULL;
}

static const char *abort_takes_it_back(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    struct ow_error err = {0};
    struct ow_receipt receipt;
    struct ow_position position = {0};
    char text[64];
    CONTRACT_TRY(open_new(subject, folder, &broker));
    if (!broker->ops->has_transactions)
        return NULL;
    CONTRACT_MUST(broker->ops->last_position(broker, "source", &position, &err) == 0);
    CONTRACT_TRY(contract_publish(broker, "t", 1, 5, 3));
    struct ow_message m = contract_message("t", 6, text);
    CONTRACT_MUST(begin(broker, &err) == 0);
    CONTRACT_MUST(broker->ops->send(broker, &m, 6, &err) == 0);
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 0);
    broker->ops->txn_abort(broker);
    broker->ops->txn_abort(broker);
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 0);
    CONTRACT_MUST(broker->ops->last_position(broker, "source", &position, &err) == 1);
    CONTRACT_MUST(position.major == 6);
    CONTRACT_MUST(broker->ops->was_accepted(broker, "source", &m, &err) == 0);
    m = contract_message("t", 5, text);
    CONTRACT_MUST(broker->ops->was_accepted(broker, "source", &m, &err) == 1);
    CONTRACT_MUST(broker->ops->was_accepted(broker, "another", &m, &err) == 0);
    return check_there(subject, folder, 1, 5, 3);
}

/* A message that no broker takes: its topic has no name. Those that take it all the same have nothing to show here. */
static const char *a_rejected_message_moves_no_position(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    struct ow_error err = {0};
    struct ow_receipt receipt;
    struct ow_position position = {0};
    char text[64], bad_text[64];
    CONTRACT_TRY(open_new(subject, folder, &broker));
    if (!broker->ops->has_transactions)
        return NULL;
    CONTRACT_MUST(broker->ops->last_position(broker, "source", &position, &err) == 0);
    CONTRACT_TRY(contract_publish(broker, "t", 1, 3, 3));
    struct ow_message good = contract_message("t", 4, text), bad = contract_message("", 5, bad_text);
    CONTRACT_MUST(begin(broker, &err) == 0);
    CONTRACT_MUST(broker->ops->send(broker, &good, 4, &err) == 0);
    CONTRACT_MUST(broker->ops->send(broker, &bad, 5, &err) == OW_EAGAIN);
    CONTRACT_MUST(commit(broker, 5, &err) == 0);
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 1 && receipt.verdict == OW_ACCEPTED);
    CONTRACT_MUST(begin(broker, &err) == 0);
    CONTRACT_MUST(broker->ops->send(broker, &bad, 5, &err) == 0);
    CONTRACT_MUST(broker->ops->send(broker, &good, 6, &err) == OW_EAGAIN);
    CONTRACT_MUST(commit(broker, 6, &err) == 1);
    CONTRACT_MUST(broker->ops->step(broker, &receipt, 1, &err) == 1);
    CONTRACT_MUST(receipt.token == 5 && receipt.verdict == OW_REJECTED && receipt.reason[0]);
    CONTRACT_MUST(broker->ops->last_position(broker, "source", &position, &err) == 1);
    CONTRACT_MUST(position.major == 5);
    return check_there(subject, folder, 1, 4, 3);
}

const struct contract_case contract_publishing[] = {
    {"every message has one receipt", every_message_has_one_receipt},
    {"accepted means it is there", accepted_means_it_is_there},
    {"close forgets what has no receipt", close_forgets_what_has_no_receipt},
    {"no receipt without a message", no_receipt_without_a_message},
    {"bytes pass through verbatim", bytes_pass_through_verbatim},
    {"abort takes it back", abort_takes_it_back},
    {"a rejected message moves no position", a_rejected_message_moves_no_position},
    {NULL, NULL},
};
