/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of an inbox in PostgreSQL: the statements of onewrite's consumer with an sql handler, prepared, through
 * libpq alone; ids are made here, nothing is read from a broker.
 *
 *     limit_inbox URL CONSUMER MESSAGES BATCH
 *
 * BEGIN and the claim go together; then the effects of what is new, and COMMIT. The table of effects is
 * paid (order_id text, cents text). Prints one line: seconds, seconds of CPU.
 */
#include "limit.h"
#include "sql.h"

static PGconn *conn;

/* Everything that was queued, to the end of the pipeline; gives how many rows came. */
static int finish(void)
{
    int rows = 0, ends = 0;
    if (!PQpipelineSync(conn))
        limit_end(conn, "sync");
    while (ends < 1) {
        PGresult *result = PQgetResult(conn);
        ExecStatusType status = PQresultStatus(result);
        if (result && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_SYNC)
            limit_end(conn, "a statement");
        rows += status == PGRES_TUPLES_OK ? PQntuples(result) : 0;
        ends += status == PGRES_PIPELINE_SYNC;
        PQclear(result);
    }
    return rows;
}

static void queue(const char *name, int count, const char *const *values)
{
    if (!PQsendQueryPrepared(conn, name, count, values, NULL, NULL, 0))
        limit_end(conn, name);
}

static void prepare(const char *name, const char *sql)
{
    PGresult *result = PQprepare(conn, name, sql, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        limit_end(conn, sql);
    PQclear(result);
}

static void run(const char *consumer, long first, long count, char *ids, char *keys)
{
    char *id = ids, *key = keys, number[24], cents[24];
    for (long i = 0; i < count; i++) {
        id += sprintf(id, "%cmessage-%ld", i ? ',' : '{', first + i);
        key += sprintf(key, "%cNULL", i ? ',' : '{');
    }
    (void)strcpy(id, "}");
    (void)strcpy(key, "}");
    queue("begin", 0, NULL);
    queue("claim", 4, (const char *const[]){consumer, ids, keys, "0"});
    if (finish() != count)
        limit_end(NULL, "not all of them are new");
    for (long i = 0; i < count; i++) {
        (void)snprintf(number, sizeof number, "%ld", first + i);
        (void)snprintf(cents, sizeof cents, "%ld", (first + i) * 7 % 100000);
        queue("effect", 2, (const char *const[]){number, cents});
    }
    queue("commit", 0, NULL);
    (void)finish();
}

int main(int argc, char **argv)
{
    if (argc != 5)
        limit_end(NULL, "usage: limit_inbox URL CONSUMER MESSAGES BATCH");
    long total = atol(argv[3]), batch = atol(argv[4]);
    char *ids = malloc((size_t)batch * 40 + 2), *keys = malloc((size_t)batch * 5 + 2);
    conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK || !ids || !keys)
        limit_end(conn, "cannot connect");
    prepare("begin", "BEGIN");
    prepare("commit", "COMMIT");
    prepare("claim", ow_sql_pg_inbox_claim);
    prepare("effect", "INSERT INTO paid (order_id, cents) VALUES ($1, $2)");
    if (!PQenterPipelineMode(conn))
        limit_end(conn, "pipeline");
    double began = limit_now_s();
    for (long i = 0; i < total; i += batch)
        run(argv[2], i, total - i < batch ? total - i : batch, ids, keys);
    printf("%.6f %.6f\n", limit_now_s() - began, limit_cpu_s());
    PQfinish(conn);
    free(ids);
    free(keys);
    return 0;
}
