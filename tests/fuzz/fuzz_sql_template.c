/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as the statement of a handler, and what follows its first NUL as the payload of a message. What is taken has
 * its parameters, each with a value or an error; what is refused says why in one line.
 */
#include "fuzz.h"

#include "codec/sql_template.h"

static void check_error(int r, const struct ow_error *err)
{
    must(r == OW_EINVALID, "the code of the error");
    must(err->text[0] && !strchr(err->text, '\n'), "one line of text");
}

static void check_values(const struct ow_sql_template *t, struct ow_bytes payload)
{
    static const struct ow_header header = {{"h", 1}, {"v", 1}};
    const struct ow_message message = {
        .id = OW_BYTES("i"), .topic = OW_BYTES("t"), .payload = payload, .headers = &header, .header_count = 1};
    struct ow_buf scratch = {0};
    for (size_t i = 0; i < t->count; i++) {
        struct ow_error err = {0};
        struct ow_bytes value;
        size_t at;
        int r = ow_sql_template_value(t, i, &message, &scratch, &value, &at, &err);
        if (r < 0)
            check_error(r, &err);
        else
            must(at == SIZE_MAX || at + value.size <= scratch.size, "a value in the scratch");
    }
    ow_buf_done(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = size ? memchr(data, '\0', size) : NULL;
    size_t length = end ? (size_t)(end - text) : size;
    struct ow_bytes payload = end ? (struct ow_bytes){end + 1, size - length - 1} : OW_NULL_BYTES;
    for (int dialect = OW_SQL_NUMBERED_BY_DOLLAR; dialect <= OW_SQL_NUMBERED_BY_QUESTION_MARK; dialect++) {
        struct ow_sql_template t;
        struct ow_error err = {0};
        int r = ow_sql_template_init(&t, (struct ow_bytes){text, length}, (enum ow_sql_dialect)dialect, &err);
        if (r < 0) {
            check_error(r, &err);
        } else {
            must(t.sql && t.count <= OW_SQL_PARAMETERS_MAX, "a statement and its parameters");
            must(!strstr(t.sql, "${!"), "no field is left in the statement");
            check_values(&t, payload);
        }
        ow_sql_template_done(&t);
    }
    return 0;
}
