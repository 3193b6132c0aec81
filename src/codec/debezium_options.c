/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_options.h"

#include <stdlib.h>

#include "base/units.h"

#define AT(field) offsetof(struct ow_debezium_options, field)

static const char *const booleans[] = {"false", "true", NULL};
static const char *const invalid_operations[] = {"warn", "error", "fatal", NULL};
static const char *const missing[] = {"error", "ignore", NULL};
static const char *const error_on_missing[] = {"true", "false", NULL};
static const char *const null_behaviors[] = {"ignore", "optional_bytes", NULL};
static const char *const array_behaviors[] = {"ignore", "optional_string", NULL};
static const char *const record_times[] = {"event", "writing", NULL};
static const char *const namings[] = {"none", "avro", "avro_unicode", NULL};
static const char *const decimals[] = {"precise", "string", "double", NULL};
static const char *const times[] = {"adaptive", "adaptive_time_microseconds", "connect", NULL};
static const char *const binaries[] = {"bytes", "base64", "base64-url-safe", "hex", NULL};
static const char *const hstores[] = {"json", "map", NULL};
static const char *const intervals[] = {"numeric", "string", NULL};
static const char *const decimal_formats[] = {"base64", "numeric", NULL};
static const char *const converters[] = {
    [OW_DBZ_CONVERTER_STRING] = "org.apache.kafka.connect.storage.StringConverter",
    [OW_DBZ_CONVERTER_JSON] = "org.apache.kafka.connect.json.JsonConverter",
    [OW_DBZ_CONVERTER_BYTES] = "org.apache.kafka.connect.converters.ByteArrayConverter",
    [OW_DBZ_CONVERTER_BINARY] = "io.debezium.converters.BinaryDataConverter",
    [OW_DBZ_CONVERTER_SIMPLE] = "org.apache.kafka.connect.storage.SimpleHeaderConverter",
    NULL,
};

#define TEXT(name, fallback, field, help)                       \
    {                                                           \
        name, fallback, help, OW_DEBEZIUM_TEXT, AT(field), NULL \
    }
#define BOOLEAN(name, fallback, field, help)                           \
    {                                                                  \
        name, fallback, help, OW_DEBEZIUM_BOOLEAN, AT(field), booleans \
    }
#define FLAG(name, fallback, field, choices, help)                    \
    {                                                                 \
        name, fallback, help, OW_DEBEZIUM_BOOLEAN, AT(field), choices \
    }
#define CHOICE(name, fallback, field, choices, help)                 \
    {                                                                \
        name, fallback, help, OW_DEBEZIUM_CHOICE, AT(field), choices \
    }
#define CONVERTER(name, fallback, field, help)                             \
    {                                                                      \
        name, fallback, help, OW_DEBEZIUM_CONVERTER, AT(field), converters \
    }
#define NOTHING(name, help)                            \
    {                                                  \
        name, NULL, help, OW_DEBEZIUM_NOTHING, 0, NULL \
    }

const struct ow_debezium_option ow_debezium_option_table[] = {
    TEXT("route.by.field", "aggregatetype", route_by, "The column whose value is the topic, or becomes it."),
    TEXT("route.topic.regex", "(?<routedByValue>.*)", topic_regex, "What that value must match as a whole."),
    TEXT("route.topic.replacement", "outbox.event.${routedByValue}", topic_replacement,
         "The topic, with the groups of the expression."),
    BOOLEAN("route.tombstone.on.empty.payload", "false", has_tombstones,
            "A NULL, empty or blank payload becomes a null value."),
    TEXT("table.field.event.id", "id", event_id, "The column for the header id."),
    TEXT("table.field.event.key", "aggregateid", event_key, "The column for the record's key."),
    TEXT("table.field.event.payload", "payload", payload, "The column for the record's value."),
    TEXT("table.field.event.timestamp", NULL, timestamp, "The column for the record's time."),
    FLAG("record.time", "event", is_time_of_writing, record_times,
         "No option of Debezium: with writing that column is not the record's time, as with Debezium Server."),
    TEXT("table.field.event.schema.version", NULL, schema_version,
         "The column for the version of the value's schema, where there is an envelope."),
    NOTHING("table.field.event.type", "Has no effect, in Debezium neither."),
    TEXT("table.fields.additional.placement", NULL, additional_placement,
         "column:header|envelope[:alias], separated by commas."),
    FLAG("table.fields.additional.error.on.missing", "true", is_missing_ignored, error_on_missing,
         "Whether a message without such a column is set aside."),
    FLAG("table.field.additional.missing", "error", is_missing_ignored, missing, "The same, in other words."),
    CHOICE("table.op.invalid.behavior", "warn", invalid_operation, invalid_operations,
           "What an UPDATE of the table is: warn and error drop it, fatal sets it aside."),
    BOOLEAN("table.expand.json.payload", "false", expands_json,
            "A payload that is the text of a JSON document becomes that document."),
    FLAG("table.json.payload.null.behavior", "ignore", null_is_bytes, null_behaviors,
         "What a null in such a document becomes."),
    FLAG("table.json.payload.empty.array.behavior", "ignore", empty_array_is_strings, array_behaviors,
         "What an empty array in it becomes."),
    CHOICE("field.name.adjustment.mode", "none", naming, namings,
           "How the names in such a document are made fit for Avro."),
    NOTHING("tracing.span.context.field", "Has no effect: spans are not made."),
    NOTHING("tracing.operation.name", "Has no effect: spans are not made."),
    NOTHING("tracing.with.context.field.only", "Has no effect: spans are not made."),
    BOOLEAN("tombstones.on.delete", "true", marks_deletes,
            "Change events: whether a null value follows the event of a DELETE."),
    TEXT("unavailable.value.placeholder", "__debezium_unavailable_value", unavailable,
         "Change events: what stands for a large value that an UPDATE has not touched."),
    TEXT("message.prefix.include.list", NULL, message_includes,
         "Expressions, separated by commas: of logical messages only those whose prefix one of them matches."),
    TEXT("message.prefix.exclude.list", NULL, message_excludes, "Likewise, those are left out."),
    TEXT("topic.prefix", "", topic_prefix, "The first part of the names of schemas and of the topic of messages."),
    CHOICE("decimal.handling.mode", "precise", modes.decimal, decimals, "What a numeric or money column becomes."),
    CHOICE("time.precision.mode", "adaptive", modes.time, times, "What a column of a date or time becomes."),
    CHOICE("binary.handling.mode", "bytes", modes.binary, binaries, "What a bytea column becomes."),
    FLAG("hstore.handling.mode", "json", modes.hstore_is_map, hstores, "What an hstore column becomes."),
    FLAG("interval.handling.mode", "numeric", modes.interval_is_text, intervals, "What an interval column becomes."),
    {"money.fraction.digits", "2", "Digits of the fraction of a money column.", OW_DEBEZIUM_DIGITS,
     AT(modes.money_digits), NULL},
    BOOLEAN("include.unknown.datatypes", "false", modes.has_unknown_types,
            "Whether columns of unknown types are bytes, or are left out."),
    CONVERTER("key.converter", "org.apache.kafka.connect.storage.StringConverter", key.kind,
              "How the key is written: the name of a class."),
    BOOLEAN("key.converter.schemas.enable", "true", key.has_schemas, "JsonConverter: whether the schema is there too."),
    FLAG("key.converter.decimal.format", "base64", key.has_numeric_decimals, decimal_formats,
         "JsonConverter: how decimals are written."),
    CONVERTER("key.converter.delegate.converter.type", NULL, key.delegate,
              "BinaryDataConverter: what writes a key that is no bytes."),
    BOOLEAN("key.converter.delegate.converter.type.schemas.enable", "true", key.delegate_has_schemas,
            "Whether it writes the schema too."),
    BOOLEAN("key.converter.replace.null.with.default", "true", key.fills_nulls,
            "Change events: a default in the place of a NULL. The router itself takes the default."),
    CONVERTER("value.converter", "org.apache.kafka.connect.storage.StringConverter", value.kind,
              "How the value is written: the name of a class."),
    BOOLEAN("value.converter.schemas.enable", "true", value.has_schemas,
            "JsonConverter: whether the schema is there too."),
    FLAG("value.converter.decimal.format", "base64", value.has_numeric_decimals, decimal_formats,
         "JsonConverter: how decimals are written."),
    CONVERTER("value.converter.delegate.converter.type", NULL, value.delegate,
              "BinaryDataConverter: what writes a value that is no bytes."),
    BOOLEAN("value.converter.delegate.converter.type.schemas.enable", "true", value.delegate_has_schemas,
            "Whether it writes the schema too."),
    BOOLEAN("value.converter.replace.null.with.default", "true", value.fills_nulls,
            "Change events: a default in the place of a NULL. The router itself takes the default."),
    CONVERTER("header.converter", "org.apache.kafka.connect.storage.SimpleHeaderConverter", header.kind,
              "How headers are written: the name of a class."),
    BOOLEAN("header.converter.schemas.enable", "true", header.has_schemas,
            "JsonConverter: whether the schema is there too."),
    FLAG("header.converter.decimal.format", "base64", header.has_numeric_decimals, decimal_formats,
         "JsonConverter: how decimals are written."),
    NOTHING("header.converter.replace.null.with.default", "Has no effect: the router itself takes the default."),
    {0},
};

const struct ow_debezium_option *ow_debezium_option_find(struct ow_bytes name)
{
    for (const struct ow_debezium_option *option = ow_debezium_option_table; option->name; option++)
        if (ow_bytes_is(name, option->name))
            return option;
    return NULL;
}

static struct ow_bytes trimmed(struct ow_bytes text)
{
    while (text.size > 0 && (unsigned char)text.data[0] <= ' ')
        text = (struct ow_bytes){text.data + 1, text.size - 1};
    while (text.size > 0 && (unsigned char)text.data[text.size - 1] <= ' ')
        text.size--;
    return text;
}

static bool is_same_word(struct ow_bytes a, const char *b)
{
    return a.size == strlen(b) && strncasecmp(a.data, b, a.size) == 0;
}

static int choose(const struct ow_debezium_option *option, struct ow_bytes value, struct ow_error *err)
{
    for (int i = 0; option->choices[i]; i++)
        if (is_same_word(trimmed(value), option->choices[i]))
            return i;
    /* other names of it, in earlier and later versions */
    if (option->type == OW_DEBEZIUM_CONVERTER && (ow_bytes_is(value, "io.debezium.converters.ByteArrayConverter") ||
                                                  ow_bytes_is(value, "io.debezium.converters.ByteBufferConverter")))
        return OW_DBZ_CONVERTER_BINARY;
    OW_CLEANUP(ow_buf_done) struct ow_buf list = {0};
    for (int i = 0; option->choices[i]; i++)
        ow_buf_printf(&list, "%s%s", i == 0 ? "" : ", ", option->choices[i]);
    return ow_error_set(err, OW_ECONFIG, "%s: \"%.*s\" is none of: %s", option->name, OW_PRINT(value),
                        list.data ? list.data : "");
}

static int set_text(char **to, struct ow_bytes value, struct ow_error *err)
{
    char *copy = ow_bytes_text(value);
    if (!copy)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    free(*to);
    *to = copy;
    return 0;
}

static int set_digits(const struct ow_debezium_option *option, struct ow_bytes value, int32_t *field,
                      struct ow_error *err)
{
    int64_t digits;
    if (ow_integer_parse(value, 0, 18, &digits, NULL) != 0)
        return ow_error_set(err, OW_ECONFIG, "%s: \"%.*s\" is no number from 0 to 18", option->name, OW_PRINT(value));
    *field = (int32_t)digits;
    return 0;
}

int ow_debezium_options_set(struct ow_debezium_options *options, struct ow_bytes name, struct ow_bytes value,
                            struct ow_error *err)
{
    const struct ow_debezium_option *option = ow_debezium_option_find(name);
    if (!option)
        return ow_error_set(err, OW_ENOTFOUND, "%.*s: no option of the event router", OW_PRINT(name));
    void *field = (char *)options + option->offset;
    switch (option->type) {
    case OW_DEBEZIUM_NOTHING:
        return 0;
    case OW_DEBEZIUM_TEXT:
        return set_text(field, value, err);
    case OW_DEBEZIUM_DIGITS:
        return set_digits(option, value, field, err);
    default:
        break;
    }
    int choice = choose(option, value, err);
    if (choice < 0)
        return choice;
    if (option->type == OW_DEBEZIUM_BOOLEAN)
        *(bool *)field = choice == 1;
    else
        *(int32_t *)field = choice;
    return 0;
}

int ow_debezium_options_init(struct ow_debezium_options *options, struct ow_error *err)
{
    *options = (struct ow_debezium_options){.key.delegate = -1, .value.delegate = -1, .header.delegate = -1};
    int r = 0;
    for (const struct ow_debezium_option *option = ow_debezium_option_table; option->name && r == 0; option++)
        if (option->fallback)
            r = ow_debezium_options_set(options, ow_bytes_of(option->name), ow_bytes_of(option->fallback), err);
    if (r != 0)
        ow_debezium_options_done(options);
    return r;
}

void ow_debezium_options_done(struct ow_debezium_options *options)
{
    for (const struct ow_debezium_option *option = ow_debezium_option_table; option->name; option++)
        if (option->type == OW_DEBEZIUM_TEXT)
            free(*(char **)((char *)options + option->offset));
    free(options->placements);
    *options = (struct ow_debezium_options){0};
}

/* The table's texts are pointers, and belong to each copy. */
static char **text_of(struct ow_debezium_options *options, const struct ow_debezium_option *option)
{
    return (char **)((char *)options + option->offset);
}

int ow_debezium_options_copy(const struct ow_debezium_options *from, struct ow_debezium_options *ret,
                             struct ow_error *err)
{
    bool has_failed = false;
    *ret = *from;
    ret->placements = NULL;
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

static void describe_converter(const struct ow_dbz_converter *c, struct ow_buf *to)
{
    ow_buf_printf(to, "%d %d %d %d %d %d|", c->kind, c->delegate, c->has_schemas, c->delegate_has_schemas,
                  c->has_numeric_decimals, c->fills_nulls);
}

void ow_debezium_options_describe(const struct ow_debezium_options *options, struct ow_buf *to)
{
    struct ow_debezium_options o = *options;
    for (const struct ow_debezium_option *option = ow_debezium_option_table; option->name; option++)
        if (option->type == OW_DEBEZIUM_TEXT && *text_of(&o, option))
            ow_buf_printf(to, "%s=%s|", option->name, *text_of(&o, option));
    ow_buf_printf(to, "%d %d %d %d %d %d %d|", o.invalid_operation, o.naming, o.is_missing_ignored, o.has_tombstones,
                  o.expands_json, o.null_is_bytes, o.empty_array_is_strings);
    ow_buf_printf(to, "%d %d|", o.marks_deletes, o.is_time_of_writing);
    ow_buf_printf(to, "%d %d %d %d %d %d %d|", o.modes.decimal, o.modes.time, o.modes.binary, o.modes.hstore_is_map,
                  o.modes.interval_is_text, o.modes.has_unknown_types, o.modes.money_digits);
    describe_converter(&o.key, to);
    describe_converter(&o.value, to);
    describe_converter(&o.header, to);
}

/* --- table.fields.additional.placement ----------------------------------------------------------------------- */

static int no_placement(struct ow_bytes item, const char *why, struct ow_error *err)
{
    return ow_error_set(err, OW_ECONFIG, "table.fields.additional.placement: \"%.*s\": %s", OW_PRINT(item), why);
}

static int parse_placement(struct ow_bytes item, struct ow_dbz_placement *ret, struct ow_error *err)
{
    struct ow_bytes parts[4], rest = item;
    size_t count = 0;
    for (bool is_more = true; is_more && count < 4; count++) {
        const char *colon = memchr(rest.data, ':', rest.size);
        size_t size = colon ? (size_t)(colon - rest.data) : rest.size;
        parts[count] = trimmed((struct ow_bytes){rest.data, size});
        is_more = colon != NULL;
        if (colon)
            rest = (struct ow_bytes){colon + 1, rest.size - size - 1};
    }
    while (count > 0 && parts[count - 1].size == 0)
        count--;
    if ((count != 2 && count != 3) || parts[0].size == 0)
        return no_placement(item, "must be column:placement or column:placement:alias", err);
    *ret = (struct ow_dbz_placement){.column = parts[0], .alias = parts[count == 3 ? 2 : 0]};
    if (is_same_word(parts[1], "header"))
        ret->kind = OW_DBZ_PLACED_IN_HEADER;
    else if (is_same_word(parts[1], "envelope"))
        ret->kind = OW_DBZ_PLACED_IN_ENVELOPE;
    else if (is_same_word(parts[1], "partition"))
        ret->kind = OW_DBZ_PLACED_AS_PARTITION;
    else
        return no_placement(item, "the placement is none of: header, envelope, partition", err);
    return 0;
}

static int check_names(const struct ow_debezium_options *options, const struct ow_dbz_placement *last,
                       struct ow_error *err)
{
    if (last->kind != OW_DBZ_PLACED_IN_ENVELOPE)
        return 0;
    if (ow_bytes_is(last->alias, "payload"))
        return no_placement(last->alias, "the envelope has a field of this name already; give an alias", err);
    for (const struct ow_dbz_placement *other = options->placements; other < last; other++)
        if (other->kind == OW_DBZ_PLACED_IN_ENVELOPE && ow_bytes_equal(other->alias, last->alias))
            return no_placement(last->alias, "twice in the envelope; give an alias", err);
    return 0;
}

static int parse_placements(struct ow_debezium_options *options, struct ow_error *err)
{
    struct ow_bytes rest = ow_bytes_of(options->additional_placement);
    while (rest.size > 0 && rest.data[rest.size - 1] == ',') /* Java's split() forgets them */
        rest.size--;
    size_t commas = 0;
    for (size_t i = 0; i < rest.size; i++)
        commas += rest.data[i] == ',';
    free(options->placements);
    options->placement_count = 0;
    options->placements = calloc(commas + 1, sizeof(*options->placements));
    if (!options->placements)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (bool is_more = true; is_more;) {
        const char *comma = memchr(rest.data, ',', rest.size);
        struct ow_bytes item = trimmed((struct ow_bytes){rest.data, comma ? (size_t)(comma - rest.data) : rest.size});
        struct ow_dbz_placement *placement = &options->placements[options->placement_count];
        int r = parse_placement(item, placement, err);
        if (r == 0)
            r = check_names(options, placement, err);
        if (r != 0)
            return r;
        options->placement_count++;
        is_more = comma != NULL;
        if (comma)
            rest = (struct ow_bytes){comma + 1, rest.size - (size_t)(comma + 1 - rest.data)};
    }
    return 0;
}

static int check_converter(const struct ow_dbz_converter *converter, const char *name, struct ow_error *err)
{
    if (converter->kind == OW_DBZ_CONVERTER_BINARY && converter->delegate == OW_DBZ_CONVERTER_BINARY)
        return ow_error_set(err, OW_ECONFIG,
                            "%s.converter.delegate.converter.type: the converter cannot be its own delegate", name);
    if (converter->kind == OW_DBZ_CONVERTER_SIMPLE || converter->delegate == OW_DBZ_CONVERTER_SIMPLE)
        return ow_error_set(err, OW_ECONFIG, "%s.converter: SimpleHeaderConverter writes headers only", name);
    return 0;
}

int ow_debezium_options_check(struct ow_debezium_options *options, struct ow_error *err)
{
    int r = options->additional_placement ? parse_placements(options, err) : 0;
    if (r == 0)
        r = check_converter(&options->key, "key", err);
    if (r == 0)
        r = check_converter(&options->value, "value", err);
    if (r == 0 && options->route_by[0] == '\0')
        r = ow_error_set(err, OW_ECONFIG, "route.by.field: no column is named");
    if (r == 0 && options->timestamp && options->timestamp[0] == '\0')
        r = ow_error_set(err, OW_ECONFIG, "table.field.event.timestamp: no column is named");
    return r;
}
