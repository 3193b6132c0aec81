/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "cmd/output.h"

/* --- a command for the tests --------------------------------------------------------------------------- */

struct sample_options {
    bool is_loud;
    const char *topic;
    struct ow_flag_list headers;
    int64_t partitions, wait_ms, size_bytes;
    int output;
};

static const struct ow_flag sample_flags[] = {
    {"loud", 'l', NULL, OW_FLAG_BOOL, NULL, "make noise", offsetof(struct sample_options, is_loud)},
    {"topic", 't', "TEMPLATE", OW_FLAG_STRING, "all", "where to", offsetof(struct sample_options, topic)},
    {"header", 'H', "NAME=VALUE", OW_FLAG_LIST, NULL, "a header", offsetof(struct sample_options, headers)},
    {"partitions", 0, "N", OW_FLAG_INTEGER, "4", "how many", offsetof(struct sample_options, partitions), NULL, 1,
     1024},
    {"wait", 'w', "DURATION", OW_FLAG_DURATION, "0", "how long", offsetof(struct sample_options, wait_ms), NULL, 0,
     60000},
    {"size", 0, "SIZE", OW_FLAG_SIZE, "1MiB", "how large", offsetof(struct sample_options, size_bytes)},
    OW_FLAG_OUTPUT(struct sample_options),
    {0},
};

static const struct ow_argument sample_arguments[] = {
    {"FROM", "the source", OW_ARGUMENT_URL, false},
    {"TO", "the broker", OW_ARGUMENT_URL, true},
    {0},
};

static const struct ow_command sample = {
    .name = "sample",
    .summary = "show how it goes",
    .arguments = sample_arguments,
    .options = sample_flags,
    .options_size = sizeof(struct sample_options),
};

#define PARSE(parsed, err, ...)                                                            \
    ow_flags_parse(&sample, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
                   (char *const *)(const char *[]){__VA_ARGS__}, parsed, err)

/* The text of the error that these words make; it must be one of usage. */
#define assert_refused(part, ...)                                         \
    do {                                                                  \
        OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed_ = {0};        \
        struct ow_error err_ = {0};                                       \
        assert_int_equal(PARSE(&parsed_, &err_, __VA_ARGS__), OW_EUSAGE); \
        assert_int_equal(err_.code, OW_EUSAGE);                           \
        assert_text_has(err_.text, part);                                 \
    } while (0)

/* --- parsing ------------------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
    struct ow_error err = {0};
    assert_int_equal(PARSE(&parsed, &err, "sqlite:a"), 0);
    const struct sample_options *o = parsed.options;
    assert_false(o->is_loud);
    assert_string_equal(o->topic, "all");
    assert_int_equal(o->headers.count, 0);
    assert_int_equal(o->partitions, 4);
    assert_int_equal(o->wait_ms, 0);
    assert_int_equal(o->size_bytes, 1 << 20);
    assert_int_equal(o->output, OW_OUTPUT_TABLE);
    assert_int_equal(parsed.argument_count, 1);
    assert_string_equal(parsed.arguments[0], "sqlite:a");
}

static void test_every_way_to_write_an_option(void **state)
{
    (void)state;
    OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
    struct ow_error err = {0};
    assert_int_equal(PARSE(&parsed, &err, "--topic=t=1", "from", "-H", "a=1", "--partitions", "7", "-Hb=2", "to",
                           "-lqv", "-ojsonl", "--header", "c=3", "-w=10s"),
                     0);
    const struct sample_options *o = parsed.options;
    assert_string_equal(o->topic, "t=1");
    assert_int_equal(o->headers.count, 3);
    assert_string_equal(o->headers.values[0], "a=1");
    assert_string_equal(o->headers.values[1], "b=2");
    assert_string_equal(o->headers.values[2], "c=3");
    assert_int_equal(o->partitions, 7);
    assert_int_equal(o->wait_ms, 10000);
    assert_int_equal(o->output, OW_OUTPUT_JSONL);
    assert_true(o->is_loud);
    assert_true(parsed.common.is_quiet);
    assert_true(parsed.common.is_verbose);
    assert_int_equal(parsed.argument_count, 2);
    assert_string_equal(parsed.arguments[1], "to");
}

static void test_two_dashes_end_the_options(void **state)
{
    (void)state;
    OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
    struct ow_error err = {0};
    assert_int_equal(PARSE(&parsed, &err, "-", "--", "--loud"), 0);
    assert_int_equal(parsed.argument_count, 2);
    assert_string_equal(parsed.arguments[0], "-");
    assert_string_equal(parsed.arguments[1], "--loud");
    assert_false(((const struct sample_options *)parsed.options)->is_loud);
}

static void test_an_empty_value_is_a_value(void **state)
{
    (void)state;
    OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
    struct ow_error err = {0};
    assert_int_equal(PARSE(&parsed, &err, "--topic=", "from"), 0);
    assert_string_equal(((const struct sample_options *)parsed.options)->topic, "");
}

static void test_bad_words_are_named(void **state)
{
    (void)state;
    assert_refused("unknown option --tpoic; did you mean --topic?", "from", "--tpoic", "x");
    assert_refused("unknown option --partition; did you mean --partitions?", "from", "--partition=3");
    assert_refused("unknown option --zzzzzzzz; see onewrite sample --help", "from", "--zzzzzzzz");
    assert_refused("unknown option -z; see onewrite sample --help", "from", "-lz");
    assert_refused("option --topic needs a value", "from", "--topic");
    assert_refused("option -t needs a value", "from", "-t");
    assert_refused("option --loud takes no value", "from", "--loud=yes");
    assert_refused("FROM is missing; see onewrite sample --help", "-l");
    assert_refused("FROM is empty", "");
    assert_refused("\"c\" is one argument too many", "a", "b", "c");
    assert_refused("option --output: \"xml\" is none of table, json, jsonl", "from", "-o", "xml");
    assert_refused("option --partitions: \"0\" is not a whole number from 1 to 1024", "from", "--partitions=0");
    assert_refused("option --partitions: \"x\"", "from", "--partitions=x");
    assert_refused("option --wait: \"10\" is not a duration", "from", "--wait=10");
    assert_refused("option --wait: \"2h\" is not within 0s and 1m", "from", "--wait=2h");
    assert_refused("option --size: \"1\" is not a size", "from", "--size", "1");
}

static void test_help_excuses_missing_arguments(void **state)
{
    (void)state;
    OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
    struct ow_error err = {0};
    assert_int_equal(PARSE(&parsed, &err, "-h"), 0);
    assert_true(parsed.common.wants_help);
}

static void test_common_options_before_the_command(void **state)
{
    (void)state;
    OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
    struct ow_error err = {0};
    bool wants_version = false;
    const char *const words[] = {"-q", "--log-format", "json", "relay", "--topic", "x"};
    assert_int_equal(ow_flags_parse_global(6, (char *const *)words, &parsed, &wants_version, &err), 0);
    assert_int_equal(parsed.consumed, 3);
    assert_true(parsed.common.is_quiet);
    assert_int_equal(parsed.common.log_format, OW_LOG_JSON);
    assert_false(wants_version);
    const char *const version[] = {"--version"};
    assert_int_equal(ow_flags_parse_global(1, (char *const *)version, &parsed, &wants_version, &err), 0);
    assert_true(wants_version);
    const char *const wrong[] = {"--verison"};
    assert_int_equal(ow_flags_parse_global(1, (char *const *)wrong, &parsed, &wants_version, &err), OW_EUSAGE);
    assert_text_has(err.text, "did you mean --version?");
}

/* --- the real tables ----------------------------------------------------------------------------------- */

static void test_unknown_command(void **state)
{
    (void)state;
    struct ow_error err = {0};
    assert_int_equal(ow_command_unknown("realy", &err), OW_EUSAGE);
    assert_string_equal(err.text, "unknown command \"realy\"; did you mean \"relay\"?");
    assert_int_equal(ow_command_unknown("zzzzzzzz", &err), OW_EUSAGE);
    assert_text_has(err.text, "see onewrite --help");
    assert_null(ow_command_find("realy"));
    assert_ptr_equal(ow_command_find("relay"), &ow_command_relay);
}

static void test_tables_are_sound(void **state)
{
    (void)state;
    for (const struct ow_command *const *c = ow_commands; *c; c++) {
        bool letters[128] = {false};
        letters['q'] = letters['v'] = letters['h'] = true;
        assert_ptr_equal(ow_command_find((*c)->name), *c);
        assert_non_null((*c)->run);
        assert_non_null((*c)->summary);
        for (const struct ow_flag *o = (*c)->options; o && o->name; o++) {
            if (!o->help || (o->type == OW_FLAG_BOOL) != (o->argument == NULL) ||
                (o->type == OW_FLAG_CHOICE) != (o->choices != NULL) || o->offset >= (*c)->options_size)
                fail_msg("%s --%s is not whole", (*c)->name, o->name);
            if (o->letter && letters[(unsigned char)o->letter])
                fail_msg("%s has two options -%c", (*c)->name, o->letter);
            letters[(unsigned char)o->letter & 127] = true;
        }
        /* The defaults are values that the option takes. */
        OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
        struct ow_error err = {0};
        const char *const words[] = {"--help"};
        if (ow_flags_parse(*c, 1, (char *const *)words, &parsed, &err) < 0)
            fail_msg("%s: %s", (*c)->name, err.text);
    }
}

static void check_lines(const char *name, const char *text)
{
    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n');
        size_t width = 0;
        for (const char *s = line; s < end; s++)
            width += ((unsigned char)*s & 0xc0) != 0x80;
        if (width > 100)
            fail_msg("%s: a line has %zu columns: %.*s", name, width, (int)(end - line), line);
        if (end > line && end[-1] == ' ')
            fail_msg("%s: a line ends with a space: %.*s", name, (int)(end - line), line);
        line = *end ? end + 1 : end;
    }
}

static void test_help_tells_everything(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf program = {0}, man = {0};
    ow_help_program(&program);
    ow_man_page(&man);
    check_lines("onewrite", program.data);
    for (const struct ow_command *const *c = ow_commands; *c; c++) {
        OW_CLEANUP(ow_buf_done) struct ow_buf help = {0};
        char word[80];
        ow_help_command(*c, &help);
        check_lines((*c)->name, help.data);
        for (const struct ow_flag *o = (*c)->options; o && o->name; o++) {
            (void)snprintf(word, sizeof word, "--%s", o->name);
            assert_text_has(help.data, word);
        }
        for (const struct ow_argument *a = (*c)->arguments; a && a->name; a++)
            assert_text_has(help.data, a->name);
        if ((*c)->is_hidden)
            continue;
        (void)snprintf(word, sizeof word, "\n  %s ", (*c)->name);
        assert_text_has(program.data, word);
        size_t n = (size_t)snprintf(word, sizeof word, ".SS \"onewrite ");
        for (const char *s = (*c)->name; *s; s++) /* roff's hyphen is another character than a minus sign */
            n += (size_t)snprintf(word + n, sizeof word - n, *s == '-' ? "\\-" : "%c", *s);
        assert_text_has(man.data, word);
    }
}

static void test_every_exit_status_is_explained(void **state)
{
    (void)state;
#define CODE(name, value, text, class, exit_status) name,
    static const int codes[] = {OW_ERRORS(CODE)};
#undef CODE
    for (size_t i = 0; i < OW_COUNT_OF(codes); i++) {
        const struct ow_exit_status *s = ow_exit_statuses;
        while (s->meaning && s->status != ow_error_exit_status(codes[i]))
            s++;
        if (!s->meaning)
            fail_msg("\"%s\" ends with a status that nothing explains", ow_error_name(codes[i]));
    }
}

static void test_wrapping(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf to = {0};
    ow_help_wrap(&to, "one two three\nfour\n\n  as it is\nfive", 2, 10);
    assert_string_equal(to.data, "  one two\n  three\n  four\n\n    as it is\n  five\n");
}

/* --- output -------------------------------------------------------------------------------------------- */

static const struct ow_column columns[] = {
    {"name", OW_COLUMN_TEXT},
    {"size_of", OW_COLUMN_BYTES},
    {"age_ms", OW_COLUMN_DURATION},
    {"ok", OW_COLUMN_BOOL},
};

static void fill(struct ow_output *out, int format)
{
    ow_output_init(out, format);
    ow_output_section(out, "thing", columns, 4);
    ow_output_text(out, "a\"b");
    ow_output_number(out, 1 << 20);
    ow_output_number(out, 1500);
    ow_output_number(out, 1);
    ow_output_text(out, NULL);
    ow_output_number(out, 5);
    ow_output_null(out);
    ow_output_number(out, 0);
    ow_output_section(out, "none", columns, 4);
}

static void output_done(struct ow_output *out)
{
    ow_buf_done(&out->text);
    ow_buf_done(&out->cells);
}

static void test_output_as_json(void **state)
{
    (void)state;
    OW_CLEANUP(output_done) struct ow_output lines, array;
    fill(&lines, OW_OUTPUT_JSONL);
    assert_string_equal(lines.text.data,
                        "{\"kind\":\"thing\",\"name\":\"a\\\"b\",\"size_of\":1048576,\"age_ms\":1500,\"ok\":true}\n"
                        "{\"kind\":\"thing\",\"name\":null,\"size_of\":5,\"age_ms\":null,\"ok\":false}\n");
    fill(&array, OW_OUTPUT_JSON);
    assert_string_equal(array.text.data,
                        "[{\"kind\":\"thing\",\"name\":\"a\\\"b\",\"size_of\":1048576,\"age_ms\":1500,\"ok\":true},\n"
                        "{\"kind\":\"thing\",\"name\":null,\"size_of\":5,\"age_ms\":null,\"ok\":false}");
}

static void test_output_as_table(void **state)
{
    (void)state;
    OW_CLEANUP(output_done) struct ow_output out;
    fill(&out, OW_OUTPUT_TABLE);
    assert_string_equal(out.text.data, "NAME  SIZE OF      AGE  OK\n"
                                       "a\"b      1MiB  1s500ms  yes\n"
                                       "-          5B        -  no\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_way_to_write_an_option),
        cmocka_unit_test(test_two_dashes_end_the_options),
        cmocka_unit_test(test_an_empty_value_is_a_value),
        cmocka_unit_test(test_bad_words_are_named),
        cmocka_unit_test(test_help_excuses_missing_arguments),
        cmocka_unit_test(test_common_options_before_the_command),
        cmocka_unit_test(test_unknown_command),
        cmocka_unit_test(test_tables_are_sound),
        cmocka_unit_test(test_help_tells_everything),
        cmocka_unit_test(test_every_exit_status_is_explained),
        cmocka_unit_test(test_wrapping),
        cmocka_unit_test(test_output_as_json),
        cmocka_unit_test(test_output_as_table),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
