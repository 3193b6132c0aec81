/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/units.h"
#include "codec/jsonl.h"

static void assert_written(const struct ow_record *record, const char *want)
{
    struct ow_buf to = {0};
    ow_jsonl_write(&to, record);
    assert_string_equal(to.data, want);
    ow_buf_done(&to);
}

static void test_write(void **state)
{
    (void)state;
    const struct ow_header headers[] = {{OW_BYTES("trace"), OW_BYTES("a\"b")}, {OW_BYTES("none"), OW_NULL_BYTES}};
    struct ow_record record = {
        .message = {.topic = OW_BYTES("orders"),
                    .id = OW_BYTES("a1"),
                    .key = OW_BYTES("42"),
                    .type = OW_BYTES("OrderPlaced"),
                    .payload = OW_BYTES("{\"a\":1}\n\0"),
                    .headers = headers,
                    .header_count = 2,
                    .time_ms = 1795264800123},
        .partition = 3,
        .offset = 17,
    };
    assert_written(&record, "{\"topic\":\"orders\",\"partition\":3,\"offset\":17,\"time\":\"2026-11-21T12:40:00.123Z\","
                            "\"id\":\"a1\",\"key\":\"42\",\"headers\":{\"type\":\"OrderPlaced\",\"trace\":\"a\\\"b\","
                            "\"none\":null},\"value\":\"{\\\"a\\\":1}\\n\\u0000\"}\n");
    record.partition = record.offset = -1;
    record.message.id = record.message.key = OW_NULL_BYTES;
    record.message.payload = OW_NULL_BYTES;
    record.message.header_count = 0;
    assert_written(&record, "{\"topic\":\"orders\",\"time\":\"2026-11-21T12:40:00.123Z\",\"id\":null,\"key\":null,"
                            "\"headers\":{\"type\":\"OrderPlaced\"},\"value\":null}\n");
    record.message.type = OW_NULL_BYTES;
    record.message.payload = OW_BYTES("\xff");
    record.message.key = OW_BYTES("\xc3");
    assert_written(&record, "{\"topic\":\"orders\",\"time\":\"2026-11-21T12:40:00.123Z\",\"id\":null,"
                            "\"key\":{\"base64\":\"ww==\"},\"headers\":{},\"value\":{\"base64\":\"/w==\"}}\n");
}

static void test_a_header_named_type_is_left_alone(void **state)
{
    (void)state;
    const struct ow_header headers[] = {{OW_BYTES("x"), OW_BYTES("1")}, {OW_BYTES("type"), OW_BYTES("Theirs")}};
    const struct ow_record record = {
        .message = {.topic = OW_BYTES("t"), .type = OW_BYTES("Ours"), .headers = headers, .header_count = 2},
        .partition = -1,
        .offset = -1,
    };
    assert_written(&record, "{\"topic\":\"t\",\"time\":\"1970-01-01T00:00:00.000Z\",\"id\":null,\"key\":null,"
                            "\"headers\":{\"x\":\"1\",\"type\":\"Theirs\"},\"value\":null}\n");
}

static void test_read(void **state)
{
    (void)state;
    struct ow_header headers[4];
    struct ow_buf scratch = {0};
    struct ow_record got;
    struct ow_error err = {0};
    assert_int_equal(
        ow_jsonl_read(OW_BYTES("{\"topic\":\"o\\u00e9\",\"new\":[{}],\"partition\":3,\"offset\":17,"
                               "\"time\":\"2026-11-21T14:40:00.123456+02:00\",\"id\":\"a\\n1\","
                               "\"key\":{\"base64\":\"/w==\"},\"headers\":{\"a\":\"\\t\",\"type\":\"T\\n\","
                               "\"a\":\"2\"},\"value\":\"v\\u0000\"}\r\n"),
                      &got, headers, 4, &scratch, &err),
        0);
    const struct ow_message *m = &got.message;
    assert_int_equal(got.partition, 3);
    assert_int_equal(got.offset, 17);
    assert_int_equal(m->time_ms, 1795264800123);
    assert_true(ow_bytes_is(m->topic, "o\xc3\xa9"));
    assert_true(ow_bytes_is(m->id, "a\n1"));
    assert_true(ow_bytes_is(m->key, "\xff"));
    assert_true(ow_bytes_is(m->type, "T\n"));
    assert_true(ow_bytes_equal(m->payload, OW_BYTES("v\0")));
    assert_int_equal(m->header_count, 2);
    assert_true(ow_bytes_is(m->headers[0].value, "\t"));
    assert_true(ow_bytes_is(m->headers[1].value, "2"));
    ow_buf_done(&scratch);
}

static void test_read_the_least(void **state)
{
    (void)state;
    struct ow_buf scratch = {0};
    struct ow_record got;
    assert_int_equal(ow_jsonl_read(OW_BYTES("{\"value\":null,\"topic\":\"t\"}"), &got, NULL, 0, &scratch, NULL), 0);
    assert_int_equal(got.partition, -1);
    assert_int_equal(got.offset, -1);
    assert_null(got.message.payload.data);
    assert_null(got.message.id.data);
    assert_null(got.message.key.data);
    /* Empty is not null. */
    assert_int_equal(ow_jsonl_read(OW_BYTES("{\"value\":{\"base64\":\"\"},\"topic\":\"t\",\"key\":\"\"}"), &got, NULL,
                                   0, &scratch, NULL),
                     0);
    assert_non_null(got.message.payload.data);
    assert_non_null(got.message.key.data);
    ow_buf_done(&scratch);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int code;
        const char *error;
    } bad[] = {
        {"", OW_EINVALID, "not JSON"},
        {"{\"topic\":\"t\",\"value\":\"to", OW_EINVALID, "a string without its end at byte 22"},
        {"[]", OW_EINVALID, "not a record: a JSON object is expected"},
        {"{\"topic\":\"t\"}", OW_EINVALID, "\"value\" is missing"},
        {"{\"value\":\"t\"}", OW_EINVALID, "\"topic\" is missing"},
        {"{\"topic\":null,\"value\":null}", OW_EINVALID, "\"topic\": must be a string"},
        {"{\"topic\":\"t\",\"value\":1}", OW_EINVALID, "\"value\": must be a string, null or"},
        {"{\"topic\":\"t\",\"value\":{}}", OW_EINVALID, "\"value\": must be a string, null or"},
        {"{\"topic\":\"t\",\"value\":{\"x\":\"\"}}", OW_EINVALID, "\"value\": must be a string, null or"},
        {"{\"topic\":\"t\",\"value\":{\"base64\":\"\",\"x\":1}}", OW_EINVALID, "\"value\": must be a string, null or"},
        {"{\"topic\":\"t\",\"value\":{\"base64\":\"!!!!\"}}", OW_EINVALID, "\"value\": not base64"},
        {"{\"topic\":\"t\",\"value\":null,\"offset\":-1}", OW_EINVALID, "\"offset\": \"-1\""},
        {"{\"topic\":\"t\",\"value\":null,\"offset\":\"1\"}", OW_EINVALID, "\"offset\": must be a whole number"},
        {"{\"topic\":\"t\",\"value\":null,\"time\":\"noon\"}", OW_EINVALID, "\"time\": \"noon\" is not a time"},
        {"{\"topic\":\"t\",\"value\":null,\"id\":7}", OW_EINVALID, "\"id\": must be a string or null"},
        {"{\"topic\":\"t\",\"value\":null,\"value\":null}", OW_EINVALID, "\"value\" stands there twice"},
        {"{\"topic\":\"t\",\"value\":null,\"headers\":[]}", OW_EINVALID, "\"headers\": headers must be"},
        {"{\"topic\":\"t\",\"value\":null,\"headers\":{\"a\":1,\"b\":2}}", OW_ETOOBIG, "more than 1 headers"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        struct ow_header headers[1];
        struct ow_buf scratch = {0};
        struct ow_record got = {.offset = 99};
        struct ow_error err = {0};
        assert_int_equal(ow_jsonl_read(ow_bytes_of(bad[i].line), &got, headers, 1, &scratch, &err), bad[i].code);
        assert_text_has(err.text, bad[i].error);
        assert_int_equal(got.offset, 99);
        ow_buf_done(&scratch);
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00.5z", 500},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2000-02-29T23:30:00-01:30", 951872400000},
        {"1990-12-31T23:59:60Z", 662688000000},
        {"0001-01-01T00:00:00Z", -62135596800000},
        {"9999-12-31T23:59:59.9999Z", 253402300799999},
        {"-9223372036854775808", INT64_MIN},
        {"253402300800000", 253402300800000},
    };
    for (size_t i = 0; i < OW_COUNT_OF(good); i++) {
        int64_t ms = 1, again = 1;
        char text[OW_TIME_TEXT_SIZE];
        assert_int_equal(ow_time_parse(ow_bytes_of(good[i].text), &ms, NULL), 0);
        assert_int_equal(ms, good[i].ms);
        assert_int_equal(ow_time_parse(ow_bytes_of(ow_time_format(ms, text)), &again, NULL), 0);
        assert_int_equal(again, ms);
    }
    static const char *const bad[] = {"",
                                      "-",
                                      "now",
                                      "2026-11-21",
                                      "2026-11-21T12:40:00",
                                      "2026-11-21 12:40:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T00:00:00.Z",
                                      "2026-01-01T00:00:00+0200",
                                      "2026-01-01T00:00:00ZZ",
                                      "9223372036854775808"};
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        int64_t ms;
        struct ow_error err = {0};
        assert_int_equal(ow_time_parse(ow_bytes_of(bad[i]), &ms, &err), OW_EINVALID);
        assert_text_has(err.text, "is not a time");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),   cmocka_unit_test(test_a_header_named_type_is_left_alone),
        cmocka_unit_test(test_read),    cmocka_unit_test(test_read_the_least),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
