/* SPDX-License-Identifier: Apache-2.0 */
/* What was taken out of the windows: begun, answered, set aside, recorded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "core/mutant.h"
#include "pattern/consumer/consumer_private.h"

enum {
    OUTCOMES_MAX = 64,
    TWIN_MS = 20, /* until a message is looked at again whose id is in flight */
    TOKEN_BITS = 32,
};

/* --- the pool of calls -------------------------------------------------------------------------------- */

static void release(struct ow_consumer *c, struct ow_consumer_call *call)
{
    for (size_t i = 0; i < call->emitted_count; i++)
        ow_message_free(call->emitted[i]);
    free(call->emitted);
    call->partition->running--;
    uint32_t generation = call->generation + 1;
    c->names[call - c->calls] = 0;
    *call = (struct ow_consumer_call){.generation = generation, .next_free = c->free_call};
    c->free_call = (uint32_t)(call - c->calls);
    c->calls_used--;
}

struct ow_consumer_call *ow_consumer_find_call(struct ow_consumer *c, uint64_t token)
{
    uint64_t index = token & UINT32_MAX;
    struct ow_consumer_call *call = index < c->options.in_flight ? &c->calls[index] : NULL;
    return call && call->state != OW_CALL_FREE && call->task.token == token ? call : NULL;
}

static struct ow_consumer_call *make_call(struct ow_consumer *c, struct ow_consumer_partition *p, struct ow_slot *slot)
{
    uint32_t index = c->free_call;
    struct ow_consumer_call *call = &c->calls[index];
    c->free_call = call->next_free;
    c->calls_used++;
    p->running++;
    call->state = OW_CALL_TAKEN;
    call->partition = p;
    call->slot = slot;
    call->record = (struct ow_record){.message = *slot->message,
                                      .partition = p->partition,
                                      .offset = (int64_t)slot->message->position.major,
                                      .time_type = (enum ow_time_type)slot->message->position.minor};
    if (!p->topic) { /* a letter: where its record stood is in the note */
        const struct ow_consumer_note *note = ow_consumer_note(p, slot);
        call->letter = OW_MUTANT(REPLAY_BY_ID) ? 0 : (int64_t)slot->message->position.major;
        call->record.partition = note->partition;
        call->record.offset = note->offset;
    }
    call->task = (struct ow_task){.record = &call->record,
                                  .id = slot->message->id,
                                  .attempt = slot->failures + 1,
                                  .token = (uint64_t)call->generation << TOKEN_BITS | index};
    if (!c->handler->ops->in_transaction)
        c->names[index] = ow_hash(call->task.id);
    return call;
}

/* Partitions take turns. */
struct ow_consumer_call *ow_consumer_take(struct ow_consumer *c)
{
    if (c->calls_used >= c->options.in_flight)
        return NULL;
    size_t count = c->partition_count + (c->replays != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t at = (c->turn + i) % count;
        struct ow_consumer_partition *p = at < c->partition_count ? c->partitions[at] : c->replays;
        struct ow_slot *slot = p && !p->is_leaving && !p->is_gone ? ow_window_take(&p->window) : NULL;
        if (slot) {
            c->turn = at + 1;
            return make_call(c, p, slot);
        }
    }
    return NULL;
}

void ow_consumer_finish(struct ow_consumer *c, struct ow_consumer_call *call)
{
    ow_window_settle(&call->partition->window, call->slot, call->state == OW_CALL_ASIDE);
    release(c, call);
}

void ow_consumer_put_back(struct ow_consumer *c, struct ow_consumer_call *call, int64_t due_ms, bool counts)
{
    ow_window_retry(&call->partition->window, call->slot, due_ms, counts);
    release(c, call);
}

void ow_consumer_forget(struct ow_consumer *c, struct ow_consumer_partition *p)
{
    for (uint32_t i = 0; i < c->options.in_flight; i++) {
        struct ow_consumer_call *call = &c->calls[i];
        if (call->state == OW_CALL_FREE || call->partition != p)
            continue;
        if (call->state == OW_CALL_RUNNING)
            c->handler->ops->forget(c->handler, call->task.token);
        ow_consumer_give_up(c, call);
        release(c, call);
    }
}

/* A probe from before the breaker opened again says nothing any more. */
static bool is_live_probe(const struct ow_consumer *c, const struct ow_consumer_call *call)
{
    return call->is_probe && c->breaker.state == OW_BREAKER_HALF_OPEN && call->until_ms == c->breaker.until_ms;
}

void ow_consumer_give_up(struct ow_consumer *c, struct ow_consumer_call *call)
{
    if (is_live_probe(c, call) && !OW_MUTANT(PROBE_NOT_GIVEN_UP))
        ow_breaker_gave_up(&c->breaker);
    call->is_probe = false;
}

/* --- failures ------------------------------------------------------------------------------------------ */

static bool can_set_aside(const struct ow_consumer *c)
{
    return c->letters || (c->inbox && c->options.keeps_letters);
}

static bool is_not_retried(const struct ow_consumer *c, const char *class)
{
    for (const char *const *p = c->options.no_retry; p && *p; p++)
        if (ow_retry_class_is(*p, class))
            return true;
    return false;
}

static bool is_out_of_budget(struct ow_consumer *c, const struct ow_consumer_call *call, int64_t now)
{
    if (c->options.retry.attempts_max > 0 && call->slot->failures + 1 >= c->options.retry.attempts_max)
        return true;
    struct ow_consumer_note *note = ow_consumer_note(call->partition, call->slot);
    if (note && note->first_failed_ms == 0)
        note->first_failed_ms = now;
    return note && c->options.retry.elapsed_max_ms > 0 &&
           now - note->first_failed_ms >= c->options.retry.elapsed_max_ms;
}

void ow_consumer_failed(struct ow_consumer *c, struct ow_consumer_call *call, const struct ow_outcome *outcome)
{
    int64_t now = ow_consumer_now_ms(c);
    uint32_t failures = call->slot->failures + 1;
    bool is_final = outcome->kind == OW_OUTCOME_REFUSED || is_not_retried(c, outcome->class);
    call->outcome = *outcome;
    ow_text_make_plain(call->outcome.class); /* they go into a database and a log */
    ow_text_make_plain(call->outcome.reason);
    if (can_set_aside(c) && !OW_MUTANT(ENDLESS_RETRY) && (is_out_of_budget(c, call, now) || is_final)) {
        /* Where several of a key are taken at once, only one that comes again holds back those behind it. */
        if (call->partition->window.limits.keeps_order && !call->slot->is_retrying)
            ow_consumer_put_back(c, call, now, false);
        else
            call->state = OW_CALL_FAILED;
        return;
    }
    int64_t delay = ow_retry_delay_ms(&c->options.retry, failures, c->options.world.dice(c->options.world.context));
    if (outcome->retry_after_ms > delay)
        delay = outcome->retry_after_ms;
    c->counters.retried++;
    ow_consumer_put_back(c, call, OW_MUTANT(RETRY_AT_ONCE) ? now : now + delay, true);
}

/* --- calls, outside a transaction ------------------------------------------------------------------------- */

static void tell_breaker(struct ow_consumer *c)
{
    static const char *const names[] = {"closed", "open", "half open"};
    struct ow_error ignored;
    char text[96];
    ow_breaker_format(&c->breaker, text);
    ow_consumer_tell(c, OW_CONSUMER_BREAKER, "%s", names[c->breaker.state]);
    if (c->inbox && ow_consumer_is_open(c, OW_SIDE_INBOX))
        (void)c->inbox->ops->save_breaker(c->inbox, text, &ignored); /* without it the next start finds out again */
}

static int64_t wall_ms(const struct ow_consumer *c)
{
    return c->options.world.wall_ms(c->options.world.context);
}

/* What the inbox says of it decides. 1: begun; 0: nothing to begin; < 0: the handler failed. */
static int begin_call(struct ow_consumer *c, struct ow_consumer_call *call, enum ow_inbox_state state, bool is_probe,
                      struct ow_error *err)
{
    if (call->record.message.defect.data) {
        call->outcome = (struct ow_outcome){.kind = OW_OUTCOME_REFUSED, .class = "bad message"};
        (void)snprintf(call->outcome.reason, sizeof call->outcome.reason, "%.*s",
                       OW_PRINT(call->record.message.defect));
        ow_text_make_plain(call->outcome.reason);
        call->state = can_set_aside(c) ? OW_CALL_FAILED : OW_CALL_TAKEN;
        if (call->state == OW_CALL_TAKEN)
            ow_consumer_failed(c, call, &call->outcome);
        return 0;
    }
    if (state == OW_INBOX_BLOCKED && !OW_MUTANT(BLOCKED_IS_HANDLED)) {
        call->is_parked = true;
        call->state = OW_CALL_ASIDE;
        return 0;
    }
    if (state != OW_INBOX_NEW && state != OW_INBOX_BLOCKED) {
        call->state = OW_CALL_REPEATED;
        return 0;
    }
    int r = c->handler->ops->start(c->handler, &call->task, err);
    if (r < 0)
        return r;
    call->state = OW_CALL_RUNNING;
    call->is_probe = is_probe;
    call->until_ms = c->breaker.until_ms;
    c->counters.calls++;
    OW_CRASH_POINT(CONSUMER_AFTER_CALL);
    return 1;
}

struct batch {
    struct ow_inbox_entry *entries;
    struct ow_consumer_call **calls;
    size_t count;
};

static void add_to_batch(struct batch *b, struct ow_consumer_call *call)
{
    b->calls[b->count] = call;
    b->entries[b->count++] = (struct ow_inbox_entry){
        .record = &call->record, .id = call->task.id, .letter = call->letter, .state = OW_INBOX_NEW};
}

static struct batch batch_of(struct ow_consumer *c)
{
    struct ow_inbox_entry *entries = c->batch;
    return (struct batch){.entries = entries, .calls = (void *)(entries + c->options.in_flight)};
}

/* `from` on: nothing was begun of them. */
static void put_back_rest(struct ow_consumer *c, struct batch *b, size_t from, bool are_probes)
{
    int64_t now = ow_consumer_now_ms(c);
    for (size_t i = from; i < b->count; i++) {
        if (are_probes)
            ow_breaker_gave_up(&c->breaker);
        if (b->calls[i]->state == OW_CALL_TAKEN)
            ow_consumer_put_back(c, b->calls[i], now, false);
    }
}

/* A letter and what comes by for its key are in two windows. What the inbox says keeps them apart, but for a call that
   was begun before another member took the letters over. */
static bool is_of_same_lane(const struct ow_consumer *c, const struct ow_consumer_call *a,
                            const struct ow_consumer_call *b)
{
    const struct ow_bytes one = a->record.message.key, other = b->record.message.key;
    return (a->letter == 0) != (b->letter == 0) && c->options.order != OW_ORDER_NONE && one.data && other.data &&
           ow_bytes_equal(one, other);
}

/* Whether a call runs, or is being recorded, of which this one has to wait to see what becomes of it: one for the same
   id, where the lane of its key does not see to that (a null key, order: none, another partition, a letter). */
static bool has_twin(const struct ow_consumer *c, const struct ow_consumer_call *call)
{
    uint64_t name = c->names[call - c->calls];
    bool has_letters = c->replays && c->replays->running > 0;
    if (!c->inbox || OW_MUTANT(TWINS_TOGETHER))
        return false;
    for (uint32_t i = 0; i < c->options.in_flight; i++) {
        const struct ow_consumer_call *other = &c->calls[i];
        if ((c->names[i] != name && !has_letters) || other == call || other->state == OW_CALL_FREE)
            continue;
        if (ow_bytes_equal(other->task.id, call->task.id) || is_of_same_lane(c, other, call))
            return true;
    }
    return false;
}

/* Half open, only so many go as the breaker lets through. */
static void take_admitted(struct ow_consumer *c, struct batch *b, bool *ret_are_probes)
{
    *ret_are_probes = false;
    while (b->count < c->options.in_flight && c->calls_used < c->options.in_flight) {
        if (!ow_breaker_admits(&c->breaker, wall_ms(c)) && !OW_MUTANT(BREAKER_IGNORED))
            return;
        bool is_probe = c->breaker.state == OW_BREAKER_HALF_OPEN;
        struct ow_consumer_call *call = ow_consumer_take(c);
        if (!call) {
            ow_breaker_gave_up(&c->breaker);
            return;
        }
        if (has_twin(c, call)) {
            ow_breaker_gave_up(&c->breaker);
            ow_consumer_put_back(c, call, ow_consumer_now_ms(c) + TWIN_MS, false);
            continue;
        }
        *ret_are_probes = is_probe;
        add_to_batch(b, call);
    }
}

int ow_consumer_start_calls(struct ow_consumer *c, struct ow_error *err)
{
    bool are_probes;
    if (c->is_draining || c->is_held || !ow_consumer_is_open(c, OW_SIDE_HANDLER) ||
        (c->inbox && !ow_consumer_is_open(c, OW_SIDE_INBOX)))
        return 0;
    struct batch b = batch_of(c);
    take_admitted(c, &b, &are_probes);
    if (b.count == 0)
        return 0;
    int r = c->inbox ? c->inbox->ops->look(c->inbox, b.entries, b.count, err) : 0;
    if (r < 0) {
        put_back_rest(c, &b, 0, are_probes);
        return ow_consumer_side_failed(c, OW_SIDE_INBOX, err);
    }
    for (size_t i = 0; i < b.count; i++) {
        r = begin_call(c, b.calls[i], OW_MUTANT(INBOX_NOT_ASKED) ? OW_INBOX_NEW : b.entries[i].state, are_probes, err);
        if (r == 0 && are_probes)
            ow_breaker_gave_up(&c->breaker);
        if (r < 0) {
            put_back_rest(c, &b, i, are_probes);
            return r == OW_EAGAIN ? 0 : ow_consumer_side_failed(c, OW_SIDE_HANDLER, err);
        }
    }
    return 0;
}

static int keep_emitted(struct ow_consumer_call *call, const struct ow_outcome *outcome)
{
    if (outcome->emitted_count == 0)
        return 0;
    call->emitted = calloc(outcome->emitted_count, sizeof(struct ow_message *));
    for (size_t i = 0; call->emitted && i < outcome->emitted_count; i++, call->emitted_count++)
        if (!(call->emitted[i] = ow_message_copy(&outcome->emitted[i])))
            return OW_ENOMEM;
    return call->emitted ? 0 : OW_ENOMEM;
}

static void take_outcome(struct ow_consumer *c, const struct ow_outcome *outcome)
{
    struct ow_consumer_call *call = ow_consumer_find_call(c, outcome->token);
    if (!call || call->state != OW_CALL_RUNNING)
        return; /* given up */
    bool was_probe = call->is_probe, has_changed = false;
    if (outcome->kind == OW_OUTCOME_HELD_UP) /* it says nothing about the target either */
        ow_consumer_give_up(c, call);
    else if (c->breaker.state != OW_BREAKER_HALF_OPEN || is_live_probe(c, call))
        has_changed = ow_breaker_outcome(&c->breaker, outcome->is_of_target, wall_ms(c));
    call->is_probe = false;
    if (outcome->kind == OW_OUTCOME_DONE && keep_emitted(call, outcome) == 0)
        call->state = OW_CALL_HANDLED;
    else if (outcome->kind == OW_OUTCOME_DONE || outcome->kind == OW_OUTCOME_HELD_UP ||
             (was_probe && outcome->is_of_target && !OW_MUTANT(PROBE_IS_ATTEMPT)))
        /* A probe finds out about the target; that is no attempt of the message. */
        ow_consumer_put_back(c, call, ow_consumer_now_ms(c) + ow_retry_delay_ms(&c->options.reconnect, 1, 0.5),
                             OW_MUTANT(HELD_UP_IS_ATTEMPT) && outcome->kind == OW_OUTCOME_HELD_UP);
    else
        ow_consumer_failed(c, call, outcome);
    if (has_changed)
        tell_breaker(c);
}

int ow_consumer_take_outcomes(struct ow_consumer *c, struct ow_error *err)
{
    struct ow_outcome outcomes[OUTCOMES_MAX];
    int n = OUTCOMES_MAX;
    while (n == OUTCOMES_MAX && ow_consumer_is_open(c, OW_SIDE_HANDLER)) {
        n = c->handler->ops->step(c->handler, outcomes, OUTCOMES_MAX, err);
        if (n < 0)
            return ow_consumer_side_failed(c, OW_SIDE_HANDLER, err);
        if (n > 0)
            ow_consumer_side_works(c, OW_SIDE_HANDLER);
        for (int i = 0; i < n; i++)
            take_outcome(c, &outcomes[i]);
    }
    return 0;
}

/* --- letters to a topic --------------------------------------------------------------------------------- */

static void drop_emitted(struct ow_consumer_call *call)
{
    for (size_t i = 0; i < call->emitted_count; i++)
        ow_message_free(call->emitted[i]);
    free(call->emitted);
    call->emitted = NULL;
    call->emitted_count = 0;
}

static void put_off_letter(struct ow_consumer *c, struct ow_consumer_call *call, const char *reason)
{
    call->state = OW_MUTANT(LETTER_FORGOTTEN) ? OW_CALL_SENT : OW_CALL_FAILED;
    c->letters_due_ms = ow_consumer_now_ms(c) + ow_retry_delay_ms(&c->options.reconnect,
                                                                  ++c->sides[OW_SIDE_LETTERS].failures,
                                                                  c->options.world.dice(c->options.world.context));
    if (!c->sides[OW_SIDE_LETTERS].has_trouble)
        ow_consumer_tell(c, OW_CONSUMER_TROUBLE, "the dead letter of message %.*s was not accepted: %s",
                         OW_PRINT(call->task.id), reason);
    c->sides[OW_SIDE_LETTERS].has_trouble = true;
}

/* The topic will never have it. Where there is a store it is kept there alone; else it is told, and tried on. */
static void refuse_letter(struct ow_consumer *c, struct ow_consumer_call *call, const char *reason)
{
    if (c->inbox && c->options.keeps_letters)
        call->state = OW_CALL_ASIDE;
    else
        put_off_letter(c, call, reason);
}

/* 1: none can be made of this record, which is dealt with. */
static int send_letter(struct ow_consumer *c, struct ow_consumer_call *call, struct ow_error *err)
{
    struct ow_consumer_failure failure = {.consumer = c->options.name,
                                          .group = c->options.group,
                                          .class = call->outcome.class,
                                          .reason = call->outcome.reason,
                                          .attempts = call->slot->failures + 1,
                                          .failed_ms = wall_ms(c)};
    struct ow_message letter;
    drop_emitted(call); /* of an attempt that its broker has forgotten */
    ow_buf_clear(&c->letter_scratch);
    int r = c->options.make_letter(c->options.letter_context, &call->record, &failure, &c->letter_scratch, &letter,
                                   err);
    if (r < 0 && ow_error_class(r) != OW_CLASS_RETRYABLE) {
        refuse_letter(c, call, err->text);
        return 1;
    }
    if (r < 0)
        return r;
    /* Its bytes must live until the receipt: they are a copy, and the call's. */
    call->emitted = calloc(1, sizeof(struct ow_message *));
    if (!call->emitted || !(call->emitted[0] = ow_message_copy(&letter)))
        return ow_error_set(err, OW_ENOMEM, "out of memory for a dead letter");
    call->emitted_count = 1;
    return c->letters->ops->send(c->letters, call->emitted[0], call->task.token, err);
}

static void take_letter_receipt(struct ow_consumer *c, const struct ow_receipt *receipt)
{
    struct ow_consumer_call *call = ow_consumer_find_call(c, receipt->token);
    if (!call || call->state != OW_CALL_SENT)
        return;
    drop_emitted(call);
    if (receipt->verdict == OW_ACCEPTED) {
        ow_consumer_side_works(c, OW_SIDE_LETTERS);
        call->state = OW_CALL_ASIDE;
    } else if (receipt->verdict == OW_REJECTED)
        refuse_letter(c, call, receipt->reason);
    else
        put_off_letter(c, call, receipt->reason);
}

static int take_letter_receipts(struct ow_consumer *c, struct ow_error *err)
{
    struct ow_receipt receipts[OUTCOMES_MAX];
    int n = OUTCOMES_MAX;
    while (n == OUTCOMES_MAX) {
        n = c->letters->ops->step(c->letters, receipts, OUTCOMES_MAX, err);
        if (n < 0)
            return n;
        for (int i = 0; i < n; i++)
            take_letter_receipt(c, &receipts[i]);
        c->letters_are_clogged = c->letters_are_clogged && n == 0;
    }
    return 0;
}

static int send_letters(struct ow_consumer *c, struct ow_error *err)
{
    bool has_begun = false;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < c->options.in_flight; i++) {
        struct ow_consumer_call *call = &c->calls[i];
        if (call->state != OW_CALL_FAILED)
            continue;
        if (c->letters->ops->has_transactions && !has_begun)
            r = c->letters->ops->txn_begin(c->letters, err);
        has_begun = true;
        if (r == 0)
            r = send_letter(c, call, err);
        if (r == 1) {
            r = 0;
            continue;
        }
        if (r == 0)
            call->state = OW_MUTANT(LETTER_UNSENT) ? OW_CALL_ASIDE : OW_CALL_SENT;
        else
            drop_emitted(call);
    }
    c->letters_are_clogged = r == OW_EAGAIN;
    if (r == OW_EAGAIN)
        r = 0;
    if (r == 0 && has_begun && c->letters->ops->has_transactions)
        r = c->letters->ops->txn_commit(c->letters, NULL, (struct ow_position){0}, err);
    return r < 0 ? r : 0;
}

int ow_consumer_write_letters(struct ow_consumer *c, struct ow_error *err)
{
    if (!c->letters) {
        for (uint32_t i = 0; i < c->options.in_flight; i++)
            if (c->calls[i].state == OW_CALL_FAILED)
                c->calls[i].state = OW_CALL_ASIDE;
        return 0;
    }
    if (!ow_consumer_is_open(c, OW_SIDE_LETTERS))
        return 0;
    int r = ow_consumer_now_ms(c) >= c->letters_due_ms && !c->letters_are_clogged ? send_letters(c, err) : 0;
    if (r == 0)
        r = take_letter_receipts(c, err);
    return r < 0 ? ow_consumer_side_failed(c, OW_SIDE_LETTERS, err) : 0;
}

/* --- recording ----------------------------------------------------------------------------------------- */

static int record_one(struct ow_consumer *c, const struct ow_inbox_entry *entry, struct ow_consumer_call *call,
                      struct ow_error *err)
{
    if (entry->state != OW_INBOX_NEW && entry->state != OW_INBOX_BLOCKED)
        return 0; /* somebody was faster */
    if (call->state == OW_CALL_HANDLED) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < call->emitted_count; i++)
            r = c->inbox->ops->publish(c->inbox, call->emitted[i], 1, err);
        return r;
    }
    if (OW_MUTANT(LETTER_UNRECORDED) && !call->is_parked)
        return 0;
    struct ow_inbox_failure failure = {.class = call->is_parked ? "" : call->outcome.class,
                                       .reason = call->is_parked ? "an earlier message of its key was set aside"
                                                                 : call->outcome.reason,
                                       .attempts = call->slot->failures + !call->is_parked,
                                       .is_parked = call->is_parked};
    return c->inbox->ops->set_aside(c->inbox, entry, &failure, err);
}

static int record_all(struct ow_consumer *c, struct batch *b, struct ow_error *err)
{
    OW_CRASH_POINT(CONSUMER_BEFORE_RECORD);
    int r = c->inbox->ops->begin(c->inbox, b->entries, b->count, err);
    for (size_t i = 0; r == 0 && i < b->count; i++)
        r = record_one(c, &b->entries[i], b->calls[i], err);
    if (r == 0)
        r = c->inbox->ops->commit(c->inbox, err);
    else
        c->inbox->ops->rollback(c->inbox);
    if (r == 0) {
        OW_CRASH_POINT(CONSUMER_AFTER_RECORD);
        c->counters.transactions++;
    }
    return r;
}

static void count_and_finish(struct ow_consumer *c, struct ow_consumer_call *call)
{
    if (call->state == OW_CALL_REPEATED)
        c->counters.repeated++;
    else if (call->state == OW_CALL_HANDLED)
        c->counters.handled++;
    else if (call->is_parked)
        c->counters.parked++;
    else {
        c->counters.set_aside++;
        ow_consumer_tell(c, OW_CONSUMER_ASIDE, "message %.*s: %s", OW_PRINT(call->task.id), call->outcome.reason);
    }
    c->counters.replayed += call->letter != 0;
    ow_consumer_finish(c, call);
}

int ow_consumer_record(struct ow_consumer *c, struct ow_error *err)
{
    struct batch b = batch_of(c);
    if (c->calls_used == 0 || (c->inbox && !ow_consumer_is_open(c, OW_SIDE_INBOX)))
        return 0;
    for (uint32_t i = 0; c->inbox && i < c->options.in_flight; i++)
        if (c->calls[i].state == OW_CALL_HANDLED || c->calls[i].state == OW_CALL_ASIDE)
            add_to_batch(&b, &c->calls[i]);
    if (b.count > 0 && !OW_MUTANT(SETTLE_UNRECORDED)) {
        int r = record_all(c, &b, err);
        if (r < 0)
            return ow_consumer_side_failed(c, OW_SIDE_INBOX, err);
        ow_consumer_side_works(c, OW_SIDE_INBOX);
    }
    for (uint32_t i = 0; i < c->options.in_flight; i++) {
        enum ow_consumer_call_state state = c->calls[i].state;
        if (state == OW_CALL_HANDLED || state == OW_CALL_ASIDE || state == OW_CALL_REPEATED)
            count_and_finish(c, &c->calls[i]);
    }
    return 0;
}
