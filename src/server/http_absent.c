/* SPDX-License-Identifier: Apache-2.0 */
/* In place of http.c where there is no libmicrohttpd. */
#include "server/http.h"

int ow_http_start(const struct ow_config_admin *admin, ow_http_serve *serve, void *context, struct ow_http **ret,
                  struct ow_error *err)
{
    (void)admin, (void)serve, (void)context, (void)ret;
    return ow_error_set(err, OW_EUNSUPPORTED, "this onewrite was built without libmicrohttpd");
}

const char *ow_http_address(const struct ow_http *http)
{
    (void)http;
    return "";
}

void ow_http_stop(struct ow_http *http)
{
    (void)http;
}
