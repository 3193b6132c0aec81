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
#include <unistd.h>

#include "base/crash.h"
#include "base/units.h"
#include "broker/kafka.h"

enum {
    NARROWER = 8,         /* so many times fewer messages are in flight after a refusal */
    FORGOTTEN_MS = 60000, /* a partition may forget a producer that it has not heard of for long */
    CAUSE_MS = 500,
    DRAIN_LOOK_MS = 5,
    DRAIN_MS = 2000,  /* what is on its way when a producer ends is waited for so long: else it would be sent again */
    STALL_MS = 90000, /* longer than a request to a broker that does not answer takes to be tried elsewhere */
    BATCH_BYTES = 1000000,
    BATCH_BYTES_MIN = 512,
    FLUSH_MS = 1,  /* long enough for librdkafka's thread to see it */
    BURST_MS = 10, /* so long all others wait for what is on its way to one that is slow */
};
#define LINGER_MS "5" /* of librdkafka, which the end of a burst cuts short */

struct kafka {
    struct ow_broker base;
    struct ow_kafka_settings settings;
    struct ow_kafka_client client;
    struct ow_kafka_topics topics;
    struct ow_error error;                    /* the producer is of no more use; told when all receipts are out */
    uint32_t in_flight, in_flight_max, widen; /* widen: accepted since in_flight_max was changed */
    uint32_t batch_bytes;                     /* less than what a topic takes at once */
    struct ow_receipt *own; /* receipts that come from us and not from a delivery report; [first, count) */
    size_t own_first, own_count, own_capacity;
    int64_t ends_ms;     /* the series of messages is broken, and if no report has told the cause by then, it ends so */
    int64_t drained_ms;  /* when a producer that has ended is closed at the latest; 0: it has not ended */
    int64_t now_ms;      /* of the last step */
    int64_t progress_ms; /* when something was accepted, or first sent */
    /* What is handed over in one step is a burst, and goes at once; what comes while it is on its way gathers for the
       next. Left to itself librdkafka sends many small requests, and while all it may have on their way are, its
       thread spins. Off where the user asks for a linger. */
    bool has_bursts, burst_is_open, burst_is_waited_for;
    int64_t burst_ms;     /* when the last one ended */
    char *position_topic; /* one that exists; NULL: none is known */
    char trouble[OW_KAFKA_REASON_SIZE + 128];
};

static struct kafka *self_of(struct ow_broker *broker)
{
    return (struct kafka *)broker;
}

/* --- open and close ----------------------------------------------------------------------------------- */

static void kafka_close(struct ow_broker *broker)
{
    struct kafka *k = self_of(broker);
    ow_kafka_topics_done(&k->topics);
    ow_kafka_client_close(&k->client);
    k->in_flight = 0;
    k->burst_is_open = k->burst_is_waited_for = false;
    k->ends_ms = k->drained_ms = 0;
    k->own_first = k->own_count = 0;
    k->error = (struct ow_error){0};
}

static int kafka_open(struct ow_broker *broker, struct ow_error *err)
{
    struct kafka *k = self_of(broker);
    char batch[16];
    kafka_close(broker);
    (void)snprintf(batch, sizeof batch, "%u", k->batch_bytes);
    struct ow_kafka_pair extra[4] = {{"message.timeout.ms", "0"}};
    size_t count = 1;
    if (k->has_bursts)
        extra[count++] = (struct ow_kafka_pair){"linger.ms", LINGER_MS};
    if (k->batch_bytes < BATCH_BYTES) /* only once it had to be smaller, so that a user's own stands */
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
    struct kafka *k = self_of(broker);
    kafka_close(broker);
    if (k->client.event_fd >= 0)
        (void)close(k->client.event_fd);
    ow_kafka_settings_done(&k->settings);
    free(k->own);
    free(k->position_topic);
    free(k);
}

/* --- verdicts ----------------------------------------------------------------------------------------- */

static void fail(struct kafka *k, int code, const char *why)
{
    if (k->error.code == 0 && ow_kafka_client_fatal(&k->client, &k->settings, &k->error) == 0)
        (void)ow_error_set(&k->error, code, "%s: %s", k->settings.text, why);
}

static void give(struct kafka *k, uint64_t token, enum ow_verdict verdict, const char *reason)
{
    if (k->own_first == k->own_count)
        k->own_first = k->own_count = 0;
    if (k->own_count == k->own_capacity) {
        size_t capacity = k->own_capacity ? k->own_capacity * 2 : 16;
        struct ow_receipt *grown = reallocarray(k->own, capacity, sizeof *grown);
        if (!grown) {
            fail(k, OW_ENOMEM, "out of memory");
            return;
        }
        k->own = grown;
        k->own_capacity = capacity;
    }
    struct ow_receipt *receipt = &k->own[k->own_count++];
    *receipt = (struct ow_receipt){.token = token, .verdict = verdict};
    (void)snprintf(receipt->reason, sizeof receipt->reason, "%.*s", (int)sizeof receipt->reason - 1, reason);
    k->in_flight--;
}

/* A request was refused, and nobody says for which of its messages. */
static void narrow(struct kafka *k, rd_kafka_resp_err_t code)
{
    char why[OW_KAFKA_REASON_SIZE];
    uint32_t most = k->in_flight < k->in_flight_max ? k->in_flight : k->in_flight_max;
    k->in_flight_max = most / NARROWER > 0 ? most / NARROWER : 1;
    k->widen = 0;
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        k->batch_bytes = k->batch_bytes / 4 > BATCH_BYTES_MIN ? k->batch_bytes / 4 : BATCH_BYTES_MIN;
    (void)snprintf(why, sizeof why, "a request was refused (%s); its messages are sent again in smaller parts",
                   rd_kafka_err2str(code));
    fail(k, OW_EIO, why);
}

static void widen(struct kafka *k)
{
    if (++k->widen < k->in_flight_max)
        return;
    k->in_flight_max = k->in_flight_max > UINT32_MAX / 2 ? UINT32_MAX : k->in_flight_max * 2;
    k->widen = 0;
}

/* --- to a topic --------------------------------------------------------------------------------------- */

/* What is known of its topic may be old if no broker can be reached: that is no fault of a message then. */
static bool is_away(struct kafka *k)
{
    if (k->client.is_down)
        fail(k, OW_EUNREACHABLE, k->client.reason[0] ? k->client.reason : "no broker can be reached");
    return k->client.is_down;
}

static void fail_parked(struct kafka *k, struct ow_kafka_topic *topic, const char *reason)
{
    topic->state = OW_KAFKA_TOPIC_NEW;
    if (is_away(k))
        return;
    for (const struct ow_kafka_parked *next; (next = ow_kafka_unpark(&topic->parking));)
        give(k, next->token, OW_RETRY, reason);
}

static void say_why_not(const struct ow_kafka_topic *topic, rd_kafka_resp_err_t code, char *to, size_t size)
{
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        (void)snprintf(to, size, "topic %s: this user may not write to it", topic->name);
    else
        (void)snprintf(to, size, "topic %s does not exist%s%s", topic->name, topic->why_not[0] ? "; " : "",
                       topic->why_not);
}

static void hand_over(struct kafka *k, struct ow_kafka_topic *topic, const struct ow_message *m, uint64_t token)
{
    char why[OW_KAFKA_REASON_SIZE * 3];
    int count = atomic_load(&topic->partition_count);
    k->burst_is_open = k->has_bursts;
    rd_kafka_resp_err_t code = ow_kafka_produce(k->client.rk, topic->handle, m, (void *)(uintptr_t)token);
    if (topic->state == OW_KAFKA_TOPIC_READY && atomic_load(&topic->partition_count) != count)
        fail(k, OW_EIO, "a topic has another number of partitions now");
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    enum ow_kafka_fate fate = ow_kafka_fate_of(code);
    if (fate == OW_KAFKA_UNFIT) { /* alone, and here: nothing was sent */
        give(k, token, OW_REJECTED, rd_kafka_err2str(code));
    } else if (fate == OW_KAFKA_LATER && topic->state != OW_KAFKA_TOPIC_READY) {
        if (is_away(k))
            return;
        say_why_not(topic, code, why, sizeof why);
        give(k, token, OW_RETRY, why);
        fail_parked(k, topic, why);
    } else {
        fail(k, OW_EIO, rd_kafka_err2str(code));
    }
}

/* Sends it, or has it wait for the first one in its lane. */
static void to_lane(struct kafka *k, struct ow_kafka_topic *topic, const struct ow_message *m, uint64_t token)
{
    struct ow_kafka_lane *lane = ow_kafka_topic_lane(topic, m->key);
    if (lane && lane->state == OW_KAFKA_LANE_SCOUTED) {
        struct ow_error why;
        if (ow_kafka_park(&lane->parking, m, token, &why) < 0)
            fail(k, why.code, why.text);
        return;
    }
    if (lane && lane->in_flight == 0 &&
        (lane->state == OW_KAFKA_LANE_NEW || k->now_ms - lane->accepted_ms > FORGOTTEN_MS))
        lane->state = OW_KAFKA_LANE_SCOUTED;
    if (lane)
        lane->in_flight++;
    hand_over(k, topic, m, token);
}

static void scout(struct kafka *k, struct ow_kafka_topic *topic)
{
    const struct ow_kafka_parked *next = ow_kafka_unpark(&topic->parking);
    topic->state = OW_KAFKA_TOPIC_NEW;
    if (!next)
        return;
    if (!ow_kafka_topic_ask(topic, &k->settings, k->client.rk)) {
        fail(k, OW_ENOMEM, "out of memory");
        return;
    }
    struct ow_kafka_parked first = *next;
    topic->state = OW_KAFKA_TOPIC_SCOUTED; /* in which lane, its report says */
    hand_over(k, topic, &first.message, first.token);
}

static void release_topic(struct kafka *k, struct ow_kafka_topic *topic)
{
    topic->state = OW_KAFKA_TOPIC_READY;
    for (const struct ow_kafka_parked *next; k->error.code == 0 && (next = ow_kafka_unpark(&topic->parking));)
        to_lane(k, topic, &next->message, next->token);
    ow_kafka_parking_done(&topic->parking);
    if (!k->position_topic)
        k->position_topic = strdup(topic->name);
}

/* One of its messages, with a key, was accepted. */
static void release_lane(struct kafka *k, struct ow_kafka_topic *topic, struct ow_kafka_lane *lane)
{
    lane->accepted_ms = k->now_ms;
    lane->in_flight -= lane->in_flight > 0; /* the first to the topic was not counted */
    if (lane->state == OW_KAFKA_LANE_OPEN)
        return;
    lane->state = OW_KAFKA_LANE_OPEN;
    for (const struct ow_kafka_parked *next; k->error.code == 0 && (next = ow_kafka_unpark(&lane->parking));) {
        lane->in_flight++;
        hand_over(k, topic, &next->message, next->token);
    }
    ow_kafka_parking_done(&lane->parking);
}

static void begin(struct kafka *k, struct ow_kafka_topic *topic)
{
    struct ow_error why = {0};
    if (!k->settings.creates_topics) {
        scout(k, topic);
        return;
    }
    topic->state = OW_KAFKA_TOPIC_CREATING;
    if (ow_kafka_topic_create(topic, &k->client, &k->settings, &why) < 0)
        fail_parked(k, topic, why.text);
}

static void take_made(struct kafka *k, rd_kafka_event_t *event)
{
    struct ow_kafka_topic *topic;
    char why[OW_KAFKA_REASON_SIZE * 3];
    switch (ow_kafka_topic_made(event, &topic)) {
    case OW_KAFKA_MADE:
        scout(k, topic);
        break;
    case OW_KAFKA_ASK_ANEW:
        begin(k, topic);
        break;
    case OW_KAFKA_NOT_MADE:
        say_why_not(topic, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, why, sizeof why);
        fail_parked(k, topic, why);
        break;
    }
}

static bool may_send(struct kafka *k)
{
    bool may = !k->has_bursts || k->burst_is_open || k->in_flight == 0 ||
               ow_clock_monotonic_ms() >= k->burst_ms + BURST_MS;
    k->burst_is_waited_for = !may;
    return may;
}

static void end_burst(struct kafka *k)
{
    if (!k->burst_is_open)
        return;
    (void)rd_kafka_flush(k->client.rk, FLUSH_MS);
    k->burst_is_open = false;
    k->burst_ms = ow_clock_monotonic_ms();
}

static int kafka_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    struct kafka *k = self_of(broker);
    struct ow_kafka_topic *topic = k->topics.last;
    if (k->error.code != 0 || k->in_flight >= k->in_flight_max || !may_send(k))
        return ow_error_set(err, OW_EAGAIN, "%s: not now", k->settings.text);
    if (!topic || !ow_bytes_is(message->topic, topic->name)) {
        char reason[OW_KAFKA_REASON_SIZE];
        ow_kafka_judge_topic(message->topic, reason, sizeof reason);
        if (reason[0]) {
            k->in_flight++;
            give(k, token, OW_REJECTED, reason);
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
        to_lane(k, topic, message, token);
    else if (topic->state == OW_KAFKA_TOPIC_NEW)
        begin(k, topic);
    return 0;
}

/* --- what comes back ---------------------------------------------------------------------------------- */

static void take_failure(struct kafka *k, const rd_kafka_message_t *report, struct ow_kafka_topic *topic)
{
    char why[OW_KAFKA_REASON_SIZE * 3];
    uint64_t token = (uintptr_t)report->_private;
    bool is_scout = topic->state == OW_KAFKA_TOPIC_SCOUTED;
    switch (ow_kafka_fate_of(report->err)) {
    case OW_KAFKA_UNFIT:
        if (!is_scout && k->in_flight > 1) {
            narrow(k, report->err);
            break;
        }
        (void)snprintf(why, sizeof why, "Kafka refuses it: %s", rd_kafka_err2str(report->err));
        give(k, token, OW_REJECTED, why);
        if (is_scout && rd_kafka_fatal_error(k->client.rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR)
            scout(k, topic);
        else
            fail(k, OW_EIO, "opened anew after a message was refused");
        break;
    case OW_KAFKA_LATER:
        if (is_scout && is_away(k))
            break;
        if (is_scout) {
            say_why_not(topic, report->err, why, sizeof why);
            give(k, token, OW_RETRY, why);
            fail_parked(k, topic, why);
            break;
        }
        fail(k, OW_EIO, rd_kafka_err2str(report->err));
        break;
    default:
        fail(k, OW_EIO, rd_kafka_err2str(report->err));
        break;
    }
}

/* 1: *receipt is filled in. 0: it was something else, or what it has led to comes as an own receipt. */
static int take_report(struct kafka *k, const rd_kafka_message_t *report, struct ow_receipt *receipt)
{
    struct ow_kafka_topic *topic = rd_kafka_topic_opaque(report->rkt);
    if (report->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        /* Behind an error that ends this producer the failures of others mean nothing. */
        if (k->error.code == 0)
            take_failure(k, report, topic);
        return 0;
    }
    struct ow_kafka_lane *lane = ow_kafka_topic_lane_of(topic, report->partition);
    if (!ow_kafka_lane_is_new(lane, report->offset)) {
        fail(k, OW_EIO, "a broker took new messages for old ones; they are sent again");
        return 0;
    }
    receipt->token = (uintptr_t)report->_private;
    receipt->verdict = OW_ACCEPTED;
    receipt->reason[0] = '\0';
    k->in_flight--;
    k->client.is_down = false;
    if (k->in_flight_max != UINT32_MAX)
        widen(k);
    if (k->error.code == 0 && ow_kafka_lane_was_chosen(topic, lane, (struct ow_bytes){report->key, report->key_len}))
        release_lane(k, topic, lane);
    if (k->error.code == 0 && topic->state == OW_KAFKA_TOPIC_SCOUTED)
        release_topic(k, topic);
    return 1;
}

/* What broke the series of messages is told by the report of the one that did, which comes behind this. */
static void note_fatal(struct kafka *k)
{
    if (k->error.code != 0 || k->ends_ms != 0)
        return;
    if (rd_kafka_fatal_error(k->client.rk, NULL, 0) == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE)
        k->ends_ms = ow_clock_monotonic_ms() + CAUSE_MS;
    else if (ow_kafka_client_fatal(&k->client, &k->settings, &k->error) == 0)
        k->error.code = 0;
}

/* 1: there is an event with reports in k->client.event. */
static int next_event(struct kafka *k)
{
    for (;;) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(k->client.queue, 0);
        if (!event)
            return 0;
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
            k->client.event = event;
            return 1;
        }
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
            take_made(k, event);
        else
            (void)ow_kafka_client_note(&k->client, &k->settings, event);
        note_fatal(k);
        rd_kafka_event_destroy(event);
    }
}

static size_t take_events(struct kafka *k, struct ow_receipt *receipts, size_t max)
{
    size_t n = 0;
    while (n < max && (k->client.event || next_event(k))) {
        const rd_kafka_message_t *report;
        while (n < max && (report = rd_kafka_event_message_next(k->client.event)))
            n += (size_t)take_report(k, report, &receipts[n]);
        if (n == max)
            break; /* there may be more in it */
        rd_kafka_event_destroy(k->client.event);
        k->client.event = NULL;
    }
    return n;
}

/* Ends a producer that will not come to its senses by itself. */
static void watch(struct kafka *k, bool has_progress)
{
    int64_t now = ow_clock_monotonic_ms();
    k->now_ms = now;
    if (has_progress)
        k->progress_ms = now;
    if (k->ends_ms != 0 && now >= k->ends_ms)
        fail(k, OW_EIO, "the series of messages is broken");
    else if (k->in_flight > 0 && now >= k->progress_ms + STALL_MS)
        fail(k, OW_EUNREACHABLE, k->client.is_down ? k->client.reason : "nothing was accepted for 90 s");
}

/* After a fatal error librdkafka sends nothing more, and still tells what became of what was sent before. */
static bool is_drained(struct kafka *k)
{
    if (k->drained_ms == 0)
        k->drained_ms = k->now_ms + DRAIN_MS;
    return rd_kafka_fatal_error(k->client.rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR ||
           rd_kafka_outq_len(k->client.rk) == 0 || k->now_ms >= k->drained_ms;
}

static int kafka_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct kafka *k = self_of(broker);
    uint64_t rung;
    if (!k->client.rk)
        return 0;
    /* Before the queue is looked at: what comes after that rings again. */
    if (read(k->client.event_fd, &rung, sizeof rung) < 0) {
        /* It did not ring. */
    }
    end_burst(k);
    size_t n = take_events(k, receipts, max);
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
    struct kafka *k = self_of(broker);
    if (k->client.event || k->own_first < k->own_count || (k->error.code != 0 && k->drained_ms == 0))
        ow_wait_until(wait, 0);
    if (k->burst_is_waited_for)
        ow_wait_until(wait, k->burst_ms + BURST_MS);
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
    struct kafka *k = self_of(broker);
    if (!k->client.is_down || k->in_flight == 0)
        return NULL;
    (void)snprintf(k->trouble, sizeof k->trouble, "cannot reach %s: %s", k->settings.text, k->client.reason);
    return k->trouble;
}

/* --- positions ---------------------------------------------------------------------------------------- */

static int kafka_last_position(struct ow_broker *broker, const char *source, struct ow_position *ret,
                               struct ow_error *err)
{
    struct kafka *k = self_of(broker);
    return ow_kafka_position_read(&k->client, &k->settings, source, ret, &k->position_topic, err);
}

static int kafka_record_position(struct ow_broker *broker, const char *source, struct ow_position position,
                                 struct ow_error *err)
{
    struct kafka *k = self_of(broker);
    if (!k->position_topic)
        return ow_error_set(err, OW_EAGAIN, "%s: no topic is known yet that the position could stand beside",
                            k->settings.text);
    OW_CRASH_POINT(KAFKA_BEFORE_RECORD);
    int r = ow_kafka_position_write(&k->client, &k->settings, source, k->position_topic, position, err);
    if (r == 0)
        OW_CRASH_POINT(KAFKA_AFTER_RECORD);
    return r;
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
    struct kafka *k = calloc(1, sizeof *k);
    if (!k)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    k->base.ops = &kafka_ops;
    k->client.broker = &k->base;
    k->settings = *settings;
    k->client.event_fd = -1;
    k->in_flight_max = UINT32_MAX;
    k->batch_bytes = BATCH_BYTES;
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
