/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal as a broker that is subscribed to, alone or as a member of a group.
 *
 * Records are read in the order of their seq, which is one order over all topics, a batch at a time into own
 * memory, each batch in one short transaction: a reader that waits holds none, else the WAL could not be
 * started anew. Where a batch begins is the least seq at which any of our partitions may go on (the sparse
 * index says it); records on the way that are not ours, or were given out before, are passed over.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "broker/journal/groups.h"
#include "broker/journal/places.h"
#include "broker/subscriber.h"
#include "sql.h"

enum {
    BATCH_RECORDS = 500,
    BATCH_BYTES = 1 << 20, /* and one record more, however large */
    SCAN_RECORDS = 20000,  /* passed over at most in one batch */
    TAKE_AGAIN_MS = 20,    /* a partition that its last holder has still */
    COLUMNS = 9,           /* of ow_sql_journal_read_records */
};

/* Bytes of a record, in the buffer of the batch, which may move while it grows. */
struct span {
    size_t at, size;
    bool is_null;
};

struct kept {
    struct ow_journal_place *place;
    uint32_t generation; /* of the place, when this was read */
    int64_t seq, offset, time_ms;
    struct span id, key, type, headers, value;
};

struct subscriber {
    struct ow_subscriber base;
    char *path, *group;
    struct ow_bytes *topics; /* one block with their bytes; NULL: all */
    char *topics_text;       /* for the group: each ended by a line break */
    size_t topic_count;
    int64_t from;
    ow_subscriber_listener *listener;
    void *context;
    struct ow_store *store; /* NULL: not open */
    struct ow_journal_places places;
    struct ow_journal_member member;
    bool has_member, must_fill, has_pending; /* pending: a partition is ours but not free yet */
    bool is_held;                            /* nothing is given out */
    int64_t next_look_ms;
    struct kept *kept; /* BATCH_RECORDS of them */
    size_t kept_count, kept_given;
    struct ow_buf bytes;
    struct ow_header *headers;
    size_t header_capacity;
    struct ow_statement *read;
};

static struct subscriber *self_of(struct ow_subscriber *subscriber)
{
    return (struct subscriber *)subscriber;
}

/* --- where to start ----------------------------------------------------------------------------------- */

static int64_t start_of(const struct subscriber *s, const struct ow_journal_place *p)
{
    if (s->from == OW_OFFSET_BEGINNING)
        return p->first;
    int64_t start = s->from == OW_OFFSET_END ? p->end_at_open : s->from;
    return start < p->first ? p->first : start;
}

static void start_alone(struct subscriber *s)
{
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (p->next >= 0)
            continue;
        p->is_ours = true;
        p->next = start_of(s, p); /* may lie ahead of what is there */
    }
}

static void tell(struct subscriber *s, enum ow_subscriber_event event, const struct ow_journal_place *p)
{
    if (s->listener)
        s->listener(s->context, event, p->topic, (uint32_t)p->number);
}

/* --- the group ---------------------------------------------------------------------------------------- */

static int join(struct subscriber *s, struct ow_error *err)
{
    int r = ow_journal_member_join(&s->member, s->store, s->path, s->group, s->topics_text, err);
    s->has_member = r == 0;
    return r;
}

/* The locks went away under us: what we hold is anybody's. */
static int lose_and_join(struct subscriber *s, struct ow_error *err)
{
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (!p->is_ours)
            continue;
        p->is_ours = false;
        tell(s, OW_EVENT_LOST, p);
    }
    ow_journal_member_leave(&s->member, true);
    s->has_member = false;
    int r = join(s, err);
    return r < 0 ? r : ow_journal_member_look(&s->member, err);
}

static bool should_have(const struct subscriber *s, const struct ow_journal_place *p)
{
    return ow_journal_member_should_have(&s->member, p->topic_id, p->topic, p->partition_count, p->number);
}

static void give_up(struct subscriber *s)
{
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (!p->is_ours || should_have(s, p))
            continue;
        tell(s, OW_EVENT_REVOKED, p); /* may settle: it is still ours */
        p->is_ours = false;
        p->generation++;
        ow_journal_member_unlock(&s->member, p->id);
    }
}

/* One partition, within the transaction, its lock taken. */
static int claim(struct subscriber *s, struct ow_journal_place *p, struct ow_error *err)
{
    int64_t offset = start_of(s, p);
    int r = ow_journal_member_claim(&s->member, p->id, &offset, err);
    if (r < 0)
        return r;
    ow_journal_place_jump(p, offset);
    p->settled = offset;
    p->is_paused = false;
    return 0;
}

/* Locks what should be ours and is free; returns how many. */
static size_t lock_free_ones(struct subscriber *s, struct ow_journal_place **locked)
{
    size_t count = 0;
    s->has_pending = false;
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (p->is_ours || !should_have(s, p))
            continue;
        if (ow_journal_member_lock(&s->member, p->id, NULL) < 0)
            s->has_pending = true;
        else
            locked[count++] = p;
    }
    return count;
}

static int claim_all(struct subscriber *s, struct ow_journal_place **locked, size_t count, struct ow_error *err)
{
    int r = s->store->ops->begin(s->store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    r = ow_journal_places_read(&s->places, s->store, err); /* where retention has come to by now */
    for (size_t i = 0; r == 0 && i < count; i++)
        r = claim(s, locked[i], err);
    if (r == 0)
        r = s->store->ops->commit(s->store, err);
    if (r < 0)
        s->store->ops->rollback(s->store);
    return r;
}

static int take(struct subscriber *s, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf memory = {0};
    struct ow_journal_place **locked = (void *)ow_buf_reserve(&memory, (s->places.count + 1) * sizeof *locked);
    if (!locked)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    size_t count = lock_free_ones(s, locked);
    int r = count > 0 ? claim_all(s, locked, count, err) : 0;
    for (size_t i = 0; i < count; i++) {
        if (r < 0) {
            ow_journal_member_unlock(&s->member, locked[i]->id);
            continue;
        }
        locked[i]->is_ours = true;
        s->must_fill = true;
        tell(s, OW_EVENT_ASSIGNED, locked[i]);
    }
    return r;
}

static int look(struct subscriber *s, struct ow_error *err)
{
    int r = s->has_member ? 0 : join(s, err);
    if (r == 0)
        r = ow_journal_places_read(&s->places, s->store, err);
    if (r == 0)
        r = ow_journal_member_look(&s->member, err);
    if (r == 1)
        r = lose_and_join(s, err);
    if (r < 0)
        return r;
    give_up(s);
    r = take(s, err);
    s->next_look_ms = ow_clock_monotonic_ms() + (s->has_pending ? TAKE_AGAIN_MS : OW_JOURNAL_LOOK_MS);
    return r;
}

/* --- reading a batch ---------------------------------------------------------------------------------- */

/* From which seq on, and among which partitions. 0: there is nothing to read. */
static int scope(struct subscriber *s, struct ow_value values[4], struct ow_error *err)
{
    int64_t start = INT64_MAX, low = INT64_MAX, high = 0;
    for (size_t i = 0; i < s->places.count; i++) {
        const struct ow_journal_place *p = s->places.items[i];
        int64_t seq = 0;
        if (!ow_journal_place_is_readable(p))
            continue;
        int r = ow_journal_places_seq(&s->places, s->store, p, &seq, err);
        if (r < 0)
            return r;
        start = seq < start ? seq : start;
        low = p->id < low ? p->id : low;
        high = p->id;
    }
    if (start == INT64_MAX)
        return 0;
    values[0] = ow_value_integer(start);
    values[1] = ow_value_integer(start + SCAN_RECORDS);
    values[2] = ow_value_integer(low);
    values[3] = ow_value_integer(high);
    return 1;
}

static struct span add_bytes(struct subscriber *s, const struct ow_value *value)
{
    struct span span = {s->bytes.size, value->bytes.size, value->kind == OW_VALUE_NULL};
    ow_buf_add_bytes(&s->bytes, value->bytes);
    return span;
}

static void keep(struct subscriber *s, const struct ow_value row[COLUMNS])
{
    struct ow_journal_place *p = ow_journal_places_by_id(&s->places, row[1].integer);
    if (!p || !ow_journal_place_is_readable(p) || row[2].integer < p->next)
        return;
    s->kept[s->kept_count++] = (struct kept){
        .place = p,
        .generation = p->generation,
        .seq = row[0].integer,
        .offset = row[2].integer,
        .time_ms = row[3].integer,
        .id = add_bytes(s, &row[4]),
        .key = add_bytes(s, &row[5]),
        .type = add_bytes(s, &row[6]),
        .headers = add_bytes(s, &row[7]),
        .value = add_bytes(s, &row[8]),
    };
}

static int read_batch(struct subscriber *s, struct ow_error *err)
{
    struct ow_value values[4], row[COLUMNS];
    int r = scope(s, values, err);
    if (r <= 0)
        return r;
    r = ow_journal_statement(s->store, &s->read, ow_sql_journal_read_records, err);
    if (r == 0)
        r = s->store->ops->start(s->read, values, 4, err);
    while (r == 0 && s->kept_count < BATCH_RECORDS && s->bytes.size < BATCH_BYTES &&
           (r = s->store->ops->row(s->read, row, COLUMNS, err)) == 1) {
        keep(s, row);
        r = 0;
    }
    if (s->read)
        s->store->ops->stop(s->read);
    return r < 0 ? r : ow_buf_check(&s->bytes, err);
}

static int fill(struct subscriber *s, struct ow_error *err)
{
    enum { SPARE_BYTES = 4 * BATCH_BYTES };
    if (s->bytes.capacity > SPARE_BYTES) /* a very large record went through here */
        ow_buf_done(&s->bytes);
    ow_buf_clear(&s->bytes);
    s->kept_count = s->kept_given = 0;
    int r = s->store->ops->begin(s->store, OW_TRANSACTION_READ, err);
    if (r < 0)
        return r;
    size_t count = s->places.count;
    r = ow_journal_places_read(&s->places, s->store, err);
    if (r == 0 && !s->group)
        start_alone(s);
    else if (s->places.count != count) /* a new topic, to be shared out */
        s->next_look_ms = 0;
    if (r == 0)
        r = read_batch(s, err);
    s->store->ops->rollback(s->store); /* nothing was written: it only ends the transaction */
    if (r < 0)
        s->kept_count = 0;
    s->must_fill = s->kept_count > 0;
    return r;
}

/* --- giving out --------------------------------------------------------------------------------------- */

static struct ow_bytes bytes_of(const struct subscriber *s, struct span span)
{
    return span.is_null ? OW_NULL_BYTES : (struct ow_bytes){s->bytes.data ? s->bytes.data + span.at : "", span.size};
}

static int read_headers(struct subscriber *s, struct ow_bytes from, struct ow_message *m, struct ow_error *err)
{
    int count = ow_journal_headers_read(from, s->headers, s->header_capacity, err);
    if (count > 0 && (size_t)count > s->header_capacity) {
        struct ow_header *grown = reallocarray(s->headers, (size_t)count, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        s->headers = grown;
        s->header_capacity = (size_t)count;
        count = ow_journal_headers_read(from, s->headers, s->header_capacity, err);
    }
    if (count < 0)
        return ow_error_prefix(err, "%s", s->path);
    m->headers = s->headers;
    m->header_count = (size_t)count;
    return 0;
}

/* 1: a record of the batch; 0: the batch is used up. */
static int give(struct subscriber *s, struct ow_record *ret, struct ow_error *err)
{
    while (s->kept_given < s->kept_count) {
        const struct kept *k = &s->kept[s->kept_given];
        struct ow_journal_place *p = k->place;
        if (k->generation != p->generation || !p->is_ours) {
            s->kept_given++;
            continue;
        }
        struct ow_record record = {.partition = p->number, .offset = k->offset};
        record.message = (struct ow_message){.id = bytes_of(s, k->id),
                                             .topic = p->topic,
                                             .key = bytes_of(s, k->key),
                                             .type = bytes_of(s, k->type),
                                             .payload = bytes_of(s, k->value),
                                             .time_ms = k->time_ms};
        int r = read_headers(s, bytes_of(s, k->headers), &record.message, err);
        if (r < 0)
            return r;
        s->kept_given++;
        p->next = k->offset + 1;
        p->seq_min = k->seq + 1;
        *ret = record;
        return 1;
    }
    return 0;
}

static int subscriber_next(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err)
{
    struct subscriber *s = self_of(subscriber);
    if (s->group && ow_clock_monotonic_ms() >= s->next_look_ms) {
        int r = look(s, err);
        if (r < 0)
            return r;
    }
    if (s->is_held)
        return 0;
    int r = give(s, ret, err);
    if (r != 0)
        return r;
    if (!s->must_fill) {
        r = s->store->ops->has_changed(s->store, err);
        if (r <= 0)
            return r;
    }
    for (s->must_fill = true; s->must_fill;) {
        r = fill(s, err);
        if (r == 0)
            r = give(s, ret, err);
        if (r != 0)
            return r;
    }
    return 0;
}

static int subscriber_is_at_end(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct subscriber *s = self_of(subscriber);
    (void)err;
    if (s->has_pending)
        return 0;
    for (size_t i = 0; i < s->places.count; i++) {
        const struct ow_journal_place *p = s->places.items[i];
        if (p->is_ours && p->next < p->end_at_open)
            return 0;
    }
    return 1;
}

static void subscriber_wait(struct ow_subscriber *subscriber, struct ow_wait *wait)
{
    struct subscriber *s = self_of(subscriber);
    if (s->group)
        ow_wait_until(wait, s->next_look_ms);
    if (s->is_held)
        return;
    if (s->must_fill || s->kept_given < s->kept_count)
        ow_wait_until(wait, ow_clock_monotonic_ms());
    s->store->ops->wait(s->store, wait);
}

/* --- the caller's say --------------------------------------------------------------------------------- */

static int subscriber_settle(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition,
                             int64_t offset, struct ow_error *err)
{
    struct subscriber *s = self_of(subscriber);
    if (!s->group) /* nothing is remembered */
        return 0;
    struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p || !p->is_ours || !s->has_member)
        return ow_error_set(err, OW_ESTANDBY, "%.*s, partition %u: another member of group %s has it", OW_PRINT(topic),
                            partition, s->group);
    int r = ow_journal_member_settle(&s->member, p->id, offset + 1, err);
    if (r == OW_ESTANDBY) {
        p->is_ours = false;
        ow_journal_member_unlock(&s->member, p->id);
        tell(s, OW_EVENT_LOST, p);
        return ow_error_prefix(err, "%.*s, partition %u", OW_PRINT(topic), partition);
    }
    if (r < 0)
        return r;
    p->settled = offset + 1;
    s->store->ops->tidy(s->store);
    return 0;
}

/* What is settled is durable. */
static int subscriber_flush(struct ow_subscriber *subscriber, int timeout_ms, struct ow_error *err)
{
    (void)subscriber, (void)timeout_ms, (void)err;
    return 0;
}

static int pause_or_resume(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, bool is_paused)
{
    struct subscriber *s = self_of(subscriber);
    if (!topic.data) {
        s->is_held = is_paused;
        return 0;
    }
    struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p)
        return OW_ENOTFOUND;
    if (p->is_paused != is_paused) {
        p->is_paused = is_paused;
        p->generation++; /* what was read of it is read again */
        s->must_fill = true;
    }
    return 0;
}

static int subscriber_pause(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition)
{
    return pause_or_resume(subscriber, topic, partition, true);
}

static int subscriber_resume(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition)
{
    return pause_or_resume(subscriber, topic, partition, false);
}

static int subscriber_seek(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                           struct ow_error *err)
{
    struct subscriber *s = self_of(subscriber);
    struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p || !p->is_ours)
        return ow_error_set(err, OW_ENOTFOUND, "%.*s, partition %u: there is no such partition here", OW_PRINT(topic),
                            partition);
    ow_journal_place_jump(p, offset == OW_OFFSET_BEGINNING ? p->first : offset == OW_OFFSET_END ? p->end : offset);
    s->must_fill = true;
    return 0;
}

static int subscriber_look(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition,
                           struct ow_standing *ret)
{
    struct subscriber *s = self_of(subscriber);
    const struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p || !p->is_ours)
        return OW_ENOTFOUND;
    *ret = (struct ow_standing){.next = p->next, .end = p->end, .settled = s->group ? p->settled : -1};
    return 0;
}

/* --- open and close ----------------------------------------------------------------------------------- */

static int subscriber_open(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct subscriber *s = self_of(subscriber);
    int r = ow_journal_open(s->path, s->group ? OW_JOURNAL_JOIN : OW_JOURNAL_READ, &s->store, err);
    if (r == 0)
        r = ow_journal_places_read(&s->places, s->store, err);
    if (r == 0 && s->group)
        r = look(s, err);
    else if (r == 0)
        start_alone(s);
    s->must_fill = true;
    return r;
}

static void subscriber_close(struct ow_subscriber *subscriber)
{
    if (!subscriber)
        return;
    struct subscriber *s = self_of(subscriber);
    if (s->has_member)
        ow_journal_member_leave(&s->member, true);
    if (s->store)
        s->store->ops->close(s->store);
    ow_journal_places_done(&s->places);
    ow_buf_done(&s->bytes);
    free(s->headers);
    free(s->kept);
    free(s->topics);
    free(s->topics_text);
    free(s->group);
    free(s->path);
    free(s);
}

static const struct ow_subscriber_ops subscriber_ops = {
    .name = "journal",
    .open = subscriber_open,
    .next = subscriber_next,
    .settle = subscriber_settle,
    .flush = subscriber_flush,
    .is_at_end = subscriber_is_at_end,
    .pause = subscriber_pause,
    .resume = subscriber_resume,
    .seek = subscriber_seek,
    .look = subscriber_look,
    .wait = subscriber_wait,
    .close = subscriber_close,
};

/* Both forms of the topics: for comparing, pointing into the text that goes into the member's row. */
static int copy_topics(struct subscriber *s, const struct ow_subscriber_options *options)
{
    if (!options->topics)
        return 0;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    s->topics = calloc(options->topic_count + 1, sizeof *s->topics);
    for (size_t i = 0; i < options->topic_count; i++) {
        ow_buf_add_text(&text, options->topics[i]);
        ow_buf_add_char(&text, '\n');
    }
    s->topics_text = ow_bytes_text(ow_buf_bytes(&text));
    if (!s->topics || !s->topics_text || text.has_failed)
        return OW_ENOMEM;
    s->topic_count = options->topic_count;
    size_t at = 0;
    for (size_t i = 0; i < s->topic_count; i++) {
        s->topics[i] = (struct ow_bytes){s->topics_text + at, strlen(options->topics[i])};
        at += s->topics[i].size + 1;
    }
    s->places.topics = s->topics;
    s->places.topic_count = s->topic_count;
    return 0;
}

int ow_journal_subscriber_new(const char *path, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                              struct ow_error *err)
{
    struct subscriber *s = calloc(1, sizeof *s);
    if (!s)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    s->base.ops = &subscriber_ops;
    s->member.locks.fd = -1;
    s->from = options->from;
    s->listener = options->listener;
    s->context = options->context;
    s->path = strdup(path);
    s->group = options->group ? strdup(options->group) : NULL;
    s->kept = calloc(BATCH_RECORDS, sizeof *s->kept);
    if (!s->path || !s->kept || (options->group && !s->group) || copy_topics(s, options) < 0) {
        subscriber_close(&s->base);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    *ret = &s->base;
    return 0;
}
