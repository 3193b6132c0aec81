/* SPDX-License-Identifier: Apache-2.0 */
/* What members of a group are promised. */
#include <stdio.h>

#include "base/units.h"
#include "contract.h"

enum { PATIENCE_MS = 20000, PARTITIONS = 16, TURN_MS = 20, MESSAGES_MAX = 1000 };

struct member {
    struct ow_subscriber *subscriber;
    bool has[PARTITIONS];
    int64_t settled[PARTITIONS], seek_to; /* seek_to: on ASSIGNED; -3: nowhere */
    int assigned, revoked;
    uint64_t given[MESSAGES_MAX]; /* how often each */
    uint64_t count;
    bool breaks; /* a record came of what is not its own, or a listener was called in vain */
};

static void listen_to(void *context, enum ow_subscriber_event event, struct ow_bytes topic, uint32_t partition)
{
    struct member *m = context;
    struct ow_error err;
    if (partition >= PARTITIONS || m->has[partition] == (event == OW_EVENT_ASSIGNED) || !ow_bytes_is(topic, "t")) {
        m->breaks = true;
        return;
    }
    m->has[partition] = event == OW_EVENT_ASSIGNED;
    m->assigned += event == OW_EVENT_ASSIGNED;
    m->revoked += event == OW_EVENT_REVOKED;
    if (event == OW_EVENT_ASSIGNED && m->seek_to >= OW_OFFSET_BEGINNING &&
        m->subscriber->ops->seek(m->subscriber, topic, partition, m->seek_to, &err) != 0)
        m->breaks = true;
    if (event == OW_EVENT_REVOKED && m->settled[partition] >= 0 &&
        m->subscriber->ops->settle(m->subscriber, topic, partition, m->settled[partition], &err) != 0)
        m->breaks = true;
}

static void leave(struct member *m)
{
    if (m->subscriber)
        m->subscriber->ops->close(m->subscriber);
    m->subscriber = NULL;
    for (int i = 0; i < PARTITIONS; i++)
        m->has[i] = false;
}

static const char *join(const struct contract_subject *subject, const char *folder, struct member *m, int64_t from)
{
    static const char *const topics[] = {"t"};
    struct ow_error err = {0};
    struct ow_subscriber_options options = {
        .group = "g", .topics = topics, .topic_count = 1, .from = from, .listener = listen_to, .context = m};
    for (int i = 0; i < PARTITIONS; i++)
        m->settled[i] = -1;
    if (subject->new_subscriber(folder, &options, &m->subscriber, &err) != 0 ||
        m->subscriber->ops->open(m->subscriber, &err) != 0)
        return contract_broken("cannot join: %s", err.text);
    return NULL;
}

static struct member new_member(void)
{
    return (struct member){.seek_to = -3};
}

static int owned(const struct member *m)
{
    int n = 0;
    for (int i = 0; i < PARTITIONS; i++)
        n += m->has[i];
    return n;
}

/* One record, or none within the turn; noted, and remembered as to be settled. */
static const char *turn(struct member *m, struct ow_record *record, bool *came)
{
    struct ow_error err = {0};
    int64_t number = 0;
    int r = contract_next(m->subscriber, record, TURN_MS, &err);
    *came = r == 1;
    if (r < 0)
        return contract_broken("next: %s", err.text);
    if (m->breaks)
        return contract_broken("the listener was told what is not so, or could not do what it may");
    if (r == 0)
        return NULL;
    if (!m->has[record->partition])
        return contract_broken("a record of partition %lld, which is not ours", (long long)record->partition);
    if (ow_integer_parse(record->message.id, 0, MESSAGES_MAX - 1, &number, &err) < 0)
        return contract_broken("an id that nobody sent: %.*s", OW_PRINT(record->message.id));
    m->given[number]++;
    m->count++;
    m->settled[record->partition] = record->offset;
    return NULL;
}

static const char *settle_all(struct member *m)
{
    struct ow_error err = {0};
    for (int i = 0; i < PARTITIONS; i++)
        if (m->has[i] && m->settled[i] >= 0 &&
            m->subscriber->ops->settle(m->subscriber, OW_BYTES("t"), (uint32_t)i, m->settled[i], &err) != 0)
            return contract_broken("settle: %s", err.text);
    return NULL;
}

static const char *begin(const struct contract_subject *subject, const char *folder, struct ow_broker **broker,
                         uint64_t count, uint64_t keys)
{
    struct ow_error err = {0};
    if (subject->new_broker(folder, broker, &err) != 0 || (*broker)->ops->open(*broker, &err) != 0)
        return contract_broken("the broker cannot be opened: %s", err.text);
    return contract_publish(*broker, "t", 1, count, keys);
}

static const char *read_some(struct member *m, uint64_t count, struct ow_record *last)
{
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    for (uint64_t n = 0; n < count;) {
        bool came;
        CONTRACT_TRY(turn(m, last, &came));
        n += came;
        if (ow_clock_monotonic_ms() > deadline)
            return contract_broken("only %llu of %llu records came", (unsigned long long)n, (unsigned long long)count);
    }
    return NULL;
}

/* --- the promises ------------------------------------------------------------------------------------- */

static const char *goes_on_where_it_settled(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(leave) struct member m = new_member();
    struct ow_error err = {0};
    struct ow_record record;
    struct ow_standing standing;
    CONTRACT_TRY(begin(subject, folder, &broker, 40, 1));
    CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_BEGINNING));
    CONTRACT_TRY(read_some(&m, 30, &record));
    uint32_t partition = (uint32_t)record.partition;
    CONTRACT_MUST(m.subscriber->ops->settle(m.subscriber, OW_BYTES("t"), partition, 19, &err) == 0);
    CONTRACT_MUST(m.subscriber->ops->flush(m.subscriber, PATIENCE_MS, &err) == 0);
    CONTRACT_MUST(m.subscriber->ops->look(m.subscriber, OW_BYTES("t"), partition, &standing) == 0);
    CONTRACT_MUST(standing.settled == 20 && standing.next == 30 && standing.end == 40);
    leave(&m);
    CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_BEGINNING));
    CONTRACT_TRY(read_some(&m, 1, &record));
    CONTRACT_MUST(record.offset == 20);
    CONTRACT_TRY(read_some(&m, 19, &record));
    CONTRACT_MUST(record.offset == 39);
    CONTRACT_TRY(settle_all(&m)); /* close() makes it durable */
    leave(&m);
    CONTRACT_TRY(contract_publish(broker, "t", 41, 1, 1));
    CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_BEGINNING));
    CONTRACT_TRY(read_some(&m, 1, &record));
    CONTRACT_MUST(record.offset == 40);
    return NULL;
}

/* Both have some, and what one settles the other does not get. */
static const char *two_share(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(leave) struct member a = new_member();
    OW_CLEANUP(leave) struct member b = new_member();
    struct ow_record record;
    bool came;
    CONTRACT_TRY(begin(subject, folder, &broker, 300, 50));
    CONTRACT_TRY(join(subject, folder, &a, OW_OFFSET_BEGINNING));
    CONTRACT_TRY(read_some(&a, 200, &record));
    int partitions = owned(&a);
    CONTRACT_MUST(partitions > 1);
    CONTRACT_TRY(join(subject, folder, &b, OW_OFFSET_BEGINNING));
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    while (owned(&b) == 0 || owned(&a) + owned(&b) < partitions || a.count + b.count < 300) {
        CONTRACT_TRY(turn(&a, &record, &came));
        CONTRACT_TRY(turn(&b, &record, &came));
        CONTRACT_MUST(ow_clock_monotonic_ms() < deadline);
    }
    CONTRACT_MUST(owned(&a) > 0 && a.revoked > 0);
    for (int i = 1; i <= 300; i++)
        if (a.given[i] + b.given[i] != 1)
            return contract_broken("%d came %d times to one and %d to the other", i, (int)a.given[i], (int)b.given[i]);
    return NULL;
}

static const char *who_leaves_is_replaced(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(leave) struct member a = new_member();
    OW_CLEANUP(leave) struct member b = new_member();
    struct ow_record record;
    bool came;
    CONTRACT_TRY(begin(subject, folder, &broker, 100, 50));
    CONTRACT_TRY(join(subject, folder, &a, OW_OFFSET_BEGINNING));
    CONTRACT_TRY(read_some(&a, 100, &record));
    int partitions = owned(&a);
    CONTRACT_TRY(join(subject, folder, &b, OW_OFFSET_BEGINNING));
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    while (owned(&b) == 0 || owned(&a) + owned(&b) < partitions) {
        CONTRACT_TRY(turn(&a, &record, &came));
        CONTRACT_TRY(turn(&b, &record, &came));
        CONTRACT_MUST(ow_clock_monotonic_ms() < deadline);
    }
    int moved = owned(&b);
    leave(&b);
    deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    while (owned(&a) < partitions) {
        CONTRACT_TRY(turn(&a, &record, &came));
        CONTRACT_MUST(ow_clock_monotonic_ms() < deadline);
    }
    CONTRACT_MUST(moved > 0);
    CONTRACT_TRY(contract_publish(broker, "t", 101, 100, 50));
    uint64_t before = a.count;
    CONTRACT_TRY(read_some(&a, 100, &record));
    CONTRACT_MUST(a.count == before + 100);
    return NULL;
}

static const char *what_is_gone_is_not_settled(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(leave) struct member a = new_member();
    OW_CLEANUP(leave) struct member b = new_member();
    struct ow_error err = {0};
    struct ow_record record;
    struct ow_standing standing;
    bool came;
    CONTRACT_TRY(begin(subject, folder, &broker, 100, 50));
    CONTRACT_TRY(join(subject, folder, &a, OW_OFFSET_BEGINNING));
    CONTRACT_TRY(read_some(&a, 100, &record));
    CONTRACT_TRY(join(subject, folder, &b, OW_OFFSET_BEGINNING));
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    while (owned(&b) == 0) {
        CONTRACT_TRY(turn(&a, &record, &came));
        CONTRACT_TRY(turn(&b, &record, &came));
        CONTRACT_MUST(ow_clock_monotonic_ms() < deadline);
    }
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        if (!b.has[i])
            continue;
        CONTRACT_MUST(a.subscriber->ops->settle(a.subscriber, OW_BYTES("t"), i, 0, &err) == OW_ESTANDBY);
        CONTRACT_MUST(a.subscriber->ops->look(a.subscriber, OW_BYTES("t"), i, &standing) == OW_ENOTFOUND);
    }
    return NULL;
}

static const char *begins_where_the_listener_says(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(leave) struct member m = new_member();
    struct ow_record record;
    CONTRACT_TRY(begin(subject, folder, &broker, 40, 1));
    CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_BEGINNING));
    CONTRACT_TRY(read_some(&m, 30, &record));
    CONTRACT_TRY(settle_all(&m));
    leave(&m);
    for (int64_t to = 7; to < 40; to += 16) {
        m.seek_to = to;
        CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_BEGINNING));
        CONTRACT_TRY(read_some(&m, 1, &record));
        CONTRACT_MUST(record.offset == to);
        CONTRACT_TRY(read_some(&m, (uint64_t)(39 - to), &record));
        CONTRACT_MUST(record.offset == 39);
        leave(&m);
    }
    return NULL;
}

/* A group that begins at the end misses nothing that comes while none of its members is there. */
static const char *the_end_is_remembered(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(leave) struct member m = new_member();
    struct ow_record record;
    struct ow_standing standing;
    bool came, is_kept = false;
    CONTRACT_TRY(begin(subject, folder, &broker, 50, 50));
    CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_END));
    int64_t deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    while (!is_kept) {
        CONTRACT_TRY(turn(&m, &record, &came));
        CONTRACT_MUST(!came && ow_clock_monotonic_ms() < deadline);
        is_kept = owned(&m) > 0;
        for (uint32_t i = 0; i < PARTITIONS; i++)
            if (m.has[i] &&
                (m.subscriber->ops->look(m.subscriber, OW_BYTES("t"), i, &standing) != 0 || standing.settled < 0))
                is_kept = false;
    }
    leave(&m);
    CONTRACT_TRY(contract_publish(broker, "t", 51, 20, 50));
    CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_END));
    CONTRACT_TRY(read_some(&m, 20, &record));
    for (int i = 51; i <= 70; i++)
        CONTRACT_MUST(m.given[i] == 1);
    return NULL;
}

static const char *a_pause_keeps_the_place(const struct contract_subject *subject, const char *folder)
{
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(leave) struct member m = new_member();
    struct ow_error err = {0};
    struct ow_record record;
    bool came;
    int64_t next[PARTITIONS] = {0};
    CONTRACT_TRY(begin(subject, folder, &broker, 600, 50));
    CONTRACT_TRY(join(subject, folder, &m, OW_OFFSET_BEGINNING));
    const struct ow_subscriber_ops *ops = m.subscriber->ops;
    int64_t paused = -1, deadline = ow_clock_monotonic_ms() + PATIENCE_MS;
    for (int i = 0; m.count < 600 || paused >= 0; i++) {
        CONTRACT_TRY(turn(&m, &record, &came));
        CONTRACT_MUST(ow_clock_monotonic_ms() < deadline);
        if (came) {
            CONTRACT_MUST(record.partition != paused && record.offset == next[record.partition]);
            next[record.partition]++;
        }
        if (came && paused < 0 && i % 50 == 7) {
            paused = record.partition;
            CONTRACT_MUST(ops->pause(m.subscriber, OW_BYTES("t"), (uint32_t)paused) == 0);
        } else if (paused >= 0 && (!came || i % 50 == 40)) {
            CONTRACT_MUST(ops->resume(m.subscriber, OW_BYTES("t"), (uint32_t)paused) == 0);
            paused = -1;
        }
        if (i % 90 == 60) { /* all of it: next() may be called, and gives nothing */
            CONTRACT_MUST(ops->pause(m.subscriber, OW_NULL_BYTES, 0) == 0);
            CONTRACT_MUST(contract_next(m.subscriber, &record, TURN_MS, &err) == 0);
            CONTRACT_MUST(ops->resume(m.subscriber, OW_NULL_BYTES, 0) == 0);
        }
    }
    CONTRACT_MUST(m.count == 600);
    CONTRACT_MUST(ops->pause(m.subscriber, OW_BYTES("another"), 0) == OW_ENOTFOUND);
    return NULL;
}

/* More of it than anybody would keep in memory. */
static const char *a_long_pause_keeps_the_place(const struct contract_subject *subject, const char *folder)
{
    enum { EACH = 2000, LONG = 20000 };
    OW_CLEANUP(contract_discard) struct ow_broker *broker = NULL;
    OW_CLEANUP(contract_close) struct ow_subscriber *subscriber = NULL;
    struct ow_error err = {0};
    struct ow_record record;
    static const char *const topics[] = {"t"};
    struct ow_subscriber_options options = {
        .group = "g", .topics = topics, .topic_count = 1, .from = OW_OFFSET_BEGINNING};
    CONTRACT_TRY(begin(subject, folder, &broker, EACH, 1));
    for (uint64_t at = EACH; at < LONG; at += EACH)
        CONTRACT_TRY(contract_publish(broker, "t", at + 1, EACH, 1));
    CONTRACT_MUST(subject->new_subscriber(folder, &options, &subscriber, &err) == 0);
    CONTRACT_MUST(subscriber->ops->open(subscriber, &err) == 0);
    for (int64_t i = 0; i < LONG; i++) {
        CONTRACT_MUST(contract_next(subscriber, &record, PATIENCE_MS, &err) == 1);
        if (record.offset != i)
            return contract_broken("offset %lld in the place of %lld", (long long)record.offset, (long long)i);
        if (i % 7000 != 100)
            continue;
        CONTRACT_MUST(subscriber->ops->pause(subscriber, OW_BYTES("t"), (uint32_t)record.partition) == 0);
        uint32_t partition = (uint32_t)record.partition;
        for (int n = 0; n < 10; n++)
            CONTRACT_MUST(contract_next(subscriber, &record, TURN_MS, &err) == 0);
        CONTRACT_MUST(subscriber->ops->resume(subscriber, OW_BYTES("t"), partition) == 0);
    }
    return NULL;
}

const struct contract_case contract_groups[] = {
    {"goes on where it settled", goes_on_where_it_settled},
    {"two share", two_share},
    {"who leaves is replaced", who_leaves_is_replaced},
    {"what is gone is not settled", what_is_gone_is_not_settled},
    {"begins where the listener says", begins_where_the_listener_says},
    {"the end is remembered", the_end_is_remembered},
    {"a pause keeps the place", a_pause_keeps_the_place},
    {"a long pause keeps the place", a_long_pause_keeps_the_place},
    {NULL, NULL},
};
