/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dlq_consumer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/units.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/record_headers.h"
#include "sql.h"

enum {
    HEADERS_MAX = 1024,
    LOOK_EVERY_MS = 200,
};

#define SQL(store, name) (ow_store_is_sqlite(store) ? ow_sql_inbox_##name : ow_sql_pg_inbox_##name)

bool ow_letter_is_of_consumer(const struct ow_letter *letter)
{
    struct ow_bytes source = ow_letter_text(letter, OW_LETTER_SOURCE);
    return source.size > 9 && memcmp(source.data, "consumer/", 9) == 0;
}

static bool is_of(const struct ow_letter *letter, const char *consumer)
{
    struct ow_bytes source = ow_letter_text(letter, OW_LETTER_SOURCE);
    return ow_letter_is_of_consumer(letter) &&
           ow_bytes_is((struct ow_bytes){source.data + 9, source.size - 9}, consumer);
}

void ow_letters_keep_consumer(struct ow_letters *letters, const char *consumer)
{
    size_t kept = 0;
    for (size_t i = 0; i < letters->count; i++)
        if (is_of(&letters->items[i], consumer))
            letters->items[kept++] = letters->items[i];
        else
            free(letters->items[i].bytes);
    letters->count = kept;
}

/* 1: it changed the letter; 0: it is not what it was when it was read. */
static int change(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                  struct ow_error *err)
{
    int r = ow_store_execute(store, sql, values, count, err);
    return r == 0 ? store->ops->changes(store) > 0 : r;
}

int ow_letter_queue(struct ow_store *store, const struct ow_letter *letter, struct ow_error *err)
{
    const struct ow_value values[] = {letter->columns[OW_LETTER_NUMBER], ow_value_integer(ow_clock_wall_ms())};
    if (ow_letter_is(letter, "parked"))
        return 1;
    return change(store, SQL(store, queue_letter), values, ow_store_is_sqlite(store) ? 2 : 1, err);
}

/* --- waiting ------------------------------------------------------------------------------------------- */

/* Whether this is the last letter of its consumer that is chosen. Letters of one consumer lie close together, as a
   rule all of them are of one. */
static bool is_last_of_consumer(const struct ow_letters *letters, size_t i)
{
    for (size_t k = i + 1; k < letters->count; k++)
        if (letters->items[k].is_chosen && ow_bytes_equal(ow_letter_text(&letters->items[k], OW_LETTER_SOURCE),
                                                          ow_letter_text(&letters->items[i], OW_LETTER_SOURCE)))
            return false;
    return true;
}

static int count_queued(struct ow_store *store, const struct ow_letter *last, int64_t *ret, struct ow_error *err)
{
    const struct ow_value values[] = {last->columns[OW_LETTER_SOURCE], last->columns[OW_LETTER_NUMBER]};
    return ow_store_query_integer(store, SQL(store, count_queued), values, 2, 0, ret, err);
}

int ow_letters_wait(struct ow_store *store, const struct ow_letters *letters, int64_t timeout_ms, struct ow_error *err)
{
    int64_t until = timeout_ms > 0 ? ow_clock_monotonic_ms() + timeout_ms : OW_WAIT_FOR_EVER;
    for (size_t i = letters->count; i-- > 0;) {
        const struct ow_letter *letter = &letters->items[i];
        int64_t queued = 1;
        if (!letter->is_chosen || !ow_letter_is_of_consumer(letter) || !is_last_of_consumer(letters, i))
            continue;
        while (queued > 0) {
            struct ow_wait wait;
            int r = count_queued(store, letter, &queued, err);
            if (r < 0)
                return r;
            if (queued > 0 && ow_clock_monotonic_ms() >= until)
                return 0;
            ow_wait_init(&wait);
            ow_wait_until(&wait, queued > 0 ? ow_clock_monotonic_ms() + LOOK_EVERY_MS : 0);
            ow_wait_sleep(&wait);
        }
    }
    return 1;
}

int ow_letters_tell_left(struct ow_store *store, const struct ow_letters *letters, size_t *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_letters_done) struct ow_letters now = {0};
    size_t at = 0;
    *ret = 0;
    int r = ow_letters_read(store, false, false, &now, err);
    for (size_t i = 0; r == 0 && i < letters->count; i++) {
        int64_t number = letters->items[i].columns[OW_LETTER_NUMBER].integer;
        if (!letters->items[i].is_chosen || !ow_letter_is_of_consumer(&letters->items[i]))
            continue;
        while (at < now.count && now.items[at].columns[OW_LETTER_NUMBER].integer < number)
            at++;
        if (at == now.count || now.items[at].columns[OW_LETTER_NUMBER].integer != number)
            continue;
        ++*ret;
        if (ow_letter_is(&now.items[at], "dead"))
            ow_complain("dead letter %lld is dead again: %.*s", (long long)number,
                        OW_PRINT(ow_letter_text(&now.items[at], OW_LETTER_REASON)));
    }
    return r;
}

/* --- changing ------------------------------------------------------------------------------------------ */

static bool is_text(struct ow_bytes bytes)
{
    return bytes.data && ow_utf8_is_valid(bytes) && !memchr(bytes.data, '\0', bytes.size);
}

static struct ow_bytes payload_of(const struct ow_letter *letter)
{
    struct ow_bytes text = ow_letter_text(letter, OW_LETTER_PAYLOAD);
    return text.data ? text : ow_letter_text(letter, OW_LETTER_PAYLOAD_BYTES);
}

/* An entry of the history: {"time":ms,"edited":{"payload":…,"headers":…}}, what it was. */
static void describe(const struct ow_letter *letter, struct ow_buf *to)
{
    struct ow_bytes payload = payload_of(letter), headers = ow_letter_text(letter, OW_LETTER_HEADERS);
    ow_buf_printf(to, "{\"time\":%" PRId64 ",\"edited\":{", ow_clock_wall_ms());
    if (!payload.data) {
        ow_buf_add_text(to, "\"payload\":null");
    } else if (is_text(payload)) {
        ow_buf_add_text(to, "\"payload\":");
        ow_json_write_string(to, payload);
    } else {
        ow_buf_add_text(to, "\"payload_base64\":\"");
        ow_base64_encode(to, payload);
        ow_buf_add_char(to, '"');
    }
    ow_buf_add_text(to, ",\"headers\":");
    ow_json_write_string(to, headers);
    ow_buf_add_text(to, "}}");
}

/* All of that name go; it comes at the end. */
static int set_header(struct ow_header *headers, size_t *count, const char *text, struct ow_error *err)
{
    const char *sign = strchr(text, '=');
    size_t kept = 0;
    if (!sign || sign == text)
        return ow_error_set(err, OW_EUSAGE, "--header \"%.*s\": expected NAME=VALUE", OW_PRINT(ow_bytes_of(text)));
    struct ow_bytes name = {text, (size_t)(sign - text)};
    for (size_t i = 0; i < *count; i++)
        if (!ow_bytes_equal(headers[i].name, name))
            headers[kept++] = headers[i];
    headers[kept++] = (struct ow_header){name, ow_bytes_of(sign + 1)};
    *count = kept;
    return 0;
}

static int write_headers(const struct ow_letter *letter, const struct ow_flag_list *wanted, struct ow_buf *to,
                         struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    size_t count = 0;
    struct ow_header *headers = calloc(HEADERS_MAX + wanted->count, sizeof *headers);
    int r = headers ? ow_record_headers_read(ow_letter_text(letter, OW_LETTER_HEADERS), headers, HEADERS_MAX, &count,
                                             &scratch, err)
                    : ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; r == 0 && i < wanted->count; i++)
        r = set_header(headers, &count, wanted->values[i], err);
    if (r == 0)
        ow_record_headers_write(to, headers, count);
    free(headers);
    return r;
}

/* NULL, or why not. */
static const char *bar(const struct ow_letter *letter, const struct ow_flag_list *headers)
{
    struct ow_bytes origin = ow_letter_text(letter, OW_LETTER_ORIGIN);
    if (ow_letter_is(letter, "queued"))
        return "it is on its way already";
    if (ow_letter_is(letter, "parked"))
        return "it is parked and not dead; it can be changed when it has failed itself";
    if (ow_bytes_is(origin, "row") || ow_bytes_is(origin, "other"))
        return "it is a row of another table, or none of ours";
    return headers->count > 0 && !ow_letter_is_of_consumer(letter) ? "of a relay's letters only the payload" : NULL;
}

int ow_letter_edit(struct ow_store *store, const struct ow_letter *letter, struct ow_bytes payload,
                   const struct ow_flag_list *headers, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf before = {0}, text = {0};
    long long number = letter->columns[OW_LETTER_NUMBER].integer;
    const char *why = bar(letter, headers);
    struct ow_bytes now = payload.data ? payload : payload_of(letter);
    struct ow_value values[5];
    size_t n = 0;
    if (why)
        return ow_error_set(err, OW_EINVALID, "dead letter %lld cannot be changed: %s", number, why);
    int r = headers->count > 0 ? write_headers(letter, headers, &text, err) : 0;
    if (r < 0)
        return r;
    describe(letter, &before);
    if (ow_buf_check(&before, err) < 0 || ow_buf_check(&text, err) < 0)
        return OW_ENOMEM;
    values[n++] = letter->columns[OW_LETTER_NUMBER];
    if (ow_store_is_sqlite(store)) {
        values[n++] = is_text(now) ? ow_value_text(now) : ow_value_blob(now);
    } else {
        values[n++] = is_text(now) ? ow_value_text(now) : ow_value_null();
        values[n++] = is_text(now) ? ow_value_null() : ow_value_blob(now);
    }
    values[n++] = ow_value_text(headers->count > 0 ? ow_buf_bytes(&text) : ow_letter_text(letter, OW_LETTER_HEADERS));
    values[n++] = ow_value_text(ow_buf_bytes(&before));
    r = change(store, SQL(store, edit_letter), values, n, err);
    if (r == 0)
        return ow_error_set(err, OW_EINVALID, "dead letter %lld cannot be changed: somebody else has dealt with it",
                            number);
    return r < 0 ? ow_error_prefix(err, "dead letter %lld", number) : 0;
}
