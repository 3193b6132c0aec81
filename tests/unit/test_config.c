/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"
#include "config/schema.h"

static const char *get_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "DB") == 0       ? "sqlite:from-env.db"
           : strcmp(name, "SECRET") == 0 ? "hunter2"
           : strcmp(name, "LINES") == 0  ? "hunter2\nx"
           : strcmp(name, "TOPIC") == 0  ? "t.${!type}"
           : strcmp(name, "BROKEN") == 0 ? "hunter2${"
                                         : NULL;
}

static int read_file(void *context, const char *path, size_t size_max, struct ow_buf *to, struct ow_error *err)
{
    (void)context;
    (void)size_max;
    (void)err;
    ow_buf_printf(to, "sqlite:%s.db\n", path);
    return 0;
}

static const struct ow_substitution_world world = {get_variable, read_file, NULL};

static struct ow_config *good(const char *text)
{
    struct ow_diagnostics diagnostics = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf lines = {0};
    struct ow_config *config = NULL;
    int r = ow_config_parse(ow_bytes_of(text), "c.yaml", &world, &diagnostics, &config);
    ow_diagnostics_print(&diagnostics, &lines);
    if (r != 0)
        fail_msg("%s", ow_buf_bytes(&lines).data);
    assert_int_equal(diagnostics.count, 0);
    return config;
}

static void bad_bytes(struct ow_bytes text, const char *expected)
{
    struct ow_diagnostics diagnostics = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf lines = {0};
    struct ow_config *config = NULL;
    int r = ow_config_parse(text, "c.yaml", &world, &diagnostics, &config);
    ow_diagnostics_print(&diagnostics, &lines);
    ow_diagnostics_done(&diagnostics);
    assert_string_equal(ow_buf_bytes(&lines).data, expected);
    assert_int_equal(r, OW_ECONFIG);
    assert_null(config);
}

static void bad(const char *text, const char *expected)
{
    bad_bytes(ow_bytes_of(text), expected);
}

#define HEAD                       \
    "version: 1\n"                 \
    "stores:\n"                    \
    "  orders: sqlite:orders.db\n" \
    "  other: sqlite:other.db\n"   \
    "brokers:\n"                   \
    "  bus: journal:bus.db\n"      \
    "relays:\n"
/* The first relay of a text that begins with HEAD is on line 8. */

static void test_least(void **state)
{
    (void)state;
    OW_CLEANUP(ow_config_cleanup)
    struct ow_config *c = good(HEAD "- { name: orders, from: { store: orders }, to: { broker: bus } }\n");
    assert_int_equal(c->log_level, OW_LOG_INFO);
    assert_int_equal(c->log_format, OW_LOG_AUTO);
    assert_int_equal(c->store_count, 2);
    assert_int_equal(c->broker_count, 1);
    assert_int_equal(c->relay_count, 1);
    const struct ow_config_relay *relay = &c->relays[0];
    assert_string_equal(relay->name, "orders");
    assert_ptr_equal(relay->store, &c->stores[0]);
    assert_ptr_equal(relay->broker, &c->brokers[0]);
    assert_string_equal(relay->topic, "outbox.event.${!aggregatetype}");
    assert_string_equal(relay->key, "${!aggregateid}");
    assert_string_equal(relay->outbox.path, "orders.db");
    assert_int_equal(relay->outbox.after, OW_OUTBOX_DELETE);
}

/* The defaults that the tables state are those of the code that is configured. */
static void test_defaults_agree(void **state)
{
    (void)state;
    OW_CLEANUP(ow_config_cleanup)
    struct ow_config *c = good(HEAD "- { name: orders, from: { store: orders }, to: { broker: bus } }\n");
    const struct ow_config_relay *relay = &c->relays[0];
    assert_int_equal(relay->retry.initial_ms, ow_retry_policy_default.initial_ms);
    assert_int_equal(relay->retry.max_ms, ow_retry_policy_default.max_ms);
    assert_int_equal(relay->retry.attempts_max, ow_retry_policy_default.attempts_max);
    assert_true(relay->retry.multiplier == ow_retry_policy_default.multiplier);
    assert_true(relay->retry.jitter == ow_retry_policy_default.jitter);
    assert_int_equal(relay->window.count_max, ow_window_limits_default.count_max);
    assert_int_equal(relay->window.bytes_max, ow_window_limits_default.bytes_max);
    assert_memory_equal(&relay->limits, &ow_message_limits_default, sizeof relay->limits);
}

static void test_everything_said(void **state)
{
    (void)state;
    OW_CLEANUP(ow_config_cleanup)
    struct ow_config *c = good("version: \"1\"\n"
                               "log: { level: warn, format: json }\n"
                               "stores:\n"
                               "  a: { url: \"${DB}\", after: mark, keep: 2d }\n"
                               "  b: \"${file:secret}?after=mark\"\n"
                               "brokers:\n"
                               "  j: { partitions: 12, url: journal:j.db, retention: 0, retention_size: 2GiB }\n"
                               "  f: { url: \"file:x?rotate=1MiB\", fsync: never, keep: 3 }\n"
                               "  s: \"stdout:\"\n"
                               "relays:\n"
                               "- name: one\n"
                               "  from: { store: a, outbox: onewrite.outbox, by: polling, keep: 3d }\n"
                               "  to: { broker: f, topic: \"${TOPIC}.$$\", key: \"${!id}\" }\n"
                               "  retry: &r { initial: 1s, max: 1m, multiplier: 1.5, jitter: 0, max_attempts: 8 }\n"
                               "  window: { messages: 7, bytes: 1KiB }\n"
                               "  limits: { payload: 2MiB }\n"
                               "- { name: two, from: { store: b, after: delete }, to: { broker: j }, retry: *r }\n");
    assert_int_equal(c->log_level, OW_LOG_WARN);
    assert_int_equal(c->log_format, OW_LOG_JSON);
    assert_int_equal(c->brokers[0].url.journal.partitions, 12);
    assert_int_equal(c->brokers[0].url.journal.retention_ms, 0);
    assert_int_equal(c->brokers[0].url.journal.retention_bytes, (int64_t)2 << 30);
    assert_int_equal(c->brokers[1].url.file.rotate_bytes, 1 << 20);
    assert_int_equal(c->brokers[1].url.file.keep, 3);
    assert_int_equal(c->brokers[1].url.file.fsync, OW_FSYNC_NEVER);
    assert_null(c->brokers[2].url.file.path);
    const struct ow_config_relay *one = &c->relays[0], *two = &c->relays[1];
    assert_string_equal(one->outbox.path, "from-env.db");
    assert_int_equal(one->outbox.after, OW_OUTBOX_MARK);
    assert_int_equal(one->outbox.keep_marked_ms, 3 * 86400000);
    assert_string_equal(one->topic, "t.${!type}.$$");
    assert_int_equal(one->window.count_max, 7);
    assert_int_equal(one->window.bytes_max, 1024);
    assert_int_equal(one->limits.payload_bytes_max, 2 << 20);
    assert_string_equal(two->outbox.path, "secret.db");
    assert_int_equal(two->outbox.after, OW_OUTBOX_DELETE);
    assert_int_equal(two->retry.initial_ms, 1000);
    assert_int_equal(two->retry.max_ms, 60000);
    assert_int_equal(two->retry.attempts_max, 8);
    assert_true(two->retry.multiplier == 1.5);
    assert_true(two->retry.jitter == 0);
}

static void test_all_errors_at_once(void **state)
{
    (void)state;
    bad("version: 2\n"
        "stores:\n"
        "  orders: sqlite:orders.db\n"
        "relays:\n"
        "  - form: { store: ordrs }\n"
        "    name: a b\n"
        "    to: { broker: bus, topic: \"x.${type}\", kay: 1 }\n"
        "    retry: { initial: 10, max: [], jitter: 2, multiplier: 0.5 }\n"
        "    window: 12\n"
        "    limits: { payload: 1 }\n"
        "consumers: []\n",
        "c.yaml:1:10: version: expected 1, found \"2\"\n"
        "c.yaml:5:5: relays[0].form: unknown key; did you mean \"from\"?\n"
        "c.yaml:6:11: relays[0].name: expected a name of 1 to 64 characters from A-Z a-z 0-9 _ . -, found \"a b\"\n"
        "c.yaml:7:19: relays[0].to.broker: there is no broker \"bus\"; define it under \"brokers:\"\n"
        "c.yaml:7:31: relays[0].to.topic: variable type is not set; set it, or write ${type:-default}; "
        "a field of the message is ${!type}\n"
        "c.yaml:7:44: relays[0].to.kay: unknown key; did you mean \"key\"?\n"
        "c.yaml:8:23: relays[0].retry.initial: expected a duration such as 250ms, 10s, 5m, 2h, 7d, "
        "from 1ms to 1d, found \"10\"\n"
        "c.yaml:8:32: relays[0].retry.max: expected a duration such as 250ms, 10s, 5m, 2h, 7d, "
        "from 1ms to 1d, found a list\n"
        "c.yaml:8:44: relays[0].retry.jitter: expected a number from 0 to 1, found \"2\"\n"
        "c.yaml:8:59: relays[0].retry.multiplier: expected a number from 1 to 100, found \"0.5\"\n"
        "c.yaml:9:13: relays[0].window: expected a map, found a number\n"
        "c.yaml:10:24: relays[0].limits.payload: expected a size such as 512B, 64KiB, 16MiB, 2GiB, "
        "from 1B to 1GiB, found \"1\"\n"
        "c.yaml:11:12: consumers: the list is empty; begin each consumer with \"- name: NAME\"\n");
}

static void test_structure(void **state)
{
    (void)state;
    bad("version: 1\n", "c.yaml:1:1: relays: missing, and so are consumers; write for example \"relays: [ … ]\"\n");
    bad("{}", "c.yaml:1:1: version: missing; write for example \"version: 1\"\n"
              "c.yaml:1:1: relays: missing, and so are consumers; write for example \"relays: [ … ]\"\n");
    bad("- a\n", "c.yaml:1:1: expected a map, found a list\n");
    bad("version: 1\nrelays: []\n", "c.yaml:2:9: relays: the list is empty; begin each relay with \"- name: NAME\"\n");
    bad("version: 1\nrelays: orders\n",
        "c.yaml:2:9: relays: expected a list, found a string; begin each item with \"- \"\n");
    bad("version: 1\nrelays:\n", "c.yaml:2:8: relays: expected a list, found nothing; begin each item with \"- \"\n");
    bad(HEAD "-\n", "c.yaml:8:2: relays[0]: expected a map, found nothing\n");
    bad(HEAD "- {}\n", "c.yaml:8:3: relays[0].name: missing; write for example \"name: orders\"\n"
                       "c.yaml:8:3: relays[0].from: missing; write for example \"from: { store: orders }\"\n"
                       "c.yaml:8:3: relays[0].to: missing; write for example \"to: { broker: bus }\"\n");
    bad(HEAD "- { name: a, from: {}, to: { broker: bus }, name: b c }\n",
        "c.yaml:8:20: relays[0].from.store: missing; write for example \"store: orders\"\n"
        "c.yaml:8:45: relays[0].name: said twice, first on line 8; keep one of the two\n");
    bad("version: 1\nrelays: 1\n? [a]\n: b\nzzz: 1\n",
        "c.yaml:2:9: relays: expected a list, found a number; begin each item with \"- \"\n"
        "c.yaml:3:3: a key must be a word, found a list\n"
        "c.yaml:5:1: zzz: unknown key; known: version, log, stores, brokers, relays, consumers, admin, alerts\n");
    bad("version: !!int 1\nlog: { level: }\nrelays: [1]\n",
        "c.yaml:1:10: version: the tag \"tag:yaml.org,2002:int\" is not supported; remove it\n"
        "c.yaml:2:15: log.level: expected debug, info, warn or error, found nothing\n"
        "c.yaml:3:10: relays[0]: expected a map, found a number\n");
}

/* What was written beside its place. */
static void test_elsewhere(void **state)
{
    (void)state;
    bad(HEAD
        "- { name: a, from: { store: orders }, to: { broker: bus, max_elapsed: 3s, fsync: never }, topics: [x] }\n",
        "c.yaml:8:58: relays[0].to.max_elapsed: unknown key here; it is one of relays[].retry\n"
        "c.yaml:8:75: relays[0].to.fsync: unknown key here; it is one of brokers.NAME, beside \"url: file:…\"\n"
        "c.yaml:8:91: relays[0].topics: unknown key here; it is one of consumers[].from\n");
}

static void test_references(void **state)
{
    (void)state;
    bad(HEAD "- { name: a, from: { store: ordrs }, to: { broker: buss } }\n",
        "c.yaml:8:29: relays[0].from.store: there is no store \"ordrs\"; did you mean \"orders\"?\n"
        "c.yaml:8:52: relays[0].to.broker: there is no broker \"buss\"; did you mean \"bus\"?\n");
    bad(HEAD "- { name: a, from: { store: orders }, to: { broker: bus } }\n"
             "- { name: a, from: { store: orders }, to: { broker: bus } }\n",
        "c.yaml:9:11: relays[1].name: relays[0] is called \"a\" already; names must be unique\n"
        "c.yaml:9:29: relays[1].from.store: relays[0] reads this outbox already, and two relays would fight "
        "for the same rows; keep one\n");
    bad("version: 1\nstores: { a: sqlite:x.db, b: sqlite:x.db }\nbrokers: { bus: \"stdout:\" }\nrelays:\n"
        "- { name: a, from: { store: a }, to: { broker: bus } }\n"
        "- { name: b, from: { store: b }, to: { broker: bus } }\n",
        "c.yaml:6:29: relays[1].from.store: relays[0] reads this outbox already, and two relays would fight "
        "for the same rows; keep one\n");
}

#if OW_WITH_KAFKA
#define KAFKA(map)                                                  \
    "version: 1\nstores: { s: sqlite:x.db }\nbrokers:\n  bus: " map \
    "\nrelays:\n- { name: a, from: { store: s }, to: { broker: bus } }\n"

static void test_kafka_is_a_map(void **state)
{
    (void)state;
    struct ow_config *config = good(
        KAFKA("{ url: kafka://h:9092, tls: { ca: ca.pem },\n"
              "    sasl: { mechanism: scram-sha-512, username: ow, password: s3cret },\n"
              "    topics: { partitions: 12, replication: 3, config: { cleanup.policy: compact } },\n"
              "    properties: { socket.timeout.ms: 1000 } }"));
    const struct ow_kafka_options *o = &config->relays[0].broker->url.kafka;
    assert_true(o->use_tls);
    assert_string_equal(o->tls_ca, "ca.pem");
    assert_int_equal(o->sasl, OW_KAFKA_SASL_SCRAM_SHA_512);
    assert_string_equal(o->sasl_password, "s3cret");
    assert_false(o->leave_topics);
    assert_int_equal(o->topic_partitions, 12);
    assert_int_equal(o->topic_replication, 3);
    assert_string_equal(o->topic_config.items[0].name, "cleanup.policy");
    assert_string_equal(o->properties.items[0].value, "1000");
    ow_config_free(config);
    config = good(KAFKA("{ url: kafka://h, tls: true, topics: { create: false } }"));
    assert_true(config->brokers[0].url.kafka.use_tls && config->brokers[0].url.kafka.leave_topics);
    ow_config_free(config);
    bad(KAFKA("{ url: kafka://h, tls: { cert: a.pem } }"),
        "c.yaml:4:8: brokers.bus: tls: a certificate needs its key; say both cert and key, or neither\n");
    bad(KAFKA("{ url: kafka://h, sasl: { mechanism: plain, username: a } }"),
        "c.yaml:4:8: brokers.bus: sasl: say username, and one of password and password_file\n");
    bad(KAFKA("{ url: kafka://h, sasl: { mecanism: plain } }"),
        "c.yaml:4:34: brokers.bus.sasl.mecanism: unknown key; did you mean \"mechanism\"?\n");
    bad(KAFKA("{ url: kafka://h, sasl: plain }"),
        "c.yaml:4:32: brokers.bus.sasl: is a map, which only a configuration file can hold\n");
    bad(KAFKA("{ url: kafka://h, properties: { group.id: x } }"),
        "c.yaml:4:8: brokers.bus: property group.id cannot be set: name the group where you subscribe; a relay joins "
        "none\n");
}
#endif

static void test_places(void **state)
{
    (void)state;
    bad("version: 1\n"
        "stores:\n"
        "  a: kafka://x\n"
        "  b: { after: mark }\n"
        "  c: { url: sqlite:x, keep: 1d }\n"
        "  d e: sqlite:x\n"
        "  f: [x]\n"
        "  g: mariadb://u:pw@h/d\n"
        "brokers:\n"
        "  a: { url: journal:x, partition: 3, url: journal:y, name: x }\n"
        "  b: { url: \"journal:x?partitions=3\", partitions: 4 }\n"
        "  c: { url: journal:x, partitions: 0, retention: [] }\n"
        "  d: { url: \"stdout:\", keep: 1 }\n"
        "  b: journal:x\n"
        "relays:\n"
        "- { name: a, from: { store: a }, to: { broker: a } }\n",
        "c.yaml:3:6: stores.a: kafka:// names a broker, but a store is needed here: sqlite:" OR_POSTGRES_URL "\n"
        "c.yaml:4:6: stores.b: url is missing; write for example \"url: sqlite:orders.db\"\n"
        "c.yaml:5:6: stores.c: keep has no effect without after: mark; say both or neither\n"
        "c.yaml:6:3: stores.d e: not a good name; names have 1 to 64 characters from A-Z a-z 0-9 _ . -\n"
        "c.yaml:7:6: stores.f: expected a URL, found a list\n"
        "c.yaml:8:6: stores.g: this build of onewrite has no support for mariadb://; "
        "it has sqlite:, journal:, file:, stdout:" OR_POSTGRES_URL OR_KAFKA_URL "\n"
        "c.yaml:10:24: brokers.a.partition: unknown key; did you mean \"partitions\"?\n"
        "c.yaml:10:38: brokers.a.url: said twice, first on line 10; keep one of the two\n"
        "c.yaml:10:54: brokers.a.name: unknown key for journal:; remove it\n"
        "c.yaml:11:51: brokers.b.partitions: is said twice; keep one of the two\n"
        "c.yaml:12:36: brokers.c.partitions: expected a whole number from 1 to 1024, found \"0\"\n"
        "c.yaml:12:50: brokers.c.retention: expected a duration such as 250ms, 10s, 5m, 2h, 7d, found a list\n"
        "c.yaml:13:24: brokers.d.keep: unknown key for stdout:; remove it\n"
        "c.yaml:14:3: brokers.b: said twice, first on line 11; keep one of the two\n");
}

static void test_from(void **state)
{
    (void)state;
    bad(HEAD "- name: a\n"
             "  from: { store: orders, outbox: my_outbox, by: log, keep: 1d }\n"
             "  to: { broker: bus, topic: \"${!colour}\", key: \"\" }\n"
             "  retry: { initial: 1h }\n"
             "- name: b\n"
             "  from: { store: other, after: keep, by: magic }\n"
             "  to: { broker: bus, topic: \"${BROKEN}\" }\n",
        "c.yaml:9:34: relays[0].from.outbox: this version of onewrite polls its own outbox only; "
        "leave out this key, or rename the table\n"
        "c.yaml:9:49: relays[0].from.by: sqlite: has no log to read; use polling\n"
        "c.yaml:9:60: relays[0].from.keep: has no effect without after: mark; say both or neither\n"
        "c.yaml:10:29: relays[0].to.topic: template \"${!colour}\", character 1: write ${!FIELD} with one of id, "
        "topic, "
        "key, type, aggregatetype, aggregateid, time, payload, headers.NAME, payload.PATH, or $$ for a dollar sign\n"
        "c.yaml:10:48: relays[0].to.key: expected a template such as events.${!aggregatetype}, found \"\"\n"
        "c.yaml:11:10: relays[0].retry.max: is less than initial; make it at least as long\n"
        "c.yaml:13:32: relays[1].from.after: expected delete or mark, found \"keep\"\n"
        "c.yaml:13:42: relays[1].from.by: expected auto, polling, log or message, found \"magic\"\n"
        "c.yaml:14:29: relays[1].to.topic: \"${BROKEN}\" does not become a template such as "
        "events.${!aggregatetype}\n");
}

static void test_secrets_stay_secret(void **state)
{
    (void)state;
    bad("version: \"${SECRET}\"\n"
        "log: { level: \"${SECRET}\" }\n"
        "stores: { a: \"${SECRET}\", b: \"sqlite:x?after=${SECRET}\" }\n"
        "brokers: { a: { url: \"journal:x\", retention: \"${SECRET}\" }, b: \"${LINES}\" }\n"
        "relays: [ { name: a, from: { store: \"${SECRET}\" }, to: { broker: \"${NONE:?set NONE}\" } } ]\n",
        "c.yaml:1:10: version: expected 1, found \"${SECRET}\"\n"
        "c.yaml:2:15: log.level: expected debug, info, warn or error, found \"${SECRET}\"\n"
        "c.yaml:3:14: stores.a: \"${SECRET}\" is not a URL; it begins with one of sqlite:" OR_POSTGRES_URL "\n"
        "c.yaml:3:30: stores.b: option after: expected delete or mark, found \"sqlite:x?after=${SECRET}\"\n"
        "c.yaml:4:46: brokers.a.retention: expected a duration such as 250ms, 10s, 5m, 2h, 7d, found \"${SECRET}\"\n"
        "c.yaml:4:64: brokers.b: the value holds a line break or another control character; remove it\n"
        "c.yaml:5:37: relays[0].from.store: there is no store \"${SECRET}\"; define it under \"stores:\"\n"
        "c.yaml:5:66: relays[0].to.broker: variable NONE is not set: set NONE\n");
}

static void test_syntax(void **state)
{
    (void)state;
    const char *empty = "c.yaml:1:1: the file is empty; begin with \"version: 1\"\n";
    bad("", empty);
    bad("# only a comment\n", empty);
    bad("version: 1\nrelays:\n\t- a\n",
        "c.yaml:3:1: found character that cannot start any token while scanning for the next token; "
        "indent with spaces, not with tabs\n");
    bad("version: 1\nx: \xff\n", "c.yaml:2:4: invalid leading UTF-8 octet; the file must be UTF-8 text\n");
    bad("\xff\xfev", "c.yaml:1:1: the file is UTF-16; save it as UTF-8\n");
    bad("version: 1\n---\nversion: 1\n",
        "c.yaml:2:1: a second document begins here; a configuration is one document\n");
    bad("version: 1\nbrokers:\n  a: stdout:\n", "c.yaml:3:12: mapping values are not allowed in this context; a value "
                                                "that holds \": \" or ends with a colon is "
                                                "written in quotes\n");
    bad("version: *nowhere\n", "c.yaml:1:10: found undefined alias\n");
    bad("a: \"\\e[31m\\0\"\nversion: 1\nrelays: [{name: \"a\\nb\"}]\n\"c\\td\": 1\n",
        "c.yaml:1:1: a: unknown key; known: version, log, stores, brokers, relays, consumers, admin, alerts\n"
        "c.yaml:3:10: relays[0].from: missing; write for example \"from: { store: orders }\"\n"
        "c.yaml:3:10: relays[0].to: missing; write for example \"to: { broker: bus }\"\n"
        "c.yaml:3:17: relays[0].name: the value holds a line break or another control character; remove it\n"
        "c.yaml:4:1: c?d: unknown key; known: version, log, stores, brokers, relays, consumers, admin, alerts\n");
    OW_CLEANUP(ow_config_cleanup)
    struct ow_config *bom = good("\xef\xbb\xbf" HEAD
                                 "- { name: orders, from: { store: orders }, to: { broker: bus } }\n");
    assert_int_equal(bom->relay_count, 1);
}

static void test_aliases(void **state)
{
    (void)state;
    /* A map that is its own child, and a list that is its own item: read as what stands there, once. */
    bad("&all\nversion: 1\nlog: *all\nrelays: &r\n- *r\n",
        "c.yaml:2:1: log.version: unknown key; known: level, format\n"
        "c.yaml:3:1: log.log: unknown key; known: level, format\n"
        "c.yaml:4:1: log.relays: unknown key; known: level, format\n"
        "c.yaml:4:9: relays[0]: expected a map, found a list\n");
    bad("version: 1\nlog: &l { level: info }\nrelays: [{ <<: *l }]\n",
        "c.yaml:3:10: relays[0].name: missing; write for example \"name: orders\"\n"
        "c.yaml:3:10: relays[0].from: missing; write for example \"from: { store: orders }\"\n"
        "c.yaml:3:10: relays[0].to: missing; write for example \"to: { broker: bus }\"\n"
        "c.yaml:3:12: relays[0].<<: merge keys are not supported; write out the keys, or use an alias\n");
}

static void test_bounds(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    for (int i = 0; i < 100000; i++)
        ow_buf_add_char(&text, '[');
    bad_bytes(ow_buf_bytes(&text), "c.yaml:1:33: nested too deep; a configuration has at most 32 levels\n");
    ow_buf_clear(&text);
    for (int i = 0; i < 100001; i++)
        ow_buf_add_text(&text, "- a\n");
    bad_bytes(ow_buf_bytes(&text), "c.yaml:100000:3: too many values; a configuration has at most 100000\n");
    ow_buf_clear(&text);
    for (int i = 0; i < 1001; i++)
        ow_buf_printf(&text, "- &a%d x\n", i);
    bad_bytes(ow_buf_bytes(&text), "c.yaml:1001:3: too many anchors; a configuration has at most 1000\n");
    ow_buf_clear(&text);
    for (int i = 0; i < 1001; i++)
        ow_buf_printf(&text, "%s", i == 0 ? "version: 1\nrelays:\n- &a {}\n" : "- *a\n");
    bad_bytes(ow_buf_bytes(&text), "c.yaml:3:1: relays: more than 1000 relays; use several files\n");
    ow_buf_clear(&text);
    while (text.size <= 1 << 20)
        ow_buf_add_text(&text, "# a comment that fills the file\n");
    bad_bytes(ow_buf_bytes(&text), "c.yaml:1:1: the file is larger than 1MiB; a configuration is smaller\n");
}

static void test_more_errors_than_fit(void **state)
{
    (void)state;
    struct ow_diagnostics diagnostics = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0}, lines = {0};
    for (int i = 0; i < 200; i++)
        ow_buf_printf(&text, "unknown%d: 1\n", i);
    struct ow_config *config = NULL;
    assert_int_equal(ow_config_parse(ow_buf_bytes(&text), "c.yaml", &world, &diagnostics, &config), OW_ECONFIG);
    assert_int_equal(diagnostics.count, OW_DIAGNOSTICS_MAX);
    assert_true(diagnostics.left_out > 0);
    ow_diagnostics_print(&diagnostics, &lines);
    assert_text_has(lines.data, "c.yaml:50:1: unknown49: unknown key; ");
    assert_text_has(lines.data, "are not shown\n");
    ow_diagnostics_done(&diagnostics);
    assert_int_equal(diagnostics.count, 0);
}

static void test_load(void **state)
{
    (void)state;
    struct ow_diagnostics diagnostics = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf lines = {0};
    struct ow_config *config = NULL;
    assert_int_equal(ow_config_load("/nonexistent/c.yaml", &diagnostics, &config), OW_ENOTFOUND);
    ow_diagnostics_print(&diagnostics, &lines);
    ow_diagnostics_done(&diagnostics);
    assert_string_equal(lines.data, "/nonexistent/c.yaml: cannot read \"/nonexistent/c.yaml\": "
                                    "No such file or directory\n");
    char path[] = "/tmp/onewrite-test-XXXXXX";
    static const char text[] = HEAD "- { name: orders, from: { store: orders }, to: { broker: bus } }\n";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), (int)sizeof text - 1);
    (void)close(fd);
    int r = ow_config_load(path, &diagnostics, &config);
    (void)unlink(path);
    assert_int_equal(r, 0);
    ow_config_free(config);
}

/* Every key of a table stands in the reference, and the reference is a good configuration. */
static void has_keys(const char *text, const struct ow_option *table)
{
    for (const struct ow_option *option = table; option && option->key; option++) {
        char key[64];
        (void)snprintf(key, sizeof key, " %s:", option->key);
        if (option->type != OW_OPTION_LATER) {
            assert_non_null(option->help);
            if (strncmp(text, key + 1, strlen(key + 1)) != 0 && !strstr(text, key))
                (void)snprintf(key, sizeof key, "\n%s:", option->key);
            assert_text_has(text, key);
        }
        has_keys(text, option->group);
    }
}

static void test_reference(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_config_print_reference(&text);
    assert_int_equal(ow_buf_check(&text, NULL), 0);
    OW_CLEANUP(ow_config_cleanup) struct ow_config *c = good(text.data);
    assert_int_equal(c->relay_count, 1);
    has_keys(text.data, ow_config_options);
    for (const struct ow_scheme *scheme = ow_schemes; scheme->name; scheme++)
        if (scheme->is_supported)
            has_keys(text.data, scheme->options);
    for (const char *line = text.data; *line; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\n") <= 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least),
        cmocka_unit_test(test_defaults_agree),
        cmocka_unit_test(test_everything_said),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_places),
#if OW_WITH_KAFKA
        cmocka_unit_test(test_kafka_is_a_map),
#endif
        cmocka_unit_test(test_from),
        cmocka_unit_test(test_secrets_stay_secret),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_more_errors_than_fit),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
