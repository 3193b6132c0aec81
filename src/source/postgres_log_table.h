/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table: what is known of the columns of the outbox table, for whoever wants whole rows. The log, or a query, tells
 * their names and types; NOT NULL, defaults, the labels of enums and the base types of domains are read from the
 * catalog each time that it does: as they are by then. Private to src/source.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_TABLE_H
#define OW_SOURCE_POSTGRES_LOG_TABLE_H

#include "codec/pgoutput.h"
#include "codec/row.h"
#include "source/postgres_log_side.h"

struct pg_result;

struct ow_pg_table {
    struct ow_row_table table; /* borrowed texts: of `facts` and `text`; has_changes is the caller's, and stays */
    /* private */
    struct ow_row_column *columns;
    struct pg_result *facts;
    struct ow_buf text;
};

void ow_pg_table_done(struct ow_pg_table *table);

/* From now on rows look like that: of the log, or the first columns of a result of a query on the table. What was there
   before is gone. An error of the connection: `table` is as it was. */
int ow_pg_table_describe(struct ow_pg_table *table, struct ow_pg_side *side, const struct ow_pg_relation *relation,
                         struct ow_error *err) OW_MUST_CHECK;
int ow_pg_table_describe_result(struct ow_pg_table *table, struct ow_pg_side *side, const char *schema,
                                const char *name, const struct pg_result *result, size_t columns,
                                struct ow_error *err) OW_MUST_CHECK;

#endif
