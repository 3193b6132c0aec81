/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wait.h"

#include "base/units.h"

void ow_wait_add(struct ow_wait *wait, int fd, short events)
{
    if (fd < 0 || wait->count == OW_WAIT_FDS_MAX)
        return;
    wait->fds[wait->count++] = (struct pollfd){.fd = fd, .events = events};
}

void ow_wait_sleep(struct ow_wait *wait)
{
    int64_t us = wait->nap_us;
    if (wait->deadline_ms != OW_WAIT_FOR_EVER) {
        int64_t left_ms = wait->deadline_ms - ow_clock_monotonic_ms();
        us = left_ms < us / 1000 ? left_ms * 1000 : us;
    }
    us = us < 0 ? 0 : us;
    const struct timespec timeout = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)ppoll(wait->fds, wait->count, us == OW_WAIT_FOR_EVER ? NULL : &timeout, NULL);
}
