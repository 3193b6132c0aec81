/* SPDX-License-Identifier: Apache-2.0 */
#include "handler/emitted.h"

#include <stdlib.h>

#include "base/uuid.h"
#include "codec/base64.h"
#include "codec/json_value.h"

enum { HEADERS_MAX = 256 };

struct reading {
    struct ow_json json;
    struct ow_emitted *emitted;
    struct ow_message m; /* the one that is read */
    struct ow_header headers[HEADERS_MAX];
    size_t header_count, headers_before; /* of this message; of those before it */
    unsigned seen;
    bool is_event, has_payload;
};

/* --- values ------------------------------------------------------------------------------------------- */

/* A string is its text, anything else its JSON text. */
static int read_value(struct reading *in, struct ow_bytes *ret, struct ow_error *err)
{
    int token = ow_json_next(&in->json, err);
    *ret = OW_NULL_BYTES;
    if (token < 0 || token == OW_JSON_NULL)
        return token < 0 ? token : 0;
    return token == OW_JSON_STRING ? ow_json_string(&in->json, &in->emitted->scratch, ret, err)
                                   : ow_json_skip(&in->json, ret, err);
}

static int set_payload(struct reading *in, struct ow_bytes payload, struct ow_error *err)
{
    if (in->has_payload)
        return ow_error_set(err, OW_EINVALID, "there are two payloads");
    in->has_payload = true;
    in->m.payload = payload;
    return 0;
}

static int read_payload(struct reading *in, struct ow_error *err)
{
    struct ow_bytes payload;
    int r = read_value(in, &payload, err);
    return r < 0 ? r : set_payload(in, payload, err);
}

static int read_base64(struct reading *in, struct ow_error *err)
{
    struct ow_bytes text;
    int r = ow_json_read_text(&in->json, &in->emitted->scratch, &text, err);
    if (r < 0 || !text.data)
        return r;
    size_t before = in->emitted->scratch.size;
    r = ow_base64_decode(&in->emitted->scratch, text, err);
    if (r < 0)
        return r;
    return set_payload(in, (struct ow_bytes){in->emitted->scratch.data + before, in->emitted->scratch.size - before},
                       err);
}

static int read_headers(struct reading *in, struct ow_error *err)
{
    struct ow_bytes text;
    int r = ow_json_skip(&in->json, &text, err);
    if (r < 0)
        return r;
    return ow_json_read_headers(text, in->headers, HEADERS_MAX, &in->header_count, &in->emitted->scratch, err);
}

static int read_id(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, &in->emitted->scratch, &in->m.id, err);
}

static int read_type(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, &in->emitted->scratch, &in->m.type, err);
}

static int read_aggregate_type(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, &in->emitted->scratch, &in->m.aggregate_type, err);
}

static int read_aggregate_id(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, &in->emitted->scratch, &in->m.aggregate_id, err);
}

static int read_version(struct reading *in, struct ow_error *err)
{
    struct ow_bytes version;
    int r = ow_json_read_text(&in->json, &in->emitted->scratch, &version, err);
    if (r == 0 && (version.size < 2 || memcmp(version.data, "1.", 2) != 0))
        return ow_error_set(err, OW_EINVALID, "must be 1.0");
    return r;
}

/* --- messages ----------------------------------------------------------------------------------------- */

struct member {
    const char *name;
    int (*read)(struct reading *in, struct ow_error *err);
};
static const struct member own_members[] = {
    {"id", read_id},
    {"aggregatetype", read_aggregate_type},
    {"aggregateid", read_aggregate_id},
    {"type", read_type},
    {"payload", read_payload},
    {"payload_base64", read_base64},
    {"headers", read_headers},
    {NULL, NULL},
};
static const struct member event_members[] = {
    {"specversion", read_version},  {"id", read_id},     {"aggregatetype", read_aggregate_type},
    {"subject", read_aggregate_id}, {"type", read_type}, {"data", read_payload},
    {"data_base64", read_base64},   {NULL, NULL},
};

/* What else an event has goes along. */
static int read_attribute(struct reading *in, struct ow_bytes name, struct ow_error *err)
{
    struct ow_buf *scratch = &in->emitted->scratch;
    struct ow_bytes value;
    int r = read_value(in, &value, err);
    if (r < 0 || !value.data)
        return r;
    if (in->header_count == HEADERS_MAX)
        return ow_error_set(err, OW_ETOOBIG, "more than %d attributes", HEADERS_MAX);
    size_t before = scratch->size;
    ow_buf_add_text(scratch, "ce_");
    ow_buf_add_bytes(scratch, name);
    in->headers[in->header_count++] = (struct ow_header){{scratch->data + before, scratch->size - before}, value};
    return 0;
}

static int read_member(struct reading *in, struct ow_error *err)
{
    const struct member *members = in->is_event ? event_members : own_members;
    struct ow_bytes name;
    int r = ow_json_string(&in->json, &in->emitted->scratch, &name, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; members[i].name; i++) {
        if (!ow_bytes_is(name, members[i].name))
            continue;
        if (in->seen & 1u << i)
            return ow_error_set(err, OW_EINVALID, "\"%s\" stands there twice", members[i].name);
        in->seen |= 1u << i;
        r = members[i].read(in, err);
        return r < 0 && !in->json.error ? ow_error_prefix(err, "\"%s\"", members[i].name) : r;
    }
    if (in->is_event)
        return read_attribute(in, name, err);
    return ow_error_set(err, OW_EINVALID, "no such member: \"%.*s\"", OW_PRINT(name));
}

static int check(struct reading *in, struct ow_error *err)
{
    const struct ow_message *m = &in->m;
    if (!m->aggregate_type.size)
        return ow_error_set(err, OW_EINVALID, "\"aggregatetype\" is missing");
    if (!m->aggregate_id.size)
        return ow_error_set(err, OW_EINVALID, "\"%s\" is missing", in->is_event ? "subject" : "aggregateid");
    if (!m->type.size)
        return ow_error_set(err, OW_EINVALID, "\"type\" is missing");
    return ow_message_check(m, &ow_message_limits_default, err);
}

/* Its headers go to those of all messages: `headers` is an offset there until all are read. */
static int keep_message(struct reading *in, struct ow_error *err)
{
    struct ow_emitted *emitted = in->emitted;
    struct ow_message *messages = realloc(emitted->messages, (emitted->count + 1) * sizeof *messages);
    if (messages)
        emitted->messages = messages;
    struct ow_header *headers = realloc(emitted->headers,
                                        (in->headers_before + in->header_count + 1) * sizeof *headers);
    if (headers)
        emitted->headers = headers;
    if (!messages || !headers)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    memcpy(headers + in->headers_before, in->headers, in->header_count * sizeof *headers);
    in->headers_before += in->header_count;
    in->m.headers = NULL;
    in->m.header_count = in->header_count;
    messages[emitted->count++] = in->m;
    return 0;
}

/* The object has begun. */
static int read_message(struct reading *in, struct ow_error *err)
{
    struct ow_buf *scratch = &in->emitted->scratch;
    char id[OW_UUID_TEXT_SIZE];
    int token;
    if (in->emitted->count == OW_EMITTED_MAX)
        return ow_error_set(err, OW_ETOOBIG, "more than %d messages in one answer", OW_EMITTED_MAX);
    in->m = (struct ow_message){0};
    in->header_count = in->seen = 0;
    in->has_payload = false;
    while ((token = ow_json_next(&in->json, err)) == OW_JSON_KEY) {
        int r = read_member(in, err);
        if (r < 0)
            return r;
    }
    if (token < 0)
        return token;
    if (!in->m.id.size) {
        int r = ow_uuid_v7(id, err);
        if (r < 0)
            return r;
        in->m.id = (struct ow_bytes){scratch->data + scratch->size, sizeof id - 1};
        ow_buf_add(scratch, id, sizeof id - 1);
    }
    in->m.headers = in->headers;
    in->m.header_count = in->header_count;
    int r = check(in, err);
    return r < 0 ? r : keep_message(in, err);
}

static int read_all(struct reading *in, bool is_list, struct ow_error *err)
{
    static const char form[] = "an object with the members of a message is expected";
    int token = ow_json_next(&in->json, err);
    if (token < 0)
        return token;
    if (token != (is_list ? OW_JSON_ARRAY_BEGIN : OW_JSON_OBJECT_BEGIN))
        return ow_error_set(err, OW_EINVALID, "%s", is_list ? "a list of messages is expected" : form);
    int r = is_list ? 0 : read_message(in, err);
    while (is_list && r == 0 && (token = ow_json_next(&in->json, err)) != OW_JSON_ARRAY_END) {
        if (token < 0)
            return token;
        r = token == OW_JSON_OBJECT_BEGIN ? read_message(in, err) : ow_error_set(err, OW_EINVALID, form);
    }
    if (r < 0)
        return in->json.error ? r : ow_error_prefix(err, "message %zu", in->emitted->count + 1);
    return ow_json_next(&in->json, err);
}

static int read_text_of(struct ow_bytes text, bool is_event, bool is_list, struct ow_emitted **ret,
                        struct ow_error *err)
{
    struct ow_emitted *emitted = calloc(1, sizeof *emitted);
    struct reading *in = calloc(1, sizeof *in);
    int r = emitted && in ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0) {
        *in = (struct reading){.emitted = emitted, .is_event = is_event};
        ow_buf_add_bytes(&emitted->text, text);
        /* Texts are no longer than what they come from; an id of ours and "ce_" is what a short object may add: with
           this nothing in scratch moves. */
        (void)ow_buf_reserve(&emitted->scratch, text.size * 4 + (size_t)OW_EMITTED_MAX * OW_UUID_TEXT_SIZE);
        r = ow_buf_check(&emitted->text, err) < 0 ? OW_ENOMEM : ow_buf_check(&emitted->scratch, err);
    }
    if (r == 0) {
        ow_json_init(&in->json, ow_buf_bytes(&emitted->text));
        r = read_all(in, is_list, err);
    }
    if (r == 0)
        r = ow_buf_check(&emitted->scratch, err);
    free(in);
    if (r < 0) {
        ow_emitted_free(emitted);
        return r;
    }
    size_t before = 0;
    for (size_t i = 0; i < emitted->count; i++) {
        emitted->messages[i].headers = emitted->headers + before;
        before += emitted->messages[i].header_count;
    }
    *ret = emitted;
    return 0;
}

int ow_emitted_read_list(struct ow_bytes text, struct ow_emitted **ret, struct ow_error *err)
{
    return read_text_of(text, false, true, ret, err);
}

int ow_emitted_read_cloud_events(struct ow_bytes text, bool is_batch, struct ow_emitted **ret, struct ow_error *err)
{
    return read_text_of(text, true, is_batch, ret, err);
}

void ow_emitted_free(struct ow_emitted *emitted)
{
    while (emitted) {
        struct ow_emitted *next = emitted->next;
        ow_buf_done(&emitted->text);
        ow_buf_done(&emitted->scratch);
        free(emitted->messages);
        free(emitted->headers);
        free(emitted);
        emitted = next;
    }
}
