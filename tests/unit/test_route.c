/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "core/route.h"

static const struct ow_header headers[] = {{{"region", 6}, {"eu", 2}}, {{"none", 4}, {NULL, 0}}};

static struct ow_message sample(void)
{
    return (struct ow_message){
        .id = OW_BYTES("m-1"),
        .topic = OW_BYTES("t"),
        .key = OW_BYTES("k"),
        .type = OW_BYTES("OrderPlaced"),
        .aggregate_type = OW_BYTES("order"),
        .aggregate_id = OW_BYTES("o-7"),
        .payload = OW_BYTES("PAYLOAD"),
        .headers = headers,
        .header_count = OW_COUNT_OF(headers),
        .time_ms = 1234,
    };
}

/* Stands in for the codec's: "a.b" is found, "gone" is not there, "list" is no scalar, "" is empty text. */
static int lookup(struct ow_bytes payload, struct ow_bytes path, struct ow_buf *to, struct ow_error *err)
{
    assert_true(ow_bytes_is(payload, "PAYLOAD"));
    if (ow_bytes_is(path, "gone"))
        return 0;
    if (ow_bytes_is(path, "list"))
        return ow_error_set(err, OW_EINVALID, "list is no scalar");
    if (!ow_bytes_is(path, "empty"))
        ow_buf_printf(to, "<%.*s>", OW_PRINT(path));
    return 1;
}

static void check(const char *template, int result, const char *text)
{
    struct ow_route route;
    struct ow_error err = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_message m = sample();
    struct ow_bytes bytes = OW_BYTES("untouched");
    assert_int_equal(ow_route_init(&route, ow_bytes_of(template), &err), 0);
    ow_buf_add_text(&scratch, "before");
    int r = ow_route_render(&route, &m, lookup, &scratch, &bytes, &err);
    if (r != result)
        fail_msg("%s: %d instead of %d: %s", template, r, result, err.text);
    if (r == 1 && !ow_bytes_is(bytes, text))
        fail_msg("%s gave \"%.*s\"", template, OW_PRINT(bytes));
    if (r < 0)
        assert_text_has(err.text, text);
    assert_memory_equal(scratch.data, "before", 6);
    ow_route_done(&route);
    ow_route_done(&route);
}

static void test_every_field(void **state)
{
    (void)state;
    static const char *const fields[][2] = {
        {"id", "m-1"},
        {"topic", "t"},
        {"key", "k"},
        {"type", "OrderPlaced"},
        {"aggregatetype", "order"},
        {"aggregateid", "o-7"},
        {"payload", "PAYLOAD"},
        {"time", "1234"},
        {"headers.region", "eu"},
        {"payload.a.b", "<a.b>"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(fields); i++) {
        OW_CLEANUP(ow_buf_done) struct ow_buf template = {0}, expected = {0};
        ow_buf_printf(&template, "${!%s}", fields[i][0]);
        check(template.data, 1, fields[i][1]);
        ow_buf_clear(&template);
        ow_buf_printf(&template, "x.${!%s}.${!%s}y", fields[i][0], fields[i][0]);
        ow_buf_printf(&expected, "x.%s.%sy", fields[i][1], fields[i][1]);
        check(template.data, 1, expected.data);
    }
}

static void test_text_and_dollars(void **state)
{
    (void)state;
    check("plain", 1, "plain");
    check("", 1, "");
    check("$$", 1, "$");
    check("a$$b", 1, "a$b");
    check("$$$$", 1, "$$");
    check("$${!id}", 1, "${!id}");
    check("outbox.event.${!aggregatetype}", 1, "outbox.event.order");
    check("${!aggregatetype}.events", 1, "order.events");
    check("${!aggregatetype}${!aggregateid}", 1, "ordero-7");
    check("{!id}", 1, "{!id}");
    check("${!payload.empty}", 1, "");
    check("[${!payload.empty}]", 1, "[]");
}

static void test_missing_fields(void **state)
{
    (void)state;
    check("${!headers.nobody}", 0, NULL);
    check("${!headers.none}", 0, NULL);
    check("${!payload.gone}", 0, NULL);
    check("x${!headers.nobody}", OW_EINVALID, "headers.nobody");
    check("x${!payload.gone}", OW_EINVALID, "payload.gone");
    check("${!payload.list}", OW_EINVALID, "no scalar");
    struct ow_route route;
    struct ow_error err = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_message m = sample();
    struct ow_bytes bytes;
    m.aggregate_type = OW_NULL_BYTES;
    assert_int_equal(ow_route_init(&route, OW_BYTES("e.${!aggregatetype}"), &err), 0);
    assert_int_equal(ow_route_render(&route, &m, NULL, &scratch, &bytes, &err), OW_EINVALID);
    assert_text_has(err.text, "aggregatetype");
    ow_route_done(&route);
}

static void test_no_lookup(void **state)
{
    (void)state;
    struct ow_route route;
    struct ow_error err = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_message m = sample();
    struct ow_bytes bytes;
    assert_int_equal(ow_route_init(&route, OW_BYTES("${!payload.a}"), &err), 0);
    assert_int_equal(ow_route_render(&route, &m, NULL, &scratch, &bytes, &err), OW_EUNSUPPORTED);
    ow_route_done(&route);
}

/* Without a need for memory none is taken: the result points into the message or the route. */
static void test_single_fields_are_not_copied(void **state)
{
    (void)state;
    struct ow_route route;
    struct ow_error err = {0};
    struct ow_buf scratch = {0};
    struct ow_message m = sample();
    struct ow_bytes bytes;
    assert_int_equal(ow_route_init(&route, OW_BYTES("${!aggregateid}"), &err), 0);
    assert_int_equal(ow_route_render(&route, &m, NULL, &scratch, &bytes, &err), 1);
    assert_ptr_equal(bytes.data, m.aggregate_id.data);
    assert_null(scratch.data);
    ow_route_done(&route);
}

static void test_the_failed_buffer_is_told(void **state)
{
    (void)state;
    static const char *const templates[] = {"${!time}", "x${!time}", "${!payload.a}", "x${!id}"};
    for (size_t i = 0; i < OW_COUNT_OF(templates); i++) {
        struct ow_route route;
        struct ow_error err = {0};
        struct ow_buf scratch = {.has_failed = true};
        struct ow_message m = sample();
        struct ow_bytes bytes;
        assert_int_equal(ow_route_init(&route, ow_bytes_of(templates[i]), &err), 0);
        assert_int_equal(ow_route_render(&route, &m, lookup, &scratch, &bytes, &err), OW_ENOMEM);
        ow_route_done(&route);
    }
}

static void test_errors_have_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *template, *place;
    } bad[] = {
        {"$", "character 1"},     {"a$", "character 2"},           {"a.$b", "character 3"},
        {"${id}", "character 1"}, {"x${!nope}", "character 2"},    {"${!id}${!", "character 7"},
        {"${!}", "character 1"},  {"${!headers.}", "character 1"}, {"${!payload.}", "character 1"},
        {"$$$", "character 3"},   {"${!ID}", "character 1"},       {"${!id }", "character 1"},
        {"${!id", "character 1"}, {"${", "character 1"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        struct ow_route route;
        struct ow_error err = {0};
        if (ow_route_init(&route, ow_bytes_of(bad[i].template), &err) != OW_EINVALID)
            fail_msg("\"%s\" was taken", bad[i].template);
        assert_text_has(err.text, bad[i].template);
        assert_text_has(err.text, bad[i].place);
        assert_text_has(err.text, "aggregatetype");
        ow_route_done(&route);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_text_and_dollars),
        cmocka_unit_test(test_missing_fields),
        cmocka_unit_test(test_no_lookup),
        cmocka_unit_test(test_single_fields_are_not_copied),
        cmocka_unit_test(test_the_failed_buffer_is_told),
        cmocka_unit_test(test_errors_have_their_place),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
