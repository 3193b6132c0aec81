/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium.h"

#include <stdlib.h>

#include "codec/debezium_convert.h"
#include "codec/debezium_event.h"
#include "codec/debezium_message.h"
#include "codec/debezium_plan.h"
#include "codec/debezium_regex.h"

struct ow_debezium {
    struct ow_debezium_options options;
    struct ow_java_regex *regex;
    struct ow_java_regex *includes, *excludes; /* of prefixes of messages; NULL: none */
    struct ow_dbz_plans plans;
    struct ow_dbz_names names;
    struct ow_dbz_arena arena; /* of one record */
    struct ow_buf topic;
    struct ow_header *headers; /* room for the id and all placements */
};

/* A row on its way through. */
struct passage {
    struct ow_debezium *router;
    const struct ow_row *row;
    const struct ow_dbz_plan *plan;
    struct ow_debezium_record *record;
    const struct ow_dbz_schema *payload_schema;
    struct ow_dbz_value payload;
    bool is_tombstone;
};

/* What a list of expressions makes of a prefix that one of them matches; no prefix is that. */
#define MATCHED "\x01"

/* A list of expressions with commas as one; NULL stays NULL. */
static int new_filter(const char *list, const char *name, struct ow_java_regex **ret, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf pattern = {0};
    if (!list)
        return 0;
    for (const char *at = list; *at;) {
        at += strspn(at, ", ");
        size_t size = strcspn(at, ",");
        if (size > 0)
            ow_buf_printf(&pattern, "%s(?:%.*s)", pattern.size > 0 ? "|" : "(?i)", (int)size, at);
        at += size;
    }
    int r = ow_buf_check(&pattern, err);
    if (r == 0 && pattern.size > 0)
        r = ow_java_regex_new(ow_buf_bytes(&pattern), OW_BYTES(MATCHED), ret, err);
    return r < 0 ? ow_error_prefix(err, "%s", name) : 0;
}

/* 1: it does; 0: it does not; < 0. */
static int matches(struct ow_java_regex *filter, struct ow_bytes prefix, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf to = {0};
    int r = ow_java_regex_route(filter, prefix, &to, err);
    return r < 0 ? r : ow_bytes_is(ow_buf_bytes(&to), MATCHED);
}

int ow_debezium_new(struct ow_debezium_options *options, struct ow_debezium **ret, struct ow_error *err)
{
    struct ow_debezium *router = calloc(1, sizeof(*router));
    if (!router) {
        ow_debezium_options_done(options);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    router->options = *options;
    *options = (struct ow_debezium_options){0};
    int r = ow_debezium_options_check(&router->options, err);
    if (r == 0)
        r = ow_java_regex_new(ow_bytes_of(router->options.topic_regex), ow_bytes_of(router->options.topic_replacement),
                              &router->regex, err);
    if (r == 0)
        r = new_filter(router->options.message_includes, "message.prefix.include.list", &router->includes, err);
    if (r == 0)
        r = new_filter(router->options.message_excludes, "message.prefix.exclude.list", &router->excludes, err);
    if (r == 0) {
        router->headers = calloc(router->options.placement_count + 1, sizeof(*router->headers));
        r = router->headers ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    if (r != 0) {
        ow_debezium_free(router);
        return r;
    }
    *ret = router;
    return 0;
}

void ow_debezium_free(struct ow_debezium *router)
{
    if (!router)
        return;
    ow_dbz_plans_done(&router->plans);
    ow_dbz_names_done(&router->names);
    ow_dbz_arena_done(&router->arena);
    ow_buf_done(&router->topic);
    ow_java_regex_free(router->regex);
    ow_java_regex_free(router->includes);
    ow_java_regex_free(router->excludes);
    ow_debezium_options_done(&router->options);
    free(router->headers);
    free(router);
}

const struct ow_debezium_options *ow_debezium_options_of(const struct ow_debezium *router)
{
    return &router->options;
}

/* The value of a column, as it is written: its default in the place of a NULL. */
static int column_value(const struct passage *at, size_t index, struct ow_dbz_value *ret, struct ow_error *err)
{
    const struct ow_dbz_column *column = &at->plan->columns[index];
    int r = ow_dbz_column_value_of(column, &at->router->arena, at->row->op, at->row->values[index], ret, err);
    if (r == OW_EINVALID)
        return ow_error_prefix(err, "column %.*s", OW_PRINT(at->row->table->columns[index].name));
    if (r == 0 && ret->is_null && column->schema->fallback)
        *ret = *column->schema->fallback;
    return r;
}

static int missing(const char *what, const char *column, struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "the table has no column \"%s\" (%s)", column, what);
}

/* --- the topic ----------------------------------------------------------------------------------------------- */

/* Kafka's rule for names. */
static int check_topic(struct ow_bytes topic, struct ow_error *err)
{
    bool is_good = topic.size > 0 && topic.size <= 249 && !ow_bytes_is(topic, ".") && !ow_bytes_is(topic, "..");
    for (size_t i = 0; i < topic.size && is_good; i++) {
        char c = topic.data[i];
        is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
    }
    if (is_good)
        return 0;
    return ow_error_set(err, OW_EINVALID,
                        "\"%.*s\" cannot be the name of a topic: 1 to 249 of the letters a-z A-Z 0-9 . _ -",
                        OW_PRINT(topic));
}

static int find_topic(struct passage *at, struct ow_bytes *ret_routed, struct ow_error *err)
{
    struct ow_debezium *router = at->router;
    size_t index = at->plan->route;
    const char *name = router->options.route_by;
    if (index == OW_DBZ_NO_COLUMN)
        return missing("route.by.field", name, err);
    if (at->plan->columns[index].schema->type != OW_DBZ_STRING)
        return ow_error_set(err, OW_EINVALID, "column %s is no text, and route.by.field needs one", name);
    struct ow_dbz_value value;
    int r = ow_dbz_column_value_of(&at->plan->columns[index], &router->arena, at->row->op, at->row->values[index],
                                   &value, err);
    if (r != 0)
        return r;
    if (value.is_null)
        return ow_error_set(err, OW_EINVALID, "column %s is NULL, and route.by.field needs a value", name);
    *ret_routed = value.as.bytes;
    ow_buf_clear(&router->topic);
    r = ow_java_regex_route(router->regex, value.as.bytes, &router->topic, err);
    if (r != 0)
        return r;
    at->record->topic = ow_buf_bytes(&router->topic);
    return check_topic(at->record->topic, err);
}

/* --- the payload --------------------------------------------------------------------------------------------- */

static int expand_payload(struct passage *at, struct ow_error *err)
{
    const struct ow_debezium_options *options = &at->router->options;
    if (at->payload.is_null || !at->payload_schema || at->payload_schema->type != OW_DBZ_STRING) {
        if (!at->payload.is_null)
            at->record->reason = OW_BYTES("the payload was not expanded: it is no text");
        return 0;
    }
    struct ow_dbz_expansion expansion = {options->null_is_bytes, options->empty_array_is_strings,
                                         (enum ow_dbz_naming)options->naming};
    const char *why = NULL;
    int r = ow_dbz_expand(&at->router->arena, &expansion, ow_bytes_of(options->payload), at->payload.as.bytes,
                          &at->payload_schema, &at->payload, &why, err);
    if (r == 0)
        at->record->reason = ow_dbz_printf(&at->router->arena, "the payload was not expanded: %s", why);
    return r < 0 ? r : 0;
}

/* Java's trim(): all up to U+0020. */
static bool is_blank(struct ow_bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] > ' ')
            return false;
    return true;
}

static int find_payload(struct passage *at, struct ow_error *err)
{
    const struct ow_debezium_options *options = &at->router->options;
    if (at->plan->payload == OW_DBZ_NO_COLUMN)
        return missing("table.field.event.payload", options->payload, err);
    at->payload_schema = at->plan->columns[at->plan->payload].schema;
    int r = column_value(at, at->plan->payload, &at->payload, err);
    if (r != 0)
        return r;
    bool is_text = at->payload_schema->type == OW_DBZ_STRING;
    at->is_tombstone = options->has_tombstones && (at->payload.is_null || (is_text && is_blank(at->payload.as.bytes)));
    return options->expands_json ? expand_payload(at, err) : 0;
}

/* --- id, key, headers, time ---------------------------------------------------------------------------------- */

static int convert_column(struct passage *at, const struct ow_dbz_converter *converter, size_t index, bool is_header,
                          struct ow_bytes *ret, struct ow_error *err)
{
    struct ow_dbz_value value;
    int r = column_value(at, index, &value, err);
    if (r != 0)
        return r;
    r = ow_dbz_convert(converter, &at->router->arena, at->plan->columns[index].schema, &value, is_header, ret, err);
    return r == OW_EINVALID ? ow_error_prefix(err, "column %.*s", OW_PRINT(at->row->table->columns[index].name)) : r;
}

static int add_header(struct passage *at, struct ow_bytes name, size_t index, struct ow_error *err)
{
    struct ow_header *header = &at->router->headers[at->record->header_count];
    int r = convert_column(at, &at->router->options.header, index, true, &header->value, err);
    if (r != 0)
        return ow_error_prefix(err, "header %.*s", OW_PRINT(name));
    header->name = name;
    at->record->header_count++;
    return 0;
}

static int find_partition(struct passage *at, size_t index, struct ow_error *err)
{
    if (at->plan->columns[index].schema->type != OW_DBZ_INT32)
        return ow_error_set(err, OW_EINVALID, "column %.*s is no integer of 32 bits, and a partition is one",
                            OW_PRINT(at->row->table->columns[index].name));
    struct ow_dbz_value value;
    int r = column_value(at, index, &value, err);
    if (r == 0 && !value.is_null)
        at->record->partition = (int32_t)value.as.integer;
    return r;
}

/* All but those in the envelope. */
static int place_columns(struct passage *at, struct ow_error *err)
{
    const struct ow_debezium_options *options = &at->router->options;
    for (size_t i = 0; i < options->placement_count; i++) {
        const struct ow_dbz_placement *placement = &options->placements[i];
        size_t index = at->plan->placed[i];
        int r = 0;
        if (index == OW_DBZ_NO_COLUMN && !options->is_missing_ignored)
            r = ow_error_set(err, OW_EINVALID, "the table has no column \"%.*s\" (table.fields.additional.placement)",
                             OW_PRINT(placement->column));
        else if (index == OW_DBZ_NO_COLUMN || placement->kind == OW_DBZ_PLACED_IN_ENVELOPE)
            continue;
        else if (placement->kind == OW_DBZ_PLACED_IN_HEADER)
            r = add_header(at, placement->alias, index, err);
        else
            r = find_partition(at, index, err);
        if (r != 0)
            return r;
    }
    return 0;
}

static int find_time(struct passage *at, struct ow_error *err)
{
    const char *name = at->router->options.timestamp;
    if (!name || !name[0])
        return 0;
    size_t index = at->plan->timestamp;
    if (index == OW_DBZ_NO_COLUMN)
        return missing("table.field.event.timestamp", name, err);
    const struct ow_dbz_schema *schema = at->plan->columns[index].schema;
    bool is_ms = ow_bytes_is(schema->name, "io.debezium.time.Timestamp");
    if (!is_ms && !ow_bytes_is(schema->name, "io.debezium.time.MicroTimestamp"))
        return ow_error_set(err, OW_EINVALID,
                            "column %s is no timestamp without time zone, or time.precision.mode is connect", name);
    struct ow_dbz_value value;
    int r = ow_dbz_column_value(&at->plan->columns[index], &at->router->arena, at->row->values[index], &value, err);
    if (r != 0 || value.is_null || at->router->options.is_time_of_writing)
        return r;
    at->record->has_time = true;
    at->record->time_ms = is_ms ? value.as.integer : value.as.integer / 1000;
    return 0;
}

static int find_key(struct passage *at, struct ow_error *err)
{
    if (at->plan->key == OW_DBZ_NO_COLUMN)
        return missing("table.field.event.key", at->router->options.event_key, err);
    int r = convert_column(at, &at->router->options.key, at->plan->key, false, &at->record->key, err);
    return r == OW_EINVALID ? ow_error_prefix(err, "key") : r;
}

static int find_id(struct passage *at, struct ow_error *err)
{
    if (at->plan->id == OW_DBZ_NO_COLUMN)
        return missing("table.field.event.id", at->router->options.event_id, err);
    at->record->id = at->row->values[at->plan->id];
    return add_header(at, OW_BYTES("id"), at->plan->id, err);
}

/* --- the value ----------------------------------------------------------------------------------------------- */

static int find_version(struct passage *at, struct ow_dbz_schema *schema, struct ow_error *err)
{
    const char *name = at->router->options.schema_version;
    if (!name || !name[0])
        return 0;
    size_t index = at->plan->version;
    if (index == OW_DBZ_NO_COLUMN)
        return missing("table.field.event.schema.version", name, err);
    if (at->plan->columns[index].schema->type != OW_DBZ_INT32)
        return ow_error_set(err, OW_EINVALID, "column %s is no integer of 32 bits, and a version is one", name);
    struct ow_dbz_value value;
    int r = ow_dbz_column_value(&at->plan->columns[index], &at->router->arena, at->row->values[index], &value, err);
    if (r != 0 || value.is_null)
        return r;
    schema->has_version = true;
    schema->version = (int32_t)value.as.integer;
    return 0;
}

static bool shows_schemas(const struct ow_dbz_converter *converter)
{
    return (converter->kind == OW_DBZ_CONVERTER_JSON && converter->has_schemas) ||
           (converter->kind == OW_DBZ_CONVERTER_BINARY && converter->delegate == OW_DBZ_CONVERTER_JSON &&
            converter->delegate_has_schemas);
}

/* {"payload":…,"alias":…} */
static int build_envelope(struct passage *at, struct ow_bytes routed, const struct ow_dbz_schema **ret_schema,
                          struct ow_dbz_value *ret, struct ow_error *err)
{
    static const struct ow_dbz_schema text = {.type = OW_DBZ_STRING, .is_optional = true};
    const struct ow_debezium_options *options = &at->router->options;
    struct ow_dbz_arena *arena = &at->router->arena;
    struct ow_dbz_schema *schema = ow_dbz_schema_new(arena, OW_DBZ_STRUCT, false);
    struct ow_dbz_value *items = ow_dbz_alloc_array(arena, options->placement_count + 1, sizeof(*items));
    schema->fields = ow_dbz_alloc_array(arena, options->placement_count + 1, sizeof(*schema->fields));
    int r = ow_dbz_arena_check(arena, err);
    if (r != 0)
        return r;
    schema->fields[0] = (struct ow_dbz_field){OW_BYTES("payload"), at->payload_schema ? at->payload_schema : &text};
    items[0] = at->payload;
    schema->field_count = 1;
    for (size_t i = 0; i < options->placement_count && r == 0; i++) {
        size_t index = at->plan->placed[i];
        if (options->placements[i].kind != OW_DBZ_PLACED_IN_ENVELOPE || index == OW_DBZ_NO_COLUMN)
            continue;
        schema->fields[schema->field_count] = (struct ow_dbz_field){options->placements[i].alias,
                                                                    at->plan->columns[index].schema};
        r = column_value(at, index, &items[schema->field_count++], err);
    }
    if (r == 0)
        r = find_version(at, schema, err);
    if (r == 0 && shows_schemas(&options->value))
        r = ow_dbz_names_find(&at->router->names, arena, options->topic_prefix, at->row->table, routed,
                              schema->fields[0].schema, schema, err);
    *ret_schema = schema;
    *ret = (struct ow_dbz_value){.as.list = {items, schema->field_count}};
    return r;
}

static int find_value(struct passage *at, struct ow_bytes routed, struct ow_error *err)
{
    const struct ow_dbz_schema *schema = at->payload_schema;
    struct ow_dbz_value value = at->payload;
    /* That of a tombstone is not written, but may be the one that names the schema. */
    int r = at->plan->has_envelope ? build_envelope(at, routed, &schema, &value, err) : 0;
    if (r == 0 && !at->is_tombstone)
        r = ow_dbz_convert(&at->router->options.value, &at->router->arena, schema, &value, false, &at->record->value,
                           err);
    return r == OW_EINVALID ? ow_error_prefix(err, "value") : r;
}

/* --- all of it ----------------------------------------------------------------------------------------------- */

static int make_record(struct passage *at, struct ow_error *err)
{
    struct ow_bytes routed = OW_NULL_BYTES;
    int r = find_payload(at, err);
    if (r == 0)
        r = find_time(at, err);
    if (r == 0)
        r = find_id(at, err);
    if (r == 0)
        r = place_columns(at, err);
    if (r == 0)
        r = find_topic(at, &routed, err);
    if (r == 0)
        r = find_value(at, routed, err);
    if (r == 0)
        r = find_key(at, err);
    if (at->plan->type != OW_DBZ_NO_COLUMN)
        at->record->type = at->row->values[at->plan->type];
    return r;
}

static void drop(struct ow_debezium *router, const struct ow_row *row, struct ow_debezium_record *ret)
{
    ret->outcome = OW_DEBEZIUM_DROPPED;
    if (row->op != OW_ROW_UPDATE)
        return;
    ret->reason = OW_BYTES("an UPDATE of the outbox table: rows of an outbox are inserted and deleted only");
    if (router->options.invalid_operation == OW_DBZ_INVALID_FATAL)
        ret->outcome = OW_DEBEZIUM_UNFIT;
}

/* What is wrong with the message itself is no error of ours. */
static int finish(struct ow_debezium *router, struct ow_debezium_record *ret, int r, const struct ow_error *why,
                  struct ow_error *err)
{
    if (r == OW_EINVALID) {
        ret->outcome = OW_DEBEZIUM_UNFIT;
        ret->reason = ow_dbz_copy(&router->arena, ow_bytes_of(why->text));
        return 0;
    }
    if (r != 0)
        return ow_error_set(err, r, "%s", why->text);
    return ow_dbz_arena_check(&router->arena, err);
}

int ow_debezium_route(struct ow_debezium *router, const struct ow_row *row, struct ow_debezium_record *ret,
                      struct ow_error *err)
{
    *ret = (struct ow_debezium_record){.partition = -1, .headers = router->headers};
    if (row->op != OW_ROW_INSERT && row->op != OW_ROW_SNAPSHOT) {
        drop(router, row, ret);
        return 0;
    }
    ow_dbz_arena_reset(&router->arena);
    struct passage at = {.router = router, .row = row, .record = ret};
    struct ow_error why = {0};
    int r = ow_dbz_plans_find(&router->plans, row->table, &router->options, &at.plan, &why);
    if (r == 0)
        r = make_record(&at, &why);
    return finish(router, ret, r, &why, err);
}

int ow_debezium_pass(struct ow_debezium *router, const struct ow_debezium_message *message,
                     struct ow_debezium_record *ret, struct ow_error *err)
{
    *ret = (struct ow_debezium_record){.partition = -1, .headers = router->headers};
    ow_dbz_arena_reset(&router->arena);
    struct ow_error why = {0};
    int is_in = router->includes ? matches(router->includes, message->prefix, &why) : 1;
    int is_out = is_in == 1 && router->excludes ? matches(router->excludes, message->prefix, &why) : 0;
    if (is_in == 0 || is_out == 1) {
        ret->outcome = OW_DEBEZIUM_DROPPED;
        return 0;
    }
    int r = is_in < 0    ? is_in
            : is_out < 0 ? is_out
                         : ow_dbz_message_convert(&router->options, &router->arena, message, ret, &why);
    return finish(router, ret, r, &why, err);
}

int ow_debezium_change(struct ow_debezium *router, const struct ow_row *row, int64_t now_us,
                       struct ow_debezium_record *ret, struct ow_error *err)
{
    *ret = (struct ow_debezium_record){.partition = -1, .headers = router->headers};
    bool is_left_out = row->op == OW_ROW_TRUNCATE || (row->op == OW_ROW_GONE && !router->options.marks_deletes);
    if (is_left_out) {
        ret->outcome = OW_DEBEZIUM_DROPPED;
        return 0;
    }
    ow_dbz_arena_reset(&router->arena);
    const struct ow_dbz_plan *plan;
    struct ow_error why = {0};
    int r = ow_dbz_plans_find(&router->plans, row->table, &router->options, &plan, &why);
    if (r == 0)
        r = ow_dbz_event_convert(&router->options, &router->arena, plan, row, now_us, router->headers, ret, &why);
    return finish(router, ret, r, &why, err);
}
