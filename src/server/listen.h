/* SPDX-License-Identifier: Apache-2.0 */
/* A socket to listen on. */
#ifndef OW_SERVER_LISTEN_H
#define OW_SERVER_LISTEN_H

#include "config/admin.h"

/* The descriptor, which is the caller's, or < 0. *ret_shown: where it is, with the port that was given. A Unix socket
   is for its owner and group (0660); a file of one that nobody listens on any more is replaced. */
int ow_listen(const struct ow_admin_address *address, struct ow_buf *ret_shown, struct ow_error *err) OW_MUST_CHECK;

#endif
