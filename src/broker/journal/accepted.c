/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/accepted.h"

#include <stdlib.h>

#include "sql.h"

struct ow_journal_accepted_entry {
    uint64_t hash;
    int64_t seq; /* 0: free */
};

enum { SIZE_FIRST = 1024 };

static void put(struct ow_journal_accepted_entry *entries, size_t mask, struct ow_journal_accepted_entry entry)
{
    size_t at = entry.hash & mask;
    while (entries[at].seq)
        at = (at + 1) & mask;
    entries[at] = entry;
}

static int grow(struct ow_journal_accepted *a, struct ow_error *err)
{
    size_t size = a->entries ? (a->mask + 1) * 2 : SIZE_FIRST;
    struct ow_journal_accepted_entry *larger = calloc(size, sizeof *larger);
    if (!larger)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; a->entries && i <= a->mask; i++) {
        if (a->entries[i].seq)
            put(larger, size - 1, a->entries[i]);
    }
    free(a->entries);
    a->entries = larger;
    a->mask = size - 1;
    return 0;
}

int ow_journal_accepted_read(struct ow_journal_accepted *a, struct ow_store *store, int64_t since, int64_t end,
                             int64_t source, struct ow_error *err)
{
    struct ow_value values[] = {ow_value_integer(since), ow_value_integer(end), ow_value_integer(source)}, columns[2];
    ow_journal_accepted_drop(a);
    int r = grow(a, err);
    if (r == 0)
        r = ow_journal_statement(store, &a->read, ow_sql_journal_read_accepted, err);
    if (r == 0)
        r = store->ops->start(a->read, values, 3, err);
    while (r == 0 && (r = store->ops->row(a->read, columns, 2, err)) == 1) {
        r = a->count >= a->mask / 4 * 3 ? grow(a, err) : 0;
        if (r < 0)
            break;
        put(a->entries, a->mask, (struct ow_journal_accepted_entry){ow_hash(columns[1].bytes), columns[0].integer});
        a->count++;
    }
    if (a->read)
        store->ops->stop(a->read);
    if (r < 0)
        ow_journal_accepted_drop(a);
    return r < 0 ? r : 0;
}

static int is_id_of(struct ow_journal_accepted *a, struct ow_store *store, int64_t seq, struct ow_bytes id,
                    struct ow_error *err)
{
    struct ow_value value = ow_value_integer(seq), column = ow_value_null();
    int r = ow_journal_statement(store, &a->read_id, ow_sql_journal_read_accepted_id, err);
    if (r == 0)
        r = store->ops->start(a->read_id, &value, 1, err);
    if (r == 0)
        r = store->ops->row(a->read_id, &column, 1, err);
    bool is_equal = r == 1 && ow_bytes_equal(column.bytes, id);
    if (a->read_id)
        store->ops->stop(a->read_id);
    return r < 0 ? r : is_equal;
}

int ow_journal_accepted_has(struct ow_journal_accepted *a, struct ow_store *store, struct ow_bytes id,
                            struct ow_error *err)
{
    uint64_t hash = ow_hash(id);
    for (size_t at = hash & a->mask; a->entries[at].seq; at = (at + 1) & a->mask) {
        int r = a->entries[at].hash == hash ? is_id_of(a, store, a->entries[at].seq, id, err) : 0;
        if (r != 0)
            return r;
    }
    return 0;
}

void ow_journal_accepted_drop(struct ow_journal_accepted *a)
{
    free(a->entries);
    a->entries = NULL;
    a->mask = a->count = 0;
}
