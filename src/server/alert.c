/* SPDX-License-Identifier: Apache-2.0 */
#include "server/alert.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "config/config.h"

enum { EVERY_MS = 1000 };

/* An alert of a pipeline. */
struct watch {
    size_t alert;
    enum ow_work_kind kind;
    char *name;
    bool is_there; /* in this round */
    struct ow_alert_state state;
    struct watch *next;
};

struct ow_alerts {
    const struct ow_config *config;
    struct ow_board *board;
    struct ow_alert_memory *memory;
    bool memory_has_failed;
    struct watch *first;
    char host[256];
    bool has_looked;
    bool has_failed; /* to tell something in this round: a receiver that hangs must not hold up all that follows */
    pthread_t thread;
    bool has_thread;
    atomic_bool is_stopping;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
};

static struct watch *new_watch(struct ow_alerts *a, size_t alert, enum ow_work_kind kind, struct ow_bytes name)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w || !(w->name = ow_bytes_text(name))) {
        free(w);
        return NULL;
    }
    w->alert = alert;
    w->kind = kind;
    w->state.minute = -1;
    w->state.watched_ms = ow_clock_monotonic_ms();
    w->next = a->first;
    a->first = w;
    return w;
}

static struct watch *watch_of(struct ow_alerts *a, size_t alert, const struct ow_board_line *line, bool *ret_is_new)
{
    *ret_is_new = false;
    for (struct watch *w = a->first; w; w = w->next)
        if (w->alert == alert && w->kind == line->kind && strcmp(w->name, line->name) == 0)
            return w;
    struct watch *w = new_watch(a, alert, line->kind, ow_bytes_of(line->name));
    if (!w)
        return NULL;
    /* Without a memory nobody knows what an earlier process has told; of PagerDuty that can be put right at no cost. */
    if (!a->memory->path && a->config->alerts[alert].routing_key)
        w->state.told = OW_ALERT_TOLD_MAYBE;
    *ret_is_new = a->has_looked;
    return w;
}

/* --- what was told ------------------------------------------------------------------------------------------- */

/* Of an alert that is not there any more nobody can be told anything. */
static void recall(struct ow_alerts *a)
{
    struct ow_bytes rest = ow_buf_bytes(&a->memory->told);
    struct ow_alert_told told;
    while (ow_alert_memory_next(&rest, &told))
        for (size_t i = 0; i < a->config->alert_count; i++) {
            struct watch *w = ow_bytes_is(told.alert, a->config->alerts[i].name) ? new_watch(a, i, told.kind, told.name)
                                                                                 : NULL;
            if (w)
                w->state.told = OW_ALERT_TOLD_BEFORE;
        }
}

static void remember(struct ow_alerts *a)
{
    struct ow_error err = {0};
    ow_buf_clear(&a->memory->told);
    for (const struct watch *w = a->first; w; w = w->next)
        if (w->state.told == OW_ALERT_TOLD_BEGIN || w->state.told == OW_ALERT_TOLD_BEFORE)
            ow_alert_memory_add(a->memory, a->config->alerts[w->alert].name, w->kind, w->name);
    bool has_failed = ow_alert_memory_save(a->memory, &err) < 0;
    if (has_failed && !a->memory_has_failed)
        ow_log(OW_LOG_WARN, "cannot keep what alerts were told; after a restart they may be told again", "error",
               err.text, NULL);
    a->memory_has_failed = has_failed;
}

/* --- telling -------------------------------------------------------------------------------------------------- */

static void judge(struct ow_alerts *a, struct watch *w, bool holds)
{
    const struct ow_config_alert *alert = &a->config->alerts[w->alert];
    int64_t now = ow_clock_monotonic_ms(), wall = ow_clock_wall_ms();
    bool was_known = w->state.told != OW_ALERT_TOLD_MAYBE;
    struct ow_error err = {0};
    enum ow_alert_due due = ow_alert_judge(alert, holds, &w->state, now, wall);
    if (due == OW_ALERT_NOTHING || a->has_failed)
        return;
    const struct ow_alert_news news = {.alert = alert,
                                       .what = due,
                                       .host = a->host,
                                       .kind = w->kind == OW_WORK_RELAY ? "relay" : "consumer",
                                       .name = w->name,
                                       .value = w->state.value,
                                       .since_ms = w->state.since_wall_ms,
                                       .now_ms = wall};
    int r = ow_alert_tell(&news, &a->is_stopping, &err);
    if (atomic_load(&a->is_stopping))
        return;
    a->has_failed = r < 0;
    if (r < 0 && w->state.failures == 0)
        ow_log(OW_LOG_WARN, "cannot tell an alert, trying again", "alert", alert->name, news.kind, w->name, "error",
               err.text, NULL);
    else if (r == 0 && (was_known || due == OW_ALERT_BEGIN))
        ow_log(OW_LOG_INFO, due == OW_ALERT_BEGIN ? "alert" : "alert is over", "alert", alert->name, news.kind, w->name,
               "when", alert->when, NULL);
    ow_alert_was_told(&w->state, due, r == 0, ow_clock_monotonic_ms());
    if (r == 0)
        remember(a);
}

/* What it does not tell then it does not have. */
static bool is_settled(const struct ow_board_line *line)
{
    return line->now.state != OW_WORK_STARTING && line->now.state != OW_WORK_TROUBLE;
}

static void look_at(struct ow_alerts *a, size_t i, const struct ow_board_line *line)
{
    const struct ow_config_alert *alert = &a->config->alerts[i];
    bool is_new;
    if (alert->of && strcmp(alert->of, line->name) != 0)
        return;
    struct watch *w = watch_of(a, i, line, &is_new);
    if (!w)
        return; /* no memory; in a second again */
    int64_t value = ow_alert_value(&alert->rule, line, is_new, &w->state, ow_clock_monotonic_ms(), ow_clock_wall_ms());
    w->is_there = true;
    if (value == INT64_MIN && !is_settled(line)) {
        if (w->state.holds || w->state.told == OW_ALERT_TOLD_BEGIN)
            judge(a, w, w->state.holds); /* not known just now: what was so is so, as far as anybody can tell */
        return;
    }
    w->state.value = value == INT64_MIN ? 0 : value;
    judge(a, w, value != INT64_MIN && ow_alert_rule_holds(&alert->rule, value));
}

static void look(struct ow_alerts *a)
{
    struct ow_board_view view;
    struct ow_error ignored;
    if (ow_board_read(a->board, &view, &ignored) < 0)
        return;
    a->has_failed = false;
    for (struct watch *w = a->first; w; w = w->next)
        w->is_there = false;
    for (size_t i = 0; i < a->config->alert_count && !atomic_load(&a->is_stopping); i++)
        for (size_t k = 0; k < view.count && !atomic_load(&a->is_stopping); k++)
            look_at(a, i, &view.lines[k]);
    for (struct watch *w = a->first; w && !atomic_load(&a->is_stopping); w = w->next)
        if (!w->is_there) /* a pipeline that is gone has no trouble any more */
            judge(a, w, false);
    a->has_looked = true;
    ow_board_view_done(&view);
}

static void *alerts_main(void *context)
{
    struct ow_alerts *a = context;
    (void)pthread_mutex_lock(&a->lock);
    while (!atomic_load(&a->is_stopping)) {
        (void)pthread_mutex_unlock(&a->lock);
        look(a);
        (void)pthread_mutex_lock(&a->lock);
        int64_t next = ow_clock_monotonic_ms() + EVERY_MS;
        struct timespec at = {.tv_sec = (time_t)(next / 1000), .tv_nsec = (long)(next % 1000) * 1000000};
        if (!atomic_load(&a->is_stopping))
            (void)pthread_cond_timedwait(&a->stopped, &a->lock, &at);
    }
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

int ow_alerts_start(const struct ow_config *config, struct ow_board *board, struct ow_alert_memory *memory,
                    struct ow_alerts **ret, struct ow_error *err)
{
#if !OW_WITH_HTTP
    (void)config, (void)board, (void)memory, (void)ret;
    return ow_error_set(err, OW_EUNSUPPORTED, "this onewrite was built without libcurl");
#endif
    struct ow_alerts *a = calloc(1, sizeof *a);
    if (!a)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    pthread_condattr_t monotonic;
    a->config = config;
    a->board = board;
    a->memory = memory;
    recall(a);
    (void)gethostname(a->host, sizeof a->host - 1);
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&a->stopped, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    int result = pthread_create(&a->thread, NULL, alerts_main, a);
    a->has_thread = result == 0;
    if (result != 0) {
        ow_alerts_stop(a);
        return ow_error_errno(err, result, "cannot start a thread for alerts");
    }
    *ret = a;
    return 0;
}

void ow_alerts_stop(struct ow_alerts *a)
{
    if (!a)
        return;
    if (a->has_thread) {
        (void)pthread_mutex_lock(&a->lock);
        atomic_store(&a->is_stopping, true);
        (void)pthread_cond_signal(&a->stopped);
        (void)pthread_mutex_unlock(&a->lock);
        (void)pthread_join(a->thread, NULL);
    }
    (void)pthread_cond_destroy(&a->stopped);
    (void)pthread_mutex_destroy(&a->lock);
    while (a->first) {
        struct watch *next = a->first->next;
        free(a->first->name);
        free(a->first);
        a->first = next;
    }
    free(a);
}
