/* SPDX-License-Identifier: Apache-2.0 */
#include "config/debezium_shape.h"

#include <stdlib.h>

#include "base/units.h"

#include "codec/debezium.h"
#include "codec/json.h"

/* What becomes of the rows of one table. */
struct lane {
    char *table;                /* owned; NULL: all others */
    struct ow_debezium *router; /* NULL: the templates count */
    struct ow_route topic, key;
};

struct shaper {
    struct lane *lanes; /* the last one is that of all others */
    size_t count;
    struct ow_buf topic, key;
    char place[OW_POSITION_TEXT_SIZE];
};

static int make_record(struct ow_debezium *router, const struct ow_row *row, struct ow_debezium_record *ret,
                       struct ow_error *err)
{
    if (row->change)
        return ow_debezium_change(router, row, ow_clock_wall_ms() * 1000, ret, err);
    if (row->op != OW_ROW_MESSAGE)
        return ow_debezium_route(router, row, ret, err);
    const struct ow_debezium_message message = {
        .prefix = row->logical->prefix,
        .content = row->logical->content,
        .database = row->logical->database,
        .is_transactional = row->logical->is_transactional,
        .transaction_id = row->logical->transaction,
        .lsn = row->logical->lsn,
        .previous_commit_lsn = row->logical->previous_commit_lsn,
        .time_us = row->logical->time_us,
        .now_us = ow_clock_wall_ms() * 1000,
    };
    return ow_debezium_pass(router, &message, ret, err);
}

/* What the row has not to say is an error only where the options say so. */
static int drop(const struct ow_debezium *router, const struct ow_debezium_record *record, const struct ow_message *m,
                struct ow_error *err)
{
    bool is_error = ow_debezium_options_of(router)->invalid_operation == OW_DBZ_INVALID_ERROR;
    if (record->reason.data)
        (void)ow_error_set(err, is_error ? OW_EINVALID : OW_EUNSUPPORTED, "message %.*s: %.*s", OW_PRINT(m->id),
                           OW_PRINT(record->reason));
    return 0;
}

static int shape_by_router(struct shaper *shaper, struct ow_debezium *router, const struct ow_row *row,
                           struct ow_message *m, struct ow_error *err)
{
    struct ow_debezium_record record;
    int r = make_record(router, row, &record, err);
    if (r < 0)
        return r;
    m->defect = OW_NULL_BYTES; /* which columns there have to be is the router's to say */
    if (record.outcome == OW_DEBEZIUM_DROPPED)
        return drop(router, &record, m, err);
    if (record.id.data)
        m->id = record.id;
    else if (!m->id.data) /* whoever keeps messages by their ids must tell it from others */
        m->id = ow_bytes_of(ow_position_format(m->position, shaper->place));
    if (record.outcome == OW_DEBEZIUM_UNFIT)
        return ow_error_set(err, OW_EINVALID, "%.*s", OW_PRINT(record.reason));
    m->topic = record.topic;
    m->key = record.key;
    m->payload = record.value;
    m->headers = record.headers;
    m->header_count = record.header_count;
    m->time_ms = record.has_time ? record.time_ms : 0;
    m->is_shaped = true;
    return 1;
}

static int shape_by_templates(struct shaper *shaper, const struct lane *lane, const struct ow_row *row,
                              struct ow_message *m, struct ow_error *err)
{
    if (row->op != OW_ROW_INSERT && row->op != OW_ROW_SNAPSHOT)
        return 0;
    if (m->defect.data)
        return 1; /* the message's own check refuses it, with that */
    ow_buf_clear(&shaper->topic);
    ow_buf_clear(&shaper->key);
    struct ow_bytes topic = OW_NULL_BYTES, key = OW_NULL_BYTES;
    int r = ow_route_render(&lane->topic, m, ow_json_lookup, &shaper->topic, &topic, err);
    if (r == 0)
        r = ow_error_set(err, OW_EINVALID, "the template gives nothing for this message");
    if (r < 0)
        return ow_error_prefix(err, "topic");
    m->topic = topic;
    r = ow_route_render(&lane->key, m, ow_json_lookup, &shaper->key, &key, err);
    if (r < 0)
        return ow_error_prefix(err, "key");
    m->key = key;
    return 1;
}

static bool is_of(const struct lane *lane, const struct ow_row_table *table)
{
    const char *dot = strchr(lane->table, '.');
    struct ow_bytes schema = dot ? (struct ow_bytes){lane->table, (size_t)(dot - lane->table)} : OW_BYTES("public");
    return ow_bytes_equal(schema, table->schema) && ow_bytes_is(table->name, dot ? dot + 1 : lane->table);
}

static int shape(void *context, const struct ow_row *row, struct ow_message *m, struct ow_error *err)
{
    struct shaper *shaper = context;
    const struct lane *lane = shaper->lanes;
    while (lane->table && (row->change || !row->table || !is_of(lane, row->table)))
        lane++;
    return lane->router ? shape_by_router(shaper, lane->router, row, m, err)
                        : shape_by_templates(shaper, lane, row, m, err);
}

/* --- making it ---------------------------------------------------------------------------------------- */

static int new_router(const struct ow_debezium_options *options, struct ow_debezium **ret, struct ow_error *err)
{
    struct ow_debezium_options copy;
    int r = ow_debezium_options_copy(options, &copy, err);
    return r < 0 ? r : ow_debezium_new(&copy, ret, err);
}

/* `route` NULL: what the relay says. */
static int fill_lane(struct lane *lane, const struct ow_config_relay *relay, const struct ow_config_route *route,
                     struct ow_error *err)
{
    bool has_templates = route && (route->topic || route->key);
    const struct ow_debezium_options *options = has_templates              ? NULL
                                                : route && route->debezium ? route->debezium
                                                                           : relay->debezium;
    const char *topic = route && route->topic ? route->topic : relay->topic;
    const char *key = route && route->key ? route->key : relay->key;
    lane->table = route ? strdup(route->table) : NULL;
    if (route && !lane->table)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    if (options)
        return new_router(options, &lane->router, err);
    int r = ow_route_init(&lane->topic, ow_bytes_of(topic), err);
    return r < 0 ? r : ow_route_init(&lane->key, ow_bytes_of(key), err);
}

int ow_config_new_shape(const struct ow_config_relay *relay, struct ow_relay_options *options, struct ow_error *err)
{
    if (!relay->debezium && relay->route_count == 0)
        return 0;
    struct shaper *shaper = calloc(1, sizeof *shaper);
    int r = shaper && (shaper->lanes = calloc(relay->route_count + 1, sizeof *shaper->lanes))
                ? 0
                : ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; r == 0 && i <= relay->route_count; i++, shaper->count++)
        r = fill_lane(&shaper->lanes[i], relay, i < relay->route_count ? &relay->routes[i] : NULL, err);
    if (r < 0) {
        ow_config_free_shape(shaper);
        return r;
    }
    options->shape = shape;
    options->shape_context = shaper;
    return 0;
}

void ow_config_free_shape(void *context)
{
    struct shaper *shaper = context;
    if (!shaper)
        return;
    for (size_t i = 0; i < shaper->count; i++) {
        struct lane *lane = &shaper->lanes[i];
        free(lane->table);
        ow_debezium_free(lane->router);
        ow_route_done(&lane->topic);
        ow_route_done(&lane->key);
    }
    free(shaper->lanes);
    ow_buf_done(&shaper->topic);
    ow_buf_done(&shaper->key);
    free(shaper);
}

void ow_config_describe_shape(const struct ow_config_relay *relay, struct ow_buf *to)
{
    if (relay->debezium)
        ow_debezium_options_describe(relay->debezium, to);
    for (size_t i = 0; i < relay->route_count; i++) {
        const struct ow_config_route *route = &relay->routes[i];
        ow_buf_printf(to, "%s>%s>%s|", route->table, route->topic ? route->topic : "", route->key ? route->key : "");
        if (route->debezium)
            ow_debezium_options_describe(route->debezium, to);
    }
}
