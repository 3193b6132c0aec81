/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "source/postgres_log_past.h"

static void begin(struct ow_pg_past *past, uint64_t lsn, struct ow_position before, const char *rows)
{
    struct ow_error err;
    assert_int_equal(ow_pg_past_begin(past, lsn, before, rows, "16384s,16390p16391", &err), 0);
}

static struct ow_position at(uint64_t major, uint64_t minor)
{
    return (struct ow_position){major, minor};
}

/* Through text and back, as another process would get it. */
static void hand_over(struct ow_pg_past *past)
{
    struct ow_buf text = {0}, again = {0};
    struct ow_error err;
    ow_pg_past_format(past, &text);
    assert_int_equal(ow_buf_check(&text, &err), 0);
    assert_int_equal(ow_pg_past_parse(ow_buf_bytes(&text), past, &err), 0);
    ow_pg_past_format(past, &again);
    assert_true(ow_bytes_equal(ow_buf_bytes(&text), ow_buf_bytes(&again)) || text.size == 0);
    ow_buf_done(&text);
    ow_buf_done(&again);
}

static void test_what_is_left_out(void **state)
{
    (void)state;
    struct ow_pg_past past = {0};
    assert_int_equal(ow_pg_past_settle(&past, at(0, 0)), OW_PG_PAST_AGAIN);
    begin(&past, 1000, at(0, 0), "10:20:12");
    assert_false(ow_pg_past_has(&past, 1, "1"));
    hand_over(&past);
    assert_int_equal(ow_pg_past_settle(&past, at(999, 50)), OW_PG_PAST_AGAIN);
    begin(&past, 2000, at(999, 50), "30:30:");
    assert_true(ow_pg_past_has(&past, 50, "1"));
    assert_false(ow_pg_past_has(&past, 51, "1"));
    assert_false(ow_pg_past_has(&past, 7, "0")); /* it was committed later, at a lower place */
    /* The second one came less far: both count. */
    hand_over(&past);
    assert_int_equal(ow_pg_past_settle(&past, at(1999, 20)), OW_PG_PAST_AGAIN);
    assert_int_equal(past.count, 2);
    assert_true(ow_pg_past_has(&past, 20, "01"));
    assert_false(ow_pg_past_has(&past, 21, "01"));
    assert_true(ow_pg_past_has(&past, 50, "11"));
    /* The third one came as far as the first: that says nothing more. */
    begin(&past, 3000, at(1999, 20), "40:40:");
    hand_over(&past);
    assert_int_equal(ow_pg_past_settle(&past, at(2999, 50)), OW_PG_PAST_AGAIN);
    assert_int_equal(past.count, 1);
    assert_true(past.attempts[0].lsn == 3000 && past.attempts[0].place == 50);
    ow_pg_past_done(&past);
}

static void test_what_it_is_judged_by(void **state)
{
    (void)state;
    struct ow_pg_past past = {0};
    /* A server that was put back: the record of before lies behind the slot, and says nothing of it. */
    begin(&past, 1000, at(5000, 3), "1:1:");
    assert_int_equal(ow_pg_past_settle(&past, at(5000, 3)), OW_PG_PAST_AGAIN);
    assert_int_equal(past.count, 0);
    begin(&past, 1000, at(5000, 3), "1:1:");
    assert_int_equal(ow_pg_past_settle(&past, at(0, 0)), OW_PG_PAST_AGAIN);
    begin(&past, 1000, at(0, 0), "1:1:");
    assert_int_equal(ow_pg_past_settle(&past, at(1000, 0)), OW_PG_PAST_THROUGH);
    /* One that was judged is not through because somebody who was followed goes on recording. */
    assert_int_equal(ow_pg_past_settle(&past, at(999, 4)), OW_PG_PAST_AGAIN);
    assert_int_equal(ow_pg_past_settle(&past, at(1500, 1)), OW_PG_PAST_AGAIN);
    assert_true(ow_pg_past_has(&past, 4, "1"));
    /* And one may put back what an earlier attempt had recorded. */
    begin(&past, 2000, at(999, 4), "2:2:");
    assert_int_equal(ow_pg_past_settle(&past, at(999, 6)), OW_PG_PAST_AGAIN);
    assert_true(past.count == 1 && past.attempts[0].place == 6);
    ow_pg_past_done(&past);
}

static void test_other_tables(void **state)
{
    (void)state;
    struct ow_error err;
    struct ow_pg_past past = {0};
    begin(&past, 1000, at(0, 0), "1:1:");
    assert_int_equal(ow_pg_past_settle(&past, at(999, 50)), OW_PG_PAST_AGAIN);
    assert_int_equal(ow_pg_past_begin(&past, 2000, at(999, 50), "2:2:", "16384s,16390p20000", &err), 0);
    assert_int_equal(past.count, 1);
    assert_false(ow_pg_past_has(&past, 1, "1"));
    ow_pg_past_done(&past);
}

static void test_many(void **state)
{
    (void)state;
    struct ow_pg_past past = {0};
    for (uint64_t n = 1; n <= OW_PG_PAST_MAX + 3; n++) {
        begin(&past, n * 1000, at(0, 0), "1:1:");
        assert_int_equal(ow_pg_past_settle(&past, at(n * 1000 - 1, 500 - n)), OW_PG_PAST_AGAIN);
        hand_over(&past);
    }
    assert_int_equal(past.count, OW_PG_PAST_MAX);
    assert_true(past.attempts[0].lsn == 4000); /* the oldest are forgotten: what they had is published again */
    ow_pg_past_done(&past);
}

static void test_bad_text(void **state)
{
    (void)state;
    static const char *const bad[] = {" ",
                                      " t",
                                      " t 1",
                                      " t 1 2 3",
                                      " t a 2 3 r",
                                      " t 1/1 2 3 r",
                                      " t 1 2/2 3 r",
                                      " t 1 2 x r",
                                      " t 1 2 3 r 1",
                                      " t 99999999999999999999999 2 3 r"};
    struct ow_error err;
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        struct ow_pg_past past = {0};
        begin(&past, 1, at(0, 0), "r");
        assert_int_equal(ow_pg_past_parse(ow_bytes_of(bad[i]), &past, &err), 0);
        assert_int_equal(past.count, 0);
        ow_pg_past_done(&past);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_left_out), cmocka_unit_test(test_what_it_is_judged_by),
        cmocka_unit_test(test_other_tables),     cmocka_unit_test(test_many),
        cmocka_unit_test(test_bad_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
