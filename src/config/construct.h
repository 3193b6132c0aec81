/* SPDX-License-Identifier: Apache-2.0 */
/* From what was configured to what works: URL -> source, URL -> broker. Nothing is opened here. */
#ifndef OW_CONFIG_CONSTRUCT_H
#define OW_CONFIG_CONSTRUCT_H

#include "config/config.h"
#include "pattern/relay/relay.h"

/* The outbox of the store that the URL names. The source owns copies of what it needs. */
int ow_config_new_source(const struct ow_url *url, struct ow_source **ret, struct ow_error *err) OW_MUST_CHECK;
int ow_config_new_broker(const struct ow_url *url, struct ow_broker **ret, struct ow_error *err) OW_MUST_CHECK;

/* The same for a relay of a configuration, whose `from:` may say more than the URL of its store. */
int ow_config_new_relay_source(const struct ow_config_relay *relay, struct ow_source **ret,
                               struct ow_error *err) OW_MUST_CHECK;
/* Sets topic, key, limits, window and retry; call ow_relay_options_default() first. The templates stay the
   configuration's, which must outlive the relay. */
void ow_config_set_relay_options(const struct ow_config_relay *relay, struct ow_relay_options *options);

#endif
