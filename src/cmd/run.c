/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite run CONFIG: all relays and consumers of a configuration, and the same file again at SIGHUP. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/admin.h"
#include "cmd/command.h"
#include "cmd/daemon.h"
#include "cmd/places.h"
#include "config/construct.h"
#include "config/debezium_shape.h"

struct run_options {
    int64_t wait_ms;
    bool until_end;
    const char *gap_accepted; /* of this relay; NULL: of none */
};

/* A relay or a consumer of a configuration. */
struct entry {
    struct ow_config *config;
    const struct ow_config_relay *relay; /* or NULL */
    const struct ow_config_consumer *consumer;
};

/* One that runs, and a text that holds everything that makes it what it is. Its configuration is kept for it. */
struct running {
    struct ow_pipeline *pipeline;
    char *what;
    const struct ow_config *config;
};

struct runner {
    const struct run_options *options;
    const char *path;
    struct ow_daemon daemon;
    struct ow_admin admin;
    const char *gap_accepted; /* at the first start only */
    struct running *running;  /* owned */
    size_t count;
    struct ow_config **configs; /* owned: the one that holds now, and those that are in use */
    size_t config_count;
};

/* A consumer whose handler is a function of a program is that program's. */
static bool is_ours(const struct ow_config_consumer *consumer)
{
    return consumer->handler != OW_CONFIG_HANDLER_CALLBACK;
}

static size_t count_entries(const struct ow_config *config)
{
    size_t count = config->relay_count;
    for (size_t i = 0; i < config->consumer_count; i++)
        count += is_ours(&config->consumers[i]);
    return count;
}

static struct entry entry_at(struct ow_config *config, size_t i)
{
    struct entry entry = {.config = config};
    const struct ow_config_consumer *consumer = config->consumers;
    if (i < config->relay_count) {
        entry.relay = &config->relays[i];
        return entry;
    }
    assert(consumer); /* i is less than count_entries() */
    for (size_t left = i - config->relay_count; left > 0 || !is_ours(consumer); consumer++)
        left -= is_ours(consumer);
    entry.consumer = consumer;
    return entry;
}

static const char *name_of(const struct entry *entry)
{
    assert(entry->relay || entry->consumer);
    return entry->relay ? entry->relay->name : entry->consumer->name;
}

static void describe_relay(const struct ow_config_relay *relay, struct ow_buf *to)
{
    const struct ow_journal_options *j = &relay->broker->url.journal;
    const struct ow_file_options *f = &relay->broker->url.file;
    ow_buf_printf(to, "%s|%s|%d|%" PRId64 "|%u|%s|", relay->name, relay->store->url.path, (int)relay->outbox.after,
                  relay->outbox.keep_marked_ms, relay->outbox.batch_max, relay->broker->url.text);
    ow_buf_printf(to, "%d|%" PRId64 "|%u|", (int)relay->postgres.after, relay->postgres.keep_marked_ms,
                  relay->postgres.shards);
    ow_buf_printf(to, "%u|%" PRId64 "|%" PRId64 "|%d|%" PRId64 "|%u|", j->partitions, j->retention_ms,
                  j->retention_bytes, (int)f->fsync, f->rotate_bytes, f->keep);
    ow_buf_printf(to, "%s|%s|%zu|%u|%zu|", relay->topic ? relay->topic : "", relay->key ? relay->key : "",
                  relay->limits.payload_bytes_max, relay->window.count_max, relay->window.bytes_max);
    ow_buf_printf(to, "%d|%s|%s|%s|%u|", (int)relay->by, relay->table ? relay->table : "",
                  relay->slot ? relay->slot : "", relay->publication ? relay->publication : "", relay->prune);
    ow_buf_printf(to, "%s|", relay->changes ? relay->changes : "");
    ow_buf_printf(to, "%u|%s|", relay->snapshot, relay->start_after ? relay->start_after : "");
    ow_config_describe_shape(relay, to);
    ow_buf_printf(to, "%" PRId64 "|%" PRId64 "|%g|%g|%u", relay->retry.initial_ms, relay->retry.max_ms,
                  relay->retry.multiplier, relay->retry.jitter, relay->retry.attempts_max);
}

static int new_relay(const struct runner *runner, const struct ow_config_relay *relay, struct ow_pipeline **ret,
                     struct ow_error *err)
{
    struct ow_relay_pipeline_options p = {.name = relay->name,
                                          .from = relay->store->url.text,
                                          .to = relay->broker->url.text,
                                          .ends_when_idle = runner->options->until_end,
                                          .ended_fd = runner->daemon.ended_fd};
    ow_relay_options_default(&p.relay);
    ow_config_set_relay_options(relay, &p.relay);
    p.relay.ends_at_end = runner->options->until_end;
    struct ow_config_relay now = *relay;
    now.accepts_gap = runner->gap_accepted && strcmp(relay->name, runner->gap_accepted) == 0;
    int r = ow_config_new_relay_source(&now, &p.source, err);
    if (r < 0)
        return r;
    r = ow_config_new_shape(relay, &p.relay, err);
    if (r == 0)
        r = ow_config_new_broker(&relay->broker->url, &p.broker, err);
    if (r < 0) {
        p.source->ops->discard(p.source);
        ow_config_free_shape(p.relay.shape_context);
        return r;
    }
    p.free_shape = ow_config_free_shape;
    return ow_relay_pipeline_new(&p, ret, err);
}

static void describe(const struct entry *entry, struct ow_buf *to)
{
    if (entry->relay)
        describe_relay(entry->relay, to);
    else
        ow_config_describe_consumer(entry->consumer, to);
}

static int new_consumer(const struct runner *runner, const struct ow_config_consumer *consumer,
                        struct ow_pipeline **ret, struct ow_error *err)
{
    struct ow_consumer_parts parts;
    assert(consumer);
    int r = ow_config_new_consumer(consumer, NULL, &parts, err);
    return r < 0 ? r
                 : ow_consumer_pipeline_new(&parts, consumer->broker->url.text, runner->options->until_end,
                                            runner->daemon.ended_fd, ret, err);
}

/* 0: it runs; 1: a signal said to end; < 0 */
static int start(struct runner *runner, const struct entry *entry, int64_t wait_ms, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf what = {0};
    struct ow_pipeline *pipeline = NULL;
    struct running *more = realloc(runner->running, (runner->count + 1) * sizeof *more);
    if (more)
        runner->running = more;
    describe(entry, &what);
    int r = more ? ow_buf_check(&what, err) : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0)
        r = entry->relay ? new_relay(runner, entry->relay, &pipeline, err)
                         : new_consumer(runner, entry->consumer, &pipeline, err);
    if (r == 0 && runner->admin.board && (r = ow_pipeline_attach(pipeline, runner->admin.board, err)) < 0)
        ow_pipeline_free(pipeline);
    if (r == 0)
        r = ow_daemon_add(&runner->daemon, pipeline, wait_ms, err);
    if (r < 0)
        (void)ow_error_prefix(err, "%s %s", entry->relay ? "relay" : "consumer", name_of(entry));
    if (r != 0)
        return r;
    runner->running[runner->count++] = (struct running){pipeline, what.data, entry->config};
    what = (struct ow_buf){0};
    return 0;
}

static void stop(struct runner *runner, size_t i)
{
    ow_daemon_remove(&runner->daemon, runner->running[i].pipeline);
    free(runner->running[i].what);
    runner->running[i] = runner->running[--runner->count];
}

/* Whether it runs already, exactly as it is described. */
static bool is_running(const struct runner *runner, const struct entry *entry)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf what = {0};
    describe(entry, &what);
    for (size_t i = 0; i < runner->count; i++)
        if (!what.has_failed && strcmp(runner->running[i].what, what.data) == 0)
            return !ow_pipeline_has_ended(runner->running[i].pipeline);
    return false;
}

static bool is_wanted(struct ow_config *config, const struct running *running)
{
    for (size_t i = 0; i < count_entries(config); i++) {
        OW_CLEANUP(ow_buf_done) struct ow_buf what = {0};
        const struct entry entry = entry_at(config, i);
        describe(&entry, &what);
        if (!what.has_failed && strcmp(running->what, what.data) == 0)
            return !ow_pipeline_has_ended(running->pipeline);
    }
    return false;
}

static void tell_left_to_programs(const struct ow_config *config)
{
    for (size_t i = 0; i < config->consumer_count; i++)
        if (!is_ours(&config->consumers[i]))
            ow_log(OW_LOG_INFO, "left to the program that has its callback", "consumer", config->consumers[i].name,
                   NULL);
}

static int check_not_empty(const struct ow_config *config, struct ow_error *err)
{
    if (count_entries(config) > 0)
        return 0;
    return ow_error_set(err, OW_EUSAGE,
                        "consumer %s has handler: callback, which is a function of a program; run that program "
                        "(docs/consumers.md), there is nothing else to run here",
                        config->consumers[0].name);
}

static int keep_config(struct runner *runner, struct ow_config *config, struct ow_error *err)
{
    struct ow_config **more = realloc(runner->configs, (runner->config_count + 1) * sizeof *more);
    if (!more)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    runner->configs = more;
    runner->configs[runner->config_count++] = config;
    return 0;
}

/* Pipelines that run already tell the board, too, once there is one. */
static void start_admin(struct runner *runner, const struct ow_config *config)
{
    bool had_board = runner->admin.board != NULL;
    (void)ow_admin_configure(&runner->admin, config);
    if (!had_board && runner->admin.board)
        while (runner->count > 0)
            stop(runner, runner->count - 1);
}

/* But the newest, those that nothing runs by. */
static void drop_configs(struct runner *runner)
{
    size_t kept = 0;
    for (size_t i = 0; i < runner->config_count; i++) {
        bool is_used = i + 1 == runner->config_count || runner->configs[i] == runner->admin.config;
        for (size_t k = 0; k < runner->count; k++)
            is_used = is_used || runner->running[k].config == runner->configs[i];
        if (is_used)
            runner->configs[kept++] = runner->configs[i];
        else
            ow_config_free(runner->configs[i]);
    }
    runner->config_count = kept;
}

/* What changed is stopped and started again; the others are not touched. A file that is wrong changes nothing. */
static void reload(void *context)
{
    struct runner *runner = context;
    OW_CLEANUP(ow_config_cleanup) struct ow_config *config = NULL;
    struct ow_error err = {0};
    if (ow_places_load_config(runner->path, &config, &err) != 0 || keep_config(runner, config, &err) < 0) {
        ow_log(OW_LOG_ERROR, "the configuration stays as it was", "error",
               err.text[0] ? err.text : "the file is wrong, see above", NULL);
        return;
    }
    struct ow_config *now = config;
    config = NULL;
    start_admin(runner, now);
    tell_left_to_programs(now);
    for (size_t i = runner->count; i > 0; i--)
        if (!is_wanted(now, &runner->running[i - 1]))
            stop(runner, i - 1);
    for (size_t i = 0; i < count_entries(now); i++) {
        const struct entry entry = entry_at(now, i);
        if (!is_running(runner, &entry) && start(runner, &entry, -1, &err) < 0)
            ow_log(OW_LOG_ERROR, "cannot start", entry.relay ? "relay" : "consumer", name_of(&entry), "error", err.text,
                   NULL);
    }
    ow_admin_has_started(&runner->admin);
    drop_configs(runner);
    ow_log(OW_LOG_INFO, "configuration read again", "file", runner->path, NULL);
}

static void runner_done(struct runner *runner)
{
    ow_admin_stop(&runner->admin);
    ow_daemon_done(&runner->daemon);
    ow_admin_done(&runner->admin);
    for (size_t i = 0; i < runner->count; i++)
        free(runner->running[i].what);
    free(runner->running);
    for (size_t i = 0; i < runner->config_count; i++)
        ow_config_free(runner->configs[i]);
    free(runner->configs);
}

static int check_gap(struct runner *runner, const struct ow_config *config, struct ow_error *err)
{
    runner->gap_accepted = runner->options->gap_accepted;
    for (size_t i = 0; runner->gap_accepted && i < config->relay_count; i++)
        if (strcmp(config->relays[i].name, runner->gap_accepted) == 0)
            return 0;
    return runner->gap_accepted
               ? ow_error_set(err, OW_EUSAGE, "--accept-gap: there is no relay \"%s\"", runner->gap_accepted)
               : 0;
}

/* 0: all of them run; 1: a signal said to end; < 0 */
static int start_some(struct runner *runner, struct ow_config *config, size_t from, size_t to, struct ow_error *err)
{
    int r = 0;
    for (size_t i = from; i < to && r == 0; i++) {
        const struct entry entry = entry_at(config, i);
        r = start(runner, &entry, runner->options->wait_ms, err);
    }
    return r;
}

/* A consumer is at its end when it has read what is there; what a relay still has is not there yet. */
static int run_until_end(struct runner *runner, struct ow_config *config, struct ow_error *err)
{
    int r = start_some(runner, config, 0, config->relay_count, err);
    ow_admin_has_started(&runner->admin);
    if (r == 0)
        r = ow_daemon_run(&runner->daemon, reload, runner, err);
    if (runner->daemon.is_stopping || (r != 0 && runner->daemon.first_end.code == 0))
        return r;
    r = start_some(runner, config, config->relay_count, count_entries(config), err);
    return r == 0 ? ow_daemon_run(&runner->daemon, reload, runner, err) : r;
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    OW_CLEANUP(runner_done)
    struct runner runner = {.options = options, .path = arguments[0]};
    OW_CLEANUP(ow_config_cleanup) struct ow_config *config = NULL;
    (void)count;
    int r = ow_daemon_init(&runner.daemon, err);
    if (r == 0)
        r = ow_places_load_config(runner.path, &config, err);
    if (r != 0)
        return r;
    ow_log_configure(config->log_level, config->log_format);
    r = keep_config(&runner, config, err);
    if (r < 0)
        return r;
    struct ow_config *now = config;
    config = NULL;
    r = check_gap(&runner, now, err);
    if (r == 0)
        r = check_not_empty(now, err);
    if (r == 0) {
        tell_left_to_programs(now);
        start_admin(&runner, now);
    }
    if (r == 0 && runner.options->until_end && now->relay_count > 0 && count_entries(now) > now->relay_count) {
        r = run_until_end(&runner, now, err);
        return r < 0 ? r : 0;
    }
    if (r == 0)
        r = start_some(&runner, now, 0, count_entries(now), err);
    runner.gap_accepted = NULL;
    if (r != 0)
        return r < 0 ? r : 0;
    ow_admin_has_started(&runner.admin);
    return ow_daemon_run(&runner.daemon, reload, &runner, err);
}

static const struct ow_flag flags[] = {
    {"until-end", 0, NULL, OW_FLAG_BOOL, NULL,
     "end when every outbox is empty and every topic read, the relays first, instead of waiting for more",
     offsetof(struct run_options, until_end), NULL, 0, 0},
    {"wait", 'w', "DURATION", OW_FLAG_DURATION, "0", "at the start, how long to wait for a side that cannot be reached",
     offsetof(struct run_options, wait_ms), NULL, 0, 0},
    {"accept-gap", 0, "RELAY", OW_FLAG_STRING, NULL,
     "this relay goes on although the log does not reach back to its recorded position; say it once",
     offsetof(struct run_options, gap_accepted), NULL, 0, 0},
    {0},
};

static const struct ow_argument arguments[] = {
    {"CONFIG", "the configuration, a YAML file", OW_ARGUMENT_FILE, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite run /etc/onewrite/onewrite.yaml", "in the foreground, as a service manager wants it"},
    {"onewrite run --wait 1m onewrite.yaml", "at boot, when the databases may come later"},
    {0},
};

const struct ow_command ow_command_run = {
    .name = "run",
    .summary = "do all that a configuration file says",
    .arguments = arguments,
    .description =
        "Runs every relay and every consumer of the configuration, each in a thread of its own, until it is stopped. "
        "SIGTERM waits for "
        "what is "
        "in flight and ends with 0. SIGHUP reads the file again: those whose lines changed are started anew, the "
        "others "
        "are not touched, and a file that is wrong changes nothing. Speaks to systemd (Type=notify, WatchdogSec).\n\n"
        "One that ends by an error does not stop the others; the error is in the log, and the exit status tells of "
        "it.",
    .examples = examples,
    .options = flags,
    .options_size = sizeof(struct run_options),
    .run = run,
};
