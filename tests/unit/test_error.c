/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>

#include "base/error.h"

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(ow_error_name(0), "no error");
    assert_string_equal(ow_error_name(1), "unknown error");
    assert_string_equal(ow_error_name(-1000), "unknown error");
    assert_int_equal(ow_error_exit_status(0), 0);
    assert_int_equal(ow_error_exit_status(-1000), 1);
    assert_int_equal(ow_error_class(-1000), OW_CLASS_BUG);
#define ROW(name, value, text, class, status)       \
    assert_string_equal(ow_error_name(name), text); \
    assert_int_equal(ow_error_class(name), class);  \
    assert_int_equal(ow_error_exit_status(name), status);
    OW_ERRORS(ROW)
#undef ROW
}

/* The table is indexed by -value - 1: the values must count down without a gap. */
static void test_values_have_no_gap(void **state)
{
    (void)state;
    int expected = -1;
#define ROW(name, value, text, class, status) assert_int_equal(name, expected--);
    OW_ERRORS(ROW)
#undef ROW
}

static void test_set(void **state)
{
    (void)state;
    struct ow_error err = {0};
    assert_int_equal(ow_error_set(&err, OW_EFULL, "disk %s is full", "/x"), OW_EFULL);
    assert_int_equal(err.code, OW_EFULL);
    assert_string_equal(err.text, "disk /x is full");
    assert_int_equal(ow_error_set(NULL, OW_EBUSY, "nobody listens"), OW_EBUSY);
}

static void test_long_text_is_cut(void **state)
{
    (void)state;
    struct ow_error err = {0};
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    ow_error_set(&err, OW_EINVALID, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(ow_error_prefix(&err, "%s", "before"), OW_EINVALID);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "before: xxx", 11);
    ow_error_set(&err, OW_EINVALID, "short");
    ow_error_prefix(&err, "%s", longer);
    assert_true(strlen(err.text) < sizeof err.text);
}

static void test_one_line(void **state)
{
    (void)state;
    struct ow_error err = {0};
    ow_error_set(&err, OW_EINVALID, "\"%s\" is no name", "a\nb\x7f\033[1m");
    assert_string_equal(err.text, "\"a b  [1m\" is no name");
    ow_error_prefix(&err, "%s", "first\tsecond");
    assert_string_equal(err.text, "first second: \"a b  [1m\" is no name");
}

static void test_prefix(void **state)
{
    (void)state;
    struct ow_error err = {0};
    ow_error_set(&err, OW_EDENIED, "cannot open");
    assert_int_equal(ow_error_prefix(&err, "relay %s", "orders"), OW_EDENIED);
    assert_string_equal(err.text, "relay orders: cannot open");
    assert_int_equal(err.code, OW_EDENIED);
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int errno_value, code;
    } samples[] = {
        {ENOENT, OW_ENOTFOUND}, {EACCES, OW_EDENIED}, {EROFS, OW_EDENIED}, {ENOSPC, OW_EFULL},
        {EDQUOT, OW_EFULL},     {ENOMEM, OW_ENOMEM},  {EAGAIN, OW_EAGAIN}, {ECONNREFUSED, OW_EUNREACHABLE},
        {EPIPE, OW_ECLOSED},    {EIO, OW_EIO},        {EBUSY, OW_EBUSY},   {ENOTDIR, OW_ENOTFOUND},
    };
    for (size_t i = 0; i < OW_COUNT_OF(samples); i++) {
        struct ow_error err = {0};
        assert_int_equal(ow_error_errno(&err, samples[i].errno_value, "cannot open %s", "f"), samples[i].code);
        assert_int_equal(err.code, samples[i].code);
        assert_text_has(err.text, "cannot open f: ");
        assert_text_has(err.text, strerror(samples[i].errno_value));
        assert_int_equal(ow_error_errno(NULL, samples[i].errno_value, "x"), samples[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),    cmocka_unit_test(test_values_have_no_gap),
        cmocka_unit_test(test_set),      cmocka_unit_test(test_long_text_is_cut),
        cmocka_unit_test(test_prefix),   cmocka_unit_test(test_errno),
        cmocka_unit_test(test_one_line),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
