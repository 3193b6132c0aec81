/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of an import. Debezium names tables and columns by expressions, and takes what matches in the catalog;
   ours are names, so an expression is taken that stands for a few of them. */
#include "codec/debezium_import_parts.h"
#include "codec/debezium_regex.h"

static struct ow_bytes source(struct ow_import *in, const char *name)
{
    return ow_import_get(in, "debezium.source.", name);
}

/* --- the names that an expression stands for ----------------------------------------------------------------- */

#define NAMES_MAX 64
struct names {
    struct ow_bytes items[NAMES_MAX];
    size_t count;
};

struct expression {
    struct ow_dbz_arena *arena;
    const char *s, *end;
};

static bool add_name(struct names *to, struct ow_bytes name)
{
    for (size_t i = 0; i < to->count; i++)
        if (ow_bytes_equal(to->items[i], name))
            return true;
    if (to->count == NAMES_MAX || !name.data)
        return false;
    to->items[to->count++] = name;
    return true;
}

/* Each of the first with each of the second behind it. */
static bool append(struct expression *ex, struct names *to, const struct names *what)
{
    struct names all = {.count = 0};
    for (size_t i = 0; i < to->count; i++)
        for (size_t j = 0; j < what->count; j++)
            if (!add_name(&all, ow_dbz_printf(ex->arena, "%.*s%.*s", OW_PRINT(to->items[i]), OW_PRINT(what->items[j]))))
                return false;
    *to = all;
    return true;
}

static bool read_alternatives(struct expression *ex, struct names *ret, size_t depth);

/* [ab]: a few letters, no ranges. */
static bool read_class(struct expression *ex, struct names *ret)
{
    for (; ex->s < ex->end && *ex->s != ']'; ex->s++)
        if (strchr("^-\\[&", *ex->s) || !add_name(ret, ow_dbz_copy(ex->arena, (struct ow_bytes){ex->s, 1})))
            return false;
    return ex->s++ < ex->end && ret->count > 0;
}

/* A letter, a group or a class. */
static bool read_atom(struct expression *ex, struct names *ret, size_t depth)
{
    char c = *ex->s++;
    if (c == '[')
        return read_class(ex, ret);
    if (c == '(') {
        if (ex->end - ex->s >= 2 && memcmp(ex->s, "?:", 2) == 0)
            ex->s += 2;
        return depth < 8 && read_alternatives(ex, ret, depth + 1) && ex->s < ex->end && *ex->s++ == ')';
    }
    bool is_escaped = c == '\\' && ex->s < ex->end;
    if (is_escaped)
        c = *ex->s++;
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (is_escaped ? is_letter : strchr("*+?{}|^$]", c) != NULL)
        return false;
    return add_name(ret, ow_dbz_copy(ex->arena, (struct ow_bytes){&c, 1}));
}

static bool read_sequence(struct expression *ex, struct names *ret, size_t depth)
{
    *ret = (struct names){.items = {OW_BYTES("")}, .count = 1};
    while (ex->s < ex->end && *ex->s != '|' && *ex->s != ')') {
        struct names atom = {.count = 0};
        if (!read_atom(ex, &atom, depth))
            return false;
        if (ex->s < ex->end && *ex->s == '?') {
            ex->s++;
            if (!add_name(&atom, OW_BYTES("")))
                return false;
        }
        if (!append(ex, ret, &atom))
            return false;
    }
    return true;
}

static bool read_alternatives(struct expression *ex, struct names *ret, size_t depth)
{
    for (;;) {
        struct names sequence;
        if (!read_sequence(ex, &sequence, depth))
            return false;
        for (size_t i = 0; i < sequence.count; i++)
            if (!add_name(ret, sequence.items[i]))
                return false;
        if (ex->s == ex->end || *ex->s != '|')
            return true;
        ex->s++;
    }
}

static bool is_table(struct ow_bytes name)
{
    const char *dot = name.data ? memchr(name.data, '.', name.size) : NULL;
    const char *end = name.data + name.size;
    return dot && dot > name.data && dot + 1 < end && !memchr(dot + 1, '.', (size_t)(end - dot) - 1);
}

/* public\.(a|b) -> public.a, public.b; false: it stands for who knows what. A dot is taken for the one between schema
   and table. */
static bool names_of(struct ow_dbz_arena *arena, struct ow_bytes item, struct names *ret)
{
    *ret = (struct names){.count = 0};
    if (item.size > 1 && item.data[0] == '^')
        item = (struct ow_bytes){item.data + 1, item.size - 1};
    if (item.size > 1 && item.data[item.size - 1] == '$' && item.data[item.size - 2] != '\\')
        item.size--;
    struct expression ex = {arena, item.data, item.data + item.size};
    if (!read_alternatives(&ex, ret, 0) || ex.s != ex.end || arena->has_failed)
        return false;
    for (size_t i = 0; i < ret->count; i++)
        if (!is_table(ret->items[i]))
            return false;
    return true;
}

/* --- outboxes, and the others -------------------------------------------------------------------------------- */

#define PREDICATE "org.apache.kafka.connect.transforms.predicates."

/* Java's Boolean.parseBoolean(), of a text between blanks. */
static bool is_true(struct ow_bytes value)
{
    struct ow_bytes word;
    return ow_import_next_item(&value, &word) && word.size == 4 && strncasecmp(word.data, "true", 4) == 0;
}

/* A predicate that is not in the list of them is none. */
static int check_predicate(struct ow_import *in, struct ow_error *err)
{
    struct ow_bytes list = ow_import_get(in, "debezium.", "predicates"), name;
    while (ow_import_next_item(&list, &name))
        if (ow_bytes_equal(name, in->predicate))
            return 0;
    return ow_error_set(err, OW_ECONFIG, "%.*s: does not name the router's predicate \"%.*s\"",
                        OW_PRINT(ow_import_name(in, "debezium.", "predicates")), OW_PRINT(in->predicate));
}

/* Whether the router is for this table: its predicate asks for the topic's name. */
static int is_routed(struct ow_import *in, struct ow_bytes table, bool *ret, struct ow_error *err)
{
    struct ow_dbz_arena *arena = &in->properties.arena;
    *ret = true;
    if (!in->predicate.data || in->predicate.size == 0)
        return 0;
    const char *prefix = in->properties.is_json ? "" : "debezium.";
    struct ow_bytes type = ow_properties_get(
        &in->properties, ow_dbz_printf(arena, "%spredicates.%.*s.type", prefix, OW_PRINT(in->predicate)).data);
    struct ow_bytes name = ow_dbz_printf(arena, "%spredicates.%.*s.pattern", prefix, OW_PRINT(in->predicate));
    struct ow_bytes pattern = ow_properties_get(&in->properties, name.data);
    if (!type.data)
        return ow_error_set(err, OW_ECONFIG, "%spredicates.%.*s.type: not said", prefix, OW_PRINT(in->predicate));
    int r = check_predicate(in, err);
    if (r != 0)
        return r;
    bool is_for_no_row = ow_bytes_is(type, PREDICATE "RecordIsTombstone") ||
                         ow_bytes_is(type, PREDICATE "HasHeaderKey");
    if (is_for_no_row) {
        *ret = is_true(in->negate);
        return 0;
    }
    bool is_of_topics = ow_bytes_is(type, PREDICATE "TopicNameMatches");
    if (is_of_topics && !pattern.data)
        return ow_error_set(err, OW_ECONFIG, "%.*s: not said", OW_PRINT(name));
    if (!is_of_topics) {
        ow_import_lose_bytes(in, in->predicate, "a predicate that is not carried over");
        return 0;
    }
    struct ow_java_regex *regex;
    r = ow_java_regex_new(pattern, OW_BYTES("\\$"), &regex, err);
    if (r != 0)
        return ow_error_prefix(err, "%.*s", OW_PRINT(name));
    struct ow_bytes topic = ow_dbz_printf(arena, "%s.%.*s", in->to->options.topic_prefix, OW_PRINT(table));
    struct ow_buf routed = {0};
    r = ow_java_regex_route(regex, topic, &routed, err);
    /* a name that does not match comes out as it is */
    bool matches = !ow_bytes_equal(ow_buf_bytes(&routed), topic);
    *ret = matches != is_true(in->negate);
    ow_buf_done(&routed);
    ow_java_regex_free(regex);
    return r;
}

/* One line of tables: those that the router is for, or the others. */
static int write_list(struct ow_import *in, const struct names *tables, const char *key, bool wants_outboxes,
                      struct names *ret, struct ow_error *err)
{
    struct ow_buf *to = &in->to->yaml;
    *ret = (struct names){.count = 0};
    for (size_t i = 0; i < tables->count; i++) {
        bool is_routed_there = false;
        int r = is_routed(in, tables->items[i], &is_routed_there, err);
        if (r != 0)
            return r;
        if (is_routed_there != wants_outboxes)
            continue;
        if (ret->count == 0)
            ow_buf_printf(to, "      %s: \"", key);
        else
            ow_buf_add_text(to, ", ");
        ow_import_add_scalar(in, to, tables->items[i], false);
        (void)add_name(ret, tables->items[i]);
    }
    if (ret->count > 0)
        ow_buf_add_text(to, "\"\n");
    return 0;
}

static void find_tables(struct ow_import *in, struct names *ret)
{
    struct ow_bytes list = source(in, "table.include.list"), item;
    *ret = (struct names){.count = 0};
    while (ow_import_next_item(&list, &item)) {
        struct names some;
        bool is_good = names_of(&in->properties.arena, item, &some);
        for (size_t i = 0; is_good && i < some.count; i++)
            is_good = add_name(ret, some.items[i]);
        if (!is_good)
            ow_import_lose_bytes(in, item,
                                 memchr(item.data, '.', item.size)
                                     ? "table.include.list: an expression; name the tables"
                                     : "table.include.list: matches no table; write it as schema.table");
    }
}

/* --- what is left out of them -------------------------------------------------------------------------------- */

/* Whether one of the expressions, separated by commas, matches schema.table.column as a whole. */
static int is_listed(struct ow_import *in, struct ow_bytes list, struct ow_bytes column, bool *ret,
                     struct ow_error *err)
{
    struct ow_bytes item;
    *ret = false;
    while (!*ret && ow_import_next_item(&list, &item)) {
        struct ow_java_regex *regex;
        struct ow_bytes pattern = ow_dbz_printf(&in->properties.arena, "(?i)%.*s", OW_PRINT(item));
        int r = ow_java_regex_new(pattern, OW_BYTES("\\$"), &regex, err);
        if (r != 0)
            return r;
        struct ow_buf routed = {0};
        r = ow_java_regex_route(regex, column, &routed, err);
        *ret = !ow_bytes_equal(ow_buf_bytes(&routed), column);
        ow_buf_done(&routed);
        ow_java_regex_free(regex);
        if (r != 0)
            return r;
    }
    return 0;
}

/* The columns that the router reads. */
static bool find_columns(struct ow_import *in, struct names *ret)
{
    const struct ow_debezium_options *o = &in->to->options;
    const char *const some[] = {o->route_by, o->event_id, o->event_key, o->payload, o->timestamp, o->schema_version};
    bool is_good = true;
    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++)
        is_good = is_good && (!some[i] || !some[i][0] || add_name(ret, ow_bytes_of(some[i])));
    for (size_t i = 0; i < o->placement_count; i++)
        is_good = is_good && add_name(ret, o->placements[i].column);
    return is_good;
}

/* Whether these columns all pass the filter: then it changes no record of the router. */
static bool is_harmless(struct ow_import *in, const struct names *tables, struct ow_bytes list, bool is_include)
{
    struct names columns = {.count = 0};
    if (!find_columns(in, &columns))
        return false;
    for (size_t i = 0; i < tables->count; i++) {
        for (size_t j = 0; j < columns.count; j++) {
            bool listed;
            struct ow_bytes column = ow_dbz_printf(&in->properties.arena, "%.*s.%.*s", OW_PRINT(tables->items[i]),
                                                   OW_PRINT(columns.items[j]));
            if (is_listed(in, list, column, &listed, NULL) != 0 || listed != is_include)
                return false;
        }
    }
    return true;
}

static void check_columns(struct ow_import *in, const struct names *outboxes, bool has_changes)
{
    static const char *const names[] = {"column.include.list", "column.exclude.list", "message.key.columns"};
    for (size_t i = 0; i < 3; i++) {
        struct ow_bytes list = source(in, names[i]);
        if (!list.data)
            continue;
        bool is_fine = !has_changes && (i == 2 || is_harmless(in, outboxes, list, i == 0));
        if (!is_fine)
            ow_import_lose_bytes(in, ow_import_name(in, "debezium.source.", names[i]), "not carried over");
    }
}

static int check_skipped(struct ow_import *in, bool has_changes, struct ow_error *err)
{
    struct ow_bytes skipped = source(in, "skipped.operations"), list = skipped, item;
    bool skips_inserts = false, skips_updates = false, skips_nothing = false;
    size_t count = 0;
    while (ow_import_next_item(&list, &item)) {
        bool is_known = ow_bytes_is(item, "none") || (item.size == 1 && strchr("cudt", item.data[0]));
        if (!is_known)
            return ow_error_set(err, OW_ECONFIG, "skipped.operations: \"%.*s\" is none of: c, u, d, t, none",
                                OW_PRINT(item));
        skips_inserts = skips_inserts || item.data[0] == 'c';
        skips_updates = skips_updates || item.data[0] == 'u';
        skips_nothing = skips_nothing || ow_bytes_is(item, "none");
        count++;
    }
    if (skips_nothing && count > 1)
        return ow_error_set(err, OW_ECONFIG, "skipped.operations: none stands there alone, or not at all");
    if (skipped.data && count == 0)
        return ow_error_set(err, OW_ECONFIG, "skipped.operations: it is empty; none is what it may say");
    if (has_changes && skipped.data && !ow_bytes_is(skipped, "t"))
        ow_import_lose(in, "skipped.operations",
                       "not carried over: every INSERT, UPDATE and DELETE is published, and no TRUNCATE");
    else if (skips_inserts)
        ow_import_lose(in, "skipped.operations", "not carried over: new rows are published");
    else if (skips_updates)
        in->skips_updates = true;
    return 0;
}

int ow_import_write_tables(struct ow_import *in, struct ow_error *err)
{
    struct names all, outboxes, changes;
    find_tables(in, &all);
    int r = write_list(in, &all, "outbox", true, &outboxes, err);
    if (r == 0 && outboxes.count == 0 && all.count > 0)
        return ow_error_set(
            err, OW_EUNSUPPORTED,
            "the predicate %.*s keeps the event router away from every table: change events alone are not "
            "carried over",
            OW_PRINT(in->predicate));
    if (r == 0 && outboxes.count == 0) {
        ow_buf_add_text(&in->to->yaml, "      outbox: \"public.outbox\"\n");
        ow_import_lose(in, "table.include.list", "names no table of the router; public.outbox is taken");
        (void)add_name(&outboxes, OW_BYTES("public.outbox"));
    }
    if (r == 0)
        r = write_list(in, &all, "changes", false, &changes, err);
    if (r == 0)
        r = check_skipped(in, changes.count > 0, err);
    if (r == 0)
        check_columns(in, &outboxes, changes.count > 0);
    return r;
}
