/* SPDX-License-Identifier: Apache-2.0 */
/* In place of postgres*.c where there is no libpq: everything says so. */
#include "store/postgres.h"

static int refuse(struct ow_error *err)
{
    return ow_error_set(err, OW_EUNSUPPORTED, "this build of onewrite has no support for postgres://");
}

int ow_postgres_check_url(const char *url, struct ow_buf *ret_shown, struct ow_error *err)
{
    (void)url, (void)ret_shown;
    return refuse(err);
}

bool ow_postgres_has_parameter(struct ow_bytes name)
{
    (void)name;
    return false;
}

int ow_postgres_open(const struct ow_postgres_options *options, struct ow_store **ret, struct ow_error *err)
{
    (void)options, (void)ret;
    return refuse(err);
}

struct pg_conn *ow_postgres_connection(struct ow_store *store)
{
    (void)store;
    return NULL;
}

const char *ow_postgres_shown(struct ow_store *store)
{
    (void)store;
    return "";
}

void ow_postgres_init_report_done(struct ow_postgres_init_report *report)
{
    (void)report;
}

int ow_postgres_init(struct ow_store *store, enum ow_postgres_outbox outbox, struct ow_postgres_init_report *report,
                     struct ow_error *err)
{
    (void)store, (void)outbox, (void)report;
    return refuse(err);
}

void ow_postgres_init_print(enum ow_postgres_outbox outbox, const char *database, struct ow_buf *to)
{
    (void)outbox, (void)database, (void)to;
}

int ow_postgres_database_of(const char *url, struct ow_buf *to, struct ow_error *err)
{
    (void)url, (void)to;
    return refuse(err);
}

int ow_postgres_set_notify(struct ow_store *store, int64_t interval_ms, bool *ret_changed, struct ow_error *err)
{
    (void)store, (void)interval_ms, (void)ret_changed;
    return refuse(err);
}

int ow_postgres_partition(struct ow_store *store, int64_t rows, bool *ret_changed, struct ow_error *err)
{
    (void)store, (void)rows, (void)ret_changed;
    return refuse(err);
}

void ow_postgres_slot_name(const char *database, const char *kind, char to[OW_POSTGRES_NAME_SIZE])
{
    (void)database, (void)kind;
    to[0] = '\0';
}
