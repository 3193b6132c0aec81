/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of both kinds, the target that calls go to, and the topic for dead letters. */
#include <stdio.h>
#include <string.h>

#include "consumer_world.h"
#include "pattern/consumer/consumer_private.h"

static struct csim_member *member_of(struct ow_handler *handler)
{
    return (struct csim_member *)((char *)handler - offsetof(struct csim_member, handler));
}

static uint32_t message_of(struct csim_world *w, const struct ow_task *task)
{
    return (uint32_t)(csim_message_of(w, task->id) - w->messages);
}

static bool is_letter(struct csim_member *member, const struct ow_task *task)
{
    const struct ow_consumer_call *call = ow_consumer_find_call(&member->consumer, task->token);
    return call && call->letter > 0;
}

/* What becomes of an attempt for the message's own sake. True: it fails. */
static bool throw_failure(struct csim_world *w, uint32_t message, struct ow_outcome *outcome)
{
    struct csim_message *m = &w->messages[message];
    if (m->fails == 0)
        return false;
    if (m->fails != UINT32_MAX)
        m->fails--;
    outcome->kind = m->is_refused ? OW_OUTCOME_REFUSED : OW_OUTCOME_FAILED;
    if (m->is_refused)
        csim_happened(CSIM_REFUSED);
    (void)snprintf(outcome->class, sizeof outcome->class, "poison");
    (void)snprintf(outcome->reason, sizeof outcome->reason, "it is poison");
    if (sim_chance(&w->dice, w->options.retry_after))
        outcome->retry_after_ms = 50 + sim_roll(&w->dice, 300);
    return true;
}

/* It was told of a failure that counts: it must wait. */
static void count_failure(const struct csim_member *member, struct csim_attempts *a, const struct ow_outcome *outcome)
{
    const struct csim_options *o = &member->world->options;
    int64_t wait = 80; /* 100 ms, with a jitter of 0.2 */
    if (outcome->retry_after_ms > wait)
        wait = outcome->retry_after_ms;
    a->fails++;
    if (outcome->kind == OW_OUTCOME_REFUSED || o->elapsed_max_ms > 0 ||
        (o->attempts_max > 0 && a->fails >= o->attempts_max))
        wait = 0; /* nothing is to come but its end */
    a->failed_ms = member->world->now_ms;
    a->wait_ms = wait;
}

/* --- in the transaction -------------------------------------------------------------------------------- */

static int sql_open(struct ow_handler *handler, struct ow_store *store, struct ow_error *err)
{
    struct csim_member *member = member_of(handler);
    (void)store;
    return csim_enter(member, "open the handler", member->world->options.inbox_error, CSIM_INBOX_TROUBLE, err);
}

static int sql_run(struct ow_handler *handler, const struct ow_task *tasks, size_t count, size_t *ret_failed,
                   struct ow_outcome *outcome, struct ow_error *err)
{
    struct csim_member *member = member_of(handler);
    struct csim_world *w = member->world;
    *ret_failed = count;
    for (size_t i = 0; i < count; i++) {
        int r = csim_enter(member, "run", w->options.inbox_error, CSIM_INBOX_TROUBLE, err);
        if (r == 0 && member->inbox.is_killed)
            r = ow_error_set(err, OW_EUNREACHABLE, "the session was ended");
        if (r < 0)
            return r;
        uint32_t m = message_of(w, &tasks[i]);
        bool letter = is_letter(member, &tasks[i]);
        csim_begins(member, &tasks[i], letter);
        *outcome = (struct ow_outcome){.token = tasks[i].token, .retry_after_ms = -1};
        if (throw_failure(w, m, outcome)) {
            csim_trace(w, "member %d: %s fails in a transaction of %zu", member->number, w->messages[m].id, count);
            *ret_failed = i;
            if (count > 1)
                csim_happened(CSIM_ROLLED_BACK);
            /* Else all of it goes again, one by one, and that is when it counts. */
            if (member->inbox.entry_count + member->inbox.filtered_count == 1)
                count_failure(member, csim_attempts_of(member, tasks[i].record, letter), outcome);
            return ow_error_set(err, OW_EINVALID, "poison");
        }
        csim_stage_effect(member, m);
    }
    csim_happened(CSIM_EFFECT);
    return 0;
}

static void nothing(struct ow_handler *handler)
{
    (void)handler;
}

const struct ow_handler_ops csim_sql_ops = {
    .name = "sql", .in_transaction = true, .open = sql_open, .run = sql_run, .close = nothing};

/* --- calls ---------------------------------------------------------------------------------------------- */

static void execute(struct csim_world *w, struct csim_call *call)
{
    if (call->is_executed || !call->executes)
        return;
    call->is_executed = true;
    if (w->messages[call->message].effects > 0)
        csim_happened(CSIM_CALLED_AGAIN);
    if (!call->is_heard)
        csim_happened(CSIM_LATE_CALL);
    csim_effect(w, call->message);
}

static void throw_outcome(struct csim_world *w, struct csim_call *call)
{
    struct ow_outcome *o = &call->outcome;
    o->retry_after_ms = -1;
    if (sim_chance(&w->dice, w->options.held_up)) {
        o->kind = OW_OUTCOME_HELD_UP;
        csim_happened(CSIM_HELD_UP);
        return;
    }
    if (w->target_is_down) {
        o->kind = OW_OUTCOME_FAILED;
        o->is_of_target = true;
        (void)snprintf(o->class, sizeof o->class, "http 503");
        return;
    }
    if (throw_failure(w, call->message, o))
        return;
    call->executes = true;
    if (!sim_chance(&w->dice, w->options.lost_answer))
        return;
    csim_happened(CSIM_LOST_ANSWER);
    o->kind = OW_OUTCOME_FAILED;
    o->is_of_target = true;
    (void)snprintf(o->class, sizeof o->class, "timeout");
}

/* The rules of calls that run at the same time. */
static void check_running(struct csim_member *member, uint32_t message, bool is_probe)
{
    struct csim_world *w = member->world;
    uint32_t running = 0, probes = is_probe;
    for (int i = 0; i < CSIM_CALLS_MAX; i++) {
        const struct csim_call *c = &w->calls[i];
        if (!c->is_used || !c->is_heard || c->member != member->number)
            continue;
        running++;
        probes += c->is_probe && c->until_ms == member->consumer.breaker.until_ms;
        if (c->message == message && w->options.has_inbox)
            csim_fail(w, "%s is called while a call for it runs", w->messages[message].id);
        bool is_key = w->messages[message].has_key && w->messages[c->message].has_key &&
                      strcmp(w->messages[message].key, w->messages[c->message].key) == 0;
        if (is_key && w->options.order != OW_ORDER_NONE && w->options.parks)
            csim_fail(w, "%s is called while %s of its key is", w->messages[message].id, w->messages[c->message].id);
    }
    if (running >= w->options.in_flight)
        csim_fail(w, "more than %u calls run", w->options.in_flight);
    if (is_probe && probes > w->options.probes)
        csim_fail(w, "%u probes at a time", probes);
}

static int call_open(struct ow_handler *handler, struct ow_store *store, struct ow_error *err)
{
    struct csim_member *member = member_of(handler);
    (void)store;
    return csim_enter(member, "open the handler", member->world->options.topic_error, CSIM_HELD_UP, err);
}

static int call_start(struct ow_handler *handler, const struct ow_task *task, struct ow_error *err)
{
    struct csim_member *member = member_of(handler);
    struct csim_world *w = member->world;
    int r = csim_enter(member, "start a call", w->options.topic_error / 4, CSIM_HELD_UP, err);
    if (r < 0)
        return r;
    if (sim_chance(&w->dice, w->is_calm ? 0 : 5))
        return ow_error_set(err, OW_EAGAIN, "full");
    struct csim_call *call = NULL;
    for (int i = 0; i < CSIM_CALLS_MAX && !call; i++)
        call = w->calls[i].is_used ? NULL : &w->calls[i];
    if (!call)
        return ow_error_set(err, OW_EAGAIN, "full");
    uint32_t message = message_of(w, task);
    bool is_probe = member->consumer.breaker.state == OW_BREAKER_HALF_OPEN;
    csim_begins(member, task, is_letter(member, task));
    if (member->consumer.breaker.state == OW_BREAKER_OPEN || w->now_ms < member->no_calls_until)
        csim_fail(w, "%s is called while the breaker is open", w->messages[message].id);
    check_running(member, message, is_probe);
    *call = (struct csim_call){.is_used = true,
                               .is_heard = true,
                               .is_probe = is_probe,
                               .until_ms = member->consumer.breaker.until_ms,
                               .member = member->number,
                               .message = message,
                               .attempts = csim_attempts_of(member, task->record, is_letter(member, task)),
                               .outcome.token = task->token,
                               .due_ms = w->now_ms + sim_roll(&w->dice, 60)};
    if (sim_chance(&w->dice, 50))
        call->due_ms += 2000;
    throw_outcome(w, call);
    csim_happened(CSIM_CALL);
    if (is_probe)
        csim_happened(CSIM_PROBE);
    csim_trace(w, "member %d calls for %s, attempt %u%s", member->number, w->messages[message].id, task->attempt,
               is_probe ? ", a probe" : "");
    return csim_leave(member, "start a call", 0, CSIM_HELD_UP, err);
}

/* What its member must do now that it knows. */
static void note_outcome(struct csim_member *member, const struct csim_call *call)
{
    struct csim_world *w = member->world;
    const struct ow_outcome *o = &call->outcome;
    if (!ow_consumer_find_call(&member->consumer, o->token))
        return;
    bool is_failed = o->kind == OW_OUTCOME_FAILED || o->kind == OW_OUTCOME_REFUSED;
    if (is_failed && (!call->is_probe || !o->is_of_target))
        count_failure(member, call->attempts, o);
    if (member->consumer.breaker.state != OW_BREAKER_CLOSED)
        member->target_fails = 0;
    else if (o->kind != OW_OUTCOME_HELD_UP)
        member->target_fails = o->is_of_target ? member->target_fails + 1 : 0;
    if (w->options.failures > 0 && member->target_fails >= w->options.failures) {
        csim_happened(CSIM_OPENED);
        member->target_fails = 0;
        member->no_calls_until = w->now_ms + 500;
    }
}

static int call_step(struct ow_handler *handler, struct ow_outcome *outcomes, size_t max, struct ow_error *err)
{
    struct csim_member *member = member_of(handler);
    struct csim_world *w = member->world;
    size_t n = 0;
    int r = csim_enter(member, "take outcomes", w->options.topic_error / 4, CSIM_HELD_UP, err);
    if (r < 0) {
        csim_handler_kill(member);
        return r;
    }
    for (int i = 0; i < CSIM_CALLS_MAX && n < max; i++) {
        struct csim_call *call = &w->calls[i];
        if (!call->is_used || !call->is_heard || call->member != member->number || call->due_ms > w->now_ms)
            continue;
        execute(w, call);
        note_outcome(member, call);
        csim_trace(w, "member %d hears of %s: %s", member->number, w->messages[call->message].id,
                   call->outcome.kind == OW_OUTCOME_DONE ? "done" : call->outcome.class);
        outcomes[n++] = call->outcome;
        call->is_used = false;
    }
    return (int)n;
}

static void give_up(struct csim_world *w, struct csim_call *call)
{
    call->is_heard = false;
    if (sim_chance(&w->dice, 500))
        call->executes = false;
    call->due_ms = w->now_ms + sim_roll(&w->dice, 2000);
}

static void call_forget(struct ow_handler *handler, uint64_t token)
{
    struct csim_member *member = member_of(handler);
    for (int i = 0; i < CSIM_CALLS_MAX; i++) {
        struct csim_call *call = &member->world->calls[i];
        if (call->is_used && call->is_heard && call->member == member->number && call->outcome.token == token)
            give_up(member->world, call);
    }
}

void csim_handler_kill(struct csim_member *member)
{
    for (int i = 0; i < CSIM_CALLS_MAX; i++) {
        struct csim_call *call = &member->world->calls[i];
        if (call->is_used && call->is_heard && call->member == member->number)
            give_up(member->world, call);
    }
}

/* What nobody hears any more. */
void csim_target_tend(struct csim_world *w)
{
    for (int i = 0; i < CSIM_CALLS_MAX; i++) {
        struct csim_call *call = &w->calls[i];
        if (!call->is_used || call->is_heard || call->due_ms > w->now_ms)
            continue;
        execute(w, call);
        call->is_used = false;
    }
}

bool csim_handler_has_news(const struct csim_member *member)
{
    const struct csim_world *w = member->world;
    for (int i = 0; i < CSIM_CALLS_MAX; i++)
        if (w->calls[i].is_used && w->calls[i].is_heard && w->calls[i].member == member->number &&
            w->calls[i].due_ms <= w->now_ms)
            return true;
    return false;
}

int64_t csim_handler_due_ms(const struct csim_world *w)
{
    int64_t due = INT64_MAX;
    for (int i = 0; i < CSIM_CALLS_MAX; i++)
        if (w->calls[i].is_used && w->calls[i].due_ms < due)
            due = w->calls[i].due_ms;
    return due;
}

static void call_wait(struct ow_handler *handler, struct ow_wait *wait)
{
    struct csim_member *member = member_of(handler);
    if (member->subscriber.is_inside) { /* it waits in a listener, and nobody else moves the clock */
        member->world->now_ms += 1 + sim_roll(&member->world->dice, 40);
        csim_target_tend(member->world);
        ow_wait_until(wait, 0);
    }
    ow_wait_add(wait, CSIM_HANDLER_FD, POLLIN);
}

static void call_close(struct ow_handler *handler)
{
    csim_handler_kill(member_of(handler));
}

const struct ow_handler_ops csim_call_ops = {.name = "http",
                                             .open = call_open,
                                             .start = call_start,
                                             .step = call_step,
                                             .forget = call_forget,
                                             .wait = call_wait,
                                             .close = call_close};

/* --- the topic of dead letters --------------------------------------------------------------------------- */

int csim_make_letter(void *context, const struct ow_record *record, const struct ow_consumer_failure *failure,
                     struct ow_buf *to, struct ow_message *ret, struct ow_error *err)
{
    (void)context, (void)failure, (void)to, (void)err;
    *ret = record->message;
    return 0;
}

static struct csim_topic *topic_of(struct ow_broker *broker)
{
    return (struct csim_topic *)broker;
}

static int topic_open(struct ow_broker *broker, struct ow_error *err)
{
    struct csim_topic *t = topic_of(broker);
    t->count = 0;
    return csim_enter(t->member, "open the topic", t->member->world->options.topic_error, CSIM_TOPIC_TROUBLE, err);
}

static int topic_send(struct ow_broker *broker, const struct ow_message *message, uint64_t token, struct ow_error *err)
{
    struct csim_topic *t = topic_of(broker);
    struct csim_world *w = t->member->world;
    int r = csim_enter(t->member, "send a letter", w->options.topic_error, CSIM_TOPIC_TROUBLE, err);
    if (r < 0)
        return r;
    if (t->count >= 1 && (t->count == CSIM_SENT_MAX || sim_chance(&w->dice, 200)))
        return ow_error_set(err, OW_EAGAIN, "full");
    t->tokens[t->count] = token;
    t->messages[t->count++] = (uint32_t)(csim_message_of(w, message->id) - w->messages);
    return 0;
}

static int topic_step(struct ow_broker *broker, struct ow_receipt *receipts, size_t max, struct ow_error *err)
{
    struct csim_topic *t = topic_of(broker);
    struct csim_world *w = t->member->world;
    size_t n = 0;
    int r = csim_enter(t->member, "take receipts", w->options.topic_error, CSIM_TOPIC_TROUBLE, err);
    if (r < 0)
        return r;
    while (n < max && t->count > 0 && sim_chance(&w->dice, 700)) {
        uint32_t i = sim_roll(&w->dice, t->count);
        enum ow_verdict verdict = OW_ACCEPTED;
        if (sim_chance(&w->dice, w->options.topic_error * 4))
            verdict = (enum ow_verdict)(OW_RETRY + sim_roll(&w->dice, w->options.keeps_letters ? 3 : 2));
        struct csim_message *m = &w->messages[t->messages[i]];
        csim_happened(verdict == OW_ACCEPTED ? CSIM_TOPIC_LETTER : CSIM_TOPIC_TROUBLE);
        m->in_topic = m->in_topic || verdict == OW_ACCEPTED;
        m->was_aside = m->was_aside || verdict == OW_ACCEPTED;
        m->was_rejected = m->was_rejected || verdict == OW_REJECTED;
        receipts[n++] = (struct ow_receipt){.token = t->tokens[i], .verdict = verdict, .reason = "no"};
        t->count--;
        t->tokens[i] = t->tokens[t->count];
        t->messages[i] = t->messages[t->count];
    }
    return (int)n;
}

static void topic_wait(struct ow_broker *broker, struct ow_wait *wait)
{
    struct csim_member *member = topic_of(broker)->member;
    if (member->subscriber.is_inside) {
        member->world->now_ms += 1 + sim_roll(&member->world->dice, 40);
        ow_wait_until(wait, 0);
    }
    ow_wait_add(wait, CSIM_TOPIC_FD, POLLIN);
}

static void topic_close(struct ow_broker *broker)
{
    topic_of(broker)->count = 0;
}

const struct ow_broker_ops csim_topic_ops = {.name = "topic",
                                             .open = topic_open,
                                             .send = topic_send,
                                             .step = topic_step,
                                             .wait = topic_wait,
                                             .close = topic_close};
