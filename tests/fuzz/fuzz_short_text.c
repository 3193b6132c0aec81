/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as each of the short ones that are read: a position, the kept state of a breaker, a time, a duration, a
 * size, a number. What is taken and written again is read as the same.
 */
#include "fuzz.h"

#include "base/units.h"
#include "core/breaker.h"
#include "core/position.h"

static void check_position(struct ow_bytes text)
{
    char written[OW_POSITION_TEXT_SIZE];
    struct ow_position position, again;
    struct ow_error err = {0};
    int r = ow_position_parse(text, &position, &err);
    if (r < 0) {
        must_say_why(r, &err);
        return;
    }
    must(ow_bytes_is(text, ow_position_format(position, written)), "a position has one text");
    must(ow_position_parse(ow_bytes_of(written), &again, &err) == 0, "it is read again");
    must(ow_position_compare(position, again) == 0, "as the same");
}

static void check_breaker(struct ow_bytes text)
{
    static const struct ow_breaker_policy policy = {
        .failures = 5, .rate = 0.5, .window = 20, .open_ms = 5000, .open_ms_max = 300000, .probes = 2};
    char written[96];
    struct ow_breaker breaker, again;
    struct ow_error err = {0};
    ow_breaker_init(&breaker, &policy);
    ow_breaker_init(&again, &policy);
    int r = ow_breaker_parse(&breaker, text, &err);
    if (r < 0)
        must_say_why(r, &err);
    must(breaker.recent_count <= policy.window, "no more calls than the window holds");
    ow_breaker_format(&breaker, written);
    must(ow_breaker_parse(&again, ow_bytes_of(written), &err) == 0, "what it writes, it reads");
    must(again.until_ms == breaker.until_ms && again.opened == breaker.opened, "as the same");
    /* Whatever it was given, it lets calls through again. */
    for (int64_t now = 0, calls = 0; calls < 100; calls++) {
        int64_t due_ms = ow_breaker_due_ms(&breaker);
        now = due_ms != INT64_MAX && due_ms > now ? due_ms : now;
        if (ow_breaker_admits(&breaker, now))
            (void)ow_breaker_outcome(&breaker, false, now);
    }
    must(breaker.state == OW_BREAKER_CLOSED, "it closes when all goes well");
}

static void check_time(struct ow_bytes text)
{
    char written[OW_TIME_TEXT_SIZE];
    int64_t time_ms, again;
    struct ow_error err = {0};
    int r = ow_time_parse(text, &time_ms, &err);
    if (r < 0) {
        must_say_why(r, &err);
        return;
    }
    (void)ow_time_format(time_ms, written);
    must(ow_time_parse(ow_bytes_of(written), &again, &err) == 0 && again == time_ms, "a time is read as the same");
}

static void check_units(struct ow_bytes text)
{
    char written[OW_UNIT_TEXT_SIZE];
    int64_t value, again;
    struct ow_error err = {0};
    int r = ow_duration_parse(text, &value, &err);
    must(r == 0 ? value >= 0 : r == err.code, "a duration");
    if (r == 0) {
        (void)ow_duration_format(value, written); /* its two largest units */
        must(ow_duration_parse(ow_bytes_of(written), &again, &err) == 0 && again <= value &&
                 again >= value - value / 24,
             "is read as about the same");
    }
    r = ow_size_parse(text, &value, &err);
    must(r == 0 ? value >= 0 : r == err.code, "a size");
    r = ow_integer_parse(text, -5, 500, &value, &err);
    must(r == 0 ? value >= -5 && value <= 500 : r == err.code, "a number within its bounds");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes text = {(const char *)data, size};
    check_position(text);
    check_breaker(text);
    check_time(text);
    check_units(text);
    return 0;
}
