/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/units.h"
#include "broker/kafka_subscribe.h"

/* All names but those that begin with "__". */
#define OF_OTHERS "^([^_]|_[^_]|_$)"

int ow_kafka_group_join(struct ow_kafka_subscriber *s, struct ow_error *err)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new((int)s->topic_count + 1);
    for (size_t i = 0; i < s->topic_count; i++)
        rd_kafka_topic_partition_list_add(topics, s->topics[i], RD_KAFKA_PARTITION_UA);
    if (s->topic_count == 0)
        rd_kafka_topic_partition_list_add(topics, OF_OTHERS, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(s->client.rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    return ow_error_set(err, OW_EINVALID, "%s: cannot subscribe: %s", s->settings.text, rd_kafka_err2str(code));
}

/* --- partitions come and go --------------------------------------------------------------------------- */

static void tell(struct ow_kafka_subscriber *s, enum ow_subscriber_event event, const struct ow_kafka_place *p)
{
    if (s->listener)
        s->listener(s->context, event, ow_bytes_of(p->topic), (uint32_t)p->partition);
}

static void note(struct ow_kafka_subscriber *s, rd_kafka_error_t *error, const char *what)
{
    if (!error)
        return;
    if (s->error.code == 0)
        (void)ow_error_set(&s->error, OW_EIO, "%s: group %s: cannot %s partitions: %s", s->settings.text, s->group,
                           what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

static bool is_cooperative(const struct ow_kafka_subscriber *s)
{
    const char *protocol = rd_kafka_rebalance_protocol(s->client.rk);
    return protocol && strcmp(protocol, "COOPERATIVE") == 0;
}

/* Where the group is in these; nobody else can say where it has never been. */
static void ask_offsets(struct ow_kafka_subscriber *s, rd_kafka_topic_partition_list_t *list)
{
    int64_t deadline = ow_clock_monotonic_ms() + OW_KAFKA_FLUSH_MS;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int64_t left; list->cnt > 0 && (left = deadline - ow_clock_monotonic_ms()) > 0;) {
        code = rd_kafka_committed(s->client.rk, list, (int)left);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
    }
    if (list->cnt > 0 && s->error.code == 0)
        (void)ow_error_set(&s->error, OW_EUNREACHABLE, "%s: group %s: cannot ask where it is: %s", s->settings.text,
                           s->group, rd_kafka_err2str(code));
}

/* An offset that is behind the end is waited for. */
static int64_t clamp(struct ow_kafka_subscriber *s, const rd_kafka_topic_partition_t *one, int64_t offset)
{
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(s->client.rk, one->topic, one->partition, &low, &high,
                                                                OW_KAFKA_FLUSH_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return offset;
    return offset < low ? low : offset > high ? high : offset;
}

static void begin(struct ow_kafka_subscriber *s, struct ow_kafka_place *p, rd_kafka_topic_partition_t *one)
{
    if (one->offset >= 0) {
        p->next = p->durable = p->settled = one->offset;
    } else if (s->from >= 0) {
        p->least = s->from;
        p->next = one->offset = clamp(s, one, s->from);
    } else {
        p->keeps_start = s->from == OW_OFFSET_END;
        one->offset = p->keeps_start ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
    }
}

static void take(struct ow_kafka_subscriber *s, rd_kafka_topic_partition_list_t *list)
{
    s->starts = list;
    ask_offsets(s, list);
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *one = &list->elems[i];
        struct ow_kafka_place *p = ow_kafka_place_find(s, ow_bytes_of(one->topic), one->partition);
        if (!p)
            p = ow_kafka_place_add(s, one->topic, one->partition);
        if (!p) {
            (void)ow_error_set(&s->error, OW_ENOMEM, "out of memory");
            continue;
        }
        begin(s, p, one);
        if (strstr(s->absent, one->topic))
            s->absent[0] = '\0';
        tell(s, OW_EVENT_ASSIGNED, p);
    }
    s->starts = NULL;
    if (is_cooperative(s))
        note(s, rd_kafka_incremental_assign(s->client.rk, list), "take");
    else
        (void)rd_kafka_assign(s->client.rk, list);
    s->has_assignment = true;
}

static void give_up(struct ow_kafka_subscriber *s, const rd_kafka_topic_partition_list_t *list)
{
    bool is_lost = rd_kafka_assignment_lost(s->client.rk);
    for (int i = 0; i < list->cnt; i++) {
        struct ow_kafka_place *p = ow_kafka_place_find(s, ow_bytes_of(list->elems[i].topic), list->elems[i].partition);
        if (p && !is_lost)
            tell(s, OW_EVENT_REVOKED, p);
    }
    if (!is_lost && ow_kafka_group_flush(s, OW_KAFKA_FLUSH_MS, NULL) < 0) {
        /* What is not durable is given out again, by whoever is next. */
    }
    for (int i = 0; i < list->cnt; i++) {
        struct ow_kafka_place *p = ow_kafka_place_find(s, ow_bytes_of(list->elems[i].topic), list->elems[i].partition);
        if (!p)
            continue;
        if (is_lost)
            tell(s, OW_EVENT_LOST, p);
        ow_kafka_place_remove(s, p);
    }
    if (is_cooperative(s))
        note(s, rd_kafka_incremental_unassign(s->client.rk, list), "give up");
    else
        (void)rd_kafka_assign(s->client.rk, NULL);
}

void ow_kafka_group_rebalance(struct ow_kafka_subscriber *s, rd_kafka_event_t *event)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        take(s, list);
    else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        give_up(s, list);
    else
        (void)rd_kafka_assign(s->client.rk, NULL);
}

/* --- offsets ------------------------------------------------------------------------------------------ */

/* What is settled and not durable; NULL: nothing. */
static rd_kafka_topic_partition_list_t *unsettled(struct ow_kafka_subscriber *s)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < s->place_count; i++) {
        struct ow_kafka_place *p = s->places[i];
        if (p->settled < 0 || p->settled == p->durable)
            continue;
        if (!list)
            list = rd_kafka_topic_partition_list_new((int)s->place_count);
        rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = p->settled;
        p->sent = p->settled;
    }
    return list;
}

void ow_kafka_group_commit(struct ow_kafka_subscriber *s)
{
    rd_kafka_topic_partition_list_t *list = unsettled(s);
    s->has_unsettled = false;
    if (!list)
        return;
    s->commit_due_ms = ow_clock_monotonic_ms() + OW_KAFKA_COMMIT_MS;
    if (rd_kafka_commit_queue(s->client.rk, list, s->client.queue, NULL, NULL) == RD_KAFKA_RESP_ERR_NO_ERROR)
        s->is_committing = true;
    else
        s->has_unsettled = true;
    rd_kafka_topic_partition_list_destroy(list);
}

static bool is_refusal(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID || code == RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST;
}

/* The first code that tells why something is not durable. */
static rd_kafka_resp_err_t take_commit(struct ow_kafka_subscriber *s, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event), first = code;
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        struct ow_kafka_place *p = ow_kafka_place_find(s, ow_bytes_of(one->topic), one->partition);
        rd_kafka_resp_err_t why = code != RD_KAFKA_RESP_ERR_NO_ERROR ? code : one->err;
        if (first == RD_KAFKA_RESP_ERR_NO_ERROR)
            first = why;
        if (!p)
            continue;
        if (why == RD_KAFKA_RESP_ERR_NO_ERROR && one->offset >= 0)
            p->durable = one->offset;
        if (p->settled != p->durable)
            s->has_unsettled = true;
    }
    return first;
}

void ow_kafka_group_committed(struct ow_kafka_subscriber *s, rd_kafka_event_t *event)
{
    s->is_committing = false;
    rd_kafka_resp_err_t code = take_commit(s, event);
    if (s->has_unsettled)
        s->commit_due_ms = ow_clock_monotonic_ms() + OW_KAFKA_COMMIT_MS;
    if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED && s->error.code == 0)
        (void)ow_error_set(&s->error, OW_EDENIED, "%s: this user may not read as group %s", s->settings.text, s->group);
}

/* One request, whose answer comes to a queue of its own, so that nothing else is heard meanwhile. */
static rd_kafka_resp_err_t commit_now(struct ow_kafka_subscriber *s, rd_kafka_topic_partition_list_t *list,
                                      int64_t deadline)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(s->client.rk);
    int64_t left = deadline - ow_clock_monotonic_ms();
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(s->client.rk, list, queue, NULL, NULL);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, left > 0 ? (int)left : 0);
        code = event ? take_commit(s, event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (event)
            rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    return code;
}

int ow_kafka_group_flush(struct ow_kafka_subscriber *s, int timeout_ms, struct ow_error *err)
{
    int64_t deadline = ow_clock_monotonic_ms() + timeout_ms;
    rd_kafka_topic_partition_list_t *list;
    while ((list = unsettled(s))) {
        rd_kafka_resp_err_t code = commit_now(s, list, deadline);
        rd_kafka_topic_partition_list_destroy(list);
        if (is_refusal(code))
            return ow_error_set(err, OW_ESTANDBY, "%s: group %s goes on without us: %s", s->settings.text, s->group,
                                rd_kafka_err2str(code));
        if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
            return ow_error_set(err, OW_EDENIED, "%s: this user may not read as group %s", s->settings.text, s->group);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && ow_clock_monotonic_ms() >= deadline)
            return ow_error_set(err, OW_EUNREACHABLE, "%s: group %s: what was settled is not durable yet: %s",
                                s->settings.text, s->group, rd_kafka_err2str(code));
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) { /* not at once again */
            struct ow_wait wait;
            ow_wait_init(&wait);
            ow_wait_until(&wait, ow_clock_monotonic_ms() + 20);
            ow_wait_sleep(&wait);
        }
    }
    return 0;
}

bool ow_kafka_group_leave(struct ow_kafka_subscriber *s)
{
    int64_t deadline = ow_clock_monotonic_ms() + OW_KAFKA_FLUSH_MS;
    s->listener = NULL;
    if (s->client.is_down) /* nobody hears of it: the session ends by itself */
        return false;
    if (ow_kafka_group_flush(s, OW_KAFKA_FLUSH_MS, NULL) == OW_EUNREACHABLE)
        return false; /* it is given out again */
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(s->client.rk, s->client.queue);
    if (error) {
        rd_kafka_error_destroy(error);
        return false;
    }
    while (!rd_kafka_consumer_closed(s->client.rk) && ow_clock_monotonic_ms() < deadline) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(s->client.queue, 20);
        if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
            ow_kafka_group_rebalance(s, event);
        else if (event)
            (void)ow_kafka_client_note(&s->client, &s->settings, event);
        if (event)
            rd_kafka_event_destroy(event);
    }
    return rd_kafka_consumer_closed(s->client.rk);
}
