/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int ow_lock_file_open(struct ow_lock_file *lock, const char *path, struct ow_error *err)
{
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->fd < 0)
        return ow_error_errno(err, errno, "cannot open the lock file %s", path);
    return 0;
}

void ow_lock_file_close(struct ow_lock_file *lock)
{
    if (lock->fd > 0)
        (void)close(lock->fd);
    lock->fd = -1;
}

static struct flock range(int64_t number, short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = number, .l_len = 1};
}

int ow_lock_take(struct ow_lock_file *lock, int64_t number, struct ow_error *err)
{
    struct flock want = range(number, F_WRLCK);
    if (fcntl(lock->fd, F_OFD_SETLK, &want) == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return ow_error_set(err, OW_EBUSY, "another process holds the lock");
    return ow_error_errno(err, errno, "cannot lock");
}

void ow_lock_give(struct ow_lock_file *lock, int64_t number)
{
    struct flock want = range(number, F_UNLCK);
    (void)fcntl(lock->fd, F_OFD_SETLK, &want);
}

bool ow_lock_is_held(const struct ow_lock_file *lock, int64_t number)
{
    struct flock want = range(number, F_WRLCK);
    return fcntl(lock->fd, F_OFD_GETLK, &want) == 0 && want.l_type != F_UNLCK;
}
