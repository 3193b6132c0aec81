/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of the simulator: what a relay has around it, made of plain memory, virtual time and dice.
 *
 * The code under test is the real relay and the real core. Everything else here is a fake that keeps what
 * would be durable (the outbox, its dead letters, what a broker accepted) when the relay is killed, and
 * forgets the rest. A schedule is one life story: writers commit, the relay works, things break; it is a
 * function of one seed. Then the faults stop, and everything must come to its end.
 *
 *   schedule.c   what happens next          source.c   the outbox
 *   check.c      what must always hold      broker.c   three kinds of broker
 *   world.c      messages, faults, trace    main.c     many schedules; the planted faults
 */
#ifndef OW_SIM_WORLD_H
#define OW_SIM_WORLD_H

#include "dice.h"
#include "pattern/relay/relay.h"

enum {
    SIM_MESSAGES_MAX = 64,
    SIM_STAGED_MAX = 4,
    SIM_COPIES_MAX = 256,
    SIM_KEYS_MAX = 5, /* the last one is the null key */
    SIM_SOURCE_FD = 1000,
    SIM_BROKER_FD = 1001,
};

enum sim_kind {
    SIM_ORDERED,      /* keeps order, no transactions */
    SIM_UNORDERED,    /* acknowledges as it likes */
    SIM_TRANSACTIONS, /* takes messages and position together */
    SIM_KIND_COUNT,
};

/* Things that must have happened over a whole run, or it has shown nothing. X(name, text) */
#define SIM_HAPPENINGS(X)                                            \
    X(COMMIT, "a transaction was committed")                         \
    X(ROLLBACK, "a transaction was rolled back")                     \
    X(POISON, "a message that must not be sent was committed")       \
    X(ASIDE, "a message was set aside")                              \
    X(WORN_OUT, "a message was set aside after its last attempt")    \
    X(REJECTED, "a broker rejected a message")                       \
    X(DROPPED, "a message was lost before it was accepted")          \
    X(SLOW_ACK, "an acknowledgement came late")                      \
    X(LOST_ACK, "an acknowledgement was lost")                       \
    X(LATE_ACK, "an acknowledgement came after it was given up")     \
    X(DOUBLE_RECEIPT, "a receipt came twice")                        \
    X(DUPLICATE, "a message was accepted twice")                     \
    X(ZOMBIE, "a broker accepted what a dead connection had sent")   \
    X(FULL, "a broker was full for a moment")                        \
    X(BROKER_DOWN, "a broker was down")                              \
    X(BROKER_ERROR, "a call of a broker failed")                     \
    X(SOURCE_ERROR, "a call of a source failed")                     \
    X(FAILED_AFTER, "a call did its work and failed all the same")   \
    X(LOST_COMMIT, "the answer to a broker's commit was lost")       \
    X(PERMANENT, "an error ended the relay")                         \
    X(CRASH, "the relay was killed between two steps")               \
    X(CRASH_BEFORE, "the relay was killed on its way into a call")   \
    X(CRASH_AFTER, "the relay was killed on its way out of a call")  \
    X(STANDBY, "the relay had to stand by")                          \
    X(TAKEOVER, "another relay worked on the source")                \
    X(DRAIN, "the relay was drained and ended")                      \
    X(DRAIN_LATE, "the relay was ended although it was not drained") \
    X(RESTORE, "the source was restored from a backup")              \
    X(WENT_BACK, "the relay saw that the source went back")          \
    X(KNOWN, "a broker knew a message from before a crash")          \
    X(OVERSIZE, "a message larger than the window was sent")         \
    X(WINDOW_FULL, "the window was full")

enum sim_happening {
#define SIM_HAPPENING_ENUM(name, text) SIM_##name,
    SIM_HAPPENINGS(SIM_HAPPENING_ENUM)
#undef SIM_HAPPENING_ENUM
        SIM_HAPPENING_COUNT,
};
extern uint64_t sim_happenings[SIM_HAPPENING_COUNT]; /* over the whole run */
extern const char *const sim_happening_texts[SIM_HAPPENING_COUNT];

/* Rolled at the start of a schedule; the rates are per mille and many of them are 0, so that schedules
   differ from each other. */
struct sim_options {
    enum sim_kind kind;
    uint32_t messages, keys, window_count, capacity, fault_events, attempts_max;
    size_t window_bytes;
    bool uses_start, has_long_memory;
    uint32_t poison, unwanted, oversize, rollback;               /* of what is written */
    uint32_t drop, slow_ack, lost_ack, late_ack, double_receipt; /* of what is sent */
    uint32_t fail_broker, fail_source, permanent;                /* of calls */
    uint32_t crash, down, takeover, restore, drain;              /* of events */
};

struct sim_message {
    uint64_t seq;
    uint32_t key;
    bool is_poison;   /* ow_message_check() refuses it */
    bool is_unwanted; /* the broker rejects it, always */
    bool is_in_source, is_aside;
    bool was_aside;     /* also if a backup has brought it back */
    bool is_gone;       /* the backup that was restored did not know it */
    bool is_restored;   /* it came back with a backup, whatever had become of it */
    bool is_taken_over; /* another relay has worked on it */
    bool is_known;      /* to a broker with transactions, as this source's */
    uint32_t accepted;  /* how often */
    uint32_t told_in;   /* the life of the relay that was told ACCEPTED; 0: none was */
    uint32_t open_in;   /* how often the source had been opened when it was yielded last */
    uint64_t accept_order;
    size_t payload_size;
    char id[12], aggregate_id[12];
};

struct sim_staged {
    uint32_t key;
    bool is_poison, is_unwanted, is_oversize;
};

struct sim_backup {
    bool is_taken;
    uint32_t count;
    uint64_t next_seq;
    bool is_in_source[SIM_MESSAGES_MAX], is_aside[SIM_MESSAGES_MAX];
};

/* One message on its way into a broker. */
struct sim_copy {
    uint32_t message, connection;
    uint64_t token;
    const struct ow_message *view; /* the relay's; NULL once it may be gone */
    enum { SIM_QUEUED, SIM_DECIDED } state;
    enum ow_verdict verdict, echo_verdict;
    int64_t due_ms;   /* when its receipt arrives */
    bool is_accepted; /* whatever the receipt says */
    bool has_echo;    /* a second receipt follows the first */
    bool is_released; /* a receipt for its token has come */
    bool is_zombie;   /* its connection is gone */
};

struct sim_world;

struct sim_source {
    struct ow_source base;
    struct sim_world *world;
    bool is_open, is_resumed, has_other_holder;
    uint32_t opened;
    uint64_t last_seq;
    struct ow_message lent;
    char bytes[4096]; /* what is lent; overwritten by the next call */
};

struct sim_broker {
    struct ow_broker base;
    struct sim_world *world;
    bool is_open, is_down, was_full, is_in_transaction;
    uint32_t connection;
    struct sim_copy copies[SIM_COPIES_MAX]; /* in the order of sending */
    uint32_t copy_count;
    bool has_position;
    struct ow_position position, told_position;
    uint64_t since, mark, mark_count; /* what it remembers of what it accepted, as the journal does */
};

struct sim_world {
    uint64_t seed;
    struct sim_options options;
    struct sim_dice dice;
    bool traces;
    int64_t now_ms;

    struct sim_message messages[SIM_MESSAGES_MAX];
    uint32_t count, written;
    uint64_t next_seq, accepted_count;
    struct sim_staged staged[SIM_STAGED_MAX];
    uint32_t staged_count;
    struct sim_backup backup;

    struct sim_source source;
    struct sim_broker broker;

    struct ow_relay relay;
    struct ow_wait wait;
    bool is_relay_alive, is_dead; /* dead: killed inside a step; its calls have no effect any more */
    bool is_calm;                 /* no more faults */
    bool has_permanent;           /* an error that ends the relay was given out */
    bool has_restored, is_first_step;
    uint32_t life, crash_in;
    bool crashes_after;
    int64_t drain_until_ms; /* 0: not draining */

    bool has_failed;
    char failure[300];
};

/* world.c */
void sim_fail(struct sim_world *world, const char *format, ...) OW_PRINTF(2, 3); /* keeps the first */
void sim_trace(struct sim_world *world, const char *format, ...) OW_PRINTF(2, 3);
static inline void sim_happened(enum sim_happening what)
{
    sim_happenings[what]++;
}
/* The message that a view was made of; NULL and a failure if there is none or if it was changed. */
struct sim_message *sim_message_of(struct sim_world *world, const struct ow_message *view);
void sim_message_view(const struct sim_message *message, struct ow_message *ret, char *bytes, size_t size);
static inline uint32_t sim_index_of(const struct sim_world *world, const struct sim_message *message)
{
    return (uint32_t)(message - world->messages);
}

/* What becomes of one call of a fake. */
enum sim_fate {
    SIM_GOES,
    SIM_FAILS,       /* nothing is done */
    SIM_FAILS_AFTER, /* it is done, but the caller is told that it failed */
};
enum sim_fate sim_fate(struct sim_world *world, uint32_t per_mille, const char *call);
/* The error that such a call returns. */
int sim_fate_error(struct sim_world *world, enum sim_fate fate, const char *call, struct ow_error *err);

/* source.c */
void sim_source_init(struct sim_source *source, struct sim_world *world);
void sim_source_forget(struct sim_source *source); /* the process that had it open is gone */
bool sim_source_has_news(const struct sim_source *source);
void sim_source_other_relay(struct sim_source *source); /* it accepts and confirms a few messages */

/* broker.c */
void sim_broker_init(struct sim_broker *broker, struct sim_world *world);
void sim_broker_forget(struct sim_broker *broker); /* the connection is gone */
bool sim_broker_work(struct sim_broker *broker);   /* decides about one message; false: none waits */
bool sim_broker_has_news(const struct sim_broker *broker);
int64_t sim_broker_due_ms(const struct sim_broker *broker);

/* check.c */
void sim_check_accept(struct sim_world *world, struct sim_message *message);
void sim_check_send(struct sim_world *world, const struct sim_message *message);
void sim_check_confirm(struct sim_world *world, const struct ow_position *positions, size_t count);
void sim_check_aside(struct sim_world *world, const struct sim_message *message, const char *reason, uint32_t attempts);
void sim_check_position(struct sim_world *world, struct ow_position position);
void sim_check_now(struct sim_world *world);
void sim_check_end(struct sim_world *world);

/* schedule.c */
void sim_run(struct sim_world *world, uint64_t seed, bool traces);
void sim_describe(const struct sim_options *options, char *to, size_t size);

#endif
