/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: the contract of what yields messages in an order that can be resumed.
 *
 * An implementation embeds struct ow_source as its first member and sets `ops`. A source belongs to one
 * thread; on a network it never blocks inside a call (wait() says what it waits for); calls of a store
 * underneath may block for a statement timeout.
 *
 * Order of calls: open, resume, then next / confirm / set_aside / wait in any order, close. After an error
 * of class RETRYABLE from any of them the caller closes and opens again; nothing is lost by that: what was
 * yielded and not confirmed is yielded again.
 *
 * `confirm` is the only call that lets a database forget, and only the relay calls it.
 */
#ifndef OW_SOURCE_SOURCE_H
#define OW_SOURCE_SOURCE_H

#include "base/wait.h"
#include "core/message.h"

struct ow_source;

struct ow_source_ops {
    const char *name;  /* "outbox by polling" */
    bool commits_late; /* a message may turn up below a position that was accepted before: several writers */
    /* Its positions are places in a log that anybody may read again: what lies at or before the position that it is
       resumed at is not yielded, and a broker may keep that position (see is_recorded). To confirm costs a write:
       it is done for many messages at once. The slots idle_position and is_at_end are there. */
    bool is_log;

    /* Connects and makes sure that this is the only relay at work on it: OW_ESTANDBY if another is (call
       again later). Any other error is as the store's. */
    int (*open)(struct ow_source *source, struct ow_error *err);
    /* A text that names this source for ever, also after the file was moved; for positions that a broker
       keeps. The source's own, until close. */
    const char *(*identity)(struct ow_source *source);
    /* Of a log: that no other relay can have had it since it was opened, asked when the broker has said what is on
       record, and from then on fences that other one off. OW_EUNREACHABLE: one may have. NULL: to confirm is fenced by
       itself. */
    int (*is_held)(struct ow_source *source, struct ow_error *err);
    /* Where a broker knows a position: what lies at or before it need not be yielded by a log. A polled
       outbox yields what rows there are; the relay asks the broker about them. NULL: from the start.
       1, of a log: it begins anew. What was yielded before and is not on record comes again, at other positions. */
    int (*resume)(struct ow_source *source, const struct ow_position *position, struct ow_error *err);

    /* 1: *ret is the next message, its bytes the source's until the next call of any slot.
       0: nothing now; wait() says when to ask again. */
    int (*next)(struct ow_source *source, struct ow_message *ret, struct ow_error *err);

    /* The messages at these positions, rising, are accepted or set aside, and so is everything before them:
       the source may forget them. A log takes the last one; a polled outbox forgets exactly these rows. */
    int (*confirm)(struct ow_source *source, const struct ow_position *positions, size_t count, struct ow_error *err);

    /* Records durably, beside the source, that this message became a dead letter, with its reason. The
       message is confirmed later like any other. Doing it again changes nothing. */
    int (*set_aside)(struct ow_source *source, const struct ow_message *message, const char *reason, uint32_t attempts,
                     struct ow_error *err);

    /* For a relay that parks. 1: an earlier message of its key is a dead letter, or was one and is on its way again
       behind this message; so this one became a dead letter behind it, and is confirmed later like any other. 0:
       nothing stands before it. Durable, and known again after the next open(); cheap where the key has no dead letter.
     */
    int (*park)(struct ow_source *source, const struct ow_message *message, struct ow_error *err);

    void (*wait)(struct ow_source *source, struct ow_wait *wait);
    /* What has to be done on time while the source is open, also while nothing is read because the broker is
       blocked: a lease is renewed, a server is told that its reader lives. Called at every step of the relay;
       cheap when nothing is due; adds the next deadline to `wait`. NULL: there is nothing of the kind. */
    int (*tend)(struct ow_source *source, struct ow_wait *wait, struct ow_error *err);
    /* Of a log. Nothing that was yielded is unconfirmed, and the log has gone on without a message: a position behind
       all of that, to be recorded and confirmed like one. False: there is none now. Asked at every step; the source
       keeps the pace. */
    bool (*idle_position)(struct ow_source *source, struct ow_position *ret);
    /* Of a log. Everything that was committed before it was opened has been yielded, and what confirming has brought
       about is done. */
    bool (*is_at_end)(struct ow_source *source);
    void (*close)(struct ow_source *source);   /* may be opened again */
    void (*discard)(struct ow_source *source); /* closes and frees */
};

struct ow_source {
    const struct ow_source_ops *ops;
    /* Set by the relay: the broker keeps the positions of this log, so the source keeps none itself. */
    bool is_recorded;
    bool hurries; /* set by the relay: the end is near; nothing is put off to be done together with more */
    /* Set by a log, before its next message is there: it goes on elsewhere, perhaps before the position that a broker
       keeps, which counts no more. The relay makes the broker forget it, and then clears this. */
    bool has_gone_back;
    bool is_watched;        /* set by whoever wants to know the next: */
    int64_t retained_bytes; /* set by a log, now and then: one more than the bytes of it that the database keeps because
                               of what is not confirmed; 0: not known */
    bool parks;             /* set by the relay before open(): park() will be asked about every message with a key */
    const char *notice;     /* set by open(): what a person should know although it works; static. NULL: nothing */
};

/* --- an outbox table in a store, by polling (outbox_polling.c) --------------------------------------- */

enum ow_outbox_after { OW_OUTBOX_DELETE, OW_OUTBOX_MARK };

struct ow_outbox_polling_options {
    const char *path;           /* of the SQLite file; copied */
    enum ow_outbox_after after; /* what becomes of accepted rows */
    int64_t keep_marked_ms;     /* OW_OUTBOX_MARK: marked rows older than this are deleted; 0: kept for ever */
    uint32_t batch_max;         /* rows read at a time; 0: 1,000 */
};
int ow_outbox_polling_new(const struct ow_outbox_polling_options *options, struct ow_source **ret,
                          struct ow_error *err) OW_MUST_CHECK;

/* --- an outbox table in PostgreSQL, by polling (outbox_postgres*.c) ----------------------------------- */

enum { OW_OUTBOX_SHARDS_MAX = 64 };

struct ow_outbox_postgres_options {
    const char *url, *shown;    /* a libpq URI with its secrets, and what messages call it; copied */
    enum ow_outbox_after after; /* what becomes of accepted rows */
    int64_t keep_marked_ms;     /* OW_OUTBOX_MARK: marked rows older than this are deleted; 0: kept for ever */
    uint32_t shards;            /* of the keys, shared by the relays at work; 0: as the database has it, else 8 */
    uint32_t batch_max;         /* rows read at a time; 0: 2,500 */
};
/* OW_EUNSUPPORTED in a build without libpq. */
int ow_outbox_postgres_new(const struct ow_outbox_postgres_options *options, struct ow_source **ret,
                           struct ow_error *err) OW_MUST_CHECK;

/* --- PostgreSQL's log: an outbox table, or logical messages (postgres_log*.c) -------------------------- */

enum ow_postgres_log_prune { OW_PRUNE_AFTER_CONFIRM, OW_PRUNE_NEVER };

/* Texts are copied; NULL and 0 have the default. */
struct ow_postgres_log_options {
    const char *url, *shown; /* a libpq URI with its secrets, and what messages call it */
    bool by_message;         /* logical messages with the prefix "onewrite", in place of a table */
    const char *table;       /* schema.table, and more of them behind commas; NULL: onewrite.outbox */
    const char *changes; /* likewise, tables that are no outbox: every change as a row; with wants_rows. NULL: none */
    const char *slot;    /* NULL: onewrite_<database>_<log|message> */
    const char *publication; /* NULL: onewrite_outbox; for a table of another name that of the slot */
    uint32_t prune;          /* enum ow_postgres_log_prune; rows of another table than onewrite.outbox are left alone */
    bool wants_rows;         /* messages with their rows, UPDATEs too; the columns may be any; not by message */
    bool wants_logical;      /* also logical messages of others (any prefix but ours), as rows of their own kind */
    bool has_no_snapshot;    /* what is in the tables before the slot is made stays unpublished */
    const char *start_after; /* where nothing is on record: as if it were this; see ow_postgres_log_check_start() */
    bool accepts_gap;        /* a person says: go on, though the log has a gap */
    const char *spill_folder; /* for transactions in progress that are too large for memory; NULL: $TMPDIR or /tmp */
};
/* What another program has published from the slot already: "LSN", the end of the last transaction of which it has
   published everything, or "LSN, XID, LSN", and then of the one with that number the rows up to that one. OW_EINVALID.
 */
int ow_postgres_log_check_start(const char *text, struct ow_error *err) OW_MUST_CHECK;
/* Whether a slot may be called that; whether this is a list of tables. OW_EUSAGE, OW_EINVALID. */
int ow_postgres_log_check_slot(const char *name, struct ow_error *err) OW_MUST_CHECK;
int ow_postgres_log_check_tables(const char *names, struct ow_error *err) OW_MUST_CHECK;
/* OW_EUNSUPPORTED in a build without libpq. OW_EINVALID, OW_EUSAGE: an option is wrong. */
int ow_postgres_log_new(const struct ow_postgres_log_options *options, struct ow_source **ret,
                        struct ow_error *err) OW_MUST_CHECK;

#endif
