/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/lines.h"
#include "broker/subscriber.h"

static char directory[64], path[80];
static int real_stdout = -1;
static struct ow_broker *broker, *other;
static struct ow_subscriber *subscriber;
static struct ow_error err;

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/onewrite-lines-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    (void)snprintf(path, sizeof path, "%s/out", directory);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    err = (struct ow_error){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (real_stdout >= 0) {
        (void)dup2(real_stdout, STDOUT_FILENO);
        (void)close(real_stdout);
    }
    real_stdout = -1;
    if (broker)
        broker->ops->discard(broker);
    if (other)
        other->ops->discard(other);
    if (subscriber)
        subscriber->ops->close(subscriber);
    broker = other = NULL;
    subscriber = NULL;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        (void)closedir(dir);
    return rmdir(directory);
}

/* --- small words for the tests ------------------------------------------------------------------------ */

static void open_broker(struct ow_file_options options)
{
    assert_int_equal(ow_file_broker_new(&options, &broker, &err), 0);
    assert_int_equal(broker->ops->open(broker, &err), 0);
}

/* The payload is the token, padded with dots to `size`. */
static int send_sized(uint64_t token, size_t size)
{
    struct ow_buf payload = {0};
    ow_buf_printf(&payload, "%llu", (unsigned long long)token);
    while (payload.size < size)
        ow_buf_add_char(&payload, '.');
    const struct ow_message m = {
        .topic = OW_BYTES("orders"), .id = OW_BYTES("id"), .key = OW_BYTES("k"), .payload = ow_buf_bytes(&payload)};
    int r = broker->ops->send(broker, &m, token, &err);
    ow_buf_done(&payload);
    return r;
}

static void send_one(uint64_t token)
{
    assert_int_equal(send_sized(token, 0), 0);
}

/* Steps until nothing comes any more; all receipts must have this verdict, and tokens from `first` on. */
static void expect_receipts(uint64_t first, uint64_t last, enum ow_verdict verdict)
{
    struct ow_receipt receipts[7];
    for (uint64_t next = first;;) {
        int n = broker->ops->step(broker, receipts, OW_COUNT_OF(receipts), &err);
        assert_true(n >= 0);
        for (int i = 0; i < n; i++, next++) {
            assert_int_equal(receipts[i].token, next);
            assert_int_equal(receipts[i].verdict, verdict);
            assert_true((receipts[i].reason[0] == '\0') == (verdict == OW_ACCEPTED));
            if (verdict != OW_ACCEPTED)
                (void)snprintf(err.text, sizeof err.text, "%s", receipts[i].reason);
        }
        if ((size_t)n < OW_COUNT_OF(receipts)) {
            assert_int_equal(next, last + 1);
            return;
        }
    }
}

static void put_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

static int64_t size_of(const char *name)
{
    struct stat now;
    return stat(name, &now) == 0 ? now.st_size : -1;
}

static const char *rotated(unsigned number)
{
    static char name[96];
    (void)snprintf(name, sizeof name, number ? "%s.%u" : "%s", path, number);
    return name;
}

static void assert_file_is(const char *name, const char *want)
{
    char text[512] = "";
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) >= 0);
    (void)close(fd);
    assert_string_equal(text, want);
}

static void open_subscriber(const char *name, int64_t from, const char *topic)
{
    const struct ow_subscriber_options options = {
        .from = from, .topics = topic ? &topic : NULL, .topic_count = topic != NULL};
    assert_int_equal(ow_file_subscriber_new(name, &options, &subscriber, &err), 0);
    assert_int_equal(subscriber->ops->open(subscriber, &err), 0);
}

static void close_subscriber(void)
{
    subscriber->ops->close(subscriber);
    subscriber = NULL;
}

static void expect_record(int64_t offset, uint64_t token)
{
    struct ow_record record;
    assert_int_equal(subscriber->ops->next(subscriber, &record, &err), 1);
    assert_int_equal(record.partition, 0);
    assert_int_equal(record.offset, offset);
    assert_int_equal(strtoull(record.message.payload.data, NULL, 10), token);
}

static void expect_nothing(void)
{
    struct ow_record record;
    assert_int_equal(subscriber->ops->next(subscriber, &record, &err), 0);
}

static bool is_at_end(void)
{
    return subscriber->ops->is_at_end(subscriber, &err) == 1;
}

/* --- writing ------------------------------------------------------------------------------------------ */

static void test_written_and_read_back(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = path});
    for (uint64_t i = 1; i <= 20; i++)
        send_one(i);
    assert_int_equal(size_of(path), 0); /* sent is not accepted */
    expect_receipts(1, 20, OW_ACCEPTED);
    expect_receipts(1, 0, OW_ACCEPTED); /* none */
    open_subscriber(path, OW_OFFSET_BEGINNING, NULL);
    assert_false(is_at_end());
    for (int64_t i = 0; i < 20; i++)
        expect_record(i, (uint64_t)i + 1);
    expect_nothing();
    assert_true(is_at_end());
}

static void test_torn_lines(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"one\n{\"topic\":\"t\",\"va", "one\n"},
        {"{\"topic\":\"t\",\"va", ""},
        {"one\n{\"to", "one\n"},
        {"one\ntwo", "one\ntwo\n"},
        {"one\n", "one\n"},
        {"one\n{\"other\":", "one\n{\"other\":\n"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(cases); i++) {
        put_file(path, cases[i].before);
        open_broker((struct ow_file_options){.path = path});
        assert_file_is(path, cases[i].after);
        broker->ops->discard(broker);
        broker = NULL;
        assert_int_equal(unlink(path), 0);
    }
}

static void test_a_torn_line_longer_than_a_block(void **state)
{
    (void)state;
    put_file(path, "one\n{\"topic\":\"");
    for (int i = 0; i < 1000; i++)
        put_file(path, "0123456789");
    open_broker((struct ow_file_options){.path = path});
    assert_file_is(path, "one\n");
}

static void test_one_writer(void **state)
{
    (void)state;
    const struct ow_file_options options = {.path = path};
    open_broker(options);
    assert_int_equal(ow_file_broker_new(&options, &other, &err), 0);
    assert_int_equal(other->ops->open(other, &err), OW_EBUSY);
    assert_text_has(err.text, "another process writes to ");
    assert_text_has(err.text, path);
    broker->ops->close(broker);
    assert_int_equal(other->ops->open(other, &err), 0);
}

static void test_bad_paths(void **state)
{
    (void)state;
    char missing[128];
    (void)snprintf(missing, sizeof missing, "%s/no/such", directory);
    const struct {
        const char *path;
        int code;
        const char *error;
    } bad[] = {{missing, OW_ENOTFOUND, "cannot open"}, {directory, OW_EINVALID, "is a directory"}};
    for (size_t i = 0; i < OW_COUNT_OF(bad); i++) {
        const struct ow_file_options options = {.path = bad[i].path};
        assert_int_equal(ow_file_broker_new(&options, &broker, &err), 0);
        assert_int_equal(broker->ops->open(broker, &err), bad[i].code);
        assert_text_has(err.text, bad[i].error);
        assert_text_has(err.text, bad[i].path);
        broker->ops->discard(broker);
        broker = NULL;
    }
    assert_int_equal(mkfifo(path, 0600), 0);
    const struct ow_file_options options = {.path = path};
    assert_int_equal(ow_file_broker_new(&options, &broker, &err), 0);
    assert_int_equal(broker->ops->open(broker, &err), OW_EUNREACHABLE);
    assert_text_has(err.text, "nobody reads from the pipe");
}

static void test_full_buffer(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = path});
    uint64_t sent = 0;
    while (sent < 100 && send_sized(sent + 1, 100000) == 0)
        sent++;
    assert_int_equal(err.code, OW_EAGAIN);
    assert_int_equal(sent, 11);
    expect_receipts(1, sent, OW_ACCEPTED);
    send_one(12);
    expect_receipts(12, 12, OW_ACCEPTED);
}

/* A write that comes through in part is taken back whole, and can be tried again. */
static void test_short_write(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = path, .fsync = OW_FSYNC_ALWAYS});
    send_one(1);
    expect_receipts(1, 1, OW_ACCEPTED);
    int64_t good = size_of(path);
    struct rlimit unlimited, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    limit = unlimited;
    limit.rlim_cur = (rlim_t)good * 3 + 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (uint64_t i = 2; i <= 9; i++)
        send_one(i);
    struct ow_receipt first;
    assert_int_equal(broker->ops->step(broker, &first, 1, &err), 1);
    assert_int_equal(first.verdict, OW_LATER);
    assert_int_equal(size_of(path), good);
    /* Nothing passes those that come back. */
    assert_int_equal(send_sized(10, 0), OW_EAGAIN);
    struct ow_wait wait;
    ow_wait_init(&wait);
    broker->ops->wait(broker, &wait);
    assert_int_equal(wait.deadline_ms, 0);
    expect_receipts(3, 9, OW_LATER);
    assert_text_has(err.text, "cannot write to ");
    assert_text_has(err.text, "File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    for (uint64_t i = 2; i <= 9; i++)
        send_one(i);
    expect_receipts(2, 9, OW_ACCEPTED);
    open_subscriber(path, OW_OFFSET_BEGINNING, NULL);
    for (int64_t i = 0; i < 9; i++)
        expect_record(i, (uint64_t)i + 1);
    expect_nothing();
}

static void test_full_device(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = "/dev/full"});
    send_one(1);
    send_one(2);
    expect_receipts(1, 2, OW_LATER);
    assert_text_has(err.text, "/dev/full: No space left on device");
}

static void test_removed_file(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = path});
    send_one(1);
    expect_receipts(1, 1, OW_ACCEPTED);
    assert_int_equal(unlink(path), 0);
    send_one(2);
    expect_receipts(2, 2, OW_ACCEPTED);
    open_subscriber(path, OW_OFFSET_BEGINNING, NULL);
    expect_record(0, 2);
}

static void test_message_without_topic(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = path});
    const struct ow_message m = {.id = OW_BYTES("id")};
    assert_int_equal(broker->ops->send(broker, &m, 1, &err), OW_EINVALID);
    expect_receipts(1, 0, OW_ACCEPTED);
}

/* --- rotation ----------------------------------------------------------------------------------------- */

/* Reads PATH.`oldest` … PATH.1, PATH and expects these messages in their order. */
static void expect_in_files(unsigned oldest, uint64_t first, uint64_t last)
{
    uint64_t next = first;
    for (unsigned i = oldest + 1; i-- > 0;) {
        open_subscriber(rotated(i), OW_OFFSET_BEGINNING, NULL);
        struct ow_record record;
        while (subscriber->ops->next(subscriber, &record, &err) == 1)
            assert_int_equal(strtoull(record.message.payload.data, NULL, 10), next++);
        assert_true(is_at_end());
        close_subscriber();
    }
    assert_int_equal(next, last + 1);
}

static void test_rotation(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = path, .rotate_bytes = 1000});
    for (uint64_t i = 1; i <= 10; i++) /* one step: three lines a file */
        assert_int_equal(send_sized(i, 300), 0);
    expect_receipts(1, 10, OW_ACCEPTED);
    expect_in_files(3, 1, 10);
    for (unsigned i = 1; i <= 3; i++)
        assert_true(size_of(rotated(i)) >= 1000 && size_of(rotated(i)) < 1500);
    assert_int_equal(size_of(rotated(4)), -1);
}

static void test_rotation_keeps_some(void **state)
{
    (void)state;
    open_broker((struct ow_file_options){.path = path, .rotate_bytes = 1, .keep = 2});
    for (uint64_t i = 1; i <= 6; i++)
        send_one(i);
    expect_receipts(1, 6, OW_ACCEPTED);
    expect_in_files(2, 4, 6);
    assert_int_equal(size_of(rotated(3)), -1);
    broker->ops->discard(broker);
    open_broker((struct ow_file_options){.path = path, .rotate_bytes = 1, .keep = 1});
    send_one(7);
    expect_receipts(7, 7, OW_ACCEPTED);
    expect_in_files(1, 6, 7);
}

static void test_a_gap_is_filled(void **state)
{
    (void)state;
    put_file(rotated(1), "one\n");
    put_file(rotated(3), "three\n");
    put_file(path, "now\n");
    assert_int_equal(ow_lines_rotate(path, 0, &err), 0);
    assert_file_is(rotated(1), "now\n");
    assert_file_is(rotated(2), "one\n");
    assert_file_is(rotated(3), "three\n");
    assert_int_equal(size_of(path), -1);
}

/* A child writes 1, 2, 3 … and tells what is accepted; it dies at the crash point. What it has told must be
   in the files, whole and in order, and the next writer goes on. */
static void crash_at(const char *point)
{
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    if (child == 0) {
        const struct ow_file_options options = {.path = path, .rotate_bytes = 1000};
        struct ow_receipt receipt;
        (void)setenv("ONEWRITE_CRASH", point, 1);
        if (ow_file_broker_new(&options, &broker, &err) < 0 || broker->ops->open(broker, &err) < 0)
            _exit(1);
        for (uint64_t i = 1; i <= 100; i++)
            if (send_sized(i, 100) < 0 || broker->ops->step(broker, &receipt, 1, &err) != 1 ||
                write(told[1], &receipt.token, sizeof receipt.token) < 0)
                _exit(1);
        _exit(0);
    }
    (void)close(told[1]);
    int status;
    uint64_t token, accepted = 0;
    while (read(told[0], &token, sizeof token) == (ssize_t)sizeof token)
        accepted = token;
    (void)close(told[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    open_broker((struct ow_file_options){.path = path, .rotate_bytes = 1000});
    unsigned oldest = 0;
    while (size_of(rotated(oldest + 1)) >= 0)
        oldest++;
    uint64_t next = 1;
    for (unsigned i = oldest + 1; i-- > 0;) {
        open_subscriber(rotated(i), OW_OFFSET_BEGINNING, NULL);
        struct ow_record record;
        while (subscriber->ops->next(subscriber, &record, &err) == 1)
            assert_int_equal(strtoull(record.message.payload.data, NULL, 10), next++);
        close_subscriber();
    }
    assert_in_range(next - 1, accepted, accepted + 1); /* one was in flight */
}

static void test_crash_after_write(void **state)
{
    (void)state;
    crash_at("file.after-write:17");
}

static void test_crash_after_sync(void **state)
{
    (void)state;
    crash_at("file.after-sync:17");
}

static void test_crash_while_rotating(void **state)
{
    (void)state;
    crash_at("file.mid-rotate:2");
}

/* --- standard output ---------------------------------------------------------------------------------- */

/* Standard output is `fd` until the test ends. */
static void redirect(int fd)
{
    (void)fflush(stdout);
    real_stdout = dup(STDOUT_FILENO);
    assert_true(real_stdout >= 0 && dup2(fd, STDOUT_FILENO) == STDOUT_FILENO);
    (void)close(fd);
}

static void test_slow_reader(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    redirect(ends[1]);
    open_broker((struct ow_file_options){.path = NULL});
    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(send_sized(i, 50000), 0);
    struct ow_receipt receipts[16];
    int n = broker->ops->step(broker, receipts, 16, &err);
    assert_int_equal(n, 1); /* 64 KiB are all that a pipe takes; this did not block */
    struct ow_wait wait;
    ow_wait_init(&wait);
    broker->ops->wait(broker, &wait);
    assert_int_equal(wait.count, 1);
    assert_int_equal(wait.fds[0].fd, STDOUT_FILENO);
    assert_int_equal(wait.fds[0].events, POLLOUT);
    static char got[600000];
    size_t size = 0;
    for (int accepted = n; accepted < 10; accepted += n) {
        ssize_t taken = read(ends[0], got + size, sizeof got - size);
        assert_true(taken > 0);
        size += (size_t)taken;
        n = broker->ops->step(broker, receipts, 16, &err);
        assert_true(n >= 0);
    }
    broker->ops->discard(broker);
    broker = NULL;
    assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0); /* not ours to close */
    assert_true(dup2(real_stdout, STDOUT_FILENO) == STDOUT_FILENO);
    for (ssize_t taken; (taken = read(ends[0], got + size, sizeof got - size)) > 0;)
        size += (size_t)taken;
    (void)close(ends[0]);
    size_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += got[i] == '\n';
    assert_int_equal(lines, 10);
    assert_int_equal(got[size - 1], '\n');
}

static void test_reader_gone(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    redirect(ends[1]);
    open_broker((struct ow_file_options){.path = NULL});
    send_one(1);
    expect_receipts(1, 1, OW_ACCEPTED);
    (void)close(ends[0]);
    send_one(2);
    struct ow_receipt receipt;
    assert_int_equal(broker->ops->step(broker, &receipt, 1, &err), OW_ECLOSED);
    assert_string_equal(err.text, "standard output was closed by its reader");
}

/* Half a line in a pipe cannot be taken back; what comes after it starts on a line of its own. */
static void test_half_a_line_in_a_pipe(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    redirect(ends[1]);
    open_broker((struct ow_file_options){.path = NULL});
    assert_int_equal(send_sized(1, 100000), 0);
    expect_receipts(1, 0, OW_ACCEPTED);
    broker->ops->close(broker);
    assert_int_equal(broker->ops->open(broker, &err), 0);
    static char got[200000];
    ssize_t half = read(ends[0], got, sizeof got), rest;
    send_one(2);
    expect_receipts(2, 2, OW_ACCEPTED);
    rest = read(ends[0], got + half, sizeof got - (size_t)half);
    (void)close(ends[0]);
    assert_true(rest > 1);
    assert_int_equal(got[half], '\n');
    assert_int_equal(got[half + 1], '{');
    assert_int_equal(got[half + rest - 1], '\n');
}

static void test_stdout_is_a_file(void **state)
{
    (void)state;
    put_file(path, "before\n");
    int fd = open(path, O_RDWR);
    assert_int_equal(lseek(fd, 0, SEEK_END), 7);
    redirect(fd);
    open_broker((struct ow_file_options){.path = NULL});
    struct rlimit unlimited, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    limit = unlimited;
    limit.rlim_cur = 50;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    send_one(1);
    expect_receipts(1, 1, OW_LATER);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    assert_file_is(path, "before\n");
    assert_text_has(err.text, "cannot write to standard output");
    send_one(1);
    expect_receipts(1, 1, OW_ACCEPTED);
    open_subscriber(path, 1, NULL);
    expect_record(1, 1);
}

/* --- reading ------------------------------------------------------------------------------------------ */

#define LINE(n)        "{\"topic\":\"orders\",\"value\":\"" #n "\"}\n"
#define OTHER_TOPIC(n) "{\"topic\":\"users\",\"value\":\"" #n "\"}\n"

static void test_follow(void **state)
{
    (void)state;
    put_file(path, LINE(1) "{\"topic\":\"orders\",");
    open_subscriber(path, OW_OFFSET_BEGINNING, NULL);
    expect_record(0, 1);
    expect_nothing();
    assert_true(is_at_end()); /* half a line is not part of it */
    struct ow_wait wait;
    ow_wait_init(&wait);
    subscriber->ops->wait(subscriber, &wait);
    assert_true(wait.deadline_ms > 0 && wait.deadline_ms < OW_WAIT_FOR_EVER);
    put_file(path, "\"value\":\"2\"}\n\n" LINE(3));
    expect_record(1, 2);
    expect_record(3, 3); /* a blank line is a line */
    expect_nothing();
}

static void test_where_to_start(void **state)
{
    (void)state;
    put_file(path, LINE(1) LINE(2) LINE(3) "{\"topic\":\"orders\",");
    open_subscriber(path, 2, NULL);
    expect_record(2, 3);
    expect_nothing();
    assert_int_equal(subscriber->ops->seek(subscriber, OW_BYTES("orders"), 0, 1, &err), 0);
    expect_record(1, 2);
    assert_int_equal(subscriber->ops->seek(subscriber, OW_BYTES("orders"), 1, 1, &err), OW_EINVALID);
    close_subscriber();
    open_subscriber(path, OW_OFFSET_END, NULL);
    expect_nothing();
    assert_true(is_at_end());
    put_file(path, "\"value\":\"4\"}\n" LINE(5));
    expect_record(3, 4);
    expect_record(4, 5);
    close_subscriber();
    open_subscriber(path, 7, NULL);
    expect_nothing();
    put_file(path, LINE(6) LINE(7) LINE(8));
    expect_record(7, 8);
}

static void test_topics(void **state)
{
    (void)state;
    put_file(path, LINE(1) OTHER_TOPIC(2) LINE(3) OTHER_TOPIC(4));
    open_subscriber(path, OW_OFFSET_BEGINNING, "users");
    expect_record(1, 2);
    expect_record(3, 4);
    expect_nothing();
    close_subscriber();
    open_subscriber(path, OW_OFFSET_BEGINNING, "user");
    expect_nothing();
    assert_true(is_at_end());
}

static void test_a_line_that_is_no_record(void **state)
{
    (void)state;
    put_file(path, LINE(1) "hello\n" LINE(3));
    open_subscriber(path, OW_OFFSET_BEGINNING, NULL);
    struct ow_record record;
    expect_record(0, 1);
    assert_int_equal(subscriber->ops->next(subscriber, &record, &err), OW_EINVALID);
    assert_text_has(err.text, "/out:2: not JSON: no value at byte 1");
    expect_record(2, 3);
}

static void test_what_cannot_be_read(void **state)
{
    (void)state;
    struct ow_subscriber_options options = {.group = "billing"};
    assert_int_equal(ow_file_subscriber_new(path, &options, &subscriber, &err), OW_EUNSUPPORTED);
    options.group = NULL;
    assert_int_equal(ow_file_subscriber_new(path, &options, &subscriber, &err), 0);
    assert_int_equal(subscriber->ops->open(subscriber, &err), OW_ENOTFOUND);
    assert_text_has(err.text, path);
    close_subscriber();
    assert_int_equal(ow_file_subscriber_new("/dev/null", &options, &subscriber, &err), 0);
    assert_int_equal(subscriber->ops->open(subscriber, &err), OW_EUNSUPPORTED);
}

static void test_followed_through_rotation(void **state)
{
    (void)state;
    put_file(path, LINE(1));
    open_subscriber(path, OW_OFFSET_END, NULL);
    expect_nothing();
    put_file(path, LINE(2));
    assert_int_equal(ow_lines_rotate(path, 0, &err), 0);
    expect_record(1, 2);
    expect_nothing(); /* the name belongs to nobody now */
    put_file(path, LINE(3));
    expect_record(2, 3);
    expect_nothing();
    assert_true(is_at_end());
}

static void test_writer_takes_lines_back(void **state)
{
    (void)state;
    put_file(path, LINE(1) LINE(2) "{\"to");
    open_subscriber(path, OW_OFFSET_BEGINNING, NULL);
    expect_record(0, 1);
    expect_record(1, 2);
    expect_nothing();
    assert_int_equal(truncate(path, (off_t)strlen(LINE(1))), 0);
    expect_nothing();
    put_file(path, LINE(3));
    expect_record(2, 3);
}

static void test_a_long_way_to_the_start(void **state)
{
    (void)state;
    struct ow_buf much = {0};
    for (int i = 0; i < 200000; i++)
        ow_buf_add_text(&much, LINE(1));
    put_file(path, much.data);
    ow_buf_done(&much);
    open_subscriber(path, OW_OFFSET_END, NULL);
    expect_nothing(); /* one call does not go all the way */
    assert_false(is_at_end());
    struct ow_wait wait;
    ow_wait_init(&wait);
    subscriber->ops->wait(subscriber, &wait);
    assert_int_equal(wait.deadline_ms, 0);
    while (!is_at_end())
        expect_nothing();
    put_file(path, LINE(2));
    expect_record(200000, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_written_and_read_back),
        TEST(test_torn_lines),
        TEST(test_a_torn_line_longer_than_a_block),
        TEST(test_one_writer),
        TEST(test_bad_paths),
        TEST(test_full_buffer),
        TEST(test_short_write),
        TEST(test_full_device),
        TEST(test_removed_file),
        TEST(test_message_without_topic),
        TEST(test_rotation),
        TEST(test_rotation_keeps_some),
        TEST(test_a_gap_is_filled),
        TEST(test_crash_after_write),
        TEST(test_crash_after_sync),
        TEST(test_crash_while_rotating),
        TEST(test_slow_reader),
        TEST(test_reader_gone),
        TEST(test_half_a_line_in_a_pipe),
        TEST(test_stdout_is_a_file),
        TEST(test_follow),
        TEST(test_where_to_start),
        TEST(test_topics),
        TEST(test_a_line_that_is_no_record),
        TEST(test_what_cannot_be_read),
        TEST(test_followed_through_rotation),
        TEST(test_writer_takes_lines_back),
        TEST(test_a_long_way_to_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
