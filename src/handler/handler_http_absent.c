/* SPDX-License-Identifier: Apache-2.0 */
/* In place of handler_http.c where there is no libcurl or no OpenSSL. */
#include "handler/handlers.h"

int ow_handler_http_new(const struct ow_handler_http_options *options, struct ow_handler **ret, struct ow_error *err)
{
    (void)options, (void)ret;
    return ow_error_set(err, OW_EUNSUPPORTED, "this onewrite was built without libcurl and has no http handler");
}
