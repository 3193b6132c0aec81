/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to postgres_log*.c: messages out of PostgreSQL's log, from the inserts into an outbox table or from logical
 * messages.
 *
 *            open                resume                     the slot is made          the snapshot ends
 *   CLOSED --------> ATTACHED ----------> CREATING -----------------------> SNAPSHOT -------------------> STREAMING
 *     ^                  |                (first start; the snapshot is of a table only)                     ^
 *     |                  +-----------------------------------------------------------------------------------+
 *     +-- close, from anywhere                        the slot was there
 *
 * Position: (LSN of the commit record, ordinal of the message in its transaction, from 1). Transactions that the server
 * streams while they are in progress wait in the spill; their ordinals are counted when they are read back at the
 * commit, over what was not rolled back, and so are the same as if they had come at once. Rows of the snapshot stand at
 * (L - 1, place), where L is the LSN at which the new slot begins (see postgres_log_past.h). A logical message that is
 * in no transaction stands at (E - 1, 1), where E is the end of its record: a commit record may begin at E.
 *
 * What is on record (by the broker, or in onewrite.position) is never behind what the server was told it may forget.
 * So at a start a slot behind the record is normal (its position survives a crash of the server only from the last
 * checkpoint), and what lies between is passed over; everything else is a gap, which a person has to accept.
 *
 * A snapshot that was begun is noted in onewrite.position (<slot>/snapshot) before its slot is made, what it shows
 * before a row of it is published, and that it is done only after its last row was confirmed: a relay that dies in
 * between begins again with another slot, and leaves out what was published by what is on record.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_H
#define OW_SOURCE_POSTGRES_LOG_H

#include "source/dead_letters.h"
#include "source/postgres_log_changes.h"
#include "source/postgres_log_past.h"
#include "source/postgres_log_prune.h"
#include "source/postgres_log_rows.h"
#include "source/postgres_log_side.h"
#include "source/postgres_log_snapshot.h"
#include "source/postgres_log_spill.h"
#include "source/postgres_log_table.h"
#include "source/postgres_log_track.h"
#include "source/postgres_replication.h"
#include "source/source.h"

enum ow_pg_log_state { OW_PG_CLOSED, OW_PG_ATTACHED, OW_PG_CREATING, OW_PG_SNAPSHOT, OW_PG_STREAMING };

/* Of transaction `xid` (0: of none) the rows up to `lsn` were published by somebody else. */
struct ow_pg_takeover {
    uint64_t commit_lsn;
    uint32_t xid;
    uint64_t lsn;
    bool has_met; /* a row that stands at `lsn` */
};

struct ow_pg_log {
    struct ow_source base;
    struct ow_postgres_log_options options; /* its texts are these: */
    char *url, *shown, *publication, *start_after;
    char slot[OW_POSTGRES_NAME_SIZE]; /* "": not known before the first connection */
    int own_outbox;                   /* which of the tables is onewrite.outbox, whose rows are pruned; -1: none */

    enum ow_pg_log_state state;
    struct ow_pg_side side;
    struct ow_pg_replication stream;
    struct ow_pg_rows rows;
    struct ow_pg_spill spill;
    struct ow_pg_snapshot snapshot;
    struct ow_pg_track track;
    struct ow_pg_pruner pruner;
    struct ow_buf identity;
    struct ow_dead_letters letters;
    struct ow_buf image; /* of the row of the message that was yielded last */

    struct ow_pg_slot found;   /* when it was opened */
    char membership[16];       /* of our own outbox in the publication; "": there is none */
    bool was_taken_out;        /* it has another one than when the slot's first rows were read */
    bool has_snapshot_mark;    /* a snapshot was begun and not done, here or in an earlier life */
    bool goes_back;            /* what is on record is to be forgotten when the slot is made */
    uint64_t slot_start;       /* where the slot that was made here begins; 0: none was made */
    struct ow_buf mark;        /* of the snapshot, as it was read or written last; empty: there is none */
    struct ow_pg_past past;    /* attempts at the snapshot, the one under way among them */
    struct ow_position before; /* what was on record when the log was resumed */

    bool is_inside, is_replaying; /* a transaction; one from the spill */
    bool is_in_stream;            /* between stream start and stop */
    uint32_t stream_xid, xid;
    uint64_t commit_lsn, end_lsn, ordinal;
    uint64_t last_commit_lsn; /* the end of the one before; 0: none was seen */
    int64_t time_us;          /* of the commit, since 1970 */
    struct ow_pg_takeover takeover;

    uint64_t read_lsn, target_lsn; /* everything before was yielded; where the log ended when it was opened */
    uint64_t noise_lsn;            /* up to here our own record has written the log */
    int64_t idle_due_ms, ask_due_ms;
    int64_t dry_ms;          /* when there was nothing to read */
    int64_t tended_ms;       /* when tend() was last called since it was opened; 0: it was not */
    int64_t retained_due_ms; /* when it is asked next how much of the log is kept */
    uint64_t heard_lsn;      /* what the server said last, */
    int64_t silence_due_ms;  /* and when it is asked if it says no more */
    struct ow_bytes values[OW_PG_COLUMNS_MAX];
    struct ow_pg_table *tables;    /* where rows are wanted: of each outbox */
    struct ow_pg_changes changes;  /* of tables that are no outbox */
    struct ow_row row;             /* of the message that was yielded last */
    struct ow_row_logical logical; /* likewise */
};

static inline struct ow_pg_log *ow_pg_log_of(struct ow_source *source)
{
    return (struct ow_pg_log *)source;
}

/* postgres_log_start.c */
int ow_pg_log_open(struct ow_source *source, struct ow_error *err);
int ow_pg_log_resume(struct ow_source *source, const struct ow_position *position, struct ow_error *err);
int ow_pg_log_is_held(struct ow_source *source, struct ow_error *err);
void ow_pg_log_close(struct ow_source *source);
/* The slot is made, or not yet: called until the state is another one. */
int ow_pg_log_create(struct ow_pg_log *log, struct ow_error *err) OW_MUST_CHECK;
/* "LSN" or "LSN, XID, LSN" (source.h); zeroed for NULL. */
int ow_pg_takeover_parse(const char *text, struct ow_pg_takeover *ret, struct ow_error *err) OW_MUST_CHECK;

/* postgres_log_read.c. 1: a message; 0: none now (the snapshot perhaps through, and the state another one). */
int ow_pg_log_read_snapshot(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err) OW_MUST_CHECK;
int ow_pg_log_read_stream(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err) OW_MUST_CHECK;

/* postgres_log_mark.c */
int ow_pg_log_look_for_mark(struct ow_pg_log *log, struct ow_error *err) OW_MUST_CHECK;
/* Notes that the snapshot was begun, with what is known of the past; that its last row is confirmed. OW_EUNREACHABLE:
   another relay has taken over, and has said otherwise. */
int ow_pg_log_mark_begun(struct ow_pg_log *log, struct ow_error *err) OW_MUST_CHECK;
int ow_pg_log_mark_done(struct ow_pg_log *log, struct ow_error *err) OW_MUST_CHECK;

/* postgres_log_aside.c */
int ow_pg_log_set_aside(struct ow_source *source, const struct ow_message *message, const char *reason,
                        uint32_t attempts, struct ow_error *err);
int ow_pg_log_park(struct ow_source *source, const struct ow_message *message, struct ow_error *err);
/* What the message could be put back by: not needed for a row of our own table. */
void ow_pg_log_add_image(struct ow_pg_log *log, const struct ow_pg_layout *layout, const struct ow_bytes *values,
                         struct ow_message *message);

#endif
