/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the configuration of Debezium, and what follows the first NUL as its stored offsets. What comes out is
 * text in whole lines; what is refused says why.
 */
#include "fuzz.h"

#include "codec/debezium_import.h"
#include "codec/debezium_offset.h"

static void check_lines(const struct ow_buf *text)
{
    struct ow_bytes bytes = ow_buf_bytes(text);
    must(bytes.size == 0 || bytes.data[bytes.size - 1] == '\n', "whole lines");
    must(!memchr(bytes.data ? bytes.data : "", '\0', bytes.size), "text");
}

static void check_offset(struct ow_bytes offsets)
{
    struct ow_debezium_offset offset;
    struct ow_error err = {0};
    int r = ow_debezium_offset_find(offsets, OW_BYTES("shop"), &offset, &err);
    if (r < 0) {
        must_say_why(r, &err);
        return;
    }
    struct ow_buf text = {0};
    ow_debezium_offset_format(&offset, &text);
    must(text.size > 0, "an offset has a text");
    ow_buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes rest = {(const char *)data, size};
    struct ow_bytes text = cut_field(&rest);
    struct ow_debezium_import import = {0};
    struct ow_error err = {0};
    int r = ow_debezium_import_behind(text, rest, &import, &err);
    if (r == 0) {
        must(import.yaml.size > 0, "a configuration");
        check_lines(&import.yaml);
        check_lines(&import.lost);
    } else {
        must(r == OW_ECONFIG || r == OW_EINVALID || r == OW_EUNSUPPORTED, "the code of the error");
        must_say_why(r, &err);
    }
    ow_debezium_import_done(&import);
    check_offset(rest);
    return 0;
}
