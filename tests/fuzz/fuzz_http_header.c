/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as the headers Host, Accept and Authorization of a request. A host that is taken for ours is one of four,
 * perhaps with a port; who gives no token of ours has no role.
 */
#include "fuzz.h"

#include "server/access.h"
#include "server/metrics.h"

static void check_host(const char *host)
{
    static const char *const ours[] = {"localhost", "127.0.0.1", "[::1]", "::1", "admin.internal"};
    const struct ow_admin_address address = {.host = OW_BYTES("admin.internal"), .is_loopback = true};
    if (!ow_access_host_is_ours(host, &address))
        return;
    bool is_known = false;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        is_known = is_known || strncasecmp(host, ours[i], strlen(ours[i])) == 0 ||
                   (*host == '[' && strncasecmp(host + 1, ours[i], strlen(ours[i])) == 0);
    must(is_known, "no other host is ours");
}

static void check_role(const char *authorization)
{
    static const char token[] = "t0ken";
    struct ow_config_token tokens[] = {{.token = (char *)(uintptr_t)token, .role = OW_ROLE_OPERATOR}};
    const struct ow_config_admin admin = {.tokens = tokens, .token_count = 1};
    enum ow_role role = ow_access_role(&admin, authorization);
    must(role == OW_ROLE_NONE || strstr(authorization, token), "no role without the token");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = ow_bytes_text((struct ow_bytes){(const char *)data, size});
    must(text, "memory");
    check_host(text);
    check_role(text);
    (void)ow_metrics_is_wanted(text);
    free(text);
    return 0;
}
