/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask how the daemon is, and whom it tells by itself: `admin:` and `alerts:` of a configuration. */
#ifndef OW_CONFIG_ADMIN_H
#define OW_CONFIG_ADMIN_H

#include "base/bytes.h"

struct ow_config;
struct ow_reader;
struct yaml_node_s;

enum {
    OW_ADMIN_TOKEN_MIN = 16, /* bytes */
    OW_ADMIN_TOKEN_MAX = 256,
    OW_ADMIN_TOKENS_MAX = 100,
    OW_ALERTS_MAX = 1000,
};

enum ow_role { OW_ROLE_NONE, OW_ROLE_READ, OW_ROLE_OPERATOR };

struct ow_config_token {
    char *token;
    uint32_t role; /* 0: read, 1: operator */
};

/* "127.0.0.1:8642", "[::1]:8642", ":8642" (any address), "unix:/run/onewrite.sock". */
struct ow_admin_address {
    struct ow_bytes path;       /* of a Unix socket; null: TCP */
    struct ow_bytes host, port; /* host empty: any address */
    bool is_loopback;           /* nobody from outside comes here: a Unix socket, too */
};
/* Everything points into `text`. OW_EINVALID. */
int ow_admin_address_parse(struct ow_bytes text, struct ow_admin_address *ret, struct ow_error *err) OW_MUST_CHECK;

struct ow_config_admin {
    char *listen; /* NULL: nobody may ask */
    struct ow_config_token *tokens;
    size_t token_count;
    uint32_t connections;
    int64_t timeout_ms;
};

/* --- alerts ---------------------------------------------------------------------------------------------- */

enum ow_alert_metric {
    OW_ALERT_RELAY_IN_FLIGHT,
    OW_ALERT_RELAY_OLDEST_AGE,
    OW_ALERT_RELAY_BACKLOG,
    OW_ALERT_RELAY_LAG,
    OW_ALERT_RELAY_RETAINED,
    OW_ALERT_RELAY_TROUBLE,
    OW_ALERT_CONSUMER_IN_FLIGHT,
    OW_ALERT_CONSUMER_OLDEST_AGE,
    OW_ALERT_CONSUMER_LAG,
    OW_ALERT_CONSUMER_LAG_AGE,
    OW_ALERT_CONSUMER_BREAKER_OPEN,
    OW_ALERT_CONSUMER_PAUSED,
    OW_ALERT_CONSUMER_TROUBLE,
    OW_ALERT_DEAD_LETTERS,
    OW_ALERT_DEAD_LETTERS_OPEN,
    OW_ALERT_ENDED,
    OW_ALERT_METRIC_COUNT,
};

/* "consumer_lag > 10000 for 5m": metric, one of > >= < <=, a number with the metric's unit, and how long. */
struct ow_alert_rule {
    enum ow_alert_metric metric;
    char comparison[3];
    int64_t threshold; /* milliseconds, bytes, or a count */
    int64_t for_ms;
};
int ow_alert_rule_parse(struct ow_bytes text, struct ow_alert_rule *ret, struct ow_error *err) OW_MUST_CHECK;
bool ow_alert_rule_holds(const struct ow_alert_rule *rule, int64_t value);

struct ow_config_alert {
    char *name;
    char *when; /* as written */
    struct ow_alert_rule rule;
    char *of;               /* a relay or consumer; NULL: each of them */
    char *webhook, *secret; /* one of webhook and routing_key is there */
    char *routing_key, *pagerduty_url;
    uint32_t severity; /* index in ow_alert_severities */
    int64_t repeat_ms; /* 0: told once */
};
extern const char *const ow_alert_severities[]; /* as PagerDuty has them; ends with NULL */

int ow_config_read_admin(struct ow_reader *reader, const struct yaml_node_s *root, const struct yaml_node_s *tokens,
                         struct ow_config *config);
int ow_config_read_alerts(struct ow_reader *reader, const struct yaml_node_s *list, struct ow_config *config);
/* Appends a text that is another one as soon as anything of both is, what is secret included. */
void ow_config_describe_admin(const struct ow_config *config, struct ow_buf *to);
void ow_config_free_admin(struct ow_config *config);

#endif
