/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of the simulator: what a relay has around it, made of plain memory, virtual time and dice.
 *
 * The code under test is the real relay and the real core, and of a log what keeps count of its rows. Everything else
 * here is a fake that keeps what would be durable (the outbox or the log, dead letters, what a broker accepted) when a
 * relay is killed, and forgets the rest. A schedule is one life story: writers commit, one relay or two work, things
 * break; it is a function of one seed. Then the faults stop, and everything must come to its end.
 *
 *   schedule.c   what happens next             source.c      the outbox that is polled, under a lock or a lease
 *   node.c       a process with its relay      log.c         a server's log, its slot, and who reads it
 *   check.c      what must always hold         log_snapshot.c  its first start
 *   world.c      messages, faults, trace       broker.c      brokers without transactions
 *   main.c       many schedules; mutants       broker_txn.c  brokers with them, and recorded positions
 */
#ifndef OW_SIM_WORLD_H
#define OW_SIM_WORLD_H

#include "dice.h"
#include "pattern/relay/relay.h"
#include "source/postgres_log_past.h"
#include "source/postgres_log_track.h"

enum {
    SIM_MESSAGES_MAX = 64,
    SIM_STAGED_MAX = 4,
    SIM_WRITERS_MAX = 3,
    SIM_WAL_MAX = 320,
    SIM_COPIES_MAX = 256,
    SIM_KEYS_MAX = 5, /* the last one is the null key */
    SIM_NODES_MAX = 2,
    SIM_SLOTS_MAX = 64,
    SIM_MARK_SIZE = 1500,
    SIM_NOBODY = -1,
    SIM_GHOST = -2, /* a connection whose other end is gone, which the server has not noticed */
    SIM_SOURCE_FD = 1000,
    SIM_BROKER_FD = 1001,
};

enum sim_kind {
    SIM_ORDERED,      /* keeps order, no transactions */
    SIM_UNORDERED,    /* acknowledges as it likes */
    SIM_TRANSACTIONS, /* takes messages and position together, and knows what it accepted, as the journal does */
    SIM_POLLED_KINDS,
    SIM_RECORDING = SIM_POLLED_KINDS, /* keeps order, and records positions of a log */
    SIM_EXACTLY,                      /* takes messages and position together, and knows the position alone, as Kafka */
    SIM_KIND_COUNT,
};

/* Things that must have happened over a whole run, or it has shown nothing. X(name, text) */
#define SIM_HAPPENINGS(X)                                                                 \
    X(COMMIT, "a transaction was committed")                                              \
    X(ROLLBACK, "a transaction was rolled back")                                          \
    X(SAVEPOINT, "a transaction was rolled back to a savepoint")                          \
    X(INTERLEAVED, "a transaction was committed while another was open")                  \
    X(POISON, "a message that must not be sent was committed")                            \
    X(ASIDE, "a message was set aside")                                                   \
    X(TIMED_OUT, "a message was set aside when its time was up")                          \
    X(IN_THE_WAY, "a message was set aside whose key filled the window")                  \
    X(PARKED, "a message was set aside behind one of its key")                            \
    X(TROUBLE, "a broker had trouble as a whole")                                         \
    X(LATER, "a broker as a whole could not take a message")                              \
    X(WORN_OUT, "a message was set aside after its last attempt")                         \
    X(SHAPED, "a shaped message was accepted")                                            \
    X(SHAPED_AWAY, "a row was read of which nothing is published")                        \
    X(REJECTED, "a broker rejected a message")                                            \
    X(DROPPED, "a message was lost before it was accepted")                               \
    X(SLOW_ACK, "an acknowledgement came late")                                           \
    X(LOST_ACK, "an acknowledgement was lost")                                            \
    X(LATE_ACK, "an acknowledgement came after it was given up")                          \
    X(DOUBLE_RECEIPT, "a receipt came twice")                                             \
    X(DUPLICATE, "a message was accepted twice")                                          \
    X(ZOMBIE, "a broker accepted what a dead connection had sent")                        \
    X(FULL, "a broker was full for a moment")                                             \
    X(BROKER_DOWN, "a broker was down")                                                   \
    X(BROKER_ERROR, "a call of a broker failed")                                          \
    X(SOURCE_ERROR, "a call of a source failed")                                          \
    X(FAILED_AFTER, "a call did its work and failed all the same")                        \
    X(LOST_COMMIT, "the answer to a broker's commit was lost")                            \
    X(REFUSED_COMMIT, "a transaction failed for one message in it")                       \
    X(VERDICT, "a transaction held a verdict and nothing else")                           \
    X(FENCED, "a broker fenced the relay off that another one has followed")              \
    X(RECORD, "a broker recorded a position")                                             \
    X(NOWHERE, "a broker had nowhere to record a position")                               \
    X(LOST_RECORD, "the answer to a recorded position was lost")                          \
    X(OLD_RECORD, "a relay that was followed put an older position on record")            \
    X(REFRESH, "a position was recorded once more")                                       \
    X(SELF_RECORD, "a source recorded its own position")                                  \
    X(IDLE_POSITION, "a position without a message was confirmed")                        \
    X(TOLD, "a server was told what it may forget")                                       \
    X(PASSED_OVER, "what a slot had put back was passed over")                            \
    X(STREAMED, "a transaction came while it was in progress")                            \
    X(STREAM_BROKEN, "a transaction in progress was lost with its connection")            \
    X(MID_COMMIT, "a connection was lost between messages of a transaction")              \
    X(SERVER_CRASH, "the server crashed")                                                 \
    X(SLOT_BACK, "a crash of the server put the slot back")                               \
    X(GAP, "a gap in a log was noticed, and accepted")                                    \
    X(PERMANENT, "an error ended the relay")                                              \
    X(CRASH, "the relay was killed between two steps")                                    \
    X(CRASH_BEFORE, "the relay was killed on its way into a call")                        \
    X(CRASH_AFTER, "the relay was killed on its way out of a call")                       \
    X(STOPPED, "a relay was stopped between two steps")                                   \
    X(STOPPED_INSIDE, "a relay was stopped inside a call")                                \
    X(STANDBY, "the relay had to stand by")                                               \
    X(TAKEOVER, "another relay took the source over")                                     \
    X(LEASE_LOST, "a relay woke up without its lease")                                    \
    X(ZOMBIE_ACCEPT, "a broker accepted what a relay sent that another one has followed") \
    X(DRAIN, "the relay was drained and ended")                                           \
    X(DRAIN_LATE, "the relay was ended although it was not drained")                      \
    X(RESTORE, "the source was restored from a backup")                                   \
    X(WENT_BACK, "the relay saw that the source went back")                               \
    X(KNOWN, "a broker knew a message from before a crash")                               \
    X(SNAPSHOT, "a slot was made, with a snapshot of what stood before")                  \
    X(SNAPSHOT_AGAIN, "a snapshot was begun again")                                       \
    X(LEFT_OUT, "a snapshot left out what an earlier one had published")                  \
    X(SNAPSHOT_THROUGH, "a snapshot was through, and that was not noted")                 \
    X(MARK_CHANGED, "a relay found that another one had begun the snapshot again")        \
    X(OVERSIZE, "a message larger than the window was sent")                              \
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
    bool is_log, shapes, has_leases;
    bool has_snapshot, prunes; /* the slot is made by the relay; the table loses what is confirmed */
    uint32_t nodes, messages, keys, window_count, capacity, fault_events, attempts_max;
    size_t window_bytes;
    uint32_t barren; /* so many messages of a log cannot be sent, before one can */
    int64_t refresh_ms;
    uint32_t reconnect_ms; /* how long a side that failed is left alone at first */
    bool uses_start, ends_at_end, has_long_memory, parks;
    int64_t elapsed_max_ms;
    uint32_t poison, unwanted, oversize, shaped_away, rollback, streamed;           /* of what is written */
    uint32_t drop, slow_ack, lost_ack, late_ack, double_receipt;                    /* of what is sent */
    uint32_t fail_broker, fail_source, permanent;                                   /* of calls */
    uint32_t later;                                                                 /* of what is sent */
    uint32_t trouble, crash, stop, down, restore, drain, cut, server_crash, tamper; /* of events */
};

struct sim_message {
    struct ow_position position, committed; /* of a log: the latter is where its commit is */
    uint64_t place;                         /* in the table */
    uint64_t commit;                        /* of a log: the LSN at which its commit ends */
    uint32_t key;
    bool is_poison;      /* ow_message_check() refuses it, or whoever shapes it */
    bool is_unwanted;    /* the broker rejects it, always */
    bool is_shaped_away; /* nothing of it is published */
    bool is_in_source, is_aside;
    bool was_aside;    /* also if a backup has brought it back */
    bool is_gone;      /* the backup that was restored did not know it; or it lies in a gap that was accepted */
    bool is_restored;  /* it came back with a backup, whatever had become of it */
    bool is_known;     /* to a broker with transactions, as this source's */
    uint32_t accepted; /* how often */
    uint32_t failed_in[SIM_NODES_MAX]; /* the life of the relay that was told RETRY first */
    int64_t failed_ms[SIM_NODES_MAX];  /* and when, as its broker counts time in which it was well */
    uint32_t told_in;                  /* the life of the relay that was told ACCEPTED; 0: none was */
    uint32_t told_at;                  /* what that one had seen of others then: see sim_node.seen */
    uint32_t confirmed_in;             /* the life of the relay that confirmed it */
    uint32_t confirmed_at;
    bool was_yielded;
    uint64_t accept_order;
    size_t payload_size;
    char id[12], aggregate_id[12];
};

struct sim_staged {
    uint32_t key;
    bool is_poison, is_unwanted, is_oversize, is_shaped_away;
};

struct sim_backup {
    bool is_taken;
    uint32_t count;
    uint64_t next_seq;
    bool is_in_source[SIM_MESSAGES_MAX], is_aside[SIM_MESSAGES_MAX];
};

/* One message on its way into a broker. */
struct sim_copy {
    int node;
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
    bool is_judged;   /* it is not sent; its transaction brings its verdict, and nothing else */
};

struct sim_world;
struct sim_node;

/* A relay's end of the outbox that is polled. */
struct sim_source {
    struct ow_source base;
    struct sim_node *node;
    bool is_open, is_resumed;
    uint32_t opened;          /* how often */
    uint64_t last_seq, epoch; /* the lease's, when it was taken */
    int64_t renew_due_ms;
    char bytes[4096]; /* what is lent; overwritten by the next call */
    /* of a log */
    bool is_cut;                      /* the connection is gone; the next call notices */
    struct ow_pg_track track;         /* the real one */
    uint32_t at;                      /* in the log */
    uint64_t start, read_lsn, target; /* LSNs: the slot's when it was opened; read so far; the end at opening */
    uint32_t spill[SIM_MESSAGES_MAX], spilled;          /* rows of transactions in progress, in their order */
    uint32_t rows[SIM_MESSAGES_MAX], row_count, row_at; /* of the transaction that is being yielded */
    uint64_t commit_lsn, end_lsn, ordinal;
    bool is_inside;
    uint64_t streams; /* bits: transactions that this connection gets while they are in progress */
    uint64_t told;
    int64_t idle_due_ms, status_due_ms;
    /* of its first start */
    struct ow_pg_past past; /* the real one */
    char mark[SIM_MARK_SIZE];
    bool has_mark, is_creating, is_in_snapshot;
    uint64_t slot_start, place, snapshot_rows;
    uint32_t snapshot_count;
    struct ow_position before;
};

/* A relay's end of the broker. */
struct sim_broker {
    struct ow_broker base;
    struct sim_node *node;
    bool is_open, was_full, is_in_transaction, has_become;
    bool was_unwell;              /* and the relay was told so, since the last answer */
    int64_t well_ms, answered_ms; /* what may be held against a message */
    uint32_t fenced_at;           /* how often its source had been opened when it was fenced off; 0: it was not */
    bool has_place;               /* to record a position at */
    uint32_t connection;
    uint64_t epoch;
    uint64_t unfit; /* bits: messages that are known to be refused */
    struct ow_position told_position;
};

/* What all relays share: the broker itself. */
struct sim_bus {
    bool has_trouble; /* it decides about nothing, and says so */
    bool is_down;
    uint32_t connections;
    uint64_t epoch;
    struct sim_copy copies[SIM_COPIES_MAX]; /* in the order of sending */
    uint32_t copy_count;
    bool has_position;
    struct ow_position places[OW_RECORD_PLACES]; /* with transactions the first alone */
    struct ow_position position;                 /* on record: the furthest of these */
    uint64_t since, mark, mark_count;            /* what it remembers of what it accepted, as the journal does */
};

enum sim_wal_kind { SIM_WAL_ROW, SIM_WAL_BACK, SIM_WAL_COMMIT, SIM_WAL_ABORT, SIM_WAL_NOISE };
struct sim_wal {
    enum sim_wal_kind kind;
    uint64_t lsn;
    uint32_t transaction, savepoint; /* BACK: rows of the transaction from this savepoint on are undone */
    uint32_t message;                /* ROW: once it was committed; UINT32_MAX before, and if it never was */
    struct sim_staged row;
};

struct sim_writer {
    bool is_open;
    uint32_t transaction, savepoint, rows;
};

/* The server whose log is read. */
struct sim_log {
    struct sim_wal wal[SIM_WAL_MAX];
    uint32_t wal_count, transactions;
    uint64_t end; /* LSN */
    struct sim_writer writers[SIM_WRITERS_MAX];
    int holder; /* who reads the slot */
    int64_t ghost_until_ms;
    uint64_t slot, durable_slot; /* what is confirmed; what of it is on disk */
    struct ow_position record;   /* in the database, where the broker keeps none */
    uint64_t first;              /* what was confirmed while nothing was on record */
    bool gap_is_due;
    bool has_slot;
    char mark[SIM_MARK_SIZE];      /* in the database: how far the snapshot is */
    uint64_t slots[SIM_SLOTS_MAX]; /* where those began that were made */
    uint32_t slot_count;
    uint32_t accepts_gap; /* whoever starts after this life has been told to go on; 0: nobody */
};

struct sim_node {
    struct sim_world *world;
    int number;
    struct sim_source source;
    struct sim_broker broker;
    struct ow_relay relay;
    struct ow_wait wait;
    bool is_alive;
    bool is_dead;       /* killed inside a step; its calls have no effect any more */
    bool has_permanent; /* an error that ends the relay was given out */
    bool is_first_step, crashes_after, is_stopped, is_inside_step;
    uint32_t life, born, crash_in, stop_in; /* born: its life at the start of the process */
    uint32_t seen;                          /* takeovers, when it asked last */
    int64_t drain_until_ms;                 /* 0: not draining */
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

    struct sim_bus bus;
    struct sim_log log;
    int holder, last_holder; /* of the outbox that is polled: of its lock or lease */
    uint32_t takeovers;      /* after which a relay may repeat what another one knows */
    uint64_t epoch;
    int64_t lease_until_ms;

    struct sim_node nodes[SIM_NODES_MAX];
    uint32_t lives;
    bool is_calm; /* no more faults */
    bool has_restored;

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
/* The message that was committed like this; NULL: there is no room for it. */
struct sim_message *sim_message_add(struct sim_world *world, const struct sim_staged *staged,
                                    struct ow_position position);
/* The message that a view was made of; NULL and a failure if there is none or if it was changed. */
struct sim_message *sim_message_of(struct sim_world *world, const struct ow_message *view);
void sim_message_view(const struct sim_world *world, const struct sim_message *message, struct ow_message *ret,
                      char *bytes, size_t size);
/* What the relay is given for shaping, where it shapes. */
int sim_shape(void *context, const struct ow_row *row, struct ow_message *message, struct ow_error *err);
static inline uint32_t sim_index_of(const struct sim_world *world, const struct sim_message *message)
{
    return (uint32_t)(message - world->messages);
}
static inline bool sim_has_transactions(const struct sim_world *world)
{
    return world->options.kind == SIM_TRANSACTIONS || world->options.kind == SIM_EXACTLY;
}
static inline bool sim_is_recorded(const struct sim_world *world)
{
    return world->options.is_log && (sim_has_transactions(world) || world->options.kind == SIM_RECORDING);
}

/* What becomes of one call of a fake. */
enum sim_fate {
    SIM_GOES,
    SIM_FAILS,       /* nothing is done */
    SIM_FAILS_AFTER, /* it is done, but the caller is told that it failed */
};
enum sim_fate sim_fate(struct sim_node *node, uint32_t per_mille, const char *call);
/* The error that such a call returns. */
int sim_fate_error(struct sim_node *node, enum sim_fate fate, const char *call, struct ow_error *err);

/* node.c */
void sim_node_start(struct sim_node *node);
void sim_node_step(struct sim_node *node);
void sim_node_bury(struct sim_node *node);
void sim_node_kill(struct sim_node *node);
bool sim_node_is_awake(const struct sim_node *node);
bool sim_node_holds(const struct sim_node *node); /* the source, as everybody sees it */

/* source.c */
void sim_source_init(struct sim_source *source, struct sim_node *node);
void sim_source_forget(struct sim_source *source); /* the process that had it open is gone */
bool sim_source_has_news(const struct sim_source *source);

/* log.c */
extern const struct ow_source_ops sim_log_ops;
enum sim_fate sim_source_fate(struct sim_source *source, const char *call);
void sim_source_taken(struct sim_source *source);
int sim_source_set_aside(struct ow_source *base, const struct ow_message *view, const char *reason, uint32_t attempts,
                         struct ow_error *err);
int sim_source_park(struct ow_source *source, const struct ow_message *view, struct ow_error *err);
const char *sim_source_identity(struct ow_source *base);
void sim_log_write(struct sim_world *world); /* one thing that an application does */
void sim_log_commit_all(struct sim_world *world);
void sim_log_cut(struct sim_source *source);  /* its connection is gone */
void sim_log_crash(struct sim_world *world);  /* the server, and it starts again */
void sim_log_tamper(struct sim_world *world); /* somebody else moves the slot */
bool sim_log_has_news(const struct sim_source *source);
struct ow_position sim_log_record(const struct sim_world *world); /* what is on record, wherever it is */

/* log_snapshot.c */
void sim_snapshot_opened(struct sim_source *source);
/* 1: the snapshot is begun, perhaps again; 0: it is through. */
int sim_snapshot_resume(struct sim_source *source, struct ow_position record, struct ow_error *err);
int sim_snapshot_next(struct sim_source *source, struct ow_message *ret, struct ow_error *err);
int sim_snapshot_confirm(struct sim_source *source, struct ow_position position, struct ow_error *err);
bool sim_snapshot_is_due(const struct sim_world *world);
/* Whether a relay that starts now begins the snapshot again; *ret: and this message is in it. */
bool sim_snapshot_repeats(const struct sim_world *world, const struct sim_message *message, bool *ret);
/* Whether it has had this position. */
bool sim_snapshot_has_place(const struct sim_world *world, const struct sim_message *message,
                            struct ow_position position);

/* broker.c */
void sim_broker_init(struct sim_broker *broker, struct sim_node *node);
void sim_broker_forget(struct sim_broker *broker); /* the connection is gone */
bool sim_broker_work(struct sim_world *world);     /* decides about one message; false: none waits */
bool sim_broker_has_news(const struct sim_broker *broker);
int64_t sim_broker_due_ms(const struct sim_world *world);
enum sim_fate sim_broker_fate(struct sim_broker *broker, const char *call);
void sim_broker_accept(struct sim_broker *broker, struct sim_copy *copy);
void sim_broker_echo(struct sim_broker *broker, struct sim_copy *copy);
void sim_broker_drop_queued(struct sim_broker *broker);

/* broker_txn.c */
int sim_txn_begin(struct ow_broker *base, struct ow_error *err);
int sim_txn_commit(struct ow_broker *base, const char *source, struct ow_position position, struct ow_error *err);
void sim_txn_abort(struct ow_broker *base);
int sim_last_position(struct ow_broker *base, const char *source, struct ow_position *ret, struct ow_error *err);
int sim_was_accepted(struct ow_broker *base, const char *source, const struct ow_message *view, struct ow_error *err);
int sim_record_position(struct ow_broker *base, const char *source, struct ow_position position, uint32_t place,
                        struct ow_error *err);
/* Whether this copy gets a verdict by itself: 1; 0: it is sent; OW_EAGAIN: not in this transaction. */
int sim_txn_judge(struct sim_broker *broker, struct sim_copy *copy, struct ow_error *err);

/* check.c */
void sim_check_accept(struct sim_node *node, struct sim_message *message);
void sim_check_send(struct sim_node *node, const struct sim_message *message);
void sim_check_confirm(struct sim_node *node, const struct ow_position *positions, size_t count);
void sim_check_aside(struct sim_node *node, const struct sim_message *message, const char *reason, uint32_t attempts);
/* Whether a dead letter of its key stands before it. */
bool sim_is_behind_letter(const struct sim_world *world, const struct sim_message *message);
void sim_check_position(struct sim_world *world, struct ow_position position);
void sim_check_told(struct sim_world *world, uint64_t lsn);
void sim_check_now(struct sim_world *world);
void sim_check_end(struct sim_world *world, const struct sim_node *node);

/* schedule.c */
void sim_turn(struct sim_world *world);
void sim_run(struct sim_world *world, uint64_t seed, bool traces);
void sim_describe(const struct sim_options *options, char *to, size_t size);

#endif
