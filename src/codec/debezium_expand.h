/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expansion: a payload that is the text of a JSON document becomes a value with a schema of its own, as
 * table.expand.json.payload asks for.
 *
 * Integers are of 32 or else of 64 bits, other numbers doubles. Nulls are dropped, but stay inside arrays; empty
 * arrays are dropped. Of a name that stands twice the last value counts, at the first place. An array holds
 * values of one type; objects in it get the fields of all of them, and null for what they lack. Whatever follows
 * the first value of the text is ignored.
 */
#ifndef OW_CODEC_DEBEZIUM_EXPAND_H
#define OW_CODEC_DEBEZIUM_EXPAND_H

#include "codec/debezium_value.h"

enum ow_dbz_naming { OW_DBZ_NAMING_NONE, OW_DBZ_NAMING_AVRO, OW_DBZ_NAMING_AVRO_UNICODE };

struct ow_dbz_expansion {
    bool null_is_bytes;          /* a null becomes a field of optional bytes, instead of being dropped */
    bool empty_array_is_strings; /* [] becomes an array of strings, instead of being dropped */
    enum ow_dbz_naming naming;   /* what becomes of letters in names that Avro does not know */
};

/* 1: *ret_schema (named `name`, then name.member …) and *ret_value are in the arena. 0: the text has to stay a text,
   and *ret_why (static) says why; *ret_schema is untouched, or NULL where the text is an empty array, which in Debezium
   is of no type then. OW_ENOMEM. */
int ow_dbz_expand(struct ow_dbz_arena *arena, const struct ow_dbz_expansion *expansion, struct ow_bytes name,
                  struct ow_bytes text, const struct ow_dbz_schema **ret_schema, struct ow_dbz_value *ret_value,
                  const char **ret_why, struct ow_error *err) OW_MUST_CHECK;

#endif
