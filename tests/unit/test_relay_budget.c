/* SPDX-License-Identifier: Apache-2.0 */
/* How long a relay tries a message that is not accepted for its own sake: on virtual time. */
#include "unit.h"

#include <stdio.h>

#include "pattern/relay/relay.h"

enum { MESSAGES = 8 };

static struct {
    int64_t now_ms;
    /* source */
    uint64_t yielded, count;
    const char *keys[MESSAGES];
    int aside[MESSAGES], parked[MESSAGES];
    char reason[64];
    int64_t aside_ms[MESSAGES];
    /* broker */
    enum ow_verdict verdicts[MESSAGES];
    uint64_t tokens[MESSAGES];
    uint64_t positions[MESSAGES];
    int sent, attempts[MESSAGES], accepted[MESSAGES];
    bool is_away, has_trouble;
} world;

static int64_t now_ms(void *context)
{
    (void)context;
    return world.now_ms;
}

static double dice(void *context)
{
    (void)context;
    return 0.5;
}

/* --- source -------------------------------------------------------------------------------------------- */

static int source_open(struct ow_source *source, struct ow_error *err)
{
    (void)source, (void)err;
    return 0;
}

static const char *source_identity(struct ow_source *source)
{
    (void)source;
    return "source";
}

static int source_resume(struct ow_source *source, const struct ow_position *position, struct ow_error *err)
{
    (void)source, (void)position, (void)err;
    return 0;
}

static int source_next(struct ow_source *source, struct ow_message *ret, struct ow_error *err)
{
    (void)source, (void)err;
    if (world.yielded == world.count)
        return 0;
    *ret = (struct ow_message){.position = {++world.yielded, 0},
                               .id = OW_BYTES("id"),
                               .aggregate_type = OW_BYTES("thing"),
                               .aggregate_id = ow_bytes_of(world.keys[world.yielded - 1]),
                               .type = OW_BYTES("T"),
                               .payload = OW_BYTES("payload")};
    return 1;
}

static int source_confirm(struct ow_source *source, const struct ow_position *positions, size_t count,
                          struct ow_error *err)
{
    (void)source, (void)positions, (void)count, (void)err;
    return 0;
}

static int source_set_aside(struct ow_source *source, const struct ow_message *message, const char *reason,
                            uint32_t attempts, struct ow_error *err)
{
    (void)source, (void)err;
    world.aside[message->position.major - 1] = (int)attempts;
    world.aside_ms[message->position.major - 1] = world.now_ms;
    (void)snprintf(world.reason, sizeof world.reason, "%s", reason);
    return 0;
}

static int source_park(struct ow_source *source, const struct ow_message *message, struct ow_error *err)
{
    (void)source, (void)err;
    uint64_t n = message->position.major - 1;
    for (uint64_t i = 0; i < n; i++)
        world.parked[n] |= world.aside[i] > 0 && strcmp(world.keys[i], world.keys[n]) == 0;
    return world.parked[n];
}

static void source_wait(struct ow_source *source, struct ow_wait *wait)
{
    (void)source, (void)wait;
}

static void source_close(struct ow_source *source)
{
    (void)source;
}

static const struct ow_source_ops source_ops = {.name = "fake",
                                                .open = source_open,
                                                .identity = source_identity,
                                                .resume = source_resume,
                                                .next = source_next,
                                                .confirm = source_confirm,
                                                .set_aside = source_set_aside,
                                                .park = source_park,
                                                .wait = source_wait,
                                                .close = source_close,
                                                .discard = source_close};

/* --- broker -------------------------------------------------------------------------------------------- */

static int broker_open(struct ow_broker *broker, struct ow_error *err)
{
    (void)broker;
    world.sent = 0;
    return world.is_away ? ow_error_set(err, OW_EUNREACHABLE, "away") : 0;
}

static int broker_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    (void)broker, (void)err;
    world.attempts[message->position.major - 1]++;
    world.tokens[world.sent] = token;
    world.positions[world.sent++] = message->position.major;
    return 0;
}

static int broker_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    (void)broker, (void)max;
    if (world.is_away)
        return ow_error_set(err, OW_EUNREACHABLE, "away");
    int n = world.sent;
    for (int i = 0; i < n; i++) {
        enum ow_verdict verdict = world.verdicts[world.positions[i] - 1];
        receipts[i] = (struct ow_receipt){.token = world.tokens[i], .verdict = verdict};
        (void)snprintf(receipts[i].reason, sizeof receipts[i].reason, "%s", verdict == OW_ACCEPTED ? "" : "no");
        world.accepted[world.positions[i] - 1] += verdict == OW_ACCEPTED;
    }
    world.sent = 0;
    return n;
}

static const char *broker_trouble(struct ow_broker *broker)
{
    (void)broker;
    return world.has_trouble ? "trouble" : NULL;
}

static void broker_wait(struct ow_broker *broker, struct ow_wait *wait)
{
    (void)broker, (void)wait;
}

static void broker_close(struct ow_broker *broker)
{
    (void)broker;
}

static const struct ow_broker_ops broker_ops = {.name = "fake",
                                                .keeps_order = true,
                                                .open = broker_open,
                                                .send = broker_send,
                                                .step = broker_step,
                                                .wait = broker_wait,
                                                .trouble = broker_trouble,
                                                .close = broker_close,
                                                .discard = broker_close};

/* --- the relay ----------------------------------------------------------------------------------------- */

static struct ow_source source = {.ops = &source_ops};
static struct ow_broker broker = {.ops = &broker_ops};
static struct ow_relay relay;

static struct ow_relay_options begin(const char *keys)
{
    struct ow_relay_options options;
    static char texts[MESSAGES][2];
    memset(&world, 0, sizeof world);
    world.now_ms = 1000;
    world.count = strlen(keys);
    for (uint64_t i = 0; i < world.count; i++) {
        texts[i][0] = keys[i];
        world.keys[i] = texts[i];
    }
    ow_relay_options_default(&options);
    options.world = (struct ow_world){.now_ms = now_ms, .dice = dice};
    return options;
}

static void init(const struct ow_relay_options *options)
{
    struct ow_error err = {0};
    assert_int_equal(ow_relay_init(&relay, options, &source, &broker, &err), 0);
}

/* Steps at the times at which the relay asks for one, until `ms` from now. */
static void run_for(int64_t ms)
{
    int64_t end_ms = world.now_ms + ms;
    for (int i = 0; i < 100000; i++) {
        struct ow_wait wait;
        struct ow_error err = {0};
        assert_int_equal(ow_relay_step(&relay, &wait, &err), 0);
        assert_null(ow_window_broken(&relay.window));
        if (wait.deadline_ms > end_ms) {
            world.now_ms = end_ms;
            return;
        }
        if (wait.deadline_ms > world.now_ms)
            world.now_ms = wait.deadline_ms;
    }
    fail_msg("the relay does not come to rest");
}

static void it_is_tried_for_its_time_and_set_aside(void **state)
{
    (void)state;
    struct ow_relay_options options = begin("abc");
    world.verdicts[0] = OW_RETRY;
    init(&options);
    run_for(29900);
    assert_int_equal(world.aside[0], 0);
    assert_true(world.accepted[1] == 1 && world.accepted[2] == 1);
    run_for(200);
    assert_true(world.aside[0] > 5);
    assert_int_equal(world.aside_ms[0], 31000); /* to the point: its last attempt is not put off beyond it */
    assert_string_equal(world.reason, "no");
    assert_true(ow_relay_is_idle(&relay));
    ow_relay_done(&relay);
}

static void it_is_accepted_in_its_time(void **state)
{
    (void)state;
    struct ow_relay_options options = begin("aab");
    world.verdicts[0] = world.verdicts[1] = OW_RETRY;
    init(&options);
    run_for(25000);
    world.verdicts[0] = world.verdicts[1] = OW_ACCEPTED;
    run_for(10000);
    assert_true(world.accepted[0] == 1 && world.accepted[1] == 1 && world.aside[0] == 0 && world.aside[1] == 0);
    ow_relay_done(&relay);
}

static void no_end_where_none_is_wanted(void **state)
{
    (void)state;
    struct ow_relay_options options = begin("a");
    options.retry.elapsed_max_ms = 0;
    world.verdicts[0] = OW_RETRY;
    init(&options);
    run_for(86400000);
    assert_true(world.aside[0] == 0 && world.attempts[0] > 2000);
    ow_relay_done(&relay);
}

/* What is wrong with the broker is not held against a message. */
static void time_without_a_broker_does_not_count(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct ow_relay_options options = begin("ab");
        options.retry.attempts_max = 30; /* its own failures in 30 s are fewer */
        world.verdicts[0] = OW_RETRY;
        init(&options);
        run_for(12000);
        assert_int_equal(world.aside[0], 0);
        world.is_away = how == 0;
        world.has_trouble = how == 1;
        if (how == 2)
            world.verdicts[0] = OW_LATER;
        run_for(7200000);
        assert_int_equal(world.aside[0], 0);
        world.is_away = world.has_trouble = false;
        world.verdicts[0] = OW_RETRY;
        run_for(17000); /* less than 30 s in all */
        assert_int_equal(world.aside[0], 0);
        run_for(40000);
        assert_true(world.aside[0] > 0);
        ow_relay_done(&relay);
    }
}

static void a_key_that_fills_the_window_goes_at_once(void **state)
{
    (void)state;
    struct ow_relay_options options = begin("aaaabb");
    options.window.count_max = 5;
    for (int i = 0; i < 4; i++)
        world.verdicts[i] = OW_RETRY;
    init(&options);
    run_for(1000);
    assert_int_equal(world.aside[0], 2); /* attempts: once more, and gone */
    assert_int_equal(world.aside[1], 2);
    assert_int_equal(world.aside[2], 0); /* two of five are not more than half */
    assert_true(world.accepted[4] == 1 && world.accepted[5] == 1);
    run_for(30000);
    assert_true(world.aside[2] > 2 && world.aside[3] > 1);
    ow_relay_done(&relay);
}

static void what_follows_is_parked_where_that_is_wanted(void **state)
{
    (void)state;
    struct ow_relay_options options = begin("aababab");
    options.parks = true;
    world.verdicts[0] = OW_REJECTED;
    init(&options);
    run_for(1000);
    assert_true(world.aside[0] == 1 && world.parked[1] && world.parked[3] && world.parked[5]);
    assert_int_equal(world.attempts[1] + world.attempts[3] + world.attempts[5], 0);
    assert_true(world.accepted[2] == 1 && world.accepted[4] == 1 && world.accepted[6] == 1);
    assert_int_equal(relay.counters.parked, 3);
    assert_true(ow_relay_is_idle(&relay));
    ow_relay_done(&relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_tried_for_its_time_and_set_aside),
        cmocka_unit_test(it_is_accepted_in_its_time),
        cmocka_unit_test(no_end_where_none_is_wanted),
        cmocka_unit_test(time_without_a_broker_does_not_count),
        cmocka_unit_test(a_key_that_fills_the_window_goes_at_once),
        cmocka_unit_test(what_follows_is_parked_where_that_is_wanted),
    };
    return cmocka_run_group_tests_name("relay_budget", tests, NULL, NULL);
}
