/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store: the contract of a transactional database that one service owns.
 *
 * An implementation embeds struct ow_store as its first member and sets `ops`. A store belongs to one
 * thread. Its calls may block for at most a statement timeout. All SQL text lives in sql/ and reaches
 * the program through the generated header sql.h; parameters are always bound, never pasted.
 *
 * Errors of every slot: OW_EBUSY (another one writes; try again), OW_EFULL, OW_EIO, OW_EUNREACHABLE,
 * OW_EDENIED (read-only, no right), OW_ENOTFOUND (no such file or table), OW_ECORRUPT (not a database),
 * OW_EINVALID (the database refuses the statement or the value), OW_ENOMEM.
 */
#ifndef OW_STORE_STORE_H
#define OW_STORE_STORE_H

#include "base/bytes.h"
#include "base/wait.h"

enum ow_value_kind { OW_VALUE_NULL, OW_VALUE_INTEGER, OW_VALUE_REAL, OW_VALUE_TEXT, OW_VALUE_BLOB };

struct ow_value {
    enum ow_value_kind kind;
    int64_t integer;
    double real;
    struct ow_bytes bytes; /* TEXT and BLOB; of a fetched row: the store's until the next row, stop or start */
};

static inline struct ow_value ow_value_null(void)
{
    return (struct ow_value){.kind = OW_VALUE_NULL};
}
static inline struct ow_value ow_value_integer(int64_t integer)
{
    return (struct ow_value){.kind = OW_VALUE_INTEGER, .integer = integer};
}
/* Null bytes make a null value. */
static inline struct ow_value ow_value_text(struct ow_bytes bytes)
{
    return (struct ow_value){.kind = bytes.data ? OW_VALUE_TEXT : OW_VALUE_NULL, .bytes = bytes};
}
static inline struct ow_value ow_value_blob(struct ow_bytes bytes)
{
    return (struct ow_value){.kind = bytes.data ? OW_VALUE_BLOB : OW_VALUE_NULL, .bytes = bytes};
}

struct ow_store;
struct ow_statement; /* prepared; belongs to its store */

enum ow_transaction {
    OW_TRANSACTION_READ,
    OW_TRANSACTION_WRITE,
    OW_TRANSACTION_LATE, /* to write; PostgreSQL is told with the first statement, and what is wrong comes out there */
};

enum { OW_STORE_QUEUE_MAX = 1000 };

/* Which of the queued statements failed, and what its database calls that. */
struct ow_store_failure {
    size_t index;   /* counted from 0 since the last finish(); the number of them: none is to blame */
    char class[32]; /* PostgreSQL: the SQLSTATE, "23505"; SQLite: "constraint failed"; "" if not known */
};

struct ow_store_ops {
    const char *name; /* "sqlite" */

    int (*prepare)(struct ow_store *store, const char *sql, struct ow_statement **ret, struct ow_error *err);
    /* Binds and starts; a statement that runs is stopped first. Bound bytes stay the caller's and must
       live until stop() or, for a statement without rows, until the row() that returns 0. */
    int (*start)(struct ow_statement *statement, const struct ow_value *values, size_t count, struct ow_error *err);
    /* 1: a row, its first `count` columns in `columns`; 0: it is done (and stopped); < 0. */
    int (*row)(struct ow_statement *statement, struct ow_value *columns, size_t count, struct ow_error *err);
    void (*stop)(struct ow_statement *statement);    /* NULL is allowed: it could not be prepared */
    void (*discard)(struct ow_statement *statement); /* NULL is allowed */

    /* Runs a statement whose rows nobody wants, without waiting for it: PostgreSQL has it in its pipeline, SQLite runs
       it at once. The values' bytes stay the caller's and must live until finish(). At most OW_STORE_QUEUE_MAX; between
       the first and finish() nothing else may be asked of the store. OW_EINVALID, OW_ETOOBIG: a value cannot be stored;
       what was queued before stands. */
    int (*queue)(struct ow_statement *statement, const struct ow_value *values, size_t count, struct ow_error *err);
    /* Waits for what was queued; a LATE transaction has begun then, even if nothing was. < 0: a statement failed, those
       behind it were not run, and an open transaction is of no use any more. `failure` may be NULL. `is_last`: nothing
       but commit() comes behind it, so that in a LATE transaction of PostgreSQL the commit goes along; commit() is
       called all the same, and says how it went. */
    int (*finish)(struct ow_store *store, bool is_last, struct ow_store_failure *failure, struct ow_error *err);

    /* Runs a script of several statements that take no parameters and whose rows nobody wants. */
    int (*script)(struct ow_store *store, const char *sql, struct ow_error *err);

    int (*begin)(struct ow_store *store, enum ow_transaction kind, struct ow_error *err);
    int (*commit)(struct ow_store *store, struct ow_error *err); /* a failed commit is rolled back */
    void (*rollback)(struct ow_store *store);                    /* harmless outside a transaction */
    int64_t (*changes)(struct ow_store *store);                  /* rows changed by the last statement */

    /* 1: somebody else may have committed since the last call; 0: nobody has. Cheap. */
    int (*has_changed)(struct ow_store *store, struct ow_error *err);
    /* Adds what tells of a change, or at least a deadline after which to look. */
    void (*wait)(struct ow_store *store, struct ow_wait *wait);
    /* Keeps what the store writes on the side bounded (SQLite: checkpoints a large WAL). Cheap when there
       is nothing to do; never fails the caller's work. */
    void (*tidy)(struct ow_store *store);

    /* One holder at a time, among all processes, given up when the holder ends, however it ends.
       OW_ESTANDBY at once if another one holds it; the text names the holder where that is known. */
    int (*lock)(struct ow_store *store, struct ow_error *err);
    void (*close)(struct ow_store *store); /* frees the store and its statements; NULL is allowed */
};

struct ow_store {
    const struct ow_store_ops *ops;
};

/* For who has statements of each dialect. */
static inline bool ow_store_is_sqlite(const struct ow_store *store)
{
    return strcmp(store->ops->name, "sqlite") == 0;
}

static inline void ow_store_cleanup(struct ow_store **store)
{
    if (*store)
        (*store)->ops->close(*store);
}

/* start + row until done: for statements without rows, or whose rows nobody wants. */
int ow_store_run(struct ow_store *store, struct ow_statement *statement, const struct ow_value *values, size_t count,
                 struct ow_error *err) OW_MUST_CHECK;
/* Prepares, runs, discards: for a statement that is run once. */
int ow_store_execute(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                     struct ow_error *err) OW_MUST_CHECK;
/* Prepares, runs for one row of `column_count` columns, hands it to the caller through `row`, discards.
   1: there was a row; 0: none. The bytes of `columns` are copied to `keep`. */
int ow_store_query_row(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                       struct ow_value *columns, size_t column_count, struct ow_buf *keep,
                       struct ow_error *err) OW_MUST_CHECK;
/* The same for one integer: *ret is `otherwise` if there is no row or it is null. */
int ow_store_query_integer(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                           int64_t otherwise, int64_t *ret, struct ow_error *err) OW_MUST_CHECK;

/* --- SQLite (sqlite*.c) -------------------------------------------------------------------------- */

enum ow_sqlite_mode { OW_SQLITE_MUST_EXIST, OW_SQLITE_CREATE, OW_SQLITE_READ_ONLY };

struct ow_sqlite_options {
    const char *path;
    enum ow_sqlite_mode mode;
    bool is_durable;    /* synchronous=FULL: a commit survives a loss of power; else NORMAL */
    bool wants_wal;     /* turn the file to WAL mode if it is not */
    int32_t timeout_ms; /* how long a call may wait for another writer; 0: 5,000 */
    int32_t cache_kib;  /* 0: 2,048 */
    int32_t page_bytes; /* of a file that is made now; 0: as SQLite has it */
};
int ow_sqlite_open(const struct ow_sqlite_options *options, struct ow_store **ret, struct ow_error *err) OW_MUST_CHECK;
/* Its connection, for what takes one (include/onewrite/outbox.h); the store's, until close. */
struct sqlite3 *ow_sqlite_connection(struct ow_store *store);

#endif
