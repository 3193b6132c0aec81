/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that books payments: each message of the topic once, its effect and what it says about it in one
 * transaction of PostgreSQL with the record that the message is handled.
 *
 *     onewrite init postgres://localhost/books
 *     psql postgres://localhost/books -c 'CREATE TABLE entry (message text PRIMARY KEY, account text, cents bigint);
 *                                         CREATE TABLE balance (account text PRIMARY KEY, cents bigint)'
 *     cc consumer.c -o consumer $(pkg-config --cflags --libs onewrite-consumer libpq)
 *     ./consumer consumer.yaml
 *
 * consumer.yaml:
 *
 *     version: 1
 *     stores:  { books: postgres://localhost/books }
 *     brokers: { bus: kafka://localhost:9092 }
 *     consumers:
 *       - name: booking
 *         from:    { broker: bus, topics: outbox.event.payment }
 *         inbox:   { store: books }
 *         handler: callback
 *         dead_letter: { store: books }
 */
#include <libpq-fe.h>
#include <onewrite/consumer.h>
#include <onewrite/outbox_postgres.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Prepared once for each connection. */
static const char enter[] =
    "WITH paid AS (SELECT p->>'account' AS account, (p->>'cents')::bigint AS cents FROM (SELECT $2::jsonb AS p) AS x), "
    "entered AS (INSERT INTO entry (message, account, cents) SELECT $1, account, cents FROM paid) "
    "INSERT INTO balance AS b (account, cents) SELECT account, cents FROM paid "
    "ON CONFLICT (account) DO UPDATE SET cents = b.cents + excluded.cents RETURNING account, cents";

static struct ow_consumer *consumer;

static int connected(void *arg, const struct ow_consumer_connection *connection, struct ow_error *err)
{
    (void)arg;
    if (!connection->postgres) {
        snprintf(err->text, sizeof err->text, "this program works in PostgreSQL; name a store of postgres://");
        return OW_EUSAGE;
    }
    PGresult *result = PQprepare(connection->postgres, "enter", enter, 2, NULL);
    int r = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : OW_EINVALID;
    if (r < 0)
        snprintf(err->text, sizeof err->text, "%s", PQerrorMessage(connection->postgres));
    PQclear(result);
    return r;
}

/* Published if and only if the payment is booked. */
static enum ow_consumer_answer say_booked(PGconn *conn, const char *account, const char *cents,
                                          struct ow_consumer_reply *reply)
{
    char payload[64];
    struct ow_error err;
    snprintf(payload, sizeof payload, "{\"balance\":%.24s}", cents);
    struct ow_outbox_message booked = {
        .aggregate_type = "account",
        .aggregate_id = account,
        .type = "PaymentBooked",
        .payload = payload,
        .payload_size = strlen(payload),
    };
    return ow_outbox_put_postgres(conn, &booked, NULL, &err) == 0 ? OW_ANSWER_DONE
                                                                  : ow_consumer_failed_error(&err, reply);
}

static enum ow_consumer_answer book(void *arg, const struct ow_consumer_connection *connection,
                                    const struct ow_consumer_message *message, struct ow_consumer_reply *reply)
{
    const char *values[] = {message->id, message->payload};
    (void)arg;
    if (!message->payload) {
        snprintf(reply->reason, sizeof reply->reason, "a payment that says nothing");
        return OW_ANSWER_REJECT;
    }
    PGresult *result = PQexecPrepared(connection->postgres, "enter", 2, values, NULL, NULL, 0);
    enum ow_consumer_answer answer;
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        answer = say_booked(connection->postgres, PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), reply);
    else
        answer = ow_consumer_failed_postgres(connection->postgres, result, reply);
    PQclear(result);
    return answer;
}

static void told(void *arg, enum ow_consumer_news news, const char *text)
{
    (void)arg;
    if (news == OW_NEWS_TROUBLE || news == OW_NEWS_BACK || news == OW_NEWS_ASIDE)
        fprintf(stderr, "consumer: %s\n", text);
}

static void on_signal(int number)
{
    (void)number;
    ow_consumer_stop(consumer);
}

int main(int argc, char **argv)
{
    struct ow_consumer_program program = {
        .handle = book,
        .connected = connected,
        .told = told,
        .wait_ms = -1,
    };
    struct ow_error err = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: %s CONFIG\n", argv[0]);
        return 2;
    }
    int r = ow_consumer_open(argv[1], NULL, &program, &consumer, &err);
    if (r == 0) {
        signal(SIGTERM, on_signal);
        signal(SIGINT, on_signal);
        r = ow_consumer_run(consumer, &err);
    }
    if (r < 0)
        fprintf(stderr, "consumer: %s\n", err.text);
    /* No handler may use what is closed. */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    ow_consumer_close(consumer);
    return r < 0 ? ow_error_exit_status(err.code) : 0;
}
