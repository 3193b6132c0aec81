/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process: a program with pipes to it, in a process group of its own, which ends as a whole. Private to src/handler.
 * Nothing blocks but ow_process_end().
 */
#ifndef OW_HANDLER_PROCESS_H
#define OW_HANDLER_PROCESS_H

#include <sys/types.h>

#include "base/bytes.h"
#include "base/wait.h"

struct ow_process {
    pid_t pid;           /* 0: there is none */
    int fd;              /* readable when it has ended; -1: the kernel has no such thing, ask now and then */
    int in, out, errors; /* our ends, not blocking; -1: closed */
    int status;          /* as of waitpid(2), once it has ended */
};
#define OW_PROCESS_NONE ((struct ow_process){.fd = -1, .in = -1, .out = -1, .errors = -1})

/* command and environment end in NULL; the program is looked for in PATH. OW_ENOTFOUND, OW_EDENIED, OW_ENOMEM,
   OW_EBUSY: no more processes or descriptors now. */
int ow_process_start(struct ow_process *process, char *const *command, char *const *environment,
                     struct ow_error *err) OW_MUST_CHECK;
/* Whether the program has ended; what it has left of its group is killed then. */
bool ow_process_has_ended(struct ow_process *process);
/* To all of the group. */
void ow_process_signal(const struct ow_process *process, int signal);
void ow_process_close(int *fd);
/* "ended with status 3", "was ended by signal 9 (Killed)" */
void ow_process_describe(const struct ow_process *process, char *to, size_t size);
/* SIGTERM, and after the grace time SIGKILL. Waits, and leaves nothing behind. */
void ow_process_end(struct ow_process *process, int64_t grace_ms);

#endif
