/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two shops of the demo. Their tables, orders and customers are the same; they differ in one thing.
 *
 * With the outbox: the message is a row of the transaction that places the order. There is one write.
 *
 * Naive: the order goes to the database, the event to the broker, two writes. Services do it in either order,
 * often both within one code base, so every other order here is published within the transaction, shortly
 * before it commits (what is rolled back, or killed before the commit, has been published all the same), and
 * the others after the commit (who is killed in between has not published; and two that commit one after the
 * other may publish the other way round). Nothing is made worse than it is: an event that the broker refuses
 * before the commit rolls the order back, one that it refuses after the commit is tried again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <onewrite/outbox.h>

#include "base/units.h"
#include "broker/broker.h"
#include "cmd/demo.h"
#include "sql.h"
#include "store/migrate.h"

enum {
    ROLLBACK_PERCENT = 3,
    /* What a service does between two orders. It leaves the machine to others, and is what bounds the naive
       shop: with a broker's sync for every order it would take the disk for itself. */
    PAUSE_US = 300,
    NAIVE_PAUSE_US = 8000,
    PUBLISH_ATTEMPTS = 5,
    /* When the relay is down the orders go on; when it cannot keep up for long they wait for it. */
    BACKLOG_MAX = 10000,
    BACKLOG_PAUSE_US = 2000,
    /* Writers that never pause would keep SQLite's own checkpoints from ever getting to the end. */
    WAL_BYTES_MAX = 8 << 20,
    WAL_LOOK_EVERY = 16,
    ID_BITS = 24, /* of an order's id, for the orders of one process */
};

const struct ow_demo_files ow_demo_files[OW_DEMO_SIDES] = {
    [OW_DEMO_ONEWRITE] = {"shop.db", "bus.db"},
    [OW_DEMO_NAIVE] = {"naive.db", "naive_bus.db"},
};

struct shop {
    enum ow_demo_side side;
    struct ow_demo_shared *shared;
    struct ow_store *store;
    struct ow_broker *broker; /* of the naive one */
    struct ow_statement *count_order, *insert_order, *shorten_wal;
    int64_t next_id;
};

struct placed { /* an order with its event, as texts */
    struct ow_demo_order order;
    char id[32], customer[24], payload[160];
};

static const char *const items[] = {"tea", "bread", "lamp", "chair", "book", "kettle", "pen", "rope"};

static size_t roll(size_t sides)
{
    return (size_t)(ow_dice_roll() * (double)sides);
}

static void pause_us(long us)
{
    struct timespec pause = {.tv_nsec = us * 1000};
    (void)nanosleep(&pause, NULL);
}

/* --- making the files ---------------------------------------------------------------------------------- */

static int open_store(enum ow_demo_side side, enum ow_sqlite_mode mode, struct ow_store **ret, struct ow_error *err)
{
    struct ow_sqlite_options options = {
        .path = ow_demo_files[side].shop, .mode = mode, .wants_wal = true, .timeout_ms = 10000};
    return ow_sqlite_open(&options, ret, err);
}

static int new_broker(enum ow_demo_side side, struct ow_broker **ret, struct ow_error *err)
{
    struct ow_journal_options options = {.path = ow_demo_files[side].bus};
    int r = ow_journal_broker_new(&options, ret, err);
    return r < 0 ? r : (*ret)->ops->open(*ret, err);
}

static void discard_broker(struct ow_broker **broker)
{
    if (*broker)
        (*broker)->ops->discard(*broker);
}

static int fill_shop(struct ow_store *store, struct ow_error *err)
{
    struct ow_value count = ow_value_integer(OW_DEMO_CUSTOMERS);
    int r = store->ops->script(store, ow_sql_demo_create, err);
    return r == 0 ? ow_store_execute(store, ow_sql_demo_insert_customers, &count, 1, err) : r;
}

int ow_demo_shop_create(enum ow_demo_side side, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    OW_CLEANUP(discard_broker) struct ow_broker *broker = NULL;
    size_t applied;
    int r = open_store(side, OW_SQLITE_CREATE, &store, err);
    if (r == 0)
        r = fill_shop(store, err);
    if (r == 0 && side == OW_DEMO_ONEWRITE)
        r = ow_schema_migrate(store, &ow_schema_outbox, &applied, err);
    if (r == 0)
        r = new_broker(side, &broker, err); /* that makes the journal */
    return r;
}

/* --- placing an order ---------------------------------------------------------------------------------- */

/* The order's rows, within the transaction that is open. */
static int insert_order(struct shop *shop, struct placed *placed, struct ow_error *err)
{
    const char *item = items[roll(sizeof items / sizeof items[0])];
    int64_t cents = 100 + (int64_t)roll(9900);
    struct ow_demo_order *order = &placed->order;
    struct ow_value customer = ow_value_integer(order->customer), number = ow_value_null();
    int r = shop->store->ops->start(shop->count_order, &customer, 1, err);
    if (r == 0)
        r = shop->store->ops->row(shop->count_order, &number, 1, err);
    if (r == 1) /* once more, to its end: an UPDATE with RETURNING is done only then */
        r = shop->store->ops->row(shop->count_order, NULL, 0, err);
    if (r < 0)
        return r;
    order->number = number.integer;
    struct ow_value values[] = {ow_value_integer(order->id), customer, number, ow_value_text(ow_bytes_of(item)),
                                ow_value_integer(cents)};
    (void)snprintf(placed->id, sizeof placed->id, "order-%" PRId64, order->id);
    (void)snprintf(placed->customer, sizeof placed->customer, "%" PRId64, order->customer);
    (void)snprintf(placed->payload, sizeof placed->payload,
                   "{\"order\":%" PRId64 ",\"customer\":%" PRId64 ",\"number\":%" PRId64
                   ",\"item\":\"%s\",\"cents\":%" PRId64 "}",
                   order->id, order->customer, order->number, item, cents);
    return ow_store_run(shop->store, shop->insert_order, values, sizeof values / sizeof values[0], err);
}

static int put_in_outbox(struct shop *shop, const struct placed *placed, struct ow_error *err)
{
    struct ow_outbox_message message = {
        .id = placed->id,
        .aggregate_type = "order",
        .aggregate_id = placed->customer,
        .type = "OrderPlaced",
        .payload = placed->payload,
        .payload_size = strlen(placed->payload),
    };
    return ow_outbox_put_sqlite(ow_sqlite_connection(shop->store), &message, NULL, err);
}

/* The second write. */
static int publish(struct shop *shop, const struct placed *placed, struct ow_error *err)
{
    const struct ow_broker_ops *ops = shop->broker->ops;
    struct ow_message message = {
        .topic = OW_BYTES(OW_DEMO_TOPIC),
        .id = ow_bytes_of(placed->id),
        .key = ow_bytes_of(placed->customer),
        .type = OW_BYTES("OrderPlaced"),
        .payload = ow_bytes_of(placed->payload),
        .time_ms = ow_clock_wall_ms(),
    };
    struct ow_receipt receipt = {0};
    int r = ops->txn_begin(shop->broker, err);
    if (r == 0)
        r = ops->send(shop->broker, &message, 1, err);
    if (r == 0)
        r = ops->txn_commit(shop->broker, NULL, (struct ow_position){0}, err);
    if (r < 0) {
        ops->txn_abort(shop->broker);
        return r;
    }
    r = ops->step(shop->broker, &receipt, 1, err);
    if (r == 1 && receipt.verdict != OW_ACCEPTED)
        r = ow_error_set(err, OW_EAGAIN, "%s was not accepted: %s", placed->id, receipt.reason);
    return r < 0 ? r : 0;
}

static int publish_after_commit(struct shop *shop, const struct placed *placed, struct ow_error *err)
{
    int r = OW_EAGAIN;
    for (int attempt = 0; r < 0 && attempt < PUBLISH_ATTEMPTS; attempt++)
        r = publish(shop, placed, err);
    return r;
}

static int end_transaction(struct shop *shop, bool commits, struct ow_error *err)
{
    if (!commits) {
        shop->store->ops->rollback(shop->store);
        return 0;
    }
    int r = shop->store->ops->commit(shop->store, err);
    if (r == 0)
        (void)atomic_fetch_add_explicit(&shop->shared->side[shop->side].committed, 1, memory_order_relaxed);
    return r;
}

static int place_order(struct shop *shop, struct ow_error *err)
{
    struct placed placed = {.order = {.id = shop->next_id++, .customer = 1 + (int64_t)roll(OW_DEMO_CUSTOMERS)}};
    bool is_naive = shop->side == OW_DEMO_NAIVE, publishes_first = is_naive && placed.order.id % 2;
    bool commits = roll(100) >= ROLLBACK_PERCENT;
    int r = shop->store->ops->begin(shop->store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    r = insert_order(shop, &placed, err);
    if (r == 0 && !is_naive)
        r = put_in_outbox(shop, &placed, err);
    if (r == 0 && publishes_first)
        r = publish(shop, &placed, err);
    if (r == 0)
        r = end_transaction(shop, commits, err);
    else
        shop->store->ops->rollback(shop->store);
    if (r == 0 && commits && is_naive && !publishes_first)
        r = publish_after_commit(shop, &placed, err);
    return r;
}

/* --- a writer's life ----------------------------------------------------------------------------------- */

static int shorten_wal(struct shop *shop, struct ow_error *err)
{
    char path[64];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s-wal", ow_demo_files[shop->side].shop);
    if (stat(path, &st) != 0 || st.st_size < WAL_BYTES_MAX)
        return 0;
    return ow_store_run(shop->store, shop->shorten_wal, NULL, 0, err);
}

static bool is_stopping(struct shop *shop)
{
    return atomic_load_explicit(&shop->shared->writers_stop, memory_order_relaxed);
}

static void wait_for_relay(struct shop *shop)
{
    struct ow_demo_shared *shared = shop->shared;
    while (!is_stopping(shop) &&
           atomic_load_explicit(&shared->side[OW_DEMO_ONEWRITE].committed, memory_order_relaxed) -
                   atomic_load_explicit(&shared->side[OW_DEMO_ONEWRITE].accepted, memory_order_relaxed) >
               BACKLOG_MAX)
        pause_us(BACKLOG_PAUSE_US);
}

static int open_shop(struct shop *shop, struct ow_error *err)
{
    int r = open_store(shop->side, OW_SQLITE_MUST_EXIST, &shop->store, err);
    if (r == 0)
        r = shop->store->ops->prepare(shop->store, ow_sql_demo_count_order, &shop->count_order, err);
    if (r == 0)
        r = shop->store->ops->prepare(shop->store, ow_sql_demo_insert_order, &shop->insert_order, err);
    if (r == 0)
        r = shop->store->ops->prepare(shop->store, ow_sql_demo_shorten_wal, &shop->shorten_wal, err);
    if (r == 0 && shop->side == OW_DEMO_NAIVE)
        r = new_broker(shop->side, &shop->broker, err);
    return r;
}

int ow_demo_shop_write(enum ow_demo_side side, uint32_t start, struct ow_demo_shared *shared, struct ow_error *err)
{
    struct shop shop = {.side = side, .shared = shared, .next_id = ((int64_t)start << ID_BITS) + 1};
    int r = open_shop(&shop, err);
    for (unsigned i = 1; r == 0 && !is_stopping(&shop); i++) {
        r = place_order(&shop, err);
        if (r == 0 && i % WAL_LOOK_EVERY == 0)
            r = shorten_wal(&shop, err);
        if (r == OW_EBUSY || r == OW_EAGAIN) /* the customer comes again */
            r = 0;
        pause_us(side == OW_DEMO_NAIVE ? NAIVE_PAUSE_US : PAUSE_US);
        if (side == OW_DEMO_ONEWRITE)
            wait_for_relay(&shop);
    }
    discard_broker(&shop.broker);
    ow_store_cleanup(&shop.store);
    return r;
}
