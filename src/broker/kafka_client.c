/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/units.h"
#include "broker/kafka.h"

enum {
    REACH_MS = 5000,
    REACH_SLICE_MS = 100,
    SLICE_MS = 500, /* at once, at first */
    SLICE_MS_MAX = 4000,
    NAP_MS = 50,
    SETTLED_MS = 1000,         /* a name may stand for addresses of which only one answers: none is tried once only */
    TOKEN_LIFETIME_MS = 60000, /* the file is read again well before that */
};

/* --- made and ended ----------------------------------------------------------------------------------- */

int ow_kafka_client_open(struct ow_kafka_client *c, const struct ow_kafka_settings *settings,
                         const struct ow_kafka_pair *extra, struct ow_error *err)
{
    static const uint64_t one = 1;
    char why[512];
    rd_kafka_conf_t *conf = NULL;
    c->reason[0] = '\0';
    c->is_down = false;
    if (c->event_fd < 0)
        c->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->event_fd < 0)
        return ow_error_set(err, OW_ENOMEM, "out of descriptors");
    int r = ow_kafka_tls_check(settings, err);
    if (r == 0)
        r = ow_kafka_settings_conf(settings, extra, &conf, err);
    if (r < 0)
        return r;
    ow_kafka_tls_watch(c, conf);
    int events = RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR;
    rd_kafka_conf_set_events(conf, settings->token_file ? events | RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH : events);
    rd_kafka_conf_set_log_cb(conf, NULL); /* what matters comes as an event */
    c->rk = rd_kafka_new(c->is_consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!c->rk) {
        rd_kafka_conf_destroy(conf);
        return ow_error_set(err, OW_EINVALID, "%s: %s", settings->text, why);
    }
    c->queue = rd_kafka_queue_get_main(c->rk);
    rd_kafka_queue_io_event_enable(c->queue, c->event_fd, &one, sizeof one);
    return 0;
}

void ow_kafka_client_close(struct ow_kafka_client *c)
{
    if (!c->rk)
        return;
    if (c->is_abandoned) { /* somebody is in it */
        c->rk = NULL;
        c->queue = NULL;
        c->is_abandoned = false;
        return;
    }
    if (c->event)
        rd_kafka_event_destroy(c->event);
    c->event = NULL;
    (void)rd_kafka_purge(c->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_queue_io_event_enable(c->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(c->queue);
    rd_kafka_destroy_flags(c->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    c->rk = NULL;
    c->queue = NULL;
}

void ow_kafka_client_done(struct ow_kafka_client *c)
{
    ow_kafka_client_close(c);
    if (c->event_fd >= 0)
        (void)close(c->event_fd);
    c->event_fd = -1;
}

/* --- waiting ------------------------------------------------------------------------------------------ */

void ow_kafka_client_hear(const struct ow_kafka_client *c)
{
    uint64_t rung;
    if (read(c->event_fd, &rung, sizeof rung) < 0) {
        /* It did not ring. */
    }
}

void ow_kafka_nap(void)
{
    struct ow_wait wait;
    ow_wait_init(&wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + NAP_MS);
    ow_wait_sleep(&wait);
}

int ow_kafka_client_slice(const struct ow_kafka_client *c, int64_t deadline_ms, int waited_ms)
{
    int64_t left = deadline_ms - ow_clock_monotonic_ms();
    int next = waited_ms < SLICE_MS / 2 ? SLICE_MS : waited_ms < SLICE_MS_MAX / 2 ? waited_ms * 2 : SLICE_MS_MAX;
    if (c->broker && c->broker->meanwhile && !c->broker->meanwhile(c->broker->meanwhile_context))
        return 0;
    return left <= 0 ? 0 : left < next ? (int)left : next;
}

rd_kafka_event_t *ow_kafka_client_await(const struct ow_kafka_client *c, rd_kafka_queue_t *queue, int64_t deadline_ms)
{
    int slice;
    while ((slice = ow_kafka_client_slice(c, deadline_ms, 0)) > 0) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, slice);
        if (event)
            return event;
    }
    return NULL;
}

/* --- errors ------------------------------------------------------------------------------------------- */

/* What the cluster says to who may not do something. */
static bool is_denial(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return true;
    default:
        return false;
    }
}

enum ow_kafka_fate ow_kafka_fate_of(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return OW_KAFKA_WELL;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return OW_KAFKA_UNFIT;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return OW_KAFKA_LATER;
    default:
        return OW_KAFKA_BROKEN;
    }
}

int ow_kafka_client_fatal(const struct ow_kafka_client *c, const struct ow_kafka_settings *settings,
                          struct ow_error *err)
{
    char why[256];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(c->rk, why, sizeof why);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    if (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED)
        return ow_error_set(err, OW_ESTANDBY, "%s: another relay of the same source publishes there now",
                            settings->text);
    if (is_denial(code))
        return ow_error_set(err, OW_EDENIED, "%s: %s", settings->text, why);
    return ow_error_set(err, OW_EIO, "%s: %s", settings->text, why);
}

/* A token is worth as much as a password, and lies in a file that something else keeps fresh. */
static void give_token(rd_kafka_t *rk, const struct ow_kafka_settings *settings)
{
    char *token = NULL, why[256];
    struct ow_error err = {0};
    int r = ow_kafka_read_secret(settings->token_file, &token, &err);
    if (r < 0) {
        (void)rd_kafka_oauthbearer_set_token_failure(rk, err.text);
        return;
    }
    const char *principal = settings->username ? settings->username : "onewrite";
    if (rd_kafka_oauthbearer_set_token(rk, token, ow_clock_wall_ms() + TOKEN_LIFETIME_MS, principal, NULL, 0, why,
                                       sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR)
        (void)rd_kafka_oauthbearer_set_token_failure(rk, why);
    ow_kafka_wipe(token);
}

bool ow_kafka_client_note(struct ow_kafka_client *c, const struct ow_kafka_settings *settings, rd_kafka_event_t *event)
{
    rd_kafka_event_type_t type = rd_kafka_event_type(event);
    if (type == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH)
        give_token(c->rk, settings);
    if (type != RD_KAFKA_EVENT_ERROR)
        return type == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        c->is_down = true;
    } else if (code != RD_KAFKA_RESP_ERR__FATAL) {
        (void)snprintf(c->reason, sizeof c->reason, "%s", rd_kafka_event_error_string(event));
        char *aside = strstr(c->reason, " (after ");
        if (aside)
            *aside = '\0';
        ow_kafka_tls_explain(c);
        c->reason_code = code;
    }
    return true;
}

/* --- reached ------------------------------------------------------------------------------------------ */

static void note_all(struct ow_kafka_client *c, const struct ow_kafka_settings *settings, int ms)
{
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(c->queue, ms))) {
        (void)ow_kafka_client_note(c, settings, event);
        rd_kafka_event_destroy(event);
        ms = 0;
    }
}

static int refuse(const struct ow_kafka_client *c, const struct ow_kafka_settings *settings, struct ow_error *err)
{
    const char *why = c->reason[0] ? c->reason : "no answer within 5 s; is it a listener that wants tls, or sasl?";
    if (is_denial(c->reason_code))
        return ow_error_set(err, OW_EDENIED, "%s does not let us in: %s%s", settings->text, why,
                            ow_kafka_scram_is_old(settings)
                                ? " (or this is Kafka 4.0 or later, whose SCRAM takes librdkafka 2.6.1)"
                                : "");
    return ow_error_set(err, OW_EUNREACHABLE, "cannot reach %s: %s", settings->text, why);
}

int ow_kafka_client_reach(struct ow_kafka_client *c, const struct ow_kafka_settings *settings, struct ow_error *err)
{
    int64_t started = ow_clock_monotonic_ms(), now = started;
    c->reason_code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (settings->token_file)
        note_all(c, settings, REACH_SLICE_MS);
    while (now < started + REACH_MS && ow_kafka_client_slice(c, started + REACH_MS, 0) > 0) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t code = rd_kafka_metadata(c->rk, 0, NULL, &metadata, REACH_SLICE_MS);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
            c->is_down = false;
            c->reason[0] = '\0';
            return 0;
        }
        note_all(c, settings, 0);
        now = ow_clock_monotonic_ms();
        if (is_denial(c->reason_code) || (c->is_down && c->reason[0] && now - started >= SETTLED_MS))
            break;
    }
    return refuse(c, settings, err);
}

/* --- one message -------------------------------------------------------------------------------------- */

static rd_kafka_headers_t *headers_of(const struct ow_message *m)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(m->header_count + 1);
    if (m->id.data && !m->is_shaped)
        (void)rd_kafka_header_add(headers, "id", 2, m->id.data, (ssize_t)m->id.size);
    for (size_t i = 0; i < m->header_count; i++) {
        const struct ow_header *h = &m->headers[i];
        (void)rd_kafka_header_add(headers, h->name.data, (ssize_t)h->name.size, h->value.data, (ssize_t)h->value.size);
    }
    return headers;
}

static void *lent(const char *data)
{
    return (void *)(uintptr_t)data; /* librdkafka only reads it */
}

rd_kafka_resp_err_t ow_kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct ow_message *m, void *opaque)
{
    rd_kafka_headers_t *headers = headers_of(m);
    /* No flags: the payload is neither copied nor freed. */
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {lent(m->key.data), m->key.size}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {lent(m->payload.data), m->payload.size}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->is_shaped ? m->time_ms : 0}, /* 0: now */
    };
    rd_kafka_error_t *error = rd_kafka_produceva(rk, parts, sizeof parts / sizeof parts[0]);
    if (!error)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    rd_kafka_headers_destroy(headers);
    return code;
}
