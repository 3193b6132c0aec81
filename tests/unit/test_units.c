/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/units.h"
#include "base/wait.h"

struct sample {
    const char *text;
    int64_t value; /* -1: refused */
};

typedef int parse(struct ow_bytes text, int64_t *ret, struct ow_error *err);

static void check(parse *read, const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -7;
        struct ow_error err = {0};
        int r = read(ow_bytes_of(samples[i].text), &value, &err);
        if (samples[i].value < 0) {
            if (r != OW_EINVALID || value != -7)
                fail_msg("\"%s\" was taken for %lld", samples[i].text, (long long)value);
            assert_text_has(err.text, samples[i].text);
            assert_text_has(err.text, "write a number with a unit");
        } else if (r != 0 || value != samples[i].value) {
            fail_msg("\"%s\" gave %lld: %s", samples[i].text, (long long)value, err.text);
        }
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"250ms", 250},
        {"10s", 10000},
        {"5m", 300000},
        {"2h", 7200000},
        {"7d", 604800000},
        {"1h30m", 5400000},
        {"0", 0},
        {"0s", 0},
        {"106751991167d", 106751991167LL * 86400000},
        {"106751991168d", -1},
        {"10", -1},
        {"", -1},
        {"s", -1},
        {"-5s", -1},
        {"5 s", -1},
        {"5S", -1},
        {"1.5h", -1},
        {"1h30", -1},
        {"99999999999999999999s", -1},
        {"s5", -1},
        {"00", -1},
    };
    check(ow_duration_parse, samples, OW_COUNT_OF(samples));
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"512B", 512},
        {"64KiB", 65536},
        {"16MiB", 16 << 20},
        {"2GiB", 2LL << 30},
        {"1TiB", 1LL << 40},
        {"1kB", 1000},
        {"3MB", 3000000},
        {"1GB", 1000000000},
        {"2TB", 2000000000000},
        {"0", 0},
        {"1", -1},
        {"1KB", -1},
        {"1kib", -1},
        {"1.5GiB", -1},
        {"9000000TiB", -1},
        {"-1B", -1},
        {"8388607TiB", 8388607LL << 40},
    };
    check(ow_size_parse, samples, OW_COUNT_OF(samples));
}

static void test_integers(void **state)
{
    (void)state;
    int64_t value = -7;
    struct ow_error err = {0};
    assert_int_equal(ow_integer_parse(OW_BYTES("42"), 0, 100, &value, &err), 0);
    assert_int_equal(value, 42);
    assert_int_equal(ow_integer_parse(OW_BYTES("0"), 0, 100, &value, &err), 0);
    assert_int_equal(ow_integer_parse(OW_BYTES("9223372036854775807"), 0, INT64_MAX, &value, &err), 0);
    assert_true(value == INT64_MAX);
    static const char *const bad[] = {"101", "", "-1", "+1", "1 ", "0x1", "9223372036854775808", "4", "x"};
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        value = -7;
        assert_int_equal(ow_integer_parse(ow_bytes_of(bad[i]), 5, 100, &value, &err), OW_EINVALID);
        assert_int_equal(value, -7);
        assert_text_has(err.text, "from 5 to 100");
    }
    assert_int_equal(ow_integer_parse(OW_NULL_BYTES, 0, 1, &value, &err), OW_EINVALID);
}

static void test_null_is_refused(void **state)
{
    (void)state;
    int64_t value;
    assert_int_equal(ow_duration_parse(OW_NULL_BYTES, &value, NULL), OW_EINVALID);
    assert_int_equal(ow_size_parse(OW_NULL_BYTES, &value, NULL), OW_EINVALID);
}

static void test_time_format(void **state)
{
    (void)state;
    char text[OW_TIME_TEXT_SIZE];
    assert_string_equal(ow_time_format(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(ow_time_format(1795264800123, text), "2026-11-21T12:40:00.123Z");
    assert_string_equal(ow_time_format(-1, text), "1969-12-31T23:59:59.999Z");
    assert_string_equal(ow_time_format(253402300799999, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(ow_time_format(253402300800000, text), "253402300800000");
    assert_string_equal(ow_time_format(INT64_MIN, text), "-9223372036854775808");
}

static void test_duration_format(void **state)
{
    (void)state;
    char text[OW_UNIT_TEXT_SIZE];
    assert_string_equal(ow_duration_format(0, text), "0s");
    assert_string_equal(ow_duration_format(250, text), "250ms");
    assert_string_equal(ow_duration_format(5400000, text), "1h30m");
    assert_string_equal(ow_duration_format(604800000, text), "7d");
    assert_string_equal(ow_duration_format(61001, text), "1m1s");
}

static void test_size_format(void **state)
{
    (void)state;
    char text[OW_UNIT_TEXT_SIZE];
    assert_string_equal(ow_size_format(0, text), "0B");
    assert_string_equal(ow_size_format(12, text), "12B");
    assert_string_equal(ow_size_format(16 << 20, text), "16MiB");
    assert_string_equal(ow_size_format(3LL << 29, text), "1.5GiB");
}

/* What is written is read again as the same value. */
static void test_round_trip(void **state)
{
    (void)state;
    static const int64_t values[] = {1, 999, 1000, 60000, 90000, 3600000, 5400000, 86400000, 90000000};
    for (size_t i = 0; i < OW_COUNT_OF(values); i++) {
        char text[OW_UNIT_TEXT_SIZE];
        int64_t value = 0;
        assert_int_equal(ow_duration_parse(ow_bytes_of(ow_duration_format(values[i], text)), &value, NULL), 0);
        assert_int_equal(value, values[i]);
    }
}

static void test_clocks_and_dice(void **state)
{
    (void)state;
    int64_t before = ow_clock_monotonic_ms();
    assert_true(ow_clock_wall_ms() > 1600000000000);
    assert_true(ow_clock_monotonic_ms() >= before);
    double low = 1, high = 0;
    for (int i = 0; i < 1000; i++) {
        double roll = ow_dice_roll();
        assert_true(roll >= 0 && roll < 1);
        low = roll < low ? roll : low;
        high = roll > high ? roll : high;
    }
    assert_true(low < 0.1 && high > 0.9);
}

/* A sleep ends with whatever is first; what is over already does not begin it. */
static void test_sleeps(void **state)
{
    (void)state;
    struct ow_wait wait;
    ow_wait_init(&wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + 3600000);
    ow_wait_nap(&wait, 2000);
    ow_wait_nap(&wait, 3600000000);
    int64_t before_us = ow_clock_monotonic_us();
    ow_wait_sleep(&wait);
    assert_true(ow_clock_monotonic_us() - before_us >= 2000);
    ow_wait_nap(&wait, -1);
    ow_wait_sleep(&wait);
    ow_wait_init(&wait);
    ow_wait_nap(&wait, 3600000000);
    ow_wait_until(&wait, ow_clock_monotonic_ms() - 1);
    ow_wait_sleep(&wait);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),       cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_integers),        cmocka_unit_test(test_null_is_refused),
        cmocka_unit_test(test_time_format),     cmocka_unit_test(test_duration_format),
        cmocka_unit_test(test_size_format),     cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_clocks_and_dice), cmocka_unit_test(test_sleeps),
    };
    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
