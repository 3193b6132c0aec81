/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_snapshot.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "sql.h"

static void clear_result(PGresult **result)
{
    PQclear(*result);
}

void ow_pg_snapshot_close(struct ow_pg_snapshot *s)
{
    PQclear(s->batch);
    PQclear(s->next);
    PQfinish(s->conn);
    free(s->values);
    *s = (struct ow_pg_snapshot){0};
}

static int run(struct ow_pg_snapshot *s, const char *sql, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    return ow_postgres_query(s->conn, s->shown, sql, &result, err);
}

/* Only what is in the table decides: a column of ours gives the order, where there is one. */
static int declare(struct ow_pg_snapshot *s, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *columns = NULL;
    OW_CLEANUP(clear_result) PGresult *statement = NULL;
    const char *const names[] = {s->rows->outboxes[s->table].schema, s->rows->outboxes[s->table].table};
    bool has_seq = false;
    int r = ow_postgres_query_params(s->conn, s->shown, ow_sql_pg_log_columns, 2, names, &columns, err);
    for (int i = 0; r == 0 && i < PQntuples(columns); i++)
        has_seq |= strcmp(PQgetvalue(columns, i, 0), "seq") == 0;
    const char *const parameters[] = {names[0], names[1], has_seq ? "true" : "false"};
    if (r == 0)
        r = ow_postgres_query_params(s->conn, s->shown, ow_sql_pg_log_snapshot_cursor, 3, parameters, &statement, err);
    return r < 0 ? r : run(s, PQgetvalue(statement, 0, 0), err);
}

static void forget_table(struct ow_pg_snapshot *s)
{
    PQclear(s->batch);
    PQclear(s->next);
    free(s->values);
    s->batch = s->next = NULL;
    s->values = NULL;
    s->at = 0;
    s->is_described = false;
}

int ow_pg_snapshot_open(struct ow_pg_snapshot *s, const char *url, const char *shown, const char *name,
                        const struct ow_pg_rows *rows, struct ow_error *err)
{
    const struct ow_postgres_options options = {.url = url, .shown = shown};
    OW_CLEANUP(ow_buf_done) struct ow_buf sql = {0};
    *s = (struct ow_pg_snapshot){.shown = shown, .rows = rows};
    int r = ow_postgres_connect(&options, &s->conn, err);
    if (r < 0)
        return r;
    char *quoted = PQescapeLiteral(s->conn, name, strlen(name));
    ow_buf_printf(&sql,
                  "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; "
                  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT %s",
                  quoted ? quoted : "''");
    PQfreemem(quoted);
    r = ow_buf_check(&sql, err);
    if (r == 0)
        r = run(s, sql.data, err);
    if (r == 0)
        r = declare(s, err);
    if (r < 0)
        ow_pg_snapshot_close(s);
    return r;
}

static const char FETCH[] = "FETCH 64 FROM onewrite_rows";

static int fetch(struct ow_pg_snapshot *s, struct ow_error *err)
{
    PQclear(s->batch);
    s->batch = s->next;
    s->next = NULL;
    s->at = 0;
    int r = s->batch ? 0 : ow_postgres_query(s->conn, s->shown, FETCH, &s->batch, err);
    if (r < 0 || s->values)
        return r;
    s->values = calloc((size_t)PQnfields(s->batch) + 1, sizeof *s->values);
    if (!s->values)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_pg_layout_init(&s->layout);
    s->layout.outbox = (int)s->table;
    for (int i = 0; i < PQnfields(s->batch); i++)
        ow_pg_layout_add(&s->layout, ow_bytes_of(PQfname(s->batch, i)), PQftype(s->batch, i));
    return 0;
}

int ow_pg_snapshot_next(struct ow_pg_snapshot *s, struct ow_error *err)
{
    while (!s->batch || s->at == PQntuples(s->batch)) {
        int r = fetch(s, err);
        if (r < 0)
            return r;
        if (PQntuples(s->batch) > 0)
            break;
        if (s->table + 1 == s->rows->outbox_count) {
            ow_pg_snapshot_close(s);
            return 0;
        }
        forget_table(s);
        s->table++;
        r = run(s, "CLOSE onewrite_rows", err);
        if (r == 0)
            r = declare(s, err);
        if (r < 0)
            return r;
    }
    for (int i = 0; i < PQnfields(s->batch); i++)
        s->values[i] = PQgetisnull(s->batch, s->at, i)
                           ? OW_NULL_BYTES
                           : (struct ow_bytes){PQgetvalue(s->batch, s->at, i), (size_t)PQgetlength(s->batch, s->at, i)};
    s->at++;
    return 1;
}

int ow_pg_snapshot_is_last(struct ow_pg_snapshot *s, struct ow_error *err)
{
    if (s->at < PQntuples(s->batch))
        return 0;
    int r = s->next ? 0 : ow_postgres_query(s->conn, s->shown, FETCH, &s->next, err);
    return r < 0 ? r : PQntuples(s->next) == 0;
}
