/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <onewrite/outbox_postgres.h>
#include <stdio.h>

#include "base/uuid.h"
#include "client/failure.h"
#include "client/outbox_check.h"
#include "codec/json.h"
#include "sql.h"

enum { PARAMETER_COUNT = 7, OID_TEXT = 25, OID_BYTEA = 17 };

/* A message, ready to be sent. */
struct sending {
    const char *sql;
    struct ow_buf headers;
    char id[OW_UUID_TEXT_SIZE], time[24];
    Oid types[PARAMETER_COUNT];
    const char *values[PARAMETER_COUNT];
    int lengths[PARAMETER_COUNT], formats[PARAMETER_COUNT];
};

static void sending_done(struct sending *s)
{
    ow_buf_done(&s->headers);
}

static void set_text(struct sending *s, int i, struct ow_bytes text)
{
    s->values[i] = text.data;
    s->lengths[i] = (int)text.size;
    s->formats[i] = 1; /* of text the binary form is the text, without a NUL at its end */
    s->types[i] = OID_TEXT;
}

static int make_ready(const struct ow_outbox_message *message, struct sending *s, struct ow_error *err)
{
    struct ow_outbox_message with_id = *message;
    struct ow_header headers[OW_OUTBOX_HEADERS_MAX];
    struct ow_message m = {0};
    int r = 0;
    if (!message->id) {
        r = ow_uuid_v7(s->id, err);
        with_id.id = s->id;
    }
    if (r == 0)
        r = ow_outbox_check(&with_id, &m, headers, err);
    if (r < 0)
        return r;
    bool is_text = !m.payload.data || (ow_utf8_is_valid(m.payload) && !memchr(m.payload.data, '\0', m.payload.size));
    s->sql = is_text ? ow_sql_pg_outbox_publish : ow_sql_pg_outbox_publish_bytes;
    set_text(s, 0, m.aggregate_type);
    set_text(s, 1, m.aggregate_id);
    set_text(s, 2, m.type);
    set_text(s, 3, m.payload);
    set_text(s, 4, m.id);
    if (!is_text)
        s->types[3] = OID_BYTEA;
    if (m.header_count) {
        ow_json_write_headers(&s->headers, headers, m.header_count);
        set_text(s, 5, ow_buf_bytes(&s->headers));
    }
    if (m.time_ms) {
        (void)snprintf(s->time, sizeof s->time, "%" PRId64, m.time_ms);
        s->values[6] = s->time; /* as text, of the type that the server finds */
    }
    return ow_buf_check(&s->headers, err);
}

static void give_id(const struct ow_outbox_message *message, const struct sending *s, char *ret_id)
{
    if (!message->id && ret_id)
        memcpy(ret_id, s->id, sizeof s->id);
}

/* The server takes text for what the connection says it is in; what it was told wrong would be stored garbled. */
static int check_encoding(PGconn *conn, struct ow_error *err)
{
    const char *encoding = PQparameterStatus(conn, "client_encoding");
    if (!encoding || strcmp(encoding, "UTF8") == 0 || strcmp(encoding, "SQL_ASCII") == 0)
        return 0;
    return ow_error_set(err, OW_EUSAGE,
                        "the outbox: messages are UTF-8, and client_encoding of this connection is %s; say "
                        "PQsetClientEncoding(conn, \"UTF8\")",
                        encoding);
}

int ow_outbox_put_postgres(PGconn *conn, const struct ow_outbox_message *message, char *ret_id, struct ow_error *err)
{
    OW_CLEANUP(sending_done) struct sending s = {0};
    int r = make_ready(message, &s, err);
    if (r == 0)
        r = ow_client_check_idle(conn, "the outbox", err);
    if (r == 0)
        r = check_encoding(conn, err);
    if (r < 0)
        return r;
    PGresult *result = PQexecParams(conn, s.sql, PARAMETER_COUNT, s.types, s.values, s.lengths, s.formats, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        r = ow_client_fail_postgres(conn, result, "the outbox", err);
    PQclear(result);
    if (r == 0)
        give_id(message, &s, ret_id);
    return r;
}

/* The result of one statement of a pipeline, and the NULL behind it. */
static PGresult *next_result(PGconn *conn)
{
    PGresult *result = PQgetResult(conn), *more = result ? PQgetResult(conn) : NULL;
    PQclear(more);
    return result;
}

static bool is_good(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
}

int ow_outbox_exec_postgres(PGconn *conn, const struct ow_outbox_statement *statement,
                            const struct ow_outbox_message *message, PGresult **ret_result, char *ret_id,
                            struct ow_error *err)
{
    OW_CLEANUP(sending_done) struct sending s = {0};
    if (ret_result)
        *ret_result = NULL;
    int r = make_ready(message, &s, err);
    if (r == 0)
        r = ow_client_check_idle(conn, "the outbox", err);
    if (r == 0)
        r = check_encoding(conn, err);
    if (r < 0)
        return r;
    if (!PQenterPipelineMode(conn) ||
        !PQsendQueryParams(conn, statement->sql, statement->count, statement->types, statement->values,
                           statement->lengths, statement->formats, statement->result_format) ||
        !PQsendQueryParams(conn, s.sql, PARAMETER_COUNT, s.types, s.values, s.lengths, s.formats, 0) ||
        !PQpipelineSync(conn)) {
        r = ow_client_fail_postgres(conn, NULL, "the outbox", err);
        (void)PQexitPipelineMode(conn);
        return r;
    }
    PGresult *own = next_result(conn), *put = next_result(conn);
    /* Outside of a transaction the commit is at the sync: it may fail there. */
    PGresult *sync = PQgetResult(conn);
    if (!is_good(own))
        r = ow_client_fail_postgres(conn, own, "the statement", err);
    else if (!is_good(put))
        r = ow_client_fail_postgres(conn, put, "the outbox", err);
    else if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC)
        r = ow_client_fail_postgres(conn, sync, "the commit", err);
    PQclear(put);
    for (; PQstatus(conn) == CONNECTION_OK && sync && PQresultStatus(sync) != PGRES_PIPELINE_SYNC;
         sync = PQgetResult(conn))
        PQclear(sync);
    PQclear(sync);
    (void)PQexitPipelineMode(conn);
    if (ret_result)
        *ret_result = own;
    else
        PQclear(own);
    if (r == 0)
        give_id(message, &s, ret_id);
    return r;
}
