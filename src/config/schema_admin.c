/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of `admin:` and of an alert. */
#include "config/schema.h"

#define ADMIN(field) OW_OPTION_AT(struct ow_config_draft, field)
#define TOKEN(field) OW_OPTION_AT(struct ow_config_token, field)
#define ALERT(field) OW_OPTION_AT(struct ow_config_alert, field)

static const char *const roles[] = {"read", "operator", NULL};
const char *const ow_alert_severities[] = {"critical", "error", "warning", "info", NULL};

const struct ow_option ow_token_options[] = {
    {.key = "token",
     .type = OW_OPTION_TEXT,
     .is_required = true,
     .sample = "0123456789abcdef-change-me",
     .help = "At least 16 characters; better a variable, or ${file:…}, than the text itself.",
     TOKEN(token)},
    {.key = "role",
     .type = OW_OPTION_CHOICE,
     .fallback = "read",
     .choices = roles,
     .help = "read: it may look. operator: it may pause and resume consumers and deal with dead letters, too.",
     TOKEN(role)},
    {0},
};

const struct ow_option ow_admin_options[] = {
    {.key = "listen",
     .type = OW_OPTION_TEXT,
     .is_required = true,
     .sample = "127.0.0.1:8642",
     .help = "ADDRESS:PORT, or unix:PATH. Without tokens only a Unix socket, whose users may do everything, or a\n"
             "loopback address, whose users may read.",
     ADMIN(admin.listen)},
    {.key = "tokens",
     .type = OW_OPTION_LIST,
     .sample = "[ … ]",
     .help = "Who may come in, as \"Authorization: Bearer TOKEN\".",
     .group = ow_token_options,
     ADMIN(tokens)},
    {.key = "connections",
     .type = OW_OPTION_INTEGER,
     .fallback = "64",
     .low = 1,
     .high = 1000,
     .help = "At a time; further ones are closed.",
     ADMIN(admin.connections)},
    {.key = "timeout",
     .type = OW_OPTION_DURATION,
     .fallback = "10s",
     .low = 1000,
     .high = 600000,
     .help = "How long a client may take for its request and for reading the answer.",
     ADMIN(admin.timeout_ms)},
    {0},
};

static const struct ow_option webhook_options[] = {
    {.key = "url",
     .type = OW_OPTION_URL,
     .is_required = true,
     .sample = "https://alerts.example.com/onewrite",
     .help = "A POST of JSON when it begins and when it ends.",
     ALERT(webhook)},
    {.key = "secret",
     .type = OW_OPTION_TEXT,
     .sample = "s3cret",
     .help = "Goes with it as \"Authorization: Bearer SECRET\".",
     ALERT(secret)},
    {0},
};

static const struct ow_option pagerduty_options[] = {
    {.key = "routing_key",
     .type = OW_OPTION_TEXT,
     .is_required = true,
     .sample = "0123456789abcdef0123456789abcdef",
     .help = "Of an integration of type Events API v2.",
     ALERT(routing_key)},
    {.key = "severity",
     .type = OW_OPTION_CHOICE,
     .fallback = "error",
     .choices = ow_alert_severities,
     .help = "critical, error, warning or info.",
     ALERT(severity)},
    {.key = "url",
     .type = OW_OPTION_URL,
     .fallback = "https://events.pagerduty.com/v2/enqueue",
     .help = "Of a service region of its own: https://events.eu.pagerduty.com/v2/enqueue.",
     ALERT(pagerduty_url)},
    {0},
};

const struct ow_option ow_alert_options[] = {
    {.key = "name",
     .type = OW_OPTION_NAME,
     .is_required = true,
     .sample = "billing-lag",
     .help = "Unique; part of the key by which the receiver knows an alert again.",
     ALERT(name)},
    {.key = "when",
     .type = OW_OPTION_TEXT,
     .is_required = true,
     .sample = "consumer_lag > 10000 for 5m",
     .help =
         "METRIC > NUMBER for DURATION. Metrics: relay_backlog relay_lag relay_retained relay_oldest_age\n"
         "relay_in_flight relay_trouble consumer_lag consumer_lag_age consumer_oldest_age consumer_in_flight\n"
         "consumer_breaker_open consumer_paused consumer_trouble dead_letters dead_letters_open ended (docs/admin.md).",
     ALERT(when)},
    {.key = "of",
     .type = OW_OPTION_NAME,
     .sample = "billing",
     .help = "One relay or consumer. Default: each of them, for itself.",
     ALERT(of)},
    {.key = "repeat",
     .type = OW_OPTION_DURATION,
     .fallback = "0",
     .help = "While it lasts it is told again so often; 0: once.",
     ALERT(repeat_ms)},
    {.key = "webhook", .type = OW_OPTION_GROUP, .help = "Whom to tell: a URL,", .group = webhook_options},
    {.key = "pagerduty",
     .type = OW_OPTION_GROUP,
     .help = "or, in place of the webhook, PagerDuty.",
     .needs = "no webhook",
     .group = pagerduty_options},
    {0},
};
