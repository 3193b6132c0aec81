/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox in PostgreSQL from inside an application: put a message beside your data, in your own transaction.
 *
 *     PQexec(conn, "BEGIN");
 *     PQexecParams(conn, "INSERT INTO orders …", …);
 *     struct ow_outbox_message placed = {.aggregate_type = "order", .aggregate_id = "4711", .type = "OrderPlaced",
 *                                        .payload = json, .payload_size = strlen(json)};
 *     if (ow_outbox_put_postgres(conn, &placed, NULL, &err) < 0)
 *         … ROLLBACK: neither the order nor the message …
 *     PQexec(conn, "COMMIT");
 *
 * or both in one round trip, as one transaction if none is open:
 *
 *     struct ow_outbox_statement insert = {.sql = "INSERT INTO orders VALUES ($1, $2)", .count = 2, .values = values};
 *     ow_outbox_exec_postgres(conn, &insert, &placed, NULL, NULL, &err);
 *
 * Link with `pkg-config --cflags --libs onewrite-postgres`. `onewrite init postgres://…` makes the outbox. The
 * functions call onewrite.publish(), as SELECT onewrite.publish(aggregatetype => 'order', …) does in any language:
 * into the table, or as a WAL message after `onewrite init --outbox message`. They add an id that sorts by time
 * (UUID version 7) and refuse at once what a relay would set aside later.
 *
 * Threads: a connection at a time, as libpq itself. Both wait for the server, as PQexec() does. Nothing is kept
 * between calls; nothing is logged.
 */
#ifndef ONEWRITE_OUTBOX_POSTGRES_H
#define ONEWRITE_OUTBOX_POSTGRES_H

#include <onewrite/outbox.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pg_conn;   /* PGconn */
struct pg_result; /* PGresult */

/*
 * Puts the message with the application's own connection: it commits and rolls back with whatever transaction is
 * open there. ret_id (may be NULL) is OW_OUTBOX_ID_SIZE bytes for the id that was made; it is left alone if the
 * message brought its own. Text is stored as text; a payload that is not UTF-8, or has a NUL in it, as bytes.
 *
 * 0, or with the text in err (may be NULL): OW_EINVALID, OW_ETOOBIG (the message; nothing was sent), OW_EUSAGE (the
 * connection is busy, in pipeline mode, or its client_encoding is not UTF8), OW_ENOTFOUND (there is no outbox),
 * OW_EDENIED, OW_EBUSY (a deadlock, a serialization failure: the transaction is to be run again), OW_EFULL,
 * OW_EUNREACHABLE (whether an open transaction is lost with the connection; outside of one the message may or may not
 * be there), OW_EIO, OW_ENOMEM.
 */
int ow_outbox_put_postgres(struct pg_conn *conn, const struct ow_outbox_message *message, char *ret_id,
                           struct ow_error *err) __attribute__((warn_unused_result));

/* As the parameters of PQexecParams(); everything stays the caller's. */
struct ow_outbox_statement {
    const char *sql; /* one statement */
    int count;
    const unsigned *types; /* Oid; NULL: the server infers them */
    const char *const *values;
    const int *lengths, *formats; /* NULL: all are text */
    int result_format;
};

/*
 * Sends the application's statement and the message together (libpq's pipeline mode): one round trip. Inside an open
 * transaction both belong to it; outside of one they are a transaction of their own, and both are committed or
 * neither. If the statement fails the message is not put. *ret_result (may be NULL) is the statement's result, also
 * if it failed, to be ended by PQclear(); NULL if there is none. Errors as above, of whichever failed.
 */
int ow_outbox_exec_postgres(struct pg_conn *conn, const struct ow_outbox_statement *statement,
                            const struct ow_outbox_message *message, struct pg_result **ret_result, char *ret_id,
                            struct ow_error *err) __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif
#endif
