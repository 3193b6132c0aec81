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

/* Told from inside next() when partitions come and go (by a journal from inside open() and settle() too), and not by
   close().
   ASSIGNED: it is given out from where the group is, unless seek() says another place before the listener returns:
   that is how offsets are kept elsewhere, in the transaction of what is done with the records. No record of it was
   given out yet.
   REVOKED: settle what is done before returning; that is made durable then, and nobody else is given the
   partition before. Returning may take some seconds, for work that is under way to end.
   LOST: it is somebody else's already, who begins behind what was durable.
   After REVOKED and LOST no record of it comes, and what is settled of it is refused with OW_ESTANDBY. A listener may
   call settle(), seek(), pause(), resume() and look(). */
typedef void ow_subscriber_listener(void *context, enum ow_subscriber_event event, struct ow_bytes topic,
                                    uint32_t partition);

struct ow_subscriber_options {
    const char *group;         /* NULL: none */
    const char *const *topics; /* copied; NULL: all */
    size_t topic_count;
    int64_t from; /* an offset, or OW_OFFSET_*: where to start, in a group only what has no settled offset */
    ow_subscriber_listener *listener; /* may be NULL */
    void *context;
    uint32_t session_ms; /* Kafka: a member that was not heard of for so long has lost its partitions; 0: 10 s */
};

/* Where a subscriber stands in a partition; -1: not known. */
struct ow_standing {
    int64_t next;    /* the offset that is given out next, or is waited for */
    int64_t end;     /* one behind the last record that may be given out, as last heard */
    int64_t settled; /* durable in the group: where another member would begin */
};

struct ow_subscriber;

struct ow_subscriber_ops {
    const char *name;
    int (*open)(struct ow_subscriber *subscriber, struct ow_error *err);
    /* 1: a record, its bytes the subscriber's until the next call of next() or close(); 0: none now. Records of a
       partition come in order of their offsets. To be called when wait() says so, also while all is paused:
       a group is looked after in here. After an error it may be called again; OW_EDENIED and other permanent
       ones come again. */
    int (*next)(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err);
    /* This record and all before it in its partition are done with. Cheap with Kafka, where it is made durable
       later, by next() and without waiting for it: within 250 ms, if next() is called then; before a partition
       goes to another member; by flush(); by close(). With a journal it is durable when it returns, and costs a sync of
       the disk. What is not durable when the process ends is given out again. OW_ESTANDBY: the partition
       is not ours any more. */
    int (*settle)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                  struct ow_error *err);
    /* Waits, at most so long, until all that was settled is durable. OW_EUNREACHABLE: it is not, and is tried on.
       OW_ESTANDBY: some of it is refused, since its partition is not ours any more, which next() will tell. */
    int (*flush)(struct ow_subscriber *subscriber, int timeout_ms, struct ow_error *err);
    /* What stands at the end now, for reading until there: 1 if everything up to the end seen at open() (of a
       member of a group of Kafka: when the partition came) was given out, else 0. OW_ENOTFOUND: a topic that was asked
       for is not there; of several, and in a group, only when the others are at their end. */
    int (*is_at_end)(struct ow_subscriber *subscriber, struct ow_error *err);
    /* Nothing of the partition is given out until resume(); with a null topic: nothing at all. Pausing
       everything is for whoever has enough to do: it costs nothing and loses nothing that was fetched, and next(),
       which is to be called on, then looks after the group alone. Pausing one partition of Kafka is cheap for a moment;
       when there is much of it to be kept it is dropped, and fetched again. OW_ENOTFOUND: it is not ours. */
    int (*pause)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition);
    int (*resume)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition);
    /* An offset, or OW_OFFSET_*, for what is given out next; one that is not there any more becomes the beginning. */
    int (*seek)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                struct ow_error *err);
    /* Asks nobody else. OW_ENOTFOUND: it is not ours. */
    int (*look)(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, struct ow_standing *ret);
    /* What keeps records from coming just now, though it goes on by itself: brokers that are away, a topic that does
       not exist yet. The subscriber's own, until its next call; NULL: nothing does. NULL in place of the function:
       there are no such times. */
    const char *(*trouble)(struct ow_subscriber *subscriber);
    void (*wait)(struct ow_subscriber *subscriber, struct ow_wait *wait);
    /* Makes durable what was settled, leaves the group, so that others take over at once, and frees. With Kafka it
       waits at most 5 s for that; where its brokers went away just before, librdkafka needs up to 10 s to end. */
    void (*close)(struct ow_subscriber *subscriber);
};

struct ow_subscriber {
    const struct ow_subscriber_ops *ops;
};

/* A file of JSON lines (lines_read.c), which must exist (OW_ENOTFOUND) and be a regular file. All of it is
   partition 0, and an offset is the number of a line, counted from 0; where the file is rotated while it is
   read, counting goes on in the new one, and what is in PATH.1 already is not read back. A line is given out
   once it is complete; blank lines are passed over. next() on a line that is no record: the reader's error
   as "PATH:LINE: …", and the call after it goes on behind that line. No groups (OW_EUNSUPPORTED), no pause but of all;
   settle() has nothing to do; seek() moves through the file that is open, whatever the topic. */
int ow_file_subscriber_new(const char *path, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                           struct ow_error *err) OW_MUST_CHECK;

/* The embedded journal; the file must exist (OW_ENOTFOUND). */
int ow_journal_subscriber_new(const char *path, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                              struct ow_error *err) OW_MUST_CHECK;

/* Kafka (where the build has librdkafka); of the options, servers, text, TLS, SASL and properties count.
   Records of committed transactions only. A header `id` is the id of the message, and is left out of its
   headers if it is the first; headers are as they are otherwise: any bytes, in their order, a name may even be empty. A
   record has no type. Without topics: all but Kafka's own ("__…"). open() waits up to 5 s for the cluster:
   OW_EUNREACHABLE, or OW_EDENIED where it does not let us in. A topic that is not there is waited for, see trouble();
   one that may not be read is an OW_EDENIED of next(), as is the group. In a group partitions are shared out
   cooperatively: those that stay are read on during a rebalance. A group that has settled nothing yet begins at `from`;
   with OW_OFFSET_END that place is settled at once, so that what comes while no member is there is not passed over.
   Where what was settled is not there any more it begins at what is. Without a group nobody is asked for permission to
   join one; new topics and partitions are found within 5 s, for which next() may wait a moment for an answer. Fetched
   ahead: at most about 32 MiB, or more for records that are larger than this. */
struct ow_kafka_options;
int ow_kafka_subscriber_new(const struct ow_kafka_options *kafka, const struct ow_subscriber_options *options,
                            struct ow_subscriber **ret, struct ow_error *err) OW_MUST_CHECK;

#endif
