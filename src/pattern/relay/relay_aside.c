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
    uint32_t failures = slot->failures + counts;
    relay->counters.retried += counts;
    ow_window_retry(&relay->window, slot,
                    ow_relay_now_ms(relay) + ow_relay_delay_ms(relay, &relay->options.retry, failures ? failures : 1),
                    counts);
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
