/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake source: an outbox that is polled. Its rows are the messages of the world that are in it; they
 * are numbered in the order of their commits, and a row disappears only when it is confirmed by name.
 */
#include "world.h"

#include <stdio.h>

static struct sim_source *self_of(struct ow_source *source)
{
    return (struct sim_source *)source;
}

/* What was lent until now is worthless from here on. */
static void take_back(struct sim_source *s)
{
    memset(s->bytes, '#', sizeof s->bytes);
}

static enum sim_fate fate_of(struct sim_source *s, const char *call)
{
    take_back(s);
    if (!s->is_open && strcmp(call, "source.open") != 0 && !s->world->is_dead)
        sim_fail(s->world, "%s of a source that is not open", call);
    enum sim_fate fate = sim_fate(s->world, s->world->options.fail_source, call);
    if (fate != SIM_GOES && !s->world->is_dead)
        sim_happened(SIM_SOURCE_ERROR);
    return fate;
}

static int source_open(struct ow_source *base, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    if (s->is_open && !s->world->is_dead)
        sim_fail(s->world, "the source was opened twice");
    enum sim_fate fate = fate_of(s, "source.open");
    if (fate != SIM_GOES)
        return sim_fate_error(s->world, SIM_FAILS, "source.open", err);
    if (s->has_other_holder) {
        sim_happened(SIM_STANDBY);
        sim_trace(s->world, "the relay stands by");
        s->world->life++; /* what it knew it must not trust: the other one may have gone on */
        return ow_error_set(err, OW_ESTANDBY, "another relay works on it");
    }
    sim_trace(s->world, "source opened");
    s->is_open = true;
    s->is_resumed = false;
    s->opened++;
    s->last_seq = 0;
    return 0;
}

static const char *source_identity(struct ow_source *base)
{
    take_back(self_of(base));
    return "outbox-1";
}

static int source_resume(struct ow_source *base, const struct ow_position *position, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    enum sim_fate fate = fate_of(s, "source.resume");
    if (fate != SIM_GOES)
        return sim_fate_error(s->world, SIM_FAILS, "source.resume", err);
    (void)position; /* by polling, what is there is yielded */
    s->is_resumed = true;
    return 0;
}

static struct sim_message *row_after(const struct sim_source *s, uint64_t seq)
{
    struct sim_message *found = NULL;
    for (uint32_t i = 0; i < s->world->count; i++) {
        struct sim_message *m = &s->world->messages[i];
        if (m->is_in_source && m->seq > seq && (!found || m->seq < found->seq))
            found = m;
    }
    return found;
}

static int source_next(struct ow_source *base, struct ow_message *ret, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    enum sim_fate fate = fate_of(s, "source.next");
    if (fate != SIM_GOES)
        return sim_fate_error(s->world, SIM_FAILS, "source.next", err);
    if (!s->is_resumed)
        sim_fail(s->world, "source.next before source.resume");
    struct sim_message *m = row_after(s, s->last_seq);
    if (!m)
        return 0;
    s->last_seq = m->seq;
    m->open_in = s->opened;
    sim_message_view(m, ret, s->bytes, sizeof s->bytes);
    sim_trace(s->world, "read %s (seq %llu, key %u)", m->id, (unsigned long long)m->seq, m->key);
    return 1;
}

static int source_confirm(struct ow_source *base, const struct ow_position *positions, size_t count,
                          struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    enum sim_fate fate = fate_of(s, "source.confirm");
    if (fate == SIM_FAILS)
        return sim_fate_error(s->world, fate, "source.confirm", err);
    sim_check_confirm(s->world, positions, count);
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < s->world->count; k++) {
            struct sim_message *m = &s->world->messages[k];
            if (m->is_in_source && m->seq == positions[i].major) {
                m->is_in_source = false;
                sim_trace(s->world, "confirmed %s", m->id);
            }
        }
    return fate == SIM_GOES ? 0 : sim_fate_error(s->world, fate, "source.confirm", err);
}

static int source_set_aside(struct ow_source *base, const struct ow_message *view, const char *reason,
                            uint32_t attempts, struct ow_error *err)
{
    struct sim_source *s = self_of(base);
    enum sim_fate fate = fate_of(s, "source.set_aside");
    if (fate == SIM_FAILS)
        return sim_fate_error(s->world, fate, "source.set_aside", err);
    struct sim_message *m = sim_message_of(s->world, view);
    if (m) {
        sim_check_aside(s->world, m, reason, attempts);
        sim_happened(SIM_ASIDE);
        sim_trace(s->world, "set aside %s: %s", m->id, reason);
        m->is_aside = m->was_aside = true;
    }
    return fate == SIM_GOES ? 0 : sim_fate_error(s->world, fate, "source.set_aside", err);
}

static void source_wait(struct ow_source *base, struct ow_wait *wait)
{
    struct sim_source *s = self_of(base);
    take_back(s);
    if (!s->is_open && !s->world->is_dead)
        sim_fail(s->world, "source.wait of a source that is not open");
    ow_wait_add(wait, SIM_SOURCE_FD, POLLIN);
}

static void source_close(struct ow_source *base)
{
    struct sim_source *s = self_of(base);
    take_back(s);
    if (s->world->is_dead)
        return;
    sim_trace(s->world, "source closed");
    s->is_open = false;
}

static const struct ow_source_ops ops = {
    .name = "outbox of the simulator",
    .open = source_open,
    .identity = source_identity,
    .resume = source_resume,
    .next = source_next,
    .confirm = source_confirm,
    .set_aside = source_set_aside,
    .wait = source_wait,
    .close = source_close,
    .discard = source_close,
};

void sim_source_init(struct sim_source *s, struct sim_world *world)
{
    s->base.ops = &ops;
    s->world = world;
}

void sim_source_forget(struct sim_source *s)
{
    s->is_open = s->is_resumed = false;
}

bool sim_source_has_news(const struct sim_source *s)
{
    return s->is_open && row_after(s, s->last_seq);
}

void sim_source_other_relay(struct sim_source *s)
{
    struct sim_world *w = s->world;
    uint32_t turns = sim_roll(&w->dice, 4);
    for (struct sim_message *m; turns > 0 && (m = row_after(s, 0)); turns--) {
        bool is_fit = !m->is_poison && !m->is_unwanted;
        sim_trace(w, "another relay deals with %s", m->id);
        m->is_taken_over = true;
        m->is_aside |= !is_fit;
        if (is_fit && !(w->options.kind == SIM_TRANSACTIONS && m->is_known)) {
            sim_check_accept(w, m);
            m->is_known = w->options.kind == SIM_TRANSACTIONS;
        }
        if (w->options.kind == SIM_TRANSACTIONS && m->seq > w->broker.position.major) {
            w->broker.has_position = true;
            w->broker.position.major = m->seq;
        }
        m->is_in_source = false;
    }
}
