/* SPDX-License-Identifier: Apache-2.0 */
/* The labels of the crash points, one a line: for tests that walk through all of them. */
#include "base/crash.h"
#include "cmd/output.h"

#ifdef OW_WITH_CRASH_POINTS
static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)options, (void)arguments, (void)count;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    for (size_t i = 0; i < OW_CRASH_COUNT; i++)
        ow_buf_printf(&text, "%s\n", ow_crash_labels[i].label);
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

const struct ow_command ow_command_crash_points = {
    .name = "crash-points",
    .summary = "print the labels of the crash points of this build",
    .description = "With ONEWRITE_CRASH=LABEL:N in its environment the program kills itself when it passes the place "
                   "LABEL for the N-th time.",
    .is_hidden = true,
    .run = run,
};
#endif
