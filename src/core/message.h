/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message: what a service said, on its way from its source to a broker.
 *
 * A struct ow_message is a view: its bytes belong to whoever filled it (a source lends them until its
 * next call). ow_message_copy() makes one block of memory that holds struct, bytes and headers together;
 * ow_message_free() ends it. Null bytes are null: a null payload is a tombstone, a null key is no key.
 *
 * Life: a source yields a view -> ow_message_check() -> routed (topic and key filled in) -> copied into
 * the window -> sent -> accepted or set aside -> its position confirmed -> freed.
 */
#ifndef OW_CORE_MESSAGE_H
#define OW_CORE_MESSAGE_H

#include "base/bytes.h"
#include "core/position.h"

struct ow_row;

struct ow_header {
    struct ow_bytes name, value; /* a null value is allowed, a null or empty name is not */
};

struct ow_message {
    struct ow_position position; /* where it stands in its source */
    struct ow_bytes id;          /* the application's own; unique, kept for ever */
    struct ow_bytes topic, key;  /* where it goes; filled in by routing */
    struct ow_bytes type;        /* what happened, e.g. OrderPlaced */
    struct ow_bytes aggregate_type, aggregate_id;
    struct ow_bytes defect;  /* why the source finds it unfit to be sent, e.g. headers that are no JSON; else null */
    struct ow_bytes payload; /* passed through verbatim */
    struct ow_bytes image;   /* what it takes to insert its row again (codec/row_image.h); null: the fields above do */
    const struct ow_header *headers;
    size_t header_count;
    int64_t time_ms; /* wall clock of the service, milliseconds since 1970 UTC */
    /* The row that it was made of, lent by a source that was asked for rows; NULL otherwise, and in copies. */
    const struct ow_row *row;
    struct ow_message_piece *piece; /* of a copy: where it lives; private to message.c */
    /* Topic, key, payload and headers are those of the record as it is to be written: any bytes, and nothing is added
       to them. time_ms is the record's own then; 0: the time of writing. */
    bool is_shaped;
};

struct ow_message_limits {
    size_t payload_bytes_max; /* default 1 MiB, as Kafka's message.max.bytes */
    size_t key_bytes_max;     /* also id, type, aggregate type and id: 64 KiB */
    size_t headers_bytes_max; /* names and values together: 64 KiB */
    size_t header_count_max;  /* 256 */
    size_t topic_bytes_max;   /* 249, as Kafka's */
};
extern const struct ow_message_limits ow_message_limits_default;

/* What is wrong with it, if anything: id, type, aggregate and header names must be UTF-8 without control
   characters, header values without line breaks or NUL, all within the limits. OW_EINVALID or
   OW_ETOOBIG, with the field named. The topic is checked only if it is not null. Of a shaped message the topic, the
   names of headers and all sizes are checked. */
int ow_message_check(const struct ow_message *message, const struct ow_message_limits *limits,
                     struct ow_error *err) OW_MUST_CHECK;

/* The bytes that a copy occupies: what a window counts. */
size_t ow_message_size(const struct ow_message *message);
/* One block on the heap. NULL: out of memory. */
struct ow_message *ow_message_copy(const struct ow_message *message);
void ow_message_free(struct ow_message *message);

/* Memory for messages that are freed in about the order in which they were copied, as those of a window: many of them
   share a piece, which lives as long as any of them. Zeroed it is empty. One thread copies and frees. */
struct ow_message_pool {
    struct ow_message_piece *piece; /* that is being filled */
};
struct ow_message *ow_message_copy_to(struct ow_message_pool *pool, const struct ow_message *message);
void ow_message_pool_done(struct ow_message_pool *pool); /* the messages live on until they are freed */
static inline void ow_message_cleanup(struct ow_message **message)
{
    ow_message_free(*message);
}

#endif
