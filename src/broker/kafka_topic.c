/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "broker/kafka.h"

enum { CREATE_MS = 10000, LOOK_MS = 5000, NAME_SIZE_MAX = 249 };

static bool is_legal(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

void ow_kafka_judge_topic(struct ow_bytes name, char *reason, size_t size)
{
    reason[0] = '\0';
    if (name.size == 0)
        (void)snprintf(reason, size, "the topic is empty");
    else if (name.size > NAME_SIZE_MAX)
        (void)snprintf(reason, size, "the topic has %zu bytes, Kafka takes at most %d", name.size, NAME_SIZE_MAX);
    else if (ow_bytes_is(name, ".") || ow_bytes_is(name, ".."))
        (void)snprintf(reason, size, "Kafka takes no topic called \"%.*s\"", OW_PRINT(name));
    for (size_t i = 0; !reason[0] && i < name.size; i++)
        if (!is_legal(name.data[i]))
            (void)snprintf(reason, size, "the topic \"%.*s\" has other characters than A-Z a-z 0-9 . _ -",
                           (int)(name.size > 100 ? 100 : name.size), name.data);
}

/* --- the table ---------------------------------------------------------------------------------------- */

static void free_topic(struct ow_kafka_topic *topic)
{
    if (topic->handle)
        rd_kafka_topic_destroy(topic->handle);
    ow_kafka_parking_done(&topic->parking);
    for (int32_t i = 0; i < topic->lane_count; i++)
        ow_kafka_parking_done(&topic->lanes[i].parking);
    free(topic->lanes);
    free(topic->name);
    free(topic);
}

void ow_kafka_topics_done(struct ow_kafka_topics *topics)
{
    for (size_t i = 0; i < OW_KAFKA_BUCKETS; i++) {
        struct ow_kafka_topic *topic = topics->buckets[i];
        while (topic) {
            struct ow_kafka_topic *next = topic->next;
            free_topic(topic);
            topic = next;
        }
    }
    *topics = (struct ow_kafka_topics){0};
}

int ow_kafka_topics_get(struct ow_kafka_topics *topics, struct ow_bytes name, struct ow_kafka_topic **ret,
                        struct ow_error *err)
{
    struct ow_kafka_topic *topic = topics->last;
    if (topic && ow_bytes_is(name, topic->name)) {
        *ret = topic;
        return 0;
    }
    struct ow_kafka_topic **bucket = &topics->buckets[ow_hash(name) % OW_KAFKA_BUCKETS];
    for (topic = *bucket; topic && !ow_bytes_is(name, topic->name); topic = topic->next) {
    }
    if (!topic) {
        topic = calloc(1, sizeof *topic);
        if (!topic || !(topic->name = ow_bytes_text(name))) {
            free(topic);
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        }
        topic->next = *bucket;
        *bucket = topic;
    }
    *ret = topics->last = topic;
    return 0;
}

int ow_kafka_park(struct ow_kafka_parking *p, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    if (p->first == p->count)
        p->first = p->count = 0;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 16;
        struct ow_kafka_parked *grown = reallocarray(p->items, capacity, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        p->items = grown;
        p->capacity = capacity;
    }
    p->items[p->count++] = (struct ow_kafka_parked){*message, token};
    return 0;
}

const struct ow_kafka_parked *ow_kafka_unpark(struct ow_kafka_parking *p)
{
    return p->first < p->count ? &p->items[p->first++] : NULL;
}

void ow_kafka_parking_done(struct ow_kafka_parking *p)
{
    free(p->items);
    *p = (struct ow_kafka_parking){0};
}

/* --- partitions --------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    ow_kafka_partitioner *function;
} partitioners[] = {
    {"murmur2_random", rd_kafka_msg_partitioner_murmur2_random},
    {"murmur2", rd_kafka_msg_partitioner_murmur2},
    {"consistent_random", rd_kafka_msg_partitioner_consistent_random},
    {"consistent", rd_kafka_msg_partitioner_consistent},
    {"fnv1a_random", rd_kafka_msg_partitioner_fnv1a_random},
    {"fnv1a", rd_kafka_msg_partitioner_fnv1a},
    {"random", rd_kafka_msg_partitioner_random},
};

/* Called by librdkafka, in our thread or in its own, for every message. */
static int32_t place(const rd_kafka_topic_t *handle, const void *key, size_t key_size, int32_t count,
                     void *topic_opaque, void *message_opaque)
{
    struct ow_kafka_topic *topic = topic_opaque;
    atomic_store(&topic->partition_count, count);
    return topic->partitioner(handle, key, key_size, count, topic_opaque, message_opaque);
}

bool ow_kafka_topic_ask(struct ow_kafka_topic *topic, const struct ow_kafka_settings *settings, rd_kafka_t *rk)
{
    if (topic->handle)
        return true;
    topic->partitioner = partitioners[0].function;
    for (size_t i = 0; i < sizeof partitioners / sizeof partitioners[0]; i++)
        if (strcmp(partitioners[i].name, settings->partitioner) == 0)
            topic->partitioner = partitioners[i].function;
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(rk);
    rd_kafka_topic_conf_set_opaque(conf, topic);
    rd_kafka_topic_conf_set_partitioner_cb(conf, place);
    topic->handle = rd_kafka_topic_new(rk, topic->name, conf);
    if (!topic->handle)
        rd_kafka_topic_conf_destroy(conf);
    return topic->handle != NULL;
}

struct ow_kafka_lane *ow_kafka_topic_lane_of(struct ow_kafka_topic *topic, int32_t partition)
{
    if (partition < 0)
        return NULL;
    if (partition >= topic->lane_count) {
        int32_t count = partition < 16 ? 16 : partition * 2;
        struct ow_kafka_lane *grown = reallocarray(topic->lanes, (size_t)count, sizeof *grown);
        if (!grown)
            return NULL;
        for (int32_t i = topic->lane_count; i < count; i++)
            grown[i] = (struct ow_kafka_lane){.offset = -1};
        topic->lanes = grown;
        topic->lane_count = count;
    }
    return &topic->lanes[partition];
}

struct ow_kafka_lane *ow_kafka_topic_lane(struct ow_kafka_topic *topic, struct ow_bytes key)
{
    int32_t count = atomic_load(&topic->partition_count);
    if (!key.data || count < 1 || topic->partitioner == rd_kafka_msg_partitioner_random)
        return NULL;
    return ow_kafka_topic_lane_of(topic, topic->partitioner(topic->handle, key.data, key.size, count, NULL, NULL));
}

bool ow_kafka_lane_was_chosen(struct ow_kafka_topic *topic, const struct ow_kafka_lane *lane, struct ow_bytes key)
{
    if (topic->partitioner == rd_kafka_msg_partitioner_random || !key.data)
        return false;
    /* Of a key that is empty some partitioners think as of none. */
    return key.size > 0 || ow_kafka_topic_lane(topic, key) == lane;
}

bool ow_kafka_lane_is_new(struct ow_kafka_lane *lane, int64_t offset)
{
    bool is_new = lane && offset > lane->offset;
    if (is_new)
        lane->offset = offset;
    return is_new;
}

/* --- making one --------------------------------------------------------------------------------------- */

int ow_kafka_topic_create(struct ow_kafka_topic *topic, struct ow_kafka_client *client,
                          const struct ow_kafka_settings *settings, struct ow_error *err)
{
    char why[256] = "";
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(topic->name, settings->partitions, settings->replication, why,
                                                        sizeof why);
    if (!wanted)
        return ow_error_set(err, OW_EINVALID, "cannot make topic %s: %s", topic->name, why);
    for (size_t i = 0; i < settings->topic_config.count; i++)
        (void)rd_kafka_NewTopic_set_config(wanted, settings->topic_config.items[i].name,
                                           settings->topic_config.items[i].value);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, CREATE_MS, why, sizeof why);
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, CREATE_MS / 2, why, sizeof why);
    rd_kafka_AdminOptions_set_opaque(options, topic);
    rd_kafka_CreateTopics(client->rk, &wanted, 1, options, client->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(wanted);
    return 0;
}

/* Whoever may not make topics may still write to one, and a broker may make it at the first write. */
static enum ow_kafka_made judge_answer(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
        return OW_KAFKA_ASK_ANEW;
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return OW_KAFKA_NOT_MADE;
    default: /* it is there already, or may not be made by us, or … */
        return OW_KAFKA_MADE;
    }
}

enum ow_kafka_made ow_kafka_topic_made(rd_kafka_event_t *event, struct ow_kafka_topic **ret)
{
    struct ow_kafka_topic *topic = rd_kafka_event_opaque(event);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *why = rd_kafka_event_error_string(event);
    *ret = topic;
    topic->why_not[0] = '\0';
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count = 0;
        const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(result, &count);
        if (count == 1) {
            code = rd_kafka_topic_result_error(results[0]);
            why = rd_kafka_topic_result_error_string(results[0]);
        }
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        (void)snprintf(topic->why_not, sizeof topic->why_not, "it could not be made: %s",
                       why ? why : rd_kafka_err2str(code));
    return judge_answer(code);
}

/* --- trouble with one ----------------------------------------------------------------------------------- */

void ow_kafka_topic_why_not(const struct ow_kafka_topic *topic, rd_kafka_resp_err_t code, char *to, size_t size)
{
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        (void)snprintf(to, size, "topic %s: this user may not write to it", topic->name);
    else
        (void)snprintf(to, size, "topic %s does not exist%s%s", topic->name, topic->why_not[0] ? "; " : "",
                       topic->why_not);
}

/* --- there by now? -------------------------------------------------------------------------------------- */

static int await_made(struct ow_kafka_topic *topic, struct ow_kafka_client *client,
                      const struct ow_kafka_settings *settings, struct ow_error *err)
{
    int64_t deadline = ow_clock_monotonic_ms() + CREATE_MS + 1000;
    int r = ow_kafka_topic_create(topic, client, settings, err);
    while (r == 0 && ow_clock_monotonic_ms() < deadline) {
        struct ow_kafka_topic *which;
        rd_kafka_event_t *event = ow_kafka_client_await(client, client->queue, deadline);
        bool is_answer = event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT;
        enum ow_kafka_made made = is_answer ? ow_kafka_topic_made(event, &which) : OW_KAFKA_ASK_ANEW;
        if (event && !is_answer)
            (void)ow_kafka_client_note(client, settings, event);
        if (event)
            rd_kafka_event_destroy(event);
        if (is_answer && made != OW_KAFKA_ASK_ANEW)
            return made == OW_KAFKA_MADE;
        if (is_answer || !event)
            break;
    }
    return r < 0 ? r : ow_error_set(err, OW_EUNREACHABLE, "cannot reach %s: %s", settings->text, client->reason);
}

/* What the cluster says of a topic. */
static rd_kafka_resp_err_t look_up(const struct ow_kafka_topic *topic, const struct ow_kafka_client *client,
                                   int64_t deadline)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    int slice = 0;
    while ((slice = ow_kafka_client_slice(client, deadline, slice)) > 0) {
        const struct rd_kafka_metadata *metadata = NULL;
        code = rd_kafka_metadata(client->rk, 0, topic->handle, &metadata, slice);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
            rd_kafka_metadata_destroy(metadata);
        }
        if (code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
            (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && !topic->why_not[0]))
            ow_kafka_nap(); /* just made, perhaps */
        else if (code != RD_KAFKA_RESP_ERR__TIMED_OUT)
            break;
    }
    return code;
}

int ow_kafka_topic_ready(struct ow_kafka_topic *topic, struct ow_kafka_client *client,
                         const struct ow_kafka_settings *settings, char *reason, size_t size, struct ow_error *err)
{
    if (topic->state == OW_KAFKA_TOPIC_READY)
        return 1;
    int r = settings->creates_topics ? await_made(topic, client, settings, err) : 1;
    if (r < 0)
        return r;
    if (!ow_kafka_topic_ask(topic, settings, client->rk))
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (r == 1)
        code = look_up(topic, client, ow_clock_monotonic_ms() + LOOK_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        topic->state = OW_KAFKA_TOPIC_READY;
        return 1;
    }
    if (ow_kafka_fate_of(code) != OW_KAFKA_LATER)
        return ow_error_set(err, OW_EUNREACHABLE, "%s: topic %s: %s", settings->text, topic->name,
                            rd_kafka_err2str(code));
    ow_kafka_topic_why_not(topic, code, reason, size);
    return 0;
}
