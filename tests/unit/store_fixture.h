/* SPDX-License-Identifier: Apache-2.0 */
/* A database in a temporary folder, with the outbox in it, for the tests of store, source and client. */
#ifndef OW_STORE_FIXTURE_H
#define OW_STORE_FIXTURE_H

#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/migrate.h"
#include "store/store.h"
#include "unit.h"

static char folder[64], database[96];

static inline struct ow_store *open_store(enum ow_sqlite_mode mode)
{
    struct ow_sqlite_options options = {.path = database, .mode = mode, .wants_wal = true, .timeout_ms = 50};
    struct ow_store *store = NULL;
    struct ow_error err = {0};
    if (ow_sqlite_open(&options, &store, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

static inline int make_database(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/onewrite-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(database, sizeof database, "%s/shop.db", folder);
    struct ow_store *store = open_store(OW_SQLITE_CREATE);
    size_t applied = 0;
    assert_int_equal(ow_schema_migrate(store, &ow_schema_outbox, &applied, NULL), 0);
    assert_int_equal(applied, ow_schema_outbox.count);
    store->ops->close(store);
    return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

static inline int remove_database(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The application's side. */
static inline sqlite3 *open_plain(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(database, &db), SQLITE_OK);
    return db;
}

static inline void execute(sqlite3 *db, const char *sql)
{
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
}

static inline int64_t count(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return n;
}

#endif
