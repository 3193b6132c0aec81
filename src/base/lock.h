/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of the operating system on a file (open-file-description locks, fcntl(2) F_OFD_SETLK): held by
 * this open file, and given up by the kernel at the moment the process ends, however it ends. No lease,
 * no clock. One struct ow_lock_file holds many byte-sized locks, each with a number.
 */
#ifndef OW_BASE_LOCK_H
#define OW_BASE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct ow_lock_file {
    int fd; /* -1: not open */
};

/* Creates the file if it is missing. */
int ow_lock_file_open(struct ow_lock_file *lock, const char *path, struct ow_error *err) OW_MUST_CHECK;
void ow_lock_file_close(struct ow_lock_file *lock); /* gives up every lock; harmless when closed */

/* Takes lock `number`; OW_EBUSY, at once, if somebody else holds it. Taking one's own again succeeds. */
int ow_lock_take(struct ow_lock_file *lock, int64_t number, struct ow_error *err) OW_MUST_CHECK;
void ow_lock_give(struct ow_lock_file *lock, int64_t number);
/* Whether somebody else holds it now. */
bool ow_lock_is_held(const struct ow_lock_file *lock, int64_t number);

#endif
