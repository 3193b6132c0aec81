/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriber: a file of JSON lines, read and followed.
 *
 * `position` is where the next line starts. At the end of the file nothing behind it is kept in memory: an
 * incomplete line is read again later, because its writer may take it back (and with it whole lines, if
 * the disk is full: then reading goes on where the file ends now).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "broker/lines.h"
#include "broker/subscriber.h"
#include "codec/jsonl.h"

#define READ_SIZE      (64u << 10)
#define LINE_MAX_BYTES (64u << 20)
#define CALL_MAX_BYTES (4u << 20) /* what one next() passes over at most */
#define HEADERS_MAX    1024
#define POLL_MS        100

struct file_subscriber {
    struct ow_subscriber base;
    char *path;
    struct ow_buf topics; /* each with its NUL; empty: all */
    int64_t from;         /* as in the options */

    int fd; /* -1: not open */
    int64_t position, line;
    int64_t end;         /* of what was there at open() */
    struct ow_buf data;  /* from `position` - `at` on */
    size_t at;           /* of the next line, in data */
    bool is_replaced;    /* the name belongs to a new file; this one is read to its end first */
    bool is_held;        /* nothing is given out */
    bool may_have_more;  /* next() came to its limit, not to the end of the file */
    int64_t poll_due_ms; /* when to look again */

    struct ow_header headers[HEADERS_MAX];
    struct ow_buf scratch;
};

static struct file_subscriber *of(struct ow_subscriber *subscriber)
{
    return (struct file_subscriber *)subscriber;
}

/* --- the file ----------------------------------------------------------------------------------------- */

static int open_file(struct file_subscriber *s, int64_t *ret_size, struct ow_error *err)
{
    struct stat now;
    int fd = open(s->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return ow_error_errno(err, errno, "cannot open %s", s->path);
    int r = 0;
    if (fstat(fd, &now) < 0)
        r = ow_error_errno(err, errno, "cannot read %s", s->path);
    else if (!S_ISREG(now.st_mode))
        r = ow_error_set(err, OW_EUNSUPPORTED, "%s is not a regular file", s->path);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = fd;
    s->position = 0;
    s->at = 0;
    ow_buf_clear(&s->data);
    s->is_replaced = false;
    *ret_size = now.st_size;
    return 0;
}

static int file_open(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct file_subscriber *s = of(subscriber);
    int64_t size = 0;
    int r = open_file(s, &size, err);
    if (r < 0)
        return r;
    s->line = 0;
    /* What has no '\n' yet may never get one: it is no part of the end that a reader waits for. */
    r = ow_lines_end(s->fd, size, &s->end, err);
    return r < 0 ? ow_error_prefix(err, "%s", s->path) : 0;
}

/* Appends what follows in the file. 1, 0 at its end, or < 0. */
static int read_more(struct file_subscriber *s, struct ow_error *err)
{
    size_t ahead = s->data.size - s->at;
    if (s->at > 0) {
        if (ahead > 0)
            memmove(s->data.data, s->data.data + s->at, ahead);
        s->data.size = ahead;
        s->at = 0;
    }
    char *to = ow_buf_reserve(&s->data, READ_SIZE);
    if (!to)
        return ow_buf_check(&s->data, err);
    ssize_t n;
    do {
        n = pread(s->fd, to, READ_SIZE, s->position + (int64_t)ahead);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return ow_error_errno(err, errno, "cannot read %s", s->path);
    s->data.size += (size_t)n;
    return n > 0;
}

/* At the end of the file: 1 if there is something to read after all, in this file or in the one that has
   taken its name. */
static int look_again(struct file_subscriber *s, struct ow_error *err)
{
    struct stat now;
    int64_t size = 0;
    s->at = 0;
    ow_buf_clear(&s->data);
    if (s->is_replaced) {
        int r = open_file(s, &size, err);
        if (r == OW_ENOTFOUND) /* rotated once more just now: its new file is not there yet */
            return 0;
        s->end = 0;
        return r < 0 ? r : 1;
    }
    if (fstat(s->fd, &now) < 0)
        return ow_error_errno(err, errno, "cannot read %s", s->path);
    if (now.st_size < s->position)
        s->position = now.st_size;
    if (access(s->path, F_OK) == 0 && !ow_lines_is_current(s->path, s->fd)) {
        s->is_replaced = true; /* once more to its end: it may have grown before its name was taken */
        return 1;
    }
    return 0;
}

/* --- lines -------------------------------------------------------------------------------------------- */

/* 1 and the next complete line with its '\n', 0: none, or < 0. Adds what it read to *cost. */
static int next_line(struct file_subscriber *s, struct ow_bytes *ret, size_t *cost, struct ow_error *err)
{
    for (size_t searched = 0;;) {
        size_t ahead = s->data.size - s->at;
        const char *start = ow_buf_bytes(&s->data).data + s->at;
        const char *end = ahead > searched ? memchr(start + searched, '\n', ahead - searched) : NULL;
        if (end) {
            *ret = (struct ow_bytes){start, (size_t)(end - start) + 1};
            *cost += ret->size;
            return 1;
        }
        if (ahead > LINE_MAX_BYTES)
            return ow_error_set(err, OW_ETOOBIG, "%s:%lld: a line of more than 64 MiB", s->path,
                                (long long)s->line + 1);
        searched = ahead;
        int r = read_more(s, err);
        if (r == 0) {
            r = look_again(s, err);
            searched = 0;
        }
        if (r <= 0)
            return r;
    }
}

static void pass_line(struct file_subscriber *s, size_t size)
{
    s->at += size;
    s->position += (int64_t)size;
    s->line++;
}

/* Whether the line lies before the place to start from. `s` stands behind it. */
static bool is_before_start(const struct file_subscriber *s)
{
    if (s->from == OW_OFFSET_END)
        return s->position <= s->end;
    return s->from >= 0 && s->line - 1 < s->from;
}

static bool is_blank(struct ow_bytes line)
{
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r' && line.data[i] != '\n')
            return false;
    return true;
}

static bool is_wanted(const struct file_subscriber *s, struct ow_bytes topic)
{
    for (size_t at = 0; at < s->topics.size; at += strlen(s->topics.data + at) + 1)
        if (ow_bytes_is(topic, s->topics.data + at))
            return true;
    return s->topics.size == 0;
}

static int file_next(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err)
{
    struct file_subscriber *s = of(subscriber);
    struct ow_bytes line = OW_NULL_BYTES;
    int r = 0;
    size_t cost = 0;
    if (s->is_held)
        return 0;
    s->may_have_more = false;
    while (cost < CALL_MAX_BYTES && (r = next_line(s, &line, &cost, err)) > 0) {
        struct ow_record record;
        pass_line(s, line.size);
        if (is_before_start(s) || is_blank(line))
            continue;
        ow_buf_clear(&s->scratch);
        r = ow_jsonl_read(line, &record, s->headers, HEADERS_MAX, &s->scratch, err);
        if (r < 0)
            return ow_error_prefix(err, "%s:%lld", s->path, (long long)s->line);
        if (!is_wanted(s, record.message.topic))
            continue;
        record.partition = 0;
        record.offset = s->line - 1;
        *ret = record;
        return 1;
    }
    if (r < 0)
        return r;
    s->may_have_more = cost >= CALL_MAX_BYTES;
    s->poll_due_ms = ow_clock_monotonic_ms() + POLL_MS;
    return 0;
}

static int file_is_at_end(struct ow_subscriber *subscriber, struct ow_error *err)
{
    (void)err;
    const struct file_subscriber *s = of(subscriber);
    return s->position >= s->end;
}

/* --- the rest of the contract ------------------------------------------------------------------------- */

static int file_settle(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                       struct ow_error *err)
{
    (void)subscriber, (void)topic, (void)partition, (void)offset, (void)err;
    return 0;
}

static int file_flush(struct ow_subscriber *subscriber, int timeout_ms, struct ow_error *err)
{
    (void)subscriber, (void)timeout_ms, (void)err;
    return 0;
}

static int file_pause(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition)
{
    (void)partition;
    if (topic.data)
        return OW_EUNSUPPORTED;
    of(subscriber)->is_held = true;
    return 0;
}

static int file_resume(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition)
{
    (void)partition;
    if (topic.data)
        return OW_EUNSUPPORTED;
    of(subscriber)->is_held = false;
    return 0;
}

static int file_look(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition,
                     struct ow_standing *ret)
{
    (void)topic;
    if (partition != 0)
        return OW_ENOTFOUND;
    *ret = (struct ow_standing){.next = of(subscriber)->line, .end = -1, .settled = -1};
    return 0;
}

static int file_seek(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                     struct ow_error *err)
{
    (void)topic;
    struct file_subscriber *s = of(subscriber);
    if (partition != 0 || offset < OW_OFFSET_BEGINNING)
        return ow_error_set(err, OW_EINVALID, "%s has partition 0 only, and offsets from 0", s->path);
    s->from = offset;
    return file_open(subscriber, err);
}

static void file_wait(struct ow_subscriber *subscriber, struct ow_wait *wait)
{
    const struct file_subscriber *s = of(subscriber);
    if (!s->is_held)
        ow_wait_until(wait, s->may_have_more ? 0 : s->poll_due_ms);
}

static void file_close(struct ow_subscriber *subscriber)
{
    struct file_subscriber *s = of(subscriber);
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s->path);
    ow_buf_done(&s->topics);
    ow_buf_done(&s->data);
    ow_buf_done(&s->scratch);
    free(s);
}

static const struct ow_subscriber_ops file_ops = {
    .name = "file",
    .open = file_open,
    .next = file_next,
    .settle = file_settle,
    .flush = file_flush,
    .is_at_end = file_is_at_end,
    .pause = file_pause,
    .resume = file_resume,
    .seek = file_seek,
    .look = file_look,
    .wait = file_wait,
    .close = file_close,
};

int ow_file_subscriber_new(const char *path, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                           struct ow_error *err)
{
    if (options->group)
        return ow_error_set(err, OW_EUNSUPPORTED, "file:%s: a file has no consumer groups; leave the group out", path);
    struct file_subscriber *s = calloc(1, sizeof *s);
    if (s) {
        s->base.ops = &file_ops;
        s->fd = -1;
        s->from = options->from;
        s->path = strdup(path);
        for (size_t i = 0; options->topics && i < options->topic_count; i++)
            ow_buf_add(&s->topics, options->topics[i], strlen(options->topics[i]) + 1);
    }
    if (!s || !s->path || s->topics.has_failed) {
        if (s)
            file_close(&s->base);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    *ret = (struct ow_subscriber *)s;
    return 0;
}
