/* SPDX-License-Identifier: Apache-2.0 */
/* Below which number nothing can turn up any more: see outbox_postgres.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/units.h"
#include "source/outbox_postgres.h"

enum {
    LOOK_EVERY_MS = 50,
    PATIENCE_MS = 200, /* a transaction that is older than this is not waited for */
};

int ow_pg_outbox_last_seq(struct ow_pg_outbox *o, int64_t *ret, struct ow_error *err)
{
    PGresult *result = NULL;
    int r = ow_pg_outbox_exec(o, "last_seq", 0, NULL, NULL, NULL, 0, &result, err);
    if (r == 0)
        *ret = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return r;
}

void ow_pg_outbox_reset_floor(struct ow_pg_outbox *o)
{
    ow_pg_outbox_drop_ahead(o);
    PQclear(o->batch); /* what is left of it was read without them */
    o->batch = NULL;
    o->row = 0;
    o->floor = 0;
    o->next_poll_ms = 0;
}

void ow_pg_outbox_forget_writers(struct ow_pg_outbox *o)
{
    o->writer_count = o->late_count = 0;
    o->looked_seq = o->settled_seq = o->ended_seq = 0;
    o->next_look_ms = 0;
}

static struct ow_pg_writer *find_writer(struct ow_pg_outbox *o, uint64_t id)
{
    for (size_t i = 0; i < o->writer_count; i++)
        if (o->writers[i].id == id)
            return &o->writers[i];
    return NULL;
}

/* Those that have ended leave the list; the lowest number that one of them may have is given back. */
static int64_t drop_ended(struct ow_pg_outbox *o)
{
    int64_t lowest = INT64_MAX;
    size_t kept = 0;
    for (size_t i = 0; i < o->writer_count; i++) {
        if (o->writers[i].is_there)
            o->writers[kept++] = o->writers[i];
        else if (o->writers[i].above < lowest)
            lowest = o->writers[i].above;
    }
    o->writer_count = kept;
    return lowest;
}

/* `above`: numbers of those that were not seen at the last look are higher than this. */
static int meet_writers(struct ow_pg_outbox *o, const PGresult *result, int64_t above, int64_t now,
                        struct ow_error *err)
{
    size_t before = o->writer_count, count = (size_t)PQntuples(result);
    struct ow_pg_writer *more = realloc(o->writers, (before + count + 1) * sizeof *more);
    if (!more)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    o->writers = more;
    for (size_t i = 0; i < before; i++)
        more[i].is_there = false;
    for (size_t i = 0; i < count; i++) {
        const char *name = PQgetvalue(result, (int)i, 0);
        uint64_t id = ow_hash(ow_bytes_of(name));
        struct ow_pg_writer *known = find_writer(o, id);
        if (known)
            known->is_there = true;
        else
            more[o->writer_count++] = (struct ow_pg_writer){
                .id = id, .above = above, .since_ms = now, .is_there = true, .is_prepared = name[0] == '-'};
    }
    int64_t ended = drop_ended(o);
    /* A transaction that was prepared has another name from then on: it may be any of those that are gone. */
    for (size_t i = 0; i < o->writer_count; i++)
        if (o->writers[i].is_prepared && o->writers[i].since_ms == now && ended < o->writers[i].above)
            o->writers[i].above = ended;
    if (ended < o->floor)
        o->floor = ended + 1;
    return 0;
}

static void settle(struct ow_pg_outbox *o, int64_t now)
{
    o->late_count = 0;
    o->settled_seq = o->ended_seq = o->looked_seq;
    for (size_t i = 0; i < o->writer_count; i++) {
        const struct ow_pg_writer *writer = &o->writers[i];
        bool is_late = now - writer->since_ms >= PATIENCE_MS;
        o->late_count += is_late;
        if (writer->above < o->ended_seq)
            o->ended_seq = writer->above;
        if (!is_late && writer->above < o->settled_seq)
            o->settled_seq = writer->above;
    }
}

/* The number is read first, the writers after it: whoever has a number up to that one, and has not ended, is seen. */
int ow_pg_outbox_look(struct ow_pg_outbox *o, int64_t now, bool must, struct ow_error *err)
{
    int64_t seq = 0, floor = o->floor;
    PGresult *result = NULL;
    if (now < o->next_look_ms && !must)
        return 0;
    o->next_look_ms = now + LOOK_EVERY_MS;
    int r = ow_pg_outbox_last_seq(o, &seq, err);
    if (r == 0 && seq < o->looked_seq) { /* somebody has set the sequence back */
        ow_pg_outbox_forget_writers(o);
        o->floor = 0;
    }
    if (r == 0)
        r = ow_pg_outbox_exec(o, "writers", 0, NULL, NULL, NULL, 0, &result, err);
    if (r == 0)
        r = meet_writers(o, result, o->looked_seq, now, err);
    PQclear(result);
    if (r < 0)
        return r;
    o->looked_seq = seq;
    settle(o, now);
    if (o->floor >= floor)
        return 0;
    ow_pg_outbox_drop_ahead(o);
    return 1;
}
