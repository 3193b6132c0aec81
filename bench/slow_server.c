/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fast HTTP server whose answers take their time: one thread, epoll, a wheel of timers. It answers 204 to every POST
 * after a random time, even between 0 and MAX_US; 0: at once. Prints its port. GET /sum: the sum of the work, the time
 * from the first call to the last answer, both in microseconds, and the number of answers so far.
 *
 *     slow_server MAX_US [SEED]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096, REQUEST_MAX = 64 * 1024, EVENTS_MAX = 256 };

struct connection {
    int fd;
    size_t size;
    uint64_t due_us;
    uint32_t place; /* in the heap, from 1; 0: it waits for a request */
    char request[REQUEST_MAX];
};

static struct connection *connections[CONNECTIONS_MAX];
static struct connection *heap[CONNECTIONS_MAX + 1]; /* the next one that is due is heap[1] */
static uint32_t heap_count;
static uint64_t random_state, work_us, first_us, last_us, answers;

static void end(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t dice(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* --- the heap -------------------------------------------------------------------------------------------- */

static void set(uint32_t place, struct connection *c)
{
    heap[place] = c;
    c->place = place;
}

static void sift(uint32_t place)
{
    struct connection *c = heap[place];
    for (; place > 1 && heap[place / 2]->due_us > c->due_us; place /= 2)
        set(place, heap[place / 2]);
    for (;;) {
        uint32_t child = place * 2;
        if (child > heap_count)
            break;
        if (child < heap_count && heap[child + 1]->due_us < heap[child]->due_us)
            child++;
        if (heap[child]->due_us >= c->due_us)
            break;
        set(place, heap[child]);
        place = child;
    }
    set(place, c);
}

static void take_out(struct connection *c)
{
    uint32_t place = c->place;
    struct connection *last = heap[heap_count--];
    c->place = 0;
    if (last == c)
        return;
    set(place, last);
    sift(place);
}

/* --- requests -------------------------------------------------------------------------------------------- */

static void drop(struct connection *c)
{
    if (c->place)
        take_out(c);
    connections[c->fd] = NULL;
    (void)close(c->fd);
    free(c);
}

static void answer(struct connection *c)
{
    static const char text[] = "HTTP/1.1 204 No Content\r\n\r\n";
    answers++;
    last_us = now_us();
    if (write(c->fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1)
        drop(c);
}

static void answer_sum(struct connection *c)
{
    char body[80], text[160];
    int size = snprintf(body, sizeof body, "%llu %llu %llu\n", (unsigned long long)work_us,
                        (unsigned long long)(last_us > first_us ? last_us - first_us : 0), (unsigned long long)answers);
    int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
    if (write(c->fd, text, (size_t)n) != n)
        drop(c);
}

/* The size of the first request in the buffer; 0: it is not whole yet. */
static size_t request_size(struct connection *c)
{
    c->request[c->size] = '\0';
    const char *body = strstr(c->request, "\r\n\r\n");
    if (!body)
        return 0;
    size_t size = (size_t)(body - c->request) + 4;
    const char *length = strcasestr(c->request, "\r\ncontent-length:");
    if (length && length < body)
        size += (size_t)strtoul(length + 17, NULL, 10);
    return size <= c->size ? size : 0;
}

static void handle(struct connection *c, uint64_t max_us)
{
    size_t size = c->place ? 0 : request_size(c);
    if (size == 0)
        return;
    int is_sum = c->request[0] == 'G';
    c->size -= size;
    memmove(c->request, c->request + size, c->size);
    if (is_sum) {
        answer_sum(c);
        return;
    }
    uint64_t work = max_us ? dice() % (max_us + 1) : 0;
    work_us += work;
    first_us = first_us ? first_us : now_us();
    if (work == 0) {
        answer(c);
        return;
    }
    c->due_us = now_us() + work;
    set(++heap_count, c);
    sift(heap_count);
}

static void hear(struct connection *c, uint64_t max_us)
{
    ssize_t n = read(c->fd, c->request + c->size, REQUEST_MAX - 1 - c->size);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    c->size += (size_t)n;
    handle(c, max_us);
}

static void greet(int listener, int epoll)
{
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= CONNECTIONS_MAX || !(connections[fd] = calloc(1, sizeof(struct connection)))) {
            (void)close(fd);
            continue;
        }
        connections[fd]->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            end("epoll_ctl");
    }
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        end("listen");
    printf("%d\n", ntohs(at.sin_port));
    (void)fflush(stdout);
    return fd;
}

/* Microseconds count: epoll_wait() has none. */
static void set_timer(int timer)
{
    struct itimerspec when = {0};
    if (heap_count > 0) {
        when.it_value.tv_sec = (time_t)(heap[1]->due_us / 1000000);
        when.it_value.tv_nsec = (long)(heap[1]->due_us % 1000000) * 1000 + 1;
    }
    (void)timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t max_us = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, ticks;
    random_state = 88172645463325252u + (argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
    int listener = listen_somewhere(), epoll = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event accepts = {.events = EPOLLIN, .data.fd = listener},
                       tells = {.events = EPOLLIN, .data.fd = timer};
    if (epoll < 0 || timer < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &accepts) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &tells) != 0)
        end("epoll");
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                greet(listener, epoll);
            else if (events[i].data.fd == timer)
                (void)!read(timer, &ticks, sizeof ticks);
            else if (connections[events[i].data.fd])
                hear(connections[events[i].data.fd], max_us);
        }
        for (uint64_t now = now_us(); heap_count > 0 && heap[1]->due_us <= now;) {
            struct connection *c = heap[1];
            int fd = c->fd;
            take_out(c);
            answer(c);
            if (connections[fd])
                handle(connections[fd], max_us);
        }
        set_timer(timer);
    }
}
