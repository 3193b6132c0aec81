/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "codec/json.h"
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

enum {
    RECEIPTS_MAX = 256,
};

void ow_relay_options_default(struct ow_relay_options *options)
{
    *options = (struct ow_relay_options){
        .limits = ow_message_limits_default,
        .window = ow_window_limits_default,
        .retry = ow_retry_policy_default,
        .reconnect = {.initial_ms = 100, .max_ms = 5000, .multiplier = 2, .jitter = 0.2},
        .world = ow_world_real,
    };
}

int ow_relay_init(struct ow_relay *relay, const struct ow_relay_options *options, struct ow_source *source,
                  struct ow_broker *broker, struct ow_error *err)
{
    *relay = (struct ow_relay){.source = source, .broker = broker, .options = *options};
    source->is_recorded = source->ops->is_log && (broker->ops->has_transactions || broker->ops->record_position);
    source->hurries = options->ends_at_end;
    struct ow_window_limits window = options->window;
    window.keeps_order = broker->ops->keeps_order;
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
    ow_message_free(relay->spare);
    ow_window_done(&relay->window);
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

/* Fills in topic and key; an error says why the message can never be sent. 1: it is dropped. */
static int make_fit(struct ow_relay *relay, struct ow_message *m, struct ow_error *err)
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
        if (relay->is_rereading && is_still_here(relay, view.position))
            continue;
        if (ow_position_compare(view.position, relay->newest) > 0) {
            relay->is_rereading = false;
            relay->newest = view.position;
        }
        struct ow_error why;
        r = make_fit(relay, &view, &why);
        relay->spare_is_unfit = r < 0;
        relay->spare_is_dropped = r == 1;
        if (relay->spare_is_unfit && why.code == OW_ENOMEM)
            return ow_error_set(err, OW_ENOMEM, "%s", why.text);
        relay->spare = ow_message_copy(&view);
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
                      relay->confirming_count + relay->window.count < relay->window.limits.count_max);
    return !relay->is_draining && relay->source_is_open && is_within && ow_window_has_room(&relay->window, 0);
}

static int read_all(struct ow_relay *relay, struct ow_error *err)
{
    bool has_read = false;
    while (may_read(relay) && ow_relay_now_ms(relay) >= relay->source_due_ms) {
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

/* --- setting aside ----------------------------------------------------------------------------------- */

static void settle(struct ow_relay *relay, struct ow_slot *slot, bool is_aside)
{
    relay->counters.accepted += !is_aside;
    relay->counters.set_aside += is_aside;
    ow_window_settle(&relay->window, slot, is_aside);
}

static void back_off(struct ow_relay *relay, struct ow_slot *slot, bool counts)
{
    uint32_t failures = slot->failures + counts;
    relay->counters.retried += counts;
    ow_window_retry(&relay->window, slot,
                    ow_relay_now_ms(relay) + ow_relay_delay_ms(relay, &relay->options.retry, failures ? failures : 1),
                    counts);
}

/* The message leaves the stream with its reason on record. If that cannot be recorded now it stays in the
   window, is tried again, and comes back here. */
static int set_aside(struct ow_relay *relay, struct ow_slot *slot, const char *reason, struct ow_error *err)
{
    OW_CRASH_POINT(RELAY_BEFORE_ASIDE);
    int r = OW_EAGAIN;
    if (OW_MUTANT(REJECT_IS_DROPPED))
        r = 0;
    else if (relay->source_is_open)
        r = relay->source->ops->set_aside(relay->source, slot->message, reason, slot->failures + 1, err);
    if (r < 0 && !OW_MUTANT(ASIDE_UNRECORDED)) {
        back_off(relay, slot, false);
        return relay->source_is_open ? ow_relay_source_failed(relay, err) : 0;
    }
    OW_CRASH_POINT(RELAY_AFTER_ASIDE);
    if (relay->options.listener) {
        char text[600];
        (void)snprintf(text, sizeof text, "message %.*s: %s", OW_PRINT(slot->message->id), reason);
        ow_relay_tell(relay, OW_RELAY_ASIDE, text);
    }
    settle(relay, slot, true);
    return 0;
}

/* --- sending ----------------------------------------------------------------------------------------- */

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
        settle(relay, slot, false);
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
    if (has_position && ow_position_compare(position, relay->stored) < 0)
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
    int r = make_fit(relay, &view, &why);
    return set_aside(relay, slot, r < 0 ? why.text : "unfit", err);
}

/* A broker with transactions remembers the batches of one unconfirmed step, no more. And without an open
   source another relay may be at work. */
static bool may_send(const struct ow_relay *relay)
{
    return !relay->broker->ops->has_transactions || (relay->source_is_open && relay->confirming_count == 0);
}

/* 1: go on with the next; 0: no more now; < 0: the relay ends. */
static int send_or_set_aside(struct ow_relay *relay, struct ow_slot *slot, struct ow_error *err)
{
    if (slot->is_unfit) {
        int r = set_unfit_aside(relay, slot, err);
        return r < 0 ? r : 1;
    }
    int r = slot->is_dropped ? drop(relay, slot, err) : send_one(relay, slot, err);
    if (r < 0) {
        r = ow_relay_broker_failed(relay, err);
        return r < 0 ? r : 0;
    }
    relay->is_clogged = r == 0;
    return r;
}

static int send_all(struct ow_relay *relay, struct ow_error *err)
{
    int r = 1;
    ow_window_wake(&relay->window, ow_relay_now_ms(relay));
    relay->is_clogged = false;
    uint64_t next = 0;
    while (r == 1 && may_send(relay)) {
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

/* --- receipts ---------------------------------------------------------------------------------------- */

static int take_receipt(struct ow_relay *relay, const struct ow_receipt *receipt, struct ow_error *err)
{
    struct ow_slot *slot = ow_window_find(&relay->window, receipt->token);
    if (!slot && OW_MUTANT(RECEIPT_TWICE))
        slot = ow_window_find(&relay->window, receipt->token + 1);
    if (!slot)
        return 0; /* late or doubled */
    if (receipt->verdict == OW_ACCEPTED || (receipt->verdict == OW_RETRY && OW_MUTANT(RETRY_IS_ACCEPTED))) {
        settle(relay, slot, false);
        return 0;
    }
    enum ow_error_class class = receipt->verdict == OW_REJECTED ? OW_CLASS_PERMANENT : OW_CLASS_RETRYABLE;
    if (ow_retry_decide(&relay->options.retry, slot->failures + 1, class) == OW_RETRY_ASIDE)
        return set_aside(relay, slot, receipt->reason[0] ? receipt->reason : "the broker gave no reason", err);
    if (!relay->has_trouble) {
        ow_error_set(err, OW_EAGAIN, "the broker did not accept: %s", receipt->reason);
        ow_relay_tell_trouble(relay, err);
    }
    back_off(relay, slot, true);
    return 0;
}

static int take_receipts(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_receipt receipts[RECEIPTS_MAX];
    int n;
    do {
        n = relay->broker->ops->step(relay->broker, receipts, RECEIPTS_MAX, err);
        if (n < 0)
            return ow_relay_broker_failed(relay, err);
        if (n > 0)
            relay->is_clogged = false; /* a receipt makes room */
        uint64_t accepted_before = relay->counters.accepted;
        for (int i = 0; i < n; i++) {
            int r = take_receipt(relay, &receipts[i], err);
            if (r < 0)
                return r;
        }
        if (relay->counters.accepted > accepted_before) {
            relay->broker_failures = 0;
            OW_CRASH_POINT(RELAY_AFTER_ACCEPT);
        }
    } while (n == RECEIPTS_MAX);
    const char *trouble = relay->broker->ops->trouble ? relay->broker->ops->trouble(relay->broker) : NULL;
    if (trouble) { /* it goes on by itself; a person should know what everything waits for */
        ow_error_set(err, OW_EUNREACHABLE, "%s", trouble);
        ow_relay_tell_trouble(relay, err);
    }
    return 0;
}

/* --- one step ---------------------------------------------------------------------------------------- */

static void say_what_to_wait_for(struct ow_relay *relay, struct ow_wait *wait)
{
    int64_t now = ow_relay_now_ms(relay);
    bool may_read_now = may_read(relay) && now >= relay->source_due_ms;
    if (!relay->source_is_open || now < relay->source_due_ms)
        ow_wait_until(wait, relay->source_due_ms);
    if (relay->confirming_count > 0 && ow_relay_gathers(relay))
        ow_wait_until(wait, relay->confirm_due_ms);
    if (!relay->broker_is_open) {
        if (relay->source_is_open)
            ow_wait_until(wait, relay->broker_due_ms);
        return;
    }
    relay->broker->ops->wait(relay->broker, wait);
    ow_wait_until(wait, ow_window_due_ms(&relay->window));
    if (ow_window_has_ready(&relay->window) && !relay->is_clogged && may_send(relay))
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
    int r = relay->source->ops->tend(relay->source, wait, err);
    return r < 0 ? ow_relay_source_failed(relay, err) : 0;
}

int ow_relay_step(struct ow_relay *relay, struct ow_wait *wait, struct ow_error *err)
{
    struct ow_error first = {0};
    ow_wait_init(wait);
    int r = ow_relay_open_both(relay, &first);
    if (r == 1)
        r = read_all(relay, &first);
    if (r == 0 && relay->broker_is_open)
        r = send_all(relay, &first);
    if (r == 0 && relay->broker_is_open)
        r = take_receipts(relay, &first);
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
