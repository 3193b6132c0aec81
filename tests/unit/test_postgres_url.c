/* SPDX-License-Identifier: Apache-2.0 */
/* What is decided about a PostgreSQL server before it is spoken to. Without libpq there is nothing to decide. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/url.h"
#include "store/postgres.h"

static void clear_environment(void)
{
    static const char *const names[] = {"PGHOST",    "PGHOSTADDR", "PGPORT",    "PGUSER",
                                        "PGSSLMODE", "PGSERVICE",  "PGDATABASE"};
    for (size_t i = 0; i < OW_COUNT_OF(names); i++)
        (void)unsetenv(names[i]);
}

static void good(const char *url, const char *shown)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    struct ow_error err = {0};
    if (ow_postgres_check_url(url, &text, &err) != 0)
        fail_msg("%s: %s", url, err.text);
    assert_string_equal(text.data, shown);
}

static void bad(const char *url, const char *part)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    struct ow_error err = {0};
    assert_int_equal(ow_postgres_check_url(url, &text, &err), OW_EINVALID);
    assert_text_has(err.text, part);
    assert_null(strstr(err.text, "secret"));
}

static void test_what_is_shown(void **state)
{
    (void)state;
    good("postgres://ada:secret@db.example.com:5433/shop?application_name=x",
         "postgres://ada@db.example.com:5433/shop");
    good("postgresql:///shop", "postgresql:///shop");
    good("postgres://localhost", "postgres://localhost/");
    good("postgres://[::1]:5/shop", "postgres://[::1]:5/shop");
    good("postgres://a%40b:secret@h/my%20shop?sslmode=require", "postgres://a%40b@h/my%20shop");
    good("postgres:///shop?host=/run/pg&port=6000&password=secret", "postgres:///shop?host=/run/pg&port=6000");
    good("postgres://h1:1,h2:2/shop", "postgres://h1,h2/shop");
}

static void test_plain_text_must_be_said(void **state)
{
    (void)state;
    static const char *const modes[] = {"prefer", "allow"};
    for (size_t i = 0; i < OW_COUNT_OF(modes); i++) {
        char url[100];
        (void)snprintf(url, sizeof url, "postgres://u:secret@db.example.com/x?sslmode=%s", modes[i]);
        bad(url, "plain text");
        (void)snprintf(url, sizeof url, "postgres://u:secret@localhost,db.example.com/x?sslmode=%s", modes[i]);
        bad(url, "plain text");
        (void)snprintf(url, sizeof url, "postgres://u:secret@localhost/x?hostaddr=10.0.0.1&sslmode=%s", modes[i]);
        bad(url, "plain text");
        (void)snprintf(url, sizeof url, "postgres://u:secret@127.0.0.1.example.com/x?sslmode=%s", modes[i]);
        bad(url, "plain text");
        (void)snprintf(url, sizeof url, "postgres://u:secret@127.0.0.1,localhost/x?sslmode=%s", modes[i]);
        good(url, "postgres://u@127.0.0.1,localhost/x");
    }
    (void)setenv("PGSSLMODE", "prefer", 1);
    bad("postgres://db.example.com/x", "plain text");
    good("postgres://db.example.com/x?sslmode=disable", "postgres://db.example.com/x");
    good("postgres:///x", "postgres:///x");
    clear_environment();
    (void)setenv("PGHOST", "db.example.com", 1);
    bad("postgres:///x?sslmode=prefer", "plain text");
    clear_environment();
}

static void test_what_is_no_url(void **state)
{
    (void)state;
    bad("postgres://u:secret@[::1/x", "not a URL that PostgreSQL takes");
    bad("postgres://u:secret@h/x?secret=1", "not a URL that PostgreSQL takes");
    bad("postgres://u:secret%zz@h/x", "not a URL that PostgreSQL takes");
}

static void test_options_of_both(void **state)
{
    (void)state;
    OW_CLEANUP(ow_url_done) struct ow_url url = {0};
    struct ow_error err = {0};
    struct ow_bytes text = OW_BYTES(
        "postgresql://u:secret@h:1/x?after=mark&sslmode=disable&keep=1d&connect_timeout=3&shards=5");
    assert_int_equal(ow_url_parse(text, text, OW_URL_STORE, &url, &err), 0);
    assert_string_equal(url.text, "postgresql://u@h:1/x");
    assert_string_equal(url.postgres.url, "postgresql://u:secret@h:1/x?sslmode=disable&connect_timeout=3");
    assert_int_equal(url.postgres.after, OW_OUTBOX_MARK);
    assert_int_equal(url.postgres.keep_marked_ms, 86400000);
    assert_int_equal(url.postgres.shards, 5);
}

static void bad_option(const char *url, const char *expected)
{
    struct ow_url parsed;
    struct ow_error err = {0};
    assert_true(ow_url_parse(ow_bytes_of(url), ow_bytes_of(url), OW_URL_STORE, &parsed, &err) < 0);
    assert_string_equal(err.text, expected);
}

static void test_bad_options(void **state)
{
    (void)state;
    bad_option("postgres:x", "postgres:// needs two slashes: postgres://USER@HOST:PORT/DATABASE");
    bad_option("postgres://h/x?shard=5", "postgres:// has no option \"shard\"; did you mean \"shards\"?");
    bad_option("postgres://h/x?shards=65", "option shards: expected a whole number from 0 to 64, found \"65\"");
    bad_option("postgres://h/x?keep=1d", "keep has no effect without after: mark; say both or neither");
}

static void test_slot_names(void **state)
{
    (void)state;
    char a[OW_POSTGRES_NAME_SIZE], b[OW_POSTGRES_NAME_SIZE];
    ow_postgres_slot_name("shop_1", "message", a);
    assert_string_equal(a, "onewrite_shop_1_message");
    ow_postgres_slot_name("Shop-1", "log", a);
    ow_postgres_slot_name("Shop.1", "log", b);
    assert_int_equal(strncmp(a, "onewrite__hop_1_", 16), 0);
    assert_string_not_equal(a, b);
    const char *const lengths[] = {
        "a234567890123456789012345678901234567890123456789012345678901a",
        "a234567890123456789012345678901234567890123456789012345678901b",
    };
    ow_postgres_slot_name(lengths[0], "message", a);
    ow_postgres_slot_name(lengths[1], "message", b);
    assert_true(strlen(a) < OW_POSTGRES_NAME_SIZE && strlen(b) < OW_POSTGRES_NAME_SIZE);
    assert_string_not_equal(a, b);
    assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(a));
    assert_string_equal(a + strlen(a) - 8, "_message");
}

int main(void)
{
    clear_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_shown),  cmocka_unit_test(test_plain_text_must_be_said),
        cmocka_unit_test(test_what_is_no_url), cmocka_unit_test(test_options_of_both),
        cmocka_unit_test(test_bad_options),    cmocka_unit_test(test_slot_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
