/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/sql_template.h"

#include <stdlib.h>

#include "codec/json.h"

/* Where the text inside quotes, a comment or a dollar-quoted body that begins at `s` ends; `s` itself: none begins
 * here. */
static const char *end_of_quoted(const char *s, const char *end)
{
    if (*s == '\'' || *s == '"') {
        const char *close = memchr(s + 1, *s, (size_t)(end - s - 1));
        return close ? close + 1 : end;
    }
    if (end - s >= 2 && s[0] == '-' && s[1] == '-') {
        const char *close = memchr(s, '\n', (size_t)(end - s));
        return close ? close : end;
    }
    if (end - s >= 2 && s[0] == '/' && s[1] == '*') {
        const char *close = memmem(s + 2, (size_t)(end - s - 2), "*/", 2);
        return close ? close + 2 : end;
    }
    return s;
}

static int refuse(struct ow_bytes text, const char *at, const char *what, struct ow_error *err)
{
    size_t line = 0; /* an error is one line: of several the first */
    while (line < text.size && (unsigned char)text.data[line] >= ' ')
        line++;
    struct ow_bytes first = {text.data, line};
    return ow_error_set(err, OW_EINVALID, "statement \"%.*s%s\", character %zu: %s", OW_PRINT(first),
                        line < text.size ? " ..." : "", (size_t)(at - text.data) + 1, what);
}

static bool begins_field(const char *s, const char *end)
{
    return end - s >= 3 && s[0] == '$' && s[1] == '{' && s[2] == '!';
}

static int add_field(struct ow_sql_template *t, struct ow_bytes text, const char *from, const char *to,
                     struct ow_error *err)
{
    if (t->count == OW_SQL_PARAMETERS_MAX)
        return refuse(text, from, "more than 64 fields", err);
    struct ow_error why;
    int r = ow_route_init(&t->fields[t->count], (struct ow_bytes){from, (size_t)(to - from)}, &why);
    if (r == OW_ENOMEM)
        return ow_error_set(err, r, "%s", why.text);
    if (r < 0)
        return refuse(text, from,
                      "no such field; there are id, topic, key, type, aggregatetype, aggregateid, time, payload, "
                      "headers.NAME, payload.PATH",
                      err);
    t->count++;
    return 0;
}

static int parse(struct ow_sql_template *t, struct ow_bytes text, enum ow_sql_dialect dialect, struct ow_buf *sql,
                 struct ow_error *err)
{
    const char *s = text.data, *end = s + text.size;
    while (s < end) {
        const char *quoted = end_of_quoted(s, end);
        if (quoted > s) {
            for (const char *c = s; c < quoted; c++)
                if (begins_field(c, quoted))
                    return refuse(text, c, "a field within quotes or a comment is no parameter; write it without them",
                                  err);
            ow_buf_add(sql, s, (size_t)(quoted - s));
            s = quoted;
        } else if (begins_field(s, end)) {
            const char *close = memchr(s, '}', (size_t)(end - s));
            if (!close)
                return refuse(text, s, "\"}\" is missing", err);
            int r = add_field(t, text, s, close + 1, err);
            if (r < 0)
                return r;
            ow_buf_printf(sql, "%c%zu", dialect == OW_SQL_NUMBERED_BY_DOLLAR ? '$' : '?', t->count);
            s = close + 1;
        } else
            ow_buf_add_char(sql, *s++);
    }
    ow_buf_add_char(sql, '\0');
    return ow_buf_check(sql, err);
}

int ow_sql_template_init(struct ow_sql_template *t, struct ow_bytes text, enum ow_sql_dialect dialect,
                         struct ow_error *err)
{
    struct ow_buf sql = {0};
    *t = (struct ow_sql_template){.fields = calloc(OW_SQL_PARAMETERS_MAX, sizeof(struct ow_route))};
    int r = t->fields ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0 && (!text.data || text.size == 0 || memchr(text.data, '\0', text.size)))
        r = ow_error_set(err, OW_EINVALID, "a statement is empty, or has a NUL in it");
    if (r == 0)
        r = parse(t, text, dialect, &sql, err);
    if (r == 0 && !(t->sql = sql.data ? strdup(sql.data) : NULL))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_buf_done(&sql);
    if (r < 0)
        ow_sql_template_done(t);
    return r;
}

void ow_sql_template_done(struct ow_sql_template *t)
{
    for (size_t i = 0; i < t->count; i++)
        ow_route_done(&t->fields[i]);
    free(t->fields);
    free(t->sql);
    *t = (struct ow_sql_template){0};
}

int ow_sql_template_value(const struct ow_sql_template *t, size_t i, const struct ow_message *message,
                          struct ow_buf *scratch, struct ow_bytes *ret, size_t *ret_at, struct ow_error *err)
{
    size_t before = scratch->size;
    int r = ow_route_render(&t->fields[i], message, ow_json_lookup_any, scratch, ret, err);
    if (r <= 0)
        *ret = OW_NULL_BYTES;
    *ret_at = r == 1 && scratch->size > before ? before : SIZE_MAX;
    return r < 0 ? r : 0;
}
