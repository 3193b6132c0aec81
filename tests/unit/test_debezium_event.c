/* SPDX-License-Identifier: Apache-2.0 */
/* Change events of tables that are no outbox: what the records of real servers (tests/golden/debezium/events) do not
   show. */
#include "unit.h"

#include <stdlib.h>

#include "codec/debezium.h"

#define COLUMNS 6

static const struct ow_row_column columns[COLUMNS] = {
    {OW_BYTES("id"), .type_oid = 23, .typmod = -1, .is_not_null = true, .key_place = 2},
    {OW_BYTES("name"), .type_oid = 25, .typmod = -1, .is_not_null = true},
    {OW_BYTES("n"), .type_oid = 23, .typmod = -1, .is_not_null = true, .default_expression = OW_BYTES("5")},
    {OW_BYTES("region"), .type_oid = 25, .typmod = -1, .is_not_null = true, .key_place = 1},
    {OW_BYTES("list"), .type_oid = 1007, .typmod = -1},
    {OW_BYTES("x"), .type_oid = 3614, .typmod = -1}, /* tsvector: of a type that is left out */
};
static const struct ow_row_table table = {OW_BYTES("shop"), OW_BYTES("or ders"), columns, COLUMNS, 1, true};
#define NONE OW_NULL_BYTES
static const struct ow_bytes old_row[COLUMNS] = {{"1", 1}, {"Ann", 3}, {"7", 1}, {"eu", 2}, NONE, NONE};
static const struct ow_bytes new_row[COLUMNS] = {{"2", 1}, {"Ann", 3}, {"7", 1}, {"eu", 2}, NONE, NONE};
static const struct ow_bytes key_row[COLUMNS] = {{"1", 1}, NONE, NONE, {"eu", 2}, NONE, NONE};
static const struct ow_row_change known = {.database = {"db", 2}, .transaction = 9, .lsn = 20, .time_us = 3000};

static struct ow_debezium *router_of(const char *name, const char *value)
{
    struct ow_debezium_options options;
    struct ow_debezium *router = NULL;
    const char *const pairs[] = {"topic.prefix",
                                 "p",
                                 "key.converter",
                                 "org.apache.kafka.connect.json.JsonConverter",
                                 "key.converter.schemas.enable",
                                 "false",
                                 "value.converter",
                                 "org.apache.kafka.connect.json.JsonConverter",
                                 "value.converter.schemas.enable",
                                 "false",
                                 "header.converter",
                                 "org.apache.kafka.connect.json.JsonConverter",
                                 "header.converter.schemas.enable",
                                 "false",
                                 name,
                                 value};
    assert_int_equal(ow_debezium_options_init(&options, NULL), 0);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i += 2)
        if (pairs[i])
            assert_int_equal(ow_debezium_options_set(&options, ow_bytes_of(pairs[i]), ow_bytes_of(pairs[i + 1]), NULL),
                             0);
    assert_int_equal(ow_debezium_new(&options, &router, NULL), 0);
    return router;
}

static struct ow_debezium_record event(struct ow_debezium *router, enum ow_row_op op, const struct ow_bytes *values,
                                       const struct ow_row_change *change)
{
    struct ow_row row = {.op = op, .table = &table, .values = values, .change = change};
    struct ow_debezium_record record;
    assert_int_equal(ow_debezium_change(router, &row, 5000, &record, NULL), 0);
    return record;
}

static void assert_bytes(struct ow_bytes have, const char *want)
{
    char *text = ow_bytes_text(have);
    assert_string_equal(text ? text : "<null>", want);
    free(text);
}

#define SOURCE                                                                                                      \
    "\"source\":{\"version\":\"" OW_VERSION                                                                         \
    "\",\"connector\":\"postgresql\",\"name\":\"p\",\"ts_ms\":3,\"snapshot\":\"false\",\"db\":\"db\",\"sequence\""  \
    ":\"[null,\\\"20\\\"]\",\"ts_us\":3000,\"ts_ns\":3000000,\"schema\":\"shop\",\"table\":\"or ders\",\"txId\":9," \
    "\"lsn\":20,\"xmin\":null},\"transaction\":null"
#define WRITTEN ",\"ts_ms\":5,\"ts_us\":5000,\"ts_ns\":5000000}"

static void test_the_parts_of_an_event(void **state)
{
    (void)state;
    struct ow_debezium *router = router_of(NULL, NULL);
    struct ow_debezium_record record = event(router, OW_ROW_INSERT, old_row, &known);
    assert_int_equal(record.outcome, OW_DEBEZIUM_RECORD);
    assert_bytes(record.topic, "p.shop.or_ders");
    assert_bytes(record.key, "{\"region\":\"eu\",\"id\":1}"); /* in the order of the key */
    assert_bytes(
        record.value,
        "{\"before\":null,\"after\":{\"id\":1,\"name\":\"Ann\",\"n\":7,\"region\":\"eu\",\"list\":null}," SOURCE
        ",\"op\":\"c\"" WRITTEN);
    assert_int_equal(record.header_count, 0);
    ow_debezium_free(router);
}

/* Of a row of which the key alone is known, what may not be NULL is the default or empty. */
static void test_a_delete(void **state)
{
    (void)state;
    struct ow_debezium *router = router_of(NULL, NULL);
    struct ow_row_change change = known;
    change.before = key_row;
    struct ow_debezium_record record = event(router, OW_ROW_DELETE, NULL, &change);
    assert_bytes(record.key, "{\"region\":\"eu\",\"id\":1}");
    assert_bytes(record.value,
                 "{\"before\":{\"id\":1,\"name\":\"\",\"n\":5,\"region\":\"eu\",\"list\":null},\"after\":null," SOURCE
                 ",\"op\":\"d\"" WRITTEN);
    record = event(router, OW_ROW_GONE, NULL, &change);
    assert_bytes(record.key, "{\"region\":\"eu\",\"id\":1}");
    assert_null(record.value.data);
    ow_debezium_free(router);
    router = router_of("tombstones.on.delete", "false");
    assert_int_equal(event(router, OW_ROW_GONE, NULL, &change).outcome, OW_DEBEZIUM_DROPPED);
    ow_debezium_free(router);
}

static void test_another_key(void **state)
{
    (void)state;
    struct ow_debezium *router = router_of(NULL, NULL);
    struct ow_row_change change = known;
    change.before = key_row;
    change.is_key_change = true;
    static const enum ow_row_op ops[] = {OW_ROW_DELETE, OW_ROW_GONE, OW_ROW_INSERT};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct ow_debezium_record record = event(router, ops[i], new_row, &change);
        bool is_new = ops[i] == OW_ROW_INSERT;
        assert_bytes(record.key, is_new ? "{\"region\":\"eu\",\"id\":2}" : "{\"region\":\"eu\",\"id\":1}");
        assert_int_equal(record.header_count, 1);
        assert_bytes(record.headers[0].name, is_new ? "__debezium.oldkey" : "__debezium.newkey");
        assert_bytes(record.headers[0].value, is_new ? "{\"region\":\"eu\",\"id\":1}" : "{\"region\":\"eu\",\"id\":2}");
    }
    change.is_key_change = true;
    struct ow_debezium_record record = event(router, OW_ROW_INSERT, new_row, &change);
    char *value = ow_bytes_text(record.value);
    assert_text_has(value, "{\"before\":null,\"after\":{\"id\":2,");
    free(value);
    ow_debezium_free(router);
}

static void test_a_value_that_is_not_in_the_log(void **state)
{
    (void)state;
    struct ow_debezium *router = router_of("unavailable.value.placeholder", "(same)");
    struct ow_bytes row[COLUMNS];
    memcpy(row, new_row, sizeof row);
    row[1] = (struct ow_bytes){ow_row_unchanged, 0};
    struct ow_debezium_record record = event(router, OW_ROW_UPDATE, row, &known);
    char *value = ow_bytes_text(record.value);
    assert_text_has(value, "\"name\":\"(same)\"");
    free(value);
    row[4] = (struct ow_bytes){ow_row_unchanged, 0};
    record = event(router, OW_ROW_UPDATE, row, &known);
    assert_int_equal(record.outcome, OW_DEBEZIUM_UNFIT);
    value = ow_bytes_text(record.reason);
    assert_text_has(value, "value: column list: its value was not changed");
    free(value);
    ow_debezium_free(router);
}

/* Names and order as consumers know them. */
static void test_schemas(void **state)
{
    (void)state;
    struct ow_debezium *router = router_of("value.converter.schemas.enable", "true");
    struct ow_debezium_record record = event(router, OW_ROW_INSERT, old_row, &known);
    char *value = ow_bytes_text(record.value);
    assert_text_has(value,
                    "{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\","
                    "\"optional\":false,\"field\":\"id\"},{\"type\":\"string\",\"optional\":false,\"field\":\"name\"},"
                    "{\"type\":\"int32\",\"optional\":false,\"default\":5,\"field\":\"n\"}");
    assert_text_has(value, "\"optional\":true,\"name\":\"p.shop.or ders.Value\",\"field\":\"before\"},");
    assert_text_has(value, "\"optional\":true,\"name\":\"p.shop.or ders.Value\",\"field\":\"after\"},");
    assert_text_has(value,
                    "\"optional\":true,\"name\":\"event.block\",\"version\":1,\"field\":\"transaction\"},{\"type\":"
                    "\"string\",\"optional\":false,\"field\":\"op\"},{\"type\":\"int64\",\"optional\":true,\"field\":"
                    "\"ts_ms\"},{\"type\":\"int64\",\"optional\":true,\"field\":\"ts_us\"},{\"type\":\"int64\","
                    "\"optional\":true,\"field\":\"ts_ns\"}],\"optional\":false,\"name\":\"p.shop.or ders.Envelope\","
                    "\"version\":2},\"payload\":{\"before\":null,");
    free(value);
    ow_debezium_free(router);
    router = router_of("key.converter.schemas.enable", "true");
    record = event(router, OW_ROW_INSERT, old_row, &known);
    assert_bytes(
        record.key,
        "{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"optional\":false,\"field\":\"region\"},"
        "{\"type\":\"int32\",\"optional\":false,\"field\":\"id\"}],\"optional\":false,\"name\":\"p.shop.or ders.Key\"},"
        "\"payload\":{\"region\":\"eu\",\"id\":1}}");
    ow_debezium_free(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_parts_of_an_event),
        cmocka_unit_test(test_a_delete),
        cmocka_unit_test(test_another_key),
        cmocka_unit_test(test_a_value_that_is_not_in_the_log),
        cmocka_unit_test(test_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
