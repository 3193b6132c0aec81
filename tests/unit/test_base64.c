/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "codec/base64.h"

/* RFC 4648, section 10, and the two last digits of the alphabet. */
static const struct {
    struct ow_bytes bytes;
    const char *text;
} pairs[] = {
    {{"", 0}, ""},
    {{"f", 1}, "Zg=="},
    {{"fo", 2}, "Zm8="},
    {{"foo", 3}, "Zm9v"},
    {{"foob", 4}, "Zm9vYg=="},
    {{"fooba", 5}, "Zm9vYmE="},
    {{"foobar", 6}, "Zm9vYmFy"},
    {{"\xfb\xff\0", 3}, "+/8A"},
};

static void test_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < OW_COUNT_OF(pairs); i++) {
        struct ow_buf text = {0}, bytes = {0};
        ow_buf_add_text(&text, "<");
        ow_base64_encode(&text, pairs[i].bytes);
        assert_string_equal(text.data + 1, pairs[i].text);
        assert_int_equal(ow_base64_decode(&bytes, ow_bytes_of(pairs[i].text), NULL), 0);
        assert_true(ow_bytes_equal(ow_buf_bytes(&bytes), pairs[i].bytes));
        ow_buf_done(&text);
        ow_buf_done(&bytes);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"Zg", "2 characters, which is no multiple of 4"},
        {"Zg=", "3 characters"},
        {"Z===", "a bad character at 2"},
        {"====", "a bad character at 1"},
        {"Zg==Zg==", "a bad character at 3"},
        {"Zm9v\nZg", "7 characters"},
        {"Zm9-", "a bad character at 4"},
        {"Zm9\xc3", "a bad character at 4"},
        {"Zh==", "bits left over at 2"},
        {"Zm9=", "bits left over at 3"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        struct ow_buf to = {0};
        struct ow_error err = {0};
        ow_buf_add_text(&to, "kept");
        assert_int_equal(ow_base64_decode(&to, ow_bytes_of(bad[i].text), &err), OW_EINVALID);
        assert_text_has(err.text, bad[i].error);
        assert_int_equal(to.size, 4);
        ow_buf_done(&to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_ways), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
