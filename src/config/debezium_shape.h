/* SPDX-License-Identifier: Apache-2.0 */
/* `to: debezium:` and `to: tables:` at work: between the rows of a relay and its broker. */
#ifndef OW_CONFIG_DEBEZIUM_SHAPE_H
#define OW_CONFIG_DEBEZIUM_SHAPE_H

#include "config/config.h"
#include "pattern/relay/relay.h"

/* Sets options->shape and its context where the relay has debezium: or tables:, else nothing. The context is the
   caller's, to be freed after the relay. */
int ow_config_new_shape(const struct ow_config_relay *relay, struct ow_relay_options *options,
                        struct ow_error *err) OW_MUST_CHECK;
void ow_config_free_shape(void *context); /* NULL is fine */

/* Everything that decides about the shape, as one text without meaning. */
void ow_config_describe_shape(const struct ow_config_relay *relay, struct ow_buf *to);

#endif
