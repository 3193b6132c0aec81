/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the configuration: every key there is. Private to src/config. */
#ifndef OW_CONFIG_SCHEMA_H
#define OW_CONFIG_SCHEMA_H

#include <yaml.h>

#include "config/config.h"
#include "config/option.h"

/* What the tables fill. Maps and lists are left as nodes for config.c. */
struct ow_config_draft {
    uint32_t version;
    enum ow_log_level log_level;
    enum ow_log_format log_format;
    struct ow_config_admin admin;
    const yaml_node_t *stores, *brokers, *relays, *consumers, *tokens, *alerts;
};

struct ow_relay_draft {
    struct ow_config_relay relay;
    char *store, *broker; /* names */
    int32_t after;        /* an enum ow_outbox_after; -1: not said */
    int64_t keep_ms;      /* -1: not said */
    const yaml_node_t *debezium, *tables;
};

struct ow_consumer_draft {
    struct ow_config_consumer consumer;
    char *broker, *store, *letter_store, *letter_broker; /* names */
    const yaml_node_t *sql, *http_headers, *exec_command, *exec_env;
    uint32_t handler_word; /* 0: callback */
};

extern const struct ow_option ow_consumer_options[]; /* offsets in struct ow_consumer_draft (schema_consumer.c) */
extern const struct ow_option ow_admin_options[];    /* offsets in struct ow_config_draft (schema_admin.c) */
extern const struct ow_option ow_token_options[];    /* offsets in struct ow_config_token */
extern const struct ow_option ow_alert_options[];    /* offsets in struct ow_config_alert */
extern const struct ow_option ow_config_options[];   /* offsets in struct ow_config_draft */
extern const struct ow_option ow_relay_options[];    /* offsets in struct ow_relay_draft */

/* Where a key that the table `here` does not have is known, such as "relays[].to": the first such place, nearest to the
   path `at`. False: nowhere. */
bool ow_schema_find_elsewhere(const struct ow_option *here, struct ow_bytes key, struct ow_bytes at,
                              struct ow_buf *path);

#endif
