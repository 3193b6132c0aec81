/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite store: statements, transactions, and what SQLite's errors mean. */
#include "store/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- errors ------------------------------------------------------------------------------------------ */

int ow_sqlite_code(const struct ow_sqlite *s, int result)
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

int ow_sqlite_fail(const struct ow_sqlite *s, int result, struct ow_error *err)
{
    int code = ow_sqlite_code(s, result);
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
    struct ow_sqlite *s = ow_sqlite_of(store);
    struct ow_statement *statement = calloc(1, sizeof *statement);
    if (!statement)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int result = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement->handle, NULL);
    if (result != SQLITE_OK) {
        free(statement);
        return ow_sqlite_fail(s, result, err);
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
            return ow_sqlite_fail(statement->store, result, err);
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
    int r = result == SQLITE_DONE ? 0 : ow_sqlite_fail(statement->store, result, err);
    (void)sqlite3_reset(statement->handle);
    return r;
}

static void sqlite_stop(struct ow_statement *statement)
{
    if (statement)
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

static int sqlite_finish(struct ow_store *store, bool is_last, struct ow_store_failure *failure, struct ow_error *err)
{
    struct ow_sqlite *s = ow_sqlite_of(store);
    struct ow_error end = s->queue_error;
    (void)is_last; /* there is no round trip to be saved */
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
    struct ow_sqlite *s = ow_sqlite_of(store);
    int result = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : ow_sqlite_fail(s, result, err);
}

/* --- transactions ------------------------------------------------------------------------------------ */

static void sqlite_rollback(struct ow_store *store)
{
    struct ow_sqlite *s = ow_sqlite_of(store);
    if (!sqlite3_get_autocommit(s->db) && sqlite3_step(s->rollback->handle) != SQLITE_DONE) {
        /* It fails only if there is nothing to roll back any more. */
    }
    (void)sqlite3_reset(s->rollback->handle);
}

static int sqlite_begin(struct ow_store *store, enum ow_transaction kind, struct ow_error *err)
{
    struct ow_sqlite *s = ow_sqlite_of(store);
    return ow_store_run(store, kind == OW_TRANSACTION_READ ? s->begin_read : s->begin_write, NULL, 0, err);
}

static int sqlite_commit(struct ow_store *store, struct ow_error *err)
{
    int r = ow_store_run(store, ow_sqlite_of(store)->commit, NULL, 0, err);
    if (r < 0)
        sqlite_rollback(store);
    return r;
}

static int64_t sqlite_changes(struct ow_store *store)
{
    return sqlite3_changes64(ow_sqlite_of(store)->db);
}

const struct ow_store_ops ow_sqlite_ops = {
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
    .has_changed = ow_sqlite_has_changed,
    .wait = ow_sqlite_wait,
    .tidy = ow_sqlite_tidy,
    .lock = ow_sqlite_lock,
    .close = ow_sqlite_close,
};
