/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal as a broker that publishes.
 *
 * send() inserts at once, within the transaction that the caller has begun; the commit takes the records,
 * where the partitions stand, and the source's position together, and syncs once. So a batch is accepted as
 * one or not at all, and what is accepted is known, also to whoever comes after a crash: last_position()
 * says how far the source has come, was_accepted() answers for single messages at or before it.
 *
 * The seq of the next record and the offsets are read once in each transaction and written back at its end:
 * between transactions other processes publish too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/units.h"
#include "broker/broker.h"
#include "broker/journal/accepted.h"
#include "broker/journal/retention.h"
#include "broker/journal/sources.h"
#include "broker/journal/topics.h"
#include "broker/txn_tokens.h"
#include "sql.h"

enum {
    TOPICS_KEPT = 4096,           /* topics remembered between transactions */
    RECORD_BYTES_MAX = 256 << 20, /* far below what SQLite takes in one row */
    IDLE_MS_MIN = 1000,
    IDLE_MS_MAX = 60000,
};

struct rejected {
    uint64_t token;
    char reason[sizeof((struct ow_receipt *)NULL)->reason];
};

struct journal {
    struct ow_broker base;
    char *path;
    struct ow_journal_options options;
    struct ow_store *store;           /* NULL: not open */
    bool is_in_transaction, is_mixed; /* mixed: its records may carry the numbers of several sources */
    uint64_t transaction;             /* counts them */
    int64_t next_seq, txn_seq;        /* of the next record; of the first one in this transaction; 0: not read yet */
    struct ow_txn_tokens tokens;
    struct rejected *rejected;
    size_t rejected_count, rejected_given;
    char *source_name; /* owned; the source that was spoken of last; NULL: none yet */
    struct ow_journal_source source;
    int64_t next_idle_ms;
    struct ow_journal_topics topics;
    struct ow_journal_accepted accepted;
    struct ow_journal_retention retention;
    struct ow_journal_sources sources;
    struct ow_buf headers;
    struct ow_statement *insert, *insert_index, *read_seq, *write_seq, *name_source;
};

static struct journal *self_of(struct ow_broker *broker)
{
    return (struct journal *)broker;
}

/* --- open and close ---------------------------------------------------------------------------------- */

static void forget_transaction(struct journal *j)
{
    if (j->store)
        j->store->ops->rollback(j->store);
    j->is_in_transaction = false;
    ow_txn_tokens_drop(&j->tokens);
    j->rejected_count = j->rejected_given = 0;
    j->txn_seq = 0;
    ow_journal_topics_clear(&j->topics);
}

static void journal_close(struct ow_broker *broker)
{
    struct journal *j = self_of(broker);
    if (!j->store)
        return;
    forget_transaction(j);
    ow_journal_accepted_drop(&j->accepted);
    j->store->ops->close(j->store);
    j->store = NULL;
    free(j->source_name);
    j->source_name = NULL;
    j->source = (struct ow_journal_source){0};
    ow_txn_tokens_clear(&j->tokens);
    /* The statements went with their store. */
    j->topics = (struct ow_journal_topics){0};
    j->accepted = (struct ow_journal_accepted){0};
    ow_journal_retention_init(&j->retention, j->options.retention_ms, j->options.retention_bytes);
    j->insert = j->insert_index = j->read_seq = j->write_seq = j->name_source = NULL;
    j->sources = (struct ow_journal_sources){0};
}

static int journal_open(struct ow_broker *broker, struct ow_error *err)
{
    struct journal *j = self_of(broker);
    journal_close(broker);
    int r = ow_journal_open(j->path, OW_JOURNAL_PUBLISH, &j->store, err);
    if (r == 0)
        r = j->store->ops->prepare(j->store, ow_sql_journal_insert_record, &j->insert, err);
    if (r < 0)
        journal_close(broker);
    return r;
}

static void journal_discard(struct ow_broker *broker)
{
    struct journal *j = self_of(broker);
    journal_close(broker);
    ow_txn_tokens_done(&j->tokens);
    free(j->rejected);
    ow_buf_done(&j->headers);
    free(j->path);
    free(j);
}

/* --- sending ----------------------------------------------------------------------------------------- */

/* "" or why the journal can never take it. */
static void judge(const struct ow_message *m, char *reason, size_t size)
{
    reason[0] = '\0';
    if (m->topic.size == 0)
        (void)snprintf(reason, size, "the topic is empty");
    else if (m->topic.size > ow_message_limits_default.topic_bytes_max)
        (void)snprintf(reason, size, "the topic has %zu bytes, the journal takes at most %zu", m->topic.size,
                       ow_message_limits_default.topic_bytes_max);
    else if (!ow_utf8_is_valid(m->topic))
        (void)snprintf(reason, size, "the topic is not UTF-8");
    for (size_t i = 0; !reason[0] && i < m->topic.size; i++) {
        if ((unsigned char)m->topic.data[i] < 0x20 || m->topic.data[i] == 0x7f)
            (void)snprintf(reason, size, "the topic has a control character in it");
    }
    size_t bytes = m->id.size + m->key.size + m->type.size + m->payload.size;
    for (size_t i = 0; i < m->header_count; i++)
        bytes += m->headers[i].name.size + m->headers[i].value.size;
    if (!reason[0] && bytes > RECORD_BYTES_MAX)
        (void)snprintf(reason, size, "the message has %zu bytes, the journal takes at most %d", bytes,
                       RECORD_BYTES_MAX);
}

static int reject(struct journal *j, uint64_t token, const char *reason, struct ow_error *err)
{
    struct rejected *grown = reallocarray(j->rejected, j->rejected_count + 1, sizeof *grown);
    if (!grown)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    j->rejected = grown;
    struct rejected *r = &grown[j->rejected_count++];
    r->token = token;
    (void)snprintf(r->reason, sizeof r->reason, "%s", reason);
    return 0;
}

static int read_next_seq(struct journal *j, struct ow_error *err)
{
    int r = ow_journal_integer(j->store, &j->read_seq, ow_sql_journal_read_next_seq, NULL, 0, 0, &j->next_seq, err);
    if (r == 0 && j->next_seq < 1)
        r = ow_error_set(err, OW_ECORRUPT, "%s: the journal has lost its next_seq", j->path);
    if (r == 0)
        j->txn_seq = j->next_seq;
    return r;
}

/* A row in the sparse index, where this record is far enough from the partition's last one. */
static int index_record(struct journal *j, struct ow_journal_partition *p, struct ow_error *err)
{
    if (p->indexed_seq != 0 && j->next_seq - p->indexed_seq < OW_JOURNAL_INDEX_STEP)
        return 0;
    struct ow_value values[] = {ow_value_integer(p->id), ow_value_integer(p->next_offset),
                                ow_value_integer(j->next_seq)};
    int r = ow_journal_run(j->store, &j->insert_index, ow_sql_journal_insert_index, values, 3, err);
    if (r == 0)
        p->indexed_seq = j->next_seq;
    return r;
}

static int insert(struct journal *j, struct ow_journal_partition *p, const struct ow_message *m, struct ow_error *err)
{
    struct ow_bytes headers = OW_NULL_BYTES;
    if (m->header_count > 0) {
        ow_buf_clear(&j->headers);
        ow_journal_headers_write(&j->headers, m->headers, m->header_count);
        int r = ow_buf_check(&j->headers, err);
        if (r < 0)
            return r;
        headers = ow_buf_bytes(&j->headers);
    }
    struct ow_value values[] = {
        ow_value_integer(j->next_seq),
        ow_value_integer(p->id),
        ow_value_integer(p->next_offset),
        j->source.id ? ow_value_integer(j->source.id) : ow_value_null(),
        ow_value_integer(m->time_ms),
        ow_value_text(m->id),
        ow_value_blob(m->key),
        ow_value_text(m->type),
        ow_value_blob(headers),
        ow_value_blob(m->payload),
    };
    int r = index_record(j, p, err);
    if (r == 0)
        r = ow_store_run(j->store, j->insert, values, sizeof values / sizeof values[0], err);
    if (r == 0) {
        j->next_seq++;
        p->next_offset++;
    }
    return r;
}

/* The position that is committed says that all in its transaction was accepted. So what is rejected stands in a
   transaction without any other message, and without a position. */
static bool has_verdict(const struct journal *j)
{
    return j->rejected_count > j->rejected_given;
}

static int not_now(const struct journal *j, struct ow_error *err)
{
    return ow_error_set(err, OW_EAGAIN, "%s: not in this transaction", j->path);
}

static int send_in_transaction(struct journal *j, const struct ow_message *m, uint64_t token, struct ow_error *err)
{
    struct ow_journal_topic *last = j->topics.last, *topic = NULL;
    bool is_small = m->header_count == 0 && m->payload.size < RECORD_BYTES_MAX / 4;
    if (!is_small || !last || !ow_bytes_equal(m->topic, last->name)) {
        char reason[sizeof((struct ow_receipt *)NULL)->reason];
        judge(m, reason, sizeof reason);
        if (reason[0])
            return ow_txn_tokens_sent(&j->tokens) > 0 ? not_now(j, err) : reject(j, token, reason, err);
    }
    if (has_verdict(j))
        return not_now(j, err);
    int r = j->txn_seq ? 0 : read_next_seq(j, err);
    if (r == 0)
        r = ow_journal_topics_get(&j->topics, j->store, m->topic, j->transaction, j->options.partitions, &topic, err);
    if (r == 0)
        r = insert(j, ow_journal_topic_partition(&j->topics, topic, m->key), m, err);
    if (r == 0)
        r = ow_txn_tokens_add(&j->tokens, token, err);
    OW_CRASH_POINT(JOURNAL_MID_PUBLISH);
    return r;
}

static int journal_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token,
                        struct ow_error *err)
{
    struct journal *j = self_of(broker);
    if (!j->is_in_transaction)
        return ow_error_set(err, OW_EINTERNAL, "%s: sent outside a transaction", j->path);
    int r = send_in_transaction(j, message, token, err);
    if (r < 0 && r != OW_EAGAIN)
        forget_transaction(j);
    return r;
}

static void work_while_idle(struct journal *j)
{
    int64_t now = ow_clock_monotonic_ms();
    if (j->is_in_transaction || now < j->next_idle_ms || !ow_journal_retention_is_due(&j->retention, now))
        return;
    int64_t pause = j->retention.age_ms / 10;
    j->next_idle_ms = now + (pause < IDLE_MS_MIN || j->retention.is_behind ? IDLE_MS_MIN
                             : pause > IDLE_MS_MAX                         ? IDLE_MS_MAX
                                                                           : pause);
    /* It is not what the caller asked for, so its failure is not told either: the next time will do. */
    if (j->store->ops->begin(j->store, OW_TRANSACTION_WRITE, NULL) < 0)
        return;
    int r = read_next_seq(j, NULL);
    if (r == 0)
        r = ow_journal_retention_step(&j->retention, j->store, j->next_seq, j->next_seq, 0, NULL);
    if (r == 0)
        r = j->store->ops->commit(j->store, NULL);
    if (r < 0)
        j->store->ops->rollback(j->store);
    j->txn_seq = 0;
    j->store->ops->tidy(j->store);
}

static int journal_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct journal *j = self_of(broker);
    size_t n = 0;
    (void)err;
    for (; n < max && j->rejected_given < j->rejected_count; n++) {
        const struct rejected *r = &j->rejected[j->rejected_given++];
        receipts[n] = (struct ow_receipt){.token = r->token, .verdict = OW_REJECTED};
        memcpy(receipts[n].reason, r->reason, sizeof r->reason);
    }
    n += ow_txn_tokens_give(&j->tokens, &receipts[n], max - n);
    if (n == 0 && j->store)
        work_while_idle(j);
    return (int)n;
}

static void journal_wait(struct ow_broker *broker, struct ow_wait *wait)
{
    struct journal *j = self_of(broker);
    if (j->rejected_given < j->rejected_count || ow_txn_tokens_are_due(&j->tokens))
        ow_wait_until(wait, ow_clock_monotonic_ms());
    else if (j->retention.age_ms > 0 || j->retention.is_behind)
        ow_wait_until(wait, j->next_idle_ms > j->retention.next_ms ? j->next_idle_ms : j->retention.next_ms);
}

/* --- transactions ------------------------------------------------------------------------------------ */

static int journal_txn_begin(struct ow_broker *broker, struct ow_error *err)
{
    struct journal *j = self_of(broker);
    if (j->is_in_transaction)
        return ow_error_set(err, OW_EINTERNAL, "%s: a transaction is already open", j->path);
    int r = j->store->ops->begin(j->store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    ow_txn_tokens_drop(&j->tokens);
    if (j->rejected_given == j->rejected_count)
        j->rejected_count = j->rejected_given = 0;
    if (j->topics.count > TOPICS_KEPT)
        ow_journal_topics_clear(&j->topics);
    j->is_in_transaction = true;
    j->is_mixed = false;
    j->transaction++;
    j->txn_seq = 0;
    return 0;
}

/* Makes `name` the source whose number new records carry. */
static int adopt_source(struct journal *j, const char *name, const struct ow_journal_source *found,
                        struct ow_error *err)
{
    j->is_mixed = j->is_mixed || (j->is_in_transaction && j->source.id != found->id);
    j->source = *found;
    if (j->source_name && strcmp(j->source_name, name) == 0)
        return 0;
    ow_journal_accepted_drop(&j->accepted);
    free(j->source_name);
    j->source_name = strdup(name);
    return j->source_name ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

/* The source's position, in this transaction. The records went out with the number of the source that was
   spoken of last, which is this one but for the first transaction of its life. */
static int commit_source(struct journal *j, const char *name, struct ow_position position,
                         struct ow_journal_source *ret, struct ow_error *err)
{
    int64_t used = j->source.id;
    int r = name ? ow_journal_source_read(&j->sources, j->store, name, ret, NULL, err) : 0;
    if (r >= 0 && name)
        r = ow_journal_source_write(&j->sources, j->store, name, position, j->txn_seq, j->next_seq, ret, err);
    if (r < 0 || (ret->id == used && !j->is_mixed) || j->next_seq == j->txn_seq)
        return r;
    struct ow_value values[] = {ret->id ? ow_value_integer(ret->id) : ow_value_null(), ow_value_integer(j->txn_seq)};
    return ow_journal_run(j->store, &j->name_source, ow_sql_journal_name_source, values, 2, err);
}

static int write_and_commit(struct journal *j, const char *source, struct ow_position position,
                            struct ow_journal_source *found, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms();
    int r = j->txn_seq ? 0 : read_next_seq(j, err);
    int64_t sent = j->next_seq - j->txn_seq;
    struct ow_value next = ow_value_integer(j->next_seq);
    if (r == 0)
        r = ow_journal_topics_write(&j->topics, j->store, err);
    if (r == 0 && sent > 0)
        r = ow_journal_run(j->store, &j->write_seq, ow_sql_journal_write_next_seq, &next, 1, err);
    if (r == 0)
        r = commit_source(j, source, position, found, err);
    if (r == 0 && ow_journal_retention_is_due(&j->retention, now))
        r = ow_journal_retention_step(&j->retention, j->store, j->txn_seq, j->next_seq, sent, err);
    if (r < 0)
        return r;
    OW_CRASH_POINT(JOURNAL_BEFORE_COMMIT);
    r = j->store->ops->commit(j->store, err);
    if (r == 0)
        OW_CRASH_POINT(JOURNAL_AFTER_COMMIT);
    return r;
}

static int journal_txn_commit(struct ow_broker *broker, const char *source, struct ow_position position,
                              struct ow_error *err)
{
    struct journal *j = self_of(broker);
    struct ow_journal_source found = {0};
    if (!j->is_in_transaction)
        return ow_error_set(err, OW_EINTERNAL, "%s: there is no transaction to commit", j->path);
    if (has_verdict(j)) {
        j->store->ops->rollback(j->store);
        j->is_in_transaction = false;
        return source ? 1 : 0;
    }
    int r = write_and_commit(j, source, position, &found, err);
    if (r < 0) {
        forget_transaction(j);
        return r;
    }
    j->is_in_transaction = false;
    ow_txn_tokens_accept(&j->tokens);
    ow_journal_accepted_drop(&j->accepted);
    j->store->ops->tidy(j->store);
    /* If there is no memory for it, the next transaction finds its source's number by itself. */
    if (source && adopt_source(j, source, &found, NULL) < 0)
        j->source.id = 0;
    return 0;
}

static void journal_txn_abort(struct ow_broker *broker)
{
    struct journal *j = self_of(broker);
    if (j->is_in_transaction)
        forget_transaction(j);
}

static int journal_last_position(struct ow_broker *broker, const char *source, struct ow_position *ret,
                                 struct ow_error *err)
{
    struct journal *j = self_of(broker);
    struct ow_journal_source found = {0};
    struct ow_position position = {0};
    int r = ow_journal_source_read(&j->sources, j->store, source, &found, &position, err);
    if (r < 0)
        return r;
    int adopted = adopt_source(j, source, &found, err);
    if (adopted < 0)
        return adopted;
    if (r == 1)
        *ret = position;
    return r;
}

static int journal_was_accepted(struct ow_broker *broker, const char *source, const struct ow_message *message,
                                struct ow_error *err)
{
    struct journal *j = self_of(broker);
    bool is_same = j->source_name && strcmp(j->source_name, source) == 0;
    if (!j->accepted.entries || !is_same) {
        struct ow_journal_source found = {0};
        /* What this very transaction has inserted is not accepted yet. */
        int64_t end = j->is_in_transaction && j->txn_seq ? j->txn_seq : INT64_MAX;
        int r = ow_journal_source_read(&j->sources, j->store, source, &found, NULL, err);
        if (r <= 0)
            return r;
        r = adopt_source(j, source, &found, err);
        if (r == 0)
            r = ow_journal_accepted_read(&j->accepted, j->store, found.since, end, found.id, err);
        if (r < 0)
            return r;
    }
    return ow_journal_accepted_has(&j->accepted, j->store, message->id, err);
}

static const struct ow_broker_ops journal_ops = {
    .name = "journal",
    .keeps_order = true,
    .has_transactions = true,
    .open = journal_open,
    .send = journal_send,
    .step = journal_step,
    .wait = journal_wait,
    .close = journal_close,
    .discard = journal_discard,
    .txn_begin = journal_txn_begin,
    .txn_commit = journal_txn_commit,
    .txn_abort = journal_txn_abort,
    .last_position = journal_last_position,
    .was_accepted = journal_was_accepted,
};

int ow_journal_broker_new(const struct ow_journal_options *options, struct ow_broker **ret, struct ow_error *err)
{
    if (options->partitions > OW_JOURNAL_PARTITIONS_MAX)
        return ow_error_set(err, OW_EINVALID, "%u partitions are too many for a topic of a journal; the most is %d",
                            options->partitions, OW_JOURNAL_PARTITIONS_MAX);
    struct journal *j = calloc(1, sizeof *j);
    char *path = strdup(options->path);
    if (!j || !path) {
        free(j);
        free(path);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    j->base.ops = &journal_ops;
    j->path = path;
    j->options = *options;
    j->options.path = path;
    if (j->options.partitions == 0)
        j->options.partitions = OW_JOURNAL_PARTITIONS_DEFAULT;
    ow_journal_retention_init(&j->retention, options->retention_ms, options->retention_bytes);
    *ret = &j->base;
    return 0;
}
