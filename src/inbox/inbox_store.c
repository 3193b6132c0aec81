/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inbox in PostgreSQL and SQLite. What differs: PostgreSQL is asked about a batch in one statement, with arrays;
 * for SQLite, which has no round trips, about one message after the other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "base/uuid.h"
#include "codec/dead_letter_headers.h"
#include "codec/json.h"
#include "codec/record_headers.h"
#include "inbox/inbox.h"
#include "sql.h"

enum {
    HEADERS_MAX = 1024,
    LETTERS_MAX = 1000, /* claimed in one transaction */
    PRUNE_EVERY_MS = 10000,
    PRUNE_SOON_MS = 100,
    HOLD_MS = 10000, /* SQLite: how long a member that says nothing keeps the letters to itself */
};

enum statement {
    LOOK,
    CLAIM,
    MARK,
    MARK_HANDLED,
    FORGET,
    PUT_LETTER,
    PUT_BACK_LETTER,
    LOOK_LETTER,
    DROP_LETTER,
    NEXT_QUEUED,
    HOLD_REPLAYS,
    KEEP,
    KEPT,
    PRUNE_OLD,
    PRUNE_MANY,
    PUBLISH,
    STATEMENT_COUNT,
};

static const char *const sqlite_texts[] = {
    [LOOK] = ow_sql_inbox_look,
    [CLAIM] = ow_sql_inbox_claim,
    [MARK] = ow_sql_inbox_mark,
    [MARK_HANDLED] = ow_sql_inbox_mark_handled,
    [FORGET] = ow_sql_inbox_forget,
    [PUT_LETTER] = ow_sql_inbox_put_letter,
    [PUT_BACK_LETTER] = ow_sql_inbox_put_back_letter,
    [LOOK_LETTER] = ow_sql_inbox_look_letter,
    [DROP_LETTER] = ow_sql_inbox_drop_letter,
    [NEXT_QUEUED] = ow_sql_inbox_next_queued,
    [HOLD_REPLAYS] = ow_sql_inbox_hold_replays,
    [KEEP] = ow_sql_inbox_keep,
    [KEPT] = ow_sql_inbox_kept,
    [PRUNE_OLD] = ow_sql_inbox_prune_old,
    [PRUNE_MANY] = ow_sql_inbox_prune_many,
    [PUBLISH] = ow_sql_inbox_publish,
};

static const char *const postgres_texts[] = {
    [LOOK] = ow_sql_pg_inbox_look,
    [CLAIM] = ow_sql_pg_inbox_claim,
    [MARK] = ow_sql_pg_inbox_mark,
    [MARK_HANDLED] = ow_sql_pg_inbox_mark_handled,
    [FORGET] = ow_sql_pg_inbox_forget,
    [PUT_LETTER] = ow_sql_pg_inbox_put_letter,
    [PUT_BACK_LETTER] = ow_sql_pg_inbox_put_back_letter,
    [LOOK_LETTER] = ow_sql_pg_inbox_look_letter,
    [DROP_LETTER] = ow_sql_pg_inbox_drop_letter,
    [NEXT_QUEUED] = ow_sql_pg_inbox_next_queued,
    [HOLD_REPLAYS] = ow_sql_pg_inbox_hold_replays,
    [KEEP] = ow_sql_pg_inbox_keep,
    [KEPT] = ow_sql_pg_inbox_kept,
    [PRUNE_OLD] = ow_sql_pg_inbox_prune_old,
    [PRUNE_MANY] = ow_sql_pg_inbox_prune_many,
    [PUBLISH] = ow_sql_pg_inbox_publish,
};

struct inbox {
    struct ow_inbox base;
    struct ow_inbox_options options;
    char *consumer;
    struct ow_store *store;
    bool is_postgres, holds_replays;
    struct ow_statement *statements[STATEMENT_COUNT]; /* prepared when first used */
    int64_t letters[LETTERS_MAX];                     /* of the transaction: gone when it commits */
    size_t letter_count;
    struct ow_buf ids, keys, scratch, headers;
    struct ow_header found[HEADERS_MAX];
    int64_t prune_due_ms;
    char who[64];
};

static struct inbox *self_of(struct ow_inbox *inbox)
{
    return (struct inbox *)inbox;
}

/* --- statements ---------------------------------------------------------------------------------------- */

static int prepared(struct inbox *in, enum statement which, struct ow_statement **ret, struct ow_error *err)
{
    int r = 0;
    if (!in->statements[which])
        r = in->store->ops->prepare(in->store, in->is_postgres ? postgres_texts[which] : sqlite_texts[which],
                                    &in->statements[which], err);
    *ret = in->statements[which];
    return r;
}

static int run(struct inbox *in, enum statement which, const struct ow_value *values, size_t count,
               struct ow_error *err)
{
    struct ow_statement *statement;
    int r = prepared(in, which, &statement, err);
    return r < 0 ? r : ow_store_run(in->store, statement, values, count, err);
}

/* 1: a row, whose bytes live until the statement is used again; it is left open. */
static int row_of(struct inbox *in, enum statement which, const struct ow_value *values, size_t count,
                  struct ow_value *columns, size_t column_count, struct ow_statement **ret, struct ow_error *err)
{
    int r = prepared(in, which, ret, err);
    if (r == 0)
        r = in->store->ops->start(*ret, values, count, err);
    return r < 0 ? r : in->store->ops->row(*ret, columns, column_count, err);
}

static struct ow_value consumer_value(const struct inbox *in)
{
    return ow_value_text(ow_bytes_of(in->consumer));
}

/* --- what is known -------------------------------------------------------------------------------------- */

static enum ow_inbox_state state_of(const struct ow_value *state, const struct ow_value *is_blocked)
{
    if (state->kind == OW_VALUE_TEXT && !ow_bytes_is(state->bytes, "new"))
        return ow_bytes_is(state->bytes, "aside")    ? OW_INBOX_ASIDE
               : ow_bytes_is(state->bytes, "parked") ? OW_INBOX_PARKED
                                                     : OW_INBOX_HANDLED;
    return is_blocked->integer ? OW_INBOX_BLOCKED : OW_INBOX_NEW;
}

/* A letter: NEW as long as it is there and none of its key that is dead stands before it. */
static int look_at_letter(struct inbox *in, struct ow_inbox_entry *entry, struct ow_error *err)
{
    struct ow_value values[] = {consumer_value(in), ow_value_integer(entry->letter)}, is_behind;
    struct ow_statement *statement;
    int r = row_of(in, LOOK_LETTER, values, 2, &is_behind, 1, &statement, err);
    entry->state = r == 0 ? OW_INBOX_HANDLED : r > 0 && is_behind.integer ? OW_INBOX_PARKED : OW_INBOX_NEW;
    in->store->ops->stop(statement);
    return r < 0 ? r : 0;
}

static void add_to_array(struct ow_buf *to, struct ow_bytes text)
{
    ow_buf_add_char(to, to->size == 0 ? '{' : ',');
    ow_buf_add_char(to, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            ow_buf_add_char(to, '\\');
        ow_buf_add_char(to, text.data[i]);
    }
    ow_buf_add_char(to, '"');
}

static void add_key_to_array(struct ow_buf *to, struct ow_bytes key)
{
    ow_buf_add_char(to, to->size == 0 ? '{' : ',');
    ow_buf_add_text(to, key.data ? "\"\\\\x" : "NULL");
    for (size_t i = 0; i < key.size; i++)
        ow_buf_printf(to, "%02x", (unsigned char)key.data[i]);
    if (key.data)
        ow_buf_add_char(to, '"');
}

static void end_array(struct ow_buf *to)
{
    ow_buf_add_text(to, to->size == 0 ? "{}" : "}");
}

/* Letters are asked about alone; `numbers` are the places of the others. */
static int ask_postgres(struct inbox *in, enum statement which, struct ow_inbox_entry *entries, size_t count,
                        struct ow_error *err)
{
    size_t asked = 0;
    struct ow_statement *statement;
    struct ow_value columns[3];
    ow_buf_clear(&in->ids);
    ow_buf_clear(&in->keys);
    for (size_t i = 0; i < count; i++)
        if (entries[i].letter == 0) {
            add_to_array(&in->ids, entries[i].id);
            add_key_to_array(&in->keys, in->options.parks ? entries[i].record->message.key : OW_NULL_BYTES);
            asked++;
        }
    end_array(&in->ids);
    end_array(&in->keys);
    if (asked == 0)
        return 0;
    if (ow_buf_check(&in->ids, err) < 0 || ow_buf_check(&in->keys, err) < 0)
        return OW_ENOMEM;
    struct ow_value values[] = {consumer_value(in), ow_value_text(ow_buf_bytes(&in->ids)),
                                ow_value_text(ow_buf_bytes(&in->keys)), ow_value_integer(in->options.parks)};
    int r = prepared(in, which, &statement, err);
    if (r == 0)
        r = in->store->ops->start(statement, values, 4, err);
    while (r >= 0 && (r = in->store->ops->row(statement, columns, 3, err)) == 1) {
        int64_t left = columns[0].integer;
        for (size_t i = 0; i < count; i++)
            if (entries[i].letter == 0 && --left == 0) {
                entries[i].state = state_of(&columns[1], &columns[2]);
                break;
            }
    }
    return r;
}

static int ask_sqlite(struct inbox *in, struct ow_inbox_entry *entry, struct ow_error *err)
{
    struct ow_value values[] = {consumer_value(in), ow_value_text(entry->id),
                                in->options.parks ? ow_value_blob(entry->record->message.key) : ow_value_null(),
                                ow_value_integer(in->options.parks)};
    struct ow_value columns[2];
    struct ow_statement *statement;
    int r = row_of(in, LOOK, values, 4, columns, 2, &statement, err);
    if (r == 1)
        entry->state = state_of(&columns[0], &columns[1]);
    in->store->ops->stop(statement);
    return r < 0 ? r : 0;
}

static int look_at_letters(struct inbox *in, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        if (entries[i].letter)
            r = look_at_letter(in, &entries[i], err);
    return r;
}

static int inbox_look(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    int r = 0;
    for (size_t i = 0; i < count; i++)
        entries[i].state = OW_INBOX_NEW;
    if (in->options.remembers || in->options.parks) {
        if (in->is_postgres)
            r = ask_postgres(in, LOOK, entries, count, err);
        for (size_t i = 0; !in->is_postgres && r == 0 && i < count; i++)
            if (!entries[i].letter)
                r = ask_sqlite(in, &entries[i], err);
    }
    return r < 0 ? r : look_at_letters(in, entries, count, err);
}

/* --- the transaction -------------------------------------------------------------------------------------- */

static void inbox_rollback(struct ow_inbox *inbox)
{
    struct inbox *in = self_of(inbox);
    in->letter_count = 0;
    in->store->ops->rollback(in->store);
}

static int claim_sqlite(struct inbox *in, struct ow_inbox_entry *entry, struct ow_error *err)
{
    struct ow_value values[] = {consumer_value(in), ow_value_text(entry->id), ow_value_integer(ow_clock_wall_ms())};
    int r = ask_sqlite(in, entry, err);
    if (r < 0 || (entry->state != OW_INBOX_NEW && entry->state != OW_INBOX_BLOCKED))
        return r;
    return run(in, CLAIM, values, 3, err);
}

static int claim(struct inbox *in, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    int r = 0;
    if (!in->options.remembers)
        return in->options.parks ? inbox_look(&in->base, entries, count, err)
                                 : look_at_letters(in, entries, count, err);
    for (size_t i = 0; i < count; i++) /* what the claim does not say is new was there before */
        entries[i].state = OW_INBOX_HANDLED;
    if (in->is_postgres)
        r = ask_postgres(in, CLAIM, entries, count, err);
    for (size_t i = 0; !in->is_postgres && r == 0 && i < count; i++)
        if (!entries[i].letter)
            r = claim_sqlite(in, &entries[i], err);
    return r < 0 ? r : look_at_letters(in, entries, count, err);
}

static int inbox_begin(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    in->letter_count = 0;
    for (size_t i = 0; i < count; i++)
        entries[i].state = OW_INBOX_NEW;
    int r = in->store->ops->begin(in->store, OW_TRANSACTION_WRITE, err);
    if (r == 0)
        r = claim(in, entries, count, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (entries[i].letter && entries[i].state == OW_INBOX_NEW) {
            struct ow_value values[] = {consumer_value(in), ow_value_text(entries[i].id),
                                        ow_value_integer(ow_clock_wall_ms())};
            if (in->letter_count == LETTERS_MAX)
                r = ow_error_set(err, OW_EINTERNAL, "more than %d letters in a transaction", LETTERS_MAX);
            else
                in->letters[in->letter_count++] = entries[i].letter;
            if (r == 0 && in->options.remembers)
                r = run(in, MARK_HANDLED, values, in->is_postgres ? 2 : 3, err);
        }
    if (r < 0)
        inbox_rollback(inbox);
    return r;
}

static int drop_letters(struct inbox *in, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->letter_count; i++) {
        struct ow_value values[] = {consumer_value(in), ow_value_integer(in->letters[i])};
        r = run(in, DROP_LETTER, values, 2, err);
    }
    in->letter_count = 0;
    return r;
}

static int inbox_commit(struct ow_inbox *inbox, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    int r = drop_letters(in, err);
    if (r < 0) {
        inbox_rollback(inbox);
        return r;
    }
    return in->store->ops->commit(in->store, err);
}

/* --- letters --------------------------------------------------------------------------------------------- */

static struct ow_value text_or_null(struct ow_bytes bytes)
{
    bool is_text = bytes.data && ow_utf8_is_valid(bytes) && (bytes.size == 0 || !memchr(bytes.data, '\0', bytes.size));
    return is_text ? ow_value_text(bytes) : ow_value_null();
}

static int put_back(struct inbox *in, const struct ow_inbox_entry *entry, const struct ow_inbox_failure *failure,
                    struct ow_error *err)
{
    struct ow_value values[] = {consumer_value(in),
                                ow_value_integer(entry->letter),
                                ow_value_text(ow_bytes_of(failure->class)),
                                ow_value_text(ow_bytes_of(failure->reason)),
                                ow_value_integer(failure->attempts),
                                ow_value_integer(ow_clock_wall_ms())};
    size_t kept = 0;
    for (size_t i = 0; i < in->letter_count; i++)
        if (in->letters[i] != entry->letter)
            in->letters[kept++] = in->letters[i];
    in->letter_count = kept;
    return run(in, PUT_BACK_LETTER, values, in->is_postgres ? 5 : 6, err);
}

static int put_letter(struct inbox *in, const struct ow_inbox_entry *entry, const struct ow_inbox_failure *failure,
                      struct ow_error *err)
{
    const struct ow_record *record = entry->record;
    const struct ow_message *m = &record->message;
    struct ow_value payload = text_or_null(m->payload);
    ow_buf_clear(&in->scratch);
    ow_buf_clear(&in->headers);
    ow_buf_printf(&in->scratch, "%.*s/%" PRId64 "/%" PRId64, OW_PRINT(m->topic), record->partition, record->offset);
    ow_record_headers_write(&in->headers, m->headers, m->header_count);
    int r = ow_buf_check(&in->scratch, err);
    if (r == 0)
        r = ow_buf_check(&in->headers, err);
    if (r < 0)
        return r;
    struct ow_value values[20];
    size_t n = 0;
    values[n++] = consumer_value(in);
    values[n++] = ow_value_text(ow_buf_bytes(&in->scratch));
    values[n++] = ow_value_text(ow_bytes_of(failure->is_parked ? "parked" : "dead"));
    values[n++] = ow_value_text(entry->id);
    values[n++] = text_or_null(m->aggregate_type);
    values[n++] = text_or_null(m->aggregate_id);
    values[n++] = text_or_null(m->type);
    values[n++] = text_or_null(m->topic);
    values[n++] = ow_value_integer(record->partition);
    values[n++] = ow_value_integer(record->offset);
    values[n++] = ow_value_blob(m->key);
    if (in->is_postgres) {
        values[n++] = payload;
        values[n++] = payload.kind == OW_VALUE_NULL ? ow_value_blob(m->payload) : ow_value_null();
    } else
        values[n++] = payload.kind == OW_VALUE_NULL ? ow_value_blob(m->payload) : payload;
    values[n++] = ow_value_text(ow_buf_bytes(&in->headers));
    values[n++] = m->time_ms > 0 ? ow_value_integer(m->time_ms) : ow_value_null();
    values[n++] = ow_value_text(ow_bytes_of(failure->class));
    values[n++] = ow_value_text(ow_bytes_of(failure->reason));
    values[n++] = ow_value_integer(failure->attempts);
    if (!in->is_postgres)
        values[n++] = ow_value_integer(ow_clock_wall_ms());
    return run(in, PUT_LETTER, values, n, err);
}

static int inbox_set_aside(struct ow_inbox *inbox, const struct ow_inbox_entry *entry,
                           const struct ow_inbox_failure *failure, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    int r = 0;
    if (in->options.keeps_letters)
        r = entry->letter ? put_back(in, entry, failure, err) : put_letter(in, entry, failure, err);
    struct ow_value values[] = {consumer_value(in), ow_value_text(entry->id),
                                ow_value_text(ow_bytes_of(failure->is_parked ? "parked" : "aside")),
                                ow_value_integer(ow_clock_wall_ms())};
    if (r < 0 || !in->options.remembers)
        return r;
    return in->options.keeps_letters ? run(in, MARK, values, in->is_postgres ? 3 : 4, err)
                                     : run(in, FORGET, values, 2, err);
}

/* 1: the letters are this member's to replay. */
static int hold_replays(struct inbox *in, struct ow_error *err)
{
    int64_t now = ow_clock_wall_ms();
    if (in->is_postgres && in->holds_replays)
        return 1;
    struct ow_value held;
    struct ow_statement *statement;
    if (in->is_postgres) {
        struct ow_value name = consumer_value(in);
        int r = row_of(in, HOLD_REPLAYS, &name, 1, &held, 1, &statement, err);
        in->holds_replays = r == 1 && held.integer == 1;
        in->store->ops->stop(statement);
        return r < 0 ? r : in->holds_replays;
    }
    struct ow_value values[] = {consumer_value(in), ow_value_text(ow_bytes_of(in->who)),
                                ow_value_integer(now + HOLD_MS), ow_value_integer(now)};
    int r = run(in, HOLD_REPLAYS, values, 4, err);
    return r < 0 ? r : in->store->ops->changes(in->store) > 0;
}

static int show_letter(struct inbox *in, const struct ow_value *columns, struct ow_inbox_letter *ret,
                       struct ow_error *err)
{
    size_t count = 0;
    /* The row's bytes end with the statement: one copy, in the order of the columns. */
    struct ow_bytes bytes[14];
    size_t total = 0;
    for (int i = 0; i < 14; i++)
        total += columns[i].kind >= OW_VALUE_TEXT ? columns[i].bytes.size + 1 : 0;
    ow_buf_clear(&in->scratch);
    if (!ow_buf_reserve(&in->scratch, total + 1))
        return ow_error_set(err, OW_ENOMEM, "out of memory for a dead letter");
    for (int i = 0; i < 14; i++) {
        bytes[i] = OW_NULL_BYTES;
        if (columns[i].kind != OW_VALUE_TEXT && columns[i].kind != OW_VALUE_BLOB)
            continue;
        bytes[i] = (struct ow_bytes){in->scratch.data + in->scratch.size, columns[i].bytes.size};
        ow_buf_add_bytes(&in->scratch, columns[i].bytes);
        ow_buf_add_char(&in->scratch, '\0');
    }
    int r = ow_record_headers_read(bytes[11], in->found, HEADERS_MAX, &count, &in->headers, err);
    if (r < 0)
        return ow_error_prefix(err, "dead letter %" PRId64, columns[0].integer);
    /* Else what is only passed on to @RetryableTopic would be a dead letter there at once. */
    count = ow_dead_letter_strip(in->found, count, in->found);
    *ret = (struct ow_inbox_letter){
        .number = columns[0].integer, .id = bytes[1], .replays = (uint32_t)columns[13].integer};
    ret->record = (struct ow_record){.partition = columns[6].kind == OW_VALUE_NULL ? -1 : columns[6].integer,
                                     .offset = columns[7].kind == OW_VALUE_NULL ? -1 : columns[7].integer};
    ret->record.message = (struct ow_message){.id = bytes[1],
                                              .aggregate_type = bytes[2],
                                              .aggregate_id = bytes[3],
                                              .type = bytes[4],
                                              .topic = bytes[5],
                                              .key = bytes[8],
                                              .payload = bytes[9].data ? bytes[9] : bytes[10],
                                              .headers = in->found,
                                              .header_count = count,
                                              .time_ms = columns[12].integer};
    return 1;
}

static int inbox_next_queued(struct ow_inbox *inbox, int64_t after, struct ow_inbox_letter *ret, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    struct ow_statement *statement;
    struct ow_value columns[14], values[] = {consumer_value(in), ow_value_integer(after)};
    int r = row_of(in, NEXT_QUEUED, values, 2, columns, 14, &statement, err);
    if (r == 1)
        r = show_letter(in, columns, ret, err);
    in->store->ops->stop(statement);
    /* Asked only when there is something, so that an idle consumer writes nothing. */
    int held = r == 1 ? hold_replays(in, err) : 0;
    return held < 0 ? held : r == 1 && held == 0 ? 0 : r;
}

/* --- beside ------------------------------------------------------------------------------------------------ */

static int inbox_publish(struct ow_inbox *inbox, const struct ow_message *messages, size_t count, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct ow_message *m = &messages[i];
        ow_buf_clear(&in->headers);
        ow_json_write_headers(&in->headers, m->headers, m->header_count);
        r = ow_buf_check(&in->headers, err);
        struct ow_value values[] = {ow_value_text(m->aggregate_type),
                                    ow_value_text(m->aggregate_id),
                                    ow_value_text(m->type),
                                    ow_value_blob(m->payload),
                                    ow_value_text(m->id),
                                    m->header_count ? ow_value_text(ow_buf_bytes(&in->headers)) : ow_value_null()};
        if (r == 0)
            r = run(in, PUBLISH, values, 6, err);
    }
    return r;
}

static int keep(struct inbox *in, struct ow_bytes name, struct ow_bytes value, struct ow_error *err)
{
    struct ow_value values[] = {consumer_value(in), ow_value_text(name), ow_value_text(value)};
    return run(in, KEEP, values, 3, err);
}

static int kept(struct inbox *in, struct ow_bytes name, struct ow_buf *to, struct ow_error *err)
{
    struct ow_value values[] = {consumer_value(in), ow_value_text(name)}, column;
    struct ow_statement *statement;
    int r = row_of(in, KEPT, values, 2, &column, 1, &statement, err);
    if (r == 1)
        ow_buf_add_bytes(to, column.bytes);
    in->store->ops->stop(statement);
    return r == 1 && ow_buf_check(to, err) < 0 ? OW_ENOMEM : r;
}

static void name_offset(struct inbox *in, struct ow_bytes topic, int64_t partition)
{
    ow_buf_clear(&in->ids);
    ow_buf_add_text(&in->ids, "offset/");
    ow_buf_add_bytes(&in->ids, topic);
    ow_buf_printf(&in->ids, "/%" PRId64, partition);
}

static int inbox_store_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t next,
                              struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    char text[24];
    name_offset(in, topic, partition);
    (void)snprintf(text, sizeof text, "%" PRId64, next);
    return keep(in, ow_buf_bytes(&in->ids), ow_bytes_of(text), err);
}

static int inbox_read_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t *ret,
                             struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    name_offset(in, topic, partition);
    ow_buf_clear(&in->scratch);
    int r = kept(in, ow_buf_bytes(&in->ids), &in->scratch, err);
    ow_buf_add_char(&in->scratch, '\0');
    if (r == 1)
        *ret = strtoll(in->scratch.data ? in->scratch.data : "", NULL, 10);
    return r;
}

static int inbox_save_breaker(struct ow_inbox *inbox, const char *state, struct ow_error *err)
{
    return keep(self_of(inbox), OW_BYTES("breaker"), ow_bytes_of(state), err);
}

static int inbox_load_breaker(struct ow_inbox *inbox, struct ow_buf *to, struct ow_error *err)
{
    return kept(self_of(inbox), OW_BYTES("breaker"), to, err);
}

static int prune(struct inbox *in, enum statement which, int64_t bound, int64_t *most, struct ow_error *err)
{
    struct ow_value values[] = {consumer_value(in), ow_value_integer(bound)};
    int r = run(in, which, values, 2, err);
    int64_t changes = r == 0 ? in->store->ops->changes(in->store) : 0;
    *most = changes > *most ? changes : *most;
    return r;
}

static int inbox_tend(struct ow_inbox *inbox, struct ow_wait *wait, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    int64_t now = ow_clock_monotonic_ms(), most = 0;
    int r = 0;
    if (!in->options.remembers || (in->options.retention_ms == 0 && in->options.retention_count == 0))
        return 0;
    if (now < in->prune_due_ms) {
        ow_wait_until(wait, in->prune_due_ms);
        return 0;
    }
    if (in->options.retention_ms > 0)
        r = prune(in, PRUNE_OLD,
                  in->is_postgres ? in->options.retention_ms : ow_clock_wall_ms() - in->options.retention_ms, &most,
                  err);
    if (r == 0 && in->options.retention_count > 0)
        r = prune(in, PRUNE_MANY, in->options.retention_count, &most, err);
    in->prune_due_ms = now + (most >= 1000 ? PRUNE_SOON_MS : PRUNE_EVERY_MS);
    ow_wait_until(wait, in->prune_due_ms);
    return r;
}

/* --- life -------------------------------------------------------------------------------------------------- */

static struct ow_store *inbox_store(struct ow_inbox *inbox)
{
    return self_of(inbox)->store;
}

static void inbox_close(struct ow_inbox *inbox)
{
    struct inbox *in = self_of(inbox);
    if (!in->store)
        return;
    in->store->ops->rollback(in->store);
    in->store->ops->close(in->store);
    in->store = NULL;
    in->holds_replays = false;
    memset(in->statements, 0, sizeof in->statements);
}

static int inbox_open(struct ow_inbox *inbox, struct ow_error *err)
{
    struct inbox *in = self_of(inbox);
    int r = in->options.open_store(in->options.context, &in->store, err);
    if (r < 0) {
        in->store = NULL;
        return r;
    }
    in->is_postgres = strcmp(in->store->ops->name, "postgres") == 0;
    return 0;
}

static void inbox_discard(struct ow_inbox *inbox)
{
    struct inbox *in = self_of(inbox);
    if (!inbox)
        return;
    inbox_close(inbox);
    ow_buf_done(&in->ids);
    ow_buf_done(&in->keys);
    ow_buf_done(&in->scratch);
    ow_buf_done(&in->headers);
    free(in->consumer);
    free(in);
}

static const struct ow_inbox_ops inbox_ops = {
    .open = inbox_open,
    .look = inbox_look,
    .begin = inbox_begin,
    .set_aside = inbox_set_aside,
    .publish = inbox_publish,
    .commit = inbox_commit,
    .rollback = inbox_rollback,
    .next_queued = inbox_next_queued,
    .store_offset = inbox_store_offset,
    .read_offset = inbox_read_offset,
    .save_breaker = inbox_save_breaker,
    .load_breaker = inbox_load_breaker,
    .tend = inbox_tend,
    .store = inbox_store,
    .close = inbox_close,
    .discard = inbox_discard,
};

int ow_inbox_store_new(const struct ow_inbox_options *options, struct ow_inbox **ret, struct ow_error *err)
{
    struct inbox *in = calloc(1, sizeof *in);
    if (!in || !(in->consumer = strdup(options->consumer))) {
        free(in);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    in->base.ops = &inbox_ops;
    in->options = *options;
    in->options.consumer = in->consumer;
    (void)snprintf(in->who, sizeof in->who, "%ld/%016" PRIx64, (long)getpid(), (uint64_t)(ow_dice_roll() * 0x1p53));
    *ret = &in->base;
    return 0;
}
