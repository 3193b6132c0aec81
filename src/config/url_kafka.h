/* SPDX-License-Identifier: Apache-2.0 */
/* What is Kafka's own in a URL and in the map beside it. Private to src/config. */
#ifndef OW_CONFIG_URL_KAFKA_H
#define OW_CONFIG_URL_KAFKA_H

#include "config/url.h"

extern const struct ow_option ow_url_kafka_options[];

/* Reads "//host:port,host:port", which becomes url->path without its slashes, and url->text. Where `is_secret` no
   part of it is quoted. */
int ow_url_kafka_servers(struct ow_url *url, struct ow_bytes servers, bool is_secret,
                         struct ow_error *err) OW_MUST_CHECK;
/* Wipes the password, and frees the properties; the texts of the options are left to ow_option_done(). */
void ow_url_kafka_done(struct ow_kafka_options *kafka);

#endif
