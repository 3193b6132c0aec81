/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters in a store, for onewrite dlq: read, put back, thrown away. Belongs to one thread; calls wait for the
 * store. */
#ifndef OW_CMD_DLQ_STORE_H
#define OW_CMD_DLQ_STORE_H

#include "config/url.h"
#include "store/store.h"

/* A row of the table; the bytes are owned and end in NUL. */
enum ow_letter_column {
    OW_LETTER_NUMBER,
    OW_LETTER_STATE,
    OW_LETTER_SOURCE,
    OW_LETTER_POSITION,
    OW_LETTER_ORIGIN,
    OW_LETTER_ID,
    OW_LETTER_AGGREGATE_TYPE,
    OW_LETTER_AGGREGATE_ID,
    OW_LETTER_TYPE,
    OW_LETTER_TOPIC,
    OW_LETTER_KEY,
    OW_LETTER_PAYLOAD,
    OW_LETTER_PAYLOAD_BYTES,
    OW_LETTER_HEADERS,
    OW_LETTER_TIME,
    OW_LETTER_ROW,
    OW_LETTER_REASON,
    OW_LETTER_ATTEMPTS,
    OW_LETTER_REPLAYS,
    OW_LETTER_HISTORY,
    OW_LETTER_FIRST_ASIDE,
    OW_LETTER_ASIDE,
    OW_LETTER_REPLAYED,
    OW_LETTER_COLUMN_COUNT,
};
struct ow_letter {
    struct ow_value columns[OW_LETTER_COLUMN_COUNT];
    char *bytes;
    bool is_chosen;
};

struct ow_letters {
    struct ow_letter *items; /* in the order of their numbers */
    size_t count, capacity;
    bool lacks_contents; /* payloads and rows were not asked for */
};
void ow_letters_done(struct ow_letters *letters);

static inline struct ow_bytes ow_letter_text(const struct ow_letter *letter, enum ow_letter_column column)
{
    return letter->columns[column].bytes;
}
static inline bool ow_letter_is(const struct ow_letter *letter, const char *state)
{
    return ow_bytes_is(letter->columns[OW_LETTER_STATE].bytes, state);
}

/* Opens a store that has an outbox, to read or to change. OW_ENOTFOUND: it has none. */
int ow_letters_open(const struct ow_url *url, bool is_to_change, struct ow_store **ret,
                    struct ow_error *err) OW_MUST_CHECK;
/* Forgets those that were put back and have come by, where the store may be changed, and reads the others. The contents
   of messages only if wanted: they may be large. */
int ow_letters_read(struct ow_store *store, bool is_to_change, bool wants_contents, struct ow_letters *ret,
                    struct ow_error *err) OW_MUST_CHECK;

/* Likewise, of those that are wanted: zeroed, all of them. */
struct ow_letters_wanted {
    int64_t after;     /* numbers above it */
    const char *state; /* NULL: in any */
    int64_t limit;     /* 0: none */
    const char *word;  /* a number or an id; NULL: any */
    bool with_key;     /* and all others of its key */
};
int ow_letters_read_some(struct ow_store *store, bool is_to_change, bool wants_contents,
                         const struct ow_letters_wanted *wanted, struct ow_letters *ret,
                         struct ow_error *err) OW_MUST_CHECK;

/* Puts letters back into where they came from (of a consumer: for it to take from here), and marks them as queued, all
   of them or none: the first `count` of `letters`, of one key or one alone. *ret_count: how many, without those that
   somebody else has put back meanwhile. */
int ow_letters_replay(struct ow_store *store, struct ow_letter *const *letters, size_t count, size_t *ret_count,
                      struct ow_error *err) OW_MUST_CHECK;
/* After all of that: where the queued ones stand in the log is known now. */
int ow_letters_settle(struct ow_store *store, struct ow_error *err) OW_MUST_CHECK;
int ow_letters_discard(struct ow_store *store, struct ow_letter *const *letters, size_t count,
                       struct ow_error *err) OW_MUST_CHECK;

#endif
