/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what over HTTP. Pure; any thread. */
#ifndef OW_SERVER_ACCESS_H
#define OW_SERVER_ACCESS_H

#include "config/admin.h"

/* The role that the header "Authorization" gives, compared in a time that does not depend on how much of a token is
   right. `authorization` may be NULL. */
enum ow_role ow_access_role(const struct ow_config_admin *admin, const char *authorization);
/* The role of whoever comes without a header: where there are no tokens OPERATOR on a Unix socket, whose file says who
   may come, and READ on a loopback address; else NONE. */
enum ow_role ow_access_role_of_anybody(const struct ow_config_admin *admin, const struct ow_admin_address *address);
/* Whether "Host" names this machine's loopback, or the host that is listened on: a page in a browser may have made
   another name point here. NULL: HTTP/1.0 has none, and no browser speaks that. */
bool ow_access_host_is_ours(const char *host, const struct ow_admin_address *address);

#endif
