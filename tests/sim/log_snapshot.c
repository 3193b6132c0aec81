/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first start of a log: what was committed before its slot is made comes out of a snapshot of the table, in the
 * order in which the rows were written, which is not that of their commits. What keeps count of the attempts is the
 * real ow_pg_past; what an attempt could see is how many messages had been committed when its slot was made.
 */
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

static const char BEGUN[] = "begun", DONE[] = "done";

static bool is_begun(const char *mark)
{
    return strncmp(mark, BEGUN, strlen(BEGUN)) == 0;
}

static void read_past(const char *mark, struct ow_pg_past *past)
{
    struct ow_error err;
    ow_pg_past_done(past);
    if (is_begun(mark) && ow_pg_past_parse(ow_bytes_of(mark + strlen(BEGUN)), past, &err) < 0)
        abort();
}

void sim_snapshot_opened(struct sim_source *s)
{
    const struct sim_log *log = &s->node->world->log;
    memcpy(s->mark, log->mark, sizeof s->mark);
    read_past(s->mark, &s->past);
    s->has_mark = is_begun(s->mark);
    s->is_creating = s->is_in_snapshot = false;
    s->slot_start = s->place = 0;
}

/* Who has been followed by another relay knows no more what the mark says, and does not change it. */
static int write_mark(struct sim_source *s, bool is_done, const char *call, struct ow_error *err)
{
    struct sim_world *w = s->node->world;
    struct ow_buf text = {0};
    enum sim_fate fate = sim_source_fate(s, call);
    if (fate == SIM_FAILS)
        return sim_fate_error(s->node, fate, call, err);
    if (strcmp(s->mark, w->log.mark) != 0) {
        sim_happened(SIM_MARK_CHANGED);
        return ow_error_set(err, OW_EUNREACHABLE, "another relay has changed the mark");
    }
    ow_buf_add_text(&text, is_done ? DONE : BEGUN);
    if (!is_done)
        ow_pg_past_format(&s->past, &text);
    (void)snprintf(w->log.mark, sizeof w->log.mark, "%.*s", (int)text.size, text.data);
    memcpy(s->mark, w->log.mark, sizeof s->mark);
    if (text.size >= sizeof w->log.mark)
        sim_fail(w, "there is no room for the mark");
    ow_buf_done(&text);
    sim_trace(w, "mark: %s", s->mark);
    return fate == SIM_GOES ? 0 : sim_fate_error(s->node, fate, call, err);
}

static int note_done(struct sim_source *s, struct ow_error *err)
{
    int r = write_mark(s, true, "snapshot.done", err);
    if (r < 0)
        return r;
    s->has_mark = false;
    ow_pg_past_done(&s->past);
    return 0;
}

/* What was published, and found to be that only by what is on record. */
static void pass_over(struct sim_world *w, struct ow_position record)
{
    for (uint32_t i = 0; i < w->count; i++) {
        struct sim_message *m = &w->messages[i];
        if (!m->is_in_source || m->position.major >= w->log.slot || ow_position_compare(m->position, record) > 0)
            continue;
        if (m->accepted == 0 && !m->is_aside && !m->is_shaped_away)
            sim_fail(w, "loss: %s counts as published, and is not", m->id);
        m->is_in_source = false;
    }
}

int sim_snapshot_resume(struct sim_source *s, struct ow_position record, struct ow_error *err)
{
    struct sim_world *w = s->node->world;
    s->before = record;
    if (s->has_mark && ow_pg_past_settle(&s->past, record) == OW_PG_PAST_THROUGH) {
        sim_happened(SIM_SNAPSHOT_THROUGH);
        int r = note_done(s, err);
        if (r == 0)
            pass_over(w, record);
        return r;
    }
    sim_trace(w, "the slot goes");
    w->log.has_slot = false;
    int r = write_mark(s, false, "snapshot.begin", err);
    if (r < 0)
        return r;
    if (!sim_has_transactions(w) || ow_position_is_zero(record))
        s->node->seen = ++w->takeovers; /* what was accepted and is not on record comes again */
    s->has_mark = s->is_creating = true;
    s->track.confirmed = (struct ow_position){0};
    return 1;
}

static void make_slot(struct sim_source *s)
{
    struct sim_world *w = s->node->world;
    struct sim_log *log = &w->log;
    sim_happened(log->slot_count > 0 ? SIM_SNAPSHOT_AGAIN : SIM_SNAPSHOT);
    log->has_slot = true;
    log->gap_is_due = false;
    log->end += 2; /* the server writes down who is running */
    log->slot = log->durable_slot = s->start = s->slot_start = log->end;
    log->slots[log->slot_count++ % SIM_SLOTS_MAX] = log->end;
    s->snapshot_count = w->count;
    s->snapshot_rows = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        struct sim_message *m = &w->messages[i];
        m->position = (struct ow_position){log->end - 1, m->place};
        if (!m->is_gone && (m->is_in_source || !w->options.prunes))
            s->snapshot_rows |= 1ull << i;
    }
    sim_trace(w, "a slot is made, at %llu; %u messages stand before it", (unsigned long long)log->end, w->count);
}

static int create(struct sim_source *s, struct ow_error *err)
{
    char sees[16];
    enum sim_fate fate = sim_source_fate(s, "snapshot.create");
    if (s->is_cut && !s->node->is_dead)
        return ow_error_set(err, OW_EUNREACHABLE, "the connection is gone");
    if (fate == SIM_FAILS)
        return sim_fate_error(s->node, fate, "snapshot.create", err);
    make_slot(s);
    if (fate != SIM_GOES)
        return sim_fate_error(s->node, fate, "snapshot.create", err);
    (void)snprintf(sees, sizeof sees, "%u", s->snapshot_count);
    int r = ow_pg_past_begin(&s->past, s->slot_start, s->before, sees, "t", err);
    if (r == 0)
        r = write_mark(s, false, "snapshot.note", err);
    if (r < 0)
        return r;
    s->is_creating = false;
    s->is_in_snapshot = true;
    return 0;
}

static struct sim_message *row_behind(const struct sim_source *s, uint64_t place)
{
    struct sim_message *messages = s->node->world->messages, *found = NULL;
    for (uint32_t i = 0; i < s->snapshot_count; i++) {
        struct sim_message *m = &messages[i];
        if (s->snapshot_rows >> i & 1 && m->place > place && (!found || m->place < found->place))
            found = m;
    }
    return found;
}

static bool was_published(const struct sim_world *w, const struct ow_pg_past *past, const struct sim_message *m)
{
    char seen[OW_PG_PAST_MAX + 1] = "";
    for (size_t i = 0; i < past->count; i++)
        seen[i] = sim_index_of(w, m) < strtoul(past->attempts[i].rows, NULL, 10) ? '1' : '0';
    return ow_pg_past_has(past, m->place, seen);
}

int sim_snapshot_next(struct sim_source *s, struct ow_message *ret, struct ow_error *err)
{
    struct sim_world *w = s->node->world;
    struct sim_message *m;
    int r = s->is_creating ? create(s, err) : 0;
    if (r < 0)
        return r;
    while ((m = row_behind(s, s->place))) {
        s->place = m->place;
        if (was_published(w, &s->past, m)) {
            sim_happened(SIM_LEFT_OUT);
            sim_trace(w, "left out %s", m->id);
            continue;
        }
        struct ow_position position = {s->slot_start - 1, m->place};
        r = ow_pg_track_row(&s->track, position, 0, err);
        if (r < 0)
            return r;
        if (r == 0)
            sim_fail(w, "a row of the snapshot was confirmed before it was read");
        m->was_yielded = true;
        sim_message_view(w, m, ret, s->bytes, sizeof s->bytes);
        ret->position = position;
        sim_trace(w, "read %s in the snapshot (%llu/%llu, key %u)", m->id, (unsigned long long)position.major,
                  (unsigned long long)position.minor, m->key);
        return 1;
    }
    s->is_in_snapshot = false;
    return 0;
}

int sim_snapshot_confirm(struct sim_source *s, struct ow_position position, struct ow_error *err)
{
    return s->has_mark && s->slot_start && position.major >= s->slot_start ? note_done(s, err) : 0;
}

bool sim_snapshot_is_due(const struct sim_world *w)
{
    return w->options.has_snapshot && strcmp(w->log.mark, DONE) != 0;
}

bool sim_snapshot_repeats(const struct sim_world *w, const struct sim_message *m, bool *ret)
{
    struct ow_pg_past past = {0};
    if (!sim_snapshot_is_due(w))
        return false;
    read_past(w->log.mark, &past);
    bool is_through = ow_pg_past_settle(&past, sim_log_record(w)) == OW_PG_PAST_THROUGH;
    *ret = !m->is_gone && (m->is_in_source || !w->options.prunes) && !was_published(w, &past, m);
    ow_pg_past_done(&past);
    return !is_through;
}

bool sim_snapshot_has_place(const struct sim_world *w, const struct sim_message *m, struct ow_position position)
{
    for (uint32_t i = 0; i < w->log.slot_count && i < SIM_SLOTS_MAX; i++)
        if (position.major == w->log.slots[i] - 1 && position.minor == m->place)
            return true;
    return ow_position_compare(position, m->committed) == 0;
}
