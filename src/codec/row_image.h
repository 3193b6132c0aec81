/* SPDX-License-Identifier: Apache-2.0 */
/* Row image: a row with its table and the names of its columns in one run of bytes, so that it can go with a message
   and, should that become a dead letter, be inserted again. */
#ifndef OW_CODEC_ROW_IMAGE_H
#define OW_CODEC_ROW_IMAGE_H

#include "base/bytes.h"

/* First schema and table, then name and value of each column; null bytes stay null. */
void ow_row_image_add(struct ow_buf *image, struct ow_bytes field);
/* {"schema":…,"table":…,"columns":[{"name":…,"value":…}, …]}; OW_ECORRUPT: no image. */
int ow_row_image_write_json(struct ow_bytes image, struct ow_buf *to, struct ow_error *err) OW_MUST_CHECK;

#endif
