/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake source: an outbox that is polled. Its rows are the messages of the world that are in it; they
 * are numbered in the order of their commits, and a row disappears only when it is confirmed by name.
 *
 * One relay works on it: under a lock, which lives as long as its process, or under a lease, which ends by time. Who
 * was stopped for longer wakes up without it: what is in its window it may still send, but it forgets nothing.
 */
#include "world.h"

enum { LEASE_MS = 400, RENEW_MS = 120 };

static struct sim_source *self_of(struct ow_source *source)
{
    return (struct sim_source *)source;
}

enum sim_fate sim_source_fate(struct sim_source *s, const char *call)
{
    struct sim_world *w = s->node->world;
    memset(s->bytes, '#', sizeof s->bytes); /* what was lent until now is worthless from here on */
    if (!s->is_open && strcmp(call, "source.open") != 0 && !s->node->is_dead)
        sim_fail(w, "%s of a source that is not open", call);
    enum sim_fate fate = sim_fate(s->node, w->options.fail_source, call);
    if (fate != SIM_GOES && !s->node->is_dead)
        sim_happened(SIM_SOURCE_ERROR);
    return fate;
}

void sim_source_taken(struct sim_source *s)
{
    struct sim_world *w = s->node->world;
    if (w->last_holder != SIM_NOBODY && w->last_holder != s->node->number) {
        sim_happened(SIM_TAKEOVER);
        w->takeovers++;
    }
    w->last_holder = s->node->number;
    s->node->seen = w->takeovers;
    s->opened++;
}

/* --- the lock, or the lease ---------------------------------------------------------------------------- */

static int take_hold(struct sim_source *s, struct ow_error *err)
{
    struct sim_world *w = s->node->world;
    bool is_taken = w->holder != SIM_NOBODY && w->holder != s->node->number;
    if (is_taken && (!w->options.has_leases || w->now_ms < w->lease_until_ms)) {
        sim_happened(SIM_STANDBY);
        sim_trace(w, "the relay stands by");
        s->node->life = ++w->lives; /* what it knew it must not trust: the other one may have gone on */
        return ow_error_set(err, OW_ESTANDBY, "another relay works on it");
    }
    sim_source_taken(s);
    w->holder = s->node->number;
    w->lease_until_ms = w->now_ms + LEASE_MS;
    s->epoch = ++w->epoch;
    s->renew_due_ms = w->now_ms + RENEW_MS;
    return 0;
}

static bool has_hold(const struct sim_source *s)
{
    const struct sim_world *w = s->node->world;
    return w->holder == s->node->number && w->epoch == s->epoch;
}

static int lost(struct sim_source *s, struct ow_error *err)
{
    sim_happened(SIM_LEASE_LOST);
    sim_trace(s->node->world, "the lease is lost");
    return ow_error_set(err, OW_ESTANDBY, "the lease is lost");
}

static int source_tend(struct ow_source *base, struct ow_wait *wait, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    if (!w->options.has_leases)
        return 0;
    if (w->now_ms >= s->renew_due_ms) {
        enum sim_fate fate = sim_source_fate(s, "source.tend");
        if (fate == SIM_FAILS)
            return sim_fate_error(s->node, fate, "source.tend", err);
        if (!has_hold(s))
            return lost(s, err);
        w->lease_until_ms = w->now_ms + LEASE_MS;
        if (fate == SIM_FAILS_AFTER)
            return sim_fate_error(s->node, fate, "source.tend", err);
        s->renew_due_ms = w->now_ms + RENEW_MS;
    }
    ow_wait_until(wait, s->renew_due_ms);
    return 0;
}

/* --- the contract ---------------------------------------------------------------------------------------- */

static int source_open(struct ow_source *base, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    if (s->is_open && !s->node->is_dead)
        sim_fail(s->node->world, "the source was opened twice");
    enum sim_fate fate = sim_source_fate(s, "source.open");
    if (fate != SIM_GOES)
        return sim_fate_error(s->node, SIM_FAILS, "source.open", err);
    int r = take_hold(s, err);
    if (r < 0)
        return r;
    sim_trace(s->node->world, "source opened");
    s->is_open = true;
    s->is_resumed = false;
    s->last_seq = 0;
    return 0;
}

const char *sim_source_identity(struct ow_source *base)
{
    struct sim_source *s = self_of(base);
    memset(s->bytes, '#', sizeof s->bytes);
    return "outbox-1";
}

static int source_resume(struct ow_source *base, const struct ow_position *position, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    enum sim_fate fate = sim_source_fate(s, "source.resume");
    if (fate != SIM_GOES)
        return sim_fate_error(s->node, SIM_FAILS, "source.resume", err);
    (void)position; /* by polling, what is there is yielded */
    s->is_resumed = true;
    return 0;
}

static struct sim_message *row_after(const struct sim_source *s, uint64_t seq)
{
    struct sim_world *w = s->node->world;
    struct sim_message *found = NULL;
    for (uint32_t i = 0; i < w->count; i++) {
        struct sim_message *m = &w->messages[i];
        if (m->is_in_source && m->position.major > seq && (!found || m->position.major < found->position.major))
            found = m;
    }
    return found;
}

static int source_next(struct ow_source *base, struct ow_message *ret, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    enum sim_fate fate = sim_source_fate(s, "source.next");
    if (fate != SIM_GOES)
        return sim_fate_error(s->node, SIM_FAILS, "source.next", err);
    if (!s->is_resumed)
        sim_fail(s->node->world, "source.next before source.resume");
    struct sim_message *m = row_after(s, s->last_seq);
    if (!m)
        return 0;
    s->last_seq = m->position.major;
    m->was_yielded = true;
    sim_message_view(s->node->world, m, ret, s->bytes, sizeof s->bytes);
    sim_trace(s->node->world, "read %s (seq %llu, key %u)", m->id, (unsigned long long)m->position.major, m->key);
    return 1;
}

static int source_confirm(struct ow_source *base, const struct ow_position *positions, size_t count,
                          struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    enum sim_fate fate = sim_source_fate(s, "source.confirm");
    if (fate == SIM_FAILS)
        return sim_fate_error(s->node, fate, "source.confirm", err);
    if (!has_hold(s)) /* the lease's epoch is in the statement */
        return lost(s, err);
    sim_check_confirm(s->node, positions, count);
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < w->count; k++) {
            struct sim_message *m = &w->messages[k];
            if (m->is_in_source && m->position.major == positions[i].major) {
                m->is_in_source = false;
                m->confirmed_in = s->node->life;
                m->confirmed_at = s->node->seen;
                sim_trace(w, "confirmed %s", m->id);
            }
        }
    return fate == SIM_GOES ? 0 : sim_fate_error(s->node, fate, "source.confirm", err);
}

int sim_source_set_aside(struct ow_source *base, const struct ow_message *view, const char *reason, uint32_t attempts,
                         struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    enum sim_fate fate = sim_source_fate(s, "source.set_aside");
    if (fate == SIM_FAILS)
        return sim_fate_error(s->node, fate, "source.set_aside", err);
    if (w->options.is_log && s->is_cut)
        return ow_error_set(err, OW_EUNREACHABLE, "the connection is gone");
    if (!w->options.is_log && !has_hold(s))
        return lost(s, err);
    struct sim_message *m = sim_message_of(w, view);
    if (m) {
        sim_check_aside(s->node, m, reason, attempts);
        sim_happened(SIM_ASIDE);
        sim_trace(w, "set aside %s: %s", m->id, reason);
        m->is_aside = m->was_aside = true;
    }
    return fate == SIM_GOES ? 0 : sim_fate_error(s->node, fate, "source.set_aside", err);
}

int sim_source_park(struct ow_source *base, const struct ow_message *view, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    struct sim_world *w = s->node->world;
    enum sim_fate fate = sim_source_fate(s, "source.park");
    if (fate == SIM_FAILS)
        return sim_fate_error(s->node, fate, "source.park", err);
    if (w->options.is_log && s->is_cut)
        return ow_error_set(err, OW_EUNREACHABLE, "the connection is gone");
    if (!w->options.is_log && !has_hold(s))
        return lost(s, err);
    struct sim_message *m = sim_message_of(w, view);
    if (!s->base.parks || !view->key.data)
        sim_fail(w, "a relay that does not park asks to park %s", m ? m->id : "?");
    bool is_behind = m && sim_is_behind_letter(w, m);
    if (is_behind) {
        sim_happened(SIM_PARKED);
        sim_trace(w, "parked %s", m->id);
        m->is_aside = m->was_aside = true;
    }
    return fate == SIM_GOES ? is_behind : sim_fate_error(s->node, fate, "source.park", err);
}

static void source_wait(struct ow_source *base, struct ow_wait *wait)
{
    struct sim_source *s = self_of(base);
    memset(s->bytes, '#', sizeof s->bytes);
    if (!s->is_open && !s->node->is_dead)
        sim_fail(s->node->world, "source.wait of a source that is not open");
    ow_wait_add(wait, SIM_SOURCE_FD, POLLIN);
}

static void source_close(struct ow_source *base)
{
    struct sim_source *s = self_of(base);
    memset(s->bytes, '#', sizeof s->bytes);
    if (s->node->is_dead)
        return;
    sim_trace(s->node->world, "source closed");
    s->is_open = false;
    if (s->node->world->holder == s->node->number)
        s->node->world->holder = SIM_NOBODY;
}

static const struct ow_source_ops polled_ops = {
    .name = "outbox of the simulator",
    .open = source_open,
    .identity = sim_source_identity,
    .resume = source_resume,
    .next = source_next,
    .confirm = source_confirm,
    .set_aside = sim_source_set_aside,
    .park = sim_source_park,
    .wait = source_wait,
    .tend = source_tend,
    .close = source_close,
    .discard = source_close,
};

void sim_source_init(struct sim_source *s, struct sim_node *node)
{
    s->base.ops = node->world->options.is_log ? &sim_log_ops : &polled_ops;
    s->node = node;
}

/* The kernel gives a lock up, and a lease has a session beside it that ends with the process. */
void sim_source_forget(struct sim_source *s)
{
    struct sim_world *w = s->node->world;
    if (s->is_open && w->holder == s->node->number)
        w->holder = SIM_NOBODY;
    if (s->is_open && w->log.holder == s->node->number)
        w->log.holder = SIM_NOBODY;
    ow_pg_track_done(&s->track);
    ow_pg_past_done(&s->past);
    s->is_open = s->is_resumed = s->is_cut = false;
}

bool sim_source_has_news(const struct sim_source *s)
{
    if (s->node->world->options.is_log)
        return s->is_open && sim_log_has_news(s);
    return s->is_open && row_after(s, s->last_seq);
}
