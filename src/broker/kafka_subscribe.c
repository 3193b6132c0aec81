/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "broker/kafka_subscribe.h"

enum {
    SERVE_MS = 20, /* how long records are given out without a look at what else there is */
    ANSWER_MS = 50,
    POLL_MS = 60000, /* Kafka gives up a member that asks for nothing for 5 minutes */
};

static struct ow_kafka_subscriber *self_of(struct ow_subscriber *subscriber)
{
    return (struct ow_kafka_subscriber *)subscriber;
}

/* --- what is not a record ----------------------------------------------------------------------------- */

static void deny(struct ow_kafka_subscriber *s, const char *what, const char *name)
{
    if (s->error.code == 0)
        (void)ow_error_set(&s->error, OW_EDENIED, "%s: %s %s: this user may not read it", s->settings.text, what,
                           name ? name : "");
}

static void take_error(struct ow_kafka_subscriber *s, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        const char *name = strstr(text, "available: ");
        size_t size = name ? strcspn(name + 11, ":") : 0;
        (void)snprintf(s->absent, sizeof s->absent, "topic %.*s is not there yet", (int)size, name ? name + 11 : "");
    } else if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        if (s->error.code == 0)
            (void)ow_error_set(&s->error, OW_EDENIED, "%s: this user may not read a topic: %s", s->settings.text, text);
    } else if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
        if (s->group)
            deny(s, "group", s->group);
    } else if (code != RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED) { /* of which LOST tells */
        (void)ow_kafka_client_note(&s->client, &s->settings, event);
    }
}

static void take_event(struct ow_kafka_subscriber *s, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
        ow_kafka_group_rebalance(s, event);
        break;
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        ow_kafka_group_committed(s, event);
        break;
    case RD_KAFKA_EVENT_ERROR:
        take_error(s, event);
        break;
    default:
        (void)ow_kafka_client_note(&s->client, &s->settings, event);
        break;
    }
}

/* Nothing says that a broker is back where there is nothing to read: it is asked. */
static void ask_for_brokers(struct ow_kafka_subscriber *s)
{
    const struct rd_kafka_metadata *metadata = NULL;
    s->ask_due_ms = s->served_ms + OW_KAFKA_ASK_MS;
    if (rd_kafka_metadata(s->client.rk, 0, NULL, &metadata, ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    rd_kafka_metadata_destroy(metadata);
    s->client.is_down = false;
}

/* All but records. */
static int serve(struct ow_kafka_subscriber *s, struct ow_error *err)
{
    rd_kafka_event_t *event;
    ow_kafka_client_hear(&s->client);
    while ((event = rd_kafka_queue_poll(s->client.queue, 0))) {
        take_event(s, event);
        rd_kafka_event_destroy(event);
    }
    s->served_ms = ow_clock_monotonic_ms();
    if (s->has_unsettled && !s->is_committing && !s->client.is_down && s->served_ms >= s->commit_due_ms)
        ow_kafka_group_commit(s);
    if (s->client.is_down && s->served_ms >= s->ask_due_ms)
        ask_for_brokers(s);
    int r = s->error.code == 0 ? ow_kafka_client_fatal(&s->client, &s->settings, &s->error) : 0;
    if (r == 0 && !s->group && s->served_ms >= s->look_due_ms)
        r = ow_kafka_alone_look(s, false, &s->error);
    (void)r;
    if (s->error.code == 0)
        return 0;
    *err = s->error;
    s->error = (struct ow_error){0};
    return err->code;
}

/* --- giving out --------------------------------------------------------------------------------------- */

static int subscriber_next(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    if (s->given)
        rd_kafka_message_destroy(s->given);
    s->given = NULL;
    bool has_served = s->is_held || ow_clock_monotonic_ms() >= s->served_ms + SERVE_MS;
    int r = has_served ? serve(s, err) : 0;
    if (r == 0 && s->is_held) {
        /* An empty queue: it only says that we live. */
        rd_kafka_message_t *none;
        (void)rd_kafka_consume_batch_queue(s->nothing, 0, &none, 1);
        return 0;
    }
    while (r == 0) {
        rd_kafka_message_t *m = s->kept_places > 0 ? ow_kafka_place_kept(s) : NULL;
        bool is_kept = m != NULL;
        if (!m && s->batch_first == s->batch_count) {
            r = has_served ? 0 : serve(s, err);
            has_served = true;
            if (r < 0 || !ow_kafka_batch_fill(s))
                return r;
        }
        if (!m)
            m = s->batch[s->batch_first++];
        r = ow_kafka_record_judge(s, m, is_kept, ret, err);
    }
    return r;
}

static bool has_all(struct ow_kafka_subscriber *s, struct ow_kafka_place *p)
{
    int64_t low = 0, high = -1;
    if (p->has_met_end)
        return true;
    if (p->end_at_open < 0 && s->group &&
        rd_kafka_get_watermark_offsets(s->client.rk, p->topic, p->partition, &low, &high) ==
            RD_KAFKA_RESP_ERR_NO_ERROR &&
        high >= 0)
        p->end_at_open = high;
    return p->end_at_open >= 0 && (p->has_begun ? p->next >= p->end_at_open : p->next == p->end_at_open);
}

static int subscriber_is_at_end(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    bool is_absent = s->absent[0] != '\0', is_one_of_many = s->group && s->topic_count > 1;
    if (is_absent && !is_one_of_many)
        return ow_error_set(err, OW_ENOTFOUND, "%s: %s", s->settings.text, s->absent);
    if (!s->has_assignment)
        return 0;
    for (size_t i = 0; i < s->place_count; i++)
        if (!has_all(s, s->places[i]))
            return 0;
    return is_absent ? ow_error_set(err, OW_ENOTFOUND, "%s: %s", s->settings.text, s->absent) : 1;
}

static void subscriber_wait(struct ow_subscriber *subscriber, struct ow_wait *wait)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    if (s->error.code != 0)
        ow_wait_until(wait, 0);
    if (!s->is_held && (s->may_have_more || s->batch_first < s->batch_count || s->kept_places > 0))
        ow_wait_until(wait, 0);
    if (s->has_unsettled && !s->is_committing && !s->client.is_down)
        ow_wait_until(wait, s->commit_due_ms);
    if (!s->group)
        ow_wait_until(wait, s->look_due_ms);
    if (s->client.is_down)
        ow_wait_until(wait, s->ask_due_ms);
    ow_wait_until(wait, s->served_ms + POLL_MS);
    ow_wait_add(wait, s->client.event_fd, POLLIN);
}

static const char *subscriber_trouble(struct ow_subscriber *subscriber)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    const char *why = s->absent[0] ? s->absent : s->lasting;
    if (!s->client.is_down)
        s->down[0] = '\0';
    else if (!s->down[0] && s->client.reason[0]) /* one reason, of the many that its addresses give in turn */
        (void)snprintf(s->down, sizeof s->down, "cannot reach %s: %s", s->settings.text, s->client.reason);
    if (s->down[0])
        return s->down;
    if (!why[0])
        return NULL;
    (void)snprintf(s->trouble, sizeof s->trouble, "%s: %s", s->settings.text, why);
    return s->trouble;
}

/* --- the caller's say --------------------------------------------------------------------------------- */

static int subscriber_settle(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition,
                             int64_t offset, struct ow_error *err)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    if (!s->group) /* nothing is remembered */
        return 0;
    struct ow_kafka_place *p = ow_kafka_place_find(s, topic, (int32_t)partition);
    if (!p)
        return ow_error_set(err, OW_ESTANDBY, "%.*s, partition %u: another member of group %s has it", OW_PRINT(topic),
                            partition, s->group);
    if (offset + 1 <= p->settled)
        return 0;
    p->settled = offset + 1;
    p->keeps_start = false;
    if (!s->has_unsettled && s->commit_due_ms < s->served_ms)
        s->commit_due_ms = s->served_ms + OW_KAFKA_COMMIT_MS;
    s->has_unsettled = true;
    return 0;
}

static int subscriber_flush(struct ow_subscriber *subscriber, int timeout_ms, struct ow_error *err)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    return s->group ? ow_kafka_group_flush(s, timeout_ms, err) : 0;
}

static int pause_or_resume(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, bool is_paused)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    if (!topic.data) {
        s->is_held = is_paused;
        return 0;
    }
    struct ow_kafka_place *p = ow_kafka_place_find(s, topic, (int32_t)partition);
    if (!p)
        return OW_ENOTFOUND;
    ow_kafka_place_pause(s, p, is_paused);
    return 0;
}

static int subscriber_pause(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition)
{
    return pause_or_resume(subscriber, topic, partition, true);
}

static int subscriber_resume(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition)
{
    return pause_or_resume(subscriber, topic, partition, false);
}

static int subscriber_seek(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, int64_t offset,
                           struct ow_error *err)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    struct ow_kafka_place *p = ow_kafka_place_find(s, topic, (int32_t)partition);
    if (!p)
        return ow_error_set(err, OW_ENOTFOUND, "%.*s, partition %u: there is no such partition here", OW_PRINT(topic),
                            partition);
    if (offset < 0)
        return ow_kafka_place_seek(s, p, offset == OW_OFFSET_END ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING,
                                   err);
    return ow_kafka_place_seek(s, p, offset, err);
}

static int subscriber_look(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition,
                           struct ow_standing *ret)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    const struct ow_kafka_place *p = ow_kafka_place_find(s, topic, (int32_t)partition);
    int64_t low = 0, high = -1;
    if (!p)
        return OW_ENOTFOUND;
    if (rd_kafka_get_watermark_offsets(s->client.rk, p->topic, p->partition, &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR)
        high = -1;
    *ret = (struct ow_standing){.next = p->next, .end = high < 0 ? -1 : high, .settled = p->durable};
    return 0;
}

/* --- open and close ----------------------------------------------------------------------------------- */

static int open_client(struct ow_kafka_subscriber *s, struct ow_error *err)
{
    static const uint64_t one = 1;
    char why[512], session[16];
    rd_kafka_conf_t *conf = NULL;
    (void)snprintf(session, sizeof session, "%u", s->session_ms);
    const struct ow_kafka_pair extra[] = {{"group.id", s->group ? s->group : "onewrite-alone"},
                                          {s->session_ms ? "session.timeout.ms" : NULL, session},
                                          {NULL, NULL}};
    s->client.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->client.event_fd < 0)
        return ow_error_set(err, OW_ENOMEM, "out of descriptors");
    int r = ow_kafka_settings_conf(&s->settings, extra, &conf, err);
    if (r < 0)
        return r;
    int events = RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_ERROR;
    rd_kafka_conf_set_events(conf, s->settings.token_file ? events | RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH : events);
    rd_kafka_conf_set_log_cb(conf, NULL); /* what matters comes as an event */
    s->client.rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!s->client.rk) {
        rd_kafka_conf_destroy(conf);
        return ow_error_set(err, OW_EINVALID, "%s: %s", s->settings.text, why);
    }
    (void)rd_kafka_poll_set_consumer(s->client.rk);
    s->client.queue = rd_kafka_queue_get_consumer(s->client.rk);
    s->records = rd_kafka_queue_new(s->client.rk);
    s->nothing = rd_kafka_queue_new(s->client.rk);
    rd_kafka_queue_io_event_enable(s->client.queue, s->client.event_fd, &one, sizeof one);
    rd_kafka_queue_io_event_enable(s->records, s->client.event_fd, &one, sizeof one);
    return 0;
}

static int subscriber_open(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    int r = open_client(s, err);
    if (r == 0)
        r = ow_kafka_client_reach(&s->client, &s->settings, err);
    s->served_ms = ow_clock_monotonic_ms();
    if (r < 0)
        return r;
    return s->group ? ow_kafka_group_join(s, err) : ow_kafka_alone_look(s, true, err);
}

static void free_all(struct ow_kafka_subscriber *s)
{
    ow_kafka_client_done(&s->client);
    ow_kafka_settings_done(&s->settings);
    for (size_t i = 0; s->topics && i < s->topic_count; i++)
        free(s->topics[i]);
    free(s->topics);
    free(s->places);
    free(s->headers);
    free(s->batch);
    free(s->group);
    free(s);
}

/* What it may still call back with is there until it is gone. */
static void *destroy(void *context)
{
    struct ow_kafka_subscriber *s = context;
    if (s->group && !rd_kafka_consumer_closed(s->client.rk)) /* what it still asks of us, and of which it would wait
                                                                for the answer for ever */
        (void)rd_kafka_assign(s->client.rk, NULL);
    rd_kafka_destroy_flags(s->client.rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    s->client.rk = NULL;
    free_all(s);
    return NULL;
}

/* In a thread of its own, which may go on in the background: a group that is about to share out its partitions keeps it
   waiting. */
static void destroy_within(struct ow_kafka_subscriber *s, int64_t timeout_ms)
{
    pthread_t thread;
    struct timespec until;
    if (pthread_create(&thread, NULL, destroy, s) != 0) {
        (void)destroy(s);
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    until.tv_sec += (time_t)(timeout_ms / 1000) + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0)
        (void)pthread_detach(thread);
}

static void close_client(struct ow_kafka_subscriber *s)
{
    bool has_left = s->group && ow_kafka_group_leave(s);
    while (s->batch_first < s->batch_count)
        rd_kafka_message_destroy(s->batch[s->batch_first++]);
    while (s->place_count > 0)
        ow_kafka_place_remove(s, s->places[0]);
    rd_kafka_queue_io_event_enable(s->client.queue, -1, NULL, 0);
    rd_kafka_queue_io_event_enable(s->records, -1, NULL, 0);
    rd_kafka_queue_destroy(s->nothing);
    rd_kafka_queue_destroy(s->records);
    rd_kafka_queue_destroy(s->client.queue);
    s->client.queue = NULL;
    if (s->group)
        destroy_within(s, has_left ? OW_KAFKA_FLUSH_MS : OW_KAFKA_END_MS);
    else
        (void)destroy(s);
}

static void subscriber_close(struct ow_subscriber *subscriber)
{
    struct ow_kafka_subscriber *s = self_of(subscriber);
    if (!s)
        return;
    if (s->given)
        rd_kafka_message_destroy(s->given);
    if (s->client.rk)
        close_client(s);
    else
        free_all(s);
}

static const struct ow_subscriber_ops subscriber_ops = {
    .name = "kafka",
    .open = subscriber_open,
    .next = subscriber_next,
    .settle = subscriber_settle,
    .flush = subscriber_flush,
    .is_at_end = subscriber_is_at_end,
    .pause = subscriber_pause,
    .resume = subscriber_resume,
    .seek = subscriber_seek,
    .look = subscriber_look,
    .trouble = subscriber_trouble,
    .wait = subscriber_wait,
    .close = subscriber_close,
};

static bool copy_texts(struct ow_kafka_subscriber *s, const struct ow_subscriber_options *options)
{
    bool is_whole = true;
    s->group = options->group ? strdup(options->group) : NULL;
    s->topics = calloc(options->topic_count + 1, sizeof *s->topics);
    s->batch = calloc(OW_KAFKA_BATCH_RECORDS, sizeof(rd_kafka_message_t *));
    if (!s->topics || !s->batch || (options->group && !s->group))
        return false;
    for (size_t i = 0; options->topics && i < options->topic_count; i++, s->topic_count++) {
        s->topics[i] = strdup(options->topics[i]);
        is_whole = is_whole && s->topics[i];
    }
    return is_whole;
}

int ow_kafka_subscriber_new(const struct ow_kafka_options *kafka, const struct ow_subscriber_options *options,
                            struct ow_subscriber **ret, struct ow_error *err)
{
    char reason[OW_KAFKA_REASON_SIZE];
    for (size_t i = 0; options->topics && i < options->topic_count; i++) {
        ow_kafka_judge_topic(ow_bytes_of(options->topics[i]), reason, sizeof reason);
        if (reason[0])
            return ow_error_set(err, OW_EINVALID, "%s: %s", kafka->text ? kafka->text : "kafka://", reason);
    }
    if (options->group && !options->group[0])
        return ow_error_set(err, OW_EINVALID, "the name of the group is empty");
    int r = ow_kafka_options_check(kafka, err);
    struct ow_kafka_subscriber *s = r == 0 ? calloc(1, sizeof *s) : NULL;
    if (r < 0 || !s)
        return r < 0 ? r : ow_error_set(err, OW_ENOMEM, "out of memory");
    s->base.ops = &subscriber_ops;
    s->client.event_fd = -1;
    s->from = options->from;
    s->session_ms = options->session_ms;
    s->listener = options->listener;
    s->context = options->context;
    r = ow_kafka_settings_init_subscriber(&s->settings, kafka, err);
    if (r == 0 && !copy_texts(s, options))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r < 0) {
        subscriber_close(&s->base);
        return r;
    }
    *ret = &s->base;
    return 0;
}
