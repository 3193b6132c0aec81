/* SPDX-License-Identifier: Apache-2.0 */
/* In place of outbox_postgres.c where there is no libpq. */
#include "source/source.h"

int ow_outbox_postgres_new(const struct ow_outbox_postgres_options *options, struct ow_source **ret,
                           struct ow_error *err)
{
    (void)options, (void)ret;
    return ow_error_set(err, OW_EUNSUPPORTED, "this build of onewrite has no support for postgres://");
}
