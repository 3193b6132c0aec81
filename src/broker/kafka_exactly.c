/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka, exactly once for readers of committed records: what is sent between begin and commit is accepted together
 * with the position of its source, or none of it. The transactional id comes from the source, so that a second
 * relay of the same source fences the first.
 *
 * Nothing may stand in a transaction that was not accepted, since its position says that all of it was. So a message
 * that cannot be published gets its verdict alone: those before it are committed first (OW_EAGAIN), and its own
 * transaction is empty and moves no position. Which message that is shows when a transaction fails: the next ones
 * wait for the receipt of each message, and the one that fails is remembered by its token.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/units.h"
#include "broker/kafka.h"
#include "broker/txn_tokens.h"

enum {
    ANSWER_MS = 30000,
    ABORT_MS = 5000,
};

struct exactly {
    struct ow_broker base;
    struct ow_kafka_settings settings;
    struct ow_kafka_client client;
    struct ow_kafka_topics topics;
    char *source;         /* whose transactional id the producer has; NULL: it has none yet */
    char *position_topic; /* of the first message in this transaction, or where the last position was */
    struct ow_position last;
    bool is_begun;                                       /* at Kafka */
    enum { JUDGED_NONE, JUDGED_NOW, JUDGED_DUE } judged; /* NOW: this transaction is a verdict and holds nothing */
    struct ow_receipt judgement;
    struct ow_txn_tokens tokens;
    size_t reported;             /* of this transaction */
    rd_kafka_resp_err_t failure; /* of the first that failed in it */
    uint64_t failed_token;
    uint64_t *unfit; /* tokens whose messages Kafka refuses */
    size_t unfit_count;
    size_t careful; /* so many messages are sent one by one */
};

static struct exactly *self_of(struct ow_broker *broker)
{
    return (struct exactly *)broker;
}

/* --- open and close ----------------------------------------------------------------------------------- */

static void forget_transaction(struct exactly *k)
{
    ow_txn_tokens_drop(&k->tokens);
    k->reported = 0;
    k->failure = RD_KAFKA_RESP_ERR_NO_ERROR;
    k->is_begun = false;
    if (k->judged == JUDGED_NOW)
        k->judged = JUDGED_NONE;
}

static void close_client(struct exactly *k)
{
    ow_kafka_topics_done(&k->topics);
    ow_kafka_client_close(&k->client);
    free(k->source);
    k->source = NULL;
}

static void exactly_close(struct ow_broker *broker)
{
    struct exactly *k = self_of(broker);
    close_client(k);
    ow_txn_tokens_clear(&k->tokens);
    k->judged = JUDGED_NONE;
    forget_transaction(k);
}

static int exactly_open(struct ow_broker *broker, struct ow_error *err)
{
    struct exactly *k = self_of(broker);
    exactly_close(broker);
    int r = ow_kafka_client_open(&k->client, &k->settings, NULL, err);
    if (r == 0)
        r = ow_kafka_client_reach(&k->client, &k->settings, err);
    if (r < 0)
        exactly_close(broker);
    return r;
}

static void exactly_discard(struct ow_broker *broker)
{
    struct exactly *k = self_of(broker);
    exactly_close(broker);
    ow_kafka_client_done(&k->client);
    ow_kafka_settings_done(&k->settings);
    free(k->position_topic);
    ow_txn_tokens_done(&k->tokens);
    free(k->unfit);
    free(k);
}

/* --- receipts of this transaction ---------------------------------------------------------------------- */

static void take_reports(struct exactly *k, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *report;
    while ((report = rd_kafka_event_message_next(event))) {
        rd_kafka_resp_err_t code = report->err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR &&
            !ow_kafka_lane_is_new(ow_kafka_topic_lane_of(rd_kafka_topic_opaque(report->rkt), report->partition),
                                  report->offset))
            code = RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
        k->reported++;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && k->failure == RD_KAFKA_RESP_ERR_NO_ERROR) {
            k->failure = code;
            k->failed_token = (uintptr_t)report->_private;
        }
    }
}

/* One event, if there is one within so many milliseconds. */
static bool serve_one(struct exactly *k, int ms)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(k->client.queue, ms);
    if (!event)
        return false;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
        take_reports(k, event);
    else
        (void)ow_kafka_client_note(&k->client, &k->settings, event);
    rd_kafka_event_destroy(event);
    return true;
}

static void serve(struct exactly *k)
{
    ow_kafka_client_hear(&k->client);
    while (serve_one(k, 0)) {
    }
}

/* Serves the queue until all that was sent has its report, one has failed, or the time is over. Behind one that has
   failed nothing is sent any more: the others have no report before the transaction is aborted. */
static void await_reports(struct exactly *k, int64_t deadline)
{
    while (k->reported < ow_txn_tokens_sent(&k->tokens) && k->failure == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (serve_one(k, 0))
            continue;
        int slice = ow_kafka_client_slice(&k->client, deadline, 0);
        if (slice == 0)
            return;
        (void)serve_one(k, slice);
    }
}

static int remember_unfit(struct exactly *k, uint64_t token, struct ow_error *err)
{
    uint64_t *grown = reallocarray(k->unfit, k->unfit_count + 1, sizeof *grown);
    if (!grown)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    k->unfit = grown;
    k->unfit[k->unfit_count++] = token;
    return 0;
}

/* 0: all that was sent was taken. Else this transaction cannot be. `is_single`: the last one was sent by itself. */
static int judge_reports(struct exactly *k, bool is_single, struct ow_error *err)
{
    size_t sent = ow_txn_tokens_sent(&k->tokens);
    int r = ow_kafka_client_fatal(&k->client, &k->settings, err);
    if (r < 0)
        return r;
    if (k->failure == RD_KAFKA_RESP_ERR_NO_ERROR && k->reported == sent)
        return 0;
    if (k->failure == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ow_error_set(err, OW_EUNREACHABLE, "%s: no receipt within %d s%s%s", k->settings.text, ANSWER_MS / 1000,
                            k->client.reason[0] ? ": " : "", k->client.reason);
    if (ow_kafka_fate_of(k->failure) == OW_KAFKA_UNFIT) {
        if (is_single || sent == 1)
            r = remember_unfit(k, k->failed_token, err);
        else
            k->careful = sent;
    }
    return r < 0 ? r
                 : ow_error_set(err, OW_EIO, "%s: a transaction was refused (%s) and is sent again", k->settings.text,
                                rd_kafka_err2str(k->failure));
}

/* --- sending ------------------------------------------------------------------------------------------ */

static int exactly_begin(struct ow_broker *broker, struct ow_error *err)
{
    struct exactly *k = self_of(broker);
    if (!k->source)
        return ow_error_set(err, OW_EINTERNAL, "%s: a transaction before last_position()", k->settings.text);
    forget_transaction(k);
    return 0;
}

/* A verdict without sending, in a transaction of its own. */
static int judge(struct exactly *k, uint64_t token, enum ow_verdict verdict, const char *reason, struct ow_error *err)
{
    if (ow_txn_tokens_sent(&k->tokens) > 0)
        return ow_error_set(err, OW_EAGAIN, "%s: not now", k->settings.text);
    k->judged = JUDGED_NOW;
    k->judgement = (struct ow_receipt){.token = token, .verdict = verdict};
    (void)snprintf(k->judgement.reason, sizeof k->judgement.reason, "%.*s", (int)sizeof k->judgement.reason - 1,
                   reason);
    return 0;
}

static bool is_unfit(const struct exactly *k, uint64_t token)
{
    for (size_t i = 0; i < k->unfit_count; i++)
        if (k->unfit[i] == token)
            return true;
    return false;
}

static struct ow_kafka_txn txn_of(struct exactly *k, int64_t time_ms)
{
    return (struct ow_kafka_txn){
        .client = &k->client,
        .settings = &k->settings,
        .source = k->source,
        .deadline_ms = ow_clock_monotonic_ms() + time_ms,
    };
}

static int begin_at_kafka(struct exactly *k, struct ow_error *err)
{
    struct ow_kafka_txn txn = txn_of(k, ANSWER_MS);
    int r = ow_kafka_txn_begin(&txn, err);
    k->is_begun = r == 0;
    return r;
}

static int begin_with(struct exactly *k, const struct ow_kafka_topic *topic, struct ow_error *err)
{
    if (k->is_begun)
        return 0;
    int r = begin_at_kafka(k, err);
    if (r < 0)
        return r;
    char *name = strdup(topic->name);
    if (!name)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    free(k->position_topic);
    k->position_topic = name;
    return 0;
}

static int send_now(struct exactly *k, struct ow_kafka_topic *topic, const struct ow_message *m, uint64_t token,
                    struct ow_error *err)
{
    int r = begin_with(k, topic, err);
    if (r < 0)
        return r;
    rd_kafka_resp_err_t code = ow_kafka_produce(k->client.rk, topic->handle, m, (void *)(uintptr_t)token);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && ow_kafka_fate_of(code) == OW_KAFKA_UNFIT) {
        r = remember_unfit(k, token, err);
        return r < 0 ? r : ow_error_set(err, OW_EIO, "%s: %s", k->settings.text, rd_kafka_err2str(code));
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        r = ow_kafka_client_fatal(&k->client, &k->settings, err);
        return r < 0 ? r : ow_error_set(err, OW_EIO, "%s: %s", k->settings.text, rd_kafka_err2str(code));
    }
    r = ow_txn_tokens_add(&k->tokens, token, err);
    if (r < 0 || k->careful == 0)
        return r;
    k->careful--;
    await_reports(k, ow_clock_monotonic_ms() + ANSWER_MS);
    return judge_reports(k, true, err);
}

static int exactly_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token,
                        struct ow_error *err)
{
    struct exactly *k = self_of(broker);
    char reason[OW_KAFKA_REASON_SIZE * 3];
    if (k->judged)
        return ow_error_set(err, OW_EAGAIN, "%s: not now", k->settings.text);
    ow_kafka_judge_topic(message->topic, reason, sizeof reason);
    if (reason[0])
        return judge(k, token, OW_REJECTED, reason, err);
    if (is_unfit(k, token))
        return judge(k, token, OW_REJECTED, "Kafka refuses it: it is too large, or not what the topic takes", err);
    struct ow_kafka_topic *topic = NULL;
    int r = ow_kafka_topics_get(&k->topics, message->topic, &topic, err);
    if (r == 0)
        r = ow_kafka_topic_ready(topic, &k->client, &k->settings, reason, sizeof reason, err);
    if (r == 0)
        return judge(k, token, OW_RETRY, reason, err);
    return r < 0 ? r : send_now(k, topic, message, token, err);
}

static void forget_unfit(struct exactly *k, uint64_t token)
{
    for (size_t i = 0; i < k->unfit_count; i++)
        if (k->unfit[i] == token)
            k->unfit[i--] = k->unfit[--k->unfit_count];
}

static int exactly_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct exactly *k = self_of(broker);
    size_t n = 0;
    if (!k->client.rk)
        return 0;
    serve(k);
    if (n < max && k->judged == JUDGED_DUE) {
        receipts[n++] = k->judgement;
        forget_unfit(k, k->judgement.token);
        k->judged = JUDGED_NONE;
    }
    n += ow_txn_tokens_give(&k->tokens, &receipts[n], max - n);
    return n > 0 ? (int)n : ow_kafka_client_fatal(&k->client, &k->settings, err);
}

static void exactly_wait(struct ow_broker *broker, struct ow_wait *wait)
{
    struct exactly *k = self_of(broker);
    if (k->judged == JUDGED_DUE || ow_txn_tokens_are_due(&k->tokens))
        ow_wait_until(wait, 0);
    ow_wait_add(wait, k->client.event_fd, POLLIN);
}

/* --- transactions ------------------------------------------------------------------------------------- */

static void exactly_abort(struct ow_broker *broker)
{
    struct exactly *k = self_of(broker);
    if (k->is_begun && k->client.rk && !k->client.is_abandoned) {
        struct ow_kafka_txn txn = txn_of(k, ABORT_MS);
        /* Aborting waits for the reports, which nobody but us takes from the queue. */
        (void)rd_kafka_purge(k->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        while (k->reported < ow_txn_tokens_sent(&k->tokens) &&
               ow_kafka_client_slice(&k->client, txn.deadline_ms, 0) > 0)
            (void)serve_one(k, 10);
        ow_kafka_txn_abort(&txn);
    }
    forget_transaction(k);
}

static int exactly_commit(struct ow_broker *broker, const char *source, struct ow_position position,
                          struct ow_error *err)
{
    struct exactly *k = self_of(broker);
    struct ow_kafka_txn txn = txn_of(k, ANSWER_MS);
    bool is_verdict = k->judged == JUDGED_NOW;
    if (is_verdict)
        k->judged = JUDGED_DUE;
    if (!k->is_begun && (is_verdict || !source || !k->position_topic))
        return source ? 1 : 0;
    int r = k->is_begun ? 0 : begin_at_kafka(k, err); /* a position alone */
    if (r < 0)
        return r;
    await_reports(k, txn.deadline_ms);
    r = judge_reports(k, false, err);
    if (r == 0 && source)
        r = ow_kafka_txn_add_position(&txn, k->position_topic, position, err);
    if (r == 0) {
        OW_CRASH_POINT(KAFKA_MID_COMMIT);
        r = ow_kafka_txn_commit(&txn, err);
    }
    if (r < 0) {
        exactly_abort(broker);
        return r;
    }
    OW_CRASH_POINT(KAFKA_AFTER_COMMIT);
    k->is_begun = false;
    ow_txn_tokens_accept(&k->tokens);
    k->reported = 0;
    if (source)
        k->last = position;
    return 0;
}

/* The producer of this source: from here on any other one of it is fenced. */
static int become(struct exactly *k, const char *source, struct ow_error *err)
{
    char id[OW_KAFKA_GROUP_SIZE];
    ow_kafka_group_name(source, id);
    const struct ow_kafka_pair extra[] = {{"transactional.id", id}, {NULL, NULL}};
    close_client(k);
    int r = ow_kafka_client_open(&k->client, &k->settings, extra, err);
    if (r < 0)
        return r;
    k->source = strdup(source);
    if (!k->source)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    if (k->settings.token_file)
        (void)serve_one(k, 1000);
    struct ow_kafka_txn txn = txn_of(k, ANSWER_MS);
    return ow_kafka_txn_init(&txn, err);
}

static int exactly_last_position(struct ow_broker *broker, const char *source, struct ow_position *ret,
                                 struct ow_error *err)
{
    struct exactly *k = self_of(broker);
    int r = k->source && strcmp(k->source, source) == 0 ? 0 : become(k, source, err);
    if (r == 0)
        r = ow_kafka_position_read(&k->client, &k->settings, source, ret, &k->position_topic, err);
    k->last = r > 0 ? *ret : (struct ow_position){0};
    return r > 0 ? 1 : r; /* its transactions have one place */
}

static int exactly_was_accepted(struct ow_broker *broker, const char *source, const struct ow_message *message,
                                struct ow_error *err)
{
    const struct exactly *k = self_of(broker);
    (void)err;
    return k->source && strcmp(k->source, source) == 0 && ow_position_compare(message->position, k->last) <= 0;
}

static int exactly_forget_position(struct ow_broker *broker, const char *source, struct ow_error *err)
{
    struct exactly *k = self_of(broker);
    k->last = (struct ow_position){0};
    return ow_kafka_position_forget(&k->client, &k->settings, source, err);
}

static const struct ow_broker_ops exactly_ops = {
    .name = "kafka, exactly once",
    .keeps_order = true,
    .has_transactions = true,
    .open = exactly_open,
    .send = exactly_send,
    .step = exactly_step,
    .wait = exactly_wait,
    .close = exactly_close,
    .discard = exactly_discard,
    .txn_begin = exactly_begin,
    .txn_commit = exactly_commit,
    .txn_abort = exactly_abort,
    .last_position = exactly_last_position,
    .forget_position = exactly_forget_position,
    .was_accepted = exactly_was_accepted,
};

int ow_kafka_exactly_once_new(struct ow_kafka_settings *settings, struct ow_broker **ret, struct ow_error *err)
{
    struct exactly *k = calloc(1, sizeof *k);
    if (!k)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    k->base.ops = &exactly_ops;
    k->client.broker = &k->base;
    k->settings = *settings;
    k->client.event_fd = -1;
    *ret = &k->base;
    return 0;
}
