/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP: one small server for the daemon (libmicrohttpd). A thread listens, and each connection has one of its own, so
 * that neither a slow client nor a slow store holds up the others, least of all the pipelines. A connection is for one
 * request, and has `admin.timeout` for all of it. What is too long is refused: 16 KiB of headers, 64 KiB of body.
 */
#ifndef OW_SERVER_HTTP_H
#define OW_SERVER_HTTP_H

#include "config/admin.h"

enum {
    OW_HTTP_MEMORY_BYTES = 32 << 10, /* of a connection: the request line and headers, and as much again */
    OW_HTTP_BODY_MAX = 64 << 10,
};

struct ow_http_request {
    const char *method, *path; /* the path is decoded, without the query */
    struct ow_bytes body;
    enum ow_role role;
    const char *(*query)(const struct ow_http_request *request, const char *name);  /* decoded; NULL: not there */
    const char *(*header)(const struct ow_http_request *request, const char *name); /* NULL: not there */
    void *connection;                                                               /* private to http.c */
};

struct ow_http_answer {
    unsigned status;
    const char *type;  /* of the body; NULL: application/json */
    const char *allow; /* with 405: the methods that there are */
    const char *vary;  /* the header of the request that it depends on, beside who asks; NULL: none */
    struct ow_buf body;
};

/* Called from the thread of a connection: many at a time. The answer comes zeroed. */
typedef void ow_http_serve(void *context, const struct ow_http_request *request, struct ow_http_answer *answer);
/* Fills in an answer of application/problem+json (RFC 9457). */
void ow_http_problem(struct ow_http_answer *answer, unsigned status, const char *format, ...) OW_PRINTF(3, 4);

struct ow_http;
/* `admin` must outlive the server. OW_EUNSUPPORTED: a build without libmicrohttpd. Others: it cannot listen there. */
int ow_http_start(const struct ow_config_admin *admin, ow_http_serve *serve, void *context, struct ow_http **ret,
                  struct ow_error *err) OW_MUST_CHECK;
/* Where it listens, with the port that port 0 became: "127.0.0.1:40123". The server's. */
const char *ow_http_address(const struct ow_http *http);
/* Waits for requests that are being answered. NULL is allowed. */
void ow_http_stop(struct ow_http *http);

#endif
