/* SPDX-License-Identifier: Apache-2.0 */
#include "handler/exec_line.h"

#include "base/units.h"
#include "codec/base64.h"
#include "codec/json_value.h"

static void write_bytes(struct ow_buf *to, const char *name, struct ow_bytes bytes)
{
    bool is_text = !bytes.data || ow_utf8_is_valid(bytes);
    ow_buf_printf(to, ",\"%s%s\":", name, is_text ? "" : "_base64");
    if (is_text) {
        ow_json_write_string(to, bytes);
        return;
    }
    ow_buf_add_char(to, '"');
    ow_base64_encode(to, bytes);
    ow_buf_add_char(to, '"');
}

void ow_exec_write_task(struct ow_buf *to, const struct ow_task *task)
{
    const struct ow_record *record = task->record;
    const struct ow_message *m = &record->message;
    char time[OW_TIME_TEXT_SIZE];
    ow_buf_add_text(to, "{\"id\":");
    ow_json_write_string(to, task->id);
    ow_buf_printf(to, ",\"attempt\":%u,\"topic\":", (unsigned)task->attempt);
    ow_json_write_string(to, m->topic);
    if (record->partition >= 0)
        ow_buf_printf(to, ",\"partition\":%lld", (long long)record->partition);
    if (record->offset >= 0)
        ow_buf_printf(to, ",\"offset\":%lld", (long long)record->offset);
    ow_buf_printf(to, ",\"time\":\"%s\"", ow_time_format(m->time_ms, time));
    write_bytes(to, "key", m->key);
    ow_buf_add_text(to, ",\"type\":");
    ow_json_write_string(to, m->type.size ? m->type : OW_NULL_BYTES);
    ow_buf_add_text(to, ",\"headers\":");
    ow_json_write_headers(to, m->headers, m->header_count);
    write_bytes(to, "payload", m->payload);
    ow_buf_add_text(to, "}\n");
}

/* --- an answer ------------------------------------------------------------------------------------------ */

struct reading {
    struct ow_json json;
    struct ow_buf *scratch;
    struct ow_exec_answer *answer;
    bool has_ok;
};

static int read_bool(struct reading *in, bool *ret, struct ow_error *err)
{
    int token = ow_json_next(&in->json, err);
    if (token < 0)
        return token;
    if (token != OW_JSON_TRUE && token != OW_JSON_FALSE)
        return ow_error_set(err, OW_EINVALID, "must be true or false");
    *ret = token == OW_JSON_TRUE;
    return 0;
}

static int read_id(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, in->scratch, &in->answer->id, err);
}

static int read_ok(struct reading *in, struct ow_error *err)
{
    in->has_ok = true;
    return read_bool(in, &in->answer->is_ok, err);
}

static int read_retry(struct reading *in, struct ow_error *err)
{
    return read_bool(in, &in->answer->is_retried, err);
}

static int read_class(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, in->scratch, &in->answer->class, err);
}

static int read_reason(struct reading *in, struct ow_error *err)
{
    return ow_json_read_text(&in->json, in->scratch, &in->answer->reason, err);
}

/* A duration, or seconds. */
static int read_retry_after(struct reading *in, struct ow_error *err)
{
    struct ow_bytes text;
    int64_t *ret = &in->answer->retry_after_ms;
    int token = ow_json_next(&in->json, err);
    if (token < 0 || token == OW_JSON_NULL)
        return token < 0 ? token : 0;
    if (token == OW_JSON_NUMBER) {
        int r = ow_integer_parse(in->json.text, 0, 86400, ret, err);
        *ret *= r == 0 ? 1000 : 1;
        return r;
    }
    if (token != OW_JSON_STRING)
        return ow_error_set(err, OW_EINVALID, "must be a duration such as \"5s\"");
    int r = ow_json_string(&in->json, in->scratch, &text, err);
    return r < 0 ? r : ow_duration_parse(text, ret, err);
}

static int read_publish(struct reading *in, struct ow_error *err)
{
    int r = ow_json_skip(&in->json, &in->answer->publish, err);
    if (r == 0 && ow_bytes_is(in->answer->publish, "null"))
        in->answer->publish = OW_NULL_BYTES;
    return r;
}

static const struct {
    const char *name;
    int (*read)(struct reading *in, struct ow_error *err);
} members[] = {{"id", read_id},          {"ok", read_ok},         {"retry", read_retry},
               {"class", read_class},    {"reason", read_reason}, {"retry_after", read_retry_after},
               {"publish", read_publish}};

/* What has another name is passed over. */
static int read_member(struct reading *in, struct ow_error *err)
{
    struct ow_bytes name;
    int r = ow_json_string(&in->json, in->scratch, &name, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (ow_bytes_is(name, members[i].name)) {
            r = members[i].read(in, err);
            return r < 0 && !in->json.error ? ow_error_prefix(err, "\"%s\"", members[i].name) : r;
        }
    return ow_json_skip(&in->json, NULL, err);
}

int ow_exec_read_answer(struct ow_bytes line, struct ow_buf *scratch, struct ow_exec_answer *ret, struct ow_error *err)
{
    struct reading in = {.scratch = scratch, .answer = ret};
    *ret = (struct ow_exec_answer){.is_retried = true, .retry_after_ms = -1};
    ow_buf_clear(scratch);
    if (!ow_buf_reserve(scratch, line.size))
        return ow_buf_check(scratch, err);
    ow_json_init(&in.json, line);
    int token = ow_json_next(&in.json, err);
    if (token > 0 && token != OW_JSON_OBJECT_BEGIN)
        return ow_error_set(err, OW_EINVALID, "not an answer: a JSON object is expected");
    while (token > 0 && (token = ow_json_next(&in.json, err)) == OW_JSON_KEY) {
        int r = read_member(&in, err);
        if (r < 0)
            return r;
    }
    if (token > 0) /* the closing brace */
        token = ow_json_next(&in.json, err);
    if (token < 0)
        return token;
    if (!ret->id.data)
        return ow_error_set(err, OW_EINVALID, "not an answer: \"id\" is missing");
    return in.has_ok ? 0 : ow_error_set(err, OW_EINVALID, "not an answer: \"ok\" is missing");
}
