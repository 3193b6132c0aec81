/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit for `relay --by polling postgres: kafka:`: a bare program that takes rows of onewrite.outbox by DELETE …
 * RETURNING, hands them to librdkafka, waits until all are accepted, and commits. Rows stay locked meanwhile.
 *
 *     limit_polling CONNECTION SERVERS PREFIX LINGER_MS BATCH
 *
 * Runs until it is ended; looks again every millisecond while the table is empty.
 */
#include <unistd.h>

#include "limit_kafka.h"

static const char sql[] =
    "DELETE FROM onewrite.outbox WHERE seq IN (SELECT seq FROM onewrite.outbox ORDER BY seq LIMIT $1 "
    "FOR UPDATE SKIP LOCKED) RETURNING seq, id, aggregatetype, aggregateid, type, payload";

static PGresult *run(PGconn *conn, const char *command, ExecStatusType wanted)
{
    PGresult *result = PQexec(conn, command);
    if (PQresultStatus(result) != wanted)
        limit_end(conn, command);
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    struct limit_kafka kafka;
    const char *limit = argv[5];
    limit_kafka_open(&kafka, argv[2], argv[3], argv[4], "1000000");
    PGconn *conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK)
        limit_end(conn, "cannot connect");
    /* The index is right, whatever the statistics say of a table that was just filled. */
    PQclear(
        run(conn, "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off", PGRES_COMMAND_OK));
    PQclear(PQprepare(conn, "take", sql, 0, NULL));
    for (;;) {
        PQclear(run(conn, "BEGIN", PGRES_COMMAND_OK));
        PGresult *rows = PQexecPrepared(conn, "take", 1, &limit, NULL, NULL, 1);
        if (PQresultStatus(rows) != PGRES_TUPLES_OK)
            limit_end(conn, "take");
        int count = PQntuples(rows);
        for (int i = 0; i < count; i++) {
            struct limit_value row[LIMIT_COLUMNS] = {0};
            for (int c = LIMIT_ID; c < LIMIT_COLUMNS; c++)
                if (!PQgetisnull(rows, i, c))
                    row[c] = (struct limit_value){PQgetvalue(rows, i, c), (size_t)PQgetlength(rows, i, c)};
            limit_send(&kafka, row);
        }
        PQclear(rows);
        while (kafka.accepted < kafka.sent)
            (void)rd_kafka_poll(kafka.rk, 100);
        PQclear(run(conn, "COMMIT", PGRES_COMMAND_OK));
        if (count == 0)
            (void)usleep(1000);
    }
}
