/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot: the rows that are in the tables when the slot is made, which the log from there on does not have. Read in
 * small batches, table after table, in the snapshot that the slot was made with, on a connection of its own. Private to
 * src/source.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_SNAPSHOT_H
#define OW_SOURCE_POSTGRES_LOG_SNAPSHOT_H

#include "source/postgres_log_rows.h"
#include "store/postgres.h"

struct ow_pg_snapshot {
    struct pg_conn *conn; /* NULL: there is none */
    const char *shown;
    const struct ow_pg_rows *rows; /* the caller's: which tables */
    size_t table;                  /* of them, the one that is read */
    struct pg_result *batch;       /* NULL: none of this table yet */
    struct pg_result *next;        /* the one behind it, where somebody has asked for the end; NULL: not read */
    int at;
    struct ow_pg_layout layout;
    struct ow_bytes *values; /* of a row */
    bool is_described;       /* its reader's: what is known of the columns of this table was asked for */
};

int ow_pg_snapshot_open(struct ow_pg_snapshot *snapshot, const char *url, const char *shown, const char *name,
                        const struct ow_pg_rows *rows, struct ow_error *err) OW_MUST_CHECK;
/* 1: layout and values are those of the next row, until the next call; 0: that was all, and it is closed; < 0. */
int ow_pg_snapshot_next(struct ow_pg_snapshot *snapshot, struct ow_error *err) OW_MUST_CHECK;
/* Whether the row is the last one of its table. 1, 0, < 0. The row stays. */
int ow_pg_snapshot_is_last(struct ow_pg_snapshot *snapshot, struct ow_error *err) OW_MUST_CHECK;
void ow_pg_snapshot_close(struct ow_pg_snapshot *snapshot);

#endif
