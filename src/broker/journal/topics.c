/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/topics.h"

#include <stdlib.h>

#include "sql.h"

enum { BUCKETS = 1024 };

static struct ow_journal_topic *find_known(struct ow_journal_topics *topics, struct ow_bytes name, uint64_t hash)
{
    if (!topics->buckets)
        return NULL;
    struct ow_journal_topic *t = topics->buckets[hash & topics->mask];
    while (t && (t->hash != hash || !ow_bytes_equal(t->name, name)))
        t = t->next;
    return t;
}

static int read_or_make(struct ow_journal_topics *topics, struct ow_store *store, struct ow_bytes name,
                        uint32_t partitions, int64_t *ret_id, int64_t *ret_partitions, struct ow_error *err)
{
    struct ow_value values[] = {ow_value_text(name), ow_value_integer(partitions)}, columns[2] = {{0}};
    int r = ow_journal_statement(store, &topics->find, ow_sql_journal_find_topic, err);
    if (r == 0)
        r = store->ops->start(topics->find, values, 1, err);
    if (r == 0)
        r = store->ops->row(topics->find, columns, 2, err);
    if (topics->find)
        store->ops->stop(topics->find);
    if (r == 1) {
        *ret_id = columns[0].integer;
        *ret_partitions = columns[1].integer;
        return 1;
    }
    if (r == 0)
        r = ow_journal_run(store, &topics->insert, ow_sql_journal_insert_topic, values, 2, err);
    return r;
}

/* Reads the topic's row, making it and its partitions if there is none. */
static int look_up(struct ow_journal_topics *topics, struct ow_store *store, struct ow_bytes name, uint32_t partitions,
                   int64_t *ret_id, int64_t *ret_partitions, struct ow_error *err)
{
    int r = read_or_make(topics, store, name, partitions, ret_id, ret_partitions, err);
    if (r != 0)
        return r < 0 ? r : 0;
    r = read_or_make(topics, store, name, partitions, ret_id, ret_partitions, err);
    if (r < 0)
        return r;
    struct ow_value values[] = {ow_value_integer(*ret_id), ow_value_integer(partitions)};
    return ow_journal_run(store, &topics->insert_partitions, ow_sql_journal_insert_partitions, values, 2, err);
}

static int keep(struct ow_journal_topics *topics, struct ow_bytes name, uint64_t hash, int64_t id, int64_t partitions,
                struct ow_journal_topic **ret, struct ow_error *err)
{
    if (partitions < 1 || partitions > OW_JOURNAL_PARTITIONS_MAX)
        return ow_error_set(err, OW_ECORRUPT, "the journal's topic %.*s has %lld partitions", OW_PRINT(name),
                            (long long)partitions);
    if (!topics->buckets && !(topics->buckets = calloc(BUCKETS, sizeof *topics->buckets)))
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    topics->mask = BUCKETS - 1;
    size_t size = sizeof(struct ow_journal_topic) + (size_t)partitions * sizeof(struct ow_journal_partition);
    struct ow_journal_topic *t = calloc(1, size + name.size);
    if (!t)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    memcpy((char *)t + size, name.data, name.size);
    t->name = (struct ow_bytes){(char *)t + size, name.size};
    t->hash = hash;
    t->id = id;
    t->partition_count = (uint32_t)partitions;
    t->next = topics->buckets[hash & topics->mask];
    topics->buckets[hash & topics->mask] = t;
    topics->count++;
    *ret = t;
    return 0;
}

static int read_partitions(struct ow_journal_topics *topics, struct ow_store *store, struct ow_journal_topic *t,
                           struct ow_error *err)
{
    struct ow_value value = ow_value_integer(t->id), columns[4];
    uint32_t n = 0;
    int r = ow_journal_statement(store, &topics->read, ow_sql_journal_read_topic_partitions, err);
    if (r == 0)
        r = store->ops->start(topics->read, &value, 1, err);
    while (r == 0 && (r = store->ops->row(topics->read, columns, 4, err)) == 1) {
        r = 0;
        if (n == t->partition_count || columns[0].integer != n) {
            n = UINT32_MAX;
            break;
        }
        t->partitions[n++] = (struct ow_journal_partition){
            .id = columns[1].integer, .next_offset = columns[2].integer, .indexed_seq = columns[3].integer};
    }
    if (topics->read)
        store->ops->stop(topics->read);
    if (r < 0)
        return r;
    if (n != t->partition_count)
        return ow_error_set(err, OW_ECORRUPT, "the journal's topic %.*s lacks partitions", OW_PRINT(t->name));
    return 0;
}

int ow_journal_topics_get(struct ow_journal_topics *topics, struct ow_store *store, struct ow_bytes name,
                          uint64_t transaction, uint32_t partitions, struct ow_journal_topic **ret,
                          struct ow_error *err)
{
    struct ow_journal_topic *t = topics->last;
    if (!t || !ow_bytes_equal(t->name, name)) {
        uint64_t hash = ow_hash(name);
        t = find_known(topics, name, hash);
        int64_t id = 0, count = partitions;
        int r = t ? 0 : look_up(topics, store, name, partitions, &id, &count, err);
        if (r == 0 && !t)
            r = keep(topics, name, hash, id, count, &t, err);
        if (r != 0)
            return r;
    }
    if (t->transaction != transaction) {
        int r = read_partitions(topics, store, t, err);
        if (r < 0)
            return r;
        t->transaction = transaction;
    }
    *ret = topics->last = t;
    return 0;
}

struct ow_journal_partition *ow_journal_topic_partition(struct ow_journal_topics *topics, struct ow_journal_topic *t,
                                                        struct ow_bytes key)
{
    uint32_t place = t->partition_count == 1 ? 0 : key.data ? ow_murmur2(key) & 0x7fffffff : t->next_unkeyed++;
    struct ow_journal_partition *p = &t->partitions[place % t->partition_count];
    if (!p->is_changed) {
        p->is_changed = true;
        p->next_changed = topics->changed;
        topics->changed = p;
    }
    return p;
}

int ow_journal_topics_write(struct ow_journal_topics *topics, struct ow_store *store, struct ow_error *err)
{
    for (struct ow_journal_partition *p = topics->changed; p; p = p->next_changed) {
        struct ow_value values[] = {ow_value_integer(p->id), ow_value_integer(p->next_offset),
                                    ow_value_integer(p->indexed_seq)};
        int r = ow_journal_run(store, &topics->write, ow_sql_journal_write_partition, values, 3, err);
        if (r < 0)
            return r;
        p->is_changed = false;
    }
    topics->changed = NULL;
    return 0;
}

void ow_journal_topics_clear(struct ow_journal_topics *topics)
{
    for (size_t i = 0; topics->buckets && i <= topics->mask; i++) {
        for (struct ow_journal_topic *t = topics->buckets[i], *next; t; t = next) {
            next = t->next;
            free(t);
        }
    }
    free(topics->buckets);
    topics->buckets = NULL;
    topics->last = NULL;
    topics->changed = NULL;
    topics->count = 0;
}
