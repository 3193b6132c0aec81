/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/crash.h"
#include "codec/json.h"
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

void ow_relay_options_default(struct ow_relay_options *options)
{
    *options = (struct ow_relay_options){
        .limits = ow_message_limits_default,
        .window = ow_window_limits_default,
        .retry = ow_retry_policy_default,
        .reconnect = {.initial_ms = 100, .max_ms = 5000, .multiplier = 2, .jitter = 0.2},
        .refresh_ms = 24 * 60 * 60 * 1000,
        .world = ow_world_real,
    };
}

/* A broker waits for its network: what the source has to do on time goes on. */
static bool meanwhile(void *context)
{
    struct ow_relay *relay = context;
    struct ow_wait ignored;
    ow_wait_init(&ignored);
    if (relay->source_is_open && relay->source->ops->tend && relay->tend_failure.code == 0)
        (void)!relay->source->ops->tend(relay->source, &ignored, &relay->tend_failure);
    return !relay->options.may_wait || relay->options.may_wait(relay->options.listener_context);
}

int ow_relay_init(struct ow_relay *relay, const struct ow_relay_options *options, struct ow_source *source,
                  struct ow_broker *broker, struct ow_error *err)
{
    *relay = (struct ow_relay){.source = source, .broker = broker, .options = *options};
    source->is_recorded = source->ops->is_log && (broker->ops->has_transactions || broker->ops->record_position);
    source->hurries = options->ends_at_end;
    broker->meanwhile = meanwhile;
    broker->meanwhile_context = relay;
    struct ow_window_limits window = options->window;
    source->parks = options->parks;
    if (options->parks && !source->ops->park)
        return ow_error_set(err, OW_EUNSUPPORTED, "%s cannot park messages", source->ops->name);
    window.keeps_order = broker->ops->keeps_order && !options->parks;
    int r = ow_route_init(&relay->topic,
                          ow_bytes_of(options->topic ? options->topic : "outbox.event.${!aggregatetype}"), err);
    if (r == 0)
        r = ow_route_init(&relay->key, ow_bytes_of(options->key ? options->key : "${!aggregateid}"), err);
    if (r == 0)
        r = ow_window_init(&relay->window, &window, err);
    if (r == 0 && !(relay->confirming = calloc(window.count_max, sizeof *relay->confirming)))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r < 0)
        ow_relay_done(relay);
    return r;
}

void ow_relay_done(struct ow_relay *relay)
{
    ow_relay_close_broker(relay);
    ow_relay_close_source(relay);
    if (relay->broker)
        relay->broker->meanwhile = NULL;
    ow_message_free(relay->spare);
    ow_window_done(&relay->window);
    ow_message_pool_done(&relay->pool);
    ow_route_done(&relay->topic);
    ow_route_done(&relay->key);
    ow_buf_done(&relay->topic_scratch);
    ow_buf_done(&relay->key_scratch);
    ow_buf_done(&relay->identity);
    free(relay->confirming);
    *relay = (struct ow_relay){0};
}

/* --- reading ----------------------------------------------------------------------------------------- */

/* The reason goes with the message: its row does not. */
static int shape(struct ow_relay *relay, struct ow_message *m, struct ow_error *err)
{
    int r = relay->options.shape(relay->options.shape_context, m->row, m, err);
    if (r >= 0 || r == OW_ENOMEM)
        return r;
    ow_buf_clear(&relay->topic_scratch);
    ow_buf_add_text(&relay->topic_scratch, err->text);
    if (ow_buf_check(&relay->topic_scratch, err) < 0)
        return OW_ENOMEM;
    m->defect = ow_buf_bytes(&relay->topic_scratch);
    return r;
}

int ow_relay_make_fit(struct ow_relay *relay, struct ow_message *m, struct ow_error *err)
{
    struct ow_bytes topic = OW_NULL_BYTES, key = OW_NULL_BYTES;
    if (relay->options.shape) {
        int shaped = m->row ? shape(relay, m, err) : 1;
        return shaped == 1 ? ow_message_check(m, &relay->options.limits, err) : shaped == 0 ? 1 : shaped;
    }
    m->topic = m->key = OW_NULL_BYTES;
    ow_buf_clear(&relay->topic_scratch);
    ow_buf_clear(&relay->key_scratch);
    int r = m->defect.data ? 1 : ow_route_render(&relay->topic, m, ow_json_lookup, &relay->topic_scratch, &topic, err);
    if (r == 0)
        r = ow_error_set(err, OW_EINVALID, "the template gives nothing for this message");
    if (r < 0)
        return ow_error_prefix(err, "topic");
    m->topic = topic;
    r = m->defect.data ? 1 : ow_route_render(&relay->key, m, ow_json_lookup, &relay->key_scratch, &key, err);
    if (r < 0)
        return ow_error_prefix(err, "key");
    m->key = key;
    return ow_message_check(m, &relay->options.limits, err);
}

static bool is_still_here(const struct ow_relay *relay, struct ow_position position)
{
    for (uint32_t i = 0; i < relay->confirming_count; i++)
        if (ow_position_compare(relay->confirming[i], position) == 0)
            return true;
    return (relay->spare && ow_position_compare(relay->spare->position, position) == 0) ||
           ow_window_has(&relay->window, position);
}

/* 1: a message is in relay->spare; 0: none now; < 0 */
static int read_one(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_message view;
    for (;;) {
        int r = relay->source->ops->next(relay->source, &view, err);
        if (r <= 0)
            return r;
        if (relay->is_rereading && is_still_here(relay, view.position) && !OW_MUTANT(READ_TWICE))
            continue;
        bool has_gone_back = relay->is_rereading && ow_position_compare(view.position, relay->newest) < 0;
        if (OW_MUTANT(GONE_BACK_UNSEEN) || OW_MUTANT(READ_TWICE))
            has_gone_back = false;
        if (has_gone_back) {
            /* It has gone back, to before what is in the window, which comes again behind this one. */
            ow_relay_close_broker(relay);
            ow_relay_forget_read(relay);
        }
        if (ow_position_compare(view.position, relay->newest) > 0) {
            relay->is_rereading = false;
            relay->newest = view.position;
        }
        struct ow_error why;
        why.code = 0;
        why.text[0] = '\0';
        r = ow_relay_make_fit(relay, &view, &why);
        if (r == OW_EINVALID && OW_MUTANT(DEFECT_DROPPED))
            r = 1;
        relay->spare_is_unfit = r < 0;
        relay->spare_is_dropped = r == 1;
        if (r == 1 && why.code)
            ow_relay_tell(relay, why.code == OW_EINVALID ? OW_RELAY_MISUSED : OW_RELAY_DROPPED, why.text);
        if (relay->spare_is_unfit && why.code == OW_ENOMEM)
            return ow_error_set(err, OW_ENOMEM, "%s", why.text);
        relay->spare = ow_message_copy_to(&relay->pool, &view);
        if (!relay->spare)
            return ow_error_set(err, OW_ENOMEM, "out of memory for a message of %zu bytes", ow_message_size(&view));
        relay->counters.read++;
        return 1;
    }
}

/* What is accepted and not confirmed comes again after a crash: no more than one window of it. */
static bool may_read(const struct ow_relay *relay)
{
    bool is_within = relay->confirming_count == 0 ||
                     (ow_relay_gathers(relay) &&
                      (relay->confirming_count + relay->window.count < relay->window.limits.count_max ||
                       OW_MUTANT(GATHERS_TOO_MUCH)));
    return !relay->is_draining && relay->source_is_open && is_within && ow_window_has_room(&relay->window, 0);
}

static int read_all(struct ow_relay *relay, struct ow_error *err)
{
    bool has_read = false;
    if (ow_relay_now_ms(relay) < relay->source_due_ms)
        return 0;
    while (may_read(relay)) {
        int r = relay->spare ? 1 : read_one(relay, err);
        relay->is_dry = r == 0;
        if (r < 0)
            return ow_relay_source_failed(relay, err);
        if (r == 0 || !ow_window_has_room(&relay->window, ow_message_size(relay->spare)))
            break;
        struct ow_slot *slot = ow_window_admit(&relay->window, relay->spare);
        slot->is_unfit = relay->spare_is_unfit;
        slot->is_dropped = relay->spare_is_dropped;
        relay->spare = NULL;
        has_read = true;
    }
    if (has_read)
        OW_CRASH_POINT(RELAY_AFTER_READ);
    return 0;
}

/* --- one step ---------------------------------------------------------------------------------------- */

static void say_what_to_wait_for(struct ow_relay *relay, struct ow_wait *wait)
{
    int64_t now = ow_relay_now_ms(relay);
    bool may_read_now = may_read(relay) && now >= relay->source_due_ms;
    if (!relay->source_is_open || now < relay->source_due_ms || (relay->broker_is_open && !relay->is_resumed))
        ow_wait_until(wait, relay->source_due_ms);
    if (relay->confirming_count > 0 && ow_relay_gathers(relay) && ow_relay_may_confirm(relay))
        ow_wait_until(wait,
                      relay->confirm_due_ms > relay->source_due_ms ? relay->confirm_due_ms : relay->source_due_ms);
    if (!relay->broker_is_open) {
        if (relay->source_is_open)
            ow_wait_until(wait, relay->broker_due_ms);
        return;
    }
    relay->broker->ops->wait(relay->broker, wait);
    ow_wait_until(wait, ow_window_due_ms(&relay->window));
    if (ow_window_has_ready(&relay->window) && !relay->is_clogged && ow_relay_may_send(relay))
        ow_wait_until(wait, now);
    if (!may_read_now)
        return;
    /* Only a source that is going to be asked may say what it waits for: what it shows would never be taken. */
    if (!relay->spare)
        relay->source->ops->wait(relay->source, wait);
    if (relay->spare ? ow_window_has_room(&relay->window, ow_message_size(relay->spare)) : !relay->is_dry)
        ow_wait_until(wait, now);
}

static int tend(struct ow_relay *relay, struct ow_wait *wait, struct ow_error *err)
{
    if (!relay->source_is_open || !relay->source->ops->tend)
        return 0;
    struct ow_error failure = relay->tend_failure;
    relay->tend_failure = (struct ow_error){0};
    int r = failure.code < 0 ? ow_error_set(err, failure.code, "%s", failure.text)
                             : relay->source->ops->tend(relay->source, wait, err);
    return r < 0 ? ow_relay_source_failed(relay, err) : 0;
}

int ow_relay_step(struct ow_relay *relay, struct ow_wait *wait, struct ow_error *err)
{
    struct ow_error first = {0};
    ow_wait_init(wait);
    /* First of all: whoever was stopped for long may find that another has taken over. */
    int r = tend(relay, wait, &first);
    relay->held_ms = ow_relay_now_ms(relay);
    if (r == 0)
        r = ow_relay_open_both(relay, &first);
    if (r == 1)
        r = ow_relay_forget_record(relay, &first);
    if (r == 0 && relay->source_is_open && relay->broker_is_open && relay->is_resumed)
        r = read_all(relay, &first);
    if (r == 0 && relay->broker_is_open) /* what was read may have begun with a new slot */
        r = ow_relay_forget_record(relay, &first);
    if (r == 0 && relay->broker_is_open)
        r = ow_relay_send_all(relay, &first);
    if (r == 0 && relay->broker_is_open)
        r = ow_relay_take_receipts(relay, &first);
    if (r == 0)
        r = ow_relay_confirm(relay, &first);
    if (r < 0)
        return ow_error_set(err, r, "%s", first.text);
    r = tend(relay, wait, &first);
    if (r < 0)
        return ow_error_set(err, r, "%s", first.text);
    say_what_to_wait_for(relay, wait);
    return 0;
}

void ow_relay_drain(struct ow_relay *relay)
{
    relay->is_draining = true;
    ow_message_free(relay->spare);
    relay->spare = NULL;
}

bool ow_relay_is_idle(const struct ow_relay *relay)
{
    if (relay->window.count > 0 || relay->confirming_count > 0 || relay->spare)
        return false;
    if (relay->is_draining)
        return true;
    return relay->is_dry && relay->source_is_open && relay->broker_is_open &&
           (!relay->source->ops->is_at_end || relay->source->ops->is_at_end(relay->source));
}

void ow_relay_look(const struct ow_relay *relay, struct ow_relay_view *ret)
{
    const struct ow_message *oldest = ow_window_oldest(&relay->window);
    bool is_open = relay->source_is_open && relay->broker_is_open;
    *ret = (struct ow_relay_view){.is_standing_by = relay->is_standing_by,
                                  .has_trouble = relay->has_trouble && (!is_open || oldest),
                                  .is_working = is_open,
                                  .messages = relay->window.count + relay->confirming_count,
                                  .bytes = relay->window.bytes,
                                  .retained_bytes = relay->source_is_open ? relay->source->retained_bytes - 1 : -1,
                                  .oldest_ms = oldest ? oldest->time_ms : 0};
}
