/* SPDX-License-Identifier: Apache-2.0 */
/* A broker's partitions and a group that shares them: sessions own partitions, and lose them. */
#include <stdio.h>
#include <string.h>

#include "consumer_world.h"

static struct csim_subscriber *self_of(struct ow_subscriber *subscriber)
{
    return (struct csim_subscriber *)subscriber;
}

static bool is_mine(const struct csim_subscriber *s, uint32_t p)
{
    return s->member->world->partitions[p].owner == s->session;
}

static void tell(struct csim_subscriber *s, enum ow_subscriber_event event, uint32_t p)
{
    static const char *const names[] = {"is given", "gives back", "has lost"};
    csim_trace(s->member->world, "member %d %s partition %u", s->member->number, names[event], p);
    s->is_inside = true;
    s->options.listener(s->options.context, event, OW_BYTES("t"), p);
    s->is_inside = false;
}

static void make_durable(struct csim_subscriber *s, uint32_t p)
{
    struct csim_world *w = s->member->world;
    if (s->settling[p] > 0 && is_mine(s, p) && !s->member->is_dead)
        w->partitions[p].settled = s->settling[p];
    s->settling[p] = 0;
}

static bool has_to_attend(const struct csim_subscriber *s, uint32_t p)
{
    const struct csim_world *w = s->member->world;
    return (s->told[p] && (!is_mine(s, p) || w->partitions[p].target != s->session)) ||
           (!s->told[p] && w->partitions[p].owner == CSIM_NOBODY && w->partitions[p].target == s->session);
}

/* What it has done, as far as it knows itself, is settled. */
static void check_left(struct csim_subscriber *s, uint32_t p)
{
    struct csim_world *w = s->member->world;
    int64_t next = w->partitions[p].settled;
    if (is_mine(s, p) && !s->has_failed && !w->options.keeps_offsets && s->member->did[p][next])
        csim_fail(w, "member %d gives partition %u back and has not settled %lld", s->member->number, p,
                  (long long)next);
}

/* Partitions come and go. */
static void attend(struct csim_subscriber *s)
{
    struct csim_world *w = s->member->world;
    for (uint32_t p = 0; p < w->options.partitions && !s->member->is_dead; p++) {
        if (s->told[p] && is_mine(s, p) && w->partitions[p].target != s->session) {
            csim_happened(CSIM_REVOKED);
            for (int i = 0; i < CSIM_CALLS_MAX; i++)
                if (w->calls[i].is_used && w->calls[i].is_heard && w->calls[i].member == s->member->number &&
                    w->messages[w->calls[i].message].partition == p) {
                    csim_happened(CSIM_REVOKED_BUSY);
                    break;
                }
            s->has_failed = false;
            tell(s, OW_EVENT_REVOKED, p);
            if (s->member->is_dead)
                return;
            make_durable(s, p);
            check_left(s, p);
            s->told[p] = false;
            if (is_mine(s, p))
                w->partitions[p].owner = CSIM_NOBODY;
        } else if (s->told[p] && !is_mine(s, p)) {
            csim_happened(CSIM_LOST);
            s->told[p] = false;
            s->settling[p] = 0;
            tell(s, OW_EVENT_LOST, p);
        } else if (has_to_attend(s, p)) {
            w->partitions[p].owner = s->session;
            s->told[p] = true;
            s->given[p] = -1;
            s->paused[p] = false;
            s->settling[p] = 0;
            /* A group whose offsets are elsewhere has none here, and would begin at the end. */
            s->next[p] = w->options.keeps_offsets && w->partitions[p].kept >= 0 ? w->partitions[p].count
                                                                                : w->partitions[p].settled;
            memset(s->member->did[p], 0, sizeof s->member->did[p]);
            memset(s->member->attempts[0][p], 0, sizeof s->member->attempts[0][p]);
            tell(s, OW_EVENT_ASSIGNED, p);
        }
    }
}

static int group_open(struct ow_subscriber *subscriber, struct ow_error *err)
{
    struct csim_subscriber *s = self_of(subscriber);
    struct csim_world *w = s->member->world;
    int r = csim_enter(s->member, "open the group", w->options.group_error, CSIM_GROUP_TROUBLE, err);
    if (r < 0)
        return r;
    s->session = w->session_count++;
    if (w->session_count >= CSIM_SESSIONS_MAX) {
        csim_fail(w, "too many sessions: the subscriber is opened again and again");
        s->session = w->session_count = CSIM_SESSIONS_MAX - 1;
    }
    w->sessions[s->session].member = s->member->number;
    w->sessions[s->session].is_ghost = false;
    s->is_open = true;
    if (w->options.settles_at_once)
        attend(s);
    return csim_leave(s->member, "open the group", 0, CSIM_GROUP_TROUBLE, err);
}

static void view_of(struct csim_world *w, uint32_t p, int64_t offset, struct ow_record *ret)
{
    struct csim_message *m = &w->messages[w->partitions[p].messages[offset]];
    *ret = (struct ow_record){.partition = p, .offset = offset, .time_type = OW_TIME_CREATED};
    ret->message = (struct ow_message){.id = ow_bytes_of(m->id),
                                       .topic = OW_BYTES("t"),
                                       .key = m->has_key ? ow_bytes_of(m->key) : OW_NULL_BYTES,
                                       .payload = ow_bytes_of(m->id),
                                       .defect = m->is_bad ? OW_BYTES("not to be read") : OW_NULL_BYTES};
}

static int group_next(struct ow_subscriber *subscriber, struct ow_record *ret, struct ow_error *err)
{
    struct csim_subscriber *s = self_of(subscriber);
    struct csim_world *w = s->member->world;
    int r = csim_enter(s->member, "next", w->options.group_error, CSIM_GROUP_TROUBLE, err);
    if (r < 0)
        return r;
    attend(s);
    if (s->member->is_dead)
        return ow_error_set(err, OW_EUNREACHABLE, "dead");
    for (uint32_t p = 0; p < w->options.partitions; p++)
        if (s->told[p] && sim_chance(&w->dice, 500))
            make_durable(s, p);
    uint32_t first = sim_roll(&w->dice, w->options.partitions);
    for (uint32_t i = 0; i < w->options.partitions && !s->all_paused; i++) {
        uint32_t p = (first + i) % w->options.partitions;
        if (!s->told[p] || s->paused[p] || s->next[p] >= w->partitions[p].count || sim_chance(&w->dice, 100))
            continue;
        view_of(w, p, s->next[p], ret);
        if (s->next[p] < w->partitions[p].given)
            csim_happened(CSIM_GIVEN_AGAIN);
        csim_trace(w, "member %d reads %s at %u/%lld", s->member->number,
                   w->messages[w->partitions[p].messages[s->next[p]]].id, p, (long long)s->next[p]);
        s->given[p] = s->next[p]++;
        if (w->partitions[p].given < s->next[p])
            w->partitions[p].given = s->next[p];
        return 1;
    }
    return 0;
}

/* Everything up to the offset is known to the inbox, or, where there is none, done. */
static void check_settled(struct csim_world *w, uint32_t p, int64_t offset, const char *who)
{
    for (int64_t i = 0; i <= offset; i++) {
        const struct csim_message *m = &w->messages[w->partitions[p].messages[i]];
        bool is_known = w->options.has_inbox ? m->row != CSIM_NO_ROW : m->effects > 0 || m->in_topic;
        if (!is_known)
            csim_fail(w, "%s settles %u/%lld, and %s at %lld is not on record", who, p, (long long)offset, m->id,
                      (long long)i);
    }
}

static int group_settle(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t p, int64_t offset,
                        struct ow_error *err)
{
    struct csim_subscriber *s = self_of(subscriber);
    struct csim_world *w = s->member->world;
    (void)topic;
    int r = csim_enter(s->member, "settle", w->options.group_error, CSIM_GROUP_TROUBLE, err);
    if (r < 0) {
        s->has_failed = true;
        return r;
    }
    if (!s->told[p] || !is_mine(s, p))
        return ow_error_set(err, OW_ESTANDBY, "partition %u is another member's", p);
    csim_trace(w, "member %d settles %u/%lld", s->member->number, p, (long long)offset);
    check_settled(w, p, offset, "a member");
    s->settling[p] = offset + 1;
    if (w->options.settles_at_once) {
        make_durable(s, p);
        if (!s->is_inside)
            attend(s);
    }
    return csim_leave(s->member, "settle", 0, CSIM_GROUP_TROUBLE, err);
}

static int group_flush(struct ow_subscriber *subscriber, int timeout_ms, struct ow_error *err)
{
    (void)subscriber, (void)timeout_ms, (void)err;
    return 0;
}

static int group_is_at_end(struct ow_subscriber *subscriber, struct ow_error *err)
{
    const struct csim_subscriber *s = self_of(subscriber);
    const struct csim_world *w = s->member->world;
    (void)err;
    for (uint32_t p = 0; p < w->options.partitions; p++)
        if (s->told[p] && s->next[p] < w->partitions[p].count)
            return 0;
    return 1;
}

static int set_paused(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t p, bool is_paused)
{
    struct csim_subscriber *s = self_of(subscriber);
    if (!topic.data) {
        s->all_paused = is_paused;
        if (is_paused)
            csim_happened(CSIM_PAUSED);
        return 0;
    }
    if (!s->told[p])
        return OW_ENOTFOUND;
    s->paused[p] = is_paused;
    if (is_paused)
        csim_happened(CSIM_PAUSED_ONE);
    return 0;
}

static int group_pause(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t p)
{
    return set_paused(subscriber, topic, p, true);
}

static int group_resume(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t p)
{
    return set_paused(subscriber, topic, p, false);
}

static int group_seek(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t p, int64_t offset,
                      struct ow_error *err)
{
    struct csim_subscriber *s = self_of(subscriber);
    struct csim_world *w = s->member->world;
    (void)topic;
    if (!s->told[p])
        return ow_error_set(err, OW_ENOTFOUND, "partition %u is not ours", p);
    if (offset == s->given[p]) /* all that was fetched ahead is thrown away by that */
        csim_fail(w, "member %d reads %u/%lld and gives it back", s->member->number, p, (long long)offset);
    s->next[p] = offset == OW_OFFSET_BEGINNING ? 0 : offset;
    return 0;
}

static int group_look(struct ow_subscriber *subscriber, struct ow_bytes topic, uint32_t p, struct ow_standing *ret)
{
    const struct csim_subscriber *s = self_of(subscriber);
    const struct csim_world *w = s->member->world;
    (void)topic;
    if (!s->told[p])
        return OW_ENOTFOUND;
    *ret = (struct ow_standing){s->next[p], w->partitions[p].count, w->partitions[p].settled};
    return 0;
}

static bool has_news(const struct csim_subscriber *s)
{
    const struct csim_world *w = s->member->world;
    for (uint32_t p = 0; s->is_open && p < w->options.partitions; p++)
        if (has_to_attend(s, p) || (s->told[p] && (s->settling[p] > 0 || (!s->all_paused && !s->paused[p] &&
                                                                          s->next[p] < w->partitions[p].count))))
            return true;
    return false;
}

bool csim_group_has_news(const struct csim_member *member)
{
    return has_news(&member->subscriber);
}

static void group_wait(struct ow_subscriber *subscriber, struct ow_wait *wait)
{
    (void)subscriber;
    ow_wait_add(wait, CSIM_GROUP_FD, POLLIN);
}

static void end_session(struct csim_world *w, int session)
{
    w->sessions[session].member = CSIM_NOBODY;
    w->sessions[session].is_ghost = false;
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        if (w->partitions[p].owner == session)
            w->partitions[p].owner = CSIM_NOBODY;
        if (w->partitions[p].target == session)
            w->partitions[p].target = CSIM_NOBODY;
    }
}

static void group_close(struct ow_subscriber *subscriber)
{
    struct csim_subscriber *s = self_of(subscriber);
    struct csim_world *w = s->member->world;
    if (!s->is_open)
        return;
    for (uint32_t p = 0; p < w->options.partitions; p++)
        make_durable(s, p);
    s->is_open = false;
    memset(s->told, 0, sizeof s->told);
    if (s->member->is_dead)
        csim_group_kill(s->member);
    else
        end_session(w, s->session);
}

/* Its session goes on for a while: nobody has noticed. */
void csim_group_kill(struct csim_member *member)
{
    struct csim_world *w = member->world;
    struct csim_subscriber *s = &member->subscriber;
    if (w->sessions[s->session].member == CSIM_NOBODY || w->sessions[s->session].is_ghost)
        return;
    w->sessions[s->session].is_ghost = true;
    w->sessions[s->session].expires_ms = w->now_ms + sim_roll(&w->dice, 3000);
}

static const struct ow_subscriber_ops group_ops = {
    .name = "group",
    .open = group_open,
    .next = group_next,
    .settle = group_settle,
    .flush = group_flush,
    .is_at_end = group_is_at_end,
    .pause = group_pause,
    .resume = group_resume,
    .seek = group_seek,
    .look = group_look,
    .wait = group_wait,
    .close = group_close,
};

int csim_subscribe(void *context, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                   struct ow_error *err)
{
    struct csim_member *member = context;
    (void)err;
    member->subscriber = (struct csim_subscriber){.base.ops = &group_ops, .member = member, .options = *options};
    *ret = &member->subscriber.base;
    return 0;
}

static int random_session(struct csim_world *w)
{
    int found = CSIM_NOBODY;
    uint32_t count = 0;
    for (int i = 0; i < w->session_count; i++)
        if (w->sessions[i].member != CSIM_NOBODY && !w->sessions[i].is_ghost && sim_roll(&w->dice, ++count) == 0)
            found = i;
    return found;
}

void csim_group_tend(struct csim_world *w)
{
    for (int i = 0; i < w->session_count; i++)
        if (w->sessions[i].is_ghost && w->now_ms >= w->sessions[i].expires_ms)
            end_session(w, i);
    for (uint32_t p = 0; p < w->options.partitions; p++)
        if (w->partitions[p].target == CSIM_NOBODY)
            w->partitions[p].target = random_session(w);
}

/* Somebody else is to have a partition; who is stopped loses it unasked. */
void csim_rebalance(struct csim_world *w)
{
    uint32_t p = sim_roll(&w->dice, w->options.partitions);
    int owner = w->partitions[p].owner;
    w->partitions[p].target = random_session(w);
    if (owner == CSIM_NOBODY || w->partitions[p].target == owner || w->sessions[owner].is_ghost)
        return;
    const struct csim_member *member = &w->members[w->sessions[owner].member];
    if (member->stopped_until > w->now_ms || member->is_inside || sim_chance(&w->dice, 200)) {
        if (member->stopped_until > w->now_ms || member->is_inside)
            csim_happened(CSIM_STOLEN);
        w->partitions[p].owner = CSIM_NOBODY;
        csim_trace(w, "partition %u is taken from member %d", p, member->number);
    }
}
