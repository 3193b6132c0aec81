/* SPDX-License-Identifier: Apache-2.0 */
/* How a log is opened: what has to be there, and whether what is there fits what is on record. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "source/postgres_guard.h"
#include "source/postgres_log.h"

/* --- closing ------------------------------------------------------------------------------------------ */

static void close_stream(struct ow_pg_log *log)
{
    ow_pg_snapshot_close(&log->snapshot);
    if (ow_pg_replication_is_open(&log->stream))
        ow_pg_replication_close(&log->stream);
    ow_pg_rows_forget(&log->rows);
    ow_pg_spill_clear(&log->spill);
    ow_pg_changes_forget(&log->changes);
    log->is_inside = log->is_replaying = log->is_in_stream = false;
}

void ow_pg_log_close(struct ow_source *source)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    close_stream(log);
    ow_pg_pruner_close(&log->pruner);
    ow_pg_side_close(&log->side);
    log->state = OW_PG_CLOSED;
}

/* --- opening ------------------------------------------------------------------------------------------ */

/* Names that the database gives; fixed from the first connection on. */
static int settle_names(struct ow_pg_log *log, struct ow_error *err)
{
    if (!log->slot[0])
        ow_postgres_slot_name(ow_pg_side_database(&log->side), log->options.by_message ? "message" : "log", log->slot);
    if (log->publication)
        return 0;
    bool is_ours = (log->own_outbox >= 0 && log->rows.outbox_count == 1) || log->options.by_message;
    log->publication = strdup(is_ours ? OW_POSTGRES_PUBLICATION : log->slot);
    return log->publication ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

static int check_surroundings(struct ow_pg_log *log, struct ow_error *err)
{
    bool is_any_partitioned = false, by_message = log->options.by_message;
    int r = ow_pg_side_check_server(&log->side, by_message, err);
    if (r == 0)
        r = ow_pg_side_check_rights(&log->side, log->slot, log->publication, by_message ? NULL : &log->rows, err);
    if (r == 0)
        r = ow_postgres_ensure(log->side.store, err);
    for (size_t i = 0; r == 0 && !by_message && i < log->rows.outbox_count; i++) {
        bool is_partitioned = false;
        r = ow_pg_side_check_table(&log->side, log->rows.outboxes[i].schema, log->rows.outboxes[i].table,
                                   log->options.wants_rows, &is_partitioned, err);
        is_any_partitioned |= is_partitioned;
    }
    if (r == 0)
        r = ow_pg_side_ensure_publication(&log->side, log->publication, by_message ? NULL : &log->rows,
                                          is_any_partitioned, err);
    return r;
}

static int start_stream(struct ow_pg_log *log, struct ow_error *err)
{
    bool has_messages = log->options.by_message || (log->options.wants_logical && log->stream.server_version >= 140000);
    return ow_pg_replication_start(&log->stream, log->slot, log->publication, has_messages, err);
}

static int attach(struct ow_pg_log *log, struct ow_error *err)
{
    int r = ow_pg_side_find_slot(&log->side, log->slot, &log->found, err);
    if (r == 0 && log->found.active_pid)
        r = ow_error_set(err, OW_ESTANDBY, "slot %s is active for PID %d", log->slot, log->found.active_pid);
    if (r == 0)
        r = ow_pg_replication_open(&log->stream, log->url, log->shown, err);
    if (r == 0)
        r = ow_pg_log_look_for_mark(log, err);
    if (r < 0)
        return r;
    struct ow_buf identity = {0};
    ow_buf_printf(&identity, "postgres/%s/%s/%s", log->stream.system_identifier, ow_pg_side_database(&log->side),
                  log->slot);
    if ((r = ow_buf_check(&identity, err)) == 0 &&
        !ow_bytes_equal(ow_buf_bytes(&identity), ow_buf_bytes(&log->identity)))
        log->track.confirmed = (struct ow_position){0}; /* another log: its positions mean nothing here */
    ow_buf_done(&log->identity);
    log->identity = identity;
    log->target_lsn = log->stream.wal_end;
    /* Whoever streams from the slot is the one who works. */
    if (r == 0 && log->found.is_there && !log->found.is_lost)
        r = start_stream(log, err);
    return r;
}

int ow_pg_log_open(struct ow_source *source, struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    int r = ow_pg_side_open(&log->side, err);
    if (r == 0)
        r = settle_names(log, err);
    if (r == 0)
        r = ow_pg_side_lock(&log->side, log->slot, err);
    if (r == 0 && log->own_outbox >= 0)
        r = ow_pg_guard_take(log->side.conn, log->shown, OW_PG_GUARD_LOG, err);
    if (r == 0)
        r = check_surroundings(log, err);
    if (r == 0)
        r = attach(log, err);
    log->letters.source = log->slot;
    if (r == 0 && source->parks)
        r = ow_dead_letters_load(&log->letters, log->side.store, err);
    if (r == OW_ESTANDBY) { /* asked again soon: the connection stays */
        close_stream(log);
        ow_pg_side_unlock(&log->side, log->slot);
        return r;
    }
    if (r < 0) {
        ow_pg_log_close(source);
        return r;
    }
    ow_pg_track_restart(&log->track);
    log->read_lsn = log->slot_start = 0;
    log->tended_ms = 0;
    log->state = OW_PG_ATTACHED;
    return 0;
}

/* --- what is on record -------------------------------------------------------------------------------- */

static int read_own_record(struct ow_pg_log *log, struct ow_position *ret, char other_system[32], struct ow_error *err)
{
    struct ow_pg_record record;
    int r = ow_pg_side_read_record(&log->side, log->slot, &record, err);
    if (r < 0 || !record.is_there)
        return r;
    if (strcmp(record.system_identifier, log->stream.system_identifier) != 0)
        (void)snprintf(other_system, 32, "%s", record.system_identifier);
    return ow_position_parse(ow_bytes_of(record.text), ret, err);
}

/* Nothing is on record: what was published by whoever read the slot before counts, if a person has said it. */
static struct ow_position start_of(struct ow_pg_log *log, struct ow_error *err)
{
    /* It was understood when the log was made. */
    if (ow_pg_takeover_parse(log->start_after, &log->takeover, err) < 0)
        return (struct ow_position){0};
    return (struct ow_position){log->takeover.commit_lsn, 0};
}

/* What does not fit, as one line; false: all is well. `is_on_record`: not only confirmed by this process, where the
   broker has nowhere to keep it; then another relay may have taken the slot on meanwhile. */
static bool has_gap(const struct ow_pg_log *log, struct ow_position record, bool is_on_record, const char *other_system,
                    struct ow_buf *why)
{
    char lsn[OW_PG_LSN_TEXT_SIZE], recorded[OW_PG_LSN_TEXT_SIZE + 16], other[OW_PG_LSN_TEXT_SIZE];
    (void)snprintf(recorded, sizeof recorded, "%s%s", ow_pg_lsn_format(record.major, lsn),
                   log->takeover.commit_lsn ? " (start_after)" : "");
    if (log->was_taken_out) {
        ow_buf_printf(why,
                      "onewrite.outbox was replaced by another table, or taken out of publication %s for a while: rows "
                      "that were written meanwhile are not in the log",
                      log->publication);
        return true;
    }
    if (ow_position_is_zero(record)) {
        if (log->found.is_lost)
            ow_buf_printf(why, "slot %s is lost: the server has removed the log that it needs", log->slot);
        return log->found.is_lost;
    }
    if (other_system[0])
        ow_buf_printf(why, "position %s was recorded on another server (system identifier %s, this one is %s)",
                      recorded, other_system, log->stream.system_identifier);
    else if (!log->found.is_there)
        ow_buf_printf(
            why, "slot %s is gone, although position %s was recorded: what was committed since then is not in reach",
            log->slot, recorded);
    else if (log->found.is_lost)
        ow_buf_printf(why, "slot %s is lost%s%s: the server has removed the log behind position %s", log->slot,
                      log->found.why_lost[0] ? ", " : "", log->found.why_lost, recorded);
    else if (log->stream.wal_end < record.major)
        ow_buf_printf(why,
                      "the server's log ends at %s, before the recorded position %s: was it restored from a backup, or "
                      "promoted while it lagged behind?",
                      ow_pg_lsn_format(log->stream.wal_end, other), recorded);
    else if (is_on_record && log->found.confirmed > record.major)
        ow_buf_printf(why,
                      "slot %s stands at %s, ahead of the recorded position %s: somebody else has read from it, or "
                      "made it anew",
                      log->slot, ow_pg_lsn_format(log->found.confirmed, other), recorded);
    return why->size > 0;
}

/* --- a slot that is to be made ------------------------------------------------------------------------- */

/* The stream has to begin before the slot is there, on a connection that does not stream. */
static int begin_create(struct ow_pg_log *log, bool wants_snapshot, struct ow_error *err)
{
    int r = 0;
    if (log->found.is_there || log->stream.is_streaming) {
        close_stream(log);
        if (log->found.is_there)
            r = ow_pg_side_drop_slot(&log->side, log->slot, err);
        if (r == 0)
            r = ow_pg_replication_open(&log->stream, log->url, log->shown, err);
    }
    if (r == 0 && wants_snapshot)
        r = ow_pg_log_mark_begun(log, err);
    if (r == 0)
        r = ow_pg_replication_create(&log->stream, log->slot, err);
    if (r < 0)
        return r;
    log->has_snapshot_mark = wants_snapshot;
    log->pruner.looks = false;
    log->track.confirmed = (struct ow_position){0};
    log->state = OW_PG_CREATING;
    return 0;
}

/* What is on record is of another life of the log: were it left there, a later start could pass over what lies
   between. */
static int go_back(struct ow_pg_log *log, struct ow_error *err)
{
    char none[OW_POSITION_TEXT_SIZE];
    log->goes_back = false;
    if (log->base.is_recorded) {
        log->base.has_gone_back = true;
        return 0;
    }
    return ow_pg_side_write_record(&log->side, log->slot, ow_position_format((struct ow_position){0}, none),
                                   log->stream.system_identifier, NULL, err);
}

/* What the snapshot shows is noted before anything of it is published: whoever has to begin it again leaves out what
   was. */
static int open_snapshot(struct ow_pg_log *log, const char *name, struct ow_error *err)
{
    int r = ow_pg_snapshot_open(&log->snapshot, log->url, log->shown, name, &log->rows, err);
    if (r == 0)
        r = ow_pg_past_begin(&log->past, log->slot_start, log->before, log->snapshot.sees, log->snapshot.tables, err);
    if (r == 0)
        r = ow_pg_log_mark_begun(log, err);
    log->snapshot.past = &log->past;
    if (r == 0)
        OW_CRASH_POINT(LOG_SNAPSHOT_NOTED);
    return r;
}

int ow_pg_log_create(struct ow_pg_log *log, struct ow_error *err)
{
    char *name = NULL;
    int r = ow_pg_replication_created(&log->stream, &log->slot_start, &name, err);
    if (r <= 0)
        return r;
    OW_CRASH_POINT(LOG_SLOT_MADE);
    /* What was recorded before lies before it, unless the server itself was put back. */
    r = log->goes_back || log->before.major >= log->slot_start ? go_back(log, err) : 0;
    if (r == 0 && log->has_snapshot_mark)
        r = open_snapshot(log, name, err);
    free(name);
    if (r == 0)
        r = start_stream(log, err);
    if (r < 0)
        return r;
    log->state = log->has_snapshot_mark ? OW_PG_SNAPSHOT : OW_PG_STREAMING;
    return 0;
}

/* --- resuming ----------------------------------------------------------------------------------------- */

/* A person has accepted the gap. Our own outbox still holds every row that was not confirmed: with a new slot and its
   snapshot nothing of it is lost. Of another table nobody knows what was published: the log goes on from here. */
static int go_on_over_gap(struct ow_pg_log *log, struct ow_error *err)
{
    bool wants_snapshot = log->pruner.is_on;
    log->track.confirmed = (struct ow_position){0};
    log->takeover = (struct ow_pg_takeover){0};
    log->options.accepts_gap = false; /* that one, not the next */
    int r = log->was_taken_out && !wants_snapshot ? ow_pg_log_mark_done(log, err) : 0;
    if (r < 0)
        return r;
    if (wants_snapshot || !log->found.is_there || log->found.is_lost) {
        log->goes_back = true; /* once the slot is there: until then the gap has to be seen again */
        r = begin_create(log, wants_snapshot, err);
        return r < 0 ? r : wants_snapshot;
    }
    log->state = OW_PG_STREAMING;
    return go_back(log, err);
}

static bool wants_first_snapshot(const struct ow_pg_log *log)
{
    return !log->options.by_message && !log->options.has_no_snapshot;
}

/* A snapshot was begun and is not noted as done. 1: it is begun again, with another slot, since what a slot was made
   with cannot be had twice; 0: it is through after all, and the log goes on. */
static int go_on_with_snapshot(struct ow_pg_log *log, struct ow_position record, struct ow_error *err)
{
    int r;
    if (ow_pg_past_settle(&log->past, record) == OW_PG_PAST_THROUGH) {
        r = ow_pg_log_mark_done(log, err);
        log->pruner.looks = r == 0 && log->pruner.is_on;
        return r;
    }
    r = begin_create(log, !log->options.by_message, err);
    return r < 0 ? r : 1;
}

int ow_pg_log_is_held(struct ow_source *source, struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    struct ow_pg_slot now;
    /* Before it streams it has the lock, for as long as this connection is there. */
    int r = ow_pg_side_find_slot(&log->side, log->slot, &now, err);
    if (r == 0 && log->stream.is_streaming && now.active_pid != PQbackendPID(log->stream.conn))
        r = ow_error_set(err, OW_EUNREACHABLE, "%s: slot %s was taken over by another relay", log->shown, log->slot);
    return r;
}

int ow_pg_log_resume(struct ow_source *source, const struct ow_position *position, struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    OW_CLEANUP(ow_buf_done) struct ow_buf why = {0};
    source->has_gone_back = log->goes_back = false;
    struct ow_position record = position ? *position : (struct ow_position){0};
    char other_system[32] = "";
    int r = source->is_recorded ? 0 : read_own_record(log, &record, other_system, err);
    if (r < 0)
        return r;
    bool is_on_record = !ow_position_is_zero(record);
    if (!is_on_record) /* but the server may have been told; of what is on record it is never told more */
        record = log->track.confirmed;
    log->before = record;
    if (log->has_snapshot_mark) {
        r = go_on_with_snapshot(log, record, err);
        if (r != 0)
            return r;
    }
    log->takeover = (struct ow_pg_takeover){0};
    if (ow_position_is_zero(record) && log->start_after) {
        record = start_of(log, err);
        is_on_record = true; /* somebody else's */
    }
    if (has_gap(log, record, is_on_record, other_system, &why)) {
        if (log->options.accepts_gap)
            return go_on_over_gap(log, err);
        return ow_error_set(err, OW_ECORRUPT,
                            "%s%s Nothing was published. Find out what happened; messages may be missing. "
                            "To go on all the same, say --accept-gap once (with onewrite run: --accept-gap RELAY)%s",
                            why.data, why.data[why.size - 1] == '?' ? "" : ".",
                            log->pruner.is_on ? ": rows that are still in the outbox are published first" : "");
    }
    if (!log->found.is_there)
        return begin_create(log, wants_first_snapshot(log), err);
    log->track.confirmed = record;
    log->state = OW_PG_STREAMING;
    return 0;
}
