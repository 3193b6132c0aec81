/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_guard.h"

#include <libpq-fe.h>

#include "base/units.h"
#include "base/wait.h"
#include "sql.h"
#include "store/postgres.h"

enum { WAIT_MS = 2000, AGAIN_MS = 50 };

static const struct {
    const char *own, *other; /* the second number of the lock */
    const char *us, *them;
} kinds[] = {
    [OW_PG_GUARD_POLLING] = {"1", "2", "polling", "the log"},
    [OW_PG_GUARD_LOG] = {"2", "1", "the log", "polling"},
};

/* 1: taken; 0: one of the other kind is there; < 0 */
static int try_take(PGconn *conn, const char *shown, enum ow_pg_guard kind, struct ow_error *err)
{
    PGresult *result = NULL;
    int r = ow_postgres_query_params(conn, shown, ow_sql_pg_outbox_guard, 2,
                                     (const char *const[]){kinds[kind].own, kinds[kind].other}, &result, err);
    if (r == 0)
        r = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return r;
}

int ow_pg_guard_take(PGconn *conn, const char *shown, enum ow_pg_guard kind, struct ow_error *err)
{
    int64_t until_ms = ow_clock_monotonic_ms() + WAIT_MS;
    for (;;) {
        int r = try_take(conn, shown, kind, err);
        if (r != 0)
            return r < 0 ? r : 0;
        if (ow_clock_monotonic_ms() >= until_ms)
            return ow_error_set(err, OW_EINVALID,
                                "%s: a relay reads onewrite.outbox by %s; one by %s beside it would publish everything "
                                "twice: stop that one first, or start this one as --by %s",
                                shown, kinds[kind].them, kinds[kind].us,
                                kind == OW_PG_GUARD_POLLING ? "log" : "polling");
        struct ow_wait wait;
        ow_wait_init(&wait);
        ow_wait_until(&wait, ow_clock_monotonic_ms() + AGAIN_MS);
        ow_wait_sleep(&wait);
    }
}

int ow_pg_guard_look(PGconn *conn, const char *shown, bool by_message, const char **notice, struct ow_error *err)
{
    PGresult *result = NULL;
    *notice = NULL;
    int r = ow_postgres_query_params(conn, shown, ow_sql_pg_outbox_publish_is_tableless, 0, NULL, &result, err);
    bool is_there = r == 0 && PQntuples(result) == 1;
    bool is_tableless = is_there && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    if (is_there && is_tableless && !by_message)
        *notice = "this relay reads rows of onewrite.outbox, and onewrite.publish() writes messages without a table in "
                  "this database (init --outbox message): for these say --by message";
    if (is_there && !is_tableless && by_message)
        *notice = "this relay reads messages without a table, and onewrite.publish() writes rows of onewrite.outbox in "
                  "this database: for these leave --by message out, or say onewrite init --outbox message first";
    return r;
}
