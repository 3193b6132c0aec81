/* SPDX-License-Identifier: Apache-2.0 */
/* Below which number nothing can turn up any more: see outbox_postgres.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/units.h"
#include "source/outbox_postgres.h"

enum { LOOK_EVERY_MS = 50 };

void ow_pg_outbox_drop_batch(struct ow_pg_outbox *o)
{
    PQclear(o->batch);
    o->batch = NULL;
    o->row = 0;
}

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
    o->floor = o->settled_seq = 0;
    o->has_pending = false;
    /* What is left of a batch was read without it. */
    ow_pg_outbox_drop_batch(o);
    o->next_poll_ms = 0;
}

static bool is_one_of(const struct ow_pg_outbox *o, uint64_t writer)
{
    for (size_t i = 0; i < o->writer_count; i++)
        if (o->writers[i] == writer)
            return true;
    return false;
}

static int keep_writers(struct ow_pg_outbox *o, const PGresult *result, struct ow_error *err)
{
    int count = PQntuples(result);
    uint64_t *more = realloc(o->writers, ((size_t)count + 1) * sizeof *more);
    if (!more)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    o->writers = more;
    o->writer_count = (size_t)count;
    for (int i = 0; i < count; i++)
        o->writers[i] = ow_hash(ow_bytes_of(PQgetvalue(result, i, 0)));
    return 0;
}

/* Moves settled_seq on: the number is read first, the writers after it. */
int ow_pg_outbox_look(struct ow_pg_outbox *o, int64_t now, struct ow_error *err)
{
    int64_t seq = 0;
    PGresult *result = NULL;
    if (now < o->next_look_ms)
        return 0;
    o->next_look_ms = now + LOOK_EVERY_MS;
    int r = ow_pg_outbox_last_seq(o, &seq, err);
    if (r < 0)
        return r;
    if (seq < o->settled_seq || seq < o->pending_seq) { /* somebody has set the sequence back */
        ow_pg_outbox_reset_floor(o);
        o->pending_seq = 0;
    }
    r = ow_pg_outbox_exec(o, "writers", 0, NULL, NULL, NULL, 0, &result, err);
    if (r < 0)
        return r;
    bool is_settled = true;
    for (int i = 0; o->has_pending && i < PQntuples(result); i++)
        is_settled = is_settled && !is_one_of(o, ow_hash(ow_bytes_of(PQgetvalue(result, i, 0))));
    if (o->has_pending && is_settled) {
        o->settled_seq = o->pending_seq;
        o->has_pending = false;
    }
    if (!o->has_pending) {
        r = keep_writers(o, result, err);
        o->has_pending = r == 0;
        o->pending_seq = seq;
        if (o->writer_count == 0)
            o->settled_seq = seq;
    }
    PQclear(result);
    return r;
}
