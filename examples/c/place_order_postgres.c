/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that places an order in PostgreSQL and says so, both or neither, in one round trip.
 *
 *     onewrite init postgres://localhost/shop
 *     psql postgres://localhost/shop -c 'CREATE TABLE orders (id text PRIMARY KEY, total int)'
 *     cc place_order_postgres.c -o place_order_postgres $(pkg-config --cflags --libs onewrite-postgres libpq)
 *     ./place_order_postgres postgres://localhost/shop 42 990
 *     onewrite relay --by polling postgres://localhost/shop stdout:
 */
#include <libpq-fe.h>
#include <onewrite/outbox_postgres.h>
#include <stdio.h>
#include <string.h>

static int place_order(PGconn *conn, const char *id, const char *total, struct ow_error *err)
{
    char payload[64];
    snprintf(payload, sizeof payload, "{\"total\":%.20s}", total);
    struct ow_outbox_statement insert = {
        .sql = "INSERT INTO orders (id, total) VALUES ($1, $2)",
        .count = 2,
        .values = (const char *const[]){id, total},
    };
    struct ow_outbox_message placed = {
        .aggregate_type = "order",
        .aggregate_id = id,
        .type = "OrderPlaced",
        .payload = payload,
        .payload_size = strlen(payload),
        .headers = (struct ow_outbox_header[]){{"trace", "a1b2"}},
        .header_count = 1,
    };
    /* No BEGIN: the two are a transaction of their own. Between BEGIN and COMMIT they would be part of yours. */
    return ow_outbox_exec_postgres(conn, &insert, &placed, NULL, NULL, err);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s URL ID TOTAL\n", argv[0]);
        return 2;
    }
    PGconn *conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "place_order: %s", PQerrorMessage(conn));
        PQfinish(conn);
        return 1;
    }
    struct ow_error err = {0};
    int result = place_order(conn, argv[2], argv[3], &err);
    if (result < 0)
        fprintf(stderr, "place_order: %s\n", err.text);
    PQfinish(conn);
    return result < 0;
}
