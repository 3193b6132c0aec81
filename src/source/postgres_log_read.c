/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says, and the snapshot before it: which of it is a message, and at which position. */
#include "source/postgres_log.h"

#include "base/crash.h"
#include "base/units.h"

enum { LEFT_OUT_MAX = 1000 }; /* rows of a snapshot that are passed over in one go */

static struct ow_position next_position(struct ow_pg_log *log)
{
    return (struct ow_position){log->commit_lsn, ++log->ordinal};
}

/* Everything that commits before this was yielded. */
static void was_read(struct ow_pg_log *log, uint64_t lsn)
{
    ow_pg_track_read(&log->track, lsn);
    if (lsn > log->read_lsn)
        log->read_lsn = lsn;
}

/* 1: the message at `position` is to be yielded; 0: it was confirmed before. */
static int admit(struct ow_pg_log *log, struct ow_position position, int64_t seq, struct ow_error *err)
{
    int r = ow_pg_track_row(&log->track, position, seq, err);
    if (r == 0 && seq)
        ow_pg_pruner_add(&log->pruner, seq);
    return r;
}

/* Of the tables several may have a seq; only that of our own says which row to delete. */
static int64_t seq_of(const struct ow_pg_log *log, const struct ow_pg_layout *layout, const struct ow_bytes *values)
{
    int64_t seq = ow_pg_rows_seq(layout, values);
    return layout->outbox == log->own_outbox || log->rows.outbox_count == 1 ? seq : 0;
}

static void lend_row(struct ow_pg_log *log, enum ow_row_op op, int outbox, const struct ow_bytes *values,
                     struct ow_message *m)
{
    if (!log->options.wants_rows)
        return;
    log->row = (struct ow_row){.op = op, .table = &log->tables[outbox].table, .values = values};
    m->row = &log->row;
}

static int describe(struct ow_pg_log *log, const struct ow_pg_relation *relation, struct ow_error *err)
{
    int r = ow_pg_rows_describe(&log->rows, relation, err);
    int outbox = r < 0 ? -1 : ow_pg_rows_layout(&log->rows, relation->id)->outbox;
    if (outbox < 0 || !log->options.wants_rows)
        return r;
    return ow_pg_table_describe(&log->tables[outbox], &log->side, relation, err);
}

/* Whether somebody else has published what stands there in the log: he was in the midst of this transaction. Of several
   rows that stand at one place (COPY) he has published the first, the others perhaps. */
static bool is_taken(struct ow_pg_log *log, uint64_t lsn)
{
    struct ow_pg_takeover *takeover = &log->takeover;
    if (takeover->xid == 0 || takeover->xid != log->xid || lsn > takeover->lsn)
        return false;
    bool is_known = lsn < takeover->lsn || !takeover->has_met;
    takeover->has_met |= lsn == takeover->lsn;
    return is_known;
}

static int take_row_change(struct ow_pg_log *log, const struct ow_pg_layout *layout, const struct ow_pgoutput *change,
                           uint64_t lsn, struct ow_message *ret, struct ow_error *err)
{
    int r = ow_pg_changes_take(log, layout, change, lsn, is_taken(log, lsn), err);
    return r < 0 ? r : ow_pg_changes_next(log, ret, err);
}

/* Of an outbox nobody wants to know what was deleted. */
static int take_delete(struct ow_pg_log *log, const struct ow_pgoutput *change, uint64_t lsn, struct ow_message *ret,
                       struct ow_error *err)
{
    const struct ow_pg_layout *layout = ow_pg_rows_layout(&log->rows, change->row.relation);
    if (!log->options.changes || !layout || layout->outbox < 0 || !log->rows.outboxes[layout->outbox].has_changes)
        return 0;
    return take_row_change(log, layout, change, lsn, ret, err);
}

/* An insert; where rows are wanted an update too. */
static int take_row(struct ow_pg_log *log, const struct ow_pgoutput *change, uint64_t lsn, struct ow_message *ret,
                    struct ow_error *err)
{
    const struct ow_pg_layout *layout = ow_pg_rows_layout(&log->rows, change->row.relation);
    struct ow_pg_tuple rest = change->row.new_row;
    if (log->options.by_message || (layout && layout->outbox < 0))
        return 0;
    if (layout && log->rows.outboxes[layout->outbox].has_changes)
        return take_row_change(log, layout, change, lsn, ret, err);
    if (!layout || rest.count != layout->column_count)
        return ow_error_set(err, OW_ECORRUPT, "%s: a row in the log does not fit what the log says of its table",
                            log->shown);
    for (unsigned i = 0; i < layout->column_count; i++)
        log->values[i] = ow_pg_next_value(&rest).bytes;
    struct ow_position position = next_position(log);
    int r = is_taken(log, lsn) ? 0 : admit(log, position, seq_of(log, layout, log->values), err);
    if (r <= 0)
        return r;
    ow_pg_rows_message(&log->rows, layout, log->values, log->time_us / 1000, ret);
    lend_row(log, change->kind == OW_PGOUTPUT_UPDATE ? OW_ROW_UPDATE : OW_ROW_INSERT, layout->outbox, log->values, ret);
    ret->position = position;
    ow_pg_log_add_image(log, layout, log->values, ret);
    return 1;
}

static bool is_ours(const struct ow_pg_log *log, const struct ow_pgoutput *change)
{
    /* One that is not transactional is there before, and even if, its transaction commits. */
    return log->options.by_message && change->message.is_transactional &&
           ow_bytes_is(change->message.prefix, OW_POSTGRES_MESSAGE_PREFIX);
}

static bool is_wanted(const struct ow_pg_log *log, const struct ow_pgoutput *change)
{
    return is_ours(log, change) ||
           (log->options.wants_logical && !ow_bytes_is(change->message.prefix, OW_POSTGRES_MESSAGE_PREFIX));
}

static void lend_logical(struct ow_pg_log *log, const struct ow_pgoutput *change, struct ow_message *ret)
{
    bool is_inside = change->message.is_transactional;
    log->logical = (struct ow_row_logical){
        .prefix = change->message.prefix,
        .content = change->message.content,
        .database = ow_bytes_of(ow_pg_side_database(&log->side)),
        .is_transactional = is_inside,
        .transaction = log->xid,
        .lsn = change->message.lsn,
        .previous_commit_lsn = log->last_commit_lsn,
        .time_us = is_inside ? log->time_us : ow_clock_wall_ms() * 1000,
    };
    log->row = (struct ow_row){.op = OW_ROW_MESSAGE, .logical = &log->logical};
    *ret = (struct ow_message){.row = &log->row,
                               .type = log->logical.prefix,
                               .payload = log->logical.content,
                               .time_ms = log->logical.time_us / 1000,
                               .image = OW_BYTES("")};
}

static int take_logical(struct ow_pg_log *log, const struct ow_pgoutput *change, struct ow_message *ret,
                        struct ow_error *err)
{
    if (!is_wanted(log, change))
        return 0;
    bool is_inside = change->message.is_transactional;
    struct ow_position position = is_inside ? next_position(log) : (struct ow_position){change->message.lsn - 1, 1};
    int r = is_inside && is_taken(log, change->message.lsn) ? 0 : admit(log, position, 0, err);
    if (!is_inside && r >= 0)
        was_read(log, change->message.lsn);
    if (r <= 0)
        return r;
    if (is_ours(log, change))
        ow_pg_rows_logical(&log->rows, change->message.content, log->time_us / 1000, ret);
    else
        lend_logical(log, change, ret);
    ret->position = position;
    return 1;
}

/* Of a transaction that has committed. 1: a message; 0: nothing for us. */
static int take_change(struct ow_pg_log *log, const struct ow_pgoutput *change, uint64_t lsn, struct ow_message *ret,
                       struct ow_error *err)
{
    switch (change->kind) {
    case OW_PGOUTPUT_RELATION:
        return describe(log, &change->relation, err);
    case OW_PGOUTPUT_INSERT:
        return take_row(log, change, lsn, ret, err);
    case OW_PGOUTPUT_UPDATE:
        return log->options.wants_rows ? take_row(log, change, lsn, ret, err) : 0;
    case OW_PGOUTPUT_DELETE:
        return take_delete(log, change, lsn, ret, err);
    case OW_PGOUTPUT_MESSAGE:
        return take_logical(log, change, ret, err);
    default:
        return 0;
    }
}

/* Of a transaction in progress: it waits for the end of that one. What the log says of a table holds, whatever becomes
   of the subtransaction in which it says so: it says it once. */
static int put_aside(struct ow_pg_log *log, const struct ow_pgoutput *change, const struct ow_pg_frame *frame,
                     struct ow_error *err)
{
    bool is_relation = change->kind == OW_PGOUTPUT_RELATION;
    bool counts = is_relation || (change->kind == OW_PGOUTPUT_INSERT && !log->options.by_message) ||
                  (change->kind == OW_PGOUTPUT_UPDATE && log->options.wants_rows) ||
                  (change->kind == OW_PGOUTPUT_DELETE && log->options.changes) ||
                  (change->kind == OW_PGOUTPUT_MESSAGE && is_wanted(log, change));
    const struct ow_pg_change kept = {log->stream_xid, change->xid, is_relation, frame->start_lsn, frame->data};
    return counts ? ow_pg_spill_add(&log->spill, &kept, err) : 0;
}

static void begin(struct ow_pg_log *log, const struct ow_pgoutput *change)
{
    log->is_inside = true;
    log->xid = change->xid;
    log->commit_lsn = change->transaction.commit_lsn;
    log->time_us = change->transaction.time_us + OW_PG_EPOCH_MS * 1000;
    log->ordinal = 0;
}

static void end(struct ow_pg_log *log, uint64_t end_lsn)
{
    log->is_inside = log->is_replaying = false;
    log->last_commit_lsn = end_lsn;
    was_read(log, end_lsn);
}

static int take_message(struct ow_pg_log *log, const struct ow_pg_frame *frame, struct ow_message *ret,
                        struct ow_error *err)
{
    struct ow_pgoutput change;
    int r = ow_pgoutput_read(frame->data, log->is_in_stream, &change, err);
    if (r < 0)
        return ow_error_prefix(err, "%s", log->shown);
    switch (change.kind) {
    case OW_PGOUTPUT_BEGIN:
        begin(log, &change);
        return 0;
    case OW_PGOUTPUT_COMMIT:
        end(log, change.transaction.end_lsn);
        return 0;
    case OW_PGOUTPUT_STREAM_START:
        log->is_in_stream = true;
        log->stream_xid = change.xid;
        return 0;
    case OW_PGOUTPUT_STREAM_STOP:
        log->is_in_stream = false;
        return 0;
    case OW_PGOUTPUT_STREAM_ABORT:
        return ow_pg_spill_abort(&log->spill, change.xid, change.abort.subxid, err);
    case OW_PGOUTPUT_STREAM_COMMIT:
        begin(log, &change);
        log->end_lsn = change.transaction.end_lsn;
        log->is_replaying = ow_pg_spill_read(&log->spill, change.xid);
        if (!log->is_replaying)
            end(log, log->end_lsn);
        return 0;
    default:
        return log->is_in_stream ? put_aside(log, &change, frame, err)
                                 : take_change(log, &change, frame->start_lsn, ret, err);
    }
}

/* 1: a message of a transaction that was put aside; 0: that was all of it. */
static int replay(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err)
{
    struct ow_pg_change kept;
    struct ow_pgoutput change;
    int r;
    while ((r = ow_pg_spill_next(&log->spill, &kept, err)) == 1) {
        r = ow_pgoutput_read(kept.bytes, true, &change, err);
        if (r == 0)
            r = take_change(log, &change, kept.lsn, ret, err);
        if (r == 1)
            OW_CRASH_POINT(LOG_MID_REPLAY);
        if (r != 0)
            return r;
    }
    if (r == 0)
        end(log, log->end_lsn);
    return r;
}

/* --- the rows that were there before ------------------------------------------------------------------- */

static int take_snapshot_row(struct ow_pg_log *log, struct ow_position position, struct ow_message *ret,
                             struct ow_error *err)
{
    const struct ow_pg_layout *layout = &log->snapshot.layout;
    bool is_first = !log->snapshot.is_described;
    if (log->options.wants_rows && is_first) {
        const struct ow_pg_outbox_table *outbox = &log->rows.outboxes[layout->outbox];
        int r = ow_pg_table_describe_result(&log->tables[layout->outbox], &log->side, outbox->schema, outbox->table,
                                            log->snapshot.batch, layout->column_count, err);
        if (r < 0)
            return r;
        log->snapshot.is_described = true;
    }
    if (log->rows.outboxes[layout->outbox].has_changes) {
        int r = ow_pg_changes_of_snapshot(log, is_first, ret, err);
        ret->position = position;
        return r < 0 ? r : 1;
    }
    ow_pg_rows_message(&log->rows, layout, log->snapshot.values, ow_clock_wall_ms(), ret);
    lend_row(log, OW_ROW_SNAPSHOT, layout->outbox, log->snapshot.values, ret);
    ret->position = position;
    ow_pg_log_add_image(log, layout, log->snapshot.values, ret);
    return 1;
}

int ow_pg_log_read_snapshot(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err)
{
    for (int left_out = 0; left_out < LEFT_OUT_MAX; left_out++) {
        int r = ow_pg_snapshot_next(&log->snapshot, err);
        if (r < 0)
            return r;
        if (r == 0) {
            OW_CRASH_POINT(LOG_SNAPSHOT_READ);
            was_read(log, log->slot_start);
            log->state = OW_PG_STREAMING;
            return 0;
        }
        struct ow_position position = {log->slot_start - 1, log->snapshot.place};
        int64_t seq = seq_of(log, &log->snapshot.layout, log->snapshot.values);
        if (log->snapshot.was_published) {
            if (seq)
                ow_pg_pruner_add(&log->pruner, seq);
            continue;
        }
        r = admit(log, position, seq, err);
        if (r > 0)
            OW_CRASH_POINT(LOG_MID_SNAPSHOT);
        if (r != 0)
            return r < 0 ? r : take_snapshot_row(log, position, ret, err);
    }
    return 0;
}

/* --- the stream ---------------------------------------------------------------------------------------- */

int ow_pg_log_read_stream(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err)
{
    for (;;) {
        struct ow_pg_frame frame = {0};
        int r = ow_pg_changes_is_there(&log->changes) ? ow_pg_changes_next(log, ret, err) : 0;
        if (r != 0)
            return r;
        r = log->is_replaying ? replay(log, ret, err) : 0;
        if (r == 0)
            r = ow_pg_replication_next(&log->stream, &frame, err);
        if (r < 0 || log->is_replaying)
            return r;
        if (r == 0)
            return 0;
        if (frame.kind == OW_PG_KEEPALIVE) {
            if (!log->is_inside)
                was_read(log, frame.end_lsn);
            continue;
        }
        r = take_message(log, &frame, ret, err);
        if (r != 0)
            return r;
    }
}
