/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offset: how far Debezium's connector for PostgreSQL has published, as it stores it: a JSON object with "lsn". Where
 * it keeps that (a file, a topic, Redis, the REST interface of Kafka Connect) differs; the object and, before it, the
 * one that names the connector ({"server": "<topic.prefix>"}) look the same everywhere. So they are looked for in the
 * bytes, whatever is around them: the file of Debezium Server as it is, what a console consumer printed with its keys,
 * and the object alone will do.
 */
#ifndef OW_CODEC_DEBEZIUM_OFFSET_H
#define OW_CODEC_DEBEZIUM_OFFSET_H

#include "base/bytes.h"

struct ow_debezium_offset {
    uint64_t commit_lsn;  /* the end of the last transaction that was published as a whole; 0: there was none */
    uint64_t lsn;         /* of the last row or message */
    uint32_t transaction; /* the one that it is of; 0: not known */
    bool is_in_snapshot;  /* the initial snapshot was begun and not finished */
};

/* The last one of connector `server` (topic.prefix), or that no connector is named for. OW_EINVALID: there is none,
   with those that there are. */
int ow_debezium_offset_find(struct ow_bytes text, struct ow_bytes server, struct ow_debezium_offset *ret,
                            struct ow_error *err) OW_MUST_CHECK;
/* As `from.start_after` takes it. */
void ow_debezium_offset_format(const struct ow_debezium_offset *offset, struct ow_buf *to);

#endif
