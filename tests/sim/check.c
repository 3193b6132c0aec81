/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must always hold, checked at the moment at which it could break: when a broker accepts, when the
 * relay sends, sets aside, confirms, commits; and the whole of it after every event.
 */
#include "world.h"

/* Dealt with, for ever: a message of which nobody can say that it is lost or will come later. */
static bool is_done_with(const struct sim_message *m)
{
    return m->accepted > 0 || m->is_aside || m->is_gone;
}

void sim_check_accept(struct sim_world *w, struct sim_message *m)
{
    if (m->is_poison || m->is_unwanted)
        sim_fail(w, "message %s was accepted, which can never be", m->id);
    if (m->accepted++ > 0) {
        sim_happened(SIM_DUPLICATE);
        sim_trace(w, "accepted %s once more", m->id);
        if (w->options.kind == SIM_TRANSACTIONS && !m->is_restored)
            sim_fail(w, "duplicate: %s was accepted twice by a broker with transactions", m->id);
        return;
    }
    sim_trace(w, "accepted %s", m->id);
    m->accept_order = ++w->accepted_count;
    if (m->key == SIM_KEYS_MAX - 1)
        return;
    for (uint32_t i = 0; i < sim_index_of(w, m); i++) {
        const struct sim_message *earlier = &w->messages[i];
        bool is_dead_letter = earlier->is_poison || earlier->is_unwanted || earlier->was_aside;
        if (earlier->key == m->key && !is_dead_letter && !is_done_with(earlier))
            sim_fail(w, "order: %s was accepted before %s of its key", m->id, earlier->id);
    }
}

/* A duplicate needs a cause: only what the living relay does not know to be accepted may be sent. */
void sim_check_send(struct sim_world *w, const struct sim_message *m)
{
    if (m->is_poison)
        sim_fail(w, "message %s was sent although it is unfit", m->id);
    if (m->told_in == w->life)
        sim_fail(w, "message %s was sent again although it was told to be accepted", m->id);
    if (!m->is_in_source && !m->is_taken_over && !m->is_gone)
        sim_fail(w, "message %s was sent although it was confirmed", m->id);
    if (w->source.has_other_holder && w->options.kind == SIM_TRANSACTIONS)
        sim_fail(w, "message %s was sent while another relay works on the source", m->id);
}

void sim_check_confirm(struct sim_world *w, const struct ow_position *positions, size_t count)
{
    if (count == 0)
        sim_fail(w, "nothing was confirmed");
    for (size_t i = 1; i < count; i++)
        if (ow_position_compare(positions[i - 1], positions[i]) >= 0)
            sim_fail(w, "the positions that were confirmed do not rise");
    for (uint32_t i = 0; i < w->count && count > 0; i++) {
        const struct sim_message *m = &w->messages[i];
        if (!m->is_in_source || m->seq > positions[count - 1].major)
            continue;
        size_t k = 0;
        while (k < count && positions[k].major != m->seq)
            k++;
        if (m->accepted == 0 && !m->is_aside)
            sim_fail(w, "loss: %s was confirmed, or passed by a confirmation, and is neither accepted nor set aside",
                     m->id);
        if (k == count)
            sim_fail(w, "%s was passed by a confirmation of later messages", m->id);
        else if (m->open_in == 0)
            sim_fail(w, "%s was confirmed and never yielded", m->id);
    }
}

void sim_check_aside(struct sim_world *w, const struct sim_message *m, const char *reason, uint32_t attempts)
{
    bool is_worn_out = w->options.attempts_max > 0 && attempts >= w->options.attempts_max;
    if (!reason[0])
        sim_fail(w, "%s was set aside without a reason", m->id);
    if (!m->is_poison && !m->is_unwanted && !is_worn_out)
        sim_fail(w, "%s was set aside, and nothing is wrong with it: %s", m->id, reason);
    if (!m->is_poison && !m->is_unwanted && is_worn_out)
        sim_happened(SIM_WORN_OUT);
}

/* What a broker stores as the position must have nothing before it that is still to come. */
void sim_check_position(struct sim_world *w, struct ow_position position)
{
    for (uint32_t i = 0; i < w->count; i++) {
        const struct sim_message *m = &w->messages[i];
        if (m->is_in_source && m->seq <= position.major && !is_done_with(m) && !m->is_unwanted)
            sim_fail(w, "position %llu was stored, but %s before it was not accepted",
                     (unsigned long long)position.major, m->id);
    }
}

void sim_check_now(struct sim_world *w)
{
    uint32_t unconfirmed = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct sim_message *m = &w->messages[i];
        if (!m->is_in_source && !is_done_with(m))
            sim_fail(w, "loss: %s is gone from the source, not accepted, and no dead letter", m->id);
        unconfirmed += m->is_in_source && m->accepted > 0 && !m->is_restored;
    }
    if (unconfirmed > w->options.window_count)
        sim_fail(w, "%u messages are accepted and not confirmed: a crash now repeats more than a window", unconfirmed);
    if (!w->is_relay_alive || w->is_dead)
        return;
    const char *broken = ow_window_broken(&w->relay.window);
    if (broken)
        sim_fail(w, "window: %s", broken);
    if (w->relay.window.count == w->options.window_count)
        sim_happened(SIM_WINDOW_FULL);
}

void sim_check_end(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!is_done_with(&w->messages[i]))
            sim_fail(w, "stuck: %s was never accepted or set aside", w->messages[i].id);
        else if (w->messages[i].is_in_source)
            sim_fail(w, "stuck: %s was never confirmed", w->messages[i].id);
    if (!w->has_failed && !ow_relay_is_idle(&w->relay))
        sim_fail(w, "everything is done, and the relay is not idle");
}
