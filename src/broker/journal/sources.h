/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the journal: how far each relay's source has been accepted, and from which record on something
 * may be accepted that its source does not know of yet.
 */
#ifndef OW_BROKER_JOURNAL_SOURCES_H
#define OW_BROKER_JOURNAL_SOURCES_H

#include "broker/journal/file.h"

struct ow_journal_source {
    int64_t id; /* 0: it has no row */
    int64_t since, mark, mark_count;
};

struct ow_journal_sources {
    struct ow_statement *read, *write;
};

/* 1: read; 0: the journal does not know this source, and *ret and *ret_position are untouched. ret_position may
   be NULL. */
int ow_journal_source_read(struct ow_journal_sources *sources, struct ow_store *store, const char *name,
                           struct ow_journal_source *ret, struct ow_position *ret_position,
                           struct ow_error *err) OW_MUST_CHECK;
/* Within the transaction that holds its records [first_seq, next_seq): from now on the source is at
   `position`. *source is as it was read, and is brought up to date. */
int ow_journal_source_write(struct ow_journal_sources *sources, struct ow_store *store, const char *name,
                            struct ow_position position, int64_t first_seq, int64_t next_seq,
                            struct ow_journal_source *source, struct ow_error *err) OW_MUST_CHECK;

#endif
