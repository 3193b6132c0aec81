/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Effects in the transaction of the inbox. What comes fast shares a transaction; when one of it fails all of it is
 * rolled back and goes again: what stands before the one to blame, that one alone, and what stands behind it. Where a
 * commit fails it is not known which one is, and halves are tried. A message that has failed before stands alone from
 * then on.
 */
#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "core/mutant.h"
#include "pattern/consumer/consumer_private.h"

enum { CONFLICTS_MAX = 10 }; /* in a row; then it is trouble that is told of */
static const struct ow_retry_policy conflict_policy = {.initial_ms = 10, .max_ms = 500, .multiplier = 2, .jitter = 0.5};

struct batch {
    struct ow_inbox_entry *entries;
    struct ow_consumer_call **calls;
    struct ow_task *tasks;
    struct ow_consumer_call **task_calls;
    size_t count;
};

static struct batch batch_of(struct ow_consumer *c)
{
    uint32_t n = c->options.in_flight;
    struct ow_inbox_entry *entries = c->batch;
    struct ow_consumer_call **calls = (void *)(entries + n);
    struct ow_task *tasks = (void *)(calls + n);
    return (struct batch){.entries = entries, .calls = calls, .tasks = tasks, .task_calls = (void *)(tasks + n)};
}

static void add(struct batch *b, struct ow_consumer_call *call)
{
    b->calls[b->count] = call;
    b->entries[b->count++] = (struct ow_inbox_entry){
        .record = &call->record, .id = call->task.id, .letter = call->letter};
}

static bool is_alone(const struct ow_consumer_call *call)
{
    return call->slot->is_retrying || call->record.message.defect.data;
}

/* What is NEW is the handler's; what is BLOCKED is parked. */
static int sort_out(struct ow_consumer *c, struct batch *b, size_t first, size_t count, size_t *ret_tasks,
                    struct ow_error *err)
{
    static const struct ow_inbox_failure parked = {
        .class = "", .reason = "an earlier message of its key was set aside", .is_parked = true};
    int r = 0;
    *ret_tasks = 0;
    for (size_t i = first; r == 0 && i < first + count; i++) {
        struct ow_consumer_call *call = b->calls[i];
        enum ow_inbox_state state = b->entries[i].state;
        if (OW_MUTANT(INBOX_NOT_ASKED) || (state == OW_INBOX_BLOCKED && OW_MUTANT(BLOCKED_IS_HANDLED)))
            state = OW_INBOX_NEW;
        call->is_parked = state == OW_INBOX_BLOCKED;
        call->state = state == OW_INBOX_NEW ? OW_CALL_HANDLED : call->is_parked ? OW_CALL_ASIDE : OW_CALL_REPEATED;
        if (state == OW_INBOX_NEW) {
            b->task_calls[*ret_tasks] = call;
            b->tasks[(*ret_tasks)++] = call->task;
        } else if (call->is_parked)
            r = c->inbox->ops->set_aside(c->inbox, &b->entries[i], &parked, err);
    }
    return r;
}

/* 0: committed; 1: rolled back, *ret_blamed is the call to blame, NULL: one of them; < 0: rolled back, the inbox is in
   trouble. */
static int transact(struct ow_consumer *c, struct batch *b, size_t first, size_t count,
                    struct ow_consumer_call **ret_blamed, struct ow_outcome *outcome, struct ow_error *err)
{
    size_t tasks = 0, failed = 0;
    int r = c->inbox->ops->begin(c->inbox, b->entries + first, count, err);
    if (r == 0)
        r = sort_out(c, b, first, count, &tasks, err);
    if (r == 0 && tasks > 0 && c->inbox->ops->seal)
        r = c->inbox->ops->seal(c->inbox, err);
    if (r == 0 && tasks > 0) {
        OW_CRASH_POINT(CONSUMER_AFTER_CLAIM);
        r = c->handler->ops->run(c->handler, b->tasks, tasks, &failed, outcome, err);
        if (r < 0 && failed < tasks) {
            *ret_blamed = b->task_calls[failed];
            r = 1;
        }
    }
    if (r == 0) {
        OW_CRASH_POINT(CONSUMER_BEFORE_COMMIT);
        r = c->inbox->ops->commit(c->inbox, err);
        if (r < 0 && tasks > 0 &&
            ow_error_class(r) != OW_CLASS_RETRYABLE) { /* a constraint that is checked at the end */
            *ret_blamed = tasks == 1 ? b->task_calls[0] : NULL;
            *outcome = (struct ow_outcome){.kind = OW_OUTCOME_FAILED, .retry_after_ms = -1, .class = "commit"};
            (void)snprintf(outcome->reason, sizeof outcome->reason, "%s", err->text);
            r = 1;
        }
    } else
        c->inbox->ops->rollback(c->inbox);
    if (r == 0) {
        OW_CRASH_POINT(CONSUMER_AFTER_COMMIT);
        c->counters.transactions++;
    }
    for (size_t i = first; r != 0 && i < first + count; i++)
        b->calls[i]->state = OW_CALL_TAKEN;
    return r;
}

static void settle(struct ow_consumer *c, struct batch *b, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        struct ow_consumer_call *call = b->calls[i];
        c->counters.handled += call->state == OW_CALL_HANDLED;
        c->counters.repeated += call->state == OW_CALL_REPEATED;
        c->counters.parked += call->is_parked;
        c->counters.replayed += call->letter != 0 && call->state == OW_CALL_HANDLED;
        ow_consumer_finish(c, call);
    }
}

static bool is_behind(const struct ow_consumer *c, const struct ow_consumer_call *call,
                      const struct ow_consumer_call *failed)
{
    if (call->partition != failed->partition || c->options.order == OW_ORDER_NONE)
        return false;
    return c->options.order == OW_ORDER_ALL ||
           (call->record.message.key.data && ow_bytes_equal(call->record.message.key, failed->record.message.key));
}

/* The window wants every later one of its lane back. */
static void put_back_behind(struct ow_consumer *c, struct batch *b, size_t from, const struct ow_consumer_call *failed)
{
    int64_t now = ow_consumer_now_ms(c);
    size_t kept = from;
    if (OW_MUTANT(BEHIND_GOES_ON))
        return;
    for (size_t i = from; i < b->count; i++)
        if (is_behind(c, b->calls[i], failed))
            ow_consumer_put_back(c, b->calls[i], now, false);
        else {
            b->calls[kept] = b->calls[i];
            b->entries[kept++] = b->entries[i];
        }
    b->count = kept;
}

/* The store's trouble and no message's: everything from `from` on goes again. A deadlock, or a serialization failure,
   needs no new connection; a short wait, which grows, lets the others come to their end. */
static int hold_up(struct ow_consumer *c, struct batch *b, size_t from, struct ow_error *err)
{
    struct ow_consumer_side_state *inbox = &c->sides[OW_SIDE_INBOX];
    bool is_conflict = err->code == OW_EBUSY && inbox->failures + 1 < CONFLICTS_MAX;
    int64_t due = ow_consumer_now_ms(c);
    if (is_conflict)
        due += ow_retry_delay_ms(&conflict_policy, ++inbox->failures, c->options.world.dice(c->options.world.context));
    for (size_t i = from; i < b->count; i++)
        ow_consumer_put_back(c, b->calls[i], due, OW_MUTANT(TROUBLE_IS_ATTEMPT));
    return is_conflict ? 0 : ow_consumer_side_failed(c, OW_SIDE_INBOX, err);
}

static int refuse(struct ow_consumer_call *call, struct ow_outcome *outcome)
{
    *outcome = (struct ow_outcome){.kind = OW_OUTCOME_REFUSED, .retry_after_ms = -1, .class = "bad message"};
    struct ow_error text;
    (void)ow_error_set(&text, OW_EINVALID, "%.*s", OW_PRINT(call->record.message.defect));
    (void)snprintf(outcome->reason, sizeof outcome->reason, "%s", text.text);
    return 1;
}

/* How the rest of a batch is divided into transactions. */
struct pieces {
    size_t at;    /* the next one's first */
    size_t alone; /* the index of a call that stands alone; SIZE_MAX */
    size_t most;  /* in one */
};

static size_t next_piece(const struct batch *b, const struct pieces *p)
{
    size_t n = 0;
    while (p->at + n < b->count && n < p->most) {
        bool stands_alone = p->at + n == p->alone || is_alone(b->calls[p->at + n]);
        if (stands_alone)
            return n > 0 ? n : 1;
        n++;
    }
    return n;
}

/* One of several failed: those before it will go, then it, then the others. */
static void divide(const struct batch *b, struct pieces *p, size_t count, const struct ow_consumer_call *blamed)
{
    for (size_t i = p->at; blamed && i < p->at + count; i++)
        if (b->calls[i] == blamed)
            p->alone = i;
    if (!blamed)
        p->most = count / 2;
}

static int run_pieces(struct ow_consumer *c, struct batch *b, struct ow_error *err)
{
    struct pieces p = {.alone = SIZE_MAX, .most = SIZE_MAX};
    while (p.at < b->count) {
        struct ow_consumer_call *call = b->calls[p.at], *blamed = NULL;
        struct ow_outcome outcome = {.retry_after_ms = -1};
        size_t n = next_piece(b, &p);
        int r = call->record.message.defect.data ? refuse(call, &outcome)
                                                 : transact(c, b, p.at, n, &blamed, &outcome, err);
        if (r < 0)
            return hold_up(c, b, p.at, err);
        ow_consumer_side_works(c, OW_SIDE_INBOX);
        if (r == 1 && n > 1) {
            divide(b, &p, n, blamed);
            continue;
        }
        if (r == 0)
            settle(c, b, p.at, n);
        else {
            put_back_behind(c, b, p.at + 1, call);
            ow_consumer_failed(c, call, &outcome);
            p.alone = p.most = SIZE_MAX;
        }
        p.at += n;
    }
    return 0;
}

int ow_consumer_run_batch(struct ow_consumer *c, struct ow_error *err)
{
    struct batch b = batch_of(c);
    struct ow_consumer_call *call;
    if (c->is_draining || c->is_held || !ow_consumer_is_open(c, OW_SIDE_INBOX) ||
        !ow_consumer_is_open(c, OW_SIDE_HANDLER))
        return 0;
    while ((call = ow_consumer_take(c)))
        add(&b, call);
    return run_pieces(c, &b, err);
}
