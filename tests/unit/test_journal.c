/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_fixture.h"

#include "base/crash.h"

static void test_a_record_comes_back_as_it_went(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    const struct ow_header headers[] = {
        {OW_BYTES("trace"), OW_BYTES("abc")}, {OW_BYTES("empty"), OW_BYTES("")}, {OW_BYTES("null"), OW_NULL_BYTES}};
    struct ow_message sent[] = {message_of("t", "k", "1", "value"), message_of("t", NULL, "2", NULL),
                                message_of("t", "", "3", "")};
    sent[0].headers = headers;
    sent[0].header_count = 3;
    sent[2].payload = (struct ow_bytes){"\0\xff\n", 3};
    must_begin(broker);
    for (uint64_t i = 0; i < 3; i++)
        must_send(broker, &sent[i], i + 1);
    assert_int_equal(must_commit(broker, NULL, 0), 3);

    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    struct ow_subscriber *subscriber = open_subscriber(&options);
    for (size_t i = 0; i < 3; i++) {
        struct ow_record got = {0};
        assert_int_equal(next_within(subscriber, &got, 0), 1);
        assert_true(ow_bytes_equal(got.message.topic, sent[i].topic));
        assert_true(ow_bytes_equal(got.message.key, sent[i].key));
        assert_true(ow_bytes_equal(got.message.id, sent[i].id));
        assert_true(ow_bytes_equal(got.message.type, sent[i].type));
        assert_true(ow_bytes_equal(got.message.payload, sent[i].payload));
        assert_int_equal(got.message.time_ms, sent[i].time_ms);
        assert_int_equal(got.message.header_count, sent[i].header_count);
        for (size_t h = 0; h < sent[i].header_count; h++) {
            assert_true(ow_bytes_equal(got.message.headers[h].name, headers[h].name));
            assert_true(ow_bytes_equal(got.message.headers[h].value, headers[h].value));
        }
    }
    struct ow_record none;
    assert_int_equal(next_within(subscriber, &none, 0), 0);
    subscriber->ops->close(subscriber);
    broker->ops->discard(broker);
}

static void test_keys_go_where_kafka_puts_them(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.partitions = 7});
    publish_many(broker, "t", "key-", 0, 200, NULL);
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    struct ow_subscriber *subscriber = open_subscriber(&options);
    struct ow_record got;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(next_within(subscriber, &got, 0), 1);
        assert_int_equal(got.partition, (ow_murmur2(got.message.key) & 0x7fffffff) % 7);
    }
    subscriber->ops->close(subscriber);
    broker->ops->discard(broker);
    check_contiguous();
}

static void test_nothing_is_there_before_the_commit(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    struct ow_error err = {0};
    struct ow_receipt receipt;
    struct ow_message m = message_of("t", "k", "1", "v");
    must_begin(broker);
    must_send(broker, &m, 1);
    assert_int_equal(broker->ops->step(broker, &receipt, 1, &err), 0);
    assert_int_equal(number("SELECT count(*) FROM journal_record"), 0);
    broker->ops->txn_abort(broker);
    assert_int_equal(broker->ops->step(broker, &receipt, 1, &err), 0);
    assert_int_equal(number("SELECT count(*) FROM journal_topic"), 0);
    /* What the transaction had made is made again. */
    publish_many(broker, "t", "k", 0, 3, NULL);
    assert_int_equal(number("SELECT max(seq) FROM journal_record"), 3);
    assert_int_equal(broker->ops->send(broker, &m, 2, &err), OW_EINTERNAL);
    broker->ops->discard(broker);
    check_contiguous();
}

static void test_receipts_come_in_order(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    struct ow_error err = {0};
    struct ow_receipt receipts[4];
    struct ow_message m = message_of("t", "k", "1", "v");
    for (uint64_t t = 1; t <= 10; t++) { /* two transactions before the first receipt is taken */
        if (t == 1 || t == 6)
            must_begin(broker);
        must_send(broker, &m, t);
        if (t == 5 || t == 10)
            assert_int_equal(broker->ops->txn_commit(broker, NULL, (struct ow_position){0}, &err), 0);
    }
    uint64_t expected = 1;
    for (int n; (n = broker->ops->step(broker, receipts, 4, &err)) > 0;)
        for (int i = 0; i < n; i++)
            assert_int_equal(receipts[i].token, expected++);
    assert_int_equal(expected, 11);
    broker->ops->discard(broker);
}

static void test_what_it_never_takes(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    struct ow_error err = {0};
    char longest[251];
    memset(longest, 'x', 250);
    longest[250] = '\0';
    struct ow_message bad[] = {message_of("", "k", "1", "v"), message_of(longest, "k", "2", "v"),
                               message_of("a\nb", "k", "3", "v"), message_of("\xff", "k", "4", "v"),
                               message_of(NULL, "k", "5", "v")};
    struct ow_message good = message_of(longest + 1, "k", "6", "v");
    must_begin(broker);
    for (uint64_t i = 0; i < OW_COUNT_OF(bad); i++)
        must_send(broker, &bad[i], i);
    struct ow_receipt receipts[8];
    assert_int_equal(broker->ops->step(broker, receipts, 8, &err), (int)OW_COUNT_OF(bad));
    for (uint64_t i = 0; i < OW_COUNT_OF(bad); i++) {
        assert_int_equal(receipts[i].token, i);
        assert_int_equal(receipts[i].verdict, OW_REJECTED);
        assert_text_has(receipts[i].reason, "topic");
    }
    assert_text_has(receipts[1].reason, "250 bytes");
    must_send(broker, &good, 100);
    assert_int_equal(broker->ops->send(broker, &bad[0], 101, &err), OW_EAGAIN);
    assert_int_equal(must_commit(broker, NULL, 0), 1);
    broker->ops->discard(broker);
}

static void test_a_verdict_moves_no_position(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    struct ow_error err = {0};
    struct ow_position position = {0};
    struct ow_receipt receipts[2];
    struct ow_message bad = message_of("", "k", "1", "v"), good = message_of("t", "k", "2", "v");
    must_begin(broker);
    must_send(broker, &bad, 1);
    assert_int_equal(broker->ops->send(broker, &good, 2, &err), OW_EAGAIN);
    assert_int_equal(broker->ops->txn_commit(broker, "shop", (struct ow_position){1, 0}, &err), 1);
    assert_int_equal(broker->ops->last_position(broker, "shop", &position, &err), 0);
    assert_int_equal(broker->ops->step(broker, receipts, 2, &err), 1);
    assert_int_equal(receipts[0].verdict, OW_REJECTED);
    must_begin(broker);
    must_send(broker, &good, 2);
    assert_int_equal(must_commit(broker, "shop", 2), 1);
    assert_int_equal(broker->ops->last_position(broker, "shop", &position, &err), 1);
    broker->ops->discard(broker);
}

static void test_positions(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    struct ow_error err = {0};
    struct ow_position position = {7, 7};
    assert_int_equal(broker->ops->last_position(broker, "shop", &position, &err), 0);
    assert_int_equal(position.major, 7);
    publish_many(broker, "t", "a", 0, 5, "shop");
    publish_many(broker, "t", "b", 0, 9, "other");
    assert_int_equal(broker->ops->last_position(broker, "shop", &position, &err), 1);
    assert_int_equal(position.major, 5);
    /* A transaction that holds nothing but a position. */
    must_begin(broker);
    assert_int_equal(must_commit(broker, "shop", 12), 0);
    broker->ops->close(broker);
    assert_int_equal(broker->ops->open(broker, &err), 0);
    assert_int_equal(broker->ops->last_position(broker, "shop", &position, &err), 1);
    assert_int_equal(position.major, 12);
    assert_int_equal(broker->ops->last_position(broker, "other", &position, &err), 1);
    assert_int_equal(position.major, 9);
    broker->ops->discard(broker);
}

static int was_accepted(struct ow_broker *broker, const char *source, const char *id)
{
    struct ow_error err = {0};
    struct ow_message m = message_of(NULL, NULL, id, NULL);
    int r = broker->ops->was_accepted(broker, source, &m, &err);
    if (r < 0)
        fail_msg("%s", err.text);
    return r;
}

static void test_what_was_accepted(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    assert_int_equal(was_accepted(broker, "shop", "a0"), 0);
    publish_many(broker, "t", "a", 0, 3000, "shop"); /* the first one carries no number of its source at first */
    publish_many(broker, "t", "x", 0, 3, "other");
    publish_many(broker, "t", "n", 0, 3, NULL);
    broker->ops->discard(broker);

    broker = open_broker(NULL);
    assert_int_equal(was_accepted(broker, "shop", "a0"), 1);
    assert_int_equal(was_accepted(broker, "shop", "a2999"), 1);
    assert_int_equal(was_accepted(broker, "shop", "a3000"), 0);
    assert_int_equal(was_accepted(broker, "shop", "x0"), 0); /* another source's */
    assert_int_equal(was_accepted(broker, "other", "x0"), 1);
    assert_int_equal(was_accepted(broker, "shop", "n0"), 0); /* nobody's */
    assert_int_equal(was_accepted(broker, "nobody", "a0"), 0);
    /* What is sent but not committed is not accepted, and an abort takes it back. */
    must_begin(broker);
    struct ow_message m = message_of("t", "k", "pending", "v");
    must_send(broker, &m, 1);
    assert_int_equal(was_accepted(broker, "shop", "pending"), 0);
    broker->ops->txn_abort(broker);
    assert_int_equal(was_accepted(broker, "shop", "pending"), 0);
    publish_many(broker, "t", "pending", 0, 1, "shop");
    assert_int_equal(was_accepted(broker, "shop", "pending0"), 1);
    broker->ops->discard(broker);
}

/* Whichever source is asked about in between, the records are those of the one that commits. */
static void test_asked_in_the_middle_of_a_transaction(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    struct ow_error err = {0};
    struct ow_position position;
    publish_many(broker, "t", "a", 0, 3, "shop");
    publish_many(broker, "t", "x", 0, 3, "other");
    must_begin(broker);
    for (uint64_t i = 0; i < 4; i++) {
        const char *const ids[] = {"m0", "m1", "m2", "m3"};
        struct ow_message m = message_of("t", "k", ids[i], "v");
        must_send(broker, &m, i);
        if (i == 0)
            assert_int_equal(was_accepted(broker, "other", "m0"), 0);
        if (i == 1)
            assert_int_equal(broker->ops->last_position(broker, "shop", &position, &err), 1);
    }
    assert_int_equal(must_commit(broker, "shop", 9), 4);
    assert_int_equal(was_accepted(broker, "shop", "m0"), 1);
    assert_int_equal(was_accepted(broker, "shop", "m3"), 1);
    assert_int_equal(broker->ops->last_position(broker, "other", &position, &err), 1);
    assert_int_equal(was_accepted(broker, "other", "m0"), 0);
    assert_int_equal(was_accepted(broker, "other", "x0"), 1);
    broker->ops->discard(broker);
}

/* It looks back over 20,000 of a source's own records at least, in whatever batches, and not for ever. */
static void test_how_far_was_accepted_looks_back(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    for (int i = 0; i < 90; i++)
        publish_many(broker, "t", "a", i * 1000, 1000, "shop");
    publish_many(broker, "t", "x", 0, 30000, "other");
    assert_int_equal(was_accepted(broker, "shop", "a70000"), 1);
    assert_int_equal(was_accepted(broker, "shop", "a89999"), 1);
    assert_true(number("SELECT since FROM journal_source WHERE name = 'shop'") > 40000);
    broker->ops->discard(broker);
}

static void publish_as_child(int child, int batches, int batch)
{
    struct ow_broker *broker = open_broker(NULL);
    char prefix[16], source[16];
    (void)snprintf(prefix, sizeof prefix, "p%d-", child);
    (void)snprintf(source, sizeof source, "source%d", child);
    for (int i = 0; i < batches; i++)
        publish_many(broker, i % 2 ? "odd" : "even", prefix, i * batch, batch, source);
    broker->ops->discard(broker);
}

static void test_many_processes_publish_at_once(void **state)
{
    (void)state;
    enum { CHILDREN = 4, BATCHES = 25, BATCH = 20 };
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            publish_as_child(i, BATCHES, BATCH);
            _exit(0);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    check_contiguous();
    assert_int_equal(number("SELECT count(*) FROM journal_record"), CHILDREN * BATCHES * BATCH);
    assert_int_equal(number("SELECT count(DISTINCT id) FROM journal_record"), CHILDREN * BATCHES * BATCH);
    assert_int_equal(number("SELECT count(*) FROM journal_record r JOIN journal_source s ON s.id = r.source WHERE "
                            "'source' || substr(r.id, 2, 1) != s.name"),
                     0);
    assert_int_equal(number("SELECT value FROM journal_state WHERE name = 'next_seq'"), CHILDREN * BATCHES * BATCH + 1);
}

/* Killed at each point, in the first transaction and in a later one: all of a batch with its position, or
   none of it. */
static void test_killed_at_every_point(void **state)
{
    (void)state;
    const struct {
        enum ow_crash_point point;
        int passages;
        int64_t batches; /* that must be there afterwards */
    } cases[] = {
        {OW_CRASH_JOURNAL_MID_PUBLISH, 1, 0},   {OW_CRASH_JOURNAL_MID_PUBLISH, 15, 1},
        {OW_CRASH_JOURNAL_BEFORE_COMMIT, 1, 0}, {OW_CRASH_JOURNAL_BEFORE_COMMIT, 3, 2},
        {OW_CRASH_JOURNAL_AFTER_COMMIT, 1, 1},  {OW_CRASH_JOURNAL_AFTER_COMMIT, 3, 3},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        pid_t child = fork();
        if (child == 0) {
            char crash[64];
            (void)snprintf(crash, sizeof crash, "%s:%d", ow_crash_labels[cases[i].point].label, cases[i].passages);
            (void)setenv("ONEWRITE_CRASH", crash, 1);
            publish_as_child(0, 5, 10);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        check_contiguous();
        assert_int_equal(number("SELECT count(*) FROM journal_record"), cases[i].batches * 10);
        assert_int_equal(number("SELECT coalesce(max(CAST(position AS INTEGER)), 0) FROM journal_source"),
                         cases[i].batches * 10);
        void *none = NULL;
        assert_int_equal(tear_down(&none), 0);
        assert_int_equal(set_up(&none), 0);
    }
}

/* A partition's place in the journal is found again among many records of others. */
static void test_from_an_offset(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(&(struct ow_journal_options){.partitions = 1});
    for (int i = 0; i < 20; i++) {
        publish_many(broker, "busy", "b", i * 3000, 3000, NULL);
        publish_many(broker, "rare", "r", i * 7, 7, NULL);
    }
    broker->ops->discard(broker);
    check_contiguous();
    assert_true(number("SELECT count(*) FROM journal_index") < 200);
    const char *const topics[] = {"rare"};
    for (int64_t from = 0; from < 140; from += 11) {
        struct ow_subscriber_options options = {.topics = topics, .topic_count = 1, .from = from};
        struct ow_subscriber *subscriber = open_subscriber(&options);
        struct ow_record got;
        for (int64_t offset = from; offset < 140; offset++) {
            assert_int_equal(next_within(subscriber, &got, 0), 1);
            assert_int_equal(got.offset, offset);
            assert_true(ow_bytes_is(got.message.topic, "rare"));
        }
        struct ow_error err = {0};
        assert_int_equal(next_within(subscriber, &got, 0), 0);
        assert_int_equal(subscriber->ops->is_at_end(subscriber, &err), 1);
        subscriber->ops->close(subscriber);
    }
}

static void test_one_order_over_all_topics(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    for (int i = 0; i < 2000; i++) {
        char topic[8], id[16];
        (void)snprintf(topic, sizeof topic, "t%d", i % 5);
        (void)snprintf(id, sizeof id, "%d", i);
        struct ow_message m = message_of(topic, id, id, "v");
        if (i % 100 == 0)
            must_begin(broker);
        must_send(broker, &m, (uint64_t)i);
        if (i % 100 == 99)
            must_commit(broker, NULL, 0);
    }
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    struct ow_subscriber *subscriber = open_subscriber(&options);
    struct ow_record got;
    for (int i = 0; i < 2000; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        assert_int_equal(next_within(subscriber, &got, 0), 1);
        assert_true(ow_bytes_is(got.message.id, id));
    }
    subscriber->ops->close(subscriber);
    broker->ops->discard(broker);
}

/* A paused partition stands still while the others go on; resumed, it goes on where it was. */
static void test_pause_and_resume(void **state)
{
    (void)state;
    struct ow_broker *broker = open_broker(NULL);
    publish_many(broker, "t", "k", 0, 1000, NULL);
    int64_t in_first = number("SELECT next_offset FROM journal_partition WHERE number = 0");
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    struct ow_subscriber *subscriber = open_subscriber(&options);
    struct ow_record got;
    int64_t next[4] = {0};
    int64_t read = 0;
    for (; read < 100; read++) {
        assert_int_equal(next_within(subscriber, &got, 0), 1);
        assert_int_equal(got.offset, next[got.partition]++);
    }
    assert_true(next[0] > 0 && next[0] < in_first);
    assert_int_equal(subscriber->ops->pause(subscriber, OW_BYTES("t"), 0), 0);
    for (; next_within(subscriber, &got, 0) == 1; read++) {
        assert_int_not_equal(got.partition, 0);
        assert_int_equal(got.offset, next[got.partition]++);
    }
    assert_int_equal(read, 1000 - in_first + next[0]);
    assert_int_equal(subscriber->ops->resume(subscriber, OW_BYTES("t"), 0), 0);
    for (; next_within(subscriber, &got, 0) == 1; read++)
        assert_int_equal(got.offset, next[got.partition]++);
    assert_int_equal(read, 1000);
    assert_int_equal(subscriber->ops->pause(subscriber, OW_BYTES("nope"), 0), OW_ENOTFOUND);
    subscriber->ops->close(subscriber);
    broker->ops->discard(broker);
}

static void test_not_a_journal(void **state)
{
    (void)state;
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    assert_int_equal(ow_journal_subscriber_new(path, &options, &subscriber, &err), 0);
    assert_int_equal(subscriber->ops->open(subscriber, &err), OW_ENOTFOUND);
    assert_text_has(err.text, "no such file");
    subscriber->ops->close(subscriber);

    struct ow_sqlite_options plain = {.path = path, .mode = OW_SQLITE_CREATE};
    struct ow_store *store = NULL;
    assert_int_equal(ow_sqlite_open(&plain, &store, &err), 0);
    assert_int_equal(ow_journal_subscriber_new(path, &options, &subscriber, &err), 0);
    assert_int_equal(subscriber->ops->open(subscriber, &err), OW_EUNREACHABLE); /* it may become one */
    assert_text_has(err.text, "not a journal yet");
    subscriber->ops->close(subscriber);
    assert_int_equal(store->ops->script(store, "CREATE TABLE mine (a)", &err), 0);
    store->ops->close(store);
    assert_int_equal(ow_journal_subscriber_new(path, &options, &subscriber, &err), 0);
    assert_int_equal(subscriber->ops->open(subscriber, &err), OW_ECORRUPT);
    assert_text_has(err.text, "not a journal");
    subscriber->ops->close(subscriber);
}

static void test_headers_that_cannot_be_read(void **state)
{
    (void)state;
    struct ow_header headers[2];
    struct ow_error err = {0};
    const struct ow_bytes bad[] = {OW_BYTES("\1"), OW_BYTES("\5\0\0\0abcd"), OW_BYTES("\1\0\0\0a"),
                                   OW_BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), OW_BYTES("\1\0\0\0a\2\0\0\0b")};
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++)
        assert_int_equal(ow_journal_headers_read(bad[i], headers, 2, &err), OW_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_record_comes_back_as_it_went, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys_go_where_kafka_puts_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_there_before_the_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_receipts_come_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_it_never_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_verdict_moves_no_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_positions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_accepted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_asked_in_the_middle_of_a_transaction, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_how_far_was_accepted_looks_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_processes_publish_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_at_every_point, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_from_an_offset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_order_over_all_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pause_and_resume, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_a_journal, set_up, tear_down),
        cmocka_unit_test(test_headers_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
