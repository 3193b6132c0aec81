/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A position of a source is the text of the metadata of a committed offset, in a consumer group that has no members:
 * Kafka keeps such a group as long as its offsets are fresh, and takes them into a producer's transaction. The offset
 * itself means nothing. Each place for positions is a group, and since offsets belong to topics a group may have
 * several; the latest position counts.
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

/* Transactions write to the first place, which has the name of their id. */
static void name_place(const char *source, uint32_t place, char to[OW_KAFKA_GROUP_SIZE])
{
    ow_kafka_group_name(source, to);
    size_t size = strlen(to);
    if (place > 0)
        (void)snprintf(to + size, OW_KAFKA_GROUP_SIZE - size, ".%u", place + 1);
}

static bool add_offset(rd_kafka_topic_partition_list_t *list, const char *topic, struct ow_position position)
{
    char text[OW_POSITION_TEXT_SIZE];
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(list, topic, 0);
    p->offset = 0;
    p->metadata = strdup(ow_position_format(position, text));
    p->metadata_size = p->metadata ? strlen(text) : 0;
    return p->metadata;
}

rd_kafka_topic_partition_list_t *ow_kafka_position_offsets(const char *topic, struct ow_position position)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    if (add_offset(list, topic, position))
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

/* What the places hold. */
struct found {
    struct {
        rd_kafka_topic_partition_list_t *topics; /* NULL: not asked yet */
        struct ow_position latest;
    } places[OW_RECORD_PLACES];
    struct ow_position latest; /* of all */
    const char *latest_topic;  /* NULL: there is no position; else of one of the lists */
};

static void forget_found(struct found *found)
{
    for (int i = 0; i < OW_RECORD_PLACES; i++)
        if (found->places[i].topics)
            rd_kafka_topic_partition_list_destroy(found->places[i].topics);
    *found = (struct found){0};
}

/* What is no position is not ours. */
static bool has_position(const rd_kafka_topic_partition_t *p, struct ow_position *ret)
{
    struct ow_bytes text = {p->metadata, p->metadata_size};
    return text.data && text.size > 0 && ow_position_parse(text, ret, NULL) == 0;
}

static void take_latest(struct found *found, uint32_t place)
{
    const rd_kafka_topic_partition_list_t *list = found->places[place].topics;
    struct ow_position position, *latest = &found->places[place].latest;
    for (int i = 0; list && i < list->cnt; i++) {
        if (!has_position(&list->elems[i], &position))
            continue;
        if (ow_position_compare(position, *latest) > 0)
            *latest = position;
        if (found->latest_topic && ow_position_compare(position, found->latest) <= 0)
            continue;
        found->latest = position;
        found->latest_topic = list->elems[i].topic;
    }
}

static bool is_everywhere(const struct found *found)
{
    for (int i = 0; i < OW_RECORD_PLACES; i++)
        if (ow_position_compare(found->places[i].latest, found->latest) < 0)
            return false;
    return true;
}

/* What went wrong with this group, or with one of its topics. */
static rd_kafka_resp_err_t code_of(const rd_kafka_group_result_t *group)
{
    const rd_kafka_error_t *error = rd_kafka_group_result_error(group);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(group);
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; !error && list && i < list->cnt; i++)
        if (list->elems[i].err)
            code = list->elems[i].err;
    return code;
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

/* One question; NULL, with *code: it has no answer. */
static rd_kafka_topic_partition_list_t *ask_about(struct ow_kafka_client *client, const char *group,
                                                  const rd_kafka_topic_partition_list_t *list, int timeout_ms,
                                                  rd_kafka_resp_err_t *code)
{
    rd_kafka_t *rk = client->rk;
    rd_kafka_topic_partition_list_t *answer = NULL;
    char why[128];
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
        *code = count == 1 ? code_of(groups[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
        if (*code == RD_KAFKA_RESP_ERR_NO_ERROR)
            answer = rd_kafka_topic_partition_list_copy(rd_kafka_group_result_partitions(groups[0]));
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ListConsumerGroupOffsets_destroy(question);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return answer;
}

/* Asks about the places that have not answered yet. */
static void ask(struct ow_kafka_client *client, const char *source, int timeout_ms, rd_kafka_resp_err_t *code,
                struct found *found)
{
    char group[OW_KAFKA_GROUP_SIZE];
    rd_kafka_topic_partition_list_t *list = places(client->rk, timeout_ms < ASK_MS ? timeout_ms : ASK_MS, code);
    for (uint32_t i = 0; list && list->cnt > 0 && i < OW_RECORD_PLACES && *code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        if (found->places[i].topics)
            continue;
        name_place(source, i, group);
        found->places[i].topics = ask_about(client, group, list, timeout_ms, code);
        take_latest(found, i);
    }
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
}

static void nap(void)
{
    struct ow_wait wait;
    ow_wait_init(&wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + PAUSE_MS);
    ow_wait_sleep(&wait);
}

/* To be forgotten, whatever comes back. */
static int ask_until_answered(struct ow_kafka_client *asker, const struct ow_kafka_settings *settings,
                              const char *source, struct found *found, struct ow_error *err)
{
    char group[OW_KAFKA_GROUP_SIZE];
    rd_kafka_resp_err_t code;
    int64_t until = ow_clock_monotonic_ms() + ANSWER_MS, left = ANSWER_MS;
    for (;;) {
        ask(asker, source, (int)left, &code, found);
        left = until - ow_clock_monotonic_ms();
        if (!is_passing(code) || left <= PAUSE_MS || ow_kafka_client_slice(asker, until, 0) == 0)
            break;
        nap();
    }
    name_place(source, found->places[0].topics ? 1 : 0, group);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : refuse(settings, group, code, "read", err);
}

/* A consumer of that group asks, which joins nothing: a producer falls over the answer of a coordinator that is none
   any more, or not yet (librdkafka 2.0 to 2.10 at least). */
static int open_asker(struct ow_kafka_client *asker, const struct ow_kafka_settings *settings, const char *source,
                      struct ow_error *err)
{
    char group[OW_KAFKA_GROUP_SIZE];
    const struct ow_kafka_pair extra[] = {{"group.id", group}, {NULL, NULL}};
    ow_kafka_group_name(source, group);
    int r = ow_kafka_client_open(asker, settings, extra, err);
    return r == 0 ? ow_kafka_client_reach(asker, settings, err) : r;
}

static int note_topic(const char *topic, char **to, struct ow_error *err)
{
    char *name = strdup(topic);
    if (!name)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    free(*to);
    *to = name;
    return 1;
}

int ow_kafka_position_read(const struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                           const char *source, struct ow_position *ret, char **topic, struct ow_error *err)
{
    struct ow_kafka_client asker = {.broker = client->broker, .event_fd = -1, .is_consumer = true};
    struct found found = {0};
    int r = open_asker(&asker, settings, source, err);
    if (r == 0)
        r = ask_until_answered(&asker, settings, source, &found, err);
    if (r == 0 && found.latest_topic) {
        *ret = found.latest;
        r = note_topic(found.latest_topic, topic, err);
        r = r == 1 && !is_everywhere(&found) ? 2 : r;
    }
    forget_found(&found);
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
        const rd_kafka_group_result_t **groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
            rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
        code = count == 1 ? code_of(groups[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AlterConsumerGroupOffsets_destroy(order);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return code;
}

static int tell_until_done(struct ow_kafka_client *client, const struct ow_kafka_settings *settings, const char *source,
                           uint32_t place, const rd_kafka_topic_partition_list_t *offsets, struct ow_error *err)
{
    char group[OW_KAFKA_GROUP_SIZE];
    rd_kafka_resp_err_t code;
    int64_t until = ow_clock_monotonic_ms() + ANSWER_MS, left = ANSWER_MS;
    name_place(source, place, group);
    for (;;) {
        code = tell(client, group, offsets, (int)left);
        left = until - ow_clock_monotonic_ms();
        if (!is_passing(code) || left <= PAUSE_MS || ow_kafka_client_slice(client, until, 0) == 0)
            break;
        nap();
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : refuse(settings, group, code, "record", err);
}

int ow_kafka_position_write(struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                            const char *source, uint32_t place, const char *topic, struct ow_position position,
                            struct ow_error *err)
{
    rd_kafka_topic_partition_list_t *offsets = ow_kafka_position_offsets(topic, position);
    if (!offsets)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int r = tell_until_done(client, settings, source, place, offsets, err);
    rd_kafka_topic_partition_list_destroy(offsets);
    return r;
}

/* A group that has forgotten would need the right to delete; a position of zero counts as none. */
static int forget_place(struct ow_kafka_client *asker, const struct ow_kafka_settings *settings, const char *source,
                        uint32_t place, const rd_kafka_topic_partition_list_t *held, struct ow_error *err)
{
    static const struct ow_position none;
    struct ow_position ignored;
    int r = 0;
    rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(held->cnt);
    for (int i = 0; i < held->cnt && r == 0; i++)
        if (has_position(&held->elems[i], &ignored) && !add_offset(offsets, held->elems[i].topic, none))
            r = ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0 && offsets->cnt > 0)
        r = tell_until_done(asker, settings, source, place, offsets, err);
    rd_kafka_topic_partition_list_destroy(offsets);
    return r;
}

int ow_kafka_position_forget(const struct ow_kafka_client *client, const struct ow_kafka_settings *settings,
                             const char *source, struct ow_error *err)
{
    struct ow_kafka_client asker = {.broker = client->broker, .event_fd = -1, .is_consumer = true};
    struct found found = {0};
    int r = open_asker(&asker, settings, source, err);
    if (r == 0)
        r = ask_until_answered(&asker, settings, source, &found, err);
    for (uint32_t i = 0; i < OW_RECORD_PLACES && r == 0; i++)
        if (found.places[i].topics)
            r = forget_place(&asker, settings, source, i, found.places[i].topics, err);
    forget_found(&found);
    ow_kafka_client_done(&asker);
    return r;
}
