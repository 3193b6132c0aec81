/* SPDX-License-Identifier: Apache-2.0 */
#include "config/construct.h"

int ow_config_new_source(const struct ow_url *url, struct ow_source **ret, struct ow_error *err)
{
    if (url->scheme->id == OW_SCHEME_POSTGRES)
        return ow_outbox_postgres_new(&url->postgres, ret, err);
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

int ow_config_new_relay_source(const struct ow_config_relay *relay, struct ow_source **ret, struct ow_error *err)
{
    if (relay->store->url.scheme->id == OW_SCHEME_POSTGRES)
        return ow_outbox_postgres_new(&relay->postgres, ret, err);
    return ow_outbox_polling_new(&relay->outbox, ret, err);
}

void ow_config_set_relay_options(const struct ow_config_relay *relay, struct ow_relay_options *options)
{
    options->topic = relay->topic;
    options->key = relay->key;
    options->limits = relay->limits;
    options->window = relay->window;
    options->retry = relay->retry;
}
