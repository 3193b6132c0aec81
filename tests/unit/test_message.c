/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/message.h"

static const struct ow_header good_headers[] = {
    {{"content-type", 12}, {"text/plain", 10}},
    {{"trace", 5}, {NULL, 0}},
    {{"empty", 5}, {"", 0}},
};

static struct ow_message good(void)
{
    return (struct ow_message){
        .position = {7, 1},
        .id = OW_BYTES("m-1"),
        .topic = OW_BYTES("outbox.event.order"),
        .key = OW_BYTES("order-1"),
        .type = OW_BYTES("OrderPlaced"),
        .aggregate_type = OW_BYTES("order"),
        .aggregate_id = OW_BYTES("order-1"),
        .payload = OW_BYTES("{\"any\":\"\0\xff bytes\"}"),
        .headers = good_headers,
        .header_count = OW_COUNT_OF(good_headers),
        .time_ms = 1,
    };
}

static void expect(const struct ow_message *message, int code, const char *named)
{
    struct ow_error err = {0};
    int r = ow_message_check(message, &ow_message_limits_default, &err);
    if (r != code)
        fail_msg("%d instead of %d: %s", r, code, err.text);
    assert_int_equal(err.code, code);
    if (named)
        assert_text_has(err.text, named);
}

static void test_good_ones(void **state)
{
    (void)state;
    struct ow_message m = good();
    expect(&m, 0, NULL);
    m.key = m.topic = m.type = m.aggregate_id = m.aggregate_type = m.payload = OW_NULL_BYTES;
    m.headers = NULL;
    m.header_count = 0;
    expect(&m, 0, NULL);
    m.key = OW_BYTES("");
    m.aggregate_id = OW_BYTES("B\xc3\xbc"
                              "cher");
    expect(&m, 0, NULL);
}

/* Every field that names something refuses the same bad bytes, and says which field it was. */
static void test_bad_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"id", offsetof(struct ow_message, id)},
        {"topic", offsetof(struct ow_message, topic)},
        {"key", offsetof(struct ow_message, key)},
        {"type", offsetof(struct ow_message, type)},
        {"aggregatetype", offsetof(struct ow_message, aggregate_type)},
        {"aggregateid", offsetof(struct ow_message, aggregate_id)},
    };
    static char huge[(64 << 10) + 1];
    memset(huge, 'x', sizeof huge);
    const struct {
        struct ow_bytes bytes;
        int code;
    } bad[] = {
        {OW_BYTES("a\nb"), OW_EINVALID},  {OW_BYTES("a\0b"), OW_EINVALID},   {OW_BYTES("a\rb"), OW_EINVALID},
        {OW_BYTES("\x7f"), OW_EINVALID},  {OW_BYTES("a\xff"), OW_EINVALID},  {OW_BYTES("\xc3"), OW_EINVALID},
        {OW_BYTES("\x1b["), OW_EINVALID}, {{huge, sizeof huge}, OW_ETOOBIG},
    };
    for (size_t f = 0; f < OW_COUNT_OF(fields); f++)
        for (size_t b = 0; b < OW_COUNT_OF(bad); b++) {
            struct ow_message m = good();
            *(struct ow_bytes *)((char *)&m + fields[f].offset) = bad[b].bytes;
            expect(&m, bad[b].code, fields[f].name);
        }
}

static void test_empty_names(void **state)
{
    (void)state;
    struct ow_message m = good();
    m.id = OW_NULL_BYTES;
    expect(&m, OW_EINVALID, "id is empty");
    m.id = OW_BYTES("");
    expect(&m, OW_EINVALID, "id is empty");
    m = good();
    m.topic = OW_BYTES("");
    expect(&m, OW_EINVALID, "topic is empty");
}

static void test_a_defect_is_told(void **state)
{
    (void)state;
    struct ow_message m = good();
    m.defect = OW_BYTES("headers are no JSON object");
    expect(&m, OW_EINVALID, "headers are no JSON object");
    OW_CLEANUP(ow_message_cleanup) struct ow_message *copy = ow_message_copy(&m);
    assert_non_null(copy);
    expect(copy, OW_EINVALID, "headers are no JSON object");
}

static void test_limits_are_exact(void **state)
{
    (void)state;
    const struct ow_message_limits limits = {.payload_bytes_max = 4,
                                             .key_bytes_max = 3,
                                             .headers_bytes_max = 6,
                                             .header_count_max = 2,
                                             .topic_bytes_max = 5};
    const struct ow_header two[] = {{{"a", 1}, {"bb", 2}}, {{"c", 1}, {"dd", 2}}, {{"e", 1}, {"", 0}}};
    struct ow_message m = {.id = OW_BYTES("123"),
                           .topic = OW_BYTES("12345"),
                           .key = OW_BYTES("123"),
                           .payload = OW_BYTES("1234"),
                           .headers = two,
                           .header_count = 2};
    struct ow_error err = {0};
    assert_int_equal(ow_message_check(&m, &limits, &err), 0);
    m.header_count = 3;
    assert_int_equal(ow_message_check(&m, &limits, &err), OW_ETOOBIG);
    assert_text_has(err.text, "3 headers, the limit is 2");
    m.header_count = 2;
    m.payload = OW_BYTES("12345");
    assert_int_equal(ow_message_check(&m, &limits, &err), OW_ETOOBIG);
    assert_text_has(err.text, "payload has 5 bytes, the limit is 4");
    m.payload = OW_NULL_BYTES;
    m.topic = OW_BYTES("123456");
    assert_int_equal(ow_message_check(&m, &limits, &err), OW_ETOOBIG);
    m.topic = OW_BYTES("12345");
    const struct ow_header seven[] = {{{"a", 1}, {"bbb", 3}}, {{"c", 1}, {"dd", 2}}};
    m.headers = seven;
    assert_int_equal(ow_message_check(&m, &limits, &err), OW_ETOOBIG);
    assert_text_has(err.text, "headers have 7 bytes, the limit is 6");
}

static void test_bad_headers(void **state)
{
    (void)state;
    static const struct {
        struct ow_header header;
        const char *named;
    } bad[] = {
        {{{NULL, 0}, {"x", 1}}, "empty name"},    {{{"", 0}, {"x", 1}}, "empty name"},
        {{{"a\nb", 3}, {"x", 1}}, "header name"}, {{{"a\xff", 2}, {"x", 1}}, "header name"},
        {{{"a", 1}, {"x\ny", 3}}, "\"a\""},       {{{"a", 1}, {"x\ry", 3}}, "line break"},
        {{{"a", 1}, {"x\0y", 3}}, "NUL"},         {{{"a", 1}, {"\xff", 1}}, "UTF-8"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        struct ow_message m = good();
        const struct ow_header both[] = {good_headers[0], bad[i].header};
        m.headers = both;
        m.header_count = 2;
        expect(&m, OW_EINVALID, bad[i].named);
    }
    struct ow_message m = good(); /* a tab is allowed in a value */
    const struct ow_header tab = {{"a", 1}, {"x\ty", 3}};
    m.headers = &tab;
    m.header_count = 1;
    expect(&m, 0, NULL);
}

static void assert_same(const struct ow_message *a, const struct ow_message *b)
{
    assert_int_equal(ow_position_compare(a->position, b->position), 0);
    assert_true(ow_bytes_equal(a->id, b->id) && ow_bytes_equal(a->topic, b->topic) && ow_bytes_equal(a->key, b->key) &&
                ow_bytes_equal(a->type, b->type) && ow_bytes_equal(a->aggregate_type, b->aggregate_type) &&
                ow_bytes_equal(a->aggregate_id, b->aggregate_id) && ow_bytes_equal(a->payload, b->payload));
    assert_int_equal(a->time_ms, b->time_ms);
    assert_int_equal(a->header_count, b->header_count);
    for (size_t i = 0; i < a->header_count; i++)
        assert_true(ow_bytes_equal(a->headers[i].name, b->headers[i].name) &&
                    ow_bytes_equal(a->headers[i].value, b->headers[i].value));
}

static void test_copy_stands_alone(void **state)
{
    (void)state;
    struct ow_message m = good();
    char *payload = strdup("changes later");
    assert_non_null(payload);
    m.payload = ow_bytes_of(payload);
    OW_CLEANUP(ow_message_cleanup) struct ow_message *copy = ow_message_copy(&m);
    assert_non_null(copy);
    assert_same(copy, &m);
    assert_ptr_not_equal(copy->headers, m.headers);
    memset(payload, '?', strlen(payload));
    free(payload);
    assert_true(ow_bytes_is(copy->payload, "changes later"));
}

static void test_copy_keeps_null_and_empty_apart(void **state)
{
    (void)state;
    struct ow_message m = {.id = OW_BYTES("i")};
    OW_CLEANUP(ow_message_cleanup) struct ow_message *without = ow_message_copy(&m);
    assert_non_null(without);
    assert_null(without->payload.data);
    assert_null(without->key.data);
    m.payload = m.key = OW_BYTES("");
    OW_CLEANUP(ow_message_cleanup) struct ow_message *with = ow_message_copy(&m);
    assert_non_null(with);
    assert_non_null(with->payload.data);
    assert_non_null(with->key.data);
    assert_same(with, &m);
    ow_message_free(NULL);
}

static void test_size_counts_everything(void **state)
{
    (void)state;
    struct ow_message m = {.id = OW_BYTES("12"), .payload = OW_BYTES("123")};
    size_t bare = ow_message_size(&m);
    assert_int_equal(bare, sizeof m + 5);
    const struct ow_header header = {{"ab", 2}, {"c", 1}};
    m.headers = &header;
    m.header_count = 1;
    assert_int_equal(ow_message_size(&m), bare + sizeof header + 3);
    m.topic = m.key = m.type = m.aggregate_id = m.aggregate_type = OW_BYTES("x");
    assert_int_equal(ow_message_size(&m), bare + sizeof header + 8);
}

/* Of a shaped message the record counts: topic, header names and sizes. */
static void test_shaped_ones(void **state)
{
    (void)state;
    const struct ow_header any[] = {{OW_BYTES("h"), OW_BYTES("a\r\n\0\xff")}},
                           unnamed[] = {{OW_BYTES(""), OW_BYTES("v")}};
    struct ow_message m = good();
    m.headers = any;
    m.header_count = 1;
    m.key = OW_BYTES("{\n\xff}");
    m.id = OW_NULL_BYTES;
    m.type = OW_BYTES("\n");
    expect(&m, OW_EINVALID, "id");
    m.is_shaped = true;
    expect(&m, 0, NULL);
    m.headers = unnamed;
    expect(&m, OW_EINVALID, "header");
    m.headers = any;
    m.topic = OW_BYTES("a\nb");
    expect(&m, OW_EINVALID, "topic");
    m.topic = OW_BYTES("t");
    char *large = calloc(1, ow_message_limits_default.key_bytes_max + 1);
    assert_non_null(large);
    m.key = (struct ow_bytes){large, ow_message_limits_default.key_bytes_max};
    expect(&m, 0, NULL);
    m.key.size++;
    expect(&m, OW_ETOOBIG, "key");
    free(large);
}

static void test_copy_has_no_row(void **state)
{
    (void)state;
    struct ow_message m = good();
    m.row = (const struct ow_row *)&m;
    m.is_shaped = true;
    OW_CLEANUP(ow_message_cleanup) struct ow_message *copy = ow_message_copy(&m);
    assert_non_null(copy);
    assert_null(copy->row);
    assert_true(copy->is_shaped);
}

/* Copies that share pieces of memory: whatever is freed first, and whether the pool is done before them. */
static void test_pool(void **state)
{
    enum { COUNT = 1000 };
    static char payload[20000];
    struct ow_message *copies[COUNT];
    struct ow_message_pool pool = {0};
    (void)state;
    memset(payload, 'x', sizeof payload);
    for (size_t i = 0; i < COUNT; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "message-%zu", i);
        const struct ow_header header = {OW_BYTES("name"), ow_bytes_of(id)};
        const struct ow_message m = {.id = ow_bytes_of(id),
                                     .payload = {payload, i % 100 == 7 ? sizeof payload : i},
                                     .headers = &header,
                                     .header_count = 1};
        copies[i] = ow_message_copy_to(&pool, &m);
        assert_non_null(copies[i]);
        assert_int_equal((uintptr_t)copies[i] % _Alignof(max_align_t), 0);
        if (i % 3 == 0) {
            ow_message_free(copies[i]);
            copies[i] = NULL;
        }
    }
    ow_message_pool_done(&pool);
    for (size_t i = 0; i < COUNT; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "message-%zu", i);
        if (!copies[i])
            continue;
        assert_true(ow_bytes_is(copies[i]->id, id));
        assert_true(ow_bytes_is(copies[i]->headers[0].value, id));
        assert_int_equal(copies[i]->payload.size, i % 100 == 7 ? sizeof payload : i);
        assert_null(copies[i]->key.data);
        ow_message_free(copies[i]);
    }
    ow_message_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shaped_ones),
        cmocka_unit_test(test_copy_has_no_row),
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_empty_names),
        cmocka_unit_test(test_a_defect_is_told),
        cmocka_unit_test(test_limits_are_exact),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_copy_stands_alone),
        cmocka_unit_test(test_copy_keeps_null_and_empty_apart),
        cmocka_unit_test(test_size_counts_everything),
        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
