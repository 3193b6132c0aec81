/* SPDX-License-Identifier: Apache-2.0 */
/* redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]. Private to src/inbox. */
#ifndef OW_INBOX_REDIS_ADDRESS_H
#define OW_INBOX_REDIS_ADDRESS_H

#include "base/error.h"

struct ow_redis_address {
    char *host, *port, *database; /* port and database: digits */
    char *user, *password;        /* NULL: not said */
    char shown[300];              /* without what is secret */
};

/* In user and password %XX is one byte. OW_EINVALID, OW_EUNSUPPORTED (TLS); the text holds nothing secret. On failure
 *ret is zeroed. */
int ow_redis_address_parse(const char *url, struct ow_redis_address *ret, struct ow_error *err) OW_MUST_CHECK;
void ow_redis_address_done(struct ow_redis_address *address);

#endif
