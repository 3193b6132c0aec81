/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "codec/dead_letter_headers.h"
#include "codec/json.h"
#include "config/construct.h"
#include "config/consumer.h"
#include "store/migrate.h"
#include "store/postgres.h"

/* --- the store ---------------------------------------------------------------------------------------------- */

static int open_postgres(const struct ow_url *url, struct ow_store **ret, struct ow_error *err)
{
    const struct ow_postgres_options options = {
        .url = url->postgres.url, .shown = url->postgres.shown, .keeps_search_path = true};
    int r = ow_postgres_open(&options, ret, err);
    if (r < 0)
        return r;
    r = ow_postgres_ensure(*ret, err);
    if (r < 0)
        (*ret)->ops->close(*ret);
    return r;
}

static int open_sqlite(const struct ow_url *url, struct ow_store **ret, struct ow_error *err)
{
    const struct ow_sqlite_options options = {
        .path = url->path, .mode = OW_SQLITE_MUST_EXIST, .is_durable = true, .wants_wal = true};
    size_t applied;
    int r = ow_sqlite_open(&options, ret, err);
    if (r < 0)
        return r;
    r = ow_schema_migrate(*ret, &ow_schema_outbox, &applied, err);
    if (r < 0)
        (*ret)->ops->close(*ret);
    return r;
}

static int open_store(void *context, struct ow_store **ret, struct ow_error *err)
{
    const struct ow_config_place *place = context;
    return place->url.scheme->id == OW_SCHEME_POSTGRES ? open_postgres(&place->url, ret, err)
                                                       : open_sqlite(&place->url, ret, err);
}

static int new_filter(const struct ow_config_consumer *consumer, struct ow_consumer_parts *parts, struct ow_error *err)
{
    const struct ow_redis_filter_options options = {.url = consumer->filter,
                                                    .consumer = consumer->name,
                                                    .expire_ms = consumer->filter_expire_ms,
                                                    .timeout_ms = consumer->filter_timeout_ms};
    struct ow_inbox *inner = parts->inbox;
    if (!consumer->filter)
        return 0;
    int r = ow_redis_filter_new(&options, &parts->filter, err);
    if (r < 0)
        return r;
    parts->inbox = NULL;
    r = ow_inbox_filtered_new(inner, parts->filter, &parts->inbox, err);
    if (r < 0)
        parts->filter = NULL;
    return r;
}

static int new_inbox(const struct ow_config_consumer *consumer, struct ow_inbox **ret, struct ow_error *err)
{
    const struct ow_config_place *place = consumer->inbox ? consumer->inbox : consumer->letter_store;
    if (!place)
        return 0;
    const struct ow_inbox_options options = {
        .consumer = consumer->name,
        .open_store = open_store,
        .context = (void *)place,
        .remembers = consumer->inbox,
        .keeps_letters = consumer->letter_store,
        .parks = consumer->then == OW_THEN_PARK,
        .retention_ms = consumer->retention_ms,
        .retention_count = consumer->retention_count,
    };
    return ow_inbox_store_new(&options, ret, err);
}

/* --- dead letters to a topic ----------------------------------------------------------------------------------- */

struct letter_maker {
    struct ow_route topic;
    enum ow_dead_letter_form form;
    struct ow_header *headers;
    size_t header_max;
    struct ow_dead_letter_scratch scratch;
};

static int make_letter(void *context, const struct ow_record *record, const struct ow_consumer_failure *failure,
                       struct ow_buf *to, struct ow_message *ret, struct ow_error *err)
{
    struct letter_maker *maker = context;
    const struct ow_message *m = &record->message;
    struct ow_dead_letter letter = {.form = maker->form,
                                    .origin = OW_DEAD_LETTER_PLACE_UNKNOWN,
                                    .last = {.topic = m->topic,
                                             .partition = record->partition,
                                             .offset = record->offset,
                                             .time_ms = m->time_ms,
                                             .time_type = record->time_type,
                                             .group = ow_bytes_of(failure->group)},
                                    .exception = ow_bytes_of(failure->class),
                                    .cause = ow_bytes_of(failure->class),
                                    .message = ow_bytes_of(failure->reason),
                                    .stacktrace = OW_BYTES(""),
                                    .attempts = failure->attempts,
                                    .failed_ms = failure->failed_ms};
    if (m->header_count + OW_DEAD_LETTER_HEADERS_MAX > maker->header_max) {
        size_t max = 2 * (m->header_count + OW_DEAD_LETTER_HEADERS_MAX);
        struct ow_header *grown = reallocarray(maker->headers, max, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory for the headers of a dead letter");
        maker->headers = grown;
        maker->header_max = max;
    }
    *ret = *m;
    int r = ow_route_render(&maker->topic, m, ow_json_lookup, to, &ret->topic, err);
    if (r <= 0)
        return r < 0 ? r : ow_error_set(err, OW_EINVALID, "dead_letter.topic gives nothing for this message");
    ret->headers = maker->headers;
    ret->header_count = ow_dead_letter_write(maker->form, m->headers, m->header_count, &letter, maker->headers,
                                             &maker->scratch);
    /* As it came: its id was a header, and is one again. */
    ret->is_shaped = false;
    ret->defect = OW_NULL_BYTES;
    return 0;
}

static int new_letters(const struct ow_config_consumer *consumer, struct ow_consumer_parts *parts, struct ow_error *err)
{
    if (!consumer->letter_topic)
        return 0;
    struct letter_maker *maker = calloc(1, sizeof *maker);
    if (!maker)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    maker->form = (enum ow_dead_letter_form)consumer->letter_form;
    int r = ow_route_init(&maker->topic, ow_bytes_of(consumer->letter_topic), err);
    if (r < 0) {
        free(maker);
        return r;
    }
    parts->letter_context = maker;
    parts->options.make_letter = make_letter;
    parts->options.letter_context = maker;
    return ow_config_new_broker(&consumer->letter_broker->url, &parts->letters, err);
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static int new_handler(const struct ow_config_consumer *consumer, const struct ow_handler_callback_options *callback,
                       struct ow_handler **ret, struct ow_error *err)
{
    if (consumer->handler == OW_CONFIG_HANDLER_CALLBACK && !callback)
        return ow_error_set(err, OW_EUSAGE,
                            "its handler is a function of a program; run the program that has it "
                            "(onewrite/consumer.h)");
    if (consumer->handler == OW_CONFIG_HANDLER_CALLBACK)
        return ow_handler_callback_new(callback, ret, err);
    if (consumer->handler == OW_CONFIG_HANDLER_SQL)
        return ow_handler_sql_new((const char *const *)consumer->statements, consumer->statement_count, ret, err);
    if (consumer->handler == OW_CONFIG_HANDLER_EXEC)
        return ow_handler_exec_new(&consumer->exec, ret, err);
    struct ow_handler_http_options http = consumer->http;
    http.connections_max = consumer->in_flight;
    return ow_handler_http_new(&http, ret, err);
}

static int subscribe(void *context, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                     struct ow_error *err)
{
    const struct ow_config_place *place = context;
    return ow_config_new_subscriber(&place->url, options, ret, err);
}

int ow_config_new_consumer(const struct ow_config_consumer *consumer,
                           const struct ow_handler_callback_options *callback, struct ow_consumer_parts *ret,
                           struct ow_error *err)
{
    *ret = (struct ow_consumer_parts){.subscribe = subscribe, .subscribe_context = (void *)consumer->broker};
    struct ow_consumer_options *o = &ret->options;
    ow_consumer_options_default(o);
    o->name = consumer->name;
    o->group = consumer->group ? consumer->group : consumer->name;
    o->topics = (const char *const *)consumer->topics;
    o->topic_count = consumer->topic_count;
    o->from = consumer->start ? OW_OFFSET_END : OW_OFFSET_BEGINNING;
    o->id = consumer->id;
    o->order = (enum ow_window_order)consumer->order;
    o->in_flight = consumer->in_flight;
    o->window = consumer->window;
    o->retry = consumer->retry;
    o->no_retry = (const char *const *)consumer->no_retry;
    o->breaker = consumer->breaker;
    o->parks = consumer->then == OW_THEN_PARK;
    o->keeps_letters = consumer->letter_store;
    o->keeps_offsets = consumer->keeps_offsets;
    o->replay_rate = consumer->replay_rate;
    int r = new_inbox(consumer, &ret->inbox, err);
    if (r == 0)
        r = new_filter(consumer, ret, err);
    if (r == 0)
        r = new_handler(consumer, callback, &ret->handler, err);
    if (r == 0)
        r = new_letters(consumer, ret, err);
    if (r < 0)
        ow_config_free_consumer_parts(ret);
    return r;
}

void ow_config_free_consumer_parts(struct ow_consumer_parts *parts)
{
    struct letter_maker *maker = parts->letter_context;
    if (parts->handler)
        parts->handler->ops->discard(parts->handler);
    if (parts->inbox)
        parts->inbox->ops->discard(parts->inbox);
    if (parts->letters)
        parts->letters->ops->discard(parts->letters);
    if (maker) {
        ow_route_done(&maker->topic);
        free(maker->headers);
    }
    free(maker);
    *parts = (struct ow_consumer_parts){0};
}
