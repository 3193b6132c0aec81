/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that places an order and says so, both or neither.
 *
 *     onewrite init sqlite:shop.db
 *     cc place_order.c -o place_order $(pkg-config --cflags --libs onewrite sqlite3)
 *     ./place_order shop.db 42 990
 *     onewrite relay sqlite:shop.db stdout:
 */
#include <onewrite/outbox.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int insert_order(sqlite3 *db, const char *id, int total)
{
    sqlite3_stmt *insert;
    if (sqlite3_prepare_v2(db, "INSERT INTO orders (id, total) VALUES (?1, ?2)", -1, &insert, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_text(insert, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_int(insert, 2, total);
    int result = sqlite3_step(insert);
    sqlite3_finalize(insert);
    return result == SQLITE_DONE ? 0 : -1;
}

static int say_placed(sqlite3 *db, const char *id, int total, struct ow_error *err)
{
    char payload[64];
    snprintf(payload, sizeof payload, "{\"total\":%d}", total);
    struct ow_outbox_message placed = {
        .aggregate_type = "order",
        .aggregate_id = id,
        .type = "OrderPlaced",
        .payload = payload,
        .payload_size = strlen(payload),
        .headers = (struct ow_outbox_header[]){{"trace", "a1b2"}},
        .header_count = 1,
    };
    return ow_outbox_put_sqlite(db, &placed, NULL, err);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s DATABASE ID TOTAL\n", argv[0]);
        return 2;
    }
    sqlite3 *db;
    if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        goto failed;
    sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, total INTEGER)", NULL, NULL, NULL) ||
        sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL))
        goto failed;

    int total = atoi(argv[3]);
    struct ow_error err = {0};
    if (insert_order(db, argv[2], total) < 0)
        goto failed;
    if (say_placed(db, argv[2], total, &err) < 0) {
        fprintf(stderr, "place_order: %s\n", err.text);
        sqlite3_close(db); /* rolls back: neither the order nor the message */
        return 1;
    }
    if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL))
        goto failed;
    return sqlite3_close(db) == SQLITE_OK ? 0 : 1;

failed:
    fprintf(stderr, "place_order: %s: %s\n", argv[1], sqlite3_errmsg(db));
    sqlite3_close(db);
    return 1;
}
