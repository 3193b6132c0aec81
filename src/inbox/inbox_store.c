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
#include "codec/json.h"
#include "inbox/inbox_private.h"
#include "sql.h"

enum {
    PRUNE_EVERY_MS = 10000,
    PRUNE_SOON_MS = 100,
};

static const char *const sqlite_texts[] = {
    [OW_INBOX_SQL_LOOK] = ow_sql_inbox_look,
    [OW_INBOX_SQL_CLAIM] = ow_sql_inbox_claim,
    [OW_INBOX_SQL_MARK] = ow_sql_inbox_mark,
    [OW_INBOX_SQL_MARK_HANDLED] = ow_sql_inbox_mark_handled,
    [OW_INBOX_SQL_FORGET] = ow_sql_inbox_forget,
    [OW_INBOX_SQL_PUT_LETTER] = ow_sql_inbox_put_letter,
    [OW_INBOX_SQL_PUT_BACK_LETTER] = ow_sql_inbox_put_back_letter,
    [OW_INBOX_SQL_LOOK_LETTER] = ow_sql_inbox_look_letter,
    [OW_INBOX_SQL_CLAIM_LETTER] = ow_sql_inbox_look_letter, /* a transaction is alone there */
    [OW_INBOX_SQL_DROP_LETTER] = ow_sql_inbox_drop_letter,
    [OW_INBOX_SQL_NEXT_QUEUED] = ow_sql_inbox_next_queued,
    [OW_INBOX_SQL_HOLD_REPLAYS] = ow_sql_inbox_hold_replays,
    [OW_INBOX_SQL_KEEP] = ow_sql_inbox_keep,
    [OW_INBOX_SQL_KEEP_OFFSET] = ow_sql_inbox_keep_offset,
    [OW_INBOX_SQL_KEPT] = ow_sql_inbox_kept,
    [OW_INBOX_SQL_PRUNE_OLD] = ow_sql_inbox_prune_old,
    [OW_INBOX_SQL_PRUNE_MANY] = ow_sql_inbox_prune_many,
    [OW_INBOX_SQL_PUBLISH] = ow_sql_inbox_publish,
};

static const char *const postgres_texts[] = {
    [OW_INBOX_SQL_LOOK] = ow_sql_pg_inbox_look,
    [OW_INBOX_SQL_CLAIM] = ow_sql_pg_inbox_claim,
    [OW_INBOX_SQL_MARK] = ow_sql_pg_inbox_mark,
    [OW_INBOX_SQL_MARK_HANDLED] = ow_sql_pg_inbox_mark_handled,
    [OW_INBOX_SQL_FORGET] = ow_sql_pg_inbox_forget,
    [OW_INBOX_SQL_PUT_LETTER] = ow_sql_pg_inbox_put_letter,
    [OW_INBOX_SQL_PUT_BACK_LETTER] = ow_sql_pg_inbox_put_back_letter,
    [OW_INBOX_SQL_LOOK_LETTER] = ow_sql_pg_inbox_look_letter,
    [OW_INBOX_SQL_CLAIM_LETTER] = ow_sql_pg_inbox_claim_letter,
    [OW_INBOX_SQL_DROP_LETTER] = ow_sql_pg_inbox_drop_letter,
    [OW_INBOX_SQL_NEXT_QUEUED] = ow_sql_pg_inbox_next_queued,
    [OW_INBOX_SQL_HOLD_REPLAYS] = ow_sql_pg_inbox_hold_replays,
    [OW_INBOX_SQL_KEEP] = ow_sql_pg_inbox_keep,
    [OW_INBOX_SQL_KEEP_OFFSET] = ow_sql_pg_inbox_keep_offset,
    [OW_INBOX_SQL_KEPT] = ow_sql_pg_inbox_kept,
    [OW_INBOX_SQL_PRUNE_OLD] = ow_sql_pg_inbox_prune_old,
    [OW_INBOX_SQL_PRUNE_MANY] = ow_sql_pg_inbox_prune_many,
    [OW_INBOX_SQL_PUBLISH] = ow_sql_pg_inbox_publish,
};

/* --- statements ---------------------------------------------------------------------------------------- */

static int prepared(struct ow_inbox_in_store *in, enum ow_inbox_statement which, struct ow_statement **ret,
                    struct ow_error *err)
{
    int r = 0;
    if (!in->statements[which])
        r = in->store->ops->prepare(in->store, in->is_postgres ? postgres_texts[which] : sqlite_texts[which],
                                    &in->statements[which], err);
    *ret = in->statements[which];
    return r;
}

int ow_inbox_run(struct ow_inbox_in_store *in, enum ow_inbox_statement which, const struct ow_value *values,
                 size_t count, struct ow_error *err)
{
    struct ow_statement *statement;
    int r = prepared(in, which, &statement, err);
    return r < 0 ? r : ow_store_run(in->store, statement, values, count, err);
}

/* 1: a row, whose bytes live until the statement is used again; it is left open. */
int ow_inbox_row_of(struct ow_inbox_in_store *in, enum ow_inbox_statement which, const struct ow_value *values,
                    size_t count, struct ow_value *columns, size_t column_count, struct ow_statement **ret,
                    struct ow_error *err)
{
    int r = prepared(in, which, ret, err);
    if (r == 0)
        r = in->store->ops->start(*ret, values, count, err);
    return r < 0 ? r : in->store->ops->row(*ret, columns, column_count, err);
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

/* A letter: NEW as long as it is there and none of its key stands before it. */
static int look_at_letter(struct ow_inbox_in_store *in, enum ow_inbox_statement which, struct ow_inbox_entry *entry,
                          struct ow_error *err)
{
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_integer(entry->letter)}, is_behind;
    struct ow_statement *statement;
    int r = ow_inbox_row_of(in, which, values, 2, &is_behind, 1, &statement, err);
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
    static const char digits[] = "0123456789abcdef";
    ow_buf_add_char(to, to->size == 0 ? '{' : ',');
    if (!key.data) {
        ow_buf_add_text(to, "NULL");
        return;
    }
    ow_buf_add_text(to, "\"\\\\x");
    for (size_t i = 0; i < key.size; i++) {
        ow_buf_add_char(to, digits[(unsigned char)key.data[i] >> 4]);
        ow_buf_add_char(to, digits[(unsigned char)key.data[i] & 15]);
    }
    ow_buf_add_char(to, '"');
}

static void end_array(struct ow_buf *to)
{
    ow_buf_add_text(to, to->size == 0 ? "{}" : "}");
}

/* Letters are asked about alone. `again`: only whether what is NEW is not BLOCKED by now. */
static int ask_postgres(struct ow_inbox_in_store *in, enum ow_inbox_statement which, bool again,
                        struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
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
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(ow_buf_bytes(&in->ids)),
                                ow_value_text(ow_buf_bytes(&in->keys)), ow_value_integer(in->options.parks)};
    int r = prepared(in, which, &statement, err);
    if (r == 0)
        r = in->store->ops->start(statement, values, 4, err);
    while (r >= 0 && (r = in->store->ops->row(statement, columns, 3, err)) == 1) {
        int64_t left = columns[0].integer;
        for (size_t i = 0; i < count; i++)
            if (entries[i].letter == 0 && --left == 0) {
                if (!again || (entries[i].state == OW_INBOX_NEW && columns[2].integer))
                    entries[i].state = again ? OW_INBOX_BLOCKED : state_of(&columns[1], &columns[2]);
                break;
            }
    }
    return r;
}

static int ask_sqlite(struct ow_inbox_in_store *in, struct ow_inbox_entry *entry, struct ow_error *err)
{
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(entry->id),
                                in->options.parks ? ow_value_blob(entry->record->message.key) : ow_value_null(),
                                ow_value_integer(in->options.parks)};
    struct ow_value columns[2];
    struct ow_statement *statement;
    int r = ow_inbox_row_of(in, OW_INBOX_SQL_LOOK, values, 4, columns, 2, &statement, err);
    if (r == 1)
        entry->state = state_of(&columns[0], &columns[1]);
    in->store->ops->stop(statement);
    return r < 0 ? r : 0;
}

static int look_at_letters(struct ow_inbox_in_store *in, enum ow_inbox_statement which, struct ow_inbox_entry *entries,
                           size_t count, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        if (entries[i].letter)
            r = look_at_letter(in, which, &entries[i], err);
    return r;
}

static int inbox_look(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    int r = 0;
    for (size_t i = 0; i < count; i++)
        entries[i].state = OW_INBOX_NEW;
    if (in->options.remembers || in->options.parks) {
        if (in->is_postgres)
            r = ask_postgres(in, OW_INBOX_SQL_LOOK, false, entries, count, err);
        for (size_t i = 0; !in->is_postgres && r == 0 && i < count; i++)
            if (!entries[i].letter)
                r = ask_sqlite(in, &entries[i], err);
    }
    return r < 0 ? r : look_at_letters(in, OW_INBOX_SQL_LOOK_LETTER, entries, count, err);
}

/* --- the transaction -------------------------------------------------------------------------------------- */

static void inbox_rollback(struct ow_inbox *inbox)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    in->letter_count = 0;
    in->store->ops->rollback(in->store);
}

static int claim_sqlite(struct ow_inbox_in_store *in, struct ow_inbox_entry *entry, struct ow_error *err)
{
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(entry->id),
                                ow_value_integer(ow_clock_wall_ms())};
    int r = ask_sqlite(in, entry, err);
    if (r < 0 || (entry->state != OW_INBOX_NEW && entry->state != OW_INBOX_BLOCKED))
        return r;
    return ow_inbox_run(in, OW_INBOX_SQL_CLAIM, values, 3, err);
}

/* A row that was there may have been waited for: another member has just set that message aside, and its letter is not
   seen by the statement that waited. */
static int claim_postgres(struct ow_inbox_in_store *in, struct ow_inbox_entry *entries, size_t count,
                          struct ow_error *err)
{
    bool has_met = false;
    int r = ask_postgres(in, OW_INBOX_SQL_CLAIM, false, entries, count, err);
    for (size_t i = 0; i < count; i++)
        has_met = has_met || (entries[i].letter == 0 && entries[i].state == OW_INBOX_HANDLED);
    return r == 0 && has_met && in->options.parks ? ask_postgres(in, OW_INBOX_SQL_LOOK, true, entries, count, err) : r;
}

static int claim(struct ow_inbox_in_store *in, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    int r = 0;
    if (!in->options.remembers) {
        r = in->options.parks ? inbox_look(&in->base, entries, count, err) : 0;
        return r < 0 ? r : look_at_letters(in, OW_INBOX_SQL_CLAIM_LETTER, entries, count, err);
    }
    for (size_t i = 0; i < count; i++) /* what the claim does not say is new was there before */
        entries[i].state = OW_INBOX_HANDLED;
    if (in->is_postgres)
        r = claim_postgres(in, entries, count, err);
    for (size_t i = 0; !in->is_postgres && r == 0 && i < count; i++)
        if (!entries[i].letter)
            r = claim_sqlite(in, &entries[i], err);
    return r < 0 ? r : look_at_letters(in, OW_INBOX_SQL_CLAIM_LETTER, entries, count, err);
}

static int inbox_begin(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    in->letter_count = 0;
    for (size_t i = 0; i < count; i++)
        entries[i].state = OW_INBOX_NEW;
    int r = in->store->ops->begin(in->store, OW_TRANSACTION_LATE, err);
    if (r == 0)
        r = claim(in, entries, count, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (entries[i].letter && entries[i].state == OW_INBOX_NEW) {
            struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(entries[i].id),
                                        ow_value_integer(ow_clock_wall_ms())};
            if (in->letter_count == OW_INBOX_LETTERS_MAX)
                r = ow_error_set(err, OW_EINTERNAL, "more than %d letters in a transaction", OW_INBOX_LETTERS_MAX);
            else
                in->letters[in->letter_count++] = entries[i].letter;
            if (r == 0 && in->options.remembers)
                r = ow_inbox_run(in, OW_INBOX_SQL_MARK_HANDLED, values, in->is_postgres ? 2 : 3, err);
        }
    if (r < 0)
        inbox_rollback(inbox);
    return r;
}

/* The letters that were replayed. */
static int inbox_seal(struct ow_inbox *inbox, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->letter_count; i++) {
        struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_integer(in->letters[i])};
        r = ow_inbox_run(in, OW_INBOX_SQL_DROP_LETTER, values, 2, err);
    }
    in->letter_count = 0;
    return r;
}

static int inbox_commit(struct ow_inbox *inbox, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    int r = inbox_seal(inbox, err);
    if (r < 0) {
        inbox_rollback(inbox);
        return r;
    }
    return in->store->ops->commit(in->store, err);
}

/* --- beside ------------------------------------------------------------------------------------------------ */

static int inbox_publish(struct ow_inbox *inbox, const struct ow_message *messages, size_t count, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
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
            r = ow_inbox_run(in, OW_INBOX_SQL_PUBLISH, values, 6, err);
    }
    return r;
}

static int keep(struct ow_inbox_in_store *in, enum ow_inbox_statement which, struct ow_bytes name,
                struct ow_bytes value, struct ow_error *err)
{
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(name), ow_value_text(value)};
    return ow_inbox_run(in, which, values, 3, err);
}

static int kept(struct ow_inbox_in_store *in, struct ow_bytes name, struct ow_buf *to, struct ow_error *err)
{
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(name)}, column;
    struct ow_statement *statement;
    int r = ow_inbox_row_of(in, OW_INBOX_SQL_KEPT, values, 2, &column, 1, &statement, err);
    if (r == 1)
        ow_buf_add_bytes(to, column.bytes);
    in->store->ops->stop(statement);
    return r == 1 && ow_buf_check(to, err) < 0 ? OW_ENOMEM : r;
}

static void name_offset(struct ow_inbox_in_store *in, struct ow_bytes topic, int64_t partition)
{
    ow_buf_clear(&in->ids);
    ow_buf_add_text(&in->ids, "offset/");
    ow_buf_add_bytes(&in->ids, topic);
    ow_buf_printf(&in->ids, "/%" PRId64, partition);
}

static int inbox_store_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t next,
                              struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    char text[24];
    name_offset(in, topic, partition);
    (void)snprintf(text, sizeof text, "%" PRId64, next);
    return keep(in, OW_INBOX_SQL_KEEP_OFFSET, ow_buf_bytes(&in->ids), ow_bytes_of(text), err);
}

static int inbox_read_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t *ret,
                             struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
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
    return keep(ow_inbox_in_store(inbox), OW_INBOX_SQL_KEEP, OW_BYTES("breaker"), ow_bytes_of(state), err);
}

static int inbox_load_breaker(struct ow_inbox *inbox, struct ow_buf *to, struct ow_error *err)
{
    return kept(ow_inbox_in_store(inbox), OW_BYTES("breaker"), to, err);
}

static int prune(struct ow_inbox_in_store *in, enum ow_inbox_statement which, int64_t bound, int64_t *most,
                 struct ow_error *err)
{
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_integer(bound)};
    int r = ow_inbox_run(in, which, values, 2, err);
    int64_t changes = r == 0 ? in->store->ops->changes(in->store) : 0;
    *most = changes > *most ? changes : *most;
    return r;
}

static int inbox_tend(struct ow_inbox *inbox, struct ow_wait *wait, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    int64_t now = ow_clock_monotonic_ms(), most = 0;
    int r = 0;
    if (!in->options.remembers || (in->options.retention_ms == 0 && in->options.retention_count == 0))
        return 0;
    if (now < in->prune_due_ms) {
        ow_wait_until(wait, in->prune_due_ms);
        return 0;
    }
    if (in->options.retention_ms > 0)
        r = prune(in, OW_INBOX_SQL_PRUNE_OLD,
                  in->is_postgres ? in->options.retention_ms : ow_clock_wall_ms() - in->options.retention_ms, &most,
                  err);
    if (r == 0 && in->options.retention_count > 0)
        r = prune(in, OW_INBOX_SQL_PRUNE_MANY, in->options.retention_count, &most, err);
    in->prune_due_ms = now + (most >= 1000 ? PRUNE_SOON_MS : PRUNE_EVERY_MS);
    ow_wait_until(wait, in->prune_due_ms);
    return r;
}

/* --- life -------------------------------------------------------------------------------------------------- */

static struct ow_store *inbox_store(struct ow_inbox *inbox)
{
    return ow_inbox_in_store(inbox)->store;
}

static void inbox_close(struct ow_inbox *inbox)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
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
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
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
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    if (!inbox)
        return;
    inbox_close(inbox);
    ow_buf_done(&in->ids);
    ow_buf_done(&in->keys);
    ow_buf_done(&in->scratch);
    ow_buf_done(&in->headers);
    free(in->found);
    free(in->consumer);
    free(in);
}

static const struct ow_inbox_ops inbox_ops = {
    .open = inbox_open,
    .look = inbox_look,
    .begin = inbox_begin,
    .set_aside = ow_inbox_set_aside,
    .publish = inbox_publish,
    .seal = inbox_seal,
    .commit = inbox_commit,
    .rollback = inbox_rollback,
    .next_queued = ow_inbox_next_queued,
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
    struct ow_inbox_in_store *in = calloc(1, sizeof *in);
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
