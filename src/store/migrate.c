/* SPDX-License-Identifier: Apache-2.0 */
#include "store/migrate.h"

#include <stdio.h>

#include "sql.h"

static const struct ow_migration outbox_migrations[] = {{"0001_outbox", ow_sql_0001_outbox}};
const struct ow_schema ow_schema_outbox = {"outbox", "sqlite", outbox_migrations, 1};

static const struct ow_migration outbox_postgres_migrations[] = {{"0001_outbox", ow_sql_pg_0001_outbox}};
const struct ow_schema ow_schema_outbox_postgres = {"outbox", "postgres", outbox_postgres_migrations, 1};

static const struct ow_migration journal_migrations[] = {{"0001_journal", ow_sql_0001_journal}};
const struct ow_schema ow_schema_journal = {"journal", "sqlite", journal_migrations, 1};

/* The same statements in the language of each store. */
struct dialect {
    const char *name;
    const char *lock; /* right after BEGIN: from here on as the only one; NULL: BEGIN does it */
    const char *create_meta, *has_meta, *read_version, *write_version, *make_identity, *read_identity;
    const char *begin, *write_this_version; /* for a person's hand */
};

static const struct dialect dialects[] = {
    {"sqlite", NULL, ow_sql_schema_create_meta, ow_sql_schema_has_meta, ow_sql_schema_read_version,
     ow_sql_schema_write_version, ow_sql_schema_make_identity, ow_sql_schema_read_identity, "BEGIN IMMEDIATE;\n\n",
     "INSERT INTO onewrite_meta (name, value) VALUES ('schema.%s', '%zu')\nON CONFLICT (name) DO UPDATE SET value = "
     "excluded.value;\n"},
    {"postgres", ow_sql_pg_schema_lock, ow_sql_pg_schema_create_meta, ow_sql_pg_schema_has_meta,
     ow_sql_pg_schema_read_version, ow_sql_pg_schema_write_version, ow_sql_pg_schema_make_identity,
     ow_sql_pg_schema_read_identity, "BEGIN;\n\n",
     "INSERT INTO onewrite.meta (name, value) VALUES ('schema.%s', '%zu')\nON CONFLICT (name) DO UPDATE SET value = "
     "excluded.value;\n"},
};

static const struct dialect *dialect_named(const char *name)
{
    return name && strcmp(name, "postgres") == 0 ? &dialects[1] : &dialects[0];
}

static const struct dialect *dialect_of(const struct ow_store *store)
{
    return dialect_named(store->ops->name);
}

int ow_schema_version(struct ow_store *store, const struct ow_schema *schema, int64_t *ret, struct ow_error *err)
{
    int64_t has_meta = 0, version = 0;
    int r = ow_store_query_integer(store, dialect_of(store)->has_meta, NULL, 0, 0, &has_meta, err);
    if (r < 0)
        return r;
    struct ow_value component = ow_value_text(ow_bytes_of(schema->component));
    if (has_meta &&
        (r = ow_store_query_integer(store, dialect_of(store)->read_version, &component, 1, 0, &version, err)) < 0)
        return r;
    if (version > (int64_t)schema->count)
        return ow_error_set(
            err, OW_EVERSION,
            "its %s schema has version %lld, this onewrite knows versions up to %zu; use a newer onewrite",
            schema->component, (long long)version, schema->count);
    *ret = version;
    return 0;
}

static int apply(struct ow_store *store, const struct ow_schema *schema, int64_t version, struct ow_error *err)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%lld", (long long)version);
    struct ow_value values[] = {ow_value_text(ow_bytes_of(schema->component)), ow_value_text(ow_bytes_of(number))};
    int r = store->ops->script(store, schema->migrations[version - 1].sql, err);
    if (r == 0)
        r = store->ops->script(store, dialect_of(store)->make_identity, err);
    if (r == 0)
        r = ow_store_execute(store, dialect_of(store)->write_version, values, 2, err);
    return r < 0 ? ow_error_prefix(err, "migration %s", schema->migrations[version - 1].name) : 0;
}

int ow_schema_migrate(struct ow_store *store, const struct ow_schema *schema, size_t *ret_applied, struct ow_error *err)
{
    int64_t version = 0;
    *ret_applied = 0;
    int r = ow_schema_version(store, schema, &version, err);
    if (r < 0 || version == (int64_t)schema->count)
        return r;
    /* From here on as the only writer: somebody else may have done it in the meantime. */
    r = store->ops->begin(store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    if (dialect_of(store)->lock)
        r = store->ops->script(store, dialect_of(store)->lock, err);
    if (r == 0)
        r = store->ops->script(store, dialect_of(store)->create_meta, err);
    if (r == 0)
        r = ow_schema_version(store, schema, &version, err);
    size_t applied = 0;
    for (; r == 0 && version < (int64_t)schema->count; applied++)
        r = apply(store, schema, ++version, err);
    if (r == 0)
        r = store->ops->commit(store, err);
    if (r < 0) {
        store->ops->rollback(store);
        return r;
    }
    *ret_applied = applied;
    return 0;
}

/* The format is one of two of the table above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void ow_schema_print(const struct ow_schema *schema, struct ow_buf *to)
{
    const struct dialect *dialect = dialect_named(schema->dialect);
    ow_buf_add_text(to, dialect->begin);
    if (dialect->lock)
        ow_buf_printf(to, "%s\n", dialect->lock);
    ow_buf_add_text(to, dialect->create_meta);
    for (size_t i = 0; i < schema->count; i++)
        ow_buf_printf(to, "\n%s", schema->migrations[i].sql);
    ow_buf_printf(to, "\n%s\n", dialect->make_identity);
    ow_buf_printf(to, dialect->write_this_version, schema->component, schema->count);
    ow_buf_add_text(to, "\nCOMMIT;\n");
}
#pragma GCC diagnostic pop

int ow_schema_identity(struct ow_store *store, struct ow_buf *to, struct ow_error *err)
{
    struct ow_value column = ow_value_null();
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    int r = ow_store_query_row(store, dialect_of(store)->read_identity, NULL, 0, &column, 1, &keep, err);
    if (r < 0)
        return r;
    if (r == 0 || column.kind != OW_VALUE_TEXT)
        return ow_error_set(err, OW_ECORRUPT, "its table of onewrite has no identity; run `onewrite init` again");
    ow_buf_add_bytes(to, column.bytes);
    return ow_buf_check(to, err);
}
