/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store/store.h promises of late transactions, of what is queued and of a commit that goes along, over PostgreSQL
 * and over connections that break:
 *
 *   contract_pipeline postgres:…  a database, in which it makes its tables
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/units.h"
#include "contract/must.h"
#include "store/postgres.h"

static const char *url;
static struct ow_store *admin; /* a connection of its own, to look and to break others */

static struct ow_store *open_at(const char *at)
{
    const struct ow_postgres_options options = {.url = at, .shown = "postgres", .timeout_ms = 500};
    struct ow_store *store = NULL;
    struct ow_error err = {0};
    DO(ow_postgres_open(&options, &store, &err));
    return store;
}

static int64_t ask(struct ow_store *store, const char *sql)
{
    int64_t number = -1;
    struct ow_error err = {0};
    DO(ow_store_query_integer(store, sql, NULL, 0, -1, &number, &err));
    return number;
}

static struct ow_statement *prepare(struct ow_store *store, const char *sql)
{
    struct ow_statement *statement = NULL;
    struct ow_error err = {0};
    DO(store->ops->prepare(store, sql, &statement, &err));
    return statement;
}

static struct ow_statement *inserting(struct ow_store *store)
{
    return prepare(store, "INSERT INTO public.pipe (k) VALUES ($1::bigint)");
}

static void begin(struct ow_store *store)
{
    struct ow_error err = {0};
    DO(store->ops->begin(store, OW_TRANSACTION_LATE, &err));
}

static void queue(struct ow_store *store, struct ow_statement *statement, int64_t number)
{
    struct ow_value value = ow_value_integer(number);
    struct ow_error err = {0};
    DO(store->ops->queue(statement, &value, 1, &err));
}

/* Numbers that are there, of what this promise has put. */
static int64_t there(void)
{
    return ask(admin, "SELECT count(*) FROM public.pipe");
}

/* That nothing is left over: a transaction as any other. */
static void must_work(struct ow_store *store, struct ow_statement *insert)
{
    struct ow_error err = {0};
    int64_t before = there();
    begin(store);
    MUST(ask(store, "SELECT 7") == 7);
    queue(store, insert, 1000 + before);
    DO(store->ops->finish(store, true, NULL, &err));
    DO(store->ops->commit(store, &err));
    MUST(there() == before + 1);
}

/* --- transactions ------------------------------------------------------------------------------------------ */

static void one_transaction(void)
{
    struct ow_store *store = open_at(url);
    struct ow_error err = {0};
    struct ow_value row;
    struct ow_statement *insert = inserting(store), *list = prepare(store, "SELECT generate_series(1, 100000)");
    begin(store);
    DO(store->ops->start(list, NULL, 0, &err));
    MUST(store->ops->row(list, &row, 1, &err) == 1 && row.integer == 1);
    MUST(store->ops->row(list, &row, 1, &err) == 1 && row.integer == 2); /* and no more of them */
    int64_t first = ask(store, "SELECT pg_current_xact_id()::text::bigint");
    MUST(ask(store, "SELECT pg_current_xact_id()::text::bigint") == first);
    for (int i = 0; i < 50; i++)
        queue(store, insert, i);
    DO(store->ops->finish(store, false, NULL, &err));
    MUST(ask(store, "SELECT pg_current_xact_id()::text::bigint") == first && there() == 0);
    queue(store, insert, 50);
    DO(store->ops->finish(store, true, NULL, &err));
    DO(store->ops->commit(store, &err));
    MUST(there() == 51 && ask(store, "SELECT pg_current_xact_id()::text::bigint") != first);
    begin(store); /* BEGIN in front of what is queued */
    queue(store, insert, 51);
    DO(store->ops->finish(store, true, NULL, &err));
    DO(store->ops->commit(store, &err));
    begin(store); /* and in front of a script */
    DO(store->ops->script(store, "DELETE FROM public.pipe", &err));
    MUST(there() == 52);
    store->ops->rollback(store);
    MUST(there() == 52);
    begin(store); /* nothing in it */
    DO(store->ops->commit(store, &err));
    begin(store);
    store->ops->rollback(store);
    begin(store); /* for somebody who has the connection and not the store */
    DO(store->ops->finish(store, false, NULL, &err));
    MUST(PQtransactionStatus(ow_postgres_connection(store)) == PQTRANS_INTRANS);
    store->ops->rollback(store);
    begin(store); /* without the last finish() */
    MUST(ask(store, "SELECT 1") == 1);
    queue(store, insert, 52);
    DO(store->ops->finish(store, false, NULL, &err));
    DO(store->ops->commit(store, &err));
    MUST(there() == 53);
    must_work(store, insert);
    store->ops->close(store);
}

static void rolled_back(void)
{
    struct ow_store *store = open_at(url);
    struct ow_error err = {0};
    struct ow_statement *insert = inserting(store);
    begin(store);
    for (int i = 0; i < 20; i++)
        queue(store, insert, i);
    store->ops->rollback(store); /* queued, and nobody has waited for it */
    MUST(there() == 0);
    must_work(store, insert);
    begin(store);
    queue(store, insert, 1);
    DO(store->ops->finish(store, false, NULL, &err));
    store->ops->rollback(store);
    MUST(there() == 1);
    must_work(store, insert);
    store->ops->close(store);
}

/* --- statements that fail ------------------------------------------------------------------------------------ */

static void fail_at(struct ow_store *store, struct ow_statement *insert, int count, int bad, bool asks_first)
{
    struct ow_store_failure failure;
    struct ow_error err = {0};
    begin(store);
    if (asks_first)
        MUST(ask(store, "SELECT 1") == 1);
    for (int i = 0; i < count; i++)
        queue(store, insert, i == bad ? -1 : i);
    int r = store->ops->finish(store, true, &failure, &err);
    MUST(r < 0 && ow_error_class(r) != OW_CLASS_RETRYABLE);
    MUST(failure.index == (size_t)bad && strcmp(failure.class, "23514") == 0);
    store->ops->rollback(store);
    MUST(there() == 0);
}

static void failing_statements(void)
{
    struct ow_store *store = open_at(url);
    struct ow_error err = {0};
    struct ow_statement *insert = inserting(store), *broken = prepare(store, "SELECT 1 / $1::int");
    for (int asks = 0; asks < 2; asks++) {
        fail_at(store, insert, 1, 0, asks);
        fail_at(store, insert, 5, 2, asks);
        fail_at(store, insert, 5, 4, asks);
        fail_at(store, insert, 100, 40, asks); /* the server had begun with it */
    }
    struct ow_value zero = ow_value_integer(0), nul = ow_value_text((struct ow_bytes){"\0", 1}), row;
    begin(store); /* the first one, behind BEGIN */
    DO(store->ops->start(broken, &zero, 1, &err));
    MUST(store->ops->row(broken, &row, 1, &err) < 0);
    MUST(store->ops->commit(store, &err) == OW_EINVALID); /* it is none any more */
    begin(store);                                         /* a value that cannot be sent: BEGIN stands */
    MUST(store->ops->start(broken, &nul, 1, &err) == OW_EINVALID);
    MUST(ask(store, "SELECT 1") == 1);
    DO(store->ops->commit(store, &err));
    begin(store);
    MUST(store->ops->queue(insert, &nul, 1, &err) == OW_EINVALID);
    DO(store->ops->finish(store, false, NULL, &err));
    queue(store, insert, 5);
    MUST(store->ops->queue(insert, &nul, 1, &err) == OW_EINVALID);
    DO(store->ops->finish(store, false, NULL, &err)); /* what was queued before stands */
    DO(store->ops->commit(store, &err));
    MUST(there() == 1);
    must_work(store, insert);
    store->ops->close(store);
}

static void failing_commit(void)
{
    struct ow_store *store = open_at(url);
    struct ow_error err = {0};
    struct ow_store_failure failure;
    struct ow_statement *insert = inserting(store);
    struct ow_statement *late = prepare(store, "INSERT INTO public.pipe_late (k) VALUES ($1::bigint)");
    begin(store);
    queue(store, insert, 1);
    queue(store, late, 1); /* no such row: which is found out at the end */
    DO(store->ops->finish(store, true, &failure, &err));
    int r = store->ops->commit(store, &err);
    MUST(r < 0 && ow_error_class(r) != OW_CLASS_RETRYABLE && strstr(err.text, "pipe_late") != NULL);
    MUST(there() == 0);
    must_work(store, insert);
    store->ops->close(store);
}

/* --- connections that break ---------------------------------------------------------------------------------- */

static void terminate(int64_t pid)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%lld)::int", (long long)pid);
    MUST(ask(admin, sql) == 1);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %lld", (long long)pid);
    for (int i = 0; i < 20000 && ask(admin, sql) > 0; i++)
        (void)poll(NULL, 0, 1);
}

static void must_be_lost(struct ow_store *store, struct ow_statement *insert)
{
    struct ow_value value = ow_value_integer(77);
    struct ow_error err = {0};
    store->ops->rollback(store);
    int r = store->ops->begin(store, OW_TRANSACTION_LATE, &err);
    if (r == 0)
        r = store->ops->start(insert, &value, 1, &err);
    MUST(ow_error_class(r) == OW_CLASS_RETRYABLE && r < 0);
    store->ops->rollback(store);
    r = store->ops->queue(insert, &value, 1, &err);
    r = r < 0 ? r : store->ops->finish(store, true, NULL, &err);
    MUST(ow_error_class(r) == OW_CLASS_RETRYABLE && r < 0);
    MUST(there() == 0);
}

static void broken_in_the_middle(void)
{
    for (int at = 0; at < 4; at++) {
        struct ow_store *store = open_at(url);
        struct ow_error err = {0};
        struct ow_store_failure failure;
        struct ow_value value = ow_value_integer(1);
        struct ow_statement *insert = inserting(store);
        int64_t pid = ask(store, "SELECT pg_backend_pid()");
        begin(store);
        if (at == 0)
            terminate(pid);
        int r = store->ops->start(insert, &value, 1, &err);
        while (r >= 0 && (r = store->ops->row(insert, NULL, 0, &err)) == 1) {
        }
        MUST(at > 0 ? r == 0 : ow_error_class(r) == OW_CLASS_RETRYABLE);
        if (at == 1)
            terminate(pid);
        for (int i = 2; at > 0 && i < 40; i++) {
            value.integer = i;
            if (at == 2 && i == 20)
                terminate(pid);
            r = store->ops->queue(insert, &value, 1, &err); /* it may be found out at any of them */
        }
        if (at == 3)
            terminate(pid);
        if (at > 0) {
            r = store->ops->finish(store, true, &failure, &err);
            MUST(r < 0 && ow_error_class(r) == OW_CLASS_RETRYABLE);
        }
        must_be_lost(store, insert);
        store->ops->close(store);
    }
}

/* Between a client and the server: hands on, until it is told to keep the server's answers, which it may be told to
   hand on later, or to cut. */
enum { HAND_ON, KEEP_ANSWERS, CUT_AT_ANSWER, HAND_ON_LATE };
struct middle {
    int listener, server_port;
    atomic_int mode;
    atomic_int kept; /* bytes of answers */
};

static int connected_to(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* false: one of them has gone. */
static bool pass_on(struct middle *m, int from, int to, bool is_answer)
{
    static char kept[65536];
    char bytes[65536];
    int mode = atomic_load(&m->mode);
    ssize_t n = read(from, bytes, sizeof bytes);
    if (n <= 0 || (is_answer && mode == CUT_AT_ANSWER)) {
        atomic_fetch_add(&m->kept, n > 0 ? (int)n : 0);
        return false;
    }
    if (is_answer && mode == KEEP_ANSWERS) {
        size_t at = (size_t)atomic_load(&m->kept);
        MUST(at + (size_t)n <= sizeof kept);
        memcpy(kept + at, bytes, (size_t)n);
        atomic_fetch_add(&m->kept, (int)n);
        return true;
    }
    if (is_answer && mode == HAND_ON_LATE) {
        int late = atomic_exchange(&m->kept, 0);
        if (late > 0 && send(to, kept, (size_t)late, MSG_NOSIGNAL) != late)
            return false;
    }
    return send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *stand_between(void *context)
{
    struct middle *m = context;
    int client = accept(m->listener, NULL, NULL), server = connected_to(m->server_port);
    for (bool goes_on = true; goes_on;) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        (void)poll(fds, 2, -1);
        bool is_answer = fds[1].revents != 0;
        goes_on = pass_on(m, is_answer ? server : client, is_answer ? client : server, is_answer);
    }
    (void)close(client);
    (void)close(server);
    return NULL;
}

static void no_answer(int mode)
{
    char at[300];
    const char *host = strstr(url, "127.0.0.1:");
    MUST(host != NULL);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct middle m = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .server_port = atoi(host + 10)};
    MUST(bind(m.listener, (struct sockaddr *)&address, size) == 0 && listen(m.listener, 1) == 0);
    MUST(getsockname(m.listener, (struct sockaddr *)&address, &size) == 0);
    (void)snprintf(at, sizeof at, "%.*s127.0.0.1:%u%s", (int)(host - url), url, ntohs(address.sin_port),
                   strchr(host, '/'));
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, stand_between, &m) == 0);

    struct ow_store *store = open_at(at);
    struct ow_error err = {0};
    struct ow_store_failure failure;
    struct ow_statement *insert = inserting(store);
    begin(store);
    MUST(ask(store, "SELECT 1") == 1);
    queue(store, insert, 1);
    queue(store, insert, 2);
    atomic_store(&m.mode, mode);
    int r = store->ops->finish(store, true, &failure, &err);
    MUST(r < 0 && ow_error_class(r) == OW_CLASS_RETRYABLE && failure.index == 2); /* nobody is to blame */
    for (int i = 0; i < 20000 && there() == 0; i++)
        (void)poll(NULL, 0, 1);
    MUST(there() == 2 && atomic_load(&m.kept) > 0); /* it was done, and is not known to be */
    DO(admin->ops->script(admin, "DELETE FROM public.pipe", &err));
    if (mode == KEEP_ANSWERS)
        atomic_store(&m.mode, HAND_ON_LATE);
    must_be_lost(store, insert); /* a late answer is taken for nothing */
    store->ops->close(store);
    (void)pthread_join(thread, NULL);
    (void)close(m.listener);
}

static void commit_never_answered(void)
{
    no_answer(KEEP_ANSWERS);
}

static void commit_cut_off(void)
{
    no_answer(CUT_AT_ANSWER);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } promises[] = {
        {"one transaction", one_transaction},
        {"rolled back", rolled_back},
        {"failing statements", failing_statements},
        {"failing commit", failing_commit},
        {"broken in the middle", broken_in_the_middle},
        {"commit never answered", commit_never_answered},
        {"commit cut off", commit_cut_off},
    };
    struct ow_error err = {0};
    if (argc < 2)
        return 2;
    url = argv[1];
    what = "opening";
    admin = open_at(url);
    DO(admin->ops->script(
        admin,
        "CREATE TABLE public.pipe (k bigint PRIMARY KEY CHECK (k >= 0)); CREATE TABLE public.pipe_late "
        "(k bigint, other bigint DEFAULT -1 REFERENCES public.pipe (k) DEFERRABLE INITIALLY DEFERRED)",
        &err));
    for (size_t i = 0; i < OW_COUNT_OF(promises); i++) {
        what = promises[i].name;
        DO(admin->ops->script(admin, "DELETE FROM public.pipe_late; DELETE FROM public.pipe", &err));
        promises[i].run();
        printf("%s: kept\n", what);
    }
    admin->ops->close(admin);
    return 0;
}
