/* SPDX-License-Identifier: Apache-2.0 */
/* The options of Debezium's router in a configuration. */
#include "unit.h"

#include <stdio.h>

#include "config/config.h"

#define BEFORE                                       \
    "version: 1\n"                                   \
    "stores: { s: \"postgres://localhost/shop\" }\n" \
    "brokers: { b: journal:bus.db }\n"               \
    "relays:\n"                                      \
    "  - name: r\n"                                  \
    "    from: { store: s }\n"                       \
    "    to:\n"                                      \
    "      broker: b\n"

static int parse(const char *text, struct ow_diagnostics *diagnostics, struct ow_config **ret)
{
    return ow_config_parse(ow_bytes_of(text), "test.yaml", &ow_substitution_world_real, diagnostics, ret);
}

static void test_good(void **state)
{
    (void)state;
    struct ow_diagnostics diagnostics = {0};
    struct ow_config *config = NULL;
    assert_int_equal(parse(BEFORE "      debezium:\n"
                                  "        route.topic.replacement: \"ev.$${routedByValue}\"\n"
                                  "        table.fields.additional.placement: type:header\n"
                                  "        table.expand.json.payload: true\n"
                                  "        money.fraction.digits: 3\n",
                           &diagnostics, &config),
                     0);
    const struct ow_debezium_options *options = config->relays[0].debezium;
    assert_non_null(options);
    assert_string_equal(options->topic_replacement, "ev.${routedByValue}");
    assert_int_equal(options->placement_count, 1);
    assert_true(options->expands_json);
    assert_int_equal(options->modes.money_digits, 3);
    ow_config_free(config);
    assert_int_equal(parse(BEFORE, &diagnostics, &config), 0);
    assert_null(config->relays[0].debezium);
    ow_config_free(config);
    ow_diagnostics_done(&diagnostics);
}

/* Each mistake has its place. */
static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *line, *said;
    } cases[] = {
        {"        route.by.feild: x\n", "route.by.feild"},
        {"        table.op.invalid.behavior: skip\n", "warn, error, fatal"},
        {"        table.fields.additional.placement: type\n", "column:placement"},
        {"        route.topic.replacement: \"$${nosuch}\"\n", "nosuch"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        struct ow_diagnostics diagnostics = {0};
        struct ow_config *config = NULL;
        struct ow_buf text = {0}, printed = {0};
        ow_buf_printf(&text, "%s      debezium:\n%s", BEFORE, cases[i].line);
        assert_int_equal(parse(text.data, &diagnostics, &config), OW_ECONFIG);
        ow_diagnostics_print(&diagnostics, &printed);
        assert_text_has(printed.data, cases[i].said);
        assert_text_has(printed.data, "test.yaml:10:");
        ow_buf_done(&text);
        ow_buf_done(&printed);
        ow_diagnostics_done(&diagnostics);
    }
}

/* Rows come out of PostgreSQL's log only. */
static void test_elsewhere(void **state)
{
    (void)state;
    static const char *const froms[] = {"    from: { store: s, by: polling }\n",
                                        "    from: { store: s, by: message }\n", "    from: { store: lite }\n"};
    for (size_t i = 0; i < OW_COUNT_OF(froms); i++) {
        struct ow_diagnostics diagnostics = {0};
        struct ow_config *config = NULL;
        struct ow_buf text = {0}, printed = {0};
        ow_buf_printf(&text,
                      "version: 1\n"
                      "stores: { s: \"postgres://localhost/shop\", lite: sqlite:shop.db }\n"
                      "brokers: { b: journal:bus.db }\n"
                      "relays:\n"
                      "  - name: r\n"
                      "%s"
                      "    to: { broker: b, debezium: { route.by.field: kind } }\n",
                      froms[i]);
        assert_int_equal(parse(text.data, &diagnostics, &config), OW_ECONFIG);
        ow_diagnostics_print(&diagnostics, &printed);
        assert_text_has(printed.data, "test.yaml:7:");
        assert_text_has(printed.data, "read by log, or leave out debezium");
        ow_buf_done(&text);
        ow_buf_done(&printed);
        ow_diagnostics_done(&diagnostics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
                                       cmocka_unit_test(test_elsewhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
