/* SPDX-License-Identifier: Apache-2.0 */
#include "config/routes.h"

#include <stdlib.h>

#include "config/debezium.h"

struct draft {
    struct ow_config_route route;
    const yaml_node_t *debezium;
};

#define ROUTE(field) OW_OPTION_AT(struct draft, field)

static const struct ow_option route_options[] = {
    {.key = "topic", .type = OW_OPTION_TEMPLATE, ROUTE(route.topic)},
    {.key = "key", .type = OW_OPTION_TEMPLATE, ROUTE(route.key)},
    {.key = "debezium", .type = OW_OPTION_MAP, ROUTE(debezium)},
    {0},
};

/* "orders" is public.orders, as in the list of tables. */
static bool is_table(struct ow_bytes a, struct ow_bytes b)
{
    static const struct ow_bytes usual = OW_BYTES("public.");
    bool has_dot = memchr(a.data, '.', a.size), has_other_dot = memchr(b.data, '.', b.size);
    if (has_dot == has_other_dot)
        return ow_bytes_equal(a, b);
    struct ow_bytes full = has_dot ? a : b, bare = has_dot ? b : a;
    return full.size == usual.size + bare.size && memcmp(full.data, usual.data, usual.size) == 0 &&
           memcmp(full.data + usual.size, bare.data, bare.size) == 0;
}

static bool is_read(const char *list, struct ow_bytes table)
{
    while (*list) {
        list += strspn(list, ", ");
        struct ow_bytes item = {list, strcspn(list, ",")};
        list += item.size;
        while (item.size > 0 && item.data[item.size - 1] == ' ')
            item.size--;
        if (item.size > 0 && is_table(item, table))
            return true;
    }
    return false;
}

static int read_route(struct ow_reader *reader, const struct ow_reader_pair *pair, struct ow_config_relay *relay)
{
    struct draft draft = {0};
    const char *outbox = relay->table ? relay->table : "onewrite.outbox";
    if (pair->name.size == 0 || !is_read(outbox, pair->name))
        ow_reader_report(reader, pair->key, "from.outbox does not name this table; it has \"%s\"", outbox);
    if (!ow_reader_group(reader, pair->value, route_options, &draft))
        return 0;
    if (draft.debezium && (draft.route.topic || draft.route.key))
        ow_reader_report(reader, pair->value, "debezium is in place of topic and key; say either");
    int r = ow_config_read_debezium(reader, draft.debezium, relay->debezium, &draft.route.debezium);
    draft.route.table = ow_bytes_text(pair->name);
    relay->routes[relay->route_count++] = draft.route;
    return r < 0 || !draft.route.table ? OW_ENOMEM : 0;
}

int ow_config_read_routes(struct ow_reader *reader, const yaml_node_t *map, struct ow_config_relay *relay)
{
    if (!map)
        return 0;
    size_t count = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
    relay->routes = calloc(count + 1, sizeof *relay->routes);
    if (!relay->routes)
        return OW_ENOMEM;
    int r = 0;
    size_t to = ow_reader_enter(reader, OW_BYTES("to"));
    (void)ow_reader_enter(reader, OW_BYTES("tables"));
    struct ow_reader_pairs pairs = ow_reader_pairs(map);
    struct ow_reader_pair pair;
    while (r == 0 && ow_reader_next(reader, &pairs, &pair)) {
        size_t path = ow_reader_enter(reader, pair.name);
        r = read_route(reader, &pair, relay);
        ow_reader_leave(reader, path);
    }
    ow_reader_leave(reader, to);
    return r;
}

void ow_config_free_routes(struct ow_config_relay *relay)
{
    for (size_t i = 0; i < relay->route_count; i++) {
        free(relay->routes[i].table);
        free(relay->routes[i].topic);
        free(relay->routes[i].key);
        ow_config_free_debezium(relay->routes[i].debezium);
    }
    free(relay->routes);
    relay->routes = NULL;
    relay->route_count = 0;
}
