/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consumer: subscription -> handler, each effect once. Written against the contracts alone (subscriber, inbox, handler,
 * and a broker for the dead letter topic); the world comes in through struct ow_world, so that the same code runs in
 * the daemon and in the simulator.
 *
 * The life of one record:
 *
 *   subscriber.next -> its id -> the window of its partition: READY, or HELD behind an earlier one of its key
 *     -> in_transaction: inbox.begin claims a batch -> handler.run -> inbox.commit -> settled
 *        otherwise:      inbox.look -> handler.start … step -> inbox.begin, commit -> settled
 *     -> failed: back off, its key waits; out of budget, or refused: letter -> settled
 *     -> the oldest settled ones leave the window -> subscriber.settle
 *
 * A letter goes to the dead letter topic first, where there is one; when it is accepted there, to the inbox, in one
 * transaction with the row that says so. Queued letters are read back as if they were one more partition.
 *
 * Trouble of the subscriber, the inbox's store or the letters' broker is no attempt: everything waits and is tried
 * again, for ever. Errors of another class than RETRYABLE from them end ow_consumer_step().
 */
#ifndef OW_PATTERN_CONSUMER_CONSUMER_H
#define OW_PATTERN_CONSUMER_CONSUMER_H

#include "broker/broker.h"
#include "broker/subscriber.h"
#include "core/breaker.h"
#include "core/retry.h"
#include "core/route.h"
#include "core/window.h"
#include "handler/handler.h"
#include "inbox/inbox.h"
#include "pattern/world.h"

enum ow_consumer_event {
    OW_CONSUMER_WORKING,  /* subscribed */
    OW_CONSUMER_TROUBLE,  /* a side failed and is tried again; told once until it works */
    OW_CONSUMER_BACK,     /* works again */
    OW_CONSUMER_ASIDE,    /* a message became a dead letter; text has id and reason */
    OW_CONSUMER_BREAKER,  /* the breaker has changed; text says how */
    OW_CONSUMER_ASSIGNED, /* partitions came or went */
};
typedef void ow_consumer_listener(void *context, enum ow_consumer_event event, const char *text);

/* A new subscriber each time: what it reads depends on the options. The listener's context is the consumer. */
typedef int ow_consumer_subscribe(void *context, const struct ow_subscriber_options *options,
                                  struct ow_subscriber **ret, struct ow_error *err);

/* Makes the dead letter of a record: topic, key, payload and headers of *ret, which point into `to` and the record. */
struct ow_consumer_failure {
    const char *consumer, *group, *class, *reason;
    uint32_t attempts;
    int64_t failed_ms; /* wall clock */
};
typedef int ow_consumer_make_letter(void *context, const struct ow_record *record,
                                    const struct ow_consumer_failure *failure, struct ow_buf *to,
                                    struct ow_message *ret, struct ow_error *err);

struct ow_consumer_options {
    const char *name, *group;
    const char *const *topics;
    size_t topic_count;
    int64_t from;                     /* OW_OFFSET_*: where a group begins that has no offset */
    const char *id;                   /* template; NULL: the message's own id, else topic/partition/offset */
    enum ow_window_order order;       /* KEY, ALL (of a partition), NONE */
    uint32_t in_flight;               /* calls at a time; in_transaction: messages in one transaction. 0: 100 */
    struct ow_window_limits window;   /* of a partition: records read and not settled; order is set from above */
    struct ow_retry_policy retry;     /* of a message */
    const char *const *no_retry;      /* classes that are set aside at once, or patterns of them: ow_retry_class_is();
                                         ended by NULL; may be NULL */
    struct ow_retry_policy reconnect; /* of the sides; attempts_max is ignored */
    struct ow_breaker_policy breaker;
    bool parks;                           /* later messages of a key that has a letter */
    bool keeps_letters;                   /* in the inbox. Neither that nor `letters`: nothing is ever set aside */
    bool keeps_offsets;                   /* in the inbox, not in the broker */
    bool ends_at_end;                     /* ow_consumer_is_idle() is waited for: nothing is put off */
    uint32_t replay_rate;                 /* letters a second; 0: 100 */
    ow_consumer_make_letter *make_letter; /* with `letters` */
    void *letter_context;
    int64_t drain_ms; /* how long a partition that is taken away waits for its calls; 0: 3,000 */
    struct ow_world world;
    ow_consumer_listener *listener; /* may be NULL */
    void *listener_context;
};
void ow_consumer_options_default(struct ow_consumer_options *options);

struct ow_consumer_counters { /* since ow_consumer_init() */
    uint64_t read, handled, repeated, retried, set_aside, parked, replayed, settled, transactions, calls;
};

struct ow_consumer_partition;

struct ow_consumer {
    struct ow_consumer_counters counters;
    bool is_draining;
    bool is_held; /* set by ow_consumer_hold() */
    struct ow_breaker breaker;
    /* private to consumer*.c */
    struct ow_consumer_options options;
    ow_consumer_subscribe *subscribe;
    void *subscribe_context;
    struct ow_subscriber *subscriber; /* NULL: not open */
    struct ow_inbox *inbox;           /* may be NULL */
    struct ow_handler *handler;
    struct ow_broker *letters;      /* may be NULL */
    struct ow_consumer_side_state { /* inbox, handler, letters, subscriber */
        bool is_open, has_trouble;
        uint32_t failures; /* in a row */
        int64_t due_ms;    /* it is not asked before */
    } sides[4];
    struct ow_route id;
    struct ow_consumer_partition **partitions; /* by address: windows do not move */
    size_t partition_count, turn;
    struct ow_consumer_partition *replays; /* the letters; NULL: none are read */
    struct ow_consumer_call *calls;        /* in_flight of them */
    uint64_t *names;                       /* hashes of their ids, to find those of one id */
    uint32_t calls_used, free_call;
    size_t bytes; /* in all windows */
    bool is_dry, is_paused, has_gone, breaker_is_loaded, letters_are_clogged, letters_are_dry;
    int64_t replay_due_ms, replay_after, settle_due_ms, letters_due_ms;
    struct ow_buf scratch, letter_scratch;
    struct ow_header *headers; /* of a record, with one more */
    void *batch;               /* arrays of in_flight, for what goes into one transaction */
};

/* What is given stays the caller's and must outlive the consumer. OW_EINVALID: a template is wrong, or the parts do not
   go together. */
int ow_consumer_init(struct ow_consumer *consumer, const struct ow_consumer_options *options,
                     ow_consumer_subscribe *subscribe, void *subscribe_context, struct ow_inbox *inbox,
                     struct ow_handler *handler, struct ow_broker *letters, struct ow_error *err) OW_MUST_CHECK;
/* Closes everything; the group is left. */
void ow_consumer_done(struct ow_consumer *consumer);

/* Opens all sides now and returns the first error, also a RETRYABLE one: for the start. */
int ow_consumer_start(struct ow_consumer *consumer, struct ow_error *err) OW_MUST_CHECK;
/* Does what can be done now and says in `wait` what to wait for. Blocks for the store only, and, while a partition is
   taken away, for the calls in flight of it. */
int ow_consumer_step(struct ow_consumer *consumer, struct ow_wait *wait, struct ow_error *err) OW_MUST_CHECK;
/* From now on nothing is read or begun; step() until ow_consumer_is_idle(). */
void ow_consumer_drain(struct ow_consumer *consumer);
/* Nothing runs, and everything that was settled is told to the broker. Not draining: and there is nothing to read. */
bool ow_consumer_is_idle(const struct ow_consumer *consumer);

/* Held, nothing more is read, begun or replayed; what runs comes to its end, and the group is kept. */
void ow_consumer_hold(struct ow_consumer *consumer, bool is_held);

struct ow_consumer_view {
    bool has_trouble;
    bool is_working;          /* all sides are open */
    uint64_t messages, bytes; /* in flight: read and not settled */
    uint32_t calls;           /* that run now, or whose end is being recorded */
    int64_t oldest_ms;        /* the time of the oldest of these messages, wall clock; 0: not known, or there is none */
};
void ow_consumer_look(const struct ow_consumer *consumer, struct ow_consumer_view *ret);
/* Where it stands in its i-th partition, and when the oldest of the records that it has read and not settled was
   written (wall clock; 0: there is none, or it is not known). False: there are no more. The topic is the consumer's
   until the next step. */
bool ow_consumer_standing(const struct ow_consumer *consumer, size_t i, const char **ret_topic, int64_t *ret_partition,
                          struct ow_standing *ret, int64_t *ret_oldest_ms);

#endif
