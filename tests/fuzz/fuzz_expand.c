/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as a payload that is to be expanded. What becomes a document is written as JSON that our strict
 * reader takes, and expanding that again gives the same text: nothing is lost, added or moved. The first byte chooses
 * the options.
 */
#include "fuzz.h"

#include "codec/debezium_expand.h"
#include "codec/debezium_json.h"
#include "codec/json.h"

static bool expand(const struct ow_dbz_expansion *expansion, struct ow_bytes text, struct ow_buf *json,
                   struct ow_buf *schema_json)
{
    struct ow_dbz_arena arena = {0};
    const struct ow_dbz_schema *schema = NULL;
    struct ow_dbz_value value;
    const char *why = NULL;
    int r = ow_dbz_expand(&arena, expansion, OW_BYTES("payload"), text, &schema, &value, &why, NULL);
    must(r >= 0 && (r == 1 || why), "expanded, or why not");
    if (r == 1) {
        struct ow_buf java = {0};
        ow_dbz_json_value(json, schema, &value, false);
        ow_dbz_json_schema(schema_json, schema, false);
        ow_dbz_java_text(&java, schema, &value);
        ow_buf_done(&java);
    }
    ow_dbz_arena_done(&arena);
    return r == 1;
}

/* Nothing but JSON; the reader has fewer levels than documents may have. */
static void check_json(struct ow_bytes text)
{
    struct ow_json json;
    struct ow_error err = {0};
    int token;
    ow_json_init(&json, text);
    while ((token = ow_json_next(&json, &err)) > 0)
        continue;
    must(token == 0 || strstr(err.text, "levels"), "it is JSON");
}

/* NaN and the infinities come back as texts, and nulls are dropped: such documents are another thing the second
   time. */
static bool is_stable(struct ow_bytes text)
{
    return !memmem(text.data, text.size, "null", 4) && !memmem(text.data, text.size, "Infinity", 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct ow_dbz_expansion expansion = {(data[0] & 1) != 0, (data[0] & 2) != 0,
                                         (enum ow_dbz_naming)((data[0] >> 2 & 3) % 3)};
    struct ow_buf json = {0}, again = {0}, schema = {0}, schema_again = {0};
    if (expand(&expansion, (struct ow_bytes){(const char *)data + 1, size - 1}, &json, &schema)) {
        check_json(ow_buf_bytes(&json));
        check_json(ow_buf_bytes(&schema));
        expansion.naming = OW_DBZ_NAMING_NONE;
        if (is_stable(ow_buf_bytes(&json))) {
            must(expand(&expansion, ow_buf_bytes(&json), &again, &schema_again), "what was expanded can be again");
            must(ow_bytes_equal(ow_buf_bytes(&json), ow_buf_bytes(&again)), "and is the same");
            must(ow_bytes_equal(ow_buf_bytes(&schema), ow_buf_bytes(&schema_again)), "with the same schema");
        }
    }
    ow_buf_done(&json);
    ow_buf_done(&again);
    ow_buf_done(&schema);
    ow_buf_done(&schema_again);
    return 0;
}
