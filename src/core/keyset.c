/* SPDX-License-Identifier: Apache-2.0 */
#include "core/keyset.h"

#include <stdlib.h>

enum { BUCKETS_FIRST = 64 };

struct ow_keyset_entry {
    struct ow_keyset_entry *next;
    uint64_t hash;
    size_t size;
    char bytes[];
};

static struct ow_keyset_entry **find(const struct ow_keyset *set, uint64_t hash, struct ow_bytes key)
{
    struct ow_keyset_entry **at = &set->buckets[hash & (set->bucket_count - 1)];
    while (*at && ((*at)->hash != hash || !ow_bytes_equal((struct ow_bytes){(*at)->bytes, (*at)->size}, key)))
        at = &(*at)->next;
    return at;
}

/* Without memory for more buckets it goes on with those that there are. */
static void grow(struct ow_keyset *set)
{
    size_t count = set->bucket_count * 2;
    struct ow_keyset_entry **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return;
    for (size_t i = 0; i < set->bucket_count; i++)
        for (struct ow_keyset_entry *entry = set->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            entry->next = buckets[entry->hash & (count - 1)];
            buckets[entry->hash & (count - 1)] = entry;
        }
    free(set->buckets);
    set->buckets = buckets;
    set->bucket_count = count;
}

int ow_keyset_add(struct ow_keyset *set, struct ow_bytes key, struct ow_error *err)
{
    if (!set->buckets) {
        set->buckets = calloc(BUCKETS_FIRST, sizeof *set->buckets);
        set->bucket_count = set->buckets ? BUCKETS_FIRST : 0;
    }
    uint64_t hash = ow_hash(key);
    struct ow_keyset_entry **at = set->buckets ? find(set, hash, key) : NULL;
    if (at && *at)
        return 0;
    struct ow_keyset_entry *entry = at ? malloc(sizeof *entry + key.size) : NULL;
    if (!entry)
        return ow_error_set(err, OW_ENOMEM, "out of memory for %zu keys", set->count + 1);
    *entry = (struct ow_keyset_entry){.hash = hash, .size = key.size};
    if (key.size)
        memcpy(entry->bytes, key.data, key.size);
    *at = entry;
    if (++set->count > set->bucket_count)
        grow(set);
    return 0;
}

bool ow_keyset_has(const struct ow_keyset *set, struct ow_bytes key)
{
    return set->count > 0 && *find(set, ow_hash(key), key);
}

void ow_keyset_remove(struct ow_keyset *set, struct ow_bytes key)
{
    struct ow_keyset_entry **at = set->count ? find(set, ow_hash(key), key) : NULL;
    if (!at || !*at)
        return;
    struct ow_keyset_entry *entry = *at;
    *at = entry->next;
    free(entry);
    set->count--;
}

void ow_keyset_done(struct ow_keyset *set)
{
    for (size_t i = 0; i < set->bucket_count; i++)
        for (struct ow_keyset_entry *entry = set->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            free(entry);
        }
    free(set->buckets);
    *set = (struct ow_keyset){0};
}
