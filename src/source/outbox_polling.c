/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An outbox table in an SQLite file, by polling.
 *
 * SQLite has one writer at a time, so numbers given inside a transaction rise in the order of the commits,
 * and one snapshot ordered by seq is the commit order: no row can come late. Rows are read in short batches;
 * no read transaction stays open while the pipeline waits, since it would keep the WAL from being reset.
 * They are forgotten by identity: a statement deletes a run of numbers only if every number in it was yielded.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/units.h"
#include "codec/json.h"
#include "source/dead_letters.h"
#include "source/source.h"
#include "sql.h"
#include "store/migrate.h"
#include "store/store.h"

enum {
    BATCH_DEFAULT = 1000,
    HEADERS_MAX = 256,
    PURGE_EVERY_MS = 1000,
    PURGE_PAUSE_MS = 10,
    PURGE_ROWS = 1000,
};

enum column { SEQ, ID, AGGREGATE_TYPE, AGGREGATE_ID, TYPE, PAYLOAD, HEADERS, TIME, COLUMN_COUNT };

struct outbox {
    struct ow_source base;
    struct ow_outbox_polling_options options;
    char *path;
    struct ow_store *store;
    struct ow_statement *read, *forget, *dead_letter, *dead_letter_again, *purge;
    struct ow_dead_letters letters;
    struct ow_buf identity;
    bool is_reading, is_dry;
    uint32_t rows_in_batch;
    int64_t last_seq;     /* the last one yielded; what lies after it is read next */
    uint64_t outstanding; /* yielded and not confirmed */
    int64_t next_purge_ms;
    struct ow_buf scratch; /* of the message that was yielded last */
    struct ow_header headers[HEADERS_MAX];
    char payload_number[32];
};

static struct outbox *self_of(struct ow_source *source)
{
    return (struct outbox *)source;
}

static void stop_reading(struct outbox *o)
{
    if (!o->is_reading)
        return;
    o->store->ops->stop(o->read);
    o->is_reading = false;
    o->is_dry = false; /* what is left of this batch may show as no change any more */
}

static void outbox_close(struct ow_source *source)
{
    struct outbox *o = self_of(source);
    if (o->store)
        o->store->ops->close(o->store);
    o->store = NULL;
    ow_dead_letters_done(&o->letters);
    o->is_reading = o->is_dry = false;
    o->last_seq = 0;
    o->outstanding = 0;
    ow_buf_clear(&o->identity);
}

static void outbox_discard(struct ow_source *source)
{
    struct outbox *o = self_of(source);
    outbox_close(source);
    ow_buf_done(&o->identity);
    ow_buf_done(&o->scratch);
    free(o->path);
    free(o);
}

static int prepare_all(struct outbox *o, struct ow_error *err)
{
    const struct ow_store_ops *ops = o->store->ops;
    bool marks = o->options.after == OW_OUTBOX_MARK;
    int r = ops->prepare(o->store, ow_sql_outbox_read_batch, &o->read, err);
    if (r == 0)
        r = ops->prepare(o->store, marks ? ow_sql_outbox_mark_run : ow_sql_outbox_delete_run, &o->forget, err);
    if (r == 0)
        r = ops->prepare(o->store, ow_sql_outbox_dead_letter, &o->dead_letter, err);
    if (r == 0)
        r = ops->prepare(o->store, ow_sql_outbox_dead_letter_again, &o->dead_letter_again, err);
    if (r == 0)
        r = ops->prepare(o->store, ow_sql_outbox_purge_marked, &o->purge, err);
    return r;
}

static int outbox_open(struct ow_source *source, struct ow_error *err)
{
    struct outbox *o = self_of(source);
    struct ow_sqlite_options options = {.path = o->path, .mode = OW_SQLITE_MUST_EXIST};
    size_t applied = 0;
    int r = ow_sqlite_open(&options, &o->store, err);
    if (r == 0)
        r = o->store->ops->lock(o->store, err);
    if (r == 0 && (r = ow_schema_migrate(o->store, &ow_schema_outbox, &applied, err)) < 0)
        ow_error_prefix(err, "%s", o->path);
    if (r == 0)
        r = ow_schema_identity(o->store, &o->identity, err);
    if (r == 0)
        r = prepare_all(o, err);
    if (r == 0 && source->parks)
        r = ow_dead_letters_load(&o->letters, o->store, err);
    if (r < 0)
        outbox_close(source);
    return r;
}

static const char *outbox_identity(struct ow_source *source)
{
    return self_of(source)->identity.data;
}

static int outbox_resume(struct ow_source *source, const struct ow_position *position, struct ow_error *err)
{
    /* What is in the table was not confirmed: all of it is yielded, and the broker knows what it has. */
    (void)source;
    (void)position;
    (void)err;
    return 0;
}

/* Text as it stands; a number that was put into the column is its decimal form. */
static struct ow_bytes text_of(struct outbox *o, const struct ow_value *v)
{
    if (v->kind == OW_VALUE_INTEGER)
        (void)snprintf(o->payload_number, sizeof o->payload_number, "%" PRId64, v->integer);
    else if (v->kind == OW_VALUE_REAL)
        (void)snprintf(o->payload_number, sizeof o->payload_number, "%.17g", v->real);
    else
        return v->kind == OW_VALUE_NULL ? OW_NULL_BYTES : v->bytes;
    return ow_bytes_of(o->payload_number);
}

static void fill(struct outbox *o, const struct ow_value columns[COLUMN_COUNT], struct ow_message *m)
{
    *m = (struct ow_message){
        .position = {(uint64_t)columns[SEQ].integer, 0},
        .id = columns[ID].bytes,
        .aggregate_type = columns[AGGREGATE_TYPE].bytes,
        .aggregate_id = columns[AGGREGATE_ID].bytes,
        .type = columns[TYPE].bytes,
        .payload = text_of(o, &columns[PAYLOAD]),
        .headers = o->headers,
        .time_ms = columns[TIME].kind == OW_VALUE_REAL ? (int64_t)columns[TIME].real : columns[TIME].integer,
    };
    if (columns[HEADERS].kind == OW_VALUE_NULL)
        return;
    struct ow_error err = {0};
    ow_buf_clear(&o->scratch);
    int r = ow_json_read_headers(columns[HEADERS].bytes, o->headers, HEADERS_MAX, &m->header_count, &o->scratch, &err);
    if (r < 0) { /* it still has to leave the outbox: the relay sets it aside */
        m->header_count = 0;
        ow_buf_clear(&o->scratch);
        ow_buf_printf(&o->scratch, "headers: %s", err.text);
        m->defect = ow_buf_bytes(&o->scratch);
    }
}

/* Old marked rows go when nothing else is to be done. It is tried again if another writer is in the way. */
static void purge(struct outbox *o)
{
    int64_t now = ow_clock_monotonic_ms();
    if (o->options.after != OW_OUTBOX_MARK || o->options.keep_marked_ms == 0 || now < o->next_purge_ms)
        return;
    struct ow_value values[] = {ow_value_integer(ow_clock_wall_ms() - o->options.keep_marked_ms),
                                ow_value_integer(PURGE_ROWS)};
    struct ow_error ignored;
    bool has_more = ow_store_run(o->store, o->purge, values, 2, &ignored) == 0 &&
                    o->store->ops->changes(o->store) == PURGE_ROWS;
    o->next_purge_ms = now + (has_more ? PURGE_PAUSE_MS : PURGE_EVERY_MS);
}

static int outbox_next(struct ow_source *source, struct ow_message *ret, struct ow_error *err)
{
    struct outbox *o = self_of(source);
    const struct ow_store_ops *ops = o->store->ops;
    struct ow_value columns[COLUMN_COUNT];
    for (;;) {
        int r;
        if (!o->is_reading) {
            /* Asked before the read: a commit after the read will show as a change the next time. */
            r = ops->has_changed(o->store, err);
            if (r < 0)
                return r;
            if (r == 0 && o->is_dry) {
                purge(o);
                return 0;
            }
            struct ow_value from[] = {ow_value_integer(o->last_seq), ow_value_integer((int64_t)o->options.batch_max)};
            if ((r = ops->start(o->read, from, 2, err)) < 0)
                return r;
            o->is_reading = true;
            o->rows_in_batch = 0;
        }
        r = ops->row(o->read, columns, COLUMN_COUNT, err);
        if (r == 1) {
            o->rows_in_batch++;
            o->outstanding++;
            o->last_seq = columns[SEQ].integer;
            fill(o, columns, ret);
            return 1;
        }
        o->is_reading = false;
        o->is_dry = o->rows_in_batch < o->options.batch_max;
        if (r < 0 || o->is_dry)
            return r;
    }
}

static int forget_run(struct outbox *o, uint64_t first, uint64_t last, struct ow_error *err)
{
    struct ow_value run[] = {ow_value_integer((int64_t)first), ow_value_integer((int64_t)last),
                             ow_value_integer(ow_clock_wall_ms())};
    return ow_store_run(o->store, o->forget, run, o->options.after == OW_OUTBOX_MARK ? 3 : 2, err);
}

static int forget(struct outbox *o, const struct ow_position *positions, size_t count, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0, end; i < count && r == 0; i = end) {
        end = i + 1;
        while (end < count && positions[end].major == positions[end - 1].major + 1)
            end++;
        r = forget_run(o, positions[i].major, positions[end - 1].major, err);
    }
    return r;
}

static int outbox_confirm(struct ow_source *source, const struct ow_position *positions, size_t count,
                          struct ow_error *err)
{
    struct outbox *o = self_of(source);
    const struct ow_store_ops *ops = o->store->ops;
    stop_reading(o);
    int r = ops->begin(o->store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    r = forget(o, positions, count, err);
    OW_CRASH_POINT(OUTBOX_MID_CONFIRM);
    if (r == 0)
        r = ops->commit(o->store, err);
    else
        ops->rollback(o->store);
    if (r < 0)
        return r;
    ops->tidy(o->store);
    o->outstanding -= count < o->outstanding ? count : o->outstanding;
    if (o->outstanding == 0 && o->options.after == OW_OUTBOX_DELETE)
        o->last_seq = 0; /* also a row whose number somebody chose himself, below the others, is found */
    return 0;
}

/* The row moves: it is a dead letter and out of the outbox in one transaction, or neither. NULL: it is parked. */
static int move_row(struct outbox *o, const struct ow_message *message, const char *reason, uint32_t attempts,
                    struct ow_error *err)
{
    struct ow_bytes why = ow_bytes_of(reason ? reason : OW_PARKED_REASON);
    const struct ow_value letter[] = {ow_value_integer((int64_t)message->position.major),
                                      ow_value_text(why),
                                      ow_value_integer(attempts),
                                      ow_value_integer(ow_clock_wall_ms()),
                                      ow_value_text(message->topic),
                                      ow_value_blob(message->key),
                                      ow_value_text(reason ? OW_BYTES("dead") : OW_BYTES("parked"))};
    int r = ow_store_run(o->store, o->dead_letter_again, letter, 7, err);
    if (r == 0 && o->store->ops->changes(o->store) == 0)
        r = ow_store_run(o->store, o->dead_letter, letter, 7, err);
    OW_CRASH_POINT(OUTBOX_MID_ASIDE);
    if (r == 0)
        r = forget_run(o, message->position.major, message->position.major, err);
    return r;
}

/* 1: it was moved; 0: it was to be parked, and nothing stands before it. */
static int leave_outbox(struct outbox *o, const struct ow_message *message, const char *reason, uint32_t attempts,
                        struct ow_error *err)
{
    const struct ow_store_ops *ops = o->store->ops;
    stop_reading(o);
    int r = ops->begin(o->store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    r = reason ? 1 : ow_dead_letters_stand_before(&o->letters, o->store, message, message->position.major, err);
    bool is_to_move = r == 1;
    if (is_to_move)
        r = move_row(o, message, reason, attempts, err);
    if (r == 0)
        r = ops->commit(o->store, err);
    else
        ops->rollback(o->store);
    return r == 0 ? is_to_move : r;
}

static int outbox_set_aside(struct ow_source *source, const struct ow_message *message, const char *reason,
                            uint32_t attempts, struct ow_error *err)
{
    struct outbox *o = self_of(source);
    int r = source->parks ? ow_dead_letters_note(&o->letters, message->key, err) : 0;
    if (r == 0)
        r = leave_outbox(o, message, reason, attempts, err);
    return r < 0 ? r : 0;
}

static int outbox_park(struct ow_source *source, const struct ow_message *message, struct ow_error *err)
{
    struct outbox *o = self_of(source);
    return ow_keyset_has(&o->letters.keys, message->key) ? leave_outbox(o, message, NULL, 0, err) : 0;
}

static void outbox_wait(struct ow_source *source, struct ow_wait *wait)
{
    struct outbox *o = self_of(source);
    stop_reading(o);
    o->store->ops->wait(o->store, wait);
    if (o->options.after == OW_OUTBOX_MARK && o->options.keep_marked_ms > 0)
        ow_wait_until(wait, o->next_purge_ms);
}

static const struct ow_source_ops outbox_ops = {
    .name = "outbox by polling",
    .open = outbox_open,
    .identity = outbox_identity,
    .resume = outbox_resume,
    .next = outbox_next,
    .confirm = outbox_confirm,
    .set_aside = outbox_set_aside,
    .park = outbox_park,
    .wait = outbox_wait,
    .close = outbox_close,
    .discard = outbox_discard,
};

int ow_outbox_polling_new(const struct ow_outbox_polling_options *options, struct ow_source **ret, struct ow_error *err)
{
    struct outbox *o = calloc(1, sizeof *o);
    if (!o || !(o->path = strdup(options->path))) {
        free(o);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    o->base.ops = &outbox_ops;
    o->options = *options;
    o->letters.source = "polling";
    if (o->options.batch_max == 0)
        o->options.batch_max = BATCH_DEFAULT;
    *ret = &o->base;
    return 0;
}
