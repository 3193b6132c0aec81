/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded journal: what it tells about itself. Publishing is in broker.h, reading in subscriber.h. */
#ifndef OW_BROKER_JOURNAL_JOURNAL_H
#define OW_BROKER_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct ow_journal_partition_status {
    const char *topic;
    int64_t partition;                 /* its number within the topic */
    int64_t first_offset, next_offset; /* what is there: [first, next) */
};

/* One partition of one group. */
struct ow_journal_group_status {
    const char *group, *topic;
    int64_t partition;
    int64_t offset;  /* everything before it is settled */
    int64_t lag;     /* records that are there and not settled */
    int64_t time_ms; /* when that was said last; wall clock */
    int64_t process; /* who reads it, if alive; else 0 */
};

struct ow_journal_source_status {
    const char *name, *position;
    int64_t time_ms; /* of its last transaction; wall clock */
};

struct ow_journal_status {
    struct ow_journal_partition_status *partitions; /* by topic and number */
    size_t partition_count;
    struct ow_journal_group_status *groups; /* by group, topic and number */
    size_t group_count;
    struct ow_journal_source_status *sources; /* by name */
    size_t source_count;
    int64_t bytes_used, bytes_file; /* of the pages in use, of all pages; the -wal not counted */
    void *texts;                    /* private: what the names point into */
};

/* Opens the file, reads, closes; blocks no longer than one statement. Any thread. OW_ENOTFOUND: no such
   file; OW_ECORRUPT: it is no journal; OW_EVERSION. On failure *ret is left empty. */
int ow_journal_status_read(const char *path, struct ow_journal_status *ret, struct ow_error *err) OW_MUST_CHECK;
void ow_journal_status_done(struct ow_journal_status *status);

#endif
