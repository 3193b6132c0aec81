/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output: data on standard output as a table for people, or as JSON or JSON lines for programs.
 *
 * A command prints records in one or more sections, each with a kind and columns:
 *
 *     ow_output_init(&out, options->output);
 *     ow_output_section(&out, "outbox", columns, COUNT(columns));
 *     ow_output_text(&out, name); ow_output_number(&out, waiting); …   (one cell a column, row after row)
 *     return ow_output_finish(&out, err);
 *
 * table: a heading and aligned columns for each section, sizes and times in the form people read.
 * jsonl: an object a row, its first member "kind". json: an array of the same objects, over all sections.
 * There sizes are bytes, durations and times milliseconds.
 *
 * Belongs to one thread; latches the first failure until ow_output_finish().
 */
#ifndef OW_CMD_OUTPUT_H
#define OW_CMD_OUTPUT_H

#include "cmd/command.h"

enum ow_output_format { OW_OUTPUT_TABLE, OW_OUTPUT_JSON, OW_OUTPUT_JSONL };
extern const char *const ow_output_formats[];

/* The option itself, for a struct of options with `int output`. */
#define OW_FLAG_OUTPUT(struct_type)                                                                             \
    {                                                                                                           \
        "output", 'o', "FORMAT", OW_FLAG_CHOICE, "table", "how data is printed", offsetof(struct_type, output), \
            ow_output_formats, 0, 0                                                                             \
    }

enum ow_column_kind {
    OW_COLUMN_TEXT,
    OW_COLUMN_NUMBER,
    OW_COLUMN_BYTES,    /* 16MiB */
    OW_COLUMN_DURATION, /* milliseconds: 1h30m */
    OW_COLUMN_TIME,     /* milliseconds since 1970: RFC 3339 */
    OW_COLUMN_BOOL,     /* yes, no */
};

struct ow_column {
    const char
        *name; /* the member's name in JSON; the heading in a table, underscores shown as spaces, "_ms" left out */
    enum ow_column_kind kind;
};

struct ow_output {
    enum ow_output_format format;
    const char *kind;
    const struct ow_column *columns;
    size_t column_count, column; /* of this section; where the next cell goes */
    size_t row_count;            /* of this section */
    size_t object_count;         /* of all */
    struct ow_buf text;          /* what will be written */
    struct ow_buf cells;         /* table: the cells of this section, each ended by NUL */
};

void ow_output_init(struct ow_output *out, int format);
/* Ends the section before it. `kind` and `columns` must live until ow_output_finish(). A section without rows
   prints nothing. */
void ow_output_section(struct ow_output *out, const char *kind, const struct ow_column *columns, size_t count);
void ow_output_text(struct ow_output *out, const char *text); /* NULL: null, in a table "-" */
void ow_output_number(struct ow_output *out, int64_t number); /* any kind of column but text */
void ow_output_null(struct ow_output *out);
/* Writes it all and frees; the only call that fails: OW_ENOMEM, or as ow_output_write(). */
int ow_output_finish(struct ow_output *out, struct ow_error *err) OW_MUST_CHECK;

/* Writes bytes to standard output, all of them. OW_ECLOSED: the reader has gone; a command that only prints
   returns it, and main() ends quietly. OW_EFULL, OW_EIO: with a text that says so. */
int ow_output_write(struct ow_bytes bytes, struct ow_error *err) OW_MUST_CHECK;
/* Whether a write to standard output found that its reader has gone. */
bool ow_output_is_closed(void);

#endif
