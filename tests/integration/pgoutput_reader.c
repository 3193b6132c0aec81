/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the decoder makes of a slot, for a comparison with another reader of the same log:
 *
 *     pgoutput_reader URL SLOT PUBLICATION LSN [messages]
 *
 * reads the slot as the relay does (where it asks for messages, if so said), up to LSN, and prints the changes of what
 * committed, in the order of commits, a JSON array a line: [kind, tables, old row or null, new row or null]. A row is
 * an array of [column, type, value]; a value is a text, null, or true for one that an update did not touch and that is
 * not in the log.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "codec/json.h"
#include "source/postgres_replication.h"

struct table {
    uint32_t id;
    struct ow_buf raw, schema, name; /* raw: the columns */
    unsigned column_count;
};

struct change {
    uint32_t xid, subxid;
    char *line;
};

struct reader {
    struct ow_pg_replication stream;
    struct table *tables;
    struct change *changes; /* of transactions that are in progress, in the order in which they came */
    size_t table_count, change_count;
    uint32_t xid; /* of the part of a streamed transaction that is coming; 0: none */
    bool is_inside;
};

static void *grown(void *items, size_t count, size_t size)
{
    void *more = reallocarray(items, count + 1, size);
    if (!more)
        abort();
    return more;
}

static struct table *find(struct reader *r, uint32_t id)
{
    for (size_t i = 0; i < r->table_count; i++)
        if (r->tables[i].id == id)
            return &r->tables[i];
    return NULL;
}

static void describe(struct reader *r, const struct ow_pg_relation *relation)
{
    struct table *table = find(r, relation->id);
    if (!table) {
        r->tables = grown(r->tables, r->table_count, sizeof *r->tables);
        table = &r->tables[r->table_count++];
        *table = (struct table){.id = relation->id};
    }
    ow_buf_clear(&table->raw);
    ow_buf_clear(&table->schema);
    ow_buf_clear(&table->name);
    ow_buf_add_bytes(&table->raw, relation->raw);
    ow_buf_add_bytes(&table->schema, relation->schema);
    ow_buf_add_bytes(&table->name, relation->name);
    table->column_count = relation->column_count;
}

/* --- a line ------------------------------------------------------------------------------------------- */

static void add_name(struct ow_buf *to, const struct table *table)
{
    ow_buf_add_char(to, '[');
    ow_json_write_string(to, ow_buf_bytes(&table->schema));
    ow_buf_add_char(to, ',');
    ow_json_write_string(to, ow_buf_bytes(&table->name));
    ow_buf_add_char(to, ']');
}

static void add_value(struct ow_buf *to, struct ow_pg_value value)
{
    if (value.kind == OW_PG_TEXT)
        ow_json_write_string(to, value.bytes);
    else
        ow_buf_add_text(to, value.kind == OW_PG_UNCHANGED ? "true" : "null");
}

static void add_row(struct ow_buf *to, const struct table *table, struct ow_pg_tuple row)
{
    struct ow_pg_relation rest = {.column_count = table->column_count, .raw = ow_buf_bytes(&table->raw)};
    ow_buf_add_char(to, '[');
    for (bool is_first = true; row.count > 0 && rest.column_count > 0; is_first = false) {
        struct ow_pg_column column = ow_pg_next_column(&rest);
        ow_buf_add_text(to, is_first ? "[" : ",[");
        ow_json_write_string(to, column.name);
        ow_buf_printf(to, ",%" PRIu32 ",", column.type);
        add_value(to, ow_pg_next_value(&row));
        ow_buf_add_char(to, ']');
    }
    if (row.count != rest.column_count)
        ow_buf_add_text(to, ",\"a row of another width than its table\"");
    ow_buf_add_char(to, ']');
}

static void add_change(struct ow_buf *to, struct reader *r, const struct ow_pgoutput *m)
{
    const struct table *table = find(r, m->row.relation);
    if (!table) {
        ow_buf_add_text(to, "[\"a row of a table that was not described\"]");
        return;
    }
    ow_buf_printf(to, "[\"%c\",[", (char)m->kind);
    add_name(to, table);
    ow_buf_add_text(to, "],");
    if (m->row.old_kind)
        add_row(to, table, m->row.old_row);
    else
        ow_buf_add_text(to, "null");
    ow_buf_add_char(to, ',');
    if (m->row.has_new)
        add_row(to, table, m->row.new_row);
    else
        ow_buf_add_text(to, "null");
    ow_buf_add_char(to, ']');
}

static void add_truncate(struct ow_buf *to, struct reader *r, const struct ow_pgoutput *m)
{
    ow_buf_add_text(to, "[\"T\",[");
    for (uint32_t i = 0; i < m->truncate.count; i++) {
        const struct table *table = find(r, ow_pg_truncated(m, i));
        if (i > 0)
            ow_buf_add_char(to, ',');
        if (table)
            add_name(to, table);
        else
            ow_buf_add_text(to, "null");
    }
    ow_buf_printf(to, "],%s,%s]", m->truncate.restarts_identity ? "true" : "false",
                  m->truncate.is_cascade ? "true" : "false");
}

static void add_message(struct ow_buf *to, const struct ow_pgoutput *m)
{
    ow_buf_printf(to, "[\"M\",%s,", m->message.is_transactional ? "true" : "false");
    ow_json_write_string(to, m->message.prefix);
    ow_buf_add_char(to, ',');
    ow_json_write_string(to, m->message.content);
    ow_buf_add_char(to, ']');
}

/* --- transactions ------------------------------------------------------------------------------------- */

static void keep(struct reader *r, uint32_t subxid, const char *line)
{
    r->changes = grown(r->changes, r->change_count, sizeof *r->changes);
    r->changes[r->change_count++] = (struct change){r->xid, subxid, strdup(line)};
}

/* Of a transaction, or with `subxid` of a part of it: printed, or dropped. */
static void settle(struct reader *r, uint32_t xid, uint32_t subxid, bool is_committed)
{
    size_t left = 0;
    for (size_t i = 0; i < r->change_count; i++) {
        struct change *c = &r->changes[i];
        if (c->xid != xid || (subxid && c->subxid != subxid)) {
            r->changes[left++] = *c;
            continue;
        }
        if (is_committed)
            (void)puts(c->line);
        free(c->line);
    }
    r->change_count = left;
}

static void take_change(struct reader *r, const struct ow_pgoutput *m)
{
    struct ow_buf line = {0};
    if (m->kind == OW_PGOUTPUT_TRUNCATE)
        add_truncate(&line, r, m);
    else if (m->kind == OW_PGOUTPUT_MESSAGE)
        add_message(&line, m);
    else
        add_change(&line, r, m);
    if (r->xid)
        keep(r, m->xid, line.data);
    else
        (void)puts(line.data);
    ow_buf_done(&line);
}

static int take(struct reader *r, struct ow_bytes data, struct ow_error *err)
{
    struct ow_pgoutput m;
    int code = ow_pgoutput_read(data, r->xid != 0, &m, err);
    if (code < 0)
        return code;
    switch (m.kind) {
    case OW_PGOUTPUT_BEGIN:
    case OW_PGOUTPUT_COMMIT:
        r->is_inside = m.kind == OW_PGOUTPUT_BEGIN;
        break;
    case OW_PGOUTPUT_STREAM_START:
        r->xid = m.xid;
        if (m.stream.is_first)
            (void)fprintf(stderr, "streamed\n");
        break;
    case OW_PGOUTPUT_STREAM_STOP:
        r->xid = 0;
        break;
    case OW_PGOUTPUT_STREAM_COMMIT:
        settle(r, m.xid, 0, true);
        break;
    case OW_PGOUTPUT_STREAM_ABORT:
        settle(r, m.xid, m.abort.subxid == m.xid ? 0 : m.abort.subxid, false);
        break;
    case OW_PGOUTPUT_RELATION:
        describe(r, &m.relation);
        break;
    case OW_PGOUTPUT_ORIGIN:
    case OW_PGOUTPUT_TYPE:
        break;
    case OW_PGOUTPUT_INSERT:
    case OW_PGOUTPUT_UPDATE:
    case OW_PGOUTPUT_DELETE:
    case OW_PGOUTPUT_TRUNCATE:
    case OW_PGOUTPUT_MESSAGE:
        take_change(r, &m);
        break;
    }
    return 0;
}

static int run(struct reader *r, uint64_t until, struct ow_error *err)
{
    struct ow_pg_frame frame;
    int code;
    while (r->is_inside || r->stream.received < until) {
        struct ow_wait wait;
        while ((code = ow_pg_replication_next(&r->stream, &frame, err)) == 1)
            if (frame.kind == OW_PG_DATA && (code = take(r, frame.data, err)) < 0)
                return code;
        if (code == 0)
            code = ow_pg_replication_status(&r->stream, true, true, err);
        if (code < 0)
            return code;
        ow_wait_init(&wait);
        ow_pg_replication_wait(&r->stream, &wait);
        ow_wait_until(&wait, ow_clock_monotonic_ms() + 20);
        ow_wait_sleep(&wait);
    }
    r->stream.flushed = r->stream.received; /* the next one begins here */
    return 0;
}

static void done(struct reader *r)
{
    ow_pg_replication_close(&r->stream);
    for (size_t i = 0; i < r->table_count; i++) {
        ow_buf_done(&r->tables[i].raw);
        ow_buf_done(&r->tables[i].schema);
        ow_buf_done(&r->tables[i].name);
    }
    for (size_t i = 0; i < r->change_count; i++)
        free(r->changes[i].line);
    free(r->tables);
    free(r->changes);
}

int main(int argc, char **argv)
{
    struct reader r = {0};
    struct ow_error err = {0};
    uint64_t until = 0;
    bool has_messages = argc == 6 && strcmp(argv[5], "messages") == 0;
    if (argc != 5 && !has_messages) {
        (void)fprintf(stderr, "usage: pgoutput_reader URL SLOT PUBLICATION LSN [messages]\n");
        return 2;
    }
    int code = ow_pg_lsn_parse(ow_bytes_of(argv[4]), &until, &err);
    if (code == 0)
        code = ow_pg_replication_open(&r.stream, argv[1], "the server", &err);
    if (code == 0)
        code = ow_pg_replication_start(&r.stream, argv[2], argv[3], has_messages, &err);
    if (code == 0)
        code = run(&r, until, &err);
    if (code < 0)
        (void)fprintf(stderr, "%s\n", err.text);
    done(&r);
    return code < 0;
}
