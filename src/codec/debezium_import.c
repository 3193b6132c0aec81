/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_import.h"

#include "codec/debezium_import_parts.h"

/* --- lines --------------------------------------------------------------------------------------------------- */

void ow_import_lose(struct ow_import *in, const char *name, const char *why)
{
    ow_import_lose_bytes(in, ow_bytes_of(name), why);
}

void ow_import_lose_bytes(struct ow_import *in, struct ow_bytes name, const char *why)
{
    struct ow_buf *lost = &in->to->lost;
    struct ow_bytes line = ow_dbz_printf(&in->properties.arena, "%.*s: %s\n", OW_PRINT(name), why);
    if (line.data && !(lost->data && memmem(lost->data, lost->size, line.data, line.size)))
        ow_buf_add_bytes(lost, line);
}

struct ow_bytes ow_import_get(struct ow_import *in, const char *server_prefix, const char *name)
{
    struct ow_bytes full = ow_dbz_printf(&in->properties.arena, "%s%s", in->properties.is_json ? "" : server_prefix,
                                         name);
    return full.data ? ow_properties_get(&in->properties, full.data) : OW_NULL_BYTES;
}

struct ow_bytes ow_import_name(struct ow_import *in, const char *server_prefix, const char *name)
{
    return ow_dbz_printf(&in->properties.arena, "%s%s", in->properties.is_json ? "" : server_prefix, name);
}

/* --- the connector's options --------------------------------------------------------------------------------- */

static const char *const connector_options[] = {
    "topic.prefix",
    "decimal.handling.mode",
    "time.precision.mode",
    "binary.handling.mode",
    "hstore.handling.mode",
    "interval.handling.mode",
    "include.unknown.datatypes",
    "money.fraction.digits",
    "message.prefix.include.list",
    "message.prefix.exclude.list",
    "tombstones.on.delete",
    "unavailable.value.placeholder",
};

static int set(struct ow_import *in, const char *name, struct ow_bytes value, struct ow_error *err)
{
    int r = ow_debezium_options_set(&in->to->options, ow_bytes_of(name), value, err);
    if (r == 0 && in->set_count < OW_IMPORT_SET_MAX)
        in->set[in->set_count++] = (struct ow_import_set){name, value};
    return r;
}

static int check_prefix(struct ow_import *in, struct ow_error *err)
{
    struct ow_bytes prefix = ow_import_get(in, "debezium.source.", "topic.prefix");
    if (!prefix.data) {
        ow_import_lose(in, "topic.prefix", "not said, and Debezium does not start without");
        return 0;
    }
    if (prefix.size == 0)
        return ow_error_set(err, OW_ECONFIG, "topic.prefix: it is empty");
    for (size_t i = 0; i < prefix.size; i++) {
        char c = prefix.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && !strchr("._-", c) && !ow_import_has_placeholder(prefix))
            return ow_error_set(err, OW_ECONFIG, "topic.prefix: \"%.*s\" has other characters than A-Z a-z 0-9 . _ -",
                                OW_PRINT(prefix));
    }
    return 0;
}

/* They are for a slot that stands still, and ours does not. But their topic is not there then. */
static void check_heartbeat(struct ow_import *in)
{
    struct ow_bytes interval = ow_import_get(in, "debezium.source.", "heartbeat.interval.ms");
    struct ow_bytes query = ow_import_get(in, "debezium.source.", "heartbeat.action.query");
    bool is_on = interval.data && !ow_bytes_is(interval, "0");
    if (is_on)
        ow_import_lose(in, "heartbeat.interval.ms",
                       "no heartbeats are published, and none are needed: the slot moves on");
    if (is_on && query.data)
        ow_import_lose(in, "heartbeat.action.query", "is not run: the slot moves on without");
}

static int import_connector(struct ow_import *in, struct ow_error *err)
{
    int known = check_prefix(in, err);
    if (known != 0)
        return known;
    check_heartbeat(in);
    for (size_t i = 0; i < sizeof(connector_options) / sizeof(*connector_options); i++) {
        const char *name = connector_options[i];
        struct ow_bytes value = ow_import_get(in, "debezium.source.", name);
        if (!value.data)
            continue;
        int r = set(in, name, value, err);
        if (r != 0)
            return r;
    }
    return 0;
}

/* --- the router ---------------------------------------------------------------------------------------------- */

static bool begins(struct ow_bytes text, struct ow_bytes with)
{
    if (with.size == 0)
        return true;
    return text.size >= with.size && text.data && with.data && memcmp(text.data, with.data, with.size) == 0;
}

/* Options of ours that the router of Debezium 3.0 does not know, and passes over. */
static bool is_of_others(struct ow_bytes name)
{
    return ow_bytes_is(name, "table.field.additional.missing") ||
           ow_bytes_is(name, "table.json.payload.empty.array.behavior");
}

static int import_option(struct ow_import *in, struct ow_bytes full, struct ow_bytes name, struct ow_bytes value,
                         struct ow_error *err)
{
    const struct ow_debezium_option *option = ow_debezium_option_find(name);
    bool is_router = option && (memcmp(option->name, "route.", 6) == 0 || memcmp(option->name, "table.", 6) == 0 ||
                                strcmp(option->name, "field.name.adjustment.mode") == 0);
    if (option && option->type == OW_DEBEZIUM_NOTHING) {
        if (begins(name, OW_BYTES("tracing.")))
            ow_import_lose_bytes(in, full, "spans are not made");
        return 0;
    }
    if (!is_router || is_of_others(name)) {
        if (!ow_bytes_is(name, "type") && !ow_bytes_is(name, "predicate") && !ow_bytes_is(name, "negate"))
            ow_import_lose_bytes(in, full,
                                 is_of_others(name) ? "no option of Debezium 3.0, which passes over it"
                                                    : "no option of the event router");
        return 0;
    }
    return set(in, option->name, value, err);
}

static int import_router(struct ow_import *in, struct ow_bytes prefix, struct ow_error *err)
{
    for (size_t i = 0; i < in->properties.count; i++) {
        struct ow_property *property = &in->properties.items[i];
        if (!begins(property->name, prefix))
            continue;
        property->is_used = true;
        struct ow_bytes name = {property->name.data + prefix.size, property->name.size - prefix.size};
        int r = import_option(in, property->name, name, property->value, err);
        if (r != 0)
            return r;
    }
    /* The Server's sink does not pass it on; Kafka would refuse one in the future. */
    return in->properties.is_json || !in->to->options.timestamp ? 0 : set(in, "record.time", OW_BYTES("writing"), err);
}

bool ow_import_next_item(struct ow_bytes *list, struct ow_bytes *ret)
{
    while (list->size > 0) {
        const char *comma = memchr(list->data, ',', list->size);
        struct ow_bytes item = {list->data, comma ? (size_t)(comma - list->data) : list->size};
        size_t taken = item.size + (comma != NULL);
        *list = (struct ow_bytes){list->data + taken, list->size - taken};
        while (item.size > 0 && (unsigned char)item.data[0] <= ' ')
            item = (struct ow_bytes){item.data + 1, item.size - 1};
        while (item.size > 0 && (unsigned char)item.data[item.size - 1] <= ' ')
            item.size--;
        if (item.size > 0) {
            *ret = item;
            return true;
        }
    }
    return false;
}

/* What a transform does, and whether it is the router. */
static int import_transform(struct ow_import *in, struct ow_bytes name, struct ow_error *err)
{
    struct ow_dbz_arena *arena = &in->properties.arena;
    struct ow_bytes prefix = ow_dbz_printf(arena, "%stransforms.%.*s.", in->properties.is_json ? "" : "debezium.",
                                           OW_PRINT(name));
    struct ow_bytes type_name = ow_dbz_printf(arena, "%.*stype", (int)prefix.size, prefix.data ? prefix.data : "");
    struct ow_bytes type = type_name.data ? ow_properties_get(&in->properties, type_name.data) : OW_NULL_BYTES;
    if (!type.data || type.size == 0)
        return ow_error_set(err, OW_ECONFIG, "%.*s: not said", OW_PRINT(type_name));
    if (!ow_bytes_is(type, "io.debezium.transforms.outbox.EventRouter")) {
        struct ow_bytes why = ow_dbz_printf(arena, "the transform %.*s is not carried over", OW_PRINT(type));
        for (size_t i = 0; i < in->properties.count; i++)
            in->properties.items[i].is_used = in->properties.items[i].is_used ||
                                              begins(in->properties.items[i].name, prefix);
        ow_import_lose_bytes(in, type_name, why.data ? why.data : "");
        return 0;
    }
    if (in->has_router) {
        ow_import_lose_bytes(in, type_name, "a second event router: write a relay of its own for it");
        return 0;
    }
    in->has_router = true;
    in->predicate = ow_properties_get(&in->properties,
                                      ow_dbz_printf(arena, "%.*spredicate", (int)prefix.size, prefix.data).data);
    in->negate = ow_properties_get(&in->properties,
                                   ow_dbz_printf(arena, "%.*snegate", (int)prefix.size, prefix.data).data);
    return import_router(in, prefix, err);
}

static int import_transforms(struct ow_import *in, struct ow_error *err)
{
    struct ow_bytes list = ow_import_get(in, "debezium.", "transforms"), name;
    while (ow_import_next_item(&list, &name)) {
        int r = import_transform(in, name, err);
        if (r != 0)
            return r;
    }
    if (!in->has_router)
        return ow_error_set(
            err, OW_EUNSUPPORTED,
            "no event router in it (transforms with the type io.debezium.transforms.outbox.EventRouter): "
            "change events of tables are not carried over");
    return 0;
}

/* --- formats and converters ---------------------------------------------------------------------------------- */

/* format.key=json -> the class of its converter; NULL: none of ours. */
static const char *class_of_format(struct ow_bytes format)
{
    if (!format.data || ow_bytes_is(format, "json") || ow_bytes_is(format, "jsonbytearray"))
        return "org.apache.kafka.connect.json.JsonConverter";
    if (ow_bytes_is(format, "simplestring"))
        return "org.apache.kafka.connect.storage.StringConverter";
    if (ow_bytes_is(format, "binary"))
        return "io.debezium.converters.BinaryDataConverter";
    return NULL;
}

/* Which formats the Server has; of headers fewer. */
static int check_format(struct ow_bytes name, struct ow_bytes format, bool is_header, struct ow_error *err)
{
    static const char *const formats[] = {"json",         "jsonbytearray", "clientprovided", "avro",
                                          "simplestring", "binary",        "protobuf",       "cloudevents"};
    size_t count = is_header ? 3 : sizeof(formats) / sizeof(*formats);
    for (size_t i = 0; i < count; i++)
        if (!format.data || ow_bytes_is(format, formats[i]))
            return 0;
    return ow_error_set(err, OW_ECONFIG, "%.*s: Debezium has no such format: \"%.*s\"", OW_PRINT(name),
                        OW_PRINT(format));
}

static int import_converter_options(struct ow_import *in, const char *side, struct ow_error *err)
{
    static const char *const names[] = {"schemas.enable", "decimal.format", "replace.null.with.default",
                                        "delegate.converter.type", "delegate.converter.type.schemas.enable"};
    struct ow_dbz_arena *arena = &in->properties.arena;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct ow_bytes from = ow_dbz_printf(
            arena, in->properties.is_json ? "%s.converter.%s" : "debezium.format.%s.%s", side, names[i]);
        struct ow_bytes value = from.data ? ow_properties_get(&in->properties, from.data) : OW_NULL_BYTES;
        struct ow_bytes of_all = in->properties.is_json
                                     ? OW_NULL_BYTES
                                     : ow_properties_get(&in->properties,
                                                         ow_dbz_printf(arena, "debezium.format.%s", names[i]).data);
        value = value.data ? value : of_all;
        const struct ow_debezium_option *option = ow_debezium_option_find(
            ow_dbz_printf(arena, "%s.converter.%s", side, names[i]));
        if (!value.data || !option || option->type == OW_DEBEZIUM_NOTHING)
            continue;
        if (option->type == OW_DEBEZIUM_CONVERTER &&
            ow_debezium_options_set(&in->to->options, ow_bytes_of(option->name), value, NULL) != 0) {
            ow_import_lose_bytes(in, from, "this converter is not carried over");
            continue;
        }
        int r = set(in, option->name, value, err);
        if (r != 0)
            return r;
    }
    return 0;
}

/* The class that writes one side, and its options. */
static int import_side(struct ow_import *in, const char *side, const char *option, struct ow_error *err)
{
    struct ow_dbz_arena *arena = &in->properties.arena;
    struct ow_bytes name, class;
    if (in->properties.is_json) {
        name = ow_dbz_printf(arena, "%s.converter", side);
        class = name.data ? ow_properties_get(&in->properties, name.data) : OW_NULL_BYTES;
        if (!class.data) {
            if (strcmp(side, "header") != 0)
                ow_import_lose_bytes(in, name, "not said here, so the worker's counts; StringConverter is taken");
            return 0;
        }
    } else {
        name = ow_dbz_printf(arena, "debezium.format.%s", side);
        struct ow_bytes format = name.data ? ow_properties_get(&in->properties, name.data) : OW_NULL_BYTES;
        int r = check_format(name, format, strcmp(side, "header") == 0, err);
        if (r != 0)
            return r;
        class = ow_bytes_of(class_of_format(format));
        if (ow_bytes_is(format, "clientprovided")) {
            name = ow_dbz_printf(arena, "debezium.format.%s.class", side);
            class = name.data ? ow_properties_get(&in->properties, name.data) : OW_NULL_BYTES;
        }
    }
    if (!class.data || ow_debezium_options_set(&in->to->options, ow_bytes_of(option), class, NULL) != 0) {
        ow_import_lose_bytes(in, name, "this format is not carried over (text, JSON and bytes are)");
        return 0;
    }
    int r = set(in, option, class, err);
    return r != 0 ? r : import_converter_options(in, side, err);
}

/* --- what is left -------------------------------------------------------------------------------------------- */

/* Without a counterpart because none is needed: what they set is done otherwise, or changes no record. */
static const char *const needless[] = {
    "name",
    "connector.class",
    "tasks.max",
    "debezium.source.connector.class",
    "debezium.sink.type",
    "debezium.source.plugin.name",
    "plugin.name",
    "transforms",
    "debezium.transforms",
    "errors.",
    "quarkus.",
    "debezium.source.offset.",
    "debezium.source.snapshot.isolation.mode",
    "snapshot.isolation.mode",
    "debezium.source.snapshot.locking.mode",
    "snapshot.locking.mode",
    "debezium.source.snapshot.fetch.size",
    "snapshot.fetch.size",
    "debezium.source.snapshot.delay.ms",
    "snapshot.delay.ms",
    "debezium.source.snapshot.lock.timeout.ms",
    "snapshot.lock.timeout.ms",
    "debezium.source.snapshot.max.threads",
    "snapshot.max.threads",
    "debezium.source.publication.autocreate.mode",
    "publication.autocreate.mode",
    "debezium.source.slot.drop.on.stop",
    "slot.drop.on.stop",
    "debezium.source.slot.max.retries",
    "slot.max.retries",
    "debezium.source.slot.retry.delay.ms",
    "slot.retry.delay.ms",
    "debezium.source.status.update.interval.ms",
    "status.update.interval.ms",
    "debezium.source.max.batch.size",
    "max.batch.size",
    "debezium.source.max.queue.size",
    "max.queue.size",
    "debezium.source.poll.interval.ms",
    "poll.interval.ms",
    "debezium.source.schema.history.",
    "schema.history.",
    "debezium.source.skipped.operations",
    "skipped.operations",
    "debezium.source.name",
    "debezium.source.tasks.max",
    "debezium.source.flush.lsn.source",
    "flush.lsn.source",
    "debezium.source.tcpKeepAlive",
    "database.tcpKeepAlive",
    "debezium.source.database.tcpKeepAlive",
    "database.server.name",
    "debezium.source.database.server.name",
    "tasks.",
    "topic.creation.enable",
    "offset.",
    "predicates",
    "predicates.",
    "debezium.predicates",
    "debezium.predicates.",
};

static bool is_needless(struct ow_bytes name)
{
    for (size_t i = 0; i < sizeof(needless) / sizeof(*needless); i++) {
        size_t size = strlen(needless[i]);
        bool is_group = needless[i][size - 1] == '.';
        if (is_group ? begins(name, ow_bytes_of(needless[i])) : ow_bytes_is(name, needless[i]))
            return true;
    }
    return false;
}

static void report_rest(struct ow_import *in)
{
    for (size_t i = 0; i < in->properties.count; i++) {
        const struct ow_property *property = &in->properties.items[i];
        if (!property->is_used && !is_needless(property->name))
            ow_import_lose_bytes(in, property->name, "not carried over");
    }
}

/* Whether what was read is for us at all. */
static int check_kind(struct ow_import *in, struct ow_error *err)
{
    struct ow_bytes class = ow_import_get(in, "debezium.source.", "connector.class");
    if (class.data && !ow_bytes_is(class, "io.debezium.connector.postgresql.PostgresConnector") &&
        !ow_bytes_is(class, "PostgresConnector"))
        return ow_error_set(err, OW_EUNSUPPORTED, "connector.class %.*s: only PostgresConnector is carried over",
                            OW_PRINT(class));
    struct ow_bytes sink = in->properties.is_json ? OW_NULL_BYTES
                                                  : ow_properties_get(&in->properties, "debezium.sink.type");
    if (sink.data && !ow_bytes_is(sink, "kafka"))
        return ow_error_set(err, OW_EUNSUPPORTED, "debezium.sink.type %.*s: only kafka is carried over",
                            OW_PRINT(sink));
    return 0;
}

void ow_debezium_import_done(struct ow_debezium_import *import)
{
    ow_buf_done(&import->yaml);
    ow_buf_done(&import->lost);
    ow_debezium_options_done(&import->options);
}

static int import_all(struct ow_import *in, struct ow_error *err)
{
    int r = ow_import_expand(in, err);
    if (r == 0)
        r = check_kind(in, err);
    if (r == 0)
        r = import_transforms(in, err);
    if (r == 0)
        r = import_connector(in, err);
    if (r == 0)
        r = import_side(in, "key", "key.converter", err);
    if (r == 0)
        r = import_side(in, "value", "value.converter", err);
    if (r == 0)
        r = import_side(in, "header", "header.converter", err);
    if (r == 0)
        r = ow_debezium_options_check(&in->to->options, err);
    if (r == 0)
        r = ow_import_write(in, err);
    if (r == 0)
        report_rest(in);
    if (r == 0)
        r = ow_buf_check(&in->to->lost, err);
    return r != 0 ? r : ow_buf_check(&in->to->yaml, err);
}

int ow_debezium_import(struct ow_bytes text, struct ow_debezium_import *ret, struct ow_error *err)
{
    return ow_debezium_import_behind(text, OW_NULL_BYTES, ret, err);
}

int ow_debezium_import_behind(struct ow_bytes text, struct ow_bytes offsets, struct ow_debezium_import *ret,
                              struct ow_error *err)
{
    *ret = (struct ow_debezium_import){0};
    struct ow_import in = {.to = ret, .offsets = offsets};
    int r = ow_debezium_options_init(&ret->options, err);
    if (r == 0)
        r = ow_properties_read(text, &in.properties, err);
    if (r == 0)
        r = import_all(&in, err);
    ow_properties_done(&in.properties);
    if (r != 0)
        ow_debezium_import_done(ret);
    return r;
}
