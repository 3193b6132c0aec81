/* SPDX-License-Identifier: Apache-2.0 */
/* A consumer, as the work of a pipeline; what happens is told to the log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "cmd/pipeline.h"

enum {
    ASIDE_LINES_MAX = 20, /* in the log, per ASIDE_LINES_MS */
    ASIDE_LINES_MS = 1000,
    SAID_LINES_MAX = 100, /* likewise, of a handler's program */
};

struct consumer {
    struct ow_work work;
    struct ow_consumer_parts parts;
    struct ow_consumer consumer;
    char *name, *from;
    bool is_done;
    int64_t aside_since_ms;
    uint64_t aside_lines, aside_left_out;
    int64_t said_since_ms;
    uint64_t said_lines, said_left_out;
    uint64_t troubles;
    char trouble[400];        /* the last */
    struct ow_place_at *told; /* where it stood when that was told last */
    size_t told_count;
};

/* --- the log ----------------------------------------------------------------------------------------- */

static void tell_left_out(struct consumer *c)
{
    char count[24];
    if (c->aside_left_out == 0)
        return;
    (void)snprintf(count, sizeof count, "%" PRIu64, c->aside_left_out);
    ow_log(OW_LOG_WARN, "more messages set aside", "consumer", c->name, "messages", count, NULL);
    c->aside_left_out = 0;
}

/* A flood of dead letters must not become a flood of lines. */
static void tell_aside(struct consumer *c, const char *text)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now - c->aside_since_ms >= ASIDE_LINES_MS) {
        tell_left_out(c);
        c->aside_since_ms = now;
        c->aside_lines = 0;
    }
    if (c->aside_lines++ < ASIDE_LINES_MAX)
        ow_log(OW_LOG_WARN, "set aside as a dead letter", "consumer", c->name, "reason", text, NULL);
    else
        c->aside_left_out++;
}

static void tell_unsaid(struct consumer *c)
{
    char count[24];
    if (c->said_left_out == 0)
        return;
    (void)snprintf(count, sizeof count, "%" PRIu64, c->said_left_out);
    ow_log(OW_LOG_WARN, "more lines of the handler", "consumer", c->name, "lines", count, NULL);
    c->said_left_out = 0;
}

/* What the handler's program writes is as much as it likes. */
static void on_handler(void *context, bool is_output, const char *text)
{
    struct consumer *c = context;
    int64_t now = ow_clock_monotonic_ms();
    if (now - c->said_since_ms >= ASIDE_LINES_MS) {
        tell_unsaid(c);
        c->said_since_ms = now;
        c->said_lines = 0;
    }
    if (c->said_lines++ >= SAID_LINES_MAX)
        c->said_left_out++;
    else if (is_output)
        ow_log(OW_LOG_INFO, "the handler writes", "consumer", c->name, "line", text, NULL);
    else
        ow_log(OW_LOG_WARN, "the handler", "consumer", c->name, "error", text, NULL);
}

static void on_filter(void *context, bool is_trouble, const char *text)
{
    struct consumer *c = context;
    if (is_trouble)
        ow_log(OW_LOG_WARN, "the filter is left out", "consumer", c->name, "error", text, NULL);
    else
        ow_log(OW_LOG_INFO, "the filter works again", "consumer", c->name, "filter", text, NULL);
}

static void on_event(void *context, enum ow_consumer_event event, const char *text)
{
    struct consumer *c = context;
    c->troubles += event == OW_CONSUMER_TROUBLE;
    if (event == OW_CONSUMER_TROUBLE)
        (void)snprintf(c->trouble, sizeof c->trouble, "%s", text);
    switch (event) {
    case OW_CONSUMER_WORKING:
        ow_log(OW_LOG_INFO, "working", "consumer", c->name, "from", c->from, "handler", c->parts.handler->ops->name,
               NULL);
        break;
    case OW_CONSUMER_TROUBLE:
        ow_log(OW_LOG_WARN, "in trouble, trying again", "consumer", c->name, "error", text, NULL);
        break;
    case OW_CONSUMER_BACK:
        ow_log(OW_LOG_INFO, "out of trouble", "consumer", c->name, NULL);
        break;
    case OW_CONSUMER_ASIDE:
        tell_aside(c, text);
        break;
    case OW_CONSUMER_BREAKER:
        ow_log(OW_LOG_WARN, "breaker", "consumer", c->name, "state", text, NULL);
        break;
    case OW_CONSUMER_ASSIGNED:
        ow_log(OW_LOG_DEBUG, "partition assigned", "consumer", c->name, "partition", text, NULL);
        break;
    }
}

static void consumer_tell_end(struct ow_work *work, const struct ow_error *end)
{
    struct consumer *c = (struct consumer *)work;
    const struct ow_consumer_counters *counters = &c->consumer.counters;
    char handled[24], repeated[24], aside[24];
    tell_left_out(c);
    tell_unsaid(c);
    (void)snprintf(handled, sizeof handled, "%" PRIu64, counters->handled);
    (void)snprintf(repeated, sizeof repeated, "%" PRIu64, counters->repeated);
    (void)snprintf(aside, sizeof aside, "%" PRIu64, counters->set_aside + counters->parked);
    if (end->code < 0)
        ow_log(OW_LOG_ERROR, "stopped by an error", "consumer", c->name, "error", end->text, "handled", handled,
               "repeated", repeated, "set_aside", aside, NULL);
    else
        ow_log(OW_LOG_INFO, "stopped", "consumer", c->name, "handled", handled, "repeated", repeated, "set_aside",
               aside, NULL);
}

/* --- the work ------------------------------------------------------------------------------------------ */

static int consumer_open(struct ow_work *work, struct ow_error *err)
{
    return ow_consumer_start(&((struct consumer *)work)->consumer, err);
}

static int consumer_step(struct ow_work *work, struct ow_wait *wait, struct ow_error *err)
{
    return ow_consumer_step(&((struct consumer *)work)->consumer, wait, err);
}

static void consumer_drain(struct ow_work *work)
{
    ow_consumer_drain(&((struct consumer *)work)->consumer);
}

static bool consumer_is_idle(struct ow_work *work)
{
    return ow_consumer_is_idle(&((struct consumer *)work)->consumer);
}

static void consumer_look(struct ow_work *work, const struct ow_error *end, struct ow_snapshot *ret)
{
    struct consumer *c = (struct consumer *)work;
    struct ow_consumer_view view;
    ow_consumer_look(&c->consumer, &view);
    *ret = (struct ow_snapshot){.state = end && end->code < 0  ? OW_WORK_FAILED
                                         : end                 ? OW_WORK_STOPPED
                                         : view.has_trouble    ? OW_WORK_TROUBLE
                                         : c->consumer.is_held ? OW_WORK_PAUSED
                                         : view.is_working     ? OW_WORK_WORKING
                                                               : OW_WORK_STARTING,
                                .troubles = c->troubles,
                                .in_flight = view.messages,
                                .bytes = view.bytes,
                                .retained_bytes = -1,
                                .oldest_ms = view.oldest_ms,
                                .consumer = c->consumer.counters,
                                .calls = view.calls,
                                .breaker = c->consumer.breaker.state};
    const char *why = ret->state == OW_WORK_FAILED ? end->text : ret->state == OW_WORK_TROUBLE ? c->trouble : "";
    (void)snprintf(ret->trouble, sizeof ret->trouble, "%.*s", (int)sizeof ret->trouble - 1, why);
}

/* What was told of this partition before, mostly at the same place; NULL: nothing. */
static const struct ow_place_at *told_of(const struct consumer *c, size_t i, const struct ow_place_at *place)
{
    for (size_t k = 0; k < c->told_count; k++) {
        const struct ow_place_at *told = &c->told[(i + k) % c->told_count];
        if (told->partition == place->partition && strcmp(told->topic, place->topic) == 0)
            return told;
    }
    return NULL;
}

static void set_age(const struct consumer *c, size_t i, int64_t oldest_ms, struct ow_place_at *place)
{
    const struct ow_place_at *told = told_of(c, i, place);
    bool is_known = place->at.next >= 0 && place->at.end >= 0;
    if (!is_known && told)
        place->unread_ms = told->unread_ms;
    else if (is_known && place->at.next < place->at.end)
        place->unread_ms = told && told->unread_ms > 0 ? told->unread_ms : ow_clock_wall_ms();
    place->oldest_ms = oldest_ms > 0 ? oldest_ms : is_known ? place->unread_ms : -1;
}

static void keep_told(struct consumer *c, const struct ow_place_at *places, size_t count)
{
    struct ow_place_at *room = reallocarray(c->told, count + 1, sizeof *room);
    if (!room)
        return;
    c->told = room;
    c->told_count = count;
    if (count > 0)
        memcpy(room, places, count * sizeof *room);
}

static size_t consumer_look_at_places(struct ow_work *work, struct ow_place_at **ret)
{
    struct consumer *c = (struct consumer *)work;
    struct ow_standing at;
    const char *topic;
    int64_t partition, oldest_ms;
    size_t count = 0;
    while (count < OW_BOARD_PLACES_MAX &&
           ow_consumer_standing(&c->consumer, count, &topic, &partition, &at, &oldest_ms)) {
        struct ow_place_at *more = reallocarray(*ret, count + 1, sizeof *more);
        if (!more)
            break;
        *ret = more;
        more[count] = (struct ow_place_at){.partition = partition, .at = at};
        (void)snprintf(more[count].topic, sizeof more->topic, "%.*s", (int)sizeof more->topic - 1, topic);
        set_age(c, count, oldest_ms, &more[count]);
        count++;
    }
    keep_told(c, *ret, count);
    return count;
}

static void consumer_pause(struct ow_work *work, bool is_to_pause)
{
    struct consumer *c = (struct consumer *)work;
    if (c->consumer.is_held == is_to_pause)
        return;
    ow_consumer_hold(&c->consumer, is_to_pause);
    ow_log(OW_LOG_INFO, is_to_pause ? "paused by an operator" : "resumed by an operator", "consumer", c->name, NULL);
}

static void consumer_close(struct ow_work *work)
{
    struct consumer *c = (struct consumer *)work;
    if (!c->is_done)
        ow_consumer_done(&c->consumer);
    c->is_done = true;
}

static void consumer_free(struct ow_work *work)
{
    struct consumer *c = (struct consumer *)work;
    consumer_close(work);
    ow_config_free_consumer_parts(&c->parts);
    free(c->told);
    free(c->name);
    free(c->from);
    free(c);
}

static const struct ow_work_ops consumer_ops = {
    .what = "consumer",
    .open = consumer_open,
    .step = consumer_step,
    .drain = consumer_drain,
    .is_idle = consumer_is_idle,
    .look = consumer_look,
    .look_at_places = consumer_look_at_places,
    .pause = consumer_pause,
    .tell_end = consumer_tell_end,
    .close = consumer_close,
    .free = consumer_free,
};

int ow_consumer_pipeline_new(struct ow_consumer_parts *parts, const char *from, bool ends_when_idle, int ended_fd,
                             struct ow_pipeline **ret, struct ow_error *err)
{
    struct consumer *c = calloc(1, sizeof *c);
    if (!c) {
        ow_config_free_consumer_parts(parts);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    c->parts = *parts;
    c->is_done = true;
    c->name = strdup(parts->options.name);
    c->from = strdup(from);
    c->work = (struct ow_work){.ops = &consumer_ops,
                               .kind = OW_WORK_CONSUMER,
                               .name = c->name,
                               .from = c->from,
                               .to = parts->handler->ops->name};
    c->parts.options.listener = on_event;
    c->parts.options.listener_context = c;
    c->parts.options.ends_at_end = ends_when_idle;
    c->parts.handler->tell = on_handler;
    c->parts.handler->tell_context = c;
    if (c->parts.filter) {
        c->parts.filter->tell = on_filter;
        c->parts.filter->tell_context = c;
    }
    int r = c->name && c->from ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0)
        r = ow_consumer_init(&c->consumer, &c->parts.options, c->parts.subscribe, c->parts.subscribe_context,
                             c->parts.inbox, c->parts.handler, c->parts.letters, err);
    c->is_done = r < 0;
    if (r < 0) {
        consumer_free(&c->work);
        return r;
    }
    return ow_pipeline_new(&c->work, ends_when_idle, ended_fd, ret, err);
}
