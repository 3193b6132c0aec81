/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of the snapshot, in onewrite.position: "begun", with the attempts that came to nothing, or "done", with the
 * membership of our own outbox in the publication. It is changed only by whoever knows what it says now: a relay that
 * was stopped, and was followed by another one, must not say that the other's snapshot is through.
 */
#include <libpq-fe.h>
#include <stdio.h>

#include "source/postgres_log.h"
#include "sql.h"

static const char MARK_BEGUN[] = "begun", MARK_DONE[] = "done ";

static void clear_result(PGresult **result)
{
    PQclear(*result);
}

static void name_mark(const struct ow_pg_log *log, char to[OW_POSTGRES_NAME_SIZE + 16])
{
    (void)snprintf(to, OW_POSTGRES_NAME_SIZE + 16, "%s/snapshot", log->slot);
}

static bool begins_with(const struct ow_buf *text, const char *start)
{
    return text->size > 0 && strncmp(text->data, start, strlen(start)) == 0;
}

static int read_mark(struct ow_pg_log *log, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    char name[OW_POSTGRES_NAME_SIZE + 16];
    name_mark(log, name);
    ow_buf_clear(&log->mark);
    ow_pg_past_done(&log->past);
    int r = ow_postgres_query_params(log->side.conn, log->shown, ow_sql_pg_log_read_position, 1,
                                     (const char *const[]){name}, &result, err);
    if (r < 0 || PQntuples(result) == 0)
        return r;
    ow_buf_add_text(&log->mark, PQgetvalue(result, 0, 0));
    ow_buf_add_char(&log->mark, '\0');
    r = ow_buf_check(&log->mark, err);
    /* Who sees what is told by numbers of transactions, which are of one server. */
    if (r < 0 || !begins_with(&log->mark, MARK_BEGUN) ||
        strcmp(PQgetvalue(result, 0, 1), log->stream.system_identifier) != 0)
        return r;
    return ow_pg_past_parse(ow_bytes_of(log->mark.data + strlen(MARK_BEGUN)), &log->past, err);
}

static int write_mark(struct ow_pg_log *log, struct ow_buf *text, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    char name[OW_POSTGRES_NAME_SIZE + 16];
    name_mark(log, name);
    ow_buf_add_char(text, '\0');
    int r = ow_buf_check(text, err);
    const char *const parameters[] = {name, text->data, log->stream.system_identifier,
                                      log->mark.size > 0 ? log->mark.data : NULL};
    if (r == 0)
        r = ow_postgres_query_params(log->side.conn, log->shown, ow_sql_pg_log_write_mark, 4, parameters, &result, err);
    if (r == 0 && PQntuples(result) == 0)
        r = ow_error_set(err, OW_EUNREACHABLE, "%s: slot %s was taken over by another relay", log->shown, log->slot);
    if (r < 0)
        return r;
    struct ow_buf before = log->mark;
    log->mark = *text;
    *text = before;
    return 0;
}

int ow_pg_log_mark_begun(struct ow_pg_log *log, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_buf_add_text(&text, MARK_BEGUN);
    ow_pg_past_format(&log->past, &text);
    return write_mark(log, &text, err);
}

int ow_pg_log_mark_done(struct ow_pg_log *log, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_buf_printf(&text, "%s%s", MARK_DONE, log->membership);
    int r = write_mark(log, &text, err);
    if (r < 0)
        return r;
    log->has_snapshot_mark = false;
    ow_pg_past_done(&log->past);
    return 0;
}

int ow_pg_log_look_for_mark(struct ow_pg_log *log, struct ow_error *err)
{
    int r = read_mark(log, err);
    if (r == 0 && log->own_outbox >= 0)
        r = ow_pg_side_membership(&log->side, log->publication, log->membership, err);
    if (r < 0)
        return r;
    bool is_done = begins_with(&log->mark, MARK_DONE);
    log->has_snapshot_mark = begins_with(&log->mark, MARK_BEGUN);
    log->was_taken_out = is_done && log->membership[0] &&
                         strcmp(log->mark.data + strlen(MARK_DONE), log->membership) != 0;
    log->pruner.publication = log->publication;
    log->pruner.membership = log->membership;
    /* Rows that were there before the slot are known to be published; else nobody may delete by looking. */
    log->pruner.looks = log->pruner.is_on && is_done && !log->was_taken_out;
    return 0;
}
