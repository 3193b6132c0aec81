/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/pipeline.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/units.h"

enum {
    DRAIN_MS_MAX = 5000,
    PLACES_EVERY_MS = 1000,
};

struct ow_pipeline {
    struct ow_work *work;
    bool ends_when_idle;
    int ended_fd;
    struct ow_error end;
    pthread_t thread;
    atomic_bool is_started;
    int stop_fd, wake_fd;
    struct ow_desk *desk; /* NULL: nobody wants to know */
    int64_t tell_due_ms, places_due_ms;
    atomic_bool has_ended;
    _Atomic int64_t stops_ms; /* when it was told to; 0: it was not */
};

/* Signals are taken when all has been opened; until then they show here. */
static bool is_asked_to_end(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

bool ow_pipeline_may_wait(const struct ow_pipeline *p)
{
    if (!atomic_load(&p->is_started))
        return !is_asked_to_end();
    int64_t stops_ms = atomic_load(&p->stops_ms);
    return !stops_ms || ow_clock_monotonic_ms() < stops_ms + DRAIN_MS_MAX;
}

/* --- the thread ------------------------------------------------------------------------------------ */

static void tell_places(struct ow_pipeline *p)
{
    struct ow_place_at *places = NULL;
    size_t count = p->work->ops->look_at_places(p->work, &places);
    ow_desk_tell_places(p->desk, places, count);
    free(places);
}

/* Not at every step: what is skipped now is told when it is due. */
static void tell(struct ow_pipeline *p, struct ow_wait *wait)
{
    struct ow_snapshot now;
    int64_t now_ms = ow_clock_monotonic_ms();
    bool has_places = p->work->ops->look_at_places != NULL;
    if (!p->desk)
        return;
    if (now_ms < p->tell_due_ms) {
        ow_wait_until(wait, p->tell_due_ms);
        return;
    }
    p->tell_due_ms = now_ms + OW_BOARD_EVERY_MS;
    p->work->ops->look(p->work, NULL, &now);
    ow_desk_tell(p->desk, &now);
    if (has_places && now_ms >= p->places_due_ms) {
        tell_places(p);
        p->places_due_ms = now_ms + PLACES_EVERY_MS;
    }
    if (has_places)
        ow_wait_until(wait, p->places_due_ms);
}

static void listen_to_desk(struct ow_pipeline *p, struct ow_wait *wait)
{
    uint64_t count;
    ow_wait_add(wait, p->wake_fd, POLLIN);
    if (read(p->wake_fd, &count, sizeof count) < 0)
        return; /* nobody has written */
    if (p->work->ops->pause)
        p->work->ops->pause(p->work, ow_desk_is_to_pause(p->desk));
    p->tell_due_ms = 0;
    ow_wait_until(wait, 0);
}

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
        tell(p, &wait);
        if (p->desk)
            listen_to_desk(p, &wait);
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
    if (p->desk) {
        struct ow_snapshot last;
        p->work->ops->look(p->work, &p->end, &last);
        ow_desk_tell(p->desk, &last);
        ow_desk_tell_places(p->desk, NULL, 0);
    }
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
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->stop_fd < 0 || p->wake_fd < 0) {
        ow_pipeline_free(p);
        return ow_error_set(err, OW_ENOMEM, "out of memory, or of descriptors");
    }
    *ret = p;
    return 0;
}

int ow_pipeline_attach(struct ow_pipeline *p, struct ow_board *board, struct ow_error *err)
{
    return ow_board_add(board, p->work->kind, p->work->name, p->work->from, p->work->to, p->wake_fd, &p->desk, err);
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
    ow_board_remove(p->desk);
    p->work->ops->free(p->work);
    if (p->stop_fd >= 0)
        (void)close(p->stop_fd);
    if (p->wake_fd >= 0)
        (void)close(p->wake_fd);
    free(p);
}
