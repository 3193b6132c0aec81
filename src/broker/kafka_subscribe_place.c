/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "broker/kafka_subscribe.h"

enum {
    KEPT_MAX = 2000, /* records of a partition that is paused, before it is fetched no more */
    KEPT_BYTES_MAX = 1 << 20,
};

/* --- found, made, ended ------------------------------------------------------------------------------- */

struct ow_kafka_place *ow_kafka_place_find(struct ow_kafka_subscriber *s, struct ow_bytes topic, int32_t partition)
{
    if (s->last && s->last->partition == partition && ow_bytes_is(topic, s->last->topic))
        return s->last;
    for (size_t i = 0; i < s->place_count; i++) {
        struct ow_kafka_place *p = s->places[i];
        if (p->partition == partition && ow_bytes_is(topic, p->topic))
            return s->last = p;
    }
    return NULL;
}

struct ow_kafka_place *ow_kafka_place_of(struct ow_kafka_subscriber *s, const rd_kafka_message_t *m)
{
    if (s->last && s->last->handle == m->rkt && s->last->partition == m->partition)
        return s->last;
    struct ow_kafka_place *p = m->rkt ? ow_kafka_place_find(s, ow_bytes_of(rd_kafka_topic_name(m->rkt)), m->partition)
                                      : NULL;
    if (p)
        p->handle = m->rkt;
    return p;
}

struct ow_kafka_place *ow_kafka_place_add(struct ow_kafka_subscriber *s, const char *topic, int32_t partition)
{
    if (s->place_count == s->place_capacity) {
        size_t capacity = s->place_capacity ? s->place_capacity * 2 : 16;
        struct ow_kafka_place **grown = reallocarray(s->places, capacity, sizeof *grown);
        if (!grown)
            return NULL;
        s->places = grown;
        s->place_capacity = capacity;
    }
    struct ow_kafka_place *p = malloc(sizeof *p);
    char *name = strdup(topic);
    if (!p || !name) {
        free(p);
        free(name);
        return NULL;
    }
    *p = (struct ow_kafka_place){.topic = name,
                                 .partition = partition,
                                 .next = -1,
                                 .settled = -1,
                                 .sent = -1,
                                 .durable = -1,
                                 .end_at_open = -1,
                                 .stale_batch = s->batch_number};
    p->queue = rd_kafka_queue_get_partition(s->client.rk, topic, partition);
    if (p->queue)
        rd_kafka_queue_forward(p->queue, s->records);
    s->places[s->place_count++] = p;
    return p;
}

static void drop_kept(struct ow_kafka_subscriber *s, struct ow_kafka_place *p)
{
    if (p->kept_first < p->kept_count && !p->is_paused)
        s->kept_places--;
    while (p->kept_first < p->kept_count)
        rd_kafka_message_destroy(p->kept[p->kept_first++]);
    p->kept_first = p->kept_count = p->kept_bytes = 0;
}

void ow_kafka_place_remove(struct ow_kafka_subscriber *s, struct ow_kafka_place *p)
{
    for (size_t i = 0; i < s->place_count; i++)
        if (s->places[i] == p)
            s->places[i] = s->places[--s->place_count];
    if (s->last == p)
        s->last = NULL;
    drop_kept(s, p);
    free(p->kept);
    if (p->queue)
        rd_kafka_queue_destroy(p->queue);
    free(p->topic);
    free(p);
}

/* --- paused ------------------------------------------------------------------------------------------- */

/* librdkafka drops what it has fetched of a partition that is stopped, and fetches from behind what it has
   handed over when it is not any more. */
static void stop(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, bool is_stopped)
{
    rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(one, p->topic, p->partition);
    (void)(is_stopped ? rd_kafka_pause_partitions(s->client.rk, one) : rd_kafka_resume_partitions(s->client.rk, one));
    rd_kafka_topic_partition_list_destroy(one);
    p->is_stopped = is_stopped;
    p->was_stopped = true;
}

int ow_kafka_place_keep(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, rd_kafka_message_t *m)
{
    if (p->kept_count == p->kept_capacity) {
        size_t capacity = p->kept_capacity ? p->kept_capacity * 2 : 64;
        rd_kafka_message_t **grown = reallocarray(p->kept, capacity, sizeof *grown);
        if (!grown)
            return OW_ENOMEM;
        p->kept = grown;
        p->kept_capacity = capacity;
    }
    p->kept[p->kept_count++] = m;
    p->kept_bytes += m->len + m->key_len;
    if (!p->is_stopped && (p->kept_count - p->kept_first >= KEPT_MAX || p->kept_bytes >= KEPT_BYTES_MAX))
        stop(s, p, true);
    return 0;
}

rd_kafka_message_t *ow_kafka_place_kept(struct ow_kafka_subscriber *s)
{
    for (size_t i = 0; s->kept_places > 0 && i < s->place_count; i++) {
        struct ow_kafka_place *p = s->places[i];
        if (p->is_paused || p->kept_first == p->kept_count)
            continue;
        rd_kafka_message_t *m = p->kept[p->kept_first++];
        p->kept_bytes -= m->len + m->key_len;
        if (p->kept_first == p->kept_count) {
            p->kept_first = p->kept_count = p->kept_bytes = 0;
            s->kept_places--;
        }
        return m;
    }
    return NULL;
}

void ow_kafka_place_pause(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, bool is_paused)
{
    if (p->is_paused == is_paused)
        return;
    p->is_paused = is_paused;
    if (p->kept_first < p->kept_count) {
        if (is_paused)
            s->kept_places--;
        else
            s->kept_places++;
    }
    if (!is_paused && p->is_stopped)
        stop(s, p, false);
}

/* --- elsewhere ---------------------------------------------------------------------------------------- */

int ow_kafka_place_seek(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, int64_t offset, struct ow_error *err)
{
    drop_kept(s, p);
    p->stale_batch = s->batch_number;
    p->next = offset >= 0 ? offset : -1;
    p->least = 0;
    p->has_begun = p->has_met_end = p->was_stopped = false;
    if (offset < p->settled && offset != RD_KAFKA_OFFSET_END)
        p->settled = -1; /* what is settled from now on may stand before that */
    p->keeps_start = false;
    rd_kafka_topic_partition_t *start = s->starts
                                            ? rd_kafka_topic_partition_list_find(s->starts, p->topic, p->partition)
                                            : NULL;
    if (start) { /* it is just being assigned */
        start->offset = offset;
        return 0;
    }
    rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(one, p->topic, p->partition)->offset = offset;
    rd_kafka_error_t *error = rd_kafka_seek_partitions(s->client.rk, one, 0);
    rd_kafka_topic_partition_list_destroy(one);
    if (!error)
        return 0;
    (void)ow_error_set(err, OW_EIO, "%s: %s, partition %d: cannot go to another offset: %s", s->settings.text, p->topic,
                       (int)p->partition, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return OW_EIO;
}
