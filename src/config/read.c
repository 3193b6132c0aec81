/* SPDX-License-Identifier: Apache-2.0 */
#include "config/read.h"

#include <stdarg.h>
#include <stdio.h>

#include "config/schema.h"
#include "core/route.h"

#define KEY_SHOWN_MAX 64

void ow_reader_done(struct ow_reader *reader)
{
    ow_buf_done(&reader->path);
    ow_buf_done(&reader->value);
}

void ow_reader_report(struct ow_reader *reader, const yaml_node_t *at, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ow_diagnostics_add(reader->diagnostics, reader->name, at->start_mark.line + 1, at->start_mark.column + 1,
                       ow_buf_bytes(&reader->path), "%s", text);
}

size_t ow_reader_enter(struct ow_reader *reader, struct ow_bytes key)
{
    size_t before = reader->path.size;
    if (before > 0)
        ow_buf_add_char(&reader->path, '.');
    if (key.size > KEY_SHOWN_MAX)
        key.size = KEY_SHOWN_MAX;
    ow_buf_add_bytes(&reader->path, key);
    return before;
}

size_t ow_reader_enter_index(struct ow_reader *reader, size_t index)
{
    size_t before = reader->path.size;
    ow_buf_printf(&reader->path, "[%zu]", index);
    return before;
}

void ow_reader_leave(struct ow_reader *reader, size_t path)
{
    reader->has_no_memory |= reader->path.has_failed;
    reader->path.size = path;
}

struct ow_reader_pairs ow_reader_pairs(const yaml_node_t *map)
{
    return (struct ow_reader_pairs){map, map->data.mapping.pairs.start};
}

/* The first key of this name before `pair`; maps are small or end at the first fifty errors. */
static const yaml_node_t *said_before(const struct ow_reader *reader, const yaml_node_t *map,
                                      const yaml_node_pair_t *pair, struct ow_bytes name)
{
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, p->key);
        if (key->type == YAML_SCALAR_NODE && ow_bytes_equal(ow_yaml_text(key), name))
            return key;
    }
    return NULL;
}

bool ow_reader_next(struct ow_reader *reader, struct ow_reader_pairs *pairs, struct ow_reader_pair *ret)
{
    while (pairs->next < pairs->map->data.mapping.pairs.top && !ow_diagnostics_is_full(reader->diagnostics)) {
        const yaml_node_pair_t *pair = pairs->next++;
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        if (key->type != YAML_SCALAR_NODE) {
            ow_reader_report(reader, key, "a key must be a word, found %s", ow_yaml_kind(key));
            continue;
        }
        struct ow_bytes name = ow_yaml_text(key);
        size_t path = ow_reader_enter(reader, name);
        const yaml_node_t *first = said_before(reader, pairs->map, pair, name);
        bool is_merge = ow_bytes_is(name, "<<");
        if (is_merge)
            ow_reader_report(reader, key, "merge keys are not supported; write out the keys, or use an alias");
        else if (first)
            ow_reader_report(reader, key, "said twice, first on line %zu; keep one of the two",
                             first->start_mark.line + 1);
        ow_reader_leave(reader, path);
        if (is_merge || first)
            continue;
        *ret = (struct ow_reader_pair){key, yaml_document_get_node(reader->document, pair->value), name};
        return true;
    }
    return false;
}

static void refuse_type(struct ow_reader *reader, const yaml_node_t *node, const struct ow_option *option)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf expected = {0};
    ow_option_expected(option, &expected);
    const char *remedy = option->type == OW_OPTION_LIST ? "; begin each item with \"- \"" : "";
    ow_reader_report(reader, node, "expected %s, found %s%s", ow_buf_bytes(&expected).data, ow_yaml_kind(node), remedy);
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

bool ow_reader_scalar(struct ow_reader *reader, const yaml_node_t *node, const struct ow_option *option,
                      struct ow_bytes *ret)
{
    if (node->type != YAML_SCALAR_NODE || strcmp(ow_yaml_kind(node), "nothing") == 0) {
        refuse_type(reader, node, option);
        return false;
    }
    if (node->tag && strcmp((const char *)node->tag, YAML_STR_TAG) != 0) {
        ow_reader_report(reader, node, "the tag \"%s\" is not supported; remove it", (const char *)node->tag);
        return false;
    }
    struct ow_error err;
    ow_buf_clear(&reader->value);
    bool is_statement = option->type == OW_OPTION_STATEMENT, is_template = option->type == OW_OPTION_TEMPLATE;
    int r = ow_substitute(ow_yaml_text(node), is_template || is_statement, reader->world, &reader->value, &err);
    if (r < 0) {
        reader->has_no_memory |= r == OW_ENOMEM;
        ow_reader_report(reader, node, "%s", err.text);
        return false;
    }
    *ret = ow_buf_bytes(&reader->value);
    for (size_t i = 0; i < ret->size; i++) {
        if (!is_control(ret->data[i]) || (is_statement && strchr("\n\r\t", ret->data[i])))
            continue;
        ow_reader_report(reader, node, "the value holds a line break or another control character; remove it");
        return false;
    }
    return true;
}

/* The templates are parsed here once, so that a wrong one is found before anything is opened. */
static bool check_template(struct ow_reader *reader, const yaml_node_t *node, struct ow_bytes value)
{
    struct ow_route route;
    struct ow_error err;
    int r = ow_route_init(&route, value, &err);
    if (r == 0) {
        ow_route_done(&route);
        return true;
    }
    bool is_as_written = ow_bytes_equal(value, ow_yaml_text(node));
    if (is_as_written || r == OW_ENOMEM)
        ow_reader_report(reader, node, "%s", err.text);
    else
        ow_reader_report(reader, node, "\"%.*s\" does not become a template such as events.${!aggregatetype}",
                         OW_PRINT(ow_yaml_text(node)));
    reader->has_no_memory |= r == OW_ENOMEM;
    return false;
}

static void read_words(struct ow_reader *reader, const yaml_node_t *list, const struct ow_option *option, void *base)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf words = {0};
    size_t count = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
    for (size_t i = 0; i < count; i++) {
        struct ow_bytes value;
        size_t path = ow_reader_enter_index(reader, i);
        const yaml_node_t *node = yaml_document_get_node(reader->document, list->data.sequence.items.start[i]);
        bool is_good = ow_reader_scalar(reader, node, option, &value);
        ow_reader_leave(reader, path);
        if (!is_good)
            return;
        ow_buf_add_text(&words, i > 0 ? ", " : "");
        ow_buf_add_bytes(&words, value);
    }
    struct ow_error err;
    int r = ow_buf_check(&words, &err);
    if (r == 0)
        r = ow_option_set(option, base, ow_buf_bytes(&words), OW_BYTES(""), &err);
    reader->has_no_memory |= r == OW_ENOMEM;
    if (r < 0)
        ow_reader_report(reader, list, "%s", err.text);
}

/* In place of a group. */
static void read_word(struct ow_reader *reader, const yaml_node_t *node, const struct ow_option *option, void *base)
{
    struct ow_option word = *option;
    struct ow_bytes value;
    struct ow_error err;
    if (!ow_reader_scalar(reader, node, option, &value))
        return;
    word.type = OW_OPTION_CHOICE;
    if (ow_option_set(&word, base, value, ow_yaml_text(node), &err) < 0)
        ow_reader_report(reader, node, "%s, or a map", err.text);
}

static void read_option(struct ow_reader *reader, const struct ow_reader_pair *pair, const struct ow_option *option,
                        void *base)
{
    const yaml_node_t *node = pair->value;
    struct ow_bytes value;
    struct ow_error err;
    switch (option->type) {
    case OW_OPTION_GROUP:
        if (option->choices && node->type != YAML_MAPPING_NODE) {
            read_word(reader, node, option, base);
            return;
        }
        (void)ow_reader_group(reader, node, option->group, base);
        return;
    case OW_OPTION_NODE:
        memcpy((char *)base + option->offset, &node, sizeof node);
        return;
    case OW_OPTION_MAP:
    case OW_OPTION_LIST:
        if (node->type == (option->type == OW_OPTION_MAP ? YAML_MAPPING_NODE : YAML_SEQUENCE_NODE))
            memcpy((char *)base + option->offset, &node, sizeof node);
        else
            refuse_type(reader, node, option);
        return;
    case OW_OPTION_LATER:
        ow_reader_report(reader, pair->key, "not supported by this version of onewrite");
        return;
    case OW_OPTION_WORDS:
        if (node->type == YAML_SEQUENCE_NODE) {
            read_words(reader, node, option, base);
            return;
        }
        break;
    default:
        break;
    }
    if (!ow_reader_scalar(reader, node, option, &value))
        return;
    if (option->type == OW_OPTION_TEMPLATE && value.size > 0 && !check_template(reader, node, value))
        return;
    int r = ow_option_set(option, base, value, ow_yaml_text(node), &err);
    reader->has_no_memory |= r == OW_ENOMEM;
    if (r < 0)
        ow_reader_report(reader, node, "%s", err.text);
}

/* Reports a key that the table does not have; returns the row that was probably meant, or NULL. */
static const struct ow_option *refuse_key(struct ow_reader *reader, const struct ow_reader_pair *pair,
                                          const struct ow_option *table)
{
    struct ow_nearest nearest = {.word = pair->name};
    OW_CLEANUP(ow_buf_done) struct ow_buf known = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf place = {0};
    for (const struct ow_option *option = table; option->key; option++) {
        if (option->type == OW_OPTION_LATER)
            continue;
        ow_nearest_offer(&nearest, option->key);
        ow_buf_printf(&known, "%s%s", known.size ? ", " : "", option->key);
    }
    if (nearest.best)
        ow_reader_report(reader, pair->key, "unknown key; did you mean \"%s\"?", nearest.best);
    else if (ow_schema_find_elsewhere(table, pair->name, ow_buf_bytes(&reader->path), &place))
        ow_reader_report(reader, pair->key, "unknown key here; it is one of %s", ow_buf_bytes(&place).data);
    else
        ow_reader_report(reader, pair->key, "unknown key; known: %s", ow_buf_bytes(&known).data);
    return ow_option_find(table, ow_bytes_of(nearest.best));
}

static void report_missing(struct ow_reader *reader, const yaml_node_t *map, const struct ow_option *option)
{
    size_t path = ow_reader_enter(reader, ow_bytes_of(option->key));
    ow_reader_report(reader, map, "missing; write for example \"%s: %s\"", option->key, option->sample);
    ow_reader_leave(reader, path);
}

bool ow_reader_group(struct ow_reader *reader, const yaml_node_t *node, const struct ow_option *table, void *base)
{
    static const struct ow_option a_map = {.type = OW_OPTION_GROUP};
    if (node->type != YAML_MAPPING_NODE) {
        refuse_type(reader, node, &a_map);
        return false;
    }
    uint64_t said = 0; /* bit n: row n, also if only something like it was said */
    struct ow_reader_pairs pairs = ow_reader_pairs(node);
    struct ow_reader_pair pair;
    while (ow_reader_next(reader, &pairs, &pair)) {
        size_t path = ow_reader_enter(reader, pair.name);
        const struct ow_option *option = ow_option_find(table, pair.name);
        if (option)
            read_option(reader, &pair, option, base);
        else
            option = refuse_key(reader, &pair, table);
        if (option)
            said |= (uint64_t)1 << (option - table);
        ow_reader_leave(reader, path);
    }
    for (const struct ow_option *option = table; option->key; option++)
        if (option->is_required && !(said >> (option - table) & 1))
            report_missing(reader, node, option);
    return true;
}
