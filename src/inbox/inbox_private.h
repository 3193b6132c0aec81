/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the inbox in a store share. */
#ifndef OW_INBOX_INBOX_PRIVATE_H
#define OW_INBOX_INBOX_PRIVATE_H

#include "inbox/inbox.h"

enum {
    OW_INBOX_LETTERS_MAX = 1000, /* claimed in one transaction */
};

enum ow_inbox_statement {
    OW_INBOX_SQL_LOOK,
    OW_INBOX_SQL_CLAIM,
    OW_INBOX_SQL_MARK,
    OW_INBOX_SQL_MARK_HANDLED,
    OW_INBOX_SQL_FORGET,
    OW_INBOX_SQL_PUT_LETTER,
    OW_INBOX_SQL_PUT_BACK_LETTER,
    OW_INBOX_SQL_LOOK_LETTER,
    OW_INBOX_SQL_CLAIM_LETTER,
    OW_INBOX_SQL_DROP_LETTER,
    OW_INBOX_SQL_NEXT_QUEUED,
    OW_INBOX_SQL_HOLD_REPLAYS,
    OW_INBOX_SQL_KEEP,
    OW_INBOX_SQL_KEEP_OFFSET,
    OW_INBOX_SQL_KEPT,
    OW_INBOX_SQL_PRUNE_OLD,
    OW_INBOX_SQL_PRUNE_MANY,
    OW_INBOX_SQL_PUBLISH,
    OW_INBOX_STATEMENT_COUNT,
};

struct ow_inbox_in_store {
    struct ow_inbox base;
    struct ow_inbox_options options;
    char *consumer;
    struct ow_store *store;
    bool is_postgres, holds_replays;
    struct ow_statement *statements[OW_INBOX_STATEMENT_COUNT]; /* prepared when first used */
    int64_t letters[OW_INBOX_LETTERS_MAX];                     /* of the transaction: gone when it commits */
    size_t letter_count;
    struct ow_buf ids, keys, scratch, headers;
    struct ow_header *found;
    size_t found_max;
    int64_t prune_due_ms;
    char who[64];
};

static inline struct ow_inbox_in_store *ow_inbox_in_store(struct ow_inbox *inbox)
{
    return (struct ow_inbox_in_store *)inbox;
}

static inline struct ow_value ow_inbox_consumer_value(const struct ow_inbox_in_store *in)
{
    return ow_value_text(ow_bytes_of(in->consumer));
}

int ow_inbox_run(struct ow_inbox_in_store *in, enum ow_inbox_statement which, const struct ow_value *values,
                 size_t count, struct ow_error *err) OW_MUST_CHECK;
/* 1: a row, whose bytes live until the statement is used again; it is left open. */
int ow_inbox_row_of(struct ow_inbox_in_store *in, enum ow_inbox_statement which, const struct ow_value *values,
                    size_t count, struct ow_value *columns, size_t column_count, struct ow_statement **ret,
                    struct ow_error *err) OW_MUST_CHECK;

/* --- inbox_letters.c: slots of the contract ---------------------------------------------------------------- */

int ow_inbox_set_aside(struct ow_inbox *inbox, const struct ow_inbox_entry *entry,
                       const struct ow_inbox_failure *failure, struct ow_error *err) OW_MUST_CHECK;
int ow_inbox_next_queued(struct ow_inbox *inbox, int64_t after, struct ow_inbox_letter *ret,
                         struct ow_error *err) OW_MUST_CHECK;

#endif
