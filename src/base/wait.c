/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wait.h"

#include <limits.h>

#include "base/units.h"

void ow_wait_add(struct ow_wait *wait, int fd, short events)
{
    if (fd < 0 || wait->count == OW_WAIT_FDS_MAX)
        return;
    wait->fds[wait->count++] = (struct pollfd){.fd = fd, .events = events};
}

void ow_wait_sleep(struct ow_wait *wait)
{
    int timeout_ms = -1;
    if (wait->deadline_ms != OW_WAIT_FOR_EVER) {
        int64_t left = wait->deadline_ms - ow_clock_monotonic_ms();
        timeout_ms = left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
    }
    (void)poll(wait->fds, wait->count, timeout_ms);
}
