/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake brokers. What was sent is a list of copies in the order of sending. Work on it is an event of its
 * own: it decides about one copy, and its receipt arrives some time later, or twice, or tells less than what
 * happened. When a connection ends, the copies that are not decided become zombies: nobody waits for them,
 * and they may be accepted all the same.
 *
 * A broker that keeps order decides about the copies of a key one after the other, and once one is to come
 * back, so are the later ones of its key. A broker with transactions decides about all of them in commit.
 */
#include "world.h"

static struct sim_broker *self_of(struct ow_broker *broker)
{
    return (struct sim_broker *)broker;
}

static struct sim_message *message_of(const struct sim_broker *b, const struct sim_copy *copy)
{
    return &b->world->messages[copy->message];
}

static bool has_same_key(const struct sim_broker *b, const struct sim_copy *one, const struct sim_copy *two)
{
    uint32_t key = message_of(b, one)->key;
    return key < SIM_KEYS_MAX - 1 && key == message_of(b, two)->key && one->connection == two->connection;
}

static void remove_copy(struct sim_broker *b, uint32_t i)
{
    memmove(&b->copies[i], &b->copies[i + 1], (--b->copy_count - i) * sizeof *b->copies);
}

static enum sim_fate fate_of(struct sim_broker *b, const char *call)
{
    struct sim_world *w = b->world;
    if (!b->is_open && strcmp(call, "broker.open") != 0 && !w->is_dead)
        sim_fail(w, "%s of a broker that is not open", call);
    enum sim_fate fate = sim_fate(w, w->options.fail_broker, call);
    if (fate == SIM_GOES && b->is_down)
        fate = SIM_FAILS;
    if (fate != SIM_GOES && !w->is_dead)
        sim_happened(SIM_BROKER_ERROR);
    return fate;
}

static int broker_open(struct ow_broker *base, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    if (b->is_open && !b->world->is_dead)
        sim_fail(b->world, "the broker was opened twice");
    enum sim_fate fate = fate_of(b, "broker.open");
    if (fate != SIM_GOES)
        return sim_fate_error(b->world, SIM_FAILS, "broker.open", err);
    sim_trace(b->world, "broker opened");
    b->is_open = true;
    b->is_in_transaction = b->was_full = false;
    b->connection++;
    return 0;
}

/* --- acceptance -------------------------------------------------------------------------------------- */

static void accept_copy(struct sim_broker *b, struct sim_copy *copy)
{
    struct ow_message view;
    if (copy->view) { /* the relay must keep it until the receipt */
        view = *copy->view;
        if (sim_message_of(b->world, &view) != message_of(b, copy))
            sim_fail(b->world, "the bytes of %s changed before its receipt", message_of(b, copy)->id);
    }
    copy->is_accepted = true;
    if (copy->is_zombie)
        sim_happened(SIM_ZOMBIE);
    sim_check_accept(b->world, message_of(b, copy));
}

/* The copy comes back for a retry, and with it the later ones of its key, where order is kept. Those may
   still be accepted, if it was. */
static void come_back(struct sim_broker *b, struct sim_copy *copy, int64_t due_ms)
{
    copy->state = SIM_DECIDED;
    copy->verdict = OW_RETRY;
    copy->due_ms = due_ms;
    for (struct sim_copy *later = copy + 1; b->world->options.kind == SIM_ORDERED && later < b->copies + b->copy_count;
         later++) {
        if (later->state != SIM_QUEUED || !has_same_key(b, copy, later))
            continue;
        if (message_of(b, later)->is_unwanted)
            later->is_accepted = copy->is_accepted; /* it stands in nobody's way */
        else if (copy->is_accepted && sim_roll(&b->world->dice, 2))
            accept_copy(b, later);
        later->state = SIM_DECIDED;
        later->verdict = OW_RETRY;
        later->due_ms = b->world->now_ms + sim_roll(&b->world->dice, 20);
        copy = later;
    }
}

static void add_echo(struct sim_broker *b, struct sim_copy *copy)
{
    const struct sim_options *o = &b->world->options;
    bool may_repeat = copy->verdict != OW_RETRY || o->kind == SIM_UNORDERED;
    if (b->world->is_calm || copy->has_echo || !may_repeat || !sim_chance(&b->world->dice, o->double_receipt))
        return;
    sim_happened(SIM_DOUBLE_RECEIPT);
    copy->has_echo = true;
    copy->echo_verdict = copy->verdict;
}

static void decide(struct sim_broker *b, struct sim_copy *copy)
{
    struct sim_world *w = b->world;
    const struct sim_options *o = &w->options;
    int64_t timeout_ms = w->now_ms + sim_between(&w->dice, 5, 60);
    copy->state = SIM_DECIDED;
    copy->due_ms = w->now_ms;
    if (message_of(b, copy)->is_unwanted) {
        sim_happened(SIM_REJECTED);
        copy->verdict = OW_REJECTED;
    } else if (!w->is_calm && sim_chance(&w->dice, o->drop)) {
        sim_happened(SIM_DROPPED);
        sim_trace(w, "%s is lost on its way", message_of(b, copy)->id);
        come_back(b, copy, timeout_ms);
    } else {
        accept_copy(b, copy);
        copy->verdict = OW_ACCEPTED;
        if (!w->is_calm && sim_chance(&w->dice, o->lost_ack)) {
            sim_happened(SIM_LOST_ACK);
            come_back(b, copy, timeout_ms);
        } else if (!w->is_calm && sim_chance(&w->dice, o->late_ack)) {
            sim_happened(SIM_LATE_ACK);
            copy->has_echo = true;
            copy->echo_verdict = OW_ACCEPTED;
            come_back(b, copy, timeout_ms);
        }
    }
    if (!w->is_calm && sim_chance(&w->dice, o->slow_ack)) {
        sim_happened(SIM_SLOW_ACK);
        copy->due_ms += sim_between(&w->dice, 1, 100);
    }
    add_echo(b, copy);
}

/* Accepted or dropped, and nobody is told. Where order is kept, what follows a dropped one is dropped. */
static void decide_zombie(struct sim_broker *b, uint32_t i)
{
    struct sim_copy copy = b->copies[i];
    bool is_unwanted = message_of(b, &copy)->is_unwanted;
    bool is_accepted = !is_unwanted && !b->world->is_calm && sim_roll(&b->world->dice, 2);
    if (is_accepted)
        accept_copy(b, &b->copies[i]);
    remove_copy(b, i);
    for (uint32_t k = b->copy_count; !is_accepted && !is_unwanted && k-- > i;)
        if (b->world->options.kind == SIM_ORDERED && b->copies[k].is_zombie && has_same_key(b, &copy, &b->copies[k]))
            remove_copy(b, k);
}

static bool may_decide(const struct sim_broker *b, uint32_t i)
{
    if (b->copies[i].state != SIM_QUEUED)
        return false;
    for (uint32_t k = 0; k < i && b->world->options.kind == SIM_ORDERED; k++)
        if (b->copies[k].state == SIM_QUEUED && has_same_key(b, &b->copies[k], &b->copies[i]))
            return false;
    return true;
}

bool sim_broker_work(struct sim_broker *b)
{
    if (b->world->options.kind == SIM_TRANSACTIONS || b->is_down || b->copy_count == 0)
        return false;
    uint32_t start = sim_roll(&b->world->dice, b->copy_count);
    for (uint32_t n = 0; n < b->copy_count; n++) {
        uint32_t i = (start + n) % b->copy_count;
        if (!may_decide(b, i))
            continue;
        if (b->copies[i].is_zombie)
            decide_zombie(b, i);
        else
            decide(b, &b->copies[i]);
        return true;
    }
    return false;
}

/* --- the calls --------------------------------------------------------------------------------------- */

static uint32_t in_flight(const struct sim_broker *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->copy_count; i++)
        count += !b->copies[i].is_zombie && !b->copies[i].is_released;
    return count;
}

static void check_copies(struct sim_broker *b, const struct sim_message *m, const struct ow_message *view)
{
    struct sim_world *w = b->world;
    bool is_null = m->key == SIM_KEYS_MAX - 1;
    if (!ow_bytes_is(view->topic, "outbox.event.thing") || (view->key.data == NULL) != is_null ||
        (!is_null && !ow_bytes_is(view->key, m->aggregate_id)))
        sim_fail(w, "%s goes to topic \"%.*s\" with key \"%.*s\"", m->id, OW_PRINT(view->topic), OW_PRINT(view->key));
    for (uint32_t i = 0; i < b->copy_count; i++) {
        const struct sim_copy *other = &b->copies[i];
        const struct sim_message *o = message_of(b, other);
        if (other->is_zombie || other->is_released)
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
    bool comes_back = false, may_be_accepted = true;
    for (uint32_t i = 0; i < b->copy_count - 1 && b->world->options.kind == SIM_ORDERED; i++) {
        const struct sim_copy *other = &b->copies[i];
        if (other->is_zombie || other->is_released || other->state != SIM_DECIDED || other->verdict != OW_RETRY ||
            !has_same_key(b, other, copy))
            continue;
        comes_back = true;
        may_be_accepted = may_be_accepted && other->is_accepted;
    }
    if (!comes_back)
        return;
    copy->state = SIM_DECIDED;
    copy->verdict = OW_RETRY;
    copy->due_ms = b->world->now_ms + sim_roll(&b->world->dice, 20);
    if (message_of(b, copy)->is_unwanted)
        copy->is_accepted = may_be_accepted;
    else if (may_be_accepted && sim_roll(&b->world->dice, 2))
        accept_copy(b, copy);
}

static void make_room(struct sim_broker *b)
{
    for (uint32_t i = 0; b->copy_count == SIM_COPIES_MAX && i < b->copy_count; i++)
        if (b->copies[i].is_zombie)
            decide_zombie(b, i);
}

static int broker_send(struct ow_broker *base, const struct ow_message *view, uint64_t token, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    struct sim_world *w = b->world;
    enum sim_fate fate = fate_of(b, "broker.send");
    if (fate == SIM_FAILS)
        return sim_fate_error(w, fate, "broker.send", err);
    if (w->options.kind == SIM_TRANSACTIONS && !b->is_in_transaction)
        sim_fail(w, "broker.send outside a transaction");
    if (in_flight(b) >= w->options.capacity) {
        sim_happened(SIM_FULL);
        b->was_full = true;
        if (fate == SIM_FAILS_AFTER)
            return sim_fate_error(w, fate, "broker.send", err);
        return ow_error_set(err, OW_EAGAIN, "full");
    }
    struct sim_message *m = sim_message_of(w, view);
    if (!m)
        return ow_error_set(err, OW_EINVALID, "no such message");
    make_room(b);
    sim_trace(w, "sent %s with token %llu", m->id, (unsigned long long)token);
    sim_check_send(w, m);
    check_copies(b, m, view);
    if (ow_message_size(view) > w->options.window_bytes)
        sim_happened(SIM_OVERSIZE);
    struct sim_copy *copy = &b->copies[b->copy_count++];
    *copy = (struct sim_copy){.message = sim_index_of(w, m), .connection = b->connection, .token = token, .view = view};
    follow(b, copy);
    return fate == SIM_GOES ? 0 : sim_fate_error(w, fate, "broker.send", err);
}

static void write_receipt(struct sim_broker *b, uint32_t i, struct ow_receipt *receipt)
{
    struct sim_copy *copy = &b->copies[i];
    struct sim_message *m = message_of(b, copy);
    static const char *const names[] = {"accepted", "retry", "rejected"};
    *receipt = (struct ow_receipt){.token = copy->token, .verdict = copy->verdict};
    if (copy->verdict != OW_ACCEPTED)
        memcpy(receipt->reason, "the simulator says so", 22);
    sim_trace(b->world, "receipt for %s: %s", m->id, names[copy->verdict]);
    if (copy->verdict == OW_ACCEPTED && !copy->is_released) /* one that comes late may be passed over */
        m->told_in = b->world->life;
    for (uint32_t k = 0; k < b->copy_count; k++)
        if (b->copies[k].token == copy->token && !b->copies[k].is_zombie) {
            b->copies[k].is_released = true;
            b->copies[k].view = NULL; /* the relay may free it from here on */
        }
    b->was_full = false;
    if (!copy->has_echo) {
        remove_copy(b, i);
        return;
    }
    copy->has_echo = false;
    copy->verdict = copy->echo_verdict;
    copy->due_ms = b->world->now_ms + sim_roll(&b->world->dice, 200);
}

static bool is_deliverable(const struct sim_broker *b, uint32_t i)
{
    const struct sim_copy *copy = &b->copies[i];
    return copy->state == SIM_DECIDED && !copy->is_zombie && copy->due_ms <= b->world->now_ms;
}

static int broker_step(struct ow_broker *base, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    enum sim_fate fate = fate_of(b, "broker.step");
    size_t count = 0;
    if (fate != SIM_GOES)
        return sim_fate_error(b->world, fate, "broker.step", err);
    uint32_t due[SIM_COPIES_MAX], due_count = 0;
    for (uint32_t i = 0; i < b->copy_count; i++)
        if (is_deliverable(b, i))
            due[due_count++] = i;
    while (due_count > 0 && count < max) {
        uint32_t pick = sim_roll(&b->world->dice, due_count), i = due[pick];
        uint32_t before = b->copy_count;
        write_receipt(b, i, &receipts[count++]);
        due[pick] = due[--due_count];
        for (uint32_t k = 0; k < due_count && b->copy_count < before; k++)
            due[k] -= due[k] > i;
        if (due_count > 0 && sim_roll(&b->world->dice, 8) == 0)
            break; /* the rest comes with the next call */
    }
    return (int)count;
}

static void broker_wait(struct ow_broker *base, struct ow_wait *wait)
{
    struct sim_broker *b = self_of(base);
    if (!b->is_open && !b->world->is_dead)
        sim_fail(b->world, "broker.wait of a broker that is not open");
    ow_wait_add(wait, SIM_BROKER_FD, POLLIN);
}

static void broker_close(struct ow_broker *base)
{
    struct sim_broker *b = self_of(base);
    if (b->world->is_dead)
        return;
    sim_trace(b->world, "broker closed");
    sim_broker_forget(b);
}

/* --- transactions ------------------------------------------------------------------------------------ */

static int txn_begin(struct ow_broker *base, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    enum sim_fate fate = fate_of(b, "broker.txn_begin");
    if (b->is_in_transaction && !b->world->is_dead)
        sim_fail(b->world, "a transaction was begun inside a transaction");
    if (fate != SIM_GOES)
        return sim_fate_error(b->world, SIM_FAILS, "broker.txn_begin", err);
    b->is_in_transaction = true;
    return 0;
}

static void drop_queued(struct sim_broker *b)
{
    for (uint32_t i = b->copy_count; i-- > 0;)
        if (b->copies[i].state == SIM_QUEUED)
            remove_copy(b, i);
    b->is_in_transaction = false;
}

static void txn_abort(struct ow_broker *base)
{
    struct sim_broker *b = self_of(base);
    if (!b->world->is_dead)
        drop_queued(b);
}

/* Forgets, as the journal does, what was accepted before a mark that has enough behind it. */
static void move_since(struct sim_broker *b, uint64_t first, uint64_t count)
{
    uint64_t enough = b->world->options.has_long_memory ? UINT64_MAX : b->world->options.window_count;
    if (!b->has_position) {
        b->since = b->mark = first;
        b->mark_count = count;
    } else if (count > 0 && b->mark_count >= enough) {
        b->since = b->mark;
        b->mark = first;
        b->mark_count = count;
    } else {
        b->mark_count += count;
    }
}

static int txn_commit(struct ow_broker *base, const char *source, struct ow_position position, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    struct sim_world *w = b->world;
    enum sim_fate fate = fate_of(b, "broker.txn_commit");
    if (!b->is_in_transaction && !w->is_dead)
        sim_fail(w, "broker.txn_commit outside a transaction");
    if (fate == SIM_FAILS) {
        if (!w->is_dead)
            drop_queued(b);
        return sim_fate_error(w, fate, "broker.txn_commit", err);
    }
    uint64_t first = w->accepted_count + 1, count = 0;
    for (uint32_t i = 0; i < b->copy_count; i++) {
        struct sim_copy *copy = &b->copies[i];
        if (copy->state != SIM_QUEUED)
            continue;
        struct sim_message *m = message_of(b, copy);
        copy->state = SIM_DECIDED;
        copy->due_ms = w->now_ms + (w->is_calm ? 0 : sim_roll(&w->dice, 3) * 5);
        copy->verdict = m->is_unwanted ? OW_REJECTED : OW_ACCEPTED;
        if (m->is_unwanted) {
            sim_happened(SIM_REJECTED);
        } else {
            accept_copy(b, copy);
            m->accept_order = first + count++;
            m->is_known = source != NULL;
            add_echo(b, copy);
        }
    }
    w->accepted_count = first - 1 + count;
    if (source) {
        sim_trace(w, "position %llu", (unsigned long long)position.major);
        if (ow_position_compare(position, b->position) < 0)
            sim_fail(w, "position %llu was stored over %llu", (unsigned long long)position.major,
                     (unsigned long long)b->position.major);
        if (ow_position_compare(position, b->position) > 0)
            sim_check_position(w, position);
        move_since(b, first, count);
        b->has_position = true;
        b->position = position;
    }
    b->is_in_transaction = false;
    if (fate == SIM_FAILS_AFTER)
        sim_happened(SIM_LOST_COMMIT);
    return fate == SIM_GOES ? 0 : sim_fate_error(w, fate, "broker.txn_commit", err);
}

static int last_position(struct ow_broker *base, const char *source, struct ow_position *ret, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    enum sim_fate fate = fate_of(b, "broker.last_position");
    if (fate != SIM_GOES)
        return sim_fate_error(b->world, SIM_FAILS, "broker.last_position", err);
    if (strcmp(source, "outbox-1") != 0)
        sim_fail(b->world, "the broker was asked about a source \"%s\"", source);
    b->told_position = b->has_position ? b->position : (struct ow_position){0};
    if (b->has_position)
        *ret = b->position;
    return b->has_position;
}

static int was_accepted(struct ow_broker *base, const char *source, const struct ow_message *view, struct ow_error *err)
{
    struct sim_broker *b = self_of(base);
    enum sim_fate fate = fate_of(b, "broker.was_accepted");
    if (fate != SIM_GOES)
        return sim_fate_error(b->world, SIM_FAILS, "broker.was_accepted", err);
    const struct sim_message *m = sim_message_of(b->world, view);
    if (strcmp(source, "outbox-1") != 0 || ow_position_compare(view->position, b->told_position) > 0)
        sim_fail(b->world, "the broker was asked about a message behind its position");
    bool is_known = m && m->is_known && m->accept_order >= b->since;
    if (is_known)
        sim_happened(SIM_KNOWN);
    return is_known;
}

static const struct ow_broker_ops ops[SIM_KIND_COUNT] = {
    [SIM_ORDERED] = {.name = "ordered",
                     .keeps_order = true,
                     .open = broker_open,
                     .send = broker_send,
                     .step = broker_step,
                     .wait = broker_wait,
                     .close = broker_close,
                     .discard = broker_close},
    [SIM_UNORDERED] = {.name = "unordered",
                       .open = broker_open,
                       .send = broker_send,
                       .step = broker_step,
                       .wait = broker_wait,
                       .close = broker_close,
                       .discard = broker_close},
    [SIM_TRANSACTIONS] = {.name = "transactions",
                          .keeps_order = true,
                          .has_transactions = true,
                          .open = broker_open,
                          .send = broker_send,
                          .step = broker_step,
                          .wait = broker_wait,
                          .close = broker_close,
                          .discard = broker_close,
                          .txn_begin = txn_begin,
                          .txn_commit = txn_commit,
                          .txn_abort = txn_abort,
                          .last_position = last_position,
                          .was_accepted = was_accepted},
};

void sim_broker_init(struct sim_broker *b, struct sim_world *world)
{
    b->base.ops = &ops[world->options.kind];
    b->world = world;
}

void sim_broker_forget(struct sim_broker *b)
{
    if (b->world->options.kind == SIM_TRANSACTIONS)
        drop_queued(b);
    for (uint32_t i = b->copy_count; i-- > 0;) {
        b->copies[i].view = NULL;
        b->copies[i].is_zombie = true;
        if (b->copies[i].state == SIM_DECIDED)
            remove_copy(b, i);
    }
    b->is_open = b->is_in_transaction = false;
}

bool sim_broker_has_news(const struct sim_broker *b)
{
    if (!b->is_open)
        return false;
    if (b->is_down || (b->was_full && in_flight(b) < b->world->options.capacity))
        return true;
    for (uint32_t i = 0; i < b->copy_count; i++)
        if (is_deliverable(b, i))
            return true;
    return false;
}

int64_t sim_broker_due_ms(const struct sim_broker *b)
{
    int64_t due_ms = INT64_MAX;
    for (uint32_t i = 0; i < b->copy_count; i++)
        if (b->copies[i].state == SIM_DECIDED && !b->copies[i].is_zombie && b->copies[i].due_ms < due_ms)
            due_ms = b->copies[i].due_ms;
    return due_ms;
}
