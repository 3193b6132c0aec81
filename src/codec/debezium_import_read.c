/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "codec/debezium_import.h"
#include "codec/json.h"

void ow_properties_done(struct ow_properties *properties)
{
    free(properties->items);
    ow_dbz_arena_done(&properties->arena);
    *properties = (struct ow_properties){0};
}

struct ow_bytes ow_properties_get(struct ow_properties *properties, const char *name)
{
    for (size_t i = 0; i < properties->count; i++) {
        if (!ow_bytes_is(properties->items[i].name, name))
            continue;
        properties->items[i].is_used = true;
        return properties->items[i].value;
    }
    return OW_NULL_BYTES;
}

static int add(struct ow_properties *to, struct ow_bytes name, struct ow_bytes value, struct ow_error *err)
{
    for (size_t i = 0; i < to->count; i++) {
        if (ow_bytes_equal(to->items[i].name, name)) {
            to->items[i].value = value;
            return 0;
        }
    }
    struct ow_property *grown = reallocarray(to->items, to->count + 1, sizeof(*grown));
    if (!grown)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    to->items = grown;
    to->items[to->count++] = (struct ow_property){name, value, false};
    return 0;
}

/* --- Java properties ----------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

struct lines {
    const char *s, *end;
    size_t number;
};

static size_t backslashes_before(const char *from, const char *at)
{
    size_t count = 0;
    while (at > from && at[-1] == '\\') {
        at--;
        count++;
    }
    return count;
}

/* One line with those that it is continued on, without the blanks they begin with. */
static bool next_line(struct lines *lines, struct ow_buf *to)
{
    ow_buf_clear(to);
    if (lines->s == lines->end)
        return false;
    for (bool is_more = true; is_more && lines->s < lines->end;) {
        while (lines->s < lines->end && is_blank(*lines->s))
            lines->s++;
        const char *from = lines->s, *stop = from;
        while (stop < lines->end && *stop != '\n' && *stop != '\r')
            stop++;
        bool is_comment = to->size == 0 && from < stop && (*from == '#' || *from == '!');
        is_more = !is_comment && backslashes_before(from, stop) % 2 == 1;
        if (!is_comment)
            ow_buf_add(to, from, (size_t)(stop - from) - is_more);
        if (stop < lines->end && *stop == '\r')
            stop++;
        if (stop < lines->end && *stop == '\n')
            stop++;
        lines->s = stop;
        lines->number++;
    }
    return true;
}

static void add_code(struct ow_buf *to, uint32_t code)
{
    if (code < 0x80) {
        ow_buf_add_char(to, (char)code);
    } else if (code < 0x800) {
        ow_buf_add_char(to, (char)(0xc0 | code >> 6));
        ow_buf_add_char(to, (char)(0x80 | (code & 63)));
    } else {
        if (code >= 0x10000)
            ow_buf_add_char(to, (char)(0xf0 | code >> 18));
        ow_buf_add_char(to, (char)(code >= 0x10000 ? 0x80 | (code >> 12 & 63) : 0xe0 | code >> 12));
        ow_buf_add_char(to, (char)(0x80 | (code >> 6 & 63)));
        ow_buf_add_char(to, (char)(0x80 | (code & 63)));
    }
}

/* At the backslash of an escape: \u and four digits. False: there are no four. */
static bool read_code(struct ow_bytes text, size_t at, uint32_t *ret)
{
    char digits[5] = "", *end;
    if (text.size < at + 6 || text.data[at] != '\\' || text.data[at + 1] != 'u')
        return false;
    memcpy(digits, text.data + at + 2, 4);
    *ret = (uint32_t)strtoul(digits, &end, 16);
    return end == digits + 4;
}

/* Half a character beyond U+FFFF takes the other half, if that is there; alone it is what Java writes for it. Returns
   what was taken; 0: \u without its digits. */
static size_t unescape_code(struct ow_bytes text, size_t at, struct ow_buf *to)
{
    uint32_t code, other;
    if (!read_code(text, at, &code))
        return 0;
    bool is_high = code >= 0xd800 && code < 0xdc00;
    if (is_high && read_code(text, at + 6, &other) && other >= 0xdc00 && other < 0xe000) {
        add_code(to, 0x10000 + ((code - 0xd800) << 10) + (other - 0xdc00));
        return 12;
    }
    add_code(to, code >= 0xd800 && code < 0xe000 ? '?' : code);
    return 6;
}

/* What Java reads of a text with backslashes. false: a \u without its digits. */
static bool unescape(struct ow_bytes text, struct ow_buf *to)
{
    static const char letters[] = "tnrf", meanings[] = "\t\n\r\f";
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '\\' || i + 1 == text.size) {
            ow_buf_add_char(to, text.data[i]);
            continue;
        }
        char c = text.data[i + 1];
        const char *letter = c ? strchr(letters, c) : NULL;
        size_t taken = c == 'u' ? unescape_code(text, i, to) : 2;
        if (taken == 0)
            return false;
        if (c != 'u')
            ow_buf_add_char(to, letter ? meanings[letter - letters] : c);
        i += taken - 1;
    }
    return true;
}

/* Where the name ends: at the first blank, = or : without a backslash before it. */
static size_t name_size(struct ow_bytes line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] == '\\')
            i++;
        else if (is_blank(line.data[i]) || line.data[i] == '=' || line.data[i] == ':')
            return i;
    }
    return line.size;
}

static int add_line(struct ow_properties *to, struct ow_bytes line, size_t number, struct ow_error *err)
{
    size_t size = name_size(line), at = size;
    while (at < line.size && is_blank(line.data[at]))
        at++;
    if (at < line.size && (line.data[at] == '=' || line.data[at] == ':'))
        at++;
    while (at < line.size && is_blank(line.data[at]))
        at++;
    OW_CLEANUP(ow_buf_done) struct ow_buf name = {0}, value = {0};
    if (!unescape((struct ow_bytes){line.data, size}, &name) ||
        !unescape((struct ow_bytes){line.data + at, line.size - at}, &value))
        return ow_error_set(err, OW_EINVALID, "line %zu: \\u needs four hexadecimal digits", number);
    int r = ow_buf_check(&name, err);
    if (r == 0)
        r = ow_buf_check(&value, err);
    if (r == 0)
        r = add(to, ow_dbz_copy(&to->arena, ow_buf_bytes(&name)), ow_dbz_copy(&to->arena, ow_buf_bytes(&value)), err);
    return r;
}

static int read_java(struct ow_bytes text, struct ow_properties *to, struct ow_error *err)
{
    struct lines lines = {text.data, text.data + text.size, 0};
    OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
    while (next_line(&lines, &line)) {
        int r = ow_buf_check(&line, err);
        if (r == 0 && line.size > 0)
            r = add_line(to, ow_buf_bytes(&line), lines.number, err);
        if (r != 0)
            return r;
    }
    return 0;
}

/* --- JSON ---------------------------------------------------------------------------------------------------- */

static int read_object(struct ow_json *json, struct ow_properties *to, struct ow_buf *scratch, struct ow_error *err);

static int read_member(struct ow_json *json, struct ow_properties *to, struct ow_buf *scratch, struct ow_error *err)
{
    struct ow_bytes name, value;
    int r = ow_json_string(json, scratch, &name, err);
    if (r != 0)
        return r;
    name = ow_dbz_copy(&to->arena, name);
    int token = ow_json_next(json, err);
    if (token < 0)
        return token;
    if (token == OW_JSON_OBJECT_BEGIN && ow_bytes_is(name, "config"))
        return read_object(json, to, scratch, err);
    if (token == OW_JSON_OBJECT_BEGIN || token == OW_JSON_ARRAY_BEGIN)
        return ow_json_skip(json, &value, err);
    if (token == OW_JSON_NULL)
        return 0;
    value = json->text;
    if (token == OW_JSON_STRING)
        r = ow_json_string(json, scratch, &value, err);
    return r != 0 ? r : add(to, name, ow_dbz_copy(&to->arena, value), err);
}

static int read_object(struct ow_json *json, struct ow_properties *to, struct ow_buf *scratch, struct ow_error *err)
{
    for (;;) {
        int token = ow_json_next(json, err);
        if (token < 0)
            return token;
        if (token == OW_JSON_OBJECT_END)
            return 0;
        int r = read_member(json, to, scratch, err);
        if (r < 0)
            return r;
    }
}

static int read_json(struct ow_bytes text, struct ow_properties *to, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    struct ow_json json;
    ow_json_init(&json, text);
    to->is_json = true;
    if (!ow_buf_reserve(&scratch, text.size))
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int r = ow_json_next(&json, err);
    if (r == OW_JSON_OBJECT_BEGIN)
        r = read_object(&json, to, &scratch, err);
    if (r == 0)
        r = ow_json_next(&json, err);
    return r < 0 ? r : 0;
}

int ow_properties_read(struct ow_bytes text, struct ow_properties *ret, struct ow_error *err)
{
    *ret = (struct ow_properties){0};
    size_t at = 0;
    while (at < text.size && (is_blank(text.data[at]) || text.data[at] == '\n' || text.data[at] == '\r'))
        at++;
    int r = at < text.size && text.data[at] == '{' ? read_json(text, ret, err) : read_java(text, ret, err);
    if (r == 0)
        r = ow_dbz_arena_check(&ret->arena, err);
    if (r != 0)
        ow_properties_done(ret);
    return r;
}
