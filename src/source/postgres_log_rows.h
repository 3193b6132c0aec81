/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of an outbox table, and logical messages, as messages. What a row means is told by the names of its columns as
 * they were when it was written: those of Debezium's outbox event router (id, aggregatetype, aggregateid, type,
 * payload), and, where they are there, payload_bytes, headers, time and seq. Private to src/source.
 *
 * What cannot be made a message (a column is gone, headers that are no JSON) comes out with its defect, for the relay
 * to set aside: the rows behind it must not wait for a person.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_ROWS_H
#define OW_SOURCE_POSTGRES_LOG_ROWS_H

#include "codec/pgoutput.h"
#include "core/message.h"

enum {
    OW_PG_HEADERS_MAX = 256,
    OW_PG_COLUMNS_MAX = 1600, /* PostgreSQL's own limit */
    OW_PG_OUTBOXES_MAX = 100, /* tables of one relay */
};

enum ow_pg_role {
    OW_PG_ID,
    OW_PG_AGGREGATE_TYPE,
    OW_PG_AGGREGATE_ID,
    OW_PG_TYPE,
    OW_PG_PAYLOAD,
    OW_PG_PAYLOAD_BYTES,
    OW_PG_HEADERS,
    OW_PG_TIME,
    OW_PG_SEQ,
    OW_PG_ROLE_COUNT,
};

/* Where the columns are in a row: of a table as the log describes it, or of the result of a query. */
struct ow_pg_layout {
    uint32_t relation; /* OID; 0: none is known */
    int outbox;        /* which of the tables that we read; -1: none of them */
    unsigned column_count;
    int column[OW_PG_ROLE_COUNT];    /* -1: there is no such column */
    uint32_t type[OW_PG_ROLE_COUNT]; /* OID */
};

struct ow_pg_outbox_table {
    char *schema, *table; /* owned */
    bool has_changes;     /* it is none: every change of it is wanted */
};

struct ow_pg_rows {
    struct ow_pg_outbox_table *outboxes; /* owned; what we read */
    size_t outbox_count;
    struct ow_pg_layout *layouts; /* of every table that the log has described */
    size_t count, capacity;
    /* Of the message that was made last. */
    struct ow_header headers[OW_PG_HEADERS_MAX];
    struct ow_buf scratch, bytes;
    /* A row's time mostly has the second and the zone of the row before: then only what is behind the point is read. */
    char second[20], zone[8]; /* "2026-11-21 16:20:05.", "+00" */
    int64_t second_ms;
};

/* "table" (of the schema public) or "schema.table", and more of them behind commas. */
int ow_pg_rows_init(struct ow_pg_rows *rows, const char *tables, struct ow_error *err) OW_MUST_CHECK;
/* Likewise, of tables that are no outbox: every change of theirs is read. NULL: none. */
int ow_pg_rows_add_changes(struct ow_pg_rows *rows, const char *tables, struct ow_error *err) OW_MUST_CHECK;
bool ow_pg_rows_has_changes(const struct ow_pg_rows *rows); /* there are such tables */
void ow_pg_rows_done(struct ow_pg_rows *rows);
void ow_pg_rows_forget(struct ow_pg_rows *rows); /* the stream begins anew and will describe its tables again */

/* The log describes a table; from now on its rows look like that. */
int ow_pg_rows_describe(struct ow_pg_rows *rows, const struct ow_pg_relation *relation,
                        struct ow_error *err) OW_MUST_CHECK;
/* How the rows of a table look; NULL: it was never described. */
const struct ow_pg_layout *ow_pg_rows_layout(const struct ow_pg_rows *rows, uint32_t relation);

const char *ow_pg_role_name(enum ow_pg_role role); /* of its column */
void ow_pg_layout_init(struct ow_pg_layout *layout);
void ow_pg_layout_add(struct ow_pg_layout *layout, struct ow_bytes name, uint32_t type);
/* The name of a column that a row cannot do without and that is not there; NULL: all are. */
const char *ow_pg_layout_missing(const struct ow_pg_layout *layout);

/* `values`: the text of each column, null for NULL. `time_ms` counts where the row has no time of its own. The
   message points into values and rows, until the next call. Its position is left to the caller. */
void ow_pg_rows_message(struct ow_pg_rows *rows, const struct ow_pg_layout *layout, const struct ow_bytes *values,
                        int64_t time_ms, struct ow_message *ret);
/* The number in column seq; 0: there is none. */
int64_t ow_pg_rows_seq(const struct ow_pg_layout *layout, const struct ow_bytes *values);
/* A logical message: a JSON object (docs/log-source.md). */
void ow_pg_rows_logical(struct ow_pg_rows *rows, struct ow_bytes content, int64_t time_ms, struct ow_message *ret);

#endif
