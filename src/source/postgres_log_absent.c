/* SPDX-License-Identifier: Apache-2.0 */
/* Where the build has no libpq. */
#include "source/source.h"

int ow_postgres_log_check_start(const char *text, struct ow_error *err)
{
    (void)text;
    return ow_error_set(err, OW_EUNSUPPORTED, "this onewrite was built without libpq, and so without PostgreSQL");
}

/* There is no store that they are for, which is said. */
int ow_postgres_log_check_slot(const char *name, struct ow_error *err)
{
    (void)name, (void)err;
    return 0;
}

int ow_postgres_log_check_tables(const char *names, struct ow_error *err)
{
    (void)names, (void)err;
    return 0;
}

int ow_postgres_log_new(const struct ow_postgres_log_options *options, struct ow_source **ret, struct ow_error *err)
{
    (void)options;
    (void)ret;
    return ow_error_set(err, OW_EUNSUPPORTED, "this onewrite was built without libpq, and so without PostgreSQL");
}
