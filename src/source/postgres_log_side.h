/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Side: the ordinary connection beside a replication connection. It holds the lock of the slot from before the slot is
 * there, looks the slot and the publication up, keeps the recorded position where the broker cannot, and writes dead
 * letters. Its calls wait for the server, at most a statement timeout. Private to src/source.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_SIDE_H
#define OW_SOURCE_POSTGRES_LOG_SIDE_H

#include "source/postgres_log_rows.h"
#include "store/postgres.h"

struct ow_pg_side {
    const char *url, *shown; /* the caller's */
    struct ow_store *store;  /* NULL: not connected */
    struct pg_conn *conn;    /* the store's */
    bool is_locked;
};

struct ow_pg_slot {
    bool is_there, is_lost;
    int active_pid; /* 0: nobody reads it */
    uint64_t confirmed;
    char why_lost[64];
};

struct ow_pg_record { /* a row of onewrite.position */
    bool is_there;
    char text[64], system_identifier[32];
};

int ow_pg_side_open(struct ow_pg_side *side, struct ow_error *err) OW_MUST_CHECK; /* nothing, if it is open */
void ow_pg_side_close(struct ow_pg_side *side);
const char *ow_pg_side_database(const struct ow_pg_side *side);

/* OW_ESTANDBY: another relay has it. Once it was taken it is kept until unlock or close. */
int ow_pg_side_lock(struct ow_pg_side *side, const char *slot, struct ow_error *err) OW_MUST_CHECK;
void ow_pg_side_unlock(struct ow_pg_side *side, const char *slot);

/* OW_ECORRUPT: there is a slot of that name which is none of ours. */
int ow_pg_side_find_slot(struct ow_pg_side *side, const char *slot, struct ow_pg_slot *ret,
                         struct ow_error *err) OW_MUST_CHECK;
/* The bytes of the log that the server keeps for it; -1: not known. */
int64_t ow_pg_side_retained(struct ow_pg_side *side, const char *slot);
/* How the publication has onewrite.outbox: another text after the table was replaced, or taken out for a while. */
int ow_pg_side_membership(struct ow_pg_side *side, const char *publication, char ret[16],
                          struct ow_error *err) OW_MUST_CHECK;
int ow_pg_side_drop_slot(struct ow_pg_side *side, const char *slot, struct ow_error *err) OW_MUST_CHECK;

/* Whether the server can do it at all: wal_level, and its version for `kind` "message". */
int ow_pg_side_check_server(struct ow_pg_side *side, bool by_message, struct ow_error *err) OW_MUST_CHECK;
/* Everything that the role may not and will have to. OW_EDENIED: with the SQL of all of it, for a DBA. `rows` NULL: it
   is read by message. */
int ow_pg_side_check_rights(struct ow_pg_side *side, const char *slot, const char *publication,
                            const struct ow_pg_rows *rows, struct ow_error *err) OW_MUST_CHECK;
/* That the table is there with the columns that a message needs, or with any. */
int ow_pg_side_check_table(struct ow_pg_side *side, const char *schema, const char *table, bool with_any_columns,
                           bool *ret_is_partitioned, struct ow_error *err) OW_MUST_CHECK;
/* Makes the publication if it is missing. OW_EDENIED: with the SQL that a DBA runs. OW_EINVALID: it is there and
   leaves out what we read. `rows` NULL: any publication will do. */
int ow_pg_side_ensure_publication(struct ow_pg_side *side, const char *publication, const struct ow_pg_rows *rows,
                                  bool is_partitioned, struct ow_error *err) OW_MUST_CHECK;

int ow_pg_side_read_record(struct ow_pg_side *side, const char *name, struct ow_pg_record *ret,
                           struct ow_error *err) OW_MUST_CHECK;
/* *ret_lsn (may be NULL): how far the server's log was written just before the commit of it. */
int ow_pg_side_write_record(struct ow_pg_side *side, const char *name, const char *text, const char *system_identifier,
                            uint64_t *ret_lsn, struct ow_error *err) OW_MUST_CHECK;

#endif
