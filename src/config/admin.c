/* SPDX-License-Identifier: Apache-2.0 */
#include "config/admin.h"

#include <stdlib.h>

#include "base/units.h"
#include "config/check.h"
#include "config/schema.h"

/* --- where to listen ------------------------------------------------------------------------------------- */

static bool is_loopback(struct ow_bytes host)
{
    return ow_bytes_is(host, "localhost") || ow_bytes_is(host, "::1") ||
           (host.size > 4 && host.size < 16 && memcmp(host.data, "127.", 4) == 0 &&
            strspn(host.data, "0123456789.") >= host.size);
}

int ow_admin_address_parse(struct ow_bytes text, struct ow_admin_address *ret, struct ow_error *err)
{
    struct ow_admin_address address = {0};
    int64_t port;
    if (text.size > 5 && memcmp(text.data, "unix:", 5) == 0) {
        address.path = (struct ow_bytes){text.data + 5, text.size - 5};
        if (address.path.size > 107)
            return ow_error_set(err, OW_EINVALID, "the path of a Unix socket has at most 107 bytes");
        address.is_loopback = true;
        *ret = address;
        return 0;
    }
    const char *colon = text.size ? memrchr(text.data, ':', text.size) : NULL;
    if (colon) {
        address.host = (struct ow_bytes){text.data, (size_t)(colon - text.data)};
        address.port = (struct ow_bytes){colon + 1, text.size - address.host.size - 1};
    }
    if (!colon || ow_integer_parse(address.port, 0, 65535, &port, err) < 0)
        return ow_error_set(err, OW_EINVALID, "expected ADDRESS:PORT or unix:PATH, found \"%.*s\"", OW_PRINT(text));
    struct ow_bytes *host = &address.host;
    if (host->size > 2 && host->data[0] == '[' && host->data[host->size - 1] == ']')
        *host = (struct ow_bytes){host->data + 1, host->size - 2};
    else if (host->size && memchr(host->data, ':', host->size))
        return ow_error_set(err, OW_EINVALID, "an IPv6 address stands in brackets: [::1]:8642, found \"%.*s\"",
                            OW_PRINT(text));
    if (host->size > 253)
        return ow_error_set(err, OW_EINVALID, "the name of a host has at most 253 bytes");
    address.is_loopback = is_loopback(*host);
    *ret = address;
    return 0;
}

/* --- admin: -------------------------------------------------------------------------------------------------- */

static void check_token(struct ow_reader *reader, const yaml_node_t *node, const struct ow_config_token *token,
                        const struct ow_config_admin *admin)
{
    const struct ow_check at = {reader, node};
    size_t size = token->token ? strlen(token->token) : 0;
    if (token->token && (size < OW_ADMIN_TOKEN_MIN || size > OW_ADMIN_TOKEN_MAX))
        ow_check_report(&at, NULL, "token", "has %zu bytes; make it %d to %d, for example by: openssl rand -hex 24",
                        size, OW_ADMIN_TOKEN_MIN, OW_ADMIN_TOKEN_MAX);
    for (size_t i = 0; token->token && i < admin->token_count; i++)
        if (admin->tokens[i].token && strcmp(admin->tokens[i].token, token->token) == 0)
            ow_check_report(&at, NULL, "token", "is that of tokens[%zu] already; make each its own", i);
}

static int read_tokens(struct ow_reader *reader, const yaml_node_t *list, struct ow_config_admin *admin)
{
    if (!list)
        return 0;
    const yaml_node_item_t *items = list->data.sequence.items.start;
    size_t count = (size_t)(list->data.sequence.items.top - items);
    size_t outer = ow_reader_enter(reader, OW_BYTES("tokens"));
    int r = 0;
    if (count > OW_ADMIN_TOKENS_MAX) {
        ow_reader_report(reader, list, "more than %d tokens", OW_ADMIN_TOKENS_MAX);
        count = 0;
    }
    admin->tokens = calloc(count + 1, sizeof *admin->tokens);
    if (!admin->tokens)
        return OW_ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct ow_config_token token = {0};
        struct ow_error err;
        const yaml_node_t *node = yaml_document_get_node(reader->document, items[i]);
        size_t path = ow_reader_enter_index(reader, i);
        r = ow_option_set_defaults(ow_token_options, &token, &err);
        if (r == 0 && ow_reader_group(reader, node, ow_token_options, &token))
            check_token(reader, node, &token, admin);
        admin->tokens[admin->token_count++] = token;
        ow_reader_leave(reader, path);
    }
    ow_reader_leave(reader, outer);
    return r;
}

int ow_config_read_admin(struct ow_reader *reader, const yaml_node_t *root, const yaml_node_t *tokens,
                         struct ow_config *config)
{
    struct ow_config_admin *admin = &config->admin;
    const struct ow_check at = {reader, root};
    struct ow_admin_address address;
    struct ow_error err;
    size_t path = ow_reader_enter(reader, OW_BYTES("admin"));
    int r = read_tokens(reader, tokens, admin);
    ow_reader_leave(reader, path);
    if (r < 0)
        return r;
    if (admin->listen && ow_admin_address_parse(ow_bytes_of(admin->listen), &address, &err) < 0)
        ow_check_report(&at, "admin", "listen", "%s", err.text);
    else if (admin->listen && !address.is_loopback && admin->token_count == 0)
        ow_check_report(&at, "admin", "listen",
                        "others than this machine could reach it, and there are no tokens; write tokens:, or listen on "
                        "127.0.0.1:8642 or unix:PATH");
    return 0;
}

/* --- alerts: ------------------------------------------------------------------------------------------------- */

static bool is_there(const struct ow_config *config, const char *name)
{
    for (size_t i = 0; i < config->relay_count; i++)
        if (config->relays[i].name && strcmp(config->relays[i].name, name) == 0)
            return true;
    for (size_t i = 0; i < config->consumer_count; i++)
        if (config->consumers[i].name && strcmp(config->consumers[i].name, name) == 0)
            return true;
    return false;
}

static void check_alert(struct ow_reader *reader, const yaml_node_t *node, struct ow_config_alert *alert,
                        const struct ow_config *config)
{
    const struct ow_check at = {reader, node};
    struct ow_error err;
    if (alert->when && ow_alert_rule_parse(ow_bytes_of(alert->when), &alert->rule, &err) < 0)
        ow_check_report(&at, NULL, "when", "%s", err.text);
    for (size_t i = 0; alert->name && i < config->alert_count; i++)
        if (config->alerts[i].name && strcmp(config->alerts[i].name, alert->name) == 0)
            ow_check_report(&at, NULL, "name", "alerts[%zu] is called so already; names must be unique", i);
    if (alert->of && !is_there(config, alert->of))
        ow_check_report(&at, NULL, "of", "there is no relay and no consumer of this name");
    if (!alert->webhook == !alert->routing_key)
        ow_check_report(&at, NULL, alert->webhook ? "pagerduty" : "webhook",
                        alert->webhook ? "there is a webhook already; make two alerts of it"
                                       : "missing; write for example \"webhook: { url: https://… }\" or pagerduty");
    const char *url = alert->webhook ? alert->webhook : alert->pagerduty_url;
    if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        ow_check_report(&at, alert->webhook ? "webhook" : "pagerduty", "url", "is no http:// or https:// URL");
}

int ow_config_read_alerts(struct ow_reader *reader, const yaml_node_t *list, struct ow_config *config)
{
    if (!list)
        return 0;
    const yaml_node_item_t *items = list->data.sequence.items.start;
    size_t count = (size_t)(list->data.sequence.items.top - items);
    size_t outer = ow_reader_enter(reader, OW_BYTES("alerts"));
    int r = 0;
    if (count > OW_ALERTS_MAX) {
        ow_reader_report(reader, list, "more than %d alerts; use several files", OW_ALERTS_MAX);
        count = 0;
    }
    config->alerts = calloc(count + 1, sizeof *config->alerts);
    if (!config->alerts)
        return OW_ENOMEM;
    for (size_t i = 0; r == 0 && i < count && !ow_diagnostics_is_full(reader->diagnostics); i++) {
        struct ow_config_alert alert = {0};
        struct ow_error err;
        const yaml_node_t *node = yaml_document_get_node(reader->document, items[i]);
        size_t path = ow_reader_enter_index(reader, i);
        r = ow_option_set_defaults(ow_alert_options, &alert, &err);
        if (r == 0 && ow_reader_group(reader, node, ow_alert_options, &alert))
            check_alert(reader, node, &alert, config);
        config->alerts[config->alert_count++] = alert;
        ow_reader_leave(reader, path);
    }
    ow_reader_leave(reader, outer);
    return r;
}

/* --- both ------------------------------------------------------------------------------------------------------ */

static void describe_text(struct ow_buf *to, const char *text)
{
    ow_buf_printf(to, "|%zu:", text ? strlen(text) : 0);
    ow_buf_add_text(to, text ? text : "-");
}

void ow_config_describe_admin(const struct ow_config *config, struct ow_buf *to)
{
    const struct ow_config_admin *admin = &config->admin;
    describe_text(to, admin->listen);
    ow_buf_printf(to, "|%u|%lld", admin->connections, (long long)admin->timeout_ms);
    for (size_t i = 0; i < admin->token_count; i++) {
        describe_text(to, admin->tokens[i].token);
        ow_buf_printf(to, "|%u", admin->tokens[i].role);
    }
    for (size_t i = 0; i < config->alert_count; i++) {
        const struct ow_config_alert *a = &config->alerts[i];
        const char *texts[] = {a->name, a->when, a->of, a->webhook, a->secret, a->routing_key, a->pagerduty_url};
        for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++)
            describe_text(to, texts[k]);
        ow_buf_printf(to, "|%u|%lld", a->severity, (long long)a->repeat_ms);
    }
    for (size_t i = 0; i < config->store_count; i++) { /* whose dead letters can be asked for */
        describe_text(to, config->stores[i].name);
        describe_text(to, config->stores[i].url.path);
    }
}

void ow_config_free_admin(struct ow_config *config)
{
    for (size_t i = 0; i < config->admin.token_count; i++)
        ow_option_done(ow_token_options, &config->admin.tokens[i]);
    for (size_t i = 0; i < config->alert_count; i++)
        ow_option_done(ow_alert_options, &config->alerts[i]);
    free(config->admin.listen);
    free(config->admin.tokens);
    free(config->alerts);
}
