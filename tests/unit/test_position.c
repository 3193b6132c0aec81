/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "core/position.h"

static void test_order(void **state)
{
    (void)state;
    static const struct ow_position rising[] = {{0, 0}, {0, 1}, {1, 0}, {1, 9}, {2, 0}, {UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < OW_COUNT_OF(rising); i++)
        for (size_t k = 0; k < OW_COUNT_OF(rising); k++)
            assert_int_equal(ow_position_compare(rising[i], rising[k]), i < k ? -1 : i > k ? 1 : 0);
    assert_true(ow_position_is_zero(rising[0]));
    assert_false(ow_position_is_zero(rising[1]));
    assert_false(ow_position_is_zero(rising[2]));
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        struct ow_position position;
        const char *text;
    } samples[] = {
        {{0, 0}, "0"},
        {{42, 0}, "42"},
        {{42, 3}, "42/3"},
        {{UINT64_MAX, UINT64_MAX}, "18446744073709551615/18446744073709551615"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(samples); i++) {
        char text[OW_POSITION_TEXT_SIZE];
        struct ow_position position = {7, 7};
        assert_string_equal(ow_position_format(samples[i].position, text), samples[i].text);
        assert_int_equal(ow_position_parse(ow_bytes_of(text), &position, NULL), 0);
        assert_int_equal(ow_position_compare(position, samples[i].position), 0);
    }
}

static void test_bad_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "/", "/3", "4/", "4/3/2", "-1", " 4", "4 ", "4.5", "0x10", "four", "4//3", "18446744073709551616"};
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        struct ow_position position = {7, 8};
        struct ow_error err = {0};
        if (ow_position_parse(ow_bytes_of(bad[i]), &position, &err) != OW_EINVALID)
            fail_msg("\"%s\" was taken for a position", bad[i]);
        assert_int_equal(position.major, 7);
        assert_text_has(err.text, bad[i]);
    }
    struct ow_position position;
    assert_int_equal(ow_position_parse(OW_NULL_BYTES, &position, NULL), OW_EINVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bad_text),
    };
    return cmocka_run_group_tests_name("position", tests, NULL, NULL);
}
