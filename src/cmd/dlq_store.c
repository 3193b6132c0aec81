/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dlq_store.h"

#include <stdlib.h>

#include "base/units.h"
#include "cmd/dlq_consumer.h"
#include "sql.h"
#include "store/migrate.h"
#include "store/postgres.h"

#define SQL(store, name) (ow_store_is_sqlite(store) ? ow_sql_dead_letter_##name : ow_sql_pg_dead_letter_##name)

void ow_letters_done(struct ow_letters *letters)
{
    for (size_t i = 0; i < letters->count; i++)
        free(letters->items[i].bytes);
    free(letters->items);
    *letters = (struct ow_letters){0};
}

/* --- reading ------------------------------------------------------------------------------------------- */

static int open_postgres(const struct ow_url *url, struct ow_store **ret, struct ow_error *err)
{
    const struct ow_postgres_options options = {.url = url->path, .shown = url->text};
    return ow_postgres_open(&options, ret, err);
}

static int open_sqlite(const struct ow_url *url, bool is_to_change, struct ow_store **ret, struct ow_error *err)
{
    const struct ow_sqlite_options options = {
        .path = url->path, .mode = is_to_change ? OW_SQLITE_MUST_EXIST : OW_SQLITE_READ_ONLY, .is_durable = true};
    return ow_sqlite_open(&options, ret, err);
}

int ow_letters_open(const struct ow_url *url, bool is_to_change, struct ow_store **ret, struct ow_error *err)
{
    bool is_postgres = url->scheme->id == OW_SCHEME_POSTGRES;
    int64_t version = 0;
    *ret = NULL;
    int r = is_postgres ? open_postgres(url, ret, err) : open_sqlite(url, is_to_change, ret, err);
    if (r < 0)
        return r;
    r = ow_schema_version(*ret, is_postgres ? &ow_schema_outbox_postgres : &ow_schema_outbox, &version, err);
    if (r == 0 && version == 0)
        r = ow_error_set(err, OW_ENOTFOUND, "%s: there is no outbox in it, and no dead letters", url->text);
    else if (r < 0)
        ow_error_prefix(err, "%s", url->text);
    if (r < 0) {
        (*ret)->ops->close(*ret);
        *ret = NULL;
    }
    return r;
}

static int keep(struct ow_letters *letters, const struct ow_value *columns, struct ow_error *err)
{
    size_t size = 0;
    if (letters->count == letters->capacity) {
        size_t capacity = letters->capacity ? 2 * letters->capacity : 64;
        struct ow_letter *more = reallocarray(letters->items, capacity, sizeof *more);
        if (!more)
            return ow_error_set(err, OW_ENOMEM, "out of memory for %zu dead letters", capacity);
        letters->items = more;
        letters->capacity = capacity;
    }
    struct ow_letter *letter = &letters->items[letters->count];
    *letter = (struct ow_letter){0};
    memcpy(letter->columns, columns, sizeof letter->columns);
    for (int i = 0; i < OW_LETTER_COLUMN_COUNT; i++)
        size += letter->columns[i].bytes.data ? letter->columns[i].bytes.size + 1 : 0;
    char *at = letter->bytes = malloc(size + 1);
    if (!at)
        return ow_error_set(err, OW_ENOMEM, "out of memory for a dead letter of %zu bytes", size);
    for (int i = 0; i < OW_LETTER_COLUMN_COUNT; i++) {
        struct ow_bytes *bytes = &letter->columns[i].bytes;
        if (!bytes->data)
            continue;
        if (bytes->size)
            memcpy(at, bytes->data, bytes->size);
        at[bytes->size] = '\0';
        bytes->data = at;
        at += bytes->size + 1;
    }
    letters->count++;
    return 0;
}

static int tidy(struct ow_store *store, struct ow_error *err)
{
    int r = store->ops->script(store, SQL(store, tidy_polled), err);
    if (r == 0 && !ow_store_is_sqlite(store))
        r = store->ops->script(store, ow_sql_pg_dead_letter_tidy_log, err);
    return r;
}

static struct ow_value text_of(const char *text)
{
    return text ? ow_value_text(ow_bytes_of(text)) : ow_value_null();
}

int ow_letters_read_some(struct ow_store *store, bool is_to_change, bool wants_contents,
                         const struct ow_letters_wanted *wanted, struct ow_letters *ret, struct ow_error *err)
{
    struct ow_statement *statement = NULL;
    struct ow_value columns[OW_LETTER_COLUMN_COUNT];
    struct ow_error ignored;
    int64_t number = -1;
    if (wanted->word && ow_integer_parse(ow_bytes_of(wanted->word), 1, INT64_MAX, &number, &ignored) < 0)
        number = -1;
    const struct ow_value values[] = {ow_value_integer(wants_contents),
                                      ow_value_integer(wanted->after),
                                      text_of(wanted->state),
                                      ow_value_integer(wanted->limit ? wanted->limit : INT64_MAX),
                                      ow_value_integer(number),
                                      text_of(wanted->word),
                                      ow_value_integer(wanted->with_key)};
    ret->lacks_contents = !wants_contents;
    int r = is_to_change ? tidy(store, err) : 0;
    if (r == 0)
        r = store->ops->prepare(store, SQL(store, list), &statement, err);
    if (r == 0)
        r = store->ops->start(statement, values, sizeof values / sizeof values[0], err);
    while (r == 0 && (r = store->ops->row(statement, columns, OW_LETTER_COLUMN_COUNT, err)) == 1)
        r = keep(ret, columns, err);
    store->ops->discard(statement);
    return r;
}

int ow_letters_read(struct ow_store *store, bool is_to_change, bool wants_contents, struct ow_letters *ret,
                    struct ow_error *err)
{
    return ow_letters_read_some(store, is_to_change, wants_contents, &(struct ow_letters_wanted){0}, ret, err);
}

/* --- changing ------------------------------------------------------------------------------------------ */

/* 1: it is as it was when it was read, and ours until the end of the transaction; 0: somebody else was first. */
static int lock(struct ow_store *store, const struct ow_letter *letter, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf kept = {0};
    struct ow_value state;
    int r = ow_store_query_row(store, SQL(store, lock), &letter->columns[OW_LETTER_NUMBER], 1, &state, 1, &kept, err);
    return r == 1 ? ow_bytes_equal(state.bytes, ow_letter_text(letter, OW_LETTER_STATE)) : r;
}

static int replay_row(struct ow_store *store, const struct ow_letter *letter, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf kept = {0};
    struct ow_value statements;
    int r = ow_store_query_row(store, ow_sql_pg_dead_letter_replay_row, &letter->columns[OW_LETTER_NUMBER], 1,
                               &statements, 1, &kept, err);
    if (r == 1)
        return store->ops->script(store, statements.bytes.data, err);
    return r < 0 ? r : ow_error_set(err, OW_ECORRUPT, "its row is not there");
}

/* *ret: where it stands now, as far as that is known already. */
static int put_back(struct ow_store *store, const struct ow_letter *letter, struct ow_value *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf kept = {0};
    const struct ow_value *number = &letter->columns[OW_LETTER_NUMBER];
    struct ow_value seq = ow_value_null();
    *ret = ow_value_null();
    if (ow_bytes_is(ow_letter_text(letter, OW_LETTER_ORIGIN), "row"))
        return replay_row(store, letter, err);
    if (ow_bytes_is(ow_letter_text(letter, OW_LETTER_ORIGIN), "message"))
        return ow_store_execute(store, ow_sql_pg_dead_letter_replay_message, number, 1, err);
    int r = ow_store_query_row(store, SQL(store, replay_outbox), number, 1, &seq, 1, &kept, err);
    if (ow_bytes_is(ow_letter_text(letter, OW_LETTER_SOURCE), "polling"))
        *ret = seq;
    return r < 0 ? r : 0;
}

/* 1: it is queued; 0: somebody else has dealt with it. */
static int replay_one(struct ow_store *store, const struct ow_letter *letter, struct ow_error *err)
{
    struct ow_value position;
    long long number = letter->columns[OW_LETTER_NUMBER].integer;
    if (ow_letter_is_of_consumer(letter)) {
        int queued = ow_letter_queue(store, letter, err);
        return queued < 0 ? ow_error_prefix(err, "dead letter %lld", number) : queued;
    }
    int r = lock(store, letter, err);
    if (r <= 0)
        return r;
    r = put_back(store, letter, &position, err);
    const struct ow_value values[] = {letter->columns[OW_LETTER_NUMBER], position,
                                      ow_value_integer(ow_clock_wall_ms())};
    if (r == 0)
        r = ow_store_execute(store, SQL(store, queue), values, ow_store_is_sqlite(store) ? 3 : 2, err);
    return r < 0 ? ow_error_prefix(err, "dead letter %lld", number) : 1;
}

int ow_letters_replay(struct ow_store *store, struct ow_letter *const *letters, size_t count, size_t *ret_count,
                      struct ow_error *err)
{
    *ret_count = 0;
    int r = store->ops->begin(store, OW_TRANSACTION_WRITE, err);
    for (size_t i = 0; i < count && r >= 0; i++) {
        r = replay_one(store, letters[i], err);
        *ret_count += r == 1;
    }
    if (r >= 0)
        return store->ops->commit(store, err);
    store->ops->rollback(store);
    return r;
}

int ow_letters_settle(struct ow_store *store, struct ow_error *err)
{
    return ow_store_is_sqlite(store) ? 0 : store->ops->script(store, ow_sql_pg_dead_letter_settle_positions, err);
}

int ow_letters_discard(struct ow_store *store, struct ow_letter *const *letters, size_t count, struct ow_error *err)
{
    int r = store->ops->begin(store, OW_TRANSACTION_WRITE, err);
    for (size_t i = 0; i < count && r == 0; i++)
        r = ow_store_execute(store, SQL(store, discard), &letters[i]->columns[OW_LETTER_NUMBER], 1, err);
    if (r == 0)
        return store->ops->commit(store, err);
    store->ops->rollback(store);
    return r;
}
