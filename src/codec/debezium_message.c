/* SPDX-License-Identifier: Apache-2.0 */
/* A logical decoding message as the change event that Debezium's connector makes of it. */
#include "codec/debezium_message.h"

#include "codec/debezium_convert.h"

struct builder {
    struct ow_dbz_arena *arena;
    struct ow_dbz_schema *schema;
    struct ow_dbz_value *items;
};

static void begin(struct builder *to, struct ow_dbz_arena *arena, const char *name, size_t field_max)
{
    to->arena = arena;
    to->schema = ow_dbz_schema_named(arena, OW_DBZ_STRUCT, false, name);
    to->schema->fields = ow_dbz_alloc_array(arena, field_max, sizeof(*to->schema->fields));
    to->items = ow_dbz_alloc_array(arena, field_max, sizeof(*to->items));
}

static void add(struct builder *to, const char *name, const struct ow_dbz_schema *schema, struct ow_dbz_value value)
{
    if (!to->schema->fields || !to->items)
        return;
    to->schema->fields[to->schema->field_count] = (struct ow_dbz_field){ow_bytes_of(name), schema};
    to->items[to->schema->field_count++] = value;
}

static void add_new(struct builder *to, const char *name, enum ow_dbz_type type, bool is_optional,
                    struct ow_dbz_value value)
{
    add(to, name, ow_dbz_schema_new(to->arena, type, is_optional), value);
}

static struct ow_dbz_value end(const struct builder *to)
{
    return (struct ow_dbz_value){.as.list = {to->items, to->schema->field_count}};
}

static struct ow_dbz_value text(const char *literal)
{
    return ow_dbz_text(ow_bytes_of(literal));
}

static void add_snapshot(struct builder *to)
{
    struct ow_dbz_schema *schema = ow_dbz_schema_named(to->arena, OW_DBZ_STRING, true, "io.debezium.data.Enum");
    ow_dbz_schema_add_parameter(
        to->arena, schema, "allowed",
        OW_BYTES("true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"));
    struct ow_dbz_value *fallback = ow_dbz_alloc(to->arena, sizeof(*fallback));
    if (fallback)
        *fallback = text("false");
    schema->fallback = fallback;
    add(to, "snapshot", schema, text("false"));
}

static void add_source(struct builder *to, const struct ow_debezium_options *options,
                       const struct ow_debezium_message *message)
{
    struct builder source;
    struct ow_bytes before = message->previous_commit_lsn == 0
                                 ? OW_BYTES("null")
                                 : ow_dbz_printf(to->arena, "\"%llu\"",
                                                 (unsigned long long)message->previous_commit_lsn);
    begin(&source, to->arena, "io.debezium.connector.postgresql.Source", 14);
    add_new(&source, "version", OW_DBZ_STRING, false,
            ow_dbz_text(message->version.data ? message->version : OW_BYTES(OW_VERSION)));
    add_new(&source, "connector", OW_DBZ_STRING, false, text("postgresql"));
    add_new(&source, "name", OW_DBZ_STRING, false, text(options->topic_prefix));
    add_new(&source, "ts_ms", OW_DBZ_INT64, false, ow_dbz_integer(message->time_us / 1000));
    add_snapshot(&source);
    add_new(&source, "db", OW_DBZ_STRING, false, ow_dbz_text(message->database));
    add_new(
        &source, "sequence", OW_DBZ_STRING, true,
        ow_dbz_text(ow_dbz_printf(to->arena, "[%.*s,\"%llu\"]", OW_PRINT(before), (unsigned long long)message->lsn)));
    add_new(&source, "ts_us", OW_DBZ_INT64, true, ow_dbz_integer(message->time_us));
    add_new(&source, "ts_ns", OW_DBZ_INT64, true, ow_dbz_integer(message->time_us * 1000));
    add_new(&source, "schema", OW_DBZ_STRING, false, text(""));
    add_new(&source, "table", OW_DBZ_STRING, false, text(""));
    add_new(&source, "txId", OW_DBZ_INT64, true,
            message->is_transactional ? ow_dbz_integer(message->transaction_id) : ow_dbz_null());
    add_new(&source, "lsn", OW_DBZ_INT64, true, ow_dbz_integer((int64_t)message->lsn));
    add_new(&source, "xmin", OW_DBZ_INT64, true, ow_dbz_null());
    add(to, "source", source.schema, end(&source));
}

static void add_transaction(struct builder *to)
{
    struct builder block;
    begin(&block, to->arena, "event.block", 3);
    block.schema->is_optional = true;
    add_new(&block, "id", OW_DBZ_STRING, false, ow_dbz_null());
    add_new(&block, "total_order", OW_DBZ_INT64, false, ow_dbz_null());
    add_new(&block, "data_collection_order", OW_DBZ_INT64, false, ow_dbz_null());
    add(to, "transaction", block.schema, ow_dbz_null());
}

static int add_message(struct builder *to, const struct ow_debezium_options *options,
                       const struct ow_debezium_message *message, struct ow_error *err)
{
    struct builder block;
    struct ow_dbz_value content;
    int r = ow_dbz_bytes_value(&options->modes, to->arena, message->content, &content, err);
    begin(&block, to->arena, "io.debezium.connector.postgresql.Message", 2);
    add_new(&block, "prefix", OW_DBZ_STRING, true, ow_dbz_text(message->prefix));
    add_new(&block, "content", options->modes.binary == OW_DBZ_BINARY_BYTES ? OW_DBZ_BYTES : OW_DBZ_STRING, true,
            content);
    add(to, "message", block.schema, end(&block));
    return r;
}

int ow_dbz_message_convert(const struct ow_debezium_options *options, struct ow_dbz_arena *arena,
                           const struct ow_debezium_message *message, struct ow_debezium_record *ret,
                           struct ow_error *err)
{
    struct builder key, value;
    begin(&key, arena, "io.debezium.connector.postgresql.MessageKey", 1);
    add_new(&key, "prefix", OW_DBZ_STRING, true, ow_dbz_text(message->prefix));
    begin(&value, arena, "io.debezium.connector.postgresql.MessageValue", 5);
    add_new(&value, "op", OW_DBZ_STRING, false, text("m"));
    add_new(&value, "ts_ms", OW_DBZ_INT64, true, ow_dbz_integer(message->now_us / 1000));
    add_source(&value, options, message);
    add_transaction(&value);
    int r = add_message(&value, options, message, err);
    if (r == 0)
        r = ow_dbz_arena_check(arena, err);
    if (r != 0)
        return r;
    struct ow_dbz_value key_value = end(&key), value_value = end(&value);
    ret->topic = ow_dbz_printf(arena, "%s.message", options->topic_prefix);
    r = ow_dbz_convert(&options->key, arena, key.schema, &key_value, false, &ret->key, err);
    if (r == 0)
        r = ow_dbz_convert(&options->value, arena, value.schema, &value_value, false, &ret->value, err);
    return r;
}
