/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonl.h"

#include "base/units.h"
#include "codec/json_value.h"

/* --- writing ------------------------------------------------------------------------------------------ */

static bool has_type_header(const struct ow_message *m)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (ow_bytes_is(m->headers[i].name, "type"))
            return true;
    return false;
}

static void write_headers(struct ow_buf *to, const struct ow_message *m)
{
    if (m->type.size == 0 || has_type_header(m)) {
        ow_json_write_headers(to, m->headers, m->header_count);
        return;
    }
    ow_buf_add_text(to, "{\"type\":");
    ow_json_write_string(to, m->type);
    if (m->header_count == 0) {
        ow_buf_add_char(to, '}');
        return;
    }
    size_t brace = to->size;
    ow_json_write_headers(to, m->headers, m->header_count);
    if (!to->has_failed)
        to->data[brace] = ',';
}

void ow_jsonl_write(struct ow_buf *to, const struct ow_record *record)
{
    const struct ow_message *m = &record->message;
    char time[OW_TIME_TEXT_SIZE];
    ow_buf_add_text(to, "{\"topic\":");
    ow_json_write_string(to, m->topic);
    if (record->partition >= 0)
        ow_buf_printf(to, ",\"partition\":%lld", (long long)record->partition);
    if (record->offset >= 0)
        ow_buf_printf(to, ",\"offset\":%lld", (long long)record->offset);
    ow_buf_add_text(to, ",\"time\":\"");
    ow_buf_add_text(to, ow_time_format(m->time_ms, time));
    ow_buf_add_text(to, "\",\"id\":");
    ow_json_write_string(to, m->id);
    ow_buf_add_text(to, ",\"key\":");
    ow_json_write_bytes(to, m->key);
    ow_buf_add_text(to, ",\"headers\":");
    write_headers(to, m);
    ow_buf_add_text(to, ",\"value\":");
    ow_json_write_bytes(to, m->payload);
    ow_buf_add_text(to, "}\n");
}

/* --- reading ------------------------------------------------------------------------------------------ */

struct reading {
    struct ow_json json;
    struct ow_record record;
    struct ow_header *headers;
    size_t headers_max;
    struct ow_buf *scratch;
};

static int read_topic(struct reading *in, struct ow_error *err)
{
    int r = ow_json_read_text(&in->json, in->scratch, &in->record.message.topic, err);
    if (r == 0 && !in->record.message.topic.data)
        return ow_error_set(err, OW_EINVALID, "must be a string");
    return r;
}

static int read_id(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, in->scratch, &in->record.message.id, err);
}

static int read_key(struct reading *in, struct ow_error *err)
{
    return ow_json_read_bytes(&in->json, in->scratch, &in->record.message.key, err);
}

static int read_value(struct reading *in, struct ow_error *err)
{
    return ow_json_read_bytes(&in->json, in->scratch, &in->record.message.payload, err);
}

static int read_count(struct reading *in, int64_t *ret, struct ow_error *err)
{
    int token = ow_json_next(&in->json, err);
    if (token < 0)
        return token;
    if (token == OW_JSON_NUMBER)
        return ow_integer_parse(in->json.text, 0, INT64_MAX, ret, err);
    return ow_error_set(err, OW_EINVALID, "must be a whole number, or be left out");
}

static int read_partition(struct reading *in, struct ow_error *err)
{
    return read_count(in, &in->record.partition, err);
}

static int read_offset(struct reading *in, struct ow_error *err)
{
    return read_count(in, &in->record.offset, err);
}

static int read_time(struct reading *in, struct ow_error *err)
{
    struct ow_bytes text;
    int r = ow_json_read_text(&in->json, in->scratch, &text, err);
    if (r < 0 || !text.data)
        return r;
    return ow_time_parse(text, &in->record.message.time_ms, err);
}

static int read_headers(struct reading *in, struct ow_error *err)
{
    struct ow_message *m = &in->record.message;
    struct ow_bytes text;
    size_t count = 0, kept = 0;
    int r = ow_json_skip(&in->json, &text, err);
    if (r == 0)
        r = ow_json_read_headers(text, in->headers, in->headers_max, &count, in->scratch, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count && m->type.size == 0; i++)
        if (ow_bytes_is(in->headers[i].name, "type") && in->headers[i].value.size > 0)
            m->type = in->headers[i].value;
    for (size_t i = 0; i < count; i++)
        if (m->type.size == 0 || !ow_bytes_is(in->headers[i].name, "type"))
            in->headers[kept++] = in->headers[i];
    m->headers = kept ? in->headers : NULL;
    m->header_count = kept;
    return 0;
}

static const struct member {
    const char *name;
    int (*read)(struct reading *in, struct ow_error *err);
    bool is_needed;
} members[] = {
    {"topic", read_topic, true},    {"partition", read_partition, false},
    {"offset", read_offset, false}, {"time", read_time, false},
    {"id", read_id, false},         {"key", read_key, false},
    {"value", read_value, true},    {"headers", read_headers, false},
};
enum { MEMBER_COUNT = sizeof members / sizeof members[0] };

/* Reads the member whose name was just read; `*seen` has a bit for each that was. */
static int read_member(struct reading *in, unsigned *seen, struct ow_error *err)
{
    struct ow_bytes name;
    int r = ow_json_string(&in->json, in->scratch, &name, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < MEMBER_COUNT; i++) {
        if (!ow_bytes_is(name, members[i].name))
            continue;
        if (*seen & 1u << i)
            return ow_error_set(err, OW_EINVALID, "\"%s\" stands there twice", members[i].name);
        *seen |= 1u << i;
        r = members[i].read(in, err);
        return r < 0 && !in->json.error ? ow_error_prefix(err, "\"%s\"", members[i].name) : r;
    }
    return ow_json_skip(&in->json, NULL, err);
}

int ow_jsonl_read(struct ow_bytes line, struct ow_record *ret, struct ow_header *headers, size_t headers_max,
                  struct ow_buf *scratch, struct ow_error *err)
{
    struct reading in = {.headers = headers, .headers_max = headers_max, .scratch = scratch};
    in.record.partition = in.record.offset = -1;
    /* No text is longer than the line it comes from: with this, nothing in scratch moves. */
    if (!ow_buf_reserve(scratch, line.size))
        return ow_buf_check(scratch, err);
    ow_json_init(&in.json, line);
    int token = ow_json_next(&in.json, err);
    if (token > 0 && token != OW_JSON_OBJECT_BEGIN)
        return ow_error_set(err, OW_EINVALID, "not a record: a JSON object is expected");
    unsigned seen = 0;
    while (token > 0 && (token = ow_json_next(&in.json, err)) == OW_JSON_KEY) {
        int r = read_member(&in, &seen, err);
        if (r < 0)
            return r;
    }
    if (token > 0) /* the closing brace */
        token = ow_json_next(&in.json, err);
    if (token < 0)
        return token;
    for (unsigned i = 0; i < MEMBER_COUNT; i++)
        if (members[i].is_needed && !(seen & 1u << i))
            return ow_error_set(err, OW_EINVALID, "not a record: \"%s\" is missing", members[i].name);
    *ret = in.record;
    return 0;
}
