/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake brokers. What was sent is a list of copies in the order of sending. Work on it is an event of its
 * own: it decides about one copy, and its receipt arrives some time later, or twice, or tells less than what
 * happened. When a connection ends, the copies that are not decided become zombies: nobody waits for them,
 * and they may be accepted all the same.
 *
 * A broker that keeps order decides about the copies of a key one after the other, and once one is to come
 * back, so are the later ones of its key. A broker with transactions decides about all of them in commit:
 * broker_txn.c.
 */
#include "world.h"

static struct sim_broker *self_of(struct ow_broker *broker)
{
    return (struct sim_broker *)broker;
}

static struct sim_message *message_of(struct sim_world *w, const struct sim_copy *copy)
{
    return &w->messages[copy->message];
}

static bool keeps_order(const struct sim_world *w)
{
    return w->options.kind != SIM_UNORDERED;
}

static bool has_same_key(struct sim_world *w, const struct sim_copy *one, const struct sim_copy *two)
{
    uint32_t key = message_of(w, one)->key;
    return key < SIM_KEYS_MAX - 1 && key == message_of(w, two)->key && one->connection == two->connection;
}

static bool is_mine(const struct sim_broker *b, const struct sim_copy *copy)
{
    return copy->node == b->node->number && !copy->is_zombie;
}

static void remove_copy(struct sim_bus *bus, uint32_t i)
{
    memmove(&bus->copies[i], &bus->copies[i + 1], (--bus->copy_count - i) * sizeof *bus->copies);
}

enum sim_fate sim_broker_fate(struct sim_broker *b, const char *call)
{
    struct sim_world *w = b->node->world;
    if (!b->is_open && strcmp(call, "broker.open") != 0 && !b->node->is_dead)
        sim_fail(w, "%s of a broker that is not open", call);
    enum sim_fate fate = sim_fate(b->node, w->options.fail_broker, call);
    if (fate == SIM_GOES && w->bus.is_down)
        fate = SIM_FAILS;
    if (fate != SIM_GOES && !b->node->is_dead)
        sim_happened(SIM_BROKER_ERROR);
    return fate;
}

static int broker_open(struct ow_broker *base, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    if (b->is_open && !b->node->is_dead)
        sim_fail(b->node->world, "the broker was opened twice");
    enum sim_fate fate = sim_broker_fate(b, "broker.open");
    if (fate != SIM_GOES)
        return sim_fate_error(b->node, SIM_FAILS, "broker.open", err);
    sim_trace(b->node->world, "broker opened");
    b->is_open = true;
    b->is_in_transaction = b->was_full = b->has_become = b->was_unwell = false;
    b->answered_ms = b->node->world->now_ms;
    b->connection = ++b->node->world->bus.connections;
    return 0;
}

/* --- acceptance -------------------------------------------------------------------------------------- */

void sim_broker_accept(struct sim_broker *b, struct sim_copy *copy)
{
    struct sim_world *w = b->node->world;
    struct ow_message view;
    if (copy->view) { /* the relay must keep it until the receipt */
        view = *copy->view;
        if (sim_message_of(w, &view) != message_of(w, copy))
            sim_fail(w, "the bytes of %s changed before its receipt", message_of(w, copy)->id);
        if (view.is_shaped)
            sim_happened(SIM_SHAPED);
    }
    copy->is_accepted = true;
    b->has_place = true;
    if (copy->is_zombie)
        sim_happened(SIM_ZOMBIE);
    else if (!sim_node_holds(b->node) && b->node->source.is_open)
        sim_happened(SIM_ZOMBIE_ACCEPT);
    sim_check_accept(b->node, message_of(w, copy));
}

/* The copy comes back for a retry, and with it the later ones of its key, where order is kept. Those may
   still be accepted, if it was. */
static void come_back(struct sim_broker *b, struct sim_copy *copy, enum ow_verdict verdict, int64_t due_ms)
{
    copy->state = SIM_DECIDED;
    copy->verdict = verdict;
    copy->due_ms = due_ms;
    struct sim_world *w = b->node->world;
    for (struct sim_copy *later = copy + 1; keeps_order(w) && later < w->bus.copies + w->bus.copy_count; later++) {
        if (later->state != SIM_QUEUED || !has_same_key(w, copy, later))
            continue;
        if (message_of(w, later)->is_unwanted)
            later->is_accepted = copy->is_accepted; /* it stands in nobody's way */
        else if (copy->is_accepted && sim_roll(&w->dice, 2))
            sim_broker_accept(b, later);
        later->state = SIM_DECIDED;
        later->verdict = verdict;
        later->due_ms = w->now_ms + sim_roll(&w->dice, 20);
        copy = later;
    }
}

void sim_broker_echo(struct sim_broker *b, struct sim_copy *copy)
{
    struct sim_world *w = b->node->world;
    bool may_repeat = (copy->verdict != OW_RETRY && copy->verdict != OW_LATER) || !keeps_order(w);
    if (w->is_calm || copy->has_echo || !may_repeat || !sim_chance(&w->dice, w->options.double_receipt))
        return;
    sim_happened(SIM_DOUBLE_RECEIPT);
    copy->has_echo = true;
    copy->echo_verdict = copy->verdict;
}

static void decide(struct sim_broker *b, struct sim_copy *copy)
{
    struct sim_world *w = b->node->world;
    const struct sim_options *o = &w->options;
    int64_t timeout_ms = w->now_ms + sim_between(&w->dice, 5, 60);
    copy->state = SIM_DECIDED;
    copy->due_ms = w->now_ms;
    if (message_of(w, copy)->is_unwanted) {
        sim_happened(SIM_REJECTED);
        copy->verdict = OW_REJECTED;
    } else if (!w->is_calm && sim_chance(&w->dice, o->drop)) {
        sim_happened(SIM_DROPPED);
        sim_trace(w, "%s is lost on its way", message_of(w, copy)->id);
        come_back(b, copy, OW_RETRY, timeout_ms);
    } else if (!w->is_calm && sim_chance(&w->dice, o->later)) {
        sim_happened(SIM_LATER);
        come_back(b, copy, OW_LATER, timeout_ms);
    } else {
        sim_broker_accept(b, copy);
        copy->verdict = OW_ACCEPTED;
        if (!w->is_calm && sim_chance(&w->dice, o->lost_ack)) {
            sim_happened(SIM_LOST_ACK);
            come_back(b, copy, OW_RETRY, timeout_ms);
        } else if (!w->is_calm && sim_chance(&w->dice, o->late_ack)) {
            sim_happened(SIM_LATE_ACK);
            copy->has_echo = true;
            copy->echo_verdict = OW_ACCEPTED;
            come_back(b, copy, OW_RETRY, timeout_ms);
        }
    }
    if (!w->is_calm && sim_chance(&w->dice, o->slow_ack)) {
        sim_happened(SIM_SLOW_ACK);
        copy->due_ms += sim_between(&w->dice, 1, 100);
    }
    sim_broker_echo(b, copy);
}

/* Accepted or dropped, and nobody is told. Where order is kept, what follows a dropped one is dropped. */
static void decide_zombie(struct sim_broker *b, uint32_t i)
{
    struct sim_world *w = b->node->world;
    struct sim_copy copy = w->bus.copies[i];
    bool is_unwanted = message_of(w, &copy)->is_unwanted;
    bool is_accepted = !is_unwanted && !w->is_calm && sim_roll(&w->dice, 2);
    if (is_accepted)
        sim_broker_accept(b, &w->bus.copies[i]);
    remove_copy(&w->bus, i);
    for (uint32_t k = w->bus.copy_count; !is_accepted && !is_unwanted && k-- > i;)
        if (keeps_order(w) && w->bus.copies[k].is_zombie && has_same_key(w, &copy, &w->bus.copies[k]))
            remove_copy(&w->bus, k);
}

static bool may_decide(struct sim_world *w, uint32_t i)
{
    const struct sim_copy *copies = w->bus.copies;
    if (copies[i].state != SIM_QUEUED)
        return false;
    for (uint32_t k = 0; k < i && keeps_order(w); k++)
        if (copies[k].state == SIM_QUEUED && has_same_key(w, &copies[k], &copies[i]))
            return false;
    return true;
}

bool sim_broker_work(struct sim_world *w)
{
    struct sim_bus *bus = &w->bus;
    if (sim_has_transactions(w) || bus->is_down || bus->has_trouble || bus->copy_count == 0)
        return false;
    uint32_t start = sim_roll(&w->dice, bus->copy_count);
    for (uint32_t n = 0; n < bus->copy_count; n++) {
        uint32_t i = (start + n) % bus->copy_count;
        if (!may_decide(w, i))
            continue;
        struct sim_broker *b = &w->nodes[bus->copies[i].node].broker;
        if (bus->copies[i].is_zombie)
            decide_zombie(b, i);
        else
            decide(b, &bus->copies[i]);
        return true;
    }
    return false;
}

/* --- the calls --------------------------------------------------------------------------------------- */

static uint32_t in_flight(const struct sim_broker *b)
{
    const struct sim_bus *bus = &b->node->world->bus;
    uint32_t count = 0;
    for (uint32_t i = 0; i < bus->copy_count; i++)
        count += is_mine(b, &bus->copies[i]) && !bus->copies[i].is_released;
    return count;
}

static void check_copies(struct sim_broker *b, const struct sim_message *m, const struct ow_message *view)
{
    struct sim_world *w = b->node->world;
    bool is_null = m->key == SIM_KEYS_MAX - 1;
    if (!ow_bytes_is(view->topic, w->options.shapes ? "shaped" : "outbox.event.thing") ||
        view->is_shaped != w->options.shapes || (view->key.data == NULL) != is_null ||
        (!is_null && !ow_bytes_is(view->key, m->aggregate_id)))
        sim_fail(w, "%s goes to topic \"%.*s\" with key \"%.*s\"", m->id, OW_PRINT(view->topic), OW_PRINT(view->key));
    for (uint32_t i = 0; i < w->bus.copy_count; i++) {
        const struct sim_copy *other = &w->bus.copies[i];
        const struct sim_message *o = message_of(w, other);
        if (!is_mine(b, other) || other->is_released)
            continue;
        if (o == m)
            sim_fail(w, "%s was sent again while it is in flight", m->id);
        else if (o->key == m->key && !is_null && w->options.kind == SIM_UNORDERED)
            sim_fail(w, "%s was sent while %s of its key is in flight, and the broker keeps no order", m->id, o->id);
    }
    if (in_flight(b) >= w->options.window_count)
        sim_fail(w, "more than a window is in flight");
}

/* Where order is kept, what is sent behind one of its key that is about to come back comes back too. */
static void follow(struct sim_broker *b, struct sim_copy *copy)
{
    struct sim_world *w = b->node->world;
    bool comes_back = false, may_be_accepted = true;
    enum ow_verdict verdict = OW_RETRY;
    for (uint32_t i = 0; i < w->bus.copy_count - 1 && keeps_order(w); i++) {
        const struct sim_copy *other = &w->bus.copies[i];
        if (!is_mine(b, other) || other->is_released || other->state != SIM_DECIDED ||
            (other->verdict != OW_RETRY && other->verdict != OW_LATER) || !has_same_key(w, other, copy))
            continue;
        comes_back = true;
        verdict = other->verdict;
        may_be_accepted = may_be_accepted && other->is_accepted;
    }
    if (!comes_back)
        return;
    copy->state = SIM_DECIDED;
    copy->verdict = verdict;
    copy->due_ms = w->now_ms + sim_roll(&w->dice, 20);
    if (message_of(w, copy)->is_unwanted)
        copy->is_accepted = may_be_accepted;
    else if (may_be_accepted && sim_roll(&w->dice, 2))
        sim_broker_accept(b, copy);
}

static void make_room(struct sim_world *w)
{
    struct sim_bus *bus = &w->bus;
    for (uint32_t i = 0; bus->copy_count == SIM_COPIES_MAX && i < bus->copy_count; i++)
        if (bus->copies[i].is_zombie)
            decide_zombie(&w->nodes[bus->copies[i].node].broker, i);
}

static int broker_send(struct ow_broker *base, const struct ow_message *view, uint64_t token, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    struct sim_world *w = b->node->world;
    enum sim_fate fate = sim_broker_fate(b, "broker.send");
    if (fate == SIM_FAILS)
        return sim_fate_error(b->node, fate, "broker.send", err);
    if (sim_has_transactions(w) && !b->is_in_transaction)
        sim_fail(w, "broker.send outside a transaction");
    if (in_flight(b) >= w->options.capacity) {
        sim_happened(SIM_FULL);
        b->was_full = true;
        if (fate == SIM_FAILS_AFTER)
            return sim_fate_error(b->node, fate, "broker.send", err);
        return ow_error_set(err, OW_EAGAIN, "full");
    }
    struct sim_message *m = sim_message_of(w, view);
    if (!m)
        return ow_error_set(err, OW_EINVALID, "no such message");
    make_room(w);
    struct sim_copy made = {.node = b->node->number,
                            .message = sim_index_of(w, m),
                            .connection = b->connection,
                            .token = token,
                            .view = view};
    if (sim_has_transactions(w) && sim_txn_judge(b, &made, err) < 0)
        return OW_EAGAIN;
    sim_trace(w, "relay %u sent %s with token %llu", b->node->life, m->id, (unsigned long long)token);
    sim_check_send(b->node, m);
    check_copies(b, m, view);
    if (ow_message_size(view) > w->options.window_bytes)
        sim_happened(SIM_OVERSIZE);
    struct sim_copy *copy = &w->bus.copies[w->bus.copy_count++];
    *copy = made;
    if (!sim_has_transactions(w))
        follow(b, copy);
    return fate == SIM_GOES ? 0 : sim_fate_error(b->node, fate, "broker.send", err);
}

/* Time counts between two answers, if it had no trouble in between of which the relay was told. */
static void note_answer(struct sim_broker *b, enum ow_verdict verdict)
{
    const struct sim_world *w = b->node->world;
    if (w->bus.has_trouble || verdict == OW_LATER) {
        b->was_unwell = true;
        return;
    }
    if (!b->was_unwell)
        b->well_ms += w->now_ms - b->answered_ms;
    b->answered_ms = w->now_ms;
    b->was_unwell = false;
}

static const char *broker_trouble(struct ow_broker *base)
{
    struct sim_broker *b = self_of(base);
    bool has_trouble = b->node->world->bus.has_trouble;
    b->was_unwell |= has_trouble && !b->node->is_dead;
    return has_trouble ? "the simulator has trouble" : NULL;
}

static void write_receipt(struct sim_broker *b, uint32_t i, struct ow_receipt *receipt)
{
    struct sim_world *w = b->node->world;
    struct sim_copy *copy = &w->bus.copies[i];
    struct sim_message *m = message_of(w, copy);
    static const char *const names[] = {"accepted", "retry", "later", "rejected"};
    *receipt = (struct ow_receipt){.token = copy->token, .verdict = copy->verdict};
    if (copy->verdict != OW_ACCEPTED)
        memcpy(receipt->reason, "the simulator says so", 22);
    sim_trace(w, "receipt for %s: %s", m->id, names[copy->verdict]);
    note_answer(b, copy->verdict);
    if (copy->verdict == OW_RETRY && !b->was_unwell && m->failed_in[b->node->number] != b->node->life) {
        m->failed_in[b->node->number] = b->node->life;
        m->failed_ms[b->node->number] = b->well_ms;
    }
    if (copy->verdict == OW_ACCEPTED && !copy->is_released) { /* one that comes late may be passed over */
        m->told_in = b->node->life;
        m->told_at = b->node->seen;
    }
    for (uint32_t k = 0; k < w->bus.copy_count; k++) {
        struct sim_copy *other = &w->bus.copies[k];
        if (other->token == copy->token && is_mine(b, other)) {
            other->is_released = true;
            other->view = NULL; /* the relay may free it from here on */
        }
    }
    b->was_full = false;
    if (!copy->has_echo) {
        remove_copy(&w->bus, i);
        return;
    }
    copy->has_echo = false;
    copy->verdict = copy->echo_verdict;
    copy->due_ms = w->now_ms + sim_roll(&w->dice, 200);
}

static bool is_deliverable(const struct sim_broker *b, uint32_t i)
{
    const struct sim_world *w = b->node->world;
    const struct sim_copy *copy = &w->bus.copies[i];
    return copy->state == SIM_DECIDED && is_mine(b, copy) && copy->due_ms <= w->now_ms;
}

static int broker_step(struct ow_broker *base, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    enum sim_fate fate = sim_broker_fate(b, "broker.step");
    struct sim_bus *bus = &b->node->world->bus;
    struct sim_dice *dice = &b->node->world->dice;
    size_t count = 0;
    if (fate != SIM_GOES)
        return sim_fate_error(b->node, fate, "broker.step", err);
    uint32_t due[SIM_COPIES_MAX], due_count = 0;
    for (uint32_t i = 0; i < bus->copy_count; i++)
        if (is_deliverable(b, i))
            due[due_count++] = i;
    while (due_count > 0 && count < max) {
        uint32_t pick = sim_roll(dice, due_count), i = due[pick];
        uint32_t before = bus->copy_count;
        write_receipt(b, i, &receipts[count++]);
        due[pick] = due[--due_count];
        for (uint32_t k = 0; k < due_count && bus->copy_count < before; k++)
            due[k] -= due[k] > i;
        if (due_count > 0 && !sim_has_transactions(b->node->world) && sim_roll(dice, 8) == 0)
            break; /* the rest comes with the next call */
    }
    return (int)count;
}

static void broker_wait(struct ow_broker *base, struct ow_wait *wait)
{
    struct sim_broker *b = self_of(base);
    if (!b->is_open && !b->node->is_dead)
        sim_fail(b->node->world, "broker.wait of a broker that is not open");
    ow_wait_add(wait, SIM_BROKER_FD, POLLIN);
}

static void broker_close(struct ow_broker *base)
{
    struct sim_broker *b = self_of(base);
    if (b->node->is_dead)
        return;
    sim_trace(b->node->world, "broker closed");
    sim_broker_forget(b);
}

/* --- what there is ----------------------------------------------------------------------------------- */

#define PUBLISHES                                                                                                  \
    .open = broker_open, .send = broker_send, .step = broker_step, .wait = broker_wait, .trouble = broker_trouble, \
    .close = broker_close, .discard = broker_close
#define HAS_TRANSACTIONS                                                                                     \
    .keeps_order = true, .has_transactions = true, .txn_begin = sim_txn_begin, .txn_commit = sim_txn_commit, \
    .txn_abort = sim_txn_abort, .last_position = sim_last_position, .was_accepted = sim_was_accepted

static const struct ow_broker_ops ops[SIM_KIND_COUNT] = {
    [SIM_ORDERED] = {.name = "ordered", .keeps_order = true, PUBLISHES},
    [SIM_UNORDERED] = {.name = "unordered", PUBLISHES},
    [SIM_RECORDING] = {.name = "recording",
                       .keeps_order = true,
                       PUBLISHES,
                       .last_position = sim_last_position,
                       .record_position = sim_record_position},
    [SIM_TRANSACTIONS] = {.name = "transactions", PUBLISHES, HAS_TRANSACTIONS},
    [SIM_EXACTLY] = {.name = "exactly", PUBLISHES, HAS_TRANSACTIONS},
};

void sim_broker_init(struct sim_broker *b, struct sim_node *node)
{
    b->base.ops = &ops[node->world->options.kind];
    b->node = node;
}

void sim_broker_drop_queued(struct sim_broker *b)
{
    struct sim_bus *bus = &b->node->world->bus;
    for (uint32_t i = bus->copy_count; i-- > 0;)
        if (is_mine(b, &bus->copies[i]) && bus->copies[i].state == SIM_QUEUED)
            remove_copy(bus, i);
    b->is_in_transaction = false;
}

void sim_broker_forget(struct sim_broker *b)
{
    struct sim_bus *bus = &b->node->world->bus;
    if (sim_has_transactions(b->node->world))
        sim_broker_drop_queued(b);
    for (uint32_t i = bus->copy_count; i-- > 0;) {
        if (!is_mine(b, &bus->copies[i]))
            continue;
        bus->copies[i].view = NULL;
        bus->copies[i].is_zombie = true;
        if (bus->copies[i].state == SIM_DECIDED)
            remove_copy(bus, i);
    }
    b->is_open = b->is_in_transaction = false;
}

bool sim_broker_has_news(const struct sim_broker *b)
{
    const struct sim_world *w = b->node->world;
    if (!b->is_open)
        return false;
    if (w->bus.is_down || (b->was_full && in_flight(b) < w->options.capacity))
        return true;
    for (uint32_t i = 0; i < w->bus.copy_count; i++)
        if (is_deliverable(b, i))
            return true;
    return false;
}

int64_t sim_broker_due_ms(const struct sim_world *w)
{
    int64_t due_ms = INT64_MAX;
    for (uint32_t i = 0; i < w->bus.copy_count; i++) {
        const struct sim_copy *copy = &w->bus.copies[i];
        if (copy->state == SIM_DECIDED && !copy->is_zombie && copy->due_ms < due_ms)
            due_ms = copy->due_ms;
    }
    return due_ms;
}
