/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker, subscribing: the contract of reading messages back, alone or as a member of a consumer group.
 *
 * With a group, the partitions of the topics are shared among its members, each partition having one
 * member at a time, and settled offsets are kept by the broker. Without one (group NULL) the subscriber
 * sees every partition and nothing is remembered.
 */
#ifndef OW_BROKER_SUBSCRIBER_H
#define OW_BROKER_SUBSCRIBER_H

#include "base/wait.h"
#include "core/record.h"

#define OW_OFFSET_BEGINNING (-2)
#define OW_OFFSET_END       (-1)

enum ow_subscriber_event { OW_EVENT_ASSIGNED, OW_EVENT_REVOKED, OW_EVENT_LOST };

/* Told from inside next() when partitions come and go. REVOKED: settle what is done before returning.
   LOST: they are somebody else's already. */
typedef void ow_subscriber_listener(void *context, enum ow_subscriber_event event, struct ow_bytes topic,
                                    uint32_t partition);

struct ow_subscriber_options {
    const char *group;         /* NULL: none */
    const char *const *topics; /* copied; NULL: all */
    size_t topic_count;
    int64_t from; /* an offset, or OW_OFFSET_*: where to start, in a group only what has no settled offset */
    ow_subscriber_listener *listener; /* may be NULL */
    void *context;
};

struct ow_subscriber;

struct ow_subscriber_ops {
    const char *name;
    int (*open)(struct ow_subscriber *subscriber, struct ow_error *err);
    /* 1: a record, its bytes the subscriber's until the next call; 0: none now. Records of a partition come
       in order of their offsets. */
    int (*next)(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err);
    /* This record and all before it in its partition are done with; durable when it returns. OW_ESTANDBY:
       the partition is not ours any more. */
    int (*settle)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                  struct ow_error *err);
    /* What stands at the end now, for reading until there: 1 if everything up to the end seen at open()
       was given out, else 0. */
    int (*is_at_end)(struct ow_subscriber *subscriber, struct ow_error *err);
    int (*pause)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition);
    int (*resume)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition);
    int (*seek)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                struct ow_error *err);
    void (*wait)(struct ow_subscriber *subscriber, struct ow_wait *wait);
    void (*close)(struct ow_subscriber *subscriber); /* leaves the group; frees */
};

struct ow_subscriber {
    const struct ow_subscriber_ops *ops;
};

/* A file of JSON lines (lines_read.c), which must exist (OW_ENOTFOUND) and be a regular file. All of it is
   partition 0, and an offset is the number of a line, counted from 0; where the file is rotated while it is
   read, counting goes on in the new one, and what is in PATH.1 already is not read back. A line is given out
   once it is complete; blank lines are passed over. next() on a line that is no record: the reader's error
   as "PATH:LINE: …", and the call after it goes on behind that line. No groups (OW_EUNSUPPORTED), no pause;
   settle() has nothing to do; seek() moves through the file that is open, whatever the topic. */
int ow_file_subscriber_new(const char *path, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                           struct ow_error *err) OW_MUST_CHECK;

/* The embedded journal; the file must exist (OW_ENOTFOUND). */
int ow_journal_subscriber_new(const char *path, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                              struct ow_error *err) OW_MUST_CHECK;

#endif
