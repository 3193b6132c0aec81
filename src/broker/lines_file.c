/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crash.h"
#include "base/lock.h"
#include "broker/lines.h"

/* Each line that ow_jsonl_write() makes starts with this. */
static const char line_start[] = "{\"topic\":";

int ow_lines_end(int fd, int64_t size, int64_t *ret, struct ow_error *err)
{
    char block[4096];
    while (size > 0) {
        size_t want = size < (int64_t)sizeof block ? (size_t)size : sizeof block;
        ssize_t n = pread(fd, block, want, size - (int64_t)want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ow_error_errno(err, errno, "cannot read");
        if ((size_t)n < want) /* it became shorter meanwhile */
            return ow_error_set(err, OW_EIO, "cannot read: the file was cut while it was read");
        const char *last = memrchr(block, '\n', want);
        size -= (int64_t)want;
        if (last) {
            *ret = size + (last - block) + 1;
            return 0;
        }
    }
    *ret = 0;
    return 0;
}

/* Whether the torn line at `start` is one of ours; where it is shorter than our mark, all of it must fit. */
static bool is_ours(int fd, int64_t start)
{
    char head[sizeof line_start - 1];
    ssize_t n = pread(fd, head, sizeof head, start);
    return n > 0 && memcmp(head, line_start, (size_t)n) == 0;
}

static int mend_last_line(int fd, struct ow_error *err)
{
    struct stat now;
    int64_t end = 0;
    if (fstat(fd, &now) < 0)
        return ow_error_errno(err, errno, "cannot read");
    int r = ow_lines_end(fd, now.st_size, &end, err);
    if (r < 0 || end == now.st_size)
        return r;
    if (!is_ours(fd, end))
        return write(fd, "\n", 1) == 1 ? 0 : ow_error_errno(err, errno, "cannot end its last line");
    return ftruncate(fd, end) == 0 ? 0 : ow_error_errno(err, errno, "cannot cut off its torn last line");
}

/* Makes the names in the directory of `path` durable. */
static int sync_directory(const char *path, struct ow_error *err)
{
    const char *slash = strrchr(path, '/');
    OW_CLEANUP(ow_buf_done) struct ow_buf name = {0};
    ow_buf_add(&name, slash ? path : ".", slash ? (size_t)(slash - path) + 1 : 1);
    int r = ow_buf_check(&name, err);
    if (r < 0)
        return r;
    int fd = open(name.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ow_error_errno(err, errno, "cannot open the directory %s", name.data);
    /* EINVAL: a file system that has no such thing. */
    if (fsync(fd) < 0 && errno != EINVAL)
        r = ow_error_errno(err, errno, "cannot sync the directory %s", name.data);
    (void)close(fd);
    return r;
}

static int open_special(const char *path, const struct stat *found, int *ret_fd, struct ow_error *err)
{
    if (S_ISDIR(found->st_mode))
        return ow_error_set(err, OW_EINVALID, "%s is a directory", path);
    *ret_fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*ret_fd >= 0)
        return 0;
    if (errno == ENXIO)
        return ow_error_set(err, OW_EUNREACHABLE, "nobody reads from the pipe %s", path);
    return ow_error_errno(err, errno, "cannot open %s", path);
}

bool ow_lines_is_current(const char *path, int fd)
{
    struct stat named, opened;
    return stat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

static int take_over(const char *path, int fd, bool is_synced, struct ow_error *err)
{
    struct ow_lock_file lock = {.fd = fd};
    int r = ow_lock_take(&lock, 0, err);
    if (r == OW_EBUSY)
        return ow_error_set(err, OW_EBUSY, "another process writes to %s", path);
    if (r == 0)
        r = mend_last_line(fd, err);
    if (r < 0) {
        (void)ow_error_prefix(err, "%s", path);
        return r;
    }
    return is_synced ? sync_directory(path, err) : 0;
}

int ow_lines_open(const char *path, bool is_synced, int *ret_fd, struct ow_error *err)
{
    struct stat found;
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode))
        return open_special(path, &found, ret_fd, err);
    for (int attempt = 0; attempt < 10; attempt++) {
        int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0)
            return ow_error_errno(err, errno, "cannot open %s", path);
        int r = take_over(path, fd, is_synced, err);
        if (r == 0 && ow_lines_is_current(path, fd)) {
            *ret_fd = fd;
            return 0;
        }
        /* Its last writer rotated it between our opening and our lock: the name means another file now. */
        (void)close(fd);
        if (r < 0)
            return r;
    }
    return ow_error_set(err, OW_EBUSY, "another process writes to %s", path);
}

/* PATH.number in `to`. */
static void name_rotated(struct ow_buf *to, const char *path, uint64_t number)
{
    ow_buf_clear(to);
    ow_buf_printf(to, number ? "%s.%llu" : "%s", path, (unsigned long long)number);
}

int ow_lines_rotate(const char *path, uint32_t keep, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf from = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf to = {0};
    uint64_t free_number = 1;
    for (; keep == 0 || free_number < keep; free_number++) {
        name_rotated(&to, path, free_number);
        int r = ow_buf_check(&to, err);
        if (r < 0)
            return r;
        if (access(to.data, F_OK) < 0)
            break;
    }
    /* A gap ends the walk: what is beyond it stays where it is. With `keep` names in use, the oldest is
       replaced. */
    for (uint64_t i = free_number; i > 0; i--) {
        name_rotated(&from, path, i - 1);
        name_rotated(&to, path, i);
        int r = ow_buf_check(&from, err);
        if (r == 0)
            r = ow_buf_check(&to, err);
        if (r < 0)
            return r;
        if (rename(from.data, to.data) < 0)
            return ow_error_errno(err, errno, "cannot rotate %s", path);
    }
    OW_CRASH_POINT(FILE_MID_ROTATE);
    return 0;
}
