/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/substitute.h"

static const char *get_variable(void *context, const char *name)
{
    static const char *const variables[][2] = {{"A", "alpha"},      {"_b2", "beta"},       {"EMPTY", ""},
                                               {"DOLLAR", "${A}$"}, {"SECRET", "hunter2"}, {"file", "wrong"}};
    (void)context;
    for (size_t i = 0; i < OW_COUNT_OF(variables); i++)
        if (strcmp(variables[i][0], name) == 0)
            return variables[i][1];
    return NULL;
}

static int read_file(void *context, const char *path, size_t size_max, struct ow_buf *to, struct ow_error *err)
{
    (void)context;
    (void)size_max;
    if (strcmp(path, "/lines") == 0)
        ow_buf_add_text(to, "one\n\n");
    else if (strcmp(path, "/crlf") == 0)
        ow_buf_add_text(to, "one\r\n");
    else if (strcmp(path, "/newline") == 0)
        ow_buf_add_text(to, "\n");
    else if (strcmp(path, "/bare") == 0)
        ow_buf_add_text(to, "${A}");
    else if (strcmp(path, "/empty") != 0)
        return ow_error_set(err, OW_ENOTFOUND, "cannot read \"%s\": no", path);
    return 0;
}

static const struct ow_substitution_world world = {get_variable, read_file, NULL};

static void gives(const char *text, bool is_template, const char *result)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf buf = {0};
    struct ow_error err = {0};
    ow_buf_add_text(&buf, "<");
    int r = ow_substitute(ow_bytes_of(text), is_template, &world, &buf, &err);
    if (r != 0)
        fail_msg("%s: %s", text, err.text);
    assert_string_equal(buf.data + 1, result);
}

static void fails(const char *text, const char *message)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf buf = {0};
    struct ow_error err = {0};
    int r = ow_substitute(ow_bytes_of(text), false, &world, &buf, &err);
    assert_true(r < 0);
    assert_int_equal(r, err.code);
    assert_string_equal(err.text, message);
}

static void test_good(void **state)
{
    (void)state;
    gives("", false, "");
    gives("plain {} }", false, "plain {} }");
    gives("${A}", false, "alpha");
    gives("x${A}y${_b2}z", false, "xalphaybetaz");
    gives("${EMPTY}", false, "");
    gives("${EMPTY:-d}", false, "d");
    gives("${NONE:-}", false, "");
    gives("${NONE:-a:-b}", false, "a:-b");
    gives("${A:-${NONE}}", false, "alpha");
    gives("${NONE:-<${A}|${NOR:-${_b2}}>}", false, "<alpha|beta>");
    gives("${A:?not needed}", false, "alpha");
    gives("$$", false, "$");
    gives("$${A}", false, "${A}");
    gives("$$$$", false, "$$");
    gives("$$${A}$$", false, "$alpha$");
    gives("${NONE:-$$}", false, "$");
    gives("${NONE:-$${}", false, "${"); /* the brace after $$ opens nothing */
    gives("${DOLLAR}", false, "${A}$"); /* values are not read again */
    gives("${file:/lines}", false, "one\n");
    gives("${file:/crlf}", false, "one");
    gives("${file:/newline}", false, "");
    gives("${file:/empty}", false, "");
    gives("${file:/bare}", false, "${A}");
}

static void test_templates(void **state)
{
    (void)state;
    gives("outbox.${!type}", true, "outbox.${!type}");
    gives("${A}.${!headers.x}.$$", true, "alpha.${!headers.x}.$$");
    gives("${NONE:-e.${!type}}!", true, "e.${!type}!");
    fails("${!type}", "character 1: ${!FIELD} is a field of a message and belongs into topic and key; "
                      "a variable is ${NAME}");
}

static void test_unset(void **state)
{
    (void)state;
    fails("${NONE}", "variable NONE is not set; set it, or write ${NONE:-default}");
    fails("${NONE:?}", "variable NONE is not set; set it, or write ${NONE:-default}");
    fails("${NONE:?set NONE}", "variable NONE is not set: set NONE");
    fails("${EMPTY:?set EMPTY}", "variable EMPTY is empty: set EMPTY");
    fails("${NONE:-${NOR}}", "variable NOR is not set; set it, or write ${NOR:-default}");
    fails("${file:/gone}", "cannot read \"/gone\": no");
}

static void test_bad_syntax(void **state)
{
    (void)state;
    const char *none = "this is no substitution; write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:PATH}, "
                       "and $$ for a dollar sign";
    static const char *const wrong[] = {"${}",   "${1A}", "${A-b}", "${A:b}", "${A:}",
                                        "${A }", "${ A}", "${A?b}", "${a.b}", "${:-x}"};
    for (size_t i = 0; i < OW_COUNT_OF(wrong); i++) {
        char message[256];
        (void)snprintf(message, sizeof message, "character 1: %s", none);
        fails(wrong[i], message);
    }
    const char *alone = "a dollar sign alone; write ${NAME} for a variable, $$ for a dollar sign";
    char message[256];
    (void)snprintf(message, sizeof message, "character 1: %s", alone);
    fails("$", message);
    fails("$A", message);
    (void)snprintf(message, sizeof message, "character 4: %s", alone);
    fails("$$x$", message);
    (void)snprintf(message, sizeof message, "character 3: %s", alone);
    fails("\xc3\xa4\xc3\xb6$", message);
    fails("a${A", "character 2: \"${\" is never closed; add \"}\"");
    fails("${NONE:-${A}", "character 1: \"${\" is never closed; add \"}\"");
    fails("${file:}", "\"${file:\" needs the path of a file, without a dollar sign: ${file:/run/secrets/url}");
    fails("${file:/x$$}", "\"${file:\" needs the path of a file, without a dollar sign: ${file:/run/secrets/url}");
}

/* Every text that is one edit away from a good one either fails with a line or gives a result; what a
   variable held never shows in an error. */
static void test_edits(void **state)
{
    (void)state;
    static const char seed[] = "x${SECRET}y${SECRET:-d}${NONE:-${SECRET}}$$${file:/bare}";
    static const char alphabet[] = "${}:-?!a/ \n";
    unsigned good = 0, bad = 0;
    for (size_t at = 0; at + 1 < sizeof seed; at++) {
        for (size_t a = 0; a < sizeof alphabet; a++) {
            char text[sizeof seed];
            memcpy(text, seed, sizeof seed);
            if (alphabet[a])
                text[at] = alphabet[a];
            else
                memmove(text + at, text + at + 1, sizeof seed - at - 1);
            OW_CLEANUP(ow_buf_done) struct ow_buf buf = {0};
            struct ow_error err = {0};
            int r = ow_substitute(ow_bytes_of(text), (a & 1) != 0, &world, &buf, &err);
            if (r < 0) {
                bad++;
                assert_true(err.text[0] != '\0');
                assert_null(strstr(err.text, "hunter2"));
            } else {
                good++;
            }
        }
    }
    assert_true(good > 50);
    assert_true(bad > 50);
}

static void test_bounds(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0}, to = {0};
    struct ow_error err = {0};
    for (size_t i = 0; i < OW_SUBSTITUTE_SIZE_MAX; i++)
        ow_buf_add_char(&text, 'x');
    assert_int_equal(ow_substitute(ow_buf_bytes(&text), false, &world, &to, &err), 0);
    assert_int_equal(to.size, OW_SUBSTITUTE_SIZE_MAX);
    ow_buf_clear(&to);
    ow_buf_add_text(&text, "${A}");
    assert_int_equal(ow_substitute(ow_buf_bytes(&text), false, &world, &to, &err), OW_ETOOBIG);
    for (size_t depth = OW_SUBSTITUTE_DEPTH_MAX; depth <= OW_SUBSTITUTE_DEPTH_MAX + 1; depth++) {
        ow_buf_clear(&text);
        ow_buf_clear(&to);
        for (size_t i = 0; i < depth; i++)
            ow_buf_add_text(&text, "${N:-");
        for (size_t i = 0; i < depth; i++)
            ow_buf_add_char(&text, '}');
        assert_int_equal(ow_substitute(ow_buf_bytes(&text), false, &world, &to, &err),
                         depth <= OW_SUBSTITUTE_DEPTH_MAX ? 0 : OW_EINVALID);
    }
}

static void test_real_world(void **state)
{
    (void)state;
    char path[] = "/tmp/onewrite-test-XXXXXX", text[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "content\n", 8), 8);
    (void)close(fd);
    assert_int_equal(setenv("ONEWRITE_TEST_VARIABLE", "value", 1), 0);
    OW_CLEANUP(ow_buf_done) struct ow_buf to = {0};
    struct ow_error err = {0};
    (void)snprintf(text, sizeof text, "${ONEWRITE_TEST_VARIABLE}/${file:%s}", path);
    int r = ow_substitute(ow_bytes_of(text), false, &ow_substitution_world_real, &to, &err);
    OW_CLEANUP(ow_buf_done) struct ow_buf little = {0};
    int too_big = ow_config_read_file(path, 7, &little, NULL);
    (void)unlink(path);
    assert_int_equal(r, 0);
    assert_string_equal(to.data, "value/content");
    assert_int_equal(too_big, OW_ETOOBIG);
    assert_int_equal(ow_substitute(ow_bytes_of(text), false, &ow_substitution_world_real, &to, &err), OW_ENOTFOUND);
    assert_int_equal(ow_config_read_file("/", 7, &little, &err), OW_EIO);
    assert_string_equal(err.text, "cannot read \"/\": Is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_templates),  cmocka_unit_test(test_unset),
        cmocka_unit_test(test_edits),      cmocka_unit_test(test_bad_syntax), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_real_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
