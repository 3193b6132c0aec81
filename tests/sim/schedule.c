/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One schedule: at each turn one thing happens, chosen by the dice. When the messages are written and the
 * faults are used up, calm comes, and the relay has a bounded number of turns to bring all of it to an end.
 * In calm it runs only when something that it said it waits for has happened, so that a wake-up that it
 * forgot to ask for shows as a schedule that is stuck.
 */
#include "world.h"

#include <stdio.h>

#include "core/mutant.h"

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
    o->kind = (enum sim_kind)roll(w, SIM_KIND_COUNT);
    o->messages = sim_between(&w->dice, 12, 40);
    o->keys = sim_between(&w->dice, 1, SIM_KEYS_MAX);
    o->window_count = sim_between(&w->dice, 1, 8);
    o->window_bytes = roll(w, 3) ? 1 << 20 : 400 + roll(w, 1500);
    o->capacity = roll(w, 2) ? 1000 : sim_between(&w->dice, 1, 4);
    o->attempts_max = roll(w, 4) ? 0 : sim_between(&w->dice, 2, 4);
    o->fault_events = sim_between(&w->dice, 60, 200);
    o->uses_start = roll(w, 2);
    o->has_long_memory = roll(w, 2);
    o->poison = rate(w, 100);
    o->unwanted = rate(w, 100);
    o->oversize = rate(w, 100);
    o->rollback = rate(w, 300);
    o->drop = rate(w, 200);
    o->slow_ack = rate(w, 300);
    o->lost_ack = rate(w, 150);
    o->late_ack = rate(w, 150);
    o->double_receipt = rate(w, 200);
    o->fail_broker = rate(w, 60);
    o->fail_source = rate(w, 60);
    o->permanent = rate(w, 60);
    o->crash = rate(w, 60);
    o->down = rate(w, 30);
    o->takeover = rate(w, 60);
    o->restore = rate(w, 300);
    o->drain = rate(w, 20);
}

void sim_describe(const struct sim_options *o, char *to, size_t size)
{
    static const char *const kinds[] = {"ordered", "unordered", "transactions"};
    (void)snprintf(to, size,
                   "broker=%s messages=%u keys=%u window=%u/%zuB capacity=%u attempts_max=%u poison=%u unwanted=%u "
                   "drop=%u slow_ack=%u lost_ack=%u late_ack=%u double_receipt=%u fail_broker=%u fail_source=%u "
                   "permanent=%u crash=%u down=%u takeover=%u restore=%u drain=%u",
                   kinds[o->kind], o->messages, o->keys, o->window_count, o->window_bytes, o->capacity, o->attempts_max,
                   o->poison, o->unwanted, o->drop, o->slow_ack, o->lost_ack, o->late_ack, o->double_receipt,
                   o->fail_broker, o->fail_source, o->permanent, o->crash, o->down, o->takeover, o->restore, o->drain);
}

/* --- the relay's life -------------------------------------------------------------------------------- */

static int64_t now_ms(void *context)
{
    return ((struct sim_world *)context)->now_ms;
}

static double dice(void *context)
{
    return sim_fraction(&((struct sim_world *)context)->dice);
}

static void listen(void *context, enum ow_relay_event event, const char *text)
{
    static const char *const names[] = {"standby", "working", "trouble", "back", "aside", "went back"};
    struct sim_world *w = context;
    sim_trace(w, "relay says: %s %s", names[event], text);
    if (event == OW_RELAY_WENT_BACK && w->has_restored)
        sim_happened(SIM_WENT_BACK);
    else if (event == OW_RELAY_WENT_BACK && w->options.unwanted == 0)
        sim_fail(w, "a false alarm: %s", text); /* a rejected message stands before a position and is unknown, too */
}

static void bury_relay(struct sim_world *w)
{
    ow_relay_done(&w->relay);
    sim_source_forget(&w->source);
    sim_broker_forget(&w->broker);
    w->is_relay_alive = w->is_dead = w->has_permanent = false;
    w->crash_in = 0;
    w->drain_until_ms = 0;
}

static void give_birth(struct sim_world *w)
{
    struct ow_relay_options options;
    struct ow_error err = {0};
    ow_relay_options_default(&options);
    options.window = (struct ow_window_limits){.count_max = w->options.window_count,
                                               .bytes_max = w->options.window_bytes};
    options.retry = (struct ow_retry_policy){
        .initial_ms = 10, .max_ms = 200, .multiplier = 2, .jitter = 0.2, .attempts_max = w->options.attempts_max};
    options.reconnect = (struct ow_retry_policy){.initial_ms = 10, .max_ms = 100, .multiplier = 2, .jitter = 0.2};
    options.world = (struct ow_world){now_ms, dice, w};
    options.listener = listen;
    options.listener_context = w;
    w->life++;
    sim_trace(w, "relay %u starts", w->life);
    if (ow_relay_init(&w->relay, &options, &w->source.base, &w->broker.base, &err) < 0) {
        sim_fail(w, "ow_relay_init: %s", err.text);
        return;
    }
    w->is_relay_alive = w->is_first_step = true;
    if (w->options.uses_start && ow_relay_start(&w->relay, &err) < 0) {
        sim_trace(w, "relay cannot start: %s", err.text);
        bury_relay(w);
    }
}

static void step_relay(struct sim_world *w)
{
    struct ow_error err = {0};
    w->is_first_step = false;
    int r = ow_relay_step(&w->relay, &w->wait, &err);
    if (w->is_dead) {
        bury_relay(w);
    } else if (r < 0) {
        if (!w->has_permanent)
            sim_fail(w, "ow_relay_step ended without a cause: %s", err.text);
        sim_trace(w, "relay ends: %s", err.text);
        bury_relay(w);
    } else if (w->drain_until_ms > 0 && (ow_relay_is_idle(&w->relay) || w->now_ms >= w->drain_until_ms)) {
        sim_happened(ow_relay_is_idle(&w->relay) ? SIM_DRAIN : SIM_DRAIN_LATE);
        bury_relay(w);
    }
}

static bool waits_for(const struct sim_world *w, int fd)
{
    for (unsigned i = 0; i < w->wait.count; i++)
        if (w->wait.fds[i].fd == fd)
            return true;
    return false;
}

static bool is_relay_awake(const struct sim_world *w)
{
    return w->is_first_step || w->now_ms >= w->wait.deadline_ms ||
           (w->drain_until_ms > 0 && w->now_ms >= w->drain_until_ms) ||
           (waits_for(w, SIM_SOURCE_FD) && sim_source_has_news(&w->source)) ||
           (waits_for(w, SIM_BROKER_FD) && sim_broker_has_news(&w->broker));
}

/* --- the world goes on --------------------------------------------------------------------------------- */

static void commit_staged(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->staged_count; i++) {
        const struct sim_staged *staged = &w->staged[i];
        struct sim_message *m = &w->messages[w->count];
        *m = (struct sim_message){.seq = w->next_seq++,
                                  .key = staged->key,
                                  .is_poison = staged->is_poison,
                                  .is_unwanted = staged->is_unwanted,
                                  .is_in_source = true,
                                  .payload_size = staged->is_oversize ? 2000 : w->count % 7};
        (void)snprintf(m->id, sizeof m->id, "m%u", w->count);
        (void)snprintf(m->aggregate_id, sizeof m->aggregate_id, "k%u", m->key);
        sim_trace(w, "committed %s%s%s (seq %llu, key %u)", m->id, m->is_poison ? ", poison" : "",
                  m->is_unwanted ? ", unwanted" : "", (unsigned long long)m->seq, m->key);
        if (m->is_poison)
            sim_happened(SIM_POISON);
        w->count++;
    }
    sim_happened(SIM_COMMIT);
    w->staged_count = 0;
}

static void write_something(struct sim_world *w)
{
    const struct sim_options *o = &w->options;
    bool has_more = w->written < o->messages;
    if (has_more && w->staged_count < SIM_STAGED_MAX && (w->staged_count == 0 || roll(w, 2))) {
        w->staged[w->staged_count++] = (struct sim_staged){
            .key = roll(w, 10) ? roll(w, o->keys) : SIM_KEYS_MAX - 1,
            .is_poison = sim_chance(&w->dice, o->poison),
            .is_unwanted = sim_chance(&w->dice, o->unwanted),
            .is_oversize = sim_chance(&w->dice, o->oversize),
        };
        w->written++;
    } else if (w->staged_count > 0 && sim_chance(&w->dice, o->rollback)) {
        sim_happened(SIM_ROLLBACK);
        w->staged_count = 0;
    } else if (w->staged_count > 0) {
        commit_staged(w);
    }
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
    int64_t next_ms = sim_broker_due_ms(&w->broker);
    if (w->is_relay_alive && w->wait.deadline_ms < next_ms)
        next_ms = w->wait.deadline_ms;
    if (w->drain_until_ms > 0 && w->drain_until_ms < next_ms)
        next_ms = w->drain_until_ms;
    if (next_ms == INT64_MAX || next_ms <= w->now_ms)
        return false;
    w->now_ms = next_ms;
    return true;
}

/* --- faults ---------------------------------------------------------------------------------------------- */

static void kill_relay(struct sim_world *w)
{
    if (roll(w, 3) == 0) {
        sim_happened(SIM_CRASH);
        sim_trace(w, "KILLED between two steps");
        w->is_dead = true;
        bury_relay(w);
    } else {
        w->crash_in = sim_between(&w->dice, 1, 12);
        w->crashes_after = roll(w, 2);
    }
}

static void fault(struct sim_world *w)
{
    const struct sim_options *o = &w->options;
    if (w->is_relay_alive && sim_chance(&w->dice, o->crash))
        kill_relay(w);
    if (sim_chance(&w->dice, w->broker.is_down ? 150 : o->down)) {
        w->broker.is_down = !w->broker.is_down;
        sim_happened(SIM_BROKER_DOWN);
        sim_trace(w, "broker is %s", w->broker.is_down ? "down" : "up again");
    }
    if (w->source.has_other_holder) {
        if (roll(w, 4) == 0) {
            sim_happened(SIM_TAKEOVER);
            sim_source_other_relay(&w->source);
        }
        w->source.has_other_holder = roll(w, 6) != 0;
    } else if (!w->source.is_open && sim_chance(&w->dice, o->takeover)) {
        w->source.has_other_holder = true;
    }
    if (w->is_relay_alive && w->drain_until_ms == 0 && sim_chance(&w->dice, o->drain)) {
        sim_trace(w, "drain");
        ow_relay_drain(&w->relay);
        w->drain_until_ms = w->now_ms + 300;
        w->is_first_step = true; /* the signal wakes it */
    }
    if (!w->backup.is_taken && sim_chance(&w->dice, o->restore / 8))
        take_backup(w);
    if (!w->is_relay_alive && w->backup.is_taken && !w->source.has_other_holder && sim_chance(&w->dice, o->restore))
        restore_backup(w);
}

static void calm_down(struct sim_world *w)
{
    sim_trace(w, "calm");
    w->is_calm = true;
    w->broker.is_down = w->source.has_other_holder = false;
    w->crash_in = 0;
}

/* --- turns ----------------------------------------------------------------------------------------------- */

static void turn(struct sim_world *w)
{
    fault(w);
    uint32_t what = roll(w, 100);
    if (!w->is_relay_alive) {
        if (what < 60)
            give_birth(w);
        else if (what < 90)
            write_something(w);
        else
            sim_broker_work(&w->broker);
    } else if (what < 45) {
        if (is_relay_awake(w) || roll(w, 10) == 0)
            step_relay(w);
        else if (!sim_broker_work(&w->broker))
            (void)advance_time(w);
    } else if (what < 65) {
        write_something(w);
    } else if (what < 92) {
        (void)sim_broker_work(&w->broker);
    } else {
        (void)advance_time(w);
    }
}

static bool is_finished(const struct sim_world *w)
{
    if (!w->is_relay_alive || !ow_relay_is_idle(&w->relay))
        return false;
    for (uint32_t i = 0; i < w->count; i++)
        if (w->messages[i].is_in_source)
            return false;
    return true;
}

static void calm_turn(struct sim_world *w)
{
    if (!w->is_relay_alive)
        give_birth(w);
    else if (is_relay_awake(w))
        step_relay(w);
    else if (!sim_broker_work(&w->broker) && !advance_time(w))
        sim_fail(w, "stuck: the relay waits, and nothing that it waits for will ever happen");
}

void sim_run(struct sim_world *w, uint64_t seed, bool traces)
{
    *w = (struct sim_world){.seed = seed, .dice = {seed}, .traces = traces, .next_seq = 1, .now_ms = 1000};
    roll_options(w);
    sim_source_init(&w->source, w);
    sim_broker_init(&w->broker, w);
    for (uint32_t n = 0; !w->has_failed && (n < w->options.fault_events || w->written < w->options.messages); n++) {
        turn(w);
        sim_check_now(w);
    }
    if (w->staged_count > 0)
        commit_staged(w);
    calm_down(w);
    uint32_t turns_max = 200 + 60 * w->count;
    for (uint32_t n = 0; !w->has_failed && !is_finished(w); n++) {
        calm_turn(w);
        sim_check_now(w);
        if (n == turns_max)
            sim_fail(w, "stuck: %u turns of calm were not enough", turns_max);
    }
    if (!w->has_failed)
        sim_check_end(w);
    if (w->is_relay_alive)
        bury_relay(w);
}
