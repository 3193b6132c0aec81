/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "config/url.h"

#define DAY_MS ((int64_t)86400000)

static struct ow_url good(const char *text, unsigned kinds)
{
    struct ow_url url;
    struct ow_error err = {0};
    int r = ow_url_parse(ow_bytes_of(text), ow_bytes_of(text), kinds, &url, &err);
    if (r != 0)
        fail_msg("%s: %s", text, err.text);
    return url;
}

static void bad_secret(const char *text, const char *shown, unsigned kinds, int code, const char *message)
{
    struct ow_url url;
    struct ow_error err = {0};
    int r = ow_url_parse(ow_bytes_of(text), ow_bytes_of(shown), kinds, &url, &err);
    assert_string_equal(err.text, message);
    assert_int_equal(r, code);
    assert_null(url.scheme);
    assert_null(url.path);
}

static void bad(const char *text, unsigned kinds, const char *message)
{
    bad_secret(text, text, kinds, OW_EINVALID, message);
}

static void path_is(const char *text, unsigned kinds, const char *path, const char *display)
{
    OW_CLEANUP(ow_url_done) struct ow_url url = good(text, kinds);
    assert_string_equal(url.path, path);
    assert_string_equal(url.text, display);
}

static void test_paths(void **state)
{
    (void)state;
    path_is("sqlite:shop.db", OW_URL_STORE, "shop.db", "sqlite:shop.db");
    path_is("sqlite:/var/shop.db", OW_URL_STORE, "/var/shop.db", "sqlite:/var/shop.db");
    path_is("sqlite:///var/shop.db", OW_URL_STORE, "/var/shop.db", "sqlite:/var/shop.db");
    path_is("SQLite:shop.db", OW_URL_STORE, "shop.db", "sqlite:shop.db");
    path_is("sqlite:a%3Fb%25c d.db?after=mark", OW_URL_STORE, "a?b%c d.db", "sqlite:a%3Fb%25c d.db");
    path_is("journal:a:b#c", OW_URL_BROKER, "a:b#c", "journal:a:b#c");
    path_is("file:////x", OW_URL_BROKER, "//x", "file:////x");
    path_is("file:%2F%2Fx", OW_URL_BROKER, "//x", "file:////x");
    path_is("file:\xc3\xa4", OW_URL_BROKER, "\xc3\xa4", "file:\xc3\xa4");
}

static void test_sqlite(void **state)
{
    (void)state;
    OW_CLEANUP(ow_url_done) struct ow_url plain = good("sqlite:s.db", OW_URL_STORE);
    assert_int_equal(plain.scheme->id, OW_SCHEME_SQLITE);
    assert_int_equal(plain.outbox.after, OW_OUTBOX_DELETE);
    assert_int_equal(plain.outbox.keep_marked_ms, 7 * DAY_MS);
    assert_ptr_equal(plain.outbox.path, plain.path);
    OW_CLEANUP(ow_url_done) struct ow_url marked = good("sqlite:s.db?after=mark&keep=1h30m", OW_URL_STORE);
    assert_int_equal(marked.outbox.after, OW_OUTBOX_MARK);
    assert_int_equal(marked.outbox.keep_marked_ms, 5400000);
}

static void test_journal(void **state)
{
    (void)state;
    OW_CLEANUP(ow_url_done) struct ow_url plain = good("journal:j.db", OW_URL_BROKER);
    assert_int_equal(plain.scheme->id, OW_SCHEME_JOURNAL);
    assert_int_equal(plain.journal.partitions, 4);
    assert_int_equal(plain.journal.retention_ms, 7 * DAY_MS);
    assert_int_equal(plain.journal.retention_bytes, 0);
    assert_ptr_equal(plain.journal.path, plain.path);
    OW_CLEANUP(ow_url_done)
    struct ow_url full = good("journal:j.db?partitions=1024&retention=0&retention_size=2%47iB", OW_URL_BROKER);
    assert_int_equal(full.journal.partitions, 1024);
    assert_int_equal(full.journal.retention_ms, 0);
    assert_int_equal(full.journal.retention_bytes, (int64_t)2 << 30);
}

static void test_file_and_stdout(void **state)
{
    (void)state;
    OW_CLEANUP(ow_url_done) struct ow_url file = good("file:x.jsonl?fsync=never&rotate=16MiB&keep=3", OW_URL_BROKER);
    assert_int_equal(file.file.fsync, OW_FSYNC_NEVER);
    assert_int_equal(file.file.rotate_bytes, 16 << 20);
    assert_int_equal(file.file.keep, 3);
    assert_string_equal(file.file.path, "x.jsonl");
    OW_CLEANUP(ow_url_done) struct ow_url plain = good("file:x.jsonl", OW_URL_BROKER);
    assert_int_equal(plain.file.fsync, OW_FSYNC_ALWAYS);
    assert_int_equal(plain.file.rotate_bytes, 0);
    OW_CLEANUP(ow_url_done) struct ow_url out = good("stdout:", OW_URL_BROKER);
    assert_int_equal(out.scheme->id, OW_SCHEME_STDOUT);
    assert_null(out.file.path);
    assert_string_equal(out.text, "stdout:");
}

static void test_schemes(void **state)
{
    (void)state;
    bad("foo:bar", OW_URL_BROKER,
        "unknown URL scheme \"foo\"; known: sqlite, journal, file, stdout" OR_POSTGRES OR_KAFKA);
    bad("sqllite:bar", OW_URL_STORE, "unknown URL scheme \"sqllite\"; did you mean \"sqlite\"?");
    bad("shop.db", OW_URL_STORE, "\"shop.db\" is not a URL; write it as sqlite:shop.db");
    bad("bus.db", OW_URL_BROKER, "\"bus.db\" is not a URL; write it as journal:bus.db");
    bad("stdout", OW_URL_BROKER, "\"stdout\" is not a URL; write stdout:");
    bad("", OW_URL_STORE, "\"\" is not a URL; it begins with one of sqlite:" OR_POSTGRES_URL);
    bad("1x:y", OW_URL_BROKER, "\"1x:y\" is not a URL; it begins with one of journal:, file:, stdout:" OR_KAFKA_URL);
    bad("sqlite:a\nb", OW_URL_STORE, "a URL cannot hold a line break or another control character");
    static const char *const planned[] = {"amqp", "amqps", "nats", "redis", "http", "https", NULL};
    for (size_t i = 0; planned[i]; i++) {
        char url[64], message[200];
        (void)snprintf(url, sizeof url, "%s://user:secret@localhost/x", planned[i]);
        (void)snprintf(
            message, sizeof message,
            "this build of onewrite has no support for %s://; it has sqlite:, journal:, file:, stdout:" OR_POSTGRES_URL
                OR_KAFKA_URL,
            planned[i]);
        bad_secret(url, url, OW_URL_BROKER, OW_EUNSUPPORTED, message);
    }
    bad_secret("mysql://u:secret@h/d", "mysql://u:secret@h/d", OW_URL_STORE, OW_EUNSUPPORTED,
               "this build of onewrite has no support for mysql://; it has sqlite:, journal:, file:, "
               "stdout:" OR_POSTGRES_URL OR_KAFKA_URL);
}

static void test_kinds(void **state)
{
    (void)state;
    bad("journal:x", OW_URL_STORE, "journal: names a broker, but a store is needed here: sqlite:" OR_POSTGRES_URL);
    bad("kafka://h", OW_URL_STORE, "kafka:// names a broker, but a store is needed here: sqlite:" OR_POSTGRES_URL);
    bad("sqlite:x", OW_URL_BROKER,
        "sqlite: names a store, but a broker is needed here: journal:, file:, stdout:" OR_KAFKA_URL);
    OW_CLEANUP(ow_url_done) struct ow_url any = good("sqlite:x", OW_URL_STORE | OW_URL_BROKER);
    assert_int_equal(any.scheme->kinds, OW_URL_STORE);
}

static void test_bad_paths(void **state)
{
    (void)state;
    bad("sqlite:", OW_URL_STORE, "sqlite: needs a path: sqlite:PATH");
    bad("sqlite:?keep=1d", OW_URL_STORE, "sqlite: needs a path: sqlite:PATH");
    const char *host = "sqlite:// would name a host; write sqlite:///PATH for an absolute path, "
                       "sqlite:PATH for a relative one";
    bad("sqlite://shop.db", OW_URL_STORE, host);
    bad("sqlite://", OW_URL_STORE, host);
    bad("sqlite::memory:", OW_URL_STORE, "sqlite::memory: cannot be shared with another process; name a file");
    bad("sqlite:%3amemory:", OW_URL_STORE, "sqlite::memory: cannot be shared with another process; name a file");
    bad("stdout:x", OW_URL_BROKER, "stdout: takes no path; leave out what comes after the colon");
    bad("stdout:?keep=1", OW_URL_BROKER, "stdout: takes no options; leave out what comes after the question mark");
    bad("file:50%", OW_URL_BROKER, "a percent sign in \"50%\" begins no escape; write it as %25");
    bad("file:%4", OW_URL_BROKER, "a percent sign in \"%4\" begins no escape; write it as %25");
    bad("file:%zz", OW_URL_BROKER, "a percent sign in \"%zz\" begins no escape; write it as %25");
    bad("file:a%00b", OW_URL_BROKER, "\"a%00b\" holds an escaped control character; leave it out");
    bad("file:a%0ab", OW_URL_BROKER, "\"a%0ab\" holds an escaped control character; leave it out");
}

static void test_bad_options(void **state)
{
    (void)state;
    bad("journal:x?partition=3", OW_URL_BROKER, "journal: has no option \"partition\"; did you mean \"partitions\"?");
    bad("journal:x?colour=3", OW_URL_BROKER,
        "journal: has no option \"colour\"; known: partitions, retention, retention_size");
    bad("journal:x?partitions=0", OW_URL_BROKER,
        "option partitions: expected a whole number from 1 to 1024, found \"0\"");
    bad("journal:x?partitions=1025", OW_URL_BROKER,
        "option partitions: expected a whole number from 1 to 1024, found \"1025\"");
    bad("journal:x?partitions=", OW_URL_BROKER,
        "option partitions: expected a whole number from 1 to 1024, found \"\"");
    bad("journal:x?retention=7", OW_URL_BROKER,
        "option retention: expected a duration such as 250ms, 10s, 5m, 2h, 7d, found \"7\"");
    bad("journal:x?retention=99999999d", OW_URL_BROKER,
        "option retention: expected a duration such as 250ms, 10s, 5m, 2h, 7d, found \"99999999d\"");
    bad("journal:x?retention_size=1k", OW_URL_BROKER,
        "option retention_size: expected a size such as 512B, 64KiB, 16MiB, 2GiB, found \"1k\"");
    bad("journal:x?partitions", OW_URL_BROKER, "option partitions has no value; write partitions=4");
    bad("journal:x?", OW_URL_BROKER, "journal: has no option \"\"; known: partitions, retention, retention_size");
    bad("journal:x?retention=1d&", OW_URL_BROKER,
        "journal: has no option \"\"; known: partitions, retention, retention_size");
    bad("journal:x?retention=1d&retention=2d", OW_URL_BROKER, "option retention: is said twice; keep one of the two");
    bad("file:x?fsync=maybe", OW_URL_BROKER, "option fsync: expected always or never, found \"maybe\"");
    bad("file:x?keep=2", OW_URL_BROKER, "keep has no effect without rotate: SIZE; say both or neither");
    bad("sqlite:x?keep=2d", OW_URL_STORE, "keep has no effect without after: mark; say both or neither");
    bad("sqlite:x?after=mark&keep=%", OW_URL_STORE, "a percent sign in \"%\" begins no escape; write it as %25");
}

static void test_secrets_are_not_quoted(void **state)
{
    (void)state;
    static const char *const texts[] = {"s3cret",
                                        "s3cret:x",
                                        "sqlite:s3cret%",
                                        "sqlite:s3cret%00",
                                        "sqlite:x?s3cret",
                                        "sqlite:x?kee=s3cret",
                                        "sqlite:x?after=s3cret",
                                        "sqlite://s3cret",
                                        "kafka://s3cret",
                                        "sqlite:x?keep=s3cret%",
                                        "stdout:s3cret"};
    for (size_t i = 0; i < OW_COUNT_OF(texts); i++) {
        struct ow_url url;
        struct ow_error err = {0};
        assert_true(ow_url_parse(ow_bytes_of(texts[i]), OW_BYTES("${URL}"), OW_URL_STORE, &url, &err) < 0);
        assert_null(strstr(err.text, "s3cret"));
    }
    bad_secret("s3cret:x", "${URL}", OW_URL_STORE, OW_EINVALID,
               "unknown URL scheme in \"${URL}\"; known: sqlite, journal, file, stdout" OR_POSTGRES OR_KAFKA);
    bad_secret("sqlite:x?kepp=1d", "${URL}", OW_URL_STORE, OW_EINVALID,
               "sqlite: has no option \"${URL}\"; known: after, keep");
    bad_secret("sqlite:x?after=s3cret", "${URL}", OW_URL_STORE, OW_EINVALID,
               "option after: expected delete or mark, found \"${URL}\"");
}

#if OW_WITH_KAFKA
static void test_kafka(void **state)
{
    (void)state;
    struct ow_url url;
    struct ow_error err = {0};
    struct ow_bytes text = OW_BYTES(
        "kafka://a:9092,[::1]:9093/?delivery=exactly_once&compression=zstd&linger=5ms&tls=true&"
        "socket.timeout.ms=1000&client.id=shop%20one");
    assert_int_equal(ow_url_parse(text, text, OW_URL_BROKER, &url, &err), 0);
    assert_string_equal(url.kafka.servers, "a:9092,[::1]:9093");
    assert_string_equal(url.text, "kafka://a:9092,[::1]:9093");
    assert_int_equal(url.kafka.delivery, OW_KAFKA_EXACTLY_ONCE);
    assert_int_equal(url.kafka.compression, OW_KAFKA_ZSTD);
    assert_int_equal(url.kafka.linger_ms, 5);
    assert_true(url.kafka.use_tls);
    assert_int_equal(url.kafka.properties.count, 2);
    assert_string_equal(url.kafka.properties.items[1].value, "shop one");
    ow_url_done(&url);
    bad("kafka:", OW_URL_BROKER, "write kafka://HOST:PORT, or kafka://HOST:PORT,HOST:PORT");
    bad("kafka://", OW_URL_BROKER, "\"\" names no server; write kafka://HOST:PORT,HOST:PORT");
    bad("kafka://a,,b", OW_URL_BROKER, "\"\" names no server; write kafka://HOST:PORT,HOST:PORT");
    bad("kafka://a/topic", OW_URL_BROKER, "\"a/topic\" names no server; write kafka://HOST:PORT,HOST:PORT");
    bad("kafka://user:s3cret@a", OW_URL_BROKER,
        "kafka:// takes no user and password; in a configuration file say sasl: { mechanism: …, username: …, "
        "password_file: … } beside url");
    bad("kafka://a?topics=x", OW_URL_BROKER, "option topics: is a map, which only a configuration file can hold");
    bad("kafka://a?lingr=1s", OW_URL_BROKER, "kafka:// has no option \"lingr\"; did you mean \"linger\"?");
    bad("kafka://a?no.such=1", OW_URL_BROKER, "property no.such: No such configuration property: \"no.such\"");
    bad("kafka://a?enable.idempotence=false", OW_URL_BROKER,
        "property enable.idempotence cannot be set: order rests on it");
    bad_secret("kafka://a?sasl.password=s3cret", "${URL}", OW_URL_BROKER, OW_EINVALID,
               "property sasl.password cannot be set: say sasl: { password_file: PATH }");
    bad_secret("kafka://s3cret/x", "${URL}", OW_URL_BROKER, OW_EINVALID,
               "names no server; write kafka://HOST:PORT,HOST:PORT");
}
#endif

static const char *nearest(const char *word, const char *a, const char *b)
{
    struct ow_nearest n = {.word = ow_bytes_of(word)};
    ow_nearest_offer(&n, a);
    ow_nearest_offer(&n, b);
    return n.best ? n.best : "";
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest("form", "to", "from"), "from");
    assert_string_equal(nearest("yb", "to", "by"), "by");
    assert_string_equal(nearest("ordrs", "orders", "others"), "orders");
    assert_string_equal(nearest("orders", "ordersx", "orders"), "orders");
    assert_string_equal(nearest("retention", "partitions", "to"), "");
    assert_string_equal(nearest("x", "y", "to"), "");
    assert_string_equal(nearest("", "y", "to"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_sqlite),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_file_and_stdout),
        cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_secrets_are_not_quoted),
#if OW_WITH_KAFKA
        cmocka_unit_test(test_kafka),
#endif

    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
