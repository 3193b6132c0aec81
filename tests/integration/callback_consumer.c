/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer whose handler does what a message says, for test_consumer_callback.py:
 *
 *     callback_consumer CONFIG|- NAME|- [until-end|threads|twice]
 *
 * The payload is "ACTION NUMBER"; the effect of each is a row of paid (number, key, id). "-" as CONFIG: standard input.
 * At the end a line of counts.
 */
#include <inttypes.h>
#include <onewrite/consumer.h>
#include <onewrite/outbox_postgres.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if OW_WITH_POSTGRES
#include <libpq-fe.h>
#endif

enum { MEMBERS_MAX = 4 };

static struct ow_consumer *members[MEMBERS_MAX];
static int member_count;

struct seen {
    pthread_t thread; /* that connected() was called in */
    int connections, store_answers;
    sqlite3_stmt *insert;
};

static enum ow_consumer_answer run(const struct ow_consumer_connection *c, const char *sql,
                                   const struct ow_consumer_message *m, const char *number,
                                   struct ow_consumer_reply *reply)
{
#if OW_WITH_POSTGRES
    if (c->postgres) {
        const char *values[] = {number, m->key, m->id};
        PGresult *result = strchr(sql, '$') ? PQexecParams(c->postgres, sql, 3, NULL, values, NULL, NULL, 0)
                                            : PQexec(c->postgres, sql);
        ExecStatusType status = PQresultStatus(result);
        enum ow_consumer_answer answer = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK
                                             ? OW_ANSWER_DONE
                                             : ow_consumer_failed_postgres(c->postgres, result, reply);
        PQclear(result);
        return answer;
    }
#endif
    sqlite3_stmt *s = NULL;
    int result = sqlite3_prepare_v2(c->sqlite, sql, -1, &s, NULL);
    if (result == SQLITE_OK && sqlite3_bind_parameter_count(s) == 3) {
        sqlite3_bind_text(s, 1, number, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, m->key, (int)m->key_size, SQLITE_STATIC);
        sqlite3_bind_text(s, 3, m->id, -1, SQLITE_STATIC);
    }
    if (result == SQLITE_OK)
        result = sqlite3_step(s);
    enum ow_consumer_answer answer = result == SQLITE_DONE || result == SQLITE_ROW
                                         ? OW_ANSWER_DONE
                                         : ow_consumer_failed_sqlite(c->sqlite, reply);
    sqlite3_finalize(s);
    return answer;
}

static enum ow_consumer_answer insert(const struct ow_consumer_connection *c, const struct ow_consumer_message *m,
                                      const char *number, struct ow_consumer_reply *reply)
{
    return run(c,
               c->sqlite ? "INSERT INTO paid (number, key, id) VALUES (?1, ?2, ?3)"
                         : "INSERT INTO paid (number, key, id) VALUES ($1::bigint, $2, $3)",
               m, number, reply);
}

static enum ow_consumer_answer emit(const struct ow_consumer_connection *c, const char *number,
                                    struct ow_consumer_reply *reply)
{
    struct ow_error err;
    struct ow_outbox_message message = {.aggregate_type = "invoice",
                                        .aggregate_id = number,
                                        .type = "Billed",
                                        .payload = number,
                                        .payload_size = strlen(number)};
#if OW_WITH_POSTGRES
    int r = c->postgres ? ow_outbox_put_postgres(c->postgres, &message, NULL, &err)
                        : ow_outbox_put_sqlite(c->sqlite, &message, NULL, &err);
#else
    int r = ow_outbox_put_sqlite(c->sqlite, &message, NULL, &err);
#endif
    return r == 0 ? OW_ANSWER_DONE : ow_consumer_failed_error(&err, reply);
}

/* Leaves a statement running on the connection. */
static enum ow_consumer_answer leave_open(struct seen *seen, const struct ow_consumer_connection *c)
{
#if OW_WITH_POSTGRES
    if (c->postgres)
        return PQsendQuery(c->postgres, "SELECT generate_series(1, 10)") ? OW_ANSWER_DONE : OW_ANSWER_RETRY;
#endif
    sqlite3_finalize(seen->insert);
    sqlite3_prepare_v2(c->sqlite, "SELECT 1 UNION ALL SELECT 2", -1, &seen->insert, NULL);
    return sqlite3_step(seen->insert) == SQLITE_ROW ? OW_ANSWER_DONE : OW_ANSWER_RETRY;
}

static enum ow_consumer_answer fail(enum ow_consumer_answer answer, const char *class, const char *reason,
                                    struct ow_consumer_reply *reply)
{
    snprintf(reply->error_class, sizeof reply->error_class, "%s", class);
    snprintf(reply->reason, sizeof reply->reason, "%s", reason);
    return answer;
}

static bool has_header(const struct ow_consumer_message *m, const char *name, const char *value)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (strcmp(m->headers[i].name, name) == 0)
            return strcmp(m->headers[i].value, value) == 0 && m->headers[i].value_size == strlen(value);
    return false;
}

static enum ow_consumer_answer handle(void *arg, const struct ow_consumer_connection *c,
                                      const struct ow_consumer_message *m, struct ow_consumer_reply *reply)
{
    struct seen *seen = arg;
    char action[32] = "", number[32] = "";
    if (!pthread_equal(seen->thread, pthread_self()) || strlen(m->payload) != m->payload_size)
        return fail(OW_ANSWER_REJECT, "test", "another thread, or no NUL behind the payload", reply);
    if (sscanf(m->payload, "%31s %31s", action, number) != 2)
        return fail(OW_ANSWER_REJECT, "bad", "neither action \x01nor\n number", reply);
    enum ow_consumer_answer done = insert(c, m, number, reply);
    if (done != OW_ANSWER_DONE)
        return done;
    if (strcmp(action, "twice-failed") == 0 && m->attempt < 3)
        return fail(OW_ANSWER_RETRY, "later", "not yet", reply);
    if (strcmp(action, "reject") == 0)
        return fail(OW_ANSWER_REJECT, "gone", "no such order", reply);
    if (strcmp(action, "fail") == 0)
        return OW_ANSWER_RETRY;
    if (strcmp(action, "bytes") == 0)
        return fail(OW_ANSWER_REJECT, "\xff\xfe", "\xc3", reply);
    if (strcmp(action, "bad-sql") == 0)
        return run(c, "INSERT INTO paid (number) VALUES (NULL)", m, number, reply);
    if (strcmp(action, "ignores") == 0)
        return run(c, "SELECT nonsense FROM nowhere", m, number, reply), OW_ANSWER_DONE;
    if (strcmp(action, "store") == 0 && seen->store_answers++ < 5)
        return fail(OW_ANSWER_STORE, "40P01", "deadlock detected", reply);
    if (strcmp(action, "number") == 0)
        return (enum ow_consumer_answer)17;
    if (strcmp(action, "emit") == 0 || strcmp(action, "emit-fail") == 0)
        done = emit(c, number, reply);
    if (strcmp(action, "emit-fail") == 0)
        return OW_ANSWER_RETRY;
    if (strcmp(action, "commit") == 0 || strcmp(action, "rollback") == 0)
        return run(c, action, m, number, reply), OW_ANSWER_DONE;
    if (strcmp(action, "open") == 0)
        return leave_open(seen, c);
    if (strcmp(action, "stop") == 0)
        ow_consumer_stop(members[0]);
    if (strcmp(action, "look") == 0 &&
        !(strcmp(m->topic, "outbox.event.order") == 0 && strcmp(m->type, "Placed") == 0 && m->partition >= 0 &&
          m->offset >= 0 && m->attempt == 1 && m->time_ms > 0 && strlen(m->key) == m->key_size &&
          has_header(m, "trace", "a1b2")))
        return fail(OW_ANSWER_REJECT, "test", "not the message that was sent", reply);
    return done;
}

static int connected(void *arg, const struct ow_consumer_connection *c, struct ow_error *err)
{
    struct seen *seen = arg;
    seen->thread = pthread_self();
    seen->connections++;
    if (!c->sqlite == !c->postgres || getenv("NOT_CONNECTED")) {
        snprintf(err->text, sizeof err->text, "%s", "this one\nis not wanted");
        return OW_EDENIED;
    }
    if (c->sqlite && sqlite3_prepare_v2(c->sqlite, "SELECT 1", -1, &seen->insert, NULL) != SQLITE_OK)
        return OW_EIO;
    return 0;
}

static void disconnecting(void *arg, const struct ow_consumer_connection *c)
{
    struct seen *seen = arg;
    (void)c;
    sqlite3_finalize(seen->insert);
    seen->insert = NULL;
}

static void told(void *arg, enum ow_consumer_news news, const char *text)
{
    static const char *const names[] = {"working", "trouble", "back", "aside", "assigned"};
    (void)arg;
    fprintf(stderr, "told %s: %s\n", names[news], text);
}

static void on_signal(int signal_number)
{
    (void)signal_number;
    for (int i = 0; i < member_count; i++)
        ow_consumer_stop(members[i]);
}

static void *run_member(void *context)
{
    struct ow_error err = {0};
    int r = ow_consumer_run(context, &err);
    if (r < 0)
        fprintf(stderr, "callback_consumer: %s\n", err.text);
    return (void *)(intptr_t)r;
}

static int run_all(void)
{
    pthread_t threads[MEMBERS_MAX];
    void *end;
    int first = 0;
    for (int i = 1; i < member_count; i++)
        pthread_create(&threads[i], NULL, run_member, members[i]);
    first = (int)(intptr_t)run_member(members[0]);
    for (int i = 1; i < member_count; i++) {
        pthread_join(threads[i], &end);
        first = first ? first : (int)(intptr_t)end;
    }
    return first;
}

int main(int argc, char **argv)
{
    static struct seen seen[MEMBERS_MAX];
    static char text[1 << 16];
    struct ow_error err = {0};
    const char *mode = argc > 3 ? argv[3] : "";
    int r = 0, count = strcmp(mode, "threads") == 0 ? MEMBERS_MAX : 1;
    if (strcmp(argv[1], "-") == 0)
        text[fread(text, 1, sizeof text - 1, stdin)] = '\0';
    for (; r == 0 && member_count < count; member_count += r == 0) {
        struct ow_consumer_program program = {.handle = handle,
                                              .arg = &seen[member_count],
                                              .connected = connected,
                                              .disconnecting = disconnecting,
                                              .told = told,
                                              .wait_ms = getenv("WAIT_MS") ? atoi(getenv("WAIT_MS")) : 0,
                                              .until_end = strcmp(mode, "until-end") == 0 ||
                                                           strcmp(mode, "twice") == 0};
        const char *name = strcmp(argv[2], "-") == 0 ? NULL : argv[2];
        r = text[0] ? ow_consumer_open_text(text, name, &program, &members[member_count], &err)
                    : ow_consumer_open(argv[1], name, &program, &members[member_count], &err);
    }
    if (r < 0)
        fprintf(stderr, "callback_consumer: %s\n", err.text);
    signal(SIGTERM, on_signal);
    for (int i = 0; r == 0 && i < (strcmp(mode, "twice") == 0 ? 2 : 1); i++)
        r = run_all();
    signal(SIGTERM, SIG_IGN);
    for (int i = 0; i < member_count; i++) {
        struct ow_consumer_counts n;
        ow_consumer_count(members[i], &n);
        printf("handled=%" PRIu64 " repeated=%" PRIu64 " retried=%" PRIu64 " set_aside=%" PRIu64 " parked=%" PRIu64
               " replayed=%" PRIu64 " transactions=%" PRIu64 " connections=%d\n",
               n.handled, n.repeated, n.retried, n.set_aside, n.parked, n.replayed, n.transactions,
               seen[i].connections);
        ow_consumer_close(members[i]);
    }
    return r < 0 ? ow_error_exit_status(r) : 0;
}
