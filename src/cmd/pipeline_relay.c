/* SPDX-License-Identifier: Apache-2.0 */
/* A relay, as the work of a pipeline; what happens is told to the log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "cmd/pipeline.h"

enum {
    ASIDE_LINES_MAX = 20, /* in the log, per ASIDE_LINES_MS */
    ASIDE_LINES_MS = 1000,
};

struct relay {
    struct ow_work work;
    struct ow_relay_pipeline_options options;
    char *name, *from, *to;
    struct ow_relay relay;
    int64_t aside_since_ms;
    uint64_t aside_lines, aside_left_out;
    int64_t dropped_since_ms;
    uint64_t dropped_lines;
    uint64_t troubles;
    char trouble[400]; /* the last, or why it stands by */
};

/* --- the log --------------------------------------------------------------------------------------- */

static void tell_left_out(struct relay *p)
{
    char count[24];
    if (p->aside_left_out == 0)
        return;
    (void)snprintf(count, sizeof count, "%llu", (unsigned long long)p->aside_left_out);
    ow_log(OW_LOG_WARN, "more messages set aside", "relay", p->work.name, "messages", count, NULL);
    p->aside_left_out = 0;
}

/* A flood of dead letters must not become a flood of lines. */
static void tell_aside(struct relay *p, const char *text)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now - p->aside_since_ms >= ASIDE_LINES_MS) {
        tell_left_out(p);
        p->aside_since_ms = now;
        p->aside_lines = 0;
    }
    if (p->aside_lines++ < ASIDE_LINES_MAX)
        ow_log(OW_LOG_WARN, "set aside as a dead letter", "relay", p->work.name, "reason", text, NULL);
    else
        p->aside_left_out++;
}

static void tell_dropped(struct relay *p, enum ow_log_level level, const char *text)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now - p->dropped_since_ms >= ASIDE_LINES_MS) {
        p->dropped_since_ms = now;
        p->dropped_lines = 0;
    }
    if (p->dropped_lines++ < ASIDE_LINES_MAX)
        ow_log(level, "dropped", "relay", p->work.name, "reason", text, NULL);
}

static void on_event(void *context, enum ow_relay_event event, const char *text)
{
    struct relay *p = context;
    p->troubles += event == OW_RELAY_TROUBLE;
    if (event == OW_RELAY_TROUBLE || event == OW_RELAY_STANDBY)
        (void)snprintf(p->trouble, sizeof p->trouble, "%s", text);
    switch (event) {
    case OW_RELAY_STANDBY:
        ow_log(OW_LOG_INFO, "standing by", "relay", p->work.name, "reason", text, NULL);
        break;
    case OW_RELAY_WORKING:
        ow_log(OW_LOG_INFO, "working", "relay", p->work.name, "from", p->from, "to", p->to, NULL);
        break;
    case OW_RELAY_NOTICE:
        ow_log(OW_LOG_WARN, "worth a look", "relay", p->work.name, "notice", text, NULL);
        break;
    case OW_RELAY_TROUBLE:
        ow_log(OW_LOG_WARN, "in trouble, trying again", "relay", p->work.name, "error", text, NULL);
        break;
    case OW_RELAY_BACK:
        ow_log(OW_LOG_INFO, "out of trouble", "relay", p->work.name, NULL);
        break;
    case OW_RELAY_ASIDE:
        tell_aside(p, text);
        break;
    case OW_RELAY_DROPPED:
    case OW_RELAY_MISUSED:
        tell_dropped(p, event == OW_RELAY_DROPPED ? OW_LOG_WARN : OW_LOG_ERROR, text);
        break;
    case OW_RELAY_WENT_BACK:
        ow_log(OW_LOG_WARN, "the source went back in time", "relay", p->work.name, "reason", text, NULL);
        break;
    }
}

/* In the middle of a step, too: who was told to stop has so long. */
static bool may_wait(void *context)
{
    struct relay *p = context;
    return ow_pipeline_may_wait(p->work.pipeline);
}

static void tell_end(struct ow_work *work, const struct ow_error *end)
{
    struct relay *p = (struct relay *)work;
    const struct ow_relay_counters *c = &p->relay.counters;
    char accepted[24], aside[24];
    tell_left_out(p);
    (void)snprintf(accepted, sizeof accepted, "%llu", (unsigned long long)c->accepted);
    (void)snprintf(aside, sizeof aside, "%llu", (unsigned long long)c->set_aside);
    if (end->code < 0)
        ow_log(OW_LOG_ERROR, "stopped by an error", "relay", p->work.name, "error", end->text, "accepted", accepted,
               "set_aside", aside, NULL);
    else
        ow_log(OW_LOG_INFO, "stopped", "relay", p->work.name, "accepted", accepted, "set_aside", aside, NULL);
}

/* --- the work -------------------------------------------------------------------------------------- */

static int relay_open(struct ow_work *work, struct ow_error *err)
{
    return ow_relay_start(&((struct relay *)work)->relay, err);
}

static int relay_step(struct ow_work *work, struct ow_wait *wait, struct ow_error *err)
{
    return ow_relay_step(&((struct relay *)work)->relay, wait, err);
}

static void relay_drain(struct ow_work *work)
{
    ow_relay_drain(&((struct relay *)work)->relay);
}

static bool relay_is_idle(struct ow_work *work)
{
    return ow_relay_is_idle(&((struct relay *)work)->relay);
}

static void relay_look(struct ow_work *work, const struct ow_error *end, struct ow_snapshot *ret)
{
    struct relay *p = (struct relay *)work;
    struct ow_relay_view view;
    p->options.source->is_watched = true;
    ow_relay_look(&p->relay, &view);
    *ret = (struct ow_snapshot){.state = end && end->code < 0  ? OW_WORK_FAILED
                                         : end                 ? OW_WORK_STOPPED
                                         : view.is_standing_by ? OW_WORK_STANDBY
                                         : view.has_trouble    ? OW_WORK_TROUBLE
                                         : view.is_working     ? OW_WORK_WORKING
                                                               : OW_WORK_STARTING,
                                .troubles = p->troubles,
                                .in_flight = view.messages,
                                .bytes = view.bytes,
                                .retained_bytes = view.retained_bytes,
                                .oldest_ms = view.oldest_ms,
                                .relay = p->relay.counters};
    const char *why = ret->state == OW_WORK_FAILED                                     ? end->text
                      : ret->state == OW_WORK_STANDBY || ret->state == OW_WORK_TROUBLE ? p->trouble
                                                                                       : "";
    (void)snprintf(ret->trouble, sizeof ret->trouble, "%.*s", (int)sizeof ret->trouble - 1, why);
}

static void relay_close(struct ow_work *work)
{
    ow_relay_done(&((struct relay *)work)->relay);
}

static void relay_free(struct ow_work *work)
{
    struct relay *p = (struct relay *)work;
    ow_relay_done(&p->relay);
    p->options.source->ops->discard(p->options.source);
    p->options.broker->ops->discard(p->options.broker);
    if (p->options.free_shape)
        p->options.free_shape(p->options.relay.shape_context);
    free(p->name);
    free(p->from);
    free(p->to);
    free(p);
}

static const struct ow_work_ops relay_ops = {
    .what = "relay",
    .open = relay_open,
    .step = relay_step,
    .drain = relay_drain,
    .is_idle = relay_is_idle,
    .look = relay_look,
    .tell_end = tell_end,
    .close = relay_close,
    .free = relay_free,
};

int ow_relay_pipeline_new(const struct ow_relay_pipeline_options *options, struct ow_pipeline **ret,
                          struct ow_error *err)
{
    struct relay *p = calloc(1, sizeof *p);
    if (!p) {
        options->source->ops->discard(options->source);
        options->broker->ops->discard(options->broker);
        if (options->free_shape)
            options->free_shape(options->relay.shape_context);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    p->options = *options;
    p->name = strdup(options->name);
    p->from = strdup(options->from);
    p->to = strdup(options->to);
    p->work = (struct ow_work){.ops = &relay_ops, .kind = OW_WORK_RELAY, .name = p->name, .from = p->from, .to = p->to};
    p->options.relay.listener = on_event;
    p->options.relay.listener_context = p;
    p->options.relay.may_wait = may_wait;
    int r = p->name && p->from && p->to ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0)
        r = ow_relay_init(&p->relay, &p->options.relay, p->options.source, p->options.broker, err);
    if (r < 0) {
        relay_free(&p->work);
        return r;
    }
    return ow_pipeline_new(&p->work, options->ends_when_idle, options->ended_fd, ret, err);
}
