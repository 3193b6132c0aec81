/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/units.h"

enum { NAME_MAX_BYTES = 256 };

/* --- JSON ----------------------------------------------------------------------------------------------------- */

static void add_text(struct ow_buf *to, const char *key, const char *text)
{
    ow_buf_printf(to, "\"%s\":\"", key);
    ow_json_escape(to, ow_bytes_of(text));
    ow_buf_add_text(to, "\",");
}

static void add_number(struct ow_buf *to, const char *key, int64_t number)
{
    if (number < 0)
        ow_buf_printf(to, "\"%s\":null,", key);
    else
        ow_buf_printf(to, "\"%s\":%" PRId64 ",", key, number);
}

static void end_object(struct ow_buf *to)
{
    if (to->size > 0 && to->data[to->size - 1] == ',')
        to->size--;
    ow_buf_add_char(to, '}');
}

/* since_ms: wall clock; 0: there is nothing that has an age; -1: not known. */
static void add_age(struct ow_buf *to, const char *key, int64_t since_ms, int64_t now_ms)
{
    int64_t age = since_ms > 0 && now_ms > since_ms ? now_ms - since_ms : 0;
    if (since_ms < 0)
        ow_buf_printf(to, "\"%s\":null,", key);
    else
        ow_buf_printf(to, "\"%s\":%" PRId64 ".%03" PRId64 ",", key, age / 1000, age % 1000);
}

static void add_relay(struct ow_buf *to, const struct ow_board_line *line, int64_t now_ms)
{
    const struct ow_relay_counters *c = &line->now.relay;
    add_number(to, "retained_bytes", ow_board_retained(line));
    ow_buf_add_text(to, "\"backlog\":{");
    add_number(to, "messages", line->backlog.messages);
    add_age(to, "oldest_age_seconds", line->backlog.oldest_ms, now_ms);
    add_number(to, "log_bytes", line->backlog.log_bytes);
    end_object(to);
    ow_buf_add_text(to, ",\"counters\":{");
    add_number(to, "read", (int64_t)c->read);
    add_number(to, "sent", (int64_t)c->sent);
    add_number(to, "accepted", (int64_t)c->accepted);
    add_number(to, "retried", (int64_t)c->retried);
    add_number(to, "set_aside", (int64_t)c->set_aside);
    add_number(to, "parked", (int64_t)c->parked);
    add_number(to, "confirmed", (int64_t)c->confirmed);
    add_number(to, "already_accepted", (int64_t)c->already_accepted);
    add_number(to, "dropped", (int64_t)c->dropped);
    end_object(to);
}

static void add_place(struct ow_buf *to, const struct ow_place_at *place, int64_t now_ms)
{
    ow_buf_add_char(to, '{');
    add_text(to, "topic", place->topic);
    add_number(to, "partition", place->partition);
    add_number(to, "next", place->at.next);
    add_number(to, "end", place->at.end);
    add_number(to, "settled", place->at.settled);
    add_number(to, "lag", ow_place_lag(place));
    add_age(to, "lag_seconds", place->oldest_ms, now_ms);
    end_object(to);
}

static void add_consumer(struct ow_buf *to, const struct ow_board_line *line, int64_t now_ms)
{
    const struct ow_consumer_counters *c = &line->now.consumer;
    add_text(to, "breaker", ow_breaker_state_name(line->now.breaker));
    add_number(to, "calls_in_flight", line->now.calls);
    add_number(to, "lag", ow_board_lag(line));
    add_age(to, "lag_seconds", ow_board_behind_since(line), now_ms);
    ow_buf_add_text(to, "\"partitions\":[");
    for (size_t i = 0; i < line->place_count; i++) {
        if (i > 0)
            ow_buf_add_char(to, ',');
        add_place(to, &line->places[i], now_ms);
    }
    ow_buf_add_text(to, "],\"counters\":{");
    add_number(to, "read", (int64_t)c->read);
    add_number(to, "handled", (int64_t)c->handled);
    add_number(to, "repeated", (int64_t)c->repeated);
    add_number(to, "retried", (int64_t)c->retried);
    add_number(to, "set_aside", (int64_t)c->set_aside);
    add_number(to, "parked", (int64_t)c->parked);
    add_number(to, "replayed", (int64_t)c->replayed);
    add_number(to, "settles", (int64_t)c->settled);
    add_number(to, "transactions", (int64_t)c->transactions);
    add_number(to, "calls", (int64_t)c->calls);
    end_object(to);
}

static void add_state(struct ow_buf *to, const struct ow_board_line *line)
{
    add_text(to, "kind", line->kind == OW_WORK_RELAY ? "relay" : "consumer");
    add_text(to, "name", line->name);
    add_text(to, "state", ow_work_state_name(line->now.state));
    if (line->now.trouble[0])
        add_text(to, "trouble", line->now.trouble);
    else
        ow_buf_add_text(to, "\"trouble\":null,");
}

void ow_api_add_line(struct ow_buf *to, const struct ow_board_line *line, int64_t now_ms)
{
    ow_buf_add_char(to, '{');
    add_state(to, line);
    add_text(to, "from", line->from);
    add_text(to, "to", line->to);
    add_number(to, "reconnects", (int64_t)line->now.troubles);
    ow_buf_add_text(to, "\"in_flight\":{");
    add_number(to, "messages", (int64_t)line->now.in_flight);
    add_number(to, "bytes", (int64_t)line->now.bytes);
    add_age(to, "oldest_age_seconds", line->now.oldest_ms, now_ms);
    end_object(to);
    ow_buf_add_char(to, ',');
    add_number(to, "dead_letters", line->letters);
    if (line->kind == OW_WORK_RELAY)
        add_relay(to, line, now_ms);
    else
        add_consumer(to, line, now_ms);
    end_object(to);
}

/* --- answers --------------------------------------------------------------------------------------------------- */

/* What a handler is given. */
struct question {
    struct ow_api *api;
    const struct ow_http_request *request;
    char name[NAME_MAX_BYTES + 1]; /* what stands for {…} in the path */
    enum ow_work_kind kind;
    bool all_kinds;
};
typedef void answer_question(const struct question *q, struct ow_http_answer *answer);

static bool read_board(const struct question *q, struct ow_board_view *view, struct ow_http_answer *answer)
{
    struct ow_error err;
    answer->status = 200;
    if (ow_board_read(q->api->board, view, &err) == 0)
        return true;
    ow_http_problem(answer, 503, "%s", err.text);
    return false;
}

static void healthz(const struct question *q, struct ow_http_answer *answer)
{
    (void)q;
    answer->status = 200;
    ow_buf_add_text(&answer->body, "{\"status\":\"ok\"}\n");
}

static bool is_ready(const struct ow_board_line *line)
{
    enum ow_work_state s = line->now.state;
    return s == OW_WORK_WORKING || s == OW_WORK_STANDBY || s == OW_WORK_PAUSED;
}

/* Who is not ready is told to those who may read. */
static void readyz(const struct question *q, struct ow_http_answer *answer)
{
    struct ow_board_view view;
    bool has_started = atomic_load(&q->api->has_started), is_all = has_started,
         is_to_say = q->request->role >= OW_ROLE_READ, has_any = false;
    OW_CLEANUP(ow_buf_done) struct ow_buf list = {0};
    if (!read_board(q, &view, answer))
        return;
    for (size_t i = 0; i < view.count; i++) {
        if (is_ready(&view.lines[i]))
            continue;
        is_all = false;
        if (!is_to_say)
            continue;
        ow_buf_add_text(&list, has_any ? ",{" : "{");
        has_any = true;
        add_state(&list, &view.lines[i]);
        end_object(&list);
    }
    ow_board_view_done(&view);
    answer->status = is_all ? 200 : 503;
    ow_buf_printf(&answer->body, "{\"status\":\"%s\"", is_all ? "ready" : has_started ? "not ready" : "starting");
    if (is_to_say)
        ow_buf_printf(&answer->body, ",\"not_ready\":[%s]", ow_buf_bytes(&list).data);
    ow_buf_add_text(&answer->body, "}\n");
}

static void metrics(const struct question *q, struct ow_http_answer *answer)
{
    struct ow_metrics_process process = q->api->process;
    struct ow_board_view view;
    if (!read_board(q, &view, answer))
        return;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    process.now_ms = ow_clock_wall_ms();
    bool is_wanted = ow_metrics_is_wanted(q->request->header(q->request, "Accept"));
    ow_metrics_write(is_wanted ? &answer->body : &text, &view, &process);
    if (!is_wanted)
        ow_metrics_as_plain(ow_buf_bytes(&text), &answer->body);
    answer->body.has_failed = answer->body.has_failed || text.has_failed;
    answer->type = is_wanted ? OW_METRICS_TYPE : OW_METRICS_PLAIN_TYPE;
    answer->vary = "Accept";
    ow_board_view_done(&view);
}

static void list(const struct question *q, struct ow_http_answer *answer)
{
    struct ow_board_view view;
    bool has_any = false;
    if (!read_board(q, &view, answer))
        return;
    ow_buf_add_text(&answer->body, "{\"items\":[");
    for (size_t i = 0; i < view.count; i++) {
        if (!q->all_kinds && view.lines[i].kind != q->kind)
            continue;
        ow_buf_add_text(&answer->body, has_any ? ",\n" : "\n");
        has_any = true;
        ow_api_add_line(&answer->body, &view.lines[i], ow_clock_wall_ms());
    }
    ow_buf_add_text(&answer->body, "]}\n");
    ow_board_view_done(&view);
}

static void show(const struct question *q, struct ow_http_answer *answer)
{
    struct ow_board_view view;
    bool is_there = false;
    if (!read_board(q, &view, answer))
        return;
    for (size_t i = 0; i < view.count && !is_there; i++) {
        if (view.lines[i].kind != q->kind || strcmp(view.lines[i].name, q->name) != 0)
            continue;
        is_there = true;
        ow_api_add_line(&answer->body, &view.lines[i], ow_clock_wall_ms());
        ow_buf_add_char(&answer->body, '\n');
    }
    ow_board_view_done(&view);
    if (!is_there)
        ow_http_problem(answer, 404, "there is no %s \"%s\"", q->kind == OW_WORK_RELAY ? "relay" : "consumer", q->name);
}

static void hold(const struct question *q, bool is_to_pause, struct ow_http_answer *answer)
{
    struct ow_error err;
    if (ow_board_pause(q->api->board, q->name, is_to_pause, &err) < 0) {
        ow_http_problem(answer, 404, "%s", err.text);
        return;
    }
    answer->status = 202; /* its thread does it, after the step that it is in */
    ow_buf_add_char(&answer->body, '{');
    add_text(&answer->body, "name", q->name);
    ow_buf_printf(&answer->body, "\"paused\":%s}\n", is_to_pause ? "true" : "false");
}

static void pause_consumer(const struct question *q, struct ow_http_answer *answer)
{
    hold(q, true, answer);
}

static void resume_consumer(const struct question *q, struct ow_http_answer *answer)
{
    hold(q, false, answer);
}

static void list_letters(const struct question *q, struct ow_http_answer *answer)
{
    q->api->list_letters(q->api->letters_context, q->request, NULL, answer);
}

static void show_letter(const struct question *q, struct ow_http_answer *answer)
{
    q->api->show_letter(q->api->letters_context, q->request, q->name, answer);
}

static void replay_letter(const struct question *q, struct ow_http_answer *answer)
{
    q->api->replay_letter(q->api->letters_context, q->request, q->name, answer);
}

static void discard_letter(const struct question *q, struct ow_http_answer *answer)
{
    q->api->discard_letter(q->api->letters_context, q->request, q->name, answer);
}

/* --- routes ------------------------------------------------------------------------------------------------------ */

static const struct route {
    const char *path; /* with one * for a part of it that is not empty */
    const char *method;
    enum ow_role role;
    answer_question *answer;
    enum ow_work_kind kind;
    bool all_kinds;
} routes[] = {
    {"/healthz", "GET", OW_ROLE_NONE, healthz, 0, true},
    {"/readyz", "GET", OW_ROLE_NONE, readyz, 0, true},
    {"/metrics", "GET", OW_ROLE_READ, metrics, 0, true},
    {"/api/v1/pipelines", "GET", OW_ROLE_READ, list, 0, true},
    {"/api/v1/relays", "GET", OW_ROLE_READ, list, OW_WORK_RELAY, false},
    {"/api/v1/relays/*", "GET", OW_ROLE_READ, show, OW_WORK_RELAY, false},
    {"/api/v1/consumers", "GET", OW_ROLE_READ, list, OW_WORK_CONSUMER, false},
    {"/api/v1/consumers/*", "GET", OW_ROLE_READ, show, OW_WORK_CONSUMER, false},
    {"/api/v1/consumers/*/pause", "POST", OW_ROLE_OPERATOR, pause_consumer, OW_WORK_CONSUMER, false},
    {"/api/v1/consumers/*/resume", "POST", OW_ROLE_OPERATOR, resume_consumer, OW_WORK_CONSUMER, false},
    {"/api/v1/dead-letters", "GET", OW_ROLE_READ, list_letters, 0, true},
    {"/api/v1/dead-letters/*", "GET", OW_ROLE_READ, show_letter, 0, true},
    {"/api/v1/dead-letters/*/replay", "POST", OW_ROLE_OPERATOR, replay_letter, 0, true},
    {"/api/v1/dead-letters/*/discard", "POST", OW_ROLE_OPERATOR, discard_letter, 0, true},
};

static bool is_path(const char *pattern, const char *path, char name[NAME_MAX_BYTES + 1])
{
    const char *star = strchr(pattern, '*');
    size_t before = star ? (size_t)(star - pattern) : strlen(pattern);
    if (!star)
        return strcmp(pattern, path) == 0;
    if (strncmp(pattern, path, before) != 0)
        return false;
    size_t size = strcspn(path + before, "/");
    if (size == 0 || size > NAME_MAX_BYTES || strcmp(path + before + size, star + 1) != 0)
        return false;
    memcpy(name, path + before, size);
    name[size] = '\0';
    return true;
}

static bool is_method(const char *wanted, const char *method)
{
    return strcmp(wanted, method) == 0 || (strcmp(wanted, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void refuse_role(const struct ow_http_request *request, struct ow_http_answer *answer)
{
    if (request->role == OW_ROLE_NONE)
        ow_http_problem(answer, 401, "a token is needed: Authorization: Bearer TOKEN");
    else
        ow_http_problem(answer, 403,
                        "this is for operators: use a token with the role operator, or, without tokens, the Unix "
                        "socket");
}

void ow_api_serve(void *context, const struct ow_http_request *request, struct ow_http_answer *answer)
{
    struct question q = {.api = context, .request = request};
    const struct route *found = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0] && !found; i++)
        if (is_path(routes[i].path, request->path, q.name))
            found = &routes[i];
    if (request->role < OW_ROLE_READ && (!found || found->role > OW_ROLE_NONE)) {
        refuse_role(request, answer); /* nothing is said of what there is */
    } else if (!found) {
        ow_http_problem(answer, 404, "there is nothing here; docs/openapi.yaml says what there is");
    } else if (!is_method(found->method, request->method)) {
        ow_http_problem(answer, 405, "here only %s is answered", found->method);
        answer->allow = strcmp(found->method, "GET") == 0 ? "GET, HEAD" : found->method;
    } else if (request->role < found->role) {
        refuse_role(request, answer);
    } else {
        q.kind = found->kind;
        q.all_kinds = found->all_kinds;
        found->answer(&q, answer);
    }
}
