/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of the demo finds each kind of fault; and a result with one is no good result. */
#include "unit.h"

#include "cmd/command.h"
#include "cmd/demo.h"

/* demo_report.c asks it about the progress line; the rest of the commands is not linked here. */
bool ow_is_quiet(void)
{
    return true;
}

struct story { /* orders and events; both ended by an id of 0 */
    struct ow_demo_order committed[8], events[8];
};

/* Customer 7 has three orders, customer 8 two. */
#define ORDERS                                              \
    {                                                       \
        {101, 7, 1}, {102, 7, 2}, {103, 7, 3}, {201, 8, 1}, \
        {                                                   \
            202, 8, 2                                       \
        }                                                   \
    }

static struct ow_demo_counts tell(const struct story *story)
{
    OW_CLEANUP(ow_demo_orders_done) struct ow_demo_orders committed = {0}, events = {0};
    struct ow_demo_counts counts;
    struct ow_error err = {0};
    for (size_t i = 0; story->committed[i].id; i++)
        assert_int_equal(ow_demo_orders_add(&committed, story->committed[i], &err), 0);
    for (size_t i = 0; story->events[i].id; i++)
        assert_int_equal(ow_demo_orders_add(&events, story->events[i], &err), 0);
    if (ow_demo_check(&committed, &events, &counts, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(counts.committed, committed.count);
    assert_int_equal(counts.accepted, events.count);
    return counts;
}

static void expect(struct story story, int64_t lost, int64_t ghosts, int64_t out_of_order, int64_t duplicates)
{
    struct ow_demo_counts counts = tell(&story);
    assert_int_equal(counts.lost, lost);
    assert_int_equal(counts.ghosts, ghosts);
    assert_int_equal(counts.out_of_order, out_of_order);
    assert_int_equal(counts.duplicates, duplicates);
}

static void test_what_is_right(void **state)
{
    (void)state;
    expect((struct story){ORDERS, {{101, 7, 1}, {201, 8, 1}, {102, 7, 2}, {103, 7, 3}, {202, 8, 2}}}, 0, 0, 0, 0);
    expect((struct story){{{0}}, {{0}}}, 0, 0, 0, 0);
    /* Customers have nothing to do with each other, nor has the order of the ids with that of the commits. */
    expect((struct story){{{900, 7, 1}, {5, 7, 2}, {1, 8, 1}}, {{1, 8, 1}, {900, 7, 1}, {5, 7, 2}}}, 0, 0, 0, 0);
}

static void test_lost(void **state)
{
    (void)state;
    expect((struct story){ORDERS, {{101, 7, 1}, {201, 8, 1}, {103, 7, 3}, {202, 8, 2}}}, 1, 0, 0, 0);
    expect((struct story){ORDERS, {{0}}}, 5, 0, 0, 0);
}

static void test_ghosts(void **state)
{
    (void)state;
    expect((struct story){ORDERS,
                          {{101, 7, 1}, {201, 8, 1}, {102, 7, 2}, {999, 7, 3}, {103, 7, 3}, {202, 8, 2}, {-1, 0, 0}}},
           0, 2, 0, 0);
    expect((struct story){{{0}}, {{1, 7, 1}}}, 0, 1, 0, 0);
    /* An event that says something else of an order than what was committed is not that order's. */
    expect((struct story){{{101, 7, 1}}, {{101, 7, 2}}}, 1, 1, 0, 0);
    expect((struct story){{{101, 7, 1}}, {{101, 8, 1}}}, 1, 1, 0, 0);
}

static void test_out_of_order(void **state)
{
    (void)state;
    expect((struct story){ORDERS, {{102, 7, 2}, {101, 7, 1}, {103, 7, 3}, {201, 8, 1}, {202, 8, 2}}}, 0, 0, 1, 0);
    /* Each that comes after a later one counts. */
    expect((struct story){ORDERS, {{103, 7, 3}, {101, 7, 1}, {102, 7, 2}, {202, 8, 2}, {201, 8, 1}}}, 0, 0, 3, 0);
    /* Other orders in between do not hide it. */
    expect((struct story){ORDERS, {{103, 7, 3}, {201, 8, 1}, {202, 8, 2}, {102, 7, 2}}}, 1, 0, 1, 0);
}

static void test_duplicates(void **state)
{
    (void)state;
    /* Said again later it is a duplicate, and not out of order: the first one counts. */
    expect((struct story){ORDERS, {{101, 7, 1}, {102, 7, 2}, {103, 7, 3}, {101, 7, 1}, {201, 8, 1}, {202, 8, 2}}}, 0, 0,
           0, 1);
    expect((struct story){{{101, 7, 1}}, {{101, 7, 1}, {101, 7, 1}, {101, 7, 1}}}, 0, 0, 0, 2);
}

static void test_an_order_twice_is_an_error(void **state)
{
    (void)state;
    struct ow_demo_order items[] = {{1, 7, 1}, {1, 7, 1}};
    struct ow_demo_orders committed = {.items = items, .count = 2}, events = {0};
    struct ow_demo_counts counts;
    struct ow_error err = {0};
    assert_int_equal(ow_demo_check(&committed, &events, &counts, &err), OW_EINTERNAL);
    assert_text_has(err.text, "order 1");
}

static void test_payloads(void **state)
{
    (void)state;
    struct ow_demo_order order = {0};
    struct ow_error err = {0};
    struct ow_bytes good = OW_BYTES("{\"order\":16777217,\"customer\":7,\"number\":12,\"item\":\"tea\",\"cents\":990}");
    assert_int_equal(ow_demo_order_read(good, &order, &err), 0);
    assert_int_equal(order.id, 16777217);
    assert_int_equal(order.customer, 7);
    assert_int_equal(order.number, 12);
    static const char *const bad[] = {
        "",
        "7",
        "[]",
        "{}",
        "{\"order\":1,\"customer\":2}",
        "{\"order\":1,\"customer\":2,\"number\":\"3\"}",
        "{\"order\":1,\"customer\":2,\"number\":3",
        "{\"order\":1,\"customer\":2,\"number\":3} x",
        "{\"order\":-1,\"customer\":2,\"number\":3}",
    };
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++)
        if (ow_demo_order_read(ow_bytes_of(bad[i]), &order, &err) == 0)
            fail_msg("%s was taken for an order", bad[i]);
    assert_true(ow_demo_order_read(OW_NULL_BYTES, &order, &err) < 0);
    assert_int_equal(order.id, 16777217); /* left alone */
}

static const struct ow_demo_result good_result = {
    .counts = {{.committed = 71204, .accepted = 71204}, {.committed = 700, .accepted = 690, .lost = 20, .ghosts = 10}},
    .kills = {41, 40},
    .outbox_bytes_max = -1,
};

static void expect_broken(struct ow_demo_result result, const char *what)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf broken = {0}, table = {0};
    ow_demo_broken(&result, &broken);
    ow_demo_table(&result, &table);
    if (!what) {
        assert_int_equal(broken.size, 0);
        assert_text_has(table.data, "71,204 committed orders exactly once");
        return;
    }
    assert_string_equal(broken.data, what);
    assert_text_has(table.data, "did not keep its word");
}

static void test_what_breaks_a_promise(void **state)
{
    (void)state;
    struct ow_demo_result result = good_result;
    expect_broken(result, NULL); /* whatever the naive shop does */
    result.counts[OW_DEMO_ONEWRITE].lost = 1;
    expect_broken(result, "1 lost");
    result.counts[OW_DEMO_ONEWRITE].duplicates = 2;
    expect_broken(result, "1 lost, 2 duplicates");
    result = good_result;
    result.counts[OW_DEMO_ONEWRITE].ghosts = 3;
    expect_broken(result, "3 ghosts");
    result = good_result;
    result.counts[OW_DEMO_ONEWRITE].out_of_order = 4;
    expect_broken(result, "4 out of order");
    result = good_result;
    result.waiting = 5;
    expect_broken(result, "5 still in the outbox");
    result = good_result;
    result.kills[OW_DEMO_ONEWRITE] = 0;
    expect_broken(result, "the relay was never killed");
    result = good_result;
    result.counts[OW_DEMO_ONEWRITE] = (struct ow_demo_counts){0};
    expect_broken(result, "no order was committed");
}

static void test_json_is_one_line(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf json = {0};
    ow_demo_json(&good_result, &json);
    assert_string_equal(json.data,
                        "{\"onewrite\":{\"committed\":71204,\"accepted\":71204,\"lost\":0,\"ghosts\":0,"
                        "\"out_of_order\":0,\"duplicates\":0,\"kills\":41,\"writer_kills\":0,\"wal_bytes_max\":0,"
                        "\"outbox_bytes_max\":null},\"naive\":{\"committed\":700,\"accepted\":690,\"lost\":20,"
                        "\"ghosts\":10,\"out_of_order\":0,\"duplicates\":0,\"kills\":40}}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_right),    cmocka_unit_test(test_lost),
        cmocka_unit_test(test_ghosts),           cmocka_unit_test(test_out_of_order),
        cmocka_unit_test(test_duplicates),       cmocka_unit_test(test_an_order_twice_is_an_error),
        cmocka_unit_test(test_payloads),         cmocka_unit_test(test_what_breaks_a_promise),
        cmocka_unit_test(test_json_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
