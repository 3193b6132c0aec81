/* SPDX-License-Identifier: Apache-2.0 */
#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 64 };

static int listen_on(int family, const struct sockaddr *to, socklen_t size, const char *shown, struct ow_error *err)
{
    int one = 1, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ow_error_errno(err, errno, "cannot make a socket for %s", shown);
    if (family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (family == AF_UNIX)
        (void)fchmod(fd, 0660); /* the file is made with no more rights than these */
    if (bind(fd, to, size) != 0 || listen(fd, BACKLOG) != 0) {
        int r = ow_error_errno(err, errno, "cannot listen on %s", shown);
        (void)close(fd);
        return r;
    }
    return fd;
}

/* A file that a process which ended has left behind. */
static void remove_left_over(const struct sockaddr_un *to)
{
    struct stat info;
    if (lstat(to->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno == ECONNREFUSED)
        (void)unlink(to->sun_path);
    if (fd >= 0)
        (void)close(fd);
}

static int listen_unix(struct ow_bytes path, struct ow_buf *shown, struct ow_error *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path.data, path.size);
    remove_left_over(&to);
    int fd = listen_on(AF_UNIX, (const struct sockaddr *)&to, sizeof to, to.sun_path, err);
    if (fd >= 0)
        (void)chmod(to.sun_path, 0660);
    if (fd >= 0)
        ow_buf_printf(shown, "unix:%s", to.sun_path);
    return fd;
}

static void show(int fd, struct ow_buf *shown)
{
    struct sockaddr_storage at = {0};
    socklen_t size = sizeof at;
    char host[INET6_ADDRSTRLEN] = "", port[8] = "";
    (void)getsockname(fd, (struct sockaddr *)&at, &size);
    (void)getnameinfo((const struct sockaddr *)&at, size, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV);
    ow_buf_printf(shown, at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int ow_listen(const struct ow_admin_address *address, struct ow_buf *ret_shown, struct ow_error *err)
{
    char host[256], port[8], at[300];
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (address->path.data)
        return listen_unix(address->path, ret_shown, err);
    (void)snprintf(host, sizeof host, "%.*s", (int)address->host.size, address->host.data);
    (void)snprintf(port, sizeof port, "%.*s", (int)address->port.size, address->port.data);
    (void)snprintf(at, sizeof at, "%s:%s", host, port);
    if (!*host)
        hints.ai_family = AF_INET;
    int result = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (result != 0)
        return ow_error_set(err, OW_EUNREACHABLE, "cannot listen on %s: %s", at, gai_strerror(result));
    int fd = listen_on(found->ai_family, found->ai_addr, found->ai_addrlen, at, err);
    freeaddrinfo(found);
    if (fd >= 0)
        show(fd, ret_shown);
    return fd;
}
