/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker says of what was sent to it. */
#include "base/crash.h"
#include "core/mutant.h"
#include "pattern/relay/relay_private.h"

enum {
    RECEIPTS_MAX = 256,
};

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
    enum ow_error_class class = receipt->verdict == OW_REJECTED ? OW_CLASS_PERMANENT : OW_CLASS_RETRYABLE;
    if (ow_retry_decide(&relay->options.retry, slot->failures + 1, class) == OW_RETRY_ASIDE)
        return ow_relay_set_aside(relay, slot, receipt->reason[0] ? receipt->reason : "the broker gave no reason", err);
    if (!relay->has_trouble) {
        ow_error_set(err, OW_EAGAIN, "the broker did not accept: %s", receipt->reason);
        ow_relay_tell_trouble(relay, err);
    }
    ow_relay_back_off(relay, slot, true);
    return 0;
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
