/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pruner: deletes confirmed rows from onewrite.outbox, in small steps on a connection of its own, while the log goes
 * on. Private to src/source.
 *
 * Rows are named by their seq when they are confirmed. A relay that was killed leaves some behind that were confirmed
 * and are still there; so at the start, and when it has lost count, the pruner looks what is in the table, then how far
 * the log is written: once everything up to there is confirmed, so are those rows.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_PRUNE_H
#define OW_SOURCE_POSTGRES_LOG_PRUNE_H

#include "base/wait.h"
#include "store/postgres.h"

enum ow_pg_prune_step { OW_PG_PRUNE_IDLE, OW_PG_PRUNE_DELETING, OW_PG_PRUNE_LOOKING, OW_PG_PRUNE_ASKING };

struct ow_pg_pruner {
    const char *url, *shown; /* the caller's */
    bool is_on;
    bool looks;                           /* for rows that were left behind */
    const char *publication, *membership; /* the caller's: what has to be so that all rows are in the log */
    /* private */
    struct pg_conn *conn;
    enum ow_pg_prune_step step;
    int64_t *seqs; /* confirmed, not deleted; the first `sending` of them are being deleted */
    size_t count, sending;
    int64_t *left_over;
    size_t left_count;
    uint64_t
        left_lsn; /* read by who waits for it: they are confirmed when everything up to here is; 0: not known yet */
    int64_t due_ms;
    int64_t begun_ms, rest_until_ms; /* of the step; while the log is behind there is a rest after each */
};

int ow_pg_pruner_init(struct ow_pg_pruner *pruner, const char *url, const char *shown,
                      struct ow_error *err) OW_MUST_CHECK;
void ow_pg_pruner_close(struct ow_pg_pruner *pruner); /* what is confirmed stays known */
void ow_pg_pruner_done(struct ow_pg_pruner *pruner);
/* This row is confirmed. */
void ow_pg_pruner_add(struct ow_pg_pruner *pruner, int64_t seq);
/* Does what can be done now. `done`: everything that commits before it is confirmed. A connection that is lost is
   opened again later; any other error, a missing right above all, is returned. While the log is behind, what has to be
   read comes first: a fortieth of the time is the pruner's. */
int ow_pg_pruner_tend(struct ow_pg_pruner *pruner, uint64_t done, bool hurries, bool is_behind, struct ow_wait *wait,
                      struct ow_error *err) OW_MUST_CHECK;
/* Waits until everything that was added is deleted. OW_EBUSY: it took too long. */
int ow_pg_pruner_finish(struct ow_pg_pruner *pruner, struct ow_error *err) OW_MUST_CHECK;
static inline bool ow_pg_pruner_is_idle(const struct ow_pg_pruner *pruner)
{
    return !pruner->is_on || (pruner->count == 0 && pruner->step == OW_PG_PRUNE_IDLE);
}
/* And nothing that was left behind is looked for. */
static inline bool ow_pg_pruner_is_done(const struct ow_pg_pruner *pruner)
{
    return ow_pg_pruner_is_idle(pruner) && !pruner->looks && pruner->left_count == 0;
}

#endif
