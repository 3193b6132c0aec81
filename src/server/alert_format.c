/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of an alert: our own JSON for a webhook, and PagerDuty's Events API v2. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/units.h"
#include "config/config.h"
#include "server/alert.h"

static void add_text(struct ow_buf *to, const char *key, const char *text)
{
    ow_buf_printf(to, "\"%s\":\"", key);
    ow_json_escape(to, ow_bytes_of(text));
    ow_buf_add_char(to, '"');
}

static void add_key(struct ow_buf *to, const char *key, const struct ow_alert_news *n)
{
    char text[512];
    (void)snprintf(text, sizeof text, "onewrite:%s:%s:%s", n->host, n->alert->name, n->name);
    if (strlen(text) > 255) /* PagerDuty's limit: what tells them apart stands behind */
        (void)snprintf(text, sizeof text, "onewrite:%.100s:%.64s:%.64s", n->host, n->alert->name, n->name);
    add_text(to, key, text);
}

static void add_summary(struct ow_buf *to, const struct ow_alert_news *n)
{
    char text[600];
    (void)snprintf(text, sizeof text, "%s: %s %s on %s: %s%s", n->alert->name, n->kind, n->name, n->host,
                   n->what == OW_ALERT_BEGIN ? "" : "over: ", n->alert->when);
    add_text(to, "summary", text);
}

static void add_details(struct ow_buf *to, const struct ow_alert_news *n)
{
    char since[OW_TIME_TEXT_SIZE];
    add_text(to, n->kind, n->name);
    ow_buf_add_char(to, ',');
    add_text(to, "when", n->alert->when);
    ow_buf_printf(to, ",\"value\":%" PRId64 ",\"since\":\"%s\"", n->value, ow_time_format(n->since_ms, since));
}

static void format_pagerduty(struct ow_buf *to, const struct ow_alert_news *n)
{
    char now[OW_TIME_TEXT_SIZE];
    ow_buf_add_char(to, '{');
    add_text(to, "routing_key", n->alert->routing_key);
    ow_buf_printf(to, ",\"event_action\":\"%s\",", n->what == OW_ALERT_BEGIN ? "trigger" : "resolve");
    add_key(to, "dedup_key", n);
    if (n->what == OW_ALERT_BEGIN) {
        ow_buf_add_text(to, ",\"client\":\"onewrite\",\"payload\":{");
        add_summary(to, n);
        ow_buf_add_char(to, ',');
        add_text(to, "source", n->host);
        ow_buf_printf(to, ",\"severity\":\"%s\",\"timestamp\":\"%s\",", ow_alert_severities[n->alert->severity],
                      ow_time_format(n->now_ms, now));
        add_text(to, "component", n->name);
        ow_buf_add_text(to, ",\"custom_details\":{");
        add_details(to, n);
        ow_buf_add_text(to, "}}");
    }
    ow_buf_add_char(to, '}');
}

void ow_alert_format(struct ow_buf *to, const struct ow_alert_news *n)
{
    char now[OW_TIME_TEXT_SIZE];
    if (n->alert->routing_key) {
        format_pagerduty(to, n);
        return;
    }
    ow_buf_add_text(to, "{\"version\":1,");
    add_text(to, "alert", n->alert->name);
    ow_buf_printf(to, ",\"status\":\"%s\",", n->what == OW_ALERT_BEGIN ? "firing" : "resolved");
    add_key(to, "key", n);
    ow_buf_add_char(to, ',');
    add_summary(to, n);
    ow_buf_add_char(to, ',');
    add_text(to, "host", n->host);
    ow_buf_add_char(to, ',');
    add_details(to, n);
    ow_buf_printf(to, ",\"time\":\"%s\"}", ow_time_format(n->now_ms, now));
}
