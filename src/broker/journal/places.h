/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the journal: the partitions that a subscriber knows, and where it stands in each. They are found
 * by looking at the journal, also those that come later; a place is never moved or taken away while the
 * subscriber lives.
 */
#ifndef OW_BROKER_JOURNAL_PLACES_H
#define OW_BROKER_JOURNAL_PLACES_H

#include "broker/journal/file.h"

struct ow_journal_place {
    int64_t id; /* of the partition's row */
    int64_t topic_id, partition_count, number;
    struct ow_bytes topic; /* owned */
    int64_t first, end;    /* what is there: [first, end) */
    int64_t end_at_open;   /* 0: came later */
    int64_t settled;       /* in the group */
    int64_t next;          /* offset of the record to be given out next */
    int64_t seq_min;       /* that record does not stand before this; 0: not known */
    uint32_t generation;   /* counts jumps; records read before one are not given out */
    bool is_ours, is_paused;
};

struct ow_journal_places {
    const struct ow_bytes *topics; /* the caller's; the ones wanted; NULL: all */
    size_t topic_count;
    struct ow_journal_place **items; /* by id */
    size_t count, capacity;
    bool was_read;
    struct ow_statement *read, *find;
};

/* Reads where the partitions stand, and finds new ones (their next is -1). */
int ow_journal_places_read(struct ow_journal_places *places, struct ow_store *store,
                           struct ow_error *err) OW_MUST_CHECK;
struct ow_journal_place *ow_journal_places_by_id(const struct ow_journal_places *places, int64_t id);
struct ow_journal_place *ow_journal_places_find(const struct ow_journal_places *places, struct ow_bytes topic,
                                                int64_t number);
/* The seq from which on the place's next record is to be looked for. */
int ow_journal_places_seq(struct ow_journal_places *places, struct ow_store *store,
                          const struct ow_journal_place *place, int64_t *ret, struct ow_error *err) OW_MUST_CHECK;
/* Frees; the statements belong to the store. */
void ow_journal_places_done(struct ow_journal_places *places);

static inline bool ow_journal_place_is_readable(const struct ow_journal_place *place)
{
    return place->is_ours && !place->is_paused && place->next < place->end;
}
/* Goes on at another offset; one that is not there any more, or not yet, is put right. */
void ow_journal_place_jump(struct ow_journal_place *place, int64_t offset);

#endif
