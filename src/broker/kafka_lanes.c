/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a message to its topic and to its partition there. The first one goes alone, to a topic and to each
 * lane of it; those behind it are parked until it was accepted: see kafka.c.
 */
#include <stdio.h>

#include "broker/kafka_publisher.h"

enum { FORGOTTEN_MS = 60000 }; /* a partition may forget a producer that it has not heard of for long */

void ow_kafka_lanes_fail(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic, const char *reason)
{
    topic->state = OW_KAFKA_TOPIC_NEW;
    if (ow_kafka_publisher_is_away(k))
        return;
    for (const struct ow_kafka_parked *next; (next = ow_kafka_unpark(&topic->parking));)
        ow_kafka_publisher_give(k, next->token, OW_RETRY, reason);
}

static void hand_over(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic, const struct ow_message *m,
                      uint64_t token)
{
    char why[OW_KAFKA_REASON_SIZE * 3];
    int count = atomic_load(&topic->partition_count);
    k->burst_open_size += k->has_bursts;
    rd_kafka_resp_err_t code = ow_kafka_produce(k->client.rk, topic->handle, m, (void *)(uintptr_t)token);
    if (topic->state == OW_KAFKA_TOPIC_READY && atomic_load(&topic->partition_count) != count)
        ow_kafka_publisher_fail(k, OW_EIO, "a topic has another number of partitions now");
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    enum ow_kafka_fate fate = ow_kafka_fate_of(code);
    if (fate == OW_KAFKA_UNFIT) { /* alone, and here: nothing was sent */
        ow_kafka_publisher_give(k, token, OW_REJECTED, rd_kafka_err2str(code));
    } else if (fate == OW_KAFKA_LATER && topic->state != OW_KAFKA_TOPIC_READY) {
        if (ow_kafka_publisher_is_away(k))
            return;
        ow_kafka_topic_why_not(topic, code, why, sizeof why);
        ow_kafka_publisher_give(k, token, OW_RETRY, why);
        ow_kafka_lanes_fail(k, topic, why);
    } else {
        ow_kafka_publisher_fail(k, OW_EIO, rd_kafka_err2str(code));
    }
}

/* Sends it, or has it wait for the first one in its lane. */
void ow_kafka_lanes_send(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic, const struct ow_message *m,
                         uint64_t token)
{
    struct ow_kafka_lane *lane = ow_kafka_topic_lane(topic, m->key);
    if (lane && lane->state == OW_KAFKA_LANE_SCOUTED) {
        struct ow_error why;
        if (ow_kafka_park(&lane->parking, m, token, &why) < 0)
            ow_kafka_publisher_fail(k, why.code, why.text);
        return;
    }
    if (lane && lane->in_flight == 0 &&
        (lane->state == OW_KAFKA_LANE_NEW || k->now_ms - lane->accepted_ms > FORGOTTEN_MS))
        lane->state = OW_KAFKA_LANE_SCOUTED;
    if (lane)
        lane->in_flight++;
    hand_over(k, topic, m, token);
}

void ow_kafka_lanes_scout(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic)
{
    const struct ow_kafka_parked *next = ow_kafka_unpark(&topic->parking);
    topic->state = OW_KAFKA_TOPIC_NEW;
    if (!next)
        return;
    if (!ow_kafka_topic_ask(topic, &k->settings, k->client.rk)) {
        ow_kafka_publisher_fail(k, OW_ENOMEM, "out of memory");
        return;
    }
    struct ow_kafka_parked first = *next;
    topic->state = OW_KAFKA_TOPIC_SCOUTED; /* in which lane, its report says */
    hand_over(k, topic, &first.message, first.token);
}

void ow_kafka_lanes_open_topic(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic)
{
    topic->state = OW_KAFKA_TOPIC_READY;
    for (const struct ow_kafka_parked *next; k->error.code == 0 && (next = ow_kafka_unpark(&topic->parking));)
        ow_kafka_lanes_send(k, topic, &next->message, next->token);
    ow_kafka_parking_done(&topic->parking);
    if (!k->position_topic)
        k->position_topic = strdup(topic->name);
}

/* One of its messages, with a key, was accepted. */
void ow_kafka_lanes_open(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic, struct ow_kafka_lane *lane)
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

void ow_kafka_lanes_begin(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic)
{
    struct ow_error why = {0};
    if (!k->settings.creates_topics) {
        ow_kafka_lanes_scout(k, topic);
        return;
    }
    topic->state = OW_KAFKA_TOPIC_CREATING;
    if (ow_kafka_topic_create(topic, &k->client, &k->settings, &why) < 0)
        ow_kafka_lanes_fail(k, topic, why.text);
}

void ow_kafka_lanes_made(struct ow_kafka_publisher *k, rd_kafka_event_t *event)
{
    struct ow_kafka_topic *topic;
    char why[OW_KAFKA_REASON_SIZE * 3];
    switch (ow_kafka_topic_made(event, &topic)) {
    case OW_KAFKA_MADE:
        ow_kafka_lanes_scout(k, topic);
        break;
    case OW_KAFKA_ASK_ANEW:
        ow_kafka_lanes_begin(k, topic);
        break;
    case OW_KAFKA_NOT_MADE:
        ow_kafka_topic_why_not(topic, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, why, sizeof why);
        ow_kafka_lanes_fail(k, topic, why);
        break;
    }
}
