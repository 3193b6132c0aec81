/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the Kafka broker share.
 *
 *   kafka_settings.c   options -> properties of librdkafka
 *   kafka_client.c     one producer: made, reached, ended; what its errors mean
 *   kafka_tls.c        what is wrong with files and certificates
 *   kafka_topic.c      topics as far as this producer knows them, and making them
 *   kafka_position.c   positions of sources, kept as the offset metadata of a consumer group that nobody joins
 *   kafka.c            publishing at least once, with kafka_lanes.c and kafka_reports.c: see kafka_publisher.h
 *   kafka_exactly.c    publishing in transactions, whose calls are in kafka_transaction.c and kafka_offsets.c
 *   kafka_subscribe*.c reading; what they share is in kafka_subscribe.h
 *
 * librdkafka's threads run nothing of ours but place() and judge(): all they have to say comes through one queue, which
 * is emptied by step() in the pipeline's thread, and which rings an eventfd.
 */
#ifndef OW_BROKER_KAFKA_H
#define OW_BROKER_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "broker/broker.h"

#define OW_KAFKA_REASON_SIZE 256

/* --- settings ----------------------------------------------------------------------------------------- */

struct ow_kafka_settings {
    char *text;                            /* kafka://… for messages */
    struct ow_kafka_properties properties; /* of librdkafka, all but what is read at open() */
    struct ow_kafka_properties topic_config;
    char *password_file, *token_file, *username;
    const char *partitioner; /* in properties */
    bool creates_topics;
    int partitions, replication; /* -1: the broker's default */
};
/* What is set for one producer, beyond the settings; ends with a NULL name. */
struct ow_kafka_pair {
    const char *name, *value;
};
int ow_kafka_settings_init(struct ow_kafka_settings *settings, const struct ow_kafka_options *options,
                           struct ow_error *err) OW_MUST_CHECK;
/* For reading: what concerns publishing is passed over. */
int ow_kafka_settings_init_subscriber(struct ow_kafka_settings *settings, const struct ow_kafka_options *options,
                                      struct ow_error *err) OW_MUST_CHECK;
void ow_kafka_settings_done(struct ow_kafka_settings *settings);
/* A configuration with all of it, to be given to rd_kafka_new() or destroyed. */
int ow_kafka_settings_conf(const struct ow_kafka_settings *settings, const struct ow_kafka_pair *extra,
                           rd_kafka_conf_t **ret, struct ow_error *err) OW_MUST_CHECK;
/* The only line of a small file, without its end. The caller wipes and frees. */
int ow_kafka_read_secret(const char *path, char **ret, struct ow_error *err) OW_MUST_CHECK;
void ow_kafka_wipe(char *secret); /* and frees; NULL is fine */

/* --- client ------------------------------------------------------------------------------------------- */

struct ow_kafka_client {
    const struct ow_broker *broker; /* whose `meanwhile` is called; set before it is opened; NULL: none */
    rd_kafka_t *rk;                 /* NULL: closed */
    rd_kafka_queue_t *queue;        /* everything comes here */
    int event_fd;
    rd_kafka_event_t *event;           /* delivery reports, partly read */
    char reason[OW_KAFKA_REASON_SIZE]; /* of the latest failure to connect */
    rd_kafka_resp_err_t reason_code;
    bool is_down;         /* no broker can be reached now */
    bool is_abandoned;    /* see ow_kafka_offsets_send() */
    bool is_consumer;     /* set before it is opened: no producer, with what `extra` says of its group */
    atomic_int untrusted; /* why the certificate of a broker was refused last; 0: it was not */
};
/* event_fd -1: not made yet; it is kept when the client is closed. */
int ow_kafka_client_open(struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                         const struct ow_kafka_pair *extra, struct ow_error *err) OW_MUST_CHECK;
/* Forgets everything in flight; afterwards nothing refers to a payload. */
void ow_kafka_client_close(struct ow_kafka_client *client);
/* Closes it and its descriptor. */
void ow_kafka_client_done(struct ow_kafka_client *client);
/* Takes the ring of the descriptor. Before the queue is looked at: what comes after that rings again. */
void ow_kafka_client_hear(const struct ow_kafka_client *client);
/* Waits up to 5 s until the cluster has answered. OW_EUNREACHABLE; OW_EDENIED: it does not let us in. */
int ow_kafka_client_reach(struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                          struct ow_error *err) OW_MUST_CHECK;
/* Takes note of an error event, or answers a request for a token. True: it was one of these. */
bool ow_kafka_client_note(struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                          rd_kafka_event_t *event);
/* For a call that waits: how long it may do so at once, in ms, now that it has waited in vain for `waited_ms` (0: it
   has not yet). What is due meanwhile is done here. 0: the deadline has come, or the caller will not wait any longer.
 */
int ow_kafka_client_slice(const struct ow_kafka_client *client, int64_t deadline_ms, int waited_ms);
/* A short pause before a call is tried again. */
void ow_kafka_nap(void);
/* The next event of this queue; NULL: none until the deadline, or as above. */
rd_kafka_event_t *ow_kafka_client_await(const struct ow_kafka_client *client, rd_kafka_queue_t *queue,
                                        int64_t deadline_ms);
/* The error that made this producer unusable; 0: it is not. */
int ow_kafka_client_fatal(const struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                          struct ow_error *err) OW_MUST_CHECK;
/* Hands the message over. Its bytes must live until the delivery report, which carries `opaque`. */
rd_kafka_resp_err_t ow_kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct ow_message *message,
                                     void *opaque);

/* --- TLS ---------------------------------------------------------------------------------------------- */

/* Whether the files that are named can be read. */
int ow_kafka_tls_check(const struct ow_kafka_settings *settings, struct ow_error *err) OW_MUST_CHECK;
/* Takes note of why a certificate is refused, which it is as without this. The client outlives what is made of `conf`.
 */
void ow_kafka_tls_watch(struct ow_kafka_client *client, rd_kafka_conf_t *conf);
/* Whether a password is sent in a way that Kafka takes no more from 4.0 on: by SCRAM, from an old librdkafka. */
bool ow_kafka_scram_is_old(const struct ow_kafka_settings *settings);
/* Where the reason of a failure is a certificate, says what is wrong with it. */
void ow_kafka_tls_explain(struct ow_kafka_client *client);

/* --- fates -------------------------------------------------------------------------------------------- */

enum ow_kafka_fate {
    OW_KAFKA_WELL,   /* accepted */
    OW_KAFKA_UNFIT,  /* refused for what it is; where it shared a request with others, perhaps for what they are */
    OW_KAFKA_LATER,  /* not now: its topic is missing, or may not be written to */
    OW_KAFKA_BROKEN, /* nothing is known; the producer is of no more use */
};
enum ow_kafka_fate ow_kafka_fate_of(rd_kafka_resp_err_t code);
/* "" or why no topic can be called so. */
void ow_kafka_judge_topic(struct ow_bytes name, char *reason, size_t size);

/* --- topics ------------------------------------------------------------------------------------------- */

enum ow_kafka_topic_state {
    OW_KAFKA_TOPIC_NEW,      /* nothing is on its way to it */
    OW_KAFKA_TOPIC_CREATING, /* a request to make it is on its way */
    OW_KAFKA_TOPIC_SCOUTED,  /* its first message is on its way */
    OW_KAFKA_TOPIC_READY,    /* a message was accepted */
};

typedef int32_t ow_kafka_partitioner(const rd_kafka_topic_t *topic, const void *key, size_t key_size, int32_t count,
                                     void *topic_opaque, void *message_opaque);

struct ow_kafka_parked {
    struct ow_message message;
    uint64_t token;
};

/* Messages that wait, in order; [first, count). */
struct ow_kafka_parking {
    struct ow_kafka_parked *items;
    size_t first, count, capacity;
};
int ow_kafka_park(struct ow_kafka_parking *parking, const struct ow_message *message, uint64_t token,
                  struct ow_error *err) OW_MUST_CHECK;
/* NULL: none waits. Valid until the next call of ow_kafka_park(). */
const struct ow_kafka_parked *ow_kafka_unpark(struct ow_kafka_parking *parking);
void ow_kafka_parking_done(struct ow_kafka_parking *parking); /* gives the memory back; it may be used again */

/* One partition of a topic, as far as it is written to by key. Kafka takes any sequence number from a producer of which
   a partition has not heard yet: the second request would be taken where the first was not, and the first, sent
   again, would be taken for an old one. So the first message goes alone here too. */
struct ow_kafka_lane {
    enum { OW_KAFKA_LANE_NEW, OW_KAFKA_LANE_SCOUTED, OW_KAFKA_LANE_OPEN } state;
    uint32_t in_flight;
    int64_t offset;      /* of the message accepted last; -1: none */
    int64_t accepted_ms; /* when it was, roughly */
    struct ow_kafka_parking parking;
};

struct ow_kafka_topic {
    struct ow_kafka_topic *next; /* in its bucket */
    char *name;
    rd_kafka_topic_t *handle; /* NULL: see ow_kafka_topic_ask() */
    enum ow_kafka_topic_state state;
    char why_not[OW_KAFKA_REASON_SIZE]; /* why it could not be made; "" */
    struct ow_kafka_parking parking;    /* until it is READY */
    ow_kafka_partitioner *partitioner;
    atomic_int partition_count; /* as librdkafka found it when it placed a message last; 0: it has placed none */
    struct ow_kafka_lane *lanes;
    int32_t lane_count;
};

enum { OW_KAFKA_BUCKETS = 256 };
struct ow_kafka_topics {
    struct ow_kafka_topic *buckets[OW_KAFKA_BUCKETS], *last;
};
void ow_kafka_topics_done(struct ow_kafka_topics *topics); /* before the client is closed */
int ow_kafka_topics_get(struct ow_kafka_topics *topics, struct ow_bytes name, struct ow_kafka_topic **ret,
                        struct ow_error *err) OW_MUST_CHECK;
/* Makes its handle, if there is none: librdkafka asks the cluster for it at that moment, and then only once a second,
   so that it is not done before the topic was made. False: out of memory. */
bool ow_kafka_topic_ask(struct ow_kafka_topic *topic, const struct ow_kafka_settings *settings, rd_kafka_t *rk);
/* The lane that librdkafka will place this key in; NULL: it places it as it likes (no key). Once a
   message has been placed. */
struct ow_kafka_lane *ow_kafka_topic_lane(struct ow_kafka_topic *topic, struct ow_bytes key);
/* Whether an accepted message with this key came to its lane by ow_kafka_topic_lane(). */
bool ow_kafka_lane_was_chosen(struct ow_kafka_topic *topic, const struct ow_kafka_lane *lane, struct ow_bytes key);
/* NULL: out of memory, or no partition. */
struct ow_kafka_lane *ow_kafka_topic_lane_of(struct ow_kafka_topic *topic, int32_t partition);
/* Whether an accepted message stands where none stood before: behind the one that was accepted before it in its
   partition. librdkafka 2.0 takes a broker's "that sequence number I know" for acceptance, also where it means
   another message; this one is nowhere then. */
bool ow_kafka_lane_is_new(struct ow_kafka_lane *lane, int64_t offset);
/* Asks the cluster to make the topic; the answer comes to the client's queue. */
int ow_kafka_topic_create(struct ow_kafka_topic *topic, struct ow_kafka_client *client,
                          const struct ow_kafka_settings *settings, struct ow_error *err) OW_MUST_CHECK;
enum ow_kafka_made {
    OW_KAFKA_MADE,     /* it is there, or nobody could say: write to it and see */
    OW_KAFKA_NOT_MADE, /* it must not be made like this; why_not says why */
    OW_KAFKA_ASK_ANEW, /* nobody answered */
};
/* The answer; *ret is the topic that was asked for. */
enum ow_kafka_made ow_kafka_topic_made(rd_kafka_event_t *event, struct ow_kafka_topic **ret);
/* Why it cannot be written to. */
void ow_kafka_topic_why_not(const struct ow_kafka_topic *topic, rd_kafka_resp_err_t code, char *to, size_t size);
/* For who cannot send ahead: makes it where that is wanted, and looks until it is there. 1: it can be written to; 0:
   not now, and `reason` says why. Blocks up to 16 s. */
int ow_kafka_topic_ready(struct ow_kafka_topic *topic, struct ow_kafka_client *client,
                         const struct ow_kafka_settings *settings, char *reason, size_t size,
                         struct ow_error *err) OW_MUST_CHECK;

/* --- positions ---------------------------------------------------------------------------------------- */

#define OW_KAFKA_GROUP_SIZE 260
/* "onewrite-<source>", with whatever is unusual in a name replaced. */
void ow_kafka_group_name(const char *source, char to[OW_KAFKA_GROUP_SIZE]);
/* One partition of `topic` with the position as metadata; the caller destroys the list. NULL: out of memory. */
rd_kafka_topic_partition_list_t *ow_kafka_position_offsets(const char *topic, struct ow_position position);
/* 1: the latest position that the groups of this source have; 2: the same, one of them has it not; 0: they have none. A
   topic that holds one comes to *topic (owned by the caller, replaced; it stays what it was if there is none). All of
   these block up to 30 s. */
int ow_kafka_position_read(const struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                           const char *source, struct ow_position *ret, char **topic,
                           struct ow_error *err) OW_MUST_CHECK;
/* Outside of a transaction, in the group of this place: "onewrite-<source>", "onewrite-<source>.2". */
int ow_kafka_position_write(struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                            const char *source, uint32_t place, const char *topic, struct ow_position position,
                            struct ow_error *err) OW_MUST_CHECK;
/* All that the groups have, beside whichever topic. Outside of a transaction. */
int ow_kafka_position_forget(const struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                             const char *source, struct ow_error *err) OW_MUST_CHECK;

/* --- offsets in a transaction (kafka_offsets.c) -------------------------------------------------------- */

/* rd_kafka_send_offsets_to_transaction(), whose answer comes to *ret. OW_EUNREACHABLE: the caller will not wait any
   longer, and `client` is abandoned: it can only be closed, which leaves its producer behind. */
int ow_kafka_offsets_send(struct ow_kafka_client *client, const char *group, const char *topic,
                          struct ow_position position, int timeout_ms, rd_kafka_error_t **ret,
                          struct ow_error *err) OW_MUST_CHECK;

/* --- transactions (kafka_transaction.c) ---------------------------------------------------------------- */

/* What the calls of one transaction need. Each is tried again until the deadline where librdkafka says that a retry may
   help; the thread waits in slices, so that what is due elsewhere in the pipeline is done. They fail with OW_EIO or
   OW_EUNREACHABLE (begin anew), OW_ESTANDBY (another relay has fenced this one) or OW_EDENIED. */
struct ow_kafka_txn {
    struct ow_kafka_client *client;
    const struct ow_kafka_settings *settings;
    const char *source; /* whose transactional id the producer has */
    int64_t deadline_ms;
};
/* From here on any other producer with this id is fenced. */
int ow_kafka_txn_init(const struct ow_kafka_txn *txn, struct ow_error *err) OW_MUST_CHECK;
int ow_kafka_txn_begin(const struct ow_kafka_txn *txn, struct ow_error *err) OW_MUST_CHECK;
int ow_kafka_txn_add_position(const struct ow_kafka_txn *txn, const char *topic, struct ow_position position,
                              struct ow_error *err) OW_MUST_CHECK;
int ow_kafka_txn_commit(const struct ow_kafka_txn *txn, struct ow_error *err) OW_MUST_CHECK;
void ow_kafka_txn_abort(const struct ow_kafka_txn *txn); /* at least Kafka does it by itself, later */

/* --- the brokers -------------------------------------------------------------------------------------- */

int ow_kafka_at_least_once_new(struct ow_kafka_settings *settings, struct ow_broker **ret,
                               struct ow_error *err) OW_MUST_CHECK;
int ow_kafka_exactly_once_new(struct ow_kafka_settings *settings, struct ow_broker **ret,
                              struct ow_error *err) OW_MUST_CHECK; /* both take the settings over on success */

#endif
