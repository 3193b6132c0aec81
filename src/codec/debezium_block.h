/* SPDX-License-Identifier: Apache-2.0 */
/* The structs that change events are made of, with the blocks that are in all of them. Private to the router. */
#ifndef OW_CODEC_DEBEZIUM_BLOCK_H
#define OW_CODEC_DEBEZIUM_BLOCK_H

#include "codec/debezium_options.h"

/* Builds a struct field by field. Nothing of it fails alone: the arena remembers. */
struct ow_dbz_block {
    struct ow_dbz_arena *arena;
    struct ow_dbz_schema *schema;
    struct ow_dbz_value *items;
};

/* `name` is the schema's, ended by NUL and borrowed. */
void ow_dbz_block_begin(struct ow_dbz_block *block, struct ow_dbz_arena *arena, const char *name, size_t field_max);
void ow_dbz_block_add(struct ow_dbz_block *block, const char *name, const struct ow_dbz_schema *schema,
                      struct ow_dbz_value value);
/* With a schema of its own. */
void ow_dbz_block_add_new(struct ow_dbz_block *block, const char *name, enum ow_dbz_type type, bool is_optional,
                          struct ow_dbz_value value);
struct ow_dbz_value ow_dbz_block_end(const struct ow_dbz_block *block);

struct ow_dbz_source {
    struct ow_bytes version, database, schema, table; /* version null: ours */
    const char *snapshot;                             /* NULL: of the log */
    bool has_transaction;
    int64_t transaction;
    uint64_t lsn, previous_commit_lsn; /* 0: none */
    int64_t time_us;
};
/* Whether the converter puts a default in the place of a NULL of a field that has one. */
bool ow_dbz_fills_nulls(const struct ow_dbz_converter *converter);

void ow_dbz_block_add_source(struct ow_dbz_block *block, const struct ow_debezium_options *options,
                             const struct ow_dbz_source *of);
void ow_dbz_block_add_transaction(struct ow_dbz_block *block);

#endif
