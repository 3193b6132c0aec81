/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the publisher at least once share. Private to them.
 *
 *   kafka.c           the contract of broker.h: opened, sent to, stepped, ended
 *   kafka_lanes.c     the way of a message to its topic and partition, and who waits for whom on it
 *   kafka_reports.c   delivery reports, and what they mean for a message and for the producer
 */
#ifndef OW_BROKER_KAFKA_PUBLISHER_H
#define OW_BROKER_KAFKA_PUBLISHER_H

#include "broker/kafka.h"

enum { OW_KAFKA_BATCH_BYTES = 1000000 };

struct ow_kafka_publisher {
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
       thread spins. After a large one the next gathers for a few milliseconds: each request costs what many messages
       do. Off where the user asks for a linger. */
    bool has_bursts, burst_is_waited_for;
    uint32_t burst_open_size; /* messages of the one that is open; 0: none is */
    uint32_t burst_size;      /* of the one before */
    int64_t burst_ms;         /* when that one ended */
    char *position_topic;     /* one that exists; NULL: none is known */
    char trouble[OW_KAFKA_REASON_SIZE + 128];
};

/* --- the producer as a whole (kafka_reports.c) --------------------------------------------------------- */

/* It is of no more use. The first cause stays. */
void ow_kafka_publisher_fail(struct ow_kafka_publisher *k, int code, const char *why);
/* A receipt that is not from a delivery report. */
void ow_kafka_publisher_give(struct ow_kafka_publisher *k, uint64_t token, enum ow_verdict verdict, const char *reason);
/* What is known of a topic may be old if no broker can be reached, which is no fault of a message: it fails then. */
bool ow_kafka_publisher_is_away(struct ow_kafka_publisher *k);
/* Everything that has happened; returns how many receipts it is. */
size_t ow_kafka_reports_take(struct ow_kafka_publisher *k, struct ow_receipt *receipts, size_t max);

/* --- lanes (kafka_lanes.c) ------------------------------------------------------------------------------ */

/* To a topic that is NEW and for which a message is parked: makes it, or sends that message ahead. */
void ow_kafka_lanes_begin(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic);
/* The answer to the request to make one. */
void ow_kafka_lanes_made(struct ow_kafka_publisher *k, rd_kafka_event_t *event);
/* Sends the first message that is parked for this topic ahead of the others. */
void ow_kafka_lanes_scout(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic);
/* A message to a READY topic: sent, or parked behind the first one in its lane. */
void ow_kafka_lanes_send(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic, const struct ow_message *message,
                         uint64_t token);
/* The first message to the topic was accepted: the others follow. */
void ow_kafka_lanes_open_topic(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic);
/* A message in this lane, with a key, was accepted: those that wait follow. */
void ow_kafka_lanes_open(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic, struct ow_kafka_lane *lane);
/* The first message to the topic has failed, and those that wait share its fate. */
void ow_kafka_lanes_fail(struct ow_kafka_publisher *k, struct ow_kafka_topic *topic, const char *reason);

#endif
