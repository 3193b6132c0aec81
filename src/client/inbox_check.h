/* SPDX-License-Identifier: Apache-2.0 */
/* What every inbox of the client library asks of its arguments. Private to src/client. */
#ifndef OW_CLIENT_INBOX_CHECK_H
#define OW_CLIENT_INBOX_CHECK_H

#include "base/bytes.h"

/* `max`: bytes of both together. OW_EINVALID or OW_ETOOBIG, with the argument named. */
static inline int ow_inbox_check(const char *consumer, const char *id, size_t max, struct ow_error *err)
{
    if (!consumer || !*consumer || !ow_utf8_is_valid(ow_bytes_of(consumer)))
        return ow_error_set(err, OW_EINVALID, "consumer is %s", consumer && *consumer ? "not UTF-8" : "empty");
    if (!id || !*id || !ow_utf8_is_valid(ow_bytes_of(id)))
        return ow_error_set(err, OW_EINVALID, "id is %s", id && *id ? "not UTF-8" : "empty");
    if (strlen(consumer) + strlen(id) > max)
        return ow_error_set(err, OW_ETOOBIG, "consumer and id have more than %zu bytes", max);
    return 0;
}

#endif
