/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pipeline waits for: descriptors and a deadline. Sources and brokers never block inside a call;
 * they add to a struct ow_wait what would make the next call worth while, and the pipeline's one loop
 * sleeps on all of it together.
 */
#ifndef OW_BASE_WAIT_H
#define OW_BASE_WAIT_H

#include <poll.h>
#include <stdint.h>

#define OW_WAIT_FDS_MAX  16
#define OW_WAIT_FOR_EVER INT64_MAX

struct ow_wait {
    struct pollfd fds[OW_WAIT_FDS_MAX];
    unsigned count;
    int64_t deadline_ms; /* monotonic; OW_WAIT_FOR_EVER: none */
    int64_t nap_us;      /* likewise, from the beginning of the sleep on */
};

static inline void ow_wait_init(struct ow_wait *wait)
{
    wait->count = 0;
    wait->deadline_ms = wait->nap_us = OW_WAIT_FOR_EVER;
}
/* fd < 0 is ignored; so is one too many (the deadline then decides). events as for poll(2). */
void ow_wait_add(struct ow_wait *wait, int fd, short events);
static inline void ow_wait_until(struct ow_wait *wait, int64_t deadline_ms)
{
    if (deadline_ms < wait->deadline_ms)
        wait->deadline_ms = deadline_ms;
}
/* For what is a matter of less than a millisecond: sleeps no longer than this. */
static inline void ow_wait_nap(struct ow_wait *wait, int64_t us)
{
    if (us < wait->nap_us)
        wait->nap_us = us;
}
/* Sleeps until a descriptor is ready, the deadline has passed, or a signal came. */
void ow_wait_sleep(struct ow_wait *wait);

#endif
