/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world around consumers: a broker with partitions and a group, a store with an inbox, a target of calls, a topic
 * for dead letters, an operator; all of plain memory, virtual time and dice.
 *
 * The code under test is the real consumer and the real core. A schedule is a function of one seed: members come, work,
 * are killed on their way into a call, out of it, or between two steps, are stopped (between steps, and inside a call,
 * while the others go on); partitions change hands; the store, the target and the topic have their troubles. Then the
 * faults stop, the operator has every dead letter replayed, and everything must come to its end.
 *
 *   consumer.c           many schedules; the planted faults
 *   consumer_schedule.c  what happens next, and what must hold at the end
 *   consumer_group.c     the broker's partitions, and who has them
 *   consumer_inbox.c     the inbox: rows, letters, transactions
 *   consumer_handler.c   handlers of both kinds, the target of calls, the topic of dead letters
 */
#ifndef OW_SIM_CONSUMER_WORLD_H
#define OW_SIM_CONSUMER_WORLD_H

#include "dice.h"
#include "inbox/filter.h"
#include "pattern/consumer/consumer.h"

enum {
    CSIM_PARTITIONS_MAX = 3,
    CSIM_MEMBERS_MAX = 3,
    CSIM_MESSAGES_MAX = 40,
    CSIM_LOG_MAX = 96,
    CSIM_KEYS_MAX = 4,
    CSIM_SESSIONS_MAX = 512,
    CSIM_CALLS_MAX = 128,
    CSIM_LETTERS_MAX = 4 * CSIM_MESSAGES_MAX,
    CSIM_SENT_MAX = 64,
    CSIM_NOBODY = -1,
    CSIM_GROUP_FD = 1000,
    CSIM_HANDLER_FD = 1001,
    CSIM_TOPIC_FD = 1002,
};

/* Things that must have happened over a whole run, or it has shown nothing. X(name, text) */
#define CSIM_HAPPENINGS(X)                                               \
    X(EFFECT, "an effect was committed with the inbox")                  \
    X(SHARED, "effects shared a transaction")                            \
    X(ROLLED_BACK, "a batch was rolled back for one message in it")      \
    X(CALL, "a call was begun")                                          \
    X(CALLED_AGAIN, "a call was executed twice")                         \
    X(LOST_ANSWER, "a call was executed, and its answer lost")           \
    X(LATE_CALL, "a call was executed when nobody heard it any more")    \
    X(HELD_UP, "a handler was held up")                                  \
    X(REFUSED, "a message was refused for good")                         \
    X(BAD, "a message could not be read")                                \
    X(REPEATED, "a message came that was handled before")                \
    X(ASIDE, "a message was set aside")                                  \
    X(OUT_OF_TIME, "a message was set aside when its time was up")       \
    X(PARKED, "a message was parked")                                    \
    X(REPLAYED, "a letter was replayed")                                 \
    X(FAILED_AGAIN, "a letter failed again")                             \
    X(QUEUED_LATE, "a letter was queued after a later one of its key")   \
    X(OPENED, "a breaker opened")                                        \
    X(LEFT_OPEN, "a breaker was open when a member started")             \
    X(PROBE, "a probe was begun")                                        \
    X(TOPIC_LETTER, "a letter was accepted by its topic")                \
    X(TOPIC_TROUBLE, "a letter was not accepted by its topic")           \
    X(INBOX_TROUBLE, "a call of the inbox failed")                       \
    X(LOST_COMMIT, "the answer to a commit was lost")                    \
    X(DEADLOCK, "a transaction was ended for a deadlock")                \
    X(LOCKED, "a row was locked by a transaction of another member")     \
    X(FILTERED, "a message that the filter knew entered no transaction") \
    X(FILTER_LIED, "the filter knew a message that was never handled")   \
    X(GROUP_TROUBLE, "a call of the subscriber failed")                  \
    X(REVOKED, "a partition was taken away")                             \
    X(REVOKED_BUSY, "a partition was taken away while calls of it ran")  \
    X(LOST, "a partition was lost")                                      \
    X(STOLEN, "a stopped member's partition went to another one")        \
    X(GIVEN_AGAIN, "a record was given out again")                       \
    X(PAUSED, "a subscriber was paused")                                 \
    X(PAUSED_ONE, "a partition was paused")                              \
    X(CRASH, "a member was killed between two steps")                    \
    X(CRASH_BEFORE, "a member was killed on its way into a call")        \
    X(CRASH_AFTER, "a member was killed on its way out of a call")       \
    X(STOPPED, "a member was stopped between two steps")                 \
    X(STOPPED_INSIDE, "a member was stopped inside a call")              \
    X(DRAINED, "a member was drained and ended")

enum csim_happening {
#define CSIM_HAPPENING_ENUM(name, text) CSIM_##name,
    CSIM_HAPPENINGS(CSIM_HAPPENING_ENUM)
#undef CSIM_HAPPENING_ENUM
        CSIM_HAPPENING_COUNT,
};
extern uint64_t csim_happenings[CSIM_HAPPENING_COUNT]; /* over the whole run */
extern const char *const csim_happening_texts[CSIM_HAPPENING_COUNT];

static inline void csim_happened(enum csim_happening what)
{
    csim_happenings[what]++;
}

struct csim_options {
    bool has_filter, in_transaction, has_inbox, parks, keeps_letters, has_topic, keeps_offsets, ends_at_end,
        settles_at_once;
    enum ow_window_order order;
    uint32_t partitions, members, messages, keys, steps;
    uint32_t in_flight, window_count, attempts_max, failures, probes, repeats_pm;
    int64_t elapsed_max_ms, drain_ms;
    /* per mille */
    uint32_t crash, crash_inside, stop, stop_inside, rebalance, inbox_error, group_error, topic_error, commit_lost;
    uint32_t poison, refused, bad, passing, lost_answer, held_up, retry_after, filter_lies;
};

enum csim_row { CSIM_NO_ROW, CSIM_ROW_HANDLED, CSIM_ROW_ASIDE, CSIM_ROW_PARKED };

struct csim_message {
    char id[16], key[4];
    bool has_key, is_bad;
    uint32_t partition;
    uint32_t number; /* in its key's order of first occurrence: the index in the table, which rises */
    uint32_t fails;  /* attempts that will fail yet; UINT32_MAX: all, until it is repaired */
    bool is_refused; /* they fail for good */
    uint32_t effects;
    bool is_marked;    /* in the filter */
    bool was_aside;    /* at least once */
    bool in_topic;     /* a letter of it was accepted there */
    bool was_rejected; /* by the topic */
    enum csim_row row;
    uint64_t recorded_at; /* tick; 0: never */
    int lock;             /* the member whose transaction has written its row */
};

struct csim_letter {
    bool is_there, is_queued, is_parked;
    uint32_t message, replays, partition;
    int64_t offset;
    uint64_t since; /* tick */
};

struct csim_attempts;

struct csim_call { /* at the target; outlives its member */
    bool is_used, is_heard, executes, is_executed, is_probe;
    int member;
    uint32_t message;
    int64_t until_ms; /* of the breaker when it began */
    struct csim_attempts *attempts;
    struct ow_outcome outcome;
    int64_t due_ms;
};

struct csim_world;
struct csim_member;

struct csim_subscriber {
    struct ow_subscriber base;
    struct csim_member *member;
    struct ow_subscriber_options options;
    bool is_open, all_paused, is_inside, has_failed;
    int session;
    bool told[CSIM_PARTITIONS_MAX], paused[CSIM_PARTITIONS_MAX];
    int64_t next[CSIM_PARTITIONS_MAX], settling[CSIM_PARTITIONS_MAX];
    int64_t given[CSIM_PARTITIONS_MAX]; /* the last one, since it was told of the partition; -1: none */
};

struct csim_inbox {
    struct ow_inbox base;
    struct csim_member *member;
    bool is_open, in_transaction, is_killed;
    /* staged */
    enum csim_row rows[CSIM_MESSAGES_MAX];
    bool wrote[CSIM_MESSAGES_MAX];
    uint32_t effects[CSIM_MESSAGES_MAX * 2], effect_count;
    int64_t dropped[CSIM_MESSAGES_MAX], put_back[CSIM_MESSAGES_MAX];
    uint32_t dropped_count, put_back_count, new_count;
    struct csim_letter fresh[CSIM_MESSAGES_MAX];
    int64_t offsets[CSIM_PARTITIONS_MAX];
    struct csim_place {
        uint32_t partition;
        int64_t offset;
    } places[CSIM_MESSAGES_MAX];
    uint32_t place_count, entry_count; /* entries: of begin() */
    uint32_t filtered_count;           /* of the same batch, and in no transaction */
};

struct csim_filter {
    struct ow_inbox_filter base;
    struct csim_member *member;
};

struct csim_topic {
    struct ow_broker base;
    struct csim_member *member;
    uint64_t tokens[CSIM_SENT_MAX];
    uint32_t messages[CSIM_SENT_MAX];
    uint32_t count;
};

struct csim_member {
    struct csim_world *world;
    int number;
    uint32_t life;
    bool is_alive, is_dead, is_inside, is_draining;
    int64_t stopped_until;
    bool is_fresh; /* not stepped yet */
    struct ow_consumer consumer;
    struct ow_wait wait;
    struct csim_subscriber subscriber;
    struct csim_inbox inbox;
    struct csim_filter filter;
    struct ow_inbox *filtered; /* the inbox behind the filter; NULL: there is no filter */
    struct ow_handler handler;
    struct csim_topic topic;
    /* what it was told, for what must hold */
    bool did[CSIM_PARTITIONS_MAX][CSIM_LOG_MAX + 1]; /* recorded by it, since the partition came */
    uint64_t looked_at;                              /* tick of its last look() or begin() */
    struct csim_attempts {
        uint32_t fails;                               /* that count */
        int64_t failed_ms, wait_ms;                   /* the last of them, and how long it must wait then */
    } attempts[2][CSIM_PARTITIONS_MAX][CSIM_LOG_MAX]; /* of records, and of letters */
    uint32_t target_fails;                            /* in a row */
    int64_t no_calls_until;
};

struct csim_world {
    struct csim_options options;
    struct sim_dice dice;
    uint64_t seed, tick, events;
    bool traces, has_failed, is_calm;
    char failure[400];
    int64_t now_ms;
    uint32_t depth, lives;

    struct csim_message messages[CSIM_MESSAGES_MAX];
    uint32_t message_count;
    struct {
        uint32_t messages[CSIM_LOG_MAX];
        int64_t count, given, settled;
        int owner, target; /* sessions */
        int64_t kept;      /* the offset in the inbox; -1 */
    } partitions[CSIM_PARTITIONS_MAX];
    struct {
        int member; /* CSIM_NOBODY: gone */
        bool is_ghost;
        int64_t expires_ms;
    } sessions[CSIM_SESSIONS_MAX];
    int session_count;
    struct csim_letter letters[CSIM_LETTERS_MAX];
    uint32_t letter_count;
    int replay_holder;
    char breaker[96];
    struct csim_call calls[CSIM_CALLS_MAX];
    bool target_is_down;
    int64_t last_first[CSIM_KEYS_MAX]; /* message: the last of the key with a first effect; -1 */
    struct csim_member members[CSIM_MEMBERS_MAX];
};

void csim_run(struct csim_world *world, uint64_t seed, bool traces);
void csim_describe(const struct csim_options *options, char *to, size_t size);

void csim_fail(struct csim_world *world, const char *format, ...) OW_PRINTF(2, 3);
void csim_trace(struct csim_world *world, const char *format, ...) OW_PRINTF(2, 3);

/* On the way into a call and out of it: trouble, a kill, a stop. < 0: what the call returns. */
int csim_enter(struct csim_member *member, const char *what, uint32_t error_pm, enum csim_happening trouble,
               struct ow_error *err);
int csim_leave(struct csim_member *member, const char *what, uint32_t lost_pm, enum csim_happening trouble,
               struct ow_error *err);
bool csim_event(struct csim_world *world, int except); /* one thing happens */

struct csim_message *csim_message_of(struct csim_world *world, struct ow_bytes id);
/* What is known of the attempts of a record, or of its letter. */
static inline struct csim_attempts *csim_attempts_of(struct csim_member *member, const struct ow_record *record,
                                                     bool is_letter)
{
    return &member->attempts[is_letter][record->partition][record->offset];
}
/* An effect of the message is there. */
void csim_effect(struct csim_world *world, uint32_t message);
/* A handler begins with it: what must hold. */
void csim_begins(struct csim_member *member, const struct ow_task *task, bool is_letter);
/* The lowest letter of the message's key that is there and was before `tick`, of a message before `before`; 0: none. */
int64_t csim_letter_of_key(const struct csim_world *world, uint32_t message, uint32_t before, uint64_t tick);

/* consumer_group.c */
int csim_subscribe(void *context, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                   struct ow_error *err);
bool csim_group_has_news(const struct csim_member *member);
void csim_group_tend(struct csim_world *world);
void csim_group_kill(struct csim_member *member);
void csim_rebalance(struct csim_world *world);

/* consumer_inbox.c */
extern const struct ow_inbox_ops csim_inbox_ops;
extern const struct ow_inbox_filter_ops csim_filter_ops;
void csim_inbox_kill(struct csim_member *member); /* the server rolls back */
void csim_stage_effect(struct csim_member *member, uint32_t message);

/* consumer_handler.c */
extern const struct ow_handler_ops csim_sql_ops, csim_call_ops;
extern const struct ow_broker_ops csim_topic_ops;
bool csim_handler_has_news(const struct csim_member *member);
int64_t csim_handler_due_ms(const struct csim_world *world);
void csim_target_tend(struct csim_world *world);
void csim_handler_kill(struct csim_member *member);
int csim_make_letter(void *context, const struct ow_record *record, const struct ow_consumer_failure *failure,
                     struct ow_buf *to, struct ow_message *ret, struct ow_error *err);

#endif
