/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PostgreSQL store. Rows come in libpq's single-row mode, so that memory is bounded by the largest row and
 * not by the result. Somebody else's commits are not announced: has_changed() says yes whenever it is asked,
 * and wait() gives an interval that grows from 1 to 100 ms while nothing is found (a caller that finds something
 * asks again at once).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "store/postgres_private.h"

enum {
    PARAMETERS_MAX = 64,
    LOOK_MS_MIN = 1,
    LOOK_MS_MAX = 100,
    LOCK_CLASS = 0x6f776c6b, /* "owlk": the first half of our advisory locks */
};

/* Types of the server, as numbered in pg_type.dat. */
enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_FLOAT4 = 700, OID_FLOAT8 = 701 };

static const struct ow_store_ops postgres_ops;

/* --- statements -------------------------------------------------------------------------------------- */

static void postgres_stop(struct ow_statement *statement)
{
    if (!statement)
        return;
    struct ow_postgres *s = statement->store;
    PQclear(statement->row);
    statement->row = NULL;
    if (s->running != statement)
        return;
    s->running = NULL;
    if (s->is_piped)
        ow_postgres_leave_pipeline(s);
    else
        ow_postgres_drain(s->conn, s->timeout_ms + OW_POSTGRES_GRACE_MS);
}

void ow_postgres_stop_running(struct ow_postgres *s)
{
    if (s->running)
        postgres_stop(s->running);
}

/* Waits for the one result of a command that has no rows. */
static int take_result(struct ow_postgres *s, bool was_sent, struct ow_error *err)
{
    PGresult *result = NULL;
    int r = was_sent ? ow_postgres_result(s->conn, s->shown, s->timeout_ms + OW_POSTGRES_GRACE_MS, &result, err)
                     : ow_postgres_fail(s->conn, NULL, s->shown, err);
    if (r < 0)
        return r;
    ExecStatusType status = result ? PQresultStatus(result) : PGRES_FATAL_ERROR;
    r = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : ow_postgres_fail(s->conn, result, s->shown, err);
    PQclear(result);
    ow_postgres_drain(s->conn, OW_POSTGRES_GRACE_MS);
    return r;
}

int ow_postgres_prepare(struct ow_store *store, const char *sql, struct ow_statement **ret, struct ow_error *err)
{
    struct ow_postgres *s = ow_postgres_self(store);
    struct ow_statement *statement = calloc(1, sizeof *statement);
    if (!statement)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_postgres_stop_running(s);
    (void)snprintf(statement->name, sizeof statement->name, "onewrite_%" PRIu64, ++s->next_name);
    int r = take_result(s, PQsendPrepare(s->conn, statement->name, sql, 0, NULL), err);
    if (r < 0) {
        free(statement);
        return r;
    }
    statement->store = s;
    statement->next = s->statements;
    s->statements = statement;
    *ret = statement;
    return 0;
}

static void add_text(struct ow_buf *to, const struct ow_value *v)
{
    if (v->kind == OW_VALUE_INTEGER)
        ow_buf_printf(to, "%" PRId64, v->integer);
    else if (v->kind == OW_VALUE_REAL)
        ow_buf_printf(to, "%.17g", v->real);
    else
        ow_buf_add_bytes(to, v->bytes);
    ow_buf_add_char(to, '\0');
}

/* Text must end in NUL for libpq, so that it is copied; bytes go as they are. */
int ow_postgres_send(struct ow_statement *statement, const struct ow_value *values, size_t count, struct ow_error *err)
{
    struct ow_postgres *s = statement->store;
    const char *texts[PARAMETERS_MAX];
    int lengths[PARAMETERS_MAX], formats[PARAMETERS_MAX];
    size_t at[PARAMETERS_MAX];
    if (count > PARAMETERS_MAX)
        return ow_error_set(err, OW_EINTERNAL, "a statement with %zu parameters", count);
    ow_buf_clear(&statement->scratch);
    for (size_t i = 0; i < count; i++) {
        const struct ow_value *v = &values[i];
        if (v->bytes.size > INT32_MAX)
            return ow_error_set(err, OW_ETOOBIG, "a value of %zu bytes", v->bytes.size);
        if (v->kind == OW_VALUE_TEXT && memchr(v->bytes.data, '\0', v->bytes.size))
            return ow_error_set(err, OW_EINVALID, "%s: text with a NUL in it cannot be stored", s->shown);
        formats[i] = v->kind == OW_VALUE_BLOB;
        lengths[i] = (int)v->bytes.size;
        at[i] = statement->scratch.size;
        if (v->kind != OW_VALUE_NULL && v->kind != OW_VALUE_BLOB)
            add_text(&statement->scratch, v);
    }
    int r = ow_buf_check(&statement->scratch, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        texts[i] = values[i].kind == OW_VALUE_NULL   ? NULL
                   : values[i].kind == OW_VALUE_BLOB ? values[i].bytes.data
                                                     : statement->scratch.data + at[i];
    if (!PQsendQueryPrepared(s->conn, statement->name, (int)count, texts, lengths, formats, 0))
        return ow_postgres_fail(s->conn, NULL, s->shown, err);
    return 0;
}

static int postgres_start(struct ow_statement *statement, const struct ow_value *values, size_t count,
                          struct ow_error *err)
{
    struct ow_postgres *s = statement->store;
    ow_postgres_stop_running(s);
    int r = s->begins ? ow_postgres_send_behind_begin(statement, values, count, err)
                      : ow_postgres_send(statement, values, count, err);
    if (r < 0)
        return r;
    s->running = statement;
    if (PQsetSingleRowMode(s->conn))
        return 0;
    r = ow_postgres_fail(s->conn, NULL, s->shown, err);
    postgres_stop(statement);
    return r;
}

/* --- rows ----------------------------------------------------------------------------------------------- */

static int hex_of(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* "\x00ff", as bytea_output = hex has it. */
static struct ow_bytes unhex(struct ow_buf *to, const char *text, size_t size)
{
    size_t at = to->size;
    for (size_t i = 2; i + 1 < size; i += 2)
        ow_buf_add_char(to, (char)(hex_of(text[i]) * 16 + hex_of(text[i + 1])));
    return (struct ow_bytes){to->data ? to->data + at : "", to->size - at};
}

static void fetch(struct ow_statement *statement, int i, struct ow_value *v)
{
    const PGresult *row = statement->row;
    *v = ow_value_null();
    if (i >= PQnfields(row) || PQgetisnull(row, 0, i))
        return;
    const char *text = PQgetvalue(row, 0, i);
    size_t size = (size_t)PQgetlength(row, 0, i);
    switch (PQftype(row, i)) {
    case OID_INT8:
    case OID_INT4:
    case OID_INT2:
        *v = ow_value_integer(strtoll(text, NULL, 10));
        break;
    case OID_BOOL:
        *v = ow_value_integer(text[0] == 't');
        break;
    case OID_FLOAT4:
    case OID_FLOAT8:
        *v = (struct ow_value){.kind = OW_VALUE_REAL, .real = strtod(text, NULL)};
        break;
    case OID_BYTEA:
        *v = (struct ow_value){.kind = OW_VALUE_BLOB, .bytes = unhex(&statement->scratch, text, size)};
        break;
    default:
        *v = (struct ow_value){.kind = OW_VALUE_TEXT, .bytes = {text, size}};
        break;
    }
}

static int show_row(struct ow_statement *statement, struct ow_value *columns, size_t count, struct ow_error *err)
{
    size_t needed = 0;
    for (size_t i = 0; i < count; i++)
        if ((int)i < PQnfields(statement->row) && PQftype(statement->row, (int)i) == OID_BYTEA)
            needed += (size_t)PQgetlength(statement->row, 0, (int)i);
    ow_buf_clear(&statement->scratch);
    if (needed && !ow_buf_reserve(&statement->scratch, needed)) /* so that it does not move */
        return ow_error_set(err, OW_ENOMEM, "out of memory for a value of %zu bytes", needed);
    for (size_t i = 0; i < count; i++)
        fetch(statement, (int)i, &columns[i]);
    return 1;
}

static int postgres_row(struct ow_statement *statement, struct ow_value *columns, size_t count, struct ow_error *err)
{
    struct ow_postgres *s = statement->store;
    if (s->running != statement)
        return ow_error_set(err, OW_EINTERNAL, "a row was asked of a statement that does not run");
    PQclear(statement->row);
    statement->row = NULL;
    int r = ow_postgres_result(s->conn, s->shown, s->timeout_ms + OW_POSTGRES_GRACE_MS, &statement->row, err);
    if (r < 0) {
        s->running = NULL;
        if (s->is_piped)
            ow_postgres_leave_pipeline(s);
        return r;
    }
    switch (statement->row ? PQresultStatus(statement->row) : PGRES_COMMAND_OK) {
    case PGRES_SINGLE_TUPLE:
        return show_row(statement, columns, count, err);
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        s->changes = statement->row ? strtoll(PQcmdTuples(statement->row), NULL, 10) : 0;
        break;
    default:
        r = ow_postgres_fail(s->conn, statement->row, s->shown, err);
        break;
    }
    postgres_stop(statement);
    return r;
}

static void postgres_discard(struct ow_statement *statement)
{
    if (!statement)
        return;
    struct ow_postgres *s = statement->store;
    struct ow_error ignored;
    char sql[64];
    postgres_stop(statement);
    struct ow_statement **at = &s->statements;
    while (*at != statement)
        at = &(*at)->next;
    *at = statement->next;
    (void)snprintf(sql, sizeof sql, "DEALLOCATE %s", statement->name);
    if (PQstatus(s->conn) == CONNECTION_OK && PQtransactionStatus(s->conn) != PQTRANS_INERROR &&
        take_result(s, PQsendQuery(s->conn, sql), &ignored) < 0) {
        /* It costs the server some memory until the connection ends. */
    }
    ow_buf_done(&statement->scratch);
    free(statement);
}

static int64_t postgres_changes(struct ow_store *store)
{
    return ow_postgres_self(store)->changes;
}

/* --- the rest ------------------------------------------------------------------------------------------ */

static int postgres_has_changed(struct ow_store *store, struct ow_error *err)
{
    struct ow_postgres *s = ow_postgres_self(store);
    (void)err;
    int64_t now = ow_clock_monotonic_ms();
    bool is_hurried = now < s->next_look_ms; /* asked before its time: something was going on */
    s->look_ms = is_hurried ? LOOK_MS_MIN : s->look_ms * 2 > LOOK_MS_MAX ? LOOK_MS_MAX : s->look_ms * 2;
    s->next_look_ms = now + s->look_ms;
    return 1;
}

static void postgres_wait(struct ow_store *store, struct ow_wait *wait)
{
    ow_wait_until(wait, ow_postgres_self(store)->next_look_ms);
}

static void postgres_tidy(struct ow_store *store)
{
    (void)store; /* autovacuum's work */
}

/* A lock of the session: the server gives it up when the connection ends. */
static int postgres_lock(struct ow_store *store, struct ow_error *err)
{
    struct ow_postgres *s = ow_postgres_self(store);
    PGresult *result = NULL;
    char sql[80];
    if (s->has_lock)
        return 0;
    ow_postgres_stop_running(s);
    (void)snprintf(sql, sizeof sql, "SELECT pg_try_advisory_lock(%d, 0)", LOCK_CLASS);
    int r = ow_postgres_query(s->conn, s->shown, sql, &result, err);
    if (r == 0)
        s->has_lock = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    if (r == 0 && !s->has_lock)
        return ow_error_set(err, OW_ESTANDBY, "%s: another one is at work on it", s->shown);
    return r;
}

static void postgres_close(struct ow_store *store)
{
    if (!store)
        return;
    struct ow_postgres *s = ow_postgres_self(store);
    while (s->statements) {
        struct ow_statement *statement = s->statements;
        s->statements = statement->next;
        PQclear(statement->row);
        ow_buf_done(&statement->scratch);
        free(statement);
    }
    PQfinish(s->conn);
    free(s->shown);
    free(s);
}

int ow_postgres_open(const struct ow_postgres_options *options, struct ow_store **ret, struct ow_error *err)
{
    struct ow_postgres *s = calloc(1, sizeof *s);
    if (!s || !(s->shown = strdup(options->shown))) {
        free(s);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    s->base.ops = &postgres_ops;
    s->timeout_ms = options->timeout_ms ? options->timeout_ms : OW_POSTGRES_TIMEOUT_MS;
    s->look_ms = LOOK_MS_MIN;
    int r = ow_postgres_connect(options, &s->conn, err);
    if (r < 0) {
        postgres_close(&s->base);
        return r;
    }
    *ret = &s->base;
    return 0;
}

PGconn *ow_postgres_connection(struct ow_store *store)
{
    return ow_postgres_self(store)->conn;
}

const char *ow_postgres_shown(struct ow_store *store)
{
    return ow_postgres_self(store)->shown;
}

static const struct ow_store_ops postgres_ops = {
    .name = "postgres",
    .prepare = ow_postgres_prepare,
    .start = postgres_start,
    .row = postgres_row,
    .stop = postgres_stop,
    .discard = postgres_discard,
    .queue = ow_postgres_queue,
    .finish = ow_postgres_finish,
    .script = ow_postgres_script,
    .begin = ow_postgres_begin,
    .commit = ow_postgres_commit,
    .rollback = ow_postgres_rollback,
    .changes = postgres_changes,
    .has_changed = postgres_has_changed,
    .wait = postgres_wait,
    .tidy = postgres_tidy,
    .lock = postgres_lock,
    .close = postgres_close,
};
