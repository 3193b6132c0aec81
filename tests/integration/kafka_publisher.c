/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source and a relay in one, as small as can be, over the transactions of the Kafka broker:
 *
 *     kafka_publisher SERVERS TOPIC SOURCE LAST EACH [PAUSE_MS [LARGE]]
 *
 * publishes the numbers up to LAST, EACH of them in a transaction, from behind the position that Kafka has, and prints
 * the last one of each transaction; message LARGE is larger than the topic takes.
 *
 *     kafka_publisher --record SERVERS TOPIC SOURCE
 *
 * prints the position of SOURCE ("none"), and that again after 7/3 and then 9 were recorded, without transactions,
 * after somebody who was stopped meanwhile has put 8 in one of the places, and after all of it was forgotten.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "broker/broker.h"

enum { LARGE_SIZE = 40000, TOKENS_MAX = 1 << 20 };

struct publisher {
    struct ow_broker *broker;
    const char *topic, *source;
    uint64_t last, each, large;
    int pause_ms;
    uint64_t done; /* all up to here has its verdict */
    bool has_position;
    bool is_refused[TOKENS_MAX];
};

static void sleep_until(struct ow_broker *broker, int64_t deadline)
{
    struct ow_wait wait;
    ow_wait_init(&wait);
    if (broker)
        broker->ops->wait(broker, &wait);
    ow_wait_until(&wait, deadline);
    ow_wait_sleep(&wait);
}

static int send_number(struct publisher *p, uint64_t number, struct ow_error *err)
{
    static char ids[1000][24], large[LARGE_SIZE];
    char *id = ids[number % 1000];
    int n = snprintf(id, sizeof ids[0], "%llu", (unsigned long long)number);
    struct ow_message m = {.position = {number, 0},
                           .id = {id, (size_t)n},
                           .key = OW_BYTES("k"),
                           .topic = ow_bytes_of(p->topic),
                           .payload = {id, (size_t)n}};
    if (number == p->large) {
        for (size_t i = 0; i < sizeof large; i++)
            large[i] = (char)(ow_dice_roll() * 256); /* nothing that compression makes small */
        m.payload = (struct ow_bytes){large, sizeof large};
    }
    return p->broker->ops->send(p->broker, &m, number, err);
}

/* One transaction, as the relay would do it. */
static int publish(struct publisher *p, struct ow_error *err)
{
    struct ow_receipt receipts[16];
    uint64_t next = p->done + 1;
    int r = p->broker->ops->txn_begin(p->broker, err);
    for (; r == 0 && next <= p->last && next <= p->done + p->each; next++)
        r = p->is_refused[next % TOKENS_MAX] ? 0 : send_number(p, next, err);
    if (r == OW_EAGAIN) {
        next--;
        r = 0;
    }
    if (r == 0)
        r = p->broker->ops->txn_commit(p->broker, p->source, (struct ow_position){next - 1, 0}, err);
    while (r >= 0 && (r = p->broker->ops->step(p->broker, receipts, 16, err)) > 0) {
        for (int i = 0; i < r; i++) {
            if (receipts[i].verdict == OW_REJECTED) {
                p->is_refused[receipts[i].token % TOKENS_MAX] = true;
                (void)fprintf(stderr, "%llu refused: %s\n", (unsigned long long)receipts[i].token, receipts[i].reason);
            }
        }
    }
    if (r == 0)
        p->done = next - 1;
    return r;
}

static int open_at_position(struct publisher *p, struct ow_error *err)
{
    struct ow_position position = {0};
    int r = p->broker->ops->open(p->broker, err);
    if (r == 0)
        r = p->broker->ops->last_position(p->broker, p->source, &position, err);
    if (r > 0 && position.major > p->done)
        p->done = position.major;
    return r < 0 ? r : 0;
}

static int run(struct publisher *p, struct ow_error *err)
{
    bool is_open = false;
    while (p->done < p->last) {
        int r = is_open ? publish(p, err) : open_at_position(p, err);
        if (r == 0 && is_open) {
            (void)printf("%llu\n", (unsigned long long)p->done);
            (void)fflush(stdout);
            sleep_until(NULL, ow_clock_monotonic_ms() + p->pause_ms);
        }
        is_open = r == 0;
        if (r == 0)
            continue;
        if (r == OW_ESTANDBY || ow_error_class(r) != OW_CLASS_RETRYABLE)
            return r;
        (void)fprintf(stderr, "again: %s\n", err->text);
        p->broker->ops->txn_abort(p->broker);
        p->broker->ops->close(p->broker);
    }
    return 0;
}

static int print_position(struct publisher *p, struct ow_error *err)
{
    char text[OW_POSITION_TEXT_SIZE];
    struct ow_position position = {0};
    int r = p->broker->ops->open(p->broker, err);
    if (r == 0)
        r = p->broker->ops->last_position(p->broker, p->source, &position, err);
    if (r >= 0)
        (void)puts(ow_position_is_zero(position) ? "none" : ow_position_format(position, text));
    p->has_position = r > 0;
    return r < 0 ? r : 0;
}

static int record_in(struct publisher *p, struct ow_position position, uint32_t first, struct ow_error *err)
{
    int r = 0;
    for (uint32_t place = first; r == 0 && place < OW_RECORD_PLACES; place++)
        r = p->broker->ops->record_position(p->broker, p->source, position, place, err);
    return r;
}

static int record_beside_message(struct publisher *p, uint64_t number, struct ow_position position,
                                 struct ow_error *err)
{
    struct ow_receipt receipt;
    int r = send_number(p, number, err);
    while (r == 0 && (r = p->broker->ops->step(p->broker, &receipt, 1, err)) == 0)
        sleep_until(p->broker, ow_clock_monotonic_ms() + 1000);
    return r == 1 ? record_in(p, position, 0, err) : r;
}

static int reopen(struct publisher *p, struct ow_error *err)
{
    p->broker->ops->close(p->broker);
    return print_position(p, err);
}

static int record(struct publisher *p, struct ow_error *err)
{
    const struct ow_position first = {7, 3}, second = {9, 0}, old = {8, 0};
    int r = print_position(p, err);
    if (r == 0 && !p->has_position && record_in(p, first, 0, err) != OW_EAGAIN)
        return ow_error_set(err, OW_EINTERNAL, "recorded beside no topic");
    if (r == 0)
        r = record_beside_message(p, 1, first, err);
    if (r == 0)
        r = reopen(p, err);
    if (r == 0)
        r = record_beside_message(p, 2, second, err);
    if (r == 0)
        r = reopen(p, err);
    if (r == 0)
        r = record_in(p, old, OW_RECORD_PLACES - 1, err);
    if (r == 0)
        r = reopen(p, err);
    if (r == 0)
        r = p->broker->ops->forget_position(p->broker, p->source, err);
    return r == 0 ? reopen(p, err) : r;
}

int main(int count, char **arguments)
{
    static struct publisher p;
    struct ow_error err = {0};
    bool records = count == 5 && strcmp(arguments[1], "--record") == 0;
    if (!records && count < 6)
        return 2;
    arguments += records;
    p.topic = arguments[2];
    p.source = arguments[3];
    struct ow_kafka_options options = {.servers = arguments[1],
                                       .text = "kafka://test",
                                       .delivery = records ? OW_KAFKA_AT_LEAST_ONCE : OW_KAFKA_EXACTLY_ONCE};
    if (!records) {
        p.last = strtoull(arguments[4], NULL, 10);
        p.each = strtoull(arguments[5], NULL, 10);
        p.pause_ms = count > 6 ? atoi(arguments[6]) : 0;
        p.large = count > 7 ? strtoull(arguments[7], NULL, 10) : 0;
    }
    int r = ow_kafka_broker_new(&options, &p.broker, &err);
    if (r == 0)
        r = records ? record(&p, &err) : run(&p, &err);
    if (p.broker)
        p.broker->ops->discard(p.broker);
    if (r < 0)
        (void)fprintf(stderr, "%s\n", err.text);
    return r < 0 ? ow_error_exit_status(r) : 0;
}
