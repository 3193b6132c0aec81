/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/daemon.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "cmd/notify.h"

enum {
    OPEN_AGAIN_MS = 200,
    MAPPED_BYTES = 128 << 10,
};

/* Buffers that are freed go back to the system: glibc, left alone, raises this bound with every large one that it
   sees, and keeps them all in its heap. */
static void bound_heap(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
}

int ow_daemon_init(struct ow_daemon *daemon, struct ow_error *err)
{
    sigset_t set;
    bound_heap();
    *daemon = (struct ow_daemon){.signal_fd = -1, .ended_fd = -1};
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    int result = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (result != 0)
        return ow_error_errno(err, result, "cannot block signals");
    daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    daemon->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (daemon->signal_fd < 0 || daemon->ended_fd < 0)
        return ow_error_errno(err, errno, "cannot wait for signals");
    return 0;
}

void ow_daemon_done(struct ow_daemon *daemon)
{
    for (size_t i = 0; i < daemon->count; i++) /* all of them at the same time */
        ow_pipeline_stop(daemon->pipelines[i]);
    while (daemon->count)
        ow_daemon_remove(daemon, daemon->pipelines[daemon->count - 1]);
    free(daemon->pipelines);
    if (daemon->signal_fd >= 0)
        (void)close(daemon->signal_fd);
    if (daemon->ended_fd >= 0)
        (void)close(daemon->ended_fd);
    *daemon = (struct ow_daemon){.signal_fd = -1, .ended_fd = -1};
}

/* The next signal within timeout_ms (-1: no limit), or when a pipeline ends; 0: none */
static int next_signal(struct ow_daemon *daemon, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = daemon->signal_fd, .events = POLLIN}, {.fd = daemon->ended_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    uint64_t count;
    (void)poll(fds, 2, timeout_ms);
    if (read(daemon->ended_fd, &count, sizeof count) == (ssize_t)sizeof count) {
        /* Only to be awake. */
    }
    return read(daemon->signal_fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

/* 1: a signal said to end */
static int open_within(struct ow_daemon *daemon, struct ow_pipeline *pipeline, int64_t wait_ms, struct ow_error *err)
{
    int64_t until_ms = ow_clock_monotonic_ms() + wait_ms;
    bool has_said = false;
    for (;;) {
        int r = ow_pipeline_open(pipeline, err);
        if (r == 0 || (r != OW_EUNREACHABLE && ow_error_class(r) != OW_CLASS_RETRYABLE) ||
            ow_clock_monotonic_ms() >= until_ms)
            return r;
        if (!has_said)
            ow_log(OW_LOG_INFO, "waiting", "reason", err->text, NULL);
        has_said = true;
        int signal_number = next_signal(daemon, OPEN_AGAIN_MS);
        if (signal_number == SIGTERM || signal_number == SIGINT)
            return 1;
    }
}

int ow_daemon_add(struct ow_daemon *daemon, struct ow_pipeline *pipeline, int64_t wait_ms, struct ow_error *err)
{
    struct ow_pipeline **more = realloc(daemon->pipelines, (daemon->count + 1) * sizeof(struct ow_pipeline *));
    int r = more ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (more)
        daemon->pipelines = more;
    if (r == 0 && wait_ms >= 0)
        r = open_within(daemon, pipeline, wait_ms, err);
    if (r == 0)
        r = ow_pipeline_start(pipeline, err);
    if (r != 0) {
        ow_pipeline_free(pipeline);
        return r;
    }
    daemon->pipelines[daemon->count++] = pipeline;
    return 0;
}

void ow_daemon_remove(struct ow_daemon *daemon, struct ow_pipeline *pipeline)
{
    size_t kept = 0;
    for (size_t i = 0; i < daemon->count; i++)
        if (daemon->pipelines[i] != pipeline)
            daemon->pipelines[kept++] = daemon->pipelines[i];
    daemon->count = kept;
    ow_pipeline_free(pipeline);
}

/* Takes leave of those that have ended; false when none is left. */
static bool look_after(struct ow_daemon *daemon)
{
    bool has_any = false;
    for (size_t i = 0; i < daemon->count; i++) {
        struct ow_error end = {0};
        if (!ow_pipeline_has_ended(daemon->pipelines[i]))
            has_any = true;
        else if (ow_pipeline_join(daemon->pipelines[i], &end) < 0 && daemon->first_end.code == 0)
            daemon->first_end = end;
    }
    return has_any;
}

static void stop_all(struct ow_daemon *daemon)
{
    ow_notify("STOPPING=1");
    for (size_t i = 0; i < daemon->count; i++)
        ow_pipeline_stop(daemon->pipelines[i]);
}

int ow_daemon_run(struct ow_daemon *daemon, void (*reload)(void *context), void *context, struct ow_error *err)
{
    int64_t watchdog_ms = ow_notify_watchdog_ms();
    ow_notify("READY=1");
    while (look_after(daemon)) {
        int signal_number = next_signal(daemon, watchdog_ms ? (int)watchdog_ms : -1);
        if (watchdog_ms)
            ow_notify("WATCHDOG=1");
        if (signal_number == SIGHUP && !daemon->is_stopping) {
            ow_notify("RELOADING=1");
            if (reload)
                reload(context);
            else
                ow_log(OW_LOG_INFO, "there is no configuration file to read again", NULL);
            ow_notify("READY=1");
        } else if (signal_number == SIGTERM || signal_number == SIGINT) {
            if (daemon->is_stopping) /* once more: at once. Whatever is in flight survives that. */
                _exit(1);
            daemon->is_stopping = true;
            stop_all(daemon);
        }
    }
    return daemon->first_end.code < 0 ? ow_error_set(err, daemon->first_end.code, "%s", daemon->first_end.text) : 0;
}
