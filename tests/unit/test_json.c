/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "codec/json.h"

/* The tokens of a document, a letter each, or the error. */
static int tokens(const char *text, char *to, struct ow_error *err)
{
    static const char letters[] = ".{}[]ksdtfn";
    struct ow_json json;
    ow_json_init(&json, ow_bytes_of(text));
    int token;
    while ((token = ow_json_next(&json, err)) > 0)
        *to++ = letters[token];
    *to = '\0';
    if (token < 0) { /* it stays */
        struct ow_error again = {0};
        assert_int_equal(ow_json_next(&json, &again), token);
        assert_string_equal(again.text, err->text);
    }
    return token;
}

static void test_tokens(void **state)
{
    (void)state;
    char got[64];
    struct ow_error err = {0};
    assert_int_equal(
        tokens(" {\"a\" : [1, -0.5e+3 ,\"x\"],\"b\":{},\"c\":[ ],\"d\":null, \"e\":[true,false]}\n", got, &err), 0);
    assert_string_equal(got, "{k[dds]k{}k[]knk[tf]}");
    assert_int_equal(tokens("0", got, &err), 0);
    assert_string_equal(got, "d");
}

static void test_what_is_not_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"", "not JSON: the end where a value should be at byte 1"},
        {"nul", "not JSON: no value at byte 1"},
        {"[1,]", "at byte 4"},
        {"[1 2]", "no comma or ] at byte 4"},
        {"[1}", "no comma or ] at byte 3"},
        {"{\"a\":1]", "no comma or } at byte 7"},
        {"{\"a\":1,}", "no \"name\" of a member at byte 8"},
        {"{a:1}", "no \"name\" of a member at byte 2"},
        {"{\"a\" 1}", "no colon after a name at byte 6"},
        {"{\"a\":}", "no value at byte 6"},
        {"1 2", "something after the value at byte 3"},
        {"01", "a bad number at byte 1"},
        {"-", "a bad number at byte 1"},
        {"1.", "a bad number at byte 1"},
        {"1e", "a bad number at byte 1"},
        {".5", "no value at byte 1"},
        {"\"a", "a string without its end at byte 1"},
        {"\"a\nb\"", "a control character in a string at byte 3"},
        {"\"\\x\"", "a bad escape in a string at byte 2"},
        {"\"\\u12g4\"", "a bad escape in a string at byte 2"},
        {"\"\\ud83d\"", "a bad escape in a string at byte 2"},
        {"\"\\ude00\"", "a bad escape in a string at byte 2"},
        {"\"\\ud83d\\u0041\"", "a bad escape in a string at byte 2"},
        {"\"a\xff\"", "a string that is not UTF-8 at byte 1"},
        {"\"\xed\xa0\x80\"", "a string that is not UTF-8 at byte 1"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        char got[64];
        struct ow_error err = {0};
        assert_int_equal(tokens(bad[i].text, got, &err), OW_EINVALID);
        assert_text_has(err.text, bad[i].error);
    }
}

static void test_depth(void **state)
{
    (void)state;
    char text[2 * OW_JSON_DEPTH_MAX + 3], got[sizeof text];
    struct ow_error err = {0};
    memset(text, '[', OW_JSON_DEPTH_MAX);
    memset(text + OW_JSON_DEPTH_MAX, ']', OW_JSON_DEPTH_MAX);
    text[2 * OW_JSON_DEPTH_MAX] = '\0';
    assert_int_equal(tokens(text, got, &err), 0);
    memset(text, '[', OW_JSON_DEPTH_MAX + 1);
    assert_int_equal(tokens(text, got, &err), OW_EINVALID);
    assert_text_has(err.text, "more than 128 levels at byte 129");
    /* The kind of each level is kept apart, beyond the first word of bits too. */
    memset(text, '[', 70);
    memcpy(text + 70, "{\"a\":[1}", 9);
    assert_int_equal(tokens(text, got, &err), OW_EINVALID);
    assert_text_has(err.text, "no comma or ]");
}

static void test_strings(void **state)
{
    (void)state;
    struct ow_buf scratch = {0};
    struct ow_error err = {0};
    struct ow_bytes got;
    struct ow_json json;
    ow_json_init(&json, OW_BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00E9\\u20ac\\ud83d\\ude00z\""));
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_STRING);
    assert_int_equal(ow_json_string(&json, &scratch, &got, &err), 0);
    assert_true(ow_bytes_equal(got, OW_BYTES("\"\\/\b\f\n\r\t\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z")));
    const char *plain = "\"plain\"";
    ow_json_init(&json, ow_bytes_of(plain));
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_STRING);
    assert_int_equal(ow_json_string(&json, &scratch, &got, &err), 0);
    assert_ptr_equal(got.data, plain + 1); /* not copied */
    ow_buf_done(&scratch);
}

/* Every byte at every place of a string: strings are passed eight bytes at a time. */
static void test_every_byte(void **state)
{
    (void)state;
    for (size_t at = 1; at < 27; at++)
        for (int c = 0; c < 0x80; c++) {
            char text[] = "\"abcdefghijklmnopqrstuvwxyz\"";
            struct ow_json json;
            struct ow_error err = {0};
            text[at] = (char)c;
            ow_json_init(&json, (struct ow_bytes){text, 28});
            int token = ow_json_next(&json, &err);
            bool is_good = c >= 0x20 && c != '\\';
            if (c == '\\' && strchr("\"bfnrt", text[at + 1]))
                is_good = at < 26; /* then the string's own quote is escaped */
            assert_int_equal(token == OW_JSON_STRING, is_good);
            if (is_good)
                assert_int_equal(json.text.size, c == '"' ? at - 1 : 26);
            else if (c < 0x20)
                assert_text_has(err.text, "a control character in a string");
        }
}

static void test_skip(void **state)
{
    (void)state;
    struct ow_error err = {0};
    struct ow_bytes got;
    struct ow_json json;
    ow_json_init(&json, OW_BYTES("[ {\"a\":[1,{}]} , \"x\\n\", 7]"));
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_ARRAY_BEGIN);
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_OBJECT_BEGIN);
    assert_int_equal(ow_json_skip(&json, &got, &err), 0);
    assert_true(ow_bytes_is(got, "{\"a\":[1,{}]}"));
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_STRING);
    assert_int_equal(ow_json_skip(&json, &got, &err), 0);
    assert_true(ow_bytes_is(got, "\"x\\n\""));
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_NUMBER);
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_ARRAY_END);
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_END);
    ow_json_init(&json, OW_BYTES("{\"k\" :  [1,]}"));
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_OBJECT_BEGIN);
    assert_int_equal(ow_json_next(&json, &err), OW_JSON_KEY);
    assert_int_equal(ow_json_skip(&json, &got, &err), OW_EINVALID);
}

static void test_lookup(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":{\"b\":[{\"c\":\"x\\ny\"},-1.50,true]},\"n\":null,\"d\":1,\"d\":2,"
                               "\"\\u0065\":\"escaped name\",\"\":{\"\":false}}";
    static const struct {
        const char *path;
        int result;
        const char *found;
    } cases[] = {
        {"a.b.0.c", 1, "x\ny"},   {"a.b.1", 1, "-1.50"}, {"a.b.2", 1, "true"}, {"a.b.3", 0, ""}, {"a.b.00", 0, ""},
        {"a.b.x", 0, ""},         {"n", 0, ""},          {"n.x", 0, ""},       {"d", 1, "2"},    {"d.x", 0, ""},
        {"e", 1, "escaped name"}, {".", 1, "false"},     {"missing", 0, ""},   {"a", -1, ""},    {"a.b", -1, ""},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_buf to = {0};
        struct ow_error err = {0};
        ow_buf_add_text(&to, "<");
        int r = ow_json_lookup(ow_bytes_of(text), ow_bytes_of(cases[i].path), &to, &err);
        assert_int_equal(r, cases[i].result);
        assert_string_equal(to.data + 1, cases[i].found);
        if (r < 0)
            assert_text_has(err.text, cases[i].path);
        ow_buf_done(&to);
    }
    struct ow_buf to = {0};
    struct ow_error err = {0};
    assert_int_equal(ow_json_lookup(OW_NULL_BYTES, OW_BYTES("a"), &to, &err), 0);
    /* Found before the place where it is broken, and refused all the same. */
    assert_int_equal(ow_json_lookup(OW_BYTES("{\"a\":1,"), OW_BYTES("a"), &to, &err), OW_EINVALID);
    assert_text_has(err.text, "not JSON");
    ow_buf_done(&to);
}

static void test_lookup_any(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": {\"b\" : [ {\"c\":\"x\\ny\"} ,-1.50]}, \"n\":null, \"e\":{}, \"d\":[1],\"d\":[2]}";
    static const struct {
        const char *path;
        int result;
        const char *found;
    } cases[] = {
        {"a", 1, "{\"b\" : [ {\"c\":\"x\\ny\"} ,-1.50]}"}, /* as it is written */
        {"a.b", 1, "[ {\"c\":\"x\\ny\"} ,-1.50]"},
        {"a.b.0", 1, "{\"c\":\"x\\ny\"}"},
        {"a.b.0.c", 1, "x\ny"},
        {"a.b.1", 1, "-1.50"},
        {"n", 0, ""},
        {"e", 1, "{}"},
        {"d", 1, "[2]"}, /* the last one counts */
        {"a.x", 0, ""},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_buf to = {0};
        struct ow_error err = {0};
        ow_buf_add_text(&to, "<");
        assert_int_equal(ow_json_lookup_any(ow_bytes_of(text), ow_bytes_of(cases[i].path), &to, &err), cases[i].result);
        assert_string_equal(to.data + 1, cases[i].found);
        ow_buf_done(&to);
    }
    struct ow_buf to = {0};
    struct ow_error err = {0};
    assert_int_equal(ow_json_lookup_any(OW_BYTES("{\"a\":{\"b\":1}"), OW_BYTES("a"), &to, &err), OW_EINVALID);
    ow_buf_done(&to);
}

static void test_headers(void **state)
{
    (void)state;
    struct ow_header headers[8];
    struct ow_buf scratch = {0}, text = {0};
    struct ow_error err = {0};
    size_t count = 99;
    assert_int_equal(ow_json_read_headers(OW_BYTES(" {\"a\\tb\":\"\\u00e9\\n\",\"n\":1.50,\"t\":true,\"z\":null,"
                                                   "\"o\":{ \"x\" : [1,\"\\n\"]},\"a\\tb\":\"\"} "),
                                          headers, 8, &count, &scratch, &err),
                     0);
    static const struct ow_header want[] = {
        {{"a\tb", 3}, {"\xc3\xa9\n", 3}},
        {{"n", 1}, {"1.50", 4}},
        {{"t", 1}, {"true", 4}},
        {{"z", 1}, {NULL, 0}},
        {{"o", 1}, {"{ \"x\" : [1,\"\\n\"]}", 17}},
        {{"a\tb", 3}, {"", 0}},
    };
    assert_int_equal(count, OW_COUNT_OF(want));
    for (size_t i = 0; i < count; i++) {
        assert_true(ow_bytes_equal(headers[i].name, want[i].name));
        assert_true(ow_bytes_equal(headers[i].value, want[i].value));
    }
    ow_json_write_headers(&text, headers, count);
    assert_string_equal(text.data, "{\"a\\tb\":\"\xc3\xa9\\n\",\"n\":\"1.50\",\"t\":\"true\",\"z\":null,"
                                   "\"o\":\"{ \\\"x\\\" : [1,\\\"\\\\n\\\"]}\",\"a\\tb\":\"\"}");
    ow_buf_clear(&text);
    ow_json_write_headers(&text, NULL, 0);
    assert_string_equal(text.data, "{}");
    ow_buf_done(&scratch);
    ow_buf_done(&text);
}

static void test_no_headers(void **state)
{
    (void)state;
    const struct ow_bytes none[] = {OW_NULL_BYTES, OW_BYTES(""), OW_BYTES(" \n"), OW_BYTES("null"), OW_BYTES("{ }")};
    for (size_t i = 0; i < OW_COUNT_OF(none); i++) {
        struct ow_buf scratch = {0};
        size_t count = 99;
        assert_int_equal(ow_json_read_headers(none[i], NULL, 0, &count, &scratch, NULL), 0);
        assert_int_equal(count, 0);
        ow_buf_done(&scratch);
    }
}

static void test_bad_headers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *error;
    } bad[] = {
        {"[]", OW_EINVALID, "headers must be a JSON object"},
        {"\"a\"", OW_EINVALID, "headers must be a JSON object"},
        {"{\"a\":1", OW_EINVALID, "not JSON"},
        {"{\"a\":1} x", OW_EINVALID, "something after the value"},
        {"{\"a\":1,\"b\":2,\"c\":3}", OW_ETOOBIG, "more than 2 headers"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        struct ow_header headers[2];
        struct ow_buf scratch = {0};
        struct ow_error err = {0};
        size_t count = 0;
        assert_int_equal(ow_json_read_headers(ow_bytes_of(bad[i].text), headers, 2, &count, &scratch, &err),
                         bad[i].code);
        assert_text_has(err.text, bad[i].error);
        ow_buf_done(&scratch);
    }
}

static void test_write_string(void **state)
{
    (void)state;
    struct ow_buf to = {0};
    ow_json_write_string(&to, OW_BYTES("a\"\\\n\0\xc3\xa9"));
    ow_json_write_string(&to, OW_BYTES(""));
    ow_json_write_string(&to, OW_NULL_BYTES);
    assert_string_equal(to.data, "\"a\\\"\\\\\\n\\u0000\xc3\xa9\"\"\"null");
    ow_buf_done(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),     cmocka_unit_test(test_what_is_not_json), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_strings),    cmocka_unit_test(test_every_byte),       cmocka_unit_test(test_skip),
        cmocka_unit_test(test_lookup),     cmocka_unit_test(test_lookup_any),       cmocka_unit_test(test_headers),
        cmocka_unit_test(test_no_headers), cmocka_unit_test(test_bad_headers),      cmocka_unit_test(test_write_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
