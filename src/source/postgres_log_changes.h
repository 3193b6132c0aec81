/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes: what the log says of tables that are no outbox, every change of them as one to three messages: a DELETE is
 * followed by one that says that the row is gone; an UPDATE of the key is a DELETE and an INSERT. Private to
 * postgres_log*.c.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_CHANGES_H
#define OW_SOURCE_POSTGRES_LOG_CHANGES_H

#include "codec/pgoutput.h"
#include "codec/row.h"
#include "source/postgres_log_rows.h"

enum { OW_PG_STEPS_MAX = 3 };

struct ow_pg_changes {
    struct ow_bytes *before; /* owned; a row before its change; NULL: no such table is read */
    struct ow_row_change change;
    enum ow_row_op steps[OW_PG_STEPS_MAX];
    unsigned step, count; /* the next one of them */
    bool is_taken;        /* they count, and are not yielded */
    bool has_row;         /* after the change; else there is only the one before */
    int outbox;
};

struct ow_pg_log;
struct ow_message;

static inline bool ow_pg_changes_is_there(const struct ow_pg_changes *changes)
{
    return changes->step < changes->count;
}
int ow_pg_changes_init(struct ow_pg_changes *changes, struct ow_error *err) OW_MUST_CHECK;
void ow_pg_changes_done(struct ow_pg_changes *changes);
void ow_pg_changes_forget(struct ow_pg_changes *changes);

/* Of the log: INSERT, UPDATE or DELETE of such a table; what it consists of is asked for next. `is_taken`: somebody
   else has published it. What `change` points to stays until all of it was taken. */
int ow_pg_changes_take(struct ow_pg_log *log, const struct ow_pg_layout *layout, const struct ow_pgoutput *change,
                       uint64_t lsn, bool is_taken, struct ow_error *err) OW_MUST_CHECK;
/* 1: a message; 0: that was all of it. */
int ow_pg_changes_next(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err) OW_MUST_CHECK;
/* A row of the snapshot, in log->snapshot: what is known of it besides. */
int ow_pg_changes_of_snapshot(struct ow_pg_log *log, bool is_first_of_table, struct ow_message *ret,
                              struct ow_error *err) OW_MUST_CHECK;

#endif
