/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/units.h"
#include "contract.h"

enum { PATIENCE_MS = 10000, PARTITIONS = 16 };

int contract_next(struct ow_subscriber *subscriber, struct ow_record *ret, int64_t ms, struct ow_error *err)
{
    int64_t deadline = ow_clock_monotonic_ms() + ms;
    for (;;) {
        int r = subscriber->ops->next(subscriber, ret, err);
        if (r != 0 || ow_clock_monotonic_ms() >= deadline)
            return r;
        struct ow_wait wait;
        ow_wait_init(&wait);
        subscriber->ops->wait(subscriber, &wait);
        ow_wait_until(&wait, deadline);
        ow_wait_sleep(&wait);
    }
}

static const char *open_both(const struct contract_subject *subject, const char *folder, uint64_t count,
                             const struct ow_subscriber_options *options, struct ow_broker **broker,
                             struct ow_subscriber **subscriber)
{
    struct ow_error err = {0};
    if (!*broker) {
        if (subject->new_broker(folder, broker, &err) != 0 || (*broker)->ops->open(*broker, &err) != 0)
            return contract_broken("the broker cannot be opened: %s", err.text);
        if (count > 0)
            CONTRACT_TRY(contract_publish(*broker, "t", 1, count, 10));
    }
    if (subject->new_subscriber(folder, options, subscriber, &err) != 0 ||
        (*subscriber)->ops->open(*subscriber, &err) != 0)
        return contract_broken("cannot be opened: %s", err.text);
    return NULL;
}

/* `count` records, within each partition one offset after the other from first[partition] (-1: whatever). */
static const char *read_rising(struct ow_subscriber *subscriber, uint64_t count, int64_t next[PARTITIONS])
{
    struct ow_error err = {0};
    for (uint64_t i = 0; i < count; i++) {
        struct ow_record record;
        int r = contract_next(subscriber, &record, PATIENCE_MS, &err);
        if (r != 1)
            return contract_broken("%llu of %llu records did not come: %s", (unsigned long long)(count - i),
                                   (unsigned long long)count, err.text);
        CONTRACT_MUST(record.partition >= 0 && record.partition < PARTITIONS);
        int64_t *at = &next[record.partition];
        if (*at >= 0 && record.offset != *at)
            return contract_broken("partition %lld: offset %lld in the place of %lld", (long long)record.partition,
                                   (long long)record.offset, (long long)*at);
        *at = record.offset + 1;
    }
    return NULL;
}

static const char *from_the_beginning(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    int64_t next[PARTITIONS] = {0};
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    CONTRACT_TRY(open_both(subject, folder, 1500, &options, &broker, &subscriber));
    CONTRACT_MUST(subscriber->ops->is_at_end(subscriber, &err) == 0);
    CONTRACT_TRY(read_rising(subscriber, 1500, next));
    CONTRACT_MUST(subscriber->ops->next(subscriber, &record, &err) == 0);
    CONTRACT_MUST(subscriber->ops->is_at_end(subscriber, &err) == 1);
    return NULL;
}

static const char *from_the_end(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    struct ow_subscriber_options options = {.from = OW_OFFSET_END};
    CONTRACT_TRY(open_both(subject, folder, 100, &options, &broker, &subscriber));
    CONTRACT_MUST(contract_next(subscriber, &record, 0, &err) == 0);
    for (uint64_t i = 101; i < 110; i++) { /* it follows: what comes wakes it */
        CONTRACT_TRY(contract_publish(broker, "t", i, 1, 10));
        char id[24];
        (void)snprintf(id, sizeof id, "%llu", (unsigned long long)i);
        CONTRACT_MUST(contract_next(subscriber, &record, PATIENCE_MS, &err) == 1);
        CONTRACT_MUST(ow_bytes_is(record.message.id, id));
        CONTRACT_MUST(contract_next(subscriber, &record, 0, &err) == 0);
    }
    return NULL;
}

static const char *the_end_is_that_of_the_start(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    CONTRACT_TRY(open_both(subject, folder, 50, &options, &broker, &subscriber));
    CONTRACT_TRY(contract_publish(broker, "t", 51, 50, 10));
    uint64_t count = 0;
    while (subscriber->ops->is_at_end(subscriber, &err) == 0) {
        CONTRACT_MUST(contract_next(subscriber, &record, PATIENCE_MS, &err) == 1);
        count++;
    }
    CONTRACT_MUST(count >= 50 && count <= 100);
    return NULL;
}

static const char *from_an_offset(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    struct ow_error err = {0};
    for (int64_t from = 0; from <= 30; from += 7) {
        OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
        struct ow_subscriber_options options = {.from = from};
        int64_t next[PARTITIONS];
        struct ow_record record;
        for (size_t i = 0; i < PARTITIONS; i++)
            next[i] = from;
        CONTRACT_TRY(open_both(subject, folder, 1000, &options, &broker, &subscriber));
        CONTRACT_TRY(read_rising(subscriber, 100, next));
        while (contract_next(subscriber, &record, 0, &err) == 1)
            CONTRACT_MUST(record.offset >= from);
    }
    return NULL;
}

static const char *only_the_topics_asked_for(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    const char *const topics[] = {"wanted", "not there"};
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING, .topics = topics, .topic_count = 2};
    CONTRACT_TRY(open_both(subject, folder, 20, &options, &broker, &subscriber));
    CONTRACT_TRY(contract_publish(broker, "wanted", 21, 20, 10));
    CONTRACT_TRY(contract_publish(broker, "want", 41, 20, 10));
    for (int i = 0; i < 20; i++) {
        CONTRACT_MUST(contract_next(subscriber, &record, PATIENCE_MS, &err) == 1);
        CONTRACT_MUST(ow_bytes_is(record.message.topic, "wanted"));
    }
    CONTRACT_MUST(contract_next(subscriber, &record, 0, &err) == 0);
    return NULL;
}

static const char *seek_goes_back(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    CONTRACT_TRY(open_both(subject, folder, 0, &options, &broker, &subscriber));
    for (uint64_t i = 1; i <= 40; i++) /* one key, one partition */
        CONTRACT_TRY(contract_publish(broker, "t", i, 1, 1));
    for (int i = 0; i < 30; i++)
        CONTRACT_MUST(contract_next(subscriber, &record, PATIENCE_MS, &err) == 1);
    CONTRACT_MUST(record.offset == 29);
    uint32_t partition = (uint32_t)record.partition;
    const int64_t places[] = {5, 0, 39, OW_OFFSET_BEGINNING};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        CONTRACT_MUST(subscriber->ops->seek(subscriber, OW_BYTES("t"), partition, places[i], &err) == 0);
        CONTRACT_MUST(contract_next(subscriber, &record, PATIENCE_MS, &err) == 1);
        CONTRACT_MUST(record.offset == (places[i] < 0 ? 0 : places[i]));
    }
    CONTRACT_MUST(subscriber->ops->seek(subscriber, OW_BYTES("t"), partition, OW_OFFSET_END, &err) == 0);
    CONTRACT_MUST(contract_next(subscriber, &record, 0, &err) == 0);
    CONTRACT_MUST(subscriber->ops->settle(subscriber, OW_BYTES("t"), partition, 39, &err) == 0); /* no group */
    return NULL;
}

static const char *what_is_not_there(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    const char *const topics[] = {"t"};
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING, .topics = topics, .topic_count = 1};
    CONTRACT_MUST(subject->new_subscriber(folder, &options, &subscriber, &err) == 0);
    int r = subscriber->ops->open(subscriber, &err);
    if (subject->waits_for_topics && r == 0) {
        CONTRACT_MUST(contract_next(subscriber, &record, 0, &err) == 0);
        CONTRACT_MUST(subscriber->ops->trouble(subscriber));
        r = subscriber->ops->is_at_end(subscriber, &err);
    }
    CONTRACT_MUST(r == OW_ENOTFOUND);
    CONTRACT_MUST(err.text[0] != '\0');
    return NULL;
}

const struct contract_case contract_subscribing[] = {
    {"from the beginning", from_the_beginning},
    {"from the end", from_the_end},
    {"the end is that of the start", the_end_is_that_of_the_start},
    {"from an offset", from_an_offset},
    {"only the topics asked for", only_the_topics_asked_for},
    {"seek goes back", seek_goes_back},
    {"what is not there", what_is_not_there},
    {NULL, NULL},
};
