/* SPDX-License-Identifier: Apache-2.0 */
/* libonewrite-consumer: one consumer of a configuration, run by the thread of an application. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/units.h"
#include "library/member.h"

enum {
    DRAIN_MS_MAX = 5000,
    START_AGAIN_MS = 200,
};

/* --- the configuration ---------------------------------------------------------------------------------------- */

/* What a program prints is one line: the first thing that is wrong. */
static int first_of(const struct ow_diagnostics *diagnostics, const char *path, int code, struct ow_error *err)
{
    const struct ow_diagnostic *first = &diagnostics->items[0];
    size_t others = diagnostics->count + diagnostics->left_out - 1;
    char more[64] = "";
    if (diagnostics->count == 0)
        return ow_error_set(err, code, "%s: %s", path, ow_error_name(code));
    if (others > 0)
        (void)snprintf(more, sizeof more, " (and %zu more; see onewrite validate)", others);
    if (first->line == 0)
        return ow_error_set(err, code, "%s: %s%s", first->file, first->text, more);
    return ow_error_set(err, code, "%s:%zu:%zu: %s%s%s%s", first->file, first->line, first->column, first->path,
                        *first->path ? ": " : "", first->text, more);
}

static int read_config(const char *path, const char *text, struct ow_config **ret, struct ow_error *err)
{
    struct ow_diagnostics diagnostics = {0};
    int r = path ? ow_config_load(path, &diagnostics, ret)
                 : ow_config_parse(ow_bytes_of(text), "configuration", &ow_substitution_world_real, &diagnostics, ret);
    if (r < 0)
        r = first_of(&diagnostics, path ? path : "configuration", r, err);
    ow_diagnostics_done(&diagnostics);
    return r;
}

static int find_by_name(const struct ow_config *config, const char *name, const struct ow_config_consumer **ret,
                        struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf known = {0};
    for (size_t i = 0; i < config->consumer_count; i++) {
        const struct ow_config_consumer *c = &config->consumers[i];
        ow_buf_printf(&known, "%s%s", i ? ", " : "", c->name);
        if (strcmp(c->name, name) != 0)
            continue;
        *ret = c;
        return c->handler == OW_CONFIG_HANDLER_CALLBACK
                   ? 0
                   : ow_error_set(err, OW_EUSAGE, "consumer %s has a handler of its own; write handler: callback",
                                  name);
    }
    return ow_error_set(err, OW_ENOTFOUND, "there is no consumer \"%s\"; there is: %s", name,
                        known.size && !known.has_failed ? ow_buf_bytes(&known).data : "none");
}

static int find_consumer(const struct ow_config *config, const char *name, const struct ow_config_consumer **ret,
                         struct ow_error *err)
{
    size_t found = 0;
    if (name)
        return find_by_name(config, name, ret, err);
    for (size_t i = 0; i < config->consumer_count; i++)
        if (config->consumers[i].handler == OW_CONFIG_HANDLER_CALLBACK) {
            *ret = &config->consumers[i];
            found++;
        }
    if (found == 1)
        return 0;
    return ow_error_set(err, OW_ENOTFOUND,
                        found ? "%zu consumers have handler: callback; say which one by its name"
                              : "%zu consumers have handler: callback; write it at the one that is meant",
                        found);
}

/* --- what happens ------------------------------------------------------------------------------------------------ */

static void tell(struct ow_member *member, enum ow_consumer_news news, const char *text)
{
    if (member->program.told)
        member->program.told(member->program.arg, news, text);
}

static void on_event(void *context, enum ow_consumer_event event, const char *text)
{
    switch (event) {
    case OW_CONSUMER_WORKING:
        tell(context, OW_NEWS_WORKING, text);
        break;
    case OW_CONSUMER_TROUBLE:
        tell(context, OW_NEWS_TROUBLE, text);
        break;
    case OW_CONSUMER_BACK:
        tell(context, OW_NEWS_BACK, text);
        break;
    case OW_CONSUMER_ASIDE:
        tell(context, OW_NEWS_ASIDE, text);
        break;
    case OW_CONSUMER_ASSIGNED:
        tell(context, OW_NEWS_ASSIGNED, text);
        break;
    case OW_CONSUMER_BREAKER: /* of targets that are called; there are none here */
        break;
    }
}

static void on_filter(void *context, bool is_trouble, const char *text)
{
    tell(context, is_trouble ? OW_NEWS_TROUBLE : OW_NEWS_BACK, text);
}

static void count(struct ow_member *member)
{
    const struct ow_consumer_counters *now = &member->consumer.counters;
    const struct ow_consumer_counts *before = &member->before;
    (void)pthread_mutex_lock(&member->mutex);
    member->counts = (struct ow_consumer_counts){.handled = before->handled + now->handled,
                                                 .repeated = before->repeated + now->repeated,
                                                 .retried = before->retried + now->retried,
                                                 .set_aside = before->set_aside + now->set_aside,
                                                 .parked = before->parked + now->parked,
                                                 .replayed = before->replayed + now->replayed,
                                                 .transactions = before->transactions + now->transactions};
    (void)pthread_mutex_unlock(&member->mutex);
}

void ow_consumer_count(struct ow_consumer *consumer, struct ow_consumer_counts *ret)
{
    struct ow_member *member = (struct ow_member *)consumer;
    (void)pthread_mutex_lock(&member->mutex);
    *ret = member->counts;
    (void)pthread_mutex_unlock(&member->mutex);
}

/* --- running -------------------------------------------------------------------------------------------------- */

/* 0: all sides are open; 1: told to stop; < 0 */
static int start(struct ow_member *member, struct ow_error *err)
{
    int64_t wait_ms = member->program.wait_ms, since_ms = ow_clock_monotonic_ms();
    bool has_told = false;
    while (!atomic_load(&member->is_stopping)) {
        int r = ow_consumer_start(&member->consumer, err);
        if (r >= 0)
            return 0;
        if (r == OW_ENOTFOUND || ow_error_class(r) == OW_CLASS_RETRYABLE) /* a file may come yet, too */
            err->code = r = OW_EUNREACHABLE;
        int64_t now = ow_clock_monotonic_ms();
        if (r != OW_EUNREACHABLE || (wait_ms >= 0 && now - since_ms >= wait_ms))
            return r;
        if (!has_told)
            tell(member, OW_NEWS_TROUBLE, err->text);
        has_told = true;
        struct ow_wait wait;
        ow_wait_init(&wait);
        ow_wait_add(&wait, member->stop_fd, POLLIN);
        ow_wait_until(&wait, now + START_AGAIN_MS);
        ow_wait_sleep(&wait);
    }
    return 1;
}

static int work(struct ow_member *member, struct ow_error *err)
{
    struct ow_wait wait;
    int64_t until_ms = OW_WAIT_FOR_EVER;
    for (;;) {
        if (until_ms == OW_WAIT_FOR_EVER && atomic_load(&member->is_stopping)) {
            until_ms = ow_clock_monotonic_ms() + DRAIN_MS_MAX;
            ow_consumer_drain(&member->consumer);
        }
        int r = ow_consumer_step(&member->consumer, &wait, err);
        count(member);
        if (r < 0)
            return r;
        bool is_ending = until_ms != OW_WAIT_FOR_EVER;
        if ((is_ending || member->program.until_end) && ow_consumer_is_idle(&member->consumer))
            return 0;
        if (is_ending && ow_clock_monotonic_ms() >= until_ms)
            return 0; /* what is left comes again at the next start */
        if (!is_ending)
            ow_wait_add(&wait, member->stop_fd, POLLIN);
        ow_wait_until(&wait, until_ms);
        ow_wait_sleep(&wait);
    }
}

int ow_consumer_run(struct ow_consumer *consumer, struct ow_error *err)
{
    struct ow_member *member = (struct ow_member *)consumer;
    const struct ow_consumer_parts *parts = &member->parts;
    struct ow_error end = {0};
    uint64_t ignored;
    if (atomic_exchange(&member->is_running, true))
        return ow_error_set(err, OW_EUSAGE, "consumer %s runs already", member->name);
    int r = ow_consumer_init(consumer, &parts->options, parts->subscribe, parts->subscribe_context, parts->inbox,
                             parts->handler, parts->letters, &end);
    if (r == 0)
        r = start(member, &end);
    if (r == 0)
        r = work(member, &end);
    count(member);
    member->before = member->counts;
    ow_consumer_done(consumer);
    if (read(member->stop_fd, &ignored, sizeof ignored) < 0) {
        /* It was not told to stop. */
    }
    atomic_store(&member->is_stopping, false);
    atomic_store(&member->is_running, false);
    return r < 0 ? ow_error_set(err, r, "consumer %s: %s", member->name, end.text) : 0;
}

void ow_consumer_stop(struct ow_consumer *consumer)
{
    struct ow_member *member = (struct ow_member *)consumer;
    uint64_t one = 1;
    int before = errno; /* of whatever a signal has interrupted */
    atomic_store(&member->is_stopping, true);
    if (write(member->stop_fd, &one, sizeof one) < 0) {
        /* The counter is full: it is awake already. */
    }
    errno = before;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void ow_consumer_close(struct ow_consumer *consumer)
{
    struct ow_member *member = (struct ow_member *)consumer;
    if (!member)
        return;
    ow_config_free_consumer_parts(&member->parts);
    ow_config_free(member->config);
    if (member->stop_fd >= 0)
        (void)close(member->stop_fd);
    (void)pthread_mutex_destroy(&member->mutex);
    ow_buf_done(&member->scratch);
    free(member->headers);
    free(member);
}

static int make_parts(struct ow_member *member, const char *name, struct ow_error *err)
{
    const struct ow_handler_callback_options callback = {.handle = ow_member_handle,
                                                         .connected = ow_member_connected,
                                                         .disconnecting = ow_member_disconnecting,
                                                         .context = member};
    const struct ow_config_consumer *found = NULL;
    int r = find_consumer(member->config, name, &found, err);
    if (r == 0)
        r = ow_config_new_consumer(found, &callback, &member->parts, err);
    if (r < 0)
        return r;
    member->name = found->name;
    member->parts.options.listener = on_event;
    member->parts.options.listener_context = member;
    if (member->parts.filter) {
        member->parts.filter->tell = on_filter;
        member->parts.filter->tell_context = member;
    }
    member->parts.options.ends_at_end = member->program.until_end;
    return 0;
}

static int open_member(const char *path, const char *text, const char *name, const struct ow_consumer_program *program,
                       struct ow_consumer **ret, struct ow_error *err)
{
    if (!program || !program->handle || !(path || text))
        return ow_error_set(err, OW_EUSAGE, "a configuration and a program with a handle function are needed");
    struct ow_member *member = calloc(1, sizeof *member);
    if (!member)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    (void)pthread_mutex_init(&member->mutex, NULL);
    member->program = *program;
    member->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = member->stop_fd >= 0 ? 0 : ow_error_errno(err, errno, "cannot make an eventfd");
    if (r == 0)
        r = read_config(path, text, &member->config, err);
    if (r == 0)
        r = make_parts(member, name, err);
    if (r < 0) {
        ow_consumer_close(&member->consumer);
        return r;
    }
    *ret = &member->consumer;
    return 0;
}

int ow_consumer_open(const char *path, const char *name, const struct ow_consumer_program *program,
                     struct ow_consumer **ret, struct ow_error *err)
{
    return open_member(path, NULL, name, program, ret, err);
}

int ow_consumer_open_text(const char *yaml, const char *name, const struct ow_consumer_program *program,
                          struct ow_consumer **ret, struct ow_error *err)
{
    return open_member(NULL, yaml, name, program, ret, err);
}
