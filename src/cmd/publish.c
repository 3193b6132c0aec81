/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onewrite publish: one message from the command line, or many from standard input, into the outbox of a store
 * or straight to a broker.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/output.h"
#include "cmd/publish_target.h"
#include "codec/jsonl.h"

enum { LINE_BYTES_MAX = 8 << 20 }; /* a payload of 1 MiB with every byte escaped, and the rest */

static const char topic_prefix[] = "outbox.event.";

struct publish_options {
    const char *topic, *key, *aggregate_type, *aggregate_id, *type, *id, *payload, *payload_file;
    bool is_tombstone;
    struct ow_flag_list headers;
    bool reads_lines;
};

/* --- one message, from the options -------------------------------------------------------------------- */

static int read_payload_file(const char *path, struct ow_buf *to, struct ow_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    size_t size_max = ow_message_limits_default.payload_bytes_max;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ow_error_errno(err, errno, "%s", path);
    const char *name = is_stdin ? "standard input" : path;
    ssize_t n = 1;
    while (n > 0 && to->size <= size_max) {
        char *at = ow_buf_reserve(to, 64 << 10);
        n = at ? read(fd, at, 64 << 10) : 0;
        if (n > 0)
            to->size += (size_t)n;
    }
    int read_errno = errno;
    if (!is_stdin)
        (void)close(fd);
    if (n < 0)
        return ow_error_errno(err, read_errno, "%s", name);
    if (to->size > size_max)
        return ow_error_set(err, OW_ETOOBIG, "%s: payload has more than %zu bytes, which is the limit", name, size_max);
    return ow_buf_check(to, err);
}

static int read_header(const char *text, struct ow_header *ret, struct ow_error *err)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return ow_error_set(err, OW_EUSAGE, "option --header: \"%.*s\" has no \"=\"; write NAME=VALUE",
                            OW_PRINT(ow_bytes_of(text)));
    *ret = (struct ow_header){{text, (size_t)(equals - text)}, ow_bytes_of(equals + 1)};
    return 0;
}

/* What one kind of target needs and the other has no place for. */
static int check_options(const struct publish_options *o, const struct ow_url *url, struct ow_error *err)
{
    bool is_store = url->scheme->kinds & OW_URL_STORE;
    const struct {
        const char *name, *value, *instead;
        bool is_needed_by_store, is_for_broker;
    } rules[] = {
        {"aggregatetype", o->aggregate_type, "--topic", true, false},
        {"aggregateid", o->aggregate_id, "--key", true, false},
        {"type", o->type, "", true, true},
        {"topic", o->topic, "--aggregatetype", false, true},
        {"key", o->key, "--aggregateid", false, true},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        bool is_out_of_place = is_store ? !rules[i].is_needed_by_store : !rules[i].is_for_broker;
        if (is_out_of_place && rules[i].value)
            return ow_error_set(err, OW_EUSAGE, "option --%s has no meaning for a %s; use %s", rules[i].name,
                                is_store ? "store" : "broker", rules[i].instead);
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (is_store && rules[i].is_needed_by_store && !rules[i].value)
            return ow_error_set(err, OW_EUSAGE, "option --%s is missing; the outbox of %s needs it", rules[i].name,
                                url->text);
    if (!is_store && !o->topic)
        return ow_error_set(err, OW_EUSAGE, "option --topic is missing; %s needs it", url->text);
    if ((o->payload != NULL) + (o->payload_file != NULL) + o->is_tombstone > 1)
        return ow_error_set(err, OW_EUSAGE, "PAYLOAD, --payload, --payload-file and --tombstone exclude each other");
    if (!o->payload && !o->payload_file && !o->is_tombstone)
        return ow_error_set(err, OW_EUSAGE,
                            "PAYLOAD is missing; give it, or --payload-file FILE (- is standard input), or "
                            "--tombstone for a message without one");
    return 0;
}

static int add_from_options(const struct publish_options *o, struct ow_publish_batch *batch, struct ow_error *err)
{
    struct ow_header headers[OW_PUBLISH_HEADERS_MAX];
    OW_CLEANUP(ow_buf_done) struct ow_buf payload = {0};
    int r = 0;
    if (o->headers.count > OW_PUBLISH_HEADERS_MAX)
        return ow_error_set(err, OW_EUSAGE, "the message has %zu headers, the limit is %d", o->headers.count,
                            OW_PUBLISH_HEADERS_MAX);
    for (size_t i = 0; r == 0 && i < o->headers.count; i++)
        r = read_header(o->headers.values[i], &headers[i], err);
    if (r == 0 && o->payload_file)
        r = read_payload_file(o->payload_file, &payload, err);
    if (r < 0)
        return r;
    struct ow_message message = {
        .id = ow_bytes_of(o->id),
        .topic = ow_bytes_of(o->topic),
        .key = ow_bytes_of(o->key),
        .type = ow_bytes_of(o->type),
        .aggregate_type = ow_bytes_of(o->aggregate_type),
        .aggregate_id = ow_bytes_of(o->aggregate_id),
        .payload = o->payload_file ? ow_buf_bytes(&payload) : ow_bytes_of(o->payload),
        .headers = headers,
        .header_count = o->headers.count,
    };
    r = ow_publish_batch_add(batch, message, err);
    /* Here the invalid value stands on the command line. */
    if (r == OW_EINVALID)
        err->code = r = OW_EUSAGE;
    return r;
}

/* --- many messages, from standard input --------------------------------------------------------------- */

/* A record as `tail` prints it, as the outbox wants it: the inverse of the relay's default route. */
static void make_aggregate(struct ow_message *m, const struct publish_options *o)
{
    size_t prefix = sizeof topic_prefix - 1;
    bool has_prefix = m->topic.size > prefix && memcmp(m->topic.data, topic_prefix, prefix) == 0;
    m->aggregate_type = o->aggregate_type ? ow_bytes_of(o->aggregate_type)
                        : has_prefix      ? (struct ow_bytes){m->topic.data + prefix, m->topic.size - prefix}
                                          : m->topic;
    m->aggregate_id = o->aggregate_id ? ow_bytes_of(o->aggregate_id) : m->key;
    if (!m->type.data && o->type)
        m->type = ow_bytes_of(o->type);
    m->topic = m->key = OW_NULL_BYTES;
}

static int add_line(struct ow_bytes line, const struct ow_publish_target *target, const struct publish_options *o,
                    struct ow_publish_batch *batch, struct ow_error *err)
{
    struct ow_header headers[OW_PUBLISH_HEADERS_MAX];
    struct ow_record record;
    OW_CLEANUP(ow_buf_done) struct ow_buf scratch = {0};
    int r = ow_jsonl_read(line, &record, headers, OW_PUBLISH_HEADERS_MAX, &scratch, err);
    if (r < 0)
        return r;
    if (target->store) {
        make_aggregate(&record.message, o);
        if (record.message.aggregate_id.size == 0)
            return ow_error_set(err, OW_EINVALID, "key is null or empty, and the outbox needs an aggregateid");
        if (record.message.type.size == 0)
            return ow_error_set(err, OW_EINVALID, "there is no header \"type\"; say which with --type");
    } else if (o->topic) {
        record.message.topic = ow_bytes_of(o->topic);
    }
    return ow_publish_batch_add(batch, record.message, err);
}

/* Lines of standard input, one at a time. */
struct lines {
    struct ow_buf text;
    size_t at;       /* where the next line begins */
    uint64_t number; /* of the last line that was given out */
    bool is_end;     /* nothing more comes than what is in `text` */
};

static int read_more(struct lines *lines, struct ow_error *err)
{
    struct ow_buf *text = &lines->text;
    if (lines->at > 0)
        memmove(text->data, text->data + lines->at, text->size - lines->at);
    text->size -= lines->at;
    lines->at = 0;
    if (text->size > LINE_BYTES_MAX)
        return ow_error_set(err, OW_ETOOBIG, "it has more than %d bytes", LINE_BYTES_MAX);
    char *room = ow_buf_reserve(text, 256 << 10);
    if (!room)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ssize_t n = read(STDIN_FILENO, room, 256 << 10);
    if (n < 0 && errno != EINTR)
        return ow_error_errno(err, errno, "cannot be read");
    lines->is_end = n == 0;
    text->size += n > 0 ? (size_t)n : 0;
    return 0;
}

/* 1: *ret is the next line that is not empty, without its line break; 0: there is none; < 0. */
static int next_line(struct lines *lines, struct ow_bytes *ret, struct ow_error *err)
{
    for (;;) {
        size_t left = lines->text.size - lines->at;
        const char *begin = lines->text.data + lines->at, *newline = left ? memchr(begin, '\n', left) : NULL;
        if (!newline && !lines->is_end) {
            int r = read_more(lines, err);
            if (r < 0) {
                lines->number++;
                return r;
            }
            continue;
        }
        if (left == 0)
            return 0;
        size_t size = newline ? (size_t)(newline - begin) : left;
        lines->at += newline ? size + 1 : size;
        lines->number++;
        *ret = (struct ow_bytes){begin, size};
        if (size > 0)
            return 1;
    }
}

/* Publishes the lines before the one at fault, and then says how many they were. */
static int publish_lines(struct ow_publish_target *target, const struct publish_options *o,
                         struct ow_publish_batch *batch, struct ow_error *err)
{
    struct lines lines = {0};
    struct ow_bytes line;
    struct ow_error failed = {0};
    uint64_t published = 0;
    int r;
    do {
        r = next_line(&lines, &line, &failed);
        if (r == 1)
            r = add_line(line, target, o, batch, &failed) < 0 ? failed.code : 1;
        if (r < 0)
            (void)ow_error_prefix(&failed, "standard input, line %llu", (unsigned long long)lines.number);
        size_t count = batch->count;
        if (r == 1 && !ow_publish_batch_is_full(batch))
            continue;
        int flushed = ow_publish_target_flush(target, batch, err);
        if (flushed < 0 && published == 0)
            return flushed;
        if (flushed < 0) {
            failed = *err;
            r = flushed;
        } else {
            published += count;
        }
    } while (r == 1);
    ow_buf_done(&lines.text);
    if (r == 0 || published == 0 || r == OW_ECLOSED) {
        *err = failed;
        return r;
    }
    ow_complain("%s; %llu message%s before it %s published", failed.text, (unsigned long long)published,
                published == 1 ? "" : "s", published == 1 ? "was" : "were");
    return 3;
}

/* --- the command -------------------------------------------------------------------------------------- */

/* With --jsonl the messages bring all this themselves. */
static int check_lines_options(const struct publish_options *o, const struct ow_url *url, struct ow_error *err)
{
    bool is_store = url->scheme->kinds & OW_URL_STORE;
    const struct {
        const char *name;
        bool is_given;
    } refused[] = {
        {"payload", o->payload},
        {"payload-file", o->payload_file},
        {"tombstone", o->is_tombstone},
        {"id", o->id},
        {"header", o->headers.count > 0},
        {"key", o->key},
        {"topic", is_store && o->topic},
        {"aggregatetype", !is_store && o->aggregate_type},
        {"aggregateid", !is_store && o->aggregate_id},
        {"type", !is_store && o->type},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (refused[i].is_given)
            return ow_error_set(err, OW_EUSAGE, "options --jsonl and --%s exclude each other for %s", refused[i].name,
                                url->scheme->form);
    return 0;
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    struct publish_options with_argument = *(const struct publish_options *)options;
    const struct publish_options *o = &with_argument;
    OW_CLEANUP(ow_url_done) struct ow_url url = {0};
    OW_CLEANUP(ow_publish_target_close) struct ow_publish_target target = {0};
    if (count > 1 && o->payload)
        return ow_error_set(err, OW_EUSAGE, "PAYLOAD and --payload exclude each other");
    if (count > 1)
        with_argument.payload = arguments[1];
    int r = ow_command_url(arguments[0], OW_URL_STORE | OW_URL_BROKER, &url, err);
    if (r == 0)
        r = o->reads_lines ? check_lines_options(o, &url, err) : check_options(o, &url, err);
    if (r < 0)
        return r;
    struct ow_publish_batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    if (!o->reads_lines)
        r = add_from_options(o, batch, err);
    if (r == 0)
        r = ow_publish_target_open(&target, &url, err);
    if (r == 0)
        r = o->reads_lines ? publish_lines(&target, o, batch, err) : ow_publish_target_flush(&target, batch, err);
    ow_publish_batch_clear(batch);
    free(batch);
    return r;
}

static const struct ow_flag options[] = {
    {"topic", 't', "TOPIC", OW_FLAG_STRING, NULL, "the topic, for a broker", offsetof(struct publish_options, topic)},
    {"key", 'k', "KEY", OW_FLAG_STRING, NULL, "the key, for a broker; messages of one key stay in order",
     offsetof(struct publish_options, key)},
    {"aggregatetype", 0, "NAME", OW_FLAG_STRING, NULL, "what the message is about, e.g. order; for a store",
     offsetof(struct publish_options, aggregate_type)},
    {"aggregateid", 0, "ID", OW_FLAG_STRING, NULL, "which one of them; the relay makes it the key; for a store",
     offsetof(struct publish_options, aggregate_id)},
    {"type", 0, "TYPE", OW_FLAG_STRING, NULL, "what happened, e.g. OrderPlaced",
     offsetof(struct publish_options, type)},
    {"id", 0, "ID", OW_FLAG_STRING, NULL, "the id of the message, unique for ever; without it a UUID is made",
     offsetof(struct publish_options, id)},
    {"header", 'H', "NAME=VALUE", OW_FLAG_LIST, NULL, "a header", offsetof(struct publish_options, headers)},
    {"payload", 'p', "TEXT", OW_FLAG_STRING, NULL, "the payload, as an option",
     offsetof(struct publish_options, payload)},
    {"payload-file", 'f', "FILE", OW_FLAG_STRING, NULL, "the payload is what this file holds; - is standard input",
     offsetof(struct publish_options, payload_file)},
    {"tombstone", 0, NULL, OW_FLAG_BOOL, NULL, "a message without a payload",
     offsetof(struct publish_options, is_tombstone)},
    {"jsonl", 0, NULL, OW_FLAG_BOOL, NULL,
     "read messages from standard input, one a line, as tail -o jsonl prints them",
     offsetof(struct publish_options, reads_lines)},
    {0},
};

static const struct ow_argument arguments[] = {
    {"URL", "a store or a broker", OW_ARGUMENT_URL, false},
    {"PAYLOAD", "what the message says, passed on as it is", OW_ARGUMENT_TEXT, true},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite publish sqlite:shop.db --aggregatetype order --aggregateid 42 --type Placed '{}'",
     "leaves a message in the outbox; a relay publishes it"},
    {"onewrite publish journal:bus.db --topic orders --key 42 --payload-file order.json",
     "publishes to the journal at once"},
    {"onewrite publish journal:bus.db --jsonl < messages.jsonl",
     "publishes again what file: or tail -o jsonl has written"},
    {0},
};

const struct ow_command ow_command_publish = {
    .name = "publish",
    .summary = "publish a message, or many, through an outbox or straight to a broker",
    .arguments = arguments,
    .description =
        "With the URL of a store the message goes into the outbox, from where a relay publishes it; it needs "
        "--aggregatetype, --aggregateid and --type. With the URL of a broker it is published at once, and needs "
        "--topic. When the command ends with 0 the message has been committed or accepted. The id of each message is "
        "printed on standard output, but for stdout:, where the messages themselves are.\n\n"
        "With --jsonl the lines are published in transactions of up to 1,000 messages. Into a store, aggregatetype is "
        "taken from the topic (without \"outbox.event.\" at its beginning), aggregateid from the key and type from "
        "the header \"type\", where the options do not say otherwise; into a broker --topic takes the place of "
        "each line's own. A line that is not good ends it: the lines before it are published, and the exit status is "
        "3.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct publish_options),
    .run = run,
};
