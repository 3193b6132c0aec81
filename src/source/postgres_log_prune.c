/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_prune.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "codec/pgoutput.h"
#include "sql.h"

enum {
    STEP_ROWS = 1000,
    SEQS_MAX = 100000, /* known and not deleted; above that they are found again by looking */
    GATHER_MS = 100,   /* how long a step waits for more rows */
    AGAIN_MS = 1000,   /* after a lost connection */
    PAGE_SIZE = 8192,  /* of the server's log */
    PAGE_HEADER_MAX = 40,
    REST = 39,         /* while the log is behind: so many times as long as a step took */
    LEFT_ROWS = 20000, /* of the table, looked at together */
};

int ow_pg_pruner_init(struct ow_pg_pruner *p, const char *url, const char *shown, struct ow_error *err)
{
    *p = (struct ow_pg_pruner){.url = url, .shown = shown, .is_on = true};
    p->seqs = calloc(SEQS_MAX, sizeof *p->seqs);
    p->left_over = calloc(LEFT_ROWS, sizeof *p->left_over);
    if (p->seqs && p->left_over)
        return 0;
    ow_pg_pruner_done(p);
    return ow_error_set(err, OW_ENOMEM, "out of memory");
}

void ow_pg_pruner_close(struct ow_pg_pruner *p)
{
    PQfinish(p->conn);
    p->conn = NULL;
    p->step = OW_PG_PRUNE_IDLE;
    p->sending = p->left_count = 0;
    p->left_lsn = 0;
}

void ow_pg_pruner_done(struct ow_pg_pruner *p)
{
    ow_pg_pruner_close(p);
    free(p->seqs);
    free(p->left_over);
    *p = (struct ow_pg_pruner){0};
}

void ow_pg_pruner_add(struct ow_pg_pruner *p, int64_t seq)
{
    if (!p->is_on)
        return;
    if (p->count == SEQS_MAX) {
        p->looks = true;
        return;
    }
    if (p->count == 0 && p->due_ms < ow_clock_monotonic_ms() + GATHER_MS)
        p->due_ms = ow_clock_monotonic_ms() + GATHER_MS;
    p->seqs[p->count++] = seq;
}

/* --- steps -------------------------------------------------------------------------------------------- */

static int send(struct ow_pg_pruner *p, const char *sql, int count, const char *const *parameters,
                enum ow_pg_prune_step step, struct ow_error *err)
{
    if (PQsendQueryParams(p->conn, sql, count, NULL, parameters, NULL, NULL, 0) != 1)
        return ow_postgres_fail(p->conn, NULL, p->shown, err);
    p->step = step;
    p->begun_ms = ow_clock_monotonic_ms();
    return PQflush(p->conn) < 0 ? ow_postgres_fail(p->conn, NULL, p->shown, err) : 0;
}

static int begin_delete(struct ow_pg_pruner *p, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf list = {0};
    p->sending = p->count < STEP_ROWS ? p->count : STEP_ROWS;
    for (size_t i = 0; i < p->sending; i++)
        ow_buf_printf(&list, "%c%" PRId64, i ? ',' : '{', p->seqs[i]);
    ow_buf_add_char(&list, '}');
    int r = ow_buf_check(&list, err);
    return r < 0 ? r
                 : send(p, ow_sql_pg_log_prune, 3, (const char *const[]){list.data, p->publication, p->membership},
                        OW_PG_PRUNE_DELETING, err);
}

static int begin_look(struct ow_pg_pruner *p, struct ow_error *err)
{
    char limit[16];
    (void)snprintf(limit, sizeof limit, "%d", LEFT_ROWS);
    p->left_count = 0;
    p->left_lsn = 0;
    return send(p, ow_sql_pg_log_left_over, 3, (const char *const[]){limit, p->publication, p->membership},
                OW_PG_PRUNE_LOOKING, err);
}

static int take_result(struct ow_pg_pruner *p, const PGresult *result, struct ow_error *err)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        return ow_postgres_fail(p->conn, result, p->shown, err);
    if (p->step == OW_PG_PRUNE_DELETING) {
        memmove(p->seqs, p->seqs + p->sending, (p->count - p->sending) * sizeof *p->seqs);
        p->count -= p->sending;
        p->sending = 0;
    } else if (p->step == OW_PG_PRUNE_LOOKING) {
        for (int i = 0; i < PQntuples(result) && i < LEFT_ROWS; i++)
            p->left_over[p->left_count++] = strtoll(PQgetvalue(result, i, 0), NULL, 10);
        p->looks = p->left_count > 0;
    } else if (p->step == OW_PG_PRUNE_ASKING) {
        int r = ow_pg_lsn_parse(ow_bytes_of(PQgetvalue(result, 0, 0)), &p->left_lsn, err);
        /* On a page that has its header only, the record before ended with the page before. */
        uint64_t offset = p->left_lsn % PAGE_SIZE;
        p->left_lsn -= offset <= PAGE_HEADER_MAX ? offset : 0;
        return r;
    }
    return 0;
}

/* 1: the statement has ended; 0: it still runs; < 0. */
static int finish_step(struct ow_pg_pruner *p, struct ow_error *err)
{
    int r = 0;
    if (PQflush(p->conn) < 0 || PQconsumeInput(p->conn) == 0)
        return ow_postgres_fail(p->conn, NULL, p->shown, err);
    while (!PQisBusy(p->conn)) {
        PGresult *result = PQgetResult(p->conn);
        if (!result) {
            p->step = OW_PG_PRUNE_IDLE;
            return r < 0 ? r : 1;
        }
        if (r == 0)
            r = take_result(p, result, err);
        PQclear(result);
    }
    return 0;
}

/* The rows that were left over are confirmed as well by now. */
static void take_left_over(struct ow_pg_pruner *p)
{
    for (size_t i = 0; i < p->left_count; i++)
        ow_pg_pruner_add(p, p->left_over[i]);
    p->looks = p->left_count == LEFT_ROWS; /* there may be more */
    p->left_count = 0;
    p->left_lsn = 0;
}

static int begin_step(struct ow_pg_pruner *p, uint64_t done, bool hurries, bool is_behind, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms();
    if (is_behind && now < p->rest_until_ms)
        return 0;
    if (p->left_count > 0 && p->left_lsn > 0 && done >= p->left_lsn && p->count + p->left_count <= SEQS_MAX)
        take_left_over(p);
    bool deletes = p->count >= STEP_ROWS || (p->count > 0 && (hurries || now >= p->due_ms));
    bool looks = p->looks && p->left_count == 0 && p->count == 0, asks = p->left_count > 0 && p->left_lsn == 0;
    if (!deletes && !looks && !asks)
        return 0;
    if (!p->conn) {
        const struct ow_postgres_options options = {.url = p->url, .shown = p->shown};
        int r = ow_postgres_connect(&options, &p->conn, err);
        if (r < 0)
            return r;
    }
    if (asks)
        return send(p, ow_sql_pg_log_insert_lsn, 0, NULL, OW_PG_PRUNE_ASKING, err);
    return deletes ? begin_delete(p, err) : begin_look(p, err);
}

static int work(struct ow_pg_pruner *p, uint64_t done, bool hurries, bool is_behind, struct ow_error *err)
{
    for (;;) {
        if (p->step != OW_PG_PRUNE_IDLE) {
            int r = finish_step(p, err);
            if (r <= 0)
                return r;
            int64_t now = ow_clock_monotonic_ms();
            p->rest_until_ms = now + REST * (now - p->begun_ms + 1);
        }
        int r = begin_step(p, done, hurries, is_behind, err);
        if (r < 0 || p->step == OW_PG_PRUNE_IDLE)
            return r;
    }
}

int ow_pg_pruner_tend(struct ow_pg_pruner *p, uint64_t done, bool hurries, bool is_behind, struct ow_wait *wait,
                      struct ow_error *err)
{
    if (!p->is_on)
        return 0;
    int64_t now = ow_clock_monotonic_ms();
    if (p->conn || now >= p->due_ms) {
        int r = work(p, done, hurries, is_behind, err);
        if (r < 0 && ow_error_class(r) != OW_CLASS_RETRYABLE)
            return r;
        if (r < 0) {
            ow_pg_pruner_close(p);
            p->due_ms = ow_clock_monotonic_ms() + AGAIN_MS;
        }
    }
    if (p->step != OW_PG_PRUNE_IDLE)
        ow_wait_add(wait, PQsocket(p->conn), POLLIN);
    else if (p->count > 0 || (p->looks && !p->conn))
        ow_wait_until(wait, is_behind && p->rest_until_ms > p->due_ms ? p->rest_until_ms : p->due_ms);
    return 0;
}

int ow_pg_pruner_finish(struct ow_pg_pruner *p, struct ow_error *err)
{
    int64_t until_ms = ow_clock_monotonic_ms() + OW_POSTGRES_TIMEOUT_MS;
    while (!ow_pg_pruner_is_idle(p)) {
        struct ow_wait wait;
        ow_wait_init(&wait);
        ow_wait_until(&wait, until_ms);
        int r = ow_pg_pruner_tend(p, 0, true, false, &wait, err);
        if (r < 0)
            return r;
        if (ow_clock_monotonic_ms() >= until_ms)
            return ow_error_set(err, OW_EBUSY, "%s: confirmed rows cannot be deleted in time", p->shown);
        if (!ow_pg_pruner_is_idle(p))
            ow_wait_sleep(&wait);
    }
    return 0;
}
