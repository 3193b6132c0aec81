/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "core/breaker.h"

static const struct ow_breaker_policy plain = {.failures = 3, .probes = 1, .open_ms = 100, .open_ms_max = 350};

static struct ow_breaker new_breaker(const struct ow_breaker_policy *policy)
{
    struct ow_breaker b;
    ow_breaker_init(&b, policy);
    return b;
}

static void fail_times(struct ow_breaker *b, int times, int64_t now)
{
    for (int i = 0; i < times; i++) {
        assert_true(ow_breaker_admits(b, now));
        (void)ow_breaker_outcome(b, true, now);
    }
}

static void test_opens_after_failures_in_a_row(void **state)
{
    (void)state;
    struct ow_breaker b = new_breaker(&plain);
    fail_times(&b, 2, 0);
    assert_false(ow_breaker_outcome(&b, false, 0)); /* one that succeeds begins the count anew */
    fail_times(&b, 2, 0);
    assert_int_equal(b.state, OW_BREAKER_CLOSED);
    assert_int_equal(ow_breaker_due_ms(&b), INT64_MAX);
    assert_true(ow_breaker_outcome(&b, true, 1000));
    assert_int_equal(b.state, OW_BREAKER_OPEN);
    assert_int_equal(ow_breaker_due_ms(&b), 1100);
    assert_false(ow_breaker_admits(&b, 1099));
    assert_false(ow_breaker_outcome(&b, false, 1050)); /* of a call from before */
    assert_int_equal(b.state, OW_BREAKER_OPEN);
}

static void test_doubles_up_to_the_cap(void **state)
{
    (void)state;
    static const int64_t expected[] = {100, 200, 350, 350};
    struct ow_breaker b = new_breaker(&plain);
    int64_t now = 0;
    fail_times(&b, 3, now);
    for (size_t i = 0; i < OW_COUNT_OF(expected); i++) {
        assert_int_equal(ow_breaker_due_ms(&b) - now, expected[i]);
        now = ow_breaker_due_ms(&b);
        assert_true(ow_breaker_admits(&b, now));
        assert_int_equal(b.state, OW_BREAKER_HALF_OPEN);
        assert_true(ow_breaker_outcome(&b, true, now));
    }
    now = ow_breaker_due_ms(&b);
    assert_true(ow_breaker_admits(&b, now));
    assert_true(ow_breaker_outcome(&b, false, now));
    assert_int_equal(b.state, OW_BREAKER_CLOSED);
    fail_times(&b, 3, now); /* closed, it begins anew */
    assert_int_equal(ow_breaker_due_ms(&b) - now, 100);
}

static void test_share_of_the_last_calls(void **state)
{
    (void)state;
    const struct ow_breaker_policy policy = {.rate = 0.5, .window = 4, .open_ms = 100, .open_ms_max = 100};
    struct ow_breaker b = new_breaker(&policy);
    assert_false(ow_breaker_outcome(&b, true, 0));
    assert_false(ow_breaker_outcome(&b, true, 0));
    assert_false(ow_breaker_outcome(&b, true, 0)); /* not so many calls yet */
    assert_false(ow_breaker_outcome(&b, false, 0));
    assert_int_equal(b.state, OW_BREAKER_CLOSED);
    assert_false(ow_breaker_outcome(&b, false, 0));
    assert_false(ow_breaker_outcome(&b, false, 0));
    assert_false(ow_breaker_outcome(&b, false, 0));
    assert_false(ow_breaker_outcome(&b, true, 0)); /* one of the last four */
    assert_true(ow_breaker_outcome(&b, true, 0));
    assert_int_equal(b.state, OW_BREAKER_OPEN);
}

static void test_a_window_as_wide_as_it_gets(void **state)
{
    (void)state;
    const struct ow_breaker_policy policy = {
        .rate = 1, .window = OW_BREAKER_WINDOW_MAX, .open_ms = 1, .open_ms_max = 1};
    struct ow_breaker b = new_breaker(&policy);
    for (int i = 0; i < OW_BREAKER_WINDOW_MAX - 1; i++)
        assert_false(ow_breaker_outcome(&b, true, 0));
    assert_true(ow_breaker_outcome(&b, true, 0));
}

static void test_probes(void **state)
{
    (void)state;
    struct ow_breaker_policy policy = plain;
    policy.probes = 2;
    struct ow_breaker b = new_breaker(&policy);
    fail_times(&b, 3, 0);
    assert_true(ow_breaker_admits(&b, 100));
    assert_true(ow_breaker_admits(&b, 100));
    assert_false(ow_breaker_admits(&b, 100));
    ow_breaker_gave_up(&b); /* another one may find out instead */
    assert_true(ow_breaker_admits(&b, 100));
    assert_false(ow_breaker_admits(&b, 100));
    assert_false(ow_breaker_outcome(&b, false, 100));
    assert_int_equal(b.state, OW_BREAKER_HALF_OPEN);
    assert_true(ow_breaker_outcome(&b, false, 100));
    assert_int_equal(b.state, OW_BREAKER_CLOSED);
    ow_breaker_gave_up(&b); /* nothing to give up */
    assert_true(ow_breaker_admits(&b, 100));
}

static void test_none(void **state)
{
    (void)state;
    const struct ow_breaker_policy policy = {0};
    struct ow_breaker b = new_breaker(&policy);
    for (int i = 0; i < 200; i++)
        assert_false(ow_breaker_outcome(&b, true, 0));
    assert_true(ow_breaker_admits(&b, 0));
}

static void test_text_and_back(void **state)
{
    (void)state;
    struct ow_error err;
    char text[96];
    struct ow_breaker b = new_breaker(&plain), again = new_breaker(&plain);
    fail_times(&b, 3, 5000);
    ow_breaker_format(&b, text);
    assert_int_equal(ow_breaker_parse(&again, ow_bytes_of(text), &err), 0);
    assert_int_equal(again.state, OW_BREAKER_OPEN);
    assert_int_equal(again.until_ms, 5100);
    assert_true(ow_breaker_admits(&again, 5100));
    ow_breaker_format(&again, text); /* half open: whoever reads it begins its own probes */
    assert_int_equal(ow_breaker_parse(&b, ow_bytes_of(text), &err), 0);
    assert_int_equal(b.state, OW_BREAKER_OPEN);
    assert_true(ow_breaker_admits(&b, 5100));
    assert_true(ow_breaker_outcome(&b, true, 5100));
    assert_int_equal(b.until_ms, 5300); /* it goes on doubling */
    struct ow_breaker closed = new_breaker(&plain);
    ow_breaker_format(&closed, text);
    assert_int_equal(ow_breaker_parse(&b, ow_bytes_of(text), &err), 0);
    assert_int_equal(b.state, OW_BREAKER_CLOSED);
}

static void test_no_text_of_a_breaker(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "open",
                                        "ajar opened=1 until=5",
                                        "open opened=x until=5",
                                        "open opened=1 until=",
                                        "openopen opened=1 until=5"};
    struct ow_error err;
    for (size_t i = 0; i < OW_COUNT_OF(texts); i++) {
        struct ow_breaker b = new_breaker(&plain);
        fail_times(&b, 3, 0);
        assert_int_equal(ow_breaker_parse(&b, ow_bytes_of(texts[i]), &err), OW_EINVALID);
        assert_int_equal(b.state, OW_BREAKER_CLOSED);
    }
    char text[200];
    memset(text, 'o', sizeof text);
    struct ow_breaker b = new_breaker(&plain);
    assert_int_equal(ow_breaker_parse(&b, (struct ow_bytes){text, sizeof text}, &err), OW_EINVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_after_failures_in_a_row),
        cmocka_unit_test(test_doubles_up_to_the_cap),
        cmocka_unit_test(test_share_of_the_last_calls),
        cmocka_unit_test(test_a_window_as_wide_as_it_gets),
        cmocka_unit_test(test_probes),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_text_and_back),
        cmocka_unit_test(test_no_text_of_a_breaker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
