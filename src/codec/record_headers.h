/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a record as text, with their order, repeats and any bytes: a JSON array of pairs.
 *
 *     [["trace","a1b2"],["empty",""],["none",null],["raw",{"base64":"AP8="}]]
 *
 * A name that is no UTF-8 is written like a value.
 */
#ifndef OW_CODEC_RECORD_HEADERS_H
#define OW_CODEC_RECORD_HEADERS_H

#include "core/message.h"

void ow_record_headers_write(struct ow_buf *to, const struct ow_header *headers, size_t count);
/* At most `max`; what is found points into `text` or `scratch`, which is filled anew. OW_EINVALID, OW_ETOOBIG,
   OW_ENOMEM. */
int ow_record_headers_read(struct ow_bytes text, struct ow_header *headers, size_t max, size_t *ret_count,
                           struct ow_buf *scratch, struct ow_error *err) OW_MUST_CHECK;

#endif
