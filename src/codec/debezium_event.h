/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the router: see ow_debezium_change(). */
#ifndef OW_CODEC_DEBEZIUM_EVENT_H
#define OW_CODEC_DEBEZIUM_EVENT_H

#include "codec/debezium.h"
#include "codec/debezium_plan.h"

/* `header` has room for one. OW_EINVALID: it cannot be written, with the reason; OW_ENOMEM. */
int ow_dbz_event_convert(const struct ow_debezium_options *options, struct ow_dbz_arena *arena,
                         const struct ow_dbz_plan *plan, const struct ow_row *row, int64_t now_us,
                         struct ow_header *header, struct ow_debezium_record *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
