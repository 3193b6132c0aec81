/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, section 4): the standard alphabet, with padding, without line breaks. */
#ifndef OW_CODEC_BASE64_H
#define OW_CODEC_BASE64_H

#include "base/bytes.h"

void ow_base64_encode(struct ow_buf *buf, struct ow_bytes bytes);
/* Appends what `text` stands for. Strict, so that each run of bytes has one text only: no blanks, full
   padding, no bits left over. OW_EINVALID with the place (counted from 1), and then nothing is appended;
   OW_ENOMEM. */
int ow_base64_decode(struct ow_buf *buf, struct ow_bytes text, struct ow_error *err) OW_MUST_CHECK;

#endif
