/* SPDX-License-Identifier: Apache-2.0 */
/* The inbox in a store of memory: what is staged in a transaction is there when it commits; rows are locked until then.
 */
#include <stdio.h>
#include <string.h>

#include "consumer_world.h"

static struct csim_inbox *self_of(struct ow_inbox *inbox)
{
    return (struct csim_inbox *)inbox;
}

static uint32_t index_of(const struct csim_world *w, const struct csim_message *m)
{
    return (uint32_t)(m - w->messages);
}

static bool is_same_key(const struct csim_world *w, uint32_t a, uint32_t b)
{
    return w->messages[a].has_key && w->messages[b].has_key && strcmp(w->messages[a].key, w->messages[b].key) == 0;
}

int64_t csim_letter_of_key(const struct csim_world *w, uint32_t message, uint32_t before, uint64_t tick)
{
    for (uint32_t n = 1; n <= w->letter_count; n++)
        if (w->letters[n].is_there && w->letters[n].message < before && w->letters[n].since < tick &&
            is_same_key(w, w->letters[n].message, message))
            return n;
    return 0;
}

static bool is_dead(const struct csim_letter *l)
{
    return l->is_there && !l->is_queued && !l->is_parked;
}

static bool is_behind(const struct csim_world *w, int64_t number)
{
    for (int64_t n = 1; n < number; n++)
        if (w->letters[n].is_there && is_same_key(w, w->letters[n].message, w->letters[number].message))
            return true;
    return false;
}

static void drop_staged(struct csim_inbox *in)
{
    struct csim_world *w = in->member->world;
    for (uint32_t i = 0; i < w->message_count; i++)
        if (w->messages[i].lock == in->member->number)
            w->messages[i].lock = CSIM_NOBODY;
    memset(in->wrote, 0, sizeof in->wrote);
    in->effect_count = in->dropped_count = in->put_back_count = in->new_count = in->place_count = 0;
    for (int p = 0; p < CSIM_PARTITIONS_MAX; p++)
        in->offsets[p] = -1;
    in->in_transaction = false;
}

void csim_inbox_kill(struct csim_member *member)
{
    drop_staged(&member->inbox);
    member->inbox.is_open = false;
    if (member->world->replay_holder == member->number)
        member->world->replay_holder = CSIM_NOBODY;
}

static int enter(struct csim_inbox *in, const char *what, struct ow_error *err)
{
    struct csim_world *w = in->member->world;
    int r = csim_enter(in->member, what, w->options.inbox_error, CSIM_INBOX_TROUBLE, err);
    if (r == 0 && in->is_killed) /* by somebody who waited for its locks */
        r = ow_error_set(err, OW_EUNREACHABLE, "the session was ended");
    if (r == 0 && in->in_transaction && sim_chance(&w->dice, w->options.inbox_error)) {
        csim_happened(CSIM_DEADLOCK);
        r = ow_error_set(err, OW_EBUSY, "a deadlock");
    }
    return r;
}

static int inbox_open(struct ow_inbox *inbox, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    int r = csim_enter(in->member, "open the inbox", in->member->world->options.inbox_error, CSIM_INBOX_TROUBLE, err);
    if (r < 0)
        return r;
    in->is_open = true;
    in->is_killed = false;
    drop_staged(in);
    return 0;
}

static enum ow_inbox_state look_at(const struct csim_inbox *in, const struct ow_inbox_entry *entry)
{
    struct csim_world *w = in->member->world;
    uint32_t m = index_of(w, csim_message_of(w, entry->id));
    if (entry->letter) {
        const struct csim_letter *l = &w->letters[entry->letter];
        return !l->is_there || is_dead(l)    ? OW_INBOX_HANDLED
               : is_behind(w, entry->letter) ? OW_INBOX_PARKED
                                             : OW_INBOX_NEW;
    }
    enum csim_row row = in->wrote[m] ? in->rows[m] : w->messages[m].row;
    if (row != CSIM_NO_ROW)
        return row == CSIM_ROW_ASIDE ? OW_INBOX_ASIDE : row == CSIM_ROW_PARKED ? OW_INBOX_PARKED : OW_INBOX_HANDLED;
    return w->options.parks && csim_letter_of_key(w, m, UINT32_MAX, UINT64_MAX) ? OW_INBOX_BLOCKED : OW_INBOX_NEW;
}

static void count_state(enum ow_inbox_state state)
{
    if (state == OW_INBOX_HANDLED || state == OW_INBOX_ASIDE || state == OW_INBOX_PARKED)
        csim_happened(CSIM_REPEATED);
}

static int inbox_look(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    int r = enter(in, "look", err);
    if (r < 0)
        return r;
    in->member->looked_at = ++in->member->world->tick;
    for (size_t i = 0; i < count; i++) {
        entries[i].state = look_at(in, &entries[i]);
        count_state(entries[i].state);
        in->filtered_count += entries[i].state != OW_INBOX_NEW && entries[i].state != OW_INBOX_BLOCKED;
    }
    return csim_leave(in->member, "look", 0, CSIM_INBOX_TROUBLE, err);
}

/* A row that another transaction has written is waited for; the other one is ended, or waiting takes too long. */
static int lock_row(struct csim_inbox *in, struct csim_message *m, struct ow_error *err)
{
    struct csim_world *w = in->member->world;
    if (m->lock != CSIM_NOBODY && m->lock != in->member->number) {
        csim_happened(CSIM_LOCKED);
        struct csim_inbox *other = &w->members[m->lock].inbox;
        if (sim_chance(&w->dice, 500))
            return ow_error_set(err, OW_EBUSY, "waited too long");
        csim_trace(w, "the transaction of member %d is ended", m->lock);
        drop_staged(other);
        other->is_killed = true;
        if (w->replay_holder == other->member->number)
            w->replay_holder = CSIM_NOBODY;
    }
    m->lock = in->member->number;
    return 0;
}

static int claim(struct csim_inbox *in, struct ow_inbox_entry *entry, struct ow_error *err)
{
    struct csim_world *w = in->member->world;
    struct csim_message *m = csim_message_of(w, entry->id);
    uint32_t i = index_of(w, m);
    int r = lock_row(in, m, err);
    if (r < 0)
        return r;
    entry->state = look_at(in, entry);
    count_state(entry->state);
    if (entry->state != OW_INBOX_NEW && entry->state != OW_INBOX_BLOCKED)
        return 0;
    in->wrote[i] = true;
    in->rows[i] = CSIM_ROW_HANDLED;
    if (entry->letter)
        in->dropped[in->dropped_count++] = entry->letter;
    return 0;
}

static int inbox_begin(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    int r = enter(in, "begin", err);
    if (r < 0)
        return r;
    if (in->in_transaction || !in->is_open)
        csim_fail(in->member->world, "member %d begins a transaction where it cannot", in->member->number);
    drop_staged(in);
    in->in_transaction = true;
    in->entry_count = (uint32_t)count;
    in->member->looked_at = ++in->member->world->tick;
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = claim(in, &entries[i], err);
        if (!entries[i].letter && entries[i].record)
            in->places[in->place_count++] = (struct csim_place){(uint32_t)entries[i].record->partition,
                                                                entries[i].record->offset};
    }
    if (r == 0)
        r = csim_leave(in->member, "begin", 0, CSIM_INBOX_TROUBLE, err);
    if (r < 0)
        drop_staged(in);
    return r;
}

static void check_failure(struct csim_member *member, const struct ow_inbox_entry *entry,
                          const struct ow_inbox_failure *failure)
{
    struct csim_world *w = member->world;
    const struct csim_options *o = &w->options;
    const struct csim_message *m = csim_message_of(w, entry->id);
    bool is_at_once = m->is_bad || m->is_refused || o->elapsed_max_ms > 0;
    if (o->attempts_max > 0 && failure->attempts > o->attempts_max)
        csim_fail(w, "%s was set aside after %u attempts of at most %u", m->id, failure->attempts, o->attempts_max);
    if (o->attempts_max > 0 && failure->attempts < o->attempts_max && !is_at_once)
        csim_fail(w, "%s was set aside after %u attempts, and has %u", m->id, failure->attempts, o->attempts_max);
    uint32_t made = 1 + csim_attempts_of(member, entry->record, entry->letter > 0)->fails;
    if (!is_at_once && failure->attempts > made)
        csim_fail(w, "%s was set aside after %u attempts, of which %u were made", m->id, failure->attempts, made);
    if (o->has_topic && !m->in_topic && !m->was_rejected)
        csim_fail(w, "%s is set aside, and its topic has no letter", m->id);
    if (o->elapsed_max_ms > 0 && failure->attempts < o->attempts_max)
        csim_happened(CSIM_OUT_OF_TIME);
}

static int inbox_set_aside(struct ow_inbox *inbox, const struct ow_inbox_entry *entry,
                           const struct ow_inbox_failure *failure, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    struct csim_world *w = in->member->world;
    int r = enter(in, "set aside", err);
    if (r < 0)
        return r;
    struct csim_message *m = csim_message_of(w, entry->id);
    uint32_t i = index_of(w, m);
    csim_trace(w, "member %d sets %s aside%s", in->member->number, m->id, failure->is_parked ? ", parked" : "");
    if (!failure->is_parked)
        check_failure(in->member, entry, failure);
    if (!in->wrote[i])
        csim_fail(w, "%s is set aside and was not claimed", m->id);
    in->rows[i] = failure->is_parked ? CSIM_ROW_PARKED : CSIM_ROW_ASIDE;
    if (entry->letter) {
        uint32_t kept = 0;
        for (uint32_t k = 0; k < in->dropped_count; k++)
            if (in->dropped[k] != entry->letter)
                in->dropped[kept++] = in->dropped[k];
        in->dropped_count = kept;
        in->put_back[in->put_back_count++] = entry->letter;
        csim_happened(CSIM_FAILED_AGAIN);
    } else if (w->options.keeps_letters)
        in->fresh[in->new_count++] = (struct csim_letter){.is_parked = failure->is_parked,
                                                          .message = i,
                                                          .partition = (uint32_t)entry->record->partition,
                                                          .offset = entry->record->offset};
    csim_happened(failure->is_parked ? CSIM_PARKED : CSIM_ASIDE);
    return csim_leave(in->member, "set aside", 0, CSIM_INBOX_TROUBLE, err);
}

static int inbox_publish(struct ow_inbox *inbox, const struct ow_message *messages, size_t count, struct ow_error *err)
{
    (void)inbox, (void)messages, (void)count, (void)err;
    return 0;
}

void csim_stage_effect(struct csim_member *member, uint32_t message)
{
    member->inbox.effects[member->inbox.effect_count++] = message;
}

/* A message that is handled has an effect, and a letter that goes too. */
static void check_rows(struct csim_inbox *in)
{
    struct csim_world *w = in->member->world;
    for (uint32_t i = 0; i < w->message_count && w->options.in_transaction; i++) {
        bool has_effect = w->messages[i].effects > 0;
        for (uint32_t k = 0; k < in->effect_count; k++)
            has_effect = has_effect || in->effects[k] == i;
        if (in->wrote[i] && in->rows[i] == CSIM_ROW_HANDLED && !has_effect)
            csim_fail(w, "%s is handled without an effect", w->messages[i].id);
    }
}

static void apply(struct csim_inbox *in)
{
    struct csim_world *w = in->member->world;
    check_rows(in);
    uint64_t now = ++w->tick;
    for (uint32_t k = 0; k < in->dropped_count; k++) {
        w->letters[in->dropped[k]].is_there = false;
        csim_happened(CSIM_REPLAYED);
    }
    for (uint32_t k = 0; k < in->effect_count; k++)
        csim_effect(w, in->effects[k]);
    for (uint32_t i = 0; i < w->message_count; i++)
        if (in->wrote[i]) {
            w->messages[i].row = in->rows[i];
            w->messages[i].recorded_at = now;
        }
    for (uint32_t k = 0; k < in->put_back_count; k++) {
        struct csim_letter *l = &w->letters[in->put_back[k]];
        l->is_queued = l->is_parked = false;
        l->replays++;
    }
    for (uint32_t k = 0; k < in->new_count && w->letter_count + 1 < CSIM_LETTERS_MAX; k++) {
        w->messages[in->fresh[k].message].was_aside = true;
        in->fresh[k].is_there = true;
        in->fresh[k].since = now;
        w->letters[++w->letter_count] = in->fresh[k];
    }
    for (uint32_t p = 0; p < w->options.partitions; p++)
        if (in->offsets[p] > w->partitions[p].kept)
            w->partitions[p].kept = in->offsets[p];
    if (in->effect_count > 1)
        csim_happened(CSIM_SHARED);
}

static int inbox_commit(struct ow_inbox *inbox, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    struct csim_world *w = in->member->world;
    int r = enter(in, "commit", err);
    if (r == 0) {
        if (!in->in_transaction)
            csim_fail(w, "member %d commits nothing", in->member->number);
        apply(in);
        r = csim_leave(in->member, "commit", w->options.commit_lost, CSIM_LOST_COMMIT, err);
    }
    for (uint32_t i = 0; r == 0 && i < in->place_count; i++)
        in->member->did[in->places[i].partition][in->places[i].offset] = true;
    drop_staged(in);
    in->filtered_count = 0;
    return r;
}

static void inbox_rollback(struct ow_inbox *inbox)
{
    self_of(inbox)->filtered_count = 0;
    drop_staged(self_of(inbox));
}

static int inbox_next_queued(struct ow_inbox *inbox, int64_t after, struct ow_inbox_letter *ret, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    struct csim_world *w = in->member->world;
    int r = enter(in, "next letter", err);
    if (r < 0)
        return r;
    for (uint32_t n = (uint32_t)after + 1; n <= w->letter_count; n++) {
        const struct csim_letter *l = &w->letters[n];
        if (!l->is_there || is_dead(l) || is_behind(w, n))
            continue;
        if (w->replay_holder != CSIM_NOBODY && w->replay_holder != in->member->number)
            return 0;
        w->replay_holder = in->member->number;
        struct csim_message *m = &w->messages[l->message];
        *ret = (struct ow_inbox_letter){.number = n, .id = ow_bytes_of(m->id), .replays = l->replays};
        ret->record = (struct ow_record){.partition = l->partition, .offset = l->offset};
        ret->record.message = (struct ow_message){.id = ow_bytes_of(m->id),
                                                  .topic = OW_BYTES("t"),
                                                  .key = m->has_key ? ow_bytes_of(m->key) : OW_NULL_BYTES,
                                                  .payload = ow_bytes_of(m->id)};
        csim_trace(w, "member %d takes letter %u of %s", in->member->number, n, m->id);
        *csim_attempts_of(in->member, &ret->record, true) = (struct csim_attempts){0};
        return 1;
    }
    return 0;
}

static int inbox_store_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t next,
                              struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    struct csim_world *w = in->member->world;
    (void)topic;
    int r = enter(in, "store an offset", err);
    if (r < 0)
        return r;
    in->offsets[partition] = next;
    for (int64_t i = 0; i < next; i++) {
        const struct csim_message *m = &w->messages[w->partitions[partition].messages[i]];
        if (m->row == CSIM_NO_ROW)
            csim_fail(w, "offset %lld is kept, and %s at %lld is not on record", (long long)next, m->id, (long long)i);
    }
    return 0;
}

static int inbox_read_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t *ret,
                             struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    (void)topic;
    int r = enter(in, "read an offset", err);
    if (r < 0 || in->member->world->partitions[partition].kept < 0)
        return r;
    *ret = in->member->world->partitions[partition].kept;
    return 1;
}

static int inbox_save_breaker(struct ow_inbox *inbox, const char *state, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    int r = enter(in, "save the breaker", err);
    if (r == 0)
        (void)snprintf(in->member->world->breaker, sizeof in->member->world->breaker, "%s", state);
    return r;
}

static int inbox_load_breaker(struct ow_inbox *inbox, struct ow_buf *to, struct ow_error *err)
{
    struct csim_inbox *in = self_of(inbox);
    int r = enter(in, "load the breaker", err);
    if (r < 0 || !in->member->world->breaker[0])
        return r;
    ow_buf_add_text(to, in->member->world->breaker);
    return 1;
}

static struct ow_store *inbox_store(struct ow_inbox *inbox)
{
    (void)inbox;
    return NULL;
}

static void inbox_close(struct ow_inbox *inbox)
{
    struct csim_inbox *in = self_of(inbox);
    csim_inbox_kill(in->member);
}

static void inbox_discard(struct ow_inbox *inbox)
{
    (void)inbox; /* it is the member's */
}

/* --- in front of it ----------------------------------------------------------------------------------------- */

/* It forgets, and it knows what never was. */
static void filter_mark(struct ow_inbox_filter *filter, const struct ow_inbox_entry *entries, size_t count,
                        bool *ret_known)
{
    struct csim_member *member = ((struct csim_filter *)filter)->member;
    struct csim_world *w = member->world;
    member->inbox.filtered_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct csim_message *m = csim_message_of(w, entries[i].id);
        ret_known[i] = m->is_marked != sim_chance(&w->dice, w->options.filter_lies);
        m->is_marked = true;
        if (ret_known[i])
            csim_happened(m->row == CSIM_NO_ROW ? CSIM_FILTER_LIED : CSIM_FILTERED);
    }
}

static void filter_close(struct ow_inbox_filter *filter)
{
    (void)filter;
}

const struct ow_inbox_filter_ops csim_filter_ops = {
    .mark = filter_mark, .close = filter_close, .discard = filter_close};

const struct ow_inbox_ops csim_inbox_ops = {
    .open = inbox_open,
    .look = inbox_look,
    .begin = inbox_begin,
    .set_aside = inbox_set_aside,
    .publish = inbox_publish,
    .commit = inbox_commit,
    .rollback = inbox_rollback,
    .next_queued = inbox_next_queued,
    .store_offset = inbox_store_offset,
    .read_offset = inbox_read_offset,
    .save_breaker = inbox_save_breaker,
    .load_breaker = inbox_load_breaker,
    .store = inbox_store,
    .close = inbox_close,
    .discard = inbox_discard,
};
