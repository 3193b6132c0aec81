/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must always hold, checked at the moment at which it could break: when a broker accepts, when the
 * relay sends, sets aside, confirms, commits; and the whole of it after every event.
 */
#include "world.h"

/* Dealt with, for ever: a message of which nobody can say that it is lost or will come later. */
static bool is_done_with(const struct sim_message *m)
{
    return m->accepted > 0 || m->is_aside || m->is_gone || m->is_shaped_away;
}

/* What cannot be shaped has no key that anybody knows. */
static bool has_key(const struct sim_world *w, const struct sim_message *m)
{
    return m->key < SIM_KEYS_MAX - 1 && !(m->is_poison && w->options.shapes);
}

/* One that was accepted before it was set aside, and one that a backup has brought back, stand in nobody's way. */
static bool passes_letter(const struct sim_world *w, const struct sim_message *m)
{
    for (uint32_t i = 0; m->key < SIM_KEYS_MAX - 1 && !m->is_restored && i < sim_index_of(w, m); i++) {
        const struct sim_message *earlier = &w->messages[i];
        if (earlier->key == m->key && earlier->is_aside && earlier->accepted == 0 && !earlier->is_restored &&
            has_key(w, earlier))
            return true;
    }
    return false;
}

void sim_check_accept(struct sim_node *node, struct sim_message *m)
{
    struct sim_world *w = node->world;
    if (m->is_poison || m->is_unwanted || m->is_shaped_away)
        sim_fail(w, "message %s was accepted, which can never be", m->id);
    if (w->options.parks && m->accepted == 0 && passes_letter(w, m))
        sim_fail(w, "message %s passed a dead letter of its key", m->id);
    if (m->accepted++ > 0) {
        sim_happened(SIM_DUPLICATE);
        sim_trace(w, "accepted %s once more", m->id);
        if (sim_has_transactions(w) && !m->is_restored)
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
        /* Out of a snapshot they come as they were written: transactions that overlap have no order. */
        bool has_order = !w->options.has_snapshot || earlier->place < m->place;
        if (earlier->key == m->key && has_order && !is_dead_letter && !is_done_with(earlier))
            sim_fail(w, "order: %s was accepted before %s of its key", m->id, earlier->id);
    }
}

static bool has_other_holder(const struct sim_node *node)
{
    const struct sim_world *w = node->world;
    int holder = w->options.is_log ? w->log.holder : w->holder;
    return holder >= 0 && holder != node->number;
}

/* A duplicate needs a cause: only what the living relay does not know to be accepted may be sent. */
void sim_check_send(struct sim_node *node, const struct sim_message *m)
{
    struct sim_world *w = node->world;
    if (m->is_poison)
        sim_fail(w, "message %s was sent although it is unfit", m->id);
    if (m->is_shaped_away)
        sim_fail(w, "message %s was sent although nothing of it is to be published", m->id);
    if (m->told_in == node->life && m->told_at == w->takeovers)
        sim_fail(w, "message %s was sent again although it was told to be accepted", m->id);
    if (m->confirmed_in == node->life && m->confirmed_at == w->takeovers)
        sim_fail(w, "message %s was sent although this relay has confirmed it", m->id);
    if (!w->options.is_log && w->options.nodes == 1 && !m->is_in_source && !m->is_gone)
        sim_fail(w, "message %s was sent although it was confirmed", m->id);
    if (w->options.is_log && w->options.nodes == 1 && ow_position_compare(m->position, sim_log_record(w)) <= 0)
        sim_fail(w, "message %s was sent although what is on record stands behind it", m->id);
    if (w->options.kind == SIM_TRANSACTIONS && has_other_holder(node))
        sim_fail(w, "message %s was sent while another relay works on the source", m->id);
}

static void check_rows(struct sim_world *w, const struct ow_position *positions, size_t count)
{
    for (uint32_t i = 0; i < w->count; i++) {
        const struct sim_message *m = &w->messages[i];
        if (!m->is_in_source || m->position.major > positions[count - 1].major)
            continue;
        size_t k = 0;
        while (k < count && positions[k].major != m->position.major)
            k++;
        if (k == count)
            sim_fail(w, "%s was passed by a confirmation of later messages", m->id);
    }
}

static void check_on_record(struct sim_node *node, struct ow_position position)
{
    struct sim_world *w = node->world;
    if (!sim_is_recorded(w) || !sim_node_holds(node) || node->seen != w->takeovers)
        return; /* what one that was followed puts on record it cannot know */
    if (w->bus.has_position && ow_position_compare(w->bus.position, position) < 0)
        sim_fail(w, "position %llu/%llu was confirmed before it was on record", (unsigned long long)position.major,
                 (unsigned long long)position.minor);
    for (uint32_t i = 0; i < w->count && !w->bus.has_position; i++)
        if (w->messages[i].accepted > 0 && !w->messages[i].is_aside &&
            ow_position_compare(w->messages[i].position, position) <= 0)
            sim_fail(w, "%s is accepted, and was confirmed with no position on record", w->messages[i].id);
}

void sim_check_confirm(struct sim_node *node, const struct ow_position *positions, size_t count)
{
    struct sim_world *w = node->world;
    if (count == 0) {
        sim_fail(w, "nothing was confirmed");
        return;
    }
    for (size_t i = 1; i < count; i++)
        if (ow_position_compare(positions[i - 1], positions[i]) >= 0)
            sim_fail(w, "the positions that were confirmed do not rise");
    for (uint32_t i = 0; i < w->count; i++) {
        const struct sim_message *m = &w->messages[i];
        if (!m->is_in_source || ow_position_compare(m->position, positions[count - 1]) > 0)
            continue;
        if (!is_done_with(m))
            sim_fail(w, "loss: %s was confirmed, or passed by a confirmation, and is neither accepted nor set aside",
                     m->id);
        if (!m->was_yielded)
            sim_fail(w, "%s was confirmed and never yielded", m->id);
    }
    if (w->options.is_log && ow_position_is_zero(sim_log_record(w)))
        w->log.first = positions[count - 1].major;
    if (w->options.is_log)
        check_on_record(node, positions[count - 1]);
    else
        check_rows(w, positions, count);
}

bool sim_is_behind_letter(const struct sim_world *w, const struct sim_message *m)
{
    for (uint32_t i = 0; m->key < SIM_KEYS_MAX - 1 && i < sim_index_of(w, m); i++)
        if (w->messages[i].key == m->key && w->messages[i].is_aside && has_key(w, &w->messages[i]))
            return true;
    return false;
}

/* Or may do so: what of its key is in the source may be in the window, and what another relay has confirmed. */
static bool fills_the_window(const struct sim_world *w, const struct sim_message *m)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->count; i++)
        count += w->messages[i].key == m->key && (w->messages[i].is_in_source || w->options.nodes > 1);
    return m->key < SIM_KEYS_MAX - 1 && count > 1 &&
           (count > w->options.window_count / 2 || w->options.window_bytes < 1 << 20);
}

void sim_check_aside(struct sim_node *node, const struct sim_message *m, const char *reason, uint32_t attempts)
{
    struct sim_world *w = node->world;
    bool has_failed = w->options.elapsed_max_ms > 0 && m->failed_in[node->number] == node->life;
    bool is_timed_out = has_failed && node->broker.well_ms - m->failed_ms[node->number] >= w->options.elapsed_max_ms;
    bool is_in_the_way = has_failed && attempts > 1 && fills_the_window(w, m);
    bool is_worn_out = w->options.attempts_max > 0 && attempts >= w->options.attempts_max;
    if (!reason[0])
        sim_fail(w, "%s was set aside without a reason", m->id);
    if (m->is_poison && w->options.shapes && !strstr(reason, "cannot shape it"))
        sim_fail(w, "%s was set aside for another reason than that it cannot be shaped: %s", m->id, reason);
    if (!m->is_poison && !m->is_unwanted && !is_worn_out && !is_timed_out && !is_in_the_way)
        sim_fail(w, "%s was set aside, and nothing is wrong with it: %s", m->id, reason);
    if (!m->is_poison && !m->is_unwanted)
        sim_happened(is_worn_out ? SIM_WORN_OUT : is_timed_out ? SIM_TIMED_OUT : SIM_IN_THE_WAY);
}

/* What is stored as the position must have nothing before it that is still to come. */
void sim_check_position(struct sim_world *w, struct ow_position position)
{
    for (uint32_t i = 0; i < w->count; i++) {
        const struct sim_message *m = &w->messages[i];
        if (m->is_in_source && ow_position_compare(m->position, position) <= 0 && !is_done_with(m))
            sim_fail(w, "position %llu was stored, but %s before it was not accepted",
                     (unsigned long long)position.major, m->id);
    }
}

/* A server forgets what commits before this. */
void sim_check_told(struct sim_world *w, uint64_t lsn)
{
    struct ow_position record = sim_log_record(w);
    for (uint32_t i = 0; i < w->count; i++) {
        struct sim_message *m = &w->messages[i];
        if (m->position.major >= lsn)
            continue;
        if (!is_done_with(m))
            sim_fail(w, "loss: the server was told to forget %s, which is neither accepted nor set aside", m->id);
        if (m->accepted > 0 && !m->is_aside && ow_position_compare(m->position, record) > 0)
            sim_fail(w, "the server was told to forget %s, which is accepted and not on record", m->id);
        m->is_in_source = false;
    }
    /* Who is stopped and followed may put one of them back, later. */
    for (uint32_t i = 0; i < OW_RECORD_PLACES && w->options.kind == SIM_RECORDING && w->options.nodes == 1; i++)
        if (lsn > w->log.first && w->bus.places[i].major < lsn)
            sim_fail(w, "the server was told to forget up to %llu, which place %u does not have",
                     (unsigned long long)lsn, i);
    if (!ow_position_is_zero(record) && record.major < lsn)
        sim_fail(w, "the server was told to forget up to %llu, and on record is %llu", (unsigned long long)lsn,
                 (unsigned long long)record.major);
}

/* Whether a relay that starts now would be given it. */
static bool comes_again(const struct sim_world *w, const struct sim_message *m)
{
    bool again;
    if (!w->options.is_log)
        return m->is_in_source;
    if (sim_snapshot_repeats(w, m, &again))
        return again;
    return m->position.major >= w->log.durable_slot && ow_position_compare(m->position, sim_log_record(w)) > 0;
}

void sim_check_now(struct sim_world *w)
{
    uint32_t again = 0, letters = 0;
    uint32_t again_max = w->options.is_log && sim_has_transactions(w) ? 0 : w->options.window_count;
    /* Each attempt at a snapshot may have left a window behind, which the next one has not come to yet. */
    if (sim_snapshot_is_due(w) && w->log.slot_count > 1)
        again_max *= w->log.slot_count;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct sim_message *m = &w->messages[i];
        if (!m->is_in_source && !is_done_with(m))
            sim_fail(w, "loss: %s is gone from the source, not accepted, and no dead letter", m->id);
        if (!comes_again(w, m) || m->accepted == 0 || m->is_restored)
            continue;
        /* A letter that was confirmed with nothing on record comes before the window, and is then accepted after all.
         */
        again += !m->was_aside;
        letters += m->was_aside;
    }
    if (again > again_max || letters > w->options.window_count)
        sim_fail(w, "%u messages are accepted and not confirmed: a crash now repeats more than %u", again, again_max);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        const struct sim_node *node = &w->nodes[i];
        if (!node->is_alive || node->is_dead || node->is_inside_step)
            continue;
        const char *broken = ow_window_broken(&node->relay.window);
        if (broken)
            sim_fail(w, "window: %s", broken);
        if (node->relay.window.count == w->options.window_count)
            sim_happened(SIM_WINDOW_FULL);
    }
}

void sim_check_end(struct sim_world *w, const struct sim_node *node)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!is_done_with(&w->messages[i]))
            sim_fail(w, "stuck: %s was never accepted or set aside", w->messages[i].id);
        else if (w->messages[i].is_in_source)
            sim_fail(w, "stuck: %s was never confirmed", w->messages[i].id);
    if (w->options.is_log && w->log.slot < w->log.end)
        sim_fail(w, "stuck: all is done, and the server was never told to forget its log: it keeps %llu to %llu",
                 (unsigned long long)w->log.slot, (unsigned long long)w->log.end);
    if (!w->has_failed && !ow_relay_is_idle(&node->relay))
        sim_fail(w, "everything is done, and the relay is not idle");
}
