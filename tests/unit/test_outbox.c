/* SPDX-License-Identifier: Apache-2.0 */
/* libonewrite on SQLite: the message lives and dies with the application's transaction. */
#include <onewrite/outbox.h>

#include "store_fixture.h"

static const struct ow_outbox_message placed = {.aggregate_type = "order",
                                                .aggregate_id = "4711",
                                                .type = "OrderPlaced",
                                                .payload = "{\"total\":1.50}",
                                                .payload_size = 14};

static int put(sqlite3 *db, const struct ow_outbox_message *message, struct ow_error *err)
{
    return ow_outbox_put_sqlite(db, message, NULL, err);
}

static void it_commits_with_the_transaction(void **state)
{
    (void)state;
    char id[OW_OUTBOX_ID_SIZE] = "";
    sqlite3 *db = open_plain();
    execute(db, "BEGIN");
    assert_int_equal(ow_outbox_put_sqlite(db, &placed, id, NULL), 0);
    execute(db, "COMMIT");
    assert_int_equal(strlen(id), 36);
    assert_int_equal(id[14], '7');
    assert_int_equal(
        count(db, "SELECT count(*) FROM onewrite_outbox WHERE aggregatetype = 'order' AND aggregateid = '4711' AND "
                  "type = 'OrderPlaced' AND payload = '{\"total\":1.50}' AND typeof(payload) = 'text' AND headers IS "
                  "NULL AND abs(time - unixepoch() * 1000) < 100000"),
        1);
    sqlite3_close(db);
}

static void it_rolls_back_with_the_transaction(void **state)
{
    (void)state;
    sqlite3 *db = open_plain();
    execute(db, "BEGIN");
    assert_int_equal(put(db, &placed, NULL), 0);
    execute(db, "ROLLBACK");
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_outbox"), 0);
    sqlite3_close(db);
}

static void everything_that_was_given_is_there(void **state)
{
    (void)state;
    static const struct ow_outbox_header headers[] = {{"trace", "a\"b"}, {"none", NULL}};
    struct ow_outbox_message m = placed;
    m.id = "mine";
    m.payload = "\xff\x00\x01";
    m.payload_size = 3;
    m.headers = headers;
    m.header_count = 2;
    m.time_ms = 1234;
    sqlite3 *db = open_plain();
    assert_int_equal(put(db, &m, NULL), 0);
    assert_int_equal(
        count(db, "SELECT count(*) FROM onewrite_outbox WHERE id = 'mine' AND payload = x'ff0001' AND time = 1234 AND "
                  "headers ->> '$.trace' = 'a\"b' AND json_type(headers, '$.none') = 'null'"),
        1);
    m.payload = NULL;
    assert_int_equal(put(db, &m, NULL), 0);
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_outbox WHERE payload IS NULL"), 1);
    sqlite3_close(db);
}

static void what_is_wrong_is_said_and_nothing_inserted(void **state)
{
    (void)state;
    static const struct ow_outbox_header broken = {"a", "line\nbreak"};
    static char large[(1 << 20) + 1];
    struct ow_outbox_message no_type = placed, bad_key = placed, bad_header = placed, too_large = placed;
    no_type.type = NULL;
    bad_key.aggregate_id = "\xff";
    bad_header.headers = &broken;
    bad_header.header_count = 1;
    too_large.payload = large;
    too_large.payload_size = sizeof large;
    const struct {
        const struct ow_outbox_message *message;
        int code;
        const char *text;
    } cases[] = {{&no_type, OW_EINVALID, "type is empty"},
                 {&bad_key, OW_EINVALID, "aggregateid is not valid UTF-8"},
                 {&bad_header, OW_EINVALID, "header \"a\" has a line break"},
                 {&too_large, OW_ETOOBIG, "the limit is 1048576"}};
    sqlite3 *db = open_plain();
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_error err = {0};
        assert_int_equal(put(db, cases[i].message, &err), cases[i].code);
        assert_text_has(err.text, cases[i].text);
    }
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_outbox"), 0);
    execute(db, "DROP TABLE onewrite_outbox");
    struct ow_error err = {0};
    assert_int_equal(put(db, &placed, &err), OW_ENOTFOUND);
    assert_text_has(err.text, "onewrite init");
    sqlite3_close(db);
}

static void a_busy_database_is_said_to_be_busy(void **state)
{
    (void)state;
    sqlite3 *db = open_plain(), *other = open_plain();
    struct ow_error err = {0};
    execute(other, "BEGIN IMMEDIATE");
    assert_int_equal(put(db, &placed, &err), OW_EBUSY);
    execute(other, "COMMIT");
    assert_int_equal(put(db, &placed, &err), 0);
    sqlite3_close(other);
    sqlite3_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_database, remove_database)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_commits_with_the_transaction),    TEST(it_rolls_back_with_the_transaction),
        TEST(everything_that_was_given_is_there), TEST(what_is_wrong_is_said_and_nothing_inserted),
        TEST(a_busy_database_is_said_to_be_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
