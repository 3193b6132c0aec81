/* SPDX-License-Identifier: Apache-2.0 */
/* What the limit programs share: they are bare on purpose, and end at the first error. */
#ifndef OW_BENCH_LIMIT_H
#define OW_BENCH_LIMIT_H

#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static inline double limit_now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double limit_cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static inline uint64_t limit_number(const char *bytes, int size)
{
    uint64_t number = 0;
    for (int i = 0; i < size; i++)
        number = number << 8 | (unsigned char)bytes[i];
    return number;
}

static inline void limit_end(PGconn *conn, const char *what)
{
    (void)fprintf(stderr, "limit: %s: %s\n", what, conn ? PQerrorMessage(conn) : "failed");
    exit(1);
}

/* Streams from the slot, from where it stands. *end: how far the log is written now. */
static inline PGconn *limit_stream(const char *url, const char *slot, const char *publication, uint64_t *end)
{
    const char *names[] = {"dbname", "replication", NULL}, *values[] = {url, "database", NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);
    unsigned high = 0, low = 0;
    char command[512];
    if (PQstatus(conn) != CONNECTION_OK)
        limit_end(conn, "cannot connect");
    PGresult *system = PQexec(conn, "IDENTIFY_SYSTEM");
    if (PQntuples(system) != 1 || sscanf(PQgetvalue(system, 0, 2), "%X/%X", &high, &low) != 2)
        limit_end(conn, "IDENTIFY_SYSTEM");
    PQclear(system);
    *end = (uint64_t)high << 32 | low;
    (void)snprintf(command, sizeof command,
                   "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (proto_version '%d', publication_names '\"%s\"'%s)", slot,
                   PQserverVersion(conn) >= 140000 ? 2 : 1, publication,
                   PQserverVersion(conn) >= 140000 ? ", streaming 'on'" : "");
    PGresult *started = PQexec(conn, command);
    if (PQresultStatus(started) != PGRES_COPY_BOTH)
        limit_end(conn, "START_REPLICATION");
    PQclear(started);
    return conn;
}

/* Tells the server that we live, and nothing of what it may forget: the next run reads the same. */
static inline void limit_status(PGconn *conn, int wants_reply)
{
    char status[34] = "r";
    status[33] = (char)wants_reply;
    if (PQputCopyData(conn, status, sizeof status) < 0 || PQflush(conn) < 0)
        limit_end(conn, "status");
}

#endif
