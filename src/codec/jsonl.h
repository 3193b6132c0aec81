/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON lines: one record a line, as `tail -o jsonl` prints them and as file: and stdout: hold them.
 *
 *     {"topic":"orders","partition":0,"offset":17,"time":"2026-11-21T12:40:00.123Z","id":"…","key":"42",
 *      "headers":{"type":"OrderPlaced","trace":"…"},"value":"…"}
 *
 * partition, offset  left out where there is no such thing
 * time               RFC 3339 in UTC
 * id                 a string or null
 * key, value         a string, {"base64":"…"} where the bytes are not UTF-8, or null; a null value is a tombstone
 * headers            in their order, a name that occurs twice written twice; the message's type comes first, as
 *                    the header "type", unless there is a header of that name already
 *
 * What ow_jsonl_read() reads, ow_jsonl_write() writes so that reading it again gives the same record.
 */
#ifndef OW_CODEC_JSONL_H
#define OW_CODEC_JSONL_H

#include "core/record.h"

/* Appends one line with its '\n'. */
void ow_jsonl_write(struct ow_buf *to, const struct ow_record *record);

/* Reads one line, with or without its '\n'. topic and value must be there; partition and offset are -1 and
   time is 0 where they are missing; members of other names are passed over. A header "type" that says
   something becomes the message's type and is not among the headers then. *ret points into `line`,
   `headers` and `scratch`, which is appended to. OW_EINVALID with what is wrong, OW_ETOOBIG: too many
   headers, OW_ENOMEM; *ret is untouched then. */
int ow_jsonl_read(struct ow_bytes line, struct ow_record *ret, struct ow_header *headers, size_t headers_max,
                  struct ow_buf *scratch, struct ow_error *err) OW_MUST_CHECK;

#endif
