/* SPDX-License-Identifier: Apache-2.0 */
/* What onewrite dlq prints of dead letters. */
#ifndef OW_CMD_DLQ_SHOW_H
#define OW_CMD_DLQ_SHOW_H

#include "cmd/dlq_store.h"
#include "cmd/output.h"

/* A line a letter that is chosen; `store` may be NULL. Call ow_dlq_list_begin() once before. */
void ow_dlq_list_begin(struct ow_output *out, bool has_stores);
void ow_dlq_list(struct ow_output *out, const char *store, const struct ow_letters *letters);

/* Everything that is known of each: for people, or as JSON, bytes that are no text in base64. `count` goes on from call
   to call; ow_dlq_show_end() once behind all. */
void ow_dlq_show(struct ow_buf *to, int format, const struct ow_letters *letters, size_t *count);
void ow_dlq_show_end(struct ow_buf *to, int format, size_t count);

#endif
