/* SPDX-License-Identifier: Apache-2.0 */
/* Private to relay*.c. An int is 0, or 1 where it says so, or the error that ends the relay. */
#ifndef OW_PATTERN_RELAY_PRIVATE_H
#define OW_PATTERN_RELAY_PRIVATE_H

#include "pattern/relay/relay.h"

static inline int64_t ow_relay_now_ms(const struct ow_relay *relay)
{
    return relay->options.world.now_ms(relay->options.world.context);
}

/* relay.c */
/* Fills in topic and key; an error says why the message can never be sent. 1: it is dropped. */
int ow_relay_make_fit(struct ow_relay *relay, struct ow_message *m, struct ow_error *err);

/* relay_aside.c */
void ow_relay_settle(struct ow_relay *relay, struct ow_slot *slot, bool is_aside);
void ow_relay_back_off(struct ow_relay *relay, struct ow_slot *slot, bool counts);
/* The message leaves the stream with its reason on record. If that cannot be recorded now it stays in the
   window, is tried again, and comes back here. */
int ow_relay_set_aside(struct ow_relay *relay, struct ow_slot *slot, const char *reason, struct ow_error *err);

/* 1: it was put behind a dead letter of its key, or could not be now and waits; 0: nothing stands before it. */
int ow_relay_park(struct ow_relay *relay, struct ow_slot *slot, struct ow_error *err);

/* relay_send.c */
/* A broker with transactions remembers the batches of one unconfirmed step, no more. Without an open source another
   relay may be at work; and a source that is not resumed may begin anew, from what is on record now. */
bool ow_relay_may_send(const struct ow_relay *relay);
int ow_relay_send_all(struct ow_relay *relay, struct ow_error *err);

/* relay_receipt.c */
/* The broker was opened: time counts from here. */
void ow_relay_note_open(struct ow_relay *relay);
int ow_relay_take_receipts(struct ow_relay *relay, struct ow_error *err);

/* relay_open.c */
int64_t ow_relay_delay_ms(const struct ow_relay *relay, const struct ow_retry_policy *policy, uint32_t failures);
void ow_relay_tell(struct ow_relay *relay, enum ow_relay_event event, const char *text);
void ow_relay_tell_trouble(struct ow_relay *relay, const struct ow_error *err);
void ow_relay_tell_back(struct ow_relay *relay);
void ow_relay_close_source(struct ow_relay *relay);
void ow_relay_close_broker(struct ow_relay *relay);
/* What was read and is not confirmed comes again from the source. The broker, which may have some of it, is closed. */
void ow_relay_forget_read(struct ow_relay *relay);
/* Whether no other relay can have the source: asked when this one stood still for long enough. < 0: the source failed.
 */
int ow_relay_check_hold(struct ow_relay *relay, struct ow_error *err);
/* 0: it is taken care of, and is tried again later. */
int ow_relay_source_failed(struct ow_relay *relay, const struct ow_error *err);
int ow_relay_broker_failed(struct ow_relay *relay, const struct ow_error *err);
/* 1: both sides are open; 0: not yet. */
int ow_relay_open_both(struct ow_relay *relay, struct ow_error *err);

/* relay_confirm.c */
/* Whether confirmed messages wait for more: to confirm them costs a write. With transactions it is done already. */
bool ow_relay_gathers(const struct ow_relay *relay);
/* Whether both sides are there that it takes. */
bool ow_relay_may_confirm(const struct ow_relay *relay);
int ow_relay_confirm(struct ow_relay *relay, struct ow_error *err);
/* Before the source hears what is on record: a place that lacks it is given it. 1: all have it; 0: not now. */
int ow_relay_level(struct ow_relay *relay, struct ow_error *err);
/* The source has gone back: what the broker has on record is of another life of it, and counts no more. */
int ow_relay_forget_record(struct ow_relay *relay, struct ow_error *err);

#endif
