/* SPDX-License-Identifier: Apache-2.0 */
/* The publishing half of the limit programs: an idempotent producer whose queue is bounded, and the record that
   onewrite writes for a row of its outbox: topic outbox.event.<aggregatetype>, key <aggregateid>, header id, the
   payload. */
#ifndef OW_BENCH_LIMIT_KAFKA_H
#define OW_BENCH_LIMIT_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "limit.h"

enum { LIMIT_ID = 1, LIMIT_AGGREGATE_TYPE, LIMIT_AGGREGATE_ID, LIMIT_TYPE, LIMIT_PAYLOAD, LIMIT_COLUMNS };

struct limit_value {
    const char *data; /* NULL: null */
    size_t size;
};

struct limit_kafka {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic; /* of the last record; its name is prefix + type */
    const char *prefix;
    char type[200];
    size_t type_size;
    uint64_t sent, accepted;
};

static inline void limit_reported(rd_kafka_t *rk, const rd_kafka_message_t *report, void *opaque)
{
    struct limit_kafka *k = opaque;
    (void)rk;
    if (report->err) {
        (void)fprintf(stderr, "limit: not accepted: %s\n", rd_kafka_err2str(report->err));
        exit(1);
    }
    k->accepted++;
}

static inline void limit_kafka_open(struct limit_kafka *k, const char *servers, const char *prefix, const char *linger,
                                    const char *queue)
{
    const char *const settings[][2] = {
        {"bootstrap.servers", servers},    {"enable.idempotence", "true"},         {"acks", "all"},
        {"partitioner", "murmur2_random"}, {"compression.codec", "lz4"},           {"linger.ms", linger},
        {"socket.nagle.disable", "true"},  {"queue.buffering.max.messages", queue}};
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
            limit_end(NULL, why);
    *k = (struct limit_kafka){.prefix = prefix};
    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_dr_msg_cb(conf, limit_reported);
    k->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!k->rk)
        limit_end(NULL, why);
}

/* The handle of a topic is looked up only where the type is another one than before. */
static inline rd_kafka_topic_t *limit_topic(struct limit_kafka *k, struct limit_value type)
{
    char name[400];
    if (k->topic && type.size == k->type_size && memcmp(type.data, k->type, type.size) == 0)
        return k->topic;
    if (type.size >= sizeof k->type)
        limit_end(NULL, "a type that is too long");
    (void)snprintf(name, sizeof name, "%s%.*s", k->prefix, (int)type.size, type.data);
    memcpy(k->type, type.data, type.size);
    k->type_size = type.size;
    if (k->topic)
        rd_kafka_topic_destroy(k->topic);
    k->topic = rd_kafka_topic_new(k->rk, name, NULL);
    if (!k->topic)
        limit_end(NULL, "no topic");
    return k->topic;
}

static inline void limit_send(struct limit_kafka *k, const struct limit_value *row)
{
    rd_kafka_topic_t *topic = limit_topic(k, row[LIMIT_AGGREGATE_TYPE]);
    for (;;) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
        (void)rd_kafka_header_add(headers, "id", 2, row[LIMIT_ID].data, (ssize_t)row[LIMIT_ID].size);
        const rd_kafka_vu_t parts[] = {
            {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
            {.vtype = RD_KAFKA_VTYPE_KEY,
             .u.mem = {(void *)(uintptr_t)row[LIMIT_AGGREGATE_ID].data, row[LIMIT_AGGREGATE_ID].size}},
            {.vtype = RD_KAFKA_VTYPE_VALUE,
             .u.mem = {(void *)(uintptr_t)row[LIMIT_PAYLOAD].data, row[LIMIT_PAYLOAD].size}},
            {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        };
        rd_kafka_error_t *error = rd_kafka_produceva(k->rk, parts, sizeof parts / sizeof parts[0]);
        if (!error) {
            k->sent++;
            return;
        }
        if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            limit_end(NULL, rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        rd_kafka_headers_destroy(headers);
        (void)rd_kafka_poll(k->rk, 1);
    }
}

#endif
