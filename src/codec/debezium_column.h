/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A column of PostgreSQL in the terms of Debezium's connector: which schema its type gets, and what becomes of the
 * texts in it. How numbers, times, bytes and the like are written is chosen by the connector's handling modes.
 */
#ifndef OW_CODEC_DEBEZIUM_COLUMN_H
#define OW_CODEC_DEBEZIUM_COLUMN_H

#include "codec/debezium_value.h"
#include "codec/row.h"

enum ow_dbz_decimal_mode { OW_DBZ_DECIMAL_PRECISE, OW_DBZ_DECIMAL_STRING, OW_DBZ_DECIMAL_DOUBLE };
enum ow_dbz_time_mode { OW_DBZ_TIME_ADAPTIVE, OW_DBZ_TIME_ADAPTIVE_MICROSECONDS, OW_DBZ_TIME_CONNECT };
enum ow_dbz_binary_mode { OW_DBZ_BINARY_BYTES, OW_DBZ_BINARY_BASE64, OW_DBZ_BINARY_BASE64_URL_SAFE, OW_DBZ_BINARY_HEX };

struct ow_dbz_modes {
    int32_t decimal, time, binary; /* the enums above */
    bool hstore_is_map, interval_is_text, has_unknown_types;
    int32_t money_digits; /* digits of a fraction, 0 to 18 */
};

enum ow_dbz_kind {
    OW_DBZ_KIND_UNKNOWN,
    OW_DBZ_KIND_BOOLEAN,
    OW_DBZ_KIND_INTEGER,
    OW_DBZ_KIND_FLOATING,
    OW_DBZ_KIND_NUMERIC,
    OW_DBZ_KIND_MONEY,
    OW_DBZ_KIND_TEXT,
    OW_DBZ_KIND_BYTEA,
    OW_DBZ_KIND_BITS,
    OW_DBZ_KIND_DATE,
    OW_DBZ_KIND_TIME,
    OW_DBZ_KIND_TIMETZ,
    OW_DBZ_KIND_TIMESTAMP,
    OW_DBZ_KIND_TIMESTAMPTZ,
    OW_DBZ_KIND_INTERVAL,
    OW_DBZ_KIND_HSTORE,
};

struct ow_dbz_column {
    const struct ow_dbz_schema *schema; /* NULL: a type that is left out */
    enum ow_dbz_kind kind;              /* of an array: of its elements */
    bool is_array;
    int32_t digits;  /* of the fraction, where the type has them; -1: not said */
    int64_t divisor; /* of microseconds, for the unit that the schema has */
    const struct ow_dbz_modes *modes;
};

/* Schema and all that belongs to it live in the arena; the column's bytes and the modes are borrowed. */
void ow_dbz_column_init(struct ow_dbz_column *column, struct ow_dbz_arena *arena, const struct ow_row_column *of,
                        const struct ow_dbz_modes *modes);
/* The value of a text; of null bytes null. May point into `text`. OW_EINVALID: not a text of this type. */
int ow_dbz_column_value(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, struct ow_bytes text,
                        struct ow_dbz_value *ret, struct ow_error *err) OW_MUST_CHECK;

/* Likewise, of a row with this operation: Debezium's snapshot reads money as a floating number, so with
   decimal.handling.mode string 12.50 is "12.5" there. Where such a number would lose digits they stay. */
int ow_dbz_column_value_of(const struct ow_dbz_column *column, struct ow_dbz_arena *arena, enum ow_row_op op,
                           struct ow_bytes text, struct ow_dbz_value *ret, struct ow_error *err) OW_MUST_CHECK;

/* The value of bytes in the handling mode of binaries. */
int ow_dbz_bytes_value(const struct ow_dbz_modes *modes, struct ow_dbz_arena *arena, struct ow_bytes bytes,
                       struct ow_dbz_value *ret, struct ow_error *err) OW_MUST_CHECK;

/* What the default of a column is as a text of its type: the literal, or, where a function makes it, what Debezium
   puts in its place (0, an empty text, 1970-01-01 …). Null: none, or none that a schema can say. */
struct ow_bytes ow_dbz_default_text(struct ow_dbz_arena *arena, const struct ow_row_column *column,
                                    enum ow_dbz_kind kind);

#endif
