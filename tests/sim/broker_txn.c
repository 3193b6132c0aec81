/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brokers that keep a position. One with transactions takes all that was sent since begin together with the position,
 * or none of it. Nothing stands in a transaction that was not accepted: a message that is refused gets its verdict in a
 * transaction of its own, which moves no position.
 *
 *   TRANSACTIONS  knows what it accepted for as long as the relay may ask
 *   EXACTLY       knows the position alone, and finds out that it refuses a message only when it should commit it.
 *                 Whoever asks for the position first after it has opened fences the others off
 *   RECORDING     has no transactions: in each place the latest position that was recorded wins, whoever did it
 */
#include "world.h"

static struct sim_broker *self_of(struct ow_broker *broker)
{
    return (struct sim_broker *)broker;
}

static struct sim_bus *bus_of(const struct sim_broker *b)
{
    return &b->node->world->bus;
}

static bool is_in_this(const struct sim_broker *b, const struct sim_copy *copy)
{
    return copy->node == b->node->number && !copy->is_zombie && copy->state == SIM_QUEUED;
}

/* --- transactions ------------------------------------------------------------------------------------ */

int sim_txn_begin(struct ow_broker *base, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    enum sim_fate fate = sim_broker_fate(b, "broker.txn_begin");
    if (b->is_in_transaction && !b->node->is_dead)
        sim_fail(b->node->world, "a transaction was begun inside a transaction");
    if (fate != SIM_GOES)
        return sim_fate_error(b->node, SIM_FAILS, "broker.txn_begin", err);
    b->is_in_transaction = true;
    return 0;
}

void sim_txn_abort(struct ow_broker *base)
{
    struct sim_broker *b = self_of(base);
    if (!b->node->is_dead)
        sim_broker_drop_queued(b);
}

int sim_txn_judge(struct sim_broker *b, struct sim_copy *copy, struct ow_error *err)
{
    struct sim_world *w = b->node->world;
    bool has_sent = false;
    for (uint32_t i = 0; i < w->bus.copy_count; i++) {
        const struct sim_copy *other = &w->bus.copies[i];
        has_sent |= is_in_this(b, other);
        if (other->node == copy->node && other->is_judged && !other->is_zombie && !other->is_released)
            return ow_error_set(err, OW_EAGAIN, "a verdict is due");
    }
    bool finds_out_late = w->options.kind == SIM_EXACTLY;
    bool is_refused = finds_out_late ? b->unfit >> copy->message & 1 : w->messages[copy->message].is_unwanted;
    if (!is_refused && (!finds_out_late || w->is_calm || !sim_chance(&w->dice, w->options.drop)))
        return 0;
    if (has_sent)
        return ow_error_set(err, OW_EAGAIN, "not in this transaction");
    copy->is_judged = true;
    copy->verdict = is_refused ? OW_REJECTED : OW_RETRY;
    return 1;
}

/* Forgets, as the journal does, what was accepted before a mark that has enough behind it. */
static void move_since(struct sim_world *w, uint64_t first, uint64_t count)
{
    struct sim_bus *bus = &w->bus;
    uint64_t enough = w->options.has_long_memory ? UINT64_MAX : w->options.window_count;
    if (!bus->has_position) {
        bus->since = bus->mark = first;
        bus->mark_count = count;
    } else if (count > 0 && bus->mark_count >= enough) {
        bus->since = bus->mark;
        bus->mark = first;
        bus->mark_count = count;
    } else {
        bus->mark_count += count;
    }
}

static void put_on_record(struct sim_world *w, struct ow_position position, uint32_t place)
{
    char text[OW_POSITION_TEXT_SIZE];
    sim_trace(w, "position %s in place %u", ow_position_format(position, text), place);
    w->bus.has_position = true;
    w->bus.places[place] = w->bus.position = position;
    for (uint32_t i = 0; i < OW_RECORD_PLACES; i++)
        if (ow_position_compare(w->bus.places[i], w->bus.position) > 0)
            w->bus.position = w->bus.places[i];
    w->log.gap_is_due &= w->bus.position.major < w->log.slot;
}

static uint64_t accept_all(struct sim_broker *b, uint64_t first, bool is_known)
{
    struct sim_world *w = b->node->world;
    uint64_t count = 0;
    for (uint32_t i = 0; i < w->bus.copy_count; i++) {
        struct sim_copy *copy = &w->bus.copies[i];
        if (!is_in_this(b, copy))
            continue;
        struct sim_message *m = &w->messages[copy->message];
        copy->state = SIM_DECIDED;
        bool may_wait = !w->is_calm && w->options.kind == SIM_TRANSACTIONS;
        copy->due_ms = w->now_ms + (may_wait ? sim_roll(&w->dice, 3) * 5 : 0);
        if (copy->is_judged) {
            copy->due_ms = w->now_ms;
            if (copy->verdict == OW_REJECTED)
                sim_happened(SIM_REJECTED);
            continue;
        }
        copy->verdict = OW_ACCEPTED;
        sim_broker_accept(b, copy);
        m->accept_order = first + count++;
        m->is_known = is_known;
        sim_broker_echo(b, copy);
    }
    w->accepted_count = first - 1 + count;
    return count;
}

/* 0: it may be committed; 1: it holds no more than a verdict, or nothing and the position has no place. */
static int look_through(struct sim_broker *b, struct ow_error *err)
{
    struct sim_world *w = b->node->world;
    bool is_exactly = w->options.kind == SIM_EXACTLY, is_verdict = false, is_empty = true;
    if (is_exactly && b->epoch != w->bus.epoch) {
        sim_happened(SIM_FENCED);
        b->fenced_at = b->node->source.opened;
        sim_broker_drop_queued(b);
        return ow_error_set(err, OW_ESTANDBY, "fenced");
    }
    for (uint32_t i = 0; i < w->bus.copy_count; i++) {
        const struct sim_copy *copy = &w->bus.copies[i];
        if (!is_in_this(b, copy))
            continue;
        is_empty = false;
        is_verdict |= copy->is_judged;
        if (!copy->is_judged && w->messages[copy->message].is_unwanted) {
            sim_happened(SIM_REFUSED_COMMIT);
            b->unfit |= 1ull << copy->message;
            sim_broker_drop_queued(b);
            return ow_error_set(err, OW_EIO, "the transaction was refused");
        }
    }
    if (is_verdict)
        sim_happened(SIM_VERDICT);
    return is_verdict || (is_exactly && is_empty && !b->has_place);
}

int sim_txn_commit(struct ow_broker *base, const char *source, struct ow_position position, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    struct sim_world *w = b->node->world;
    enum sim_fate fate = sim_broker_fate(b, "broker.txn_commit");
    if (!b->is_in_transaction && !b->node->is_dead)
        sim_fail(w, "broker.txn_commit outside a transaction");
    if (fate == SIM_FAILS) {
        if (!b->node->is_dead)
            sim_broker_drop_queued(b);
        return sim_fate_error(b->node, fate, "broker.txn_commit", err);
    }
    int r = look_through(b, err);
    if (r < 0)
        return r;
    uint64_t first = w->accepted_count + 1, count = accept_all(b, first, source != NULL);
    if (source && r == 0) {
        if (ow_position_compare(position, bus_of(b)->position) < 0)
            sim_fail(w, "position %llu was stored over %llu", (unsigned long long)position.major,
                     (unsigned long long)bus_of(b)->position.major);
        if (ow_position_compare(position, bus_of(b)->position) > 0)
            sim_check_position(w, position);
        move_since(w, first, count);
        put_on_record(w, position, 0);
        b->told_position = w->options.kind == SIM_EXACTLY ? position : b->told_position;
    }
    b->is_in_transaction = false;
    if (fate == SIM_FAILS_AFTER)
        sim_happened(SIM_LOST_COMMIT);
    return fate != SIM_GOES ? sim_fate_error(b->node, fate, "broker.txn_commit", err) : source ? r : 0;
}

/* --- positions --------------------------------------------------------------------------------------- */

int sim_last_position(struct ow_broker *base, const char *source, struct ow_position *ret, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    struct sim_bus *bus = bus_of(b);
    enum sim_fate fate = sim_broker_fate(b, "broker.last_position");
    if (fate != SIM_GOES)
        return sim_fate_error(b->node, SIM_FAILS, "broker.last_position", err);
    if (strcmp(source, "outbox-1") != 0)
        sim_fail(b->node->world, "the broker was asked about a source \"%s\"", source);
    if (b->fenced_at && b->fenced_at == b->node->source.opened)
        sim_fail(b->node->world, "a relay that was fenced off comes back without having left the source");
    b->fenced_at = 0;
    if (!b->has_become)
        b->epoch = ++bus->epoch;
    b->has_become = true;
    b->node->seen = b->node->world->takeovers;
    b->has_place |= bus->has_position;
    b->told_position = bus->has_position ? bus->position : (struct ow_position){0};
    if (!bus->has_position)
        return 0;
    *ret = bus->position;
    bool is_even = ow_position_compare(bus->places[0], bus->places[OW_RECORD_PLACES - 1]) == 0;
    return is_even || sim_has_transactions(b->node->world) ? 1 : 2;
}

int sim_was_accepted(struct ow_broker *base, const char *source, const struct ow_message *view, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    struct sim_world *w = b->node->world;
    enum sim_fate fate = sim_broker_fate(b, "broker.was_accepted");
    if (fate != SIM_GOES)
        return sim_fate_error(b->node, SIM_FAILS, "broker.was_accepted", err);
    const struct sim_message *m = sim_message_of(w, view);
    bool is_before = ow_position_compare(view->position, b->told_position) <= 0;
    if (strcmp(source, "outbox-1") != 0 || !is_before)
        sim_fail(w, "the broker was asked about a message behind its position");
    bool is_known = m && m->is_known && m->accept_order >= w->bus.since;
    if (w->options.kind == SIM_EXACTLY)
        is_known = is_before;
    if (is_known)
        sim_happened(SIM_KNOWN);
    return is_known;
}

/* Only who was followed by another relay, and does not know it yet, puts back what is in a place. Another one has what
   the slot was told. */
static void put_back(struct sim_broker *b, struct ow_position position, uint32_t place)
{
    struct sim_world *w = b->node->world;
    const struct ow_position *there = &w->bus.places[place];
    if (ow_position_compare(position, *there) == 0) {
        sim_happened(SIM_REFRESH);
        return;
    }
    if (w->options.nodes == 1)
        sim_fail(w, "position %llu was recorded over %llu", (unsigned long long)position.major,
                 (unsigned long long)there->major);
    sim_happened(SIM_OLD_RECORD);
    w->takeovers++;
}

int sim_record_position(struct ow_broker *base, const char *source, struct ow_position position, uint32_t place,
                        struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    struct sim_world *w = b->node->world;
    enum sim_fate fate = sim_broker_fate(b, "broker.record_position");
    bool had_gap = w->log.gap_is_due;
    if (fate == SIM_FAILS)
        return sim_fate_error(b->node, fate, "broker.record_position", err);
    if (strcmp(source, "outbox-1") != 0)
        sim_fail(w, "the broker was given a position of a source \"%s\"", source);
    /* The topic beside which it stood is gone. */
    bool has_lost_place = !w->is_calm && !ow_position_is_zero(b->told_position) &&
                          sim_chance(&w->dice, w->options.fail_broker);
    if (fate == SIM_GOES && (!b->has_place || has_lost_place)) {
        sim_happened(SIM_NOWHERE);
        return ow_error_set(err, OW_EAGAIN, "nowhere");
    }
    if (b->has_place) {
        sim_happened(SIM_RECORD);
        if (ow_position_compare(position, w->bus.places[place]) > 0)
            sim_check_position(w, position);
        else
            put_back(b, position, place);
        w->takeovers += !sim_node_holds(b->node); /* whoever works on it cannot know this record */
        put_on_record(w, position, place);
        if (w->bus.position.major < w->log.slot && !had_gap && !sim_snapshot_is_due(w))
            sim_fail(w, "what is on record was put back to %llu, behind the slot at %llu",
                     (unsigned long long)w->bus.position.major, (unsigned long long)w->log.slot);
    }
    if (fate == SIM_FAILS_AFTER)
        sim_happened(SIM_LOST_RECORD);
    return fate == SIM_GOES ? 0 : sim_fate_error(b->node, fate, "broker.record_position", err);
}
