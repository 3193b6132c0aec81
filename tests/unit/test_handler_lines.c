/* SPDX-License-Identifier: Apache-2.0 */
/* What a program reads and writes, and what handlers emit. */
#include "unit.h"

#include "handler/emitted.h"
#include "handler/exec_line.h"

static void test_task(void **state)
{
    (void)state;
    const struct ow_header headers[] = {{OW_BYTES("trace"), OW_BYTES("a\"b")}};
    struct ow_record record = {.message = {.topic = OW_BYTES("orders"),
                                           .key = OW_BYTES("42"),
                                           .type = OW_BYTES("OrderPlaced"),
                                           .payload = OW_BYTES("{\"a\":1}\n"),
                                           .headers = headers,
                                           .header_count = 1,
                                           .time_ms = 1795264800123},
                               .partition = 3,
                               .offset = 17};
    struct ow_task task = {.record = &record, .id = OW_BYTES("a1"), .attempt = 2};
    struct ow_buf to = {0};
    ow_exec_write_task(&to, &task);
    assert_string_equal(to.data, "{\"id\":\"a1\",\"attempt\":2,\"topic\":\"orders\",\"partition\":3,\"offset\":17,"
                                 "\"time\":\"2026-11-21T12:40:00.123Z\",\"key\":\"42\",\"type\":\"OrderPlaced\","
                                 "\"headers\":{\"trace\":\"a\\\"b\"},\"payload\":\"{\\\"a\\\":1}\\n\"}\n");
    record.message.key = OW_BYTES("\xff");
    record.message.payload = record.message.type = OW_NULL_BYTES;
    record.message.header_count = 0;
    record.partition = record.offset = -1;
    ow_buf_clear(&to);
    ow_exec_write_task(&to, &task);
    assert_string_equal(to.data,
                        "{\"id\":\"a1\",\"attempt\":2,\"topic\":\"orders\",\"time\":\"2026-11-21T12:40:00.123Z\","
                        "\"key_base64\":\"/w==\",\"type\":null,\"headers\":{},\"payload\":null}\n");
    ow_buf_done(&to);
}

static void test_answer(void **state)
{
    (void)state;
    static const struct {
        const char *line, *reason;
    } wrong[] = {{"", "not JSON"},
                 {"[]", "a JSON object is expected"},
                 {"{\"ok\":true}", "\"id\" is missing"},
                 {"{\"id\":\"1\"}", "\"ok\" is missing"},
                 {"{\"id\":1,\"ok\":true}", "\"id\": must be a string"},
                 {"{\"id\":\"1\",\"ok\":1}", "\"ok\": must be true or false"},
                 {"{\"id\":\"1\",\"ok\":false,\"retry_after\":\"soon\"}", "\"retry_after\": "},
                 {"{\"id\":\"1\",\"ok\":false,\"retry_after\":-1}", "\"retry_after\": "},
                 {"{\"id\":\"1\",\"ok\":true} x", "not JSON"}};
    struct ow_exec_answer answer;
    struct ow_buf scratch = {0};
    struct ow_error err;
    for (size_t i = 0; i < OW_COUNT_OF(wrong); i++) {
        assert_true(ow_exec_read_answer(ow_bytes_of(wrong[i].line), &scratch, &answer, &err) < 0);
        assert_text_has(err.text, wrong[i].reason);
    }
    assert_int_equal(ow_exec_read_answer(OW_BYTES("{\"id\":\"\\u0041\",\"ok\":false,\"class\":\"gone\",\"more\":[1],"
                                                  "\"retry\":false,\"retry_after\":7,\"publish\":null}\r"),
                                         &scratch, &answer, &err),
                     0);
    assert_true(ow_bytes_is(answer.id, "A") && ow_bytes_is(answer.class, "gone") && !answer.reason.data);
    assert_true(!answer.is_ok && !answer.is_retried && answer.retry_after_ms == 7000 && !answer.publish.data);
    assert_int_equal(
        ow_exec_read_answer(OW_BYTES("{\"publish\":[{}],\"ok\":true,\"id\":\"1\"}"), &scratch, &answer, &err), 0);
    assert_true(answer.is_ok && answer.is_retried && answer.retry_after_ms == -1 &&
                ow_bytes_is(answer.publish, "[{}]"));
    ow_buf_done(&scratch);
}

static void test_emitted(void **state)
{
    (void)state;
    struct ow_emitted *emitted;
    struct ow_error err;
    assert_int_equal(ow_emitted_read_list(
                         OW_BYTES("[{\"aggregatetype\":\"a\\u0062\",\"aggregateid\":\"1\",\"type\":\"T\",\"payload\":"
                                  "{\"n\":1.50},\"headers\":{\"h\":\"v\\n\",\"i\":null}},"
                                  "{\"id\":\"mine\",\"aggregatetype\":\"a\",\"aggregateid\":\"2\",\"type\":\"T\"}]"),
                         &emitted, &err),
                     OW_EINVALID);
    assert_text_has(err.text, "message 1: ");
    assert_int_equal(ow_emitted_read_list(
                         OW_BYTES("[{\"aggregatetype\":\"a\\u0062\",\"aggregateid\":\"1\",\"type\":\"T\",\"payload\":"
                                  "{\"n\":1.50},\"headers\":{\"h\":\"v\\u0041\",\"i\":null}},"
                                  "{\"id\":\"mine\",\"aggregatetype\":\"a\",\"aggregateid\":\"2\",\"type\":\"T\"}]"),
                         &emitted, &err),
                     0);
    const struct ow_message *m = emitted->messages;
    assert_int_equal(emitted->count, 2);
    assert_true(ow_bytes_is(m[0].aggregate_type, "ab") && ow_bytes_is(m[0].payload, "{\"n\":1.50}") &&
                m[0].id.size == 36);
    assert_true(m[0].header_count == 2 && ow_bytes_is(m[0].headers[0].value, "vA") && !m[0].headers[1].value.data);
    assert_true(ow_bytes_is(m[1].id, "mine") && !m[1].payload.data && m[1].header_count == 0);
    ow_emitted_free(emitted);
    assert_int_equal(ow_emitted_read_list(OW_BYTES("[]"), &emitted, &err), 0);
    assert_int_equal(emitted->count, 0);
    ow_emitted_free(emitted);
}

static void test_cloud_events(void **state)
{
    (void)state;
    struct ow_emitted *emitted;
    struct ow_error err;
    assert_int_equal(
        ow_emitted_read_cloud_events(
            OW_BYTES("{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"T\",\"subject\":\"7\","
                     "\"aggregatetype\":\"a\",\"data_base64\":\"AAE=\"}"),
            false, &emitted, &err),
        0);
    const struct ow_message *m = emitted->messages;
    assert_true(emitted->count == 1 && m->payload.size == 2 && memcmp(m->payload.data, "\0\1", 2) == 0);
    assert_true(m->header_count == 1 && ow_bytes_is(m->headers[0].name, "ce_source"));
    ow_emitted_free(emitted);
    assert_int_equal(ow_emitted_read_cloud_events(OW_BYTES("[]"), false, &emitted, &err), OW_EINVALID);
    assert_int_equal(
        ow_emitted_read_cloud_events(OW_BYTES("[{\"data\":1,\"data_base64\":\"AA==\"}]"), true, &emitted, &err),
        OW_EINVALID);
    assert_text_has(err.text, "two payloads");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_task), cmocka_unit_test(test_answer),
                                       cmocka_unit_test(test_emitted), cmocka_unit_test(test_cloud_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
