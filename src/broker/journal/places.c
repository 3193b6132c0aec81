/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/places.h"

#include <stdlib.h>

#include "sql.h"

struct ow_journal_place *ow_journal_places_by_id(const struct ow_journal_places *places, int64_t id)
{
    size_t low = 0, high = places->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (places->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < places->count && places->items[low]->id == id ? places->items[low] : NULL;
}

struct ow_journal_place *ow_journal_places_find(const struct ow_journal_places *places, struct ow_bytes topic,
                                                int64_t number)
{
    for (size_t i = 0; i < places->count; i++) {
        struct ow_journal_place *p = places->items[i];
        if (p->number == number && ow_bytes_equal(p->topic, topic))
            return p;
    }
    return NULL;
}

static bool is_wanted(const struct ow_journal_places *places, struct ow_bytes topic)
{
    for (size_t i = 0; i < places->topic_count; i++) {
        if (ow_bytes_equal(places->topics[i], topic))
            return true;
    }
    return !places->topics;
}

/* Rows come by rising id, so new ones go to the end. */
static int add(struct ow_journal_places *places, const struct ow_value *row, struct ow_error *err)
{
    if (places->count == places->capacity) {
        size_t capacity = places->capacity ? places->capacity * 2 : 16;
        struct ow_journal_place **grown = reallocarray(places->items, capacity, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        places->items = grown;
        places->capacity = capacity;
    }
    struct ow_journal_place *p = calloc(1, sizeof *p + row[2].bytes.size);
    if (!p)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    p->id = row[0].integer;
    p->topic_id = row[1].integer;
    memcpy(p + 1, row[2].bytes.data, row[2].bytes.size);
    p->topic = (struct ow_bytes){(char *)(p + 1), row[2].bytes.size};
    p->partition_count = row[3].integer;
    p->number = row[4].integer;
    p->end_at_open = places->was_read ? 0 : row[6].integer;
    p->next = -1;
    places->items[places->count++] = p;
    return 0;
}

int ow_journal_places_read(struct ow_journal_places *places, struct ow_store *store, struct ow_error *err)
{
    struct ow_value row[7];
    int r = ow_journal_statement(store, &places->read, ow_sql_journal_read_partitions, err);
    if (r == 0)
        r = store->ops->start(places->read, NULL, 0, err);
    while (r == 0 && (r = store->ops->row(places->read, row, 7, err)) == 1) {
        struct ow_journal_place *p = ow_journal_places_by_id(places, row[0].integer);
        r = p || !is_wanted(places, row[2].bytes) ? 0 : add(places, row, err);
        if (r == 0 && !p)
            p = ow_journal_places_by_id(places, row[0].integer);
        if (!p)
            continue;
        p->first = row[5].integer;
        p->end = row[6].integer;
        if (p->next >= 0 && p->next < p->first) /* retention was faster */
            ow_journal_place_jump(p, p->first);
    }
    if (places->read)
        store->ops->stop(places->read);
    if (r == 0)
        places->was_read = true;
    return r < 0 ? r : 0;
}

int ow_journal_places_seq(struct ow_journal_places *places, struct ow_store *store,
                          const struct ow_journal_place *place, int64_t *ret, struct ow_error *err)
{
    struct ow_value values[] = {ow_value_integer(place->id), ow_value_integer(place->next)};
    int64_t seq = 0;
    int r = ow_journal_integer(store, &places->find, ow_sql_journal_find_index, values, 2, 0, &seq, err);
    *ret = seq > place->seq_min ? seq : place->seq_min;
    return r;
}

void ow_journal_place_jump(struct ow_journal_place *place, int64_t offset)
{
    place->next = offset < place->first ? place->first : offset > place->end ? place->end : offset;
    place->seq_min = 0;
    place->generation++;
}

void ow_journal_places_done(struct ow_journal_places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->items[i]);
    free(places->items);
    places->items = NULL;
    places->count = places->capacity = 0;
    places->read = places->find = NULL;
}
