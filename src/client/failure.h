/* SPDX-License-Identifier: Apache-2.0 */
/* The errors of a database as ours. `whose`: "the outbox", "the inbox", or "the statement". Private to src/client. */
#ifndef OW_CLIENT_FAILURE_H
#define OW_CLIENT_FAILURE_H

#include "base/error.h"

struct sqlite3;
struct pg_conn;
struct pg_result;

int ow_client_fail_sqlite(struct sqlite3 *db, int result, const char *whose, struct ow_error *err);
int ow_client_fail_postgres(struct pg_conn *conn, const struct pg_result *result, const char *whose,
                            struct ow_error *err);
/* 0: it may be used now, or OW_EUSAGE and what is wrong. */
int ow_client_check_idle(struct pg_conn *conn, const char *whose, struct ow_error *err);

#endif
