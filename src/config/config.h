/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: the YAML file of `onewrite run`, read, checked and resolved. Nothing is opened or connected:
 * apart from the file itself and what ${file:…} names, reading it touches nothing. docs and tests get every
 * key from the same tables (schema.c).
 */
#ifndef OW_CONFIG_CONFIG_H
#define OW_CONFIG_CONFIG_H

#include "base/log.h"
#include "codec/debezium_options.h"
#include "config/admin.h"
#include "config/diagnostics.h"
#include "config/substitute.h"
#include "config/url.h"
#include "core/breaker.h"
#include "core/retry.h"
#include "core/window.h"
#include "handler/handlers.h"

#define OW_CONFIG_ENTRIES_MAX 1000 /* stores, brokers and relays, each */

struct ow_config_place { /* a store or a broker */
    char *name;
    struct ow_url url; /* scheme NULL: its definition is wrong (never in a configuration that was given out) */
};

/* What becomes of later messages of a key that has a dead letter. */
enum ow_relay_then { OW_RELAY_SKIP, OW_RELAY_PARK };
enum ow_relay_by { OW_RELAY_BY_AUTO, OW_RELAY_BY_POLLING, OW_RELAY_BY_LOG, OW_RELAY_BY_MESSAGE };
/* What these and enum ow_postgres_log_prune are called in a file and on the command line; ended by NULL. */
extern const char *const ow_relay_by_names[];
extern const char *const ow_prune_names[];

struct ow_config_route { /* of the rows of one table */
    char *table;
    char *topic, *key; /* templates; NULL: as the relay's */
    struct ow_debezium_options
        *debezium; /* owned; NULL: topic and key count if one of them is said, else the relay's */
};

struct ow_config_log { /* what may be said of a source by log or by message; zeroed: nothing */
    const char *table, *changes, *slot, *publication;
    uint32_t prune;     /* enum ow_postgres_log_prune */
    bool wants_rows;    /* whole rows, for `to: debezium:` and single tables */
    bool wants_logical; /* and messages of others */
    bool has_no_snapshot;
    const char *start_after;
    bool accepts_gap;
};

struct ow_config_relay {
    char *name;
    const struct ow_config_place *store, *broker; /* the configuration's */
    struct ow_outbox_polling_options outbox;      /* of the store's URL, with what `from:` says on top */
    struct ow_outbox_postgres_options postgres;   /* likewise; the scheme of the store says which counts */
    enum ow_relay_by by;                          /* not AUTO */
    char *table, *slot, *publication;             /* by log; NULL: the usual ones */
    char *changes;                                /* by log: tables that are no outbox; NULL: none */
    uint32_t prune;                               /* enum ow_postgres_log_prune */
    uint32_t snapshot;                            /* 1: never */
    char *start_after;                            /* by log; NULL: nothing is known */
    bool accepts_gap;                             /* never of the file: a person says it */
    char *topic, *key;                            /* templates */
    struct ow_debezium_options *debezium;         /* owned, checked; NULL: topic and key count */
    struct ow_config_route *routes;               /* owned; of tables that go elsewhere */
    size_t route_count;
    struct ow_message_limits limits;
    struct ow_window_limits window; /* keeps_order is left to the relay */
    struct ow_retry_policy retry;
    uint32_t then; /* enum ow_relay_then */
};

enum ow_config_handler {
    OW_CONFIG_HANDLER_NONE,
    OW_CONFIG_HANDLER_SQL,
    OW_CONFIG_HANDLER_HTTP,
    OW_CONFIG_HANDLER_EXEC,
    OW_CONFIG_HANDLER_CALLBACK, /* a function of a program: <onewrite/consumer.h> */
};

struct ow_config_consumer {
    char *name, *group; /* group NULL: as the name */
    const struct ow_config_place *broker;
    char **topics; /* owned; ended by NULL */
    size_t topic_count;
    char *topic_words;                   /* as written: "a, b" */
    uint32_t start;                      /* 0: beginning, 1: end */
    uint32_t keeps_offsets;              /* in the inbox */
    char *id;                            /* template; NULL: the message's own */
    const struct ow_config_place *inbox; /* NULL: none */
    int64_t retention_ms, retention_count;
    char *filter; /* of Redis, a URL that may hold a password; NULL: none */
    int64_t filter_expire_ms, filter_timeout_ms;
    enum ow_config_handler handler;
    char **statements; /* owned */
    size_t statement_count;
    struct ow_handler_http_options http;
    struct ow_handler_exec_options exec;
    uint32_t order; /* enum ow_window_order */
    uint32_t in_flight;
    struct ow_window_limits window;
    struct ow_retry_policy retry;
    char *no_retry_words, **no_retry; /* classes; ended by NULL */
    struct ow_breaker_policy breaker;
    const struct ow_config_place *letter_store, *letter_broker; /* NULL: none */
    char *letter_topic;                                         /* template; NULL: none */
    uint32_t letter_form;                                       /* enum ow_dead_letter_form */
    uint32_t then;                                              /* enum ow_config_then */
    uint32_t replay_rate;
};
enum ow_config_then { OW_THEN_AUTO, OW_THEN_PARK, OW_THEN_SKIP };

struct ow_config {
    enum ow_log_level log_level;
    enum ow_log_format log_format;
    struct ow_config_place *stores, *brokers;
    size_t store_count, broker_count;
    struct ow_config_relay *relays; /* names are unique, also with those of consumers */
    size_t relay_count;
    struct ow_config_consumer *consumers; /* no relay, then at least one */
    size_t consumer_count;
    struct ow_config_admin admin;
    struct ow_config_alert *alerts; /* names are unique */
    size_t alert_count;
};

/* Reads a file. Everything that is wrong goes to `diagnostics` (given empty, sorted by place); *ret is set
   only on success, when there is nothing in them. OW_ECONFIG: the file is wrong. Otherwise as reading the
   file or a lack of memory has it (OW_ENOTFOUND, OW_EDENIED, OW_EIO, OW_ENOMEM). Any thread. */
int ow_config_load(const char *path, struct ow_diagnostics *diagnostics, struct ow_config **ret) OW_MUST_CHECK;
/* The same from memory; `name` stands for the file in diagnostics. */
int ow_config_parse(struct ow_bytes text, const char *name, const struct ow_substitution_world *world,
                    struct ow_diagnostics *diagnostics, struct ow_config **ret) OW_MUST_CHECK;
void ow_config_free(struct ow_config *config);
static inline void ow_config_cleanup(struct ow_config **config)
{
    ow_config_free(*config);
}

/* Appends a configuration that holds every key, with its default and what it means in comments. It is
   itself a good configuration. */
void ow_config_print_reference(struct ow_buf *to);

#endif
