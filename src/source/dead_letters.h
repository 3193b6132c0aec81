/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters of one source, in the table that the store has for them: written, and asked about by a relay that parks.
 *
 * A letter is dead (it cannot be published), parked (it waits behind one of its key), or queued (a person has put it
 * back: it is in the outbox again, and its row tells how often that was done until it has come by). The letters of a
 * key are in order by their number.
 *
 * A key that has letters is in `keys`. Of a message of such a key the table is asked what stands before it: a letter
 * that is dead or parked, or one that is queued and in the source behind this message.
 *
 * Calls wait for the store, at most a statement timeout. Private to src/source.
 */
#ifndef OW_SOURCE_DEAD_LETTERS_H
#define OW_SOURCE_DEAD_LETTERS_H

#include "core/keyset.h"
#include "core/message.h"
#include "store/store.h"

enum ow_letter_origin {
    OW_LETTER_OF_OUTBOX,  /* our own table */
    OW_LETTER_OF_MESSAGE, /* a logical message of ours */
    OW_LETTER_OF_ROW,     /* another table: the message has an image of the row */
    OW_LETTER_OF_OTHER,   /* nothing that could be put back */
};

struct ow_dead_letters {
    const char *source; /* "polling", or the slot; the caller's */
    struct ow_keyset keys;
};

struct ow_dead_letter {
    const struct ow_message *message; /* routed */
    enum ow_letter_origin origin;
    const char *place;  /* where it stands in the source, for people, and to know it again */
    uint64_t position;  /* the same as a number that grows: its seq, or the LSN of its commit */
    const char *reason; /* NULL: it is parked */
    uint32_t attempts;
};

/* Finds the keys that have letters; also called again when others may have written some. */
int ow_dead_letters_load(struct ow_dead_letters *letters, struct ow_store *store, struct ow_error *err) OW_MUST_CHECK;
void ow_dead_letters_done(struct ow_dead_letters *letters);

/* Writes a letter; one that is there already is left as it is, and one that was put back is dead, or parked, again. */
int ow_dead_letters_write(struct ow_dead_letters *letters, struct ow_store *store, const struct ow_dead_letter *letter,
                          struct ow_error *err) OW_MUST_CHECK;
/* 1: a letter of its key stands before this message. */
int ow_dead_letters_stand_before(struct ow_dead_letters *letters, struct ow_store *store,
                                 const struct ow_message *message, uint64_t position,
                                 struct ow_error *err) OW_MUST_CHECK;
/* Remembers the key of a letter that was written in another way; null: there is none. */
int ow_dead_letters_note(struct ow_dead_letters *letters, struct ow_bytes key, struct ow_error *err) OW_MUST_CHECK;

#define OW_PARKED_REASON "waits behind a dead letter of its key"

#endif
