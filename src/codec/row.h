/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row of a table, as a log or a query of PostgreSQL gives it: what is known of the columns, and a text (or
 * null) for each of them, in the server's own output format with the settings DateStyle ISO, IntervalStyle
 * postgres, bytea_output hex, extra_float_digits 1 or more, lc_monetary any, UTF-8.
 *
 * All of this is borrowed from whoever reads the table, and stays where it is until the next row is asked for.
 */
#ifndef OW_CODEC_ROW_H
#define OW_CODEC_ROW_H

#include "base/bytes.h"

struct ow_row_column {
    struct ow_bytes name;
    uint32_t type_oid;         /* of the base type where the column's type is a domain */
    struct ow_bytes type_name; /* pg_type.typname of that type; null: told by the oid alone */
    uint32_t element_oid;      /* of an array: the type of its elements; 0: no array, or told by type_oid */
    int32_t typmod;            /* pg_attribute.atttypmod (of a domain: pg_type.typtypmod); -1: none */
    bool is_enum;              /* pg_type.typtype is 'e' (of an array: of its elements) */
    struct ow_bytes labels;    /* of an enum: its labels in their order, joined by commas; null where not known */
    bool is_not_null;          /* NOT NULL, or part of the primary key */
    struct ow_bytes default_expression; /* pg_get_expr(adbin, adrelid); null: no default, or an identity or
                                           generated column */
    uint32_t key_place;                 /* in the primary key, or else a unique index, from 1; 0: no part of it */
};

struct ow_row_table {
    struct ow_bytes schema, name;
    const struct ow_row_column *columns;
    size_t column_count;
    uint64_t version; /* another number whenever anything of this is another; never the same for two tables */
    bool has_changes; /* no outbox: its rows come with what is known of each change */
};

enum ow_row_op {
    OW_ROW_INSERT,
    OW_ROW_SNAPSHOT, /* was there before the log began */
    OW_ROW_UPDATE,
    OW_ROW_DELETE,
    OW_ROW_TRUNCATE, /* no values */
    OW_ROW_MESSAGE,  /* no row at all: a logical message, in `logical` */
    OW_ROW_GONE,     /* behind a DELETE, of a table whose changes are wanted: what is left of its key */
};

struct ow_row_logical { /* pg_logical_emit_message() */
    struct ow_bytes prefix, content, database;
    bool is_transactional;
    uint32_t transaction;              /* of a transactional one */
    uint64_t lsn, previous_commit_lsn; /* 0: none was seen */
    int64_t time_us;                   /* when it was committed, or read; microseconds since 1970 */
};

/* What is known of a change besides the row, of a table that is no outbox: all its changes are wanted. An UPDATE of the
   key comes as DELETE, GONE and INSERT, all with the rows before and after. */
struct ow_row_change {
    const struct ow_bytes *before; /* as values; NULL: not known. Of the key alone the other columns are null */
    bool is_key_change;
    const char *snapshot; /* of a SNAPSHOT: which of its rows, "first", "true" …; else NULL */
    struct ow_bytes database;
    uint32_t transaction;
    uint64_t lsn, previous_commit_lsn; /* 0: none was seen */
    int64_t time_us;                   /* when it was committed, or read; microseconds since 1970 */
};

struct ow_row {
    enum ow_row_op op;
    const struct ow_row_table *table;
    const struct ow_bytes *values; /* one for each column; null bytes: NULL. NULL: of a DELETE there is no row */
    const struct ow_row_logical *logical;
    const struct ow_row_change *change; /* NULL: of an outbox */
};

/* In the place of a large value that an UPDATE has not touched, and that is not in the log: told by its place
   in memory. */
extern const char ow_row_unchanged[1];
static inline bool ow_row_is_unchanged(struct ow_bytes value)
{
    return value.data == ow_row_unchanged;
}

#endif
