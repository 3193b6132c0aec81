/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a value: what the converters of Kafka Connect and Debezium make of it.
 *
 * JSON is compact; members in the order of the schema; other letters than ASCII as they are, but those beyond
 * U+FFFF as two \uXXXX; control characters \b \t \n \f \r or \u00XX; doubles as Java writes them, NaN and the
 * infinities as strings; bytes as base64.
 */
#ifndef OW_CODEC_DEBEZIUM_JSON_H
#define OW_CODEC_DEBEZIUM_JSON_H

#include "codec/debezium_value.h"

/* What stands between the quotes, escaped. Bytes that are not UTF-8 become U+FFFD. */
void ow_dbz_json_escape(struct ow_buf *to, struct ow_bytes text);
/* `has_numeric_decimals` is decimal.format=NUMERIC. schema NULL: a string or null without a schema. */
void ow_dbz_json_value(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value,
                       bool has_numeric_decimals);
/* {"type":…,"optional":…}; null for NULL. */
void ow_dbz_json_schema(struct ow_buf *to, const struct ow_dbz_schema *schema, bool has_numeric_decimals);

/* Object.toString(), which is what StringConverter writes; of a null value "null". A number without a fixed scale
   is Struct{scale=2,value=[B@3039}: where Java puts an address that says nothing, the digits are those of the
   unscaled value, so that the same number is always the same text. */
void ow_dbz_java_text(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value);
/* What SimpleHeaderConverter writes. */
void ow_dbz_simple_text(struct ow_buf *to, const struct ow_dbz_schema *schema, const struct ow_dbz_value *value);

#endif
