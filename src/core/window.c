/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slots are a ring indexed by token. The slots of a key are a chain in source order, from the oldest
 * that is not settled to the newest; a key is in the table as long as its chain is not empty, found by
 * open addressing with linear probing and backward-shift deletion, so that there are no tombstones.
 * READY slots stand in one list ordered by token, because `take` promises oldest first: nearly always a
 * slot is appended, and one that comes back from BACKOFF or HELD walks from the end that it is nearer to.
 * A chain is walked only to find what is known to be in it, so that a hot key costs no more than others.
 */
#include "core/window.h"

#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"

#define NONE UINT32_MAX

struct ow_window_key {
    uint64_t hash;
    uint32_t first, last; /* slots: the chain */
    uint32_t sent;        /* how many of the chain are SENT */
    uint32_t ready, held; /* how many of it are READY, and HELD: without any nobody walks the chain for them */
    uint32_t retrying;    /* how many of the chain are being tried again */
    uint32_t count;       /* all of the chain */
    size_t bytes;
    uint32_t next_free;
};

const struct ow_window_limits ow_window_limits_default = {.count_max = 10000, .bytes_max = 16 << 20};

static uint32_t index_of(const struct ow_window *w, const struct ow_slot *slot)
{
    return (uint32_t)(slot - w->slots);
}

static struct ow_slot *slot_of(const struct ow_window *w, uint64_t token)
{
    return &w->slots[token & w->mask];
}

int ow_window_init(struct ow_window *w, const struct ow_window_limits *limits, struct ow_error *err)
{
    *w = (struct ow_window){
        .limits = *limits, .head = 1, .tail = 1, .ready_first = NONE, .ready_last = NONE, .due_min_ms = INT64_MAX};
    uint32_t capacity = 1;
    while (capacity < limits->count_max)
        capacity *= 2;
    w->mask = capacity - 1;
    w->table_mask = capacity * 2 - 1;
    w->slots = calloc(capacity, sizeof *w->slots);
    w->keys = calloc(capacity, sizeof *w->keys);
    w->table = malloc((size_t)capacity * 2 * sizeof *w->table);
    if (!w->slots || !w->keys || !w->table) {
        ow_window_done(w);
        return ow_error_set(err, OW_ENOMEM, "out of memory for a window of %u messages", limits->count_max);
    }
    ow_window_clear(w);
    return 0;
}

static void free_messages(struct ow_window *w)
{
    for (uint64_t token = w->head; w->slots && token < w->tail; token++) {
        ow_message_free(slot_of(w, token)->message);
        *slot_of(w, token) = (struct ow_slot){.state = OW_SLOT_FREE};
    }
}

void ow_window_clear(struct ow_window *w)
{
    free_messages(w);
    w->head = w->tail;
    w->count = w->settled = w->sent_count = w->backoff_count = w->free_key = 0;
    w->bytes = 0;
    w->due_min_ms = INT64_MAX;
    w->ready_first = w->ready_last = NONE;
    memset(w->table, 0xff, ((size_t)w->table_mask + 1) * sizeof *w->table);
    for (uint32_t i = 0; i <= w->mask; i++)
        w->keys[i].next_free = i < w->mask ? i + 1 : NONE;
}

void ow_window_done(struct ow_window *w)
{
    free_messages(w);
    free(w->slots);
    free(w->keys);
    free(w->table);
    *w = (struct ow_window){0};
}

bool ow_window_has_room(const struct ow_window *w, size_t size)
{
    return w->count == 0 || (w->count < w->limits.count_max && w->bytes + size <= w->limits.bytes_max);
}

/* --- the table of keys --------------------------------------------------------------------------- */

/* Null: it has no order. */
static struct ow_bytes lane_of(const struct ow_window *w, const struct ow_message *message)
{
    return w->limits.order == OW_ORDER_KEY   ? message->key
           : w->limits.order == OW_ORDER_ALL ? OW_BYTES("")
                                             : OW_NULL_BYTES;
}

static uint32_t *find_key(const struct ow_window *w, uint64_t hash, struct ow_bytes key)
{
    uint32_t i = (uint32_t)hash & w->table_mask;
    for (; w->table[i] != NONE; i = (i + 1) & w->table_mask) {
        const struct ow_window_key *k = &w->keys[w->table[i]];
        if (k->hash == hash && ow_bytes_equal(lane_of(w, w->slots[k->first].message), key))
            break;
    }
    return &w->table[i];
}

static void drop_key(struct ow_window *w, uint32_t key)
{
    uint32_t hole = (uint32_t)w->keys[key].hash & w->table_mask;
    while (w->table[hole] != key)
        hole = (hole + 1) & w->table_mask;
    for (uint32_t i = (hole + 1) & w->table_mask; w->table[i] != NONE; i = (i + 1) & w->table_mask) {
        uint32_t home = (uint32_t)w->keys[w->table[i]].hash & w->table_mask;
        if (((i - home) & w->table_mask) >= ((i - hole) & w->table_mask)) {
            w->table[hole] = w->table[i];
            hole = i;
        }
    }
    w->table[hole] = NONE;
    w->keys[key].next_free = w->free_key;
    w->free_key = key;
}

/* --- the list of READY slots ----------------------------------------------------------------------- */

static struct ow_window_key *key_of(const struct ow_window *w, const struct ow_slot *slot)
{
    return slot->key == NONE ? NULL : &w->keys[slot->key];
}

/* The READY slot behind which one with this token belongs; NONE: at the front. */
static uint32_t ready_before(const struct ow_window *w, uint64_t token)
{
    uint32_t last = w->ready_last, first = w->ready_first;
    if (last == NONE || w->slots[last].token < token)
        return last;
    if (w->slots[first].token > token)
        return NONE;
    if (w->slots[last].token - token < token - w->slots[first].token) {
        while (w->slots[last].token > token)
            last = w->slots[last].list_previous;
        return last;
    }
    while (w->slots[first].token < token)
        first = w->slots[first].list_next;
    return w->slots[first].list_previous;
}

static void make_ready(struct ow_window *w, struct ow_slot *slot)
{
    uint32_t i = index_of(w, slot), after = ready_before(w, slot->token);
    struct ow_window_key *key = key_of(w, slot);
    if (key) {
        key->held -= slot->state == OW_SLOT_HELD;
        key->ready++;
    }
    slot->state = OW_SLOT_READY;
    slot->list_previous = after;
    slot->list_next = after == NONE ? w->ready_first : w->slots[after].list_next;
    if (after == NONE)
        w->ready_first = i;
    else
        w->slots[after].list_next = i;
    if (slot->list_next == NONE)
        w->ready_last = i;
    else
        w->slots[slot->list_next].list_previous = i;
}

static void unlist(struct ow_window *w, struct ow_slot *slot)
{
    struct ow_window_key *key = key_of(w, slot);
    if (key)
        key->ready--;
    if (slot->list_previous == NONE)
        w->ready_first = slot->list_next;
    else
        w->slots[slot->list_previous].list_next = slot->list_next;
    if (slot->list_next == NONE)
        w->ready_last = slot->list_previous;
    else
        w->slots[slot->list_next].list_previous = slot->list_previous;
}

/* --- the chain of a key ----------------------------------------------------------------------------- */

static void hold(struct ow_window *w, struct ow_slot *slot)
{
    struct ow_window_key *key = key_of(w, slot);
    assert(key); /* only a message with a key is held */
    slot->state = OW_SLOT_HELD;
    key->held++;
}

struct ow_slot *ow_window_admit(struct ow_window *w, struct ow_message *message)
{
    assert(w->count <= w->mask);
    struct ow_slot *slot = slot_of(w, w->tail);
    uint32_t i = index_of(w, slot);
    *slot = (struct ow_slot){
        .message = message, .token = w->tail++, .size = ow_message_size(message), .key = NONE, .next_of_key = NONE};
    w->count++;
    w->bytes += slot->size;
    bool is_held = false;
    struct ow_bytes lane = lane_of(w, message);
    if (lane.data) {
        uint64_t hash = ow_hash(lane);
        uint32_t *place = find_key(w, hash, lane);
        if (*place == NONE) {
            slot->key = w->free_key;
            w->free_key = w->keys[slot->key].next_free;
            w->keys[slot->key] = (struct ow_window_key){.hash = hash, .first = i, .last = i};
            *place = slot->key;
        } else {
            struct ow_window_key *key = &w->keys[*place];
            slot->key = *place;
            w->slots[key->last].next_of_key = i;
            key->last = i;
            is_held = !w->limits.keeps_order || key->retrying > 0;
        }
    }
    if (key_of(w, slot)) {
        key_of(w, slot)->count++;
        key_of(w, slot)->bytes += slot->size;
    }
    if (is_held && !OW_MUTANT(KEY_NOT_HELD))
        hold(w, slot);
    else
        make_ready(w, slot);
    return slot;
}

struct ow_slot *ow_window_take(struct ow_window *w)
{
    if (w->ready_first == NONE)
        return NULL;
    struct ow_slot *slot = &w->slots[w->ready_first];
    unlist(w, slot);
    slot->state = OW_SLOT_SENT;
    w->sent_count++;
    if (key_of(w, slot))
        key_of(w, slot)->sent++;
    return slot;
}

bool ow_window_has_ready(const struct ow_window *w)
{
    return w->ready_first != NONE;
}

void ow_window_put_back(struct ow_window *w, struct ow_slot *slot)
{
    assert(slot->state == OW_SLOT_SENT);
    if (key_of(w, slot))
        key_of(w, slot)->sent--;
    w->sent_count--;
    make_ready(w, slot);
}

struct ow_slot *ow_window_find(struct ow_window *w, uint64_t token)
{
    if (token < w->head || token >= w->tail)
        return NULL;
    struct ow_slot *slot = slot_of(w, token);
    return slot->state == OW_SLOT_SENT ? slot : NULL;
}

/* After something happened to a key: what of it may go now? The oldest, once nothing of the key is in
   flight; and where the broker keeps order and nothing of the key is being tried again, all of it. */
static void advance_key(struct ow_window *w, const struct ow_window_key *key)
{
    struct ow_slot *first = &w->slots[key->first];
    if (w->limits.keeps_order && key->retrying == 0) {
        for (uint32_t i = key->first; i != NONE && key->held > 0; i = w->slots[i].next_of_key)
            if (w->slots[i].state == OW_SLOT_HELD)
                make_ready(w, &w->slots[i]);
    } else if (first->state == OW_SLOT_HELD && key->sent == 0) {
        make_ready(w, first);
    }
}

static void unchain(struct ow_window *w, struct ow_slot *slot)
{
    struct ow_window_key *key = key_of(w, slot);
    uint32_t i = index_of(w, slot), previous = NONE;
    for (uint32_t at = key->first; at != i; at = w->slots[at].next_of_key)
        previous = at;
    key->count--;
    key->bytes -= slot->size;
    if (previous == NONE)
        key->first = slot->next_of_key;
    else
        w->slots[previous].next_of_key = slot->next_of_key;
    if (key->last == i)
        key->last = previous;
    if (key->first == NONE)
        drop_key(w, slot->key);
    else
        advance_key(w, key);
    slot->key = NONE;
}

void ow_window_settle(struct ow_window *w, struct ow_slot *slot, bool is_aside)
{
    assert(slot->state == OW_SLOT_SENT);
    struct ow_window_key *key = key_of(w, slot);
    w->sent_count--;
    if (key) {
        key->sent--;
        key->retrying -= slot->is_retrying;
    }
    slot->state = OW_SLOT_SETTLED;
    slot->is_aside = is_aside;
    w->settled++;
    if (key)
        unchain(w, slot);
}

/* Later ones of the key that were about to go wait behind the one that is tried again. */
static void hold_later(struct ow_window *w, const struct ow_slot *slot)
{
    const struct ow_window_key *key = key_of(w, slot);
    assert(key);
    if (OW_MUTANT(KEY_NOT_HELD))
        return;
    for (uint32_t i = slot->next_of_key; i != NONE && key->ready > 0; i = w->slots[i].next_of_key) {
        struct ow_slot *later = &w->slots[i];
        if (later->state == OW_SLOT_READY) {
            unlist(w, later);
            hold(w, later);
        }
    }
}

void ow_window_retry(struct ow_window *w, struct ow_slot *slot, int64_t due_ms, bool counts)
{
    assert(slot->state == OW_SLOT_SENT);
    struct ow_window_key *key = key_of(w, slot);
    slot->failures += counts;
    slot->state = OW_SLOT_BACKOFF;
    slot->due_ms = due_ms;
    w->sent_count--;
    w->backoff_count++;
    if (due_ms < w->due_min_ms)
        w->due_min_ms = due_ms;
    if (key) {
        key->sent--;
        key->retrying += !slot->is_retrying;
        hold_later(w, slot);
        advance_key(w, key);
    }
    slot->is_retrying = true;
}

void ow_window_recall(struct ow_window *w)
{
    for (uint64_t token = w->head; token < w->tail && w->sent_count > 0; token++) {
        struct ow_slot *slot = slot_of(w, token);
        if (slot->state != OW_SLOT_SENT)
            continue;
        struct ow_window_key *key = key_of(w, slot);
        w->sent_count--;
        if (!key || key->retrying == 0 || key->first == index_of(w, slot))
            make_ready(w, slot);
        else
            hold(w, slot);
        if (key) {
            key->sent--;
            advance_key(w, key);
        }
    }
}

void ow_window_wake(struct ow_window *w, int64_t now_ms)
{
    if (w->backoff_count == 0 || now_ms < w->due_min_ms)
        return;
    w->due_min_ms = INT64_MAX;
    for (uint64_t token = w->head; token < w->tail; token++) {
        struct ow_slot *slot = slot_of(w, token);
        if (slot->state != OW_SLOT_BACKOFF)
            continue;
        if (slot->due_ms > now_ms) {
            if (slot->due_ms < w->due_min_ms)
                w->due_min_ms = slot->due_ms;
            continue;
        }
        const struct ow_window_key *key = key_of(w, slot);
        w->backoff_count--;
        if (!key || OW_MUTANT(KEY_NOT_HELD) || (key->first == index_of(w, slot) && key->sent == 0))
            make_ready(w, slot);
        else
            hold(w, slot);
    }
}

int64_t ow_window_due_ms(const struct ow_window *w)
{
    return w->backoff_count ? w->due_min_ms : INT64_MAX;
}

struct ow_message *ow_window_pop(struct ow_window *w, bool *ret_is_aside)
{
    struct ow_slot *slot = slot_of(w, w->head);
    if (w->head == w->tail)
        return NULL;
    if (OW_MUTANT(POP_UNSETTLED) && slot->state == OW_SLOT_SENT)
        ow_window_settle(w, slot, false);
    if (slot->state != OW_SLOT_SETTLED)
        return NULL;
    struct ow_message *message = slot->message;
    *ret_is_aside = slot->is_aside;
    w->head++;
    w->count--;
    w->settled--;
    w->bytes -= slot->size;
    *slot = (struct ow_slot){.state = OW_SLOT_FREE};
    return message;
}

bool ow_window_has(const struct ow_window *w, struct ow_position position)
{
    uint64_t low = w->head, high = w->tail;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = ow_position_compare(slot_of(w, middle)->message->position, position);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

uint32_t ow_window_in_flight(const struct ow_window *w)
{
    return w->sent_count;
}

bool ow_window_is_hogged(const struct ow_window *w, const struct ow_slot *slot)
{
    const struct ow_window_key *key = key_of(w, slot);
    return key && key->count > 1 && (key->count > w->limits.count_max / 2 || key->bytes > w->limits.bytes_max / 2);
}

const struct ow_message *ow_window_oldest(const struct ow_window *w)
{
    return w->count > 0 ? slot_of(w, w->head)->message : NULL;
}

uint64_t ow_window_next_open(const struct ow_window *w, uint64_t from)
{
    uint64_t token = from > w->head ? from : w->head;
    while (token < w->tail && (slot_of(w, token)->state == OW_SLOT_SENT || slot_of(w, token)->state == OW_SLOT_SETTLED))
        token++;
    return token;
}

bool ow_window_position_if_accepted(const struct ow_window *w, struct ow_position *ret)
{
    uint64_t open = ow_window_next_open(w, 0);
    if (open == w->head)
        return false;
    *ret = slot_of(w, open - 1)->message->position;
    return true;
}

/* --- the promises ------------------------------------------------------------------------------------ */

static const char *broken_key(const struct ow_window *w, const struct ow_slot *slot)
{
    const struct ow_window_key *key = key_of(w, slot);
    if (!key)
        return slot->state == OW_SLOT_HELD ? "a slot without a key is held" : NULL;
    bool is_in_chain = false, is_behind_retry = false;
    uint32_t open_earlier = 0;
    for (uint32_t i = key->first; i != NONE; i = w->slots[i].next_of_key) {
        const struct ow_slot *other = &w->slots[i];
        if (!ow_bytes_equal(lane_of(w, other->message), lane_of(w, slot->message)))
            return "a chain mixes keys";
        if (other == slot) {
            is_in_chain = true;
            break;
        }
        if (other->token > slot->token)
            return "a chain is out of order";
        open_earlier++;
        is_behind_retry |= other->is_retrying;
    }
    if (!is_in_chain)
        return "a slot is not in the chain of its key";
    if (slot->state == OW_SLOT_READY && is_behind_retry)
        return "a message may be sent while an earlier one of its key is tried again";
    if (!w->limits.keeps_order && open_earlier > 0 && slot->state != OW_SLOT_HELD)
        return "two messages of a key are on their way to a broker that keeps no order";
    if (slot->state == OW_SLOT_HELD && open_earlier == 0 && key->sent == 0)
        return "the oldest message of a key is held for nothing";
    return NULL;
}

/* What a key counts of its chain, checked at the oldest slot of it. */
static const char *broken_counts(const struct ow_window *w, const struct ow_slot *slot)
{
    const struct ow_window_key *key = key_of(w, slot);
    if (!key || key->first != index_of(w, slot))
        return NULL;
    uint32_t ready = 0, held = 0, sent = 0, retrying = 0, count = 0;
    size_t bytes = 0;
    for (uint32_t i = key->first; i != NONE; i = w->slots[i].next_of_key) {
        ready += w->slots[i].state == OW_SLOT_READY;
        held += w->slots[i].state == OW_SLOT_HELD;
        sent += w->slots[i].state == OW_SLOT_SENT;
        retrying += w->slots[i].is_retrying;
        count++;
        bytes += w->slots[i].size;
    }
    return ready == key->ready && held == key->held && sent == key->sent && retrying == key->retrying &&
                   count == key->count && bytes == key->bytes
               ? NULL
               : "a key counts its chain wrongly";
}

const char *ow_window_broken(const struct ow_window *w)
{
    uint32_t settled = 0, ready = 0, sent = 0, backoff = 0;
    size_t bytes = 0;
    if (w->count != w->tail - w->head)
        return "count is not the number of slots in use";
    if (w->count > w->limits.count_max || (w->count > 1 && w->bytes > w->limits.bytes_max))
        return "over its bounds";
    for (uint64_t token = w->head; token < w->tail; token++) {
        const struct ow_slot *slot = slot_of(w, token);
        if (slot->token != token || !slot->message || slot->state == OW_SLOT_FREE)
            return "a slot in use is free";
        if (token > w->head &&
            ow_position_compare(slot_of(w, token - 1)->message->position, slot->message->position) >= 0)
            return "positions do not rise";
        bytes += slot->size;
        settled += slot->state == OW_SLOT_SETTLED;
        ready += slot->state == OW_SLOT_READY;
        sent += slot->state == OW_SLOT_SENT;
        backoff += slot->state == OW_SLOT_BACKOFF;
        const char *broken = slot->state == OW_SLOT_SETTLED ? NULL : broken_key(w, slot);
        if (!broken && slot->state != OW_SLOT_SETTLED)
            broken = broken_counts(w, slot);
        if (broken)
            return broken;
    }
    if (bytes != w->bytes || settled != w->settled || backoff != w->backoff_count || sent != w->sent_count)
        return "a count is wrong";
    uint64_t last = 0;
    for (uint32_t i = w->ready_first; i != NONE; i = w->slots[i].list_next, ready--) {
        if (w->slots[i].state != OW_SLOT_READY || w->slots[i].token <= last)
            return "the list of what is ready is wrong";
        last = w->slots[i].token;
    }
    return ready == 0 ? NULL : "a ready slot is not in the list";
}
