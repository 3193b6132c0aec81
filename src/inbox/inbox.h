/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inbox: the contract of a consumer's own place in a store. It knows which messages were handled and which were set
 * aside, and holds the dead letters. What it records is in one transaction with a handler's effect.
 *
 * A message has one row, by consumer and id: handled, set aside, or parked (set aside because an earlier message of its
 * key was). A dead letter is a row beside it, with all bytes of the message. Letters of a key have an order, that of
 * their numbers; while a key has one, later messages of it are parked behind (unless told not to park).
 *
 * `dlq replay` queues letters; the consumer takes them from here like records of one more partition. A parked letter
 * with no other before it is queued by itself.
 *
 * One thread. Calls may block for a statement timeout. Errors as the store's; OW_CLASS_RETRYABLE ones, and OW_EBUSY for
 * a deadlock or a serialisation failure, say nothing about the messages: the caller rolls back and tries again.
 */
#ifndef OW_INBOX_INBOX_H
#define OW_INBOX_INBOX_H

#include "core/record.h"
#include "store/store.h"

enum ow_inbox_state {
    OW_INBOX_NEW,     /* never seen: to be handled. After begin(): claimed by this transaction */
    OW_INBOX_HANDLED, /* done with before, or, in the same call, by an entry before */
    OW_INBOX_ASIDE,
    OW_INBOX_PARKED,  /* was parked before */
    OW_INBOX_BLOCKED, /* never seen, but a letter of its key is open: to be parked by set_aside(). Claimed like NEW */
};

struct ow_inbox_entry {
    const struct ow_record *record;
    struct ow_bytes id;
    int64_t letter;            /* the number of the letter that it is replayed from; 0: it is none */
    enum ow_inbox_state state; /* filled in */
};

/* Why a message is set aside. */
struct ow_inbox_failure {
    const char *class, *reason; /* of the last attempt */
    uint32_t attempts;
    bool is_parked;
};

/* A letter to be replayed; its bytes are the inbox's until the next call of next_queued. */
struct ow_inbox_letter {
    int64_t number;
    struct ow_bytes id;
    struct ow_record record; /* as it was: topic, partition, offset, key, headers (without what other frameworks said of
                                its failure), payload, time */
    uint32_t replays;        /* before this one */
};

struct ow_inbox;

struct ow_inbox_ops {
    int (*open)(struct ow_inbox *inbox, struct ow_error *err);
    /* Fills in `state`, without claiming anything: for handlers that work outside a transaction. */
    int (*look)(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err);
    /* Begins a transaction and claims what is NEW or BLOCKED: the row of its id is written as handled. Of a letter: the
       letter is taken away; HANDLED if somebody else has done that. */
    int (*begin)(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err);
    /* In the transaction, of a claimed entry: its row says set aside or parked instead, and there is a letter (of one
       that was replayed: its letter is back, with one more replay). Where no letters are kept its row goes. */
    int (*set_aside)(struct ow_inbox *inbox, const struct ow_inbox_entry *entry, const struct ow_inbox_failure *failure,
                     struct ow_error *err);
    /* In the transaction: into the outbox of the same store. */
    int (*publish)(struct ow_inbox *inbox, const struct ow_message *messages, size_t count, struct ow_error *err);
    /* Writes what the inbox itself still has to: nothing but a handler's effects and commit() comes behind it. May be
       left out; commit() does it then. */
    int (*seal)(struct ow_inbox *inbox, struct ow_error *err);
    int (*commit)(struct ow_inbox *inbox, struct ow_error *err); /* a failed commit is rolled back */
    void (*rollback)(struct ow_inbox *inbox);                    /* harmless outside a transaction */

    /* 1: a queued letter, the one with the lowest number above `after` whose key has no letter before it; 0: none now.
       Only one member of the group is given letters at a time. */
    int (*next_queued)(struct ow_inbox *inbox, int64_t after, struct ow_inbox_letter *ret, struct ow_error *err);

    /* Offsets go forwards only; a lower one is passed over. Where they are kept beside the effects (see
     * ow_inbox_options): in the transaction, and to begin with. 1: known. */
    int (*store_offset)(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t next,
                        struct ow_error *err);
    int (*read_offset)(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t *ret,
                       struct ow_error *err);

    /* The state of the breaker, which outlives the process: opaque text. load: 1, and `to` has it; 0: none. */
    int (*save_breaker)(struct ow_inbox *inbox, const char *state, struct ow_error *err);
    int (*load_breaker)(struct ow_inbox *inbox, struct ow_buf *to, struct ow_error *err);

    /* What has to be done now and then: old rows go, in small steps. Not inside a transaction. */
    int (*tend)(struct ow_inbox *inbox, struct ow_wait *wait, struct ow_error *err);
    /* The store that the transaction is on, for a handler's effects. The inbox's, until close. */
    struct ow_store *(*store)(struct ow_inbox *inbox);
    void (*close)(struct ow_inbox *inbox);   /* may be opened again */
    void (*discard)(struct ow_inbox *inbox); /* closes and frees */
};

struct ow_inbox {
    const struct ow_inbox_ops *ops;
};

/* --- in SQLite or PostgreSQL (inbox_store.c) ----------------------------------------------------------------- */

/* Opens the store with the tables there: made, where that is permitted. */
typedef int ow_inbox_open_store(void *context, struct ow_store **ret, struct ow_error *err);

struct ow_inbox_options {
    const char *consumer;            /* copied */
    ow_inbox_open_store *open_store; /* connects; called at each open() */
    void *context;                   /* must outlive the inbox */
    bool remembers;                  /* ids are recorded; else only letters, and everything else is NEW */
    bool keeps_letters;
    bool parks;              /* later messages of a key with a letter are BLOCKED */
    int64_t retention_ms;    /* rows of handled messages older than this go; 0: kept for ever */
    int64_t retention_count; /* and the oldest above this many; 0: no bound */
};
int ow_inbox_store_new(const struct ow_inbox_options *options, struct ow_inbox **ret,
                       struct ow_error *err) OW_MUST_CHECK;

#endif
