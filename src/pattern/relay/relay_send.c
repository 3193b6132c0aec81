/* SPDX-License-Identifier: Apache-2.0 */
/* From the window to the broker. */
#include <stdio.h>

#include "base/crash.h"
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

/* 1: the broker has this message already, from before a crash or a lost answer; 0: it has not; < 0 */
static int is_known(struct ow_relay *relay, const struct ow_message *m, struct ow_error *err)
{
    if (!relay->broker->ops->has_transactions || ow_position_is_zero(relay->known) ||
        ow_position_compare(m->position, relay->known) > 0)
        return 0;
    if (OW_MUTANT(SKIP_BY_POSITION))
        return 1;
    int r = relay->broker->ops->was_accepted(relay->broker, relay->identity.data, m, err);
    if (r == 0 && !relay->went_back_was_told && !relay->source->ops->commits_late) {
        char position[OW_POSITION_TEXT_SIZE], text[300];
        (void)snprintf(
            text, sizeof text,
            "the source has messages at or before position %s that were never accepted; was it restored from a "
            "backup? They are published now",
            ow_position_format(relay->known, position));
        ow_relay_tell(relay, OW_RELAY_WENT_BACK, text);
        relay->went_back_was_told = true;
    }
    return r;
}

static int begin_txn(struct ow_relay *relay, struct ow_error *err)
{
    if (!relay->broker->ops->has_transactions || relay->txn_is_open)
        return 0;
    int r = relay->broker->ops->txn_begin(relay->broker, err);
    relay->txn_is_open = r == 0;
    relay->dropped_first = 0;
    return r;
}

static void settle_dropped(struct ow_relay *relay, struct ow_slot *slot)
{
    relay->counters.dropped++;
    ow_window_settle(&relay->window, slot, false);
}

/* Where there are transactions its position is committed with what is around it, or alone, and only then is it done. */
static int drop(struct ow_relay *relay, struct ow_slot *slot, struct ow_error *err)
{
    if (!relay->broker->ops->has_transactions) {
        settle_dropped(relay, slot);
        return 1;
    }
    int r = begin_txn(relay, err);
    if (r < 0)
        return r;
    if (relay->dropped_first == 0)
        relay->dropped_first = slot->token;
    relay->dropped_last = slot->token;
    return 1;
}

static void settle_all_dropped(struct ow_relay *relay)
{
    for (uint64_t token = relay->dropped_first; token && token <= relay->dropped_last; token++) {
        struct ow_slot *slot = ow_window_find(&relay->window, token);
        if (slot && slot->is_dropped)
            settle_dropped(relay, slot);
    }
    relay->dropped_first = 0;
}

/* 1: go on with the next; 0: no more now; < 0: the broker failed with *err, which ends what was begun */
static int send_one(struct ow_relay *relay, struct ow_slot *slot, struct ow_error *err)
{
    struct ow_broker *broker = relay->broker;
    int r = is_known(relay, slot->message, err);
    if (r < 0)
        return r;
    if (r == 1) {
        relay->counters.already_accepted++;
        ow_window_settle(&relay->window, slot, false);
        return 1;
    }
    r = begin_txn(relay, err);
    if (r < 0)
        return r;
    r = broker->ops->send(broker, slot->message, slot->token, err);
    if (r == OW_EAGAIN) {
        ow_window_put_back(&relay->window, slot);
        return 0;
    }
    if (r < 0)
        return r;
    relay->counters.sent++;
    OW_CRASH_POINT(RELAY_AFTER_SEND);
    if (OW_MUTANT(ACCEPT_ON_SEND))
        ow_relay_settle(relay, slot, false);
    return 1;
}

static int commit(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_position position = {0};
    bool has_position = ow_window_position_if_accepted(&relay->window, &position);
    if (OW_MUTANT(COMMIT_TOO_FAR)) {
        has_position = true;
        position = relay->newest;
    }
    /* Never back: what lies between may be accepted already, and is asked about only up to there. */
    if (has_position && ow_position_compare(position, relay->stored) < 0 && !OW_MUTANT(POSITION_BACK))
        position = relay->stored;
    OW_CRASH_POINT(RELAY_BEFORE_COMMIT);
    relay->txn_is_open = false;
    int r = relay->broker->ops->txn_commit(relay->broker, has_position ? relay->identity.data : NULL, position, err);
    if (r < 0)
        return ow_relay_broker_failed(relay, err);
    if (has_position && r == 0)
        relay->stored = position;
    settle_all_dropped(relay);
    return 0;
}

static int set_unfit_aside(struct ow_relay *relay, struct ow_slot *slot, struct ow_error *err)
{
    struct ow_message view = *slot->message; /* a copy: the window knows the message by its key */
    struct ow_error why = {0};
    int r = ow_relay_make_fit(relay, &view, &why);
    return ow_relay_set_aside(relay, slot, r < 0 ? why.text : "unfit", err);
}

bool ow_relay_may_send(const struct ow_relay *relay)
{
    return !relay->broker->ops->has_transactions ||
           (relay->source_is_open && relay->is_resumed && relay->confirming_count == 0);
}

/* 1: go on with the next; 0: no more now; < 0: the relay ends. */
static int send_or_set_aside(struct ow_relay *relay, struct ow_slot *slot, struct ow_error *err)
{
    int r = ow_relay_park(relay, slot, err);
    if (r != 0)
        return r;
    if (slot->is_unfit) {
        r = set_unfit_aside(relay, slot, err);
        return r < 0 ? r : 1;
    }
    r = slot->is_dropped ? drop(relay, slot, err) : send_one(relay, slot, err);
    if (r < 0) {
        r = ow_relay_broker_failed(relay, err);
        return r < 0 ? r : 0;
    }
    relay->is_clogged = r == 0;
    return r;
}

int ow_relay_send_all(struct ow_relay *relay, struct ow_error *err)
{
    int r = 1;
    ow_window_wake(&relay->window, ow_relay_now_ms(relay));
    relay->is_clogged = false;
    uint64_t next = 0;
    while (r == 1 && ow_relay_may_send(relay)) {
        if (relay->broker->ops->has_transactions)
            next = ow_window_next_open(&relay->window, next);
        struct ow_slot *slot = ow_window_take(&relay->window);
        if (!slot)
            break;
        if (next && slot->token != next) {
            /* It would be accepted behind the position that is stored, and nobody would be asked about it. */
            ow_window_put_back(&relay->window, slot);
            relay->is_clogged = true;
            break;
        }
        r = send_or_set_aside(relay, slot, err);
    }
    if (r < 0)
        return r;
    return relay->txn_is_open ? commit(relay, err) : 0;
}
