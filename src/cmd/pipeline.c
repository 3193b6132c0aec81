/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/pipeline.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/units.h"

enum { DRAIN_MS_MAX = 5000 };

struct ow_pipeline {
    struct ow_work *work;
    bool ends_when_idle;
    int ended_fd;
    struct ow_error end;
    pthread_t thread;
    bool is_started;
    int stop_fd;
    atomic_bool has_ended;
    _Atomic int64_t stops_ms; /* when it was told to; 0: it was not */
};

bool ow_pipeline_may_wait(const struct ow_pipeline *p)
{
    int64_t stops_ms = atomic_load(&p->stops_ms);
    return !stops_ms || ow_clock_monotonic_ms() < stops_ms + DRAIN_MS_MAX;
}

/* --- the thread ------------------------------------------------------------------------------------ */

static int run(struct ow_pipeline *p, struct ow_error *err)
{
    struct ow_wait wait;
    int64_t drain_until_ms = OW_WAIT_FOR_EVER;
    for (;;) {
        if (atomic_load(&p->stops_ms) && drain_until_ms == OW_WAIT_FOR_EVER) {
            drain_until_ms = atomic_load(&p->stops_ms) + DRAIN_MS_MAX;
            p->work->ops->drain(p->work);
        }
        int r = p->work->ops->step(p->work, &wait, err);
        if (r < 0)
            return r;
        bool is_idle = p->work->ops->is_idle(p->work);
        if (is_idle && (p->ends_when_idle || drain_until_ms != OW_WAIT_FOR_EVER))
            return 0;
        if (ow_clock_monotonic_ms() >= drain_until_ms)
            return 0; /* what is still in flight comes again at the next start */
        if (drain_until_ms == OW_WAIT_FOR_EVER)
            ow_wait_add(&wait, p->stop_fd, POLLIN);
        ow_wait_until(&wait, drain_until_ms);
        ow_wait_sleep(&wait);
    }
}

static void *thread_main(void *context)
{
    struct ow_pipeline *p = context;
    uint64_t one = 1;
    if (run(p, &p->end) >= 0)
        p->end.code = 0;
    p->work->ops->tell_end(p->work, &p->end);
    p->work->ops->close(p->work);
    atomic_store(&p->has_ended, true);
    if (p->ended_fd >= 0 && write(p->ended_fd, &one, sizeof one) < 0) {
        /* The counter is full: whoever waits is awake already. */
    }
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------------ */

int ow_pipeline_new(struct ow_work *work, bool ends_when_idle, int ended_fd, struct ow_pipeline **ret,
                    struct ow_error *err)
{
    struct ow_pipeline *p = calloc(1, sizeof *p);
    if (!p) {
        work->ops->free(work);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    p->work = work;
    work->pipeline = p;
    p->ends_when_idle = ends_when_idle;
    p->ended_fd = ended_fd;
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->stop_fd < 0) {
        ow_pipeline_free(p);
        return ow_error_set(err, OW_ENOMEM, "out of memory, or of descriptors");
    }
    *ret = p;
    return 0;
}

int ow_pipeline_open(struct ow_pipeline *p, struct ow_error *err)
{
    int r = p->work->ops->open(p->work, err);
    if (r == OW_ENOTFOUND || r == OW_EBUSY)
        err->code = r = OW_EUNREACHABLE;
    return r;
}

int ow_pipeline_start(struct ow_pipeline *p, struct ow_error *err)
{
    int result = pthread_create(&p->thread, NULL, thread_main, p);
    if (result != 0)
        return ow_error_errno(err, result, "cannot start a thread for %s %s", p->work->ops->what, p->work->name);
    p->is_started = true;
    return 0;
}

void ow_pipeline_stop(struct ow_pipeline *p)
{
    uint64_t one = 1;
    if (!atomic_load(&p->stops_ms))
        atomic_store(&p->stops_ms, ow_clock_monotonic_ms());
    if (write(p->stop_fd, &one, sizeof one) < 0) {
        /* The counter is full: it is awake already. */
    }
}

bool ow_pipeline_has_ended(const struct ow_pipeline *p)
{
    return atomic_load(&p->has_ended);
}

int ow_pipeline_join(struct ow_pipeline *p, struct ow_error *err)
{
    if (p->is_started)
        (void)pthread_join(p->thread, NULL);
    p->is_started = false;
    return p->end.code < 0 ? ow_error_set(err, p->end.code, "%s", p->end.text) : 0;
}

void ow_pipeline_free(struct ow_pipeline *p)
{
    struct ow_error ignored;
    if (!p)
        return;
    if (p->is_started) {
        ow_pipeline_stop(p);
        (void)ow_pipeline_join(p, &ignored);
    }
    p->work->ops->free(p->work);
    if (p->stop_fd >= 0)
        (void)close(p->stop_fd);
    free(p);
}
