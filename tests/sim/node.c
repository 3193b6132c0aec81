/* SPDX-License-Identifier: Apache-2.0 */
/* A process with a relay in it: it starts, works, is stopped and goes on, drains, is killed. */
#include "world.h"

#include <stdio.h>

static int64_t now_ms(void *context)
{
    return ((struct sim_node *)context)->world->now_ms;
}

static double dice(void *context)
{
    return sim_fraction(&((struct sim_node *)context)->world->dice);
}

static void listen(void *context, enum ow_relay_event event, const char *text)
{
    static const char *const names[] = {"standby", "working", "notice",  "trouble",  "back",
                                        "aside",   "dropped", "misused", "went back"};
    const struct sim_node *node = context;
    struct sim_world *w = node->world;
    sim_trace(w, "relay %u says: %s %s", node->life, names[event], text);
    if (event == OW_RELAY_WENT_BACK && w->has_restored)
        sim_happened(SIM_WENT_BACK);
    else if (event == OW_RELAY_WENT_BACK && w->options.unwanted == 0)
        sim_fail(w, "a false alarm: %s", text); /* what was set aside stands before a position and is unknown, too */
}

void sim_node_bury(struct sim_node *node)
{
    ow_relay_done(&node->relay);
    sim_source_forget(&node->source);
    sim_broker_forget(&node->broker);
    node->broker.unfit = 0;
    node->broker.has_place = false;
    node->broker.fenced_at = 0;
    node->is_alive = node->is_dead = node->has_permanent = node->is_stopped = false;
    node->crash_in = node->stop_in = 0;
    node->drain_until_ms = 0;
}

void sim_node_kill(struct sim_node *node)
{
    node->is_dead = true;
    sim_node_bury(node);
}

void sim_node_start(struct sim_node *node)
{
    struct sim_world *w = node->world;
    struct ow_relay_options options;
    struct ow_error err = {0};
    ow_relay_options_default(&options);
    options.window = (struct ow_window_limits){.count_max = w->options.window_count,
                                               .bytes_max = w->options.window_bytes};
    options.retry = (struct ow_retry_policy){
        .initial_ms = 10, .max_ms = 200, .multiplier = 2, .jitter = 0.2, .attempts_max = w->options.attempts_max};
    options.reconnect = (struct ow_retry_policy){.initial_ms = w->options.reconnect_ms,
                                                 .max_ms = 4 * (int64_t)w->options.reconnect_ms,
                                                 .multiplier = 2,
                                                 .jitter = 0.2};
    options.retry.elapsed_max_ms = w->options.elapsed_max_ms;
    options.parks = w->options.parks;
    options.refresh_ms = w->options.refresh_ms;
    options.world = (struct ow_world){now_ms, dice, node};
    options.listener = listen;
    options.listener_context = node;
    options.ends_at_end = w->options.ends_at_end;
    options.shape = w->options.shapes ? sim_shape : NULL;
    options.shape_context = w;
    node->life = node->born = ++w->lives;
    sim_trace(w, "relay %u starts", node->life);
    if (ow_relay_init(&node->relay, &options, &node->source.base, &node->broker.base, &err) < 0) {
        sim_fail(w, "ow_relay_init: %s", err.text);
        return;
    }
    node->is_alive = node->is_first_step = true;
    if (w->options.uses_start && ow_relay_start(&node->relay, &err) < 0) {
        sim_trace(w, "relay cannot start: %s", err.text);
        sim_node_bury(node);
    }
}

void sim_node_step(struct sim_node *node)
{
    struct sim_world *w = node->world;
    struct ow_error err = {0};
    node->is_first_step = false;
    node->is_inside_step = true;
    int r = ow_relay_step(&node->relay, &node->wait, &err);
    node->is_inside_step = false;
    if (node->is_dead) {
        sim_node_bury(node);
    } else if (r < 0) {
        if (!node->has_permanent)
            sim_fail(w, "ow_relay_step ended without a cause: %s", err.text);
        sim_trace(w, "relay %u ends: %s", node->life, err.text);
        sim_node_bury(node);
    } else if (node->drain_until_ms > 0 && (ow_relay_is_idle(&node->relay) || w->now_ms >= node->drain_until_ms)) {
        sim_happened(ow_relay_is_idle(&node->relay) ? SIM_DRAIN : SIM_DRAIN_LATE);
        sim_trace(w, "relay %u is drained", node->life);
        sim_node_bury(node);
    }
}

static bool waits_for(const struct sim_node *node, int fd)
{
    for (unsigned i = 0; i < node->wait.count; i++)
        if (node->wait.fds[i].fd == fd)
            return true;
    return false;
}

bool sim_node_is_awake(const struct sim_node *node)
{
    int64_t now = node->world->now_ms;
    return node->is_first_step || now >= node->wait.deadline_ms ||
           (node->drain_until_ms > 0 && now >= node->drain_until_ms) ||
           (waits_for(node, SIM_SOURCE_FD) && sim_source_has_news(&node->source)) ||
           (waits_for(node, SIM_BROKER_FD) && sim_broker_has_news(&node->broker));
}

bool sim_node_holds(const struct sim_node *node)
{
    const struct sim_world *w = node->world;
    if (w->options.is_log)
        return w->log.holder == node->number && !node->source.is_cut;
    return w->holder == node->number && w->epoch == node->source.epoch;
}
