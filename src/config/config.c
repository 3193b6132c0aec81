/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/check.h"
#include "config/construct.h"
#include "config/consumer.h"
#include "config/debezium.h"
#include "config/read.h"
#include "config/routes.h"
#include "config/schema.h"

static int refuse_entries(struct ow_reader *reader, const yaml_node_t *node, const char *what)
{
    ow_reader_report(reader, node, "more than %d %s; use several files", OW_CONFIG_ENTRIES_MAX, what);
    return OW_ECONFIG;
}

/* --- stores and brokers ------------------------------------------------------------------------------- */

static void read_url(struct ow_reader *reader, const yaml_node_t *node, unsigned kind, struct ow_url *url)
{
    static const struct ow_option option = {.key = "url", .type = OW_OPTION_URL};
    struct ow_bytes value;
    struct ow_error err;
    if (!ow_reader_scalar(reader, node, &option, &value))
        return;
    if (ow_url_read(value, ow_yaml_text(node), kind, url, &err) < 0)
        ow_reader_report(reader, node, "%s", err.text);
}

static void refuse_key(struct ow_reader *reader, const yaml_node_t *key, const struct ow_url *url)
{
    struct ow_nearest nearest = {.word = ow_yaml_text(key)};
    ow_nearest_offer(&nearest, "url");
    for (const struct ow_option *o = url->scheme->options; o && o->key; o++)
        ow_nearest_offer(&nearest, o->key);
    if (nearest.best)
        ow_reader_report(reader, key, "unknown key; did you mean \"%s\"?", nearest.best);
    else
        ow_reader_report(reader, key, "unknown key for %s; remove it", url->scheme->form);
}

/* A map of names and values that is not ours to know. */
static void read_properties(struct ow_reader *reader, const char *key, const yaml_node_t *map,
                            struct ow_kafka_properties *to)
{
    static const struct ow_option option = {.type = OW_OPTION_TEXT};
    if (!map)
        return;
    size_t outer = ow_reader_enter(reader, ow_bytes_of(key));
    struct ow_reader_pairs pairs = ow_reader_pairs(map);
    struct ow_reader_pair pair;
    while (ow_reader_next(reader, &pairs, &pair)) {
        size_t path = ow_reader_enter(reader, pair.name);
        struct ow_bytes value;
        struct ow_error err;
        if (ow_reader_scalar(reader, pair.value, &option, &value) &&
            ow_url_add_property(to, pair.name, value, &err) < 0)
            reader->has_no_memory = true;
        ow_reader_leave(reader, path);
    }
    ow_reader_leave(reader, outer);
}

/* A map beside `url:`. False: it is said in another way. */
static bool read_url_map(struct ow_reader *reader, const struct ow_reader_pair *pair, const struct ow_option *option,
                         struct ow_url *url)
{
    if (pair->value->type != YAML_MAPPING_NODE || (option->type != OW_OPTION_GROUP && option->type != OW_OPTION_MAP))
        return false;
    if (option->type == OW_OPTION_MAP) {
        memcpy((char *)url + option->offset, &pair->value, sizeof pair->value);
        return true;
    }
    struct ow_error err;
    if (option->choices && ow_url_set(url, option, ow_bytes_of("true"), OW_BYTES("true"), &err) < 0)
        ow_reader_report(reader, pair->value, "%s", err.text);
    (void)ow_reader_group(reader, pair->value, option->group, url);
    return true;
}

/* The options beside `url:`. */
static void read_url_options(struct ow_reader *reader, const yaml_node_t *map, struct ow_url *url)
{
    struct ow_reader_pairs pairs = ow_reader_pairs(map);
    struct ow_reader_pair pair;
    while (ow_reader_next(reader, &pairs, &pair)) {
        if (ow_bytes_is(pair.name, "url"))
            continue;
        const struct ow_option *option = ow_option_find(url->scheme->options, pair.name);
        size_t path = ow_reader_enter(reader, pair.name);
        struct ow_bytes value;
        struct ow_error err;
        if (!option)
            refuse_key(reader, pair.key, url);
        else if (!read_url_map(reader, &pair, option, url) && ow_reader_scalar(reader, pair.value, option, &value) &&
                 ow_url_set(url, option, value, ow_yaml_text(pair.value), &err) < 0)
            ow_reader_report(reader, pair.value, "%s", err.text);
        ow_reader_leave(reader, path);
    }
}

static void read_place(struct ow_reader *reader, const yaml_node_t *node, unsigned kind, struct ow_url *url)
{
    struct ow_error err;
    if (node->type == YAML_MAPPING_NODE) {
        const yaml_node_t *text = ow_yaml_get(reader->document, node, "url");
        if (!text) {
            ow_reader_report(reader, node, "url is missing; write for example \"url: %s\"",
                             kind == OW_URL_STORE ? "sqlite:orders.db" : "journal:bus.db");
            return;
        }
        size_t path = ow_reader_enter(reader, OW_BYTES("url"));
        read_url(reader, text, kind, url);
        ow_reader_leave(reader, path);
        if (url->scheme)
            read_url_options(reader, node, url);
        read_properties(reader, "properties", url->kafka_properties, &url->kafka.properties);
        read_properties(reader, "topics.config", url->kafka_topic_config, &url->kafka.topic_config);
        url->kafka_properties = url->kafka_topic_config = NULL;
    } else {
        read_url(reader, node, kind, url);
    }
    if (url->scheme && ow_url_check(url, &err) < 0)
        ow_reader_report(reader, node, "%s", err.text);
}

static int read_places(struct ow_reader *reader, const yaml_node_t *map, unsigned kind, struct ow_config_place **places,
                       size_t *count)
{
    if (!map)
        return 0;
    size_t pair_count = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
    const char *what = kind == OW_URL_STORE ? "stores" : "brokers";
    size_t outer = ow_reader_enter(reader, ow_bytes_of(what));
    if (pair_count > OW_CONFIG_ENTRIES_MAX)
        return refuse_entries(reader, map, what);
    *places = calloc(pair_count + 1, sizeof **places);
    if (!*places)
        return OW_ENOMEM;
    struct ow_reader_pairs pairs = ow_reader_pairs(map);
    struct ow_reader_pair pair;
    while (ow_reader_next(reader, &pairs, &pair)) {
        struct ow_config_place *place = &(*places)[*count];
        size_t path = ow_reader_enter(reader, pair.name);
        if (!ow_name_is_valid(pair.name))
            ow_reader_report(reader, pair.key, "not a good name; names have 1 to 64 characters from A-Z a-z 0-9 _ . -");
        place->name = ow_bytes_text(pair.name);
        if (!place->name)
            return OW_ENOMEM;
        ++*count;
        read_place(reader, pair.value, kind, &place->url);
        ow_reader_leave(reader, path);
    }
    ow_reader_leave(reader, outer);
    return 0;
}

/* --- relays ------------------------------------------------------------------------------------------- */

/* A relay while it is checked. */
struct checking {
    struct ow_check at;
    struct ow_relay_draft *draft;
    struct ow_config *config;
};

/* What the relay says itself, in the place of what the store's URL says. */
static void take_after(const struct checking *c, enum ow_outbox_after *after, int64_t *keep_marked_ms)
{
    const struct ow_relay_draft *draft = c->draft;
    if (draft->after >= 0)
        *after = (enum ow_outbox_after)draft->after;
    if (draft->keep_ms >= 0)
        *keep_marked_ms = draft->keep_ms;
    if (draft->keep_ms >= 0 && *after != OW_OUTBOX_MARK)
        ow_check_report(&c->at, "from", "keep", "has no effect without after: mark; say both or neither");
}

/* SQLite's only outbox, and PostgreSQL's own, have their names: no other table can be polled. */
static bool is_usual_table(const char *table)
{
    return strcmp(table, "onewrite_outbox") == 0 || strcmp(table, "onewrite.outbox") == 0;
}

static void check_by(const struct checking *c)
{
    struct ow_config_relay *relay = &c->draft->relay;
    struct ow_error err;
    const struct ow_config_log log = {.slot = relay->slot};
    if (ow_config_check_by(&relay->store->url, &relay->by, &log, &err) < 0)
        ow_check_report(&c->at, "from", relay->slot && relay->by == OW_RELAY_BY_POLLING ? "slot" : "by", "%s",
                        err.text);
    bool is_polled = relay->by == OW_RELAY_BY_POLLING || relay->store->url.scheme->id == OW_SCHEME_SQLITE;
    if (relay->table && is_polled && !is_usual_table(relay->table))
        ow_check_report(&c->at, "from", "outbox",
                        "this version of onewrite polls its own outbox only; leave out this key, or rename the table");
    else if (relay->table && relay->by == OW_RELAY_BY_MESSAGE)
        ow_check_report(&c->at, "from", "outbox",
                        "by message there is no outbox table; leave out this key, or read by log");
}

static void check_outbox(const struct checking *c)
{
    struct ow_config_relay *relay = &c->draft->relay;
    const struct ow_config_place *store = relay->store;
    if (!store || !store->url.scheme)
        return;
    check_by(c);
    if (store->url.scheme->id == OW_SCHEME_POSTGRES) {
        relay->postgres = store->url.postgres;
        take_after(c, &relay->postgres.after, &relay->postgres.keep_marked_ms);
    } else {
        relay->outbox = store->url.outbox;
        take_after(c, &relay->outbox.after, &relay->outbox.keep_marked_ms);
    }
}

/* Two relays that took rows from one table would each see gaps, and the order of a key would be lost. */
static void check_against_others(const struct checking *c)
{
    const struct ow_config_relay *relay = &c->draft->relay;
    for (size_t i = 0; i < c->config->relay_count; i++) {
        const struct ow_config_relay *other = &c->config->relays[i];
        if (relay->name && other->name && strcmp(relay->name, other->name) == 0)
            ow_check_report(&c->at, NULL, "name", "relays[%zu] is called \"%.*s\" already; names must be unique", i,
                            OW_PRINT(ow_check_written(&c->at, NULL, "name")));
        if (!relay->store || !other->store)
            continue;
        const char *path = relay->store->url.path, *other_path = other->store->url.path;
        if (relay->store == other->store || (path && other_path && strcmp(path, other_path) == 0)) {
            ow_check_report(
                &c->at, "from", "store",
                "relays[%zu] reads this outbox already, and two relays would fight for the same rows; keep one", i);
            return;
        }
    }
}

static void check_names(const struct checking *c)
{
    const struct ow_config_relay *relay = &c->draft->relay;
    struct ow_error err;
    if (relay->slot && ow_postgres_log_check_slot(relay->slot, &err) < 0)
        ow_check_report(&c->at, "from", "slot", "%s", err.text);
    if (relay->table && ow_postgres_log_check_tables(relay->table, &err) < 0)
        ow_check_report(&c->at, "from", "outbox", "%s", err.text);
    if (relay->changes && ow_postgres_log_check_tables(relay->changes, &err) < 0)
        ow_check_report(&c->at, "from", "changes", "%s", err.text);
}

static void check_relay(const struct checking *c)
{
    struct ow_relay_draft *draft = c->draft;
    struct ow_config *config = c->config;
    draft->relay.store = ow_check_resolve(&c->at, "from", "store", draft->store, config->stores, config->store_count);
    draft->relay.broker = ow_check_resolve(&c->at, "to", "broker", draft->broker, config->brokers,
                                           config->broker_count);
    check_outbox(c);
    struct ow_error err;
    if (draft->relay.broker && draft->relay.broker->url.scheme &&
        ow_config_check_delivery(&draft->relay.broker->url, draft->relay.by != OW_RELAY_BY_POLLING, &err) < 0)
        ow_check_report(&c->at, "to", "broker", "%s", err.text);
    if (draft->relay.debezium && draft->relay.store && draft->relay.by != OW_RELAY_BY_LOG)
        ow_check_report(&c->at, "to", "debezium",
                        "the router reads rows of a table out of PostgreSQL's log; read by log, or leave out debezium");
    static const char *const placed[] = {"topic", "key"};
    for (size_t i = 0; draft->relay.debezium && i < 2; i++)
        if (ow_check_written(&c->at, "to", placed[i]).size > 0)
            ow_check_report(&c->at, "to", placed[i], "debezium is in place of topic and key; say either");
    if (draft->relay.routes && draft->relay.store && draft->relay.by != OW_RELAY_BY_LOG)
        ow_check_report(&c->at, "to", "tables",
                        "only a relay by log reads several tables; read by log, or leave out tables");
    if (draft->relay.changes && draft->relay.store && (draft->relay.by != OW_RELAY_BY_LOG || !draft->relay.debezium))
        ow_check_report(&c->at, "from", "changes",
                        "changes are read by log and written by `to: debezium:`; say both, or leave out this key");
    if (draft->relay.start_after && draft->relay.store && draft->relay.by == OW_RELAY_BY_POLLING)
        ow_check_report(&c->at, "from", "start_after", "is for a source that is read by log");
    else if (draft->relay.start_after && ow_postgres_log_check_start(draft->relay.start_after, &err) < 0)
        ow_check_report(&c->at, "from", "start_after", "%s", err.text);
    if (draft->relay.retry.max_ms < draft->relay.retry.initial_ms)
        ow_check_report(&c->at, "retry", "max", "is less than initial; make it at least as long");
    check_names(c);
    check_against_others(c);
}

static int read_destinations(struct ow_reader *reader, struct ow_relay_draft *draft)
{
    size_t path = ow_reader_enter(reader, OW_BYTES("to"));
    int r = ow_config_read_debezium(reader, draft->debezium, NULL, &draft->relay.debezium);
    ow_reader_leave(reader, path);
    return r < 0 ? r : ow_config_read_routes(reader, draft->tables, &draft->relay);
}

static int read_relay(struct ow_reader *reader, const yaml_node_t *node, struct ow_config *config)
{
    struct ow_relay_draft draft = {
        .relay = {.limits = ow_message_limits_default, .window = ow_window_limits_default}, .after = -1, .keep_ms = -1};
    struct ow_error err;
    int r = ow_option_set_defaults(ow_relay_options, &draft, &err);
    if (r == 0 && ow_reader_group(reader, node, ow_relay_options, &draft)) {
        r = read_destinations(reader, &draft);
        check_relay(&(struct checking){{reader, node}, &draft, config});
        config->relays[config->relay_count++] = draft.relay;
        draft.relay.name = draft.relay.topic = draft.relay.key = NULL;
        draft.relay.changes = NULL;
        draft.relay.table = draft.relay.slot = draft.relay.publication = draft.relay.start_after = NULL;
    }
    ow_option_done(ow_relay_options, &draft);
    return r;
}

static int read_relays(struct ow_reader *reader, const yaml_node_t *list, struct ow_config *config)
{
    if (!list)
        return 0;
    const yaml_node_item_t *items = list->data.sequence.items.start;
    size_t count = (size_t)(list->data.sequence.items.top - items);
    size_t outer = ow_reader_enter(reader, OW_BYTES("relays"));
    if (count > OW_CONFIG_ENTRIES_MAX)
        return refuse_entries(reader, list, "relays");
    if (count == 0)
        ow_reader_report(reader, list, "the list is empty; begin each relay with \"- name: NAME\"");
    config->relays = calloc(count + 1, sizeof *config->relays);
    int r = config->relays ? 0 : OW_ENOMEM;
    for (size_t i = 0; r == 0 && i < count && !ow_diagnostics_is_full(reader->diagnostics); i++) {
        size_t path = ow_reader_enter_index(reader, i);
        r = read_relay(reader, yaml_document_get_node(reader->document, items[i]), config);
        ow_reader_leave(reader, path);
    }
    ow_reader_leave(reader, outer);
    return r;
}

/* --- the whole ---------------------------------------------------------------------------------------- */

static int read_config(struct ow_reader *reader, struct ow_config *config)
{
    struct ow_config_draft draft = {0};
    struct ow_error err;
    int r = ow_option_set_defaults(ow_config_options, &draft, &err);
    if (r < 0)
        return r;
    const yaml_node_t *root = yaml_document_get_root_node(reader->document);
    (void)ow_reader_group(reader, root, ow_config_options, &draft);
    config->log_level = draft.log_level;
    config->log_format = draft.log_format;
    r = read_places(reader, draft.stores, OW_URL_STORE, &config->stores, &config->store_count);
    if (r == 0)
        r = read_places(reader, draft.brokers, OW_URL_BROKER, &config->brokers, &config->broker_count);
    if (r == 0)
        r = read_relays(reader, draft.relays, config);
    if (r == 0)
        r = ow_config_read_consumers(reader, draft.consumers, config);
    config->admin = draft.admin;
    if (r == 0)
        r = ow_config_read_admin(reader, root, draft.tokens, config);
    if (r == 0)
        r = ow_config_read_alerts(reader, draft.alerts, config);
    if (r == 0 && root->type == YAML_MAPPING_NODE && !ow_yaml_get(reader->document, root, "relays") &&
        !ow_yaml_get(reader->document, root, "consumers"))
        ow_check_report(&(struct ow_check){reader, root}, NULL, "relays",
                        "missing, and so are consumers; write for example \"relays: [ … ]\"");
    return reader->has_no_memory ? OW_ENOMEM : r;
}

int ow_config_parse(struct ow_bytes text, const char *name, const struct ow_substitution_world *world,
                    struct ow_diagnostics *diagnostics, struct ow_config **ret)
{
    OW_CLEANUP(ow_yaml_done) struct ow_yaml yaml = {0};
    OW_CLEANUP(ow_config_cleanup) struct ow_config *config = NULL;
    int r = ow_yaml_load(&yaml, text, name, diagnostics);
    if (r < 0)
        return r;
    OW_CLEANUP(ow_reader_done)
    struct ow_reader reader = {.document = &yaml.document, .world = world, .diagnostics = diagnostics, .name = name};
    config = calloc(1, sizeof *config);
    r = config ? read_config(&reader, config) : OW_ENOMEM;
    ow_diagnostics_sort(diagnostics);
    if (r == OW_ENOMEM)
        ow_diagnostics_add(diagnostics, name, 0, 0, OW_NULL_BYTES, "out of memory");
    if (r < 0 || diagnostics->count || diagnostics->left_out)
        return r < 0 ? r : OW_ECONFIG;
    *ret = config;
    config = NULL;
    return 0;
}

int ow_config_load(const char *path, struct ow_diagnostics *diagnostics, struct ow_config **ret)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    struct ow_error err;
    int r = ow_config_read_file(path, OW_YAML_SIZE_MAX, &text, &err);
    if (r < 0) {
        ow_diagnostics_add(diagnostics, path, 0, 0, OW_NULL_BYTES, "%s", err.text);
        return r == OW_ETOOBIG ? OW_ECONFIG : r;
    }
    return ow_config_parse(ow_buf_bytes(&text), path, &ow_substitution_world_real, diagnostics, ret);
}

void ow_config_free(struct ow_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->store_count; i++) {
        free(config->stores[i].name);
        ow_url_done(&config->stores[i].url);
    }
    for (size_t i = 0; i < config->broker_count; i++) {
        free(config->brokers[i].name);
        ow_url_done(&config->brokers[i].url);
    }
    for (size_t i = 0; i < config->relay_count; i++) {
        free(config->relays[i].name);
        free(config->relays[i].topic);
        free(config->relays[i].key);
        free(config->relays[i].table);
        free(config->relays[i].changes);
        free(config->relays[i].slot);
        free(config->relays[i].publication);
        free(config->relays[i].start_after);
        ow_config_free_routes(&config->relays[i]);
        ow_config_free_debezium(config->relays[i].debezium);
    }
    ow_config_free_consumers(config);
    ow_config_free_admin(config);
    free(config->stores);
    free(config->brokers);
    free(config->relays);
    free(config);
}
