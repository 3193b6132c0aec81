/* SPDX-License-Identifier: Apache-2.0 */
#include "debezium_golden.h"

#include <ctype.h>
#include <stdlib.h>

#include "codec/base64.h"
#include "codec/debezium.h"
#include "codec/debezium_import.h"
#include "codec/debezium_tree.h"
#include "config/substitute.h"

struct golden {
    struct ow_dbz_arena arena;
    const struct ow_dbz_node *root;
    struct ow_debezium *router;
    struct ow_buf *differences;
    struct ow_row_table *tables;
    size_t table_count;
    bool *is_seen; /* for each record */
};

static const struct ow_dbz_node *member(const struct ow_dbz_node *object, const char *name)
{
    for (size_t i = 0; i < object->count; i++)
        if (ow_bytes_is(object->items[i]->name, name))
            return object->items[i];
    abort();
}

static struct ow_bytes text(const struct ow_dbz_node *node)
{
    return node->kind == OW_DBZ_NODE_STRING ? node->value.as.bytes : OW_NULL_BYTES;
}

static struct ow_bytes bytes(struct golden *g, const struct ow_dbz_node *node)
{
    struct ow_buf buf = {0};
    struct ow_bytes base64 = text(node);
    if (!base64.data || ow_base64_decode(&buf, base64, NULL) != 0)
        return OW_NULL_BYTES;
    struct ow_bytes copy = ow_dbz_copy(&g->arena, ow_buf_bytes(&buf));
    ow_buf_done(&buf);
    return copy;
}

static void read_table(struct golden *g, const struct ow_dbz_node *node, struct ow_row_table *ret)
{
    const struct ow_dbz_node *columns = member(node, "columns");
    struct ow_row_column *to = ow_dbz_alloc_array(&g->arena, columns->count, sizeof(*to));
    static uint64_t version;
    *ret = (struct ow_row_table){OW_BYTES("public"), text(member(node, "name")), to, columns->count, ++version};
    for (size_t i = 0; i < columns->count; i++) {
        const struct ow_dbz_node *column = columns->items[i];
        to[i] = (struct ow_row_column){
            .name = text(member(column, "name")),
            .type_oid = (uint32_t)member(column, "type")->value.as.integer,
            .type_name = text(member(column, "typname")),
            .element_oid = (uint32_t)member(column, "element")->value.as.integer,
            .typmod = (int32_t)member(column, "typmod")->value.as.integer,
            .is_enum = member(column, "enum")->value.as.boolean,
            .labels = text(member(column, "labels")),
            .is_not_null = member(column, "not_null")->value.as.boolean,
            .default_expression = text(member(column, "default")),
        };
    }
}

/* Java's addresses are other ones each time. */
static struct ow_bytes masked(struct golden *g, struct ow_bytes in)
{
    if (!in.data || !memmem(in.data, in.size, "[B@", 3))
        return in;
    struct ow_buf to = {0};
    for (size_t i = 0; i < in.size; i++) {
        ow_buf_add_char(&to, in.data[i]);
        if (i >= 2 && memcmp(in.data + i - 2, "[B@", 3) == 0)
            while (i + 1 < in.size && isxdigit((unsigned char)in.data[i + 1]))
                i++;
    }
    struct ow_bytes copy = ow_dbz_copy(&g->arena, ow_buf_bytes(&to));
    ow_buf_done(&to);
    return copy;
}

static void compare(struct golden *g, struct ow_bytes topic, const char *what, struct ow_bytes have,
                    struct ow_bytes want)
{
    have = masked(g, have);
    want = masked(g, want);
    if (ow_bytes_equal(have, want))
        return;
    ow_buf_printf(g->differences, "  %.*s: %s\n    have %s%.*s\n    want %s%.*s\n", OW_PRINT(topic), what,
                  have.data ? "" : "(null)", (int)have.size, have.data ? have.data : "", want.data ? "" : "(null)",
                  (int)want.size, want.data ? want.data : "");
}

/* Where Kafka puts it; the cases that say so have topics of four partitions. */
static bool is_in_partition(const struct ow_debezium_record *record, const struct ow_dbz_node *want)
{
    return want->count < 5 || want->items[4]->value.as.integer == (ow_murmur2(record->key) & 0x7fffffff) % 4;
}

/* Against the first record of its topic that none was compared with. */
static void compare_record(struct golden *g, const struct ow_debezium_record *record)
{
    const struct ow_dbz_node *records = member(g->root, "records");
    for (size_t i = 0; i < records->count; i++) {
        struct ow_dbz_node *const *want = records->items[i]->items;
        if (g->is_seen[i] || !ow_bytes_equal(text(want[0]), record->topic) ||
            !is_in_partition(record, records->items[i]))
            continue;
        g->is_seen[i] = true;
        compare(g, record->topic, "key", record->key, bytes(g, want[1]));
        compare(g, record->topic, "value", record->value, bytes(g, want[2]));
        if (want[3]->count != record->header_count)
            ow_buf_printf(g->differences, "  %zu headers, want %zu\n", record->header_count, want[3]->count);
        for (size_t h = 0; h < record->header_count && h < want[3]->count; h++) {
            struct ow_dbz_node *const *header = want[3]->items[h]->items;
            compare(g, record->topic, "header name", record->headers[h].name, text(header[0]));
            compare(g, record->topic, "header value", record->headers[h].value, bytes(g, header[1]));
        }
        return;
    }
    if (!member(g->root, "stops")->value.as.boolean)
        ow_buf_printf(g->differences, "  %.*s: one record more, or elsewhere\n", OW_PRINT(record->topic));
}

static void run_row(struct golden *g, const struct ow_dbz_node *node)
{
    struct ow_row row = {.op = ow_bytes_is(text(node->items[1]), "INSERT")   ? OW_ROW_INSERT
                               : ow_bytes_is(text(node->items[1]), "UPDATE") ? OW_ROW_UPDATE
                                                                             : OW_ROW_DELETE};
    for (size_t i = 0; i < g->table_count; i++)
        if (ow_bytes_equal(g->tables[i].name, text(node->items[0])))
            row.table = &g->tables[i];
    struct ow_bytes *values = calloc(node->items[2]->count, sizeof(*values));
    for (size_t i = 0; i < node->items[2]->count; i++)
        values[i] = text(node->items[2]->items[i]);
    row.values = values;
    struct ow_debezium_record record;
    struct ow_error err = {0};
    int r = ow_debezium_route(g->router, &row, &record, &err);
    if (r != 0)
        ow_buf_printf(g->differences, "  error: %s\n", err.text);
    else if (record.outcome == OW_DEBEZIUM_RECORD)
        compare_record(g, &record);
    else if (record.outcome == OW_DEBEZIUM_UNFIT && !member(g->root, "stops")->value.as.boolean)
        ow_buf_printf(g->differences, "  unfit: %.*s\n", OW_PRINT(record.reason));
    free(values);
}

static void run_case(struct golden *g, struct ow_bytes properties)
{
    struct ow_debezium_import import;
    struct ow_error err = {0};
    const struct ow_dbz_node *records = member(g->root, "records"), *rows = member(g->root, "rows");
    int r = ow_debezium_import(properties, &import, &err);
    if (r == 0)
        r = ow_debezium_new(&import.options, &g->router, &err);
    if (r != 0) {
        if (r != OW_ECONFIG || records->count > 0)
            ow_buf_printf(g->differences, "  error: %s\n", err.text);
        return;
    }
    g->is_seen = ow_dbz_alloc_array(&g->arena, records->count, sizeof(*g->is_seen));
    for (size_t i = 0; i < rows->count; i++)
        run_row(g, rows->items[i]);
    for (size_t i = 0; i < records->count; i++)
        if (!g->is_seen[i])
            ow_buf_printf(g->differences, "  %.*s: record %zu is missing\n",
                          OW_PRINT(text(records->items[i]->items[0])), i);
    ow_debezium_free(g->router);
    ow_debezium_import_done(&import);
}

void golden_run(const char *path, struct ow_buf *differences)
{
    struct golden g = {.differences = differences};
    struct ow_buf file = {0};
    const char *why = NULL;
    if (ow_config_read_file(path, (size_t)16 << 20, &file, NULL) != 0)
        ow_buf_printf(differences, "  %s cannot be read\n", path);
    else
        g.root = ow_dbz_tree_read(&g.arena, ow_buf_bytes(&file), &why);
    if (g.root) {
        const struct ow_dbz_node *tables = member(g.root, "tables");
        g.tables = ow_dbz_alloc_array(&g.arena, tables->count, sizeof(*g.tables));
        g.table_count = tables->count;
        for (size_t i = 0; i < tables->count; i++)
            read_table(&g, tables->items[i], &g.tables[i]);
        run_case(&g, text(member(g.root, "properties")));
    } else if (why) {
        ow_buf_printf(differences, "  %s: %s\n", path, why);
    }
    ow_dbz_arena_done(&g.arena);
    ow_buf_done(&file);
}
