/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter in Redis. hiredis writes commands and reads replies; the socket is ours, so that each wait has one
 * deadline, however slowly the other side talks, and a broken connection raises no signal.
 */
#include "base/units.h"
#include "inbox/filter.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inbox/redis_address.h"

enum {
    EXPIRE_MS = 3600000,
    TIMEOUT_MS = 100,
    AGAIN_MS_MIN = 1000,
    AGAIN_MS_MAX = 30000,
    REPLY_BYTES_MAX = 512, /* of each; an answer that is longer is none of ours */
};

struct redis {
    struct ow_inbox_filter base;
    struct ow_redis_address address;
    char *consumer;
    int64_t timeout_ms;
    char expire_s[24];
    int fd;
    redisReader *reader;
    struct ow_buf out;
    char said[128];  /* the last error of Redis itself */
    int64_t due_ms;  /* it is not tried before */
    int64_t wait_ms; /* after the next failure; 0: there was none */
    bool has_trouble;
};

static struct redis *self_of(struct ow_inbox_filter *filter)
{
    return (struct redis *)filter;
}

/* --- replies: their types are enough, and the words of an error ------------------------------------------------ */

static void *on_string(const redisReadTask *task, char *text, size_t size)
{
    struct redis *s = task->privdata;
    if (task->type == REDIS_REPLY_ERROR)
        (void)snprintf(s->said, sizeof s->said, "%.*s", (int)(size < sizeof s->said ? size : sizeof s->said), text);
    bool is_ok = task->type == REDIS_REPLY_STATUS && size == 2 && memcmp(text, "OK", 2) == 0;
    return (void *)(intptr_t)(is_ok                             ? REDIS_REPLY_STATUS
                              : task->type == REDIS_REPLY_ERROR ? REDIS_REPLY_ERROR
                                                                : REDIS_REPLY_STRING);
}

static redisReplyObjectFunctions types_only = {.createString = on_string};

/* --- the connection --------------------------------------------------------------------------------------------- */

static void hang_up(struct redis *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    if (s->reader)
        redisReaderFree(s->reader);
    s->reader = NULL;
}

static int wait_for(const struct redis *s, short events, int64_t deadline_ms, struct ow_error *err)
{
    struct pollfd fd = {.fd = s->fd, .events = events};
    for (;;) {
        int64_t left = deadline_ms - ow_clock_monotonic_ms();
        int n = left > 0 ? poll(&fd, 1, (int)left) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            return ow_error_set(err, OW_EUNREACHABLE, "no answer within %" PRId64 " ms", s->timeout_ms);
        if (errno != EINTR)
            return ow_error_errno(err, errno, "waiting");
    }
}

static int connect_to(struct redis *s, const struct addrinfo *to, int64_t deadline_ms, struct ow_error *err)
{
    int yes = 1, result = 0;
    socklen_t size = sizeof result;
    s->fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    if (s->fd < 0)
        return ow_error_errno(err, errno, "cannot make a socket");
    if (connect(s->fd, to->ai_addr, to->ai_addrlen) < 0 && errno != EINPROGRESS)
        return ow_error_errno(err, errno, "cannot connect");
    int r = wait_for(s, POLLOUT, deadline_ms, err);
    if (r < 0)
        return r;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &result, &size) < 0 || result != 0)
        return ow_error_errno(err, result ? result : errno, "cannot connect");
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return 0;
}

static int take_replies(struct redis *s, size_t count, size_t *done, bool *ret_known, struct ow_error *err)
{
    void *reply = NULL;
    while (*done < count && redisReaderGetReply(s->reader, &reply) == REDIS_OK && reply) {
        intptr_t type = (intptr_t)reply;
        if (type == REDIS_REPLY_ERROR)
            return ow_error_set(err, OW_EINVALID, "%s", s->said);
        if (type != REDIS_REPLY_STATUS && type != REDIS_REPLY_NIL)
            return ow_error_set(err, OW_EINVALID, "an answer that is not Redis's to such a command");
        if (ret_known)
            ret_known[*done] = type == REDIS_REPLY_NIL;
        ++*done;
        reply = NULL;
    }
    return s->reader->err ? ow_error_set(err, OW_EINVALID, "what it says is not the protocol of Redis") : 0;
}

/* Sends what is in `out` and takes so many answers: OK, or nil, which is "known". OW_ECLOSED: it has hung up. */
static int exchange(struct redis *s, size_t count, bool *ret_known, int64_t deadline_ms, struct ow_error *err)
{
    char bytes[4096];
    size_t sent = 0, done = 0, received = 0;
    int r = ow_buf_check(&s->out, err);
    while (r == 0 && done < count) {
        ssize_t n = sent < s->out.size ? send(s->fd, s->out.data + sent, s->out.size - sent, MSG_NOSIGNAL) : 0;
        sent += n > 0 ? (size_t)n : 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return ow_error_set(err, OW_ECLOSED, "%s", strerror(errno));
        n = recv(s->fd, bytes, sizeof bytes, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return ow_error_set(err, OW_ECLOSED, "%s", n == 0 ? "it has hung up" : strerror(errno));
        if (n < 0) {
            r = wait_for(s, sent < s->out.size ? POLLIN | POLLOUT : POLLIN, deadline_ms, err);
            continue;
        }
        received += (size_t)n;
        if (received > count * REPLY_BYTES_MAX)
            return ow_error_set(err, OW_EINVALID, "it says too much");
        if (redisReaderFeed(s->reader, bytes, (size_t)n) != REDIS_OK)
            return ow_error_set(err, OW_EINVALID, "what it says is not the protocol of Redis");
        r = take_replies(s, count, &done, ret_known, err);
    }
    return r;
}

static void add_command(struct redis *s, int count, const char **words, const size_t *sizes)
{
    char *command = NULL;
    long long size = redisFormatCommandArgv(&command, count, words, sizes); /* an int before hiredis 1.0 */
    if (size < 0)
        s->out.has_failed = true;
    else
        ow_buf_add(&s->out, command, (size_t)size);
    redisFreeCommand(command);
}

static int greet(struct redis *s, int64_t deadline_ms, struct ow_error *err)
{
    const struct ow_redis_address *a = &s->address;
    const char *auth[] = {"AUTH", a->user, a->password}, *simple[] = {"AUTH", a->password};
    const char *select[] = {"SELECT", a->database};
    size_t count = 0;
    ow_buf_clear(&s->out);
    if (a->password) {
        add_command(s, a->user ? 3 : 2, a->user ? auth : simple, NULL);
        count++;
    }
    if (strcmp(a->database, "0") != 0) {
        add_command(s, 2, select, NULL);
        count++;
    }
    return exchange(s, count, NULL, deadline_ms, err);
}

static int dial(struct redis *s, struct ow_error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int r = getaddrinfo(s->address.host, s->address.port, &hints, &found);
    if (r != 0)
        return ow_error_set(err, OW_EUNREACHABLE, "%s", gai_strerror(r));
    int64_t deadline_ms = ow_clock_monotonic_ms() + s->timeout_ms;
    r = ow_error_set(err, OW_EUNREACHABLE, "it has no address");
    for (const struct addrinfo *to = found; to && r < 0; to = to->ai_next) {
        hang_up(s);
        r = connect_to(s, to, deadline_ms, err);
    }
    freeaddrinfo(found);
    if (r == 0) {
        s->reader = redisReaderCreateWithFunctions(&types_only);
        if (!s->reader)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        s->reader->privdata = s;
        r = greet(s, deadline_ms, err);
    }
    return r;
}

/* --- marking ---------------------------------------------------------------------------------------------------- */

static void leave_out(struct redis *s, const struct ow_error *err)
{
    struct ow_error text;
    hang_up(s);
    s->wait_ms = s->wait_ms == 0 ? AGAIN_MS_MIN : 2 * s->wait_ms > AGAIN_MS_MAX ? AGAIN_MS_MAX : 2 * s->wait_ms;
    s->due_ms = ow_clock_monotonic_ms() + s->wait_ms;
    (void)ow_error_set(&text, err->code, "%s: %s; the inbox does without its filter until that works", s->address.shown,
                       err->text);
    ow_text_make_plain(text.text);
    if (!s->has_trouble && s->base.tell)
        s->base.tell(s->base.tell_context, true, text.text);
    s->has_trouble = true;
}

static void works(struct redis *s)
{
    s->wait_ms = 0;
    if (s->has_trouble && s->base.tell)
        s->base.tell(s->base.tell_context, false, s->address.shown);
    s->has_trouble = false;
}

static void write_marks(struct redis *s, const struct ow_inbox_entry *entries, size_t count)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf key = {0};
    ow_buf_printf(&key, "onewrite:%s:", s->consumer);
    size_t prefix = key.size;
    ow_buf_clear(&s->out);
    for (size_t i = 0; i < count; i++) {
        key.size = prefix;
        ow_buf_add_bytes(&key, entries[i].id);
        const char *words[] = {"SET", key.data, "1", "NX", "EX", s->expire_s};
        const size_t sizes[] = {3, key.size, 1, 2, 2, strlen(s->expire_s)};
        s->out.has_failed = s->out.has_failed || key.has_failed;
        if (!s->out.has_failed)
            add_command(s, 6, words, sizes);
    }
}

static int ask(struct redis *s, const struct ow_inbox_entry *entries, size_t count, bool *ret_known,
               struct ow_error *err)
{
    bool is_new = s->fd < 0;
    int r = is_new ? dial(s, err) : 0;
    if (r < 0)
        return r;
    write_marks(s, entries, count);
    r = exchange(s, count, ret_known, ow_clock_monotonic_ms() + s->timeout_ms, err);
    if (r != OW_ECLOSED || is_new)
        return r;
    hang_up(s); /* a connection that was idle for long is closed by the server: no trouble */
    return ask(s, entries, count, ret_known, err);
}

static void redis_mark(struct ow_inbox_filter *filter, const struct ow_inbox_entry *entries, size_t count,
                       bool *ret_known)
{
    struct redis *s = self_of(filter);
    struct ow_error err = {0};
    for (size_t i = 0; i < count; i++)
        ret_known[i] = false;
    if (count == 0 || (s->fd < 0 && ow_clock_monotonic_ms() < s->due_ms))
        return;
    if (ask(s, entries, count, ret_known, &err) == 0) {
        works(s);
        return;
    }
    for (size_t i = 0; i < count; i++)
        ret_known[i] = false;
    leave_out(s, &err);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void redis_close(struct ow_inbox_filter *filter)
{
    hang_up(self_of(filter));
}

static void redis_discard(struct ow_inbox_filter *filter)
{
    struct redis *s = self_of(filter);
    if (!filter)
        return;
    hang_up(s);
    ow_buf_done(&s->out);
    ow_redis_address_done(&s->address);
    free(s->consumer);
    free(s);
}

static const struct ow_inbox_filter_ops redis_ops = {
    .mark = redis_mark, .close = redis_close, .discard = redis_discard};

int ow_redis_filter_new(const struct ow_redis_filter_options *options, struct ow_inbox_filter **ret,
                        struct ow_error *err)
{
    struct redis *s = calloc(1, sizeof *s);
    if (!s)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    s->base.ops = &redis_ops;
    s->fd = -1;
    s->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    int64_t expire_ms = options->expire_ms > 0 ? options->expire_ms : EXPIRE_MS;
    (void)snprintf(s->expire_s, sizeof s->expire_s, "%" PRId64, (expire_ms + 999) / 1000);
    int r = ow_redis_address_parse(options->url, &s->address, err);
    if (r == 0 && !(s->consumer = strdup(options->consumer)))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r < 0) {
        redis_discard(&s->base);
        return r;
    }
    *ret = &s->base;
    return 0;
}
