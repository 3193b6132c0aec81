/* SPDX-License-Identifier: Apache-2.0 */
/* `to.tables:`: where the rows of single tables of a relay go, if not where `to` says. Private to src/config. */
#ifndef OW_CONFIG_ROUTES_H
#define OW_CONFIG_ROUTES_H

#include "config/config.h"
#include "config/read.h"

/* relay->debezium is read already: a table's options stand on top of it. What is wrong is reported with its place.
   OW_ENOMEM. */
int ow_config_read_routes(struct ow_reader *reader, const yaml_node_t *map,
                          struct ow_config_relay *relay) OW_MUST_CHECK;
void ow_config_free_routes(struct ow_config_relay *relay);

#endif
