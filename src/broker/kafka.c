/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka, at least once: an idempotent producer that waits for ever, so that what was sent first to a partition is
 * accepted first, whatever its brokers go through.
 *
 * Four things could break that order, and are prevented (a fifth, for what is accepted at all, is told at
 * ow_kafka_lane_is_new()):
 *  - A request that the broker refuses for one of its messages. librdkafka stops then (gapless), the relay opens
 *    anew and sends again what has no receipt, now with fewer in flight, until the one at fault stands alone.
 *  - A partition that knows nothing of this producer: see struct ow_kafka_lane.
 *  - A topic that comes into being between two messages of a key, of which the first has failed for want of it.
 *    The first message to a topic goes alone; those behind it wait until it is accepted, and share its fate if not.
 *  - A time limit: there is none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/units.h"
#include "broker/kafka_publisher.h"

enum {
    DRAIN_LOOK_MS = 5,
    DRAIN_MS = 2000,  /* what is on its way when a producer ends is waited for so long: else it would be sent again */
    STALL_MS = 90000, /* longer than a request to a broker that does not answer takes to be tried elsewhere */
    FLUSH_MS = 1,     /* long enough for librdkafka's thread to see it */
    BURST_MS = 10,    /* so long all others wait for what is on its way to one that is slow */
    MANY = 128,       /* after a burst of so many, */
    GATHER_MS = 5,    /* the next one may gather for so long */
};
#define LINGER_MS "5" /* of librdkafka, which the end of a burst cuts short */

static struct ow_kafka_publisher *self_of(struct ow_broker *broker)
{
    return (struct ow_kafka_publisher *)broker;
}

/* --- open and close ----------------------------------------------------------------------------------- */

static void kafka_close(struct ow_broker *broker)
{
    struct ow_kafka_publisher *k = self_of(broker);
    ow_kafka_topics_done(&k->topics);
    ow_kafka_client_close(&k->client);
    k->in_flight = 0;
    k->burst_is_waited_for = false;
    k->burst_open_size = k->burst_size = 0;
    k->ends_ms = k->drained_ms = 0;
    k->own_first = k->own_count = 0;
    k->error = (struct ow_error){0};
}

static int kafka_open(struct ow_broker *broker, struct ow_error *err)
{
    struct ow_kafka_publisher *k = self_of(broker);
    char batch[16];
    kafka_close(broker);
    (void)snprintf(batch, sizeof batch, "%u", k->batch_bytes);
    struct ow_kafka_pair extra[4] = {{"message.timeout.ms", "0"}};
    size_t count = 1;
    if (k->has_bursts)
        extra[count++] = (struct ow_kafka_pair){"linger.ms", LINGER_MS};
    if (k->batch_bytes < OW_KAFKA_BATCH_BYTES) /* only once it had to be smaller, so that a user's own stands */
        extra[count++] = (struct ow_kafka_pair){"batch.size", batch};
    int r = ow_kafka_client_open(&k->client, &k->settings, extra, err);
    if (r == 0)
        r = ow_kafka_client_reach(&k->client, &k->settings, err);
    if (r < 0)
        kafka_close(broker);
    return r;
}

static void kafka_discard(struct ow_broker *broker)
{
    struct ow_kafka_publisher *k = self_of(broker);
    kafka_close(broker);
    ow_kafka_client_done(&k->client);
    ow_kafka_settings_done(&k->settings);
    free(k->own);
    free(k->position_topic);
    free(k);
}

/* --- sending -------------------------------------------------------------------------------------------- */

/* When the next burst may begin. */
static int64_t burst_due_ms(const struct ow_kafka_publisher *k)
{
    return k->in_flight > 0 ? k->burst_ms + BURST_MS : k->burst_size >= MANY ? k->burst_ms + GATHER_MS : 0;
}

static bool may_send(struct ow_kafka_publisher *k)
{
    bool may = !k->has_bursts || k->burst_open_size > 0 || ow_clock_monotonic_ms() >= burst_due_ms(k);
    k->burst_is_waited_for = !may;
    return may;
}

static void end_burst(struct ow_kafka_publisher *k)
{
    if (k->burst_open_size == 0)
        return;
    (void)rd_kafka_flush(k->client.rk, FLUSH_MS);
    k->burst_size = k->burst_open_size;
    k->burst_open_size = 0;
    k->burst_ms = ow_clock_monotonic_ms();
}

static int kafka_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    struct ow_kafka_publisher *k = self_of(broker);
    struct ow_kafka_topic *topic = k->topics.last;
    if (k->error.code != 0 || k->in_flight >= k->in_flight_max || !may_send(k))
        return ow_error_set(err, OW_EAGAIN, "%s: not now", k->settings.text);
    if (!topic || !ow_bytes_is(message->topic, topic->name)) {
        char reason[OW_KAFKA_REASON_SIZE];
        ow_kafka_judge_topic(message->topic, reason, sizeof reason);
        if (reason[0]) {
            k->in_flight++;
            ow_kafka_publisher_give(k, token, OW_REJECTED, reason);
            return 0;
        }
        int r = ow_kafka_topics_get(&k->topics, message->topic, &topic, err);
        if (r < 0)
            return r;
    }
    if (topic->state != OW_KAFKA_TOPIC_READY) {
        int r = ow_kafka_park(&topic->parking, message, token, err);
        if (r < 0)
            return r;
    }
    if (k->in_flight++ == 0)
        k->progress_ms = ow_clock_monotonic_ms();
    if (topic->state == OW_KAFKA_TOPIC_READY)
        ow_kafka_lanes_send(k, topic, message, token);
    else if (topic->state == OW_KAFKA_TOPIC_NEW)
        ow_kafka_lanes_begin(k, topic);
    return 0;
}

/* --- what comes back ------------------------------------------------------------------------------------ */

/* Ends a producer that will not come to its senses by itself. */
static void watch(struct ow_kafka_publisher *k, bool has_progress)
{
    int64_t now = ow_clock_monotonic_ms();
    k->now_ms = now;
    if (has_progress)
        k->progress_ms = now;
    if (k->ends_ms != 0 && now >= k->ends_ms)
        ow_kafka_publisher_fail(k, OW_EIO, "the series of messages is broken");
    else if (k->in_flight > 0 && now >= k->progress_ms + STALL_MS)
        ow_kafka_publisher_fail(k, OW_EUNREACHABLE,
                                k->client.is_down ? k->client.reason : "nothing was accepted for 90 s");
}

/* After a fatal error librdkafka sends nothing more, and still tells what became of what was sent before. */
static bool is_drained(struct ow_kafka_publisher *k)
{
    if (k->drained_ms == 0)
        k->drained_ms = k->now_ms + DRAIN_MS;
    return rd_kafka_fatal_error(k->client.rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR ||
           rd_kafka_outq_len(k->client.rk) == 0 || k->now_ms >= k->drained_ms;
}

static int kafka_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct ow_kafka_publisher *k = self_of(broker);
    if (!k->client.rk)
        return 0;
    ow_kafka_client_hear(&k->client);
    end_burst(k);
    size_t n = ow_kafka_reports_take(k, receipts, max);
    end_burst(k); /* what had to wait for one of these */
    watch(k, n > 0);
    while (n < max && k->own_first < k->own_count)
        receipts[n++] = k->own[k->own_first++];
    if (n > 0 || k->error.code == 0 || !is_drained(k))
        return (int)n;
    struct ow_error why = k->error;
    kafka_close(broker); /* the bytes are lent no longer */
    return ow_error_set(err, why.code, "%s", why.text);
}

static void kafka_wait(struct ow_broker *broker, struct ow_wait *wait)
{
    struct ow_kafka_publisher *k = self_of(broker);
    if (k->client.event || k->own_first < k->own_count || (k->error.code != 0 && k->drained_ms == 0))
        ow_wait_until(wait, 0);
    if (k->burst_is_waited_for)
        ow_wait_until(wait, burst_due_ms(k));
    k->burst_is_waited_for = false;
    if (k->drained_ms != 0)
        ow_wait_until(wait, ow_clock_monotonic_ms() + DRAIN_LOOK_MS);
    else if (k->ends_ms != 0)
        ow_wait_until(wait, k->ends_ms);
    if (k->in_flight > 0)
        ow_wait_until(wait, k->progress_ms + STALL_MS);
    ow_wait_add(wait, k->client.event_fd, POLLIN);
}

static const char *kafka_trouble(struct ow_broker *broker)
{
    struct ow_kafka_publisher *k = self_of(broker);
    if (!k->client.is_down || k->in_flight == 0)
        return NULL;
    (void)snprintf(k->trouble, sizeof k->trouble, "cannot reach %s: %s", k->settings.text, k->client.reason);
    return k->trouble;
}

/* --- positions ---------------------------------------------------------------------------------------- */

static int kafka_last_position(struct ow_broker *broker, const char *source, struct ow_position *ret,
                               struct ow_error *err)
{
    struct ow_kafka_publisher *k = self_of(broker);
    return ow_kafka_position_read(&k->client, &k->settings, source, ret, &k->position_topic, err);
}

static int kafka_record_position(struct ow_broker *broker, const char *source, struct ow_position position,
                                 uint32_t place, struct ow_error *err)
{
    struct ow_kafka_publisher *k = self_of(broker);
    if (!k->position_topic)
        return ow_error_set(err, OW_EAGAIN, "%s: no topic is known yet that the position could stand beside",
                            k->settings.text);
    OW_CRASH_POINT(KAFKA_BEFORE_RECORD);
    int r = ow_kafka_position_write(&k->client, &k->settings, source, place, k->position_topic, position, err);
    if (r == 0)
        OW_CRASH_POINT(KAFKA_AFTER_RECORD);
    return r;
}

static int kafka_forget_position(struct ow_broker *broker, const char *source, struct ow_error *err)
{
    struct ow_kafka_publisher *k = self_of(broker);
    return ow_kafka_position_forget(&k->client, &k->settings, source, err);
}

static const struct ow_broker_ops kafka_ops = {
    .name = "kafka",
    .keeps_order = true,
    .open = kafka_open,
    .send = kafka_send,
    .step = kafka_step,
    .wait = kafka_wait,
    .close = kafka_close,
    .discard = kafka_discard,
    .last_position = kafka_last_position,
    .record_position = kafka_record_position,
    .forget_position = kafka_forget_position,
    .trouble = kafka_trouble,
};

/* What is said last counts. */
static bool has_no_linger(const struct ow_kafka_settings *settings)
{
    bool has_none = true;
    for (size_t i = 0; i < settings->properties.count; i++) {
        const struct ow_kafka_property *p = &settings->properties.items[i];
        if (strcmp(p->name, "linger.ms") == 0 || strcmp(p->name, "queue.buffering.max.ms") == 0)
            has_none = strcmp(p->value, "0") == 0;
    }
    return has_none;
}

int ow_kafka_at_least_once_new(struct ow_kafka_settings *settings, struct ow_broker **ret, struct ow_error *err)
{
    struct ow_kafka_publisher *k = calloc(1, sizeof *k);
    if (!k)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    k->base.ops = &kafka_ops;
    k->client.broker = &k->base;
    k->settings = *settings;
    k->client.event_fd = -1;
    k->in_flight_max = UINT32_MAX;
    k->batch_bytes = OW_KAFKA_BATCH_BYTES;
    k->has_bursts = has_no_linger(&k->settings);
    *ret = &k->base;
    return 0;
}

int ow_kafka_broker_new(const struct ow_kafka_options *options, struct ow_broker **ret, struct ow_error *err)
{
    struct ow_kafka_settings settings;
    int r = ow_kafka_options_check(options, err);
    if (r == 0)
        r = ow_kafka_settings_init(&settings, options, err);
    if (r < 0)
        return r;
    r = options->delivery == OW_KAFKA_EXACTLY_ONCE ? ow_kafka_exactly_once_new(&settings, ret, err)
                                                   : ow_kafka_at_least_once_new(&settings, ret, err);
    if (r < 0)
        ow_kafka_settings_done(&settings);
    return r;
}
