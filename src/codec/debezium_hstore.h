/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of an hstore in the order in which Debezium writes them, and as the JSON text that it makes of them. */
#ifndef OW_CODEC_DEBEZIUM_HSTORE_H
#define OW_CODEC_DEBEZIUM_HSTORE_H

#include "codec/debezium_value.h"

/* As they come out of a HashMap of Java: by bucket, those of one as they came in. */
int ow_dbz_hstore_sort(struct ow_dbz_arena *arena, struct ow_dbz_value *map, struct ow_error *err) OW_MUST_CHECK;
/* {"key":"value","other":null} */
void ow_dbz_hstore_json(struct ow_buf *to, const struct ow_dbz_value *map);

#endif
