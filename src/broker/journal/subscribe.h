/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the journal's subscriber share. Private to them.
 *
 *   subscribe.c         the contract of subscriber.h: giving out, pausing, settling
 *   subscribe_batch.c   the records that are read at once, into own memory
 *   subscribe_group.c   a member of a group: partitions come and go
 */
#ifndef OW_BROKER_JOURNAL_SUBSCRIBE_H
#define OW_BROKER_JOURNAL_SUBSCRIBE_H

#include "broker/journal/groups.h"
#include "broker/journal/places.h"
#include "broker/subscriber.h"

enum { OW_JOURNAL_BATCH_RECORDS = 500 };

/* Bytes of a record, in the buffer of the batch, which may move while it grows. */
struct ow_journal_span {
    size_t at, size;
    bool is_null;
};

struct ow_journal_kept {
    struct ow_journal_place *place;
    uint32_t generation; /* of the place, when this was read */
    int64_t seq, offset, time_ms;
    struct ow_journal_span id, key, type, headers, value;
};

struct ow_journal_subscriber {
    struct ow_subscriber base;
    char *path, *group;
    struct ow_bytes *topics; /* one block with their bytes; NULL: all */
    char *topics_text;       /* for the group: each ended by a line break */
    size_t topic_count;
    int64_t from;
    ow_subscriber_listener *listener;
    void *context;
    struct ow_store *store; /* NULL: not open */
    struct ow_journal_places places;
    struct ow_journal_member member;
    bool has_member, must_fill, has_pending; /* pending: a partition is ours but not free yet */
    bool is_held;                            /* nothing is given out */
    int64_t next_look_ms;
    struct ow_journal_kept *kept; /* OW_JOURNAL_BATCH_RECORDS of them */
    size_t kept_count, kept_given;
    struct ow_buf bytes;
    struct ow_header *headers;
    size_t header_capacity;
    struct ow_statement *read;
};

void ow_journal_subscriber_tell(struct ow_journal_subscriber *s, enum ow_subscriber_event event,
                                const struct ow_journal_place *place);
/* Where a partition begins of which nothing was settled. */
int64_t ow_journal_subscriber_start(const struct ow_journal_subscriber *s, const struct ow_journal_place *place);

/* --- batches (subscribe_batch.c) ------------------------------------------------------------------------ */

/* Without a group: all partitions are ours, and those that are new begin. */
void ow_journal_subscriber_start_alone(struct ow_journal_subscriber *s);
/* Reads the next records; what was read before is gone. */
int ow_journal_subscriber_fill(struct ow_journal_subscriber *s, struct ow_error *err) OW_MUST_CHECK;
/* 1: a record of the batch; 0: the batch is used up. */
int ow_journal_subscriber_give(struct ow_journal_subscriber *s, struct ow_record *ret,
                               struct ow_error *err) OW_MUST_CHECK;

/* --- the group (subscribe_group.c) ---------------------------------------------------------------------- */

/* Looks who is alive, gives up what is another's now, and takes what is ours and free. */
int ow_journal_subscriber_share(struct ow_journal_subscriber *s, struct ow_error *err) OW_MUST_CHECK;

#endif
