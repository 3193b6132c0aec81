/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_fixture.h"

enum { PARTITIONS = 4, SOON_MS = 1000, LATE_MS = 20000 };

struct member {
    struct ow_subscriber *subscriber;
    int assigned, revoked, lost; /* how many events there were */
    bool has[PARTITIONS];
    bool settles; /* on REVOKED, what was read last */
    struct ow_record last;
    int64_t next[PARTITIONS]; /* offsets, one after the other without a gap; -1: none yet */
    int read;
};

static void listen_to(void *context, enum ow_subscriber_event event, struct ow_bytes topic, uint32_t partition)
{
    struct member *m = context;
    assert_true(partition < PARTITIONS);
    m->assigned += event == OW_EVENT_ASSIGNED;
    m->revoked += event == OW_EVENT_REVOKED;
    m->lost += event == OW_EVENT_LOST;
    assert_int_equal(m->has[partition], event != OW_EVENT_ASSIGNED);
    m->has[partition] = event == OW_EVENT_ASSIGNED;
    if (event == OW_EVENT_REVOKED && m->settles && m->next[partition] > 0) {
        struct ow_error err = {0};
        assert_int_equal(m->subscriber->ops->settle(m->subscriber, topic, partition, m->next[partition] - 1, &err), 0);
    }
    m->next[partition] = -1;
}

static void join(struct member *m, const char *group, int64_t from)
{
    *m = (struct member){.next = {-1, -1, -1, -1}};
    struct ow_subscriber_options options = {.group = group, .from = from, .listener = listen_to, .context = m};
    struct ow_error err = {0};
    assert_int_equal(ow_journal_subscriber_new(path, &options, &m->subscriber, &err), 0);
    if (m->subscriber->ops->open(m->subscriber, &err) != 0)
        fail_msg("%s", err.text);
}

static void leave(struct member *m)
{
    m->subscriber->ops->close(m->subscriber);
}

static int count_of(const struct member *m)
{
    int n = 0;
    for (int i = 0; i < PARTITIONS; i++)
        n += m->has[i];
    return n;
}

/* One record, if there is one now. */
static bool read_one(struct member *m)
{
    if (next_within(m->subscriber, &m->last, 0) == 0)
        return false;
    int64_t partition = m->last.partition;
    assert_true(m->has[partition]);
    if (m->next[partition] >= 0)
        assert_int_equal(m->last.offset, m->next[partition]);
    m->next[partition] = m->last.offset + 1;
    m->read++;
    return true;
}

static void settle_last(struct member *m)
{
    struct ow_error err = {0};
    struct ow_subscriber *s = m->subscriber;
    if (s->ops->settle(s, m->last.message.topic, (uint32_t)m->last.partition, m->last.offset, &err) != 0)
        fail_msg("%s", err.text);
}

/* Both look, without reading, until they have so many partitions each. */
static void until_shared(struct member *a, int a_count, struct member *b, int b_count, int64_t within_ms)
{
    int64_t deadline = ow_clock_monotonic_ms() + within_ms;
    while (count_of(a) != a_count || (b && count_of(b) != b_count)) {
        assert_true(ow_clock_monotonic_ms() < deadline);
        struct timespec pause = {.tv_nsec = 5000000};
        (void)read_one(a);
        if (b)
            (void)read_one(b);
        (void)nanosleep(&pause, NULL);
    }
}

static void test_one_reads_all(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    publish_many(broker, "t", "k", 0, 2000, NULL);
    struct member m;
    join(&m, "g", OW_OFFSET_BEGINNING);
    assert_int_equal(count_of(&m), PARTITIONS);
    while (read_one(&m))
        settle_last(&m);
    assert_int_equal(m.read, 2000);
    leave(&m);

    /* The next one goes on behind what was settled. */
    publish_many(broker, "t", "k", 2000, 10, NULL);
    join(&m, "g", OW_OFFSET_BEGINNING);
    while (read_one(&m))
        ;
    assert_int_equal(m.read, 10);
    leave(&m);
    /* Another group has its own. */
    join(&m, "h", OW_OFFSET_BEGINNING);
    while (read_one(&m))
        ;
    assert_int_equal(m.read, 2010);
    leave(&m);
    broker->ops->discard(broker);
    assert_int_equal(number("SELECT count(*) FROM journal_member"), 0);
}

static void test_two_share(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    publish_many(broker, "t", "k", 0, 1000, NULL);
    struct member a, b;
    join(&a, "g", OW_OFFSET_BEGINNING);
    a.settles = true;
    for (int i = 0; i < 300; i++)
        assert_true(read_one(&a));
    join(&b, "g", OW_OFFSET_BEGINNING);
    until_shared(&a, 2, &b, 2, SOON_MS);
    assert_int_equal(a.revoked, 2);
    for (int i = 0; i < PARTITIONS; i++)
        assert_true(a.has[i] != b.has[i]);
    while (read_one(&a) || read_one(&b))
        ;
    /* What a had read of the partitions that it gave up was settled, so each record was read once. */
    assert_int_equal(a.read + b.read, 1000);
    leave(&b);
    until_shared(&a, 4, NULL, 0, SOON_MS);
    leave(&a);
    broker->ops->discard(broker);
}

/* Joins, says so, and reads on until it is killed. */
static pid_t start_child(int *ret_fd)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct member m;
        join(&m, "g", OW_OFFSET_BEGINNING);
        for (bool has_told = false;;) {
            struct timespec pause = {.tv_nsec = 2000000};
            if (read_one(&m))
                settle_last(&m);
            if (!has_told && count_of(&m) == PARTITIONS / 2) {
                has_told = true;
                (void)!write(ready[1], "x", 1);
            }
            (void)nanosleep(&pause, NULL);
        }
    }
    (void)close(ready[1]);
    *ret_fd = ready[0];
    return child;
}

static void test_a_killed_member_is_replaced_within_a_second(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    publish_many(broker, "t", "k", 0, 100, NULL);
    int fd;
    pid_t child = start_child(&fd);
    struct member m;
    join(&m, "g", OW_OFFSET_BEGINNING);
    struct pollfd told = {.fd = fd, .events = POLLIN};
    int64_t deadline = ow_clock_monotonic_ms() + LATE_MS;
    while (poll(&told, 1, 5) == 0) {
        assert_true(ow_clock_monotonic_ms() < deadline);
        (void)read_one(&m);
    }
    until_shared(&m, PARTITIONS / 2, NULL, 0, LATE_MS);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    until_shared(&m, PARTITIONS, NULL, 0, SOON_MS);
    assert_int_equal(m.revoked + m.lost, (m.assigned - PARTITIONS));
    assert_int_equal(number("SELECT count(*) FROM journal_member"), 1);
    leave(&m);
    (void)close(fd);
    broker->ops->discard(broker);
}

/* The lock file is deleted, so that another one may take the partitions: the first can settle nothing. */
static void test_who_lost_its_locks_settles_nothing(void **state)
{
    (void)state;
    char lock[128];
    struct ow_error err = {0};
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.partitions = 1});
    publish_many(broker, "t", "k", 0, 10, NULL);
    struct member a, b;
    join(&a, "g", OW_OFFSET_BEGINNING);
    assert_true(read_one(&a));
    (void)snprintf(lock, sizeof lock, "%s-onewrite.lock", path);
    assert_int_equal(unlink(lock), 0);
    join(&b, "g", OW_OFFSET_BEGINNING); /* sees nobody alive, and takes it */
    assert_int_equal(count_of(&b), 1);
    assert_int_equal(a.subscriber->ops->settle(a.subscriber, OW_BYTES("t"), 0, 0, &err), OW_ESTANDBY);
    assert_int_equal(a.lost, 1);
    assert_true(read_one(&b));
    assert_int_equal(b.last.offset, 0);
    settle_last(&b);
    assert_int_equal(number("SELECT \"offset\" FROM journal_offset"), 1);
    /* The first one joins again, and is the second member now. */
    until_shared(&a, 0, &b, 1, SOON_MS);
    leave(&b);
    until_shared(&a, 1, NULL, 0, SOON_MS);
    leave(&a);
    broker->ops->discard(broker);
}

static void test_settle_only_what_is_ours(void **state)
{
    (void)state;
    struct ow_error err = {0};
    struct ow_broker *broker = open_broker(NULL);
    publish_many(broker, "t", "k", 0, 100, NULL);
    struct member a, b;
    join(&a, "g", OW_OFFSET_BEGINNING);
    join(&b, "g", OW_OFFSET_BEGINNING);
    until_shared(&a, 2, &b, 2, SOON_MS);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        struct ow_subscriber *other = a.has[i] ? b.subscriber : a.subscriber;
        assert_int_equal(other->ops->settle(other, OW_BYTES("t"), i, 0, &err), OW_ESTANDBY);
    }
    assert_int_equal(a.subscriber->ops->settle(a.subscriber, OW_BYTES("nope"), 0, 0, &err), OW_ESTANDBY);
    leave(&a);
    leave(&b);
    broker->ops->discard(broker);
}

/* Settling an older record later takes nothing back. */
static void test_settled_stays_settled(void **state)
{
    (void)state;
    struct ow_error err = {0};
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.partitions = 1});
    publish_many(broker, "t", "k", 0, 10, NULL);
    struct member m;
    join(&m, "g", OW_OFFSET_BEGINNING);
    assert_int_equal(m.subscriber->ops->settle(m.subscriber, OW_BYTES("t"), 0, 7, &err), 0);
    assert_int_equal(m.subscriber->ops->settle(m.subscriber, OW_BYTES("t"), 0, 3, &err), 0);
    leave(&m);
    struct ow_journal_status status;
    assert_int_equal(ow_journal_status_read(path, &status, &err), 0);
    assert_int_equal(status.group_count, 1);
    assert_string_equal(status.groups[0].group, "g");
    assert_int_equal(status.groups[0].offset, 8);
    assert_int_equal(status.groups[0].lag, 2);
    assert_int_equal(status.groups[0].process, 0);
    ow_journal_status_done(&status);
    broker->ops->discard(broker);
}

/* A new topic comes to a group that is at work; each of two members gets its share. */
static void test_a_topic_that_comes_later(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    struct member a, b;
    join(&a, "g", OW_OFFSET_END);
    join(&b, "g", OW_OFFSET_END);
    assert_int_equal(count_of(&a) + count_of(&b), 0);
    publish_many(broker, "t", "k", 0, 500, NULL);
    until_shared(&a, 2, &b, 2, LATE_MS);
    int64_t deadline = ow_clock_monotonic_ms() + LATE_MS;
    while (a.read + b.read < 500) {
        assert_true(ow_clock_monotonic_ms() < deadline);
        (void)read_one(&a);
        (void)read_one(&b);
    }
    leave(&a);
    leave(&b);
    broker->ops->discard(broker);
}

/* Members that want other topics do not count for this one. */
static void test_members_with_other_topics(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    publish_many(broker, "t", "k", 0, 100, NULL);
    const char *const topics[] = {"other", "tt"};
    struct ow_subscriber_options options = {.group = "g", .topics = topics, .topic_count = 2};
    struct ow_subscriber *other = open_subscriber(&options);
    struct member m;
    join(&m, "g", OW_OFFSET_BEGINNING);
    assert_int_equal(count_of(&m), PARTITIONS);
    leave(&m);
    other->ops->close(other);
    broker->ops->discard(broker);
}

static void test_from_the_end_is_remembered(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.partitions = 1});
    publish_many(broker, "t", "k", 0, 10, NULL);
    struct member m;
    join(&m, "g", OW_OFFSET_END);
    leave(&m);
    publish_many(broker, "t", "k", 10, 5, NULL);
    join(&m, "g", OW_OFFSET_END); /* what came in between is not passed over */
    while (read_one(&m))
        ;
    assert_int_equal(m.read, 5);
    leave(&m);
    broker->ops->discard(broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_reads_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_killed_member_is_replaced_within_a_second, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_lost_its_locks_settles_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settle_only_what_is_ours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settled_stays_settled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_topic_that_comes_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_members_with_other_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_from_the_end_is_remembered, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
