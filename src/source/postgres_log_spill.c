/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY_MAX (256u << 10) /* of a transaction, before it is written */
#define READ_SIZE  (256u << 10)

struct record { /* before each change */
    uint64_t lsn;
    uint32_t subxid, size;
};

struct ow_pg_spilled {
    struct ow_pg_spilled *next;
    uint32_t xid;
    int fd;             /* -1: all of it is in `tail` */
    uint64_t written;   /* bytes in the file */
    struct ow_buf tail; /* what comes after them */
    uint32_t *aborted;  /* subtransactions; sorted while it is read */
    size_t aborted_count, aborted_capacity;
    uint64_t read_from;    /* where in the file the next bytes are */
    struct ow_buf reading; /* of the file; [at, size) is not given out yet */
    size_t at;
};

int ow_pg_spill_init(struct ow_pg_spill *spill, const char *folder, struct ow_error *err)
{
    const char *usual = getenv("TMPDIR");
    *spill = (struct ow_pg_spill){.folder = strdup(folder ? folder : usual && *usual ? usual : "/tmp")};
    return spill->folder ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

static void drop(struct ow_pg_spill *spill, struct ow_pg_spilled *t)
{
    struct ow_pg_spilled **at = &spill->first;
    while (*at && *at != t)
        at = &(*at)->next;
    if (*at)
        *at = t->next;
    if (spill->reading == t)
        spill->reading = NULL;
    if (t->fd >= 0)
        (void)close(t->fd);
    ow_buf_done(&t->tail);
    ow_buf_done(&t->reading);
    free(t->aborted);
    free(t);
}

void ow_pg_spill_clear(struct ow_pg_spill *spill)
{
    while (spill->first)
        drop(spill, spill->first);
}

void ow_pg_spill_done(struct ow_pg_spill *spill)
{
    ow_pg_spill_clear(spill);
    free(spill->folder);
    *spill = (struct ow_pg_spill){0};
}

static struct ow_pg_spilled *find(const struct ow_pg_spill *spill, uint32_t xid)
{
    struct ow_pg_spilled *t = spill->first;
    while (t && t->xid != xid)
        t = t->next;
    return t;
}

/* --- putting aside ------------------------------------------------------------------------------------ */

/* A file without a name; where the file system has no such thing, one whose name is taken away at once. */
static int open_file(const char *folder, struct ow_error *err)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (fd < 0) {
        OW_CLEANUP(ow_buf_done) struct ow_buf path = {0};
        ow_buf_printf(&path, "%s/onewrite-XXXXXX", folder);
        fd = path.has_failed ? -1 : mkostemp(path.data, O_CLOEXEC);
        if (fd >= 0)
            (void)unlink(path.data);
    }
    if (fd < 0)
        return ow_error_errno(err, errno, "cannot put a large transaction aside in %s (TMPDIR names another folder)",
                              folder);
    return fd;
}

static int write_tail(struct ow_pg_spill *spill, struct ow_pg_spilled *t, struct ow_error *err)
{
    if (t->fd < 0) {
        int fd = open_file(spill->folder, err);
        if (fd < 0)
            return fd;
        t->fd = fd;
    }
    size_t done = 0;
    while (done < t->tail.size) {
        ssize_t n = pwrite(t->fd, t->tail.data + done, t->tail.size - done, (off_t)(t->written + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ow_error_errno(
                err, errno, "cannot put a large transaction aside in %s (TMPDIR names another folder)", spill->folder);
        done += (size_t)n;
    }
    t->written += t->tail.size;
    ow_buf_clear(&t->tail);
    return 0;
}

static struct ow_pg_spilled *find_or_make(struct ow_pg_spill *spill, uint32_t xid, struct ow_error *err)
{
    struct ow_pg_spilled *t = find(spill, xid);
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    if (!t) {
        ow_error_set(err, OW_ENOMEM, "out of memory");
        return NULL;
    }
    t->xid = xid;
    t->fd = -1;
    t->next = spill->first;
    spill->first = t;
    return t;
}

int ow_pg_spill_add(struct ow_pg_spill *spill, const struct ow_pg_change *change, struct ow_error *err)
{
    struct ow_pg_spilled *t = find_or_make(spill, change->xid, err);
    if (!t)
        return err->code;
    const struct record record = {change->lsn, change->survives ? change->xid : change->subxid,
                                  (uint32_t)change->bytes.size};
    ow_buf_add(&t->tail, &record, sizeof record);
    ow_buf_add_bytes(&t->tail, change->bytes);
    int r = ow_buf_check(&t->tail, err);
    return r == 0 && t->tail.size > MEMORY_MAX ? write_tail(spill, t, err) : r;
}

int ow_pg_spill_abort(struct ow_pg_spill *spill, uint32_t xid, uint32_t subxid, struct ow_error *err)
{
    struct ow_pg_spilled *t = find(spill, xid);
    if (!t)
        return 0; /* it wrote nothing of ours */
    if (subxid == xid) {
        drop(spill, t);
        return 0;
    }
    if (t->aborted_count == t->aborted_capacity) {
        size_t capacity = t->aborted_capacity ? 2 * t->aborted_capacity : 16;
        uint32_t *more = reallocarray(t->aborted, capacity, sizeof *more);
        if (!more)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        t->aborted = more;
        t->aborted_capacity = capacity;
    }
    t->aborted[t->aborted_count++] = subxid;
    return 0;
}

/* --- reading back ------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

bool ow_pg_spill_read(struct ow_pg_spill *spill, uint32_t xid)
{
    struct ow_pg_spilled *t = find(spill, xid);
    spill->reading = t;
    if (!t)
        return false;
    if (t->aborted_count)
        qsort(t->aborted, t->aborted_count, sizeof *t->aborted, compare);
    return true;
}

/* Makes `size` bytes from `at` on available. 1: they are; 0: the end was before them; < 0. */
static int fill(struct ow_pg_spill *spill, struct ow_pg_spilled *t, size_t size, struct ow_error *err)
{
    while (t->reading.size - t->at < size) {
        size_t left = t->reading.size - t->at;
        if (t->at > 0 && left > 0)
            memmove(t->reading.data, t->reading.data + t->at, left);
        t->reading.size = left;
        t->at = 0;
        if (t->read_from == t->written) {
            if (t->tail.size == 0)
                return 0;
            ow_buf_add_bytes(&t->reading, ow_buf_bytes(&t->tail));
            ow_buf_done(&t->tail);
            int r = ow_buf_check(&t->reading, err);
            if (r < 0)
                return r;
            continue;
        }
        size_t room = size > READ_SIZE ? size : READ_SIZE;
        char *to = ow_buf_reserve(&t->reading, room);
        if (!to)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        if (room > t->written - t->read_from)
            room = (size_t)(t->written - t->read_from);
        ssize_t n = pread(t->fd, to, room, (off_t)t->read_from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ow_error_errno(err, n < 0 ? errno : EIO, "cannot read back a large transaction from %s",
                                  spill->folder);
        t->reading.size += (size_t)n;
        t->read_from += (uint64_t)n;
    }
    return 1;
}

int ow_pg_spill_next(struct ow_pg_spill *spill, struct ow_pg_change *ret, struct ow_error *err)
{
    struct ow_pg_spilled *t = spill->reading;
    struct record record;
    while (t) {
        int r = fill(spill, t, sizeof record, err);
        if (r == 0)
            drop(spill, t);
        if (r <= 0)
            return r;
        memcpy(&record, t->reading.data + t->at, sizeof record);
        r = fill(spill, t, sizeof record + record.size, err);
        if (r <= 0)
            return r < 0 ? r : ow_error_set(err, OW_EINTERNAL, "a large transaction that was put aside has no end");
        *ret = (struct ow_pg_change){.lsn = record.lsn,
                                     .bytes = {t->reading.data + t->at + sizeof record, record.size}};
        t->at += sizeof record + record.size;
        if (!t->aborted_count || !bsearch(&record.subxid, t->aborted, t->aborted_count, sizeof record.subxid, compare))
            return 1;
    }
    return 0;
}
