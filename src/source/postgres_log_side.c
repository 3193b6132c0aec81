/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_side.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "base/wait.h"
#include "codec/json.h"
#include "codec/pgoutput.h"
#include "source/postgres_log_rows.h"
#include "sql.h"

enum { DROP_MS = 5000, DROP_AGAIN_MS = 20 };

static void clear_result(PGresult **result)
{
    PQclear(*result);
}

#define QUERY(side, sql, result, err, ...)                                                        \
    ow_postgres_query_params((side)->conn, (side)->shown, (sql),                                  \
                             (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)), \
                             (const char *const[]){__VA_ARGS__}, (result), (err))

int ow_pg_side_open(struct ow_pg_side *side, struct ow_error *err)
{
    const struct ow_postgres_options options = {.url = side->url, .shown = side->shown};
    if (side->store && PQstatus(side->conn) == CONNECTION_OK)
        return 0;
    ow_pg_side_close(side);
    int r = ow_postgres_open(&options, &side->store, err);
    if (r < 0)
        return r;
    side->conn = ow_postgres_connection(side->store);
    return 0;
}

void ow_pg_side_close(struct ow_pg_side *side)
{
    if (side->store)
        side->store->ops->close(side->store);
    side->store = NULL;
    side->conn = NULL;
    side->is_locked = false;
}

const char *ow_pg_side_database(const struct ow_pg_side *side)
{
    return PQdb(side->conn);
}

/* --- the lock and the slot ---------------------------------------------------------------------------- */

int ow_pg_side_lock(struct ow_pg_side *side, const char *slot, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    if (side->is_locked)
        return 0;
    int r = QUERY(side, ow_sql_pg_log_lock, &result, err, slot);
    if (r < 0)
        return r;
    side->is_locked = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
    return side->is_locked ? 0 : ow_error_set(err, OW_ESTANDBY, "another relay has slot %s", slot);
}

void ow_pg_side_unlock(struct ow_pg_side *side, const char *slot)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    struct ow_error ignored;
    if (side->is_locked && QUERY(side, ow_sql_pg_log_unlock, &result, &ignored, slot) < 0)
        ow_pg_side_close(side);
    side->is_locked = false;
}

static const char *text_of(const PGresult *result, int column)
{
    return PQgetisnull(result, 0, column) ? "" : PQgetvalue(result, 0, column);
}

int ow_pg_side_find_slot(struct ow_pg_side *side, const char *slot, struct ow_pg_slot *ret, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    *ret = (struct ow_pg_slot){0};
    int r = QUERY(side, ow_sql_pg_log_find_slot, &result, err, slot);
    if (r < 0 || PQntuples(result) == 0)
        return r;
    if (strcmp(text_of(result, 0), "pgoutput") != 0 || strcmp(text_of(result, 1), text_of(result, 5)) != 0)
        return ow_error_set(err, OW_ECORRUPT,
                            "slot %s is there already, for plugin %s and database \"%s\"; name another one with --slot",
                            slot, text_of(result, 0), text_of(result, 1));
    ret->is_there = true;
    ret->active_pid = (int)strtol(text_of(result, 2), NULL, 10);
    ret->is_lost = strcmp(text_of(result, 4), "lost") == 0 || text_of(result, 3)[0] == '\0';
    (void)snprintf(ret->why_lost, sizeof ret->why_lost, "%s", text_of(result, 6));
    return ret->is_lost ? 0 : ow_pg_lsn_parse(ow_bytes_of(text_of(result, 3)), &ret->confirmed, err);
}

int64_t ow_pg_side_retained(struct ow_pg_side *side, const char *slot)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    struct ow_error ignored;
    int64_t bytes;
    if (!side->conn || QUERY(side, ow_sql_pg_log_retained, &result, &ignored, slot) < 0 || PQntuples(result) == 0 ||
        ow_integer_parse(ow_bytes_of(text_of(result, 0)), 0, INT64_MAX, &bytes, &ignored) < 0)
        return -1;
    return bytes;
}

int ow_pg_side_membership(struct ow_pg_side *side, const char *publication, char ret[16], struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    int r = QUERY(side, ow_sql_pg_log_membership, &result, err, publication);
    if (r == 0)
        (void)snprintf(ret, 16, "%s", text_of(result, 0));
    return r;
}

/* Who streamed from it a moment ago, ourselves perhaps, may not have gone yet. */
int ow_pg_side_drop_slot(struct ow_pg_side *side, const char *slot, struct ow_error *err)
{
    int64_t until_ms = ow_clock_monotonic_ms() + DROP_MS;
    for (;;) {
        OW_CLEANUP(clear_result) PGresult *result = NULL;
        struct ow_wait wait;
        int r = QUERY(side, ow_sql_pg_log_drop_slot, &result, err, slot);
        if (r != OW_EBUSY || ow_clock_monotonic_ms() >= until_ms)
            return r;
        ow_wait_init(&wait);
        ow_wait_until(&wait, ow_clock_monotonic_ms() + DROP_AGAIN_MS);
        ow_wait_sleep(&wait);
    }
}

/* --- what is needed ----------------------------------------------------------------------------------- */

int ow_pg_side_check_server(struct ow_pg_side *side, bool by_message, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    int version = PQserverVersion(side->conn);
    if (by_message && version < 140000)
        return ow_error_set(
            err, OW_EUNSUPPORTED,
            "%s: by message needs PostgreSQL 14 or later, whose decoding hands logical messages out; this is "
            "%d. Use an outbox table and --by log",
            side->shown, version / 10000);
    int r = ow_postgres_query(side->conn, side->shown, ow_sql_pg_log_wal_level, &result, err);
    if (r < 0)
        return r;
    if (strcmp(text_of(result, 0), "logical") != 0)
        return ow_error_set(err, OW_EINVALID,
                            "%s: wal_level is %s; to read the log a DBA runs ALTER SYSTEM SET wal_level = logical and "
                            "restarts the server. Until then --by polling works",
                            side->shown, text_of(result, 0));
    return 0;
}

int ow_pg_side_check_table(struct ow_pg_side *side, const char *schema, const char *table, bool with_any_columns,
                           bool *ret_is_partitioned, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    struct ow_pg_layout layout;
    int r = QUERY(side, ow_sql_pg_log_columns, &result, err, schema, table);
    if (r < 0)
        return r;
    ow_pg_layout_init(&layout);
    for (int i = 0; i < PQntuples(result); i++)
        ow_pg_layout_add(&layout, ow_bytes_of(PQgetvalue(result, i, 0)), 0);
    if (PQntuples(result) == 0)
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is no table %s.%s", side->shown, schema, table);
    *ret_is_partitioned = text_of(result, 1)[0] == 'p';
    if (*ret_is_partitioned && PQserverVersion(side->conn) < 130000)
        return ow_error_set(
            err, OW_EUNSUPPORTED,
            "%s: table %s.%s is partitioned, which the log can show as one table from PostgreSQL 13 on; "
            "this is %d. Name a table without partitions",
            side->shown, schema, table, PQserverVersion(side->conn) / 10000);
    const char *missing = with_any_columns ? NULL : ow_pg_layout_missing(&layout);
    if (missing)
        return ow_error_set(
            err, OW_EINVALID,
            "%s: table %s.%s has no column %s; an outbox has id, aggregatetype, aggregateid, type and payload",
            side->shown, schema, table, missing);
    return 0;
}

/* An item of an array, as PostgreSQL reads one from text. */
static void add_item(struct ow_buf *to, const char *text)
{
    ow_buf_add_text(to, to->size > 0 ? ",\"" : "{\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            ow_buf_add_char(to, '\\');
        ow_buf_add_char(to, *text);
    }
    ow_buf_add_char(to, '"');
}

/* Their schemas and their names, as two arrays. */
static int name_tables(const struct ow_pg_rows *rows, struct ow_buf *schemas, struct ow_buf *tables,
                       struct ow_error *err)
{
    for (size_t i = 0; rows && i < rows->outbox_count; i++) {
        add_item(schemas, rows->outboxes[i].schema);
        add_item(tables, rows->outboxes[i].table);
    }
    ow_buf_add_text(schemas, rows ? "}" : "{}");
    ow_buf_add_text(tables, rows ? "}" : "{}");
    ow_buf_add_char(schemas, '\0');
    ow_buf_add_char(tables, '\0');
    return schemas->has_failed || tables->has_failed ? ow_error_set(err, OW_ENOMEM, "out of memory") : 0;
}

/* What the publication has to have of its tables. */
static const char *operations_of(const struct ow_pg_rows *rows)
{
    return rows && ow_pg_rows_has_changes(rows) ? "insert, update, delete" : "insert";
}

int ow_pg_side_check_rights(struct ow_pg_side *side, const char *slot, const char *publication,
                            const struct ow_pg_rows *rows, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    OW_CLEANUP(ow_buf_done) struct ow_buf schemas = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf tables = {0};
    int r = name_tables(rows, &schemas, &tables, err);
    if (r == 0)
        r = QUERY(side, ow_sql_pg_log_missing_rights, &result, err, schemas.data, tables.data, publication, slot,
                  operations_of(rows));
    if (r < 0 || PQgetisnull(result, 0, 0))
        return r;
    return ow_error_set(err, OW_EDENIED,
                        "%s: role %s lacks rights to read the log; a DBA may run, in this database: %s", side->shown,
                        PQuser(side->conn), text_of(result, 0));
}

static int write_statement(struct ow_pg_side *side, const char *publication, const struct ow_pg_rows *rows,
                           bool is_partitioned, PGresult **ret, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf schemas = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf tables = {0};
    if (!rows)
        return QUERY(side, ow_sql_pg_log_publication_of_nothing, ret, err, publication);
    int r = name_tables(rows, &schemas, &tables, err);
    return r < 0 ? r
                 : QUERY(side, ow_sql_pg_log_publication_of_tables, ret, err, publication, schemas.data, tables.data,
                         is_partitioned ? "true" : "false", operations_of(rows));
}

static int check_identities(struct ow_pg_side *side, const struct ow_pg_rows *rows, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    OW_CLEANUP(ow_buf_done) struct ow_buf schemas = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf tables = {0};
    int r = name_tables(rows, &schemas, &tables, err);
    if (r == 0)
        r = QUERY(side, ow_sql_pg_log_table_without_identity, &result, err, schemas.data, tables.data);
    if (r < 0 || PQntuples(result) == 0)
        return r;
    return ow_error_set(err, OW_EINVALID,
                        "table %s has no primary key: once its changes are published, UPDATE and DELETE on it would "
                        "fail; give it one, or run: %s",
                        text_of(result, 0), text_of(result, 1));
}

static int make_publication(struct ow_pg_side *side, const char *publication, const struct ow_pg_rows *rows,
                            bool is_partitioned, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *statement = NULL;
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    int r = rows && ow_pg_rows_has_changes(rows) ? check_identities(side, rows, err) : 0;
    if (r == 0)
        r = write_statement(side, publication, rows, is_partitioned, &statement, err);
    if (r < 0)
        return r;
    r = ow_postgres_query(side->conn, side->shown, text_of(statement, 0), &result, err);
    if (r == OW_EDENIED)
        return ow_error_set(err, OW_EDENIED, "%s: role %s may not make the publication; a DBA may run: %s", side->shown,
                            PQuser(side->conn), text_of(statement, 0));
    return r;
}

/* Of one table: what the publication leaves out of it. 1: there is no publication. */
static int check_publication(struct ow_pg_side *side, const char *publication, const char *schema, const char *table,
                             const char *operations, bool is_partitioned, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    int r = QUERY(side, ow_sql_pg_log_find_publication, &result, err, publication, schema, table, operations);
    if (r < 0 || PQntuples(result) == 0)
        return r < 0 ? r : 1;
    if (!*table)
        return 0;
    if (text_of(result, 0)[0] != 't')
        return ow_error_set(
            err, OW_EINVALID,
            "publication %s does not publish %s; a DBA may run: ALTER PUBLICATION \"%s\" SET (publish = '%s')",
            publication, operations, publication, operations);
    if (is_partitioned && text_of(result, 1)[0] != 't')
        return ow_error_set(
            err, OW_EINVALID,
            "publication %s shows the partitions of %s.%s, not the table; a DBA may run: ALTER PUBLICATION "
            "\"%s\" SET (publish_via_partition_root = true)",
            publication, schema, table, publication);
    bool has_way_back = strcmp(schema, "onewrite") == 0 && strcmp(table, "outbox") == 0; /* the gap is noticed */
    if (text_of(result, 2)[0] != 't')
        return ow_error_set(
            err, OW_EINVALID,
            "publication %s has no table %s.%s%s; a DBA may run: ALTER PUBLICATION \"%s\" ADD TABLE \"%s\".\"%s\"",
            publication, schema, table, has_way_back ? "" : ", and what is inserted until it has is not published",
            publication, schema, table);
    return 0;
}

int ow_pg_side_ensure_publication(struct ow_pg_side *side, const char *publication, const struct ow_pg_rows *rows,
                                  bool is_partitioned, struct ow_error *err)
{
    int r = rows ? 0 : check_publication(side, publication, "", "", "insert", false, err);
    for (size_t i = 0; rows && r == 0 && i < rows->outbox_count; i++)
        r = check_publication(side, publication, rows->outboxes[i].schema, rows->outboxes[i].table, operations_of(rows),
                              is_partitioned, err);
    return r == 1 ? make_publication(side, publication, rows, is_partitioned, err) : r;
}

/* --- records ----------------------------------------------------------------------------------------- */

int ow_pg_side_read_record(struct ow_pg_side *side, const char *name, struct ow_pg_record *ret, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    *ret = (struct ow_pg_record){0};
    int r = QUERY(side, ow_sql_pg_log_read_position, &result, err, name);
    if (r < 0 || PQntuples(result) == 0)
        return r;
    ret->is_there = true;
    (void)snprintf(ret->text, sizeof ret->text, "%s", text_of(result, 0));
    (void)snprintf(ret->system_identifier, sizeof ret->system_identifier, "%s", text_of(result, 1));
    return 0;
}

int ow_pg_side_write_record(struct ow_pg_side *side, const char *name, const char *text, const char *system_identifier,
                            uint64_t *ret_lsn, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    int r = QUERY(side, ow_sql_pg_log_write_position, &result, err, name, text, system_identifier);
    return r < 0 || !ret_lsn ? r : ow_pg_lsn_parse(ow_bytes_of(text_of(result, 0)), ret_lsn, err);
}
