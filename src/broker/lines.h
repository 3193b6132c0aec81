/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file under a file: broker: opened for one writer, mended after a crash, rotated. What the broker
 * (lines.c) and the reader (lines_read.c) share. Blocks as disk I/O does.
 */
#ifndef OW_BROKER_LINES_H
#define OW_BROKER_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

/* Opens (or creates) the file for appending and locks it against other writers. A last line without its
   '\n' is cut off if it is one of ours, because it was never accepted; a line of somebody else's gets its
   '\n'. With is_synced the directory entry is on disk when this returns. What is no regular file (a named
   pipe, a device) is opened for writing, without a lock and without blocking.
   OW_EBUSY: another process writes to it; OW_EUNREACHABLE: a pipe without a reader; OW_EINVALID: a
   directory; else as errno says. */
int ow_lines_open(const char *path, bool is_synced, int *ret_fd, struct ow_error *err) OW_MUST_CHECK;

/* PATH.1 becomes PATH.2 and so on, from the oldest, then PATH becomes PATH.1; at most `keep` of them stay
   (0: all). No name is ever given up before what it held has another one, but for the oldest, so that a
   crash leaves at worst a gap in the numbers. The caller opens PATH anew afterwards. */
int ow_lines_rotate(const char *path, uint32_t keep, struct ow_error *err) OW_MUST_CHECK;

/* Whether `path` still names the open file. */
bool ow_lines_is_current(const char *path, int fd);

/* The end of the last complete line among the first `size` bytes: 0, or one after a '\n'. */
int ow_lines_end(int fd, int64_t size, int64_t *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
