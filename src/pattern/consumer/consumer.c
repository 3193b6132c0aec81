/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern/consumer/consumer.h"

#include <stdlib.h>

#include "pattern/consumer/consumer_private.h"

void ow_consumer_options_default(struct ow_consumer_options *options)
{
    *options = (struct ow_consumer_options){
        .from = OW_OFFSET_BEGINNING,
        .in_flight = 100,
        .window = ow_window_limits_default,
        .retry = {.initial_ms = 1000, .max_ms = 600000, .multiplier = 2, .jitter = 0.2, .attempts_max = 8},
        .reconnect = {.initial_ms = 100, .max_ms = 5000, .multiplier = 2, .jitter = 0.2},
        .breaker = ow_breaker_policy_default,
        .replay_rate = 100,
        .drain_ms = 3000,
        .world = ow_world_real,
    };
}

static int check_parts(const struct ow_consumer *c, struct ow_error *err)
{
    if (c->handler->ops->in_transaction && !c->inbox)
        return ow_error_set(err, OW_EINVALID, "a %s handler works in the transaction of an inbox, and there is none",
                            c->handler->ops->name);
    if ((c->options.keeps_offsets || c->options.keeps_letters || c->options.parks) && !c->inbox)
        return ow_error_set(err, OW_EINVALID, "what is kept in a store needs an inbox");
    if (c->options.parks && !c->options.keeps_letters)
        return ow_error_set(err, OW_EINVALID, "to park messages takes a store for dead letters");
    return 0;
}

static int make_room(struct ow_consumer *c, struct ow_error *err)
{
    size_t each = sizeof(struct ow_inbox_entry) + sizeof(struct ow_task) + 2 * sizeof(struct ow_consumer_call *);
    c->calls = calloc(c->options.in_flight, sizeof *c->calls);
    c->names = calloc(c->options.in_flight, sizeof *c->names);
    c->batch = calloc(c->options.in_flight, each);
    if (!c->calls || !c->names || !c->batch)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < c->options.in_flight; i++)
        c->calls[i].next_free = i + 1;
    return 0;
}

int ow_consumer_init(struct ow_consumer *c, const struct ow_consumer_options *options, ow_consumer_subscribe *subscribe,
                     void *subscribe_context, struct ow_inbox *inbox, struct ow_handler *handler,
                     struct ow_broker *letters, struct ow_error *err)
{
    *c = (struct ow_consumer){.options = *options,
                              .subscribe = subscribe,
                              .subscribe_context = subscribe_context,
                              .inbox = inbox,
                              .handler = handler,
                              .letters = letters};
    if (c->options.in_flight == 0)
        c->options.in_flight = 100;
    if (c->options.replay_rate == 0)
        c->options.replay_rate = 100;
    if (!c->options.group)
        c->options.group = c->options.name;
    ow_breaker_init(&c->breaker, &c->options.breaker);
    int r = check_parts(c, err);
    if (r == 0 && c->options.id)
        r = ow_route_init(&c->id, ow_bytes_of(c->options.id), err);
    if (r == 0)
        r = make_room(c, err);
    if (r < 0)
        ow_consumer_done(c);
    return r;
}

void ow_consumer_done(struct ow_consumer *c)
{
    struct ow_error ignored;
    if (c->subscriber)
        (void)ow_consumer_settle(c, true, &ignored);
    for (enum ow_consumer_side side = OW_SIDE_COUNT; side-- > 0;)
        ow_consumer_close_side(c, side);
    if (c->replays) {
        ow_consumer_forget(c, c->replays);
        ow_window_done(&c->replays->window);
        free(c->replays->notes);
        free(c->replays);
    }
    ow_route_done(&c->id);
    ow_buf_done(&c->scratch);
    ow_buf_done(&c->letter_scratch);
    free(c->headers);
    free(c->calls);
    free(c->names);
    free(c->batch);
    *c = (struct ow_consumer){0};
}

/* --- a step ---------------------------------------------------------------------------------------------- */

static void wake_windows(struct ow_consumer *c)
{
    int64_t now = ow_consumer_now_ms(c);
    for (size_t i = 0; i < c->partition_count; i++)
        ow_window_wake(&c->partitions[i]->window, now);
    if (c->replays)
        ow_window_wake(&c->replays->window, now);
}

static bool has_ready(const struct ow_consumer *c)
{
    for (size_t i = 0; i < c->partition_count; i++)
        if (ow_window_has_ready(&c->partitions[i]->window))
            return true;
    return c->replays && ow_window_has_ready(&c->replays->window);
}

static void wait_for_windows(const struct ow_consumer *c, struct ow_wait *wait)
{
    for (size_t i = 0; i < c->partition_count; i++)
        ow_wait_until(wait, ow_window_due_ms(&c->partitions[i]->window));
    if (c->replays)
        ow_wait_until(wait, ow_window_due_ms(&c->replays->window));
}

/* The breaker has the wall clock, the loop the other one. */
static int64_t breaker_due_ms(const struct ow_consumer *c)
{
    int64_t due = ow_breaker_due_ms(&c->breaker), wall = c->options.world.wall_ms(c->options.world.context);
    return due == INT64_MAX ? INT64_MAX : ow_consumer_now_ms(c) + (due > wall ? due - wall : 0);
}

static bool can_begin(const struct ow_consumer *c)
{
    return !c->is_draining && !c->is_held && c->calls_used < c->options.in_flight &&
           ow_consumer_is_open(c, OW_SIDE_HANDLER) && (!c->inbox || ow_consumer_is_open(c, OW_SIDE_INBOX)) &&
           (c->breaker.state == OW_BREAKER_CLOSED ||
            (c->breaker.state == OW_BREAKER_HALF_OPEN && c->breaker.probes_begun < c->breaker.policy.probes));
}

static bool has_to_settle(const struct ow_consumer *c)
{
    for (size_t i = 0; i < c->partition_count; i++)
        if (c->partitions[i]->settle_offset >= 0)
            return true;
    return false;
}

static bool has_letter_to_send(const struct ow_consumer *c)
{
    for (uint32_t i = 0; c->calls_used > 0 && !c->letters_are_clogged && i < c->options.in_flight; i++)
        if (c->calls[i].state == OW_CALL_FAILED)
            return true;
    return false;
}

static void say_what_to_wait_for(struct ow_consumer *c, struct ow_wait *wait)
{
    for (enum ow_consumer_side side = 0; side < OW_SIDE_COUNT; side++)
        if (!ow_consumer_is_open(c, side) && ow_consumer_side_due_ms(c, side) > 0)
            ow_wait_until(wait, ow_consumer_side_due_ms(c, side));
    if (ow_consumer_is_open(c, OW_SIDE_SUBSCRIBER)) {
        c->subscriber->ops->wait(c->subscriber, wait);
        if (ow_consumer_may_resume(c) || (!c->is_dry && c->bytes < c->options.window.bytes_max))
            ow_wait_until(wait, ow_consumer_now_ms(c));
    }
    if (ow_consumer_is_open(c, OW_SIDE_HANDLER) && c->handler->ops->wait)
        c->handler->ops->wait(c->handler, wait);
    if (ow_consumer_is_open(c, OW_SIDE_LETTERS)) {
        c->letters->ops->wait(c->letters, wait);
        if (has_letter_to_send(c))
            ow_wait_until(wait, c->letters_due_ms);
    }
    wait_for_windows(c, wait);
    if (c->breaker.state == OW_BREAKER_OPEN && !c->is_held)
        ow_wait_until(wait, breaker_due_ms(c));
    if (can_begin(c) && has_ready(c))
        ow_wait_until(wait, ow_consumer_now_ms(c));
    if (has_to_settle(c))
        ow_wait_until(wait, c->settle_due_ms);
    if (c->inbox && c->options.keeps_letters && !c->is_draining && !c->is_held)
        ow_wait_until(wait, c->replay_due_ms);
}

static int tend(struct ow_consumer *c, struct ow_wait *wait, struct ow_error *err)
{
    if (!c->inbox || !ow_consumer_is_open(c, OW_SIDE_INBOX) || !c->inbox->ops->tend)
        return 0;
    int r = c->inbox->ops->tend(c->inbox, wait, err);
    return r < 0 ? ow_consumer_side_failed(c, OW_SIDE_INBOX, err) : 0;
}

int ow_consumer_step(struct ow_consumer *c, struct ow_wait *wait, struct ow_error *err)
{
    struct ow_error first = {0};
    ow_wait_init(wait);
    int r = ow_consumer_open_sides(c, &first);
    if (r == 0 && !c->is_draining)
        r = ow_consumer_read(c, &first);
    if (r == 0)
        r = ow_consumer_read_letters(c, &first);
    wake_windows(c);
    if (r == 0 && !c->handler->ops->in_transaction)
        r = ow_consumer_take_outcomes(c, &first);
    if (r == 0)
        r = c->handler->ops->in_transaction ? ow_consumer_run_batch(c, &first) : ow_consumer_start_calls(c, &first);
    if (r == 0)
        r = ow_consumer_write_letters(c, &first);
    if (r == 0)
        r = ow_consumer_record(c, &first);
    if (r == 0)
        r = ow_consumer_settle(c, c->is_draining || c->options.ends_at_end, &first);
    if (r == 0)
        r = tend(c, wait, &first);
    if (r < 0)
        return ow_error_set(err, r, "%s", first.text);
    say_what_to_wait_for(c, wait);
    return 0;
}

void ow_consumer_drain(struct ow_consumer *c)
{
    c->is_draining = true;
}

bool ow_consumer_is_idle(const struct ow_consumer *c)
{
    if (c->calls_used > 0 || has_to_settle(c))
        return false;
    if (c->is_draining)
        return true;
    for (size_t i = 0; i < c->partition_count; i++)
        if (c->partitions[i]->window.count > 0)
            return false;
    struct ow_error ignored;
    if (c->inbox && c->options.keeps_letters && !c->letters_are_dry)
        return false;
    if (!c->is_dry || !ow_consumer_is_open(c, OW_SIDE_SUBSCRIBER) || (c->replays && c->replays->window.count > 0))
        return false;
    /* A topic that is not there has nothing to be read; that it is missing has been told. */
    int r = c->subscriber->ops->is_at_end(c->subscriber, &ignored);
    return r == 1 || r == OW_ENOTFOUND;
}
