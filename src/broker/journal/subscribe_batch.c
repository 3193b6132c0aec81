/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records are read in the order of their seq, which is one order over all topics, a batch at a time into own
 * memory, each batch in one short transaction: a reader that waits holds none, else the WAL could not be
 * started anew. Where a batch begins is the least seq at which any of our partitions may go on (the sparse
 * index says it); records on the way that are not ours, or were given out before, are passed over.
 */
#include <stdlib.h>

#include "broker/journal/subscribe.h"
#include "sql.h"

enum {
    BATCH_BYTES = 1 << 20, /* and one record more, however large */
    SCAN_RECORDS = 20000,  /* passed over at most in one batch */
    COLUMNS = 9,           /* of ow_sql_journal_read_records */
};

void ow_journal_subscriber_start_alone(struct ow_journal_subscriber *s)
{
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (p->next >= 0)
            continue;
        p->is_ours = true;
        p->next = ow_journal_subscriber_start(s, p); /* may lie ahead of what is there */
    }
}

/* --- reading a batch ---------------------------------------------------------------------------------- */

/* From which seq on, and among which partitions. 0: there is nothing to read. */
static int scope(struct ow_journal_subscriber *s, struct ow_value values[4], struct ow_error *err)
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

static struct ow_journal_span add_bytes(struct ow_journal_subscriber *s, const struct ow_value *value)
{
    struct ow_journal_span span = {s->bytes.size, value->bytes.size, value->kind == OW_VALUE_NULL};
    ow_buf_add_bytes(&s->bytes, value->bytes);
    return span;
}

static void keep(struct ow_journal_subscriber *s, const struct ow_value row[COLUMNS])
{
    struct ow_journal_place *p = ow_journal_places_by_id(&s->places, row[1].integer);
    if (!p || !ow_journal_place_is_readable(p) || row[2].integer < p->next)
        return;
    s->kept[s->kept_count++] = (struct ow_journal_kept){
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

static int read_batch(struct ow_journal_subscriber *s, struct ow_error *err)
{
    struct ow_value values[4], row[COLUMNS];
    int r = scope(s, values, err);
    if (r <= 0)
        return r;
    r = ow_journal_statement(s->store, &s->read, ow_sql_journal_read_records, err);
    if (r == 0)
        r = s->store->ops->start(s->read, values, 4, err);
    while (r == 0 && s->kept_count < OW_JOURNAL_BATCH_RECORDS && s->bytes.size < BATCH_BYTES &&
           (r = s->store->ops->row(s->read, row, COLUMNS, err)) == 1) {
        keep(s, row);
        r = 0;
    }
    if (s->read)
        s->store->ops->stop(s->read);
    return r < 0 ? r : ow_buf_check(&s->bytes, err);
}

int ow_journal_subscriber_fill(struct ow_journal_subscriber *s, struct ow_error *err)
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
        ow_journal_subscriber_start_alone(s);
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

static struct ow_bytes bytes_of(const struct ow_journal_subscriber *s, struct ow_journal_span span)
{
    return span.is_null ? OW_NULL_BYTES : (struct ow_bytes){s->bytes.data ? s->bytes.data + span.at : "", span.size};
}

static int read_headers(struct ow_journal_subscriber *s, struct ow_bytes from, struct ow_message *m,
                        struct ow_error *err)
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

int ow_journal_subscriber_give(struct ow_journal_subscriber *s, struct ow_record *ret, struct ow_error *err)
{
    while (s->kept_given < s->kept_count) {
        const struct ow_journal_kept *k = &s->kept[s->kept_given];
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
