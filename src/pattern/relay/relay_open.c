/* SPDX-License-Identifier: Apache-2.0 */
/* The two sides of a relay: opened, failed, closed, opened again. */
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

enum {
    STANDBY_MS = 200, /* how often one that stands by looks whether it may take over */
    FENCED_MS = 1000, /* how long one that was fenced leaves the source to the other */
    FRESH_MS = 10000, /* after which the position that was found is recorded anew, where nothing else was until then */
};

void ow_relay_close_source(struct ow_relay *relay)
{
    if (relay->source_is_open)
        relay->source->ops->close(relay->source);
    relay->source_is_open = false;
    relay->tend_failure = (struct ow_error){0};
}

void ow_relay_close_broker(struct ow_relay *relay)
{
    if (relay->broker_is_open && relay->txn_is_open)
        relay->broker->ops->txn_abort(relay->broker);
    if (relay->broker_is_open)
        relay->broker->ops->close(relay->broker);
    relay->broker_is_open = relay->txn_is_open = false;
}

/* --- trouble ----------------------------------------------------------------------------------------- */

int64_t ow_relay_delay_ms(const struct ow_relay *relay, const struct ow_retry_policy *policy, uint32_t failures)
{
    return ow_retry_delay_ms(policy, failures, relay->options.world.dice(relay->options.world.context));
}

void ow_relay_tell(struct ow_relay *relay, enum ow_relay_event event, const char *text)
{
    if (relay->options.listener)
        relay->options.listener(relay->options.listener_context, event, text);
}

void ow_relay_tell_trouble(struct ow_relay *relay, const struct ow_error *err)
{
    if (!relay->has_trouble)
        ow_relay_tell(relay, OW_RELAY_TROUBLE, err->text);
    relay->has_trouble = true;
}

/* Something was accepted and confirmed, and nothing waits to be tried again. */
void ow_relay_tell_back(struct ow_relay *relay)
{
    if (ow_window_due_ms(&relay->window) != INT64_MAX)
        return;
    if (relay->has_trouble)
        ow_relay_tell(relay, OW_RELAY_BACK, "");
    relay->has_trouble = false;
}

/* Whether the same connection may be used again after this error. */
static bool is_passing(int code)
{
    return code == OW_EBUSY || code == OW_EAGAIN || code == OW_EFULL || code == OW_ENOMEM;
}

/* 0: it is taken care of, and is tried again later; else the error ends the relay. */
int ow_relay_source_failed(struct ow_relay *relay, const struct ow_error *err)
{
    if (ow_error_class(err->code) != OW_CLASS_RETRYABLE)
        return err->code;
    ow_relay_tell_trouble(relay, err);
    relay->source_due_ms = ow_relay_now_ms(relay) +
                           ow_relay_delay_ms(relay, &relay->options.reconnect, ++relay->source_failures);
    if (!is_passing(err->code))
        ow_relay_close_source(relay);
    return 0;
}

static void recall_in_flight(struct ow_relay *relay)
{
    if (OW_MUTANT(FORGET_IN_FLIGHT)) {
        for (uint64_t token = relay->window.head; token < relay->window.tail; token++) {
            struct ow_slot *slot = ow_window_find(&relay->window, token);
            if (slot)
                ow_window_settle(&relay->window, slot, false);
        }
    }
    ow_window_recall(&relay->window);
}

/* Another relay has taken the broker over: it gets the source as well, and this one stands by. */
static int was_fenced(struct ow_relay *relay, const struct ow_error *err)
{
    ow_relay_close_source(relay);
    if (!relay->is_standing_by)
        ow_relay_tell(relay, OW_RELAY_STANDBY, err->text);
    relay->is_standing_by = true;
    relay->source_due_ms = ow_relay_now_ms(relay) + FENCED_MS;
    return 0;
}

int ow_relay_broker_failed(struct ow_relay *relay, const struct ow_error *err)
{
    ow_relay_close_broker(relay);
    recall_in_flight(relay);
    if (err->code == OW_ESTANDBY && !OW_MUTANT(FENCED_GOES_ON))
        return was_fenced(relay, err);
    if (ow_error_class(err->code) != OW_CLASS_RETRYABLE)
        return err->code;
    ow_relay_tell_trouble(relay, err);
    relay->broker_due_ms = ow_relay_now_ms(relay) +
                           ow_relay_delay_ms(relay, &relay->options.reconnect, ++relay->broker_failures);
    return 0;
}

/* --- opening ----------------------------------------------------------------------------------------- */

/* Whether the broker knows how far the source was accepted. */
static bool keeps_position(const struct ow_relay *relay)
{
    return relay->broker->ops->has_transactions || relay->source->is_recorded;
}

void ow_relay_forget_read(struct ow_relay *relay)
{
    ow_window_clear(&relay->window);
    ow_message_free(relay->spare);
    relay->spare = NULL;
    relay->confirming_count = 0;
    relay->newest = relay->stored = (struct ow_position){0};
}

/* Opened again, a source yields once more what was not confirmed. What is in the window stays ours and is
   passed over then, unless the source is another one now, or another relay has worked on it since. */
static int open_source(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_source *source = relay->source;
    int r = source->ops->open(source, err);
    bool is_ours = false;
    if (r == 0) {
        relay->source_is_open = true;
        struct ow_bytes identity = ow_bytes_of(source->ops->identity(source));
        is_ours = !relay->is_standing_by && ow_bytes_equal(identity, ow_buf_bytes(&relay->identity));
        ow_buf_clear(&relay->identity);
        ow_buf_add_bytes(&relay->identity, identity);
        r = ow_buf_check(&relay->identity, err);
    }
    if ((r == OW_ESTANDBY || (r == 0 && !is_ours)) && !OW_MUTANT(STANDBY_KEEPS_WINDOW)) {
        ow_relay_close_broker(relay); /* it forgets what was in flight */
        ow_relay_forget_read(relay);
    }
    if (r < 0) {
        ow_relay_close_source(relay);
        return r;
    }
    if (is_ours && keeps_position(relay) && !OW_MUTANT(BROKER_NOT_ASKED)) {
        /* Another relay may have come and gone meanwhile: the broker is asked anew what it has. */
        ow_relay_close_broker(relay);
        recall_in_flight(relay);
    }
    relay->is_rereading = is_ours;
    relay->is_dry = relay->is_standing_by = relay->is_resumed = false;
    return 0;
}

/* Another relay has come and gone if the position is none of ours. What is in the window may be dealt with, and so far
   back that the broker has forgotten it; or, where a relay that had been followed has put the position back, the source
   begins before it. All of it that is still to come is read again. */
static void forget_if_followed(struct ow_relay *relay)
{
    int order = ow_position_compare(relay->known, relay->stored);
    bool is_ours = order == 0 ||
                   (!relay->broker->ops->has_transactions && ow_position_compare(relay->known, relay->offered) == 0);
    if (OW_MUTANT(FOLLOWED_UNSEEN) || is_ours ||
        (relay->is_resumed && order > 0)) /* while the source is open nobody else has it */
        return;
    ow_relay_forget_read(relay);
    if (relay->is_resumed)
        ow_relay_close_source(relay);
}

static int open_broker(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_broker *broker = relay->broker;
    int r = broker->ops->open(broker, err);
    if (r < 0)
        return r;
    relay->broker_is_open = true;
    ow_relay_note_open(relay);
    relay->known = (struct ow_position){0};
    if (keeps_position(relay))
        r = broker->ops->last_position(broker, relay->identity.data, &relay->known, err);
    if (r < 0) {
        ow_relay_close_broker(relay);
        return r;
    }
    relay->is_uneven = r == 2;
    forget_if_followed(relay);
    relay->stored = relay->offered = relay->known;
    /* Nobody knows how old it is. */
    relay->refresh_due_ms = ow_relay_now_ms(relay) +
                            (relay->options.refresh_ms < FRESH_MS ? relay->options.refresh_ms : FRESH_MS);
    return 0;
}

int ow_relay_check_hold(struct ow_relay *relay, struct ow_error *err)
{
    const struct ow_source_ops *ops = relay->source->ops;
    int r = relay->source_is_open && ops->is_held && !OW_MUTANT(HOLD_UNASKED) ? ops->is_held(relay->source, err) : 0;
    if (r == 0)
        relay->held_ms = ow_relay_now_ms(relay);
    return r;
}

/* Once for each time that the source was opened, when the broker has said what it knows. */
static int resume_source(struct ow_relay *relay, struct ow_error *err)
{
    if (relay->is_resumed)
        return 0;
    int r = relay->source->ops->resume(relay->source, ow_position_is_zero(relay->known) ? NULL : &relay->known, err);
    if (r < 0)
        return r;
    bool has_read = relay->window.count > 0 || relay->confirming_count > 0 || relay->spare;
    if (r == 1 && has_read && !OW_MUTANT(ANEW_KEEPS_WINDOW)) {
        ow_relay_close_broker(relay);
        ow_relay_forget_read(relay);
    }
    relay->is_resumed = true;
    ow_relay_tell(relay, OW_RELAY_WORKING, "");
    return 0;
}

/* 1: both sides are open; 0: not yet; < 0. The source comes first: one that stands by leaves the broker alone. */
int ow_relay_open_both(struct ow_relay *relay, struct ow_error *err)
{
    int64_t now = ow_relay_now_ms(relay);
    if (!relay->source_is_open) {
        if (now < relay->source_due_ms)
            return 0;
        int r = open_source(relay, err);
        if (r == OW_ESTANDBY) {
            if (!relay->is_standing_by)
                ow_relay_tell(relay, OW_RELAY_STANDBY, err->text);
            relay->is_standing_by = true;
            relay->source_due_ms = now + STANDBY_MS;
            return 0;
        }
        if (r < 0)
            return ow_relay_source_failed(relay, err);
    }
    if (!relay->broker_is_open) {
        if (now < relay->broker_due_ms)
            return 0;
        int r = open_broker(relay, err);
        if (r < 0)
            return ow_relay_broker_failed(relay, err);
        /* That may have taken long. Whoever was stopped meanwhile, and followed by another relay, has just fenced that
           one off, and must not go on with what it knows of the source. */
        r = ow_relay_check_hold(relay, err);
        if (r < 0)
            return ow_relay_source_failed(relay, err);
    }
    if (!relay->is_resumed) {
        if (now < relay->source_due_ms)
            return 0;
        int r = ow_relay_level(relay, err);
        if (r <= 0)
            return r;
        r = resume_source(relay, err);
        if (r < 0)
            return ow_relay_source_failed(relay, err);
    }
    return relay->source_is_open && relay->broker_is_open;
}

int ow_relay_start(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_error first = {0};
    int r = open_source(relay, &first);
    if (r == OW_ESTANDBY) {
        ow_relay_tell(relay, OW_RELAY_STANDBY, first.text);
        relay->is_standing_by = true;
        relay->source_due_ms = ow_relay_now_ms(relay) + STANDBY_MS;
        return 0;
    }
    if (r == 0)
        r = open_broker(relay, &first);
    if (r == 0 && !relay->is_uneven) /* else the first step does it */
        r = resume_source(relay, &first);
    if (r < 0) { /* it may be called again */
        ow_relay_close_broker(relay);
        ow_relay_close_source(relay);
        return ow_error_set(err, r, "%s", first.text);
    }
    return 0;
}
