/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Past: the attempts at the snapshot of a first start that came to nothing, and how far each of them was published, so
 * that the next one can leave that out. Pure. Private to src/source.
 *
 * A row of a snapshot stands at (L - 1, place): L is where the slot of this attempt begins, and the place names the row
 * itself, in the order in which the tables are read: it is the same in every attempt that sees the same tables. What an
 * attempt has published is therefore known by the position that is on record: of the rows that this attempt could see,
 * those up to that place. Which rows it could see only the server can tell, from a text that is kept for that. A row
 * that was committed later may have a lower place: by its place alone nothing may be left out.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_PAST_H
#define OW_SOURCE_POSTGRES_LOG_PAST_H

#include "core/position.h"

enum { OW_PG_PAST_MAX = 16 };

struct ow_pg_attempt {
    uint64_t lsn;              /* L */
    uint64_t place;            /* everything that it saw up to there is published, or a dead letter; 0: it is not
                                  judged yet, which only the last one can be */
    struct ow_position before; /* what was on record when it began */
    char *rows;                /* what it could see; owned; no blank is in it, nor in the next */
};

struct ow_pg_past {
    struct ow_pg_attempt attempts[OW_PG_PAST_MAX]; /* the last one is the latest */
    size_t count;
    char *tables; /* what was read, by all of them; owned */
};

enum ow_pg_past_end {
    OW_PG_PAST_AGAIN,   /* the snapshot has to be begun again */
    OW_PG_PAST_THROUGH, /* all of it was published; only that was not noted */
};

void ow_pg_past_done(struct ow_pg_past *past);

/* As one line of text, and back. What cannot be understood is as if there had been no attempt. */
void ow_pg_past_format(const struct ow_pg_past *past, struct ow_buf *to);
int ow_pg_past_parse(struct ow_bytes text, struct ow_pg_past *past, struct ow_error *err) OW_MUST_CHECK;

/* No attempt is under way any more, and this is on record: with it the latest one is judged. */
enum ow_pg_past_end ow_pg_past_settle(struct ow_pg_past *past, struct ow_position record);
/* A new one begins, whose slot is made. If it reads other tables, or they were made anew, nothing can be left out. */
int ow_pg_past_begin(struct ow_pg_past *past, uint64_t lsn, struct ow_position before, const char *rows,
                     const char *tables, struct ow_error *err) OW_MUST_CHECK;
/* Whether a row at this place was published. `seen`: a '1' for each attempt that could see it, in their order, else
 * '0'. */
bool ow_pg_past_has(const struct ow_pg_past *past, uint64_t place, const char *seen);

#endif
