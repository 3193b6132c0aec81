/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit for `relay --by log postgres: kafka:`: a bare program that reads onewrite.outbox out of PostgreSQL's log
 * and hands its rows to librdkafka. With a linger it is for the rate, and reads in gulps (all that is there, then a nap
 * of 200 us); with a linger of 0 it is for the latency, and waits for the first byte. No positions, no retries, no
 * order beyond the producer's, no dead letters: what the two libraries cost.
 *
 *     limit_walkafka CONNECTION SLOT PUBLICATION SERVERS PREFIX LINGER_MS QUEUE
 *
 * Runs until it is ended. The slot stays where it is.
 */
#include <poll.h>
#include <unistd.h>

#include "limit_kafka.h"

static void send_row(struct limit_kafka *k, const char *at)
{
    struct limit_value row[LIMIT_COLUMNS] = {0};
    at += 1 + 4 + 1; /* I, the relation, N */
    int count = (int)limit_number(at, 2);
    at += 2;
    for (int i = 0; i < count && i < LIMIT_COLUMNS; i++) {
        if (*at++ != 't')
            continue;
        row[i].size = (size_t)limit_number(at, 4);
        row[i].data = at + 4;
        at += 4 + row[i].size;
    }
    limit_send(k, row);
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    struct limit_kafka kafka;
    uint64_t ignored;
    limit_kafka_open(&kafka, argv[4], argv[5], argv[6], argv[7]);
    PGconn *conn = limit_stream(argv[1], argv[2], argv[3], &ignored);
    double told = limit_now_s();
    int drained = 0, naps = strcmp(argv[6], "0") != 0;
    for (;;) {
        char *frame = NULL;
        int size = PQgetCopyData(conn, &frame, 1);
        if (size > 0) {
            drained += size;
            if (frame[0] == 'w' && frame[25] == 'I')
                send_row(&kafka, frame + 25);
            PQfreemem(frame);
            continue;
        }
        if (size < 0)
            limit_end(conn, "the stream has ended");
        (void)rd_kafka_poll(kafka.rk, 0);
        if (naps && drained > 0) {
            (void)usleep(200);
        } else {
            struct pollfd wait = {.fd = PQsocket(conn), .events = POLLIN};
            (void)poll(&wait, 1, kafka.accepted < kafka.sent ? 1 : 100);
        }
        drained = 0;
        if (!PQconsumeInput(conn))
            limit_end(conn, "reading");
        if (limit_now_s() - told > 1) {
            limit_status(conn, 0);
            told = limit_now_s();
        }
    }
}
