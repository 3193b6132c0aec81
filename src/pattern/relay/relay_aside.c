/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves the stream without being accepted, and what waits to be tried again. */
#include <stdio.h>

#include "base/crash.h"
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

void ow_relay_settle(struct ow_relay *relay, struct ow_slot *slot, bool is_aside)
{
    relay->counters.accepted += !is_aside;
    relay->counters.set_aside += is_aside;
    ow_window_settle(&relay->window, slot, is_aside);
}

void ow_relay_back_off(struct ow_relay *relay, struct ow_slot *slot, bool counts)
{
    const struct ow_retry_policy *policy = &relay->options.retry;
    uint32_t failures = slot->failures + counts;
    int64_t delay_ms = ow_relay_delay_ms(relay, policy, failures ? failures : 1);
    int64_t left_ms = policy->elapsed_max_ms - (relay->well_ms - slot->failing_ms);
    if (counts && policy->elapsed_max_ms && left_ms < delay_ms) /* the last attempt is at the end of its time */
        delay_ms = left_ms > 1 ? left_ms : 1;
    relay->counters.retried += counts;
    ow_window_retry(&relay->window, slot, ow_relay_now_ms(relay) + delay_ms, counts);
}

int ow_relay_set_aside(struct ow_relay *relay, struct ow_slot *slot, const char *reason, struct ow_error *err)
{
    OW_CRASH_POINT(RELAY_BEFORE_ASIDE);
    int r = OW_EAGAIN;
    if (OW_MUTANT(REJECT_IS_DROPPED))
        r = 0;
    else if (relay->source_is_open)
        r = relay->source->ops->set_aside(relay->source, slot->message, reason, slot->failures + 1, err);
    if (r < 0 && !OW_MUTANT(ASIDE_UNRECORDED)) {
        ow_relay_back_off(relay, slot, false);
        return relay->source_is_open ? ow_relay_source_failed(relay, err) : 0;
    }
    OW_CRASH_POINT(RELAY_AFTER_ASIDE);
    if (relay->options.listener) {
        char text[600];
        (void)snprintf(text, sizeof text, "message %.*s: %s", OW_PRINT(slot->message->id), reason);
        ow_relay_tell(relay, OW_RELAY_ASIDE, text);
    }
    ow_relay_settle(relay, slot, true);
    return 0;
}

int ow_relay_park(struct ow_relay *relay, struct ow_slot *slot, struct ow_error *err)
{
    if (!relay->options.parks || !slot->message->key.data || slot->is_dropped || OW_MUTANT(PARKED_PASSES))
        return 0;
    int r = relay->source_is_open ? relay->source->ops->park(relay->source, slot->message, err) : OW_EAGAIN;
    if (r == 0)
        return 0;
    if (r < 0) {
        ow_relay_back_off(relay, slot, false);
        r = relay->source_is_open ? ow_relay_source_failed(relay, err) : 0;
        return r < 0 ? r : 1;
    }
    OW_CRASH_POINT(RELAY_AFTER_ASIDE);
    relay->counters.parked++;
    ow_relay_settle(relay, slot, true);
    return 1;
}
