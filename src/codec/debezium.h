/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debezium's outbox event router, as a function: a row of an outbox table goes in, the record that Debezium would
 * have written for it comes out, byte for byte. No connection, no clock, no files.
 *
 *     ow_debezium_new(&options, &router, err)
 *     ow_debezium_route(router, &row, &record, err)     for each row, in the order of the log
 *
 * It remembers one thing from row to row: the name that the schema of an envelope was given when it was first seen
 * (it holds the first routed value, and Debezium keeps it for later ones).
 *
 * Where Debezium stops, the outcome is OW_DEBEZIUM_UNFIT with the reason: the message is to be set aside. What else
 * differs is listed in docs/debezium.md.
 *
 * A router belongs to one thread. A record points into the router, the row and the table, and ends with the next
 * call on the router.
 */
#ifndef OW_CODEC_DEBEZIUM_H
#define OW_CODEC_DEBEZIUM_H

#include "codec/debezium_options.h"
#include "codec/row.h"
#include "core/message.h"

struct ow_debezium;

enum ow_debezium_outcome {
    OW_DEBEZIUM_RECORD,  /* publish it */
    OW_DEBEZIUM_DROPPED, /* nothing is published: DELETE, TRUNCATE, and UPDATE with a warning in `reason` */
    OW_DEBEZIUM_UNFIT,   /* it cannot be published: see `reason` */
};

struct ow_debezium_record {
    enum ow_debezium_outcome outcome;
    struct ow_bytes topic, key, value; /* key and value may be null */
    const struct ow_header *headers;   /* in their order; a name may be there twice */
    size_t header_count;
    int64_t time_ms; /* of table.field.event.timestamp; has_time: false: the time of writing */
    bool has_time;
    int32_t partition;        /* of a placement as partition; -1: none */
    struct ow_bytes id, type; /* what is in the columns of the event's id and "type", for logs; may be null */
    struct ow_bytes reason;   /* a line of text for a person; also why a payload was not expanded; or null */
};

/* Takes the options over, also when it fails (they are empty then). OW_ECONFIG: an option that stops Debezium. */
int ow_debezium_new(struct ow_debezium_options *options, struct ow_debezium **ret, struct ow_error *err) OW_MUST_CHECK;
void ow_debezium_free(struct ow_debezium *router);
const struct ow_debezium_options *ow_debezium_options_of(const struct ow_debezium *router);

/* OW_ENOMEM only: the row is to be routed again later. */
int ow_debezium_route(struct ow_debezium *router, const struct ow_row *row, struct ow_debezium_record *ret,
                      struct ow_error *err) OW_MUST_CHECK;

/* A logical decoding message (pg_logical_emit_message), which the router lets pass as the connector made it: to the
   topic <topic.prefix>.message. */
struct ow_debezium_message {
    struct ow_bytes prefix, content;
    struct ow_bytes database, version; /* version: what source.version says; null: ours */
    bool is_transactional;
    int64_t transaction_id;            /* of a transactional one */
    uint64_t lsn, previous_commit_lsn; /* 0: none */
    int64_t time_us, now_us;           /* when it was committed or written, and now; microseconds since 1970 */
};
int ow_debezium_pass(struct ow_debezium *router, const struct ow_debezium_message *message,
                     struct ow_debezium_record *ret, struct ow_error *err) OW_MUST_CHECK;

/* A row of a table that is no outbox (row->change is there), as a change event: to the topic
   <topic.prefix>.<schema>.<table>. `now_us` is what the event says of the time of its writing. */
int ow_debezium_change(struct ow_debezium *router, const struct ow_row *row, int64_t now_us,
                       struct ow_debezium_record *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
