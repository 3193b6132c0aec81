/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the journal: which messages of a source were accepted of late. A set of (hash of id, seq), read
 * once from the records at or after journal_source.since; a hit is verified against the record itself, so
 * the set costs 16 bytes a record, however long the ids are.
 */
#ifndef OW_BROKER_JOURNAL_ACCEPTED_H
#define OW_BROKER_JOURNAL_ACCEPTED_H

#include "broker/journal/file.h"

struct ow_journal_accepted {
    struct ow_journal_accepted_entry *entries; /* NULL: not read yet */
    size_t mask, count;
    struct ow_statement *read, *read_id;
};

/* Reads the set: records of source `source` from `since` to before `end`. */
int ow_journal_accepted_read(struct ow_journal_accepted *accepted, struct ow_store *store, int64_t since, int64_t end,
                             int64_t source, struct ow_error *err) OW_MUST_CHECK;
/* 1: a record with this id is in it; 0: none. */
int ow_journal_accepted_has(struct ow_journal_accepted *accepted, struct ow_store *store, struct ow_bytes id,
                            struct ow_error *err) OW_MUST_CHECK;
/* Forgets the set, not the statements, which belong to the store. */
void ow_journal_accepted_drop(struct ow_journal_accepted *accepted);

#endif
