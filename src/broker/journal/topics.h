/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the journal: the topics that a publisher writes to, and within one write transaction where each
 * of their partitions stands. Between transactions other processes may have moved them on, so each
 * transaction reads a topic anew when it first needs it. What was made in a transaction that is rolled back
 * is forgotten with ow_journal_topics_clear().
 */
#ifndef OW_BROKER_JOURNAL_TOPICS_H
#define OW_BROKER_JOURNAL_TOPICS_H

#include "broker/journal/file.h"

struct ow_journal_partition {
    int64_t id, next_offset, indexed_seq;
    struct ow_journal_partition *next_changed;
    bool is_changed; /* stands in the list of what this transaction changed */
};

struct ow_journal_topic {
    struct ow_bytes name; /* owned */
    uint64_t hash;
    int64_t id;
    uint64_t transaction; /* the one for which `partitions` is true */
    uint32_t partition_count, next_unkeyed;
    struct ow_journal_topic *next; /* of its bucket */
    struct ow_journal_partition partitions[];
};

struct ow_journal_topics {
    struct ow_journal_topic **buckets, *last; /* last: the one found last */
    size_t count, mask;
    struct ow_journal_partition *changed;
    struct ow_statement *find, *insert, *insert_partitions, *read, *write;
};

/* The topic, its partitions as of `transaction`; made, with `partitions` of them, if it is not there. Within a
   write transaction. The topic is valid until ow_journal_topics_clear(). */
int ow_journal_topics_get(struct ow_journal_topics *topics, struct ow_store *store, struct ow_bytes name,
                          uint64_t transaction, uint32_t partitions, struct ow_journal_topic **ret,
                          struct ow_error *err) OW_MUST_CHECK;
/* The partition where a message with this key goes: as with Kafka's default partitioner, without a key one
   after the other. */
struct ow_journal_partition *ow_journal_topic_partition(struct ow_journal_topics *topics,
                                                        struct ow_journal_topic *topic, struct ow_bytes key);
/* Writes back what ow_journal_topic_partition() gave out since the last call. */
int ow_journal_topics_write(struct ow_journal_topics *topics, struct ow_store *store,
                            struct ow_error *err) OW_MUST_CHECK;
void ow_journal_topics_clear(struct ow_journal_topics *topics);

#endif
