/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite relay FROM TO */
#include "cmd/admin.h"
#include "cmd/command.h"
#include "cmd/daemon.h"
#include "config/construct.h"

enum { /* as a configuration has them by default */
       ADMIN_CONNECTIONS = 64,
       ADMIN_TIMEOUT_MS = 10000,
};

struct relay_options {
    const char *topic, *key;
    int64_t wait_ms, messages_max, bytes_max, payload_max;
    bool until_end, exactly_once, accepts_gap;
    const char *outbox, *slot;
    int64_t elapsed_max_ms;
    const char *admin;
    bool parks;
    int by, prune; /* enum ow_relay_by, enum ow_postgres_log_prune */
};

static const struct ow_flag flags[] = {
    {"topic", 't', "TEMPLATE", OW_FLAG_STRING, "outbox.event.${!aggregatetype}", "the topic of a message",
     offsetof(struct relay_options, topic), NULL, 0, 0},
    {"key", 'k', "TEMPLATE", OW_FLAG_STRING, "${!aggregateid}",
     "the key of a message; the messages of a key keep their order", offsetof(struct relay_options, key), NULL, 0, 0},
    {"by", 0, "HOW", OW_FLAG_CHOICE, "auto", "how the outbox is read; auto is log for PostgreSQL, polling for SQLite",
     offsetof(struct relay_options, by), ow_relay_by_names, 0, 0},
    {"outbox", 0, "TABLE", OW_FLAG_STRING, NULL, "by log: another outbox table than onewrite.outbox, as SCHEMA.TABLE",
     offsetof(struct relay_options, outbox), NULL, 0, 0},
    {"slot", 0, "NAME", OW_FLAG_STRING, NULL, "by log or message: the slot, if not onewrite_DATABASE_log or _message",
     offsetof(struct relay_options, slot), NULL, 0, 0},
    {"prune", 0, "WHEN", OW_FLAG_CHOICE, "after_confirm", "by log: when confirmed rows leave onewrite.outbox",
     offsetof(struct relay_options, prune), ow_prune_names, 0, 0},
    {"accept-gap", 0, NULL, OW_FLAG_BOOL, NULL,
     "by log or message: go on although the log does not reach back to the recorded position; say it once",
     offsetof(struct relay_options, accepts_gap), NULL, 0, 0},
    {"until-end", 0, NULL, OW_FLAG_BOOL, NULL, "end when the outbox is empty, instead of waiting for more",
     offsetof(struct relay_options, until_end), NULL, 0, 0},
    {"exactly-once", 0, NULL, OW_FLAG_BOOL, NULL,
     "in transactions that carry the position of the source; Kafka, and a source by log",
     offsetof(struct relay_options, exactly_once), NULL, 0, 0},
    {"wait", 'w', "DURATION", OW_FLAG_DURATION, "0", "at the start, how long to wait for a side that cannot be reached",
     offsetof(struct relay_options, wait_ms), NULL, 0, 0},
    {"max-elapsed", 0, "DURATION", OW_FLAG_DURATION, "30s",
     "a message that the broker does not take for so long is set aside; 0: it is tried for ever",
     offsetof(struct relay_options, elapsed_max_ms), NULL, 0, 0},
    {"park", 0, NULL, OW_FLAG_BOOL, NULL, "set aside what follows a dead letter of its key, behind it",
     offsetof(struct relay_options, parks), NULL, 0, 0},
    {"admin", 0, "ADDRESS", OW_FLAG_STRING, NULL,
     "health, metrics and the admin API for this machine, at 127.0.0.1:PORT or unix:PATH",
     offsetof(struct relay_options, admin), NULL, 0, 0},
    {"window-messages", 0, "N", OW_FLAG_INTEGER, "10000", "at most so many messages in flight",
     offsetof(struct relay_options, messages_max), NULL, 1, 1000000},
    {"window-bytes", 0, "SIZE", OW_FLAG_SIZE, "16MiB", "at most so many bytes in flight",
     offsetof(struct relay_options, bytes_max), NULL, 1, INT64_MAX},
    {"max-payload", 0, "SIZE", OW_FLAG_SIZE, "1MiB", "a message with a larger payload is set aside",
     offsetof(struct relay_options, payload_max), NULL, 0, 0},
    {0},
};

static const struct ow_argument arguments[] = {
    {"FROM", "the store whose outbox is read", OW_ARGUMENT_URL, false},
    {"TO", "the broker to publish to", OW_ARGUMENT_URL, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite relay sqlite:shop.db journal:bus.db", "from an SQLite file into the embedded journal"},
    {"onewrite relay --by polling postgres://localhost/shop file:events.jsonl",
     "from PostgreSQL into a file of JSON lines"},
    {"onewrite relay sqlite:shop.db stdout: | jq .",
     "look at what would be published; what was printed leaves the outbox"},
    {"onewrite relay --topic '${!aggregatetype}.events' sqlite:shop.db file:events.jsonl",
     "other topics, into a file of JSON lines"},
    {0},
};

static int want_exactly_once(struct ow_url *to, struct ow_error *err)
{
    if (to->scheme->id != OW_SCHEME_KAFKA)
        return ow_error_set(err, OW_EUSAGE,
                            "--exactly-once is for kafka://; a journal keeps it by itself, and %s cannot",
                            to->scheme->form);
    to->kafka.delivery = OW_KAFKA_EXACTLY_ONCE;
    return 0;
}

/* The options as a configuration would have them, for who is asked how it is. */
struct session {
    struct ow_daemon daemon;
    struct ow_url to;
    struct ow_config_place store; /* owns its URL */
    struct ow_config_relay relay;
    struct ow_config config;
    struct ow_admin admin;
};

static void session_done(struct session *s)
{
    ow_admin_stop(&s->admin);
    ow_daemon_done(&s->daemon);
    ow_admin_done(&s->admin);
    ow_url_done(&s->store.url);
    ow_url_done(&s->to);
}

static int check_admin(const char *admin, struct ow_error *err)
{
    struct ow_admin_address address;
    struct ow_error why;
    if (ow_admin_address_parse(ow_bytes_of(admin), &address, &why) < 0)
        return ow_error_set(err, OW_EUSAGE, "--admin: %s", why.text);
    if (!address.is_loopback)
        return ow_error_set(
            err, OW_EUSAGE,
            "--admin: others than this machine could reach %s; that needs tokens, which a configuration "
            "has: onewrite run",
            admin);
    return 0;
}

static int start_admin(struct session *s, const struct relay_options *options, enum ow_relay_by by,
                       struct ow_error *err)
{
    int r = check_admin(options->admin, err);
    if (r < 0)
        return r;
    s->store.name = (char *)"store";
    s->relay = (struct ow_config_relay){.name = (char *)"relay",
                                        .store = &s->store,
                                        .outbox = s->store.url.outbox,
                                        .postgres = s->store.url.postgres,
                                        .by = by,
                                        .table = (char *)options->outbox,
                                        .slot = (char *)options->slot,
                                        .prune = (uint32_t)options->prune};
    s->config = (struct ow_config){
        .stores = &s->store,
        .store_count = 1,
        .relays = &s->relay,
        .relay_count = 1,
        .admin = {.listen = (char *)options->admin, .connections = ADMIN_CONNECTIONS, .timeout_ms = ADMIN_TIMEOUT_MS}};
    (void)ow_admin_configure(&s->admin, &s->config);
    return 0;
}

static int read_urls(struct session *s, const struct relay_options *options, char *const *urls, struct ow_error *err)
{
    int r = ow_command_url(urls[0], OW_URL_STORE, &s->store.url, err);
    if (r == 0)
        r = ow_command_url(urls[1], OW_URL_BROKER, &s->to, err);
    return r == 0 && options->exactly_once ? want_exactly_once(&s->to, err) : r;
}

static int new_pipeline(struct session *s, const struct relay_options *options, char *const *urls,
                        struct ow_pipeline **ret, struct ow_error *err)
{
    const struct ow_url *from = &s->store.url, *to = &s->to;
    struct ow_relay_pipeline_options p = {
        .name = "relay", .ends_when_idle = options->until_end, .ended_fd = s->daemon.ended_fd};
    const struct ow_config_log log = {.table = options->outbox,
                                      .slot = options->slot,
                                      .prune = (uint32_t)options->prune,
                                      .accepts_gap = options->accepts_gap};
    enum ow_relay_by by = (enum ow_relay_by)options->by;
    int r = read_urls(s, options, urls, err);
    if (r == 0 && !*options->topic) /* a variable of a shell that is not set */
        r = ow_error_set(err, OW_EUSAGE,
                         "option --topic: it is empty; write a template such as events.${!aggregatetype}");
    if (r == 0)
        r = ow_config_check_by(from, &by, &log, err);
    if (r == 0)
        r = ow_config_check_delivery(to, by != OW_RELAY_BY_POLLING, err);
    if (r == 0 && options->admin)
        r = start_admin(s, options, by, err);
    if (r < 0)
        return r;
    ow_relay_options_default(&p.relay);
    p.from = from->text;
    p.to = to->text;
    p.relay.topic = options->topic;
    p.relay.key = options->key;
    p.relay.window.count_max = (uint32_t)options->messages_max;
    p.relay.window.bytes_max = (size_t)options->bytes_max;
    p.relay.limits.payload_bytes_max = (size_t)options->payload_max;
    p.relay.ends_at_end = options->until_end;
    p.relay.retry.elapsed_max_ms = options->elapsed_max_ms;
    p.relay.parks = options->parks;
    r = ow_config_new_source(from, by, &log, &p.source, err);
    if (r < 0)
        return r;
    r = ow_config_new_broker(to, &p.broker, err);
    if (r < 0) {
        p.source->ops->discard(p.source);
        return r;
    }
    r = ow_relay_pipeline_new(&p, ret, err);
    if (r == OW_EINVALID) /* a template, as it was typed */
        err->code = r = OW_EUSAGE;
    return r;
}

static int run(const void *options, char *const *urls, size_t count, struct ow_error *err)
{
    const struct relay_options *o = options;
    OW_CLEANUP(session_done) struct session s = {.daemon = {.signal_fd = -1, .ended_fd = -1}};
    struct ow_pipeline *pipeline = NULL;
    (void)count;
    int r = ow_daemon_init(&s.daemon, err);
    if (r == 0)
        r = new_pipeline(&s, o, urls, &pipeline, err);
    if (r == 0 && s.admin.board && (r = ow_pipeline_attach(pipeline, s.admin.board, err)) < 0)
        ow_pipeline_free(pipeline);
    if (r == 0)
        r = ow_daemon_add(&s.daemon, pipeline, o->wait_ms, err);
    if (r != 0)
        return r < 0 ? r : 0;
    ow_admin_has_started(&s.admin);
    return ow_daemon_run(&s.daemon, NULL, NULL, err);
}

const struct ow_command ow_command_relay = {
    .name = "relay",
    .summary = "publish what a service leaves in its outbox",
    .arguments = arguments,
    .description =
        "Reads the outbox of the store FROM in the order of the commits and publishes each message to the broker TO. A "
        "row "
        "leaves the outbox only after the broker has accepted its message. Runs until it is stopped: SIGTERM waits for "
        "what "
        "is in flight and ends with 0; kill -9 at any moment loses nothing.\n\n"
        "A message that can never be published (its payload over the limit, a header with a line break, a topic that "
        "is "
        "missing and cannot be made) is set aside in the table onewrite_dead_letter with the reason, at once or after "
        "--max-elapsed, and the others go on; with --park those of its key wait behind it there. While the broker as a "
        "whole is away everything waits and nothing is set aside. onewrite dlq shows what was set aside, and puts it "
        "back.\n\n"
        "A second relay on the same outbox stands by and takes over when the first one ends, however it ends. Relays "
        "on a "
        "PostgreSQL outbox share the work by key, and what one of them had goes to the others when it ends.",
    .examples = examples,
    .options = flags,
    .options_size = sizeof(struct relay_options),
    .run = run,
};
