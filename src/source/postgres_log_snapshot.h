/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot: the rows that are in the tables when the slot is made, which the log from there on does not have. Read in
 * small batches, table after table, in the snapshot that the slot was made with, on a connection of its own. Private to
 * src/source.
 *
 * Each row has a place (postgres_log_past.h): the number of its table, and within it
 *   SEQ       its seq, where that is unique: always in onewrite.outbox
 *   PHYSICAL  where it lies in the table (ctid), in whose order it is read, where there is no seq
 *   COUNTED   how many were before it, in a table that gives neither (partitioned, inherited, not a heap, a seq that is
 *             not unique): nobody can say later which row that was
 */
#ifndef OW_SOURCE_POSTGRES_LOG_SNAPSHOT_H
#define OW_SOURCE_POSTGRES_LOG_SNAPSHOT_H

#include "source/postgres_log_past.h"
#include "source/postgres_log_rows.h"
#include "store/postgres.h"

enum ow_pg_place { OW_PG_PLACE_COUNTED, OW_PG_PLACE_SEQ, OW_PG_PLACE_PHYSICAL };

struct ow_pg_snapshot {
    struct pg_conn *conn; /* NULL: there is none */
    const char *shown;
    const struct ow_pg_rows *rows; /* the caller's: which tables */
    const struct ow_pg_past *past; /* the caller's, set before the first row is asked for */
    char *sees, *tables;           /* what it can see, and what is read, for ow_pg_past_begin() */
    bool has_seq[OW_PG_OUTBOXES_MAX];
    enum ow_pg_place kinds[OW_PG_OUTBOXES_MAX];
    size_t table;            /* of them, the one that is read */
    uint64_t count;          /* rows of it so far */
    uint64_t place;          /* of the row; rises */
    bool was_published;      /* the row, by an earlier attempt */
    bool is_declared;        /* the table's cursor */
    struct pg_result *batch; /* NULL: none of this table yet */
    struct pg_result *next;  /* the one behind it, where somebody has asked for the end; NULL: not read */
    int at;
    struct ow_pg_layout layout;
    struct ow_bytes *values; /* of a row */
    bool is_described;       /* its reader's: what is known of the columns of this table was asked for */
};

/* Its tables are locked against being rewritten. */
int ow_pg_snapshot_open(struct ow_pg_snapshot *snapshot, const char *url, const char *shown, const char *name,
                        const struct ow_pg_rows *rows, struct ow_error *err) OW_MUST_CHECK;
/* 1: layout, values, place and was_published are those of the next row, until the next call; 0: that was all, and it is
 * closed; < 0. */
int ow_pg_snapshot_next(struct ow_pg_snapshot *snapshot, struct ow_error *err) OW_MUST_CHECK;
/* Whether the row is the last one of its table. 1, 0, < 0. The row stays. */
int ow_pg_snapshot_is_last(struct ow_pg_snapshot *snapshot, struct ow_error *err) OW_MUST_CHECK;
void ow_pg_snapshot_close(struct ow_pg_snapshot *snapshot);

#endif
