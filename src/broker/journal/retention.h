/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the journal: how old records go, by age and by used space, oldest first over all topics.
 *
 * Age is counted from when a record was written, not from the time that its message carries:
 * journal_clock notes from time to time which records were there by then. A step takes away what is due, but
 * only so many records, so that no transaction becomes long; it runs within a publisher's transaction, which
 * saves a sync of its own. Space is what the pages in use occupy; the file itself does not shrink, its free
 * pages are used again.
 */
#ifndef OW_BROKER_JOURNAL_RETENTION_H
#define OW_BROKER_JOURNAL_RETENTION_H

#include "broker/journal/file.h"

struct ow_journal_retention {
    int64_t age_ms, bytes; /* the bounds; 0: none */
    int64_t next_ms;       /* monotonic: when to look again */
    bool is_behind;        /* the last step could not take away all that was due */
    int64_t page_bytes;
    struct ow_statement *first_seq, *page_count, *free_count, *page_size, *clock_newest, *insert_clock, *clock_cut,
        *delete_clock, *cut_offsets, *write_first, *delete_index, *delete_records;
};

void ow_journal_retention_init(struct ow_journal_retention *retention, int64_t age_ms, int64_t bytes);
/* Whether a step has something to look at now. */
bool ow_journal_retention_is_due(const struct ow_journal_retention *retention, int64_t now_ms);
/* One step, within a write transaction. Records from `keep_from` on stay; next_seq is the seq of the next
   record to be written; `more` is how many this transaction has added. */
int ow_journal_retention_step(struct ow_journal_retention *rt, struct ow_store *store, int64_t keep_from,
                              int64_t next_seq, int64_t more, struct ow_error *err) OW_MUST_CHECK;

#endif
