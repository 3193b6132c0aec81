/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onewrite tail: prints what is in a broker, and follows it.
 *
 * Records are gathered in a buffer that goes out when there is nothing more to read, or when it is large. With
 * a group, an offset is settled only after the record has gone out: who is killed prints again rather than
 * not at all.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/units.h"
#include "broker/journal/journal.h"
#include "broker/subscriber.h"
#include "cmd/output.h"
#include "codec/jsonl.h"
#include "config/construct.h"

enum {
    OUTPUT_BYTES = 64 << 10,
    VALUE_BYTES = 120, /* of a value in a table; a key is cut at a third of it */
    TOPICS_NAMED = 20,
    SETTLE_MS = 250, /* while there is always more to read */
    PARTLY_DONE = 3, /* exit status */
};

struct tail_options {
    struct ow_flag_list topics;
    const char *from, *group;
    bool stops_at_end;
    int64_t count;
    int output;
};

/* A partition of which records were printed and not settled. */
struct printed {
    struct ow_bytes topic; /* owned */
    uint32_t partition;
    int64_t offset; /* the last one; -1: it is settled */
};

struct tail {
    const struct tail_options *options;
    const struct ow_url *url;
    struct ow_subscriber *subscriber;
    struct ow_buf text;
    uint64_t count; /* records printed or in `text` */
    struct printed *printed;
    size_t printed_count;
    int signal_fd;
    int64_t settle_due_ms; /* monotonic */
    bool has_bad_lines, is_stopped;
    char trouble[256];    /* that was told last */
    struct ow_error late; /* what failed inside the listener */
};

/* --- settling ----------------------------------------------------------------------------------------- */

static struct printed *find_printed(struct tail *t, struct ow_bytes topic, uint32_t partition)
{
    for (size_t i = 0; i < t->printed_count; i++) {
        struct printed *p = &t->printed[i];
        if (p->partition == partition && ow_bytes_equal(p->topic, topic))
            return p;
    }
    return NULL;
}

static int note_printed(struct tail *t, const struct ow_record *record, struct ow_error *err)
{
    uint32_t partition = (uint32_t)record->partition;
    struct printed *p = find_printed(t, record->message.topic, partition);
    if (!p) {
        struct printed *grown = reallocarray(t->printed, t->printed_count + 1, sizeof *grown);
        if (grown)
            t->printed = grown;
        char *topic = ow_bytes_text(record->message.topic);
        if (!grown || !topic) {
            free(topic);
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        }
        p = &grown[t->printed_count++];
        *p = (struct printed){{topic, record->message.topic.size}, partition, -1};
    }
    p->offset = record->offset;
    return 0;
}

/* OW_ESTANDBY is no failure: the partition has gone to another member, who will print these again. */
static int settle(struct tail *t, struct printed *p, struct ow_error *err)
{
    if (p->offset < 0)
        return 0;
    int64_t offset = p->offset;
    p->offset = -1;
    int r = t->subscriber->ops->settle(t->subscriber, p->topic, p->partition, offset, err);
    return r == OW_ESTANDBY ? 0 : r;
}

static int write_out(struct tail *t, struct ow_error *err)
{
    int r = ow_buf_check(&t->text, err);
    if (r == 0 && t->text.size > 0)
        r = ow_output_write(ow_buf_bytes(&t->text), err);
    ow_buf_clear(&t->text);
    return r;
}

/* With a journal each settled offset is a sync of the disk. */
static int settle_all(struct tail *t, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->printed_count; i++)
        r = settle(t, &t->printed[i], err);
    t->settle_due_ms = ow_clock_monotonic_ms() + SETTLE_MS;
    return r;
}

static int flush(struct tail *t, struct ow_error *err)
{
    int r = write_out(t, err);
    return r < 0 ? r : settle_all(t, err);
}

static void listen_to(void *context, enum ow_subscriber_event event, struct ow_bytes topic, uint32_t partition)
{
    struct tail *t = context;
    struct printed *p = find_printed(t, topic, partition);
    if (event == OW_EVENT_REVOKED && p && t->late.code == 0 && flush(t, &t->late) < 0) {
        /* next() is told by `late`. */
    }
    if (event == OW_EVENT_LOST && p)
        p->offset = -1;
}

/* --- printing ----------------------------------------------------------------------------------------- */

/* Bytes for a person: controls as dots, cut at `max` between two characters. */
static void add_cut(struct ow_buf *to, struct ow_bytes bytes, size_t max)
{
    if (!bytes.data) {
        ow_buf_add_text(to, "-");
        return;
    }
    if (!ow_utf8_is_valid(bytes)) {
        ow_buf_printf(to, "<%zu bytes>", bytes.size);
        return;
    }
    size_t end = bytes.size;
    if (end > max)
        for (end = max; end > 0 && ((unsigned char)bytes.data[end] & 0xc0) == 0x80;)
            end--;
    for (size_t i = 0; i < end; i++)
        ow_buf_add_char(to, (unsigned char)bytes.data[i] < 0x20 || bytes.data[i] == 0x7f ? '.' : bytes.data[i]);
    if (end < bytes.size)
        ow_buf_add_text(to, "…");
}

/* 2026-11-21T12:40:00.123Z  outbox.event.order 0/17  42  OrderPlaced  {"total":…} */
static void add_row(struct ow_buf *to, const struct ow_record *record)
{
    char time[OW_TIME_TEXT_SIZE];
    const struct ow_message *m = &record->message;
    ow_buf_printf(to, "%s  ", ow_time_format(m->time_ms, time));
    add_cut(to, m->topic, VALUE_BYTES);
    if (record->partition >= 0)
        ow_buf_printf(to, " %lld/%lld", (long long)record->partition, (long long)record->offset);
    ow_buf_add_text(to, "  ");
    add_cut(to, m->key, VALUE_BYTES / 3);
    ow_buf_add_text(to, "  ");
    add_cut(to, m->type, VALUE_BYTES / 3);
    ow_buf_add_text(to, "  ");
    add_cut(to, m->payload, VALUE_BYTES);
    ow_buf_add_char(to, '\n');
}

static int print(struct tail *t, const struct ow_record *record, struct ow_error *err)
{
    if (t->options->output == OW_OUTPUT_TABLE) {
        add_row(&t->text, record);
    } else if (t->options->output == OW_OUTPUT_JSONL) {
        ow_jsonl_write(&t->text, record);
    } else {
        ow_buf_add_text(&t->text, t->count ? "," : "[");
        ow_jsonl_write(&t->text, record);
        if (!t->text.has_failed)
            t->text.size--; /* its line break comes before what is next */
        ow_buf_add_text(&t->text, "\n");
    }
    t->count++;
    int r = t->options->group ? note_printed(t, record, err) : 0;
    if (r < 0 || t->text.size < OUTPUT_BYTES)
        return r;
    r = write_out(t, err);
    return r < 0 || ow_clock_monotonic_ms() < t->settle_due_ms ? r : settle_all(t, err);
}

static int finish(struct tail *t, struct ow_error *err)
{
    if (t->options->output == OW_OUTPUT_JSON)
        ow_buf_add_text(&t->text, t->count ? "]\n" : "[]\n");
    int r = flush(t, err);
    return r < 0 ? r : t->has_bad_lines ? PARTLY_DONE : 0;
}

/* --- the loop ----------------------------------------------------------------------------------------- */

/* What keeps records from coming is told once. */
static void tell_trouble(struct tail *t)
{
    const char *trouble = t->subscriber->ops->trouble ? t->subscriber->ops->trouble(t->subscriber) : NULL;
    if (trouble && strncmp(trouble, t->trouble, sizeof t->trouble - 1) != 0)
        ow_say("waiting: %s", trouble);
    (void)snprintf(t->trouble, sizeof t->trouble, "%s", trouble ? trouble : "");
}

/* Waits for more; a signal, or a reader of ours that has gone, ends it. */
static int wait_for_more(struct tail *t, struct ow_error *err)
{
    struct ow_wait wait;
    tell_trouble(t);
    ow_wait_init(&wait);
    ow_wait_add(&wait, t->signal_fd, POLLIN);
    ow_wait_add(&wait, STDOUT_FILENO, 0);
    t->subscriber->ops->wait(t->subscriber, &wait);
    ow_wait_sleep(&wait);
    if (wait.fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) {
        t->is_stopped = true;
        return 0;
    }
    struct signalfd_siginfo info;
    if (read(t->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        t->is_stopped = true;
    (void)err;
    return 0;
}

static bool is_stopped_by_signal(struct tail *t)
{
    struct signalfd_siginfo info;
    if (t->count % 256 == 0 && read(t->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        t->is_stopped = true;
    return t->is_stopped;
}

/* 1: printed one; 0: none is there now. A bad line of a file is told, and passed over. */
static int take_one(struct tail *t, struct ow_error *err)
{
    struct ow_record record;
    int r = t->subscriber->ops->next(t->subscriber, &record, err);
    if (t->late.code != 0) {
        *err = t->late;
        return err->code;
    }
    if ((r == OW_EINVALID || r == OW_ETOOBIG) && t->url->scheme->id == OW_SCHEME_FILE) {
        ow_complain("%s", err->text);
        t->has_bad_lines = true;
        return 1;
    }
    if (r == 1) {
        int printed = print(t, &record, err);
        return printed < 0 ? printed : 1;
    }
    return r;
}

static int follow(struct tail *t, struct ow_error *err)
{
    const struct tail_options *o = t->options;
    while (!is_stopped_by_signal(t)) {
        if (o->count > 0 && t->count >= (uint64_t)o->count)
            break;
        int r = take_one(t, err);
        if (r > 0 && o->stops_at_end) /* what was written after the start is not waited for */
            r = t->subscriber->ops->is_at_end(t->subscriber, err) == 1 ? 2 : r;
        if (r == 0)
            r = flush(t, err);
        if (r < 0)
            return r;
        if (r == 2)
            break;
        if (r == 1)
            continue;
        r = o->stops_at_end ? t->subscriber->ops->is_at_end(t->subscriber, err) : 0;
        if (r == 0)
            r = wait_for_more(t, err);
        if (r != 0)
            return r < 0 ? r : finish(t, err);
    }
    return finish(t, err);
}

/* --- before it starts --------------------------------------------------------------------------------- */

static int read_from(const struct tail_options *o, int64_t *ret, struct ow_error *err)
{
    const char *from = o->from ? o->from : o->stops_at_end ? "beginning" : "end";
    if (strcmp(from, "beginning") == 0 || strcmp(from, "end") == 0) {
        *ret = from[0] == 'b' ? OW_OFFSET_BEGINNING : OW_OFFSET_END;
        return 0;
    }
    if (ow_integer_parse(ow_bytes_of(from), 0, INT64_MAX, ret, NULL) == 0)
        return 0;
    return ow_error_set(err, OW_EUSAGE, "option --from: \"%.*s\" is neither beginning nor end nor an offset",
                        OW_PRINT(ow_bytes_of(from)));
}

static bool has_topic(const struct ow_journal_status *status, const char *topic)
{
    for (size_t i = 0; i < status->partition_count; i++)
        if (strcmp(status->partitions[i].topic, topic) == 0)
            return true;
    return false;
}

static void name_topics(const struct ow_journal_status *status, struct ow_buf *to)
{
    size_t count = 0;
    for (size_t i = 0; i < status->partition_count; i++) {
        const struct ow_journal_partition_status *p = &status->partitions[i];
        if (p->partition != 0)
            continue;
        if (count < TOPICS_NAMED)
            ow_buf_printf(to, "%s%s", count ? ", " : "", p->topic);
        count++;
    }
    if (count > TOPICS_NAMED)
        ow_buf_printf(to, " and %zu more", count - TOPICS_NAMED);
    if (count == 0)
        ow_buf_add_text(to, "none");
}

/* A topic may come later, but somebody who mistyped it should not wait for it in the dark. */
static int check_topics(const struct tail *t, struct ow_error *err)
{
    const struct tail_options *o = t->options;
    OW_CLEANUP(ow_journal_status_done) struct ow_journal_status status = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf known = {0};
    if (t->url->scheme->id != OW_SCHEME_JOURNAL || o->topics.count == 0)
        return 0;
    int r = ow_journal_status_read(t->url->path, &status, err);
    if (r < 0)
        return r;
    name_topics(&status, &known);
    for (size_t i = 0; i < o->topics.count; i++) {
        const char *topic = o->topics.values[i];
        if (has_topic(&status, topic))
            continue;
        if (o->stops_at_end)
            return ow_error_set(err, OW_ENOTFOUND, "%s: there is no topic \"%.*s\"; there are: %s", t->url->path,
                                OW_PRINT(ow_bytes_of(topic)), known.data ? known.data : "");
        ow_say("waiting for topic \"%.*s\", which is not there yet; there are: %s", OW_PRINT(ow_bytes_of(topic)),
               known.data ? known.data : "");
    }
    return 0;
}

static int watch_signals(struct tail *t, struct ow_error *err)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || (t->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return ow_error_errno(err, errno, "cannot wait for signals");
    return 0;
}

static int subscribe(struct tail *t, struct ow_error *err)
{
    const struct tail_options *o = t->options;
    struct ow_subscriber_options options = {.group = o->group,
                                            .topics = o->topics.count ? o->topics.values : NULL,
                                            .topic_count = o->topics.count,
                                            .listener = listen_to,
                                            .context = t};
    int r = read_from(o, &options.from, err);
    if (r < 0)
        return r;
    r = ow_config_new_subscriber(t->url, &options, &t->subscriber, err);
    return r < 0 ? r : t->subscriber->ops->open(t->subscriber, err);
}

static void tail_done(struct tail *t)
{
    if (t->subscriber)
        t->subscriber->ops->close(t->subscriber);
    for (size_t i = 0; i < t->printed_count; i++)
        free((char *)(uintptr_t)t->printed[i].topic.data);
    free(t->printed);
    ow_buf_done(&t->text);
    if (t->signal_fd >= 0)
        (void)close(t->signal_fd);
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)count;
    OW_CLEANUP(ow_url_done) struct ow_url url = {0};
    OW_CLEANUP(tail_done) struct tail t = {.options = options, .url = &url, .signal_fd = -1};
    int r = ow_command_url(arguments[0], OW_URL_BROKER, &url, err);
    if (r < 0)
        return r;
    r = check_topics(&t, err);
    if (r == 0)
        r = watch_signals(&t, err);
    if (r == 0)
        r = subscribe(&t, err);
    return r < 0 ? r : follow(&t, err);
}

static const struct ow_flag options[] = {
    {"topic", 't', "TOPIC", OW_FLAG_LIST, NULL, "only this topic", offsetof(struct tail_options, topics)},
    {"from", 'f', "WHERE", OW_FLAG_STRING, NULL,
     "beginning, end, or an offset in each partition; without it: end, or beginning with --until-end",
     offsetof(struct tail_options, from)},
    {"until-end", 'e', NULL, OW_FLAG_BOOL, NULL, "stop after what is there now, instead of following",
     offsetof(struct tail_options, stops_at_end)},
    {"group", 'g', "NAME", OW_FLAG_STRING, NULL,
     "read as a member of this consumer group: go on where it is, and settle what was printed",
     offsetof(struct tail_options, group)},
    {"count", 'n', "N", OW_FLAG_INTEGER, NULL, "stop after so many records", offsetof(struct tail_options, count), NULL,
     1, INT64_MAX},
    OW_FLAG_OUTPUT(struct tail_options),
    {0},
};

static const struct ow_argument arguments[] = {
    {"URL", "journal:PATH, file:PATH or kafka://HOST:PORT", OW_ARGUMENT_URL, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite tail journal:bus.db", "shows what is published from now on, until it is interrupted"},
    {"onewrite tail journal:bus.db --topic outbox.event.order --until-end -o jsonl",
     "prints all records of a topic, an object a line"},
    {"onewrite tail journal:bus.db --group audit --from beginning -o jsonl >> audit.jsonl",
     "goes on where it was stopped the last time"},
    {"onewrite tail kafka://localhost:9092 --topic outbox.event.order", "shows what comes to a topic of Kafka"},
    {0},
};

const struct ow_command ow_command_tail = {
    .name = "tail",
    .summary = "print the records of a broker, and follow it",
    .arguments = arguments,
    .description =
        "Records of several topics and partitions come in the one order in which they were published, from Kafka in "
        "that of each partition; of its transactions only those that were committed. As a table each is a line: time, "
        "topic, partition/offset, key, type, and as much of the value as fits. With -o jsonl "
        "each "
        "is an object with topic, partition, offset, time, id, key, headers and value; what is not UTF-8 is written "
        "{\"base64\": \"…\"}.\n\n"
        "With --group the partitions are shared out among all that read as the same group, at most one of them reads "
        "a partition at a time, and what was printed is not printed again; after a crash the last few records may be. "
        "--from then says where to start in partitions of which the group has not settled anything yet.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct tail_options),
    .run = run,
};
