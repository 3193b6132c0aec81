/* SPDX-License-Identifier: Apache-2.0 */
/* What every outbox of the client library asks of a message. Private to src/client. */
#ifndef OW_CLIENT_OUTBOX_CHECK_H
#define OW_CLIENT_OUTBOX_CHECK_H

#include <onewrite/outbox.h>

#include "core/message.h"

enum { OW_OUTBOX_HEADERS_MAX = 256 };

/* Fills *m and `headers` with views of `message`. OW_EINVALID or OW_ETOOBIG, with the field named. */
int ow_outbox_check(const struct ow_outbox_message *message, struct ow_message *m,
                    struct ow_header headers[OW_OUTBOX_HEADERS_MAX], struct ow_error *err) OW_MUST_CHECK;

#endif
