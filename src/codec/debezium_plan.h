/* SPDX-License-Identifier: Apache-2.0 */
/* What the router keeps from row to row: for each table where its columns are and what their types become, and
   under which names the schemas of envelopes are known. Private to the router. */
#ifndef OW_CODEC_DEBEZIUM_PLAN_H
#define OW_CODEC_DEBEZIUM_PLAN_H

#include "codec/debezium_options.h"

#define OW_DBZ_NO_COLUMN SIZE_MAX

struct ow_dbz_plan {
    uint64_t table_version;
    uint64_t used; /* when last; private */
    struct ow_dbz_arena arena;
    struct ow_dbz_column *columns;
    size_t id, key, payload, route, timestamp, version, type; /* indexes, or OW_DBZ_NO_COLUMN */
    size_t *placed;                                           /* for each placement */
    bool has_envelope;
    const struct ow_dbz_schema *row, *key_schema; /* of change events; key_schema NULL: there is no key */
    size_t *row_columns, *key_columns;            /* which column each of their fields is */
};

#define OW_DBZ_PLANS_MAX 128
struct ow_dbz_plans {
    struct ow_dbz_plan *plans[OW_DBZ_PLANS_MAX];
    size_t count, last;
    uint64_t clock;
};

void ow_dbz_plans_done(struct ow_dbz_plans *plans);
/* The plan of a table; it stays until the next call. OW_ENOMEM. */
int ow_dbz_plans_find(struct ow_dbz_plans *plans, const struct ow_row_table *table,
                      const struct ow_debezium_options *options, const struct ow_dbz_plan **ret,
                      struct ow_error *err) OW_MUST_CHECK;

struct ow_dbz_name;
struct ow_dbz_names {
    struct ow_dbz_name *slots; /* owned */
    size_t count, capacity;
};

void ow_dbz_names_done(struct ow_dbz_names *names);
/* Gives `schema` its name: <prefix>.<schema>.<table>.<routed>.Value, or the one that was given when this schema of a
   payload was seen first, in this version. */
int ow_dbz_names_find(struct ow_dbz_names *names, struct ow_dbz_arena *arena, const char *prefix,
                      const struct ow_row_table *table, struct ow_bytes routed, const struct ow_dbz_schema *payload,
                      struct ow_dbz_schema *schema, struct ow_error *err) OW_MUST_CHECK;

#endif
