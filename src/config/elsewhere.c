/* SPDX-License-Identifier: Apache-2.0 */
/* Where else a key is known: for somebody who wrote it one level too high, or beside its place. */
#include "config/schema.h"
#include "config/url.h"

static bool find_in_table(const struct ow_option *table, const struct ow_option *here, struct ow_bytes key,
                          struct ow_buf *path)
{
    if (table != here && ow_option_find(table, key))
        return true;
    size_t size = path->size;
    for (const struct ow_option *option = table; option->key; option++) {
        if (option->type != OW_OPTION_GROUP)
            continue;
        ow_buf_printf(path, ".%s", option->key);
        if (find_in_table(option->group, here, key, path))
            return true;
        path->size = size;
    }
    return false;
}

static bool find_in_places(unsigned kind, const char *name, struct ow_bytes key, struct ow_buf *path)
{
    for (const struct ow_scheme *scheme = ow_schemes; scheme->name; scheme++) {
        if (!(scheme->kinds & kind) || !scheme->options || !ow_option_find(scheme->options, key))
            continue;
        ow_buf_printf(path, "%s.NAME, beside \"url: %s…\"", name, scheme->form);
        return true;
    }
    return false;
}

static bool find_in_items(const char *name, const struct ow_option *table, const struct ow_option *here,
                          struct ow_bytes key, struct ow_buf *path)
{
    ow_buf_clear(path);
    ow_buf_printf(path, "%s[]", name);
    return find_in_table(table, here, key, path);
}

bool ow_schema_find_elsewhere(const struct ow_option *here, struct ow_bytes key, struct ow_bytes at,
                              struct ow_buf *path)
{
    bool is_of_consumer = at.size > 10 && memcmp(at.data, "consumers[", 10) == 0;
    if (!is_of_consumer && find_in_items("relays", ow_relay_options, here, key, path))
        return true;
    if (find_in_items("consumers", ow_consumer_options, here, key, path))
        return true;
    if (is_of_consumer && find_in_items("relays", ow_relay_options, here, key, path))
        return true;
    ow_buf_clear(path);
    return find_in_places(OW_URL_BROKER, "brokers", key, path) || find_in_places(OW_URL_STORE, "stores", key, path);
}
