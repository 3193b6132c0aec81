/* SPDX-License-Identifier: Apache-2.0 */
/* In place of redis_filter.c where there is no hiredis. */
#include "inbox/filter.h"

int ow_redis_filter_new(const struct ow_redis_filter_options *options, struct ow_inbox_filter **ret,
                        struct ow_error *err)
{
    (void)options, (void)ret;
    return ow_error_set(err, OW_EUNSUPPORTED, "this build of onewrite has no filter in Redis, for want of hiredis");
}
