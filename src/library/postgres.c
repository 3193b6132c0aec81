/* SPDX-License-Identifier: Apache-2.0 */
/* How the function has left a connection of PostgreSQL. */
#include "store/postgres.h"

#include <libpq-fe.h>

#include "library/member.h"

int ow_member_look_postgres(PGconn *conn, struct ow_error *err)
{
    if (PQstatus(conn) != CONNECTION_OK) {
        const char *text = PQerrorMessage(conn);
        return ow_error_set(err, OW_EUNREACHABLE, "the connection was lost: %.*s", (int)strcspn(text, "\n"), text);
    }
    PGTransactionStatusType status = PQtransactionStatus(conn);
    if (PQpipelineStatus(conn) != PQ_PIPELINE_OFF || status == PQTRANS_ACTIVE)
        return ow_error_set(err, OW_EUSAGE,
                            "the callback has left the connection busy; take all results, and end the pipeline mode");
    if (status != PQTRANS_INTRANS && status != PQTRANS_INERROR)
        return ow_error_set(err, OW_EUSAGE,
                            "the callback has ended the transaction, which is the consumer's; take COMMIT and ROLLBACK "
                            "out of it");
    return status == PQTRANS_INERROR;
}

enum ow_consumer_answer ow_consumer_failed_postgres(PGconn *conn, const PGresult *result,
                                                    struct ow_consumer_reply *reply)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    struct ow_error err;
    int code = ow_postgres_fail(conn, result, "the database", &err);
    ow_member_say(reply, state ? state : "callback", text ? text : err.text);
    return ow_error_class(code) == OW_CLASS_RETRYABLE ? OW_ANSWER_STORE : OW_ANSWER_RETRY;
}
