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
#include "config/diagnostics.h"
#include "config/substitute.h"
#include "config/url.h"
#include "core/retry.h"
#include "core/window.h"

#define OW_CONFIG_ENTRIES_MAX 1000 /* stores, brokers and relays, each */

struct ow_config_place { /* a store or a broker */
    char *name;
    struct ow_url url; /* scheme NULL: its definition is wrong (never in a configuration that was given out) */
};

/* What becomes of later messages of a key that has a dead letter. */
enum ow_relay_then { OW_RELAY_SKIP, OW_RELAY_PARK };
enum ow_relay_by { OW_RELAY_BY_AUTO, OW_RELAY_BY_POLLING, OW_RELAY_BY_LOG, OW_RELAY_BY_MESSAGE };

struct ow_config_route { /* of the rows of one table */
    char *table;
    char *topic, *key; /* templates; NULL: as the relay's */
    struct ow_debezium_options
        *debezium; /* owned; NULL: topic and key count if one of them is said, else the relay's */
};

struct ow_config_log { /* what may be said of a source by log or by message; zeroed: nothing */
    const char *table, *slot, *publication;
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

struct ow_config {
    enum ow_log_level log_level;
    enum ow_log_format log_format;
    struct ow_config_place *stores, *brokers;
    size_t store_count, broker_count;
    struct ow_config_relay *relays; /* at least one; names are unique */
    size_t relay_count;
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
