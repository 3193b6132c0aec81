/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back from Kafka, and what it means for a message and for the producer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "broker/kafka_publisher.h"

enum {
    NARROWER = 8, /* so many times fewer messages are in flight after a refusal */
    BATCH_BYTES_MIN = 512,
    CAUSE_MS = 500,
};

/* --- verdicts ----------------------------------------------------------------------------------------- */

void ow_kafka_publisher_fail(struct ow_kafka_publisher *k, int code, const char *why)
{
    if (k->error.code == 0 && ow_kafka_client_fatal(&k->client, &k->settings, &k->error) == 0)
        (void)ow_error_set(&k->error, code, "%s: %s", k->settings.text, why);
}

void ow_kafka_publisher_give(struct ow_kafka_publisher *k, uint64_t token, enum ow_verdict verdict, const char *reason)
{
    if (k->own_first == k->own_count)
        k->own_first = k->own_count = 0;
    if (k->own_count == k->own_capacity) {
        size_t capacity = k->own_capacity ? k->own_capacity * 2 : 16;
        struct ow_receipt *grown = reallocarray(k->own, capacity, sizeof *grown);
        if (!grown) {
            ow_kafka_publisher_fail(k, OW_ENOMEM, "out of memory");
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

bool ow_kafka_publisher_is_away(struct ow_kafka_publisher *k)
{
    if (k->client.is_down)
        ow_kafka_publisher_fail(k, OW_EUNREACHABLE,
                                k->client.reason[0] ? k->client.reason : "no broker can be reached");
    return k->client.is_down;
}

/* A request was refused, and nobody says for which of its messages. */
static void narrow(struct ow_kafka_publisher *k, rd_kafka_resp_err_t code)
{
    char why[OW_KAFKA_REASON_SIZE];
    uint32_t most = k->in_flight < k->in_flight_max ? k->in_flight : k->in_flight_max;
    k->in_flight_max = most / NARROWER > 0 ? most / NARROWER : 1;
    k->widen = 0;
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        k->batch_bytes = k->batch_bytes / 4 > BATCH_BYTES_MIN ? k->batch_bytes / 4 : BATCH_BYTES_MIN;
    (void)snprintf(why, sizeof why, "a request was refused (%s); its messages are sent again in smaller parts",
                   rd_kafka_err2str(code));
    ow_kafka_publisher_fail(k, OW_EIO, why);
}

static void widen(struct ow_kafka_publisher *k)
{
    if (++k->widen < k->in_flight_max)
        return;
    k->in_flight_max = k->in_flight_max > UINT32_MAX / 2 ? UINT32_MAX : k->in_flight_max * 2;
    k->widen = 0;
}

/* --- what comes back ---------------------------------------------------------------------------------- */

static void take_failure(struct ow_kafka_publisher *k, const rd_kafka_message_t *report, struct ow_kafka_topic *topic)
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
        ow_kafka_publisher_give(k, token, OW_REJECTED, why);
        if (is_scout && rd_kafka_fatal_error(k->client.rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR)
            ow_kafka_lanes_scout(k, topic);
        else
            ow_kafka_publisher_fail(k, OW_EIO, "opened anew after a message was refused");
        break;
    case OW_KAFKA_LATER:
        if (is_scout && ow_kafka_publisher_is_away(k))
            break;
        if (is_scout) {
            ow_kafka_topic_why_not(topic, report->err, why, sizeof why);
            ow_kafka_publisher_give(k, token, OW_RETRY, why);
            ow_kafka_lanes_fail(k, topic, why);
            break;
        }
        ow_kafka_publisher_fail(k, OW_EIO, rd_kafka_err2str(report->err));
        break;
    default:
        ow_kafka_publisher_fail(k, OW_EIO, rd_kafka_err2str(report->err));
        break;
    }
}

/* 1: *receipt is filled in. 0: it was something else, or what it has led to comes as an own receipt. */
static int take_report(struct ow_kafka_publisher *k, const rd_kafka_message_t *report, struct ow_receipt *receipt)
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
        ow_kafka_publisher_fail(k, OW_EIO, "a broker took new messages for old ones; they are sent again");
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
        ow_kafka_lanes_open(k, topic, lane);
    if (k->error.code == 0 && topic->state == OW_KAFKA_TOPIC_SCOUTED)
        ow_kafka_lanes_open_topic(k, topic);
    return 1;
}

/* What broke the series of messages is told by the report of the one that did, which comes behind this. */
static void note_fatal(struct ow_kafka_publisher *k)
{
    if (k->error.code != 0 || k->ends_ms != 0)
        return;
    if (rd_kafka_fatal_error(k->client.rk, NULL, 0) == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE)
        k->ends_ms = ow_clock_monotonic_ms() + CAUSE_MS;
    else if (ow_kafka_client_fatal(&k->client, &k->settings, &k->error) == 0)
        k->error.code = 0;
}

/* 1: there is an event with reports in k->client.event. */
static int next_event(struct ow_kafka_publisher *k)
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
            ow_kafka_lanes_made(k, event);
        else
            (void)ow_kafka_client_note(&k->client, &k->settings, event);
        note_fatal(k);
        rd_kafka_event_destroy(event);
    }
}

size_t ow_kafka_reports_take(struct ow_kafka_publisher *k, struct ow_receipt *receipts, size_t max)
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
