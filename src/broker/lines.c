/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker: a file of JSON lines, or standard output.
 *
 * send() writes the line into memory; step() writes what is there to the file, syncs it and only then says
 * ACCEPTED. What could be written only in part, or not be synced, is cut off again and everything that has
 * no receipt comes back for a retry, in order: the file has whole lines only, and a line is in it once.
 *
 * Places are counted from the first byte ever sent through this broker: lines.data[0] is at `base`, the
 * file has all up to `written`, and `whole` is the end of the last line that it has all of.
 */
#include "broker/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "broker/broker.h"
#include "codec/jsonl.h"

#define BUFFERED_MAX (1u << 20)

struct sent {
    uint64_t token, end; /* where its line ends */
    enum ow_verdict verdict;
};

struct file_broker {
    struct ow_broker base_broker;
    char *path; /* NULL: standard output */
    enum ow_fsync fsync;
    int64_t rotate_bytes;
    uint32_t keep;

    int fd; /* -1: closed */
    bool is_regular, is_appending;
    bool is_blocked; /* the last write found no room in a pipe */
    bool is_torn;    /* half a line stands at the end: a '\n' comes first */
    struct ow_buf lines;
    uint64_t base, whole, written;

    struct sent *sent; /* [first, count): without a receipt; the first `decided` of them have a verdict */
    size_t first, count, capacity, decided;
    bool is_failing; /* what is decided are retries: nothing may be sent before they are given out */
    char reason[sizeof((struct ow_receipt *)NULL)->reason];
};

static struct file_broker *of(struct ow_broker *broker)
{
    return (struct file_broker *)broker;
}

static const char *name_of(const struct file_broker *b)
{
    return b->path ? b->path : "standard output";
}

static uint64_t end_of(const struct file_broker *b)
{
    return b->base + b->lines.size;
}

/* Drops the lines that are not written. Half a line in a pipe cannot be taken back. */
static void drop_lines(struct file_broker *b)
{
    b->is_torn = b->written > b->whole || (b->is_torn && b->written == b->base);
    ow_buf_clear(&b->lines);
    b->base = b->whole = b->written;
    b->is_blocked = false;
}

static void forget(struct file_broker *b)
{
    drop_lines(b);
    b->first = b->count = b->decided = 0;
    b->is_failing = false;
}

/* --- open and close ----------------------------------------------------------------------------------- */

static int open_fd(struct file_broker *b, struct ow_error *err)
{
    int fd = STDOUT_FILENO;
    if (b->path) {
        int r = ow_lines_open(b->path, b->fsync == OW_FSYNC_ALWAYS, &fd, err);
        if (r < 0)
            return r;
    }
    struct stat now;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &now) < 0)
        return ow_error_errno(err, errno, "cannot write to %s", name_of(b));
    b->fd = fd;
    b->is_regular = S_ISREG(now.st_mode);
    b->is_appending = (flags & O_APPEND) != 0;
    return 0;
}

static void close_fd(struct file_broker *b)
{
    if (b->path && b->fd >= 0)
        (void)close(b->fd);
    b->fd = -1;
}

static int file_open(struct ow_broker *broker, struct ow_error *err)
{
    struct file_broker *b = of(broker);
    return open_fd(b, err);
}

static void file_close(struct ow_broker *broker)
{
    struct file_broker *b = of(broker);
    forget(b);
    close_fd(b);
    if (b->path) /* opening it again mends it */
        b->is_torn = false;
}

static void file_discard(struct ow_broker *broker)
{
    struct file_broker *b = of(broker);
    file_close(broker);
    ow_buf_done(&b->lines);
    free(b->sent);
    free(b->path);
    free(b);
}

/* --- send --------------------------------------------------------------------------------------------- */

static int remember(struct file_broker *b, uint64_t token, struct ow_error *err)
{
    if (b->count == b->capacity && b->first > 0) {
        memmove(b->sent, b->sent + b->first, (b->count - b->first) * sizeof *b->sent);
        b->count -= b->first;
        b->first = 0;
    } else if (b->count == b->capacity) {
        size_t capacity = b->capacity ? b->capacity * 2 : 256;
        struct sent *sent = realloc(b->sent, capacity * sizeof *sent);
        if (!sent)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        b->sent = sent;
        b->capacity = capacity;
    }
    b->sent[b->count++] = (struct sent){.token = token, .end = end_of(b)};
    return 0;
}

static int file_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    struct file_broker *b = of(broker);
    if (b->is_failing || end_of(b) - b->written >= BUFFERED_MAX)
        return ow_error_set(err, OW_EAGAIN, "%s: not now", name_of(b));
    if (!message->topic.data) {
        forget(b);
        return ow_error_set(err, OW_EINVALID, "%s: a message without a topic", name_of(b));
    }
    const struct ow_record record = {.message = *message, .partition = -1, .offset = -1};
    if (b->is_torn && b->lines.size == 0)
        ow_buf_add_char(&b->lines, '\n');
    ow_jsonl_write(&b->lines, &record);
    int r = ow_buf_check(&b->lines, err);
    if (r == 0)
        r = remember(b, token, err);
    if (r < 0)
        forget(b);
    return r;
}

/* --- step --------------------------------------------------------------------------------------------- */

/* Everything without a verdict comes back, with the text of the error: it is the file that is at fault. */
static void retry_all(struct file_broker *b, const struct ow_error *why)
{
    (void)snprintf(b->reason, sizeof b->reason, "%.*s", (int)sizeof b->reason - 1, why->text);
    for (; b->first + b->decided < b->count; b->decided++)
        b->sent[b->first + b->decided].verdict = OW_LATER;
    b->is_failing = b->decided > 0;
    drop_lines(b);
}

/* Lines that the file has all of are accepted. */
static void accept_written(struct file_broker *b)
{
    for (; b->first + b->decided < b->count; b->decided++) {
        struct sent *sent = &b->sent[b->first + b->decided];
        if (sent->end > b->written)
            break;
        sent->verdict = OW_ACCEPTED;
        b->whole = sent->end;
    }
    if (b->written > b->base)
        b->is_torn = false; /* the '\n' in front of everything is out */
    size_t gone = (size_t)(b->written - b->base);
    if (gone == b->lines.size) {
        ow_buf_clear(&b->lines);
        b->base = b->written;
    } else if (gone >= BUFFERED_MAX / 2) {
        memmove(b->lines.data, b->lines.data + gone, b->lines.size - gone);
        b->lines.size -= gone;
        b->base = b->written;
    }
}

/* Whether a write would not block. Linux: a pipe that polls as writable has room for PIPE_BUF bytes, and
   standard output is shared with others, so that it is not ours to make it non-blocking. */
static bool has_room(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    return poll(&poll_fd, 1, 0) != 0;
}

static int write_until(struct file_broker *b, uint64_t end, struct ow_error *err)
{
    b->is_blocked = false;
    while (b->written < end) {
        size_t size = (size_t)(end - b->written);
        if (!b->is_regular && size > PIPE_BUF)
            size = PIPE_BUF;
        if (!b->is_regular && !has_room(b->fd)) {
            b->is_blocked = true;
            return 0;
        }
        ssize_t n = write(b->fd, b->lines.data + (b->written - b->base), size);
        if (n > 0) {
            b->written += (uint64_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            b->is_blocked = true;
            return 0;
        } else if (n < 0 && errno == EPIPE) {
            return ow_error_set(err, OW_ECLOSED, "%s was closed by its reader", name_of(b));
        } else if (n == 0 || errno != EINTR) {
            return ow_error_errno(err, n < 0 ? errno : EIO, "cannot write to %s", name_of(b));
        }
    }
    return 0;
}

/* Where the next byte goes in a regular file. */
static int file_end(const struct file_broker *b, int64_t *ret, struct ow_error *err)
{
    struct stat now;
    *ret = lseek(b->fd, 0, SEEK_CUR);
    if (b->is_appending)
        *ret = fstat(b->fd, &now) == 0 ? now.st_size : -1;
    return *ret >= 0 ? 0 : ow_error_errno(err, errno, "cannot write to %s", name_of(b));
}

/* Takes back what was written since the file ended at `end`, unless somebody has written behind it. */
static void cut_back(struct file_broker *b, int64_t end, uint64_t from)
{
    struct stat now;
    int64_t added = (int64_t)(b->written - from);
    if (b->is_regular && added > 0 && fstat(b->fd, &now) == 0 && now.st_size == end + added &&
        ftruncate(b->fd, end) == 0 && (b->is_appending || lseek(b->fd, end, SEEK_SET) == end))
        b->written = from;
}

/* The file that is to be written to: a new one if it is large enough now, or if somebody took its name
   away (`rm`, a rotation from outside), where nobody would look for what we write. */
static int ready_file(struct file_broker *b, int64_t *ret_end, struct ow_error *err)
{
    int r = 0;
    *ret_end = 0;
    if (b->path && b->fd >= 0 && b->is_regular && !ow_lines_is_current(b->path, b->fd))
        close_fd(b);
    if (b->fd < 0)
        r = open_fd(b, err);
    if (r == 0 && b->is_regular)
        r = file_end(b, ret_end, err);
    if (r < 0 || !b->path || !b->is_regular || b->rotate_bytes <= 0 || *ret_end < b->rotate_bytes)
        return r;
    r = ow_lines_rotate(b->path, b->keep, err);
    if (r < 0)
        return r;
    close_fd(b);
    r = open_fd(b, err);
    return r < 0 ? r : file_end(b, ret_end, err);
}

/* How much of the lines goes into the file as it is: all, or up to the line that makes it large enough. */
static uint64_t part_end(const struct file_broker *b, int64_t end)
{
    if (!b->path || !b->is_regular || b->rotate_bytes <= 0)
        return end_of(b);
    for (size_t i = b->first + b->decided; i < b->count; i++)
        if (end + (int64_t)(b->sent[i].end - b->written) >= b->rotate_bytes)
            return b->sent[i].end;
    return end_of(b);
}

/* Writes one part and decides about its messages. < 0: nothing can be written any more. */
static int work(struct file_broker *b, struct ow_error *err)
{
    struct ow_error why = {0};
    int64_t end = 0;
    if (b->written == end_of(b))
        return 0;
    uint64_t from = b->written;
    int r = ready_file(b, &end, &why);
    if (r == 0)
        r = write_until(b, part_end(b, end), &why);
    if (r == 0 && b->is_regular) {
        OW_CRASH_POINT(FILE_AFTER_WRITE);
        if (b->fsync == OW_FSYNC_ALWAYS && fdatasync(b->fd) < 0)
            r = ow_error_errno(&why, errno, "cannot sync %s", name_of(b));
    }
    if (r == 0 || !b->is_regular)
        accept_written(b);
    if (r == 0) {
        OW_CRASH_POINT(FILE_AFTER_SYNC);
        return 0;
    }
    if (r == OW_ECLOSED) /* those that are accepted first; this is said again at the next step */
        return b->decided > 0 ? 0 : ow_error_set(err, r, "%s", why.text);
    cut_back(b, end, from);
    retry_all(b, &why);
    return 0;
}

static int give_receipts(struct file_broker *b, struct ow_receipt *receipts, size_t max)
{
    int given = 0;
    for (; b->decided > 0 && (size_t)given < max; b->decided--) {
        const struct sent *sent = &b->sent[b->first++];
        struct ow_receipt *receipt = &receipts[given++];
        receipt->token = sent->token;
        receipt->verdict = sent->verdict;
        (void)snprintf(receipt->reason, sizeof receipt->reason, "%s", sent->verdict == OW_ACCEPTED ? "" : b->reason);
    }
    if (b->first == b->count)
        b->first = b->count = 0;
    if (b->decided == 0)
        b->is_failing = false;
    return given;
}

static int file_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct file_broker *b = of(broker);
    size_t given = 0;
    while (given < max && given < INT_MAX) {
        if (b->decided == 0) {
            int r = work(b, err);
            if (r < 0 && given == 0) {
                forget(b);
                return r;
            }
            if (b->decided == 0)
                break;
        }
        given += (size_t)give_receipts(b, receipts + given, max - given);
    }
    return (int)given;
}

static void file_wait(struct ow_broker *broker, struct ow_wait *wait)
{
    struct file_broker *b = of(broker);
    if (b->decided > 0 || (b->written < end_of(b) && !b->is_blocked))
        ow_wait_until(wait, 0);
    else if (b->is_blocked)
        ow_wait_add(wait, b->fd, POLLOUT);
}

static const struct ow_broker_ops file_ops = {
    .name = "file",
    .keeps_order = true,
    .open = file_open,
    .send = file_send,
    .step = file_step,
    .wait = file_wait,
    .close = file_close,
    .discard = file_discard,
};

static const struct ow_broker_ops stdout_ops = {
    .name = "stdout",
    .keeps_order = true,
    .open = file_open,
    .send = file_send,
    .step = file_step,
    .wait = file_wait,
    .close = file_close,
    .discard = file_discard,
};

int ow_file_broker_new(const struct ow_file_options *options, struct ow_broker **ret, struct ow_error *err)
{
    struct file_broker *b = calloc(1, sizeof *b);
    char *path = options->path ? strdup(options->path) : NULL;
    if (!b || (options->path && !path)) {
        free(b);
        free(path);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    b->base_broker.ops = path ? &file_ops : &stdout_ops;
    b->path = path;
    b->fsync = options->fsync;
    b->rotate_bytes = options->rotate_bytes;
    b->keep = options->keep;
    b->fd = -1;
    *ret = (struct ow_broker *)b;
    return 0;
}
