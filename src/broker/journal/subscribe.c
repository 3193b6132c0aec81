/* SPDX-License-Identifier: Apache-2.0 */
/* The journal as a broker that is subscribed to, alone or as a member of a group. */
#include <stdlib.h>

#include "base/units.h"
#include "broker/journal/subscribe.h"

static struct ow_journal_subscriber *self_of(struct ow_subscriber *subscriber)
{
    return (struct ow_journal_subscriber *)subscriber;
}

int64_t ow_journal_subscriber_start(const struct ow_journal_subscriber *s, const struct ow_journal_place *p)
{
    if (s->from == OW_OFFSET_BEGINNING)
        return p->first;
    int64_t start = s->from == OW_OFFSET_END ? p->end_at_open : s->from;
    return start < p->first ? p->first : start;
}

void ow_journal_subscriber_tell(struct ow_journal_subscriber *s, enum ow_subscriber_event event,
                                const struct ow_journal_place *p)
{
    if (s->listener)
        s->listener(s->context, event, p->topic, (uint32_t)p->number);
}

/* --- giving out --------------------------------------------------------------------------------------- */

static int subscriber_next(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err)
{
    struct ow_journal_subscriber *s = self_of(subscriber);
    if (s->group && ow_clock_monotonic_ms() >= s->next_look_ms) {
        int r = ow_journal_subscriber_share(s, err);
        if (r < 0)
            return r;
    }
    if (s->is_held)
        return 0;
    int r = ow_journal_subscriber_give(s, ret, err);
    if (r != 0)
        return r;
    if (!s->must_fill) {
        r = s->store->ops->has_changed(s->store, err);
        if (r <= 0)
            return r;
    }
    for (s->must_fill = true; s->must_fill;) {
        r = ow_journal_subscriber_fill(s, err);
        if (r == 0)
            r = ow_journal_subscriber_give(s, ret, err);
        if (r != 0)
            return r;
    }
    return 0;
}

static int subscriber_is_at_end(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct ow_journal_subscriber *s = self_of(subscriber);
    (void)err;
    if (s->has_pending)
        return 0;
    for (size_t i = 0; i < s->places.count; i++) {
        const struct ow_journal_place *p = s->places.items[i];
        if (p->is_ours && p->next < p->end_at_open)
            return 0;
    }
    return 1;
}

static void subscriber_wait(struct ow_subscriber *subscriber, struct ow_wait *wait)
{
    struct ow_journal_subscriber *s = self_of(subscriber);
    if (s->group)
        ow_wait_until(wait, s->next_look_ms);
    if (s->is_held)
        return;
    if (s->must_fill || s->kept_given < s->kept_count)
        ow_wait_until(wait, ow_clock_monotonic_ms());
    s->store->ops->wait(s->store, wait);
}

/* --- the caller's say --------------------------------------------------------------------------------- */

static int subscriber_settle(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition,
                             int64_t offset, struct ow_error *err)
{
    struct ow_journal_subscriber *s = self_of(subscriber);
    if (!s->group) /* nothing is remembered */
        return 0;
    struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p || !p->is_ours || !s->has_member)
        return ow_error_set(err, OW_ESTANDBY, "%.*s, partition %u: another member of group %s has it", OW_PRINT(topic),
                            partition, s->group);
    int r = ow_journal_member_settle(&s->member, p->id, offset + 1, err);
    if (r == OW_ESTANDBY) {
        p->is_ours = false;
        ow_journal_member_unlock(&s->member, p->id);
        ow_journal_subscriber_tell(s, OW_EVENT_LOST, p);
        return ow_error_prefix(err, "%.*s, partition %u", OW_PRINT(topic), partition);
    }
    if (r < 0)
        return r;
    p->settled = offset + 1;
    s->store->ops->tidy(s->store);
    return 0;
}

/* What is settled is durable. */
static int subscriber_flush(struct ow_subscriber *subscriber, int timeout_ms, struct ow_error *err)
{
    (void)subscriber, (void)timeout_ms, (void)err;
    return 0;
}

static int pause_or_resume(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition, bool is_paused)
{
    struct ow_journal_subscriber *s = self_of(subscriber);
    if (!topic.data) {
        s->is_held = is_paused;
        return 0;
    }
    struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p)
        return OW_ENOTFOUND;
    if (p->is_paused != is_paused) {
        p->is_paused = is_paused;
        p->generation++; /* what was read of it is read again */
        s->must_fill = true;
    }
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
    struct ow_journal_subscriber *s = self_of(subscriber);
    struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p || !p->is_ours)
        return ow_error_set(err, OW_ENOTFOUND, "%.*s, partition %u: there is no such partition here", OW_PRINT(topic),
                            partition);
    ow_journal_place_jump(p, offset == OW_OFFSET_BEGINNING ? p->first : offset == OW_OFFSET_END ? p->end : offset);
    s->must_fill = true;
    return 0;
}

static int subscriber_look(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t partition,
                           struct ow_standing *ret)
{
    struct ow_journal_subscriber *s = self_of(subscriber);
    const struct ow_journal_place *p = ow_journal_places_find(&s->places, topic, partition);
    if (!p || !p->is_ours)
        return OW_ENOTFOUND;
    *ret = (struct ow_standing){.next = p->next, .end = p->end, .settled = s->group ? p->settled : -1};
    return 0;
}

/* --- open and close ----------------------------------------------------------------------------------- */

static int subscriber_open(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct ow_journal_subscriber *s = self_of(subscriber);
    int r = ow_journal_open(s->path, s->group ? OW_JOURNAL_JOIN : OW_JOURNAL_READ, &s->store, err);
    if (r == 0)
        r = ow_journal_places_read(&s->places, s->store, err);
    if (r == 0 && s->group)
        r = ow_journal_subscriber_share(s, err);
    else if (r == 0)
        ow_journal_subscriber_start_alone(s);
    s->must_fill = true;
    return r;
}

static void subscriber_close(struct ow_subscriber *subscriber)
{
    if (!subscriber)
        return;
    struct ow_journal_subscriber *s = self_of(subscriber);
    if (s->has_member)
        ow_journal_member_leave(&s->member, true);
    if (s->store)
        s->store->ops->close(s->store);
    ow_journal_places_done(&s->places);
    ow_buf_done(&s->bytes);
    free(s->headers);
    free(s->kept);
    free(s->topics);
    free(s->topics_text);
    free(s->group);
    free(s->path);
    free(s);
}

static const struct ow_subscriber_ops subscriber_ops = {
    .name = "journal",
    .open = subscriber_open,
    .next = subscriber_next,
    .settle = subscriber_settle,
    .flush = subscriber_flush,
    .is_at_end = subscriber_is_at_end,
    .pause = subscriber_pause,
    .resume = subscriber_resume,
    .seek = subscriber_seek,
    .look = subscriber_look,
    .wait = subscriber_wait,
    .close = subscriber_close,
};

/* Both forms of the topics: for comparing, pointing into the text that goes into the member's row. */
static int copy_topics(struct ow_journal_subscriber *s, const struct ow_subscriber_options *options)
{
    if (!options->topics)
        return 0;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    s->topics = calloc(options->topic_count + 1, sizeof *s->topics);
    for (size_t i = 0; i < options->topic_count; i++) {
        ow_buf_add_text(&text, options->topics[i]);
        ow_buf_add_char(&text, '\n');
    }
    s->topics_text = ow_bytes_text(ow_buf_bytes(&text));
    if (!s->topics || !s->topics_text || text.has_failed)
        return OW_ENOMEM;
    s->topic_count = options->topic_count;
    size_t at = 0;
    for (size_t i = 0; i < s->topic_count; i++) {
        s->topics[i] = (struct ow_bytes){s->topics_text + at, strlen(options->topics[i])};
        at += s->topics[i].size + 1;
    }
    s->places.topics = s->topics;
    s->places.topic_count = s->topic_count;
    return 0;
}

int ow_journal_subscriber_new(const char *path, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                              struct ow_error *err)
{
    struct ow_journal_subscriber *s = calloc(1, sizeof *s);
    if (!s)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    s->base.ops = &subscriber_ops;
    s->member.locks.fd = -1;
    s->from = options->from;
    s->listener = options->listener;
    s->context = options->context;
    s->path = strdup(path);
    s->group = options->group ? strdup(options->group) : NULL;
    s->kept = calloc(OW_JOURNAL_BATCH_RECORDS, sizeof *s->kept);
    if (!s->path || !s->kept || (options->group && !s->group) || copy_topics(s, options) < 0) {
        subscriber_close(&s->base);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    *ret = &s->base;
    return 0;
}
