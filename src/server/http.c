/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "server/access.h"
#include "server/listen.h"

enum { STACK_BYTES = 1 << 20 };

/* A connection that is open. */
struct guest {
    int fd;
    int64_t until_ms; /* monotonic */
    struct guest *next;
};

struct ow_http {
    const struct ow_config_admin *admin;
    struct ow_admin_address address;
    ow_http_serve *serve;
    void *context;
    struct MHD_Daemon *daemon;
    struct ow_buf shown;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct guest *guests;
    bool is_stopping;
    pthread_t usher;
    bool has_usher;
};

/* A request while it is read. */
struct visit {
    struct ow_buf body;
    bool is_too_big;
};

/* --- who stays too long ------------------------------------------------------------------------------------- */

/* libmicrohttpd's own limit is between two bytes, and starts anew with each. */
static void *usher_main(void *context)
{
    struct ow_http *h = context;
    (void)pthread_mutex_lock(&h->lock);
    while (!h->is_stopping) {
        int64_t now = ow_clock_monotonic_ms(), next = INT64_MAX;
        for (struct guest *g = h->guests; g; g = g->next) {
            if (g->until_ms <= now) {
                (void)shutdown(g->fd, SHUT_RDWR); /* its thread finds out and closes it */
                g->until_ms = INT64_MAX;
            }
            next = g->until_ms < next ? g->until_ms : next;
        }
        struct timespec at = {.tv_sec = (time_t)(next / 1000), .tv_nsec = (long)(next % 1000) * 1000000};
        if (next == INT64_MAX)
            (void)pthread_cond_wait(&h->changed, &h->lock);
        else
            (void)pthread_cond_timedwait(&h->changed, &h->lock, &at);
    }
    (void)pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct ow_http *h = context;
    (void)pthread_mutex_lock(&h->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct guest *guest = info ? calloc(1, sizeof *guest) : NULL;
        if (guest) {
            *guest = (struct guest){info->connect_fd, ow_clock_monotonic_ms() + h->admin->timeout_ms, h->guests};
            h->guests = guest;
        }
        *slot = guest;
    } else if (*slot) {
        for (struct guest **at = &h->guests; *at; at = &(*at)->next)
            if (*at == *slot) {
                *at = (*at)->next;
                break;
            }
        free(*slot);
        *slot = NULL;
    }
    (void)pthread_cond_signal(&h->changed);
    (void)pthread_mutex_unlock(&h->lock);
}

/* --- a request --------------------------------------------------------------------------------------------- */

static const char *query(const struct ow_http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

static const char *header_of(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static const char *header(const struct ow_http_request *request, const char *name)
{
    return header_of(request->connection, name);
}

/* What is wrong before anybody asks what is wanted. */
static bool is_admitted(const struct ow_http *h, struct MHD_Connection *connection, struct ow_http_answer *answer)
{
    if (!ow_access_host_is_ours(header_of(connection, "Host"), &h->address))
        ow_http_problem(answer, 403, "the Host of this request is none of this server");
    else if (header_of(connection, "Origin"))
        ow_http_problem(answer, 403, "requests from web pages are not answered");
    else
        return true;
    return false;
}

static enum ow_role role_of(const struct ow_http *h, struct MHD_Connection *connection, struct ow_http_answer *answer)
{
    const char *authorization = header_of(connection, "Authorization");
    if (!authorization || h->admin->token_count == 0)
        return ow_access_role_of_anybody(h->admin, &h->address);
    enum ow_role role = ow_access_role(h->admin, authorization);
    if (role == OW_ROLE_NONE)
        ow_http_problem(answer, 401, "this token is not known");
    return role;
}

static void answer_visit(struct ow_http *h, struct MHD_Connection *connection, const char *path, const char *method,
                         const struct visit *visit, struct ow_http_answer *answer)
{
    struct ow_http_request request = {.method = method,
                                      .path = path,
                                      .body = ow_buf_bytes(&visit->body),
                                      .query = query,
                                      .header = header,
                                      .connection = connection};
    if (!is_admitted(h, connection, answer))
        return;
    request.role = role_of(h, connection, answer);
    if (answer->status)
        return;
    if (visit->is_too_big)
        ow_http_problem(answer, 413, "the body of a request has at most %d bytes", OW_HTTP_BODY_MAX);
    else
        h->serve(h->context, &request, answer);
    if (answer->body.has_failed) {
        ow_buf_clear(&answer->body);
        ow_http_problem(answer, 500, "out of memory");
    }
}

static enum MHD_Result give(struct MHD_Connection *connection, struct ow_http_answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->body.size, answer->body.data,
                                                                    MHD_RESPMEM_MUST_FREE);
    if (!response) {
        ow_buf_done(&answer->body);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", answer->type ? answer->type : "application/json");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Connection", "close");
    if (answer->status == 401)
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"onewrite\"");
    if (answer->allow)
        (void)MHD_add_response_header(response, "Allow", answer->allow);
    if (answer->vary)
        (void)MHD_add_response_header(response, "Vary", answer->vary);
    enum MHD_Result r = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size, void **slot)
{
    struct ow_http *h = context;
    struct visit *visit = *slot;
    (void)version;
    if (!visit) {
        *slot = calloc(1, sizeof *visit);
        return *slot ? MHD_YES : MHD_NO;
    }
    if (*size > 0) { /* what is too long is read all the same: only then the client reads why */
        visit->is_too_big = visit->is_too_big || *size > OW_HTTP_BODY_MAX - visit->body.size;
        if (!visit->is_too_big)
            ow_buf_add(&visit->body, data, *size);
        *size = 0;
        return visit->body.has_failed ? MHD_NO : MHD_YES;
    }
    struct ow_http_answer answer = {0};
    answer_visit(h, connection, path, method, visit, &answer);
    return give(connection, &answer);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    struct visit *visit = *slot;
    (void)context, (void)connection, (void)code;
    if (visit)
        ow_buf_done(&visit->body);
    free(visit);
    *slot = NULL;
}

/* --- life --------------------------------------------------------------------------------------------------- */

static int start_usher(struct ow_http *h, struct ow_error *err)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&h->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    int result = pthread_create(&h->usher, NULL, usher_main, h);
    h->has_usher = result == 0;
    return result == 0 ? 0 : ow_error_errno(err, result, "cannot start a thread for the admin API");
}

static int start_daemon(struct ow_http *h, int fd, struct ow_error *err)
{
    h->daemon = MHD_start_daemon(
        MHD_USE_POLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ITC, 0, NULL, NULL,
        on_request, h, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)h->admin->connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)((h->admin->timeout_ms + 999) / 1000),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)OW_HTTP_MEMORY_BYTES, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
    if (h->daemon)
        return 0;
    (void)close(fd);
    return ow_error_set(err, OW_EIO, "cannot start the admin API on %s", ow_buf_bytes(&h->shown).data);
}

int ow_http_start(const struct ow_config_admin *admin, ow_http_serve *serve, void *context, struct ow_http **ret,
                  struct ow_error *err)
{
    struct ow_http *h = calloc(1, sizeof *h);
    if (!h)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    *h = (struct ow_http){.admin = admin, .serve = serve, .context = context};
    (void)pthread_mutex_init(&h->lock, NULL);
    int r = ow_admin_address_parse(ow_bytes_of(admin->listen), &h->address, err);
    int fd = r < 0 ? r : ow_listen(&h->address, &h->shown, err);
    r = fd < 0 ? fd : start_usher(h, err);
    if (r == 0)
        r = start_daemon(h, fd, err);
    else if (fd >= 0)
        (void)close(fd);
    if (r < 0) {
        ow_http_stop(h);
        return r;
    }
    *ret = h;
    return 0;
}

const char *ow_http_address(const struct ow_http *h)
{
    return ow_buf_bytes(&h->shown).data;
}

void ow_http_stop(struct ow_http *h)
{
    if (!h)
        return;
    if (h->daemon) {
        MHD_stop_daemon(h->daemon);
        if (h->address.path.data)
            (void)unlink(h->address.path.data);
    }
    if (h->has_usher) {
        (void)pthread_mutex_lock(&h->lock);
        h->is_stopping = true;
        (void)pthread_cond_signal(&h->changed);
        (void)pthread_mutex_unlock(&h->lock);
        (void)pthread_join(h->usher, NULL);
        (void)pthread_cond_destroy(&h->changed);
    }
    (void)pthread_mutex_destroy(&h->lock);
    ow_buf_done(&h->shown);
    free(h);
}
