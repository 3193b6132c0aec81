/* SPDX-License-Identifier: Apache-2.0 */
#include "core/route.h"

#include <stdlib.h>

enum field { TEXT, ID, TOPIC, KEY, TYPE, AGGREGATE_TYPE, AGGREGATE_ID, TIME, PAYLOAD, HEADER, PAYLOAD_PATH };

struct ow_route_part {
    enum field field;
    struct ow_bytes text; /* TEXT: itself; HEADER: the name; PAYLOAD_PATH: the path */
};

static const struct {
    const char *name;
    enum field field;
} fields[] = {
    {"id", ID},
    {"topic", TOPIC},
    {"key", KEY},
    {"type", TYPE},
    {"aggregatetype", AGGREGATE_TYPE},
    {"aggregateid", AGGREGATE_ID},
    {"time", TIME},
    {"payload", PAYLOAD},
};

static bool starts_with(struct ow_bytes text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.size > n && memcmp(text.data, prefix, n) == 0;
}

static bool find_field(struct ow_bytes name, struct ow_route_part *ret)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (ow_bytes_is(name, fields[i].name)) {
            *ret = (struct ow_route_part){fields[i].field, OW_NULL_BYTES};
            return true;
        }
    if (starts_with(name, "headers.")) {
        *ret = (struct ow_route_part){HEADER, {name.data + 8, name.size - 8}};
        return true;
    }
    if (starts_with(name, "payload.")) {
        *ret = (struct ow_route_part){PAYLOAD_PATH, {name.data + 8, name.size - 8}};
        return true;
    }
    return false;
}

static void add_text(struct ow_route *route, const char *from, const char *to)
{
    if (to > from)
        route->parts[route->count++] = (struct ow_route_part){TEXT, {from, (size_t)(to - from)}};
}

int ow_route_init(struct ow_route *route, struct ow_bytes template, struct ow_error *err)
{
    *route = (struct ow_route){0};
    route->text = malloc(template.size + 1);
    /* No template has more parts than characters; few are long. */
    route->parts = calloc(template.size + 1, sizeof *route->parts);
    if (!route->text || !route->parts) {
        ow_route_done(route);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    if (template.size)
        memcpy(route->text, template.data, template.size);
    route->text[template.size] = '\0';
    const char *s = route->text, *end = s + template.size, *run = s;
    while (s < end) {
        if (*s != '$') {
            s++;
            continue;
        }
        if (end - s >= 2 && s[1] == '$') {
            add_text(route, run, s + 1);
            s += 2;
        } else {
            const char *close = memchr(s, '}', (size_t)(end - s));
            struct ow_route_part part = {0};
            bool is_field = close && close - s >= 3 && s[1] == '{' && s[2] == '!';
            if (!is_field || !find_field((struct ow_bytes){s + 3, (size_t)(close - s - 3)}, &part)) {
                int r = ow_error_set(
                    err, OW_EINVALID,
                    "template \"%.*s\", character %zu: write ${!FIELD} with one of id, topic, key, type, "
                    "aggregatetype, aggregateid, time, payload, headers.NAME, payload.PATH, or $$ for a dollar sign",
                    OW_PRINT(template), (size_t)(s - route->text) + 1);
                ow_route_done(route);
                return r;
            }
            add_text(route, run, s);
            route->parts[route->count++] = part;
            s = close + 1;
        }
        run = s;
    }
    add_text(route, run, end);
    return 0;
}

void ow_route_done(struct ow_route *route)
{
    free(route->parts);
    free(route->text);
    *route = (struct ow_route){0};
}

static struct ow_bytes header_value(const struct ow_message *m, struct ow_bytes name)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (ow_bytes_equal(m->headers[i].name, name))
            return m->headers[i].value;
    return OW_NULL_BYTES;
}

/* 1 and a value, 0 for null, < 0. Only time and a path in the payload need the buffer. */
static int part_value(const struct ow_route_part *part, const struct ow_message *m, ow_route_lookup *lookup,
                      struct ow_buf *scratch, struct ow_bytes *ret, struct ow_error *err)
{
    size_t before = scratch->size;
    switch (part->field) {
    case TEXT:
        *ret = part->text;
        break;
    case ID:
        *ret = m->id;
        break;
    case TOPIC:
        *ret = m->topic;
        break;
    case KEY:
        *ret = m->key;
        break;
    case TYPE:
        *ret = m->type;
        break;
    case AGGREGATE_TYPE:
        *ret = m->aggregate_type;
        break;
    case AGGREGATE_ID:
        *ret = m->aggregate_id;
        break;
    case PAYLOAD:
        *ret = m->payload;
        break;
    case HEADER:
        *ret = header_value(m, part->text);
        break;
    case TIME:
        ow_buf_printf(scratch, "%lld", (long long)m->time_ms);
        *ret = (struct ow_bytes){ow_buf_bytes(scratch).data + before, scratch->size - before};
        break;
    case PAYLOAD_PATH: {
        if (!lookup)
            return ow_error_set(err, OW_EUNSUPPORTED, "a template here cannot look into the payload");
        int r = m->payload.data ? lookup(m->payload, part->text, scratch, err) : 0;
        if (r < 0)
            return r;
        *ret = r == 0 ? OW_NULL_BYTES : (struct ow_bytes){ow_buf_bytes(scratch).data + before, scratch->size - before};
        break;
    }
    }
    return ret->data ? 1 : 0;
}

static const char *part_name(const struct ow_route_part *part)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].field == part->field)
            return fields[i].name;
    return part->field == HEADER ? "headers." : "payload.";
}

int ow_route_render(const struct ow_route *route, const struct ow_message *m, ow_route_lookup *lookup,
                    struct ow_buf *scratch, struct ow_bytes *ret, struct ow_error *err)
{
    if (route->count == 1) {
        int r = part_value(&route->parts[0], m, lookup, scratch, ret, err);
        return r < 0 || !scratch->has_failed ? r : ow_buf_check(scratch, err);
    }
    size_t before = scratch->size;
    for (size_t i = 0; i < route->count; i++) {
        const struct ow_route_part *part = &route->parts[i];
        struct ow_bytes value = OW_NULL_BYTES;
        size_t at = scratch->size;
        int r = part_value(part, m, lookup, scratch, &value, err);
        if (r < 0)
            return r;
        if (r == 0)
            return ow_error_set(err, OW_EINVALID, "the message has no %s%.*s, which the template needs",
                                part_name(part), OW_PRINT(part->text));
        if (scratch->size == at) /* it points elsewhere: bring it in */
            ow_buf_add_bytes(scratch, value);
    }
    int r = ow_buf_check(scratch, err);
    if (r < 0)
        return r;
    *ret = (struct ow_bytes){ow_buf_bytes(scratch).data + before, scratch->size - before};
    return 1;
}
