/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker, publishing: the contract of what carries messages between services.
 *
 * An implementation embeds struct ow_broker as its first member and sets `ops`. A broker belongs to one
 * thread (threads of a library stay behind it and wake the loop through a descriptor).
 *
 * send() may only queue. Acceptance comes later, from step(), as one receipt per message, and only from
 * the broker's own acknowledgement. A message for which no receipt has come was not accepted, as far as
 * anybody knows. After an error from send(), step() or a transaction, or after close(), every message
 * without a receipt is forgotten by the broker and the caller sends it again.
 *
 * keeps_order: what was sent first is accepted first, the broker's own retries included; when a message
 * comes back as RETRY or LATER, so does every later one of its key that was in flight.
 */
#ifndef OW_BROKER_BROKER_H
#define OW_BROKER_BROKER_H

#include "base/wait.h"
#include "core/message.h"

enum ow_verdict {
    OW_ACCEPTED,
    OW_RETRY, /* not accepted, or not known to be, for its own sake (its topic is missing) or that of an earlier one of
                 its key; the same message may be accepted later, and is set aside if that takes too long */
    OW_LATER, /* not accepted, or not known to be: the broker as a whole cannot (its disk is full). The message waits
                 for as long as that takes */
    OW_REJECTED, /* this broker will never accept this message */
};

struct ow_receipt {
    uint64_t token; /* as given to send() */
    enum ow_verdict verdict;
    char reason[184]; /* why not; "" when accepted */
};

struct ow_broker;

/* Whoever is stopped in the middle of record_position(), followed by another, and goes on then, puts an older position
   over a newer one. It does so in one place alone: before it begins with the next it asks whether it was followed. */
enum { OW_RECORD_PLACES = 2 };

struct ow_broker_ops {
    const char *name; /* "journal" */
    bool keeps_order;
    bool has_transactions; /* the slots txn_* and was_accepted are there, and send() needs a transaction */

    int (*open)(struct ow_broker *broker, struct ow_error *err);

    /* Takes the message on. Its bytes are the caller's and live until its receipt, close() or an error.
       OW_EAGAIN: full now; step() and wait() first. */
    int (*send)(struct ow_broker *broker, const struct ow_message *message, uint64_t token, struct ow_error *err);
    /* Works on what was sent; writes at most `max` receipts and returns how many. Does not block. Fewer than
       `max` means: no more for now. */
    int (*step)(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err);
    void (*wait)(struct ow_broker *broker, struct ow_wait *wait);
    void (*close)(struct ow_broker *broker);   /* may be opened again */
    void (*discard)(struct ow_broker *broker); /* closes and frees */

    /* Transactions: all that was sent between begin and commit is accepted together with the position, or
       none of it. After commit, step() gives the receipts. 1 from txn_commit: nothing was sent, or nothing that counts,
       and the position is not on record. The position says that all that was sent was accepted: a message that is not
       has a transaction of its own, without a position (OW_EAGAIN from send() where there is another one in it), and
       its receipt comes with the next step(). */
    int (*txn_begin)(struct ow_broker *broker, struct ow_error *err);
    int (*txn_commit)(struct ow_broker *broker, const char *source, struct ow_position position, struct ow_error *err);
    void (*txn_abort)(struct ow_broker *broker);
    /* 1: the position of the last committed transaction of this source, or the furthest that was recorded; 2: the same,
       but not all places have it; 0: there is none. */
    int (*last_position)(struct ow_broker *broker, const char *source, struct ow_position *ret, struct ow_error *err);
    /* 1: this message, which stands at or before last_position, is one that was accepted but perhaps not
       confirmed; 0: it never was accepted (its source went back in time). */
    int (*was_accepted)(struct ow_broker *broker, const char *source, const struct ow_message *message,
                        struct ow_error *err);

    /* Without transactions, for a log: keeps this position of the source in one of OW_RECORD_PLACES places, of which
       last_position() gives back the furthest (the latest that was recorded wins in each). May block for some seconds.
       NULL: the broker cannot keep it. OW_EAGAIN: it has nowhere to keep it yet; after the next accepted message it
       has, also when it was opened again. */
    int (*record_position)(struct ow_broker *broker, const char *source, struct ow_position position, uint32_t place,
                           struct ow_error *err);
    /* Whatever is on record of this source counts no more, in no place. NULL: a transaction with a position of zero
       does it. */
    int (*forget_position)(struct ow_broker *broker, const char *source, struct ow_error *err);
    /* What keeps it from working just now, though it goes on by itself and forgets nothing; NULL: nothing does. While
       there is something, a RETRY counts as a LATER.
       The broker's own, until its next call. The slot is NULL for a broker that has no such times. */
    const char *(*trouble)(struct ow_broker *broker);
};

struct ow_broker {
    const struct ow_broker_ops *ops;
    /* Set by whoever calls. A call that has to wait for a network (open, last_position, those that record or forget it,
       and those of a transaction) calls it every now and then, so that what is due meanwhile gets done: at first every
       half second, while nothing is answered at longer intervals, never longer than 4 s. False: the caller will not
       wait any longer, and the call fails with OW_EUNREACHABLE. NULL: there is nothing to do. */
    bool (*meanwhile)(void *context);
    void *meanwhile_context;
};

/* --- the embedded journal (journal/) ------------------------------------------------------------------ */

struct ow_journal_options {
    const char *path;        /* copied */
    uint32_t partitions;     /* of a topic that is made now; 0: 4 */
    int64_t retention_ms;    /* records older than this may go; 0: kept for ever. Default 7 d in the URL */
    int64_t retention_bytes; /* above this much used space the oldest go; 0: no bound */
};
int ow_journal_broker_new(const struct ow_journal_options *options, struct ow_broker **ret,
                          struct ow_error *err) OW_MUST_CHECK;

/* --- a file of JSON lines, and standard output (lines.c) ---------------------------------------------- */

enum ow_fsync { OW_FSYNC_ALWAYS, OW_FSYNC_NEVER };

struct ow_file_options {
    const char *path;     /* copied; NULL: standard output */
    enum ow_fsync fsync;  /* ALWAYS: accepted means synced */
    int64_t rotate_bytes; /* 0: never; PATH becomes PATH.1, PATH.1 becomes PATH.2 … */
    uint32_t keep;        /* rotated files kept; 0: all */
};
int ow_file_broker_new(const struct ow_file_options *options, struct ow_broker **ret,
                       struct ow_error *err) OW_MUST_CHECK;

/* --- Apache Kafka (kafka*.c; where the build has librdkafka: OW_WITH_KAFKA is 1) ----------------------- */

enum ow_kafka_delivery { OW_KAFKA_AT_LEAST_ONCE, OW_KAFKA_EXACTLY_ONCE };
enum ow_kafka_sasl {
    OW_KAFKA_SASL_NONE,
    OW_KAFKA_SASL_PLAIN,
    OW_KAFKA_SASL_SCRAM_SHA_256,
    OW_KAFKA_SASL_SCRAM_SHA_512,
    OW_KAFKA_SASL_OAUTHBEARER,
};
enum ow_kafka_compression {
    OW_KAFKA_LZ4,
    OW_KAFKA_ZSTD,
    OW_KAFKA_SNAPPY,
    OW_KAFKA_GZIP,
    OW_KAFKA_NO_COMPRESSION,
};

struct ow_kafka_property {
    char *name, *value;
};
struct ow_kafka_properties {
    struct ow_kafka_property *items;
    size_t count;
};

/* The texts are copied; what is zeroed has the default. */
struct ow_kafka_options {
    const char *servers; /* "host:9092,host2:9092" */
    const char *text;    /* how it is called in messages: "kafka://host:9092"; holds no secret */
    enum ow_kafka_delivery delivery;
    enum ow_kafka_compression compression;
    uint32_t linger_ms; /* how long a message may wait for others to share a request with */
    uint32_t use_tls;
    char *tls_ca, *tls_cert, *tls_key; /* paths of PEM files; NULL: the system's authorities, no certificate */
    enum ow_kafka_sasl sasl;
    char *sasl_username, *sasl_password;          /* discard() wipes the copy */
    char *sasl_password_file, *sasl_token_file;   /* read anew at each open() */
    uint32_t leave_topics;                        /* a topic that is missing is not made */
    uint32_t topic_partitions, topic_replication; /* of topics that are made; 0: as the broker has it */
    struct ow_kafka_properties topic_config;      /* of topics that are made: "cleanup.policy" … */
    struct ow_kafka_properties properties;        /* any other of librdkafka */
};
/* OW_EINVALID: an option is wrong, or a property is none of librdkafka's or would break a promise. Connects nowhere. */
int ow_kafka_options_check(const struct ow_kafka_options *options, struct ow_error *err) OW_MUST_CHECK;
/* OW_KAFKA_EXACTLY_ONCE gives a broker with transactions. It is for sources whose messages rise with their
   positions, as a log's do: was_accepted() asks for the position alone. Its calls of a transaction may block for
   30 s. When another relay of the same source has taken over they fail with OW_ESTANDBY: whoever gets that must
   not open it again while it believes to be at work. */
int ow_kafka_broker_new(const struct ow_kafka_options *options, struct ow_broker **ret,
                        struct ow_error *err) OW_MUST_CHECK;

#endif
