/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in, what metrics look like, and when an alert is told. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "server/access.h"
#include "server/alert.h"
#include "server/api.h"
#include "server/metrics.h"

/* --- who may come in ------------------------------------------------------------------------------------- */

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *port, *path;
        bool is_loopback;
    } good[] = {
        {"127.0.0.1:8642", "127.0.0.1", "8642", NULL, true},
        {"127.9.8.7:1", "127.9.8.7", "1", NULL, true},
        {"localhost:0", "localhost", "0", NULL, true},
        {"[::1]:8642", "::1", "8642", NULL, true},
        {"0.0.0.0:80", "0.0.0.0", "80", NULL, false},
        {":80", "", "80", NULL, false},
        {"[::]:80", "::", "80", NULL, false},
        {"127.0.0.1.example.com:80", "127.0.0.1.example.com", "80", NULL, false},
        {"10.0.0.1:80", "10.0.0.1", "80", NULL, false},
        {"unix:/run/o.sock", NULL, NULL, "/run/o.sock", true},
    };
    static const char *const bad[] = {"",       "8642", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
                                      "::1:80", "unix:"};
    struct ow_admin_address a;
    struct ow_error err;
    for (size_t i = 0; i < OW_COUNT_OF(good); i++) {
        assert_int_equal(ow_admin_address_parse(ow_bytes_of(good[i].text), &a, &err), 0);
        assert_true(good[i].path ? ow_bytes_is(a.path, good[i].path) : !a.path.data);
        assert_true(!good[i].host || (ow_bytes_is(a.host, good[i].host) && ow_bytes_is(a.port, good[i].port)));
        assert_int_equal(a.is_loopback, good[i].is_loopback);
    }
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++)
        if (ow_admin_address_parse(ow_bytes_of(bad[i]), &a, &err) != OW_EINVALID)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void test_tokens(void **state)
{
    (void)state;
    char reader[] = "reader-0123456789", operator[] = "operator-0123456789", longest[OW_ADMIN_TOKEN_MAX + 1];
    memset(longest, 'x', sizeof longest);
    longest[OW_ADMIN_TOKEN_MAX] = '\0';
    struct ow_config_token tokens[] = {{reader, 0}, {operator, 1 }, {longest, 0}};
    const struct ow_config_admin admin = {.tokens = tokens, .token_count = 3};
    char header[OW_ADMIN_TOKEN_MAX + 64];
    assert_int_equal(ow_access_role(&admin, "Bearer reader-0123456789"), OW_ROLE_READ);
    assert_int_equal(ow_access_role(&admin, "bearer  operator-0123456789"), OW_ROLE_OPERATOR);
    (void)snprintf(header, sizeof header, "Bearer %s", longest);
    assert_int_equal(ow_access_role(&admin, header), OW_ROLE_READ);
    (void)snprintf(header, sizeof header, "Bearer %sx", longest);
    assert_int_equal(ow_access_role(&admin, header), OW_ROLE_NONE);
    static const char *const wrong[] = {"",
                                        "Bearer",
                                        "Bearer ",
                                        "Basic reader-0123456789",
                                        "reader-0123456789",
                                        "Bearer reader-012345678",
                                        "Bearer reader-01234567890",
                                        "Bearer reader-0123456788",
                                        "Bearer reader-0123456789 "};
    for (size_t i = 0; i < OW_COUNT_OF(wrong); i++)
        if (ow_access_role(&admin, wrong[i]) != OW_ROLE_NONE)
            fail_msg("\"%s\" came in", wrong[i]);
    assert_int_equal(ow_access_role(&admin, NULL), OW_ROLE_NONE);
}

static enum ow_role anybody(const char *listen, size_t token_count)
{
    struct ow_admin_address a;
    struct ow_error err;
    const struct ow_config_admin admin = {.token_count = token_count};
    assert_int_equal(ow_admin_address_parse(ow_bytes_of(listen), &a, &err), 0);
    return ow_access_role_of_anybody(&admin, &a);
}

static void test_anybody(void **state)
{
    (void)state;
    assert_int_equal(anybody("unix:/x", 0), OW_ROLE_OPERATOR);
    assert_int_equal(anybody("127.0.0.1:1", 0), OW_ROLE_READ);
    assert_int_equal(anybody("0.0.0.0:1", 0), OW_ROLE_NONE);
    assert_int_equal(anybody("unix:/x", 1), OW_ROLE_NONE);
    assert_int_equal(anybody("127.0.0.1:1", 1), OW_ROLE_NONE);
}

static bool is_ours(const char *listen, const char *host)
{
    struct ow_admin_address a;
    struct ow_error err;
    assert_int_equal(ow_admin_address_parse(ow_bytes_of(listen), &a, &err), 0);
    return ow_access_host_is_ours(host, &a);
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const ours[] = {"localhost", "LocalHost:8642", "127.0.0.1:8642",
                                       "[::1]",     "[::1]:8642",     "127.0.0.9"};
    static const char *const others[] = {"",
                                         "evil.example",
                                         "localhost.evil.example",
                                         "127.0.0.1.evil.example:8642",
                                         "127.0.0.2:8642",
                                         "[::1",
                                         "[::1]x",
                                         "[::2]:8642",
                                         ":8642"};
    for (size_t i = 0; i < OW_COUNT_OF(ours); i++)
        assert_true(is_ours("127.0.0.9:8642", ours[i]));
    for (size_t i = 0; i < OW_COUNT_OF(others); i++)
        if (is_ours("127.0.0.9:8642", others[i]))
            fail_msg("Host: %s came in", others[i]);
    assert_true(is_ours("unix:/x", "anything"));
    assert_true(is_ours("10.0.0.1:80", "a.proxy.in.front"));
    assert_true(is_ours("127.0.0.1:80", NULL));
}

/* --- the board and metrics --------------------------------------------------------------------------------- */

static void test_metrics(void **state)
{
    (void)state;
    struct ow_board *board;
    struct ow_desk *consumer, *relay;
    struct ow_error err;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    assert_int_equal(ow_board_new(&board, &err), 0);
    assert_int_equal(ow_board_add(board, OW_WORK_CONSUMER, "b", "journal:bus.db", "sql", -1, &consumer, &err), 0);
    assert_int_equal(ow_board_add(board, OW_WORK_RELAY, "a\"\\\n", "sqlite:shop.db", "stdout:", -1, &relay, &err), 0);
    ow_desk_tell(relay,
                 &(struct ow_snapshot){
                     .state = OW_WORK_STANDBY, .retained_bytes = -1, .oldest_ms = 1000, .relay = {.accepted = 7}});
    ow_desk_tell(consumer, &(struct ow_snapshot){.state = OW_WORK_WORKING, .breaker = OW_BREAKER_OPEN});
    ow_desk_tell_places(
        consumer,
        (struct ow_place_at[]){{"t", 3, {5, 9, 4}, 1500, 0}, {"t", 4, {-1, -1, -1}, -1, 0}, {"u", 0, {1, 1, 1}, 0, 0}},
        3);
    ow_board_tell_backlog(board, "a\"\\\n", &(struct ow_backlog){12, 500, 77, -1});
    ow_board_tell_backlog(board, "nobody", &(struct ow_backlog){13, 500, 77, -1});
    ow_board_tell_store(board, "pay\"", true, &(struct ow_letter_count){"consumer/b\"", "dead", 3}, 1);
    ow_board_tell_store(board, "pay\"", false, NULL, 0); /* the count stays */
    ow_board_tell_letters(board, "b", 3);
    struct ow_board_view view;
    assert_int_equal(ow_board_read(board, &view, &err), 0);
    assert_int_equal(view.count, 2);
    assert_string_equal(view.lines[1].name, "b");
    assert_int_equal(ow_board_lag(&view.lines[1]), 5);
    assert_int_equal(ow_board_lag(&view.lines[0]), -1);
    assert_int_equal(ow_board_behind_since(&view.lines[1]), 1500);
    assert_int_equal(ow_board_behind_since(&view.lines[0]), -1);
    assert_int_equal(view.lines[1].letters, 3);
    assert_int_equal(view.lines[0].letters, -1);
    assert_int_equal(view.lines[1].backlog.messages, -1);
    ow_metrics_write(&text, &view, &(struct ow_metrics_process){"1.2.3", "debug", 1500, 3500});
    static const char *const lines[] = {
        "# TYPE onewrite_relay_messages_accepted counter\n# HELP onewrite_relay_messages_accepted ",
        "\nonewrite_relay_messages_accepted_total{relay=\"a\\\"\\\\\\n\"} 7\n",
        "\nonewrite_relay_oldest_age_seconds{relay=\"a\\\"\\\\\\n\"} 2.500\n",
        "\n# UNIT onewrite_relay_in_flight_bytes bytes\n",
        "\nonewrite_relay_standing_by{relay=\"a\\\"\\\\\\n\"} 1\n",
        "\nonewrite_consumer_breaker{consumer=\"b\",onewrite_consumer_breaker=\"open\"} 1\n",
        "\nonewrite_consumer_lag_messages{consumer=\"b\",topic=\"t\",partition=\"3\"} 5\n",
        "\nonewrite_consumer_lag_seconds{consumer=\"b\",topic=\"t\",partition=\"3\"} 2.000\n",
        "\nonewrite_consumer_lag_seconds{consumer=\"b\",topic=\"u\",partition=\"0\"} 0.000\n",
        "\nonewrite_relay_backlog_messages{relay=\"a\\\"\\\\\\n\"} 12\n",
        "\nonewrite_relay_backlog_age_seconds{relay=\"a\\\"\\\\\\n\"} 3.000\n",
        "\nonewrite_relay_lag_bytes{relay=\"a\\\"\\\\\\n\"} 77\n",
        "\nonewrite_dead_letters{store=\"pay\\\"\",source=\"consumer/b\\\"\",state=\"dead\"} 3\n",
        "\nonewrite_store_up{store=\"pay\\\"\"} 0\n",
        "\nonewrite_build_info{version=\"1.2.3\",build=\"debug\"} 1\n",
        "\nprocess_start_time_seconds 1.500\n",
    };
    for (size_t i = 0; i < OW_COUNT_OF(lines); i++)
        assert_text_has(text.data, lines[i]);
    assert_null(strstr(text.data, "partition=\"4\""));
    assert_null(strstr(text.data, "retained"));
    assert_string_equal(text.data + text.size - 6, "# EOF\n");
    OW_CLEANUP(ow_buf_done) struct ow_buf plain = {0};
    ow_metrics_as_plain(ow_buf_bytes(&text), &plain);
    static const char *const plain_lines[] = {
        "\n# TYPE onewrite_relay_messages_sent_total counter\n# HELP onewrite_relay_messages_sent_total Messages ",
        "\nonewrite_relay_messages_accepted_total{relay=\"a\\\"\\\\\\n\"} 7\n",
        "\n# TYPE onewrite_build_info gauge\n# HELP onewrite_build_info What runs.\nonewrite_build_info{",
        "\n# TYPE onewrite_consumer_breaker gauge\n",
    };
    for (size_t i = 0; i < OW_COUNT_OF(plain_lines); i++)
        assert_text_has(plain.data, plain_lines[i]);
    assert_null(strstr(plain.data, "# UNIT"));
    assert_null(strstr(plain.data, "# EOF"));
    assert_true(ow_metrics_is_wanted("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2"));
    assert_true(ow_metrics_is_wanted("text/plain, Application/OpenMetrics-Text"));
    assert_false(ow_metrics_is_wanted("text/plain;version=0.0.4, */*"));
    assert_false(ow_metrics_is_wanted(NULL));
    ow_board_view_done(&view);
    assert_int_equal(ow_board_pause(board, "a\"\\\n", true, &err), OW_ENOTFOUND);
    assert_false(ow_desk_is_to_pause(consumer));
    ow_board_remove(consumer);
    ow_board_remove(relay);
    ow_board_free(board);
}

/* --- alerts ------------------------------------------------------------------------------------------------- */

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ow_alert_metric metric;
        const char *comparison;
        int64_t threshold, for_ms;
    } good[] = {
        {"consumer_lag > 10000 for 5m", OW_ALERT_CONSUMER_LAG, ">", 10000, 300000},
        {"  dead_letters   >=  1 ", OW_ALERT_DEAD_LETTERS, ">=", 1, 0},
        {"relay_oldest_age > 90s", OW_ALERT_RELAY_OLDEST_AGE, ">", 90000, 0},
        {"relay_retained > 1GiB for 1h", OW_ALERT_RELAY_RETAINED, ">", 1 << 30, 3600000},
        {"relay_backlog > 5 for 1m", OW_ALERT_RELAY_BACKLOG, ">", 5, 60000},
        {"relay_lag >= 1MiB", OW_ALERT_RELAY_LAG, ">=", 1 << 20, 0},
        {"consumer_lag_age > 1m", OW_ALERT_CONSUMER_LAG_AGE, ">", 60000, 0},
        {"dead_letters_open > 0", OW_ALERT_DEAD_LETTERS_OPEN, ">", 0, 0},
        {"relay_trouble", OW_ALERT_RELAY_TROUBLE, ">=", 1, 0},
        {"consumer_breaker_open for 30s", OW_ALERT_CONSUMER_BREAKER_OPEN, ">=", 1, 30000},
        {"ended >= 1", OW_ALERT_ENDED, ">=", 1, 0},
        {"consumer_in_flight < 5", OW_ALERT_CONSUMER_IN_FLIGHT, "<", 5, 0},
    };
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "there is no metric \"\""},
        {"consumer_lags > 1", "did you mean \"consumer_lag\""},
        {"consumer_lag", "expected >, >=, < or <="},
        {"consumer_lag = 1", "found \"=\""},
        {"consumer_lag > ", "expected a whole number, found \"\""},
        {"consumer_lag > 1.5", "found \"1.5\""},
        {"consumer_lag > -1", "found \"-1\""},
        {"relay_oldest_age > 5", "write a number with a unit"},
        {"relay_retained > 5m", "write a number with a unit"},
        {"consumer_lag > 1 during 5m", "expected \"for\""},
        {"consumer_lag > 1 for 5", "write a number with a unit"},
        {"consumer_lag > 1 for 5m or so", "nothing may follow"},
    };
    struct ow_alert_rule rule;
    struct ow_error err;
    for (size_t i = 0; i < OW_COUNT_OF(good); i++) {
        if (ow_alert_rule_parse(ow_bytes_of(good[i].text), &rule, &err) < 0)
            fail_msg("\"%s\": %s", good[i].text, err.text);
        assert_int_equal(rule.metric, good[i].metric);
        assert_string_equal(rule.comparison, good[i].comparison);
        assert_int_equal(rule.threshold, good[i].threshold);
        assert_int_equal(rule.for_ms, good[i].for_ms);
    }
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        assert_int_equal(ow_alert_rule_parse(ow_bytes_of(bad[i].text), &rule, &err), OW_EINVALID);
        assert_text_has(err.text, bad[i].says);
    }
    assert_int_equal(ow_alert_rule_parse(OW_BYTES("consumer_lag <= 5"), &rule, &err), 0);
    assert_true(ow_alert_rule_holds(&rule, 5) && !ow_alert_rule_holds(&rule, 6));
    assert_int_equal(ow_alert_rule_parse(OW_BYTES("consumer_lag > 5"), &rule, &err), 0);
    assert_true(!ow_alert_rule_holds(&rule, 5) && ow_alert_rule_holds(&rule, 6));
}

static void test_begin_and_end(void **state)
{
    (void)state;
    const struct ow_config_alert alert = {.rule = {.for_ms = 1000}};
    struct ow_alert_state s = {.minute = -1};
    assert_int_equal(ow_alert_judge(&alert, true, &s, 100, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, false, &s, 900, 0), OW_ALERT_NOTHING); /* a moment only */
    assert_int_equal(ow_alert_judge(&alert, true, &s, 1000, 77), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 1999, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 2000, 0), OW_ALERT_BEGIN);
    assert_int_equal(s.since_wall_ms, 77);
    ow_alert_was_told(&s, OW_ALERT_BEGIN, false, 2000); /* not now: again in 5 s, then 10 */
    assert_int_equal(ow_alert_judge(&alert, true, &s, 6999, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 7000, 0), OW_ALERT_BEGIN);
    ow_alert_was_told(&s, OW_ALERT_BEGIN, false, 7000);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 16999, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 17000, 0), OW_ALERT_BEGIN);
    ow_alert_was_told(&s, OW_ALERT_BEGIN, true, 17000);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 99999, 0), OW_ALERT_NOTHING); /* once */
    assert_int_equal(ow_alert_judge(&alert, false, &s, 100000, 0), OW_ALERT_END);
    ow_alert_was_told(&s, OW_ALERT_END, true, 100000);
    assert_int_equal(ow_alert_judge(&alert, false, &s, 200000, 0), OW_ALERT_NOTHING);
}

static void test_never_told(void **state)
{
    (void)state;
    const struct ow_config_alert alert = {.repeat_ms = 60000};
    struct ow_alert_state s = {.minute = -1};
    assert_int_equal(ow_alert_judge(&alert, true, &s, 0, 0), OW_ALERT_BEGIN);
    ow_alert_was_told(&s, OW_ALERT_BEGIN, false, 0);
    assert_int_equal(ow_alert_judge(&alert, false, &s, 100, 0), OW_ALERT_NOTHING); /* over before it was told */
    assert_int_equal(ow_alert_judge(&alert, true, &s, 200, 0), OW_ALERT_BEGIN);
    ow_alert_was_told(&s, OW_ALERT_BEGIN, true, 200);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 60199, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 60200, 0), OW_ALERT_BEGIN); /* repeat */
    struct ow_alert_state restarted = {.minute = -1, .told = OW_ALERT_TOLD_MAYBE};
    assert_int_equal(ow_alert_judge(&alert, false, &restarted, OW_ALERT_SETTLE_MS - 1, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, false, &restarted, OW_ALERT_SETTLE_MS, 0), OW_ALERT_END);
}

/* Told before a restart: not told again, and over only when that is known. */
static void test_remembered(void **state)
{
    (void)state;
    const struct ow_config_alert alert = {.rule = {.for_ms = 60000}};
    struct ow_alert_state s = {.minute = -1, .told = OW_ALERT_TOLD_BEFORE};
    assert_int_equal(ow_alert_judge(&alert, false, &s, 0, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 1000, 0), OW_ALERT_NOTHING);
    assert_int_equal(ow_alert_judge(&alert, true, &s, 61000, 0), OW_ALERT_NOTHING);
    assert_int_equal(s.told, OW_ALERT_TOLD_BEGIN);
    assert_int_equal(ow_alert_judge(&alert, false, &s, 61001, 0), OW_ALERT_END);
    s = (struct ow_alert_state){.minute = -1, .told = OW_ALERT_TOLD_BEFORE};
    assert_int_equal(ow_alert_judge(&alert, false, &s, OW_ALERT_SETTLE_MS, 0), OW_ALERT_END);
    struct ow_bytes rest = OW_BYTES("a\tconsumer\tb\n\nx\n\t\t\na2\trelay\tc\tc");
    struct ow_alert_told told;
    assert_true(ow_alert_memory_next(&rest, &told) && ow_bytes_is(told.alert, "a") && ow_bytes_is(told.name, "b"));
    assert_int_equal(told.kind, OW_WORK_CONSUMER);
    assert_true(ow_alert_memory_next(&rest, &told) && ow_bytes_is(told.alert, "a2") && ow_bytes_is(told.name, "c\tc"));
    assert_false(ow_alert_memory_next(&rest, &told));
}

static int64_t value_of(enum ow_alert_metric metric, const struct ow_board_line *line)
{
    const struct ow_alert_rule rule = {.metric = metric};
    struct ow_alert_state s = {.minute = -1};
    return ow_alert_value(&rule, line, false, &s, 0, 100000);
}

static void test_values(void **state)
{
    (void)state;
    struct ow_place_at place = {"t", 0, {5, 9, 5}, 70000, 0};
    struct ow_board_line relay = {.kind = OW_WORK_RELAY,
                                  .now = {.oldest_ms = 90000, .retained_bytes = -1},
                                  .backlog = {12, 40000, 77, 99},
                                  .letters = 2};
    struct ow_board_line consumer = {
        .kind = OW_WORK_CONSUMER, .places = &place, .place_count = 1, .backlog = {-1, -1, -1, -1}, .letters = -1};
    assert_int_equal(value_of(OW_ALERT_RELAY_BACKLOG, &relay), 12);
    assert_int_equal(value_of(OW_ALERT_RELAY_LAG, &relay), 77);
    assert_int_equal(value_of(OW_ALERT_RELAY_RETAINED, &relay), 99);
    assert_int_equal(value_of(OW_ALERT_RELAY_OLDEST_AGE, &relay), 60000);
    assert_int_equal(value_of(OW_ALERT_DEAD_LETTERS_OPEN, &relay), 2);
    relay.now.retained_bytes = 5;
    relay.now.oldest_ms = 30000;
    assert_int_equal(value_of(OW_ALERT_RELAY_RETAINED, &relay), 99); /* as it was asked, */
    assert_int_equal(value_of(OW_ALERT_RELAY_OLDEST_AGE, &relay), 70000);
    assert_int_equal(value_of(OW_ALERT_CONSUMER_LAG, &relay), INT64_MIN);
    assert_int_equal(value_of(OW_ALERT_CONSUMER_LAG, &consumer), 4);
    assert_int_equal(value_of(OW_ALERT_CONSUMER_LAG_AGE, &consumer), 30000);
    assert_int_equal(value_of(OW_ALERT_DEAD_LETTERS_OPEN, &consumer), INT64_MIN);
    assert_int_equal(value_of(OW_ALERT_RELAY_BACKLOG, &consumer), INT64_MIN);
    relay.backlog = (struct ow_backlog){-1, -1, -1, -1};
    assert_int_equal(value_of(OW_ALERT_RELAY_BACKLOG, &relay), INT64_MIN);
    assert_int_equal(value_of(OW_ALERT_RELAY_RETAINED, &relay), 5); /* or as the relay tells */
    assert_int_equal(value_of(OW_ALERT_RELAY_OLDEST_AGE, &relay), 70000);
}

static void test_recent_letters(void **state)
{
    (void)state;
    const struct ow_alert_rule rule = {.metric = OW_ALERT_DEAD_LETTERS};
    struct ow_board_line line = {.kind = OW_WORK_CONSUMER, .now.consumer = {.set_aside = 5, .parked = 1}};
    struct ow_alert_state old = {.minute = -1}, s = {.minute = -1};
    assert_int_equal(ow_alert_value(&rule, &line, false, &old, 0, 0), 0); /* from before we watched */
    assert_int_equal(ow_alert_value(&rule, &line, true, &s, 0, 0), 6);
    assert_int_equal(ow_alert_value(&rule, &line, false, &s, 5 * 60000, 0), 6);
    line.now.consumer.set_aside = 7;
    assert_int_equal(ow_alert_value(&rule, &line, false, &s, 5 * 60000 + 1, 0), 8);
    assert_int_equal(ow_alert_value(&rule, &line, false, &s, 11 * 60000, 0), 2);
    assert_int_equal(ow_alert_value(&rule, &line, false, &s, 90 * 60000, 0), 0);
    line.now.consumer.set_aside = 0; /* started anew */
    assert_int_equal(ow_alert_value(&rule, &line, false, &s, 90 * 60000, 0), 1);
}

static void test_news(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    char name[] = "lag", when[] = "consumer_lag > 5", key[] = "R\"K", url[] = "http://x/";
    struct ow_config_alert alert = {.name = name, .when = when, .webhook = url, .severity = 2};
    struct ow_alert_news news = {.alert = &alert,
                                 .what = OW_ALERT_BEGIN,
                                 .host = "h",
                                 .kind = "consumer",
                                 .name = "billing",
                                 .value = 9,
                                 .since_ms = 0,
                                 .now_ms = 1000};
    ow_alert_format(&text, &news);
    assert_string_equal(text.data,
                        "{\"version\":1,\"alert\":\"lag\",\"status\":\"firing\",\"key\":\"onewrite:h:lag:billing\","
                        "\"summary\":\"lag: consumer billing on h: consumer_lag > 5\",\"host\":\"h\","
                        "\"consumer\":\"billing\",\"when\":\"consumer_lag > 5\",\"value\":9,"
                        "\"since\":\"1970-01-01T00:00:00.000Z\",\"time\":\"1970-01-01T00:00:01.000Z\"}");
    alert.webhook = NULL;
    alert.routing_key = key;
    ow_buf_clear(&text);
    ow_alert_format(&text, &news);
    assert_text_has(
        text.data, "{\"routing_key\":\"R\\\"K\",\"event_action\":\"trigger\",\"dedup_key\":\"onewrite:h:lag:billing\"");
    assert_text_has(text.data, "\"payload\":{\"summary\":\"");
    assert_text_has(text.data, "\"source\":\"h\",\"severity\":\"warning\",\"timestamp\":\"1970-01-01T00:00:01.000Z\"");
    ow_buf_clear(&text);
    news.what = OW_ALERT_END;
    ow_alert_format(&text, &news);
    assert_string_equal(
        text.data,
        "{\"routing_key\":\"R\\\"K\",\"event_action\":\"resolve\",\"dedup_key\":\"onewrite:h:lag:billing\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),     cmocka_unit_test(test_tokens),     cmocka_unit_test(test_anybody),
        cmocka_unit_test(test_hosts),         cmocka_unit_test(test_metrics),    cmocka_unit_test(test_rules),
        cmocka_unit_test(test_begin_and_end), cmocka_unit_test(test_never_told), cmocka_unit_test(test_recent_letters),
        cmocka_unit_test(test_values),        cmocka_unit_test(test_remembered), cmocka_unit_test(test_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
