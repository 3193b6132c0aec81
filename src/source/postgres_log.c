/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/units.h"

enum {
    BEHIND_MS = 200,               /* who had something to read for so long is behind */
    IDLE_EVERY_MS = 5000,          /* how often a position without a message is offered */
    IDLE_RECORDED_EVERY_MS = 2000, /* likewise, where a broker records it: that costs the database nothing */
    IDLE_ASK_MS = 2000,            /* a server that was silent for so long is asked how far it is */
    ASK_EVERY_MS = 50,             /* how often the server is asked whether this was all */
    RETAINED_EVERY_MS = 10000,     /* how often the server is asked how much it keeps, where somebody watches */
    STOPPED_MS = 2000,             /* so long without a step, and somebody else may have taken over */
    NOISE_BYTES = 1024,            /* so little written since our own record is no reason for another one, */
    LEFT_OUT_MAX = 1000,           /* rows of a snapshot that are passed over in one go */
    RECORD_BYTES = 32768,          /* unless others wrote meanwhile: more than a record with images of pages */
};

/* --- what the log says -------------------------------------------------------------------------------- */

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

/* 1: a message; 0: none yet, or the snapshot is through. */
static int read_snapshot(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err)
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

/* 1: a message; 0: nothing now. */
static int read_stream(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err)
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

/* How far the log is wanted soon: where it ended when it was opened, or, near the end, where rows were left behind. */
static uint64_t target_of(const struct ow_pg_log *log)
{
    return log->base.hurries && log->pruner.left_lsn > log->target_lsn ? log->pruner.left_lsn : log->target_lsn;
}

static int log_next(struct ow_source *source, struct ow_message *ret, struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    int r = 0;
    if (log->state == OW_PG_CREATING)
        r = ow_pg_log_create(log, err);
    if (r == 0 && log->state == OW_PG_SNAPSHOT)
        r = read_snapshot(log, ret, err);
    if (r == 0 && log->state == OW_PG_STREAMING)
        r = read_stream(log, ret, err);
    if (r != 0 || log->state != OW_PG_STREAMING)
        return r;
    int64_t now = ow_clock_monotonic_ms();
    log->dry_ms = now;
    if (log->read_lsn < target_of(log) && now >= log->ask_due_ms) {
        log->ask_due_ms = now + ASK_EVERY_MS;
        r = ow_pg_replication_status(&log->stream, true, true, err);
    }
    return r;
}

/* --- what is confirmed -------------------------------------------------------------------------------- */

static int record(struct ow_pg_log *log, struct ow_position position, struct ow_error *err)
{
    char text[OW_POSITION_TEXT_SIZE];
    OW_CRASH_POINT(LOG_BEFORE_RECORD);
    int r = ow_pg_side_write_record(&log->side, log->slot, ow_position_format(position, text),
                                    log->stream.system_identifier, &log->noise_lsn, err);
    if (r == 0)
        OW_CRASH_POINT(LOG_AFTER_RECORD);
    return r;
}

static void forget(void *context, int64_t seq)
{
    struct ow_pg_log *log = context;
    ow_pg_pruner_add(&log->pruner, seq);
}

static int log_confirm(struct ow_source *source, const struct ow_position *positions, size_t count,
                       struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    struct ow_position position = positions[count - 1];
    if (!source->is_recorded) {
        position = ow_pg_track_record(&log->track, position);
        int r = record(log, position, err);
        if (r < 0)
            return r;
    }
    if (log->has_snapshot_mark && log->slot_start && position.major >= log->slot_start) {
        int r = ow_pg_log_mark_done(log, err);
        if (r < 0)
            return r;
    }
    ow_pg_track_confirm(&log->track, position, forget, log);
    log->stream.flushed = log->track.flush;
    /* Whoever has to begin the snapshot again finds what is still in the table. */
    return log->has_snapshot_mark ? ow_pg_pruner_finish(&log->pruner, err) : 0;
}

static bool log_idle_position(struct ow_source *source, struct ow_position *ret)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    int64_t now = ow_clock_monotonic_ms();
    if (log->state != OW_PG_STREAMING || !ow_pg_track_idle(&log->track, ret))
        return false;
    /* That the snapshot is done is worth knowing at once. */
    bool is_noise = !source->is_recorded && ret->major < log->noise_lsn + NOISE_BYTES &&
                    log->noise_lsn < log->track.confirmed.major + RECORD_BYTES;
    if (!log->has_snapshot_mark && (now < log->idle_due_ms || is_noise))
        return false;
    log->idle_due_ms = now + (source->is_recorded ? IDLE_RECORDED_EVERY_MS : IDLE_EVERY_MS);
    return true;
}

static bool log_is_at_end(struct ow_source *source)
{
    const struct ow_pg_log *log = ow_pg_log_of(source);
    return log->state == OW_PG_STREAMING && !log->is_inside && !log->has_snapshot_mark &&
           log->read_lsn >= log->target_lsn && ow_pg_pruner_is_done(&log->pruner);
}

/* --- the rest of the contract ------------------------------------------------------------------------- */

static const char *log_identity(struct ow_source *source)
{
    return ow_pg_log_of(source)->identity.data;
}

static void log_wait(struct ow_source *source, struct ow_wait *wait)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    if (log->state == OW_PG_SNAPSHOT || log->is_replaying || ow_pg_changes_is_there(&log->changes))
        return ow_wait_until(wait, ow_clock_monotonic_ms());
    ow_pg_replication_wait(&log->stream, wait);
    if (log->state == OW_PG_STREAMING && log->read_lsn < target_of(log))
        ow_wait_until(wait, log->ask_due_ms);
}

/* By itself a server speaks every half minute; meanwhile the slot would hold back what others write. While something is
   outstanding its answer is worth nothing, and might not be read for long. */
static int ask_the_silent(struct ow_pg_log *log, struct ow_wait *wait, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms();
    if (log->state != OW_PG_STREAMING || log->track.count > 0)
        return 0;
    bool is_silent = log->stream.received == log->heard_lsn && now >= log->silence_due_ms;
    if (log->stream.received != log->heard_lsn || is_silent)
        log->silence_due_ms = now + IDLE_ASK_MS;
    log->heard_lsn = log->stream.received;
    ow_wait_until(wait, log->silence_due_ms);
    return is_silent ? ow_pg_replication_status(&log->stream, true, true, err) : 0;
}

/* A process that was stopped for longer than the server waits for its reader has lost the slot, perhaps to another
   relay, and does not know it before it has read all that had come; what it did till then would be done twice. */
static int look_whether_stopped(struct ow_pg_log *log, struct ow_error *err)
{
    struct ow_pg_slot now;
    int64_t last_ms = log->tended_ms, now_ms = ow_clock_monotonic_ms();
    log->tended_ms = now_ms;
    if (last_ms == 0 || now_ms - last_ms < STOPPED_MS || !log->stream.is_streaming)
        return 0;
    int r = ow_pg_side_find_slot(&log->side, log->slot, &now, err);
    if (r == 0 && now.active_pid != PQbackendPID(log->stream.conn))
        r = ow_error_set(err, OW_EUNREACHABLE, "%s: slot %s was taken from a relay that stood still for %" PRId64 " s",
                         log->shown, log->slot, (now_ms - last_ms) / 1000);
    return r;
}

/* Who wants to know is told now and then; what cannot be known is not worth an error. */
static void look_what_is_retained(struct ow_pg_log *log)
{
    int64_t now_ms = ow_clock_monotonic_ms();
    if (!log->base.is_watched || now_ms < log->retained_due_ms)
        return;
    log->retained_due_ms = now_ms + RETAINED_EVERY_MS;
    log->base.retained_bytes = ow_pg_side_retained(&log->side, log->slot) + 1;
}

/* What was there when it was opened is not read yet, or there was always more to read for a while. */
static bool is_behind(const struct ow_pg_log *log)
{
    return log->state == OW_PG_STREAMING &&
           (log->read_lsn < log->target_lsn || ow_clock_monotonic_ms() - log->dry_ms > BEHIND_MS);
}

static int log_tend(struct ow_source *source, struct ow_wait *wait, struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    struct ow_position ignored;
    int r = look_whether_stopped(log, err);
    if (r < 0)
        return r;
    if (log->state == OW_PG_ATTACHED) /* a broker takes its time to say what is on record */
        return ow_pg_replication_status(&log->stream, false, false, err);
    if (log->state < OW_PG_SNAPSHOT)
        return 0;
    /* From here on the slot itself keeps others out. Its stream ends when the relay is stopped for long, which lets
       another take over; a lock would not. */
    ow_pg_side_unlock(&log->side, log->slot);
    r = ow_pg_replication_status(&log->stream, source->hurries && log->stream.flushed > log->stream.told, false, err);
    if (r == 0)
        r = ask_the_silent(log, wait, err);
    if (r == 0)
        r = ow_pg_pruner_tend(&log->pruner, log->track.done, source->hurries, is_behind(log), wait, err);
    if (r == 0)
        look_what_is_retained(log);
    ow_wait_until(wait, log->stream.status_due_ms);
    if (ow_pg_track_idle(&log->track, &ignored))
        ow_wait_until(wait, log->idle_due_ms > ow_clock_monotonic_ms() ? log->idle_due_ms : log->stream.status_due_ms);
    return r;
}

static void log_discard(struct ow_source *source)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    size_t outboxes = log->rows.outbox_count;
    ow_pg_log_close(source);
    ow_pg_rows_done(&log->rows);
    for (size_t i = 0; log->tables && i < outboxes; i++)
        ow_pg_table_done(&log->tables[i]);
    free(log->tables);
    ow_pg_changes_done(&log->changes);
    ow_pg_spill_done(&log->spill);
    ow_pg_track_done(&log->track);
    ow_pg_pruner_done(&log->pruner);
    ow_buf_done(&log->identity);
    ow_buf_done(&log->mark);
    ow_pg_past_done(&log->past);
    ow_buf_done(&log->image);
    ow_dead_letters_done(&log->letters);
    if (log->url)
        explicit_bzero(log->url, strlen(log->url));
    free(log->url);
    free(log->shown);
    free(log->publication);
    free(log->start_after);
    free(log);
}

static const struct ow_source_ops by_log_ops = {
    .name = "outbox by log",
    .is_log = true,
    .open = ow_pg_log_open,
    .identity = log_identity,
    .is_held = ow_pg_log_is_held,
    .resume = ow_pg_log_resume,
    .next = log_next,
    .confirm = log_confirm,
    .set_aside = ow_pg_log_set_aside,
    .park = ow_pg_log_park,
    .wait = log_wait,
    .tend = log_tend,
    .idle_position = log_idle_position,
    .is_at_end = log_is_at_end,
    .close = ow_pg_log_close,
    .discard = log_discard,
};

int ow_postgres_log_check_slot(const char *name, struct ow_error *err)
{
    size_t size = strlen(name);
    if (size > 0 && size < OW_POSTGRES_NAME_SIZE && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == size)
        return 0;
    return ow_error_set(err, OW_EUSAGE,
                        "\"%s\" cannot name a slot; use small letters, digits and underscores, at most 63", name);
}

int ow_postgres_log_check_tables(const char *names, struct ow_error *err)
{
    OW_CLEANUP(ow_pg_rows_done) struct ow_pg_rows rows = {0};
    return ow_pg_rows_init(&rows, names, err);
}

static int copy_options(struct ow_pg_log *log, const struct ow_postgres_log_options *options, struct ow_error *err)
{
    log->options = *options;
    log->own_outbox = -1;
    log->url = strdup(options->url);
    log->shown = strdup(options->shown);
    if (options->publication)
        log->publication = strdup(options->publication);
    if (options->start_after)
        log->start_after = strdup(options->start_after);
    if (!log->url || !log->shown || (options->publication && !log->publication) ||
        (options->start_after && !log->start_after))
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    if (options->slot && ow_postgres_log_check_slot(options->slot, err) < 0)
        return OW_EUSAGE;
    if (options->slot)
        (void)snprintf(log->slot, sizeof log->slot, "%s", options->slot);
    log->side = (struct ow_pg_side){.url = log->url, .shown = log->shown};
    int r = ow_pg_rows_init(&log->rows, options->table ? options->table : "onewrite.outbox", err);
    for (size_t i = 0; !options->by_message && i < log->rows.outbox_count; i++)
        if (strcmp(log->rows.outboxes[i].schema, "onewrite") == 0 && strcmp(log->rows.outboxes[i].table, "outbox") == 0)
            log->own_outbox = (int)i;
    if (r == 0 && options->changes && (!options->wants_rows || options->by_message))
        r = ow_error_set(err, OW_EINVALID, "changes come as rows out of the log; ask for rows, and not by message");
    if (r == 0 && options->changes)
        r = ow_pg_rows_add_changes(&log->rows, options->changes, err);
    if (r == 0 && options->changes)
        r = ow_pg_changes_init(&log->changes, err);
    if (r == 0 && !(log->tables = calloc(log->rows.outbox_count, sizeof *log->tables)))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0)
        r = ow_pg_takeover_parse(log->start_after, &log->takeover, err);
    if (r == 0)
        r = ow_pg_spill_init(&log->spill, options->spill_folder, err);
    if (r == 0 && log->own_outbox >= 0 && options->prune == OW_PRUNE_AFTER_CONFIRM)
        r = ow_pg_pruner_init(&log->pruner, log->url, log->shown, err);
    return r;
}

int ow_postgres_log_new(const struct ow_postgres_log_options *options, struct ow_source **ret, struct ow_error *err)
{
    struct ow_pg_log *log = calloc(1, sizeof *log);
    if (!log)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    log->base.ops = &by_log_ops;
    int r = copy_options(log, options, err);
    if (r < 0) {
        log_discard(&log->base);
        return r;
    }
    for (size_t i = 0; i < log->rows.outbox_count; i++)
        log->tables[i].table.has_changes = log->rows.outboxes[i].has_changes;
    *ret = &log->base;
    return 0;
}
