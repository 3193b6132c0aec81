/* SPDX-License-Identifier: Apache-2.0 */
/* What left the window: on record, and confirmed. */
#include "base/crash.h"
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

enum {
    /* How long messages of a log wait to be confirmed together, where the broker, or the source, records them. */
    RECORD_BROKER_MS = 1000,
    RECORD_SOURCE_MS = 10000,
    STOOD_STILL_MS = 500, /* a server may give a reader up after a second */
};

/* Whether confirmed messages wait for more: to confirm them costs a write. With transactions it is done already. */
bool ow_relay_gathers(const struct ow_relay *relay)
{
    return relay->source->ops->is_log && !relay->broker->ops->has_transactions;
}

bool ow_relay_may_confirm(const struct ow_relay *relay)
{
    /* Before it is resumed a log does not know what is on record; another relay may have been further. */
    return relay->source_is_open &&
           (relay->is_resumed || !relay->source->ops->is_log || OW_MUTANT(CONFIRM_UNRESUMED)) &&
           (relay->broker_is_open || !relay->source->is_recorded);
}

/* Who was stopped since the step began, and followed by another relay, has nothing to record any more. 1: it was not;
   0: not now; < 0. */
static int is_still_held(struct ow_relay *relay, struct ow_error *err)
{
    if (ow_relay_now_ms(relay) - relay->held_ms < STOOD_STILL_MS)
        return 1;
    int r = ow_relay_check_hold(relay, err);
    return r < 0 ? ow_relay_source_failed(relay, err) : 1;
}

/* What was set aside alone leaves nothing to hang a position on. As long as nothing is on record, there is nothing that
   the source could get ahead of. */
static int found_nowhere(struct ow_relay *relay)
{
    relay->confirm_due_ms = ow_relay_now_ms(relay) + RECORD_BROKER_MS;
    return ow_position_is_zero(relay->stored) || OW_MUTANT(NOWHERE_IS_RECORDED);
}

static int record_in_places(struct ow_relay *relay, struct ow_position position, struct ow_error *err)
{
    const struct ow_broker_ops *ops = relay->broker->ops;
    for (uint32_t place = 0; place < OW_RECORD_PLACES; place++) {
        if (place > 0 && OW_MUTANT(ONE_PLACE))
            return 1;
        int r = place > 0 ? ow_relay_check_hold(relay, err) : 0;
        if (r < 0)
            return ow_relay_source_failed(relay, err);
        r = ops->record_position(relay->broker, relay->identity.data, position, place, err);
        if (r == OW_EAGAIN)
            return found_nowhere(relay) && place == 0;
        relay->offered = position;
        if (r < 0)
            return ow_relay_broker_failed(relay, err);
    }
    relay->stored = position;
    relay->is_uneven = false;
    return 1;
}

static int record_in_transaction(struct ow_relay *relay, struct ow_position position, struct ow_error *err)
{
    const struct ow_broker_ops *ops = relay->broker->ops;
    int r = ops->txn_begin(relay->broker, err);
    if (r == 0)
        r = ops->txn_commit(relay->broker, relay->identity.data, position, err);
    if (r < 0)
        return ow_relay_broker_failed(relay, err);
    if (r == 0) /* else nowhere: there is nothing on record that the source could get ahead of */
        relay->stored = position;
    return 1;
}

static int put_on_record(struct ow_relay *relay, struct ow_position position, struct ow_error *err)
{
    relay->refresh_due_ms = ow_relay_now_ms(relay) + relay->options.refresh_ms;
    return relay->broker->ops->has_transactions ? record_in_transaction(relay, position, err)
                                                : record_in_places(relay, position, err);
}

/* 1: on record, or nobody but the source records it; 0: not now; < 0. */
static int record(struct ow_relay *relay, struct ow_position position, struct ow_error *err)
{
    bool has_transactions = relay->broker->ops->has_transactions;
    if (!relay->source->is_recorded)
        return 1;
    if (!relay->broker_is_open)
        return 0;
    if ((has_transactions && OW_MUTANT(DROP_UNRECORDED)) || (!has_transactions && OW_MUTANT(CONFIRM_UNRECORDED)))
        return 1;
    /* Never back: whoever had the source meanwhile may be further, and so may what the source has forgotten. */
    if (ow_position_compare(position, relay->stored) <= 0 && !OW_MUTANT(RECORD_BACK))
        position = relay->stored;
    bool is_there = ow_position_compare(position, relay->stored) == 0 && (!relay->is_uneven || OW_MUTANT(UNEVEN));
    return is_there ? 1 : put_on_record(relay, position, err);
}

int ow_relay_level(struct ow_relay *relay, struct ow_error *err)
{
    if (!relay->is_uneven || OW_MUTANT(UNEVEN))
        return 1;
    int r = put_on_record(relay, relay->stored, err);
    if (r == 0 && relay->broker_is_open && relay->source_due_ms <= ow_relay_now_ms(relay)) /* nowhere, for now */
        relay->source_due_ms = ow_relay_now_ms(relay) + RECORD_BROKER_MS;
    return r;
}

/* Where nothing happens for long a broker forgets what was recorded. */
static int refresh(struct ow_relay *relay, struct ow_error *err)
{
    bool is_further = ow_position_compare(relay->offered, relay->stored) > 0; /* in one place, perhaps */
    if (!relay->source->is_recorded || !ow_relay_may_confirm(relay) || relay->txn_is_open || is_further ||
        ow_position_is_zero(relay->stored) || ow_relay_now_ms(relay) < relay->refresh_due_ms)
        return 0;
    int r = is_still_held(relay, err);
    if (r == 1)
        r = put_on_record(relay, relay->stored, err);
    return r < 0 ? r : 0;
}

int ow_relay_forget_record(struct ow_relay *relay, struct ow_error *err)
{
    static const struct ow_position none;
    struct ow_broker *broker = relay->broker;
    const char *source = relay->identity.data;
    int r = 0;
    if (!relay->source->has_gone_back)
        return 0;
    if (broker->ops->forget_position)
        r = broker->ops->forget_position(broker, source, err);
    else {
        r = broker->ops->txn_begin(broker, err);
        if (r == 0)
            r = broker->ops->txn_commit(broker, source, none, err);
    }
    if (r < 0)
        return ow_relay_broker_failed(relay, err);
    relay->stored = none;
    relay->source->has_gone_back = false;
    return 0;
}

static bool is_time_to_confirm(const struct ow_relay *relay)
{
    if (relay->confirming_count == 0 || !ow_relay_may_confirm(relay) || ow_relay_now_ms(relay) < relay->source_due_ms)
        return false;
    return !ow_relay_gathers(relay) || relay->is_draining ||
           relay->confirming_count >= relay->window.limits.count_max - relay->window.limits.count_max / 4 ||
           ow_relay_now_ms(relay) >= relay->confirm_due_ms || (relay->options.ends_at_end && relay->window.count == 0);
}

static int confirm_these(struct ow_relay *relay, const struct ow_position *positions, size_t count,
                         struct ow_error *err)
{
    int r = relay->source->ops->confirm(relay->source, positions, count, err);
    relay->confirm_due_ms = ow_relay_now_ms(relay) + (relay->source->is_recorded ? RECORD_BROKER_MS : RECORD_SOURCE_MS);
    return r < 0 ? ow_relay_source_failed(relay, err) : 1;
}

/* A log that went on without a message: how far, is recorded and confirmed like a message. */
static int confirm_idle(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_position position;
    bool is_open = relay->window.count > 0 || relay->confirming_count > 0 || relay->spare;
    if (!relay->source->ops->idle_position || !relay->source_is_open || !relay->is_resumed ||
        (is_open && !OW_MUTANT(IDLE_TOO_EARLY)) || relay->txn_is_open ||
        (relay->source->is_recorded && !relay->broker_is_open) ||
        !relay->source->ops->idle_position(relay->source, &position))
        return 0;
    int r = is_still_held(relay, err);
    if (r == 1)
        r = record(relay, position, err);
    if (r == 1)
        r = confirm_these(relay, &position, 1, err);
    return r < 0 ? r : 0;
}

int ow_relay_confirm(struct ow_relay *relay, struct ow_error *err)
{
    bool is_aside;
    struct ow_message *message;
    while (relay->confirming_count < relay->window.limits.count_max &&
           (message = ow_window_pop(&relay->window, &is_aside))) {
        relay->confirming[relay->confirming_count++] = message->position;
        ow_message_free(message);
    }
    int r = refresh(relay, err);
    if (r < 0)
        return r;
    if (!is_time_to_confirm(relay))
        return confirm_idle(relay, err);
    r = is_still_held(relay, err);
    /* With transactions it is on record, but for what was set aside or dropped at the end. */
    if (r == 1)
        r = record(relay, relay->confirming[relay->confirming_count - 1], err);
    if (r <= 0)
        return r;
    r = confirm_these(relay, relay->confirming, relay->confirming_count, err);
    if (r <= 0)
        return r;
    relay->counters.confirmed += relay->confirming_count;
    relay->confirming_count = 0;
    relay->source_failures = 0;
    ow_relay_tell_back(relay);
    OW_CRASH_POINT(RELAY_AFTER_CONFIRM);
    return 0;
}
