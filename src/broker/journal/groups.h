/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the journal: membership in a consumer group, without leases and without a coordinator.
 *
 * Who is alive is said by locks of the operating system in the file PATH-onewrite.lock: a member holds a lock
 * with its own number, which goes with its process, however that ends. Members look at each other about
 * every OW_JOURNAL_LOOK_MS. Who gets which partition follows from the list of the living alone, so all come
 * to the same result without talking. A partition changes hands by another lock, one for each partition of
 * each group: it can be taken only when its last holder has given it up. On top of that the row of a settled
 * offset carries the member who may move it, so that somebody who has lost a partition without noticing (the
 * lock file was deleted) can settle nothing.
 */
#ifndef OW_BROKER_JOURNAL_GROUPS_H
#define OW_BROKER_JOURNAL_GROUPS_H

#include <sys/types.h>

#include "broker/journal/file.h"

enum { OW_JOURNAL_LOOK_MS = 200 };

struct ow_journal_member {
    int64_t group, id;
    /* private to groups.c */
    struct ow_store *store; /* the caller's */
    char *lock_path, *topics;
    struct ow_lock_file locks;
    dev_t lock_device;
    ino_t lock_inode;
    struct ow_journal_peer *alive; /* by id, this one among them */
    size_t alive_count, alive_capacity;
    struct ow_statement *insert_group, *find_group, *insert, *read, *delete, *read_offset, *claim, *settle;
};

/* `topics`: names, each ended by a line break, or NULL for all. The member is zeroed before. */
int ow_journal_member_join(struct ow_journal_member *member, struct ow_store *store, const char *path,
                           const char *group, const char *topics, struct ow_error *err) OW_MUST_CHECK;
/* Gives up every lock and, if `says_so`, takes its row away. Before the store is closed; harmless when not
   joined. */
void ow_journal_member_leave(struct ow_journal_member *member, bool says_so);

/* Reads who is alive. 0, or 1: the locks are worth nothing any more; everything held is lost, and the
   member has to leave and join again. */
int ow_journal_member_look(struct ow_journal_member *member, struct ow_error *err) OW_MUST_CHECK;
/* Whether partition `number` of the `count` of this topic is this member's part. */
bool ow_journal_member_should_have(const struct ow_journal_member *member, int64_t topic_id, struct ow_bytes topic,
                                   int64_t count, int64_t number);

/* Takes the lock of a partition (the id of its row). OW_EBUSY: its last holder has it still. */
int ow_journal_member_lock(struct ow_journal_member *member, int64_t partition, struct ow_error *err) OW_MUST_CHECK;
void ow_journal_member_unlock(struct ow_journal_member *member, int64_t partition);
/* Within a write transaction, with the lock: from now on this member settles. *offset is where to begin if
   nothing was settled, and becomes where to begin. */
int ow_journal_member_claim(struct ow_journal_member *member, int64_t partition, int64_t *offset,
                            struct ow_error *err) OW_MUST_CHECK;
/* Everything before `offset` is settled; durable when it returns. OW_ESTANDBY: another member claimed it. */
int ow_journal_member_settle(struct ow_journal_member *member, int64_t partition, int64_t offset,
                             struct ow_error *err) OW_MUST_CHECK;

/* For a look from outside: whether this member of the journal at `path` is alive. */
bool ow_journal_member_is_alive(const char *path, int64_t member);

#endif
