/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/survey.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/units.h"
#include "config/config.h"

enum {
    FIRST_EVERY_MS = 500, /* at the start, when there is most to come; doubles to OW_SURVEY_EVERY_MS */
    SHARE = 20,           /* of the time that a store is asked for */
    STACK_BYTES = 1 << 20,
};

struct asker {
    struct ow_survey *survey;
    struct ow_survey_store store;
    pthread_t thread;
    bool has_thread;
};

struct ow_survey {
    struct ow_board *board;
    struct asker *askers;
    size_t count;
    bool is_stopping; /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t stopped;
};

/* --- a store's thread ---------------------------------------------------------------------------------------- */

static bool sleep_until(struct ow_survey *survey, int64_t until_ms)
{
    const struct timespec at = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    (void)pthread_mutex_lock(&survey->lock);
    while (!survey->is_stopping && ow_clock_monotonic_ms() < until_ms)
        (void)pthread_cond_timedwait(&survey->stopped, &survey->lock, &at);
    bool goes_on = !survey->is_stopping;
    (void)pthread_mutex_unlock(&survey->lock);
    return goes_on;
}

static void *asker_main(void *context)
{
    struct asker *a = context;
    int64_t every_ms = FIRST_EVERY_MS, began_ms, ended_ms;
    bool has_failed = false;
    do {
        struct ow_error err = {0};
        began_ms = ow_clock_monotonic_ms();
        int r = ow_survey_ask(&a->store, a->survey->board, &err);
        ended_ms = ow_clock_monotonic_ms();
        /* At the start a store need not be there, nor have our tables. */
        if (r < 0 && !has_failed && every_ms >= OW_SURVEY_EVERY_MS)
            ow_log(OW_LOG_WARN, "a store cannot be asked for its backlog and dead letters", "store", a->store.name,
                   "error", err.text, NULL);
        has_failed = r < 0 && (has_failed || every_ms >= OW_SURVEY_EVERY_MS);
        every_ms = every_ms * 2 < OW_SURVEY_EVERY_MS ? every_ms * 2 : OW_SURVEY_EVERY_MS;
        int64_t share_ms = (ended_ms - began_ms) * SHARE;
        began_ms += share_ms > every_ms ? share_ms : every_ms;
    } while (sleep_until(a->survey, began_ms));
    ow_survey_hang_up(&a->store);
    return NULL;
}

/* --- what is to be asked ------------------------------------------------------------------------------------- */

static struct ow_survey_pipeline relay_of(const struct ow_config_relay *relay)
{
    struct ow_survey_pipeline p = {.is_log = relay->by != OW_RELAY_BY_POLLING,
                                   .by_message = relay->by == OW_RELAY_BY_MESSAGE};
    bool is_postgres = relay->store->url.scheme->id == OW_SCHEME_POSTGRES;
    p.is_marked = !p.is_log && (is_postgres ? relay->postgres.after : relay->outbox.after) == OW_OUTBOX_MARK;
    p.has_rows = !p.is_log || (!p.by_message && !relay->table && !relay->changes && relay->prune != OW_PRUNE_NEVER);
    if (relay->slot)
        (void)snprintf(p.slot, sizeof p.slot, "%s", relay->slot);
    return p;
}

static int add_pipeline(struct ow_survey_store *s, struct ow_survey_pipeline p, const char *name, struct ow_error *err)
{
    struct ow_survey_pipeline *more = reallocarray(s->pipelines, s->pipeline_count + 1, sizeof *more);
    if (more)
        s->pipelines = more;
    p.name = more ? strdup(name) : NULL;
    if (!p.name)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    more[s->pipeline_count++] = p;
    return 0;
}

static int fill_store(const struct ow_config *config, const struct ow_config_place *place, struct ow_survey_store *s,
                      struct ow_error *err)
{
    int r = 0;
    s->name = strdup(place->name);
    s->path = strdup(place->url.path);
    s->shown = strdup(place->url.text);
    s->is_postgres = place->url.scheme->id == OW_SCHEME_POSTGRES;
    if (!s->name || !s->path || !s->shown)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < config->relay_count && r == 0; i++)
        if (config->relays[i].store == place)
            r = add_pipeline(s, relay_of(&config->relays[i]), config->relays[i].name, err);
    for (size_t i = 0; i < config->consumer_count && r == 0; i++)
        if (config->consumers[i].letter_store == place)
            r = add_pipeline(s, (struct ow_survey_pipeline){.is_consumer = true}, config->consumers[i].name, err);
    return r;
}

static void store_done(struct ow_survey_store *s)
{
    for (size_t i = 0; i < s->pipeline_count; i++)
        free(s->pipelines[i].name);
    free(s->pipelines);
    free(s->name);
    free(s->path);
    free(s->shown);
}

static bool is_used(const struct ow_survey_store *s)
{
    return s->pipeline_count > 0;
}

void ow_survey_describe(const struct ow_config *config, struct ow_buf *to)
{
    for (size_t i = 0; i < config->relay_count; i++) {
        const struct ow_config_relay *relay = &config->relays[i];
        const struct ow_survey_pipeline p = relay_of(relay);
        ow_buf_printf(to, "%s|%s|%s|%s|%d%d%d%d|", relay->name, relay->store->name, relay->store->url.path, p.slot,
                      p.has_rows, p.is_marked, p.is_log, p.by_message);
    }
    for (size_t i = 0; i < config->consumer_count; i++) {
        const struct ow_config_consumer *consumer = &config->consumers[i];
        if (consumer->letter_store)
            ow_buf_printf(to, "%s|%s|%s|", consumer->name, consumer->letter_store->name,
                          consumer->letter_store->url.path);
    }
}

/* --- life --------------------------------------------------------------------------------------------------- */

static int start_thread(struct asker *a, struct ow_error *err)
{
    pthread_attr_t small;
    (void)pthread_attr_init(&small);
    (void)pthread_attr_setstacksize(&small, STACK_BYTES);
    int result = pthread_create(&a->thread, &small, asker_main, a);
    (void)pthread_attr_destroy(&small);
    a->has_thread = result == 0;
    return result == 0 ? 0 : ow_error_errno(err, result, "cannot start a thread for store %s", a->store.name);
}

int ow_survey_start(const struct ow_config *config, struct ow_board *board, struct ow_survey **ret,
                    struct ow_error *err)
{
    struct ow_survey *survey = calloc(1, sizeof *survey);
    struct asker *askers = calloc(config->store_count + 1, sizeof *askers);
    if (!survey || !askers) {
        free(survey);
        free(askers);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    pthread_condattr_t monotonic;
    *survey = (struct ow_survey){.board = board, .askers = askers};
    (void)pthread_mutex_init(&survey->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&survey->stopped, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    int r = 0;
    for (size_t i = 0; i < config->store_count && r == 0; i++) {
        struct asker *a = &askers[survey->count++];
        a->survey = survey;
        r = fill_store(config, &config->stores[i], &a->store, err);
        if (r == 0 && is_used(&a->store))
            r = start_thread(a, err);
    }
    if (r < 0) {
        ow_survey_stop(survey);
        return r;
    }
    *ret = survey;
    return 0;
}

void ow_survey_stop(struct ow_survey *survey)
{
    if (!survey)
        return;
    (void)pthread_mutex_lock(&survey->lock);
    survey->is_stopping = true;
    (void)pthread_cond_broadcast(&survey->stopped);
    (void)pthread_mutex_unlock(&survey->lock);
    for (size_t i = 0; i < survey->count; i++) {
        if (survey->askers[i].has_thread)
            (void)pthread_join(survey->askers[i].thread, NULL);
        store_done(&survey->askers[i].store);
    }
    (void)pthread_cond_destroy(&survey->stopped);
    (void)pthread_mutex_destroy(&survey->lock);
    free(survey->askers);
    free(survey);
}
