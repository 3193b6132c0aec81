/* SPDX-License-Identifier: Apache-2.0 */
#include "source/dead_letters.h"

#include "codec/json.h"
#include "codec/row_image.h"
#include "sql.h"

int ow_dead_letters_note(struct ow_dead_letters *letters, struct ow_bytes key, struct ow_error *err)
{
    return key.data ? ow_keyset_add(&letters->keys, key, err) : 0;
}

void ow_dead_letters_done(struct ow_dead_letters *letters)
{
    ow_keyset_done(&letters->keys);
}

int ow_dead_letters_load(struct ow_dead_letters *letters, struct ow_store *store, struct ow_error *err)
{
    struct ow_statement *statement = NULL;
    const struct ow_value source = ow_value_text(ow_bytes_of(letters->source));
    struct ow_value key;
    int r = store->ops->prepare(store, ow_store_is_sqlite(store) ? ow_sql_dead_letter_keys : ow_sql_pg_dead_letter_keys,
                                &statement, err);
    if (r == 0)
        r = store->ops->start(statement, &source, 1, err);
    while (r == 0 && (r = store->ops->row(statement, &key, 1, err)) == 1)
        r = ow_keyset_add(&letters->keys, key.bytes, err);
    store->ops->discard(statement);
    return r;
}

/* --- writing ------------------------------------------------------------------------------------------- */

static bool is_text(struct ow_bytes bytes)
{
    return !memchr(bytes.data, '\0', bytes.size) && ow_utf8_is_valid(bytes);
}

/* PostgreSQL's text holds no NUL and only UTF-8: what is neither stands there as \x and its bytes in hexadecimal. */
static struct ow_value text_of(struct ow_buf *keep, struct ow_bytes bytes)
{
    if (!bytes.data || is_text(bytes))
        return ow_value_text(bytes);
    ow_buf_add_text(keep, "\\x");
    for (size_t i = 0; i < bytes.size; i++)
        ow_buf_printf(keep, "%02x", (unsigned char)bytes.data[i]);
    return ow_value_text(ow_buf_bytes(keep));
}

enum { TEXTS = 6 };
struct scratch {
    struct ow_buf texts[TEXTS], headers, row;
};

static void scratch_done(struct scratch *s)
{
    for (int i = 0; i < TEXTS; i++)
        ow_buf_done(&s->texts[i]);
    ow_buf_done(&s->headers);
    ow_buf_done(&s->row);
}

static int check_scratch(const struct scratch *s, struct ow_error *err)
{
    int r = 0;
    for (int i = 0; i < TEXTS && r == 0; i++)
        r = ow_buf_check(&s->texts[i], err);
    return r == 0 ? ow_buf_check(&s->headers, err) : r;
}

static const char *const origins[] = {[OW_LETTER_OF_OUTBOX] = "outbox",
                                      [OW_LETTER_OF_MESSAGE] = "message",
                                      [OW_LETTER_OF_ROW] = "row",
                                      [OW_LETTER_OF_OTHER] = "other"};

int ow_dead_letters_write(struct ow_dead_letters *letters, struct ow_store *store, const struct ow_dead_letter *letter,
                          struct ow_error *err)
{
    OW_CLEANUP(scratch_done) struct scratch s = {0};
    const struct ow_message *m = letter->message;
    const char *reason = letter->reason ? letter->reason : OW_PARKED_REASON;
    bool is_payload_text = m->payload.data && is_text(m->payload);
    if (m->header_count > 0)
        ow_json_write_headers(&s.headers, m->headers, m->header_count);
    if (letter->origin == OW_LETTER_OF_ROW) {
        int r = ow_row_image_write_json(m->image, &s.row, err);
        if (r < 0)
            return r;
    }
    const struct ow_value values[] = {
        ow_value_text(ow_bytes_of(letters->source)),
        ow_value_text(ow_bytes_of(letter->place)),
        ow_value_text(ow_bytes_of(origins[letter->origin])),
        text_of(&s.texts[0], m->id),
        text_of(&s.texts[1], m->aggregate_type),
        text_of(&s.texts[2], m->aggregate_id),
        text_of(&s.texts[3], m->type),
        text_of(&s.texts[4], m->topic),
        ow_value_blob(m->key),
        is_payload_text ? ow_value_text(m->payload) : ow_value_null(),
        is_payload_text ? ow_value_null() : ow_value_blob(m->payload),
        s.headers.size ? ow_value_text(ow_buf_bytes(&s.headers)) : ow_value_null(),
        m->time_ms ? ow_value_integer(m->time_ms) : ow_value_null(),
        s.row.size ? ow_value_text(ow_buf_bytes(&s.row)) : ow_value_null(),
        text_of(&s.texts[5], ow_bytes_of(reason)),
        ow_value_integer(letter->attempts),
        ow_value_text(letter->reason ? OW_BYTES("dead") : OW_BYTES("parked")),
    };
    int r = check_scratch(&s, err);
    if (r == 0)
        r = ow_store_execute(store, ow_sql_pg_dead_letter_write, values, sizeof values / sizeof values[0], err);
    return r;
}

/* --- asking -------------------------------------------------------------------------------------------- */

int ow_dead_letters_stand_before(struct ow_dead_letters *letters, struct ow_store *store,
                                 const struct ow_message *message, uint64_t position, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0}, id = {0};
    struct ow_value columns[2] = {ow_value_null(), ow_value_null()};
    if (!ow_keyset_has(&letters->keys, message->key))
        return 0;
    const struct ow_value values[] = {ow_value_text(ow_bytes_of(letters->source)), ow_value_blob(message->key),
                                      text_of(&id, message->id), ow_value_integer((int64_t)position)};
    int r = ow_buf_check(&id, err);
    if (r == 0)
        r = ow_store_query_row(
            store, ow_store_is_sqlite(store) ? ow_sql_dead_letter_stand_before : ow_sql_pg_dead_letter_stand_before,
            values, 4, columns, 2, &keep, err);
    if (r < 0)
        return r;
    if (r == 0 || columns[1].integer == 0)
        ow_keyset_remove(&letters->keys, message->key);
    return r == 1 && columns[0].integer != 0;
}
