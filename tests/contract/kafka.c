/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract over a real Kafka, whose address is the argument:
 *
 *     contract_kafka SERVERS [PART OF A NAME]
 *
 * prints a line for each case and ends with 1 if a promise was broken. A folder of the suite becomes a prefix of topics
 * and groups, so that a case sees its own only.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "contract.h"

enum { NAMES_MAX = 64 };

static const char *servers;
static char *names[NAMES_MAX]; /* prefixed topics, kept as long as the program runs: a message in flight has them */
static size_t prefix_size;

static struct ow_kafka_options options_of(void)
{
    return (struct ow_kafka_options){.servers = servers, .text = "kafka://test"};
}

static struct ow_bytes prefixed(const char *folder, struct ow_bytes topic)
{
    char name[200];
    if (!topic.data)
        return topic;
    int n = snprintf(name, sizeof name, "%s.%.*s", folder, OW_PRINT(topic));
    for (int i = 0; i < n; i++)
        name[i] = name[i] == ' ' ? '-' : name[i];
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (!names[i])
            names[i] = strdup(name);
        if (strcmp(names[i], name) == 0)
            return ow_bytes_of(names[i]);
    }
    abort();
}

static struct ow_bytes bare(struct ow_bytes topic)
{
    return (struct ow_bytes){topic.data + prefix_size, topic.size - prefix_size};
}

/* --- publishing --------------------------------------------------------------------------------------- */

struct broker {
    struct ow_broker base;
    struct ow_broker_ops ops;
    struct ow_broker *inner;
    char folder[64];
};

static struct broker *of(struct ow_broker *broker)
{
    return (struct broker *)broker;
}

static int broker_open(struct ow_broker *b, struct ow_error *err)
{
    return of(b)->inner->ops->open(of(b)->inner, err);
}

static int broker_send(struct ow_broker *b, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    struct ow_message m = *message;
    m.topic = prefixed(of(b)->folder, m.topic);
    return of(b)->inner->ops->send(of(b)->inner, &m, token, err);
}

static int broker_step(struct ow_broker *b, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    return of(b)->inner->ops->step(of(b)->inner, receipts, max, err);
}

static void broker_wait(struct ow_broker *b, struct ow_wait *wait)
{
    of(b)->inner->ops->wait(of(b)->inner, wait);
}

static void broker_close(struct ow_broker *b)
{
    of(b)->inner->ops->close(of(b)->inner);
}

static void broker_discard(struct ow_broker *b)
{
    of(b)->inner->ops->discard(of(b)->inner);
    free(b);
}

static int new_broker(const char *folder, struct ow_broker **ret, struct ow_error *err)
{
    struct ow_kafka_options options = options_of();
    struct broker *b = calloc(1, sizeof *b);
    if (!b)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    b->ops = (struct ow_broker_ops){.name = "kafka",
                                    .keeps_order = true,
                                    .open = broker_open,
                                    .send = broker_send,
                                    .step = broker_step,
                                    .wait = broker_wait,
                                    .close = broker_close,
                                    .discard = broker_discard};
    b->base.ops = &b->ops;
    (void)snprintf(b->folder, sizeof b->folder, "%s", folder);
    int r = ow_kafka_broker_new(&options, &b->inner, err);
    if (r < 0) {
        free(b);
        return r;
    }
    *ret = &b->base;
    return 0;
}

/* --- subscribing -------------------------------------------------------------------------------------- */

struct reader {
    struct ow_subscriber base;
    struct ow_subscriber *inner;
    ow_subscriber_listener *listener;
    void *context;
    char folder[64];
};

static struct reader *reader_of(struct ow_subscriber *subscriber)
{
    return (struct reader *)subscriber;
}

static void reader_told(void *context, enum ow_subscriber_event event, struct ow_bytes topic, uint32_t partition)
{
    struct reader *r = context;
    r->listener(r->context, event, bare(topic), partition);
}

static int reader_open(struct ow_subscriber *s, struct ow_error *err)
{
    return reader_of(s)->inner->ops->open(reader_of(s)->inner, err);
}

static int reader_next(struct ow_subscriber *s, struct ow_record *ret, struct ow_error *err)
{
    int r = reader_of(s)->inner->ops->next(reader_of(s)->inner, ret, err);
    if (r == 1)
        ret->message.topic = bare(ret->message.topic);
    return r;
}

static int reader_settle(struct ow_subscriber *s, struct ow_bytes topic, uint32_t partition, int64_t offset,
                         struct ow_error *err)
{
    struct reader *r = reader_of(s);
    return r->inner->ops->settle(r->inner, prefixed(r->folder, topic), partition, offset, err);
}

static int reader_flush(struct ow_subscriber *s, int timeout_ms, struct ow_error *err)
{
    return reader_of(s)->inner->ops->flush(reader_of(s)->inner, timeout_ms, err);
}

static int reader_is_at_end(struct ow_subscriber *s, struct ow_error *err)
{
    return reader_of(s)->inner->ops->is_at_end(reader_of(s)->inner, err);
}

static int reader_pause(struct ow_subscriber *s, struct ow_bytes topic, uint32_t partition)
{
    struct reader *r = reader_of(s);
    return r->inner->ops->pause(r->inner, prefixed(r->folder, topic), partition);
}

static int reader_resume(struct ow_subscriber *s, struct ow_bytes topic, uint32_t partition)
{
    struct reader *r = reader_of(s);
    return r->inner->ops->resume(r->inner, prefixed(r->folder, topic), partition);
}

static int reader_seek(struct ow_subscriber *s, struct ow_bytes topic, uint32_t partition, int64_t offset,
                       struct ow_error *err)
{
    struct reader *r = reader_of(s);
    return r->inner->ops->seek(r->inner, prefixed(r->folder, topic), partition, offset, err);
}

static int reader_look(struct ow_subscriber *s, struct ow_bytes topic, uint32_t partition, struct ow_standing *ret)
{
    struct reader *r = reader_of(s);
    return r->inner->ops->look(r->inner, prefixed(r->folder, topic), partition, ret);
}

static const char *reader_trouble(struct ow_subscriber *s)
{
    return reader_of(s)->inner->ops->trouble(reader_of(s)->inner);
}

static void reader_wait(struct ow_subscriber *s, struct ow_wait *wait)
{
    reader_of(s)->inner->ops->wait(reader_of(s)->inner, wait);
}

static void reader_close(struct ow_subscriber *s)
{
    reader_of(s)->inner->ops->close(reader_of(s)->inner);
    free(s);
}

static const struct ow_subscriber_ops reader_ops = {
    .name = "kafka",
    .open = reader_open,
    .next = reader_next,
    .settle = reader_settle,
    .flush = reader_flush,
    .is_at_end = reader_is_at_end,
    .pause = reader_pause,
    .resume = reader_resume,
    .seek = reader_seek,
    .look = reader_look,
    .trouble = reader_trouble,
    .wait = reader_wait,
    .close = reader_close,
};

/* All topics are "t" here: what else is in this Kafka is nobody's business. */
static int new_subscriber(const char *folder, const struct ow_subscriber_options *wanted, struct ow_subscriber **ret,
                          struct ow_error *err)
{
    static const char *const all[] = {"t"};
    const char *topics[4], *const *asked = wanted->topics ? wanted->topics : all;
    char group[100];
    struct ow_kafka_options kafka = options_of();
    struct ow_subscriber_options options = *wanted;
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    r->base.ops = &reader_ops;
    r->listener = wanted->listener;
    r->context = wanted->context;
    (void)snprintf(r->folder, sizeof r->folder, "%s", folder);
    (void)snprintf(group, sizeof group, "%s.%s", folder, wanted->group ? wanted->group : "");
    options.topic_count = wanted->topics ? wanted->topic_count : 1;
    for (size_t i = 0; i < options.topic_count; i++)
        topics[i] = prefixed(folder, ow_bytes_of(asked[i])).data;
    options.topics = topics;
    options.group = wanted->group ? group : NULL;
    options.listener = wanted->listener ? reader_told : NULL;
    options.context = r;
    int result = ow_kafka_subscriber_new(&kafka, &options, &r->inner, err);
    if (result < 0) {
        free(r);
        return result;
    }
    *ret = &r->base;
    return 0;
}

/* --- the cases ---------------------------------------------------------------------------------------- */

static int run(const struct contract_case *contract, const char *wanted)
{
    static const struct contract_subject kafka = {"kafka", new_broker, new_subscriber, true};
    static int number;
    int broken = 0;
    for (; contract->name; contract++) {
        char folder[64];
        if (wanted && !strstr(contract->name, wanted))
            continue;
        int64_t started = ow_clock_monotonic_ms();
        prefix_size = (size_t)snprintf(folder, sizeof folder, "c%lld-%02d", (long long)ow_clock_wall_ms(), ++number) +
                      1;
        const char *why = contract->check(&kafka, folder);
        (void)printf("%s: %s%s (%lld ms)\n", contract->name, why ? "BROKEN: " : "kept", why ? why : "",
                     (long long)(ow_clock_monotonic_ms() - started));
        (void)fflush(stdout);
        broken += why != NULL;
        for (size_t i = 0; i < NAMES_MAX; i++) {
            free(names[i]);
            names[i] = NULL;
        }
    }
    return broken;
}

int main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    servers = arguments[1];
    const char *wanted = count > 2 ? arguments[2] : NULL;
    int broken = run(contract_subscribing, wanted) + run(contract_groups, wanted);
    return broken > 0;
}
