/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox of an SQLite file as a source: what it yields, and that it forgets exactly what it yielded. */
#include "source/source.h"
#include "store_fixture.h"

static struct ow_source *open_source(enum ow_outbox_after after, uint32_t batch_max)
{
    struct ow_outbox_polling_options options = {.path = database, .after = after, .batch_max = batch_max};
    struct ow_source *source = NULL;
    struct ow_error err = {0};
    assert_int_equal(ow_outbox_polling_new(&options, &source, &err), 0);
    if (source->ops->open(source, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(source->ops->resume(source, NULL, &err), 0);
    return source;
}

static void insert(sqlite3 *db, int rows)
{
    for (int i = 0; i < rows; i++)
        execute(db,
                "INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload) VALUES ('a', 'b', 'c', 'd')");
}

/* Reads what there is now; gives the positions. */
static size_t read_all(struct ow_source *source, struct ow_position *positions)
{
    struct ow_message m;
    size_t n = 0;
    for (int r; (r = source->ops->next(source, &m, NULL)) != 0;) {
        assert_int_equal(r, 1);
        positions[n++] = m.position;
    }
    return n;
}

static void rows_come_in_order_over_several_batches(void **state)
{
    (void)state;
    struct ow_position positions[64];
    sqlite3 *db = open_plain();
    insert(db, 25);
    struct ow_source *source = open_source(OW_OUTBOX_DELETE, 10);
    assert_int_equal(read_all(source, positions), 25);
    for (uint64_t i = 0; i < 25; i++)
        assert_int_equal(positions[i].major, i + 1);
    insert(db, 3);
    assert_int_equal(read_all(source, positions), 3);
    assert_int_equal(positions[0].major, 26);
    source->ops->discard(source);
    sqlite3_close(db);
}

static void what_was_not_yielded_is_not_forgotten(void **state)
{
    (void)state;
    struct ow_position positions[64];
    sqlite3 *db = open_plain();
    insert(db, 10);
    execute(db, "DELETE FROM onewrite_outbox WHERE seq IN (4, 7)"); /* a gap, that somebody fills later */
    struct ow_source *source = open_source(OW_OUTBOX_DELETE, 0);
    size_t n = read_all(source, positions);
    assert_int_equal(n, 8);
    execute(
        db,
        "INSERT INTO onewrite_outbox (seq, id, aggregatetype, aggregateid, type) VALUES (7, 'late', 'a', 'b', 'c')");
    assert_int_equal(source->ops->confirm(source, positions, n, NULL), 0);
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_outbox WHERE id = 'late'"), 1);
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_outbox"), 1);
    assert_int_equal(read_all(source, positions), 1); /* and it is found, though its number lies below the others */
    assert_int_equal(positions[0].major, 7);
    source->ops->discard(source);
    sqlite3_close(db);
}

static void a_part_may_be_confirmed(void **state)
{
    (void)state;
    struct ow_position positions[64];
    sqlite3 *db = open_plain();
    insert(db, 5);
    struct ow_source *source = open_source(OW_OUTBOX_DELETE, 0);
    assert_int_equal(read_all(source, positions), 5);
    assert_int_equal(source->ops->confirm(source, positions, 2, NULL), 0);
    assert_int_equal(count(db, "SELECT min(seq) FROM onewrite_outbox"), 3);
    assert_int_equal(read_all(source, positions), 0); /* the other three are on their way */
    source->ops->close(source);
    assert_int_equal(source->ops->open(source, NULL), 0);
    assert_int_equal(read_all(source, positions), 3); /* opened again, they come again */
    source->ops->discard(source);
    sqlite3_close(db);
}

/* The last change has been seen, so that nothing but the batch itself tells that there is more. */
static void a_batch_that_is_broken_off_goes_on(void **state)
{
    (void)state;
    struct ow_position positions[64];
    struct ow_message m;
    sqlite3 *db = open_plain();
    insert(db, 5);
    struct ow_source *source = open_source(OW_OUTBOX_DELETE, 0);
    assert_int_equal(read_all(source, positions), 5);
    insert(db, 5);
    assert_int_equal(source->ops->next(source, &m, NULL), 1);
    assert_int_equal(source->ops->confirm(source, positions, 5, NULL), 0);
    assert_int_equal(read_all(source, positions), 4);
    source->ops->discard(source);
    sqlite3_close(db);
}

static void marked_rows_stay_and_do_not_come_again(void **state)
{
    (void)state;
    struct ow_position positions[64];
    sqlite3 *db = open_plain();
    insert(db, 5);
    struct ow_source *source = open_source(OW_OUTBOX_MARK, 0);
    assert_int_equal(read_all(source, positions), 5);
    assert_int_equal(source->ops->confirm(source, positions, 5, NULL), 0);
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_outbox WHERE accepted_at IS NOT NULL"), 5);
    source->ops->close(source);
    assert_int_equal(source->ops->open(source, NULL), 0);
    assert_int_equal(read_all(source, positions), 0);
    source->ops->discard(source);
    sqlite3_close(db);
}

static void a_dead_letter_is_the_row_with_its_reason_once(void **state)
{
    (void)state;
    sqlite3 *db = open_plain();
    struct ow_message m;
    execute(db, "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES ('x', "
                "'a', 'b', 'c', "
                "x'ff00', 'no json')");
    struct ow_source *source = open_source(OW_OUTBOX_DELETE, 0);
    assert_int_equal(source->ops->next(source, &m, NULL), 1);
    assert_text_has(m.defect.data, "headers: ");
    for (int i = 0; i < 2; i++)
        assert_int_equal(source->ops->set_aside(source, &m, "because", 3, NULL), 0);
    assert_int_equal(source->ops->confirm(source, &m.position, 1, NULL), 0);
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_outbox"), 0);
    assert_int_equal(
        count(db, "SELECT count(*) FROM onewrite_dead_letter WHERE id = 'x' AND payload = x'ff00' AND headers = 'no "
                  "json' AND reason = 'because' AND attempts = 3 AND position = '1'"),
        1);
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_dead_letter"), 1);
    source->ops->discard(source);
    sqlite3_close(db);
}

static void every_kind_of_value_comes_through(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *payload;
        size_t size;
    } cases[] = {{"'text'", "text", 4}, {"x'00ff'", "\0\xff", 2}, {"''", "", 0},
                 {"x''", "", 0},        {"42", "42", 2},          {"1.5", "1.5", 3}};
    sqlite3 *db = open_plain();
    struct ow_source *source = open_source(OW_OUTBOX_DELETE, 0);
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        char sql[256];
        struct ow_message m;
        (void)snprintf(
            sql, sizeof sql,
            "INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload, headers) VALUES ('a', 7, 'c', %s, "
            "'{\"n\":1,\"s\":\"t\"}')",
            cases[i].sql);
        execute(db, sql);
        if (source->ops->next(source, &m, NULL) == 0) /* the end of what was read before */
            assert_int_equal(source->ops->next(source, &m, NULL), 1);
        assert_true(ow_bytes_equal(m.payload, (struct ow_bytes){cases[i].payload, cases[i].size}));
        assert_true(ow_bytes_is(m.aggregate_id, "7"));
        assert_int_equal(m.id.size, 36); /* made by the table */
        assert_int_equal(m.header_count, 2);
        assert_true(ow_bytes_is(m.headers[0].value, "1") && ow_bytes_is(m.headers[1].value, "t"));
        assert_null(m.defect.data);
    }
    execute(db, "INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload) VALUES ('a', 'b', 'c', NULL)");
    struct ow_message m;
    assert_int_equal(source->ops->next(source, &m, NULL), 0);
    assert_int_equal(source->ops->next(source, &m, NULL), 1);
    assert_null(m.payload.data);
    source->ops->discard(source);
    sqlite3_close(db);
}

static void a_second_one_stands_by(void **state)
{
    (void)state;
    struct ow_outbox_polling_options options = {.path = database};
    struct ow_source *first = open_source(OW_OUTBOX_DELETE, 0), *second = NULL;
    struct ow_error err = {0};
    assert_int_equal(ow_outbox_polling_new(&options, &second, &err), 0);
    assert_int_equal(second->ops->open(second, &err), OW_ESTANDBY);
    first->ops->discard(first);
    assert_int_equal(second->ops->open(second, &err), 0);
    second->ops->discard(second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_database, remove_database)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_come_in_order_over_several_batches),
        TEST(what_was_not_yielded_is_not_forgotten),
        TEST(a_part_may_be_confirmed),
        TEST(a_batch_that_is_broken_off_goes_on),
        TEST(marked_rows_stay_and_do_not_come_again),
        TEST(a_dead_letter_is_the_row_with_its_reason_once),
        TEST(every_kind_of_value_comes_through),
        TEST(a_second_one_stands_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
