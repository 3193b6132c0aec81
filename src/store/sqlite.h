/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the SQLite store share. Private to them; the contract is store.h.
 *
 *   sqlite.c         statements and transactions, and what SQLite's errors mean
 *   sqlite_open.c    opening a file, who waits for whom, the lock beside it
 *   sqlite_watch.c   seeing that somebody else has written, and keeping the WAL bounded
 */
#ifndef OW_STORE_SQLITE_H
#define OW_STORE_SQLITE_H

#include <sqlite3.h>
#include <sys/types.h>

#include "base/lock.h"
#include "store/store.h"

struct ow_statement {
    struct ow_sqlite *store;
    sqlite3_stmt *handle;
    struct ow_statement *next;
};

struct ow_sqlite {
    struct ow_store base;
    sqlite3 *db;
    char *path;      /* as the user wrote it, for messages */
    char *canonical; /* absolute, links resolved: one name for the lock file, however the path was written */
    struct ow_statement *statements;
    struct ow_statement *begin_read, *begin_write, *commit, *rollback, *data_version;
    struct ow_lock_file lock;
    int32_t timeout_ms;
    int inotify_fd;
    bool is_watching_wal;
    int64_t last_data_version;
    int64_t look_ms, next_look_ms, next_stat_ms, next_truncate_ms;
    int64_t busy_since_ms;
    size_t queued; /* since the last finish() */
    struct ow_error queue_error;
    char queue_class[32];
    int wal_pages, page_size;
    dev_t device;
    ino_t inode;
};

extern const struct ow_store_ops ow_sqlite_ops;

static inline struct ow_sqlite *ow_sqlite_of(struct ow_store *store)
{
    return (struct ow_sqlite *)store;
}

/* The OW_E… of a result of SQLite's, and that with its text. */
int ow_sqlite_code(const struct ow_sqlite *sqlite, int result);
int ow_sqlite_fail(const struct ow_sqlite *sqlite, int result, struct ow_error *err);

/* --- sqlite_open.c ------------------------------------------------------------------------------------ */

int ow_sqlite_lock(struct ow_store *store, struct ow_error *err) OW_MUST_CHECK;
void ow_sqlite_close(struct ow_store *store);

/* --- sqlite_watch.c ----------------------------------------------------------------------------------- */

/* Begins to look at the files, which are there. */
void ow_sqlite_watch(struct ow_sqlite *sqlite);
int ow_sqlite_has_changed(struct ow_store *store, struct ow_error *err) OW_MUST_CHECK;
void ow_sqlite_wait(struct ow_store *store, struct ow_wait *wait);
void ow_sqlite_tidy(struct ow_store *store);

#endif
