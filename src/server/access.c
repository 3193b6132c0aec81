/* SPDX-License-Identifier: Apache-2.0 */
#include "server/access.h"

#include <string.h>
#include <strings.h>

/* 1 or 0; looks at all of both, whatever they hold. */
static unsigned is_same(const char *given, size_t given_size, const char *token)
{
    unsigned char a[OW_ADMIN_TOKEN_MAX] = {0}, b[OW_ADMIN_TOKEN_MAX] = {0};
    size_t size = strlen(token);
    volatile unsigned char difference = 0;
    memcpy(a, given, given_size < sizeof a ? given_size : sizeof a);
    memcpy(b, token, size < sizeof b ? size : sizeof b);
    for (size_t i = 0; i < sizeof a; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return (difference == 0) & (given_size == size);
}

enum ow_role ow_access_role(const struct ow_config_admin *admin, const char *authorization)
{
    unsigned role = 0;
    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
        return OW_ROLE_NONE;
    const char *given = authorization + 7;
    given += strspn(given, " ");
    size_t size = strlen(given);
    for (size_t i = 0; i < admin->token_count; i++) /* all of them, too */
        role |= is_same(given, size, admin->tokens[i].token) * (admin->tokens[i].role + 1);
    return (enum ow_role)role;
}

enum ow_role ow_access_role_of_anybody(const struct ow_config_admin *admin, const struct ow_admin_address *address)
{
    if (admin->token_count > 0 || !address->is_loopback)
        return OW_ROLE_NONE;
    return address->path.data ? OW_ROLE_OPERATOR : OW_ROLE_READ;
}

static bool is_named(struct ow_bytes host, struct ow_bytes name)
{
    return host.size == name.size && host.size > 0 && strncasecmp(host.data, name.data, host.size) == 0;
}

bool ow_access_host_is_ours(const char *host, const struct ow_admin_address *address)
{
    if (!host || !address->is_loopback || address->path.data)
        return true;
    struct ow_bytes name = ow_bytes_of(host);
    const char *end = name.size && *host == '[' ? strchr(host, ']') : strchr(host, ':');
    if (end && *host == '[')
        name = (struct ow_bytes){host + 1, (size_t)(end - host - 1)};
    else if (end)
        name.size = (size_t)(end - host);
    if (end && *host == '[' && end[1] != '\0' && end[1] != ':')
        return false;
    return is_named(name, OW_BYTES("localhost")) || is_named(name, OW_BYTES("127.0.0.1")) ||
           is_named(name, OW_BYTES("::1")) || is_named(name, address->host);
}
