/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/pipeline.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"

enum {
    DRAIN_MS_MAX = 5000,
    ASIDE_LINES_MAX = 20, /* in the log, per ASIDE_LINES_MS */
    ASIDE_LINES_MS = 1000,
};

struct ow_pipeline {
    struct ow_pipeline_options options;
    char *name, *from, *to;
    struct ow_relay relay;
    struct ow_error end;
    pthread_t thread;
    bool is_started;
    int stop_fd;
    atomic_bool has_ended;
    _Atomic int64_t stops_ms; /* when it was told to; 0: it was not */
    int64_t aside_since_ms;
    uint64_t aside_lines, aside_left_out;
    int64_t dropped_since_ms;
    uint64_t dropped_lines;
};

/* --- the log --------------------------------------------------------------------------------------- */

static void tell_left_out(struct ow_pipeline *p)
{
    char count[24];
    if (p->aside_left_out == 0)
        return;
    (void)snprintf(count, sizeof count, "%llu", (unsigned long long)p->aside_left_out);
    ow_log(OW_LOG_WARN, "more messages set aside", "relay", p->name, "messages", count, NULL);
    p->aside_left_out = 0;
}

/* A flood of dead letters must not become a flood of lines. */
static void tell_aside(struct ow_pipeline *p, const char *text)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now - p->aside_since_ms >= ASIDE_LINES_MS) {
        tell_left_out(p);
        p->aside_since_ms = now;
        p->aside_lines = 0;
    }
    if (p->aside_lines++ < ASIDE_LINES_MAX)
        ow_log(OW_LOG_WARN, "set aside as a dead letter", "relay", p->name, "reason", text, NULL);
    else
        p->aside_left_out++;
}

static void tell_dropped(struct ow_pipeline *p, enum ow_log_level level, const char *text)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now - p->dropped_since_ms >= ASIDE_LINES_MS) {
        p->dropped_since_ms = now;
        p->dropped_lines = 0;
    }
    if (p->dropped_lines++ < ASIDE_LINES_MAX)
        ow_log(level, "dropped", "relay", p->name, "reason", text, NULL);
}

static void on_event(void *context, enum ow_relay_event event, const char *text)
{
    struct ow_pipeline *p = context;
    switch (event) {
    case OW_RELAY_STANDBY:
        ow_log(OW_LOG_INFO, "standing by", "relay", p->name, "reason", text, NULL);
        break;
    case OW_RELAY_WORKING:
        ow_log(OW_LOG_INFO, "working", "relay", p->name, "from", p->from, "to", p->to, NULL);
        break;
    case OW_RELAY_TROUBLE:
        ow_log(OW_LOG_WARN, "in trouble, trying again", "relay", p->name, "error", text, NULL);
        break;
    case OW_RELAY_BACK:
        ow_log(OW_LOG_INFO, "out of trouble", "relay", p->name, NULL);
        break;
    case OW_RELAY_ASIDE:
        tell_aside(p, text);
        break;
    case OW_RELAY_DROPPED:
    case OW_RELAY_MISUSED:
        tell_dropped(p, event == OW_RELAY_DROPPED ? OW_LOG_WARN : OW_LOG_ERROR, text);
        break;
    case OW_RELAY_WENT_BACK:
        ow_log(OW_LOG_WARN, "the source went back in time", "relay", p->name, "reason", text, NULL);
        break;
    }
}

/* In the middle of a step, too: who was told to stop has so long. */
static bool may_wait(void *context)
{
    struct ow_pipeline *p = context;
    int64_t stops_ms = atomic_load(&p->stops_ms);
    return !stops_ms || ow_clock_monotonic_ms() < stops_ms + DRAIN_MS_MAX;
}

static void tell_end(struct ow_pipeline *p, int r)
{
    const struct ow_relay_counters *c = &p->relay.counters;
    char accepted[24], aside[24];
    tell_left_out(p);
    (void)snprintf(accepted, sizeof accepted, "%llu", (unsigned long long)c->accepted);
    (void)snprintf(aside, sizeof aside, "%llu", (unsigned long long)c->set_aside);
    if (r < 0)
        ow_log(OW_LOG_ERROR, "stopped by an error", "relay", p->name, "error", p->end.text, "accepted", accepted,
               "set_aside", aside, NULL);
    else
        ow_log(OW_LOG_INFO, "stopped", "relay", p->name, "accepted", accepted, "set_aside", aside, NULL);
}

/* --- the thread ------------------------------------------------------------------------------------ */

static int run(struct ow_pipeline *p, struct ow_error *err)
{
    struct ow_wait wait;
    int64_t drain_until_ms = OW_WAIT_FOR_EVER;
    for (;;) {
        if (atomic_load(&p->stops_ms) && drain_until_ms == OW_WAIT_FOR_EVER) {
            drain_until_ms = atomic_load(&p->stops_ms) + DRAIN_MS_MAX;
            ow_relay_drain(&p->relay);
        }
        int r = ow_relay_step(&p->relay, &wait, err);
        if (r < 0)
            return r;
        bool is_idle = ow_relay_is_idle(&p->relay);
        if (is_idle && (p->options.ends_when_idle || drain_until_ms != OW_WAIT_FOR_EVER))
            return 0;
        if (ow_clock_monotonic_ms() >= drain_until_ms)
            return 0; /* what is still in flight is sent again at the next start */
        if (drain_until_ms == OW_WAIT_FOR_EVER)
            ow_wait_add(&wait, p->stop_fd, POLLIN);
        ow_wait_until(&wait, drain_until_ms);
        ow_wait_sleep(&wait);
    }
}

static void *thread_main(void *context)
{
    struct ow_pipeline *p = context;
    uint64_t one = 1;
    int r = run(p, &p->end);
    tell_end(p, r);
    ow_relay_done(&p->relay);
    atomic_store(&p->has_ended, true);
    if (p->options.ended_fd >= 0 && write(p->options.ended_fd, &one, sizeof one) < 0) {
        /* The counter is full: whoever waits is awake already. */
    }
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------------ */

int ow_pipeline_new(const struct ow_pipeline_options *options, struct ow_pipeline **ret, struct ow_error *err)
{
    struct ow_pipeline *p = calloc(1, sizeof *p);
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
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->options.relay.listener = on_event;
    p->options.relay.listener_context = p;
    int r = p->name && p->from && p->to && p->stop_fd >= 0 ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    p->options.relay.may_wait = may_wait;
    if (r == 0)
        r = ow_relay_init(&p->relay, &p->options.relay, p->options.source, p->options.broker, err);
    if (r < 0) {
        ow_pipeline_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

int ow_pipeline_open(struct ow_pipeline *p, struct ow_error *err)
{
    int r = ow_relay_start(&p->relay, err);
    if (r == OW_ENOTFOUND || r == OW_EBUSY)
        err->code = r = OW_EUNREACHABLE;
    return r;
}

int ow_pipeline_start(struct ow_pipeline *p, struct ow_error *err)
{
    int result = pthread_create(&p->thread, NULL, thread_main, p);
    if (result != 0)
        return ow_error_errno(err, result, "cannot start a thread for relay %s", p->name);
    p->is_started = true;
    return 0;
}

void ow_pipeline_stop(struct ow_pipeline *p)
{
    uint64_t one = 1;
    if (!atomic_load(&p->stops_ms))
        atomic_store(&p->stops_ms, ow_clock_monotonic_ms());
    if (write(p->stop_fd, &one, sizeof one) < 0) {
        /* The counter is full: it is awake already. */
    }
}

bool ow_pipeline_has_ended(const struct ow_pipeline *p)
{
    return atomic_load(&p->has_ended);
}

int ow_pipeline_join(struct ow_pipeline *p, struct ow_error *err)
{
    if (p->is_started)
        (void)pthread_join(p->thread, NULL);
    p->is_started = false;
    return p->end.code < 0 ? ow_error_set(err, p->end.code, "%s", p->end.text) : 0;
}

void ow_pipeline_free(struct ow_pipeline *p)
{
    struct ow_error ignored;
    if (!p)
        return;
    if (p->is_started) {
        ow_pipeline_stop(p);
        (void)ow_pipeline_join(p, &ignored);
    }
    ow_relay_done(&p->relay);
    p->options.source->ops->discard(p->options.source);
    p->options.broker->ops->discard(p->options.broker);
    if (p->options.free_shape)
        p->options.free_shape(p->options.relay.shape_context);
    if (p->stop_fd >= 0)
        (void)close(p->stop_fd);
    free(p->name);
    free(p->from);
    free(p->to);
    free(p);
}
