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
    RECORD_BYTES = 32768,          /* unless others wrote meanwhile: more than a record with images of pages */
};

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
        r = ow_pg_log_read_snapshot(log, ret, err);
    if (r == 0 && log->state == OW_PG_STREAMING)
        r = ow_pg_log_read_stream(log, ret, err);
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
    if (r == 0 && !(log->tables = calloc(log->rows.outbox_count + 1, sizeof *log->tables))) /* never of no bytes */
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
