/* SPDX-License-Identifier: Apache-2.0 */
/* The four sides of a consumer: each is opened, fails, and is opened again by itself. */
#include <stdarg.h>
#include <stdio.h>

#include "pattern/consumer/consumer_private.h"

void ow_consumer_tell(struct ow_consumer *c, enum ow_consumer_event event, const char *format, ...)
{
    char text[700];
    va_list arguments;
    if (!c->options.listener)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    c->options.listener(c->options.listener_context, event, text);
}

bool ow_consumer_is_open(const struct ow_consumer *c, enum ow_consumer_side side)
{
    return c->sides[side].is_open;
}

int64_t ow_consumer_side_due_ms(const struct ow_consumer *c, enum ow_consumer_side side)
{
    return c->sides[side].due_ms;
}

/* What the handler, or the letters' broker, had is forgotten; what was handled stays to be recorded. */
static void put_back_calls(struct ow_consumer *c, enum ow_consumer_side side)
{
    int64_t now = ow_consumer_now_ms(c);
    for (uint32_t i = 0; i < c->options.in_flight; i++) {
        struct ow_consumer_call *call = &c->calls[i];
        if (side == OW_SIDE_HANDLER && call->state == OW_CALL_RUNNING) {
            ow_consumer_give_up(c, call);
            ow_consumer_put_back(c, call, now, false);
        } else if (side == OW_SIDE_LETTERS && call->state == OW_CALL_SENT)
            call->state = OW_CALL_FAILED;
    }
}

void ow_consumer_close_side(struct ow_consumer *c, enum ow_consumer_side side)
{
    if (!c->sides[side].is_open)
        return;
    c->sides[side].is_open = false;
    switch (side) {
    case OW_SIDE_INBOX:
        if (c->handler->ops->in_transaction)
            ow_consumer_close_side(c, OW_SIDE_HANDLER);
        c->inbox->ops->close(c->inbox);
        break;
    case OW_SIDE_HANDLER:
        put_back_calls(c, side);
        c->handler->ops->close(c->handler);
        break;
    case OW_SIDE_LETTERS:
        put_back_calls(c, side);
        c->letters_are_clogged = false;
        c->letters->ops->close(c->letters);
        break;
    case OW_SIDE_SUBSCRIBER:
    case OW_SIDE_COUNT:
        ow_consumer_drop_partitions(c);
        c->subscriber->ops->close(c->subscriber);
        c->subscriber = NULL;
        break;
    }
}

void ow_consumer_side_works(struct ow_consumer *c, enum ow_consumer_side side)
{
    struct ow_consumer_side_state *s = &c->sides[side];
    s->failures = 0;
    if (!s->has_trouble)
        return;
    s->has_trouble = false;
    ow_consumer_tell(c, OW_CONSUMER_BACK, "works again");
}

int ow_consumer_side_failed(struct ow_consumer *c, enum ow_consumer_side side, struct ow_error *err)
{
    struct ow_consumer_side_state *s = &c->sides[side];
    ow_consumer_close_side(c, side);
    if (ow_error_class(err->code) != OW_CLASS_RETRYABLE)
        return err->code;
    s->failures++;
    s->due_ms = ow_consumer_now_ms(c) +
                ow_retry_delay_ms(&c->options.reconnect, s->failures, c->options.world.dice(c->options.world.context));
    if (!s->has_trouble)
        ow_consumer_tell(c, OW_CONSUMER_TROUBLE, "%s", err->text);
    s->has_trouble = true;
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------------- */

static int subscribe(struct ow_consumer *c, struct ow_error *err)
{
    struct ow_subscriber_options options = {.group = c->options.group,
                                            .topics = c->options.topics,
                                            .topic_count = c->options.topic_count,
                                            .from = c->options.from,
                                            .listener = ow_consumer_on_partition,
                                            .context = c};
    int r = c->subscribe(c->subscribe_context, &options, &c->subscriber, err);
    if (r == 0)
        r = c->subscriber->ops->open(c->subscriber, err);
    if (r < 0 && c->subscriber) {
        c->subscriber->ops->close(c->subscriber);
        c->subscriber = NULL;
        ow_consumer_drop_partitions(c);
    }
    return r;
}

static void load_breaker(struct ow_consumer *c)
{
    struct ow_error ignored;
    ow_buf_clear(&c->scratch);
    if (!c->breaker_is_loaded && c->inbox->ops->load_breaker(c->inbox, &c->scratch, &ignored) == 1 &&
        ow_breaker_parse(&c->breaker, ow_buf_bytes(&c->scratch), &ignored) == 0 &&
        c->breaker.state != OW_BREAKER_CLOSED)
        ow_consumer_tell(c, OW_CONSUMER_BREAKER, "open, as it was left");
    c->breaker_is_loaded = true;
}

static int open_side(struct ow_consumer *c, enum ow_consumer_side side, struct ow_error *err)
{
    int r = 0;
    switch (side) {
    case OW_SIDE_INBOX:
        r = c->inbox->ops->open(c->inbox, err);
        if (r == 0)
            load_breaker(c);
        break;
    case OW_SIDE_HANDLER:
        r = c->handler->ops->open(c->handler, c->inbox ? c->inbox->ops->store(c->inbox) : NULL, err);
        break;
    case OW_SIDE_LETTERS:
        r = c->letters->ops->open(c->letters, err);
        break;
    case OW_SIDE_SUBSCRIBER:
    case OW_SIDE_COUNT:
        r = subscribe(c, err);
        if (r == 0)
            ow_consumer_tell(c, OW_CONSUMER_WORKING, "subscribed");
        break;
    }
    c->sides[side].is_open = r == 0;
    return r;
}

static bool may_open(const struct ow_consumer *c, enum ow_consumer_side side)
{
    if (c->sides[side].is_open || (side == OW_SIDE_INBOX && !c->inbox) || (side == OW_SIDE_LETTERS && !c->letters))
        return false;
    if (side == OW_SIDE_HANDLER && c->inbox && !c->sides[OW_SIDE_INBOX].is_open)
        return false;
    /* Whoever cannot do anything with messages takes no partition from others. */
    if (side == OW_SIDE_SUBSCRIBER && (!c->sides[OW_SIDE_HANDLER].is_open || c->is_draining))
        return false;
    return ow_consumer_now_ms(c) >= c->sides[side].due_ms;
}

/* At the start the first error is a person's to see. */
int ow_consumer_start(struct ow_consumer *c, struct ow_error *err)
{
    for (enum ow_consumer_side side = 0; side < OW_SIDE_COUNT; side++) {
        int r = may_open(c, side) ? open_side(c, side, err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int ow_consumer_open_sides(struct ow_consumer *c, struct ow_error *err)
{
    for (enum ow_consumer_side side = 0; side < OW_SIDE_COUNT; side++) {
        int r = may_open(c, side) ? open_side(c, side, err) : 0;
        if (r < 0)
            r = ow_consumer_side_failed(c, side, err);
        if (r < 0)
            return r;
    }
    return 0;
}
