/* SPDX-License-Identifier: Apache-2.0 */
/* The default of a column, read from the expression as the server prints it. */

#include "codec/debezium_column.h"

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* now(), (gen_random_uuid())::text, nextval('s'::regclass), CURRENT_TIMESTAMP */
static bool is_function(struct ow_bytes text)
{
    static const char *const words[] = {"current_timestamp", "current_date", "current_time", "localtime",
                                        "localtimestamp"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (text.size == strlen(words[i]) && strncasecmp(text.data, words[i], text.size) == 0)
            return true;
    size_t at = text.size > 0 && text.data[0] == '(' ? 1 : 0, from = at;
    while (at < text.size && is_word(text.data[at]))
        at++;
    return at > from && at < text.size && text.data[at] == '(' && memchr(text.data + at, ')', text.size - at);
}

/* 'it''s'::text, E'a\\b'::text, B'101'::"bit": what is between the quotes, if nothing but a cast follows. */
static struct ow_bytes literal_of(struct ow_dbz_arena *arena, struct ow_bytes text)
{
    bool has_escapes = text.size > 0 && text.data[0] == 'E';
    size_t at = text.size > 1 && text.data[1] == '\'' && (has_escapes || text.data[0] == 'B') ? 1 : 0, size = 0;
    char *copy = at < text.size && text.data[at] == '\'' ? ow_dbz_alloc(arena, text.size + 1) : NULL;
    if (!copy)
        return OW_NULL_BYTES;
    for (at++; at < text.size; at++) {
        if (text.data[at] == '\'' && (at + 1 == text.size || text.data[at + 1] != '\''))
            break;
        if (text.data[at] == '\'' || (has_escapes && text.data[at] == '\\' && at + 1 < text.size))
            at++;
        copy[size++] = text.data[at];
    }
    bool is_alone = at + 1 == text.size || (at + 2 < text.size && text.data[at + 1] == ':' && text.data[at + 2] == ':');
    for (size_t i = at + 1; i < text.size; i++)
        is_alone = is_alone && !strchr("'|+*/=<>", text.data[i]);
    return is_alone && at < text.size ? (struct ow_bytes){copy, size} : OW_NULL_BYTES;
}

static const char *placeholder_of(const struct ow_row_column *column, enum ow_dbz_kind kind)
{
    switch (kind) {
    case OW_DBZ_KIND_BOOLEAN:
        return "f";
    case OW_DBZ_KIND_INTEGER:
        return "0";
    case OW_DBZ_KIND_FLOATING:
    case OW_DBZ_KIND_NUMERIC:
        return "0.0";
    case OW_DBZ_KIND_BITS:
        return "0";
    case OW_DBZ_KIND_DATE:
        return "1970-01-01";
    case OW_DBZ_KIND_TIME:
        return "00:00:00";
    case OW_DBZ_KIND_TIMESTAMP:
        return "1970-01-01 00:00:00";
    case OW_DBZ_KIND_TIMESTAMPTZ:
        return "1970-01-01 00:00:00+00";
    case OW_DBZ_KIND_TEXT:
        if (column->type_oid == 2950)
            return "00000000-0000-0000-0000-000000000000";
        if (column->is_enum)
            return NULL;
        return column->type_oid == 114 || column->type_oid == 3802 ? "{}" : "";
    default:
        return NULL;
    }
}

/* The types whose defaults Debezium reads. */
static bool has_readable_default(const struct ow_row_column *column, enum ow_dbz_kind kind)
{
    static const uint32_t texts[] = {25, 114, 142, 1042, 1043, 2950, 3802};
    switch (kind) {
    case OW_DBZ_KIND_TEXT:
        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
            if (column->type_oid == texts[i])
                return true;
        return column->is_enum;
    case OW_DBZ_KIND_INTEGER:
        return column->type_oid != 26;
    case OW_DBZ_KIND_UNKNOWN:
    case OW_DBZ_KIND_MONEY:
    case OW_DBZ_KIND_BYTEA:
    case OW_DBZ_KIND_TIMETZ:
    case OW_DBZ_KIND_HSTORE:
        return false;
    default:
        return true;
    }
}

struct ow_bytes ow_dbz_default_text(struct ow_dbz_arena *arena, const struct ow_row_column *column,
                                    enum ow_dbz_kind kind)
{
    struct ow_bytes text = column->default_expression;
    if (!text.data || text.size == 0 || !has_readable_default(column, kind))
        return OW_NULL_BYTES;
    if (is_function(text)) {
        const char *placeholder = placeholder_of(column, kind);
        return placeholder ? ow_bytes_of(placeholder) : OW_NULL_BYTES;
    }
    struct ow_bytes literal = literal_of(arena, text);
    if (literal.data || kind == OW_DBZ_KIND_TEXT)
        return literal;
    bool is_null = text.size >= 4 && strncasecmp(text.data, "NULL", 4) == 0;
    return is_null || memchr(text.data, '\'', text.size) ? OW_NULL_BYTES : text;
}
