/* SPDX-License-Identifier: Apache-2.0 */
/* The converters of Kafka Connect: the bytes of a key, a value or a header. */
#ifndef OW_CODEC_DEBEZIUM_CONVERT_H
#define OW_CODEC_DEBEZIUM_CONVERT_H

#include "codec/debezium_options.h"

/* *ret is null where the record has a null there; else it points into `value` or the arena. schema may be NULL with
   a null value, or a text. `is_header` changes what StringConverter makes of bytes. OW_EINVALID: the converter does
   not take such a value; OW_ENOMEM. */
int ow_dbz_convert(const struct ow_dbz_converter *converter, struct ow_dbz_arena *arena,
                   const struct ow_dbz_schema *schema, const struct ow_dbz_value *value, bool is_header,
                   struct ow_bytes *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
