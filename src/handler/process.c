/* SPDX-License-Identifier: Apache-2.0 */
#include "handler/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/units.h"

enum { ASK_AGAIN_MS = 20 };

void ow_process_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static int fail(int number, const char *program, struct ow_error *err)
{
    int code = number == ENOENT                                           ? OW_ENOTFOUND
               : number == EACCES || number == EPERM || number == ENOEXEC ? OW_EDENIED
               : number == ENOMEM                                         ? OW_ENOMEM
               : number == EAGAIN || number == EMFILE || number == ENFILE ? OW_EBUSY
                                                                          : OW_EIO;
    return ow_error_set(err, code, "cannot start %s: %s", program, strerror(number));
}

/* Signals as a program expects them, a group of its own, and no descriptor but the three. */
static int spawn(struct ow_process *p, const int theirs[3], char *const *command, char *const *environment)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int e = posix_spawn_file_actions_init(&actions);
    if (e)
        return e;
    e = posix_spawnattr_init(&attributes);
    for (int i = 0; !e && i < 3; i++)
        e = posix_spawn_file_actions_adddup2(&actions, theirs[i], i);
    if (!e)
        e = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!e)
        e = posix_spawnattr_setpgroup(&attributes, 0);
    if (!e)
        e = posix_spawnattr_setsigmask(&attributes, &none);
    if (!e)
        e = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!e)
        e = posix_spawnattr_setflags(&attributes,
                                     POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!e)
        e = posix_spawnp(&p->pid, command[0], &actions, &attributes, command, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return e;
}

/* Away from 0, 1 and 2, which the program's own ends are put to. */
static int pipe_above(int ends[2])
{
    int e = pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
    for (int i = 0; !e && i < 2; i++)
        if (ends[i] < 3) {
            int other = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
            e = other < 0 ? errno : 0;
            if (!e) {
                (void)close(ends[i]);
                ends[i] = other;
            }
        }
    return e;
}

int ow_process_start(struct ow_process *p, char *const *command, char *const *environment, struct ow_error *err)
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, e = 0;
    *p = OW_PROCESS_NONE;
    for (int i = 0; !e && i < 3; i++)
        e = pipe_above(pipes[i]);
    if (!e)
        e = spawn(p, (int[]){pipes[0][0], pipes[1][1], pipes[2][1]}, command, environment);
    ow_process_close(&pipes[0][0]);
    ow_process_close(&pipes[1][1]);
    ow_process_close(&pipes[2][1]);
    int *ours[] = {&pipes[0][1], &pipes[1][0], &pipes[2][0]};
    for (int i = 0; i < 3; i++) {
        if (!e && fcntl(*ours[i], F_SETFL, O_NONBLOCK) != 0)
            e = errno;
        if (e)
            ow_process_close(ours[i]);
    }
    p->in = *ours[0];
    p->out = *ours[1];
    p->errors = *ours[2];
    if (!e) {
        p->fd = pidfd_open(p->pid, 0);
        return 0;
    }
    p->pid = 0;
    return fail(e, command[0], err);
}

void ow_process_signal(const struct ow_process *p, int signal)
{
    if (p->pid > 0)
        (void)kill(-p->pid, signal);
}

bool ow_process_has_ended(struct ow_process *p)
{
    siginfo_t info = {0};
    if (p->pid == 0)
        return true;
    /* Its number is its own until it is waited for: only then whom it has left can be told apart. */
    if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0)
        return false;
    ow_process_signal(p, SIGKILL);
    while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR)
        ;
    p->pid = 0;
    ow_process_close(&p->fd);
    return true;
}

void ow_process_describe(const struct ow_process *p, char *to, size_t size)
{
    if (WIFSIGNALED(p->status))
        (void)snprintf(to, size, "was ended by signal %d (%s)", WTERMSIG(p->status), strsignal(WTERMSIG(p->status)));
    else
        (void)snprintf(to, size, "ended with status %d", WEXITSTATUS(p->status));
}

/* What it still writes is thrown away, so that it does not wait for us. */
static void drain(int *fd)
{
    char bytes[4096];
    ssize_t n = *fd < 0 ? 0 : read(*fd, bytes, sizeof bytes);
    if (n == 0)
        ow_process_close(fd);
}

void ow_process_end(struct ow_process *p, int64_t grace_ms)
{
    int64_t until = ow_clock_monotonic_ms() + grace_ms;
    ow_process_close(&p->in);
    ow_process_signal(p, SIGTERM);
    while (!ow_process_has_ended(p)) {
        struct pollfd fds[] = {{p->fd, POLLIN, 0}, {p->out, POLLIN, 0}, {p->errors, POLLIN, 0}};
        if (ow_clock_monotonic_ms() >= until)
            ow_process_signal(p, SIGKILL);
        (void)poll(fds, 3, ASK_AGAIN_MS);
        drain(&p->out);
        drain(&p->errors);
    }
    ow_process_close(&p->out);
    ow_process_close(&p->errors);
    *p = OW_PROCESS_NONE;
}
