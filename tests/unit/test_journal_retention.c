/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_fixture.h"

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* Publishes one message at a time, some time apart, until the condition holds. */
static bool publish_until_fewer(struct ow_broker *broker, int64_t count, int64_t within_ms)
{
    int64_t deadline = ow_clock_monotonic_ms() + within_ms;
    for (int i = 1000000; ow_clock_monotonic_ms() < deadline; i++) {
        publish_many(broker, "t", "later", i, 1, NULL);
        if (number("SELECT count(*) FROM journal_record") < count)
            return true;
        pause_ms(20);
    }
    return false;
}

static void check_left(void)
{
    check_contiguous();
    assert_int_equal(number("SELECT count(*) FROM journal_partition p WHERE p.first_offset > 0 AND p.first_offset < "
                            "p.next_offset AND p.first_offset != (SELECT min(\"offset\") FROM journal_record r WHERE "
                            "r.partition = p.id)"),
                     0);
}

/* Steps are small, so that it takes several to be done; what is younger stays. */
static void test_by_age(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.partitions = 2, .retention_ms = 300});
    publish_many(broker, "t", "k", 0, 5000, NULL);
    assert_int_equal(number("SELECT count(*) FROM journal_record"), 5000);
    assert_true(publish_until_fewer(broker, 100, 20000));
    assert_true(number("SELECT count(*) FROM journal_record") > 0);
    check_left();
    assert_true(number("SELECT count(*) FROM journal_index") < 5);
    assert_true(number("SELECT count(*) FROM journal_clock") < 100);

    /* Who comes from further back begins at the first that is there. */
    struct ow_subscriber_options options = {.from = 0};
    struct ow_subscriber *subscriber = open_subscriber(&options);
    int64_t left = number("SELECT count(*) FROM journal_record");
    struct ow_record got;
    for (int64_t i = 0; i < left; i++)
        assert_int_equal(next_within(subscriber, &got, 0), 1);
    assert_int_equal(next_within(subscriber, &got, 0), 0);
    subscriber->ops->close(subscriber);
    broker->ops->discard(broker);
}

/* Without anybody publishing, the open broker does it while it is idle. */
static void test_by_age_when_idle(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.retention_ms = 100});
    publish_many(broker, "t", "k", 0, 10, NULL);
    int64_t deadline = ow_clock_monotonic_ms() + 20000, next_seq = 11;
    while (number("SELECT count(*) FROM journal_record") > 0) {
        struct ow_error err = {0};
        struct ow_receipt receipt;
        struct ow_wait wait;
        assert_true(ow_clock_monotonic_ms() < deadline);
        assert_int_equal(broker->ops->step(broker, &receipt, 1, &err), 0);
        ow_wait_init(&wait);
        broker->ops->wait(broker, &wait);
        assert_true(wait.deadline_ms != OW_WAIT_FOR_EVER);
        ow_wait_sleep(&wait);
    }
    check_left();
    /* An emptied journal goes on counting. */
    publish_many(broker, "t", "k", 0, 1, NULL);
    assert_int_equal(number("SELECT max(seq) FROM journal_record"), next_seq);
    assert_int_equal(number("SELECT sum(next_offset) FROM journal_partition"), 11);
    broker->ops->discard(broker);
}

static int64_t bytes_used(void)
{
    struct ow_journal_status status;
    struct ow_error err = {0};
    assert_int_equal(ow_journal_status_read(path, &status, &err), 0);
    int64_t used = status.bytes_used;
    ow_journal_status_done(&status);
    return used;
}

static void test_by_size(void **state)
{
    (void)state;
    enum { BOUND = 2 << 20, PAYLOAD = 10000 };
    char *payload = malloc(PAYLOAD + 1);
    assert_non_null(payload);
    memset(payload, 'x', PAYLOAD);
    payload[PAYLOAD] = '\0';
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.retention_bytes = BOUND});
    int64_t deadline = ow_clock_monotonic_ms() + 3500;
    int sent = 0;
    while (ow_clock_monotonic_ms() < deadline) {
        must_begin(broker);
        for (int i = 0; i < 50; i++, sent++) {
            char key[16];
            (void)snprintf(key, sizeof key, "%d", sent);
            struct ow_message m = message_of("t", key, key, payload);
            must_send(broker, &m, 1);
        }
        assert_int_equal(must_commit(broker, NULL, 0), 50);
        pause_ms(50);
    }
    assert_true(sent * PAYLOAD > 3 * BOUND);
    assert_true(bytes_used() < 2 * BOUND + 50 * 20 * PAYLOAD); /* what comes within a second goes over it */
    /* With its next looks it is back within the bound, and has not cut deeper than it must. */
    for (deadline = ow_clock_monotonic_ms() + 20000; bytes_used() > BOUND + (256 << 10); pause_ms(50)) {
        assert_true(ow_clock_monotonic_ms() < deadline);
        publish_many(broker, "t", "k", 0, 1, NULL);
    }
    assert_true(bytes_used() > BOUND / 2);
    check_left();
    free(payload);
    broker->ops->discard(broker);
}

/* A transaction that alone is over the bound stays until the next one. */
static void test_what_was_just_accepted_stays(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.retention_bytes = 1024});
    publish_many(broker, "t", "k", 0, 500, NULL);
    assert_int_equal(number("SELECT count(*) FROM journal_record"), 500);
    assert_true(publish_until_fewer(broker, 3, 20000));
    check_left();
    broker->ops->discard(broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_by_age, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_age_when_idle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_just_accepted_stays, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
