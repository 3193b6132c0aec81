/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of libonewrite-consumer share. */
#ifndef OW_LIBRARY_MEMBER_H
#define OW_LIBRARY_MEMBER_H

#include <onewrite/consumer.h>
#include <pthread.h>
#include <stdatomic.h>

#include "config/consumer.h"

/* What the program knows as struct ow_consumer. */
struct ow_member {
    struct ow_consumer consumer; /* first; zeroed while it does not run */
    struct ow_consumer_program program;
    struct ow_config *config;
    const char *name; /* the configuration's */
    struct ow_consumer_parts parts;
    atomic_bool is_running, is_stopping;
    int stop_fd;
    pthread_mutex_t mutex;                    /* of `counts` */
    struct ow_consumer_counts counts, before; /* as of now; of the runs before this one */
    /* call.c */
    struct ow_consumer_connection connection;
    bool is_in_call, has_met_commit; /* SQLite */
    struct ow_buf scratch;
    struct ow_consumer_header *headers;
    size_t header_max;
};

/* --- call.c: what a callback handler does. The context is the member. -------------------------------------- */

int ow_member_handle(void *context, struct ow_store *store, const struct ow_task *task, struct ow_outcome *outcome,
                     struct ow_error *err);
int ow_member_connected(void *context, struct ow_store *store, struct ow_error *err);
void ow_member_disconnecting(void *context, struct ow_store *store);
void ow_member_say(struct ow_consumer_reply *reply, const char *error_class, const char *reason);

/* --- postgres.c, sqlite.c: how the function has left the connection ------------------------------------------ */

/* 0: the transaction is open; 1: it has failed; < 0: OW_EUNREACHABLE, or OW_EUSAGE: it is not there any more. */
int ow_member_look_postgres(struct pg_conn *conn, struct ow_error *err) OW_MUST_CHECK;
/* The same; ends what runs. */
int ow_member_look_sqlite(struct ow_member *member, struct ow_error *err) OW_MUST_CHECK;
/* From now on a COMMIT of the function is a ROLLBACK. */
void ow_member_guard_sqlite(struct ow_member *member);

#endif
