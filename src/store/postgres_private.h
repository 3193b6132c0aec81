/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the PostgreSQL store share. */
#ifndef OW_STORE_POSTGRES_PRIVATE_H
#define OW_STORE_POSTGRES_PRIVATE_H

#include <libpq-fe.h>

#include "store/postgres.h"

enum { OW_POSTGRES_GRACE_MS = 5000 };

struct ow_statement {
    struct ow_postgres *store;
    char name[32];
    struct ow_buf scratch; /* parameters as text; then bytea decoded, of the row shown last */
    PGresult *row;
    struct ow_statement *next;
};

/* What became of a commit that went along with the last statements. */
enum ow_postgres_end { OW_POSTGRES_OPEN, OW_POSTGRES_COMMITTED, OW_POSTGRES_NOT_COMMITTED };

struct ow_postgres {
    struct ow_store base;
    PGconn *conn;
    char *shown;
    int32_t timeout_ms;
    struct ow_statement *statements, *running;
    uint64_t next_name;
    int64_t changes;
    int64_t look_ms, next_look_ms;
    bool has_lock;

    struct ow_statement *begin, *commit; /* prepared for transactions that begin late */
    bool begins;                         /* BEGIN is to go in front of the next statement */
    bool has_begun;                      /* it did, in front of what is queued */
    bool is_late;                        /* this transaction is one that begins late */
    bool is_piped;                       /* what runs is in a pipeline, behind BEGIN */
    size_t queued;
    enum ow_postgres_end end;
    struct ow_error end_error;
};

static inline struct ow_postgres *ow_postgres_self(struct ow_store *store)
{
    return (struct ow_postgres *)store;
}

/* --- postgres.c ------------------------------------------------------------------------------------------ */

int ow_postgres_prepare(struct ow_store *store, const char *sql, struct ow_statement **ret, struct ow_error *err);
/* Binds and sends; nothing is waited for. OW_EINVALID, OW_ETOOBIG: nothing was sent. */
int ow_postgres_send(struct ow_statement *statement, const struct ow_value *values, size_t count, struct ow_error *err);
void ow_postgres_stop_running(struct ow_postgres *s);

/* --- postgres_pipeline.c: slots of the contract, and what a statement needs that BEGIN goes in front of --------- */

int ow_postgres_queue(struct ow_statement *statement, const struct ow_value *values, size_t count,
                      struct ow_error *err);
int ow_postgres_finish(struct ow_store *store, bool is_last, struct ow_store_failure *failure, struct ow_error *err);
int ow_postgres_begin(struct ow_store *store, enum ow_transaction kind, struct ow_error *err);
int ow_postgres_commit(struct ow_store *store, struct ow_error *err);
void ow_postgres_rollback(struct ow_store *store);
int ow_postgres_script(struct ow_store *store, const char *sql, struct ow_error *err);
/* Sends BEGIN and the statement, and takes the answer to the first. < 0: nothing is left of either to be read. */
int ow_postgres_send_behind_begin(struct ow_statement *statement, const struct ow_value *values, size_t count,
                                  struct ow_error *err);
/* Reads and drops what is left of the pipeline, and leaves it. */
void ow_postgres_leave_pipeline(struct ow_postgres *s);

#endif
