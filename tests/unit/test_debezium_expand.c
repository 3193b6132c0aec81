/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads that become documents, and those that stay texts. */
#include "unit.h"

#include <stdlib.h>

#include "codec/debezium_expand.h"
#include "codec/debezium_json.h"

#define STAYS NULL

struct sample {
    const char *text, *json;   /* STAYS: `why` says why */
    const char *schema_or_why; /* may be NULL */
};

static void check(const struct sample *sample, const struct ow_dbz_expansion *expansion)
{
    struct ow_dbz_arena arena = {0};
    const struct ow_dbz_schema *schema = NULL;
    struct ow_dbz_value value;
    const char *why = NULL;
    struct ow_buf json = {0}, schema_json = {0};
    int r = ow_dbz_expand(&arena, expansion, OW_BYTES("payload"), ow_bytes_of(sample->text), &schema, &value, &why,
                          NULL);
    assert_int_equal(r, sample->json ? 1 : 0);
    if (r == 1) {
        ow_dbz_json_value(&json, schema, &value, false);
        assert_string_equal(json.data, sample->json);
        ow_dbz_json_schema(&schema_json, schema, false);
        if (sample->schema_or_why)
            assert_string_equal(schema_json.data, sample->schema_or_why);
    } else if (sample->schema_or_why) {
        assert_text_has(why, sample->schema_or_why);
    }
    ow_buf_done(&json);
    ow_buf_done(&schema_json);
    ow_dbz_arena_done(&arena);
}

#define OPTIONAL(type) "{\"type\":\"" type "\",\"optional\":true"

static void test_default(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion expansion = {0};
    static const struct sample samples[] = {
        {"{}", "{}", "{\"type\":\"struct\",\"fields\":[],\"optional\":true,\"name\":\"payload\"}"},
        {"{\"a\":{\"b\":2147483647}}", "{\"a\":{\"b\":2147483647}}",
         "{\"type\":\"struct\",\"fields\":[{\"type\":\"struct\",\"fields\":[" OPTIONAL(
             "int32") ",\"field\":\"b\"}],\"optional\":true,\"name\":\"payload.a\",\"field\":\"a\"}],\"optional\":true,"
                      "\"name\":\"payload\"}"},
        {"{\"a\":2147483648,\"b\":-0,\"c\":-0.0}", "{\"a\":2147483648,\"b\":0,\"c\":-0.0}", NULL},
        {"{\"a\":9223372036854775807}", "{\"a\":9223372036854775807}", NULL},
        {"{\"a\":9223372036854775808}", STAYS, "64 bits"},
        {"{\"a\":12.50,\"b\":1e3,\"c\":1e400}", "{\"a\":12.5,\"b\":1000.0,\"c\":\"Infinity\"}", NULL},
        {"{\"a\": 1} xyz", "{\"a\":1}", NULL},
        {" {\"a\":1}", STAYS, "begin"},
        {"\xef\xbb\xbf{\"a\":1}", STAYS, "begin"},
        {"", STAYS, "begin"},
        {"null", STAYS, "begin"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}", NULL},
        {"{\"a\":null,\"b\":{\"c\":null}}", "{\"b\":{}}", NULL},
        {"{\"a\":[null]}", STAYS, "no type"},
        {"{\"a\":[null,2]}", "{\"a\":[null,2]}", NULL},
        {"{\"a\":[],\"b\":1}", "{\"b\":1}", NULL},
        {"{\"a\":[[]]}", STAYS, "no type"},
        {"{\"a\":[1,2.0]}", STAYS, "numbers of different types"},
        {"{\"a\":[1,2147483648]}", STAYS, "numbers of different types"},
        {"{\"a\":[1,\"x\"]}", STAYS, "values of different types"},
        {"{\"a\":[{\"b\":1},{\"b\":\"x\"}]}", STAYS, "one type here"},
        {"{\"a\":[{\"b\":1},{\"c\":2}]}", "{\"a\":[{\"b\":1,\"c\":null},{\"b\":null,\"c\":2}]}",
         "{\"type\":\"struct\",\"fields\":[{\"type\":\"array\",\"items\":{\"type\":\"struct\",\"fields\":[" OPTIONAL(
             "int32") ",\"field\":\"b\"}," OPTIONAL("int32") ",\"field\":\"c\"}],\"optional\":false,\"name\":\"payload."
                                                             "a\"},"
                                                             "\"optional\":true,\"field\":\"a\"}],\"optional\":true,"
                                                             "\"name\":\"payload\"}"},
        {"{\"a\":[{\"b\":1},null,{\"c\":2}]}", "{\"a\":[{\"b\":1,\"c\":null},null,{\"b\":null,\"c\":2}]}", NULL},
        {"{\"a\":[{\"o\":{\"x\":1}},{\"o\":{\"y\":2}}]}",
         "{\"a\":[{\"o\":{\"x\":1,\"y\":null}},{\"o\":{\"x\":null,\"y\":2}}]}", NULL},
        {"{\"a\":[[{\"x\":1}],[{\"y\":2}]]}", "{\"a\":[[{\"x\":1,\"y\":null}],[{\"x\":null,\"y\":2}]]}", NULL},
        {"{\"a\":[[1],[\"x\"]]}", STAYS, "one type here"},
        {"[1,2,3]", "[1,2,3]", "{\"type\":\"array\",\"items\":" OPTIONAL("int32") "},\"optional\":true}"},
        {"[{\"a\":1}]", "[{\"a\":1}]", NULL},
        {"[]", STAYS, "an empty array"},
        {"{\"\":1}", STAYS, "without a name"},
        {"{\"a\":\"\\u00e4\\ud83d\\ude00\\n\"}", "{\"a\":\"\xc3\xa4\\uD83D\\uDE00\\n\"}", NULL},
        {"{\"a\":\"\\ud83d\"}", STAYS, "bad escape"},
        {"{\"a\":\"\t\"}", STAYS, "control character"},
        {"{\"a\":01}", STAYS, NULL},
        {"{\"a\":1,}", STAYS, NULL},
        {"[1,]", STAYS, NULL},
        {"{\"a\"", STAYS, NULL},
        {"{'a':1}", STAYS, NULL},
        {"{\"a\":NaN}", STAYS, NULL},
        {"{\"a\":1.}", STAYS, NULL},
        {"{\"a\":tru}", STAYS, NULL},
    };
    for (size_t i = 0; i < OW_COUNT_OF(samples); i++)
        check(&samples[i], &expansion);
}

static void test_null_as_bytes(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion expansion = {.null_is_bytes = true};
    static const struct sample samples[] = {
        {"{\"a\":null}", "{\"a\":null}",
         "{\"type\":\"struct\",\"fields\":[" OPTIONAL(
             "bytes") ",\"field\":\"a\"}],\"optional\":true,\"name\":\"payload\"}"},
        {"{\"a\":[null]}", "{\"a\":[null]}", NULL},
        {"{\"a\":[{\"b\":null},{\"b\":1}]}", "{\"a\":[{\"b\":null},{\"b\":1}]}", NULL},
    };
    for (size_t i = 0; i < OW_COUNT_OF(samples); i++)
        check(&samples[i], &expansion);
}

static void test_empty_array_as_strings(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion expansion = {.empty_array_is_strings = true};
    static const struct sample samples[] = {
        {"{\"a\":[]}", "{\"a\":[]}",
         "{\"type\":\"struct\",\"fields\":[{\"type\":\"array\",\"items\":" OPTIONAL(
             "string") "},\"optional\":true,\"field\":\"a\"}],\"optional\":true,\"name\":\"payload\"}"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(samples); i++)
        check(&samples[i], &expansion);
}

static void test_names_for_avro(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion avro = {.naming = OW_DBZ_NAMING_AVRO},
                                         unicode = {.naming = OW_DBZ_NAMING_AVRO_UNICODE};
    check(&(struct sample){"{\"a-b\":1,\"1x\":2,\"\xc3\xa4\":3}", "{\"a_b\":1,\"_1x\":2,\"_\":3}", NULL}, &avro);
    check(&(struct sample){"{\"a-b\":1,\"a_b\":2}", STAYS, "become the same"}, &avro);
    check(&(struct sample){"{\"a-b\":1,\"a_b\":2}", "{\"a_u002db\":1,\"a_u005fb\":2}", NULL}, &unicode);
}

/* n times what, in the middle of a document. */
static char *repeated(const char *before, const char *what, size_t n, const char *after, const char *what_after)
{
    struct ow_buf text = {0};
    ow_buf_add_text(&text, before);
    for (size_t i = 0; i < n; i++)
        ow_buf_add_text(&text, what);
    ow_buf_add_text(&text, after);
    for (size_t i = 0; i < n; i++)
        ow_buf_add_text(&text, what_after);
    return text.data;
}

static void test_limits(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion expansion = {0};
    char *deep = repeated("", "{\"a\":", 1000, "1", "}"), *too_deep = repeated("", "{\"a\":", 1001, "1", "}"),
         *digits = repeated("{\"a\":0.", "1", 999, "}", ""), *too_many = repeated("{\"a\":1", "1", 1000, "}", "");
    check(&(struct sample){deep, deep, NULL}, &expansion);
    check(&(struct sample){too_deep, STAYS, "1000 levels"}, &expansion);
    check(&(struct sample){digits, "{\"a\":0.1111111111111111}", NULL}, &expansion);
    check(&(struct sample){too_many, STAYS, "1000 digits"}, &expansion);
    free(deep), free(too_deep), free(digits), free(too_many);
}

/* Arrays in arrays are looked at once each. */
static void test_nested_arrays_are_cheap(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion expansion = {0};
    char *nested = repeated("", "[", 900, "1", "]");
    check(&(struct sample){nested, nested, NULL}, &expansion);
    free(nested);
}

/* Objects that have no field in common: each would get those of all. */
static void test_fields_do_not_explode(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion expansion = {0};
    struct ow_buf text = {0};
    ow_buf_add_text(&text, "[");
    for (int i = 0; i < 20000; i++)
        ow_buf_printf(&text, "%s{\"a%d\":1}", i == 0 ? "" : ",", i);
    ow_buf_add_text(&text, "]");
    check(&(struct sample){text.data, STAYS, "4 million fields"}, &expansion);
    ow_buf_done(&text);
}

/* A long name above many levels does not make a small document large. */
static void test_names_do_not_explode(void **state)
{
    (void)state;
    static const struct ow_dbz_expansion expansion = {0};
    char *name = repeated("{\"", "x", 100000, "\":", ""), *levels = repeated("", "{\"a\":", 900, "1", "}");
    struct ow_buf text = {0};
    ow_buf_printf(&text, "%s%s}", name, levels);
    check(&(struct sample){text.data, STAYS, "8 MiB"}, &expansion);
    ow_buf_done(&text);
    free(name), free(levels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_null_as_bytes),
        cmocka_unit_test(test_empty_array_as_strings),
        cmocka_unit_test(test_names_for_avro),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_names_do_not_explode),
        cmocka_unit_test(test_nested_arrays_are_cheap),
        cmocka_unit_test(test_fields_do_not_explode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
