/* SPDX-License-Identifier: Apache-2.0 */
/* Private to relay*.c. An int is 0, or 1 where it says so, or the error that ends the relay. */
#ifndef OW_PATTERN_RELAY_PRIVATE_H
#define OW_PATTERN_RELAY_PRIVATE_H

#include "pattern/relay/relay.h"

static inline int64_t ow_relay_now_ms(const struct ow_relay *relay)
{
    return relay->options.world.now_ms(relay->options.world.context);
}

/* relay_open.c */
int64_t ow_relay_delay_ms(const struct ow_relay *relay, const struct ow_retry_policy *policy, uint32_t failures);
void ow_relay_tell(struct ow_relay *relay, enum ow_relay_event event, const char *text);
void ow_relay_tell_trouble(struct ow_relay *relay, const struct ow_error *err);
void ow_relay_tell_back(struct ow_relay *relay);
void ow_relay_close_source(struct ow_relay *relay);
void ow_relay_close_broker(struct ow_relay *relay);
/* 0: it is taken care of, and is tried again later. */
int ow_relay_source_failed(struct ow_relay *relay, const struct ow_error *err);
int ow_relay_broker_failed(struct ow_relay *relay, const struct ow_error *err);
/* 1: both sides are open; 0: not yet. */
int ow_relay_open_both(struct ow_relay *relay, struct ow_error *err);

/* relay_confirm.c */
/* Whether confirmed messages wait for more: to confirm them costs a write. With transactions it is done already. */
bool ow_relay_gathers(const struct ow_relay *relay);
int ow_relay_confirm(struct ow_relay *relay, struct ow_error *err);

#endif
