/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the journal share: a folder of their own, publishing a few messages, reading all. */
#ifndef OW_JOURNAL_FIXTURE_H
#define OW_JOURNAL_FIXTURE_H

#include "unit.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "broker/broker.h"
#include "broker/journal/file.h"
#include "broker/journal/journal.h"
#include "broker/subscriber.h"

static char directory[64], path[96];

static inline int set_up(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/onewrite-journal-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    (void)snprintf(path, sizeof path, "%s/bus.db", directory);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    DIR *folder = opendir(directory);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char name[400];
        (void)snprintf(name, sizeof name, "%s/%s", directory, entry->d_name);
        (void)unlink(name);
    }
    (void)closedir(folder);
    return rmdir(directory);
}

static inline struct ow_message message_of(const char *topic, const char *key, const char *id, const char *value)
{
    return (struct ow_message){.topic = ow_bytes_of(topic),
                               .key = ow_bytes_of(key),
                               .id = ow_bytes_of(id),
                               .type = OW_BYTES("Thing"),
                               .payload = ow_bytes_of(value),
                               .time_ms = 1700000000123};
}

static inline struct ow_broker *open_broker(const struct ow_journal_options *given)
{
    struct ow_broker *broker = NULL;
    struct ow_error err = {0};
    struct ow_journal_options options = given ? *given : (struct ow_journal_options){0};
    options.path = path;
    assert_int_equal(ow_journal_broker_new(&options, &broker, &err), 0);
    if (broker->ops->open(broker, &err) != 0)
        fail_msg("%s", err.text);
    return broker;
}

static inline void must_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token)
{
    struct ow_error err = {0};
    if (broker->ops->send(broker, message, token, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void must_begin(struct ow_broker *broker)
{
    struct ow_error err = {0};
    if (broker->ops->txn_begin(broker, &err) != 0)
        fail_msg("%s", err.text);
}

/* source NULL: none. Takes the receipts, all of which must say ACCEPTED, and gives their count. */
static inline int must_commit(struct ow_broker *broker, const char *source, uint64_t position)
{
    struct ow_error err = {0};
    struct ow_receipt receipts[16];
    if (broker->ops->txn_commit(broker, source, (struct ow_position){position, 0}, &err) != 0)
        fail_msg("%s", err.text);
    int total = 0;
    for (int n; (n = broker->ops->step(broker, receipts, 16, &err)) > 0; total += n)
        for (int i = 0; i < n; i++)
            assert_int_equal(receipts[i].verdict, OW_ACCEPTED);
    return total;
}

/* `count` messages in one transaction, ids "<prefix><from>" …, keys the same. */
static inline void publish_many(struct ow_broker *broker, const char *topic, const char *prefix, int from, int count,
                                const char *source)
{
    must_begin(broker);
    for (int i = from; i < from + count; i++) {
        char id[40];
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        struct ow_message m = message_of(topic, id, id, "value");
        must_send(broker, &m, (uint64_t)i + 1);
    }
    assert_int_equal(must_commit(broker, source, (uint64_t)(from + count)), count);
}

static inline struct ow_subscriber *open_subscriber(const struct ow_subscriber_options *options)
{
    struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    assert_int_equal(ow_journal_subscriber_new(path, options, &subscriber, &err), 0);
    if (subscriber->ops->open(subscriber, &err) != 0)
        fail_msg("%s", err.text);
    return subscriber;
}

/* 1: a record within the time; 0: none came. */
static inline int next_within(struct ow_subscriber *subscriber, struct ow_record *ret, int64_t ms)
{
    struct ow_error err = {0};
    int64_t deadline = ow_clock_monotonic_ms() + ms;
    for (;;) {
        int r = subscriber->ops->next(subscriber, ret, &err);
        if (r < 0)
            fail_msg("%s", err.text);
        if (r == 1 || ow_clock_monotonic_ms() >= deadline)
            return r;
        struct ow_wait wait;
        ow_wait_init(&wait);
        subscriber->ops->wait(subscriber, &wait);
        ow_wait_until(&wait, deadline);
        ow_wait_sleep(&wait);
    }
}

/* One number out of the file, by SQL. */
static inline int64_t number(const char *sql)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_error err = {0};
    int64_t value = -1;
    if (ow_journal_open(path, OW_JOURNAL_READ, &store, &err) != 0 ||
        ow_store_query_integer(store, sql, NULL, 0, -1, &value, &err) != 0)
        fail_msg("%s", err.text);
    return value;
}

/* Every partition has the offsets [first_offset, next_offset), each once, in the order of seq. */
static inline void check_contiguous(void)
{
    assert_int_equal(number("SELECT count(*) FROM journal_partition p WHERE p.next_offset - p.first_offset != "
                            "(SELECT count(DISTINCT r.\"offset\") FROM journal_record r WHERE r.partition = p.id "
                            "AND r.\"offset\" >= p.first_offset AND r.\"offset\" < p.next_offset)"),
                     0);
    assert_int_equal(number("SELECT count(*) FROM journal_record") -
                         number("SELECT coalesce(sum(next_offset - first_offset), 0) FROM journal_partition"),
                     0);
    assert_int_equal(number("SELECT count(*) FROM (SELECT \"offset\" - lag(\"offset\") OVER (PARTITION BY partition "
                            "ORDER BY seq) AS step FROM journal_record) WHERE step != 1"),
                     0);
}

#endif
