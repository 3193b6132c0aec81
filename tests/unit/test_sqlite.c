/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite store: values, transactions, seeing the changes of others, locks, and what is wrong with a file. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/units.h"
#include "store_fixture.h"

static int open_as(const char *path, enum ow_sqlite_mode mode, struct ow_error *err)
{
    struct ow_sqlite_options options = {.path = path, .mode = mode, .timeout_ms = 50};
    struct ow_store *store = NULL;
    int r = ow_sqlite_open(&options, &store, err);
    if (r == 0)
        store->ops->close(store);
    return r;
}

static void values_come_back_as_they_went(void **state)
{
    (void)state;
    struct ow_store *store = open_store(OW_SQLITE_MUST_EXIST);
    struct ow_value values[] = {ow_value_null(), ow_value_integer(INT64_MIN), ow_value_text(OW_BYTES("a\0b")),
                                ow_value_blob(OW_BYTES("")), ow_value_text(OW_BYTES(""))};
    struct ow_value columns[5];
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    assert_int_equal(ow_store_query_row(store, "SELECT ?1, ?2, ?3, ?4, ?5", values, 5, columns, 5, &keep, NULL), 1);
    assert_int_equal(columns[0].kind, OW_VALUE_NULL);
    assert_int_equal(columns[1].integer, INT64_MIN);
    assert_true(ow_bytes_equal(columns[2].bytes, OW_BYTES("a\0b")));
    assert_int_equal(columns[3].kind, OW_VALUE_BLOB);
    assert_non_null(columns[3].bytes.data);
    assert_int_equal(columns[4].kind, OW_VALUE_TEXT);
    assert_int_equal(columns[4].bytes.size, 0);
    store->ops->close(store);
}

static void a_change_by_others_is_seen_and_ones_own_is_not(void **state)
{
    (void)state;
    struct ow_store *store = open_store(OW_SQLITE_MUST_EXIST);
    sqlite3 *other = open_plain();
    (void)store->ops->has_changed(store, NULL);
    assert_int_equal(store->ops->has_changed(store, NULL), 0);
    execute(other, "CREATE TABLE t (x)");
    assert_int_equal(store->ops->has_changed(store, NULL), 1);
    assert_int_equal(store->ops->has_changed(store, NULL), 0);
    assert_int_equal(store->ops->script(store, "INSERT INTO t VALUES (1)", NULL), 0);
    assert_int_equal(store->ops->has_changed(store, NULL), 0);
    sqlite3_close(other);
    store->ops->close(store);
}

static void waiting_ends_when_somebody_commits(void **state)
{
    (void)state;
    struct ow_store *store = open_store(OW_SQLITE_MUST_EXIST);
    sqlite3 *other = open_plain();
    struct ow_wait wait;
    while (store->ops->has_changed(store, NULL)) {
    }
    ow_wait_init(&wait);
    store->ops->wait(store, &wait);
    assert_true(wait.count > 0);
    wait.deadline_ms = ow_clock_monotonic_ms() + 5000; /* the event, not the interval */
    execute(other, "CREATE TABLE t (x)");
    int64_t began = ow_clock_monotonic_ms();
    ow_wait_sleep(&wait);
    assert_true(ow_clock_monotonic_ms() - began < 4000);
    assert_int_equal(store->ops->has_changed(store, NULL), 1);
    sqlite3_close(other);
    store->ops->close(store);
}

static void another_file_at_the_same_path_is_noticed(void **state)
{
    (void)state;
    struct ow_store *store = open_store(OW_SQLITE_MUST_EXIST);
    char moved[128];
    (void)snprintf(moved, sizeof moved, "%s.moved", database);
    (void)store->ops->has_changed(store, NULL);
    assert_int_equal(rename(database, moved), 0);
    struct ow_error err = {0};
    int r = 0;
    for (int64_t until = ow_clock_monotonic_ms() + 5000; r == 0 && ow_clock_monotonic_ms() < until; usleep(10000))
        r = store->ops->has_changed(store, &err) < 0 ? err.code : 0;
    assert_int_equal(r, OW_EIO);
    assert_text_has(err.text, "has gone");
    store->ops->close(store);
}

static void a_busy_writer_is_waited_for_and_then_named(void **state)
{
    (void)state;
    struct ow_store *store = open_store(OW_SQLITE_MUST_EXIST);
    sqlite3 *other = open_plain();
    struct ow_error err = {0};
    execute(other, "BEGIN IMMEDIATE");
    assert_int_equal(store->ops->begin(store, OW_TRANSACTION_WRITE, &err), OW_EBUSY);
    assert_text_has(err.text, "another writer held it for more than 50 ms");
    execute(other, "COMMIT");
    assert_int_equal(store->ops->begin(store, OW_TRANSACTION_WRITE, &err), 0);
    store->ops->rollback(store);
    sqlite3_close(other);
    store->ops->close(store);
}

static void the_lock_has_one_holder(void **state)
{
    (void)state;
    struct ow_store *first = open_store(OW_SQLITE_MUST_EXIST), *second = open_store(OW_SQLITE_MUST_EXIST);
    struct ow_error err = {0};
    assert_int_equal(first->ops->lock(first, &err), 0);
    assert_int_equal(second->ops->lock(second, &err), OW_ESTANDBY);
    char process[32];
    (void)snprintf(process, sizeof process, "process %d", (int)getpid());
    assert_text_has(err.text, process);
    first->ops->close(first);
    assert_int_equal(second->ops->lock(second, &err), 0);
    second->ops->close(second);
}

static void the_wal_stays_bounded_with_a_reader_beside(void **state)
{
    (void)state;
    struct ow_store *store = open_store(OW_SQLITE_MUST_EXIST);
    struct stat st;
    char wal[128];
    (void)snprintf(wal, sizeof wal, "%s-wal", database);
    assert_int_equal(store->ops->script(store, "CREATE TABLE t (x)", NULL), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(store->ops->script(store, "INSERT INTO t VALUES (randomblob(300000))", NULL), 0);
        store->ops->tidy(store);
    }
    assert_int_equal(stat(wal, &st), 0);
    assert_true(st.st_size < 24 << 20);
    store->ops->close(store);
}

static void what_is_wrong_with_a_file_is_said(void **state)
{
    (void)state;
    char path[128];
    struct ow_error err = {0};
    (void)snprintf(path, sizeof path, "%s/nope.db", folder);
    assert_int_equal(open_as(path, OW_SQLITE_MUST_EXIST, &err), OW_ENOTFOUND);
    assert_text_has(err.text, "nope.db: no such file");
    (void)snprintf(path, sizeof path, "%s/text", folder);
    FILE *text = fopen(path, "w");
    assert_non_null(text);
    for (int i = 0; i < 100; i++)
        (void)fputs("this is no database\n", text);
    (void)fclose(text);
    assert_int_equal(open_as(path, OW_SQLITE_MUST_EXIST, &err), OW_ECORRUPT);
    assert_text_has(err.text, "not an SQLite database");
    (void)snprintf(path, sizeof path, "%s/no/folder.db", folder);
    assert_int_equal(open_as(path, OW_SQLITE_CREATE, &err), OW_ENOTFOUND);
    assert_text_has(err.text, "cannot be created");
}

static void a_migration_is_done_once_and_never_backwards(void **state)
{
    (void)state;
    struct ow_store *store = open_store(OW_SQLITE_MUST_EXIST);
    struct ow_error err = {0};
    size_t applied = 1;
    int64_t version = 0;
    OW_CLEANUP(ow_buf_done) struct ow_buf first = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf again = {0};
    assert_int_equal(ow_schema_identity(store, &first, NULL), 0);
    assert_int_equal(ow_schema_migrate(store, &ow_schema_outbox, &applied, &err), 0);
    assert_int_equal(applied, 0);
    assert_int_equal(ow_schema_identity(store, &again, NULL), 0);
    assert_string_equal(first.data, again.data);
    assert_int_equal(first.size, 32);
    assert_int_equal(
        store->ops->script(store, "UPDATE onewrite_meta SET value = '99' WHERE name = 'schema.outbox'", NULL), 0);
    assert_int_equal(ow_schema_version(store, &ow_schema_outbox, &version, &err), OW_EVERSION);
    assert_int_equal(ow_schema_migrate(store, &ow_schema_outbox, &applied, &err), OW_EVERSION);
    assert_text_has(err.text, "version 99");
    store->ops->close(store);
}

static void the_printed_schema_is_the_schema(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    sqlite3 *db = NULL;
    ow_schema_print(&ow_schema_outbox, &text);
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    execute(db, text.data);
    assert_int_equal(count(db, "SELECT count(*) FROM onewrite_meta WHERE name = 'schema.outbox' AND value = '1'"), 1);
    execute(
        db,
        "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES ('a', 'b', 'c', 'd', 'e')");
    sqlite3_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_database, remove_database)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_come_back_as_they_went),
        TEST(a_change_by_others_is_seen_and_ones_own_is_not),
        TEST(waiting_ends_when_somebody_commits),
        TEST(another_file_at_the_same_path_is_noticed),
        TEST(a_busy_writer_is_waited_for_and_then_named),
        TEST(the_lock_has_one_holder),
        TEST(the_wal_stays_bounded_with_a_reader_beside),
        TEST(what_is_wrong_with_a_file_is_said),
        TEST(a_migration_is_done_once_and_never_backwards),
        TEST(the_printed_schema_is_the_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
