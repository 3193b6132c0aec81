/* SPDX-License-Identifier: Apache-2.0 */
/* Every option of the event router: a row goes in, a record is expected. The rows and records of real servers are in
   test_debezium_golden.c. */
#include "unit.h"

#include <stdio.h>

#include "codec/debezium.h"

#define COLUMNS 11

static const struct ow_row_column columns[COLUMNS] = {
    {OW_BYTES("id"), .type_oid = 2950, .typmod = -1, .is_not_null = true},
    {OW_BYTES("aggregatetype"), .type_oid = 25, .typmod = -1},
    {OW_BYTES("aggregateid"), .type_oid = 25, .typmod = -1, .default_expression = OW_BYTES("'dk'::text")},
    {OW_BYTES("type"), .type_oid = 25, .typmod = -1},
    {OW_BYTES("payload"), .type_oid = 25, .typmod = -1},
    {OW_BYTES("n"), .type_oid = 23, .typmod = -1},
    {OW_BYTES("ts"), .type_oid = 1114, .typmod = -1},
    {OW_BYTES("b"), .type_oid = 17, .typmod = -1},
    {OW_BYTES("d"), .type_oid = 1700, .typmod = (10 << 16 | 2) + 4},
    {OW_BYTES("ts3"), .type_oid = 1114, .typmod = 3},
    {OW_BYTES("x"), .type_oid = 3614, .typmod = -1}, /* tsvector: of a type that is left out */
};
static const struct ow_row_table table = {OW_BYTES("public"), OW_BYTES("outbox"), columns, COLUMNS, 1};

#define ID "11111111-2222-4333-8444-000000000001"
static const char *const usual[COLUMNS] = {ID,
                                           "Order",
                                           "k1",
                                           "Created",
                                           "{\"a\": 1}",
                                           "7",
                                           "2021-03-04 13:14:15.123456",
                                           "\\x00ff",
                                           "12.50",
                                           "2021-03-04 13:14:15.123",
                                           "'a'"};

/* Options as name, value, …; cells as column, text, … (a text NULL: NULL). The record is printed:
   "topic | key | value | header=value …", null as <null>. */
struct step {
    const char *options[24];
    const char *cells[12];
    enum ow_row_op op;
    const char *want; /* "dropped", "unfit: …" (a part of the reason) or a record */
};

static void print_bytes(struct ow_buf *to, struct ow_bytes bytes)
{
    if (bytes.data)
        ow_buf_add_bytes(to, bytes);
    else
        ow_buf_add_text(to, "<null>");
}

static void print_record(struct ow_buf *to, const struct ow_debezium_record *record)
{
    if (record->outcome != OW_DEBEZIUM_RECORD) {
        ow_buf_add_text(to, record->outcome == OW_DEBEZIUM_DROPPED ? "dropped" : "unfit: ");
        if (record->outcome == OW_DEBEZIUM_UNFIT)
            ow_buf_add_bytes(to, record->reason);
        return;
    }
    print_bytes(to, record->topic);
    ow_buf_add_text(to, " | ");
    print_bytes(to, record->key);
    ow_buf_add_text(to, " | ");
    print_bytes(to, record->value);
    ow_buf_add_text(to, " |");
    for (size_t i = 0; i < record->header_count; i++) {
        ow_buf_add_char(to, ' ');
        ow_buf_add_bytes(to, record->headers[i].name);
        ow_buf_add_char(to, '=');
        print_bytes(to, record->headers[i].value);
    }
    if (record->has_time)
        ow_buf_printf(to, " @%lld", (long long)record->time_ms);
    if (record->partition >= 0)
        ow_buf_printf(to, " p%d", (int)record->partition);
}

static struct ow_debezium *router_of(const char *const *pairs)
{
    struct ow_debezium_options options;
    struct ow_debezium *router = NULL;
    struct ow_error err = {0};
    assert_int_equal(ow_debezium_options_init(&options, NULL), 0);
    for (; *pairs; pairs += 2)
        if (ow_debezium_options_set(&options, ow_bytes_of(pairs[0]), ow_bytes_of(pairs[1]), &err) != 0)
            fail_msg("%s", err.text);
    if (ow_debezium_new(&options, &router, &err) != 0)
        fail_msg("%s", err.text);
    return router;
}

static void route(struct ow_debezium *router, const struct step *step)
{
    struct ow_bytes values[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++)
        values[i] = ow_bytes_of(usual[i]);
    for (const char *const *cell = step->cells; *cell; cell += 2)
        for (size_t i = 0; i < COLUMNS; i++)
            if (ow_bytes_is(columns[i].name, cell[0]))
                values[i] = ow_bytes_of(cell[1]);
    struct ow_row row = {step->op, &table, values};
    struct ow_debezium_record record;
    struct ow_buf have = {0};
    assert_int_equal(ow_debezium_route(router, &row, &record, NULL), 0);
    print_record(&have, &record);
    if (strncmp(step->want, "unfit: ", 7) == 0)
        assert_text_has(have.data, step->want + 7);
    else
        assert_string_equal(have.data, step->want);
    ow_buf_done(&have);
}

static void run_steps(const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ow_debezium *router = router_of(steps[i].options);
        route(router, &steps[i]);
        ow_debezium_free(router);
    }
}

#define JSON_VALUE \
    "value.converter", "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable", "false"
#define JSON_VALUE_SCHEMAS "value.converter", "org.apache.kafka.connect.json.JsonConverter"
#define PLACED             "table.fields.additional.placement"

static void test_routing(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{NULL}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
        {{NULL}, {NULL}, OW_ROW_SNAPSHOT, "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
        {{"route.by.field", "type"}, {NULL}, OW_ROW_INSERT, "outbox.event.Created | k1 | {\"a\": 1} | id=" ID},
        {{"route.topic.replacement", "t.$1"}, {NULL}, OW_ROW_INSERT, "t.Order | k1 | {\"a\": 1} | id=" ID},
#if OW_WITH_PCRE2
        {{"route.topic.regex", "(O)(.*)", "route.topic.replacement", "$2.$1"},
         {NULL},
         OW_ROW_INSERT,
         "rder.O | k1 | {\"a\": 1} | id=" ID},
        {{"route.topic.regex", "O", "route.topic.replacement", "x"},
         {NULL},
         OW_ROW_INSERT,
         "Order | k1 | {\"a\": 1} | id=" ID},
#endif
        {{"route.by.field", "nosuch"}, {NULL}, OW_ROW_INSERT, "unfit: no column \"nosuch\" (route.by.field)"},
        {{"route.by.field", "n"}, {NULL}, OW_ROW_INSERT, "unfit: column n is no text"},
        {{NULL}, {"aggregatetype", NULL}, OW_ROW_INSERT, "unfit: column aggregatetype is NULL"},
        {{"route.topic.replacement", "$1"}, {"aggregatetype", ""}, OW_ROW_INSERT, "unfit: name of a topic"},
        {{NULL}, {"aggregatetype", "a/b"}, OW_ROW_INSERT, "unfit: name of a topic"},
        {{"route.by.field", "id"}, {NULL}, OW_ROW_INSERT, "outbox.event." ID " | k1 | {\"a\": 1} | id=" ID},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_columns(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{"table.field.event.id", "type"}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | {\"a\": 1} | id=Created"},
        {{"table.field.event.id", "nosuch"}, {NULL}, OW_ROW_INSERT, "unfit: (table.field.event.id)"},
        {{"table.field.event.key", "n"}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | 7 | {\"a\": 1} | id=" ID},
        {{"table.field.event.key", "nosuch"}, {NULL}, OW_ROW_INSERT, "unfit: (table.field.event.key)"},
        {{"table.field.event.key", ""}, {NULL}, OW_ROW_INSERT, "unfit: (table.field.event.key)"},
        {{"table.field.event.key", "n"},
         {"n", NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | <null> | {\"a\": 1} | id=" ID},
        {{"table.field.event.payload", "d"}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | 12.50 | id=" ID},
        {{"table.field.event.payload", "b"}, {"b", "\\x4142"}, OW_ROW_INSERT, "outbox.event.Order | k1 | AB | id=" ID},
        {{"table.field.event.payload", "nosuch"}, {NULL}, OW_ROW_INSERT, "unfit: (table.field.event.payload)"},
        {{"table.field.event.payload", "x"}, {NULL}, OW_ROW_INSERT, "unfit: no column \"x\""},
        {{"table.field.event.payload", "x", "include.unknown.datatypes", "true"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | 'a' | id=" ID},
        {{"table.field.event.type", "whatever"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
        /* Spans are not made, whatever is said of them. */
        {{"tracing.span.context.field", "type", "tracing.operation.name", "x", "tracing.with.context.field.only",
          "true"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
        {{NULL}, {"n", "x"}, OW_ROW_INSERT, "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
        {{"table.field.event.key", "n"}, {"n", "x"}, OW_ROW_INSERT, "unfit: key: column n: \"x\" is no integer"},
        /* A NULL is written as the column's default. */
        {{NULL}, {"aggregateid", NULL}, OW_ROW_INSERT, "outbox.event.Order | dk | {\"a\": 1} | id=" ID},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_timestamp(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{"table.field.event.timestamp", "ts"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " @1614863655123"},
        {{"table.field.event.timestamp", "ts3"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " @1614863655123"},
        {{"table.field.event.timestamp", "ts"},
         {"ts", NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
        {{"table.field.event.timestamp", "ts", "record.time", "writing"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
        {{"table.field.event.timestamp", "n", "record.time", "writing"},
         {NULL},
         OW_ROW_INSERT,
         "unfit: column n is no timestamp"},
        {{"table.field.event.timestamp", "n"}, {NULL}, OW_ROW_INSERT, "unfit: column n is no timestamp"},
        {{"table.field.event.timestamp", "nosuch"}, {NULL}, OW_ROW_INSERT, "unfit: (table.field.event.timestamp)"},
        {{"table.field.event.timestamp", "ts", "time.precision.mode", "connect"},
         {NULL},
         OW_ROW_INSERT,
         "unfit: time.precision.mode is connect"},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_placement(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{PLACED, "type:header:eventType, n:header"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " eventType=Created n=7"},
        {{PLACED, " type : HEADER : id "},
         {"type", NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " id=<null>"},
        {{PLACED, "type:envelope,n:envelope:number", JSON_VALUE},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"payload\":\"{\\\"a\\\": 1}\",\"type\":\"Created\",\"number\":7} | id=" ID},
        {{PLACED, "type:envelope"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | Struct{payload={\"a\": 1},type=Created} | id=" ID},
        {{PLACED, "n:partition"}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " p7"},
        {{PLACED, "ts:partition"}, {NULL}, OW_ROW_INSERT, "unfit: a partition is one"},
        {{PLACED, "nosuch:header"}, {NULL}, OW_ROW_INSERT, "unfit: no column \"nosuch\""},
        {{PLACED, "nosuch:header,type:header", "table.fields.additional.error.on.missing", "false"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " type=Created"},
        {{PLACED, "nosuch:envelope,type:envelope", "table.field.additional.missing", "ignore", JSON_VALUE},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"payload\":\"{\\\"a\\\": 1}\",\"type\":\"Created\"} | id=" ID},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_operations(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{NULL}, {NULL}, OW_ROW_DELETE, "dropped"},
        {{NULL}, {NULL}, OW_ROW_TRUNCATE, "dropped"},
        {{NULL}, {NULL}, OW_ROW_UPDATE, "dropped"},
        {{"table.op.invalid.behavior", "warn"}, {NULL}, OW_ROW_UPDATE, "dropped"},
        {{"table.op.invalid.behavior", "error"}, {NULL}, OW_ROW_UPDATE, "dropped"},
        {{"table.op.invalid.behavior", "FATAL"}, {NULL}, OW_ROW_UPDATE, "unfit: an UPDATE"},
        {{"table.op.invalid.behavior", "fatal"}, {NULL}, OW_ROW_DELETE, "dropped"},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_tombstones(void **state)
{
    (void)state;
#define TOMBSTONES "route.tombstone.on.empty.payload", "true"
    static const struct step steps[] = {
        {{JSON_VALUE}, {"payload", NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | null | id=" ID},
        {{JSON_VALUE, TOMBSTONES}, {"payload", NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | <null> | id=" ID},
        {{JSON_VALUE, TOMBSTONES}, {"payload", ""}, OW_ROW_INSERT, "outbox.event.Order | k1 | <null> | id=" ID},
        {{JSON_VALUE, TOMBSTONES}, {"payload", " \t\n"}, OW_ROW_INSERT, "outbox.event.Order | k1 | <null> | id=" ID},
        {{JSON_VALUE, TOMBSTONES},
         {"payload", "\xc2\xa0"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | \"\xc2\xa0\" | id=" ID},
        {{JSON_VALUE, TOMBSTONES}, {"payload", "null"}, OW_ROW_INSERT, "outbox.event.Order | k1 | \"null\" | id=" ID},
        {{JSON_VALUE, TOMBSTONES, PLACED, "type:envelope,n:header"},
         {"payload", ""},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | <null> | id=" ID " n=7"},
        {{JSON_VALUE, TOMBSTONES, "table.field.event.payload", "b"},
         {"b", "\\x"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | \"\" | id=" ID},
        {{TOMBSTONES}, {"payload", "x"}, OW_ROW_INSERT, "outbox.event.Order | k1 | x | id=" ID},
        {{NULL}, {"payload", NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | <null> | id=" ID},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_expansion(void **state)
{
    (void)state;
#define EXPAND "table.expand.json.payload", "true"
    static const struct step steps[] = {
        {{JSON_VALUE, EXPAND}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | {\"a\":1} | id=" ID},
        {{EXPAND}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | Struct{a=1} | id=" ID},
        {{JSON_VALUE, EXPAND}, {"payload", "no"}, OW_ROW_INSERT, "outbox.event.Order | k1 | \"no\" | id=" ID},
        {{JSON_VALUE, EXPAND}, {"payload", "[1,2]"}, OW_ROW_INSERT, "outbox.event.Order | k1 | [1,2] | id=" ID},
        {{JSON_VALUE, EXPAND}, {"payload", NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | null | id=" ID},
        {{JSON_VALUE, EXPAND, "table.field.event.payload", "n"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | 7 | id=" ID},
        {{JSON_VALUE, EXPAND},
         {"payload", "{\"a\":null,\"b\":[]}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {} | id=" ID},
        {{JSON_VALUE, EXPAND, "table.json.payload.null.behavior", "ignore", "table.json.payload.empty.array.behavior",
          "ignore"},
         {"payload", "{\"a\":null,\"b\":[],\"c\":1}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"c\":1} | id=" ID},
        {{JSON_VALUE, EXPAND, "table.json.payload.null.behavior", "optional_bytes"},
         {"payload", "{\"a\":null}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\":null} | id=" ID},
        {{JSON_VALUE, EXPAND, "table.json.payload.empty.array.behavior", "optional_string"},
         {"payload", "{\"a\":[]}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\":[]} | id=" ID},
        {{JSON_VALUE, EXPAND, "field.name.adjustment.mode", "avro"},
         {"payload", "{\"a-b\":1}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a_b\":1} | id=" ID},
        {{JSON_VALUE, EXPAND, "field.name.adjustment.mode", "avro_unicode"},
         {"payload", "{\"a-b\":1}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a_u002db\":1} | id=" ID},
        {{JSON_VALUE, EXPAND, "field.name.adjustment.mode", "none"},
         {"payload", "{\"a-b\":1}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a-b\":1} | id=" ID},
        {{JSON_VALUE_SCHEMAS, EXPAND},
         {"payload", "{\"a\":1}"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"optional\":true,"
         "\"field\":\"a\"}],\"optional\":true,\"name\":\"payload\"},\"payload\":{\"a\":1}} | id=" ID},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_schema_version(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{JSON_VALUE_SCHEMAS, "topic.prefix", "p", PLACED, "n:envelope", "table.field.event.schema.version", "n"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | "
         "{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"optional\":true,"
         "\"field\":\"payload\"},{\"type\":\"int32\",\"optional\":true,\"field\":\"n\"}],\"optional\":false,\"name\":"
         "\"p.public.outbox.Order.Value\",\"version\":7},\"payload\":{\"payload\":\"{\\\"a\\\": 1}\",\"n\":7}} | "
         "id=" ID},
        {{JSON_VALUE_SCHEMAS, "table.field.event.schema.version", "n"},
         {"payload", "x"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"schema\":{\"type\":\"string\",\"optional\":true},\"payload\":\"x\"} | id=" ID},
        {{PLACED, "n:envelope", "table.field.event.schema.version", "type"},
         {NULL},
         OW_ROW_INSERT,
         "unfit: a version is one"},
        {{PLACED, "n:envelope", "table.field.event.schema.version", "no"},
         {NULL},
         OW_ROW_INSERT,
         "unfit: (table.field.event.schema.version)"},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

/* The name of an envelope's schema holds the value that was routed first, also later on. */
static void test_schema_name_stays(void **state)
{
    (void)state;
    static const char *const options[] = {JSON_VALUE_SCHEMAS, PLACED, "n:envelope", EXPAND, NULL};
    static const struct step first = {
        {NULL},
        {"payload", "x"},
        OW_ROW_INSERT,
        "outbox.event.Order | k1 | {\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"optional\":true,"
        "\"field\":\"payload\"},{\"type\":\"int32\",\"optional\":true,\"field\":\"n\"}],\"optional\":false,\"name\":"
        "\".public.outbox.Order.Value\"},\"payload\":{\"payload\":\"x\",\"n\":7}} | id=" ID};
    static const struct step second = {
        {NULL},
        {"payload", "y", "aggregatetype", "User"},
        OW_ROW_INSERT,
        "outbox.event.User | k1 | {\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"optional\":true,"
        "\"field\":\"payload\"},{\"type\":\"int32\",\"optional\":true,\"field\":\"n\"}],\"optional\":false,\"name\":"
        "\".public.outbox.Order.Value\"},\"payload\":{\"payload\":\"y\",\"n\":7}} | id=" ID};
    static const struct step other = {
        {NULL},
        {"payload", "{}", "aggregatetype", "User"},
        OW_ROW_INSERT,
        "outbox.event.User | k1 | {\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"struct\",\"fields\":[],"
        "\"optional\":true,\"name\":\"payload\",\"field\":\"payload\"},{\"type\":\"int32\",\"optional\":true,\"field\":"
        "\"n\"}],"
        "\"optional\":false,\"name\":\".public.outbox.User.Value\"},\"payload\":{\"payload\":{},\"n\":7}} | id=" ID};
    struct ow_debezium *router = router_of(options);
    route(router, &first);
    route(router, &second);
    route(router, &other);
    ow_debezium_free(router);
}

static void test_converters(void **state)
{
    (void)state;
#define JSON   "org.apache.kafka.connect.json.JsonConverter"
#define BINARY "io.debezium.converters.BinaryDataConverter"
#define BYTES  "org.apache.kafka.connect.converters.ByteArrayConverter"
#define STRING "org.apache.kafka.connect.storage.StringConverter"
    static const struct step steps[] = {
        {{"key.converter", JSON},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | "
         "{\"schema\":{\"type\":\"string\",\"optional\":true,\"default\":\"dk\"},\"payload\":\"k1\"} | "
         "{\"a\": 1} | id=" ID},
        {{"key.converter", JSON, "key.converter.schemas.enable", "false", "table.field.event.key", "n"},
         {"n", NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | null | {\"a\": 1} | id=" ID},
        {{"value.converter", BYTES, "table.field.event.payload", "b"},
         {"b", "\\x4142"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | AB | id=" ID},
        {{"value.converter", BYTES, "table.field.event.payload", "b"},
         {"b", NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | <null> | id=" ID},
        {{"value.converter", BYTES}, {NULL}, OW_ROW_INSERT, "unfit: ByteArrayConverter takes bytes only"},
        {{"value.converter", BINARY}, {NULL}, OW_ROW_INSERT, "unfit: delegate.converter.type"},
        {{"value.converter", BINARY, "table.field.event.payload", "b"},
         {"b", "\\x4142"},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | AB | id=" ID},
        {{"value.converter", BINARY, "value.converter.delegate.converter.type", JSON,
          "value.converter.delegate.converter.type.schemas.enable", "false"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | \"{\\\"a\\\": 1}\" | id=" ID},
        {{JSON_VALUE, "table.field.event.payload", "d"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | \"BOI=\" | id=" ID},
        {{JSON_VALUE, "table.field.event.payload", "d", "value.converter.decimal.format", "NUMERIC"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | 12.50 | id=" ID},
        {{"header.converter", JSON, "header.converter.schemas.enable", "false"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=\"" ID "\""},
        {{"header.converter", STRING, PLACED, "b:header"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " b=java.nio.HeapByteBuffer[pos=0 lim=2 cap=2]"},
        {{PLACED, "b:header"}, {NULL}, OW_ROW_INSERT, "outbox.event.Order | k1 | {\"a\": 1} | id=" ID " b=AP8="},
        {{"key.converter.replace.null.with.default", "false"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

/* The connector's modes; what they do to each type is in test_debezium_values.c. */
static void test_modes(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{JSON_VALUE, "table.field.event.payload", "d", "decimal.handling.mode", "string"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | \"12.50\" | id=" ID},
        {{JSON_VALUE, "table.field.event.payload", "d", "decimal.handling.mode", "double"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | 12.5 | id=" ID},
        {{JSON_VALUE, "table.field.event.payload", "ts", "time.precision.mode", "connect"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | 1614863655123 | id=" ID},
        {{JSON_VALUE, "table.field.event.payload", "b", "binary.handling.mode", "hex"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | \"00ff\" | id=" ID},
        {{"money.fraction.digits", "0", "hstore.handling.mode", "map", "interval.handling.mode", "string"},
         {NULL},
         OW_ROW_INSERT,
         "outbox.event.Order | k1 | {\"a\": 1} | id=" ID},
    };
    run_steps(steps, OW_COUNT_OF(steps));
}

static void test_bad_options(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *why;
        int code;
    } cases[] = {
        {"no.such", "x", "no.such", OW_ENOTFOUND},
        {"table.op.invalid.behavior", "skip", "warn, error, fatal", OW_ECONFIG},
        {"money.fraction.digits", "19", "0 to 18", OW_ECONFIG},
        {"key.converter", "io.confluent.connect.avro.AvroConverter", "StringConverter", OW_ECONFIG},
        {PLACED, "type", "column:placement", OW_ECONFIG},
        {PLACED, "type:header:a:b", "column:placement", OW_ECONFIG},
        {PLACED, "type:body", "header, envelope, partition", OW_ECONFIG},
        {PLACED, "type:envelope:payload", "alias", OW_ECONFIG},
        {PLACED, "type:envelope:a,n:envelope:a", "twice", OW_ECONFIG},
        {"route.topic.replacement", "${nosuch}", "nosuch", OW_ECONFIG},
        {"route.by.field", "", "route.by.field", OW_ECONFIG},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_debezium_options options;
        struct ow_debezium *router = NULL;
        struct ow_error err = {0};
        assert_int_equal(ow_debezium_options_init(&options, NULL), 0);
        int r = ow_debezium_options_set(&options, ow_bytes_of(cases[i].name), ow_bytes_of(cases[i].value), &err);
        if (r == 0)
            r = ow_debezium_new(&options, &router, &err);
        assert_int_equal(r, cases[i].code);
        assert_text_has(err.text, cases[i].why);
        ow_debezium_options_done(&options);
    }
}

/* A table that changed is another one. */
static void test_table_changes(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    struct ow_debezium *router = router_of(none);
    for (uint64_t version = 1; version <= 200; version++) {
        struct ow_row_column moved[COLUMNS];
        struct ow_bytes values[COLUMNS];
        for (size_t i = 0; i < COLUMNS; i++) {
            moved[i] = columns[(i + version) % COLUMNS];
            values[i] = ow_bytes_of(usual[(i + version) % COLUMNS]);
        }
        struct ow_row_table changed = {table.schema, table.name, moved, COLUMNS, version % 100 + 10};
        if (version > 100) /* as it was when this number was seen last */
            for (size_t i = 0; i < COLUMNS; i++) {
                moved[i] = columns[(i + version - 100) % COLUMNS];
                values[i] = ow_bytes_of(usual[(i + version - 100) % COLUMNS]);
            }
        struct ow_row row = {OW_ROW_INSERT, &changed, values};
        struct ow_debezium_record record;
        assert_int_equal(ow_debezium_route(router, &row, &record, NULL), 0);
        assert_true(ow_bytes_is(record.key, "k1"));
        assert_true(ow_bytes_is(record.type, "Created"));
    }
    ow_debezium_free(router);
}

static void test_messages_pass(void **state)
{
    (void)state;
    static const char *const options[] = {JSON_VALUE, "key.converter",
                                          JSON,       "key.converter.schemas.enable",
                                          "false",    "topic.prefix",
                                          "p",        "binary.handling.mode",
                                          "hex",      NULL};
    struct ow_debezium *router = router_of(options);
    struct ow_debezium_message message = {.prefix = OW_BYTES("bin"),
                                          .content = {"\0\xff\x10", 3},
                                          .database = OW_BYTES("db"),
                                          .version = OW_BYTES("3"),
                                          .is_transactional = true,
                                          .transaction_id = 9,
                                          .lsn = 77,
                                          .time_us = 1500,
                                          .now_us = 2500};
    struct ow_debezium_record record;
    assert_int_equal(ow_debezium_pass(router, &message, &record, NULL), 0);
    assert_true(ow_bytes_is(record.topic, "p.message"));
    assert_true(ow_bytes_is(record.key, "{\"prefix\":\"bin\"}"));
    struct ow_buf value = {0};
    ow_buf_add_bytes(&value, record.value);
    assert_string_equal(
        value.data,
        "{\"op\":\"m\",\"ts_ms\":2,\"source\":{\"version\":\"3\",\"connector\":\"postgresql\",\"name\":\"p\",\"ts_ms\":"
        "1,"
        "\"snapshot\":\"false\",\"db\":\"db\",\"sequence\":\"[null,\\\"77\\\"]\",\"ts_us\":1500,\"ts_ns\":1500000,"
        "\"schema\":\"\",\"table\":\"\",\"txId\":9,\"lsn\":77,\"xmin\":null},\"transaction\":null,"
        "\"message\":{\"prefix\":\"bin\",\"content\":\"00ff10\"}}");
    ow_buf_done(&value);
    ow_debezium_free(router);
}

static void test_messages_of_some_prefixes(void **state)
{
    (void)state;
    static const struct {
        const char *include, *exclude, *prefix;
        bool passes;
    } cases[] = {
        {"a.*,B", NULL, "abc", true}, {"a.*,B", NULL, "b", true}, {"a.*,B", NULL, "xa", false},
        {"a.*,B", NULL, "bb", false}, {NULL, "a, b", "b", false}, {NULL, "a, b", "ab", true},
        {"a.*", "ab", "ab", false},   {"a.*", "ab", "abc", true}, {NULL, NULL, "", true},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        const char *options[5] = {NULL};
        size_t count = 0;
        if (cases[i].include) {
            options[count++] = "message.prefix.include.list";
            options[count++] = cases[i].include;
        }
        if (cases[i].exclude) {
            options[count++] = "message.prefix.exclude.list";
            options[count++] = cases[i].exclude;
        }
        struct ow_debezium *router = router_of(options);
        const struct ow_debezium_message message = {.prefix = ow_bytes_of(cases[i].prefix), .content = OW_BYTES("x")};
        struct ow_debezium_record record;
        assert_int_equal(ow_debezium_pass(router, &message, &record, NULL), 0);
        assert_int_equal(record.outcome == OW_DEBEZIUM_RECORD, cases[i].passes);
        ow_debezium_free(router);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routing),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_timestamp),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_tombstones),
        cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_schema_version),
        cmocka_unit_test(test_schema_name_stays),
        cmocka_unit_test(test_converters),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_table_changes),
        cmocka_unit_test(test_messages_pass),
        cmocka_unit_test(test_messages_of_some_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
