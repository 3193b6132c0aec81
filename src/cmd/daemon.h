/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemon: several pipelines and the signals. SIGTERM and SIGINT drain and end with 0 (a second one ends at
 * once); SIGHUP asks for the configuration again.
 *
 * One pipeline that ends by an error does not take the others with it: the error is in the log, the others
 * go on, and the status of the program tells of it in the end. When none is left, the program ends.
 */
#ifndef OW_CMD_DAEMON_H
#define OW_CMD_DAEMON_H

#include "cmd/pipeline.h"

struct ow_daemon {
    struct ow_pipeline **pipelines; /* owned, and the pipelines too */
    size_t count;
    int signal_fd, ended_fd;
    struct ow_error first_end; /* the first error that a pipeline ended with */
    bool is_stopping;          /* a signal said so */
};

/* Blocks the signals in this thread and, so, in all that it starts. First of all calls. */
int ow_daemon_init(struct ow_daemon *daemon, struct ow_error *err) OW_MUST_CHECK;
void ow_daemon_done(struct ow_daemon *daemon);

/* Opens a pipeline and starts it; it is the daemon's from now on, also on failure. While it cannot be reached
   this tries again for wait_ms; with wait_ms < 0 that is left to its thread, for ever. 0: it works; 1: a signal said to
   end while it waited; < 0. */
int ow_daemon_add(struct ow_daemon *daemon, struct ow_pipeline *pipeline, int64_t wait_ms,
                  struct ow_error *err) OW_MUST_CHECK;
/* Stops and forgets a pipeline. */
void ow_daemon_remove(struct ow_daemon *daemon, struct ow_pipeline *pipeline);

/* Runs until a signal or until no pipeline is left; returns 0 or the first error a pipeline ended with.
   reload (may be NULL) is called at SIGHUP. May be called again, with more pipelines. */
int ow_daemon_run(struct ow_daemon *daemon, void (*reload)(void *context), void *context,
                  struct ow_error *err) OW_MUST_CHECK;

#endif
