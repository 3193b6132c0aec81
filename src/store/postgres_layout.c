/* SPDX-License-Identifier: Apache-2.0 */
/* How the outbox table is laid out, beyond what every database has: a trigger that notifies, partitions. */
#include <libpq-fe.h>

#include "base/units.h"
#include "sql.h"
#include "store/postgres.h"

/* One number for the statements of this transaction. */
static int set_number(struct ow_store *store, const char *name, int64_t number, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    const struct ow_value values[] = {ow_value_text(ow_bytes_of(name)), ow_value_integer(number)};
    struct ow_value ignored;
    int r = ow_store_query_row(store, ow_sql_pg_init_set_number, values, 2, &ignored, 1, &keep, err);
    return r < 0 ? r : 0;
}

static int begin_alone(struct ow_store *store, struct ow_error *err)
{
    int r = store->ops->begin(store, OW_TRANSACTION_WRITE, err);
    return r < 0 ? r : store->ops->script(store, ow_sql_pg_schema_lock, err);
}

static int end(struct ow_store *store, int r, struct ow_error *err)
{
    if (r == 0)
        return store->ops->commit(store, err);
    store->ops->rollback(store);
    return r;
}

int ow_postgres_set_notify(struct ow_store *store, int64_t interval_ms, bool *ret_changed, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    struct ow_value before = ow_value_null();
    int r = ow_store_query_row(store, ow_sql_pg_init_read_notify, NULL, 0, &before, 1, &keep, err);
    if (r < 0)
        return r;
    int64_t now_ms = 0;
    if (r == 1 && ow_integer_parse(before.bytes, 0, INT64_MAX, &now_ms, err) < 0)
        now_ms = -1; /* somebody else's hand */
    *ret_changed = now_ms != interval_ms;
    if (!*ret_changed)
        return 0;
    r = begin_alone(store, err);
    if (r == 0)
        r = set_number(store, "onewrite.notify_ms", interval_ms, err);
    if (r == 0)
        r = store->ops->script(store, interval_ms ? ow_sql_pg_init_notify_on : ow_sql_pg_init_notify_off, err);
    return end(store, r, err);
}

int ow_postgres_partition(struct ow_store *store, int64_t rows, bool *ret_changed, struct ow_error *err)
{
    PGconn *conn = ow_postgres_connection(store);
    int64_t is_partitioned = 0, pollers = 0;
    if (PQserverVersion(conn) < 130000)
        return ow_error_set(err, OW_EUNSUPPORTED, "the server is PostgreSQL %d: a partitioned outbox takes 13 or later",
                            PQserverVersion(conn) / 10000);
    int r = ow_store_query_integer(store, ow_sql_pg_init_is_partitioned, NULL, 0, 0, &is_partitioned, err);
    *ret_changed = r == 0 && !is_partitioned;
    if (r < 0 || is_partitioned)
        return r;
    r = ow_store_query_integer(store, ow_sql_pg_ops_pollers, NULL, 0, 0, &pollers, err);
    if (r == 0 && pollers)
        r = ow_error_set(err, OW_EBUSY, "a relay is at work by polling: stop it first");
    if (r < 0)
        return r;
    r = begin_alone(store, err);
    if (r == 0)
        r = set_number(store, "onewrite.partition_rows", rows, err);
    if (r == 0)
        r = store->ops->script(store, ow_sql_pg_init_partition, err);
    if (r == 0)
        r = store->ops->script(store, ow_sql_pg_init_grant_partitioned, err);
    return end(store, r, err);
}
