/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as the template of a topic or key, and what follows the first NUL as the payload of a message. What is taken
 * is filled in or says why not.
 */
#include "fuzz.h"

#include "codec/json.h"
#include "core/route.h"

static void check_render(const struct ow_route *route, struct ow_bytes payload)
{
    static const struct ow_header header = {{"h", 1}, {"v", 1}};
    const struct ow_message message = {.id = OW_BYTES("i"),
                                       .topic = OW_BYTES("t"),
                                       .aggregate_type = OW_BYTES("a"),
                                       .payload = payload,
                                       .headers = &header,
                                       .header_count = 1};
    struct ow_buf scratch = {0};
    struct ow_error err = {0};
    struct ow_bytes result;
    int r = ow_route_render(route, &message, ow_json_lookup, &scratch, &result, &err);
    if (r < 0)
        must_say_why(r, &err);
    else
        must(r == 0 || result.data, "a result, or null");
    ow_buf_done(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes rest = {(const char *)data, size};
    struct ow_bytes template = cut_field(&rest);
    struct ow_route route;
    struct ow_error err = {0};
    int r = ow_route_init(&route, template, &err);
    if (r == 0) {
        check_render(&route, rest);
        ow_route_done(&route);
    } else {
        must(r == OW_EINVALID, "the code of the error");
        must_say_why(r, &err);
    }
    return 0;
}
