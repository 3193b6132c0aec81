/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite store. What is particular:
 *
 * - A change by somebody else is seen at once: inotify watches the database file and its -wal, and
 *   PRAGMA data_version says whether it was somebody else's. Where inotify cannot be had, an interval that
 *   grows while nothing happens takes its place.
 * - The WAL is kept bounded: SQLite's own automatic checkpoint is passive and never gets to the end of the
 *   WAL while readers and writers take turns without a pause; tidy() therefore makes a truncating one
 *   when the WAL has grown large.
 * - A writer that waits sleeps for short, growing times. SQLite's own handler soon sleeps 100 ms, far
 *   longer than a transaction lasts here.
 */
#include "store/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/units.h"

enum {
    TIMEOUT_MS_DEFAULT = 5000,
    CACHE_KIB_DEFAULT = 2048,
    WAL_PASSIVE_BYTES = 4 << 20,
    WAL_TRUNCATE_BYTES = 16 << 20,
    TRUNCATE_TIMEOUT_MS = 100,
    TRUNCATE_PAUSE_MS = 500,
    LOOK_MS_MIN = 1,
    LOOK_MS_MAX = 250,      /* without inotify */
    LOOK_MS_WATCHED = 1000, /* with inotify: in case that it misses something */
};

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

static const struct ow_store_ops sqlite_ops;

static struct ow_sqlite *self_of(struct ow_store *store)
{
    return (struct ow_sqlite *)store;
}

/* --- errors ------------------------------------------------------------------------------------------ */

static int code_of(const struct ow_sqlite *s, int result)
{
    if (s->db && sqlite3_system_errno(s->db) == ENOSPC && (result & 0xff) == SQLITE_IOERR)
        return OW_EFULL;
    if (result == SQLITE_READONLY_DBMOVED)
        return OW_EIO;
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return OW_EBUSY;
    case SQLITE_FULL:
        return OW_EFULL;
    case SQLITE_IOERR:
        return OW_EIO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return OW_EDENIED;
    case SQLITE_CANTOPEN:
        return access(s->path, F_OK) != 0 ? OW_ENOTFOUND : access(s->path, R_OK) != 0 ? OW_EDENIED : OW_EIO;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return OW_ECORRUPT;
    case SQLITE_NOMEM:
        return OW_ENOMEM;
    default:
        return OW_EINVALID;
    }
}

static int fail(const struct ow_sqlite *s, int result, struct ow_error *err)
{
    int code = code_of(s, result);
    switch (code) {
    case OW_ENOTFOUND:
        return ow_error_set(err, code, "%s: no such file", s->path);
    case OW_EBUSY:
        return ow_error_set(err, code, "%s: another writer held it for more than %d ms", s->path, s->timeout_ms);
    case OW_EFULL:
        return ow_error_set(err, code, "%s: no space left on its disk", s->path);
    case OW_ECORRUPT:
        if ((result & 0xff) == SQLITE_NOTADB)
            return ow_error_set(err, code, "%s: not an SQLite database", s->path);
        break;
    case OW_EDENIED:
        return ow_error_set(err, code, "%s: the file or its folder is read-only for this user", s->path);
    default:
        break;
    }
    return ow_error_set(err, code, "%s: %s", s->path, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(result));
}

/* --- statements -------------------------------------------------------------------------------------- */

static int sqlite_prepare(struct ow_store *store, const char *sql, struct ow_statement **ret, struct ow_error *err)
{
    struct ow_sqlite *s = self_of(store);
    struct ow_statement *statement = calloc(1, sizeof *statement);
    if (!statement)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int result = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement->handle, NULL);
    if (result != SQLITE_OK) {
        free(statement);
        return fail(s, result, err);
    }
    statement->store = s;
    statement->next = s->statements;
    s->statements = statement;
    *ret = statement;
    return 0;
}

static int bind(sqlite3_stmt *handle, int i, const struct ow_value *v)
{
    switch (v->kind) {
    case OW_VALUE_INTEGER:
        return sqlite3_bind_int64(handle, i, v->integer);
    case OW_VALUE_REAL:
        return sqlite3_bind_double(handle, i, v->real);
    case OW_VALUE_TEXT:
        return sqlite3_bind_text64(handle, i, v->bytes.data, v->bytes.size, SQLITE_STATIC, SQLITE_UTF8);
    case OW_VALUE_BLOB:
        return sqlite3_bind_blob64(handle, i, v->bytes.data, v->bytes.size, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(handle, i);
    }
}

static int sqlite_start(struct ow_statement *statement, const struct ow_value *values, size_t count,
                        struct ow_error *err)
{
    (void)sqlite3_reset(statement->handle);
    for (size_t i = 0; i < count; i++) {
        int result = bind(statement->handle, (int)i + 1, &values[i]);
        if (result != SQLITE_OK)
            return fail(statement->store, result, err);
    }
    return 0;
}

static void fetch(sqlite3_stmt *handle, int i, struct ow_value *v)
{
    *v = (struct ow_value){.kind = OW_VALUE_NULL};
    switch (sqlite3_column_type(handle, i)) {
    case SQLITE_INTEGER:
        v->kind = OW_VALUE_INTEGER;
        v->integer = sqlite3_column_int64(handle, i);
        break;
    case SQLITE_FLOAT:
        v->kind = OW_VALUE_REAL;
        v->real = sqlite3_column_double(handle, i);
        break;
    case SQLITE_TEXT:
        v->kind = OW_VALUE_TEXT;
        v->bytes.data = (const char *)sqlite3_column_text(handle, i);
        v->bytes.size = (size_t)sqlite3_column_bytes(handle, i);
        break;
    case SQLITE_BLOB:
        v->kind = OW_VALUE_BLOB;
        v->bytes.data = sqlite3_column_blob(handle, i);
        v->bytes.size = (size_t)sqlite3_column_bytes(handle, i);
        if (!v->bytes.data) /* SQLite gives NULL for an empty blob */
            v->bytes.data = "";
        break;
    default:
        break;
    }
}

static int sqlite_row(struct ow_statement *statement, struct ow_value *columns, size_t count, struct ow_error *err)
{
    int result = sqlite3_step(statement->handle);
    if (result == SQLITE_ROW) {
        for (size_t i = 0; i < count; i++)
            fetch(statement->handle, (int)i, &columns[i]);
        return 1;
    }
    int r = result == SQLITE_DONE ? 0 : fail(statement->store, result, err);
    (void)sqlite3_reset(statement->handle);
    return r;
}

static void sqlite_stop(struct ow_statement *statement)
{
    (void)sqlite3_reset(statement->handle);
}

static void sqlite_discard(struct ow_statement *statement)
{
    if (!statement)
        return;
    struct ow_statement **at = &statement->store->statements;
    while (*at != statement)
        at = &(*at)->next;
    *at = statement->next;
    (void)sqlite3_finalize(statement->handle);
    free(statement);
}

/* SQLite has nobody to wait for. After a failure the rest is passed over. */
static int sqlite_queue(struct ow_statement *statement, const struct ow_value *values, size_t count,
                        struct ow_error *err)
{
    struct ow_sqlite *s = statement->store;
    int r = 0;
    (void)err;
    if (s->queue_error.code < 0)
        return 0;
    r = sqlite_start(statement, values, count, &s->queue_error);
    while (r >= 0 && (r = sqlite_row(statement, NULL, 0, &s->queue_error)) == 1) {
        /* its rows are nobody's */
    }
    if (r < 0) {
        const char *name = sqlite3_errstr(sqlite3_errcode(s->db));
        (void)snprintf(s->queue_class, sizeof s->queue_class, "%s", name);
    } else
        s->queued++;
    return 0;
}

static int sqlite_finish(struct ow_store *store, struct ow_store_failure *failure, struct ow_error *err)
{
    struct ow_sqlite *s = self_of(store);
    struct ow_error end = s->queue_error;
    if (failure) {
        *failure = (struct ow_store_failure){.index = s->queued};
        (void)snprintf(failure->class, sizeof failure->class, "%s", end.code < 0 ? s->queue_class : "");
    }
    s->queued = 0;
    s->queue_error = (struct ow_error){0};
    return end.code < 0 ? ow_error_set(err, end.code, "%s", end.text) : 0;
}

static int sqlite_script(struct ow_store *store, const char *sql, struct ow_error *err)
{
    struct ow_sqlite *s = self_of(store);
    int result = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : fail(s, result, err);
}

/* --- transactions ------------------------------------------------------------------------------------ */

static void sqlite_rollback(struct ow_store *store)
{
    struct ow_sqlite *s = self_of(store);
    if (!sqlite3_get_autocommit(s->db) && sqlite3_step(s->rollback->handle) != SQLITE_DONE) {
        /* It fails only if there is nothing to roll back any more. */
    }
    (void)sqlite3_reset(s->rollback->handle);
}

static int sqlite_begin(struct ow_store *store, enum ow_transaction kind, struct ow_error *err)
{
    struct ow_sqlite *s = self_of(store);
    return ow_store_run(store, kind == OW_TRANSACTION_WRITE ? s->begin_write : s->begin_read, NULL, 0, err);
}

static int sqlite_commit(struct ow_store *store, struct ow_error *err)
{
    int r = ow_store_run(store, self_of(store)->commit, NULL, 0, err);
    if (r < 0)
        sqlite_rollback(store);
    return r;
}

static int64_t sqlite_changes(struct ow_store *store)
{
    return sqlite3_changes64(self_of(store)->db);
}

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

/* --- seeing changes ---------------------------------------------------------------------------------- */

static void watch(struct ow_sqlite *s)
{
    if (s->inotify_fd < 0)
        s->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->inotify_fd < 0)
        return;
    char wal[4096];
    (void)snprintf(wal, sizeof wal, "%s-wal", s->canonical);
    bool is_watched = inotify_add_watch(s->inotify_fd, s->canonical, IN_MODIFY) >= 0;
    s->is_watching_wal = inotify_add_watch(s->inotify_fd, wal, IN_MODIFY) >= 0;
    if (!is_watched) {
        (void)close(s->inotify_fd);
        s->inotify_fd = -1;
    }
}

/* The file at our path may be another one by now: restored, or deleted and made anew. */
static int check_same_file(struct ow_sqlite *s, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now < s->next_stat_ms)
        return 0;
    s->next_stat_ms = now + LOOK_MS_WATCHED;
    struct stat st;
    if (stat(s->canonical, &st) != 0)
        return ow_error_set(err, OW_EIO, "%s: the file has gone", s->path);
    if (st.st_ino != s->inode || st.st_dev != s->device)
        return ow_error_set(err, OW_EIO, "%s: another file was put in its place", s->path);
    return 0;
}

/* Whether something happened to the files since the last time. */
static bool take_events(struct ow_sqlite *s)
{
    char events[2048];
    bool has_event = false;
    while (s->inotify_fd >= 0 && read(s->inotify_fd, events, sizeof events) > 0)
        has_event = true;
    if (s->inotify_fd >= 0 && !s->is_watching_wal)
        watch(s); /* the -wal file was not there yet */
    return has_event;
}

static int read_data_version(struct ow_sqlite *s, int64_t *ret, struct ow_error *err)
{
    struct ow_value version = ow_value_null();
    int r = s->base.ops->start(s->data_version, NULL, 0, err);
    if (r == 0)
        r = s->base.ops->row(s->data_version, &version, 1, err);
    s->base.ops->stop(s->data_version);
    *ret = version.integer;
    return r < 0 ? r : 0;
}

static int sqlite_has_changed(struct ow_store *store, struct ow_error *err)
{
    struct ow_sqlite *s = self_of(store);
    bool has_event = take_events(s);
    int64_t version = 0, longest_ms = s->inotify_fd >= 0 ? LOOK_MS_WATCHED : LOOK_MS_MAX;
    int r = check_same_file(s, err);
    if (r == 0)
        r = read_data_version(s, &version, err);
    if (r < 0)
        return r;
    bool has_changed = version != s->last_data_version;
    s->last_data_version = version;
    /* A writer fills the WAL first and makes it visible a moment later: after an event without a change the
       next look comes soon, and then ever later. */
    s->look_ms = has_changed || has_event ? LOOK_MS_MIN : s->look_ms * 2 > longest_ms ? longest_ms : s->look_ms * 2;
    s->next_look_ms = ow_clock_monotonic_ms() + s->look_ms;
    return has_changed;
}

static void sqlite_wait(struct ow_store *store, struct ow_wait *wait)
{
    struct ow_sqlite *s = self_of(store);
    ow_wait_add(wait, s->inotify_fd, POLLIN);
    ow_wait_until(wait, s->next_look_ms);
}

/* --- the WAL ------------------------------------------------------------------------------------------ */

static int on_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct ow_sqlite *)context)->wal_pages = pages;
    return SQLITE_OK;
}

static void sqlite_tidy(struct ow_store *store)
{
    struct ow_sqlite *s = self_of(store);
    int64_t bytes = (int64_t)s->wal_pages * s->page_size, now = ow_clock_monotonic_ms();
    if (bytes < WAL_PASSIVE_BYTES)
        return;
    bool truncates = bytes >= WAL_TRUNCATE_BYTES && now >= s->next_truncate_ms;
    int32_t timeout_ms = s->timeout_ms;
    int in_wal = -1, moved = -1;
    s->timeout_ms = TRUNCATE_TIMEOUT_MS;
    int result = sqlite3_wal_checkpoint_v2(
        s->db, NULL, truncates ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &in_wal, &moved);
    s->timeout_ms = timeout_ms;
    if (truncates)
        s->next_truncate_ms = now + TRUNCATE_PAUSE_MS;
    /* A passive one that got everything lets the next writer start at the beginning again. */
    if (result == SQLITE_OK && in_wal == moved)
        s->wal_pages = 0;
}

/* --- the lock beside the file ----------------------------------------------------------------------- */

static int sqlite_lock(struct ow_store *store, struct ow_error *err)
{
    struct ow_sqlite *s = self_of(store);
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

static void sqlite_close(struct ow_store *store)
{
    if (!store)
        return;
    struct ow_sqlite *s = self_of(store);
    while (s->statements)
        sqlite_discard(s->statements);
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
        int r = sqlite_prepare(&s->base, own[i].sql, own[i].to, err);
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
    int r = sqlite_script(&s->base, "SELECT count(*) FROM sqlite_master", err);
    if (r == 0 && options->page_bytes) {
        (void)snprintf(pragmas, sizeof pragmas, "PRAGMA page_size = %d", options->page_bytes);
        r = sqlite_script(&s->base, pragmas, err);
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
    r = sqlite_script(&s->base, pragmas, err);
    if (r < 0)
        return r;
    const char *canonical = sqlite3_db_filename(s->db, "main");
    s->canonical = strdup(canonical && *canonical ? canonical : s->path);
    if (!s->canonical)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    (void)sqlite3_wal_hook(s->db, on_wal, s); /* takes the place of the automatic checkpoint */
    struct stat st;
    if (stat(s->canonical, &st) == 0) {
        s->device = st.st_dev;
        s->inode = st.st_ino;
    }
    watch(s);
    return prepare_own(s, err);
}

int ow_sqlite_open(const struct ow_sqlite_options *options, struct ow_store **ret, struct ow_error *err)
{
    struct ow_sqlite *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(options->path))) {
        free(s);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    s->base.ops = &sqlite_ops;
    s->lock.fd = s->inotify_fd = -1;
    s->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    s->look_ms = LOOK_MS_MIN;
    int flags = options->mode == OW_SQLITE_READ_ONLY ? SQLITE_OPEN_READONLY
                : options->mode == OW_SQLITE_CREATE  ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                                     : SQLITE_OPEN_READWRITE;
    int r, result = sqlite3_open_v2(s->path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (result != SQLITE_OK && options->mode == OW_SQLITE_CREATE && code_of(s, result) == OW_ENOTFOUND)
        r = ow_error_set(err, OW_ENOTFOUND,
                         "%s: cannot be created; is its folder there, and may this user write to it?", s->path);
    else
        r = result == SQLITE_OK ? set_up(s, options, err) : fail(s, result, err);
    if (r == 0) {
        *ret = &s->base;
        return 0;
    }
    sqlite_close(&s->base);
    return r;
}

struct sqlite3 *ow_sqlite_connection(struct ow_store *store)
{
    return self_of(store)->db;
}

static const struct ow_store_ops sqlite_ops = {
    .name = "sqlite",
    .prepare = sqlite_prepare,
    .start = sqlite_start,
    .row = sqlite_row,
    .stop = sqlite_stop,
    .discard = sqlite_discard,
    .queue = sqlite_queue,
    .finish = sqlite_finish,
    .script = sqlite_script,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .changes = sqlite_changes,
    .has_changed = sqlite_has_changed,
    .wait = sqlite_wait,
    .tidy = sqlite_tidy,
    .lock = sqlite_lock,
    .close = sqlite_close,
};
