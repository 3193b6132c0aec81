/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kafka broker against librdkafka's own mock cluster: receipts, and what it does when things break. In which order
 * messages stand behind a request that was refused is for the real Kafka to show (integration/test_kafka.py): the
 * mock, unlike it, looks at no sequence number and takes what comes behind.
 */
#include "unit.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "broker/broker.h"
#include "broker/kafka.h"

enum { PRODUCE = 0, COUNT_MAX = 20000, PATIENCE_MS = 20000 };

static rd_kafka_t *host;
static rd_kafka_mock_cluster_t *cluster;
static struct ow_broker *broker;
static struct ow_error err;
static enum ow_verdict verdicts[COUNT_MAX]; /* by token */
static unsigned receipt_counts[COUNT_MAX];
static char reason[200];

static int set_up(void **state)
{
    char why[256];
    static char names[][40] = {"topic.metadata.propagation.max.ms", "retry.backoff.ms"};
    static char values[][4] = {"100", "10"};
    static struct ow_kafka_property quick[] = {{names[0], values[0]}, {names[1], values[1]}};
    (void)state;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    cluster = host ? rd_kafka_mock_cluster_new(host, 1) : NULL;
    if (!cluster)
        return -1;
    (void)rd_kafka_mock_topic_create(cluster, "t", 3, 1);
    (void)rd_kafka_mock_topic_create(cluster, "one", 1, 1);
    err = (struct ow_error){0};
    memset(receipt_counts, 0, sizeof receipt_counts);
    reason[0] = '\0';
    /* The mock knows no request to make a topic. */
    struct ow_kafka_options options = {.servers = rd_kafka_mock_cluster_bootstraps(cluster),
                                       .text = "kafka://mock",
                                       .leave_topics = 1,
                                       .properties = {quick, 2}};
    return ow_kafka_broker_new(&options, &broker, &err);
}

static int tear_down(void **state)
{
    (void)state;
    if (broker)
        broker->ops->discard(broker);
    broker = NULL;
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
    return 0;
}

/* --- helpers ------------------------------------------------------------------------------------------- */

static void open_broker(void)
{
    if (broker->ops->open(broker, &err) != 0)
        fail_msg("open: %s", err.text);
}

static int send_to(const char *topic, const char *key, uint64_t token)
{
    static char payloads[COUNT_MAX][12];
    int n = snprintf(payloads[token], sizeof payloads[token], "%llu", (unsigned long long)token);
    struct ow_bytes payload = {payloads[token], (size_t)n};
    struct ow_message m = {.topic = ow_bytes_of(topic), .key = ow_bytes_of(key), .id = payload, .payload = payload};
    return broker->ops->send(broker, &m, token, &err);
}

static void nap(int64_t ms)
{
    struct ow_wait wait;
    ow_wait_init(&wait);
    broker->ops->wait(broker, &wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + ms);
    ow_wait_sleep(&wait);
}

/* Takes receipts for so long, or until `count` more have come. How many came; < 0: step's error. */
static int take(int count, int64_t ms)
{
    struct ow_receipt receipts[7];
    int taken = 0;
    int64_t deadline = ow_clock_monotonic_ms() + ms;
    while (taken < count && ow_clock_monotonic_ms() < deadline) {
        int n = broker->ops->step(broker, receipts, 7, &err);
        if (n < 0)
            return n;
        for (int i = 0; i < n; i++) {
            verdicts[receipts[i].token] = receipts[i].verdict;
            receipt_counts[receipts[i].token]++;
            if (receipts[i].verdict != OW_ACCEPTED)
                (void)snprintf(reason, sizeof reason, "%s", receipts[i].reason);
        }
        taken += n;
        if (n == 0)
            nap(10);
    }
    return taken;
}

/* As the relay does it: sends what has no receipt, opens again after an error. Tokens [from, to). */
static void publish(const char *topic, uint64_t from, uint64_t to, unsigned keys)
{
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    uint64_t next = from, left = to - from;
    char key[16];
    while (left > 0 && ow_clock_monotonic_ms() < deadline) {
        for (; next < to; next++) {
            (void)snprintf(key, sizeof key, "k%llu", (unsigned long long)(next % keys));
            if (!receipt_counts[next] && send_to(topic, key, next) != 0)
                break;
        }
        int n = take(1, 50);
        if (n >= 0) {
            left -= (uint64_t)n;
            continue;
        }
        assert_int_equal(ow_error_class(n), OW_CLASS_RETRYABLE);
        broker->ops->close(broker);
        open_broker();
        next = from;
    }
    for (uint64_t i = from; i < to; i++)
        assert_int_equal(receipt_counts[i], 1);
}

/* The payloads of a partition, by a consumer; how many. */
static size_t read_partition(const char *topic, int partition, uint64_t *ret, size_t max)
{
    char why[256];
    size_t count = 0;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), why, sizeof why);
    (void)rd_kafka_conf_set(conf, "group.id", "g", why, sizeof why);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = 0;
    (void)rd_kafka_assign(consumer, list);
    for (;;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, PATIENCE_MS);
        bool is_end = !m || m->err;
        if (!is_end && count < max) {
            char text[24] = "";
            memcpy(text, m->payload, m->len < sizeof text ? m->len : 0);
            ret[count++] = strtoull(text, NULL, 10);
        }
        if (m)
            rd_kafka_message_destroy(m);
        if (is_end)
            break;
    }
    rd_kafka_topic_partition_list_destroy(list);
    (void)rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return count;
}

/* The first appearances of [from, to) are in order, and all of them are there, but for `without`. */
static void assert_in_order(const char *topic, uint64_t from, uint64_t to, uint64_t without)
{
    static uint64_t found[COUNT_MAX];
    static bool seen[COUNT_MAX];
    size_t count = read_partition(topic, 0, found, COUNT_MAX);
    memset(seen, 0, sizeof seen);
    uint64_t next = from;
    for (size_t i = 0; i < count; i++) {
        if (seen[found[i]])
            continue;
        seen[found[i]] = true;
        next += next == without;
        assert_int_equal(found[i], next);
        next++;
    }
    assert_int_equal(next, to);
}

static void push_error(size_t count, rd_kafka_resp_err_t code)
{
    for (size_t i = 0; i < count; i++)
        rd_kafka_mock_push_request_errors(cluster, PRODUCE, 1, code);
}

/* --- the tests ----------------------------------------------------------------------------------------- */

static void test_every_message_has_one_receipt(void **state)
{
    (void)state;
    open_broker();
    publish("t", 0, 5000, 10);
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(verdicts[i], OW_ACCEPTED);
    assert_int_equal(take(1, 100), 0);
    assert_null(broker->ops->trouble(broker));
}

static void test_passing_errors_do_not_show(void **state)
{
    (void)state;
    open_broker();
    push_error(2, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    push_error(2, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
    publish("one", 0, 2000, 10);
    push_error(3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
    publish("one", 2000, 4000, 10);
    for (size_t i = 0; i < 4000; i++)
        assert_int_equal(verdicts[i], OW_ACCEPTED);
}

static void test_broker_down_and_up(void **state)
{
    (void)state;
    open_broker();
    publish("one", 0, 10, 3);
    (void)rd_kafka_mock_broker_set_down(cluster, 1);
    for (uint64_t i = 10; i < 500; i++)
        assert_int_equal(send_to("one", "k", i), 0);
    assert_int_equal(take(1, 1500), 0);
    const char *trouble = broker->ops->trouble(broker);
    assert_non_null(trouble);
    assert_text_has(trouble, "cannot reach kafka://mock: ");
    (void)rd_kafka_mock_broker_set_up(cluster, 1);
    assert_int_equal(take(490, PATIENCE_MS), 490);
    assert_null(broker->ops->trouble(broker));
    assert_in_order("one", 0, 500, UINT64_MAX);
}

static void test_a_request_that_is_refused(void **state)
{
    (void)state;
    open_broker();
    publish("one", 0, 100, 3);
    push_error(1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    publish("one", 100, 3000, 3);
    for (size_t i = 100; i < 3000; i++)
        assert_int_equal(verdicts[i], OW_ACCEPTED);
}

static void test_a_message_that_is_refused_alone(void **state)
{
    (void)state;
    open_broker();
    publish("one", 0, 10, 3);
    push_error(1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
    publish("one", 10, 11, 3);
    assert_int_equal(verdicts[10], OW_REJECTED);
    assert_text_has(reason, "Kafka refuses it: ");
    publish("one", 11, 500, 3);
    assert_in_order("one", 0, 500, 10);
}

/* The first message to a topic is alone, though others wait behind it. */
static void test_a_first_message_that_is_refused(void **state)
{
    (void)state;
    open_broker();
    push_error(1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
    publish("one", 0, 500, 3);
    assert_int_equal(verdicts[0], OW_REJECTED);
    assert_in_order("one", 0, 500, 0);
}

static void test_names_that_are_none(void **state)
{
    (void)state;
    static const char *const names[] = {"", "a b", "ü", "..", "a/b"};
    open_broker();
    for (size_t i = 0; i < OW_COUNT_OF(names); i++) {
        assert_int_equal(send_to(names[i], "k", i), 0);
        assert_int_equal(take(1, PATIENCE_MS), 1);
        assert_int_equal(verdicts[i], OW_REJECTED);
    }
    assert_string_equal(reason, "the topic \"a/b\" has other characters than A-Z a-z 0-9 . _ -");
}

static void test_close_forgets_what_has_no_receipt(void **state)
{
    (void)state;
    open_broker();
    publish("one", 0, 3, 3);
    (void)rd_kafka_mock_broker_set_down(cluster, 1);
    for (uint64_t i = 3; i < 100; i++)
        assert_int_equal(send_to("one", "k", i), 0);
    broker->ops->close(broker);
    (void)rd_kafka_mock_broker_set_up(cluster, 1);
    open_broker();
    assert_int_equal(take(1, 300), 0);
    publish("one", 100, 103, 3);
    uint64_t found[10];
    assert_int_equal(read_partition("one", 0, found, 10), 6);
    assert_int_equal(found[3], 100);
}

/* A broker that says so has lost messages that it had accepted; none of ours is lost for it. */
static void test_a_broken_sequence(void **state)
{
    (void)state;
    open_broker();
    publish("one", 0, 100, 3);
    push_error(1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    publish("one", 100, 1000, 3);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(verdicts[i], OW_ACCEPTED);
}

static void test_nobody_there(void **state)
{
    (void)state;
    (void)rd_kafka_mock_broker_set_down(cluster, 1);
    assert_int_equal(broker->ops->open(broker, &err), OW_EUNREACHABLE);
    assert_text_has(err.text, "cannot reach kafka://mock: ");
    (void)rd_kafka_mock_broker_set_up(cluster, 1);
    open_broker();
    publish("t", 0, 10, 3);
}

static void test_what_is_accepted_stands_behind_what_was(void **state)
{
    (void)state;
    struct ow_kafka_topic topic = {0};
    struct ow_kafka_lane *lane = ow_kafka_topic_lane_of(&topic, 20);
    assert_non_null(lane);
    assert_false(ow_kafka_lane_is_new(lane, -1));
    assert_true(ow_kafka_lane_is_new(lane, 0));
    assert_false(ow_kafka_lane_is_new(lane, 0));
    assert_true(ow_kafka_lane_is_new(lane, 7));
    assert_false(ow_kafka_lane_is_new(lane, 6));
    assert_true(ow_kafka_lane_is_new(ow_kafka_topic_lane_of(&topic, 0), 0));
    assert_true(ow_kafka_lane_is_new(ow_kafka_topic_lane_of(&topic, 100), 0));
    assert_false(ow_kafka_lane_is_new(ow_kafka_topic_lane_of(&topic, 20), 7));
    assert_null(ow_kafka_topic_lane_of(&topic, -1));
    free(topic.lanes);
}

static void test_a_group_for_a_source(void **state)
{
    (void)state;
    char group[OW_KAFKA_GROUP_SIZE];
    ow_kafka_group_name("7/orders one", group);
    assert_string_equal(group, "onewrite-7/orders_one");
    char name[400];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ow_kafka_group_name(name, group);
    assert_int_equal(strlen(group), OW_KAFKA_GROUP_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_message_has_one_receipt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_passing_errors_do_not_show, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broker_down_and_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_request_that_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_message_that_is_refused_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_first_message_that_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_forgets_what_has_no_receipt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_broken_sequence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_there, set_up, tear_down),
        cmocka_unit_test(test_what_is_accepted_stands_behind_what_was),
        cmocka_unit_test(test_a_group_for_a_source),
    };
    return cmocka_run_group_tests_name("kafka", tests, NULL, NULL);
}
