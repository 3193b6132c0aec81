/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a dead letter: where a record came from and why it was set aside, in the conventions of
 * Spring Kafka, Kafka Connect and NServiceBus. All of them are read, two of Spring's:
 *
 *   kafka_dlt-exception-*, kafka_dlt-original-*     DeadLetterPublishingRecoverer
 *   kafka_exception-*, kafka_original-*, retry_topic-*   @RetryableTopic, in retry topics and its dead letter topic
 *   __connect.errors.*                              a sink of Kafka Connect
 *   NServiceBus.ExceptionInfo.*, NServiceBus.FailedQ
 *
 * A record that was sent back with its headers and failed again has a set of them for each failure: the
 * first tells where it came from, the last what failed last. Pure functions; views point into the headers
 * that were read. Any bytes may come in: a number that is none is not known.
 */
#ifndef OW_CODEC_DEAD_LETTER_HEADERS_H
#define OW_CODEC_DEAD_LETTER_HEADERS_H

#include "core/record.h"

enum ow_dead_letter_form {
    OW_DEAD_LETTER_SPRING,
    OW_DEAD_LETTER_CONNECT,
    OW_DEAD_LETTER_NSERVICEBUS,
    OW_DEAD_LETTER_SPRING_RETRY, /* is read, not written */
};

/* A record that failed. Null bytes and -1: not known. */
struct ow_dead_letter_place {
    struct ow_bytes topic;
    int64_t partition, offset, time_ms;
    enum ow_time_type time_type;
    struct ow_bytes group; /* that was reading it; Connect: its connector */
};

struct ow_dead_letter {
    enum ow_dead_letter_form form; /* of the last failure */
    struct ow_dead_letter_place origin, last;
    struct ow_bytes exception, cause; /* classes: the outer one, and what the handler threw; of Spring's deserialisation
                                         of a key alone the outer one is that of the key */
    struct ow_bytes message, stacktrace;
    struct ow_bytes stage, stage_class, task; /* Connect's; when written null becomes TASK_PUT, its class, and 0 */
    uint32_t attempts;                        /* deliveries before it was set aside; 0: not known */
    uint32_t replays;                         /* sets but the first: how often it came back */
    int64_t failed_ms;                        /* NServiceBus: when; -1: not known */
};
#define OW_DEAD_LETTER_PLACE_UNKNOWN ((struct ow_dead_letter_place){.partition = -1, .offset = -1, .time_ms = -1})

/* 1: these are headers of a dead letter, or of a record on its way through retry topics; 0: they are not. */
int ow_dead_letter_read(const struct ow_header *headers, size_t count, struct ow_dead_letter *ret);

#define OW_DEAD_LETTER_HEADERS_MAX 16 /* more than the record had */
struct ow_dead_letter_scratch {
    char bytes[192];
};
/* The headers of the dead letter of a record that had `headers`: those, in their order, without what its earlier
   failure left and this one says anew, then those of `letter`, of which `last` is the place of the record. `to` has
   room for count + OW_DEAD_LETTER_HEADERS_MAX; what is put there points into `headers`, into `letter` and into
   `scratch`. Returns how many. Spring: the exception's are written anew, those of the place once more; attempts as
   kafka_deliveryAttempt. Connect: ten more; no time, no group but as the connector's name. NServiceBus: all anew; no
   partition, offset and time of the record. */
size_t ow_dead_letter_write(enum ow_dead_letter_form form, const struct ow_header *headers, size_t count,
                            const struct ow_dead_letter *letter, struct ow_header *to,
                            struct ow_dead_letter_scratch *scratch);

/* The headers for sending it back to where it came from, so that it is tried as if it came for the first time but its
   history is kept where its convention has room for that: without all of @RetryableTopic's, which would send it
   straight to the dead letters again, without Spring's exception and kafka_deliveryAttempt, without
   NServiceBus'. `to` has room for count, and may be `headers`. Returns how many. */
size_t ow_dead_letter_strip(const struct ow_header *headers, size_t count, struct ow_header *to);

#endif
