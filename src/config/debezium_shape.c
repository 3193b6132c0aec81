/* SPDX-License-Identifier: Apache-2.0 */
#include "config/debezium_shape.h"

#include <stdlib.h>

#include "base/units.h"

#include "codec/debezium.h"

struct shaper {
    struct ow_debezium *router;
    char place[OW_POSITION_TEXT_SIZE];
};

/* The table's texts are pointers, and belong to each copy. */
static char **text_of(struct ow_debezium_options *options, const struct ow_debezium_option *option)
{
    return (char **)((char *)options + option->offset);
}

static int copy_options(const struct ow_debezium_options *from, struct ow_debezium_options *ret, struct ow_error *err)
{
    bool has_failed = false;
    *ret = *from;
    ret->placements = NULL; /* found anew by who takes them */
    ret->placement_count = 0;
    for (const struct ow_debezium_option *option = ow_debezium_option_table; option->name; option++) {
        if (option->type != OW_DEBEZIUM_TEXT || !*text_of(ret, option))
            continue;
        *text_of(ret, option) = strdup(*text_of(ret, option));
        has_failed |= !*text_of(ret, option);
    }
    if (!has_failed)
        return 0;
    ow_debezium_options_done(ret);
    return ow_error_set(err, OW_ENOMEM, "out of memory");
}

static int make_record(struct ow_debezium *router, const struct ow_row *row, struct ow_debezium_record *ret,
                       struct ow_error *err)
{
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

static int shape(void *context, const struct ow_row *row, struct ow_message *m, struct ow_error *err)
{
    struct shaper *shaper = context;
    struct ow_debezium_record record;
    int r = make_record(shaper->router, row, &record, err);
    if (r < 0)
        return r;
    m->defect = OW_NULL_BYTES; /* which columns there have to be is the router's to say */
    if (record.outcome == OW_DEBEZIUM_DROPPED)
        return drop(shaper->router, &record, m, err);
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

int ow_config_new_shape(const struct ow_config_relay *relay, struct ow_relay_options *options, struct ow_error *err)
{
    struct ow_debezium_options copy;
    if (!relay->debezium)
        return 0;
    struct shaper *shaper = calloc(1, sizeof *shaper);
    if (!shaper)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int r = copy_options(relay->debezium, &copy, err);
    if (r == 0)
        r = ow_debezium_new(&copy, &shaper->router, err);
    if (r < 0) {
        free(shaper);
        return r;
    }
    options->shape = shape;
    options->shape_context = shaper;
    return 0;
}

void ow_config_free_shape(void *context)
{
    struct shaper *shaper = context;
    if (shaper)
        ow_debezium_free(shaper->router);
    free(shaper);
}

static void describe_converter(const struct ow_dbz_converter *c, struct ow_buf *to)
{
    ow_buf_printf(to, "%d %d %d %d %d|", c->kind, c->delegate, c->has_schemas, c->delegate_has_schemas,
                  c->has_numeric_decimals);
}

void ow_config_describe_debezium(const struct ow_debezium_options *options, struct ow_buf *to)
{
    if (!options)
        return;
    struct ow_debezium_options o = *options;
    for (const struct ow_debezium_option *option = ow_debezium_option_table; option->name; option++)
        if (option->type == OW_DEBEZIUM_TEXT && *text_of(&o, option))
            ow_buf_printf(to, "%s=%s|", option->name, *text_of(&o, option));
    ow_buf_printf(to, "%d %d %d %d %d %d %d|", o.invalid_operation, o.naming, o.is_missing_ignored, o.has_tombstones,
                  o.expands_json, o.null_is_bytes, o.empty_array_is_strings);
    ow_buf_printf(to, "%d %d %d %d %d %d %d|", o.modes.decimal, o.modes.time, o.modes.binary, o.modes.hstore_is_map,
                  o.modes.interval_is_text, o.modes.has_unknown_types, o.modes.money_digits);
    describe_converter(&o.key, to);
    describe_converter(&o.value, to);
    describe_converter(&o.header, to);
}
