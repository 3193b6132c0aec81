/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the Kafka subscriber share.
 *
 *   kafka_subscribe.c         the contract of subscriber.h: giving out, pausing, settling
 *   kafka_subscribe_record.c  what librdkafka has fetched becomes records
 *   kafka_subscribe_place.c   the partitions that are ours, and what is kept of those that are paused
 *   kafka_subscribe_group.c   a member of a group: partitions come and go; offsets are made durable
 *   kafka_subscribe_alone.c   without a group: all partitions, looked for
 *
 * Two queues of librdkafka, which ring one eventfd: `control` has what concerns the group and the
 * connections, `records` the records of all partitions, so that the one can be looked after while nobody
 * wants the other, and what is fetched ahead is bounded for all partitions together.
 */
#ifndef OW_BROKER_KAFKA_SUBSCRIBE_H
#define OW_BROKER_KAFKA_SUBSCRIBE_H

#include "broker/kafka.h"
#include "broker/subscriber.h"

enum {
    OW_KAFKA_COMMIT_MS = 250, /* how long what is settled may wait, so that many are made durable in one request */
    OW_KAFKA_FLUSH_MS = 5000, /* before a partition goes, and at the end */
    OW_KAFKA_END_MS = 500,    /* at the end, when nobody has heard of it */
    OW_KAFKA_LOOK_MS = 5000,  /* between two looks for new partitions */
    OW_KAFKA_ASK_MS = 1000,   /* whether brokers are back */
    OW_KAFKA_BATCH_RECORDS = 512,
};

/* A partition that is ours. */
struct ow_kafka_place {
    char *topic;
    int32_t partition;
    rd_kafka_queue_t *queue;
    const void *handle;             /* of its topic, as its records have it; only to be compared */
    int64_t next;                   /* -1: wherever its first record stands */
    int64_t least;                  /* what stands before this is not given out */
    int64_t settled, sent, durable; /* the offset behind: settled, on its way to be durable, durable; -1 */
    int64_t end_at_open;            /* -1: that at which the end is met first */
    uint64_t stale_batch;           /* what this batch holds of it is not given out any more */
    bool is_paused, is_stopped;     /* stopped: fetched no more while it is paused */
    bool has_begun, has_met_end;    /* begun: a record was given out since it came, or since a seek */
    bool keeps_start;               /* where it starts is settled */
    bool was_stopped;               /* what was fetched before may come once more */
    /* Fetched while it was paused; [first, count). */
    rd_kafka_message_t **kept;
    size_t kept_first, kept_count, kept_capacity, kept_bytes;
};

struct ow_kafka_subscriber {
    struct ow_subscriber base;
    struct ow_kafka_settings settings;
    struct ow_kafka_client client; /* its queue is `control` */
    rd_kafka_queue_t *records, *nothing;
    char *group; /* NULL: none */
    char **topics;
    size_t topic_count; /* 0: all */
    int64_t from;
    uint32_t session_ms;
    ow_subscriber_listener *listener;
    void *context;

    struct ow_kafka_place **places, *last;
    size_t place_count, place_capacity;
    rd_kafka_topic_partition_list_t *starts; /* while partitions are being assigned: where they start */

    rd_kafka_message_t **batch, *given; /* batch: [batch_first, batch_count) */
    size_t batch_first, batch_count;
    uint64_t batch_number;
    struct ow_header *headers;
    size_t header_capacity;

    int64_t served_ms, commit_due_ms, look_due_ms, ask_due_ms;
    bool is_held, may_have_more, has_unsettled, is_committing, has_assignment;
    size_t kept_places;                 /* that are not paused and have something kept */
    char absent[OW_KAFKA_REASON_SIZE];  /* a topic that is not there; "" */
    char lasting[OW_KAFKA_REASON_SIZE]; /* a trouble of a partition, until a record comes */
    char trouble[2 * OW_KAFKA_REASON_SIZE], down[2 * OW_KAFKA_REASON_SIZE];
    struct ow_error error; /* to be told by next() */
};

/* --- records ------------------------------------------------------------------------------------------ */

/* What was fetched, into `batch`, which must be used up. False: nothing is there. */
bool ow_kafka_batch_fill(struct ow_kafka_subscriber *s);
/* Takes the record over; `is_kept`: it was kept of a place that was paused. 1: it is given out, its bytes being there
   until `given` is destroyed; 0: it is dealt with otherwise. */
int ow_kafka_record_judge(struct ow_kafka_subscriber *s, rd_kafka_message_t *message, bool is_kept,
                          struct ow_record *ret, struct ow_error *err) OW_MUST_CHECK;

/* --- places ------------------------------------------------------------------------------------------- */

/* NULL: it is not ours. */
struct ow_kafka_place *ow_kafka_place_find(struct ow_kafka_subscriber *s, struct ow_bytes topic, int32_t partition);
/* The place of a record; NULL: not ours, or not any more. */
struct ow_kafka_place *ow_kafka_place_of(struct ow_kafka_subscriber *s, const rd_kafka_message_t *message);
/* A new one, its records coming to `records`. NULL: out of memory. */
struct ow_kafka_place *ow_kafka_place_add(struct ow_kafka_subscriber *s, const char *topic, int32_t partition);
void ow_kafka_place_remove(struct ow_kafka_subscriber *s, struct ow_kafka_place *place);
/* Takes the record over, and stops fetching when there is much. */
int ow_kafka_place_keep(struct ow_kafka_subscriber *s, struct ow_kafka_place *place, rd_kafka_message_t *message);
/* The next one that was kept of any place that is not paused; NULL: none. */
rd_kafka_message_t *ow_kafka_place_kept(struct ow_kafka_subscriber *s);
void ow_kafka_place_pause(struct ow_kafka_subscriber *s, struct ow_kafka_place *place, bool is_paused);
/* Goes on at this offset, or RD_KAFKA_OFFSET_*; what was fetched is dropped. */
int ow_kafka_place_seek(struct ow_kafka_subscriber *s, struct ow_kafka_place *place, int64_t offset,
                        struct ow_error *err) OW_MUST_CHECK;

/* --- group -------------------------------------------------------------------------------------------- */

int ow_kafka_group_join(struct ow_kafka_subscriber *s, struct ow_error *err) OW_MUST_CHECK;
void ow_kafka_group_rebalance(struct ow_kafka_subscriber *s, rd_kafka_event_t *event);
/* Begins to make durable what was settled. */
void ow_kafka_group_commit(struct ow_kafka_subscriber *s);
void ow_kafka_group_committed(struct ow_kafka_subscriber *s, rd_kafka_event_t *event);
int ow_kafka_group_flush(struct ow_kafka_subscriber *s, int timeout_ms, struct ow_error *err) OW_MUST_CHECK;
/* The subscriber's handle is destroyed afterwards without more ado. False: nobody has heard of it. */
bool ow_kafka_group_leave(struct ow_kafka_subscriber *s);

/* --- alone -------------------------------------------------------------------------------------------- */

/* Takes all partitions that are new. */
int ow_kafka_alone_look(struct ow_kafka_subscriber *s, bool is_first, struct ow_error *err) OW_MUST_CHECK;

#endif
