/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP: a POST a message, any number at a time, over libcurl's multi interface: its sockets are in an epoll set of
 * ours, which the pipeline's loop waits for. Headers:
 *
 *   Idempotency-Key                      the id, the same at every attempt (IETF draft, as Stripe has it)
 *   ce-id ce-type ce-source ce-subject ce-time ce-partitionkey   CloudEvents 1.0, binary mode
 *   webhook-id webhook-timestamp webhook-signature               Standard Webhooks, where there is a secret
 *   traceparent, tracestate, content-type                        of the message, where it has them
 *
 * 2xx is done. 408, 409, 425, 429 and 5xx, a timeout, a broken connection may be tried again (Retry-After is heeded);
 * everything else never will do. Redirects are not followed: the effect would be elsewhere. A 2xx answer that is
 * CloudEvents in JSON is published.
 */
#include <curl/curl.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "codec/base64.h"
#include "handler/emitted.h"
#include "handler/handlers.h"

enum published { NOT_KNOWN, NOTHING, EVENT, EVENTS };

enum {
    EVENTS_MAX = 64,
    BODY_MAX = 200,             /* of an answer: as much as goes into a reason */
    EVENTS_BYTES_MAX = 1 << 20, /* of an answer that is to be published */
    ANSWER_MAX = 16 << 20,      /* of any: what is longer has no end */
    CONNECT_MS_MAX = 5000,
    KEEP_ALIVE_S = 60,
};

struct call {
    CURL *easy;
    struct curl_slist *headers;
    uint64_t token;
    char body[BODY_MAX + 1];
    size_t body_size, answer_size;
    bool has_header;          /* all of it, of the answer that counts */
    enum published published; /* what the body is, known with its first bytes */
    struct ow_buf events;     /* the body, if it is any; no more than EVENTS_BYTES_MAX + 1 */
    char error[CURL_ERROR_SIZE];
    struct call *next; /* of the idle ones */
};

struct http {
    struct ow_handler base;
    struct ow_handler_http_options options; /* texts owned */
    char *shown;                            /* the URL without what may be secret */
    struct ow_buf secret;                   /* decoded */
    CURLM *multi;
    int epoll_fd;
    int64_t timer_due_ms;
    struct call **calls; /* all of them */
    size_t count;
    struct call *idle;
    struct ow_buf scratch;
    bool can_publish;
    struct ow_emitted *emitted; /* of the outcomes that were given last */
};

static struct http *self_of(struct ow_handler *handler)
{
    return (struct http *)handler;
}

/* --- libcurl's sockets and timer ---------------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
    struct http *h = context;
    struct epoll_event event = {.data.fd = fd};
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        (void)curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (epoll_ctl(h->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0 && !known)
        (void)epoll_ctl(h->epoll_fd, EPOLL_CTL_MOD, fd, &event);
    (void)curl_multi_assign(h->multi, fd, h);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct http *h = context;
    (void)multi;
    h->timer_due_ms = timeout_ms < 0 ? INT64_MAX : ow_clock_monotonic_ms() + timeout_ms;
    return 0;
}

static enum published published_by(CURL *easy)
{
    static const char one[] = "application/cloudevents+json", many[] = "application/cloudevents-batch+json";
    char *type = NULL;
    long status = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    if (!type || status < 200 || status > 299)
        return NOTHING;
    size_t size = strcspn(type, "; ");
    return size == sizeof one - 1 && strncasecmp(type, one, size) == 0     ? EVENT
           : size == sizeof many - 1 && strncasecmp(type, many, size) == 0 ? EVENTS
                                                                           : NOTHING;
}

/* An answer that ends within its header is none, whatever its first line says. */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct call *call = context;
    call->has_header = size * count <= 2 && line[0] != 'H'; /* the empty line; behind hints comes another answer */
    return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct call *call = context;
    size_t bytes = size * count, room = BODY_MAX - call->body_size, taken = bytes < room ? bytes : room;
    call->answer_size += bytes;
    if (call->answer_size > ANSWER_MAX)
        return CURL_WRITEFUNC_ERROR;
    if (call->published == NOT_KNOWN)
        call->published = published_by(call->easy);
    if (call->published != NOTHING) {
        room = EVENTS_BYTES_MAX + 1 - call->events.size;
        ow_buf_add(&call->events, data, bytes < room ? bytes : room);
        return bytes;
    }
    memcpy(call->body + call->body_size, data, taken);
    call->body_size += taken;
    return bytes;
}

/* --- a request ------------------------------------------------------------------------------------------ */

static void add_header(struct call *call, struct ow_buf *line, const char *name, struct ow_bytes value)
{
    ow_buf_clear(line);
    ow_buf_printf(line, "%s: ", name);
    for (size_t i = 0; i < value.size; i++) { /* what would end the line is not passed on */
        char c = value.data[i];
        ow_buf_add_char(line, (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c);
    }
    ow_buf_add_char(line, '\0');
    struct curl_slist *more = line->data ? curl_slist_append(call->headers, line->data) : NULL;
    if (more)
        call->headers = more;
}

static struct ow_bytes header_of(const struct ow_message *m, const char *name)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (m->headers[i].name.size == strlen(name) && strncasecmp(m->headers[i].name.data, name, strlen(name)) == 0)
            return m->headers[i].value;
    return OW_NULL_BYTES;
}

static void add_time(struct call *call, struct ow_buf *line, int64_t ms)
{
    struct tm tm;
    char text[40];
    time_t seconds = (time_t)(ms / 1000);
    if (ms <= 0 || !gmtime_r(&seconds, &tm))
        return;
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
    add_header(call, line, "ce-time", ow_bytes_of(text));
}

/* CloudEvents percent-encodes what is not printable ASCII, and the space, the quote and the percent sign. */
static void add_cloud_event(struct http *h, struct call *call, const char *name, struct ow_bytes value)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    if (!value.data)
        return;
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '%')
            ow_buf_printf(&text, "%%%02X", c);
        else
            ow_buf_add_char(&text, (char)c);
    }
    add_header(call, &h->scratch, name, ow_buf_bytes(&text));
}

static void add_signature(struct http *h, struct call *call, const struct ow_task *task)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf signed_text = {0}, signature = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    char seconds[24];
    (void)snprintf(seconds, sizeof seconds, "%lld", (long long)(ow_clock_wall_ms() / 1000));
    ow_buf_add_bytes(&signed_text, task->id);
    ow_buf_printf(&signed_text, ".%s.", seconds);
    ow_buf_add_bytes(&signed_text, task->record->message.payload);
    if (!HMAC(EVP_sha256(), h->secret.data, (int)h->secret.size, (const unsigned char *)signed_text.data,
              signed_text.size, digest, &size))
        return;
    ow_buf_add_text(&signature, "v1,");
    ow_base64_encode(&signature, (struct ow_bytes){(const char *)digest, size});
    add_header(call, &h->scratch, "webhook-id", task->id);
    add_header(call, &h->scratch, "webhook-timestamp", ow_bytes_of(seconds));
    add_header(call, &h->scratch, "webhook-signature", ow_buf_bytes(&signature));
}

static void add_headers(struct http *h, struct call *call, const struct ow_task *task)
{
    static const char *const passed[] = {"traceparent", "tracestate"};
    const struct ow_message *m = &task->record->message;
    struct ow_bytes type = header_of(m, "content-type");
    add_header(call, &h->scratch, "Content-Type",
               type.size ? type
                         : ow_bytes_of(m->payload.data && ow_utf8_is_valid(m->payload) ? "application/json"
                                                                                       : "application/octet-stream"));
    add_header(call, &h->scratch, "Idempotency-Key", task->id);
    add_header(call, &h->scratch, "ce-specversion", ow_bytes_of("1.0"));
    add_cloud_event(h, call, "ce-id", task->id);
    add_cloud_event(h, call, "ce-source", m->topic);
    add_cloud_event(h, call, "ce-type", m->type.size ? m->type : ow_bytes_of("message"));
    add_cloud_event(h, call, "ce-subject", m->aggregate_id.size ? m->aggregate_id : m->key);
    add_cloud_event(h, call, "ce-partitionkey", m->key);
    add_time(call, &h->scratch, m->time_ms);
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++)
        if (header_of(m, passed[i]).size)
            add_header(call, &h->scratch, passed[i], header_of(m, passed[i]));
    if (h->secret.size)
        add_signature(h, call, task);
    for (size_t i = 0; i < h->options.header_count; i++)
        add_header(call, &h->scratch, h->options.headers[i].name, ow_bytes_of(h->options.headers[i].value));
    struct curl_slist *more = curl_slist_append(call->headers, "Expect:");
    if (more)
        call->headers = more;
}

/* What is the same for every request. */
static struct call *new_call(struct http *h)
{
    struct call *call = calloc(1, sizeof *call);
    struct call **more = realloc(h->calls, (h->count + 1) * sizeof *more);
    if (more)
        h->calls = more;
    if (!call || !more || !(call->easy = curl_easy_init())) {
        free(call);
        return NULL;
    }
    h->calls[h->count++] = call;
    long connect_ms = h->options.timeout_ms < CONNECT_MS_MAX ? (long)h->options.timeout_ms : CONNECT_MS_MAX;
    (void)curl_easy_setopt(call->easy, CURLOPT_URL, h->options.url);
    (void)curl_easy_setopt(call->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)h->options.timeout_ms);
    (void)curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    (void)curl_easy_setopt(call->easy, CURLOPT_USERAGENT, "onewrite/" OW_VERSION);
    (void)curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
    (void)curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
    (void)curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->error);
    (void)curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
    (void)curl_easy_setopt(call->easy, CURLOPT_MAXAGE_CONN, (long)KEEP_ALIVE_S);
    (void)curl_easy_setopt(call->easy, CURLOPT_POST, 1L);
    if (h->options.unix_socket)
        (void)curl_easy_setopt(call->easy, CURLOPT_UNIX_SOCKET_PATH, h->options.unix_socket);
    if (h->options.ca)
        (void)curl_easy_setopt(call->easy, CURLOPT_CAINFO, h->options.ca);
    return call;
}

static void release(struct http *h, struct call *call)
{
    curl_slist_free_all(call->headers);
    call->headers = NULL;
    ow_buf_done(&call->events);
    call->token = 0;
    call->next = h->idle;
    h->idle = call;
}

static int http_start(struct ow_handler *handler, const struct ow_task *task, struct ow_error *err)
{
    struct http *h = self_of(handler);
    struct call *call = h->idle ? h->idle : new_call(h);
    if (!call)
        return ow_error_set(err, OW_ENOMEM, "out of memory for a call of %s", h->shown);
    if (call == h->idle)
        h->idle = call->next;
    struct ow_bytes body = task->record->message.payload;
    call->token = task->token;
    call->body_size = call->answer_size = 0;
    call->has_header = false;
    call->published = NOT_KNOWN;
    call->error[0] = '\0';
    add_headers(h, call, task);
    (void)curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, body.data ? body.data : "");
    (void)curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
    (void)curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    CURLMcode result = curl_multi_add_handle(h->multi, call->easy);
    if (result != CURLM_OK) {
        release(h, call);
        return ow_error_set(err, OW_ENOMEM, "%s: %s", h->shown, curl_multi_strerror(result));
    }
    h->timer_due_ms = 0; /* libcurl begins when it is asked to */
    return 0;
}

/* --- an answer ------------------------------------------------------------------------------------------ */

static void say(struct ow_outcome *outcome, enum ow_outcome_kind kind, bool is_of_target, const char *class)
{
    outcome->kind = kind;
    outcome->is_of_target = is_of_target;
    (void)snprintf(outcome->class, sizeof outcome->class, "%s", class);
}

static const char *class_of(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return "unreachable";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
        return "tls";
    default:
        return "broken answer";
    }
}

/* The first line of the body. */
static void add_body(const struct call *call, char *to, size_t size)
{
    size_t n = 0;
    for (; n < call->body_size && n + 1 < size && call->body[n] != '\n'; n++)
        to[n] = call->body[n] ? call->body[n] : ' ';
    to[n] = '\0';
    ow_text_make_plain(to);
}

static void judge_published(struct http *h, const struct call *call, struct ow_outcome *outcome)
{
    struct ow_emitted *emitted = NULL;
    struct ow_error why = {0};
    int r = ow_buf_check(&call->events, &why);
    if (r == 0 && !h->can_publish)
        r = ow_error_set(&why, OW_EUNSUPPORTED,
                         "its answer publishes, which takes an outbox beside an inbox; write inbox: { store: … }");
    if (r == 0 && call->events.size > EVENTS_BYTES_MAX)
        r = ow_error_set(&why, OW_ETOOBIG, "its answer is more than 1 MiB of events");
    if (r == 0)
        r = ow_emitted_read_cloud_events(ow_buf_bytes(&call->events), call->published == EVENTS, &emitted, &why);
    if (r == 0) {
        outcome->emitted = emitted->messages;
        outcome->emitted_count = emitted->count;
        emitted->next = h->emitted;
        h->emitted = emitted;
        return;
    }
    say(outcome,
        r == OW_EUNSUPPORTED ? OW_OUTCOME_REFUSED
        : r == OW_ENOMEM     ? OW_OUTCOME_HELD_UP
                             : OW_OUTCOME_FAILED,
        false, "publish");
    (void)snprintf(outcome->reason, sizeof outcome->reason, "%.160s: %.330s", h->shown, why.text);
}

static const char *flaw_of(const struct call *call, CURLcode code)
{
    if (code == CURLE_OK)
        return "its answer ends within its header";
    if (call->answer_size > ANSWER_MAX)
        return "its answer is longer than 16 MiB";
    return call->error[0] ? call->error : curl_easy_strerror(code);
}

static void judge(struct http *h, const struct call *call, CURLcode code, struct ow_outcome *outcome)
{
    long status = 0;
    curl_off_t retry_after = 0;
    char class[16], body[BODY_MAX + 1];
    *outcome = (struct ow_outcome){.token = call->token, .retry_after_ms = -1};
    if (code != CURLE_OK || !call->has_header) {
        say(outcome, OW_OUTCOME_FAILED, true, class_of(code));
        (void)snprintf(outcome->reason, sizeof outcome->reason, "%.180s: %.200s", h->shown, flaw_of(call, code));
        return;
    }
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status <= 299) {
        say(outcome, OW_OUTCOME_DONE, false, "");
        if (call->published > NOTHING)
            judge_published(h, call, outcome);
        return;
    }
    (void)snprintf(class, sizeof class, "http %ld", status);
    bool is_busy = status == 429 || (status >= 500 && status <= 599 && status != 501 && status != 505);
    bool may_change = is_busy || status == 408 || status == 409 || status == 425;
    say(outcome, may_change ? OW_OUTCOME_FAILED : OW_OUTCOME_REFUSED, is_busy, class);
    if (may_change && curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0)
        outcome->retry_after_ms = retry_after > 86400 ? 86400000 : (int64_t)retry_after * 1000;
    add_body(call, body, sizeof body);
    (void)snprintf(outcome->reason, sizeof outcome->reason, "%.160s answered %ld%s%s%s", h->shown, status,
                   status >= 300 && status <= 399 ? ", a redirect, which is not followed" : "", body[0] ? ": " : "",
                   body);
}

static int http_step(struct ow_handler *handler, struct ow_outcome *outcomes, size_t max, struct ow_error *err)
{
    struct http *h = self_of(handler);
    struct epoll_event events[EVENTS_MAX];
    int running = 0, left, n = EVENTS_MAX;
    (void)err;
    ow_emitted_free(h->emitted);
    h->emitted = NULL;
    if (h->timer_due_ms <= ow_clock_monotonic_ms()) {
        h->timer_due_ms = INT64_MAX;
        (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    while (n == EVENTS_MAX) {
        n = epoll_wait(h->epoll_fd, events, EVENTS_MAX, 0);
        for (int i = 0; i < n; i++) {
            int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                       (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                       (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
            (void)curl_multi_socket_action(h->multi, events[i].data.fd, what, &running);
        }
    }
    size_t count = 0;
    CURLMsg *message;
    while (count < max && (message = curl_multi_info_read(h->multi, &left))) {
        struct call *call = NULL;
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE || curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call) != CURLE_OK)
            continue;
        judge(h, call, result, &outcomes[count++]);
        (void)curl_multi_remove_handle(h->multi, easy);
        release(h, call);
    }
    return (int)count;
}

static void http_forget(struct ow_handler *handler, uint64_t token)
{
    struct http *h = self_of(handler);
    for (size_t i = 0; i < h->count; i++)
        if (h->calls[i]->token == token && h->calls[i]->headers) {
            (void)curl_multi_remove_handle(h->multi, h->calls[i]->easy);
            release(h, h->calls[i]);
        }
}

static void http_wait(struct ow_handler *handler, struct ow_wait *wait)
{
    struct http *h = self_of(handler);
    ow_wait_add(wait, h->epoll_fd, POLLIN);
    ow_wait_until(wait, h->timer_due_ms);
}

/* --- life ------------------------------------------------------------------------------------------------- */

static int http_open(struct ow_handler *handler, struct ow_store *store, struct ow_error *err)
{
    struct http *h = self_of(handler);
    h->can_publish = store;
    h->multi = curl_multi_init();
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    h->timer_due_ms = INT64_MAX;
    if (!h->multi || h->epoll_fd < 0) {
        handler->ops->close(handler);
        return ow_error_set(err, OW_ENOMEM, "out of memory, or of descriptors");
    }
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)h->options.connections_max);
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)h->options.connections_max);
    return 0;
}

static void http_close(struct ow_handler *handler)
{
    struct http *h = self_of(handler);
    for (size_t i = 0; i < h->count; i++) {
        if (h->calls[i]->headers)
            (void)curl_multi_remove_handle(h->multi, h->calls[i]->easy);
        curl_slist_free_all(h->calls[i]->headers);
        curl_easy_cleanup(h->calls[i]->easy);
        ow_buf_done(&h->calls[i]->events);
        free(h->calls[i]);
    }
    free(h->calls);
    ow_emitted_free(h->emitted);
    h->emitted = NULL;
    h->calls = NULL;
    h->idle = NULL;
    h->count = 0;
    if (h->multi)
        (void)curl_multi_cleanup(h->multi);
    h->multi = NULL;
    if (h->epoll_fd >= 0)
        (void)close(h->epoll_fd);
    h->epoll_fd = -1;
}

static void http_discard(struct ow_handler *handler)
{
    struct http *h = self_of(handler);
    if (!handler)
        return;
    http_close(handler);
    free(h->options.url);
    free(h->options.unix_socket);
    free(h->options.ca);
    for (size_t i = 0; i < h->options.header_count; i++) {
        free(h->options.headers[i].name);
        free(h->options.headers[i].value);
    }
    free(h->options.headers);
    if (h->secret.data)
        explicit_bzero(h->secret.data, h->secret.size);
    ow_buf_done(&h->secret);
    ow_buf_done(&h->scratch);
    free(h->shown);
    free(h);
}

static const struct ow_handler_ops http_ops = {
    .name = "http",
    .open = http_open,
    .start = http_start,
    .step = http_step,
    .forget = http_forget,
    .wait = http_wait,
    .close = http_close,
    .discard = http_discard,
};

/* Scheme, host, port and path. */
static int check_url(const char *url, char **ret_shown, struct ow_error *err)
{
    CURLU *u = curl_url();
    char *text = NULL;
    int r = 0;
    if (!u)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    if (!url || curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0))
        r = ow_error_set(err, OW_EINVALID, "not a URL of the form http://HOST:PORT/PATH or https://…");
    if (r == 0) {
        (void)curl_url_set(u, CURLUPART_USER, NULL, 0);
        (void)curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
        (void)curl_url_set(u, CURLUPART_QUERY, NULL, 0);
        if (curl_url_get(u, CURLUPART_URL, &text, 0) != CURLUE_OK || !(*ret_shown = strdup(text)))
            r = ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    curl_free(text);
    curl_url_cleanup(u);
    return r;
}

/* "whsec_" and Base64, or the bytes as they are. */
static int read_secret(struct http *h, const char *secret, struct ow_error *err)
{
    static const char prefix[] = "whsec_";
    if (!secret)
        return 0;
    if (strncmp(secret, prefix, sizeof prefix - 1) != 0) {
        ow_buf_add_text(&h->secret, secret);
        return ow_buf_check(&h->secret, err);
    }
    struct ow_error why;
    int r = ow_base64_decode(&h->secret, ow_bytes_of(secret + sizeof prefix - 1), &why);
    if (r == OW_ENOMEM)
        return ow_error_set(err, r, "out of memory");
    return r < 0 || h->secret.size == 0 ? ow_error_set(err, OW_EINVALID, "the secret: after \"whsec_\" stands Base64")
                                        : 0;
}

static int copy(const char *text, char **to)
{
    *to = text ? strdup(text) : NULL;
    return text && !*to ? OW_ENOMEM : 0;
}

static bool is_header_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";
    return name[0] && !name[strspn(name, letters)];
}

static int copy_options(struct http *h, const struct ow_handler_http_options *o, struct ow_error *err)
{
    h->options = (struct ow_handler_http_options){.timeout_ms = o->timeout_ms ? o->timeout_ms : 10000,
                                                  .connections_max = o->connections_max ? o->connections_max : 100};
    h->options.headers = calloc(o->header_count ? o->header_count : 1, sizeof *h->options.headers);
    int r = h->options.headers ? 0 : OW_ENOMEM;
    if (r < 0 || copy(o->url, &h->options.url) < 0 || copy(o->unix_socket, &h->options.unix_socket) < 0 ||
        copy(o->ca, &h->options.ca) < 0)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < o->header_count; i++) {
        if (!is_header_name(o->headers[i].name))
            return ow_error_set(err, OW_EINVALID,
                                "\"%s\" is no name of a header; it has letters, digits and !#$%%&'*+-.^_`|~",
                                o->headers[i].name);
        h->options.header_count = i + 1;
        if (copy(o->headers[i].name, &h->options.headers[i].name) < 0 ||
            copy(o->headers[i].value, &h->options.headers[i].value) < 0)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    return 0;
}

int ow_handler_http_new(const struct ow_handler_http_options *options, struct ow_handler **ret, struct ow_error *err)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    h->base.ops = &http_ops;
    h->epoll_fd = -1;
    int r = copy_options(h, options, err);
    if (r == 0)
        r = check_url(h->options.url, &h->shown, err);
    if (r == 0)
        r = read_secret(h, options->secret, err);
    if (r < 0) {
        http_discard(&h->base);
        return r;
    }
    *ret = &h->base;
    return 0;
}
