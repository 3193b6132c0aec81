/* SPDX-License-Identifier: Apache-2.0 */
/* From Debezium's configuration to ours. */
#include "unit.h"

#include <stdio.h>

#include "codec/debezium_import.h"

static void import(const char *text, struct ow_debezium_import *ret)
{
    struct ow_error err = {0};
    if (ow_debezium_import(ow_bytes_of(text), ret, &err) != 0)
        fail_msg("%s", err.text);
}

static const char *text_of(const struct ow_buf *buf)
{
    return buf->data ? buf->data : "";
}

#define ROUTER                     \
    "debezium.transforms=outbox\n" \
    "debezium.transforms.outbox.type=io.debezium.transforms.outbox.EventRouter\n"
#define PLACE                                            \
    "debezium.source.topic.prefix=p\n"                   \
    "debezium.source.database.hostname=db.example\n"     \
    "debezium.source.database.sslmode=require\n"         \
    "debezium.source.database.dbname=orders\n"           \
    "debezium.source.table.include.list=public.outbox\n" \
    "debezium.sink.kafka.producer.bootstrap.servers=k1:9092, k2:9092\n"

static void test_server_properties(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import("# a comment\n"
           "debezium.sink.type=kafka\n"
           "debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector\n"
           "debezium.source.database.user=app\ndebezium.source.database.password=${DB_PW}\n"
           "debezium.source.plugin.name=pgoutput\ndebezium.source.slot.name=s1\ndebezium.source.publication.name=p1\n"
           "debezium.transforms.outbox.route.topic.replacement=ev.${routedByValue}\n"
           "debezium.format.key=simplestring\ndebezium.format.schemas.enable=false\n" ROUTER PLACE
           "debezium.source.topic.prefix = \\\n   shop\n",
           &to);
    assert_string_equal(text_of(&to.lost), "");
    assert_string_equal(text_of(&to.yaml),
                        "version: 1\n"
                        "stores:\n"
                        "  source:\n"
                        "    url: \"postgres://app:${DB_PW}@db.example:5432/orders?sslmode=require\"\n"
                        "    # a password with letters other than a-z A-Z 0-9 - . _ ~ must be written %XX in a URL\n"
                        "brokers:\n"
                        "  bus:\n"
                        "    url: \"kafka://k1:9092,k2:9092\"\n"
                        "relays:\n"
                        "  - name: outbox\n"
                        "    from:\n"
                        "      store: source\n"
                        "      outbox: \"public.outbox\"\n"
                        "      by: log\n"
                        "      slot: \"s1\"\n"
                        "      publication: \"p1\"\n"
                        "      prune: never # what is in the table stays the service's own\n"
                        "    to:\n"
                        "      broker: bus\n"
                        "      debezium:\n"
                        "        route.topic.replacement: \"ev.$${routedByValue}\"\n"
                        "        topic.prefix: \"shop\"\n"
                        "        key.converter: \"org.apache.kafka.connect.storage.StringConverter\"\n"
                        "        key.converter.schemas.enable: \"false\"\n"
                        "        value.converter: \"org.apache.kafka.connect.json.JsonConverter\"\n"
                        "        value.converter.schemas.enable: \"false\"\n"
                        "        header.converter: \"org.apache.kafka.connect.json.JsonConverter\"\n"
                        "        header.converter.schemas.enable: \"false\"\n");
    assert_int_equal(to.options.header.kind, OW_DBZ_CONVERTER_JSON);
    assert_false(to.options.header.has_schemas);
    ow_debezium_import_done(&to);
}

static void test_connector_json(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import(
        "{\"name\":\"c\",\"config\":{"
        "\"connector.class\":\"io.debezium.connector.postgresql.PostgresConnector\",\"tasks.max\":1,"
        "\"database.hostname\":\"h\",\"database.port\":\"6543\",\"database.user\":\"u\","
        "\"database.password\":\"${file:/etc/pw.properties:db-password}\",\"database.dbname\":\"d\","
        "\"table.include.list\":\"public\\\\.outbox\",\"plugin.name\":\"pgoutput\","
        "\"transforms\":\"o\",\"transforms.o.type\":\"io.debezium.transforms.outbox.EventRouter\","
        "\"transforms.o.table.expand.json.payload\":true,"
        "\"value.converter\":\"org.apache.kafka.connect.json.JsonConverter\",\"value.converter.schemas.enable\":false,"
        "\"key.converter\":\"org.apache.kafka.connect.storage.StringConverter\",\"column.mask.hash\":\"x\"}}",
        &to);
    assert_text_has(text_of(&to.yaml), "postgres://u:${DB_PASSWORD:?set DB_PASSWORD}@h:6543/d\"");
    assert_text_has(text_of(&to.yaml), "outbox: \"public.outbox\"");
    assert_text_has(text_of(&to.yaml), "slot: \"debezium\"");
    assert_text_has(text_of(&to.yaml), "table.expand.json.payload: \"true\"");
    assert_text_has(text_of(&to.yaml), "${KAFKA_URL:?");
    assert_text_has(text_of(&to.lost), "db-password}: set the variable DB_PASSWORD");
    assert_text_has(text_of(&to.lost), "column.mask.hash: not carried over\n");
    assert_text_has(text_of(&to.lost), "bootstrap.servers");
    assert_text_has(text_of(&to.lost), "database.sslmode: prefer"); /* the default, and the host is another one */
    assert_null(strstr(text_of(&to.lost), "tasks.max"));
    assert_int_equal(to.options.header.kind, OW_DBZ_CONVERTER_SIMPLE); /* Kafka Connect's default */
    assert_false(to.options.value.has_schemas);
    ow_debezium_import_done(&to);
}

/* What has no counterpart is told, and the rest is there. */
static void test_lost(void **state)
{
    (void)state;
    static const struct {
        const char *line, *lost;
    } cases[] = {
        {"debezium.format.value=avro\n", "debezium.format.value: this format"},
        {"debezium.format.value=protobuf\n", "debezium.format.value: this format"},
        {"debezium.format.value=cloudevents\n", "debezium.format.value: this format"},
        {"debezium.format.key=clientprovided\ndebezium.format.key.class=com.example.Mine\n",
         "debezium.format.key.class"},
        {"debezium.source.plugin.name=decoderbufs\n", "plugin.name"},
        {"debezium.transforms=outbox,x\ndebezium.transforms.x.type=org.apache.kafka.connect.transforms.RegexRouter\n",
         "transforms.x.type: the transform org.apache"},
        {"debezium.source.column.exclude.list=.*\\\\.payload\n", "column.exclude.list: not carried over"},
        {"debezium.source.column.include.list=public.outbox.id\n", "column.include.list: not carried over"},
        {"debezium.source.skipped.operations=c,t\n", "skipped.operations: not carried over"},
        {"debezium.transforms.outbox.table.field.additional.missing=ignore\n", "missing: no option of Debezium 3.0"},
        {"debezium.transforms.outbox.table.json.payload.empty.array.behavior=optional_string\n",
         "behavior: no option of Debezium 3.0"},
        {"debezium.source.table.include.list=outbox\n", "outbox: table.include.list: matches no table"},
        {"debezium.source.table.include.list=.*outbox\n", ".*outbox: table.include.list: an expression"},
        {"debezium.transforms.outbox.tracing.operation.name=x\n", "tracing.operation.name"},
        {"debezium.transforms.outbox.no.such=x\n", "no.such: no option of the event router"},
        {"debezium.sink.kafka.producer.interceptor.classes=x\n", "interceptor.classes"},
        {"debezium.sink.kafka.producer.security.protocol=SSL\n"
         "debezium.sink.kafka.producer.ssl.truststore.location=/t.jks\n",
         "ssl.truststore.location"},
        {"debezium.sink.kafka.producer.sasl.mechanism=GSSAPI\n", "sasl.mechanism"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_buf text = {0};
        struct ow_debezium_import to;
        ow_buf_printf(&text, "%s%s%s", ROUTER, PLACE, cases[i].line);
        import(text.data, &to);
        assert_text_has(text_of(&to.lost), cases[i].lost);
        assert_text_has(text_of(&to.yaml), "outbox: \"public.outbox\"");
        ow_debezium_import_done(&to);
        ow_buf_done(&text);
    }
}

static void test_kafka(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import(ROUTER PLACE "debezium.sink.kafka.producer.security.protocol=SASL_SSL\n"
                        "debezium.sink.kafka.producer.sasl.mechanism=SCRAM-SHA-512\n"
                        "debezium.sink.kafka.producer.sasl.jaas.config=org.x.ScramLoginModule required username=\"me\" "
                        "password=\"${PW}\";\n"
                        "debezium.sink.kafka.producer.ssl.truststore.type=PEM\n"
                        "debezium.sink.kafka.producer.ssl.truststore.location=/ca.pem\n"
                        "debezium.sink.kafka.producer.compression.type=zstd\n"
                        "debezium.sink.kafka.producer.linger.ms=5\n"
                        "debezium.sink.kafka.producer.acks=all\n"
                        "debezium.sink.kafka.producer.max.request.size=2000000\n",
           &to);
    assert_string_equal(text_of(&to.lost), "");
    assert_text_has(text_of(&to.yaml), "    url: \"kafka://k1:9092,k2:9092\"\n"
                                       "    tls:\n"
                                       "      ca: \"/ca.pem\"\n"
                                       "    sasl:\n"
                                       "      mechanism: scram-sha-512\n"
                                       "      username: \"me\"\n"
                                       "      password: \"${PW}\"\n"
                                       "    compression: \"zstd\"\n"
                                       "    linger: \"5ms\"\n"
                                       "    properties:\n"
                                       "      message.max.bytes: \"2000000\"\n");
    ow_debezium_import_done(&to);
}

static void test_tables(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import(ROUTER PLACE
           "debezium.source.table.include.list=public.outbox,public.orders,s.outbox,public.x.*\n"
           "debezium.source.topic.prefix=p\ndebezium.source.skipped.operations=u,t\n"
           "debezium.transforms.outbox.predicate=isOutbox\ndebezium.predicates=isOutbox\n"
           "debezium.predicates.isOutbox.type=org.apache.kafka.connect.transforms.predicates.TopicNameMatches\n"
           "debezium.predicates.isOutbox.pattern=.*\\\\.outbox\n",
           &to);
#if OW_WITH_PCRE2
    assert_text_has(text_of(&to.yaml), "outbox: \"public.outbox, s.outbox\"");
    assert_text_has(text_of(&to.yaml), "changes: \"public.orders\"");
    assert_null(strstr(text_of(&to.lost), "public.orders"));
    assert_text_has(text_of(&to.lost), "skipped.operations: ");
#endif
    assert_text_has(text_of(&to.lost), "public.x.*: table.include.list");
    ow_debezium_import_done(&to);
}

/* An expression that stands for a few tables is those. */
static void test_tables_by_expression(void **state)
{
    (void)state;
    static const struct {
        const char *list, *tables;
    } cases[] = {
        {"public\\\\.outbox", "public.outbox"},
        {"^public\\\\.outbox$", "public.outbox"},
        {"(a|b).(?:x|y_?z)", "a.x, a.y_z, a.yz, b.x, b.y_z, b.yz"},
        {"public.outbox[12],public.outbox1", "public.outbox1, public.outbox2"},
        {"public.(outbox|(in|out)box)", "public.outbox, public.inbox"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_buf text = {0}, line = {0};
        struct ow_debezium_import to;
        ow_buf_printf(&text, ROUTER PLACE "debezium.source.table.include.list=%s\n", cases[i].list);
        ow_buf_printf(&line, "      outbox: \"%s\"\n", cases[i].tables);
        import(text.data, &to);
        assert_text_has(text_of(&to.yaml), line.data);
        assert_string_equal(text_of(&to.lost), "");
        ow_debezium_import_done(&to);
        ow_buf_done(&text);
        ow_buf_done(&line);
    }
    static const char *const others[] = {
        "public.out.ox", "public.outbox.*", "public.[^a]",
        "public.[a-z]",  "public.(outbox",  "public.outbox)",
        "public.a{2}",   "public.\\\\w",    "public.(a|b)(c|d)(e|f)(g|h)(i|j)(k|l)(m|n)"};
    for (size_t i = 0; i < OW_COUNT_OF(others); i++) {
        struct ow_buf text = {0};
        struct ow_debezium_import to;
        ow_buf_printf(&text, ROUTER PLACE "debezium.source.table.include.list=%s\n", others[i]);
        import(text.data, &to);
        assert_text_has(text_of(&to.lost), ": table.include.list: an expression; name the tables\n");
        ow_debezium_import_done(&to);
        ow_buf_done(&text);
    }
}

#if OW_WITH_PCRE2
/* What the router does not read may be left out, and what has no effect on its records is not told. */
static void test_what_changes_nothing(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import(ROUTER PLACE "debezium.source.table.include.list=public.outbox\n"
                        "debezium.source.column.exclude.list=PUBLIC.outbox.created,.*\\\\.type\n"
                        "debezium.source.message.key.columns=public.outbox:type\n"
                        "debezium.source.skipped.operations=t, u\n"
                        "debezium.transforms.outbox.table.op.invalid.behavior=fatal\n",
           &to);
    assert_string_equal(text_of(&to.lost), "");
    assert_text_has(text_of(&to.yaml), "table.op.invalid.behavior: \"warn\"\n");
    ow_debezium_import_done(&to);
    import(ROUTER PLACE "debezium.source.column.include.list=public.outbox.(id|aggregate.*|payload)\n", &to);
    assert_null(strstr(text_of(&to.lost), "column.include.list"));
    ow_debezium_import_done(&to);
}
#endif

/* In the file of the Server a dollar sign before a brace is a placeholder's, unless it is escaped; in JSON it never is.
 */
static void test_dollar_signs(void **state)
{
    (void)state;
    static const char *const cases[] = {
        ROUTER PLACE "debezium.transforms.outbox.route.topic.replacement=e.${routedByValue}\n",
        ROUTER PLACE "debezium.transforms.outbox.route.topic.replacement=e.\\\\${routedByValue}\n",
        ROUTER PLACE "debezium.transforms.outbox.route.topic.replacement=e.$${routedByValue}\n",
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_debezium_import to;
        import(cases[i], &to);
        assert_text_has(text_of(&to.yaml), "route.topic.replacement: \"e.$${routedByValue}\"\n");
        ow_debezium_import_done(&to);
    }
}

/* A placeholder is another property, or a variable: which variables there are when Debezium runs is not known here. */
static void test_placeholders(void **state)
{
    (void)state;
    static const struct {
        const char *said, *yaml, *lost; /* lost NULL: nothing */
    } cases[] = {
        {"debezium.transforms.outbox.route.by.field=${kind.of}\nkind.of=kind\n", "route.by.field: \"kind\"", NULL},
        {"debezium.transforms.outbox.route.by.field=${KIND:kind}\n", "route.by.field: \"kind\"",
         "debezium.transforms.outbox.route.by.field: the variable KIND is not looked at, its default counts"},
        {"debezium.transforms.outbox.route.by.field=${A:${B:x}y}\nB=b\n", "route.by.field: \"by\"", "variable A"},
        {"debezium.transforms.outbox.route.by.field=${A}\n", "route.by.field: \"$${A}\"",
         "the variable A is not looked at; write its value"},
        {"debezium.transforms.outbox.route.topic.replacement=${PRE:e}.${routedByValue}\n",
         "route.topic.replacement: \"e.$${routedByValue}\"", "variable PRE"},
        {"debezium.source.decimal.handling.mode=${MODE:string}\n", "decimal.handling.mode: \"string\"",
         "variable MODE"},
        {"debezium.format.value=${V:simplestring}\n", "storage.StringConverter", "variable V"},
        {"debezium.source.table.include.list=${T:public.bills}\n", "outbox: \"public.bills\"", "variable T"},
        {"debezium.source.slot.name=${SLOT:s}\n", "slot: \"${SLOT:-s}\"", NULL},
        {"debezium.source.database.password=a$$b\\\\$c$d\n", "postgres:a%24b%24c%24d@", NULL},
        {"a=${b}${b}\nb=${a}${a}\ndebezium.source.decimal.handling.mode=double\n", "decimal.handling.mode", NULL},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_debezium_import to;
        char text[4096];
        snprintf(text, sizeof(text), ROUTER PLACE "%s", cases[i].said);
        import(text, &to);
        assert_text_has(text_of(&to.yaml), cases[i].yaml);
        if (cases[i].lost)
            assert_text_has(text_of(&to.lost), cases[i].lost);
        else
            assert_string_equal(text_of(&to.lost), "");
        ow_debezium_import_done(&to);
    }
}

#if OW_WITH_PCRE2
/* Java's boolean: true in any case, and everything else is false. */
static void test_negated_predicate(void **state)
{
    (void)state;
    static const struct {
        const char *negate, *outbox;
    } cases[] = {
        {"true", "public.outbox"},
        {" TRUE ", "public.outbox"},
        {"yes", "public.orders"},
        {"", "public.orders"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_debezium_import to;
        char text[4096], want[64];
        snprintf(text, sizeof(text),
                 ROUTER PLACE "debezium.source.table.include.list=public.outbox,public.orders\n"
                              "debezium.predicates= q , p\ndebezium.transforms.outbox.predicate=p\n"
                              "debezium.predicates.p.type=org.apache.kafka.connect.transforms.predicates."
                              "TopicNameMatches\ndebezium.predicates.p.pattern=p.public.orders\n"
                              "debezium.transforms.outbox.negate=%s\n",
                 cases[i].negate);
        import(text, &to);
        snprintf(want, sizeof(want), "outbox: \"%s\"", cases[i].outbox);
        assert_text_has(text_of(&to.yaml), want);
        ow_debezium_import_done(&to);
    }
}
#endif

static void test_heartbeats_are_told(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import(ROUTER PLACE "debezium.source.heartbeat.interval.ms=1000\ndebezium.source.heartbeat.action.query=SELECT 1\n",
           &to);
    assert_text_has(text_of(&to.lost), "heartbeat.interval.ms: no heartbeats are published");
    assert_text_has(text_of(&to.lost), "heartbeat.action.query: is not run");
    ow_debezium_import_done(&to);
    import(ROUTER PLACE "debezium.source.heartbeat.interval.ms=0\n", &to);
    assert_string_equal(text_of(&to.lost), "");
    ow_debezium_import_done(&to);
}

/* Debezium Server's sink does not pass the time of the event on to Kafka; Kafka Connect does. */
static void test_time_of_the_record(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import(ROUTER PLACE "debezium.transforms.outbox.table.field.event.timestamp=at\n", &to);
    assert_text_has(text_of(&to.yaml), "table.field.event.timestamp: \"at\"\n        record.time: \"writing\"\n");
    assert_string_equal(text_of(&to.lost), "");
    ow_debezium_import_done(&to);
    import("{\"transforms\":\"o\",\"transforms.o.type\":\"io.debezium.transforms.outbox.EventRouter\","
           "\"transforms.o.table.field.event.timestamp\":\"at\"}",
           &to);
    assert_text_has(text_of(&to.yaml), "table.field.event.timestamp: \"at\"\n");
    assert_null(strstr(text_of(&to.yaml), "record.time"));
    ow_debezium_import_done(&to);
}

/* A secret in clear is a part of a URL then. */
static void test_password_is_escaped(void **state)
{
    (void)state;
    struct ow_debezium_import to;
    import(ROUTER PLACE "debezium.source.database.user=a@b\ndebezium.source.database.password=p/w$d \\u00e4\n", &to);
    assert_text_has(text_of(&to.yaml), "postgres://a%40b:p%2Fw%24d%20%C3%A4@db.example:5432/orders");
    ow_debezium_import_done(&to);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
        int code;
    } cases[] = {
        {ROUTER "debezium.transforms.outbox.table.fields.additional.placement=type:header:a:b\n",
         "additional.placement", OW_ECONFIG},
        {ROUTER "debezium.transforms.outbox.table.fields.additional.placement=\n", "additional.placement", OW_ECONFIG},
        {ROUTER "debezium.transforms.outbox.table.fields.additional.placement=a:header,,b:header\n",
         "additional.placement", OW_ECONFIG},
        {ROUTER "debezium.transforms.outbox.table.field.event.timestamp=\n", "event.timestamp", OW_ECONFIG},
        {ROUTER "debezium.source.time.precision.mode=isostring\n", "time.precision.mode", OW_ECONFIG},
        {ROUTER "debezium.source.snapshot.mode=schema_only\n", "snapshot.mode", OW_ECONFIG},
        {ROUTER "debezium.source.plugin.name=wal2json\n", "plugin.name", OW_ECONFIG},
        {ROUTER "debezium.format.value=xml\n", "debezium.format.value", OW_ECONFIG},
        {ROUTER "debezium.format.key=clientprovided\n"
                "debezium.format.key.class=org.apache.kafka.connect.storage.SimpleHeaderConverter\n",
         "headers only", OW_ECONFIG},
        {ROUTER "debezium.format.header=simplestring\n", "debezium.format.header", OW_ECONFIG},
        {ROUTER "debezium.source.skipped.operations=x\n", "none of: c, u, d, t, none", OW_ECONFIG},
        {ROUTER "debezium.transforms.outbox.table.op.invalid.behavior=skip\n", "warn, error, fatal", OW_ECONFIG},
        {ROUTER "debezium.transforms.outbox.route.topic.replacement=${x}\n", "route.topic", OW_ECONFIG},
        {ROUTER "debezium.source.decimal.handling.mode=x\n", "precise", OW_ECONFIG},
        {"debezium.transforms=\n", "no event router", OW_EUNSUPPORTED},
        {ROUTER "debezium.transforms=outbox,x\n", "debezium.transforms.x.type: not said", OW_ECONFIG},
        {ROUTER "debezium.source.topic.prefix=a b\n", "topic.prefix", OW_ECONFIG},
        {ROUTER "debezium.source.topic.prefix=\n", "topic.prefix", OW_ECONFIG},
        {ROUTER "debezium.source.skipped.operations=\n", "skipped.operations", OW_ECONFIG},
        {ROUTER PLACE "debezium.transforms.outbox.predicate=x\n", "debezium.predicates.x.type: not said", OW_ECONFIG},
        {ROUTER PLACE "debezium.transforms.outbox.predicate=x\ndebezium.predicates=y\n"
                      "debezium.predicates.x.type=org.apache.kafka.connect.transforms.predicates.RecordIsTombstone\n",
         "debezium.predicates: does not name", OW_ECONFIG},
        {ROUTER PLACE "debezium.transforms.outbox.predicate=x\ndebezium.predicates=x\n"
                      "debezium.predicates.x.type=org.apache.kafka.connect.transforms.predicates.TopicNameMatches\n",
         "debezium.predicates.x.pattern: not said", OW_ECONFIG},
        {ROUTER "debezium.source.skipped.operations=c,none\n", "alone", OW_ECONFIG},
        {ROUTER PLACE "debezium.transforms.outbox.predicate=x\ndebezium.predicates=x\n"
                      "debezium.predicates.x.type=org.apache.kafka.connect.transforms.predicates.RecordIsTombstone\n",
         "away from every table", OW_EUNSUPPORTED},
        {ROUTER "debezium.sink.type=pulsar\n", "pulsar", OW_EUNSUPPORTED},
        {ROUTER "debezium.source.connector.class=io.debezium.connector.mysql.MySqlConnector\n", "MySql",
         OW_EUNSUPPORTED},
        {"{\"a\":", "not JSON", OW_EINVALID},
        {"a=\\u12\n", "line 1", OW_EINVALID},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_debezium_import to;
        struct ow_error err = {0};
        assert_int_equal(ow_debezium_import(ow_bytes_of(cases[i].text), &to, &err), cases[i].code);
        assert_text_has(err.text, cases[i].why);
    }
}

/* Java's rules for a file of properties. */
static void test_java_properties(void **state)
{
    (void)state;
    struct ow_properties properties;
    assert_int_equal(
        ow_properties_read(OW_BYTES("  # c\r\n! c\n a = 1 \nb:2\nc 3\nd\ne=\\\n  x\\\\\nf\\ g=\\u0041\\t\\:\na=4"),
                           &properties, NULL),
        0);
    assert_true(ow_bytes_is(ow_properties_get(&properties, "a"), "4"));
    assert_true(ow_bytes_is(ow_properties_get(&properties, "b"), "2"));
    assert_true(ow_bytes_is(ow_properties_get(&properties, "c"), "3"));
    assert_true(ow_bytes_is(ow_properties_get(&properties, "d"), ""));
    assert_true(ow_bytes_is(ow_properties_get(&properties, "e"), "x\\"));
    assert_true(ow_bytes_is(ow_properties_get(&properties, "f g"), "A\t:"));
    assert_null(ow_properties_get(&properties, "g").data);
    assert_int_equal(properties.count, 6);
    ow_properties_done(&properties);
    assert_int_equal(ow_properties_read(OW_BYTES("a=\\u00e9\\uD83D\\uDE00\\u20ac\\ud83d.\\ude00"), &properties, NULL),
                     0);
    assert_true(ow_bytes_is(ow_properties_get(&properties, "a"), "é😀€?.?"));
    ow_properties_done(&properties);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_properties),
        cmocka_unit_test(test_connector_json),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_tables_by_expression),
        cmocka_unit_test(test_dollar_signs),
#if OW_WITH_PCRE2
        cmocka_unit_test(test_what_changes_nothing),
        cmocka_unit_test(test_negated_predicate),
#endif
        cmocka_unit_test(test_kafka),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_placeholders),
        cmocka_unit_test(test_heartbeats_are_told),
        cmocka_unit_test(test_time_of_the_record),
        cmocka_unit_test(test_password_is_escaped),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_java_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
