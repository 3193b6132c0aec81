/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/pgoutput.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"

/* Reads from the front; once something was missing, everything that follows is zero or empty. */
struct cursor {
    const char *at, *end;
    bool is_short;
};

static struct cursor cursor_of(struct ow_bytes bytes)
{
    const char *data = bytes.data ? bytes.data : "";
    return (struct cursor){data, data + bytes.size, false};
}

static const char *take(struct cursor *c, size_t size)
{
    if (c->is_short || (size_t)(c->end - c->at) < size) {
        c->is_short = true;
        return NULL;
    }
    c->at += size;
    return c->at - size;
}

static uint64_t take_number(struct cursor *c, size_t size)
{
    const char *bytes = take(c, size);
    uint64_t number = 0;
    for (size_t i = 0; bytes && i < size; i++)
        number = number << 8 | (unsigned char)bytes[i];
    return number;
}

static uint8_t take8(struct cursor *c)
{
    return (uint8_t)take_number(c, 1);
}

static uint16_t take16(struct cursor *c)
{
    return (uint16_t)take_number(c, 2);
}

static uint32_t take32(struct cursor *c)
{
    return (uint32_t)take_number(c, 4);
}

static uint64_t take64(struct cursor *c)
{
    return take_number(c, 8);
}

static struct ow_bytes take_bytes(struct cursor *c, size_t size)
{
    const char *bytes = take(c, size);
    return bytes ? (struct ow_bytes){bytes, size} : OW_BYTES("");
}

static struct ow_bytes take_name(struct cursor *c)
{
    const char *nul = c->is_short ? NULL : memchr(c->at, '\0', (size_t)(c->end - c->at));
    if (!nul) {
        c->is_short = true;
        return OW_BYTES("");
    }
    struct ow_bytes name = {c->at, (size_t)(nul - c->at)};
    c->at = nul + 1;
    return name;
}

/* --- frames ------------------------------------------------------------------------------------------- */

int ow_pg_frame_read(struct ow_bytes bytes, struct ow_pg_frame *ret, struct ow_error *err)
{
    struct cursor c = cursor_of(bytes);
    uint8_t letter = take8(&c);
    *ret = (struct ow_pg_frame){0};
    if (letter == 'w') {
        ret->kind = OW_PG_DATA;
        ret->start_lsn = take64(&c);
        ret->end_lsn = take64(&c);
        ret->time_us = (int64_t)take64(&c);
        ret->data = take_bytes(&c, (size_t)(c.end - c.at));
    } else if (letter == 'k') {
        ret->kind = OW_PG_KEEPALIVE;
        ret->end_lsn = take64(&c);
        ret->time_us = (int64_t)take64(&c);
        ret->wants_reply = take8(&c) != 0;
    } else if (!c.is_short) {
        return ow_error_set(err, OW_ECORRUPT, "the replication stream has a frame of the unknown kind 0x%02x", letter);
    }
    if (c.is_short || c.at != c.end)
        return ow_error_set(err, OW_ECORRUPT, "a frame of the replication stream has the wrong length, %zu bytes",
                            bytes.size);
    return 0;
}

static char *put64(char *to, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        *to++ = (char)(number >> shift);
    return to;
}

void ow_pg_status_write(uint64_t received_lsn, uint64_t flushed_lsn, int64_t time_us, bool wants_reply,
                        char to[OW_PG_STATUS_SIZE])
{
    *to++ = 'r';
    to = put64(to, received_lsn);
    to = put64(to, flushed_lsn);
    to = put64(to, flushed_lsn);
    to = put64(to, (uint64_t)time_us);
    *to = wants_reply;
}

/* --- messages ----------------------------------------------------------------------------------------- */

static bool take_value(struct cursor *c, struct ow_pg_value *ret)
{
    *ret = (struct ow_pg_value){(enum ow_pg_value_kind)take8(c), OW_NULL_BYTES};
    switch (ret->kind) {
    case OW_PG_NULL:
    case OW_PG_UNCHANGED:
        break;
    case OW_PG_TEXT:
    case OW_PG_BINARY:
        ret->bytes = take_bytes(c, take32(c));
        break;
    default:
        return false;
    }
    return !c->is_short;
}

static bool take_tuple(struct cursor *c, struct ow_pg_tuple *ret)
{
    ret->count = take16(c);
    const char *start = c->at;
    struct ow_pg_value ignored;
    for (unsigned i = 0; i < ret->count; i++)
        if (!take_value(c, &ignored))
            return false;
    ret->raw = (struct ow_bytes){start, (size_t)(c->at - start)};
    return !c->is_short;
}

static struct ow_pg_column take_column(struct cursor *c)
{
    struct ow_pg_column column = {.is_key = (take8(c) & 1) != 0};
    column.name = take_name(c);
    column.type = take32(c);
    column.modifier = (int32_t)take32(c);
    return column;
}

static bool take_relation(struct cursor *c, struct ow_pg_relation *ret)
{
    ret->id = take32(c);
    ret->schema = take_name(c);
    ret->name = take_name(c);
    ret->identity = (char)take8(c);
    ret->column_count = take16(c);
    const char *start = c->at;
    for (unsigned i = 0; i < ret->column_count && !c->is_short; i++)
        (void)take_column(c);
    ret->raw = (struct ow_bytes){start, (size_t)(c->at - start)};
    return !c->is_short;
}

static bool take_row(struct cursor *c, struct ow_pgoutput *ret)
{
    ret->row.relation = take32(c);
    char letter = (char)take8(c);
    if (ret->kind != OW_PGOUTPUT_INSERT && (letter == 'K' || letter == 'O')) {
        ret->row.old_kind = letter;
        if (!take_tuple(c, &ret->row.old_row))
            return false;
        if (ret->kind == OW_PGOUTPUT_DELETE)
            return true;
        letter = (char)take8(c);
    }
    ret->row.has_new = letter == 'N' && ret->kind != OW_PGOUTPUT_DELETE;
    return ret->row.has_new && take_tuple(c, &ret->row.new_row);
}

static bool take_truncate(struct cursor *c, struct ow_pgoutput *ret)
{
    ret->truncate.count = take32(c);
    uint8_t options = take8(c);
    ret->truncate.is_cascade = (options & 1) != 0;
    ret->truncate.restarts_identity = (options & 2) != 0;
    ret->truncate.raw = take_bytes(c, (size_t)ret->truncate.count * 4);
    return !c->is_short;
}

static void take_message(struct cursor *c, struct ow_pgoutput *ret)
{
    ret->message.is_transactional = (take8(c) & 1) != 0;
    ret->message.lsn = take64(c);
    ret->message.prefix = take_name(c);
    ret->message.content = take_bytes(c, take32(c));
}

static void take_commit(struct cursor *c, struct ow_pgoutput *ret)
{
    (void)take8(c); /* flags: none is in use */
    ret->transaction.commit_lsn = take64(c);
    ret->transaction.end_lsn = take64(c);
    ret->transaction.time_us = (int64_t)take64(c);
}

static void take_begin(struct cursor *c, struct ow_pgoutput *ret)
{
    ret->transaction.commit_lsn = take64(c);
    ret->transaction.time_us = (int64_t)take64(c);
    ret->xid = take32(c);
}

/* Where and when it was aborted comes with version 4 and parallel streaming only. */
static void take_abort(struct cursor *c, struct ow_pgoutput *ret)
{
    ret->xid = take32(c);
    ret->abort.subxid = take32(c);
    if (c->at != c->end)
        (void)take(c, 16);
}

static bool take_body(struct cursor *c, struct ow_pgoutput *ret)
{
    switch (ret->kind) {
    case OW_PGOUTPUT_BEGIN:
        take_begin(c, ret);
        break;
    case OW_PGOUTPUT_STREAM_COMMIT:
        ret->xid = take32(c);
        take_commit(c, ret);
        break;
    case OW_PGOUTPUT_COMMIT:
        take_commit(c, ret);
        break;
    case OW_PGOUTPUT_ORIGIN:
        ret->origin.lsn = take64(c);
        ret->origin.name = take_name(c);
        break;
    case OW_PGOUTPUT_RELATION:
        return take_relation(c, &ret->relation);
    case OW_PGOUTPUT_TYPE:
        ret->type.id = take32(c);
        ret->type.schema = take_name(c);
        ret->type.name = take_name(c);
        break;
    case OW_PGOUTPUT_INSERT:
    case OW_PGOUTPUT_UPDATE:
    case OW_PGOUTPUT_DELETE:
        return take_row(c, ret);
    case OW_PGOUTPUT_TRUNCATE:
        return take_truncate(c, ret);
    case OW_PGOUTPUT_MESSAGE:
        take_message(c, ret);
        break;
    case OW_PGOUTPUT_STREAM_START:
        ret->xid = take32(c);
        ret->stream.is_first = take8(c) == 1;
        break;
    case OW_PGOUTPUT_STREAM_STOP:
        break;
    case OW_PGOUTPUT_STREAM_ABORT:
        take_abort(c, ret);
        break;
    }
    return !c->is_short;
}

static const char *name_of(uint8_t letter)
{
    switch (letter) {
#define CASE_OF(name, letter) \
    case letter:              \
        return #name;
        OW_PGOUTPUT_KINDS(CASE_OF)
#undef CASE_OF
    default:
        return NULL;
    }
}

static bool has_xid_in_stream(enum ow_pgoutput_kind kind)
{
    return kind == OW_PGOUTPUT_RELATION || kind == OW_PGOUTPUT_TYPE || kind == OW_PGOUTPUT_INSERT ||
           kind == OW_PGOUTPUT_UPDATE || kind == OW_PGOUTPUT_DELETE || kind == OW_PGOUTPUT_TRUNCATE ||
           kind == OW_PGOUTPUT_MESSAGE;
}

int ow_pgoutput_read(struct ow_bytes bytes, bool in_stream, struct ow_pgoutput *ret, struct ow_error *err)
{
    struct cursor c = cursor_of(bytes);
    uint8_t letter = take8(&c);
    *ret = (struct ow_pgoutput){0};
    if (c.is_short)
        return ow_error_set(err, OW_ECORRUPT, "the replication stream has an empty message");
    if (letter == 'b' || letter == 'P' || letter == 'p' || letter == 'K' || letter == 'r')
        return ow_error_set(err, OW_EUNSUPPORTED,
                            "the replication stream has a prepared transaction in it, which was not asked for");
    if (!name_of(letter))
        return ow_error_set(err, OW_ECORRUPT, "the replication stream has a message of the unknown kind 0x%02x",
                            letter);
    ret->kind = (enum ow_pgoutput_kind)letter;
    if (in_stream && has_xid_in_stream(ret->kind))
        ret->xid = take32(&c);
    if (!take_body(&c, ret) || c.at != c.end)
        return ow_error_set(err, OW_ECORRUPT,
                            "the replication stream has a %s message of %zu bytes that cannot be read (at byte %td)",
                            name_of(letter), bytes.size, c.at - bytes.data);
    return 0;
}

struct ow_pg_value ow_pg_next_value(struct ow_pg_tuple *rest)
{
    struct cursor c = cursor_of(rest->raw);
    struct ow_pg_value value = {OW_PG_NULL, OW_NULL_BYTES};
    (void)take_value(&c, &value);
    rest->raw = (struct ow_bytes){c.at, (size_t)(c.end - c.at)};
    rest->count--;
    return value;
}

struct ow_pg_column ow_pg_next_column(struct ow_pg_relation *rest)
{
    struct cursor c = cursor_of(rest->raw);
    struct ow_pg_column column = take_column(&c);
    rest->raw = (struct ow_bytes){c.at, (size_t)(c.end - c.at)};
    rest->column_count--;
    return column;
}

uint32_t ow_pg_truncated(const struct ow_pgoutput *message, uint32_t i)
{
    struct cursor c = cursor_of(message->truncate.raw);
    (void)take(&c, (size_t)i * 4);
    return take32(&c);
}

/* --- text forms --------------------------------------------------------------------------------------- */

char *ow_pg_lsn_format(uint64_t lsn, char to[OW_PG_LSN_TEXT_SIZE])
{
    (void)snprintf(to, OW_PG_LSN_TEXT_SIZE, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
    return to;
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One half of an LSN: 1 to 8 digits. */
static bool take_hex(struct cursor *c, uint32_t *ret)
{
    const char *start = c->at;
    *ret = 0;
    for (; c->at < c->end && hex_of(*c->at) >= 0 && c->at - start < 8; c->at++)
        *ret = *ret << 4 | (uint32_t)hex_of(*c->at);
    return c->at > start;
}

int ow_pg_lsn_parse(struct ow_bytes text, uint64_t *ret, struct ow_error *err)
{
    struct cursor c = cursor_of(text);
    uint32_t high, low;
    if (!take_hex(&c, &high) || take8(&c) != '/' || !take_hex(&c, &low) || c.at != c.end)
        return ow_error_set(err, OW_EINVALID, "\"%.*s\" is not a log sequence number", OW_PRINT(text));
    *ret = (uint64_t)high << 32 | low;
    return 0;
}

int ow_pg_bytea_decode(struct ow_buf *to, struct ow_bytes text, struct ow_error *err)
{
    if (text.size < 2 || text.size % 2 != 0 || text.data[0] != '\\' || text.data[1] != 'x')
        return ow_error_set(err, OW_EINVALID, "not a bytea in hexadecimal form");
    size_t size = (text.size - 2) / 2;
    char *out = ow_buf_reserve(to, size + 1);
    if (!out)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < size; i++) {
        int high = hex_of(text.data[2 + 2 * i]), low = hex_of(text.data[3 + 2 * i]);
        if (high < 0 || low < 0)
            return ow_error_set(err, OW_EINVALID, "not a bytea in hexadecimal form");
        out[i] = (char)(high << 4 | low);
    }
    to->size += size;
    to->data[to->size] = '\0';
    return 0;
}

/* "2026-11-21 13:55:55.123456+01:30" differs from RFC 3339 in a blank and in an offset that may be short. */
int ow_pg_time_parse(struct ow_bytes text, int64_t *ret_ms, struct ow_error *err)
{
    char rfc[64];
    struct ow_error ignored;
    size_t offset = 19;
    if (text.size < 19 || text.size > 40 || text.data[10] != ' ')
        return ow_error_set(err, OW_EINVALID, "\"%.*s\" is not a timestamp that can be used", OW_PRINT(text));
    while (offset < text.size && text.data[offset] != '+' && text.data[offset] != '-')
        offset++;
    size_t digits = text.size - offset;
    struct ow_bytes rest = digits == 0 ? OW_BYTES("Z") : digits == 3 ? OW_BYTES(":00") : OW_BYTES("");
    memcpy(rfc, text.data, text.size);
    memcpy(rfc + text.size, rest.data, rest.size);
    rfc[10] = 'T';
    if (ow_time_parse((struct ow_bytes){rfc, text.size + rest.size}, ret_ms, &ignored) < 0)
        return ow_error_set(err, OW_EINVALID, "\"%.*s\" is not a timestamp that can be used", OW_PRINT(text));
    return 0;
}
