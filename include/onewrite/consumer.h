/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer in a program of your own: onewrite subscribes, knows what was handled, tries again, sets aside, keeps the
 * order of keys; your function has the effect, on the connection on which the transaction of the inbox is open. What it
 * writes and the record that the message is handled commit together, or neither does.
 *
 *     static enum ow_consumer_answer book(void *arg, const struct ow_consumer_connection *connection,
 *                                         const struct ow_consumer_message *message, struct ow_consumer_reply *reply)
 *     {
 *         PGresult *result = PQexecParams(connection->postgres, "INSERT INTO paid …", …);
 *         enum ow_consumer_answer answer = PQresultStatus(result) == PGRES_COMMAND_OK
 *             ? OW_ANSWER_DONE : ow_consumer_failed_postgres(connection->postgres, result, reply);
 *         PQclear(result);
 *         return answer;
 *     }
 *
 *     struct ow_consumer_program program = {.handle = book};
 *     ow_consumer_open("onewrite.yaml", "billing", &program, &consumer, &err);
 *     ow_consumer_run(consumer, &err);           until ow_consumer_stop(), of a signal handler or another thread
 *     ow_consumer_close(consumer);
 *
 * The configuration is that of `onewrite run`, with `handler: callback` at this consumer; `onewrite run` leaves it to
 * your program. Link with `pkg-config --cflags --libs onewrite-consumer`; that library has the functions of
 * onewrite/outbox.h, outbox_postgres.h, inbox.h and inbox_postgres.h as well. It installs no signal handler, logs
 * nothing and never ends the process.
 *
 * Threads: ow_consumer_run() works in the thread that calls it, and all your functions are called there, one at a time;
 * the connection is used nowhere else. For more at a time open the consumer several times, each with a thread (or a
 * process) of its own: the members of a group share its partitions. Only ow_consumer_stop() and ow_consumer_count() may
 * be called from other threads meanwhile, and ow_consumer_stop() from a signal handler, too.
 */
#ifndef ONEWRITE_CONSUMER_H
#define ONEWRITE_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <onewrite/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pg_conn;   /* PGconn */
struct pg_result; /* PGresult */
struct sqlite3;

/* The connection of the inbox; one of the two is NULL. */
struct ow_consumer_connection {
    struct pg_conn *postgres;
    struct sqlite3 *sqlite;
};

struct ow_consumer_header {
    const char *name;
    const char *value; /* NULL: null; a NUL stands behind its bytes, which value_size does not count */
    size_t value_size;
};

/* Lent until the function returns. A NUL stands behind each text, the key and the payload. */
struct ow_consumer_message {
    const char *id;    /* what the inbox knows it by: unique for ever */
    const char *topic; /* where it stands */
    int64_t partition;
    int64_t offset;
    const char *type, *aggregate_type, *aggregate_id; /* NULL: not said */
    const void *key;                                  /* NULL: none */
    size_t key_size;
    const void *payload; /* NULL: a tombstone */
    size_t payload_size;
    const struct ow_consumer_header *headers;
    size_t header_count;
    int64_t time_ms;  /* milliseconds since 1970 UTC; 0: not known */
    uint32_t attempt; /* 1: the first */
};

enum ow_consumer_answer {
    OW_ANSWER_DONE,   /* its effect is in the transaction */
    OW_ANSWER_RETRY,  /* not this time: rolled back, and tried again as `retry:` says */
    OW_ANSWER_REJECT, /* never: rolled back, and a dead letter at once */
    OW_ANSWER_STORE,  /* the database is in trouble (a deadlock, a lost connection): rolled back, and run again as soon
                         as it can be; no attempt is counted */
};

/* What is said of an answer other than DONE; given zeroed, all of it may stay so. */
struct ow_consumer_reply {
    char error_class[48];   /* what retry.never names, e.g. "gone"; "": callback */
    char reason[512];       /* one line, for the dead letter */
    int64_t retry_after_ms; /* RETRY: not before; 0: as `retry:` says */
};

/*
 * Has the effect of a message, in the transaction that is open on the connection, with any statements, of which
 * ow_outbox_put_postgres() or ow_outbox_put_sqlite() may be one: what it puts there is published if and only if the
 * message is handled. It must not end the transaction (COMMIT, ROLLBACK; savepoints of its own are its own affair), nor
 * leave the connection busy: that ends ow_consumer_run() with OW_EUSAGE. In SQLite a COMMIT is undone then, and a
 * ROLLBACK only fails the message; in PostgreSQL a COMMIT cannot be undone, and messages of the same transaction would
 * be taken for handled that are not.
 *
 * Messages that come fast share a transaction, at most `in_flight` of them. When one of them fails all of it is rolled
 * back and goes again one by one, so the function may be called again for a message that it has answered DONE for:
 * whatever it does outside the transaction it may do twice.
 */
typedef enum ow_consumer_answer ow_consumer_handle(void *arg, const struct ow_consumer_connection *connection,
                                                   const struct ow_consumer_message *message,
                                                   struct ow_consumer_reply *reply);

/* The answer to a statement that failed: STORE for a deadlock, a serialization failure, a lack of resources, a lost
   connection; else RETRY, with the SQLSTATE, in SQLite the words of its code, as the class. `result` stays the
   caller's. */
enum ow_consumer_answer ow_consumer_failed_postgres(struct pg_conn *conn, const struct pg_result *result,
                                                    struct ow_consumer_reply *reply);
enum ow_consumer_answer ow_consumer_failed_sqlite(struct sqlite3 *db, struct ow_consumer_reply *reply);
/* The same for a function of this library that failed. */
enum ow_consumer_answer ow_consumer_failed_error(const struct ow_error *err, struct ow_consumer_reply *reply);

/* What happens; text is one line. */
enum ow_consumer_news {
    OW_NEWS_WORKING,  /* subscribed */
    OW_NEWS_TROUBLE,  /* the broker or the store cannot be reached or used; tried again, for ever */
    OW_NEWS_BACK,     /* works again */
    OW_NEWS_ASIDE,    /* a message became a dead letter */
    OW_NEWS_ASSIGNED, /* partitions came or went */
};

/* What your program brings; what is not used is NULL or 0. */
struct ow_consumer_program {
    ow_consumer_handle *handle; /* required */
    void *arg;                  /* given to each of these functions; must outlive the consumer */
    /* A new connection, before its first message, and again whenever it had to be made anew: prepare statements here.
       0, or < 0 and the text in err: OW_EBUSY, OW_EUNREACHABLE … are tried again, others end ow_consumer_run(). */
    int (*connected)(void *arg, const struct ow_consumer_connection *connection, struct ow_error *err);
    /* Before it is closed: finalize statements of SQLite here. */
    void (*disconnecting)(void *arg, const struct ow_consumer_connection *connection);
    void (*told)(void *arg, enum ow_consumer_news news, const char *text);
    /* At its start ow_consumer_run() waits so long for what cannot be reached; 0: not at all; -1: for ever. */
    int64_t wait_ms;
    bool until_end; /* it ends when all that is there is handled */
};

struct ow_consumer;

/*
 * Reads and checks a configuration file and finds the consumer of this name in it; NULL: the only one with `handler:
 * callback`. Nothing is connected. `program` is copied.
 *
 * 0, and *ret is to be closed; or with the text in err (may be NULL): OW_ECONFIG (the first thing that is wrong, with
 * file, line and column), OW_ENOTFOUND (no such file, or no such consumer), OW_EUSAGE (its handler is another one),
 * OW_EDENIED, OW_EIO, OW_ENOMEM.
 */
int ow_consumer_open(const char *path, const char *name, const struct ow_consumer_program *program,
                     struct ow_consumer **ret, struct ow_error *err) __attribute__((warn_unused_result));
/* The same of a configuration in memory, which ends in NUL. */
int ow_consumer_open_text(const char *yaml, const char *name, const struct ow_consumer_program *program,
                          struct ow_consumer **ret, struct ow_error *err) __attribute__((warn_unused_result));

/*
 * Connects and consumes, until ow_consumer_stop(). Then it reads no more, tells the broker what is handled, leaves the
 * group and closes its connections: 0. It may be called again.
 *
 * < 0: OW_EUNREACHABLE (at the start only, after wait_ms; later it reconnects for ever), OW_EUSAGE (a function broke
 * the rules above), or what no waiting changes: OW_EDENIED, OW_ENOTFOUND, OW_EVERSION, OW_ECORRUPT, OW_EINVALID …
 */
int ow_consumer_run(struct ow_consumer *consumer, struct ow_error *err) __attribute__((warn_unused_result));

/* Any thread, and signal handlers: ow_consumer_run() ends after the transaction that is open now, or, if it does not
   run, the next one ends at once. */
void ow_consumer_stop(struct ow_consumer *consumer);

struct ow_consumer_counts { /* of messages, since ow_consumer_open() */
    uint64_t handled, repeated, retried, set_aside, parked, replayed, transactions;
};
/* Any thread; it may lag behind by one transaction. */
void ow_consumer_count(struct ow_consumer *consumer, struct ow_consumer_counts *ret);

/* Not while it runs. NULL is allowed. */
void ow_consumer_close(struct ow_consumer *consumer);

#ifdef __cplusplus
}
#endif
#endif
