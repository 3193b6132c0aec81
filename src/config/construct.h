/* SPDX-License-Identifier: Apache-2.0 */
/* From what was configured to what works: URL -> source, URL -> broker, URL -> subscriber. Nothing is opened here. */
#ifndef OW_CONFIG_CONSTRUCT_H
#define OW_CONFIG_CONSTRUCT_H

#include "broker/subscriber.h"
#include "config/config.h"
#include "pattern/relay/relay.h"

/* Makes AUTO what is best for the store. OW_EUSAGE: the store cannot be read like that, or `log` says something that
   only a log has. */
int ow_config_check_by(const struct ow_url *url, enum ow_relay_by *by, const struct ow_config_log *log,
                       struct ow_error *err) OW_MUST_CHECK;
/* The outbox of the store that the URL names; `by` was checked. The source owns copies of what it needs. */
int ow_config_new_source(const struct ow_url *url, enum ow_relay_by by, const struct ow_config_log *log,
                         struct ow_source **ret, struct ow_error *err) OW_MUST_CHECK;
int ow_config_new_broker(const struct ow_url *url, struct ow_broker **ret, struct ow_error *err) OW_MUST_CHECK;

/* OW_EUSAGE: nothing can be read back from there. */
int ow_config_new_subscriber(const struct ow_url *url, const struct ow_subscriber_options *options,
                             struct ow_subscriber **ret, struct ow_error *err) OW_MUST_CHECK;

/* OW_EUNSUPPORTED: the broker is to be told a position with each transaction, and this source has none that is ordered.
 */
int ow_config_check_delivery(const struct ow_url *broker, bool source_is_log, struct ow_error *err) OW_MUST_CHECK;

/* The same for a relay of a configuration, whose `from:` may say more than the URL of its store. */
int ow_config_new_relay_source(const struct ow_config_relay *relay, struct ow_source **ret,
                               struct ow_error *err) OW_MUST_CHECK;
/* Sets topic, key, limits, window and retry; call ow_relay_options_default() first. The templates stay the
   configuration's, which must outlive the relay. */
void ow_config_set_relay_options(const struct ow_config_relay *relay, struct ow_relay_options *options);

#endif
