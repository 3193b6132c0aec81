/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void ow_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[128];
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    size_t length = strlen(path);
    memcpy(address.sun_path, path, length);
    if (address.sun_path[0] == '@') /* the abstract namespace */
        address.sun_path[0] = '\0';
    int n = snprintf(text, sizeof text, "%s", state);
    if (strcmp(state, "RELOADING=1") == 0) { /* which needs the time at which it began */
        struct timespec now = {0};
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        n = snprintf(text, sizeof text, "%s\nMONOTONIC_USEC=%lld", state,
                     (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    (void)sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (const struct sockaddr *)&address, size);
    (void)close(fd);
}

int64_t ow_notify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoll(usec, NULL, 10) / 2000;
}
