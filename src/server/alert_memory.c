/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/alert.h"

enum { FILE_MAX = 1 << 20 };

static int read_all(int fd, struct ow_buf *to)
{
    char part[4096];
    ssize_t n;
    while ((n = read(fd, part, sizeof part)) > 0 && to->size < FILE_MAX)
        ow_buf_add(to, part, (size_t)n);
    return n < 0 ? errno : 0;
}

int ow_alert_memory_load(struct ow_alert_memory *m, const char *folder, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf path = {0};
    ow_buf_printf(&path, "%s/alerts", folder);
    m->path = path.has_failed ? NULL : strdup(path.data);
    if (!m->path)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    int failed = fd < 0 ? errno : read_all(fd, &m->told);
    if (fd >= 0)
        (void)close(fd);
    return failed ? ow_error_errno(err, failed, "%s", m->path) : 0;
}

static struct ow_bytes take_field(struct ow_bytes *line)
{
    const char *end = line->size ? memchr(line->data, '\t', line->size) : NULL;
    struct ow_bytes field = {line->data, end ? (size_t)(end - line->data) : line->size};
    *line = (struct ow_bytes){field.data + field.size + (end != NULL), line->size - field.size - (end != NULL)};
    return field;
}

bool ow_alert_memory_next(struct ow_bytes *rest, struct ow_alert_told *ret)
{
    while (rest->size > 0) {
        const char *end = memchr(rest->data, '\n', rest->size);
        struct ow_bytes line = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
        *rest = (struct ow_bytes){rest->data + line.size + (end != NULL), rest->size - line.size - (end != NULL)};
        ret->alert = take_field(&line);
        struct ow_bytes kind = take_field(&line);
        ret->name = line;
        ret->kind = ow_bytes_is(kind, "consumer") ? OW_WORK_CONSUMER : OW_WORK_RELAY;
        if (ret->alert.size > 0 && ret->name.size > 0)
            return true;
    }
    return false;
}

void ow_alert_memory_add(struct ow_alert_memory *m, const char *alert, enum ow_work_kind kind, const char *name)
{
    ow_buf_printf(&m->told, "%s\t%s\t%s\n", alert, kind == OW_WORK_RELAY ? "relay" : "consumer", name);
}

static int write_all(int fd, struct ow_bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t n = write(fd, bytes.data, bytes.size);
        if (n < 0)
            return errno;
        bytes = (struct ow_bytes){bytes.data + n, bytes.size - (size_t)n};
    }
    return 0;
}

int ow_alert_memory_save(const struct ow_alert_memory *m, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf next = {0};
    if (!m->path)
        return 0;
    ow_buf_printf(&next, "%s.new", m->path);
    if (next.has_failed || m->told.has_failed)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int fd = open(next.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int failed = fd < 0 ? errno : write_all(fd, ow_buf_bytes(&m->told));
    if (fd >= 0 && close(fd) != 0 && !failed)
        failed = errno;
    if (!failed && rename(next.data, m->path) != 0)
        failed = errno;
    return failed ? ow_error_errno(err, failed, "%s", m->path) : 0;
}

void ow_alert_memory_done(struct ow_alert_memory *m)
{
    ow_buf_done(&m->told);
    free(m->path);
    *m = (struct ow_alert_memory){0};
}
