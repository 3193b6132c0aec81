/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit for `relay sqlite: journal:`: a bare program that only reads the rows of an outbox, inserts them in
 * batches into a plain table of another file, and deletes them. No topics, no partitions, no offsets, no
 * checks, no retries, no position: what SQLite itself costs for moving the bytes, with the same durability (the
 * commit that accepts is synced, the commit that deletes need not be).
 *
 *     limit_relay FROM.db TO.db BATCH
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS = 8 };

static sqlite3 *open_db(const char *path, const char *pragmas)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, pragmas, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "limit_relay: %s: %s\n", path, sqlite3_errmsg(db));
        exit(1);
    }
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        fprintf(stderr, "limit_relay: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
    return statement;
}

static void step(sqlite3 *db, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE) {
        fprintf(stderr, "limit_relay: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
    sqlite3_reset(statement);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    sqlite3 *from = open_db(argv[1], "PRAGMA journal_mode = wal; PRAGMA synchronous = NORMAL");
    sqlite3 *to = open_db(argv[2],
                          "PRAGMA journal_mode = wal; PRAGMA synchronous = FULL;"
                          "CREATE TABLE record (seq INTEGER PRIMARY KEY, id TEXT, aggregatetype TEXT, aggregateid TEXT,"
                          " type TEXT, payload BLOB, headers TEXT, time INTEGER)");
    sqlite3_stmt *select = prepare(from, "SELECT seq, id, aggregatetype, aggregateid, type, payload, headers, time"
                                         " FROM onewrite_outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    sqlite3_stmt *delete = prepare(from, "DELETE FROM onewrite_outbox WHERE seq <= ?1");
    sqlite3_stmt *insert = prepare(to, "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    sqlite3_stmt *begin = prepare(to, "BEGIN"), *commit = prepare(to, "COMMIT");
    sqlite3_int64 last = 0, rows = 0;
    for (int in_batch = 1; in_batch > 0;) {
        sqlite3_bind_int64(select, 1, last);
        sqlite3_bind_int64(select, 2, atoi(argv[3]));
        step(to, begin);
        for (in_batch = 0; sqlite3_step(select) == SQLITE_ROW; in_batch++) {
            last = sqlite3_column_int64(select, 0);
            for (int i = 0; i < COLUMNS; i++) /* the value itself, borrowed until the next row */
                sqlite3_bind_value(insert, i + 1, sqlite3_column_value(select, i));
            step(to, insert);
        }
        sqlite3_reset(select);
        step(to, commit);
        sqlite3_bind_int64(delete, 1, last);
        step(from, delete);
        rows += in_batch;
    }
    printf("%lld\n", (long long)rows);
    return 0;
}
