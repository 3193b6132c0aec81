/* SPDX-License-Identifier: Apache-2.0 */
/* A row of a table that is no outbox as the change event that Debezium's connector makes of it. */
#include "codec/debezium_event.h"

#include "codec/debezium_block.h"
#include "codec/debezium_convert.h"

struct event {
    const struct ow_debezium_options *options;
    struct ow_dbz_arena *arena;
    const struct ow_dbz_plan *plan;
    const struct ow_row *row;
};

/* --- values -------------------------------------------------------------------------------------------------- */

/* What stands for NULL where a column is NOT NULL: of a row of which only the key is known. */
static struct ow_bytes empty_text(const struct ow_dbz_column *column)
{
    if (column->is_array)
        return OW_BYTES("{}");
    switch (column->kind) {
    case OW_DBZ_KIND_BOOLEAN:
        return OW_BYTES("f");
    case OW_DBZ_KIND_INTEGER:
    case OW_DBZ_KIND_FLOATING:
    case OW_DBZ_KIND_NUMERIC:
    case OW_DBZ_KIND_MONEY:
        return OW_BYTES("0");
    case OW_DBZ_KIND_BITS:
        return column->schema->type == OW_DBZ_BOOLEAN ? OW_BYTES("0") : OW_BYTES("");
    case OW_DBZ_KIND_BYTEA:
        return OW_BYTES("\\x");
    case OW_DBZ_KIND_DATE:
        return OW_BYTES("1970-01-01");
    case OW_DBZ_KIND_TIME:
        return OW_BYTES("00:00:00");
    case OW_DBZ_KIND_TIMETZ:
        return OW_BYTES("00:00:00+00");
    case OW_DBZ_KIND_TIMESTAMP:
        return OW_BYTES("1970-01-01 00:00:00");
    case OW_DBZ_KIND_TIMESTAMPTZ:
        return OW_BYTES("1970-01-01 00:00:00+00");
    case OW_DBZ_KIND_INTERVAL:
        return OW_BYTES("00:00:00");
    case OW_DBZ_KIND_TEXT:
    case OW_DBZ_KIND_HSTORE:
    case OW_DBZ_KIND_UNKNOWN:
        break;
    }
    return OW_BYTES("");
}

/* A large value that an UPDATE has not touched: the log does not have it. */
static int unavailable_value(const struct event *at, const struct ow_dbz_column *column, struct ow_dbz_value *ret,
                             struct ow_error *err)
{
    const struct ow_dbz_schema *schema = column->schema;
    struct ow_bytes placeholder = ow_bytes_of(at->options->unavailable ? at->options->unavailable : "");
    bool is_list = schema->type == OW_DBZ_MAP || (column->is_array && schema->element->type == OW_DBZ_STRING);
    if (is_list) {
        struct ow_dbz_value *items = ow_dbz_alloc_array(at->arena, 2, sizeof(*items));
        if (!items)
            return ow_dbz_arena_check(at->arena, err);
        items[0] = items[1] = ow_dbz_text(placeholder);
        *ret = (struct ow_dbz_value){.as.list = {items, schema->type == OW_DBZ_MAP ? 2 : 1}};
        return 0;
    }
    if (column->is_array || (schema->type != OW_DBZ_STRING && schema->type != OW_DBZ_BYTES) ||
        schema->logic != OW_DBZ_PLAIN)
        return ow_error_set(err, OW_EINVALID,
                            "its value was not changed and is too large to be in the log; ALTER TABLE … REPLICA "
                            "IDENTITY FULL puts it there");
    if (column->kind == OW_DBZ_KIND_BYTEA)
        return ow_dbz_bytes_value(column->modes, at->arena, placeholder, ret, err);
    *ret = ow_dbz_text(placeholder);
    return 0;
}

static int field_value(const struct event *at, size_t index, struct ow_bytes text, bool fills_nulls,
                       struct ow_dbz_value *ret, struct ow_error *err)
{
    const struct ow_dbz_column *column = &at->plan->columns[index];
    const struct ow_dbz_schema *schema = column->schema;
    int r = 0;
    if (ow_row_is_unchanged(text))
        r = unavailable_value(at, column, ret, err);
    else if (text.data || schema->is_optional || schema->fallback)
        r = ow_dbz_column_value_of(column, at->arena, at->row->op, text, ret, err);
    else
        r = ow_dbz_column_value(column, at->arena, empty_text(column), ret, err);
    if (r == 0 && ret->is_null && schema->fallback && (fills_nulls || !schema->is_optional))
        *ret = *schema->fallback;
    return r == OW_EINVALID ? ow_error_prefix(err, "column %.*s", OW_PRINT(at->row->table->columns[index].name)) : r;
}

/* `columns`: which of the row each field of the schema is. `values` NULL: null. */
static int struct_value(const struct event *at, const struct ow_dbz_schema *schema, const size_t *columns,
                        const struct ow_bytes *values, bool fills_nulls, struct ow_dbz_value *ret, struct ow_error *err)
{
    *ret = ow_dbz_null();
    if (!values)
        return 0;
    struct ow_dbz_value *items = ow_dbz_alloc_array(at->arena, schema->field_count, sizeof(*items));
    int r = ow_dbz_arena_check(at->arena, err);
    for (size_t i = 0; r == 0 && i < schema->field_count; i++)
        r = field_value(at, columns[i], values[columns[i]], fills_nulls, &items[i], err);
    *ret = (struct ow_dbz_value){.as.list = {items, schema->field_count}};
    return r;
}

/* --- the parts of a record ----------------------------------------------------------------------------------- */

static int convert_key(const struct event *at, const struct ow_dbz_converter *converter, const struct ow_bytes *values,
                       bool is_header, struct ow_bytes *ret, struct ow_error *err)
{
    struct ow_dbz_value value = ow_dbz_null();
    const struct ow_dbz_schema *schema = at->plan->key_schema;
    int r = schema ? struct_value(at, schema, at->plan->key_columns, values, ow_dbz_fills_nulls(converter), &value, err)
                   : 0;
    if (r == 0)
        r = ow_dbz_convert(converter, at->arena, schema, &value, is_header, ret, err);
    return r == OW_EINVALID ? ow_error_prefix(err, "key") : r;
}

static const char *name_of(enum ow_row_op op)
{
    switch (op) {
    case OW_ROW_SNAPSHOT:
        return "r";
    case OW_ROW_UPDATE:
        return "u";
    case OW_ROW_DELETE:
        return "d";
    default:
        return "c";
    }
}

static void add_source(const struct event *at, struct ow_dbz_block *envelope)
{
    const struct ow_row_change *change = at->row->change;
    const struct ow_dbz_source source = {
        .database = change->database,
        .schema = at->row->table->schema,
        .table = at->row->table->name,
        .snapshot = change->snapshot,
        .has_transaction = change->transaction != 0,
        .transaction = change->transaction,
        .lsn = change->lsn,
        .previous_commit_lsn = change->previous_commit_lsn,
        .time_us = change->time_us,
    };
    ow_dbz_block_add_source(envelope, at->options, &source);
}

static int convert_value(const struct event *at, int64_t now_us, struct ow_bytes *ret, struct ow_error *err)
{
    const struct ow_row *row = at->row;
    const struct ow_dbz_schema *schema = at->plan->row;
    bool is_split = row->change->is_key_change, fills = ow_dbz_fills_nulls(&at->options->value);
    struct ow_dbz_value before, after;
    int r = struct_value(at, schema, at->plan->row_columns,
                         is_split && row->op == OW_ROW_INSERT ? NULL : row->change->before, fills, &before, err);
    if (r == 0)
        r = struct_value(at, schema, at->plan->row_columns, row->op == OW_ROW_DELETE ? NULL : row->values, fills,
                         &after, err);
    if (r != 0)
        return r == OW_EINVALID ? ow_error_prefix(err, "value") : r;
    struct ow_bytes name = ow_dbz_printf(at->arena, "%s.%.*s.%.*s.Envelope", at->options->topic_prefix,
                                         OW_PRINT(row->table->schema), OW_PRINT(row->table->name));
    struct ow_dbz_block envelope;
    ow_dbz_block_begin(&envelope, at->arena, name.data ? name.data : "", 8);
    envelope.schema->version = 2;
    ow_dbz_block_add(&envelope, "before", schema, before);
    ow_dbz_block_add(&envelope, "after", schema, after);
    add_source(at, &envelope);
    ow_dbz_block_add_transaction(&envelope);
    ow_dbz_block_add_new(&envelope, "op", OW_DBZ_STRING, false, ow_dbz_text(ow_bytes_of(name_of(row->op))));
    ow_dbz_block_add_new(&envelope, "ts_ms", OW_DBZ_INT64, true, ow_dbz_integer(now_us / 1000));
    ow_dbz_block_add_new(&envelope, "ts_us", OW_DBZ_INT64, true, ow_dbz_integer(now_us));
    ow_dbz_block_add_new(&envelope, "ts_ns", OW_DBZ_INT64, true, ow_dbz_integer(now_us * 1000));
    r = ow_dbz_arena_check(at->arena, err);
    if (r != 0)
        return r;
    struct ow_dbz_value value = ow_dbz_block_end(&envelope);
    r = ow_dbz_convert(&at->options->value, at->arena, envelope.schema, &value, false, ret, err);
    return r == OW_EINVALID ? ow_error_prefix(err, "value") : r;
}

/* Names of topics that Kafka would not take are made fit, as Debezium does it. */
static struct ow_bytes topic_of(const struct event *at)
{
    const struct ow_row_table *table = at->row->table;
    struct ow_bytes topic = ow_dbz_printf(at->arena, "%s.%.*s.%.*s", at->options->topic_prefix, OW_PRINT(table->schema),
                                          OW_PRINT(table->name));
    char *text = (char *)topic.data;
    for (size_t i = 0; i < topic.size; i++) {
        char c = text[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                       c == '_' || c == '-';
        text[i] = is_good ? c : '_';
    }
    return topic;
}

/* Of an UPDATE of the key both events, and the tombstone between them, say what the other key is. */
static int add_other_key(const struct event *at, struct ow_header *header, struct ow_debezium_record *ret,
                         struct ow_error *err)
{
    const struct ow_row *row = at->row;
    if (!row->change->is_key_change)
        return 0;
    bool is_new = row->op == OW_ROW_INSERT;
    header->name = is_new ? OW_BYTES("__debezium.oldkey") : OW_BYTES("__debezium.newkey");
    ret->headers = header;
    ret->header_count = 1;
    return convert_key(at, &at->options->header, is_new ? row->change->before : row->values, true, &header->value, err);
}

int ow_dbz_event_convert(const struct ow_debezium_options *options, struct ow_dbz_arena *arena,
                         const struct ow_dbz_plan *plan, const struct ow_row *row, int64_t now_us,
                         struct ow_header *header, struct ow_debezium_record *ret, struct ow_error *err)
{
    const struct event at = {options, arena, plan, row};
    bool is_gone = row->op == OW_ROW_DELETE || row->op == OW_ROW_GONE;
    ret->topic = topic_of(&at);
    int r = ow_dbz_arena_check(arena, err);
    if (r == 0)
        r = convert_key(&at, &options->key, is_gone ? row->change->before : row->values, false, &ret->key, err);
    if (r == 0 && row->op != OW_ROW_GONE)
        r = convert_value(&at, now_us, &ret->value, err);
    return r == 0 ? add_other_key(&at, header, ret, err) : r;
}
