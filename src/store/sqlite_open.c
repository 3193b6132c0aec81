/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening an SQLite file, and the lock beside it. A writer that waits sleeps for short, growing times: SQLite's
 * own handler soon sleeps 100 ms, far longer than a transaction lasts here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "store/sqlite.h"

enum {
    TIMEOUT_MS_DEFAULT = 5000,
    CACHE_KIB_DEFAULT = 2048,
};

static int on_busy(void *context, int calls)
{
    struct ow_sqlite *s = context;
    int64_t now = ow_clock_monotonic_ms();
    if (calls == 0)
        s->busy_since_ms = now;
    if (now - s->busy_since_ms >= s->timeout_ms)
        return 0;
    long sleep_us = calls < 4 ? 100 : calls < 20 ? 500 : 2000;
    struct timespec pause = {.tv_nsec = sleep_us * 1000};
    (void)nanosleep(&pause, NULL);
    return 1;
}

/* --- the lock beside the file ----------------------------------------------------------------------- */

int ow_sqlite_lock(struct ow_store *store, struct ow_error *err)
{
    struct ow_sqlite *s = ow_sqlite_of(store);
    char path[4096], holder[24] = "";
    (void)snprintf(path, sizeof path, "%s-onewrite.lock", s->canonical);
    if (s->lock.fd < 0) {
        int r = ow_lock_file_open(&s->lock, path, err);
        if (r < 0)
            return r;
    }
    int r = ow_lock_take(&s->lock, 0, err);
    if (r == OW_EBUSY) {
        if (pread(s->lock.fd, holder, sizeof holder - 1, 0) <= 0)
            (void)snprintf(holder, sizeof holder, "unknown");
        return ow_error_set(err, OW_ESTANDBY, "%s: another relay is at work on it (process %ld)", s->path,
                            strtol(holder, NULL, 10));
    }
    if (r < 0)
        return r;
    int n = snprintf(holder, sizeof holder, "%d\n", (int)getpid());
    if (ftruncate(s->lock.fd, 0) != 0 || pwrite(s->lock.fd, holder, (size_t)n, 0) != n) {
        /* The number is for people only; the lock holds without it. */
    }
    return 0;
}

/* --- open and close ---------------------------------------------------------------------------------- */

void ow_sqlite_close(struct ow_store *store)
{
    if (!store)
        return;
    struct ow_sqlite *s = ow_sqlite_of(store);
    while (s->statements)
        s->base.ops->discard(s->statements);
    (void)sqlite3_close(s->db);
    ow_lock_file_close(&s->lock);
    if (s->inotify_fd >= 0)
        (void)close(s->inotify_fd);
    free(s->path);
    free(s->canonical);
    free(s);
}

static int prepare_own(struct ow_sqlite *s, struct ow_error *err)
{
    const struct {
        const char *sql;
        struct ow_statement **to;
    } own[] = {
        {"BEGIN", &s->begin_read},  {"BEGIN IMMEDIATE", &s->begin_write},      {"COMMIT", &s->commit},
        {"ROLLBACK", &s->rollback}, {"PRAGMA data_version", &s->data_version},
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        int r = s->base.ops->prepare(&s->base, own[i].sql, own[i].to, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Asked without waiting inside of SQLite: it would wait with a lock in its hand, and so would another one that
   opens the same new file, for the whole timeout. */
static int turn_to_wal(struct ow_sqlite *s, struct ow_value *mode, struct ow_buf *keep, struct ow_error *err)
{
    int r;
    (void)sqlite3_busy_handler(s->db, NULL, NULL);
    for (int calls = 0;; calls++) {
        r = ow_store_query_row(&s->base, "PRAGMA journal_mode = wal", NULL, 0, mode, 1, keep, err);
        if (r != OW_EBUSY || !on_busy(s, calls))
            break;
    }
    (void)sqlite3_busy_handler(s->db, on_busy, s);
    return r;
}

/* Turns the file to WAL if that is wanted and says whether it is in WAL mode now. */
static int journal_mode(struct ow_sqlite *s, bool wants_wal, bool *ret_is_wal, struct ow_error *err)
{
    struct ow_value mode = ow_value_null();
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    int r = ow_store_query_row(&s->base, "PRAGMA journal_mode", NULL, 0, &mode, 1, &keep, err);
    if (r == 1 && wants_wal && !ow_bytes_is(mode.bytes, "wal"))
        r = turn_to_wal(s, &mode, &keep, err);
    if (r < 0)
        return r;
    *ret_is_wal = r == 1 && ow_bytes_is(mode.bytes, "wal");
    return 0;
}

static int set_up(struct ow_sqlite *s, const struct ow_sqlite_options *options, struct ow_error *err)
{
    bool is_writing = options->mode != OW_SQLITE_READ_ONLY, is_wal = false;
    char pragmas[160];
    (void)sqlite3_extended_result_codes(s->db, 1);
    (void)sqlite3_busy_handler(s->db, on_busy, s);
    if (is_writing && sqlite3_db_readonly(s->db, "main") == 1)
        return ow_error_set(err, OW_EDENIED, "%s: the file is read-only for this user", s->path);
    /* The first look into the file: a file that is no database shows itself here. */
    int64_t page_size = 0;
    int r = s->base.ops->script(&s->base, "SELECT count(*) FROM sqlite_master", err);
    if (r == 0 && options->page_bytes) {
        (void)snprintf(pragmas, sizeof pragmas, "PRAGMA page_size = %d", options->page_bytes);
        r = s->base.ops->script(&s->base, pragmas, err);
    }
    if (r == 0)
        r = ow_store_query_integer(&s->base, "PRAGMA page_size", NULL, 0, 4096, &page_size, err);
    if (r == 0)
        r = journal_mode(s, is_writing && options->wants_wal, &is_wal, err);
    if (r < 0)
        return r;
    s->page_size = (int)page_size;
    (void)snprintf(pragmas, sizeof pragmas,
                   "PRAGMA synchronous = %s; PRAGMA cache_size = -%d; PRAGMA foreign_keys = OFF;",
                   options->is_durable || !is_wal ? "FULL" : "NORMAL",
                   options->cache_kib ? options->cache_kib : CACHE_KIB_DEFAULT);
    r = s->base.ops->script(&s->base, pragmas, err);
    if (r < 0)
        return r;
    const char *canonical = sqlite3_db_filename(s->db, "main");
    s->canonical = strdup(canonical && *canonical ? canonical : s->path);
    if (!s->canonical)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_sqlite_watch(s);
    return prepare_own(s, err);
}

int ow_sqlite_open(const struct ow_sqlite_options *options, struct ow_store **ret, struct ow_error *err)
{
    struct ow_sqlite *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(options->path))) {
        free(s);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    s->base.ops = &ow_sqlite_ops;
    s->lock.fd = s->inotify_fd = -1;
    s->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    int flags = options->mode == OW_SQLITE_READ_ONLY ? SQLITE_OPEN_READONLY
                : options->mode == OW_SQLITE_CREATE  ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                                     : SQLITE_OPEN_READWRITE;
    int r, result = sqlite3_open_v2(s->path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (result != SQLITE_OK && options->mode == OW_SQLITE_CREATE && ow_sqlite_code(s, result) == OW_ENOTFOUND)
        r = ow_error_set(err, OW_ENOTFOUND,
                         "%s: cannot be created; is its folder there, and may this user write to it?", s->path);
    else
        r = result == SQLITE_OK ? set_up(s, options, err) : ow_sqlite_fail(s, result, err);
    if (r == 0) {
        *ret = &s->base;
        return 0;
    }
    ow_sqlite_close(&s->base);
    return r;
}

struct sqlite3 *ow_sqlite_connection(struct ow_store *store)
{
    return ow_sqlite_of(store)->db;
}
