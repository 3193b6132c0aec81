/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_snapshot.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "base/units.h"
#include "sql.h"

enum { TABLE_SHIFT = 56 };
static const uint64_t PLACE_MAX = (1ull << TABLE_SHIFT) - 1; /* within a table */

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
    free(s->sees);
    free(s->tables);
    *s = (struct ow_pg_snapshot){0};
}

static int run(struct ow_pg_snapshot *s, const char *sql, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    return ow_postgres_query(s->conn, s->shown, sql, &result, err);
}

/* The attempts that the rows are asked about, as an array. */
static int list_attempts(const struct ow_pg_past *past, struct ow_buf *to, struct ow_error *err)
{
    ow_buf_add_char(to, '{');
    for (size_t i = 0; i + 1 < past->count; i++) /* the last one is this one */
        ow_buf_printf(to, "%s\"%s\"", i > 0 ? "," : "", past->attempts[i].rows);
    ow_buf_add_text(to, "}");
    ow_buf_add_char(to, '\0');
    return ow_buf_check(to, err);
}

static int declare(struct ow_pg_snapshot *s, struct ow_error *err)
{
    static const char *const places[] = {
        [OW_PG_PLACE_COUNTED] = "0",
        [OW_PG_PLACE_SEQ] = "t.seq",
        [OW_PG_PLACE_PHYSICAL] = "(t.ctid::text::point)[0]::bigint * 65536 + (t.ctid::text::point)[1]::bigint",
    };
    OW_CLEANUP(clear_result) PGresult *statement = NULL;
    OW_CLEANUP(ow_buf_done) struct ow_buf attempts = {0};
    const struct ow_pg_outbox_table *table = &s->rows->outboxes[s->table];
    int r = list_attempts(s->past, &attempts, err);
    const char *const parameters[] = {table->schema, table->table, s->has_seq[s->table] ? "true" : "false",
                                      places[s->kinds[s->table]], attempts.data};
    if (r == 0)
        r = ow_postgres_query_params(s->conn, s->shown, ow_sql_pg_log_snapshot_cursor, 5, parameters, &statement, err);
    if (r == 0)
        r = run(s, PQgetvalue(statement, 0, 0), err);
    s->is_declared = r == 0;
    return r;
}

static void forget_table(struct ow_pg_snapshot *s)
{
    PQclear(s->batch);
    PQclear(s->next);
    free(s->values);
    s->batch = s->next = NULL;
    s->values = NULL;
    s->at = 0;
    s->count = 0;
    s->is_described = s->is_declared = false;
}

static int begin(struct ow_pg_snapshot *s, const char *name, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf sql = {0};
    char *quoted = PQescapeLiteral(s->conn, name, strlen(name));
    ow_buf_printf(&sql,
                  "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; "
                  "SET synchronize_seqscans = off; "
                  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT %s",
                  quoted ? quoted : "''");
    PQfreemem(quoted);
    for (size_t i = 0; i < s->rows->outbox_count; i++) {
        const struct ow_pg_outbox_table *outbox = &s->rows->outboxes[i];
        char *schema = PQescapeIdentifier(s->conn, outbox->schema, strlen(outbox->schema));
        char *table = PQescapeIdentifier(s->conn, outbox->table, strlen(outbox->table));
        ow_buf_printf(&sql, "; LOCK TABLE ONLY %s.%s IN ACCESS SHARE MODE", schema ? schema : "", table ? table : "");
        PQfreemem(schema);
        PQfreemem(table);
    }
    int r = ow_buf_check(&sql, err);
    return r < 0 ? r : run(s, sql.data, err);
}

/* Whether its numbers are such that a place can hold them. */
static int check_range(struct ow_pg_snapshot *s, size_t i, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *statement = NULL;
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    const char *const names[] = {s->rows->outboxes[i].schema, s->rows->outboxes[i].table};
    int r = ow_postgres_query_params(s->conn, s->shown, ow_sql_pg_log_snapshot_range, 2, names, &statement, err);
    if (r == 0)
        r = ow_postgres_query(s->conn, s->shown, PQgetvalue(statement, 0, 0), &result, err);
    if (r == 0 && PQgetvalue(result, 0, 0)[0] != 't')
        s->kinds[i] = OW_PG_PLACE_COUNTED;
    return r;
}

/* What kind of table it is, and, into `tables`, which one. */
static int look_at_table(struct ow_pg_snapshot *s, size_t i, struct ow_buf *tables, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *facts = NULL;
    const char *const names[] = {s->rows->outboxes[i].schema, s->rows->outboxes[i].table};
    int r = ow_postgres_query_params(s->conn, s->shown, ow_sql_pg_log_snapshot_table, 2, names, &facts, err);
    if (r == 0 && PQntuples(facts) == 0)
        r = ow_error_set(err, OW_ENOTFOUND, "%s: there is no table %s.%s", s->shown, names[0], names[1]);
    if (r < 0)
        return r;
    s->has_seq[i] = PQgetvalue(facts, 0, 0)[0] == 't';
    s->kinds[i] = PQgetvalue(facts, 0, 1)[0] == 't'   ? OW_PG_PLACE_SEQ
                  : PQgetvalue(facts, 0, 2)[0] == 't' ? OW_PG_PLACE_PHYSICAL
                                                      : OW_PG_PLACE_COUNTED;
    if (s->kinds[i] == OW_PG_PLACE_SEQ)
        r = check_range(s, i, err);
    ow_buf_printf(tables, "%s%s%c%s", i > 0 ? "," : "", PQgetvalue(facts, 0, 3), "nsp"[s->kinds[i]],
                  s -> kinds[i] == OW_PG_PLACE_PHYSICAL ? PQgetvalue(facts, 0, 4) : "");
    return r;
}

static int look_at_tables(struct ow_pg_snapshot *s, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf tables = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->rows->outbox_count; i++)
        r = look_at_table(s, i, &tables, err);
    ow_buf_add_char(&tables, '\0');
    if (r == 0)
        r = ow_buf_check(&tables, err);
    if (r == 0 && !(s->tables = strdup(tables.data)))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    return r;
}

static int look_at_itself(struct ow_pg_snapshot *s, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    int r = ow_postgres_query(s->conn, s->shown, ow_sql_pg_log_snapshot_sees, &result, err);
    if (r == 0 && !(s->sees = strdup(PQgetvalue(result, 0, 0))))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    return r;
}

int ow_pg_snapshot_open(struct ow_pg_snapshot *s, const char *url, const char *shown, const char *name,
                        const struct ow_pg_rows *rows, struct ow_error *err)
{
    const struct ow_postgres_options options = {.url = url, .shown = shown};
    *s = (struct ow_pg_snapshot){.shown = shown, .rows = rows};
    int r = ow_postgres_connect(&options, &s->conn, err);
    if (r == 0)
        r = begin(s, name, err);
    if (r == 0)
        r = look_at_itself(s, err);
    if (r == 0)
        r = look_at_tables(s, err);
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
    int r = s->is_declared ? 0 : declare(s, err);
    if (r == 0 && !s->batch)
        r = ow_postgres_query(s->conn, s->shown, FETCH, &s->batch, err);
    if (r < 0 || s->values)
        return r;
    s->values = calloc((size_t)PQnfields(s->batch), sizeof *s->values);
    if (!s->values)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_pg_layout_init(&s->layout);
    s->layout.outbox = (int)s->table;
    for (int i = 0; i + 1 < PQnfields(s->batch); i++) /* the last one is ours */
        ow_pg_layout_add(&s->layout, ow_bytes_of(PQfname(s->batch, i)), PQftype(s->batch, i));
    return 0;
}

static int refuse(const struct ow_pg_snapshot *s, const char *what, struct ow_error *err)
{
    const struct ow_pg_outbox_table *table = &s->rows->outboxes[s->table];
    return ow_error_set(err, OW_ECORRUPT, "%s: rows of %s.%s come %s", s->shown, table->schema, table->table, what);
}

/* The last column: the place, a blank, and who could see it. */
static int take_place(struct ow_pg_snapshot *s, struct ow_error *err)
{
    const char *text = PQgetvalue(s->batch, s->at, PQnfields(s->batch) - 1), *blank = strchr(text, ' ');
    struct ow_bytes number = {text, blank ? (size_t)(blank - text) : 0};
    bool is_counted = s->kinds[s->table] == OW_PG_PLACE_COUNTED;
    uint64_t table = (uint64_t)s->table << TABLE_SHIFT;
    int64_t place = (int64_t)++s->count;
    if (!blank || (!is_counted && ow_integer_parse(number, 1, (int64_t)PLACE_MAX, &place, NULL) < 0))
        return refuse(s, "without a place", err);
    if (table + (uint64_t)place <= s->place)
        return refuse(s, "in no order", err);
    s->place = table + (uint64_t)place;
    /* Of rows that were only counted none is known again, unless all of the table was published. */
    s->was_published = ow_pg_past_has(s->past, is_counted ? table + PLACE_MAX : s->place, blank + 1);
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
        if (r < 0)
            return r;
    }
    int r = take_place(s, err);
    if (r < 0)
        return r;
    for (int i = 0; i + 1 < PQnfields(s->batch); i++)
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
