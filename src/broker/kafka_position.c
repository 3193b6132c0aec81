/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A position of a source is the text of the metadata of a committed offset, in a consumer group that has no members:
 * Kafka keeps such a group as long as its offsets are fresh, and takes them into a producer's transaction. The offset
 * itself means nothing. Offsets belong to topics, so that a group may have several; the latest position counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/units.h"
#include "broker/kafka.h"

enum { ANSWER_MS = 30000, ASK_MS = 2000, PAUSE_MS = 50 };

void ow_kafka_group_name(const char *source, char to[OW_KAFKA_GROUP_SIZE])
{
    int n = snprintf(to, OW_KAFKA_GROUP_SIZE, "onewrite-%s", source);
    for (int i = 0; i < n && i < OW_KAFKA_GROUP_SIZE - 1; i++)
        if ((unsigned char)to[i] <= 0x20 || to[i] == 0x7f)
            to[i] = '_';
}

rd_kafka_topic_partition_list_t *ow_kafka_position_offsets(const char *topic, struct ow_position position)
{
    char text[OW_POSITION_TEXT_SIZE];
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(list, topic, 0);
    p->offset = 0;
    p->metadata = strdup(ow_position_format(position, text));
    p->metadata_size = strlen(text);
    if (p->metadata)
        return list;
    rd_kafka_topic_partition_list_destroy(list);
    return NULL;
}

static bool is_passing(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
        return true;
    default:
        return false;
    }
}

static int refuse(const struct ow_kafka_settings *settings, const char *group, rd_kafka_resp_err_t code,
                  const char *what, struct ow_error *err)
{
    int as = OW_EUNREACHABLE;
    if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        as = OW_EDENIED;
    return ow_error_set(err, as, "%s: cannot %s the position in group %s: %s", settings->text, what, group,
                        rd_kafka_err2str(code));
}

/* --- reading ------------------------------------------------------------------------------------------ */

/* Adds what one partition says. What is no position is not ours. */
static int take_latest(const rd_kafka_topic_partition_t *p, struct ow_position *latest, char **topic, int found,
                       struct ow_error *err)
{
    struct ow_position position;
    struct ow_bytes text = {p->metadata, p->metadata_size};
    if (!text.data || text.size == 0 || ow_position_parse(text, &position, NULL) < 0)
        return found;
    if (found && ow_position_compare(position, *latest) <= 0)
        return 1;
    char *name = strdup(p->topic);
    if (!name)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    free(*topic);
    *topic = name;
    *latest = position;
    return 1;
}

static int take_group(const rd_kafka_group_result_t *group, rd_kafka_resp_err_t *code, struct ow_position *ret,
                      char **topic, struct ow_error *err)
{
    const rd_kafka_error_t *error = rd_kafka_group_result_error(group);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(group);
    int found = 0;
    *code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; !error && list && found >= 0 && i < list->cnt; i++) {
        if (list->elems[i].err)
            *code = list->elems[i].err;
        else
            found = take_latest(&list->elems[i], ret, topic, found, err);
    }
    return found;
}

/* Where a position may be: partition 0 of each topic there is. The question without a list would be answered too, but
   where it fails (a new cluster has no coordinator yet) librdkafka 2.0.2 falls over the list that is not there.
   NULL, with *code: the cluster did not say. */
static rd_kafka_topic_partition_list_t *places(rd_kafka_t *rk, int timeout_ms, rd_kafka_resp_err_t *code)
{
    const struct rd_kafka_metadata *metadata = NULL;
    *code = rd_kafka_metadata(rk, 1, NULL, &metadata, timeout_ms);
    if (*code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(metadata->topic_cnt);
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strncmp(metadata->topics[i].topic, "__", 2) != 0) /* Kafka's own */
            rd_kafka_topic_partition_list_add(list, metadata->topics[i].topic, 0);
    rd_kafka_metadata_destroy(metadata);
    return list;
}

/* One question. 1, 0: answered; *code says whether anything is wrong. */
static int ask_about(struct ow_kafka_client *client, const char *group, const rd_kafka_topic_partition_list_t *list,
                     int timeout_ms, rd_kafka_resp_err_t *code, struct ow_position *ret, char **topic,
                     struct ow_error *err)
{
    rd_kafka_t *rk = client->rk;
    char why[128];
    int r = 0;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof why);
    rd_kafka_error_t *error = rd_kafka_AdminOptions_set_require_stable_offsets(options, 1);
    if (error)
        rd_kafka_error_destroy(error);
    rd_kafka_ListConsumerGroupOffsets_t *question = rd_kafka_ListConsumerGroupOffsets_new(group, list);
    rd_kafka_ListConsumerGroupOffsets(rk, &question, 1, options, queue);
    rd_kafka_event_t *event = ow_kafka_client_await(client, queue, ow_clock_monotonic_ms() + timeout_ms + 1000);
    *code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (*code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count = 0;
        const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
        if (count == 1)
            r = take_group(groups[0], code, ret, topic, err);
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ListConsumerGroupOffsets_destroy(question);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return r;
}

static int ask(struct ow_kafka_client *client, const char *group, int timeout_ms, rd_kafka_resp_err_t *code,
               struct ow_position *ret, char **topic, struct ow_error *err)
{
    rd_kafka_topic_partition_list_t *list = places(client->rk, timeout_ms < ASK_MS ? timeout_ms : ASK_MS, code);
    if (!list)
        return 0;
    int r = list->cnt > 0 ? ask_about(client, group, list, timeout_ms, code, ret, topic, err) : 0;
    rd_kafka_topic_partition_list_destroy(list);
    return r;
}

static void nap(void)
{
    struct ow_wait wait;
    ow_wait_init(&wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + PAUSE_MS);
    ow_wait_sleep(&wait);
}

static int ask_until_answered(struct ow_kafka_client *asker, const struct ow_kafka_settings *settings,
                              const char *group, struct ow_position *ret, char **topic, struct ow_error *err)
{
    rd_kafka_resp_err_t code;
    int64_t until = ow_clock_monotonic_ms() + ANSWER_MS, left = ANSWER_MS;
    int r;
    for (;;) {
        r = ask(asker, group, (int)left, &code, ret, topic, err);
        left = until - ow_clock_monotonic_ms();
        if (r < 0 || !is_passing(code) || left <= PAUSE_MS || ow_kafka_client_slice(asker, until, 0) == 0)
            break;
        nap();
    }
    if (r < 0 || code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return r;
    return refuse(settings, group, code, "read", err);
}

/* A consumer of that group asks, which joins nothing: a producer falls over the answer of a coordinator that is none
   any more, or not yet (librdkafka 2.0 to 2.10 at least). */
int ow_kafka_position_read(const struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                           const char *source, struct ow_position *ret, char **topic, struct ow_error *err)
{
    char group[OW_KAFKA_GROUP_SIZE];
    const struct ow_kafka_pair extra[] = {{"group.id", group}, {NULL, NULL}};
    struct ow_kafka_client asker = {.broker = client->broker, .event_fd = -1, .is_consumer = true};
    ow_kafka_group_name(source, group);
    int r = ow_kafka_client_open(&asker, settings, extra, err);
    if (r == 0)
        r = ow_kafka_client_reach(&asker, settings, err);
    if (r == 0)
        r = ask_until_answered(&asker, settings, group, ret, topic, err);
    ow_kafka_client_done(&asker);
    return r;
}

/* --- writing ------------------------------------------------------------------------------------------ */

static rd_kafka_resp_err_t tell(struct ow_kafka_client *client, const char *group,
                                const rd_kafka_topic_partition_list_t *offsets, int timeout_ms)
{
    rd_kafka_t *rk = client->rk;
    char why[128];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof why);
    rd_kafka_AlterConsumerGroupOffsets_t *order = rd_kafka_AlterConsumerGroupOffsets_new(group, offsets);
    rd_kafka_AlterConsumerGroupOffsets(rk, &order, 1, options, queue);
    rd_kafka_event_t *event = ow_kafka_client_await(client, queue, ow_clock_monotonic_ms() + timeout_ms + 1000);
    rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count = 0;
        struct ow_position ignored;
        char *topic = NULL;
        const rd_kafka_group_result_t **groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
            rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
        if (count == 1)
            (void)take_group(groups[0], &code, &ignored, &topic, NULL);
        free(topic);
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AlterConsumerGroupOffsets_destroy(order);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return code;
}

int ow_kafka_position_write(struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                            const char *source, const char *topic, struct ow_position position, struct ow_error *err)
{
    char group[OW_KAFKA_GROUP_SIZE];
    rd_kafka_resp_err_t code;
    int64_t until = ow_clock_monotonic_ms() + ANSWER_MS, left = ANSWER_MS;
    rd_kafka_topic_partition_list_t *offsets = ow_kafka_position_offsets(topic, position);
    if (!offsets)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_kafka_group_name(source, group);
    for (;;) {
        code = tell(client, group, offsets, (int)left);
        left = until - ow_clock_monotonic_ms();
        if (!is_passing(code) || left <= PAUSE_MS || ow_kafka_client_slice(client, until, 0) == 0)
            break;
        nap();
    }
    rd_kafka_topic_partition_list_destroy(offsets);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : refuse(settings, group, code, "record", err);
}
