/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "codec/record_headers.h"

enum { MAX = 8 };

static void test_there_and_back(void **state)
{
    (void)state;
    const struct ow_header given[] = {
        {OW_BYTES("trace"), OW_BYTES("a1b2")},      {OW_BYTES("empty"), OW_BYTES("")},
        {OW_BYTES("none"), OW_NULL_BYTES},          {OW_BYTES("raw"), OW_BYTES("\0\xff")},
        {OW_BYTES("trace"), OW_BYTES("\"\\\n\t")},  {OW_BYTES("\xff\xfe"), OW_BYTES("\xc3\xa4")},
        {OW_BYTES(""), OW_BYTES("{\"base64\":1}")},
    };
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_header found[MAX];
    struct ow_error err = {0};
    size_t count;
    ow_record_headers_write(&text, given, OW_COUNT_OF(given));
    if (ow_record_headers_read(ow_buf_bytes(&text), found, MAX, &count, &scratch, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(count, OW_COUNT_OF(given));
    for (size_t i = 0; i < count; i++) {
        assert_true(ow_bytes_equal(found[i].name, given[i].name));
        assert_true(!found[i].value.data == !given[i].value.data);
        assert_true(ow_bytes_equal(found[i].value, given[i].value));
    }
    assert_int_equal(ow_record_headers_read(ow_buf_bytes(&text), found, 3, &count, &scratch, &err), OW_ETOOBIG);
}

static void test_every_byte(void **state)
{
    (void)state;
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_error err;
    size_t count;
    for (size_t i = 0; i < sizeof bytes; i++) {
        const struct ow_header given = {{bytes + i, 1}, {bytes, i + 1}};
        struct ow_header found[MAX];
        ow_buf_clear(&text);
        ow_record_headers_write(&text, &given, 1);
        assert_int_equal(ow_record_headers_read(ow_buf_bytes(&text), found, MAX, &count, &scratch, &err), 0);
        assert_int_equal(count, 1);
        assert_true(ow_bytes_equal(found[0].name, given.name) && ow_bytes_equal(found[0].value, given.value));
    }
}

static void test_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"[]", " [ ] "};
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_header found[MAX];
    struct ow_error err;
    size_t count = 9;
    for (size_t i = 0; i < OW_COUNT_OF(texts); i++) {
        assert_int_equal(ow_record_headers_read(ow_bytes_of(texts[i]), found, MAX, &count, &scratch, &err), 0);
        assert_int_equal(count, 0);
    }
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[",
        "[[]]",
        "[[\"a\"]]",
        "[[\"a\",1]]",
        "[[1,\"a\"]]",
        "[[null,\"\"]]",
        "[\"a\",\"b\"]",
        "[[\"a\",\"b\",\"c\"]]",
        "[[\"a\",\"b\"]",
        "[[\"a\",{\"base64\":\"!\"}]]",
        "[[\"a\",{\"x\":\"AA==\"}]]",
        "[[\"a\",{}]]",
        "[] []",
        "x",
    };
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_header found[MAX];
    size_t count;
    for (size_t i = 0; i < OW_COUNT_OF(texts); i++) {
        struct ow_error err = {0};
        if (ow_record_headers_read(ow_bytes_of(texts[i]), found, MAX, &count, &scratch, &err) != OW_EINVALID)
            fail_msg("%s is read", texts[i]);
        assert_true(err.text[0] != '\0' && !strchr(err.text, '\n'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
