/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out of librdkafka's queue of records: a record for the caller, one to keep, or none at all. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/kafka_subscribe.h"

/* --- exceptions --------------------------------------------------------------------------------------- */

/* Settled at once, so that what comes while no member is there is not passed over. */
static void keep_start(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, int64_t offset)
{
    p->keeps_start = false;
    if (s->group && p->settled < 0) {
        p->settled = offset;
        s->has_unsettled = true;
    }
}

/* A record of librdkafka's that is none. */
static int take_exception(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, const rd_kafka_message_t *m,
                          struct ow_error *err)
{
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        p->has_met_end = true;
        if (p->keeps_start)
            keep_start(s, p, m->offset);
        p->next = m->offset;
        return 0;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return ow_error_set(err, OW_EDENIED, "%s: topic %s: this user may not read it", s->settings.text, p->topic);
    default:
        (void)snprintf(s->lasting, sizeof s->lasting, "%s, partition %d: %s", p->topic, (int)p->partition,
                       rd_kafka_message_errstr(m));
        return 0;
    }
}

/* --- giving out --------------------------------------------------------------------------------------- */

static int read_headers(struct ow_kafka_subscriber *s, const rd_kafka_message_t *m, struct ow_message *to,
                        struct ow_error *err)
{
    rd_kafka_headers_t *headers = NULL;
    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    size_t count = rd_kafka_header_cnt(headers);
    if (count > s->header_capacity) {
        struct ow_header *grown = reallocarray(s->headers, count, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        s->headers = grown;
        s->header_capacity = count;
    }
    bool has_id = false;
    size_t skipped = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = NULL;
        const void *value = NULL;
        size_t size = 0;
        if (rd_kafka_header_get_all(headers, i, &name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        s->headers[i] = (struct ow_header){ow_bytes_of(name), {value, size}};
        if (!has_id && value && strcmp(name, "id") == 0) {
            has_id = true;
            skipped = i == 0;
            to->id = s->headers[i].value;
        }
    }
    to->headers = s->headers + skipped;
    to->header_count = count - skipped;
    return 0;
}

static struct ow_bytes bytes_of(const void *data, size_t size)
{
    return data ? (struct ow_bytes){data, size} : OW_NULL_BYTES;
}

static int give(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, rd_kafka_message_t *m, struct ow_record *ret,
                struct ow_error *err)
{
    rd_kafka_timestamp_type_t type;
    int64_t time_ms = rd_kafka_message_timestamp(m, &type);
    struct ow_record record = {.partition = p->partition, .offset = m->offset};
    record.time_type = type == RD_KAFKA_TIMESTAMP_CREATE_TIME       ? OW_TIME_CREATED
                       : type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? OW_TIME_APPENDED
                                                                    : OW_TIME_UNKNOWN;
    record.message = (struct ow_message){.topic = ow_bytes_of(p->topic),
                                         .key = bytes_of(m->key, m->key_len),
                                         .payload = bytes_of(m->payload, m->len),
                                         .time_ms = time_ms};
    int r = read_headers(s, m, &record.message, err);
    if (r < 0)
        return r;
    if (p->keeps_start)
        keep_start(s, p, m->offset);
    if (m->offset < p->next) /* what was settled is of a topic that was deleted, or cut off */
        p->settled = p->durable = -1;
    p->next = m->offset + 1;
    p->has_begun = true;
    p->was_stopped = false;
    s->lasting[0] = '\0';
    s->client.is_down = false;
    s->given = m;
    *ret = record;
    return 1;
}

int ow_kafka_record_judge(struct ow_kafka_subscriber *s, rd_kafka_message_t *m, bool is_kept, struct ow_record *ret,
                          struct ow_error *err)
{
    int r = 0;
    struct ow_kafka_place *p = ow_kafka_place_of(s, m);
    bool is_stale = !p || (!is_kept && p->stale_batch == s->batch_number);
    if (!is_stale && p->is_paused) {
        if (ow_kafka_place_keep(s, p, m) == 0)
            return 0;
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    } else if (!is_stale && m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        r = take_exception(s, p, m, err);
    } else if (!is_stale && m->offset >= (p->was_stopped && p->next > p->least ? p->next : p->least)) {
        r = give(s, p, m, ret, err);
    }
    if (r != 1)
        rd_kafka_message_destroy(m);
    return r;
}

bool ow_kafka_batch_fill(struct ow_kafka_subscriber *s)
{
    s->batch_number++;
    ssize_t n = rd_kafka_consume_batch_queue(s->records, 0, s->batch, OW_KAFKA_BATCH_RECORDS);
    s->batch_first = 0;
    s->batch_count = n > 0 ? (size_t)n : 0;
    s->may_have_more = s->batch_count == OW_KAFKA_BATCH_RECORDS;
    return s->batch_count > 0;
}
