/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions of the PostgreSQL store, and statements that go in libpq's pipeline. A transaction that begins late
 * costs two round trips whatever is in it:
 *
 *     BEGIN, the first statement | what is queued, COMMIT
 *
 * A pipeline ends at a sync, and the server passes over everything between a statement that failed and the sync behind
 * it: an effect that fails takes its COMMIT with it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "store/postgres_private.h"

enum {
    FLUSH_FIRST = 4, /* statements: the server works on them while the next ones are made */
    FLUSH_EVERY = 16,
    READS_MAX = 1000, /* of what a connection that is given up has still received */
};

enum answer {
    ANSWER_DONE,
    ANSWER_FAILED,
    ANSWER_SKIPPED, /* one before it had failed */
    ANSWER_SYNC,    /* the end of the pipeline */
    ANSWER_NONE,    /* the connection is of no use any more */
};

/* An answer that comes after its time would be taken for that to another question: there will be no other. */
static void give_up(struct ow_postgres *s)
{
    (void)shutdown(PQsocket(s->conn), SHUT_RDWR);
    for (int i = 0; i < READS_MAX && PQstatus(s->conn) == CONNECTION_OK; i++)
        (void)PQconsumeInput(s->conn);
}

/* Of the next statement in the pipeline, with the NULL behind it. `class` has room for what PostgreSQL calls a failure.
 */
static enum answer take_answer(struct ow_postgres *s, struct ow_store_failure *failure, struct ow_error *err)
{
    PGresult *result = NULL, *end = NULL;
    struct ow_error ignored;
    enum answer answer = ANSWER_DONE;
    int64_t limit = s->timeout_ms + OW_POSTGRES_GRACE_MS;
    if (ow_postgres_result(s->conn, s->shown, limit, &result, err) < 0) {
        give_up(s);
        return ANSWER_NONE;
    }
    switch (result ? PQresultStatus(result) : PGRES_FATAL_ERROR) {
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        return ANSWER_SYNC;
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        break;
    case PGRES_PIPELINE_ABORTED:
        answer = ANSWER_SKIPPED;
        break;
    default: {
        const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
        (void)snprintf(failure->class, sizeof failure->class, "%s", state ? state : "");
        (void)ow_postgres_fail(s->conn, result, s->shown, err);
        answer = ANSWER_FAILED;
    }
    }
    PQclear(result);
    if (PQstatus(s->conn) != CONNECTION_OK) {
        if (answer != ANSWER_FAILED)
            (void)ow_postgres_fail(s->conn, NULL, s->shown, err);
        return ANSWER_NONE;
    }
    if (ow_postgres_result(s->conn, s->shown, OW_POSTGRES_GRACE_MS, &end, &ignored) == 0)
        PQclear(end);
    return answer;
}

void ow_postgres_leave_pipeline(struct ow_postgres *s)
{
    bool is_end = false, was_null = false;
    while (!is_end && PQstatus(s->conn) == CONNECTION_OK) {
        struct ow_error ignored;
        PGresult *result = NULL;
        if (ow_postgres_result(s->conn, s->shown, s->timeout_ms + OW_POSTGRES_GRACE_MS, &result, &ignored) < 0)
            give_up(s);
        is_end = result ? PQresultStatus(result) == PGRES_PIPELINE_SYNC : was_null;
        was_null = !result;
        PQclear(result);
    }
    s->is_piped = false;
    (void)PQexitPipelineMode(s->conn);
}

/* --- what is queued -------------------------------------------------------------------------------------- */

static int enter(struct ow_postgres *s, struct ow_error *err)
{
    ow_postgres_stop_running(s);
    if (!PQenterPipelineMode(s->conn))
        return ow_postgres_fail(s->conn, NULL, s->shown, err);
    int r = s->begins ? ow_postgres_send(s->begin, NULL, 0, err) : 0;
    s->has_begun = r == 0 && s->begins;
    if (r == 0)
        s->begins = false;
    else
        (void)PQexitPipelineMode(s->conn);
    return r;
}

int ow_postgres_queue(struct ow_statement *statement, const struct ow_value *values, size_t count, struct ow_error *err)
{
    struct ow_postgres *s = statement->store;
    if (s->queued >= OW_STORE_QUEUE_MAX)
        return ow_error_set(err, OW_EINTERNAL, "more than %d statements queued", OW_STORE_QUEUE_MAX);
    int r = s->queued == 0 && !s->has_begun ? enter(s, err) : 0;
    if (r == 0)
        r = ow_postgres_send(statement, values, count, err);
    s->queued += r == 0;
    if (s->queued == 0 && !s->has_begun)
        (void)PQexitPipelineMode(s->conn);
    else if (r == 0 && (s->queued == FLUSH_FIRST || s->queued % FLUSH_EVERY == 0))
        (void)PQflush(s->conn); /* what cannot be sent is found out by whoever waits for the answer */
    return r;
}

static void note_end(struct ow_postgres *s, enum answer answer, const struct ow_error *err)
{
    s->end = answer == ANSWER_DONE ? OW_POSTGRES_COMMITTED : OW_POSTGRES_NOT_COMMITTED;
    if (answer != ANSWER_DONE)
        s->end_error = *err;
}

/* The answers to BEGIN, if it went in front, to `count` statements, to COMMIT, if it went behind. */
static int take_answers(struct ow_postgres *s, size_t count, bool has_begun, bool commits,
                        struct ow_store_failure *failure, struct ow_error *err)
{
    struct ow_error first = {0};
    enum answer answer = ANSWER_DONE;
    size_t all = has_begun + count + commits;
    for (size_t i = 0; answer != ANSWER_SYNC && i <= all; i++) {
        struct ow_store_failure this = {0};
        struct ow_error why = {0};
        answer = take_answer(s, &this, &why);
        if (answer == ANSWER_NONE) {
            failure->index = count;
            return ow_error_set(err, why.code, "%s", why.text);
        }
        if (commits && i + 1 == all && answer != ANSWER_SKIPPED)
            note_end(s, answer, &why);
        else if (answer == ANSWER_FAILED && first.code == 0) {
            first = why;
            *failure = this;
            failure->index = i < has_begun ? count : i - has_begun;
        }
    }
    return first.code < 0 ? ow_error_set(err, first.code, "%s", first.text) : 0;
}

/* Nothing of ours is on its way then. */
static int begin_now(struct ow_postgres *s, struct ow_error *err)
{
    PGresult *result = NULL;
    ow_postgres_stop_running(s);
    bool begins = s->begins;
    s->begins = false;
    int r = begins ? ow_postgres_query(s->conn, s->shown, "BEGIN", &result, err) : 0;
    PQclear(result);
    return r;
}

int ow_postgres_finish(struct ow_store *store, bool is_last, struct ow_store_failure *failure, struct ow_error *err)
{
    struct ow_postgres *s = ow_postgres_self(store);
    struct ow_store_failure unwanted;
    size_t count = s->queued;
    bool has_begun = s->has_begun, commits = is_last && s->is_late && count > 0;
    failure = failure ? failure : &unwanted;
    *failure = (struct ow_store_failure){.index = count};
    if (count == 0 && !has_begun)
        return begin_now(s, err);
    s->queued = 0;
    s->has_begun = false;
    int r = commits ? ow_postgres_send(s->commit, NULL, 0, err) : 0;
    if (!PQpipelineSync(s->conn) && r == 0)
        r = ow_postgres_fail(s->conn, NULL, s->shown, err);
    if (r < 0) {
        give_up(s);
        return r;
    }
    r = take_answers(s, count, has_begun, commits, failure, err);
    (void)PQexitPipelineMode(s->conn);
    return r;
}

/* --- a statement behind BEGIN ------------------------------------------------------------------------------ */

int ow_postgres_send_behind_begin(struct ow_statement *statement, const struct ow_value *values, size_t count,
                                  struct ow_error *err)
{
    struct ow_postgres *s = statement->store;
    struct ow_store_failure unwanted;
    int r = enter(s, err);
    if (r < 0)
        return r;
    s->has_begun = false;
    r = ow_postgres_send(statement, values, count, err);
    if (!PQpipelineSync(s->conn) && r == 0)
        r = ow_postgres_fail(s->conn, NULL, s->shown, err);
    if (r == 0 && take_answer(s, &unwanted, err) != ANSWER_DONE)
        r = err->code;
    if (r == 0)
        s->is_piped = true;
    else
        ow_postgres_leave_pipeline(s);
    return r;
}

/* --- transactions ------------------------------------------------------------------------------------------ */

int ow_postgres_script(struct ow_store *store, const char *sql, struct ow_error *err)
{
    struct ow_postgres *s = ow_postgres_self(store);
    PGresult *result = NULL;
    int r = begin_now(s, err);
    if (r == 0)
        r = ow_postgres_query(s->conn, s->shown, sql, &result, err);
    PQclear(result);
    return r;
}

static int begin_late(struct ow_postgres *s, struct ow_error *err)
{
    int r = 0;
    if (!s->begin)
        r = ow_postgres_prepare(&s->base, "BEGIN", &s->begin, err);
    if (r == 0 && !s->commit)
        r = ow_postgres_prepare(&s->base, "COMMIT", &s->commit, err);
    s->begins = s->is_late = r == 0;
    return r;
}

int ow_postgres_begin(struct ow_store *store, enum ow_transaction kind, struct ow_error *err)
{
    struct ow_postgres *s = ow_postgres_self(store);
    s->end = OW_POSTGRES_OPEN;
    s->begins = s->is_late = false;
    if (kind == OW_TRANSACTION_LATE)
        return begin_late(s, err);
    return ow_postgres_script(
        store, kind == OW_TRANSACTION_WRITE ? "BEGIN" : "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        err);
}

void ow_postgres_rollback(struct ow_store *store)
{
    struct ow_postgres *s = ow_postgres_self(store);
    struct ow_error ignored;
    if (s->queued > 0 || s->has_begun)
        (void)ow_postgres_finish(store, false, NULL, &ignored);
    ow_postgres_stop_running(s);
    s->begins = s->is_late = false;
    s->end = OW_POSTGRES_OPEN;
    if (PQstatus(s->conn) == CONNECTION_OK && PQtransactionStatus(s->conn) != PQTRANS_IDLE &&
        ow_postgres_script(store, "ROLLBACK", &ignored) < 0) {
        /* The connection is lost, and the transaction with it. */
    }
}

int ow_postgres_commit(struct ow_store *store, struct ow_error *err)
{
    struct ow_postgres *s = ow_postgres_self(store);
    enum ow_postgres_end end = s->end;
    bool is_empty = s->begins;
    ow_postgres_stop_running(s);
    s->begins = s->is_late = false;
    s->end = OW_POSTGRES_OPEN;
    if (is_empty || end == OW_POSTGRES_COMMITTED)
        return 0;
    if (end == OW_POSTGRES_NOT_COMMITTED) {
        ow_postgres_rollback(store);
        return ow_error_set(err, s->end_error.code, "%s", s->end_error.text);
    }
    /* COMMIT of a transaction that failed is answered by "ROLLBACK", which is no error to the server. */
    if (PQtransactionStatus(s->conn) == PQTRANS_INERROR) {
        ow_postgres_rollback(store);
        return ow_error_set(err, OW_EINVALID, "%s: the transaction had failed before its commit", s->shown);
    }
    int r = ow_postgres_script(store, "COMMIT", err);
    if (r < 0)
        ow_postgres_rollback(store);
    return r;
}
