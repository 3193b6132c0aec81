/* SPDX-License-Identifier: Apache-2.0 */
/* The options below `to: debezium:`, read from the table of the codec. Private to src/config. */
#ifndef OW_CONFIG_DEBEZIUM_H
#define OW_CONFIG_DEBEZIUM_H

#include "config/read.h"

#include "codec/debezium_options.h"

/* What is wrong is reported with its place, under the reader's path. `base` (may be NULL): options that count where
   the map is silent. *ret is the caller's, to be freed; NULL for no map, or a bad one. OW_ENOMEM. */
int ow_config_read_debezium(struct ow_reader *reader, const yaml_node_t *map, const struct ow_debezium_options *base,
                            struct ow_debezium_options **ret) OW_MUST_CHECK;
void ow_config_free_debezium(struct ow_debezium_options *options); /* NULL is fine */

#endif
