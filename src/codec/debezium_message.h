/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the router: see ow_debezium_pass(). */
#ifndef OW_CODEC_DEBEZIUM_MESSAGE_H
#define OW_CODEC_DEBEZIUM_MESSAGE_H

#include "codec/debezium.h"

/* OW_EINVALID: a converter does not take it; OW_ENOMEM. */
int ow_dbz_message_convert(const struct ow_debezium_options *options, struct ow_dbz_arena *arena,
                           const struct ow_debezium_message *message, struct ow_debezium_record *ret,
                           struct ow_error *err) OW_MUST_CHECK;

#endif
