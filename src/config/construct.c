/* SPDX-License-Identifier: Apache-2.0 */
#include "config/construct.h"

int ow_config_check_by(const struct ow_url *url, enum ow_relay_by *by, const struct ow_config_log *log,
                       struct ow_error *err)
{
    bool has_log = url->scheme->id == OW_SCHEME_POSTGRES;
    if (*by == OW_RELAY_BY_AUTO)
        *by = has_log ? OW_RELAY_BY_LOG : OW_RELAY_BY_POLLING;
    if (*by != OW_RELAY_BY_POLLING && !has_log)
        return ow_error_set(err, OW_EUSAGE, "%s has no log to read; use polling", url->scheme->form);
    const char *said = log->table ? "outbox" : log->slot ? "slot" : log->accepts_gap ? "accept-gap" : NULL;
    if (*by == OW_RELAY_BY_POLLING && said)
        return ow_error_set(err, OW_EUSAGE, "%s is for a source that is read by log", said);
    if (*by == OW_RELAY_BY_MESSAGE && log->table)
        return ow_error_set(err, OW_EUSAGE, "by message there is no outbox table; leave it out, or read by log");
    return 0;
}

static int new_postgres_source(const struct ow_outbox_postgres_options *outbox, enum ow_relay_by by,
                               const struct ow_config_log *log, struct ow_source **ret, struct ow_error *err)
{
    if (by == OW_RELAY_BY_POLLING)
        return ow_outbox_postgres_new(outbox, ret, err);
    const struct ow_postgres_log_options options = {
        .url = outbox->url,
        .shown = outbox->shown,
        .by_message = by == OW_RELAY_BY_MESSAGE,
        .table = log->table,
        .changes = log->changes,
        .slot = log->slot,
        .publication = log->publication,
        .prune = log->prune,
        .wants_rows = log->wants_rows,
        .wants_logical = log->wants_logical,
        .has_no_snapshot = log->has_no_snapshot,
        .start_after = log->start_after,
        .accepts_gap = log->accepts_gap,
    };
    return ow_postgres_log_new(&options, ret, err);
}

int ow_config_new_source(const struct ow_url *url, enum ow_relay_by by, const struct ow_config_log *log,
                         struct ow_source **ret, struct ow_error *err)
{
    if (url->scheme->id == OW_SCHEME_POSTGRES)
        return new_postgres_source(&url->postgres, by, log, ret, err);
    if (url->scheme->id != OW_SCHEME_SQLITE)
        return ow_error_set(err, OW_EINVALID, "%s names no store to read from", url->scheme->form);
    return ow_outbox_polling_new(&url->outbox, ret, err);
}

int ow_config_new_broker(const struct ow_url *url, struct ow_broker **ret, struct ow_error *err)
{
    switch (url->scheme->id) {
    case OW_SCHEME_JOURNAL:
        return ow_journal_broker_new(&url->journal, ret, err);
    case OW_SCHEME_FILE:
    case OW_SCHEME_STDOUT:
        return ow_file_broker_new(&url->file, ret, err);
    case OW_SCHEME_KAFKA:
#if OW_WITH_KAFKA
        return ow_kafka_broker_new(&url->kafka, ret, err);
#endif
    case OW_SCHEME_SQLITE:
    case OW_SCHEME_POSTGRES:
    case OW_SCHEME_OTHER:
        break;
    }
    return ow_error_set(err, OW_EINVALID, "%s names no broker to publish to", url->scheme->form);
}

int ow_config_new_subscriber(const struct ow_url *url, const struct ow_subscriber_options *options,
                             struct ow_subscriber **ret, struct ow_error *err)
{
    switch (url->scheme->id) {
    case OW_SCHEME_JOURNAL:
        return ow_journal_subscriber_new(url->path, options, ret, err);
    case OW_SCHEME_FILE:
        return ow_file_subscriber_new(url->path, options, ret, err);
    case OW_SCHEME_KAFKA:
#if OW_WITH_KAFKA
        return ow_kafka_subscriber_new(&url->kafka, options, ret, err);
#endif
    case OW_SCHEME_STDOUT:
    case OW_SCHEME_SQLITE:
    case OW_SCHEME_POSTGRES:
    case OW_SCHEME_OTHER:
        break;
    }
    return ow_error_set(err, OW_EUSAGE, "%s cannot be read; give journal:PATH, file:PATH or kafka://HOST:PORT",
                        url->text);
}

int ow_config_check_delivery(const struct ow_url *broker, bool source_is_log, struct ow_error *err)
{
    if (source_is_log || broker->scheme->id != OW_SCHEME_KAFKA || broker->kafka.delivery != OW_KAFKA_EXACTLY_ONCE)
        return 0;
    return ow_error_set(err, OW_EUSAGE,
                        "exactly once needs a source that is read by log: rows that are polled have no position of "
                        "which everything before is known to be accepted");
}

int ow_config_new_relay_source(const struct ow_config_relay *relay, struct ow_source **ret, struct ow_error *err)
{
    const struct ow_config_log log = {.table = relay->table,
                                      .changes = relay->changes,
                                      .slot = relay->slot,
                                      .publication = relay->publication,
                                      .prune = relay->prune,
                                      .wants_rows = relay->debezium || relay->route_count > 0,
                                      .wants_logical = relay->debezium,
                                      .has_no_snapshot = relay->snapshot,
                                      .start_after = relay->start_after,
                                      .accepts_gap = relay->accepts_gap};
    if (relay->store->url.scheme->id == OW_SCHEME_POSTGRES)
        return new_postgres_source(&relay->postgres, relay->by, &log, ret, err);
    return ow_outbox_polling_new(&relay->outbox, ret, err);
}

void ow_config_set_relay_options(const struct ow_config_relay *relay, struct ow_relay_options *options)
{
    options->topic = relay->topic;
    options->key = relay->key;
    options->limits = relay->limits;
    options->window = relay->window;
    options->retry = relay->retry;
    options->parks = relay->then == OW_RELAY_PARK;
}
