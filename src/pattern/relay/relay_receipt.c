/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker says of what was sent to it. */
#include "base/crash.h"
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

enum {
    RECEIPTS_MAX = 256,
};

/* --- the time that counts ------------------------------------------------------------------------------ */

void ow_relay_note_open(struct ow_relay *relay)
{
    if (!OW_MUTANT(TROUBLE_COUNTS) || relay->answered_ms == 0)
        relay->answered_ms = ow_relay_now_ms(relay);
    relay->broker_is_unwell = false;
}

static void note_answer(struct ow_relay *relay)
{
    int64_t now = ow_relay_now_ms(relay);
    if (!relay->broker_is_unwell || OW_MUTANT(TROUBLE_COUNTS))
        relay->well_ms += now - relay->answered_ms;
    relay->answered_ms = now;
    relay->broker_is_unwell = false;
}

/* --- receipts ------------------------------------------------------------------------------------------ */

static void tell_reason(struct ow_relay *relay, const struct ow_receipt *receipt)
{
    struct ow_error why;
    if (relay->has_trouble)
        return;
    ow_error_set(&why, OW_EAGAIN, "the broker did not accept: %s", receipt->reason);
    ow_relay_tell_trouble(relay, &why);
}

/* Nothing is held against it. */
static void wait_for_broker(struct ow_relay *relay, struct ow_slot *slot)
{
    uint32_t failures = relay->broker_failures ? relay->broker_failures : 1;
    ow_window_retry(&relay->window, slot,
                    ow_relay_now_ms(relay) + ow_relay_delay_ms(relay, &relay->options.reconnect, failures), false);
}

static int take_failure(struct ow_relay *relay, struct ow_slot *slot, const struct ow_receipt *receipt,
                        struct ow_error *err)
{
    const struct ow_retry_policy *policy = &relay->options.retry;
    enum ow_error_class class = receipt->verdict == OW_REJECTED ? OW_CLASS_PERMANENT : OW_CLASS_RETRYABLE;
    if (slot->failures == 0)
        slot->failing_ms = relay->well_ms;
    bool is_in_the_way = policy->elapsed_max_ms && slot->failures > 0 && ow_window_is_hogged(&relay->window, slot);
    if (is_in_the_way ||
        ow_retry_decide(policy, slot->failures + 1, relay->well_ms - slot->failing_ms, class) == OW_RETRY_ASIDE)
        return ow_relay_set_aside(relay, slot, receipt->reason[0] ? receipt->reason : "the broker gave no reason", err);
    tell_reason(relay, receipt);
    ow_relay_back_off(relay, slot, true);
    return 0;
}

static int take_receipt(struct ow_relay *relay, const struct ow_receipt *receipt, struct ow_error *err)
{
    struct ow_slot *slot = ow_window_find(&relay->window, receipt->token);
    if (!slot && OW_MUTANT(RECEIPT_TWICE))
        slot = ow_window_find(&relay->window, receipt->token + 1);
    if (!slot)
        return 0; /* late or doubled */
    if (receipt->verdict == OW_ACCEPTED || (receipt->verdict == OW_RETRY && OW_MUTANT(RETRY_IS_ACCEPTED))) {
        ow_relay_settle(relay, slot, false);
        return 0;
    }
    if (receipt->verdict == OW_LATER || (receipt->verdict == OW_RETRY && relay->broker_is_unwell)) {
        tell_reason(relay, receipt);
        wait_for_broker(relay, slot);
        return 0;
    }
    return take_failure(relay, slot, receipt, err);
}

/* A LATER among them says that it is unwell, unless there is an answer as well. */
static void judge_broker(struct ow_relay *relay, const char *trouble, const struct ow_receipt *receipts, int count)
{
    bool has_answered = false, is_unable = trouble != NULL;
    for (int i = 0; i < count; i++) {
        has_answered |= receipts[i].verdict != OW_LATER;
        is_unable |= receipts[i].verdict == OW_LATER;
    }
    if (has_answered && !trouble)
        note_answer(relay);
    relay->broker_failures += is_unable && count > 0;
    relay->broker_is_unwell |= is_unable;
}

static const char *trouble_of(struct ow_relay *relay)
{
    return relay->broker->ops->trouble ? relay->broker->ops->trouble(relay->broker) : NULL;
}

int ow_relay_take_receipts(struct ow_relay *relay, struct ow_error *err)
{
    struct ow_receipt receipts[RECEIPTS_MAX];
    int n;
    do {
        n = relay->broker->ops->step(relay->broker, receipts, RECEIPTS_MAX, err);
        if (n < 0)
            return ow_relay_broker_failed(relay, err);
        if (n > 0)
            relay->is_clogged = false; /* a receipt makes room */
        const char *trouble = trouble_of(relay);
        judge_broker(relay, trouble, receipts, n);
        if (trouble) { /* it goes on by itself; a person should know what everything waits for */
            ow_error_set(err, OW_EUNREACHABLE, "%s", trouble);
            ow_relay_tell_trouble(relay, err);
        }
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
    return 0;
}
