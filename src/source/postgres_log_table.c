/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_table.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "sql.h"

enum { TYPE, TYPE_NAME, ELEMENT, MODIFIER, IS_ENUM, LABELS, NOT_NULL, DEFAULT, KEY_PLACE };

/* The columns as they were named, for the query: three array literals; and the names one after the other. */
struct named {
    struct ow_buf names, types, modifiers, text;
    size_t count;
};

static void named_done(struct named *named)
{
    ow_buf_done(&named->names);
    ow_buf_done(&named->types);
    ow_buf_done(&named->modifiers);
    ow_buf_done(&named->text);
}

void ow_pg_table_done(struct ow_pg_table *table)
{
    PQclear(table->facts);
    free(table->columns);
    ow_buf_done(&table->text);
    *table = (struct ow_pg_table){0};
}

static void name_column(struct named *named, struct ow_bytes name, uint32_t type, int32_t modifier)
{
    const char *before = named->count++ > 0 ? "," : "{";
    ow_buf_printf(&named->types, "%s%" PRIu32, before, type);
    ow_buf_printf(&named->modifiers, "%s%" PRId32, before, modifier);
    ow_buf_printf(&named->names, "%s\"", before);
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '"' || name.data[i] == '\\')
            ow_buf_add_char(&named->names, '\\');
        ow_buf_add_char(&named->names, name.data[i]);
    }
    ow_buf_add_char(&named->names, '"');
    ow_buf_add_bytes(&named->text, name);
    ow_buf_add_char(&named->text, '\0');
}

static void end_names(struct named *named)
{
    const char *end = named->count > 0 ? "}" : "{}";
    struct ow_buf *const lists[] = {&named->names, &named->types, &named->modifiers};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        ow_buf_add_text(lists[i], end);
        ow_buf_add_char(lists[i], '\0');
    }
}

static struct ow_bytes cell(const PGresult *facts, int row, int column)
{
    if (PQgetisnull(facts, row, column))
        return OW_NULL_BYTES;
    return (struct ow_bytes){PQgetvalue(facts, row, column), (size_t)PQgetlength(facts, row, column)};
}

static void read_column(const PGresult *facts, int row, struct ow_bytes name, struct ow_row_column *ret)
{
    *ret = (struct ow_row_column){
        .name = name,
        .type_oid = (uint32_t)strtoul(PQgetvalue(facts, row, TYPE), NULL, 10),
        .type_name = cell(facts, row, TYPE_NAME),
        .element_oid = (uint32_t)strtoul(PQgetvalue(facts, row, ELEMENT), NULL, 10),
        .typmod = (int32_t)strtol(PQgetvalue(facts, row, MODIFIER), NULL, 10),
        .is_enum = PQgetvalue(facts, row, IS_ENUM)[0] == 't',
        .labels = cell(facts, row, LABELS),
        .is_not_null = PQgetvalue(facts, row, NOT_NULL)[0] == 't',
        .default_expression = cell(facts, row, DEFAULT),
        .key_place = (uint32_t)strtoul(PQgetvalue(facts, row, KEY_PLACE), NULL, 10),
    };
}

/* Routers are told apart tables by this number alone, of all relays of the process. */
static uint64_t next_version(void)
{
    static _Atomic uint64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

static int look_up(struct ow_pg_side *side, const char *schema, const char *name, struct named *named, PGresult **ret,
                   struct ow_error *err)
{
    const struct ow_buf *const all[] = {&named->names, &named->types, &named->modifiers, &named->text};
    end_names(named);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int r = ow_buf_check(all[i], err);
        if (r < 0)
            return r;
    }
    const char *const parameters[] = {schema, name, named->names.data, named->types.data, named->modifiers.data};
    int r = ow_postgres_query_params(side->conn, side->shown, ow_sql_pg_log_table, 5, parameters, ret, err);
    if (r == 0 && (size_t)PQntuples(*ret) != named->count)
        r = ow_error_set(err, OW_ECORRUPT, "%s: the catalog does not tell the columns of %s.%s", side->shown, schema,
                         name);
    return r;
}

/* Schema and name go behind the names of the columns. */
static int take(struct ow_pg_table *table, const char *schema, const char *name, struct named *named, PGresult *facts,
                struct ow_error *err)
{
    size_t count = named->count, schema_at = named->text.size, at = 0;
    ow_buf_add_text(&named->text, schema);
    ow_buf_add_text(&named->text, name);
    struct ow_row_column *columns = calloc(count + 1, sizeof *columns);
    if (!columns || named->text.has_failed) {
        free(columns);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    bool has_changes = table->table.has_changes;
    ow_pg_table_done(table);
    table->text = named->text;
    named->text = (struct ow_buf){0};
    for (size_t i = 0; i < count; i++) {
        struct ow_bytes column = ow_bytes_of(table->text.data + at);
        read_column(facts, (int)i, column, &columns[i]);
        at += column.size + 1;
    }
    table->facts = facts;
    table->columns = columns;
    table->table = (struct ow_row_table){.schema = {table->text.data + schema_at, strlen(schema)},
                                         .name = {table->text.data + schema_at + strlen(schema), strlen(name)},
                                         .columns = columns,
                                         .column_count = count,
                                         .has_changes = has_changes,
                                         .version = next_version()};
    return 0;
}

static int describe(struct ow_pg_table *table, struct ow_pg_side *side, const char *schema, const char *name,
                    struct named *named, struct ow_error *err)
{
    PGresult *facts = NULL;
    int r = look_up(side, schema, name, named, &facts, err);
    if (r == 0)
        r = take(table, schema, name, named, facts, err);
    if (r < 0)
        PQclear(facts);
    return r;
}

int ow_pg_table_describe(struct ow_pg_table *table, struct ow_pg_side *side, const struct ow_pg_relation *relation,
                         struct ow_error *err)
{
    OW_CLEANUP(named_done) struct named named = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf schema = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf name = {0};
    struct ow_pg_relation rest = *relation;
    while (rest.column_count > 0) {
        struct ow_pg_column column = ow_pg_next_column(&rest);
        name_column(&named, column.name, column.type, column.modifier);
    }
    ow_buf_printf(&schema, "%.*s", OW_PRINT(relation->schema));
    ow_buf_printf(&name, "%.*s", OW_PRINT(relation->name));
    int r = ow_buf_check(&schema, err);
    if (r == 0)
        r = ow_buf_check(&name, err);
    return r < 0 ? r : describe(table, side, schema.data, name.data, &named, err);
}

int ow_pg_table_describe_result(struct ow_pg_table *table, struct ow_pg_side *side, const char *schema,
                                const char *name, const struct pg_result *result, size_t columns, struct ow_error *err)
{
    OW_CLEANUP(named_done) struct named named = {0};
    for (int i = 0; i < (int)columns; i++)
        name_column(&named, ow_bytes_of(PQfname(result, i)), PQftype(result, i), PQfmod(result, i));
    return describe(table, side, schema, name, &named, err);
}
