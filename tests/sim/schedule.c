/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One schedule: at each turn one thing happens, chosen by the dice. When the messages are written and the
 * faults are used up, calm comes, and the relay has a bounded number of turns to bring all of it to an end.
 * In calm it runs only when something that it said it waits for has happened, so that a wake-up that it
 * forgot to ask for shows as a schedule that is stuck.
 */
#include "world.h"

#include <stdio.h>

static uint32_t roll(struct sim_world *w, uint32_t sides)
{
    return sim_roll(&w->dice, sides);
}

/* Most schedules know some kinds of fault and not others. */
static uint32_t rate(struct sim_world *w, uint32_t per_mille_max)
{
    return roll(w, 2) ? 0 : 1 + roll(w, per_mille_max);
}

static void roll_options(struct sim_world *w)
{
    struct sim_options *o = &w->options;
    o->is_log = roll(w, 2);
    o->kind = (enum sim_kind)roll(w, o->is_log ? SIM_KIND_COUNT : SIM_POLLED_KINDS);
    o->shapes = roll(w, 3) == 0;
    o->has_leases = !o->is_log && o->kind != SIM_TRANSACTIONS && roll(w, 2);
    o->nodes = o->is_log && o->kind == SIM_TRANSACTIONS ? 1 : 1 + roll(w, 2);
    o->messages = sim_between(&w->dice, 12, 40);
    o->keys = sim_between(&w->dice, 1, SIM_KEYS_MAX);
    o->window_count = sim_between(&w->dice, 1, 8);
    o->window_bytes = roll(w, 3) ? 1 << 20 : 400 + roll(w, 1500);
    o->capacity = roll(w, 2) ? 1000 : sim_between(&w->dice, 1, 4);
    o->attempts_max = roll(w, 4) ? 0 : sim_between(&w->dice, 2, 4);
    o->elapsed_max_ms = roll(w, 2) ? 0 : sim_between(&w->dice, 20, 400);
    o->parks = o->nodes == 1 && roll(w, 3) == 0; /* who has been followed does not know what was set aside since */
    o->fault_events = sim_between(&w->dice, 60, 200);
    o->uses_start = roll(w, 2);
    o->ends_at_end = roll(w, 4) == 0;
    o->has_long_memory = roll(w, 2);
    o->reconnect_ms = o->nodes == 1 || roll(w, 2) ? 10 : 300; /* the other one looks every 200 ms */
    o->barren = o->is_log && roll(w, 3) == 0 ? sim_between(&w->dice, 1, 6) : 0;
    o->poison = rate(w, 100);
    o->unwanted = rate(w, 100);
    o->oversize = rate(w, 100);
    o->shaped_away = o->shapes ? rate(w, 400) : 0;
    o->rollback = rate(w, 300);
    o->streamed = rate(w, 1000);
    o->drop = rate(w, 200);
    o->slow_ack = rate(w, 300);
    o->lost_ack = rate(w, 150);
    o->late_ack = rate(w, 150);
    o->double_receipt = rate(w, 200);
    o->later = rate(w, 100);
    o->trouble = rate(w, 40);
    o->fail_broker = rate(w, 60);
    o->fail_source = rate(w, 60);
    o->permanent = rate(w, 60);
    o->crash = rate(w, 60);
    o->stop = o->nodes > 1 ? rate(w, 60) : 0;
    o->down = rate(w, 30);
    o->restore = !o->is_log && o->nodes == 1 ? rate(w, 300) : 0;
    o->drain = rate(w, 20);
    o->cut = o->is_log ? rate(w, 30) : 0;
    o->server_crash = o->is_log ? rate(w, 60) : 0;
    o->tamper = o->is_log ? rate(w, 30) : 0;
    o->has_snapshot = o->is_log && w->seed % 4 == 0;
    o->prunes = w->seed / 4 % 2;
    o->refresh_ms = w->seed / 8 % 3 == 0 ? 200 : 1 << 30;
    o->parks &= !o->has_snapshot;
}

void sim_describe(const struct sim_options *o, char *to, size_t size)
{
    static const char *const kinds[] = {"ordered", "unordered", "transactions", "recording", "exactly"};
    (void)snprintf(
        to, size,
        "source=%s%s%s broker=%s relays=%u shapes=%u messages=%u keys=%u window=%u/%zuB capacity=%u attempts_max=%u "
        "elapsed_max=%lld parks=%d later=%u trouble=%u "
        "poison=%u unwanted=%u shaped_away=%u streamed=%u drop=%u slow_ack=%u lost_ack=%u late_ack=%u "
        "double_receipt=%u fail_broker=%u fail_source=%u permanent=%u crash=%u stop=%u down=%u restore=%u drain=%u "
        "cut=%u server_crash=%u tamper=%u",
        o->is_log ? "log" : "polled", o->has_leases ? "+lease" : "",
        !o->has_snapshot ? ""
        : o->prunes      ? "+snapshot"
                         : "+snapshot-kept",
        kinds[o->kind], o->nodes, o->shapes, o->messages, o->keys, o->window_count, o->window_bytes, o->capacity,
        o->attempts_max, (long long)o->elapsed_max_ms, o->parks, o->later, o->trouble, o->poison, o->unwanted,
        o->shaped_away, o->streamed, o->drop, o->slow_ack, o->lost_ack, o->late_ack, o->double_receipt, o->fail_broker,
        o->fail_source, o->permanent, o->crash, o->stop, o->down, o->restore, o->drain, o->cut, o->server_crash,
        o->tamper);
}

/* --- the world goes on --------------------------------------------------------------------------------- */

static void commit_staged(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->staged_count; i++)
        (void)sim_message_add(w, &w->staged[i], (struct ow_position){w->next_seq++, 0});
    sim_happened(SIM_COMMIT);
    w->staged_count = 0;
}

static void write_row(struct sim_world *w)
{
    const struct sim_options *o = &w->options;
    bool has_more = w->written < o->messages;
    if (has_more && w->staged_count < SIM_STAGED_MAX && (w->staged_count == 0 || roll(w, 2))) {
        w->staged[w->staged_count++] = (struct sim_staged){
            .key = roll(w, 10) ? roll(w, o->keys) : SIM_KEYS_MAX - 1,
            .is_poison = sim_chance(&w->dice, o->poison),
            .is_unwanted = sim_chance(&w->dice, o->unwanted),
            .is_oversize = sim_chance(&w->dice, o->oversize),
            .is_shaped_away = sim_chance(&w->dice, o->shaped_away),
        };
        w->written++;
    } else if (w->staged_count > 0 && sim_chance(&w->dice, o->rollback)) {
        sim_happened(SIM_ROLLBACK);
        w->staged_count = 0;
    } else if (w->staged_count > 0) {
        commit_staged(w);
    }
}

static void write_something(struct sim_world *w)
{
    if (w->options.is_log)
        sim_log_write(w);
    else
        write_row(w);
}

static void take_backup(struct sim_world *w)
{
    w->backup.is_taken = true;
    w->backup.count = w->count;
    w->backup.next_seq = w->next_seq;
    for (uint32_t i = 0; i < w->count; i++) {
        w->backup.is_in_source[i] = w->messages[i].is_in_source;
        w->backup.is_aside[i] = w->messages[i].is_aside;
    }
    sim_trace(w, "a backup is taken");
}

/* The table, its dead letters and its counter as they were; what was committed since never happened. */
static void restore_backup(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        struct sim_message *m = &w->messages[i];
        m->is_gone |= i >= w->backup.count;
        m->is_in_source = i < w->backup.count && w->backup.is_in_source[i] && !m->is_gone;
        m->is_aside = i < w->backup.count && w->backup.is_aside[i];
        m->is_restored = true;
    }
    w->next_seq = w->backup.next_seq;
    w->has_restored = true;
    sim_happened(SIM_RESTORE);
    sim_trace(w, "the backup is restored");
}

static bool advance_time(struct sim_world *w)
{
    int64_t next_ms = sim_broker_due_ms(w);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        const struct sim_node *node = &w->nodes[i];
        if (!node->is_alive || node->is_stopped)
            continue;
        if (node->wait.deadline_ms < next_ms)
            next_ms = node->wait.deadline_ms;
        if (node->drain_until_ms > 0 && node->drain_until_ms < next_ms)
            next_ms = node->drain_until_ms;
    }
    if (next_ms == INT64_MAX || next_ms <= w->now_ms)
        return false;
    w->now_ms = next_ms;
    return true;
}

/* --- faults ---------------------------------------------------------------------------------------------- */

static struct sim_node *any_node(struct sim_world *w)
{
    return &w->nodes[roll(w, w->options.nodes)];
}

static void crash(struct sim_world *w, struct sim_node *node)
{
    if (roll(w, 3) == 0 || node->is_stopped) {
        sim_happened(SIM_CRASH);
        sim_trace(w, "relay %u is KILLED between two steps", node->life);
        sim_node_kill(node);
    } else {
        node->crash_in = sim_between(&w->dice, 1, 12);
        node->crashes_after = roll(w, 2);
    }
}

static bool has_stopped(const struct sim_world *w)
{
    for (uint32_t i = 0; i < w->options.nodes; i++)
        if (w->nodes[i].is_stopped || w->nodes[i].stop_in > 0)
            return true;
    return false;
}

/* SIGSTOP, for as long as the others like. */
static void stop(struct sim_world *w, struct sim_node *node)
{
    if (node->is_stopped && roll(w, 20) == 0) {
        sim_trace(w, "relay %u goes on", node->life);
        node->is_stopped = false;
    }
    if (node->is_stopped || has_stopped(w) || !sim_chance(&w->dice, w->options.stop))
        return;
    if (roll(w, 2)) {
        node->stop_in = sim_between(&w->dice, 1, 12);
        return;
    }
    sim_happened(SIM_STOPPED);
    sim_trace(w, "relay %u is STOPPED", node->life);
    node->is_stopped = true;
}

static void drain(struct sim_world *w, struct sim_node *node)
{
    sim_trace(w, "drain relay %u", node->life);
    ow_relay_drain(&node->relay);
    node->drain_until_ms = w->now_ms + 300;
    node->is_first_step = true; /* the signal wakes it */
}

static void break_node(struct sim_world *w, struct sim_node *node)
{
    const struct sim_options *o = &w->options;
    if (node->is_inside_step || !node->is_alive)
        return;
    if (sim_chance(&w->dice, o->crash))
        crash(w, node);
    if (node->is_alive)
        stop(w, node);
    if (node->is_alive && !node->is_stopped && node->drain_until_ms == 0 && sim_chance(&w->dice, o->drain))
        drain(w, node);
}

static void break_server(struct sim_world *w)
{
    const struct sim_options *o = &w->options;
    struct sim_source *source = &any_node(w)->source;
    /* A server gives up on a reader that says nothing. */
    if (sim_chance(&w->dice, source->node->is_stopped ? 100 : o->cut))
        sim_log_cut(source);
    if (sim_chance(&w->dice, o->server_crash))
        sim_log_crash(w);
    if (sim_chance(&w->dice, o->tamper))
        sim_log_tamper(w);
}

static void fault(struct sim_world *w)
{
    const struct sim_options *o = &w->options;
    break_node(w, any_node(w));
    if (sim_chance(&w->dice, w->bus.has_trouble ? 100 : o->trouble)) {
        w->bus.has_trouble = !w->bus.has_trouble;
        sim_happened(SIM_TROUBLE);
        sim_trace(w, "broker has %s", w->bus.has_trouble ? "trouble" : "no trouble any more");
    }
    if (sim_chance(&w->dice, w->bus.is_down ? 150 : o->down)) {
        w->bus.is_down = !w->bus.is_down;
        sim_happened(SIM_BROKER_DOWN);
        sim_trace(w, "broker is %s", w->bus.is_down ? "down" : "up again");
    }
    if (o->is_log)
        break_server(w);
    if (!w->backup.is_taken && sim_chance(&w->dice, o->restore / 8))
        take_backup(w);
    if (!w->nodes[0].is_alive && w->backup.is_taken && sim_chance(&w->dice, o->restore))
        restore_backup(w);
}

static void calm_down(struct sim_world *w)
{
    sim_trace(w, "calm");
    w->is_calm = true;
    w->bus.is_down = w->bus.has_trouble = false;
    uint32_t survivor = roll(w, w->options.nodes);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        w->nodes[i].is_stopped = false;
        w->nodes[i].crash_in = w->nodes[i].stop_in = 0;
        if (i != survivor && w->nodes[i].is_alive)
            sim_node_kill(&w->nodes[i]);
    }
}

/* --- turns ----------------------------------------------------------------------------------------------- */

void sim_turn(struct sim_world *w)
{
    fault(w);
    uint32_t what = roll(w, 100);
    struct sim_node *node = any_node(w);
    if (node->is_stopped)
        node = &w->nodes[(uint32_t)node->number ^ 1];
    if (!node->is_alive) {
        if (what < 60)
            sim_node_start(node);
        else if (what < 90)
            write_something(w);
        else
            sim_broker_work(w);
    } else if (what < 45) {
        if (sim_node_is_awake(node) || roll(w, 10) == 0)
            sim_node_step(node);
        else if (!sim_broker_work(w))
            (void)advance_time(w);
    } else if (what < 65) {
        write_something(w);
    } else if (what < 92) {
        (void)sim_broker_work(w);
    } else {
        (void)advance_time(w);
    }
}

static bool is_finished(const struct sim_world *w, const struct sim_node *node)
{
    if (!node->is_alive || !ow_relay_is_idle(&node->relay) || (w->options.is_log && w->log.slot < w->log.end) ||
        sim_snapshot_is_due(w))
        return false;
    for (uint32_t i = 0; i < w->count; i++)
        if (w->messages[i].is_in_source)
            return false;
    return true;
}

static struct sim_node *survivor_of(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->options.nodes; i++)
        if (w->nodes[i].is_alive)
            return &w->nodes[i];
    return any_node(w);
}

static void calm_turn(struct sim_world *w, struct sim_node *node)
{
    if (!node->is_alive)
        sim_node_start(node);
    else if (sim_node_is_awake(node))
        sim_node_step(node);
    else if (!sim_broker_work(w) && !advance_time(w))
        sim_fail(w, "stuck: the relay waits, and nothing that it waits for will ever happen");
}

static void settle_down(struct sim_world *w)
{
    if (w->staged_count > 0)
        commit_staged(w);
    if (w->options.is_log)
        sim_log_commit_all(w);
    calm_down(w);
    struct sim_node *node = survivor_of(w);
    uint32_t turns_max = 600 + 80 * w->count + 2 * w->options.reconnect_ms;
    for (uint32_t n = 0; !w->has_failed && !is_finished(w, node); n++) {
        calm_turn(w, node);
        sim_check_now(w);
        if (n == turns_max) {
            sim_check_end(w, node);
            sim_fail(w, "stuck: %u turns of calm were not enough", turns_max);
        }
    }
    if (!w->has_failed)
        sim_check_end(w, node);
}

void sim_run(struct sim_world *w, uint64_t seed, bool traces)
{
    *w = (struct sim_world){.seed = seed,
                            .dice = {seed},
                            .traces = traces,
                            .next_seq = 1,
                            .now_ms = 1000,
                            .holder = SIM_NOBODY,
                            .last_holder = SIM_NOBODY,
                            .log = {.holder = SIM_NOBODY, .end = 100, .slot = 100, .durable_slot = 100}};
    roll_options(w);
    w->log.has_slot = !w->options.has_snapshot;
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        w->nodes[i].world = w;
        w->nodes[i].number = i;
        sim_source_init(&w->nodes[i].source, &w->nodes[i]);
        sim_broker_init(&w->nodes[i].broker, &w->nodes[i]);
    }
    for (uint32_t n = w->options.has_snapshot ? roll(w, 80) : 0; n > 0; n--)
        sim_log_write(w);
    for (uint32_t n = 0; !w->has_failed && (n < w->options.fault_events || w->written < w->options.messages); n++) {
        sim_turn(w);
        sim_check_now(w);
    }
    if (!w->has_failed)
        settle_down(w);
    for (uint32_t i = 0; i < SIM_NODES_MAX; i++)
        if (w->nodes[i].is_alive)
            sim_node_bury(&w->nodes[i]);
}
