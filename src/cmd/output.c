/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/output.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/units.h"

#define COLUMNS_MAX 16

const char *const ow_output_formats[] = {"table", "json", "jsonl", NULL};

static bool is_closed;

bool ow_output_is_closed(void)
{
    return is_closed;
}

int ow_output_write(struct ow_bytes bytes, struct ow_error *err)
{
    while (bytes.size > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes.data, bytes.size);
        if (n >= 0) {
            bytes.data += n;
            bytes.size -= (size_t)n;
        } else if (errno == EPIPE) {
            is_closed = true;
            return ow_error_set(err, OW_ECLOSED, "the reader of standard output has gone");
        } else if (errno == EAGAIN) {
            struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
            (void)poll(&out, 1, -1);
        } else if (errno != EINTR) {
            return ow_error_errno(err, errno, "cannot write to standard output");
        }
    }
    return 0;
}

void ow_output_init(struct ow_output *out, int format)
{
    *out = (struct ow_output){.format = (enum ow_output_format)format};
}

/* --- the table ---------------------------------------------------------------------------------------- */

/* Columns on a terminal: one a code point, which is right for all but wide and combining characters. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static bool is_right_aligned(const struct ow_column *column)
{
    return column->kind == OW_COLUMN_NUMBER || column->kind == OW_COLUMN_BYTES || column->kind == OW_COLUMN_DURATION;
}

static void add_padded(struct ow_buf *to, const char *text, size_t width, bool is_right, bool is_last)
{
    size_t spaces = width - width_of(text);
    for (size_t i = 0; is_right && i < spaces; i++)
        ow_buf_add_char(to, ' ');
    ow_buf_add_text(to, text);
    for (size_t i = 0; !is_right && !is_last && i < spaces; i++)
        ow_buf_add_char(to, ' ');
    ow_buf_add_text(to, is_last ? "\n" : "  ");
}

static void heading(const struct ow_column *column, char to[32])
{
    (void)snprintf(to, 32, "%s", column->name);
    size_t n = strlen(to);
    bool is_formatted = column->kind == OW_COLUMN_DURATION || column->kind == OW_COLUMN_TIME;
    if (is_formatted && n > 3 && strcmp(to + n - 3, "_ms") == 0) /* the unit stands in each cell */
        to[n - 3] = '\0';
    for (char *s = to; *s; s++)
        *s = *s == '_' ? ' ' : (char)(*s >= 'a' && *s <= 'z' ? *s - 32 : *s);
}

static void print_table(struct ow_output *out)
{
    size_t widths[COLUMNS_MAX] = {0};
    char name[32];
    for (size_t i = 0; i < out->column_count; i++) {
        heading(&out->columns[i], name);
        widths[i] = width_of(name);
    }
    const char *cell = out->cells.data;
    for (size_t i = 0; i < out->row_count * out->column_count; i++, cell += strlen(cell) + 1) {
        size_t width = width_of(cell);
        if (width > widths[i % out->column_count])
            widths[i % out->column_count] = width;
    }
    if (out->text.size)
        ow_buf_add_char(&out->text, '\n');
    for (size_t i = 0; i < out->column_count; i++) {
        heading(&out->columns[i], name);
        add_padded(&out->text, name, widths[i], is_right_aligned(&out->columns[i]), i + 1 == out->column_count);
    }
    cell = out->cells.data;
    for (size_t i = 0; i < out->row_count * out->column_count; i++, cell += strlen(cell) + 1) {
        size_t c = i % out->column_count;
        add_padded(&out->text, cell, widths[c], is_right_aligned(&out->columns[c]), c + 1 == out->column_count);
    }
}

static void end_section(struct ow_output *out)
{
    if (out->format == OW_OUTPUT_TABLE && out->row_count && !out->cells.has_failed)
        print_table(out);
    out->row_count = 0;
    if (!out->cells.has_failed)
        ow_buf_clear(&out->cells);
}

void ow_output_section(struct ow_output *out, const char *kind, const struct ow_column *columns, size_t count)
{
    end_section(out);
    out->kind = kind;
    out->columns = columns;
    out->column_count = count < COLUMNS_MAX ? count : COLUMNS_MAX;
    out->column = 0;
}

/* --- cells -------------------------------------------------------------------------------------------- */

static void begin_object(struct ow_output *out)
{
    if (out->format == OW_OUTPUT_JSON)
        ow_buf_add_text(&out->text, out->object_count ? ",\n" : "[");
    ow_buf_printf(&out->text, "{\"kind\":\"%s\"", out->kind);
}

/* Adds one cell: `text` as people read it, `json` as a value of JSON. */
static void add_cell(struct ow_output *out, const char *text, const char *json)
{
    if (out->format == OW_OUTPUT_TABLE) {
        for (const char *s = text; *s; s++) /* a line break in a cell would break the table */
            ow_buf_add_char(&out->cells, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
        ow_buf_add_char(&out->cells, '\0');
    } else {
        if (out->column == 0)
            begin_object(out);
        ow_buf_printf(&out->text, ",\"%s\":", out->columns[out->column].name);
        ow_buf_add_text(&out->text, json);
    }
    if (++out->column < out->column_count)
        return;
    if (out->format != OW_OUTPUT_TABLE)
        ow_buf_add_text(&out->text, out->format == OW_OUTPUT_JSONL ? "}\n" : "}");
    out->column = 0;
    out->row_count++;
    out->object_count++;
}

void ow_output_null(struct ow_output *out)
{
    add_cell(out, "-", "null");
}

void ow_output_text(struct ow_output *out, const char *text)
{
    if (!text) {
        ow_output_null(out);
        return;
    }
    OW_CLEANUP(ow_buf_done) struct ow_buf json = {0};
    if (out->format != OW_OUTPUT_TABLE) {
        ow_buf_add_char(&json, '"');
        ow_json_escape(&json, ow_bytes_of(text));
        ow_buf_add_char(&json, '"');
    }
    if (json.has_failed)
        out->text.has_failed = true;
    add_cell(out, *text ? text : "-", json.data ? json.data : "\"\"");
}

void ow_output_number(struct ow_output *out, int64_t number)
{
    char text[OW_UNIT_TEXT_SIZE + OW_TIME_TEXT_SIZE], json[32];
    enum ow_column_kind kind = out->columns[out->column].kind;
    (void)snprintf(json, sizeof json, "%lld", (long long)number);
    if (kind == OW_COLUMN_BOOL)
        (void)snprintf(json, sizeof json, "%s", number ? "true" : "false");
    if (kind == OW_COLUMN_BYTES)
        ow_size_format(number, text);
    else if (kind == OW_COLUMN_DURATION)
        ow_duration_format(number, text);
    else if (kind == OW_COLUMN_TIME)
        ow_time_format(number, text);
    else
        (void)snprintf(text, sizeof text, "%s", kind == OW_COLUMN_BOOL ? (number ? "yes" : "no") : json);
    add_cell(out, text, json);
}

int ow_output_finish(struct ow_output *out, struct ow_error *err)
{
    end_section(out);
    if (out->format == OW_OUTPUT_JSON)
        ow_buf_add_text(&out->text, out->object_count ? "]\n" : "[]\n");
    int r = out->cells.has_failed ? ow_error_set(err, OW_ENOMEM, "out of memory") : ow_buf_check(&out->text, err);
    if (r == 0)
        r = ow_output_write(ow_buf_bytes(&out->text), err);
    ow_buf_done(&out->text);
    ow_buf_done(&out->cells);
    return r;
}
