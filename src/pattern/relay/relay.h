/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relay: source -> broker. Written against the contracts alone; the world (clock, dice) comes in through
 * struct ow_world, so that the same code runs in the daemon and in the simulator.
 *
 * The life of one message:
 *
 *   source.next -> check -> route -> window -> broker.send -> broker.step (its receipt)
 *      -> accepted: settled | retry, later: back off, its key waits | rejected: source.set_aside, then settled
 *      -> the oldest settled ones leave the window -> source.confirm
 *
 * The position of a log is on record before the log is told to forget: in the broker, with its transactions or by
 * record_position, or, where that broker can do neither, by the source itself. Recording costs a write, so confirmed
 * messages gather: until they are three quarters of a window, or a while has passed. What is read and not confirmed
 * stays within one window all the same.
 *
 * A broker with transactions takes a batch and the source's position together; after a crash the relay asks
 * it about every message at or before that position, so that nothing is accepted twice, and nothing is
 * passed over because a database was restored from a backup.
 *
 * A message that is to be retried for its own sake is set aside when its attempts or its time are used up, and at its
 * second failure where its key fills more than half of the window. Only time in which the broker works counts: between
 * two answers of it, where it was not closed, in trouble or unable to take anything. While it is away everything waits.
 *
 * A relay that parks sets aside what comes behind a dead letter of its key as well, so that all of it can be put back
 * in order. For that no more than one message of a key is in flight: nothing may be ahead of one that is refused.
 *
 * Errors of a source or broker of class RETRYABLE make the relay close that side, wait, and open it again,
 * for ever; what was in flight is sent again. Other errors end ow_relay_step() with the error.
 */
#ifndef OW_PATTERN_RELAY_RELAY_H
#define OW_PATTERN_RELAY_RELAY_H

#include "broker/broker.h"
#include "core/retry.h"
#include "core/route.h"
#include "core/window.h"
#include "pattern/world.h"
#include "source/source.h"

enum ow_relay_event {
    OW_RELAY_STANDBY,   /* another relay works on this source; told once */
    OW_RELAY_WORKING,   /* source and broker are open */
    OW_RELAY_NOTICE,    /* it works, and text says what may not be meant; once */
    OW_RELAY_TROUBLE,   /* a side failed and is tried again; text says which and why; told once until it works */
    OW_RELAY_BACK,      /* works again after trouble */
    OW_RELAY_ASIDE,     /* a message became a dead letter; text has id and reason */
    OW_RELAY_DROPPED,   /* nothing is published of a row that should not be there; text says why */
    OW_RELAY_MISUSED,   /* the same, where it is to be taken as an error */
    OW_RELAY_WENT_BACK, /* the source has messages at or before the recorded position that were never accepted */
};
/* Makes of a row the record that is to be written: fills in topic, key, payload, headers, time_ms and is_shaped of
   *message, whose position and other fields the source has filled in; what it points to stays until the next call.
   1: publish it; 0: nothing is published, its position is confirmed in its turn; *err, which comes zeroed, may have a
   code and a text then, which are told. OW_EINVALID: it is to be set aside, with the reason; OW_ENOMEM. */
typedef int ow_relay_shape(void *context, const struct ow_row *row, struct ow_message *message, struct ow_error *err);

typedef void ow_relay_listener(void *context, enum ow_relay_event event, const char *text);

struct ow_relay_options {
    const char *topic;     /* template; NULL: "outbox.event.${!aggregatetype}" */
    const char *key;       /* template; NULL: "${!aggregateid}" */
    ow_relay_shape *shape; /* in place of both templates, for messages with a row; NULL: none */
    void *shape_context;   /* must outlive the relay */
    struct ow_message_limits limits;
    struct ow_window_limits window;   /* keeps_order is taken from the broker */
    struct ow_retry_policy retry;     /* for messages */
    struct ow_retry_policy reconnect; /* for source and broker; it has no end */
    bool parks;                       /* what follows a dead letter of its key is set aside behind it */
    int64_t refresh_ms;               /* what a broker has on record is recorded anew after that long; default a day */
    bool ends_at_end;                 /* ow_relay_is_idle() is waited for: nothing is put off */
    struct ow_world world;
    ow_relay_listener *listener;     /* may be NULL */
    bool (*may_wait)(void *context); /* asked while a call of the broker waits: false ends that. NULL: it may */
    void *listener_context;          /* of both */
};
void ow_relay_options_default(struct ow_relay_options *options);

struct ow_relay_counters { /* since ow_relay_init() */
    uint64_t read, sent, accepted, retried, set_aside, parked, confirmed, already_accepted, dropped;
};

struct ow_relay {
    struct ow_relay_counters counters;
    struct ow_window window;
    bool is_draining; /* set by ow_relay_drain() */
    /* private to relay.c */
    struct ow_source *source;
    struct ow_broker *broker;
    struct ow_relay_options options;
    struct ow_route topic, key;
    struct ow_buf topic_scratch, key_scratch; /* of a shaped message: why it is unfit */
    bool source_is_open, broker_is_open, is_resumed;
    bool is_standing_by, has_trouble, is_dry, is_clogged, txn_is_open, went_back_was_told, notice_was_told;
    uint32_t source_failures, broker_failures; /* in a row */
    int64_t source_due_ms, broker_due_ms;      /* nothing is asked of that side before */
    int64_t well_ms, answered_ms;              /* the time that counts; the broker's last answer */
    bool broker_is_unwell;                     /* since that answer it was closed, in trouble, or unable */
    struct ow_buf identity;                    /* of the source that the window belongs to */
    struct ow_position known;                  /* the broker's last position when it was opened; zero: none */
    struct ow_position stored;                 /* its last position now */
    struct ow_position offered;                /* what it was given last to be recorded; it may have done that */
    bool is_uneven;                            /* what is stored is not in all of its places */
    struct ow_position newest;            /* the newest position that was admitted since the source was opened first */
    uint64_t dropped_first, dropped_last; /* tokens: of this transaction, settled when it is committed; 0: none */
    bool is_rereading;                    /* the source was opened again: what is still here comes once more */
    struct ow_message_pool pool;          /* of the messages in the window */
    struct ow_message *spare;             /* read and routed; the window had no room for it */
    bool spare_is_unfit, spare_is_dropped;
    struct ow_position *confirming; /* left the window and not confirmed yet; rising */
    uint32_t confirming_count;
    struct ow_error tend_failure; /* while a call of the broker waited */
    int64_t refresh_due_ms;       /* of what is on record */
    int64_t confirm_due_ms;       /* of a log: fewer than three quarters of a window wait for that */
    int64_t held_ms;              /* when it was known last that no other relay has the source */
};

/* source and broker stay the caller's and must outlive the relay. OW_EINVALID: a template is wrong. */
int ow_relay_init(struct ow_relay *relay, const struct ow_relay_options *options, struct ow_source *source,
                  struct ow_broker *broker, struct ow_error *err) OW_MUST_CHECK;
/* Closes source and broker. */
void ow_relay_done(struct ow_relay *relay);

/* Opens both sides now and returns the first error, also a RETRYABLE one: for the start, when a person is
   there to see it. OW_ESTANDBY is no error here: it is told to the listener, and step() keeps trying. */
int ow_relay_start(struct ow_relay *relay, struct ow_error *err) OW_MUST_CHECK;
/* Does what can be done now, without blocking but for the store, and says in `wait` what to wait for. */
int ow_relay_step(struct ow_relay *relay, struct ow_wait *wait, struct ow_error *err) OW_MUST_CHECK;
/* From now on nothing is read; step() until ow_relay_is_idle(). */
void ow_relay_drain(struct ow_relay *relay);
/* Nothing is in the window or waits to be confirmed, and the source had nothing more (or is not asked). */
bool ow_relay_is_idle(const struct ow_relay *relay);

struct ow_relay_view {
    bool is_standing_by;
    bool has_trouble;         /* a side is closed after a failure, or what is in flight is held up by one */
    bool is_working;          /* both sides are open */
    uint64_t messages, bytes; /* in flight: read, and not confirmed or not even accepted */
    int64_t retained_bytes;   /* the log that the database keeps for this relay; -1: not known, or there is none */
    int64_t oldest_ms;        /* the time of the oldest message in the window, wall clock; 0: it is empty */
};
void ow_relay_look(const struct ow_relay *relay, struct ow_relay_view *ret);

#endif
