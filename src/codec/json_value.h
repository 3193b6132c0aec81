/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single values that our own formats of JSON have in common. Each is read where a value comes next; what is found
 * points into the text or into `scratch` (see ow_json_string()). OW_EINVALID: it is something else.
 */
#ifndef OW_CODEC_JSON_VALUE_H
#define OW_CODEC_JSON_VALUE_H

#include "codec/json.h"

/* A string; null makes null bytes. */
int ow_json_read_text(struct ow_json *json, struct ow_buf *scratch, struct ow_bytes *ret,
                      struct ow_error *err) OW_MUST_CHECK;

/* Any bytes: a string where they are UTF-8, else {"base64":"…"}; null for null bytes. */
int ow_json_read_bytes(struct ow_json *json, struct ow_buf *scratch, struct ow_bytes *ret,
                       struct ow_error *err) OW_MUST_CHECK;
void ow_json_write_bytes(struct ow_buf *to, struct ow_bytes bytes);

#endif
