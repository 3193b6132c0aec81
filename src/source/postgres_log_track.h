/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Track: which rows of a log were yielded and are not confirmed, and how far the log may be forgotten. Pure.
 * Private to src/source.
 *
 * A row stands at (LSN of its commit, ordinal). What the server is told is an LSN: everything whose commit lies before
 * it is forgotten. It may be told the end of a transaction once all its rows, and everything before, are confirmed, and
 * only up to the major part of what was confirmed: that is on record somewhere, so the server never forgets what no
 * record covers. Where nothing is outstanding, the end of the last transaction, or of what the server has read since,
 * is a position of its own, (LSN, 0), to be recorded and confirmed like that of a row.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_TRACK_H
#define OW_SOURCE_POSTGRES_LOG_TRACK_H

#include "core/position.h"

struct ow_pg_track_row;

struct ow_pg_track {
    struct ow_position confirmed; /* everything at or before it; kept when the connection is lost */
    uint64_t done;                /* everything that commits before this LSN was read and confirmed */
    uint64_t flush;               /* what the server may be told */
    /* private: a ring of the rows that are outstanding */
    struct ow_pg_track_row *rows;
    size_t first, count, capacity;
};

void ow_pg_track_done(struct ow_pg_track *track);
/* The stream begins anew: nothing is outstanding. What is confirmed stays. */
void ow_pg_track_restart(struct ow_pg_track *track);

/* A row was read. 1: it has to be yielded; 0: it was confirmed before. `seq` is kept for who prunes; 0: none. */
int ow_pg_track_row(struct ow_pg_track *track, struct ow_position position, int64_t seq,
                    struct ow_error *err) OW_MUST_CHECK;
/* Everything that commits before this LSN was read. Not inside a transaction. */
void ow_pg_track_read(struct ow_pg_track *track, uint64_t lsn);

/* The seq of a row that is outstanding; 0: it has none, or is not there. */
int64_t ow_pg_track_seq(const struct ow_pg_track *track, struct ow_position position);

/* What to record so that rows up to `position` may be confirmed: the position, or what lies behind it; never less than
   what was on record when the stream began. */
struct ow_position ow_pg_track_record(const struct ow_pg_track *track, struct ow_position position);
/* `forget` is called with the seq of each row that has one. */
void ow_pg_track_confirm(struct ow_pg_track *track, struct ow_position position,
                         void (*forget)(void *context, int64_t seq), void *context);
/* Whether nothing is outstanding and something behind `confirmed` could be confirmed; *ret is its position. */
bool ow_pg_track_idle(const struct ow_pg_track *track, struct ow_position *ret);

#endif
