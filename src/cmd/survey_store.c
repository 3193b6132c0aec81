/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/survey.h"
#include "sql.h"
#include "store/migrate.h"
#include "store/postgres.h"

enum { ASK_MS = 5000 };

#define SQL(s, name) ((s)->is_postgres ? ow_sql_pg_survey_##name : ow_sql_survey_##name)

static int connect_to(struct ow_survey_store *s, struct ow_error *err)
{
    const struct ow_postgres_options postgres = {.url = s->path, .shown = s->shown, .timeout_ms = ASK_MS};
    const struct ow_sqlite_options sqlite = {.path = s->path, .mode = OW_SQLITE_READ_ONLY, .timeout_ms = ASK_MS};
    if (s->connection)
        return 0;
    if (!s->is_postgres)
        return ow_sqlite_open(&sqlite, &s->connection, err);
    int r = ow_postgres_open(&postgres, &s->connection, err);
    return r == 0 ? s->connection->ops->script(s->connection, ow_sql_pg_survey_session, err) : r;
}

void ow_survey_hang_up(struct ow_survey_store *s)
{
    if (s->connection)
        s->connection->ops->close(s->connection);
    s->connection = NULL;
}

static bool is_lost(int r)
{
    return r == OW_EUNREACHABLE || r == OW_ENOMEM;
}

/* --- relays ------------------------------------------------------------------------------------------------ */

static int ask_rows(const struct ow_survey_store *s, const struct ow_survey_pipeline *relay, struct ow_backlog *to,
                    struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    const struct ow_value values[] = {ow_value_integer(OW_SURVEY_COUNTED),
                                      ow_value_integer(relay->is_marked ? OW_SURVEY_MARKED : INT64_MAX / 2)};
    struct ow_value row[2];
    int r = ow_store_query_row(s->connection, SQL(s, backlog), values, 2, row, 2, &keep, err);
    if (r == 1) {
        to->messages = row[0].integer;
        to->oldest_ms = row[1].kind == OW_VALUE_INTEGER && row[1].integer > 0 ? row[1].integer : 0;
    }
    return r < 0 ? r : 0;
}

static int find_slot(const struct ow_survey_store *s, struct ow_survey_pipeline *relay, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    struct ow_value database;
    if (relay->slot[0])
        return 0;
    int r = ow_store_query_row(s->connection, ow_sql_pg_ops_database, NULL, 0, &database, 1, &keep, err);
    if (r == 1) {
        char name[OW_POSTGRES_NAME_SIZE];
        (void)snprintf(name, sizeof name, "%.*s", (int)database.bytes.size, database.bytes.data);
        ow_postgres_slot_name(name, relay->by_message ? "message" : "log", relay->slot);
    }
    return r < 0 ? r : 0;
}

/* A slot that is not there yet has nothing to tell. */
static int ask_slot(const struct ow_survey_store *s, struct ow_survey_pipeline *relay, struct ow_backlog *to,
                    struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    struct ow_value row[2];
    int r = find_slot(s, relay, err);
    if (r < 0)
        return r;
    const struct ow_value slot = ow_value_text(ow_bytes_of(relay->slot));
    r = ow_store_query_row(s->connection, ow_sql_pg_survey_slot, &slot, 1, row, 2, &keep, err);
    if (r == 1) {
        to->log_bytes = row[0].integer;
        to->retained_bytes = row[1].integer;
    }
    return r < 0 ? r : 0;
}

static int ask_relay(const struct ow_survey_store *s, struct ow_survey_pipeline *relay, struct ow_board *board,
                     struct ow_error *err)
{
    struct ow_backlog backlog = {-1, -1, -1, -1};
    int r = relay->is_log ? ask_slot(s, relay, &backlog, err) : 0;
    if (r == 0 && relay->has_rows)
        r = ask_rows(s, relay, &backlog, err);
    if (r == 0)
        ow_board_tell_backlog(board, relay->name, &backlog);
    return r;
}

/* --- dead letters ------------------------------------------------------------------------------------------- */

static void source_of(const struct ow_survey_pipeline *pipeline, char *to, size_t size)
{
    if (pipeline->is_consumer)
        (void)snprintf(to, size, "consumer/%s", pipeline->name);
    else
        (void)snprintf(to, size, "%s", pipeline->is_log ? pipeline->slot : "polling");
}

static void copy_text(const struct ow_value *from, char *to, size_t size)
{
    (void)snprintf(to, size, "%.*s", (int)(from->bytes.size < size ? from->bytes.size : size - 1),
                   from->bytes.data ? from->bytes.data : "");
}

int ow_survey_count_letters(struct ow_store *store, bool is_postgres, int64_t bound, struct ow_letter_count *to,
                            size_t *count, struct ow_error *err)
{
    const struct ow_value value = ow_value_integer(bound);
    struct ow_statement *statement = NULL;
    struct ow_value row[3];
    int r = store->ops->prepare(store, is_postgres ? ow_sql_pg_survey_letters : ow_sql_survey_letters, &statement, err);
    if (r == 0)
        r = store->ops->start(statement, &value, 1, err);
    while (r == 0 && (r = store->ops->row(statement, row, 3, err)) == 1) {
        r = 0;
        if (*count >= OW_SURVEY_SOURCES_MAX)
            continue;
        copy_text(&row[0], to[*count].source, sizeof to->source);
        copy_text(&row[1], to[*count].state, sizeof to->state);
        to[(*count)++].count = row[2].integer;
    }
    store->ops->discard(statement);
    return r;
}

/* Whose letters there are none of: said as well, so that a rule sees 0 and not nothing. */
static void add_none(struct ow_letter_count *to, size_t *count, size_t known, const char *source)
{
    static const char *const states[] = {"dead", "parked", "queued"};
    for (size_t s = 0; s < sizeof states / sizeof states[0]; s++) {
        bool is_there = false;
        for (size_t i = 0; i < *count; i++)
            is_there = is_there || (strcmp(to[i].source, source) == 0 && strcmp(to[i].state, states[s]) == 0);
        if (is_there || *count >= known)
            continue;
        struct ow_letter_count *none = &to[(*count)++];
        (void)snprintf(none->source, sizeof none->source, "%s", source);
        (void)snprintf(none->state, sizeof none->state, "%s", states[s]);
        none->count = 0;
    }
}

static int64_t count_open(const struct ow_letter_count *letters, size_t count, const char *source)
{
    int64_t open = 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(letters[i].source, source) == 0 && strcmp(letters[i].state, "queued") != 0)
            open += letters[i].count;
    return open;
}

static int ask_letters(const struct ow_survey_store *s, struct ow_board *board, struct ow_error *err)
{
    size_t room = OW_SURVEY_SOURCES_MAX + 3 * s->pipeline_count, count = 0;
    struct ow_letter_count *letters = calloc(room, sizeof *letters);
    if (!letters)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int r = ow_survey_count_letters(s->connection, s->is_postgres, OW_SURVEY_COUNTED, letters, &count, err);
    for (size_t i = 0; r == 0 && i < s->pipeline_count; i++) {
        char source[sizeof letters->source];
        source_of(&s->pipelines[i], source, sizeof source);
        ow_board_tell_letters(board, s->pipelines[i].name, count_open(letters, count, source));
        if (source[0])
            add_none(letters, &count, room, source);
    }
    if (r == 0)
        ow_board_tell_store(board, s->name, true, letters, count);
    free(letters);
    return r;
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

static int ask_all(struct ow_survey_store *s, struct ow_board *board, struct ow_error *err)
{
    int first = 0, r = 0;
    int64_t version = 0;
    struct ow_error next;
    r = ow_schema_version(s->connection, s->is_postgres ? &ow_schema_outbox_postgres : &ow_schema_outbox, &version,
                          err);
    if (r < 0)
        return r;
    if (version == 0) /* a relay makes it, or a consumer */
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is no outbox in it", s->shown);
    for (size_t i = 0; i < s->pipeline_count && !is_lost(first); i++) {
        r = s->pipelines[i].is_consumer ? 0 : ask_relay(s, &s->pipelines[i], board, first < 0 ? &next : err);
        first = first < 0 ? first : r;
    }
    if (is_lost(first))
        return first;
    r = ask_letters(s, board, first < 0 ? &next : err);
    return first < 0 ? first : r;
}

int ow_survey_ask(struct ow_survey_store *s, struct ow_board *board, struct ow_error *err)
{
    int r = connect_to(s, err);
    if (r == 0)
        r = ask_all(s, board, err);
    if (r < 0 || !s->is_postgres) /* a file may be put in place of another one */
        ow_survey_hang_up(s);
    if (r < 0)
        ow_board_tell_store(board, s->name, false, NULL, 0);
    return r;
}
