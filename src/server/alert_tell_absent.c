/* SPDX-License-Identifier: Apache-2.0 */
/* In place of alert_tell.c where there is no libcurl. */
#include "server/alert.h"

int ow_alert_tell(const struct ow_alert_news *news, const atomic_bool *is_stopping, struct ow_error *err)
{
    (void)news, (void)is_stopping;
    return ow_error_set(err, OW_EUNSUPPORTED, "this onewrite was built without libcurl");
}
