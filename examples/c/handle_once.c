/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer that reads its messages itself, here from standard input, and whose effects happen once: a line is the id
 * of a message, a blank, and an amount.
 *
 *     onewrite init sqlite:pay.db
 *     cc handle_once.c -o handle_once $(pkg-config --cflags --libs onewrite sqlite3)
 *     printf 'm1 990\nm1 990\n' | ./handle_once pay.db
 */
#include <onewrite/inbox.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static int add_payment(sqlite3 *db, const char *id, int cents)
{
    char *sql = sqlite3_mprintf("INSERT INTO payments (id, cents) VALUES (%Q, %d)", id, cents);
    int result = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return result == SQLITE_OK ? 0 : -1;
}

/* 1: handled; 0: was handled before; < 0: neither the claim nor the effect is there. */
static int handle(sqlite3 *db, const char *id, int cents)
{
    struct ow_error err = {0};
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return -1;
    int r = ow_inbox_claim_sqlite(db, "billing", id, &err);
    if (r < 0)
        fprintf(stderr, "handle_once: %s\n", err.text);
    if (r == 1 && add_payment(db, id, cents) < 0)
        r = -1;
    if (r >= 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return r;
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

int main(int argc, char **argv)
{
    sqlite3 *db;
    char id[100];
    int cents, status = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: %s DATABASE <MESSAGES\n", argv[0]);
        return 2;
    }
    if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS payments (id TEXT, cents INTEGER)", NULL, NULL, NULL)) {
        fprintf(stderr, "handle_once: %s: %s\n", argv[1], sqlite3_errmsg(db));
        sqlite3_close(db);
        return 1;
    }
    sqlite3_busy_timeout(db, 5000);
    while (status == 0 && scanf("%99s %d", id, &cents) == 2) {
        int r = handle(db, id, cents);
        status = r < 0;
        printf("%s %s\n", id, r == 1 ? "handled" : r == 0 ? "was handled before" : "failed");
    }
    sqlite3_close(db);
    return status;
}
