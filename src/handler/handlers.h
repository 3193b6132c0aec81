/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers that there are; each is made with its options, which are copied, and connects nowhere yet. */
#ifndef OW_HANDLER_HANDLERS_H
#define OW_HANDLER_HANDLERS_H

#include "handler/handler.h"

enum { OW_HANDLER_STATEMENTS_MAX = 32 };

/* SQL statements (codec/sql_template.h), in the transaction of the inbox, in their order. A class of failure is the
   SQLSTATE in PostgreSQL ("23505"), SQLite's own words there, "bad message" where the message lacks what is asked of
   it. OW_EINVALID with the place in the statement. */
int ow_handler_sql_new(const char *const *statements, size_t count, struct ow_handler **ret,
                       struct ow_error *err) OW_MUST_CHECK;

struct ow_handler_http_header {
    char *name, *value;
};
struct ow_handler_http_options {
    char *url;                /* http:// or https:// */
    char *unix_socket;        /* NULL: over TCP */
    char *ca;                 /* a PEM file; NULL: what the system trusts */
    char *secret;             /* of Standard Webhooks: "whsec_" and Base64, or any text; NULL: not signed */
    int64_t timeout_ms;       /* of a call, all in all; 0: 10 s */
    uint32_t connections_max; /* 0: 100 */
    struct ow_handler_http_header *headers; /* that are added to each request */
    size_t header_count;
};
/* Classes of failure: "http 503", "timeout", "unreachable", "tls", "broken answer", "publish". OW_EINVALID: the URL or
   the secret; OW_EUNSUPPORTED in a build without libcurl. */
int ow_handler_http_new(const struct ow_handler_http_options *options, struct ow_handler **ret,
                        struct ow_error *err) OW_MUST_CHECK;

struct ow_handler_exec_options {
    char **command;     /* ended by NULL; the program is looked for in PATH */
    char **environment; /* "NAME=value", added to ours; ended by NULL; may be NULL */
    int64_t timeout_ms; /* of a message, from the moment on that it is written; 0: 30 s */
    int64_t grace_ms;   /* between SIGTERM and SIGKILL; 0: 5 s */
};
/* A program that is started by open() and gets a line of JSON a message (exec_line.h). Classes of failure: what it
   says, "timeout", "exit", "broken answer", "publish". */
int ow_handler_exec_new(const struct ow_handler_exec_options *options, struct ow_handler **ret,
                        struct ow_error *err) OW_MUST_CHECK;

/* A function of the program, in the transaction of the inbox. */
struct ow_handler_callback_options {
    /* The effect of a task, in the transaction that is open on the store. 0, and what became of it in `outcome` (given
       as DONE; not HELD_UP). < 0: the store is in trouble or the function is wrong, and no task is to blame. */
    int (*handle)(void *context, struct ow_store *store, const struct ow_task *task, struct ow_outcome *outcome,
                  struct ow_error *err);
    /* A new connection, no transaction open; and before its end. */
    int (*connected)(void *context, struct ow_store *store, struct ow_error *err);
    void (*disconnecting)(void *context, struct ow_store *store);
    void *context; /* must outlive the handler */
};
int ow_handler_callback_new(const struct ow_handler_callback_options *options, struct ow_handler **ret,
                            struct ow_error *err) OW_MUST_CHECK;

#endif
