/* SPDX-License-Identifier: Apache-2.0 */
#include <libpq-fe.h>
#include <stdbool.h>
#include <string.h>

#include "client/failure.h"

static int code_of(const char *state)
{
    static const struct {
        const char *prefix;
        int code;
    } codes[] = {
        {"08", OW_EUNREACHABLE}, {"57P", OW_EUNREACHABLE}, {"57014", OW_EBUSY},     {"40", OW_EBUSY},
        {"55P03", OW_EBUSY},     {"53", OW_EFULL},         {"42501", OW_EDENIED},   {"28", OW_EDENIED},
        {"42P01", OW_ENOTFOUND}, {"3F000", OW_ENOTFOUND},  {"42883", OW_ENOTFOUND}, {"58", OW_EIO},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    return OW_EINVALID;
}

int ow_client_fail_postgres(PGconn *conn, const PGresult *result, const char *whose, struct ow_error *err)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (!state) {
        text = PQerrorMessage(conn);
        int code = PQstatus(conn) == CONNECTION_OK ? OW_EIO : OW_EUNREACHABLE;
        return ow_error_set(err, code, "%s: %.*s", whose, (int)strcspn(text, "\n"), text);
    }
    int code = code_of(state);
    bool is_ours = strcmp(whose, "the statement") != 0;
    const char *role = strcmp(whose, "the inbox") == 0 ? "onewrite_consumer" : "onewrite_app";
    if (code == OW_EDENIED && is_ours)
        return ow_error_set(err, code, "%s: %s; a DBA may GRANT %s to this role", whose, text ? text : state, role);
    return ow_error_set(err, code, "%s: %s%s", whose, text ? text : state,
                        code == OW_ENOTFOUND && is_ours ? "; make it with `onewrite init postgres://…`" : "");
}

int ow_client_check_idle(PGconn *conn, const char *whose, struct ow_error *err)
{
    if (PQstatus(conn) != CONNECTION_OK)
        return ow_client_fail_postgres(conn, NULL, whose, err);
    if (PQpipelineStatus(conn) != PQ_PIPELINE_OFF || PQtransactionStatus(conn) == PQTRANS_ACTIVE)
        return ow_error_set(err, OW_EUSAGE, "%s: the connection is busy or in pipeline mode", whose);
    if (PQtransactionStatus(conn) == PQTRANS_INERROR)
        return ow_error_set(err, OW_EUSAGE, "%s: the transaction has failed already; roll it back", whose);
    return 0;
}
