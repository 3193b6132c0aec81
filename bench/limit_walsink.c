/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of reading PostgreSQL's log: takes what a slot has, up to where the log ended at the start, and throws it
 * away. Reads in gulps (all that is there, then a nap of 200 us), which is the fastest way that was found.
 *
 *     limit_walsink CONNECTION SLOT PUBLICATION      prints rows, seconds, CPU seconds of its own
 *
 * The slot stays where it is: nothing is confirmed, so that the next run reads the same.
 */
#include <unistd.h>

#include "limit.h"

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    uint64_t target, rows = 0, end = 0;
    PGconn *conn = limit_stream(argv[1], argv[2], argv[3], &target);
    double start = limit_now_s(), asked = start;
    while (end < target) {
        char *frame = NULL;
        int size = PQgetCopyData(conn, &frame, 1);
        if (size == 0) {
            if (limit_now_s() - asked > 0.05) {
                limit_status(conn, 1);
                asked = limit_now_s();
            }
            (void)usleep(200);
            if (!PQconsumeInput(conn))
                limit_end(conn, "reading");
            continue;
        }
        if (size < 0)
            limit_end(conn, "the stream has ended");
        if (frame[0] == 'k')
            end = limit_number(frame + 1, 8);
        else
            rows += frame[25] == 'I' || frame[25] == 'M';
        PQfreemem(frame);
    }
    (void)printf("%llu %.3f %.3f\n", (unsigned long long)rows, limit_now_s() - start, limit_cpu_s());
    PQfinish(conn);
    return 0;
}
