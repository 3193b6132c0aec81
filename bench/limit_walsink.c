/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of reading PostgreSQL's log: takes what a slot has, up to where the log ended at the start, and throws it
 * away. Reads in gulps (all that is there, then a nap of 200 us), which is the fastest way that was found.
 *
 *     limit_walsink CONNECTION SLOT PUBLICATION      prints rows, seconds, CPU seconds of its own
 *
 * The slot stays where it is: nothing is confirmed, so that the next run reads the same.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t number_at(const char *bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | (unsigned char)bytes[i];
    return number;
}

static int die(PGconn *conn, const char *what)
{
    (void)fprintf(stderr, "limit_walsink: %s: %s", what, PQerrorMessage(conn));
    return 1;
}

static void ask_for_the_end(PGconn *conn)
{
    char status[34] = "r";
    status[33] = 1;
    (void)PQputCopyData(conn, status, sizeof status);
    (void)PQflush(conn);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const char *names[] = {"dbname", "replication", NULL}, *values[] = {argv[1], "database", NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);
    if (PQstatus(conn) != CONNECTION_OK)
        return die(conn, "cannot connect");
    PGresult *system = PQexec(conn, "IDENTIFY_SYSTEM");
    unsigned high = 0, low = 0;
    if (PQntuples(system) != 1 || sscanf(PQgetvalue(system, 0, 2), "%X/%X", &high, &low) != 2)
        return die(conn, "IDENTIFY_SYSTEM");
    PQclear(system);
    uint64_t target = (uint64_t)high << 32 | low;
    char command[512];
    (void)snprintf(command, sizeof command,
                   "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (proto_version '%d', publication_names '\"%s\"'%s)",
                   argv[2], PQserverVersion(conn) >= 140000 ? 2 : 1, argv[3],
                   PQserverVersion(conn) >= 140000 ? ", streaming 'on'" : "");
    PGresult *started = PQexec(conn, command);
    if (PQresultStatus(started) != PGRES_COPY_BOTH)
        return die(conn, "START_REPLICATION");
    PQclear(started);
    double start = now_s(), asked = start;
    uint64_t rows = 0, end = 0;
    while (end < target) {
        char *frame = NULL;
        int size = PQgetCopyData(conn, &frame, 1);
        if (size == 0) {
            if (now_s() - asked > 0.05) {
                ask_for_the_end(conn);
                asked = now_s();
            }
            (void)usleep(200);
            if (!PQconsumeInput(conn))
                return die(conn, "reading");
            continue;
        }
        if (size < 0)
            return die(conn, "the stream has ended");
        if (frame[0] == 'k')
            end = number_at(frame + 1);
        else
            rows += frame[25] == 'I' || frame[25] == 'M';
        PQfreemem(frame);
    }
    double seconds = now_s() - start;
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)printf("%llu %.3f %.3f\n", (unsigned long long)rows, seconds,
                 (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    PQfinish(conn);
    return 0;
}
