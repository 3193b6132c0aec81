/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values with types, in the terms of Kafka Connect, which the formats of Debezium's records are made of: a schema
 * says what a value is, whether it may be null, and under which logical name its consumers know it.
 *
 * Schemas and values live in an arena and end with it. Nothing is freed alone, and nothing moves. An arena
 * latches a failure to allocate: build, then ask ow_dbz_arena_check() once.
 */
#ifndef OW_CODEC_DEBEZIUM_VALUE_H
#define OW_CODEC_DEBEZIUM_VALUE_H

#include "base/bytes.h"

struct ow_dbz_chunk;
struct ow_dbz_arena {
    struct ow_dbz_chunk *first, *current; /* owned */
    bool has_failed;
};

void ow_dbz_arena_done(struct ow_dbz_arena *arena);
/* Everything in it ends; its memory is kept for what comes, up to 1 MiB. */
void ow_dbz_arena_reset(struct ow_dbz_arena *arena);
/* Zeroed, aligned for any type. NULL: out of memory. */
void *ow_dbz_alloc(struct ow_dbz_arena *arena, size_t size);
void *ow_dbz_alloc_array(struct ow_dbz_arena *arena, size_t count, size_t size);
/* A copy, with a NUL after it; null stays null. */
struct ow_bytes ow_dbz_copy(struct ow_dbz_arena *arena, struct ow_bytes bytes);
struct ow_bytes ow_dbz_printf(struct ow_dbz_arena *arena, const char *format, ...) OW_PRINTF(2, 3);
int ow_dbz_arena_check(const struct ow_dbz_arena *arena, struct ow_error *err) OW_MUST_CHECK;

enum ow_dbz_type {
    OW_DBZ_BOOLEAN,
    OW_DBZ_INT16,
    OW_DBZ_INT32,
    OW_DBZ_INT64,
    OW_DBZ_FLOAT32,
    OW_DBZ_FLOAT64,
    OW_DBZ_STRING,
    OW_DBZ_BYTES,
    OW_DBZ_ARRAY,
    OW_DBZ_MAP, /* of strings */
    OW_DBZ_STRUCT,
};

/* What the name of a schema changes in how its values are written. */
enum ow_dbz_logic {
    OW_DBZ_PLAIN,
    OW_DBZ_DECIMAL,          /* BYTES: the value is the decimal text, e.g. 12.50 */
    OW_DBZ_VARIABLE_DECIMAL, /* STRUCT of scale and value */
    OW_DBZ_CONNECT_DATE,     /* a java.util.Date in Kafka Connect: INT32 days */
    OW_DBZ_CONNECT_TIME,     /* INT32 milliseconds */
    OW_DBZ_CONNECT_TIMESTAMP /* INT64 milliseconds */
};

struct ow_dbz_value;
struct ow_dbz_schema;

struct ow_dbz_field {
    struct ow_bytes name;
    const struct ow_dbz_schema *schema;
};

struct ow_dbz_parameter {
    struct ow_bytes name, value;
};

struct ow_dbz_schema {
    enum ow_dbz_type type;
    enum ow_dbz_logic logic;
    bool is_optional, has_version;
    int32_t version;
    struct ow_bytes name, doc; /* null: none */
    const struct ow_dbz_parameter *parameters;
    size_t parameter_count;
    const struct ow_dbz_value *fallback; /* the default; NULL: none */
    struct ow_dbz_field *fields;         /* STRUCT */
    size_t field_count;
    const struct ow_dbz_schema *element; /* ARRAY; MAP: of its values */
};

struct ow_dbz_value {
    bool is_null;
    union {
        bool boolean;
        int64_t integer;
        double number; /* FLOAT32 too */
        struct ow_bytes bytes;
        struct {
            const struct ow_dbz_value *items; /* ARRAY; STRUCT: one for each field; MAP: key, value, key, value … */
            size_t count;                     /* of items */
        } list;
    } as;
};

struct ow_dbz_schema *ow_dbz_schema_new(struct ow_dbz_arena *arena, enum ow_dbz_type type, bool is_optional);
/* With a logical name (borrowed, ended by NUL) and version 1. */
struct ow_dbz_schema *ow_dbz_schema_named(struct ow_dbz_arena *arena, enum ow_dbz_type type, bool is_optional,
                                          const char *name);
void ow_dbz_schema_add_parameter(struct ow_dbz_arena *arena, struct ow_dbz_schema *schema, const char *name,
                                 struct ow_bytes value);
bool ow_dbz_schema_equal(const struct ow_dbz_schema *a, const struct ow_dbz_schema *b);

static inline struct ow_dbz_value ow_dbz_null(void)
{
    return (struct ow_dbz_value){.is_null = true};
}
static inline struct ow_dbz_value ow_dbz_text(struct ow_bytes bytes)
{
    return (struct ow_dbz_value){.is_null = !bytes.data, .as.bytes = bytes};
}
static inline struct ow_dbz_value ow_dbz_integer(int64_t integer)
{
    return (struct ow_dbz_value){.as.integer = integer};
}

#endif
