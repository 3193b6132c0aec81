/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dlq_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "codec/base64.h"
#include "codec/dead_letter_headers.h"
#include "codec/json.h"
#include "codec/record_headers.h"

static const struct ow_column list_columns[] = {
    {"store", OW_COLUMN_TEXT},
    {"number", OW_COLUMN_NUMBER},
    {"state", OW_COLUMN_TEXT},
    {"source", OW_COLUMN_TEXT},
    {"id", OW_COLUMN_TEXT},
    {"topic", OW_COLUMN_TEXT},
    {"key", OW_COLUMN_TEXT},
    {"type", OW_COLUMN_TEXT},
    {"attempts", OW_COLUMN_NUMBER},
    {"replays", OW_COLUMN_NUMBER},
    {"set_aside_at_ms", OW_COLUMN_TIME},
    {"reason", OW_COLUMN_TEXT},
};

static bool is_text(struct ow_bytes bytes)
{
    return ow_utf8_is_valid(bytes) && !memchr(bytes.data, '\0', bytes.size);
}

static void add_base64(struct ow_buf *to, struct ow_bytes bytes)
{
    ow_base64_encode(to, bytes);
}

/* --- list ---------------------------------------------------------------------------------------------- */

/* Bytes that are no text as base64, so that they can be told apart all the same. */
static void cell(struct ow_output *out, const struct ow_letter *letter, enum ow_letter_column column)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    struct ow_bytes bytes = ow_letter_text(letter, column);
    if (letter->columns[column].kind == OW_VALUE_INTEGER) {
        ow_output_number(out, letter->columns[column].integer);
    } else if (!bytes.data) {
        ow_output_null(out);
    } else if (is_text(bytes)) {
        ow_output_text(out, bytes.data);
    } else {
        ow_buf_add_text(&text, "base64:");
        add_base64(&text, bytes);
        ow_output_text(out, text.has_failed ? "?" : text.data);
    }
}

void ow_dlq_list_begin(struct ow_output *out, bool has_stores)
{
    size_t skipped = !has_stores;
    ow_output_section(out, "dead_letter", list_columns + skipped,
                      sizeof list_columns / sizeof list_columns[0] - skipped);
}

void ow_dlq_list(struct ow_output *out, const char *store, const struct ow_letters *letters)
{
    static const enum ow_letter_column columns[] = {
        OW_LETTER_NUMBER, OW_LETTER_STATE,    OW_LETTER_SOURCE,  OW_LETTER_ID,    OW_LETTER_TOPIC, OW_LETTER_KEY,
        OW_LETTER_TYPE,   OW_LETTER_ATTEMPTS, OW_LETTER_REPLAYS, OW_LETTER_ASIDE, OW_LETTER_REASON};
    for (size_t i = 0; i < letters->count; i++) {
        if (!letters->items[i].is_chosen)
            continue;
        if (store)
            ow_output_text(out, store);
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
            cell(out, &letters->items[i], columns[c]);
    }
}

/* --- show ---------------------------------------------------------------------------------------------- */

enum kind { TEXT, BYTES, NUMBER, TIME, JSON };
static const struct {
    const char *name;
    enum ow_letter_column column;
    enum kind kind;
} fields[] = {
    {"number", OW_LETTER_NUMBER, NUMBER},
    {"state", OW_LETTER_STATE, TEXT},
    {"source", OW_LETTER_SOURCE, TEXT},
    {"position", OW_LETTER_POSITION, TEXT},
    {"origin", OW_LETTER_ORIGIN, TEXT},
    {"reason", OW_LETTER_REASON, TEXT},
    {"attempts", OW_LETTER_ATTEMPTS, NUMBER},
    {"replays", OW_LETTER_REPLAYS, NUMBER},
    {"first_aside_at_ms", OW_LETTER_FIRST_ASIDE, TIME},
    {"set_aside_at_ms", OW_LETTER_ASIDE, TIME},
    {"replayed_at_ms", OW_LETTER_REPLAYED, TIME},
    {"history", OW_LETTER_HISTORY, JSON},
    {"id", OW_LETTER_ID, TEXT},
    {"aggregatetype", OW_LETTER_AGGREGATE_TYPE, TEXT},
    {"aggregateid", OW_LETTER_AGGREGATE_ID, TEXT},
    {"type", OW_LETTER_TYPE, TEXT},
    {"topic", OW_LETTER_TOPIC, TEXT},
    {"time_ms", OW_LETTER_TIME, TIME},
    {"row", OW_LETTER_ROW, JSON},
    {"headers", OW_LETTER_HEADERS, JSON},
    {"key", OW_LETTER_KEY, BYTES},
    {"payload", OW_LETTER_PAYLOAD, BYTES},
    {"payload", OW_LETTER_PAYLOAD_BYTES, BYTES},
};

static bool is_json(struct ow_bytes text)
{
    struct ow_json json;
    struct ow_error ignored;
    ow_json_init(&json, text);
    int r = ow_json_next(&json, &ignored);
    while (r > OW_JSON_END)
        r = ow_json_next(&json, &ignored);
    return r == OW_JSON_END && text.size > 0;
}

/* A number that was put where text is expected (SQLite) is its decimal form. */
static struct ow_bytes bytes_of(const struct ow_value *value, char number[32])
{
    if (value->kind == OW_VALUE_INTEGER)
        (void)snprintf(number, 32, "%" PRId64, value->integer);
    else if (value->kind == OW_VALUE_REAL)
        (void)snprintf(number, 32, "%.17g", value->real);
    else
        return value->bytes;
    return ow_bytes_of(number);
}

static void add_member(struct ow_buf *to, const char *name, enum kind kind, const struct ow_value *value)
{
    char number[32];
    struct ow_bytes bytes = bytes_of(value, number);
    bool is_plain = (kind == NUMBER || kind == TIME) || (kind == JSON && bytes.data && is_json(bytes));
    if (bytes.data && !is_plain && !is_text(bytes)) {
        ow_buf_printf(to, "\"%s_base64\":\"", name);
        add_base64(to, bytes);
        ow_buf_add_char(to, '"');
        return;
    }
    ow_buf_printf(to, "\"%s\":", name);
    if (bytes.data && is_plain) { /* on one line: a break stands between its parts, never in a string */
        for (size_t i = 0; i < bytes.size; i++)
            ow_buf_add_char(to, bytes.data[i] == '\n' || bytes.data[i] == '\r' ? ' ' : bytes.data[i]);
    } else if (kind == NUMBER || kind == TIME) {
        ow_buf_add_text(to, "null");
    } else {
        ow_json_write_string(to, bytes);
    }
}

/* Of two columns for one member (text, or bytes) the one that holds something. */
static bool is_passed_over(const struct ow_letter *letter, enum ow_letter_column column)
{
    bool has_bytes = letter->columns[OW_LETTER_PAYLOAD_BYTES].kind != OW_VALUE_NULL;
    return (column == OW_LETTER_PAYLOAD && has_bytes) || (column == OW_LETTER_PAYLOAD_BYTES && !has_bytes);
}

/* --- what its headers say of failures before it came here -------------------------------------------------- */

enum { HEADERS_MAX = 4096 }; /* of a record; of one with more nothing is said */

struct earlier {
    struct ow_header *headers;
    struct ow_buf bytes; /* `letter` points into these */
    struct ow_dead_letter letter;
};

static void earlier_done(struct earlier *e)
{
    free(e->headers);
    ow_buf_done(&e->bytes);
}

/* False: it is the first, as far as they say. */
static bool find_earlier(const struct ow_letter *letter, struct earlier *e)
{
    struct ow_error ignored;
    struct ow_bytes text = ow_letter_text(letter, OW_LETTER_HEADERS);
    size_t count = 0;
    if (text.size == 0 || text.data[0] != '[' || !(e->headers = calloc(HEADERS_MAX, sizeof *e->headers)))
        return false;
    return ow_record_headers_read(text, e->headers, HEADERS_MAX, &count, &e->bytes, &ignored) == 0 &&
           ow_dead_letter_read(e->headers, count, &e->letter) == 1;
}

static const char *name_of_form(enum ow_dead_letter_form form)
{
    static const char *const names[] = {[OW_DEAD_LETTER_SPRING] = "spring",
                                        [OW_DEAD_LETTER_CONNECT] = "connect",
                                        [OW_DEAD_LETTER_NSERVICEBUS] = "nservicebus",
                                        [OW_DEAD_LETTER_SPRING_RETRY] = "spring-retry"};
    return names[form];
}

static void add_text(struct ow_buf *to, const char *name, struct ow_bytes text)
{
    ow_buf_printf(to, "\"%s\":", name);
    ow_json_write_string(to, text.data && ow_utf8_is_valid(text) ? text : OW_NULL_BYTES);
}

static void add_known(struct ow_buf *to, const char *name, int64_t number)
{
    if (number < 0)
        ow_buf_printf(to, ",\"%s\":null", name);
    else
        ow_buf_printf(to, ",\"%s\":%" PRId64, name, number);
}

static void add_place(struct ow_buf *to, const char *name, const struct ow_dead_letter_place *p)
{
    ow_buf_printf(to, ",\"%s\":{", name);
    add_text(to, "topic", p->topic);
    add_known(to, "partition", p->partition);
    add_known(to, "offset", p->offset);
    add_known(to, "time_ms", p->time_ms);
    ow_buf_add_char(to, ',');
    add_text(to, "group", p->group);
    ow_buf_add_char(to, '}');
}

static void add_earlier(struct ow_buf *to, const struct ow_letter *letter)
{
    OW_CLEANUP(earlier_done) struct earlier e = {0};
    ow_buf_add_text(to, ",\"earlier\":");
    if (!find_earlier(letter, &e)) {
        ow_buf_add_text(to, "null");
        return;
    }
    const struct ow_dead_letter *l = &e.letter;
    const struct {
        const char *name;
        struct ow_bytes text;
    } texts[] = {{"exception", l->exception}, {"cause", l->cause}, {"message", l->message}, {"stage", l->stage}};
    ow_buf_printf(to, "{\"by\":\"%s\",\"failures\":%" PRIu32, name_of_form(l->form), l->replays + 1);
    add_known(to, "attempts", l->attempts > 0 ? (int64_t)l->attempts : -1);
    add_place(to, "origin", &l->origin);
    add_place(to, "last", &l->last);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ow_buf_add_char(to, ',');
        add_text(to, texts[i].name, texts[i].text);
    }
    ow_buf_add_char(to, '}');
}

/* One line of text, of any bytes. */
static void show_plain(struct ow_buf *to, struct ow_bytes text)
{
    bool is_good = ow_utf8_is_valid(text);
    for (size_t i = 0; text.data && i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        ow_buf_add_char(to, c < 0x20 || c == 0x7f ? ' ' : c >= 0x80 && !is_good ? '?' : (char)c);
    }
}

static void show_place(struct ow_buf *to, const char *before, const struct ow_dead_letter_place *p)
{
    if (!p->topic.data)
        return;
    ow_buf_add_text(to, before);
    show_plain(to, p->topic);
    if (p->partition >= 0)
        ow_buf_printf(to, "/%" PRId64, p->partition);
    if (p->offset >= 0)
        ow_buf_printf(to, "/%" PRId64, p->offset);
}

static void show_earlier(struct ow_buf *to, const struct ow_letter *letter)
{
    OW_CLEANUP(earlier_done) struct earlier e = {0};
    if (!find_earlier(letter, &e))
        return;
    const struct ow_dead_letter *l = &e.letter;
    ow_buf_printf(to, "%-15s %s, %" PRIu32 " time%s", "earlier", name_of_form(l->form), l->replays + 1,
                  l->replays ? "s" : "");
    show_place(to, ", from ", &l->origin);
    if (l->replays)
        show_place(to, ", last ", &l->last);
    if (l->exception.data || l->cause.data || l->message.data)
        ow_buf_add_text(to, ": ");
    show_plain(to, l->cause.data ? l->cause : l->exception);
    if (l->message.data)
        ow_buf_add_text(to, ": ");
    show_plain(to, l->message);
    ow_buf_add_char(to, '\n');
}

static bool is_content(enum ow_letter_column column)
{
    return column == OW_LETTER_PAYLOAD || column == OW_LETTER_PAYLOAD_BYTES || column == OW_LETTER_ROW;
}

static void show_json(struct ow_buf *to, const struct ow_letter *letter, bool lacks_contents)
{
    ow_buf_add_text(to, "{\"kind\":\"dead_letter\"");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (is_passed_over(letter, fields[i].column) || (lacks_contents && is_content(fields[i].column)))
            continue;
        ow_buf_add_char(to, ',');
        add_member(to, fields[i].name, fields[i].kind, &letter->columns[fields[i].column]);
    }
    add_earlier(to, letter);
    ow_buf_add_char(to, '}');
}

static void show_text(struct ow_buf *to, const struct ow_letter *letter)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char number[32], time[OW_TIME_TEXT_SIZE];
        const struct ow_value *value = &letter->columns[fields[i].column];
        struct ow_bytes bytes = bytes_of(value, number);
        if (!bytes.data || is_passed_over(letter, fields[i].column))
            continue;
        size_t length = strlen(fields[i].name);
        bool is_time = fields[i].kind == TIME;
        ow_buf_printf(to, "%-15.*s ", (int)(is_time ? length - 3 : length), fields[i].name);
        if (is_time) {
            ow_time_format(value->integer, time);
            ow_buf_add_text(to, time);
        } else if (is_text(bytes)) {
            ow_buf_add_bytes(to, bytes);
        } else {
            ow_buf_add_text(to, "base64:");
            add_base64(to, bytes);
        }
        ow_buf_add_char(to, '\n');
    }
    show_earlier(to, letter);
}

void ow_dlq_show(struct ow_buf *to, int format, const struct ow_letters *letters, size_t *count)
{
    for (size_t i = 0; i < letters->count; i++) {
        if (!letters->items[i].is_chosen)
            continue;
        if (format == OW_OUTPUT_JSON)
            ow_buf_add_text(to, *count ? ",\n" : "[");
        else if (format == OW_OUTPUT_TABLE && *count)
            ow_buf_add_char(to, '\n');
        if (format == OW_OUTPUT_TABLE)
            show_text(to, &letters->items[i]);
        else
            show_json(to, &letters->items[i], letters->lacks_contents);
        if (format == OW_OUTPUT_JSONL)
            ow_buf_add_char(to, '\n');
        ++*count;
    }
}

void ow_dlq_show_end(struct ow_buf *to, int format, size_t count)
{
    if (format == OW_OUTPUT_JSON)
        ow_buf_add_text(to, count ? "]\n" : "[]\n");
}
