/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include <stdlib.h>

#include "base/bytes.h"

static void test_null_is_not_empty(void **state)
{
    (void)state;
    assert_true(ow_bytes_equal(OW_NULL_BYTES, OW_NULL_BYTES));
    assert_true(ow_bytes_equal(OW_BYTES(""), ow_bytes_of("")));
    assert_false(ow_bytes_equal(OW_NULL_BYTES, OW_BYTES("")));
    assert_false(ow_bytes_equal(OW_BYTES(""), OW_NULL_BYTES));
    assert_null(ow_bytes_of(NULL).data);
    assert_true(ow_bytes_is(OW_BYTES(""), ""));
    assert_false(ow_bytes_is(OW_NULL_BYTES, ""));
}

static void test_equal_looks_at_every_byte(void **state)
{
    (void)state;
    assert_true(ow_bytes_equal(OW_BYTES("a\0b"), OW_BYTES("a\0b")));
    assert_false(ow_bytes_equal(OW_BYTES("a\0b"), OW_BYTES("a\0c")));
    assert_false(ow_bytes_equal(OW_BYTES("ab"), OW_BYTES("abc")));
    assert_false(ow_bytes_is(OW_BYTES("a\0b"), "a"));
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        struct ow_bytes bytes;
        bool is_valid;
    } samples[] = {
        {{NULL, 0}, true},
        {OW_BYTES(""), true},
        {OW_BYTES("plain ASCII that is longer than eight bytes"), true},
        {OW_BYTES("a\0b"), true},
        {OW_BYTES("\xc3\xa4"), true},
        {OW_BYTES("\xe2\x82\xac and \xf0\x9f\x98\x80"), true},
        {OW_BYTES("\xf4\x8f\xbf\xbf"), true},  /* U+10FFFF */
        {OW_BYTES("\xf4\x90\x80\x80"), false}, /* above it */
        {OW_BYTES("\xf5\x80\x80\x80"), false},
        {OW_BYTES("\xed\x9f\xbf"), true},  /* the last before the surrogates */
        {OW_BYTES("\xed\xa0\x80"), false}, /* a surrogate */
        {OW_BYTES("\xee\x80\x80"), true},
        {OW_BYTES("\xc0\xaf"), false}, /* overlong */
        {OW_BYTES("\xc1\xbf"), false},
        {OW_BYTES("\xe0\x9f\xbf"), false},
        {OW_BYTES("\xe0\xa0\x80"), true},
        {OW_BYTES("\xf0\x8f\xbf\xbf"), false},
        {OW_BYTES("\xf0\x90\x80\x80"), true},
        {OW_BYTES("\x80"), false},
        {OW_BYTES("abc\xff"), false},
        {OW_BYTES("12345678\xc3"), false}, /* cut off */
        {OW_BYTES("\xe2\x82"), false},
        {OW_BYTES("\xf0\x9f\x98"), false},
        {OW_BYTES("1234567\xc3\xa4"
                  "89012345"),
         true},
        {OW_BYTES("\xe2\x28\xa1"), false},
    };
    for (size_t i = 0; i < OW_COUNT_OF(samples); i++)
        if (ow_utf8_is_valid(samples[i].bytes) != samples[i].is_valid)
            fail_msg("sample %zu", i);
}

/* A byte past the end must not be looked at: the block is exactly as large as the text. */
static void test_utf8_stays_inside(void **state)
{
    (void)state;
    for (size_t size = 1; size < 20; size++) {
        char *block = malloc(size);
        assert_non_null(block);
        memset(block, 'a', size);
        assert_true(ow_utf8_is_valid((struct ow_bytes){block, size}));
        block[size - 1] = (char)0xf0;
        assert_false(ow_utf8_is_valid((struct ow_bytes){block, size}));
        free(block);
    }
}

static void test_hash_spreads(void **state)
{
    (void)state;
    assert_true(ow_hash(OW_BYTES("a")) == ow_hash(ow_bytes_of("a")));
    assert_true(ow_hash(OW_BYTES("a")) != ow_hash(OW_BYTES("b")));
    unsigned seen[64] = {0};
    for (unsigned i = 0; i < 6400; i++)
        seen[ow_hash((struct ow_bytes){(const char *)&i, sizeof i}) & 63]++;
    for (size_t i = 0; i < 64; i++)
        assert_in_range(seen[i], 50, 150);
}

/* The vectors of Apache Kafka's UtilsTest: murmur2 as signed 32-bit integers. */
static void test_murmur2_is_kafkas(void **state)
{
    (void)state;
    static const struct {
        struct ow_bytes bytes;
        int32_t hash;
    } samples[] = {
        {OW_BYTES("21"), -973932308},
        {OW_BYTES("foobar"), -790332482},
        {OW_BYTES("a-little-bit-long-string"), -985981536},
        {OW_BYTES("a-little-bit-longer-string"), -1486304829},
        {OW_BYTES("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), -58897971},
        {OW_BYTES("abc"), 479470107},
    };
    for (size_t i = 0; i < OW_COUNT_OF(samples); i++)
        assert_int_equal((int32_t)ow_murmur2(samples[i].bytes), samples[i].hash);
}

static void test_buffer_grows_and_ends_in_nul(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf buf = {0};
    struct ow_error err = {0};
    assert_true(ow_bytes_is(ow_buf_bytes(&buf), ""));
    for (int i = 0; i < 1000; i++) {
        ow_buf_add_char(&buf, (char)('a' + i % 26));
        assert_int_equal(buf.data[buf.size], '\0');
    }
    assert_int_equal(buf.size, 1000);
    assert_true(buf.capacity > buf.size);
    ow_buf_add(&buf, NULL, 0);
    ow_buf_add_bytes(&buf, OW_NULL_BYTES);
    assert_int_equal(buf.size, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf.data[i], 'a' + i % 26);
    ow_buf_clear(&buf);
    ow_buf_add_text(&buf, "n=");
    ow_buf_printf(&buf, "%d %s", 42, "x");
    assert_string_equal(buf.data, "n=42 x");
    assert_int_equal(ow_buf_check(&buf, &err), 0);
}

static void test_buffer_printf_fits_to_the_byte(void **state)
{
    (void)state;
    for (int width = 1; width < 300; width++) {
        OW_CLEANUP(ow_buf_done) struct ow_buf buf = {0};
        ow_buf_add_char(&buf, '<');
        ow_buf_printf(&buf, "%*d", width, 7);
        assert_int_equal(buf.size, (size_t)width + 1);
        assert_int_equal(buf.data[width], '7');
        assert_int_equal(buf.data[width + 1], '\0');
    }
}

static void test_buffer_latches_its_failure(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf buf = {0};
    struct ow_error err = {0};
    ow_buf_add_text(&buf, "kept");
    assert_null(ow_buf_reserve(&buf, SIZE_MAX / 2));
    assert_true(buf.has_failed);
    ow_buf_add_text(&buf, "lost");
    assert_string_equal(buf.data, "kept");
    assert_int_equal(ow_buf_check(&buf, &err), OW_ENOMEM);
    assert_int_equal(err.code, OW_ENOMEM);
    ow_buf_clear(&buf);
    ow_buf_add_text(&buf, "again");
    assert_int_equal(ow_buf_check(&buf, &err), 0);
    assert_string_equal(buf.data, "again");
}

static void test_plain_text(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"a\tb\x1b[2J\x7f", "a b [2J "},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"gr\xc3\xbc\xc3", "gr\xc3\xbc"},
        {"\xe2\x82\xac\xe2\x82", "\xe2\x82\xac"},
        {"\xf0\x9f\x98\x80\xf0\x9f\x98", "\xf0\x9f\x98\x80"},
        {"a\xff\xc3\xbc", "a???"},
        {"\x80\x80\x80\x80", "????"},
        {"\xc3", ""},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%s", cases[i].from);
        ow_text_make_plain(text);
        assert_string_equal(text, cases[i].to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_is_not_empty),
        cmocka_unit_test(test_equal_looks_at_every_byte),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_stays_inside),
        cmocka_unit_test(test_plain_text),
        cmocka_unit_test(test_hash_spreads),
        cmocka_unit_test(test_murmur2_is_kafkas),
        cmocka_unit_test(test_buffer_grows_and_ends_in_nul),
        cmocka_unit_test(test_buffer_printf_fits_to_the_byte),
        cmocka_unit_test(test_buffer_latches_its_failure),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
