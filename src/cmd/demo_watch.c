/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo's consumer: follows both journals from their beginning while they are written, and looks from time
 * to time at what the outbox holds. When all is over it reads each journal a second time, from the beginning
 * to the end, so that nothing is judged that following has passed over, and compares with the shop's own
 * table.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/units.h"
#include "broker/subscriber.h"
#include "cmd/demo.h"
#include "sql.h"
#include "store/store.h"

enum {
    TURN_MAX = 2000, /* records of one side before the other has its turn */
    LOOK_EVERY_MS = 100,
    SLEEP_MS = 50,
    CATCH_UP_MS = 30000,
};

struct follower {
    enum ow_demo_side side;
    struct ow_subscriber *subscriber;
    struct ow_demo_orders events;
    atomic_llong *accepted;
};

struct watcher {
    struct ow_demo_shared *shared;
    struct follower followers[OW_DEMO_SIDES];
    struct ow_store *store; /* of the shop with the outbox */
    struct ow_statement *count_waiting;
    struct ow_statement *outbox_bytes; /* NULL: this SQLite has no dbstat */
    int64_t next_look_ms;
};

static void close_subscriber(struct ow_subscriber **subscriber)
{
    if (*subscriber)
        (*subscriber)->ops->close(*subscriber);
    *subscriber = NULL;
}

static int open_subscriber(enum ow_demo_side side, struct ow_subscriber **ret, struct ow_error *err)
{
    struct ow_subscriber_options options = {.from = OW_OFFSET_BEGINNING};
    int r = ow_journal_subscriber_new(ow_demo_files[side].bus, &options, ret, err);
    return r < 0 ? r : (*ret)->ops->open(*ret, err);
}

/* What is not an order's event speaks of no order: it stands among the events with an id that none has. */
static int take(struct ow_demo_orders *events, const struct ow_record *record, struct ow_error *err)
{
    struct ow_demo_order order = {0};
    char customer[24];
    int n = 0;
    if (ow_demo_order_read(record->message.payload, &order, NULL) == 0)
        n = snprintf(customer, sizeof customer, "%" PRId64, order.customer);
    if (n == 0 || !ow_bytes_equal(record->message.key, (struct ow_bytes){customer, (size_t)n}))
        order = (struct ow_demo_order){.id = -1};
    return ow_demo_orders_add(events, order, err);
}

/* Records that are there now, at most TURN_MAX of them; how many. */
static int follow(struct follower *f, struct ow_error *err)
{
    struct ow_record record;
    int n = 0, r = 0;
    while (n < TURN_MAX && (r = f->subscriber->ops->next(f->subscriber, &record, err)) == 1) {
        r = take(&f->events, &record, err);
        if (r < 0)
            return r;
        n++;
    }
    if (n > 0)
        (void)atomic_fetch_add(f->accepted, n);
    return r < 0 ? r : n;
}

static int ask(struct ow_store *store, struct ow_statement *statement, int64_t *ret, struct ow_error *err)
{
    struct ow_value value = ow_value_null();
    int r = store->ops->start(statement, NULL, 0, err);
    if (r == 0)
        r = store->ops->row(statement, &value, 1, err);
    if (r >= 0)
        store->ops->stop(statement);
    *ret = value.integer;
    return r < 0 ? r : 0;
}

static int look_at_outbox(struct watcher *w, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms(), waiting = 0, bytes = -1;
    if (now < w->next_look_ms)
        return 0;
    int r = ask(w->store, w->count_waiting, &waiting, err);
    if (r == 0 && w->outbox_bytes)
        r = ask(w->store, w->outbox_bytes, &bytes, err);
    if (r < 0)
        return r == OW_EBUSY ? 0 : r;
    if (bytes > atomic_load(&w->shared->outbox_bytes_max))
        atomic_store(&w->shared->outbox_bytes_max, bytes);
    atomic_store(&w->shared->waiting, waiting);
    (void)atomic_fetch_add(&w->shared->waiting_looks, 1);
    w->next_look_ms = ow_clock_monotonic_ms() + LOOK_EVERY_MS;
    return 0;
}

static void sleep_until_more(struct watcher *w)
{
    struct ow_wait wait;
    ow_wait_init(&wait);
    for (int i = 0; i < OW_DEMO_SIDES; i++)
        w->followers[i].subscriber->ops->wait(w->followers[i].subscriber, &wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + SLEEP_MS);
    ow_wait_sleep(&wait);
}

static int follow_all(struct watcher *w, struct ow_error *err)
{
    while (!atomic_load(&w->shared->watcher_checks)) {
        int r = look_at_outbox(w, err), n = 0;
        for (int i = 0; r >= 0 && i < OW_DEMO_SIDES; i++, n += r)
            r = follow(&w->followers[i], err);
        if (r < 0)
            return r;
        if (n == 0)
            sleep_until_more(w);
    }
    return 0;
}

/* --- the end ------------------------------------------------------------------------------------------- */

/* The records from the beginning to the end, counted by a reader of its own. */
static int count_records(enum ow_demo_side side, size_t *ret, struct ow_error *err)
{
    OW_CLEANUP(close_subscriber) struct ow_subscriber *subscriber = NULL;
    struct ow_record record;
    int r = open_subscriber(side, &subscriber, err);
    for (*ret = 0; r >= 0 && (r = subscriber->ops->is_at_end(subscriber, err)) == 0;) {
        r = subscriber->ops->next(subscriber, &record, err);
        if (r == 1)
            ++*ret;
    }
    return r < 0 ? r : 0;
}

static int catch_up(struct follower *f, struct ow_error *err)
{
    int64_t deadline_ms = ow_clock_monotonic_ms() + CATCH_UP_MS;
    size_t records = 0;
    int r = count_records(f->side, &records, err);
    while (r >= 0 && f->events.count < records && ow_clock_monotonic_ms() < deadline_ms) {
        r = follow(f, err);
        if (r == 0) {
            struct ow_wait wait;
            ow_wait_init(&wait);
            ow_wait_until(&wait, ow_clock_monotonic_ms() + 1);
            ow_wait_sleep(&wait);
        }
    }
    if (r >= 0 && f->events.count != records)
        r = ow_error_set(err, OW_EINTERNAL, "%s: following gave %zu records, the journal holds %zu",
                         ow_demo_files[f->side].bus, f->events.count, records);
    return r < 0 ? r : 0;
}

static int read_committed(enum ow_demo_side side, struct ow_demo_orders *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_sqlite_options options = {.path = ow_demo_files[side].shop, .mode = OW_SQLITE_MUST_EXIST};
    struct ow_statement *statement = NULL;
    struct ow_value columns[3];
    int r = ow_sqlite_open(&options, &store, err);
    if (r == 0)
        r = store->ops->prepare(store, ow_sql_demo_read_orders, &statement, err);
    if (r == 0)
        r = store->ops->start(statement, NULL, 0, err);
    while (r == 0 && (r = store->ops->row(statement, columns, 3, err)) == 1)
        r = ow_demo_orders_add(ret, (struct ow_demo_order){columns[0].integer, columns[1].integer, columns[2].integer},
                               err);
    return r;
}

static int check(struct watcher *w, struct ow_error *err)
{
    for (int i = 0; i < OW_DEMO_SIDES; i++) {
        OW_CLEANUP(ow_demo_orders_done) struct ow_demo_orders committed = {0};
        struct follower *f = &w->followers[i];
        int r = catch_up(f, err);
        if (r == 0)
            r = read_committed(f->side, &committed, err);
        if (r == 0)
            r = ow_demo_check(&committed, &f->events, &w->shared->counts[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int open_all(struct watcher *w, struct ow_error *err)
{
    struct ow_sqlite_options options = {.path = ow_demo_files[OW_DEMO_ONEWRITE].shop, .mode = OW_SQLITE_MUST_EXIST};
    struct ow_error no_dbstat;
    int r = ow_sqlite_open(&options, &w->store, err);
    if (r == 0)
        r = w->store->ops->prepare(w->store, ow_sql_demo_count_waiting, &w->count_waiting, err);
    if (r == 0 && w->store->ops->prepare(w->store, ow_sql_demo_outbox_bytes, &w->outbox_bytes, &no_dbstat) < 0)
        w->outbox_bytes = NULL;
    for (int i = 0; r == 0 && i < OW_DEMO_SIDES; i++) {
        w->followers[i].side = (enum ow_demo_side)i;
        w->followers[i].accepted = &w->shared->side[i].accepted;
        r = open_subscriber((enum ow_demo_side)i, &w->followers[i].subscriber, err);
    }
    return r;
}

int ow_demo_watch(struct ow_demo_shared *shared, struct ow_error *err)
{
    struct watcher w = {.shared = shared};
    int r = open_all(&w, err);
    if (r == 0)
        r = follow_all(&w, err);
    if (r == 0)
        r = check(&w, err);
    for (int i = 0; i < OW_DEMO_SIDES; i++) {
        close_subscriber(&w.followers[i].subscriber);
        ow_demo_orders_done(&w.followers[i].events);
    }
    ow_store_cleanup(&w.store);
    return r;
}
