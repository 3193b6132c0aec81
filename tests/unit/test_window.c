/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window, first by small stories, then against a model: a plain array searched from end to end, which
 * knows the rules of window.h and nothing of its chains, tables and lists.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/window.h"

static uint64_t next_position;

static struct ow_message *message_of(const char *key, size_t payload_size)
{
    char *payload = calloc(1, payload_size + 1);
    assert_non_null(payload);
    struct ow_message m = {.position = {++next_position, 0},
                           .id = OW_BYTES("i"),
                           .key = ow_bytes_of(key),
                           .payload = {payload, payload_size}};
    struct ow_message *copy = ow_message_copy(&m);
    free(payload);
    assert_non_null(copy);
    return copy;
}

static void start(struct ow_window *w, uint32_t count_max, bool keeps_order)
{
    struct ow_window_limits limits = ow_window_limits_default;
    struct ow_error err = {0};
    limits.count_max = count_max;
    limits.keeps_order = keeps_order;
    next_position = 0;
    assert_int_equal(ow_window_init(w, &limits, &err), 0);
}

static void sane(const struct ow_window *w)
{
    const char *broken = ow_window_broken(w);
    if (broken)
        fail_msg("%s", broken);
}

static struct ow_slot *admit(struct ow_window *w, const char *key)
{
    struct ow_message *m = message_of(key, 0);
    assert_true(ow_window_has_room(w, ow_message_size(m)));
    struct ow_slot *slot = ow_window_admit(w, m);
    sane(w);
    return slot;
}

static void expect_take(struct ow_window *w, const struct ow_slot *expected)
{
    assert_ptr_equal(ow_window_take(w), expected);
    sane(w);
}

static void expect_pop(struct ow_window *w, uint64_t position, bool is_aside)
{
    bool aside = !is_aside;
    OW_CLEANUP(ow_message_cleanup) struct ow_message *m = ow_window_pop(w, &aside);
    assert_non_null(m);
    assert_int_equal(m->position.major, position);
    assert_int_equal(aside, is_aside);
    sane(w);
}

static void expect_no_pop(struct ow_window *w)
{
    bool aside;
    assert_null(ow_window_pop(w, &aside));
}

static void accept(struct ow_window *w, struct ow_slot *slot)
{
    ow_window_settle(w, slot, false);
    sane(w);
}

static void retry(struct ow_window *w, struct ow_slot *slot, int64_t due_ms)
{
    ow_window_retry(w, slot, due_ms, true);
    sane(w);
}

static void wake(struct ow_window *w, int64_t now_ms)
{
    ow_window_wake(w, now_ms);
    sane(w);
}

static void test_verdicts_in_any_order(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 8, false);
    struct ow_slot *a = admit(&w, "a"), *b = admit(&w, "b"), *c = admit(&w, NULL);
    expect_take(&w, a);
    expect_take(&w, b);
    expect_take(&w, c);
    expect_take(&w, NULL);
    assert_int_equal(ow_window_in_flight(&w), 3);
    accept(&w, c);
    expect_no_pop(&w);
    ow_window_settle(&w, b, true);
    expect_no_pop(&w);
    assert_int_equal(w.settled, 2);
    accept(&w, a);
    expect_pop(&w, 1, false);
    expect_pop(&w, 2, true);
    expect_pop(&w, 3, false);
    expect_no_pop(&w);
    assert_int_equal(w.count, 0);
    assert_int_equal(w.bytes, 0);
    ow_window_done(&w);
}

static void test_one_of_a_key_without_order(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 8, false);
    struct ow_slot *a = admit(&w, "k"), *b = admit(&w, "k"), *c = admit(&w, "other"), *d = admit(&w, "k");
    expect_take(&w, a);
    expect_take(&w, c);
    expect_take(&w, NULL);
    retry(&w, a, 100);
    assert_int_equal(ow_window_due_ms(&w), 100);
    expect_take(&w, NULL);
    wake(&w, 99);
    expect_take(&w, NULL);
    wake(&w, 100);
    assert_int_equal(ow_window_due_ms(&w), INT64_MAX);
    expect_take(&w, a);
    assert_int_equal(a->failures, 1);
    accept(&w, a);
    expect_take(&w, b);
    accept(&w, b);
    expect_take(&w, d);
    ow_window_done(&w);
}

static void test_a_key_is_held_while_an_earlier_one_is_retried(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 8, true);
    struct ow_slot *a = admit(&w, "k"), *b = admit(&w, "k"), *c = admit(&w, "k"), *x = admit(&w, "x");
    expect_take(&w, a);
    expect_take(&w, b);
    retry(&w, a, 50); /* c was about to go, b is still away */
    assert_int_equal(c->state, OW_SLOT_HELD);
    struct ow_slot *d = admit(&w, "k");
    assert_int_equal(d->state, OW_SLOT_HELD);
    expect_take(&w, x);
    wake(&w, 60); /* due, but b of its key is still in flight and would be passed by nobody knows whom */
    expect_take(&w, NULL);
    retry(&w, b, 70); /* b comes back, as the contract of the broker says */
    expect_take(&w, a);
    expect_take(&w, NULL);
    accept(&w, a);
    expect_take(&w, NULL); /* b backs off */
    wake(&w, 70);
    expect_take(&w, b);
    expect_take(&w, NULL);
    accept(&w, b);
    expect_take(&w, c); /* all is well again: many of a key may fly */
    expect_take(&w, d);
    ow_window_done(&w);
}

static void test_a_later_one_comes_back_first(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 4, true);
    struct ow_slot *a = admit(&w, "k"), *b = admit(&w, "k");
    expect_take(&w, a);
    expect_take(&w, b);
    retry(&w, b, 10);
    retry(&w, a, 20);
    wake(&w, 15);
    assert_int_equal(b->state, OW_SLOT_HELD); /* due before a, but behind it */
    expect_take(&w, NULL);
    wake(&w, 20);
    expect_take(&w, a);
    accept(&w, a);
    expect_take(&w, b);
    ow_window_done(&w);
}

static void test_set_aside_lets_the_key_go_on(void **state)
{
    (void)state;
    for (int keeps_order = 0; keeps_order < 2; keeps_order++) {
        struct ow_window w;
        start(&w, 4, keeps_order);
        struct ow_slot *a = admit(&w, "k");
        expect_take(&w, a);
        retry(&w, a, 1);
        struct ow_slot *b = admit(&w, "k");
        wake(&w, 1);
        expect_take(&w, a);
        ow_window_settle(&w, a, true);
        expect_take(&w, b);
        expect_pop(&w, 1, true);
        ow_window_done(&w);
    }
}

static void test_no_key_no_order(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 4, false);
    struct ow_slot *a = admit(&w, NULL), *b = admit(&w, NULL);
    expect_take(&w, a);
    retry(&w, a, 5);
    expect_take(&w, b);
    wake(&w, 5);
    expect_take(&w, a);
    ow_window_done(&w);
    start(&w, 4, false); /* an empty key is a key */
    a = admit(&w, "");
    (void)admit(&w, "");
    expect_take(&w, a);
    expect_take(&w, NULL);
    ow_window_done(&w);
}

static void test_order_of_all_and_of_none(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 4, false);
    w.limits.order = OW_ORDER_ALL;
    struct ow_slot *a = admit(&w, "k"), *b = admit(&w, NULL);
    expect_take(&w, a);
    expect_take(&w, NULL);
    accept(&w, a);
    expect_take(&w, b);
    ow_window_done(&w);
    start(&w, 4, false);
    w.limits.order = OW_ORDER_NONE;
    a = admit(&w, "k");
    b = admit(&w, "k");
    expect_take(&w, a);
    expect_take(&w, b);
    ow_window_done(&w);
}

static void test_bounds(void **state)
{
    (void)state;
    struct ow_window w;
    struct ow_error err = {0};
    struct ow_message *small = message_of("k", 10);
    size_t size = ow_message_size(small);
    struct ow_window_limits limits = {.count_max = 3, .bytes_max = 2 * size};
    next_position = 0;
    assert_int_equal(ow_window_init(&w, &limits, &err), 0);
    assert_true(ow_window_has_room(&w, size));
    assert_true(ow_window_has_room(&w, 100 * size)); /* alone */
    small->position.major = ++next_position;
    struct ow_slot *a = ow_window_admit(&w, small);
    assert_true(ow_window_has_room(&w, size));
    assert_false(ow_window_has_room(&w, size + 1));
    ow_window_admit(&w, message_of("l", 10));
    sane(&w);
    assert_int_equal(w.bytes, 2 * size);
    assert_false(ow_window_has_room(&w, 1));
    expect_take(&w, a);
    accept(&w, a);
    assert_false(ow_window_has_room(&w, size)); /* room comes with the pop */
    expect_pop(&w, 1, false);
    assert_true(ow_window_has_room(&w, size));
    ow_window_done(&w);

    start(&w, 3, false);
    for (int i = 0; i < 3; i++)
        (void)admit(&w, NULL);
    assert_false(ow_window_has_room(&w, 1));
    ow_window_done(&w);
}

static void test_one_oversize_message_alone(void **state)
{
    (void)state;
    struct ow_window w;
    struct ow_error err = {0};
    struct ow_window_limits limits = {.count_max = 4, .bytes_max = 1000};
    next_position = 0;
    assert_int_equal(ow_window_init(&w, &limits, &err), 0);
    struct ow_slot *big = ow_window_admit(&w, message_of("k", 5000));
    sane(&w);
    assert_false(ow_window_has_room(&w, 1));
    expect_take(&w, big);
    accept(&w, big);
    expect_pop(&w, 1, false);
    assert_true(ow_window_has_room(&w, 900));
    ow_window_done(&w);
}

static void test_late_and_double_receipts(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 2, false);
    assert_null(ow_window_find(&w, 0));
    assert_null(ow_window_find(&w, 1));
    struct ow_slot *a = admit(&w, "a"), *b = admit(&w, "b");
    uint64_t token = a->token;
    assert_null(ow_window_find(&w, token)); /* not sent yet */
    expect_take(&w, a);
    assert_ptr_equal(ow_window_find(&w, token), a);
    retry(&w, a, 5);
    assert_null(ow_window_find(&w, token)); /* late, while it backs off */
    wake(&w, 5);
    assert_null(ow_window_find(&w, token));
    expect_take(&w, a);
    accept(&w, a);
    assert_null(ow_window_find(&w, token)); /* twice */
    expect_pop(&w, 1, false);
    assert_null(ow_window_find(&w, token));
    struct ow_slot *c = admit(&w, "c"); /* takes the same place in the ring */
    assert_ptr_equal(c, a);
    expect_take(&w, b);
    expect_take(&w, c);
    assert_null(ow_window_find(&w, token));
    assert_null(ow_window_find(&w, UINT64_MAX));
    ow_window_done(&w);
}

static void test_put_back_goes_first_again(void **state)
{
    (void)state;
    for (int keeps_order = 0; keeps_order < 2; keeps_order++) {
        struct ow_window w;
        start(&w, 4, keeps_order);
        struct ow_slot *a = admit(&w, "a"), *b = admit(&w, "a"), *c = admit(&w, "c");
        expect_take(&w, a);
        ow_window_put_back(&w, a);
        sane(&w);
        assert_int_equal(ow_window_in_flight(&w), 0);
        expect_take(&w, a);
        expect_take(&w, keeps_order ? b : c);
        ow_window_done(&w);
    }
}

static void test_position_if_accepted(void **state)
{
    (void)state;
    struct ow_window w;
    struct ow_position position = {0, 0};
    start(&w, 8, true);
    assert_false(ow_window_position_if_accepted(&w, &position));
    struct ow_slot *a = admit(&w, "a"), *b = admit(&w, "b");
    (void)admit(&w, "c");
    assert_false(ow_window_position_if_accepted(&w, &position));
    expect_take(&w, a);
    expect_take(&w, b);
    assert_true(ow_window_position_if_accepted(&w, &position));
    assert_int_equal(position.major, 2); /* not 3: that was read and not sent */
    assert_int_equal(ow_window_next_open(&w, 0), 3);
    assert_int_equal(ow_window_next_open(&w, 4), 4);
    accept(&w, b);
    retry(&w, a, 10);
    assert_false(ow_window_position_if_accepted(&w, &position));
    assert_int_equal(ow_window_next_open(&w, 0), 1);
    assert_int_equal(ow_window_next_open(&w, 2), 3);
    ow_window_done(&w);
}

static void test_recall_keeps_the_order(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 8, true);
    struct ow_slot *a = admit(&w, "k"), *b = admit(&w, "k"), *x = admit(&w, "x"), *c = admit(&w, "k");
    for (int i = 0; i < 4; i++)
        assert_non_null(ow_window_take(&w));
    accept(&w, x);
    retry(&w, a, 10);
    ow_window_recall(&w);
    sane(&w);
    assert_int_equal(ow_window_in_flight(&w), 0);
    expect_take(&w, NULL); /* b and c wait behind a */
    wake(&w, 10);
    expect_take(&w, a);
    ow_window_recall(&w);
    sane(&w);
    expect_take(&w, a);
    accept(&w, a);
    expect_take(&w, b);
    expect_take(&w, c);
    ow_window_done(&w);
}

static void test_has(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 8, false);
    for (int i = 0; i < 5; i++) {
        next_position += 2;
        (void)admit(&w, NULL);
    }
    accept(&w, ow_window_take(&w));
    expect_pop(&w, 3, false);
    for (uint64_t position = 0; position < 20; position++)
        assert_int_equal(ow_window_has(&w, (struct ow_position){position, 0}),
                         position == 6 || position == 9 || position == 12 || position == 15);
    assert_false(ow_window_has(&w, (struct ow_position){6, 1}));
    ow_window_done(&w);
}

static void test_out_of_memory_is_told(void **state)
{
    (void)state;
    struct ow_window w;
    struct ow_window_limits limits = {.count_max = 1, .bytes_max = 1};
    assert_int_equal(ow_window_init(&w, &limits, NULL), 0);
    ow_window_done(&w);
    ow_window_done(&w); /* again, on what is zeroed now */
}

/* One key only, and many: the work for a message must not grow with the window. 200,000 messages through
   a window of 10,000 would take minutes if it did. */
static void test_a_hot_key_costs_no_more(void **state)
{
    (void)state;
    struct ow_window w;
    start(&w, 10000, true);
    uint64_t admitted = 0, settled = 0;
    while (settled < 200000) {
        while (admitted < 200000 && ow_window_has_room(&w, 1)) {
            ow_window_admit(&w, message_of("hot", 0));
            admitted++;
        }
        while (ow_window_take(&w))
            ;
        struct ow_slot *slot = ow_window_find(&w, settled + 1);
        assert_non_null(slot);
        ow_window_settle(&w, slot, false);
        settled++;
        bool is_aside;
        ow_message_free(ow_window_pop(&w, &is_aside));
    }
    assert_int_equal(w.count, 0);
    ow_window_done(&w);
}

static void test_a_whole_window_comes_back(void **state)
{
    (void)state;
    for (int keeps_order = 0; keeps_order < 2; keeps_order++) {
        struct ow_window w;
        start(&w, 10000, keeps_order);
        for (int i = 0; i < 10000; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "%d", keeps_order ? 0 : i);
            ow_window_admit(&w, message_of(key, 0));
        }
        while (ow_window_take(&w))
            ;
        for (uint64_t token = 1; token <= 10000; token++)
            ow_window_retry(&w, ow_window_find(&w, token), (int64_t)(10001 - token), false);
        ow_window_wake(&w, 5000);
        ow_window_wake(&w, 10000);
        uint64_t last = 0;
        for (int i = 0; i < 10000; i++) {
            struct ow_slot *slot = ow_window_take(&w);
            assert_non_null(slot);
            assert_true(slot->token > last);
            last = slot->token;
            ow_window_settle(&w, slot, false);
        }
        sane(&w);
        ow_window_done(&w);
    }
}

/* --- against a model ---------------------------------------------------------------------------------- */

enum { WAITS, SENT, BACKOFF, SETTLED };

struct entry {
    uint64_t token, position;
    size_t size;
    int key, state; /* key -1: null */
    bool is_retrying, is_aside;
    int64_t due_ms;
};

struct model {
    struct entry entries[64];
    uint32_t count;
    bool keeps_order;
    uint64_t dice;
};

static uint64_t roll(struct model *m, uint64_t sides)
{
    uint64_t z = m->dice += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % sides;
}

/* May entry i be sent? Straight from the words of window.h. */
static bool may_go(const struct model *m, uint32_t i)
{
    const struct entry *e = &m->entries[i];
    if (e->state != WAITS)
        return false;
    if (e->key < 0)
        return true;
    bool has_earlier = false, has_sent = false, has_retrying = false;
    for (uint32_t k = 0; k < m->count; k++) {
        const struct entry *other = &m->entries[k];
        if (other->key != e->key || other->state == SETTLED)
            continue;
        has_earlier |= k < i;
        has_sent |= other->state == SENT;
        has_retrying |= other->is_retrying;
    }
    return (m->keeps_order && !has_retrying) || (!has_earlier && !has_sent);
}

static void compare(const struct model *m, const struct ow_window *w, size_t bytes_max, uint32_t count_max)
{
    size_t bytes = 0;
    uint32_t sent = 0, settled = 0;
    int64_t due_ms = INT64_MAX;
    uint64_t position = 0;
    bool is_prefix = true;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct entry *e = &m->entries[i];
        bytes += e->size;
        sent += e->state == SENT;
        settled += e->state == SETTLED;
        if (e->state == BACKOFF && e->due_ms < due_ms)
            due_ms = e->due_ms;
        is_prefix = is_prefix && (e->state == SENT || e->state == SETTLED);
        position = is_prefix ? e->position : position;
    }
    assert_int_equal(w->count, m->count);
    assert_int_equal(w->settled, settled);
    assert_int_equal(w->bytes, bytes);
    assert_int_equal(ow_window_in_flight(w), sent);
    assert_int_equal(ow_window_due_ms(w), due_ms);
    struct ow_position durable = {0, 0};
    assert_int_equal(ow_window_position_if_accepted(w, &durable), position != 0);
    assert_int_equal(durable.major, position);
    assert_int_equal(ow_window_has_room(w, 200), m->count == 0 || (m->count < count_max && bytes + 200 <= bytes_max));
    sane(w);
}

static void model_admit(struct model *m, struct ow_window *w, uint64_t *next_token)
{
    static const char *const keys[] = {"a", "b", "c", ""};
    int key = (int)roll(m, 6) - 2;
    struct ow_message *message = message_of(key < 0 ? NULL : keys[key], roll(m, 10) == 0 ? 3000 : roll(m, 200));
    size_t size = ow_message_size(message);
    if (!ow_window_has_room(w, size)) {
        next_position--;
        ow_message_free(message);
        return;
    }
    struct ow_slot *slot = ow_window_admit(w, message);
    assert_int_equal(slot->token, *next_token);
    m->entries[m->count++] = (struct entry){
        .token = (*next_token)++, .position = next_position, .size = size, .key = key < 0 ? -1 : key};
}

static void model_take(struct model *m, struct ow_window *w)
{
    uint32_t i = 0;
    while (i < m->count && !may_go(m, i))
        i++;
    struct ow_slot *slot = ow_window_take(w);
    if (i == m->count) {
        assert_null(slot);
        return;
    }
    assert_non_null(slot);
    assert_int_equal(slot->token, m->entries[i].token);
    m->entries[i].state = SENT;
    if (roll(m, 8) == 0) {
        ow_window_put_back(w, slot);
        m->entries[i].state = WAITS;
    }
}

static void model_verdict(struct model *m, struct ow_window *w, uint64_t next_token, int64_t now_ms)
{
    uint64_t token = roll(m, next_token + 2); /* also what was never sent, what is long gone, what is yet to come */
    if (m->count && roll(m, 2))
        token = m->entries[roll(m, m->count)].token;
    struct entry *e = NULL;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->entries[i].token == token && m->entries[i].state == SENT)
            e = &m->entries[i];
    struct ow_slot *slot = ow_window_find(w, token);
    assert_int_equal(slot != NULL, e != NULL);
    if (!slot || !e)
        return;
    if (roll(m, 3)) {
        e->is_aside = roll(m, 4) == 0;
        e->state = SETTLED;
        ow_window_settle(w, slot, e->is_aside);
    } else {
        e->due_ms = now_ms + (int64_t)roll(m, 20);
        e->state = BACKOFF;
        e->is_retrying = true;
        ow_window_retry(w, slot, e->due_ms, true);
    }
}

static void model_pop(struct model *m, struct ow_window *w)
{
    bool is_aside = false;
    OW_CLEANUP(ow_message_cleanup) struct ow_message *message = ow_window_pop(w, &is_aside);
    bool expected = m->count > 0 && m->entries[0].state == SETTLED;
    assert_int_equal(message != NULL, expected);
    if (!message)
        return;
    assert_int_equal(message->position.major, m->entries[0].position);
    assert_int_equal(is_aside, m->entries[0].is_aside);
    memmove(m->entries, m->entries + 1, --m->count * sizeof *m->entries);
}

static void test_against_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct model m = {.dice = seed, .keeps_order = seed & 1};
        struct ow_window w;
        struct ow_error err = {0};
        struct ow_window_limits limits = {.count_max = 1 + (uint32_t)(seed / 2 % 13),
                                          .bytes_max = 300 + roll(&m, 4000),
                                          .keeps_order = m.keeps_order};
        next_position = 0;
        uint64_t next_token = 1;
        int64_t now_ms = 0;
        assert_int_equal(ow_window_init(&w, &limits, &err), 0);
        for (int step = 0; step < 300; step++) {
            if (roll(&m, 60) == 0) { /* the broker was lost */
                ow_window_recall(&w);
                for (uint32_t i = 0; i < m.count; i++)
                    if (m.entries[i].state == SENT)
                        m.entries[i].state = WAITS;
                compare(&m, &w, limits.bytes_max, limits.count_max);
            }
            switch (roll(&m, 7)) {
            case 0:
            case 1:
                model_admit(&m, &w, &next_token);
                break;
            case 2:
                model_take(&m, &w);
                break;
            case 3:
            case 4:
                model_verdict(&m, &w, next_token, now_ms);
                break;
            case 5:
                model_pop(&m, &w);
                break;
            default:
                now_ms += (int64_t)roll(&m, 15);
                ow_window_wake(&w, now_ms);
                for (uint32_t i = 0; i < m.count; i++)
                    if (m.entries[i].state == BACKOFF && m.entries[i].due_ms <= now_ms)
                        m.entries[i].state = WAITS;
            }
            compare(&m, &w, limits.bytes_max, limits.count_max);
        }
        ow_window_done(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts_in_any_order),
        cmocka_unit_test(test_one_of_a_key_without_order),
        cmocka_unit_test(test_a_key_is_held_while_an_earlier_one_is_retried),
        cmocka_unit_test(test_a_later_one_comes_back_first),
        cmocka_unit_test(test_set_aside_lets_the_key_go_on),
        cmocka_unit_test(test_no_key_no_order),
        cmocka_unit_test(test_order_of_all_and_of_none),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_one_oversize_message_alone),
        cmocka_unit_test(test_late_and_double_receipts),
        cmocka_unit_test(test_put_back_goes_first_again),
        cmocka_unit_test(test_position_if_accepted),
        cmocka_unit_test(test_recall_keeps_the_order),
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_out_of_memory_is_told),
        cmocka_unit_test(test_a_hot_key_costs_no_more),
        cmocka_unit_test(test_a_whole_window_comes_back),
        cmocka_unit_test(test_against_the_model),
    };
    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
