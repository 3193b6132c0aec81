/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "core/retry.h"

static const struct ow_retry_policy plain = {.initial_ms = 100, .max_ms = 1000, .multiplier = 2};

static void test_doubles_up_to_the_cap(void **state)
{
    (void)state;
    static const int64_t expected[] = {100, 200, 400, 800, 1000, 1000};
    for (uint32_t i = 0; i < OW_COUNT_OF(expected); i++)
        assert_int_equal(ow_retry_delay_ms(&plain, i + 1, 0.5), expected[i]);
    assert_int_equal(ow_retry_delay_ms(&plain, UINT32_MAX, 0.5), 1000);
}

static void test_constant(void **state)
{
    (void)state;
    struct ow_retry_policy policy = plain;
    policy.multiplier = 1;
    assert_int_equal(ow_retry_delay_ms(&policy, 1, 0), 100);
    assert_int_equal(ow_retry_delay_ms(&policy, UINT32_MAX, 0), 100);
    policy.initial_ms = 5000; /* above the cap from the start */
    assert_int_equal(ow_retry_delay_ms(&policy, 1, 0), 1000);
}

static void test_jitter_stays_in_its_bounds(void **state)
{
    (void)state;
    struct ow_retry_policy policy = plain;
    policy.jitter = 0.2;
    assert_int_equal(ow_retry_delay_ms(&policy, 1, 0), 80);
    assert_int_equal(ow_retry_delay_ms(&policy, 1, 0.5), 100);
    assert_in_range(ow_retry_delay_ms(&policy, 1, 0.999999), 119, 120);
    for (uint32_t failures = 1; failures < 10; failures++)
        for (int dice = 0; dice < 100; dice++) {
            int64_t middle = ow_retry_delay_ms(&plain, failures, 0.5);
            int64_t delay = ow_retry_delay_ms(&policy, failures, dice / 100.0);
            assert_true(delay >= middle * 8 / 10 && delay <= middle * 12 / 10 && delay <= policy.max_ms);
        }
    policy.jitter = 1;
    assert_int_equal(ow_retry_delay_ms(&policy, 1, 0), 1); /* never none at all: that would spin */
}

static void test_decision(void **state)
{
    (void)state;
    struct ow_retry_policy policy = plain;
    assert_int_equal(ow_retry_decide(&policy, 1, 0, OW_CLASS_PERMANENT), OW_RETRY_ASIDE);
    assert_int_equal(ow_retry_decide(&policy, 1000000, 0, OW_CLASS_RETRYABLE), OW_RETRY_AGAIN);
    assert_int_equal(ow_retry_decide(&policy, 1000000, 0, OW_CLASS_BUG), OW_RETRY_AGAIN);
    policy.attempts_max = 3;
    assert_int_equal(ow_retry_decide(&policy, 2, 0, OW_CLASS_RETRYABLE), OW_RETRY_AGAIN);
    assert_int_equal(ow_retry_decide(&policy, 3, 0, OW_CLASS_RETRYABLE), OW_RETRY_ASIDE);
    assert_int_equal(ow_retry_decide(&policy, 4, 0, OW_CLASS_RETRYABLE), OW_RETRY_ASIDE);
    assert_int_equal(ow_retry_decide(&policy, 4, 0, OW_CLASS_BUG), OW_RETRY_AGAIN);
}

static void test_time_is_used_up(void **state)
{
    (void)state;
    struct ow_retry_policy policy = plain;
    assert_int_equal(ow_retry_policy_default.elapsed_max_ms, 30000);
    assert_int_equal(ow_retry_decide(&policy, 2, INT64_MAX, OW_CLASS_RETRYABLE), OW_RETRY_AGAIN);
    policy.elapsed_max_ms = 5000;
    assert_int_equal(ow_retry_decide(&policy, 1, 0, OW_CLASS_RETRYABLE), OW_RETRY_AGAIN);
    assert_int_equal(ow_retry_decide(&policy, 1000, 4999, OW_CLASS_RETRYABLE), OW_RETRY_AGAIN);
    assert_int_equal(ow_retry_decide(&policy, 2, 5000, OW_CLASS_RETRYABLE), OW_RETRY_ASIDE);
    assert_int_equal(ow_retry_decide(&policy, 2, 5000, OW_CLASS_BUG), OW_RETRY_AGAIN);
}

static void test_classes(void **state)
{
    (void)state;
    assert_true(ow_retry_class_is("http 409", "http 409"));
    assert_false(ow_retry_class_is("http 409", "http 408"));
    assert_true(ow_retry_class_is("http 4xx", "http 429"));
    assert_true(ow_retry_class_is("http 42x", "http 429"));
    assert_false(ow_retry_class_is("http 4xx", "http 500"));
    assert_false(ow_retry_class_is("http 4xx", "http 4"));
    assert_true(ow_retry_class_is("23xxx", "23505"));
    assert_true(ow_retry_class_is("23xxx", "23P01"));
    assert_true(ow_retry_class_is("P0xxx", "P0001"));
    assert_false(ow_retry_class_is("23xxx", "22P02"));
    assert_false(ow_retry_class_is("23xxx", "23"));
    assert_false(ow_retry_class_is("xxxxx", "23505"));
    assert_true(ow_retry_class_is("tax", "tax"));
    assert_false(ow_retry_class_is("tax", "tab"));
    assert_false(ow_retry_class_is("", "timeout"));
    assert_true(ow_retry_class_is("", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_up_to_the_cap),
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_jitter_stays_in_its_bounds),
        cmocka_unit_test(test_decision),
        cmocka_unit_test(test_time_is_used_up),
        cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
