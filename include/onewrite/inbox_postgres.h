/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inbox in PostgreSQL from inside an application that reads its broker itself: whether a message is new, in the
 * transaction of its effect.
 *
 *     PQexec(conn, "BEGIN");
 *     int r = ow_inbox_claim_postgres(conn, "billing", id, &err);
 *     if (r == 1)
 *         … the effect …
 *     PQexec(conn, r < 0 ? "ROLLBACK" : "COMMIT");
 *
 * Link with `pkg-config --cflags --libs onewrite-postgres`. `onewrite init postgres://…` makes the inbox; the role
 * takes GRANT onewrite_consumer. A plain INSERT INTO onewrite.inbox (consumer, message_id) … ON CONFLICT DO NOTHING
 * does the same, in any language.
 *
 * Threads: a connection at a time, as libpq itself. It waits for the server, as PQexec() does, and for another
 * transaction that has claimed the same id and is open. Nothing is kept between calls; nothing is logged.
 */
#ifndef ONEWRITE_INBOX_POSTGRES_H
#define ONEWRITE_INBOX_POSTGRES_H

#include <onewrite/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pg_conn; /* PGconn */

/*
 * In the transaction that is open on the connection. 1: the message is new to this consumer, and claimed as soon as the
 * transaction commits; 0: it was handled, or set aside, before. consumer and id: UTF-8, not empty, at most 2000 bytes
 * together (they are a key of the table).
 *
 * < 0, with the text in err (may be NULL): OW_EINVALID, OW_ETOOBIG (an argument; nothing was sent), OW_EUSAGE (no
 * transaction is open, it has failed, or the connection is busy or in pipeline mode), OW_ENOTFOUND (there is no inbox),
 * OW_EDENIED, OW_EBUSY (a deadlock, a serialization failure: the transaction is to be run again), OW_EFULL,
 * OW_EUNREACHABLE (the transaction is lost with the connection), OW_EIO, OW_ENOMEM.
 */
int ow_inbox_claim_postgres(struct pg_conn *conn, const char *consumer, const char *id, struct ow_error *err)
    __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif
#endif
