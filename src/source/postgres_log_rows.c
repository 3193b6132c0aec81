/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_rows.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "codec/base64.h"
#include "codec/json.h"

enum { OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23 };

static const char *const role_names[OW_PG_ROLE_COUNT] = {
    [OW_PG_ID] = "id",
    [OW_PG_AGGREGATE_TYPE] = "aggregatetype",
    [OW_PG_AGGREGATE_ID] = "aggregateid",
    [OW_PG_TYPE] = "type",
    [OW_PG_PAYLOAD] = "payload",
    [OW_PG_PAYLOAD_BYTES] = "payload_bytes",
    [OW_PG_HEADERS] = "headers",
    [OW_PG_TIME] = "time",
    [OW_PG_SEQ] = "seq",
};

static bool is_there(const struct ow_pg_rows *rows, const char *schema, const char *table)
{
    for (size_t i = 0; i < rows->outbox_count; i++)
        if (strcmp(rows->outboxes[i].schema, schema) == 0 && strcmp(rows->outboxes[i].table, table) == 0)
            return true;
    return false;
}

static int add_outbox(struct ow_pg_rows *rows, struct ow_bytes name, struct ow_error *err)
{
    const char *dot = name.size > 0 ? memchr(name.data, '.', name.size) : NULL;
    size_t before = dot ? (size_t)(dot - name.data) : 0, behind = dot ? name.size - before - 1 : name.size;
    if (behind == 0 || (dot && before == 0) || (dot && memchr(dot + 1, '.', behind)))
        return ow_error_set(err, OW_EUSAGE, "\"%.*s\" is no table; write it as schema.table", OW_PRINT(name));
    if (rows->outbox_count == OW_PG_OUTBOXES_MAX)
        return ow_error_set(err, OW_EINVALID, "more than %d tables; use several relays, each with its own slot",
                            OW_PG_OUTBOXES_MAX);
    struct ow_pg_outbox_table *outbox = &rows->outboxes[rows->outbox_count];
    *outbox = (struct ow_pg_outbox_table){
        .schema = dot ? ow_bytes_text((struct ow_bytes){name.data, before}) : strdup("public"),
        .table = ow_bytes_text((struct ow_bytes){name.data + name.size - behind, behind}),
    };
    int r = !outbox->schema || !outbox->table ? ow_error_set(err, OW_ENOMEM, "out of memory")
            : is_there(rows, outbox->schema, outbox->table)
                ? ow_error_set(err, OW_EINVALID, "table %s.%s is named twice", outbox->schema, outbox->table)
                : 0;
    rows->outbox_count++;
    return r;
}

static int add_outboxes(struct ow_pg_rows *rows, const char *tables, struct ow_error *err)
{
    int r = 0;
    for (const char *at = tables; r == 0 && at; at = strchr(at, ',')) {
        at += *at == ',';
        at += strspn(at, " ");
        size_t size = strcspn(at, ",");
        while (size > 0 && at[size - 1] == ' ')
            size--;
        r = add_outbox(rows, (struct ow_bytes){at, size}, err);
    }
    return r;
}

int ow_pg_rows_init(struct ow_pg_rows *rows, const char *tables, struct ow_error *err)
{
    *rows = (struct ow_pg_rows){.outboxes = calloc(OW_PG_OUTBOXES_MAX, sizeof *rows->outboxes)};
    int r = rows->outboxes ? add_outboxes(rows, tables, err) : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r < 0)
        ow_pg_rows_done(rows);
    return r;
}

int ow_pg_rows_add_changes(struct ow_pg_rows *rows, const char *tables, struct ow_error *err)
{
    size_t before = rows->outbox_count;
    int r = add_outboxes(rows, tables, err);
    for (size_t i = before; i < rows->outbox_count; i++)
        rows->outboxes[i].has_changes = true;
    return r;
}

bool ow_pg_rows_has_changes(const struct ow_pg_rows *rows)
{
    return rows->outbox_count > 0 && rows->outboxes[rows->outbox_count - 1].has_changes; /* they are the last */
}

void ow_pg_rows_forget(struct ow_pg_rows *rows)
{
    rows->count = 0;
}

void ow_pg_rows_done(struct ow_pg_rows *rows)
{
    for (size_t i = 0; i < rows->outbox_count; i++) {
        free(rows->outboxes[i].schema);
        free(rows->outboxes[i].table);
    }
    free(rows->outboxes);
    free(rows->layouts);
    ow_buf_done(&rows->scratch);
    ow_buf_done(&rows->bytes);
    *rows = (struct ow_pg_rows){0};
}

/* --- layouts ------------------------------------------------------------------------------------------ */

const char *ow_pg_role_name(enum ow_pg_role role)
{
    return role_names[role];
}

void ow_pg_layout_init(struct ow_pg_layout *layout)
{
    *layout = (struct ow_pg_layout){.outbox = -1};
    for (int role = 0; role < OW_PG_ROLE_COUNT; role++)
        layout->column[role] = -1;
}

void ow_pg_layout_add(struct ow_pg_layout *layout, struct ow_bytes name, uint32_t type)
{
    for (int role = 0; role < OW_PG_ROLE_COUNT; role++)
        if (ow_bytes_is(name, role_names[role])) {
            layout->column[role] = (int)layout->column_count;
            layout->type[role] = type;
        }
    layout->column_count++;
}

const char *ow_pg_layout_missing(const struct ow_pg_layout *layout)
{
    for (int role = 0; role <= OW_PG_PAYLOAD; role++)
        if (layout->column[role] < 0 && !(role == OW_PG_PAYLOAD && layout->column[OW_PG_PAYLOAD_BYTES] >= 0))
            return role_names[role];
    return NULL;
}

const struct ow_pg_layout *ow_pg_rows_layout(const struct ow_pg_rows *rows, uint32_t relation)
{
    for (size_t i = 0; i < rows->count; i++)
        if (rows->layouts[i].relation == relation)
            return &rows->layouts[i];
    return NULL;
}

static struct ow_pg_layout *layout_for(struct ow_pg_rows *rows, uint32_t relation, struct ow_error *err)
{
    for (size_t i = 0; i < rows->count; i++)
        if (rows->layouts[i].relation == relation)
            return &rows->layouts[i];
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity ? 2 * rows->capacity : 4;
        struct ow_pg_layout *more = reallocarray(rows->layouts, capacity, sizeof *more);
        if (!more) {
            ow_error_set(err, OW_ENOMEM, "out of memory");
            return NULL;
        }
        rows->layouts = more;
        rows->capacity = capacity;
    }
    return &rows->layouts[rows->count++];
}

int ow_pg_rows_describe(struct ow_pg_rows *rows, const struct ow_pg_relation *relation, struct ow_error *err)
{
    if (relation->column_count > OW_PG_COLUMNS_MAX)
        return ow_error_set(err, OW_ECORRUPT, "table %.*s has %u columns, more than a table can have",
                            OW_PRINT(relation->name), relation->column_count);
    struct ow_pg_layout *layout = layout_for(rows, relation->id, err);
    if (!layout)
        return err->code;
    ow_pg_layout_init(layout);
    layout->relation = relation->id;
    for (size_t i = 0; i < rows->outbox_count; i++)
        if (ow_bytes_is(relation->schema, rows->outboxes[i].schema) &&
            ow_bytes_is(relation->name, rows->outboxes[i].table))
            layout->outbox = (int)i;
    struct ow_pg_relation rest = *relation;
    while (rest.column_count > 0) {
        struct ow_pg_column column = ow_pg_next_column(&rest);
        ow_pg_layout_add(layout, column.name, column.type);
    }
    return 0;
}

/* --- rows --------------------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
set_defect(struct ow_pg_rows *rows, struct ow_message *m, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    m->header_count = 0;
    ow_buf_clear(&rows->scratch);
    ow_buf_add_text(&rows->scratch, text);
    m->defect = ow_buf_bytes(&rows->scratch);
}

static void read_headers(struct ow_pg_rows *rows, struct ow_bytes text, struct ow_message *m)
{
    m->header_count = 0;
    ow_buf_clear(&rows->scratch);
    if (!text.data)
        return;
    if (!ow_buf_reserve(&rows->scratch, text.size))
        return set_defect(rows, m, "headers: out of memory");
    struct ow_error err;
    if (ow_json_read_headers(text, rows->headers, OW_PG_HEADERS_MAX, &m->header_count, &rows->scratch, &err) < 0) {
        set_defect(rows, m, "headers: %s", err.text);
        rows->headers[0] = (struct ow_header){OW_BYTES("headers"), text}; /* nothing of it may be lost */
        m->header_count = 1;
    }
}

static struct ow_bytes value_of(const struct ow_pg_layout *layout, const struct ow_bytes *values, enum ow_pg_role role)
{
    return layout->column[role] < 0 ? OW_NULL_BYTES : values[layout->column[role]];
}

static bool is_number(uint32_t type)
{
    return type == OID_INT8 || type == OID_INT4 || type == OID_INT2;
}

enum { SECOND_SIZE = 20 };

/* Milliseconds behind the point; *ret_zone is what follows the digits. */
static int64_t read_fraction(struct ow_bytes text, struct ow_bytes *ret_zone)
{
    size_t i = SECOND_SIZE;
    int64_t ms = 0;
    for (int scale = 100; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++, scale /= 10)
        ms += (text.data[i] - '0') * scale;
    *ret_zone = (struct ow_bytes){text.data + i, i == SECOND_SIZE ? 0 : text.size - i};
    return ms;
}

static bool is_time_like_last(const struct ow_pg_rows *rows, struct ow_bytes text, int64_t *ret_ms)
{
    struct ow_bytes zone;
    if (text.size <= SECOND_SIZE || memcmp(text.data, rows->second, SECOND_SIZE) != 0)
        return false;
    int64_t ms = read_fraction(text, &zone);
    if (zone.size == 0 || !ow_bytes_is(zone, rows->zone))
        return false;
    *ret_ms = rows->second_ms + ms;
    return true;
}

static void keep_second(struct ow_pg_rows *rows, struct ow_bytes text, int64_t time_ms)
{
    struct ow_bytes zone;
    if (text.size <= SECOND_SIZE || text.data[SECOND_SIZE - 1] != '.')
        return;
    int64_t ms = read_fraction(text, &zone);
    if (zone.size == 0 || zone.size >= sizeof rows->zone)
        return;
    memcpy(rows->second, text.data, SECOND_SIZE);
    memcpy(rows->zone, zone.data, zone.size);
    rows->zone[zone.size] = '\0';
    rows->second_ms = time_ms - ms;
}

static void read_time(struct ow_pg_rows *rows, struct ow_bytes text, uint32_t type, struct ow_message *m)
{
    if (!text.data || (!is_number(type) && is_time_like_last(rows, text, &m->time_ms)))
        return;
    struct ow_error err;
    int r = is_number(type) ? ow_integer_parse(text, 0, INT64_MAX, &m->time_ms, &err)
                            : ow_pg_time_parse(text, &m->time_ms, &err);
    if (r < 0)
        set_defect(rows, m, "time: %s", err.text);
    else if (!is_number(type))
        keep_second(rows, text, m->time_ms);
}

/* bytea comes in hexadecimal digits; everything else is passed on as the text that it is. */
static void read_payload(struct ow_pg_rows *rows, struct ow_bytes text, uint32_t type, struct ow_message *m)
{
    m->payload = text;
    if (!text.data || type != OID_BYTEA)
        return;
    struct ow_error err;
    ow_buf_clear(&rows->bytes);
    if (ow_pg_bytea_decode(&rows->bytes, text, &err) < 0)
        set_defect(rows, m, "payload: %s", err.text);
    else
        m->payload = ow_buf_bytes(&rows->bytes);
}

void ow_pg_rows_message(struct ow_pg_rows *rows, const struct ow_pg_layout *layout, const struct ow_bytes *values,
                        int64_t time_ms, struct ow_message *ret)
{
    const char *missing = ow_pg_layout_missing(layout);
    *ret = (struct ow_message){
        .id = value_of(layout, values, OW_PG_ID),
        .aggregate_type = value_of(layout, values, OW_PG_AGGREGATE_TYPE),
        .aggregate_id = value_of(layout, values, OW_PG_AGGREGATE_ID),
        .type = value_of(layout, values, OW_PG_TYPE),
        .headers = rows->headers,
        .time_ms = time_ms,
    };
    read_headers(rows, value_of(layout, values, OW_PG_HEADERS), ret);
    read_time(rows, value_of(layout, values, OW_PG_TIME), layout->type[OW_PG_TIME], ret);
    enum ow_pg_role payload = value_of(layout, values, OW_PG_PAYLOAD).data ? OW_PG_PAYLOAD : OW_PG_PAYLOAD_BYTES;
    read_payload(rows, value_of(layout, values, payload), layout->type[payload], ret);
    const struct ow_pg_outbox_table *outbox = &rows->outboxes[layout->outbox < 0 ? 0 : layout->outbox];
    if (missing)
        set_defect(rows, ret, "table %s.%s had no column %s when this row was written", outbox->schema, outbox->table,
                   missing);
}

int64_t ow_pg_rows_seq(const struct ow_pg_layout *layout, const struct ow_bytes *values)
{
    int64_t seq = 0;
    struct ow_bytes text = value_of(layout, values, OW_PG_SEQ);
    return text.data && ow_integer_parse(text, 1, INT64_MAX, &seq, NULL) == 0 ? seq : 0;
}

/* --- logical messages --------------------------------------------------------------------------------- */

/* One field of the object. Scratch was made large enough for all of them: what was found stays where it is. */
static int read_field(struct ow_pg_rows *rows, struct ow_json *json, struct ow_message *m, struct ow_bytes *headers,
                      bool *is_base64, struct ow_error *err)
{
    struct ow_bytes name, text = OW_NULL_BYTES;
    int r = ow_json_string(json, &rows->bytes, &name, err);
    if (r == 0)
        r = ow_json_next(json, err);
    if (r < 0)
        return r;
    if (json->token == OW_JSON_STRING)
        r = ow_json_string(json, &rows->bytes, &text, err);
    else if (json->token == OW_JSON_NULL)
        r = 0;
    else
        r = ow_json_skip(json, &text, err); /* a number, or a payload that is an object: its JSON text */
    if (r < 0)
        return r;
    if (ow_bytes_is(name, "id"))
        m->id = text;
    else if (ow_bytes_is(name, "aggregatetype"))
        m->aggregate_type = text;
    else if (ow_bytes_is(name, "aggregateid"))
        m->aggregate_id = text;
    else if (ow_bytes_is(name, "type"))
        m->type = text;
    else if (ow_bytes_is(name, "headers"))
        *headers = text;
    else if (ow_bytes_is(name, "time") && text.data)
        r = ow_integer_parse(text, 0, INT64_MAX, &m->time_ms, err);
    else if (ow_bytes_is(name, "payload") || (ow_bytes_is(name, "payload_base64") && text.data)) {
        *is_base64 = name.size > strlen("payload");
        m->payload = text;
    }
    return r;
}

static int read_object(struct ow_pg_rows *rows, struct ow_bytes content, struct ow_message *m, struct ow_bytes *headers,
                       bool *is_base64, struct ow_error *err)
{
    struct ow_json json;
    ow_buf_clear(&rows->bytes);
    /* For all that is unescaped and then decoded from base64: what was found must not move. */
    if (!ow_buf_reserve(&rows->bytes, 2 * content.size + 1))
        return ow_error_set(err, OW_ENOMEM, "out of memory for a message of %zu bytes", content.size);
    ow_json_init(&json, content);
    int r = ow_json_next(&json, err);
    if (r >= 0 && r != OW_JSON_OBJECT_BEGIN)
        return ow_error_set(err, OW_EINVALID, "not a JSON object");
    while (r >= 0 && (r = ow_json_next(&json, err)) == OW_JSON_KEY)
        r = read_field(rows, &json, m, headers, is_base64, err);
    if (r == OW_JSON_OBJECT_END)
        r = ow_json_next(&json, err); /* nothing may follow */
    return r < 0 ? r : 0;
}

static const char *lacking(const struct ow_message *m)
{
    return !m->id.data               ? "id"
           : !m->aggregate_type.data ? "aggregatetype"
           : !m->aggregate_id.data   ? "aggregateid"
           : !m->type.data           ? "type"
                                     : NULL;
}

void ow_pg_rows_logical(struct ow_pg_rows *rows, struct ow_bytes content, int64_t time_ms, struct ow_message *ret)
{
    struct ow_error err = {0};
    struct ow_bytes headers = OW_NULL_BYTES;
    bool is_base64 = false;
    *ret = (struct ow_message){.headers = rows->headers, .time_ms = time_ms};
    int r = read_object(rows, content, ret, &headers, &is_base64, &err);
    if (r == 0)
        read_headers(rows, headers, ret);
    if (r == 0 && is_base64) {
        struct ow_bytes text = ret->payload;
        size_t start = rows->bytes.size; /* behind what was unescaped: that stays */
        r = ow_base64_decode(&rows->bytes, text, &err);
        if (r == 0)
            ret->payload = (struct ow_bytes){rows->bytes.data + start, rows->bytes.size - start};
    }
    if (r < 0) { /* nothing of it may be lost */
        *ret = (struct ow_message){.headers = rows->headers, .time_ms = time_ms, .payload = content};
        set_defect(rows, ret, "a logical message that is none of ours: %s", err.text);
    } else if (lacking(ret)) {
        set_defect(rows, ret, "a logical message without %s", lacking(ret));
    }
}
