/* SPDX-License-Identifier: Apache-2.0 */
/* The dead letters of the inbox in a store. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "codec/dead_letter_headers.h"
#include "codec/record_headers.h"
#include "inbox/inbox_private.h"

enum { HOLD_MS = 10000 }; /* SQLite: how long a member that says nothing keeps the letters to itself */

static struct ow_value text_or_null(struct ow_bytes bytes)
{
    bool is_text = bytes.data && ow_utf8_is_valid(bytes) && (bytes.size == 0 || !memchr(bytes.data, '\0', bytes.size));
    return is_text ? ow_value_text(bytes) : ow_value_null();
}

static int put_back(struct ow_inbox_in_store *in, const struct ow_inbox_entry *entry,
                    const struct ow_inbox_failure *failure, struct ow_error *err)
{
    struct ow_value values[] = {ow_inbox_consumer_value(in),
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
    return ow_inbox_run(in, OW_INBOX_SQL_PUT_BACK_LETTER, values, in->is_postgres ? 5 : 6, err);
}

static int put_letter(struct ow_inbox_in_store *in, const struct ow_inbox_entry *entry,
                      const struct ow_inbox_failure *failure, struct ow_error *err)
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
    values[n++] = ow_inbox_consumer_value(in);
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
    return ow_inbox_run(in, OW_INBOX_SQL_PUT_LETTER, values, n, err);
}

int ow_inbox_set_aside(struct ow_inbox *inbox, const struct ow_inbox_entry *entry,
                       const struct ow_inbox_failure *failure, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    int r = 0;
    if (in->options.keeps_letters)
        r = entry->letter ? put_back(in, entry, failure, err) : put_letter(in, entry, failure, err);
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(entry->id),
                                ow_value_text(ow_bytes_of(failure->is_parked ? "parked" : "aside")),
                                ow_value_integer(ow_clock_wall_ms())};
    if (r < 0 || !in->options.remembers)
        return r;
    return in->options.keeps_letters ? ow_inbox_run(in, OW_INBOX_SQL_MARK, values, in->is_postgres ? 3 : 4, err)
                                     : ow_inbox_run(in, OW_INBOX_SQL_FORGET, values, 2, err);
}

/* 1: the letters are this member's to replay. */
static int hold_replays(struct ow_inbox_in_store *in, struct ow_error *err)
{
    int64_t now = ow_clock_wall_ms();
    if (in->is_postgres && in->holds_replays)
        return 1;
    struct ow_value held;
    struct ow_statement *statement;
    if (in->is_postgres) {
        struct ow_value name = ow_inbox_consumer_value(in);
        int r = ow_inbox_row_of(in, OW_INBOX_SQL_HOLD_REPLAYS, &name, 1, &held, 1, &statement, err);
        in->holds_replays = r == 1 && held.integer == 1;
        in->store->ops->stop(statement);
        return r < 0 ? r : in->holds_replays;
    }
    struct ow_value values[] = {ow_inbox_consumer_value(in), ow_value_text(ow_bytes_of(in->who)),
                                ow_value_integer(now + HOLD_MS), ow_value_integer(now)};
    int r = ow_inbox_run(in, OW_INBOX_SQL_HOLD_REPLAYS, values, 4, err);
    return r < 0 ? r : in->store->ops->changes(in->store) > 0;
}

/* A record may have any number of headers. */
static int read_headers(struct ow_inbox_in_store *in, struct ow_bytes text, size_t *ret_count, struct ow_error *err)
{
    int r = OW_ETOOBIG;
    for (size_t max = in->found_max; r == OW_ETOOBIG; max = 2 * in->found_max) {
        if (max > in->found_max || !in->found) {
            max = max ? max : 64;
            struct ow_header *grown = reallocarray(in->found, max, sizeof *grown);
            if (!grown)
                return ow_error_set(err, OW_ENOMEM, "out of memory");
            in->found = grown;
            in->found_max = max;
        }
        r = ow_record_headers_read(text, in->found, in->found_max, ret_count, &in->headers, err);
    }
    return r;
}

static int show_letter(struct ow_inbox_in_store *in, const struct ow_value *columns, struct ow_inbox_letter *ret,
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
    int r = read_headers(in, bytes[11], &count, err);
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

int ow_inbox_next_queued(struct ow_inbox *inbox, int64_t after, struct ow_inbox_letter *ret, struct ow_error *err)
{
    struct ow_inbox_in_store *in = ow_inbox_in_store(inbox);
    struct ow_statement *statement;
    struct ow_value columns[14], values[] = {ow_inbox_consumer_value(in), ow_value_integer(after)};
    int r = ow_inbox_row_of(in, OW_INBOX_SQL_NEXT_QUEUED, values, 2, columns, 14, &statement, err);
    if (r == 1)
        r = show_letter(in, columns, ret, err);
    in->store->ops->stop(statement);
    /* Asked only when there is something, so that an idle consumer writes nothing. */
    int held = r == 1 ? hold_replays(in, err) : 0;
    return held < 0 ? held : r == 1 && held == 0 ? 0 : r;
}
