/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pattern, a replacement and the name of a topic, each ended by a NUL. What is taken routes the name, or says that it
 * takes too long; what is refused says why.
 */
#include "fuzz.h"

#include "codec/debezium_regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes rest = {(const char *)data, size};
    struct ow_bytes pattern = cut_field(&rest), replacement = cut_field(&rest), name = cut_field(&rest);
    struct ow_java_regex *regex = NULL;
    struct ow_error err = {0};
    int r = ow_java_regex_new(pattern, replacement, &regex, &err);
    if (r < 0) {
        must(r == OW_ECONFIG, "the code of the error");
        must_say_why(r, &err);
        return 0;
    }
    struct ow_buf to = {0};
    r = ow_java_regex_route(regex, name, &to, &err);
    if (r < 0)
        must_say_why(r, &err);
    ow_buf_done(&to);
    ow_java_regex_free(regex);
    return 0;
}
