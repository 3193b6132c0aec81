/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_block.h"

void ow_dbz_block_begin(struct ow_dbz_block *block, struct ow_dbz_arena *arena, const char *name, size_t field_max)
{
    block->arena = arena;
    block->schema = ow_dbz_schema_named(arena, OW_DBZ_STRUCT, false, name);
    block->schema->fields = ow_dbz_alloc_array(arena, field_max, sizeof(*block->schema->fields));
    block->items = ow_dbz_alloc_array(arena, field_max, sizeof(*block->items));
}

void ow_dbz_block_add(struct ow_dbz_block *block, const char *name, const struct ow_dbz_schema *schema,
                      struct ow_dbz_value value)
{
    if (!block->schema->fields || !block->items)
        return;
    block->schema->fields[block->schema->field_count] = (struct ow_dbz_field){ow_bytes_of(name), schema};
    block->items[block->schema->field_count++] = value;
}

void ow_dbz_block_add_new(struct ow_dbz_block *block, const char *name, enum ow_dbz_type type, bool is_optional,
                          struct ow_dbz_value value)
{
    ow_dbz_block_add(block, name, ow_dbz_schema_new(block->arena, type, is_optional), value);
}

struct ow_dbz_value ow_dbz_block_end(const struct ow_dbz_block *block)
{
    return (struct ow_dbz_value){.as.list = {block->items, block->schema->field_count}};
}

bool ow_dbz_fills_nulls(const struct ow_dbz_converter *converter)
{
    bool is_json = converter->kind == OW_DBZ_CONVERTER_JSON ||
                   (converter->kind == OW_DBZ_CONVERTER_BINARY && converter->delegate == OW_DBZ_CONVERTER_JSON);
    return is_json && converter->fills_nulls;
}

/* Where it is the default, Debezium leaves it to the schema. */
static void add_snapshot(struct ow_dbz_block *block, const char *snapshot, bool fills_nulls)
{
    struct ow_dbz_schema *schema = ow_dbz_schema_named(block->arena, OW_DBZ_STRING, true, "io.debezium.data.Enum");
    ow_dbz_schema_add_parameter(
        block->arena, schema, "allowed",
        OW_BYTES("true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"));
    struct ow_dbz_value *fallback = ow_dbz_alloc(block->arena, sizeof(*fallback));
    if (fallback)
        *fallback = ow_dbz_text(OW_BYTES("false"));
    schema->fallback = fallback;
    ow_dbz_block_add(block, "snapshot", schema,
                     snapshot      ? ow_dbz_text(ow_bytes_of(snapshot))
                     : fills_nulls ? ow_dbz_text(OW_BYTES("false"))
                                   : ow_dbz_null());
}

void ow_dbz_block_add_source(struct ow_dbz_block *block, const struct ow_debezium_options *options,
                             const struct ow_dbz_source *of)
{
    struct ow_dbz_block source;
    struct ow_dbz_arena *arena = block->arena;
    struct ow_bytes before = of->previous_commit_lsn == 0
                                 ? OW_BYTES("null")
                                 : ow_dbz_printf(arena, "\"%llu\"", (unsigned long long)of->previous_commit_lsn);
    struct ow_bytes sequence = ow_dbz_printf(arena, "[%.*s,\"%llu\"]", OW_PRINT(before), (unsigned long long)of->lsn);
    ow_dbz_block_begin(&source, arena, "io.debezium.connector.postgresql.Source", 14);
    source.schema->has_version = false;
    ow_dbz_block_add_new(&source, "version", OW_DBZ_STRING, false,
                         ow_dbz_text(of->version.data ? of->version : OW_BYTES(OW_VERSION)));
    ow_dbz_block_add_new(&source, "connector", OW_DBZ_STRING, false, ow_dbz_text(OW_BYTES("postgresql")));
    ow_dbz_block_add_new(&source, "name", OW_DBZ_STRING, false, ow_dbz_text(ow_bytes_of(options->topic_prefix)));
    ow_dbz_block_add_new(&source, "ts_ms", OW_DBZ_INT64, false, ow_dbz_integer(of->time_us / 1000));
    add_snapshot(&source, of->snapshot, ow_dbz_fills_nulls(&options->value));
    ow_dbz_block_add_new(&source, "db", OW_DBZ_STRING, false, ow_dbz_text(of->database));
    ow_dbz_block_add_new(&source, "sequence", OW_DBZ_STRING, true, ow_dbz_text(sequence));
    ow_dbz_block_add_new(&source, "ts_us", OW_DBZ_INT64, true, ow_dbz_integer(of->time_us));
    ow_dbz_block_add_new(&source, "ts_ns", OW_DBZ_INT64, true, ow_dbz_integer(of->time_us * 1000));
    ow_dbz_block_add_new(&source, "schema", OW_DBZ_STRING, false, ow_dbz_text(of->schema));
    ow_dbz_block_add_new(&source, "table", OW_DBZ_STRING, false, ow_dbz_text(of->table));
    ow_dbz_block_add_new(&source, "txId", OW_DBZ_INT64, true,
                         of->has_transaction ? ow_dbz_integer(of->transaction) : ow_dbz_null());
    ow_dbz_block_add_new(&source, "lsn", OW_DBZ_INT64, true, ow_dbz_integer((int64_t)of->lsn));
    ow_dbz_block_add_new(&source, "xmin", OW_DBZ_INT64, true, ow_dbz_null());
    ow_dbz_block_add(block, "source", source.schema, ow_dbz_block_end(&source));
}

void ow_dbz_block_add_transaction(struct ow_dbz_block *block)
{
    struct ow_dbz_block inner;
    ow_dbz_block_begin(&inner, block->arena, "event.block", 3);
    inner.schema->is_optional = true;
    ow_dbz_block_add_new(&inner, "id", OW_DBZ_STRING, false, ow_dbz_null());
    ow_dbz_block_add_new(&inner, "total_order", OW_DBZ_INT64, false, ow_dbz_null());
    ow_dbz_block_add_new(&inner, "data_collection_order", OW_DBZ_INT64, false, ow_dbz_null());
    ow_dbz_block_add(block, "transaction", inner.schema, ow_dbz_null());
}
