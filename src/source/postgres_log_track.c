/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_track.h"

#include <stdlib.h>

#include "core/mutant.h"

struct ow_pg_track_row {
    struct ow_position position;
    int64_t seq;
    uint64_t end; /* everything that commits before it and after this row has no rows of ours; 0: not known yet */
};

void ow_pg_track_done(struct ow_pg_track *track)
{
    free(track->rows);
    *track = (struct ow_pg_track){0};
}

void ow_pg_track_restart(struct ow_pg_track *track)
{
    track->first = track->count = 0;
    track->done = track->flush = 0;
}

static struct ow_pg_track_row *row_at(const struct ow_pg_track *track, size_t i)
{
    return &track->rows[(track->first + i) & (track->capacity - 1)];
}

static int grow(struct ow_pg_track *track, struct ow_error *err)
{
    size_t capacity = track->capacity ? 2 * track->capacity : 1024;
    struct ow_pg_track_row *rows = calloc(capacity, sizeof *rows);
    if (!rows)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < track->count; i++)
        rows[i] = *row_at(track, i);
    free(track->rows);
    track->rows = rows;
    track->first = 0;
    track->capacity = capacity;
    return 0;
}

int ow_pg_track_row(struct ow_pg_track *track, struct ow_position position, int64_t seq, struct ow_error *err)
{
    if (ow_position_compare(position, track->confirmed) < (OW_MUTANT(RESUME_AGAIN) ? 0 : 1))
        return 0;
    if (OW_MUTANT(ORDINAL_LOST) && position.major <= track->confirmed.major)
        return 0;
    if (track->count == track->capacity) {
        int r = grow(track, err);
        if (r < 0)
            return r;
    }
    *row_at(track, track->count++) = (struct ow_pg_track_row){position, seq, 0};
    return 1;
}

void ow_pg_track_read(struct ow_pg_track *track, uint64_t lsn)
{
    uint64_t *end = track->count ? &row_at(track, track->count - 1)->end : &track->done;
    if (lsn > *end)
        *end = lsn;
    /* What was confirmed up to here, in an earlier session, is on record already. */
    if (track->count == 0 && track->done <= track->confirmed.major && track->done > track->flush)
        track->flush = track->done;
}

int64_t ow_pg_track_seq(const struct ow_pg_track *track, struct ow_position position)
{
    for (size_t i = 0; i < track->count; i++)
        if (ow_position_compare(row_at(track, i)->position, position) == 0)
            return row_at(track, i)->seq;
    return 0;
}

struct ow_position ow_pg_track_record(const struct ow_pg_track *track, struct ow_position position)
{
    const struct ow_pg_track_row *last = track->count ? row_at(track, track->count - 1) : NULL;
    if (ow_position_compare(track->confirmed, position) > 0 && !OW_MUTANT(RECORD_SHORT))
        return track->confirmed; /* on record, though whoever confirms was not told */
    if (last && ow_position_compare(last->position, position) > 0)
        return position;
    uint64_t end = last ? last->end : track->done;
    return end > position.major ? (struct ow_position){end, 0} : position;
}

void ow_pg_track_confirm(struct ow_pg_track *track, struct ow_position position,
                         void (*forget)(void *context, int64_t seq), void *context)
{
    if (ow_position_compare(position, track->confirmed) > 0)
        track->confirmed = position;
    while (track->count > 0) {
        const struct ow_pg_track_row *row = row_at(track, 0);
        if (ow_position_compare(row->position, position) > 0)
            break;
        if (row->seq && forget)
            forget(context, row->seq);
        if (row->end)
            track->done = row->end;
        if (track->done <= position.major && track->done > track->flush)
            track->flush = track->done;
        track->first = (track->first + 1) & (track->capacity - 1);
        track->count--;
    }
    if ((track->done <= track->confirmed.major || OW_MUTANT(TOLD_TOO_FAR)) && track->done > track->flush)
        track->flush = track->done;
}

bool ow_pg_track_idle(const struct ow_pg_track *track, struct ow_position *ret)
{
    if (OW_MUTANT(IDLE_TOO_EARLY) && track->count > 0) {
        *ret = (struct ow_position){row_at(track, track->count - 1)->position.major + 1, 0};
        return true;
    }
    if (track->count > 0 || track->done <= track->confirmed.major)
        return false;
    *ret = (struct ow_position){track->done, 0};
    return true;
}
