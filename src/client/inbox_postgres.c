/* SPDX-License-Identifier: Apache-2.0 */
#include <libpq-fe.h>
#include <onewrite/inbox_postgres.h>

#include "client/failure.h"
#include "client/inbox_check.h"
#include "sql.h"

enum { BYTES_MAX = 2000 };

int ow_inbox_claim_postgres(PGconn *conn, const char *consumer, const char *id, struct ow_error *err)
{
    const char *values[] = {consumer, id};
    int r = ow_inbox_check(consumer, id, BYTES_MAX, err);
    if (r == 0)
        r = ow_client_check_idle(conn, "the inbox", err);
    if (r < 0)
        return r;
    if (PQtransactionStatus(conn) != PQTRANS_INTRANS)
        return ow_error_set(err, OW_EUSAGE, "the inbox: no transaction is open; BEGIN one, and put the effect into it");
    PGresult *result = PQexecParams(conn, ow_sql_pg_inbox_claim_one, 2, NULL, values, NULL, NULL, 0);
    r = PQresultStatus(result) == PGRES_COMMAND_OK ? strcmp(PQcmdTuples(result), "1") == 0
                                                   : ow_client_fail_postgres(conn, result, "the inbox", err);
    PQclear(result);
    return r;
}
