/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake log: a server that writes everything down in the order in which it happens, with transactions that
 * interleave, and a reader that yields their rows in the order of the commits, at (LSN of the commit, ordinal). What
 * keeps count of the rows, and says what the server may be told, is the real ow_pg_track.
 *
 * The server keeps a slot: commits before it are never given out again. It learns of it when it is told, forgets in a
 * crash what is not on its disk, and so may stand behind what is on record, but never ahead of it.
 */
#include "world.h"

enum {
    IDLE_EVERY_MS = 3000,
    STATUS_EVERY_MS = 500,
    GHOST_MS = 300,
};

static struct sim_source *self_of(struct ow_source *source)
{
    return (struct sim_source *)source;
}

/* --- the server ------------------------------------------------------------------------------------------ */

static struct sim_wal *append(struct sim_log *log, struct sim_dice *dice, enum sim_wal_kind kind)
{
    struct sim_wal *record = &log->wal[log->wal_count++];
    *record = (struct sim_wal){.kind = kind, .lsn = log->end + sim_roll(dice, 3), .message = UINT32_MAX};
    log->end = record->lsn + 1;
    return record;
}

static struct sim_wal *append_of(struct sim_world *w, enum sim_wal_kind kind, const struct sim_writer *writer)
{
    struct sim_wal *record = append(&w->log, &w->dice, kind);
    record->transaction = writer->transaction;
    record->savepoint = writer->savepoint;
    return record;
}

/* Whether a row of this transaction was undone by a savepoint, before the record at `until`. */
static bool is_undone(const struct sim_log *log, uint32_t row, uint32_t until)
{
    for (uint32_t i = row + 1; i < until; i++)
        if (log->wal[i].kind == SIM_WAL_BACK && log->wal[i].transaction == log->wal[row].transaction &&
            log->wal[i].savepoint <= log->wal[row].savepoint)
            return true;
    return false;
}

static void commit(struct sim_world *w, struct sim_writer *writer)
{
    struct sim_log *log = &w->log;
    uint32_t open = 0;
    for (uint32_t i = 0; i < SIM_WRITERS_MAX; i++)
        open += log->writers[i].is_open && log->writers[i].rows > 0;
    if (open > 1 && writer->rows > 0)
        sim_happened(SIM_INTERLEAVED);
    const struct sim_wal *record = append_of(w, SIM_WAL_COMMIT, writer);
    struct ow_position position = {record->lsn, 0};
    for (uint32_t i = 0; i + 1 < log->wal_count; i++) {
        struct sim_wal *row = &log->wal[i];
        if (row->kind != SIM_WAL_ROW || row->transaction != writer->transaction ||
            is_undone(log, i, log->wal_count - 1))
            continue;
        position.minor++;
        row->message = w->count;
        struct sim_message *m = sim_message_add(w, &row->row, position);
        m->commit = log->end;
        m->committed = position;
        m->place = i + 1;
    }
    sim_happened(SIM_COMMIT);
    writer->is_open = false;
}

static void roll_back(struct sim_world *w, struct sim_writer *writer)
{
    (void)append_of(w, SIM_WAL_ABORT, writer);
    sim_happened(SIM_ROLLBACK);
    writer->is_open = false;
}

static void insert(struct sim_world *w, struct sim_writer *writer)
{
    const struct sim_options *o = &w->options;
    append_of(w, SIM_WAL_ROW, writer)->row = (struct sim_staged){
        .key = sim_roll(&w->dice, 10) ? sim_roll(&w->dice, o->keys) : SIM_KEYS_MAX - 1,
        .is_poison = w->written < o->barren || sim_chance(&w->dice, o->poison),
        .is_unwanted = sim_chance(&w->dice, o->unwanted),
        .is_oversize = sim_chance(&w->dice, o->oversize),
        .is_shaped_away = sim_chance(&w->dice, o->shaped_away),
    };
    writer->rows++;
    w->written++;
}

void sim_log_write(struct sim_world *w)
{
    struct sim_log *log = &w->log;
    struct sim_writer *writer = &log->writers[sim_roll(&w->dice, SIM_WRITERS_MAX)];
    if (log->wal_count + 2 * SIM_WRITERS_MAX > SIM_WAL_MAX - SIM_MESSAGES_MAX) {
        w->written = w->options.messages; /* enough of it */
        return;
    }
    if (!writer->is_open && sim_roll(&w->dice, 8) == 0) {
        (void)append(log, &w->dice, SIM_WAL_NOISE);
        return;
    }
    if (!writer->is_open)
        *writer = (struct sim_writer){.is_open = true, .transaction = ++log->transactions};
    uint32_t what = sim_roll(&w->dice, 8);
    if (what < 4 && w->written < w->options.messages) {
        insert(w, writer);
    } else if (what == 4) {
        writer->savepoint++;
    } else if (what == 5 && writer->savepoint > 0 && sim_chance(&w->dice, w->options.rollback)) {
        sim_happened(SIM_SAVEPOINT);
        (void)append_of(w, SIM_WAL_BACK, writer);
        writer->savepoint--;
    } else if (what == 6 && sim_chance(&w->dice, w->options.rollback)) {
        roll_back(w, writer);
    } else if (what >= 6) {
        commit(w, writer);
    }
}

void sim_log_commit_all(struct sim_world *w)
{
    for (uint32_t i = 0; i < SIM_WRITERS_MAX; i++)
        if (w->log.writers[i].is_open)
            commit(w, &w->log.writers[i]);
    (void)append(&w->log, &w->dice, SIM_WAL_NOISE); /* nothing of it is ours, and it must be forgotten, too */
}

void sim_log_cut(struct sim_source *s)
{
    struct sim_world *w = s->node->world;
    if (!s->is_open || s->is_cut)
        return;
    sim_trace(w, "the connection of relay %u is cut", s->node->life);
    s->is_cut = true;
    if (w->log.holder == s->node->number)
        w->log.holder = sim_roll(&w->dice, 2) ? SIM_GHOST : SIM_NOBODY;
    w->log.ghost_until_ms = w->now_ms + GHOST_MS;
}

void sim_log_crash(struct sim_world *w)
{
    struct sim_log *log = &w->log;
    sim_happened(SIM_SERVER_CRASH);
    sim_trace(w, "the server crashes, and starts again");
    for (uint32_t i = 0; i < w->options.nodes; i++)
        w->nodes[i].source.is_cut = w->nodes[i].source.is_open;
    for (uint32_t i = 0; i < SIM_WRITERS_MAX; i++)
        log->writers[i].is_open = false; /* without a word in the log */
    if (log->slot > log->durable_slot)
        sim_happened(SIM_SLOT_BACK);
    if (log->slot > log->durable_slot && ow_position_is_zero(sim_log_record(w)))
        w->takeovers++; /* what lies between comes again, and what has been read since with it */
    log->slot = log->durable_slot;
    log->holder = SIM_NOBODY;
}

void sim_log_tamper(struct sim_world *w)
{
    struct sim_log *log = &w->log;
    if (log->holder != SIM_NOBODY || !log->has_slot || log->end <= sim_log_record(w).major ||
        ow_position_is_zero(sim_log_record(w)))
        return;
    sim_trace(w, "somebody reads from the slot, up to %llu", (unsigned long long)log->end);
    log->slot = log->durable_slot = log->end;
    log->gap_is_due = true;
}

struct ow_position sim_log_record(const struct sim_world *w)
{
    return sim_is_recorded(w) ? w->bus.position : w->log.record;
}

/* --- reading --------------------------------------------------------------------------------------------- */

static enum sim_fate fate_of(struct sim_source *s, const char *call)
{
    enum sim_fate fate = sim_source_fate(s, call);
    return s->is_cut ? SIM_FAILS : fate;
}

static int fail(struct sim_source *s, enum sim_fate fate, const char *call, struct ow_error *err)
{
    if (!s->is_cut || s->node->is_dead)
        return sim_fate_error(s->node, fate, call, err);
    sim_trace(s->node->world, "%s: the connection is gone", call);
    return ow_error_set(err, OW_EUNREACHABLE, "%s: the connection is gone", call);
}

static int log_open(struct ow_source *base, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    struct sim_log *log = &w->log;
    if (s->is_open && !s->node->is_dead)
        sim_fail(w, "the source was opened twice");
    enum sim_fate fate = sim_source_fate(s, "source.open");
    if (fate != SIM_GOES)
        return sim_fate_error(s->node, SIM_FAILS, "source.open", err);
    if (log->holder == SIM_GHOST && w->now_ms >= log->ghost_until_ms)
        log->holder = SIM_NOBODY;
    if (log->holder != SIM_NOBODY) {
        sim_happened(SIM_STANDBY);
        sim_trace(w, "the relay stands by");
        s->node->life = ++w->lives;
        return ow_error_set(err, OW_ESTANDBY, "the slot is active");
    }
    sim_source_taken(s);
    log->holder = s->node->number;
    s->is_open = true;
    s->is_resumed = s->is_cut = s->is_inside = false;
    s->at = s->spilled = s->row_count = s->row_at = 0;
    if (log->slot < s->start && ow_position_is_zero(sim_log_record(w)))
        w->takeovers++; /* a crash has put it back: what lies between comes again */
    s->start = log->slot;
    s->read_lsn = s->told = 0;
    s->target = log->end;
    s->streams = sim_chance(&w->dice, w->options.streamed) ? sim_throw(&w->dice) : 0;
    s->idle_due_ms = s->status_due_ms = w->now_ms;
    ow_pg_track_restart(&s->track);
    sim_snapshot_opened(s);
    sim_trace(w, "log opened at %llu", (unsigned long long)s->start);
    return 0;
}

/* A person says: go on. What the server has forgotten is gone. */
static void accept_gap(struct sim_source *s)
{
    struct sim_world *w = s->node->world;
    sim_happened(SIM_GAP);
    sim_trace(w, "the gap is accepted");
    for (uint32_t i = 0; i < w->count; i++)
        w->messages[i].is_gone |= w->messages[i].position.major < s->start && w->messages[i].is_in_source;
    for (uint32_t i = 0; i < w->count; i++)
        w->messages[i].is_in_source &= w->messages[i].position.major >= s->start;
    w->log.accepts_gap = 0;
    s->track.confirmed = (struct ow_position){0};
}

static int log_resume(struct ow_source *base, const struct ow_position *position, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    enum sim_fate fate = fate_of(s, "source.resume");
    if (fate != SIM_GOES)
        return fail(s, SIM_FAILS, "source.resume", err);
    struct ow_position record = base->is_recorded ? (position ? *position : (struct ow_position){0}) : w->log.record;
    if (base->is_recorded != sim_is_recorded(w))
        sim_fail(w, "the relay does not see who records positions");
    bool is_on_record = !ow_position_is_zero(record);
    if (!is_on_record)
        record = s->track.confirmed;
    int r = s->has_mark || !w->log.has_slot ? sim_snapshot_resume(s, record, err) : 0;
    s->is_resumed = r == 1;
    if (r != 0)
        return r;
    bool has_gap = is_on_record && s->start > record.major;
    if (has_gap && !w->log.gap_is_due)
        sim_fail(w, "the slot stands at %llu, ahead of the recorded position %llu", (unsigned long long)s->start,
                 (unsigned long long)record.major);
    bool is_accepted = w->log.accepts_gap && s->node->born > w->log.accepts_gap;
    if (has_gap && !is_accepted) {
        w->log.accepts_gap = w->lives;
        s->node->has_permanent = true;
        return ow_error_set(err, OW_ECORRUPT, "the slot is ahead of what is on record");
    }
    if (has_gap)
        accept_gap(s);
    else
        s->track.confirmed = record;
    for (uint32_t i = 0; i < w->count && !has_gap; i++)
        if (w->messages[i].is_in_source && w->messages[i].position.major < s->start &&
            ow_position_compare(w->messages[i].position, record) > 0)
            sim_fail(w, "the slot has forgotten %s, and nobody notices", w->messages[i].id);
    s->is_resumed = true;
    return 0;
}

static int log_is_held(struct ow_source *base, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    enum sim_fate fate = fate_of(s, "source.is_held");
    if (fate != SIM_GOES)
        return fail(s, SIM_FAILS, "source.is_held", err);
    return w->log.holder == s->node->number ? 0 : ow_error_set(err, OW_EUNREACHABLE, "another relay has the slot");
}

static bool is_streamed(const struct sim_source *s, uint32_t transaction)
{
    return s->streams >> (transaction & 63) & 1;
}

static void unspill(struct sim_source *s, const struct sim_wal *record)
{
    const struct sim_wal *wal = s->node->world->log.wal;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->spilled; i++) {
        const struct sim_wal *row = &wal[s->spill[i]];
        bool goes = row->transaction == record->transaction &&
                    (record->kind != SIM_WAL_BACK || row->savepoint >= record->savepoint);
        if (!goes)
            s->spill[kept++] = s->spill[i];
    }
    s->spilled = kept;
}

/* The rows of a transaction that has committed: from what came while it was in progress, or, as the server gives them
   out, all at once. */
static void begin_commit(struct sim_source *s, uint32_t at)
{
    const struct sim_log *log = &s->node->world->log;
    const struct sim_wal *record = &log->wal[at];
    s->is_inside = true;
    s->commit_lsn = record->lsn;
    s->end_lsn = record->lsn + 1;
    s->ordinal = s->row_count = s->row_at = 0;
    for (uint32_t i = 0; i < s->spilled; i++)
        if (log->wal[s->spill[i]].transaction == record->transaction)
            s->rows[s->row_count++] = s->spill[i];
    if (s->row_count > 0)
        sim_happened(SIM_STREAMED);
    unspill(s, record);
    for (uint32_t i = 0; i < at && !is_streamed(s, record->transaction); i++)
        if (log->wal[i].kind == SIM_WAL_ROW && log->wal[i].transaction == record->transaction && !is_undone(log, i, at))
            s->rows[s->row_count++] = i;
}

static void read_record(struct sim_source *s)
{
    uint32_t at = s->at++;
    const struct sim_wal *record = &s->node->world->log.wal[at];
    if (record->kind == SIM_WAL_ROW && is_streamed(s, record->transaction))
        s->spill[s->spilled++] = at;
    else if (record->kind == SIM_WAL_BACK || record->kind == SIM_WAL_ABORT)
        unspill(s, record);
    else if (record->kind == SIM_WAL_COMMIT && record->lsn >= s->start)
        begin_commit(s, at);
    else if (record->kind == SIM_WAL_COMMIT)
        unspill(s, record);
}

static void was_read(struct sim_source *s, uint64_t lsn)
{
    ow_pg_track_read(&s->track, lsn);
    if (lsn > s->read_lsn)
        s->read_lsn = lsn;
}

/* 1: a row of the transaction is yielded; 0: there are no more of it. */
static int next_row(struct sim_source *s, struct ow_message *ret, struct ow_error *err)
{
    struct sim_world *w = s->node->world;
    while (s->row_at < s->row_count) {
        struct ow_position position = {s->commit_lsn, ++s->ordinal};
        struct sim_message *m = &w->messages[w->log.wal[s->rows[s->row_at++]].message];
        int r = ow_pg_track_row(&s->track, position, 0, err);
        if (r < 0)
            return r;
        if (r == 0) {
            sim_happened(SIM_PASSED_OVER);
            continue;
        }
        m->was_yielded = true;
        sim_message_view(w, m, ret, s->bytes, sizeof s->bytes);
        ret->position = position;
        sim_trace(w, "read %s (%llu/%llu, key %u)", m->id, (unsigned long long)position.major,
                  (unsigned long long)position.minor, m->key);
        return 1;
    }
    s->is_inside = false;
    was_read(s, s->end_lsn);
    return 0;
}

static int log_next(struct ow_source *base, struct ow_message *ret, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    enum sim_fate fate = fate_of(s, "source.next");
    if (fate != SIM_GOES)
        return fail(s, SIM_FAILS, "source.next", err);
    if (!s->is_resumed)
        sim_fail(w, "source.next before source.resume");
    if (s->is_creating || s->is_in_snapshot) {
        int r = sim_snapshot_next(s, ret, err);
        if (r != 0)
            return r;
        was_read(s, s->slot_start);
    }
    for (;;) {
        int r = s->is_inside ? next_row(s, ret, err) : 0;
        if (r != 0)
            return r;
        if (s->at == w->log.wal_count)
            break;
        read_record(s);
    }
    if (w->is_calm || sim_roll(&w->dice, 2)) /* the server says how far it is */
        was_read(s, w->log.end);
    return 0;
}

/* --- confirming ------------------------------------------------------------------------------------------ */

static int log_confirm(struct ow_source *base, const struct ow_position *positions, size_t count, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    struct ow_position position = positions[count - 1];
    enum sim_fate fate = SIM_GOES;
    if (!base->is_recorded) {
        fate = fate_of(s, "source.confirm");
        if (fate == SIM_FAILS)
            return fail(s, fate, "source.confirm", err);
    }
    sim_check_confirm(s->node, positions, count);
    if (!base->is_recorded) {
        position = ow_pg_track_record(&s->track, position);
        sim_check_position(w, position);
        if (ow_position_compare(position, w->log.record) < 0)
            sim_fail(w, "the source's own record goes back");
        w->log.record = position;
        w->log.gap_is_due &= position.major < w->log.slot;
        sim_happened(SIM_SELF_RECORD);
    }
    int r = fate == SIM_GOES ? sim_snapshot_confirm(s, position, err) : 0;
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < w->count; i++) {
        struct sim_message *m = &w->messages[i];
        if (m->is_in_source && ow_position_compare(m->position, position) <= 0) {
            m->is_in_source = false;
            m->confirmed_in = s->node->life;
            m->confirmed_at = s->node->seen;
            sim_trace(w, "confirmed %s", m->id);
        }
    }
    if (fate != SIM_GOES)
        return sim_fate_error(s->node, fate, "source.confirm", err);
    ow_pg_track_confirm(&s->track, position, NULL, NULL);
    return 0;
}

static int log_tend(struct ow_source *base, struct ow_wait *wait, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    struct ow_position ignored;
    if (!s->is_resumed)
        return 0;
    if (w->now_ms >= s->status_due_ms || (base->hurries && s->track.flush > s->told)) {
        enum sim_fate fate = fate_of(s, "source.tend");
        if (fate == SIM_FAILS)
            return fail(s, fate, "source.tend", err);
        if (s->track.flush > w->log.slot && !s->node->is_dead) {
            sim_happened(SIM_TOLD);
            sim_trace(w, "the server is told %llu", (unsigned long long)s->track.flush);
            sim_check_told(w, s->track.flush);
            w->log.slot = s->track.flush;
            if (sim_roll(&w->dice, 4) == 0)
                w->log.durable_slot = w->log.slot;
        }
        if (fate != SIM_GOES)
            return sim_fate_error(s->node, fate, "source.tend", err);
        s->told = s->track.flush;
        s->status_due_ms = w->now_ms + STATUS_EVERY_MS;
    }
    ow_wait_until(wait, s->status_due_ms);
    if (ow_pg_track_idle(&s->track, &ignored))
        ow_wait_until(wait, s->idle_due_ms > w->now_ms ? s->idle_due_ms : s->status_due_ms);
    return 0;
}

static bool log_idle_position(struct ow_source *base, struct ow_position *ret)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    if (!s->is_resumed || s->is_creating || s->is_in_snapshot || !ow_pg_track_idle(&s->track, ret) ||
        (w->now_ms < s->idle_due_ms && !s->has_mark))
        return false;
    s->idle_due_ms = w->now_ms + (w->is_calm ? IDLE_EVERY_MS : sim_between(&w->dice, 1, IDLE_EVERY_MS / 10));
    sim_happened(SIM_IDLE_POSITION);
    sim_trace(w, "idle position %llu", (unsigned long long)ret->major);
    return true;
}

static bool log_is_at_end(struct ow_source *base)
{
    const struct sim_source *s = self_of(base);
    return s->is_resumed && !s->is_inside && !s->has_mark && s->read_lsn >= s->target;
}

static void log_wait(struct ow_source *base, struct ow_wait *wait)
{
    struct sim_source *s = self_of(base);
    if (!s->is_open && !s->node->is_dead)
        sim_fail(s->node->world, "source.wait of a source that is not open");
    ow_wait_add(wait, SIM_SOURCE_FD, POLLIN);
    if (s->is_inside || s->is_creating || s->is_in_snapshot)
        ow_wait_until(wait, s->node->world->now_ms);
}

static void log_close(struct ow_source *base)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    memset(s->bytes, '#', sizeof s->bytes);
    if (s->node->is_dead)
        return;
    sim_trace(w, "log closed");
    if (s->spilled > 0)
        sim_happened(SIM_STREAM_BROKEN);
    if (s->is_inside && s->row_at > 0)
        sim_happened(SIM_MID_COMMIT);
    s->is_open = s->is_resumed = s->is_cut = false;
    if (w->log.holder == s->node->number)
        w->log.holder = SIM_NOBODY;
}

bool sim_log_has_news(const struct sim_source *s)
{
    const struct sim_world *w = s->node->world;
    return s->is_cut || s->is_inside || s->is_creating || s->is_in_snapshot || s->at < w->log.wal_count ||
           s->read_lsn < w->log.end;
}

const struct ow_source_ops sim_log_ops = {
    .name = "log of the simulator",
    .is_log = true,
    .open = log_open,
    .identity = sim_source_identity,
    .is_held = log_is_held,
    .resume = log_resume,
    .next = log_next,
    .confirm = log_confirm,
    .set_aside = sim_source_set_aside,
    .park = sim_source_park,
    .wait = log_wait,
    .tend = log_tend,
    .idle_position = log_idle_position,
    .is_at_end = log_is_at_end,
    .close = log_close,
    .discard = log_close,
};
