/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent of the demo's processes: starts them, kills them with SIGKILL at random moments, starts them
 * again at once, and brings the play to its end:
 *
 *   play: all run, kills          -> writers stop -> the relay empties the outbox -> the relay stops -> check
 *
 * It opens no SQLite file itself: a connection must not be carried through fork(). Signals are blocked and
 * waited for, so that there is one place where something happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "cmd/demo.h"

enum {
    TURN_MS = 20,
    PROGRESS_EVERY_MS = 200,
    WRITERS_STOP_MS = 15000,
    DRAIN_MS = 120000,
    RELAY_STOP_MS = 15000,
    CHECK_MS = 300000,
    WRITER_KILLS_PER_RELAY_KILLS = 4, /* one kill of a writer with the outbox for so many of the relay */
};

enum role { WATCHER, RELAY, WRITER };

struct child {
    enum role role;
    enum ow_demo_side side; /* of a WRITER */
    pid_t pid;              /* 0: does not run */
    bool was_killed;        /* by us: it is counted when it has ended, and started again */
    bool is_leaving;        /* it was told to end */
};

struct killer { /* of one kind of process */
    enum role role;
    enum ow_demo_side side;
    int64_t *kills; /* those that came true */
    int64_t mean_ms, due_ms;
};

enum { KILLERS = 3 };

struct conduct {
    const struct ow_demo_options *options;
    struct ow_demo_result *result;
    struct ow_demo_shared *shared;
    struct child children[2 + OW_DEMO_SIDES * OW_DEMO_WRITERS_MAX]; /* the watcher, the relay, the writers */
    size_t count;
    struct killer killers[KILLERS];
    bool writers_restart; /* those that were killed are started again; the relay always is */
    pid_t self;
    uint32_t starts;
    sigset_t signals, signals_before;
    const char *phase;
    int64_t end_ms, next_progress_ms;
};

/* --- children ------------------------------------------------------------------------------------------ */

/* In the child; ends it. */
static void be_relay(void)
{
    static const char from[] = "sqlite:shop.db", to[] = "journal:bus.db";
    int log = open(OW_DEMO_RELAY_LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log >= 0 && null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
        dup2(log, STDERR_FILENO) >= 0)
        (void)execl("/proc/self/exe", "onewrite", "relay", from, to, (char *)NULL);
    _exit(127);
}

static void be_child(struct conduct *c, const struct child *child)
{
    struct ow_error err = {0};
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != c->self)
        _exit(127);
    (void)sigprocmask(SIG_SETMASK, &c->signals_before, NULL);
    if (child->role == RELAY)
        be_relay();
    int r = child->role == WATCHER ? ow_demo_watch(c->shared, &err)
                                   : ow_demo_shop_write(child->side, c->starts, c->shared, &err);
    if (r < 0)
        *(child->role == WATCHER ? &c->shared->watcher_error : &c->shared->writer_error) = err;
    _exit(r < 0);
}

static int start(struct conduct *c, struct child *child, struct ow_error *err)
{
    c->starts++;
    child->was_killed = child->is_leaving = false;
    pid_t pid = fork();
    if (pid < 0)
        return ow_error_errno(err, errno, "cannot start a process");
    if (pid == 0)
        be_child(c, child);
    child->pid = pid;
    return 0;
}

static int start_all(struct conduct *c, struct ow_error *err)
{
    c->children[c->count++] = (struct child){.role = WATCHER};
    c->children[c->count++] = (struct child){.role = RELAY};
    for (int64_t i = 0; i < c->options->writers; i++)
        for (int side = 0; side < OW_DEMO_SIDES; side++)
            c->children[c->count++] = (struct child){.role = WRITER, .side = (enum ow_demo_side)side};
    for (size_t i = 0; i < c->count; i++) {
        int r = start(c, &c->children[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static const char *name_of(const struct child *child)
{
    if (child->role != WRITER)
        return child->role == RELAY ? "the relay" : "the consumer";
    return child->side == OW_DEMO_NAIVE ? "a writer of the naive shop" : "a writer";
}

/* The last line of the relay's log, without its end. */
static void last_words(char *to, size_t size)
{
    char tail[2048];
    int fd = open(OW_DEMO_RELAY_LOG, O_RDONLY | O_CLOEXEC);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof tail ? end - (off_t)sizeof tail : 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, sizeof tail, from);
    if (fd >= 0)
        (void)close(fd);
    while (n > 0 && tail[n - 1] == '\n')
        n--;
    ssize_t begin = n;
    while (begin > 0 && tail[begin - 1] != '\n')
        begin--;
    (void)snprintf(to, size, "%.*s", n > begin ? (int)(n - begin) : 0, tail + (n > begin ? begin : 0));
}

/* It has ended and nobody wanted that. */
static int complain(const struct conduct *c, const struct child *child, int status, struct ow_error *err)
{
    char why[400] = "";
    const struct ow_error *said = child->role == WATCHER ? &c->shared->watcher_error : &c->shared->writer_error;
    if (child->role == RELAY)
        last_words(why, sizeof why);
    else if (said->code < 0)
        return ow_error_set(err, said->code, "%s failed: %s", name_of(child), said->text);
    if (WIFSIGNALED(status))
        return ow_error_set(err, OW_EIO, "%s was ended by signal %d%s%s", name_of(child), WTERMSIG(status),
                            why[0] ? "; it said last: " : "", why);
    return ow_error_set(err, OW_EIO, "%s ended with status %d%s%s", name_of(child), WEXITSTATUS(status),
                        why[0] ? "; it said last: " : "", why);
}

static int has_ended(struct conduct *c, struct child *child, int status, struct ow_error *err)
{
    child->pid = 0;
    if (child->was_killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        for (size_t i = 0; i < KILLERS; i++)
            if (c->killers[i].role == child->role && c->killers[i].side == child->side)
                ++*c->killers[i].kills;
        return child->role == WRITER && !c->writers_restart ? 0 : start(c, child, err);
    }
    if (child->is_leaving && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (child->is_leaving && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM)
        return 0; /* a relay that had not yet come so far as to wait for signals */
    return complain(c, child, status, err);
}

static int reap(struct conduct *c, struct ow_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        int status;
        if (c->children[i].pid == 0 || waitpid(c->children[i].pid, &status, WNOHANG) != c->children[i].pid)
            continue;
        int r = has_ended(c, &c->children[i], status, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void kill_all(struct conduct *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->children[i].pid)
            (void)kill(c->children[i].pid, SIGKILL);
    for (size_t i = 0; i < c->count; i++) {
        if (c->children[i].pid)
            (void)waitpid(c->children[i].pid, NULL, 0);
        c->children[i].pid = 0;
    }
}

/* --- one turn ------------------------------------------------------------------------------------------ */

static void look_at_wal(struct conduct *c)
{
    struct stat st;
    if (stat("shop.db-wal", &st) == 0 && st.st_size > c->result->wal_bytes_max)
        c->result->wal_bytes_max = st.st_size;
}

static void show_progress(struct conduct *c, int64_t now)
{
    if (now < c->next_progress_ms)
        return;
    c->next_progress_ms = now + PROGRESS_EVERY_MS;
    struct ow_demo_progress progress = {
        .phase = c->phase,
        .committed = atomic_load(&c->shared->side[OW_DEMO_ONEWRITE].committed),
        .accepted = atomic_load(&c->shared->side[OW_DEMO_ONEWRITE].accepted),
        .kills = c->result->kills[OW_DEMO_ONEWRITE],
        .left_ms = c->writers_restart ? c->end_ms - now : -1,
    };
    ow_demo_progress_show(&progress);
}

static int next_signal(const struct conduct *c, int64_t wait_ms)
{
    struct timespec timeout = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    int number = sigtimedwait(&c->signals, NULL, &timeout);
    return number == SIGCHLD || number < 0 ? 0 : number;
}

/* Sleeps until something happens, at most wait_ms. > 0: this signal says to end; < 0: a process failed. */
static int turn(struct conduct *c, int64_t wait_ms, struct ow_error *err)
{
    int number = next_signal(c, wait_ms < 0 ? 0 : wait_ms < TURN_MS ? wait_ms : TURN_MS);
    if (number > 0)
        return number;
    look_at_wal(c);
    show_progress(c, ow_clock_monotonic_ms());
    int r = reap(c, err);
    /* Ctrl-C reaches the children as well: then it is what ended them. */
    number = r < 0 ? next_signal(c, 0) : 0;
    return number > 0 ? number : r;
}

static bool has_left(const struct conduct *c, enum role role)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->children[i].role == role && c->children[i].pid)
            return false;
    return true;
}

static void announce_leave(struct conduct *c, enum role role, int number)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->children[i].role != role || !c->children[i].pid)
            continue;
        c->children[i].is_leaving = true;
        if (number)
            (void)kill(c->children[i].pid, number);
    }
}

static int wait_for_leave(struct conduct *c, enum role role, int64_t patience_ms, struct ow_error *err)
{
    int64_t deadline_ms = ow_clock_monotonic_ms() + patience_ms;
    int r = 0;
    while (r == 0 && !has_left(c, role)) {
        r = turn(c, TURN_MS, err);
        if (r == 0 && ow_clock_monotonic_ms() >= deadline_ms)
            r = ow_error_set(err, OW_EIO, "%s did not end within %" PRId64 " s",
                             role == WRITER  ? "the writers"
                             : role == RELAY ? "the relay"
                                             : "the consumer",
                             patience_ms / 1000);
    }
    return r;
}

/* --- the kills ----------------------------------------------------------------------------------------- */

/* Any moment, some in the middle of a start, with the mean that was asked for. */
static int64_t next_kill_ms(int64_t mean_ms)
{
    return (int64_t)(ow_dice_roll() * 2 * (double)mean_ms);
}

static void set_killers(struct conduct *c, int64_t now)
{
    int64_t mean_ms = 1000 / c->options->kills_per_second, half_ms = c->options->seconds * 500;
    c->killers[0] = (struct killer){RELAY, OW_DEMO_ONEWRITE, &c->result->kills[OW_DEMO_ONEWRITE], mean_ms, 0};
    c->killers[1] = (struct killer){WRITER, OW_DEMO_NAIVE, &c->result->kills[OW_DEMO_NAIVE], mean_ms, 0};
    c->killers[2] = (struct killer){WRITER, OW_DEMO_ONEWRITE, &c->result->writer_kills,
                                    mean_ms * WRITER_KILLS_PER_RELAY_KILLS, 0};
    for (size_t i = 0; i < KILLERS; i++) {
        int64_t first_ms = next_kill_ms(c->killers[i].mean_ms);
        c->killers[i].due_ms = now + (first_ms < half_ms ? first_ms : half_ms); /* at least one in every run */
    }
}

static void kill_one(struct conduct *c, const struct killer *killer)
{
    size_t from = (size_t)(ow_dice_roll() * (double)c->count);
    for (size_t i = 0; i < c->count; i++) {
        struct child *child = &c->children[(from + i) % c->count];
        if (child->role != killer->role || child->side != killer->side || !child->pid || child->was_killed)
            continue;
        child->was_killed = kill(child->pid, SIGKILL) == 0;
        return;
    }
}

/* When the next one is due. */
static int64_t kill_who_is_due(struct conduct *c, int64_t now)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < KILLERS; i++) {
        struct killer *killer = &c->killers[i];
        if (now >= killer->due_ms) {
            kill_one(c, killer);
            killer->due_ms = now + next_kill_ms(killer->mean_ms);
        }
        if (killer->due_ms < next_ms)
            next_ms = killer->due_ms;
    }
    return next_ms;
}

/* --- the phases ---------------------------------------------------------------------------------------- */

static int play(struct conduct *c, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms();
    int r = 0;
    c->phase = "running";
    c->end_ms = now + c->options->seconds * 1000;
    c->writers_restart = true;
    set_killers(c, now);
    for (; r == 0 && now < c->end_ms; now = ow_clock_monotonic_ms())
        r = turn(c, kill_who_is_due(c, now) - now, err);
    return r;
}

static int stop_writers(struct conduct *c, struct ow_error *err)
{
    c->phase = "stopping the writers";
    c->writers_restart = false;
    atomic_store(&c->shared->writers_stop, true);
    announce_leave(c, WRITER, 0);
    return wait_for_leave(c, WRITER, WRITERS_STOP_MS, err);
}

/* Until the outbox was seen empty in a look that began after the writers had ended. */
static int drain(struct conduct *c, struct ow_error *err)
{
    int64_t deadline_ms = ow_clock_monotonic_ms() + DRAIN_MS;
    long long looks = atomic_load(&c->shared->waiting_looks) + 2;
    int r = 0;
    c->phase = "the relay empties the outbox";
    while (r == 0 && (atomic_load(&c->shared->waiting_looks) < looks || atomic_load(&c->shared->waiting) > 0) &&
           ow_clock_monotonic_ms() < deadline_ms)
        r = turn(c, TURN_MS, err);
    c->result->waiting = atomic_load(&c->shared->waiting); /* what is left then is a broken promise, and counted */
    return r;
}

static int stop_relay(struct conduct *c, struct ow_error *err)
{
    c->phase = "stopping the relay";
    announce_leave(c, RELAY, SIGTERM);
    return wait_for_leave(c, RELAY, RELAY_STOP_MS, err);
}

static int check(struct conduct *c, struct ow_error *err)
{
    c->phase = "checking";
    announce_leave(c, WATCHER, 0);
    atomic_store(&c->shared->watcher_checks, true);
    int r = wait_for_leave(c, WATCHER, CHECK_MS, err);
    for (int i = 0; i < OW_DEMO_SIDES; i++)
        c->result->counts[i] = c->shared->counts[i];
    c->result->outbox_bytes_max = atomic_load(&c->shared->outbox_bytes_max);
    return r;
}

static int conduct_all(struct conduct *c, struct ow_error *err)
{
    int r = 0;
    for (int side = 0; r == 0 && side < OW_DEMO_SIDES; side++)
        r = ow_demo_shop_create((enum ow_demo_side)side, err);
    if (r == 0)
        r = start_all(c, err);
    if (r == 0)
        r = play(c, err);
    if (r == 0)
        r = stop_writers(c, err);
    if (r == 0)
        r = drain(c, err);
    if (r == 0)
        r = stop_relay(c, err);
    return r == 0 ? check(c, err) : r;
}

int ow_demo_conduct(const struct ow_demo_options *options, struct ow_demo_result *ret, struct ow_error *err)
{
    struct conduct c = {.options = options, .result = ret, .self = getpid()};
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};
    *ret = (struct ow_demo_result){0};
    c.shared = mmap(NULL, sizeof *c.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c.shared == MAP_FAILED)
        return ow_error_errno(err, errno, "cannot share memory");
    atomic_store(&c.shared->outbox_bytes_max, -1);
    (void)sigemptyset(&c.signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        (void)sigaddset(&c.signals, numbers[i]);
    (void)sigprocmask(SIG_BLOCK, &c.signals, &c.signals_before);
    int r = conduct_all(&c, err);
    kill_all(&c);
    ow_demo_progress_clear();
    (void)munmap(c.shared, sizeof *c.shared);
    return r;
}
