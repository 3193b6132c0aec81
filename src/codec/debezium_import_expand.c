/* SPDX-License-Identifier: Apache-2.0 */
/* The placeholders of the Server's file: ${name} is another property of it, or a variable; ${name:default}. Those of
   connections stay placeholders in ours (debezium_import_write.c); what chooses how records look must be known here. */
#include "codec/debezium_import_parts.h"

#define DEPTH_MAX      16
#define EXPANSIONS_MAX 1000 /* of a property: they may name one another */

struct expansion {
    struct ow_import *in;
    struct ow_bytes property; /* whose value it is */
    size_t depth, count;
};

static bool begins(struct ow_bytes text, const char *with)
{
    return text.size >= strlen(with) && memcmp(text.data, with, strlen(with)) == 0;
}

/* What ow_import_add_scalar() writes, and nothing else looks at. */
static bool is_of_connection(struct ow_bytes name)
{
    static const char *const names[] = {
        "debezium.source.database.",
        "debezium.source.slot.name",
        "debezium.source.publication.name",
        "debezium.sink.kafka.producer.bootstrap.servers",
        "debezium.sink.kafka.producer.sasl.jaas.config",
        "debezium.sink.kafka.producer.client.id",
        "debezium.sink.kafka.producer.ssl.truststore.location",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (begins(name, names[i]))
            return !ow_bytes_is(name, "debezium.source.database.sslmode");
    return false;
}

/* Where the brace at the end of "${…" is; there may be others in between. NULL: nowhere. */
static const char *closing(const char *s, const char *end)
{
    size_t open = 0;
    for (; s < end; s++) {
        if (end - s >= 2 && s[0] == '$' && s[1] == '{')
            open++;
        else if (*s == '}' && --open == 0)
            return s;
    }
    return NULL;
}

static void expand(struct expansion *ex, struct ow_bytes text, struct ow_buf *to);

/* A group of the route's expression: the file has it without an escape often enough, and no variable is meant. */
static bool may_be_group(struct ow_bytes property)
{
    static const char end[] = ".route.topic.replacement";
    size_t size = sizeof(end) - 1;
    return property.size > size && memcmp(property.data + property.size - size, end, size) == 0;
}

static void tell(struct expansion *ex, struct ow_bytes name, const char *what)
{
    struct ow_bytes why = ow_dbz_printf(&ex->in->properties.arena, "the variable %.*s %s", OW_PRINT(name), what);
    ow_import_lose_bytes(ex->in, ex->property, why.data ? why.data : what);
}

/* What is between the braces. false: it is none of ours to expand. */
static bool expand_one(struct expansion *ex, struct ow_bytes inside, struct ow_buf *to)
{
    struct ow_properties *all = &ex->in->properties;
    const char *colon = memchr(inside.data, ':', inside.size);
    struct ow_bytes name = {inside.data, colon ? (size_t)(colon - inside.data) : inside.size};
    struct ow_bytes key = ow_dbz_printf(&all->arena, "%.*s", OW_PRINT(name));
    struct ow_bytes value = key.data ? ow_properties_get(all, key.data) : OW_NULL_BYTES;
    if (!value.data && colon) {
        value = (struct ow_bytes){colon + 1, inside.size - name.size - 1};
        tell(ex, name, "is not looked at, its default counts; write the value in its place");
    } else if (!value.data) {
        if (!may_be_group(ex->property))
            tell(ex, name, "is not looked at; write its value in its place");
        return false;
    }
    ex->depth++;
    expand(ex, value, to);
    ex->depth--;
    return true;
}

/* A backslash or a second dollar sign before a dollar sign makes it an ordinary one. */
static void expand(struct expansion *ex, struct ow_bytes text, struct ow_buf *to)
{
    const char *end = text.data + text.size;
    for (const char *s = text.data; s < end; s++) {
        bool has_next = s + 1 < end;
        if (has_next && s[1] == '$' && (*s == '$' || *s == '\\')) {
            ow_buf_add_char(to, *++s);
            continue;
        }
        bool is_placeholder = has_next && *s == '$' && s[1] == '{' && ex->depth < DEPTH_MAX &&
                              ex->count++ < EXPANSIONS_MAX;
        const char *close = is_placeholder ? closing(s, end) : NULL;
        if (close && expand_one(ex, (struct ow_bytes){s + 2, (size_t)(close - s) - 2}, to))
            s = close;
        else
            ow_buf_add_char(to, *s);
    }
}

int ow_import_expand(struct ow_import *in, struct ow_error *err)
{
    for (size_t i = 0; i < in->properties.count && !in->properties.is_json; i++) {
        struct ow_property *property = &in->properties.items[i];
        if (property->value.size == 0 || !memchr(property->value.data, '$', property->value.size) ||
            is_of_connection(property->name))
            continue;
        OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
        struct expansion ex = {.in = in, .property = property->name};
        expand(&ex, property->value, &text);
        int r = ow_buf_check(&text, err);
        if (r != 0)
            return r;
        property->value = text.size > 0 ? ow_dbz_copy(&in->properties.arena, ow_buf_bytes(&text)) : OW_BYTES("");
    }
    return ow_dbz_arena_check(&in->properties.arena, err);
}
