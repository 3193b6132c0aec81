/* SPDX-License-Identifier: Apache-2.0 */
#include "config/debezium.h"

#include <stdlib.h>

#include "codec/debezium.h"

void ow_config_free_debezium(struct ow_debezium_options *options)
{
    if (options)
        ow_debezium_options_done(options);
    free(options);
}

/* What shows only when all of them are known. */
static void check_all(struct ow_reader *reader, const yaml_node_t *map, struct ow_debezium_options *options)
{
    struct ow_error err;
    struct ow_debezium_options copy;
    struct ow_debezium *router = NULL;
    int r = ow_debezium_options_check(options, &err);
    if (r == 0)
        r = ow_debezium_options_copy(options, &copy, &err);
    if (r == 0)
        r = ow_debezium_new(&copy, &router, &err);
    ow_debezium_free(router);
    if (r == OW_ENOMEM)
        reader->has_no_memory = true;
    else if (r < 0)
        ow_reader_report(reader, map, "%s", err.text);
}

static void read_pair(struct ow_reader *reader, const struct ow_reader_pair *pair, struct ow_debezium_options *options)
{
    static const struct ow_option option = {.type = OW_OPTION_TEXT};
    struct ow_bytes value;
    struct ow_error err;
    if (!ow_reader_scalar(reader, pair->value, &option, &value))
        return;
    int r = ow_debezium_options_set(options, pair->name, value, &err);
    if (r == OW_ENOMEM)
        reader->has_no_memory = true;
    else if (r < 0)
        ow_reader_report(reader, pair->value, "%s", err.text);
}

int ow_config_read_debezium(struct ow_reader *reader, const yaml_node_t *map, const struct ow_debezium_options *base,
                            struct ow_debezium_options **ret)
{
    *ret = NULL;
    if (!map)
        return 0;
    struct ow_error err;
    struct ow_debezium_options *options = calloc(1, sizeof *options);
    int r = !options ? OW_ENOMEM
            : base   ? ow_debezium_options_copy(base, options, &err)
                     : ow_debezium_options_init(options, &err);
    if (r < 0) {
        free(options);
        return OW_ENOMEM;
    }
    size_t outer = ow_reader_enter(reader, OW_BYTES("debezium"));
    struct ow_reader_pairs pairs = ow_reader_pairs(map);
    struct ow_reader_pair pair;
    while (ow_reader_next(reader, &pairs, &pair)) {
        size_t path = ow_reader_enter(reader, pair.name);
        read_pair(reader, &pair, options);
        ow_reader_leave(reader, path);
    }
    check_all(reader, map, options);
    ow_reader_leave(reader, outer);
    *ret = options;
    return 0;
}
