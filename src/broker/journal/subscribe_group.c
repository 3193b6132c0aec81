/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's subscriber as a member of a group: which partitions are its own, and since when. */
#include "base/units.h"
#include "broker/journal/subscribe.h"

enum { TAKE_AGAIN_MS = 20 }; /* a partition that its last holder has still */

static int join(struct ow_journal_subscriber *s, struct ow_error *err)
{
    int r = ow_journal_member_join(&s->member, s->store, s->path, s->group, s->topics_text, err);
    s->has_member = r == 0;
    return r;
}

/* The locks went away under us: what we hold is anybody's. */
static int lose_and_join(struct ow_journal_subscriber *s, struct ow_error *err)
{
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (!p->is_ours)
            continue;
        p->is_ours = false;
        ow_journal_subscriber_tell(s, OW_EVENT_LOST, p);
    }
    ow_journal_member_leave(&s->member, true);
    s->has_member = false;
    int r = join(s, err);
    return r < 0 ? r : ow_journal_member_look(&s->member, err);
}

static bool should_have(const struct ow_journal_subscriber *s, const struct ow_journal_place *p)
{
    return ow_journal_member_should_have(&s->member, p->topic_id, p->topic, p->partition_count, p->number);
}

static void give_up(struct ow_journal_subscriber *s)
{
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (!p->is_ours || should_have(s, p))
            continue;
        ow_journal_subscriber_tell(s, OW_EVENT_REVOKED, p); /* may settle: it is still ours */
        p->is_ours = false;
        p->generation++;
        ow_journal_member_unlock(&s->member, p->id);
    }
}

/* One partition, within the transaction, its lock taken. */
static int claim(struct ow_journal_subscriber *s, struct ow_journal_place *p, struct ow_error *err)
{
    int64_t offset = ow_journal_subscriber_start(s, p);
    int r = ow_journal_member_claim(&s->member, p->id, &offset, err);
    if (r < 0)
        return r;
    ow_journal_place_jump(p, offset);
    p->settled = offset;
    p->is_paused = false;
    return 0;
}

/* Locks what should be ours and is free; returns how many. */
static size_t lock_free_ones(struct ow_journal_subscriber *s, struct ow_journal_place **locked)
{
    size_t count = 0;
    s->has_pending = false;
    for (size_t i = 0; i < s->places.count; i++) {
        struct ow_journal_place *p = s->places.items[i];
        if (p->is_ours || !should_have(s, p))
            continue;
        if (ow_journal_member_lock(&s->member, p->id, NULL) < 0)
            s->has_pending = true;
        else
            locked[count++] = p;
    }
    return count;
}

static int claim_all(struct ow_journal_subscriber *s, struct ow_journal_place **locked, size_t count,
                     struct ow_error *err)
{
    int r = s->store->ops->begin(s->store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    r = ow_journal_places_read(&s->places, s->store, err); /* where retention has come to by now */
    for (size_t i = 0; r == 0 && i < count; i++)
        r = claim(s, locked[i], err);
    if (r == 0)
        r = s->store->ops->commit(s->store, err);
    if (r < 0)
        s->store->ops->rollback(s->store);
    return r;
}

static int take(struct ow_journal_subscriber *s, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf memory = {0};
    struct ow_journal_place **locked = (void *)ow_buf_reserve(&memory, (s->places.count + 1) * sizeof *locked);
    if (!locked)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    size_t count = lock_free_ones(s, locked);
    int r = count > 0 ? claim_all(s, locked, count, err) : 0;
    for (size_t i = 0; i < count; i++) {
        if (r < 0) {
            ow_journal_member_unlock(&s->member, locked[i]->id);
            continue;
        }
        locked[i]->is_ours = true;
        s->must_fill = true;
        ow_journal_subscriber_tell(s, OW_EVENT_ASSIGNED, locked[i]);
    }
    return r;
}

int ow_journal_subscriber_share(struct ow_journal_subscriber *s, struct ow_error *err)
{
    int r = s->has_member ? 0 : join(s, err);
    if (r == 0)
        r = ow_journal_places_read(&s->places, s->store, err);
    if (r == 0)
        r = ow_journal_member_look(&s->member, err);
    if (r == 1)
        r = lose_and_join(s, err);
    if (r < 0)
        return r;
    give_up(s);
    r = take(s, err);
    s->next_look_ms = ow_clock_monotonic_ms() + (s->has_pending ? TAKE_AGAIN_MS : OW_JOURNAL_LOOK_MS);
    return r;
}
