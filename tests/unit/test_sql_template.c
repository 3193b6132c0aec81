/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "codec/sql_template.h"

static const struct ow_header headers[] = {{{"who", 3}, {"me", 2}}};

static struct ow_message message_of(struct ow_bytes payload)
{
    return (struct ow_message){.id = OW_BYTES("i1"),
                               .topic = OW_BYTES("t"),
                               .key = OW_BYTES("k"),
                               .payload = payload,
                               .headers = headers,
                               .header_count = OW_COUNT_OF(headers)};
}

static void expect_sql(const char *text, enum ow_sql_dialect dialect, const char *expected, size_t count)
{
    struct ow_sql_template t;
    struct ow_error err = {0};
    if (ow_sql_template_init(&t, ow_bytes_of(text), dialect, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    assert_string_equal(t.sql, expected);
    assert_int_equal(t.count, count);
    ow_sql_template_done(&t);
}

static void expect_refused(const char *text, const char *why)
{
    struct ow_sql_template t;
    struct ow_error err = {0};
    assert_int_equal(ow_sql_template_init(&t, ow_bytes_of(text), OW_SQL_NUMBERED_BY_DOLLAR, &err), OW_EINVALID);
    if (!strstr(err.text, why))
        fail_msg("%s: \"%s\" says nothing of \"%s\"", text, err.text, why);
    ow_sql_template_done(&t);
}

static void test_parameters(void **state)
{
    (void)state;
    expect_sql("select ${!id}, ${!payload.a.b}", OW_SQL_NUMBERED_BY_DOLLAR, "select $1, $2", 2);
    expect_sql("select ${!id}, ${!payload.a.b}", OW_SQL_NUMBERED_BY_QUESTION_MARK, "select ?1, ?2", 2);
    expect_sql("select 1", OW_SQL_NUMBERED_BY_DOLLAR, "select 1", 0);
}

static void test_quotes_and_comments_stay(void **state)
{
    (void)state;
    expect_sql("select 'it''s', \"a \"\"b\", ${!id} -- x\n, ${!key} /* y */", OW_SQL_NUMBERED_BY_DOLLAR,
               "select 'it''s', \"a \"\"b\", $1 -- x\n, $2 /* y */", 2);
}

static void test_no_field_where_none_is_bound(void **state)
{
    (void)state;
    expect_refused("select '${!id}'", "character 9");
    expect_refused("select \"${!id}\"", "character 9");
    expect_refused("select 1 -- ${!id}", "character 13");
    expect_refused("select /* ${!id} */ 1", "character 11");
    expect_refused("select 'it''s ${!id}'", "character 15");
}

static void test_fields_that_are_none(void **state)
{
    (void)state;
    expect_refused("select ${!nothing}", "nothing");
    expect_refused("select ${!id", "character 8");
    expect_refused("", "empty");
    struct ow_sql_template t;
    struct ow_error err;
    assert_int_equal(ow_sql_template_init(&t, OW_BYTES("select\0 1"), OW_SQL_NUMBERED_BY_DOLLAR, &err), OW_EINVALID);
    ow_sql_template_done(&t);
}

static void test_too_many(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_buf_add_text(&text, "select 1");
    for (int i = 0; i < OW_SQL_PARAMETERS_MAX; i++)
        ow_buf_add_text(&text, ",${!id}");
    struct ow_sql_template t;
    struct ow_error err;
    assert_int_equal(ow_sql_template_init(&t, ow_buf_bytes(&text), OW_SQL_NUMBERED_BY_DOLLAR, &err), 0);
    ow_sql_template_done(&t);
    ow_buf_add_text(&text, ",${!id}");
    assert_int_equal(ow_sql_template_init(&t, ow_buf_bytes(&text), OW_SQL_NUMBERED_BY_DOLLAR, &err), OW_EINVALID);
    ow_sql_template_done(&t);
}

/* NULL: the value is null. */
static void expect_field(const char *field, struct ow_bytes payload, const char *expected)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_message message = message_of(payload);
    struct ow_sql_template t;
    struct ow_error err = {0};
    struct ow_bytes value;
    size_t at;
    char text[64];
    (void)snprintf(text, sizeof text, "select ${!%s}", field);
    assert_int_equal(ow_sql_template_init(&t, ow_bytes_of(text), OW_SQL_NUMBERED_BY_DOLLAR, &err), 0);
    if (ow_sql_template_value(&t, 0, &message, &scratch, &value, &at, &err) < 0)
        fail_msg("%s: %s", field, err.text);
    if (at != SIZE_MAX)
        value.data = scratch.data + at;
    if (!expected)
        assert_null(value.data);
    else if (!ow_bytes_is(value, expected))
        fail_msg("%s: %.*s, not %s", field, OW_PRINT(value), expected);
    ow_sql_template_done(&t);
}

static void test_values(void **state)
{
    (void)state;
    struct ow_bytes payload = OW_BYTES(
        "{\"n\":12345678901234567890.50,\"t\":\"a\\\"b\",\"b\":true,\"z\":null,\"o\":{\"x\": [1, 2]}}");
    expect_field("id", payload, "i1");
    expect_field("key", payload, "k");
    expect_field("headers.who", payload, "me");
    expect_field("headers.none", payload, NULL);
    expect_field("payload.n", payload, "12345678901234567890.50"); /* the text that it was */
    expect_field("payload.t", payload, "a\"b");
    expect_field("payload.b", payload, "true");
    expect_field("payload.z", payload, NULL);
    expect_field("payload.missing", payload, NULL);
    expect_field("payload.o", payload, "{\"x\": [1, 2]}");
    expect_field("payload.o.x", payload, "[1, 2]");
    expect_field("payload.o.x.1", payload, "2");
    expect_field("payload", OW_NULL_BYTES, NULL);
    expect_field("payload", OW_BYTES("\xff\xfe"), "\xff\xfe");
}

static void test_payload_that_is_no_json(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_message message = message_of(OW_BYTES("{\"a\":"));
    struct ow_sql_template t;
    struct ow_error err = {0};
    struct ow_bytes value;
    size_t at;
    assert_int_equal(ow_sql_template_init(&t, OW_BYTES("select ${!payload.a}"), OW_SQL_NUMBERED_BY_DOLLAR, &err), 0);
    assert_int_equal(ow_sql_template_value(&t, 0, &message, &scratch, &value, &at, &err), OW_EINVALID);
    ow_sql_template_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_quotes_and_comments_stay),
        cmocka_unit_test(test_no_field_where_none_is_bound),
        cmocka_unit_test(test_fields_that_are_none),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_payload_that_is_no_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
