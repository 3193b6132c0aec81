/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crash.h"

const struct ow_crash_label ow_crash_labels[OW_CRASH_COUNT] = {
#define ROW(name, label, where) {label, where},
    OW_CRASH_POINTS(ROW)
#undef ROW
};

#ifdef OW_WITH_CRASH_POINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long passages[OW_CRASH_COUNT];

void ow_crash_pass(enum ow_crash_point point)
{
    const char *wanted = getenv("ONEWRITE_CRASH");
    const char *label = ow_crash_labels[point].label;
    size_t n = strlen(label);
    if (!wanted || strncmp(wanted, label, n) != 0 || wanted[n] != ':')
        return;
    if (atomic_fetch_add(&passages[point], 1) + 1 == strtol(wanted + n + 1, NULL, 10))
        (void)kill(getpid(), SIGKILL);
}
#endif
