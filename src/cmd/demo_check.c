/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/demo_check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/units.h"
#include "codec/json.h"

/* A committed order, and where its first event stands. */
struct entry {
    struct ow_demo_order order;
    size_t first_event;
    bool has_event;
};

void ow_demo_orders_done(struct ow_demo_orders *orders)
{
    free(orders->items);
    *orders = (struct ow_demo_orders){0};
}

int ow_demo_orders_add(struct ow_demo_orders *orders, struct ow_demo_order order, struct ow_error *err)
{
    if (orders->count == orders->capacity) {
        size_t capacity = orders->capacity ? orders->capacity * 2 : 4096;
        struct ow_demo_order *grown = reallocarray(orders->items, capacity, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        orders->items = grown;
        orders->capacity = capacity;
    }
    orders->items[orders->count++] = order;
    return 0;
}

/* --- payloads ---------------------------------------------------------------------------------------- */

/* One member of the object, whose key was just read. */
static int read_member(struct ow_json *json, struct ow_demo_order *to, unsigned *found, struct ow_error *err)
{
    int64_t *const fields[] = {&to->id, &to->customer, &to->number};
    static const char *const names[] = {"order", "customer", "number"};
    struct ow_bytes value, name = json->text;
    int r = ow_json_skip(json, &value, err);
    for (unsigned i = 0; r == 0 && i < 3; i++) {
        if (!ow_bytes_is(name, names[i]))
            continue;
        r = ow_integer_parse(value, 0, INT64_MAX, fields[i], err);
        *found |= 1U << i;
    }
    return r;
}

int ow_demo_order_read(struct ow_bytes payload, struct ow_demo_order *ret, struct ow_error *err)
{
    struct ow_demo_order order = {0};
    struct ow_json json;
    unsigned found = 0;
    ow_json_init(&json, payload);
    int r = ow_json_next(&json, err);
    if (r >= 0 && r != OW_JSON_OBJECT_BEGIN)
        return ow_error_set(err, OW_EINVALID, "the payload is no object");
    while (r >= 0 && (r = ow_json_next(&json, err)) == OW_JSON_KEY)
        r = read_member(&json, &order, &found, err);
    if (r >= 0)
        r = ow_json_next(&json, err);
    if (r < 0)
        return r;
    if (found != 7)
        return ow_error_set(err, OW_EINVALID, "the payload has no order, customer or number");
    *ret = order;
    return 0;
}

/* --- the comparison ---------------------------------------------------------------------------------- */

static int compare(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_id(const void *a, const void *b)
{
    return compare(((const struct entry *)a)->order.id, ((const struct entry *)b)->order.id);
}

/* Customer after customer, the orders of each in the order in which their first events were accepted. */
static int by_first_event(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = compare(x->order.customer, y->order.customer);
    return c ? c : compare((int64_t)x->first_event, (int64_t)y->first_event);
}

static void count_events(struct entry *entries, size_t count, const struct ow_demo_orders *events,
                         struct ow_demo_counts *counts)
{
    for (size_t i = 0; i < events->count; i++) {
        struct entry wanted = {.order = events->items[i]};
        struct entry *found = count ? bsearch(&wanted, entries, count, sizeof *entries, by_id) : NULL;
        if (!found || found->order.customer != wanted.order.customer || found->order.number != wanted.order.number) {
            counts->ghosts++;
        } else if (found->has_event) {
            counts->duplicates++;
        } else {
            found->has_event = true;
            found->first_event = i;
        }
    }
}

/* The entries without an event are lost; those with one come to the front. */
static size_t count_lost(struct entry *entries, size_t count, struct ow_demo_counts *counts)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].has_event)
            entries[kept++] = entries[i];
        else
            counts->lost++;
    }
    return kept;
}

static void count_out_of_order(const struct entry *entries, size_t count, struct ow_demo_counts *counts)
{
    int64_t newest = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ow_demo_order *order = &entries[i].order;
        if (i == 0 || order->customer != entries[i - 1].order.customer)
            newest = order->number;
        else if (order->number < newest)
            counts->out_of_order++;
        else
            newest = order->number;
    }
}

static void free_entries(struct entry **entries)
{
    free(*entries);
}

int ow_demo_check(const struct ow_demo_orders *committed, const struct ow_demo_orders *events,
                  struct ow_demo_counts *ret, struct ow_error *err)
{
    struct ow_demo_counts counts = {.committed = (int64_t)committed->count, .accepted = (int64_t)events->count};
    size_t count = committed->count;
    OW_CLEANUP(free_entries) struct entry *entries = calloc(count ? count : 1, sizeof *entries);
    if (!entries)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        entries[i].order = committed->items[i];
    qsort(entries, count, sizeof *entries, by_id);
    for (size_t i = 1; i < count; i++)
        if (entries[i].order.id == entries[i - 1].order.id)
            return ow_error_set(err, OW_EINTERNAL, "order %" PRId64 " was committed twice", entries[i].order.id);
    count_events(entries, count, events, &counts);
    count = count_lost(entries, count, &counts);
    qsort(entries, count, sizeof *entries, by_first_event);
    count_out_of_order(entries, count, &counts);
    *ret = counts;
    return 0;
}
