/* SPDX-License-Identifier: Apache-2.0 */
/* What is PostgreSQL's own in a URL. Private to src/config. */
#ifndef OW_CONFIG_URL_POSTGRES_H
#define OW_CONFIG_URL_POSTGRES_H

#include "config/url.h"

extern const struct ow_option ow_url_postgres_options[];

/* Takes what stands between "postgres:" and the question mark as it is: libpq reads it. */
int ow_url_postgres_begin(struct ow_url *url, struct ow_bytes rest, struct ow_error *err) OW_MUST_CHECK;
/* Whether this is one of libpq's own parameters, which are passed on as they stand. */
bool ow_url_postgres_is_parameter(struct ow_bytes name);
int ow_url_postgres_add(struct ow_url *url, struct ow_bytes pair, struct ow_error *err) OW_MUST_CHECK;
/* Checks the whole and fills url->text and url->postgres. */
int ow_url_postgres_end(struct ow_url *url, struct ow_error *err) OW_MUST_CHECK;

#endif
