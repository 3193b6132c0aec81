/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters as spring-kafka 3.3 and Kafka Connect 4.1 wrote them, in tests/golden/dlt/records.jsonl: what is read of
 * them, and that the same facts are written as the same bytes. A line is one record: its headers as [name, base64 or
 * null], and `input`, the record that failed.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec/base64.h"
#include "codec/dead_letter_headers.h"
#include "codec/json.h"

enum { HEADERS_MAX = 64, LINE_MAX_BYTES = 1 << 20 };

struct headers {
    struct ow_header items[HEADERS_MAX];
    size_t count;
};

struct golden {
    struct headers headers, input;
    struct ow_buf bytes;
};

/* --- reading the file --------------------------------------------------------------------------------- */

static void read_value(struct ow_json *json, struct ow_buf *bytes, struct ow_bytes *ret)
{
    int token = ow_json_next(json, NULL);
    *ret = OW_NULL_BYTES;
    if (token == OW_JSON_NULL)
        return;
    assert_int_equal(token, OW_JSON_STRING);
    size_t at = bytes->size;
    assert_int_equal(ow_base64_decode(bytes, json->text, NULL), 0);
    *ret = (struct ow_bytes){bytes->data + at, bytes->size - at};
}

static void read_headers(struct ow_json *json, struct ow_buf *bytes, struct headers *to)
{
    assert_int_equal(ow_json_next(json, NULL), OW_JSON_ARRAY_BEGIN);
    while (ow_json_next(json, NULL) == OW_JSON_ARRAY_BEGIN) {
        assert_true(to->count < HEADERS_MAX);
        struct ow_header *h = &to->items[to->count++];
        assert_int_equal(ow_json_next(json, NULL), OW_JSON_STRING);
        h->name = json->text;
        read_value(json, bytes, &h->value);
        assert_int_equal(ow_json_next(json, NULL), OW_JSON_ARRAY_END);
    }
}

static bool read_line(struct ow_bytes line, const char *wanted, struct golden *g)
{
    struct ow_json json;
    bool is_it = false;
    int token;
    ow_json_init(&json, line);
    while ((token = ow_json_next(&json, NULL)) > 0) {
        if (token != OW_JSON_KEY)
            continue;
        struct ow_bytes key = json.text;
        if (ow_bytes_is(key, "headers")) {
            read_headers(&json, &g->bytes, json.depth == 1 ? &g->headers : &g->input);
        } else if (ow_bytes_is(key, "case")) {
            assert_int_equal(ow_json_next(&json, NULL), OW_JSON_STRING);
            is_it = ow_bytes_is(json.text, wanted);
        }
    }
    assert_int_equal(token, OW_JSON_END);
    return is_it;
}

/* Lives as long as the program: the headers point into it. */
static char line[LINE_MAX_BYTES];

static void load(struct golden *g, const char *wanted)
{
    char path[4200];
    const char *slash = strrchr(__FILE__, '/');
    (void)snprintf(path, sizeof path, "%.*s/../golden/dlt/records.jsonl", slash ? (int)(slash - __FILE__) : 1,
                   slash ? __FILE__ : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    *g = (struct golden){0};
    assert_non_null(ow_buf_reserve(&g->bytes, LINE_MAX_BYTES)); /* what points into it stays where it is */
    bool is_found = false;
    while (!is_found && fgets(line, sizeof line, file)) {
        g->headers.count = g->input.count = g->bytes.size = 0;
        is_found = read_line(ow_bytes_of(line), wanted, g);
    }
    (void)fclose(file);
    assert_true(is_found);
}

static void assert_same(const struct ow_header *have, size_t have_count, const struct headers *want)
{
    for (size_t i = 0; i < have_count && i < want->count; i++) {
        if (!ow_bytes_equal(have[i].name, want->items[i].name) || !ow_bytes_equal(have[i].value, want->items[i].value))
            fail_msg("header %zu: %.*s in the place of %.*s", i, OW_PRINT(have[i].name), OW_PRINT(want->items[i].name));
    }
    assert_int_equal(have_count, want->count);
}

#define assert_bytes(bytes, text)                                        \
    do {                                                                 \
        if (!ow_bytes_is((bytes), (text)))                               \
            fail_msg("\"%.*s\" is not \"%s\"", OW_PRINT(bytes), (text)); \
    } while (0)

static void assert_place(const struct ow_dead_letter_place *p, const char *topic, int64_t partition, int64_t offset,
                         int64_t time_ms, const char *group)
{
    assert_bytes(p->topic, topic);
    assert_bytes(p->group, group);
    assert_int_equal(p->partition, partition);
    assert_int_equal(p->offset, offset);
    assert_int_equal(p->time_ms, time_ms);
}

/* Written from what was read of it, onto the headers of the record that failed: the same again. */
static void assert_written_alike(const struct golden *g, const struct ow_dead_letter *letter)
{
    struct ow_header to[HEADERS_MAX + OW_DEAD_LETTER_HEADERS_MAX];
    struct ow_dead_letter_scratch scratch;
    size_t n = ow_dead_letter_write(letter->form, g->input.items, g->input.count, letter, to, &scratch);
    assert_same(to, n, &g->headers);
}

/* --- the cases ---------------------------------------------------------------------------------------- */

static const char wrapper[] = "org.springframework.kafka.listener.ListenerExecutionFailedException";

static void spring(void **state)
{
    (void)state;
    struct golden g;
    struct ow_dead_letter l;
    load(&g, "user_headers");
    assert_int_equal(ow_dead_letter_read(g.headers.items, g.headers.count, &l), 1);
    assert_int_equal(l.form, OW_DEAD_LETTER_SPRING);
    assert_place(&l.origin, "c_dlt_text_r2", 0, 1, INT64_C(1700000006000), "c_dlt_g_text");
    assert_place(&l.last, "c_dlt_text_r2", 0, 1, INT64_C(1700000006000), "c_dlt_g_text");
    assert_int_equal(l.last.time_type, OW_TIME_CREATED);
    assert_bytes(l.exception, wrapper);
    assert_bytes(l.cause, "java.lang.IllegalStateException");
    assert_int_equal(l.message.size, 170);
    assert_int_equal(l.stacktrace.size, 4160);
    assert_int_equal(l.replays, 0);
    assert_int_equal(l.attempts, 0);
    assert_written_alike(&g, &l);
    assert_int_equal(ow_dead_letter_read(g.input.items, g.input.count, &l), 0);
    ow_buf_done(&g.bytes);
}

static void spring_after_a_replay(void **state)
{
    (void)state;
    struct golden g;
    struct ow_dead_letter l;
    load(&g, "replay_2");
    assert_int_equal(ow_dead_letter_read(g.headers.items, g.headers.count, &l), 1);
    assert_int_equal(l.form, OW_DEAD_LETTER_SPRING);
    assert_place(&l.origin, "c_dlt_text_r2", 2, 1, INT64_C(1700000014000), "c_dlt_g_text");
    assert_place(&l.last, "c_dlt_text_r2", 2, 2, INT64_C(1795258751221), "c_dlt_g_text");
    assert_bytes(l.cause, "java.lang.IllegalStateException");
    assert_int_equal(l.replays, 1);
    assert_written_alike(&g, &l);
    ow_buf_done(&g.bytes);
}

static void spring_with_retry_topics(void **state)
{
    (void)state;
    struct golden g;
    struct ow_dead_letter l;
    struct ow_header to[HEADERS_MAX];
    load(&g, "retry_plain");
    assert_int_equal(ow_dead_letter_read(g.headers.items, g.headers.count, &l), 1);
    assert_int_equal(l.form, OW_DEAD_LETTER_SPRING_RETRY);
    assert_place(&l.origin, "c_dlt_rt_r2", 2, 0, INT64_C(1700000028000), "c_dlt_g_rt");
    assert_place(&l.last, "c_dlt_rt_r2", 2, 0, INT64_C(1700000028000), "c_dlt_g_rt");
    assert_bytes(l.exception, wrapper);
    assert_bytes(l.message, "Listener failed; refused retry me");
    assert_int_equal(l.attempts, 3);
    assert_int_equal(l.replays, 0);
    /* Sent back like this it passes through its retry topics again: only what the user gave it is left. */
    assert_same(to, ow_dead_letter_strip(g.headers.items, g.headers.count, to), &g.input);
    ow_buf_done(&g.bytes);
}

/* What its DeadLetterPublishingRecoverer makes of records that are not the usual ones. */
static void spring_in_all_its_ways(void **state)
{
    static const struct {
        const char *name, *cause;
        int64_t origin, last, time_ms; /* offsets */
        uint32_t replays, attempts;
        bool is_written_alike;
    } cases[] = {
        {"null_key_tombstone", "java.lang.IllegalStateException", 5, 5, INT64_C(1700000000123), 0, 0, true},
        {"no_cause", "java.lang.IllegalArgumentException", 0, 0, 0, 0, 0, true},
        {"no_message", "java.lang.IllegalStateException", 0, 0, 1, 0, 0, true},
        {"no_time", "java.lang.IllegalStateException", 0, 0, -1, 0, 0, true},
        {"batch", "org.springframework.kafka.listener.BatchListenerFailedException", 9, 9, INT64_C(1700000000123), 0, 0,
         true},
        {"same_names", "java.lang.IllegalStateException", -1, 9, INT64_C(1700000000123), 1, 1835626085, true},
        {"large_numbers", "java.lang.IllegalStateException", INT64_MAX, INT64_MAX, INT64_MAX, 0, 0, true},
        {"thrice_1", "java.lang.IllegalStateException", 9, 9, INT64_C(1700000000123), 0, 2, true},
        {"thrice_2", "java.lang.IllegalStateException", 9, 12, INT64_C(1700000001123), 1, 2, true},
        {"thrice_3", "java.lang.IllegalStateException", 9, 13, INT64_C(1700000002123), 2, 2, true},
        {"only_first_1", "java.lang.IllegalStateException", 9, 9, INT64_C(1700000000123), 0, 0, true},
        {"only_first_2", "java.lang.IllegalStateException", 9, 9, INT64_C(1700000000123), 0, 0, false},
        {"keep_1", "java.lang.IllegalStateException", 9, 9, INT64_C(1700000000123), 0, 0, true},
        {"keep_2", "java.lang.IllegalArgumentException", 9, 12, INT64_C(1700000001123), 1, 0, false},
        {"some_excluded", "java.lang.IllegalStateException", 9, 9, INT64_C(1700000000123), 0, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct golden g;
        struct ow_dead_letter l;
        load(&g, cases[i].name);
        assert_int_equal(ow_dead_letter_read(g.headers.items, g.headers.count, &l), 1);
        assert_int_equal(l.form, OW_DEAD_LETTER_SPRING);
        assert_bytes(l.cause, cases[i].cause);
        assert_int_equal(l.origin.offset, cases[i].origin);
        assert_int_equal(l.last.offset, cases[i].last);
        assert_int_equal(l.last.time_ms, cases[i].time_ms);
        assert_int_equal(l.replays, cases[i].replays);
        assert_int_equal(l.attempts, cases[i].attempts);
        l.attempts = 0; /* there it is a header of the record that was read */
        if (cases[i].is_written_alike)
            assert_written_alike(&g, &l);
        ow_buf_done(&g.bytes);
    }
}

static void connect(void **state)
{
    (void)state;
    struct golden g;
    struct ow_dead_letter l;
    load(&g, "connect_value_converter");
    assert_int_equal(ow_dead_letter_read(g.headers.items, g.headers.count, &l), 1);
    assert_int_equal(l.form, OW_DEAD_LETTER_CONNECT);
    assert_place(&l.origin, "c_dlt_cvalue_r2", 2, 0, -1, "sink-value");
    assert_bytes(l.exception, "org.apache.kafka.connect.errors.DataException");
    assert_bytes(l.stage, "VALUE_CONVERTER");
    assert_bytes(l.stage_class, "org.apache.kafka.connect.json.JsonConverter");
    assert_bytes(l.task, "0");
    assert_int_equal(l.message.size, 75);
    assert_written_alike(&g, &l);
    ow_buf_done(&g.bytes);
}

/* --- there and back ----------------------------------------------------------------------------------- */

static const struct ow_header user[] = {
    {{"id", 2}, {"7", 1}}, {{"trace", 5}, {NULL, 0}}, {{"trace", 5}, {"\0\xff", 2}}};

static struct ow_dead_letter ours(int64_t offset)
{
    return (struct ow_dead_letter){
        .last = {OW_BYTES("orders"), 3, offset, INT64_C(1700000000123), OW_TIME_APPENDED, OW_BYTES("billing")},
        .exception = OW_BYTES("http.503"),
        .message = OW_BYTES("the handler answered 503"),
        .attempts = 8,
        .failed_ms = INT64_C(1795258751221)};
}

static void every_form_comes_back(void **state)
{
    (void)state;
    const enum ow_dead_letter_form forms[] = {OW_DEAD_LETTER_SPRING, OW_DEAD_LETTER_CONNECT,
                                              OW_DEAD_LETTER_NSERVICEBUS};
    for (size_t f = 0; f < OW_COUNT_OF(forms); f++) {
        struct ow_header first[32], back[32], second[64];
        struct ow_dead_letter_scratch scratch[2];
        struct ow_dead_letter letter = ours(17), l;
        size_t n = ow_dead_letter_write(forms[f], user, 3, &letter, first, &scratch[0]);
        assert_in_range(n, 4, 3 + OW_DEAD_LETTER_HEADERS_MAX);
        assert_int_equal(ow_dead_letter_read(first, n, &l), 1);
        assert_int_equal(l.form, forms[f]);
        assert_bytes(l.last.topic, "orders");
        assert_bytes(l.last.group, "billing");
        assert_bytes(l.message, "the handler answered 503");
        assert_int_equal(l.attempts, forms[f] == OW_DEAD_LETTER_CONNECT ? 0 : 8);
        assert_int_equal(l.last.offset, forms[f] == OW_DEAD_LETTER_NSERVICEBUS ? -1 : 17);
        assert_int_equal(l.failed_ms, forms[f] == OW_DEAD_LETTER_NSERVICEBUS ? letter.failed_ms : -1);
        /* Sent back, and failed again. */
        n = ow_dead_letter_strip(first, n, back);
        letter = ours(40);
        letter.message = OW_BYTES("the second time");
        n = ow_dead_letter_write(forms[f], back, n, &letter, second, &scratch[1]);
        assert_int_equal(ow_dead_letter_read(second, n, &l), 1);
        assert_bytes(l.message, "the second time");
        if (forms[f] != OW_DEAD_LETTER_NSERVICEBUS) {
            assert_int_equal(l.origin.offset, 17);
            assert_int_equal(l.last.offset, 40);
            assert_int_equal(l.replays, 1);
        }
        for (size_t i = 0; i < 3; i++)
            assert_true(ow_bytes_equal(second[i].value, user[i].value));
    }
}

static void a_failure_of_another_program_comes_on_top(void **state)
{
    (void)state;
    struct golden g;
    struct ow_dead_letter letter = ours(5), l;
    struct ow_header to[HEADERS_MAX + OW_DEAD_LETTER_HEADERS_MAX];
    struct ow_dead_letter_scratch scratch;
    load(&g, "connect_value_converter");
    size_t n = ow_dead_letter_write(OW_DEAD_LETTER_SPRING, g.headers.items, g.headers.count, &letter, to, &scratch);
    assert_int_equal(ow_dead_letter_read(to, n, &l), 1);
    assert_int_equal(l.form, OW_DEAD_LETTER_SPRING);
    assert_bytes(l.origin.topic, "c_dlt_cvalue_r2");
    assert_bytes(l.last.topic, "orders");
    assert_bytes(l.exception, "http.503");
    assert_null(l.stage.data);
    assert_int_equal(l.replays, 1);
    ow_buf_done(&g.bytes);
}

static void what_is_no_number_is_not_known(void **state)
{
    (void)state;
    const struct ow_header headers[] = {
        {OW_BYTES("kafka_dlt-original-topic"), OW_NULL_BYTES},
        {OW_BYTES("kafka_dlt-original-partition"), OW_BYTES("\xff\xff\xff\xff")},
        {OW_BYTES("kafka_dlt-original-offset"), OW_BYTES("123456789")},
        {OW_BYTES("kafka_dlt-original-timestamp"), OW_BYTES("")},
        {OW_BYTES("retry_topic-attempts"), OW_BYTES("\x05")}, /* as older versions have it */
        {OW_BYTES("__connect.errors.partition"), OW_BYTES("-1")},
        {OW_BYTES("__connect.errors.offset"), OW_BYTES("9999999999999999999")},
        {OW_BYTES("NServiceBus.TimeOfFailure"), OW_BYTES("2026-11-21 12:40:00:123456 z")},
        {OW_NULL_BYTES, OW_NULL_BYTES},
    };
    struct ow_dead_letter l;
    assert_int_equal(ow_dead_letter_read(headers, OW_COUNT_OF(headers), &l), 1);
    assert_int_equal(l.origin.partition, -1);
    assert_int_equal(l.origin.offset, -1);
    assert_int_equal(l.origin.time_ms, -1);
    assert_int_equal(l.last.partition, -1);
    assert_int_equal(l.last.offset, -1);
    assert_int_equal(l.failed_ms, -1);
    assert_int_equal(l.attempts, 4);
    assert_int_equal(ow_dead_letter_read(headers, 0, &l), 0);
}

static void only_the_key_failed(void **state)
{
    (void)state;
    const struct ow_header headers[] = {
        {OW_BYTES("kafka_dlt-key-exception-fqcn"), OW_BYTES("a.DeserializationException")},
        {OW_BYTES("kafka_dlt-key-exception-message"), OW_BYTES("the key")},
        {OW_BYTES("kafka_dlt-exception-cause-fqcn"), OW_BYTES("a.DeserializationException")},
        {OW_BYTES("kafka_dlt-original-topic"), OW_BYTES("t")},
    };
    struct ow_dead_letter l;
    assert_int_equal(ow_dead_letter_read(headers, OW_COUNT_OF(headers), &l), 1);
    assert_bytes(l.exception, "a.DeserializationException");
    assert_bytes(l.message, "the key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spring),
        cmocka_unit_test(spring_after_a_replay),
        cmocka_unit_test(spring_with_retry_topics),
        cmocka_unit_test(spring_in_all_its_ways),
        cmocka_unit_test(connect),
        cmocka_unit_test(every_form_comes_back),
        cmocka_unit_test(a_failure_of_another_program_comes_on_top),
        cmocka_unit_test(what_is_no_number_is_not_known),
        cmocka_unit_test(only_the_key_failed),
    };
    return cmocka_run_group_tests_name("dead_letter_headers", tests, NULL, NULL);
}
