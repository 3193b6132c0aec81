/* SPDX-License-Identifier: Apache-2.0 */
/* What happens next, what must hold whenever it does, and what must hold at the end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer_world.h"
#include "pattern/consumer/consumer_private.h"

uint64_t csim_happenings[CSIM_HAPPENING_COUNT];
const char *const csim_happening_texts[CSIM_HAPPENING_COUNT] = {
#define CSIM_HAPPENING_TEXT(name, text) [CSIM_##name] = (text),
    CSIM_HAPPENINGS(CSIM_HAPPENING_TEXT)
#undef CSIM_HAPPENING_TEXT
};

enum {
    START_MS = 1000000,
    WALL_MS = 2000000, /* the wall clock is this much ahead */
    CALM_EVENTS_MAX = 60000,
    CALM_MS_MAX = 3600000,
    INSIDE_MAX = 30,
};

void csim_fail(struct csim_world *w, const char *format, ...)
{
    va_list arguments;
    if (w->has_failed)
        return;
    w->has_failed = true;
    va_start(arguments, format);
    (void)vsnprintf(w->failure, sizeof w->failure, format, arguments);
    va_end(arguments);
    csim_trace(w, "FAILED: %s", w->failure);
}

void csim_trace(struct csim_world *w, const char *format, ...)
{
    if (!w->traces)
        return;
    va_list arguments;
    printf("%8lld  ", (long long)(w->now_ms - START_MS));
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    (void)fflush(stdout);
}

void csim_describe(const struct csim_options *o, char *to, size_t size)
{
    static const char *const orders[] = {"key", "all", "none"};
    (void)snprintf(to, size,
                   "%s, order %s%s%s%s%s%s%s; %u partitions, %u members, %u messages, %u keys, %u steps; in flight %u, "
                   "window %u, attempts %u, elapsed %lld, failures %u, probes %u",
                   o->in_transaction ? "in a transaction" : "calls", orders[o->order],
                   !o->has_inbox   ? ", no inbox"
                   : o->has_filter ? ", inbox behind a filter"
                                   : ", inbox",
                   o->parks ? ", parks" : "", o->keeps_letters ? ", letters in the store" : "",
                   o->has_topic ? ", a topic for letters" : "", o->keeps_offsets ? ", offsets in the store" : "",
                   o->settles_at_once ? ", as a journal" : "", o->partitions, o->members, o->messages, o->keys,
                   o->steps, o->in_flight, o->window_count, o->attempts_max, (long long)o->elapsed_max_ms, o->failures,
                   o->probes);
}

struct csim_message *csim_message_of(struct csim_world *w, struct ow_bytes id)
{
    char text[8] = "";
    if (id.size < 2 || id.size >= sizeof text) {
        csim_fail(w, "an id that nobody gave: %.*s", OW_PRINT(id));
        return &w->messages[0];
    }
    memcpy(text, id.data, id.size);
    uint32_t i = (uint32_t)strtoul(text + 1, NULL, 10);
    if (i >= w->message_count) {
        csim_fail(w, "an id that nobody gave: %s", text);
        i = 0;
    }
    return &w->messages[i];
}

/* --- what must hold --------------------------------------------------------------------------------------- */

void csim_effect(struct csim_world *w, uint32_t message)
{
    struct csim_message *m = &w->messages[message];
    m->effects++;
    csim_trace(w, "effect of %s", m->id);
    if (m->effects > 1 && w->options.in_transaction)
        csim_fail(w, "%s has its effect %u times", m->id, m->effects);
    if (m->effects > 1 || !m->has_key || w->options.order == OW_ORDER_NONE)
        return;
    int64_t *last = &w->last_first[m->key[1] - '0'];
    bool may_be_late = !w->options.parks && m->was_aside;
    if ((int64_t)message < *last && !may_be_late)
        csim_fail(w, "the effect of %s comes after that of %s, which has its key", m->id, w->messages[*last].id);
    if ((int64_t)message > *last)
        *last = message;
}

void csim_begins(struct csim_member *member, const struct ow_task *task, bool is_letter)
{
    struct csim_world *w = member->world;
    struct csim_message *m = csim_message_of(w, task->id);
    uint32_t i = (uint32_t)(m - w->messages);
    if (m->is_bad && !is_letter)
        csim_fail(w, "%s cannot be read, and is handled", m->id);
    if (m->recorded_at && m->recorded_at < member->looked_at && !is_letter)
        csim_fail(w, "%s is handled although the inbox knows it", m->id);
    int64_t letter = w->options.parks ? csim_letter_of_key(w, i, i, member->looked_at) : 0;
    if (letter)
        csim_fail(w, "%s passes letter %lld of its key, which is %s", m->id, (long long)letter,
                  w->messages[w->letters[letter].message].id);
    const struct csim_attempts *a = csim_attempts_of(member, task->record, is_letter);
    bool has_end = w->options.attempts_max > 0 && (w->options.keeps_letters || w->options.has_topic);
    if (has_end && task->attempt > w->options.attempts_max)
        csim_fail(w, "attempt %u of %s, of at most %u", task->attempt, m->id, w->options.attempts_max);
    if (task->attempt > 1 + a->fails)
        csim_fail(w, "attempt %u of %s, which failed %u times", task->attempt, m->id, a->fails);
    if (a->fails > 0 && w->now_ms < a->failed_ms + a->wait_ms)
        csim_fail(w, "%s does not wait after it failed", m->id);
}

/* --- a member ------------------------------------------------------------------------------------------------ */

static void run_inside(struct csim_member *member)
{
    struct csim_world *w = member->world;
    if (w->depth > 0)
        return;
    csim_happened(CSIM_STOPPED_INSIDE);
    csim_trace(w, "member %d is stopped inside a call", member->number);
    w->depth++;
    member->is_inside = true;
    for (uint32_t i = sim_between(&w->dice, 1, INSIDE_MAX); i > 0 && !w->has_failed; i--)
        (void)csim_event(w, member->number);
    member->is_inside = false;
    w->depth--;
    csim_trace(w, "member %d goes on", member->number);
}

int csim_enter(struct csim_member *member, const char *what, uint32_t error_pm, enum csim_happening trouble,
               struct ow_error *err)
{
    struct csim_world *w = member->world;
    if (member->is_dead)
        return ow_error_set(err, OW_EUNREACHABLE, "dead");
    if (w->is_calm)
        return 0;
    if (sim_chance(&w->dice, w->options.stop_inside))
        run_inside(member);
    if (sim_chance(&w->dice, w->options.crash_inside)) {
        csim_trace(w, "member %d is killed on its way into: %s", member->number, what);
        csim_happened(CSIM_CRASH_BEFORE);
        member->is_dead = true;
        return ow_error_set(err, OW_EUNREACHABLE, "dead");
    }
    if (!sim_chance(&w->dice, error_pm))
        return 0;
    csim_trace(w, "member %d has trouble: %s", member->number, what);
    csim_happened(trouble);
    return ow_error_set(err, OW_EUNREACHABLE, "trouble");
}

int csim_leave(struct csim_member *member, const char *what, uint32_t lost_pm, enum csim_happening trouble,
               struct ow_error *err)
{
    struct csim_world *w = member->world;
    if (w->is_calm)
        return 0;
    if (sim_chance(&w->dice, w->options.stop_inside))
        run_inside(member);
    if (sim_chance(&w->dice, w->options.crash_inside)) {
        csim_trace(w, "member %d is killed on its way out of: %s", member->number, what);
        csim_happened(CSIM_CRASH_AFTER);
        member->is_dead = true;
        return ow_error_set(err, OW_EUNREACHABLE, "dead");
    }
    if (!sim_chance(&w->dice, lost_pm))
        return 0;
    csim_trace(w, "member %d does not hear the end of: %s", member->number, what);
    csim_happened(trouble);
    return ow_error_set(err, OW_EUNREACHABLE, "the answer was lost");
}

static int64_t now_ms(void *context)
{
    struct csim_member *member = context;
    if (member->subscriber.is_inside)
        member->world->now_ms++; /* who waits in a listener waits for the clock alone, if for nothing else */
    return member->world->now_ms;
}

static int64_t wall_ms(void *context)
{
    return now_ms(context) + WALL_MS;
}

static double dice(void *context)
{
    return sim_fraction(&((struct csim_member *)context)->world->dice);
}

static void listen(void *context, enum ow_consumer_event event, const char *text)
{
    static const char *const names[] = {"working", "trouble", "back", "aside", "breaker", "assigned"};
    const struct csim_member *member = context;
    if (event == OW_CONSUMER_BREAKER && strstr(text, "left"))
        csim_happened(CSIM_LEFT_OPEN);
    csim_trace(member->world, "member %d says: %s %s", member->number, names[event], text);
}

static void bury(struct csim_member *member)
{
    ow_consumer_done(&member->consumer);
    csim_handler_kill(member);
    csim_inbox_kill(member);
    if (member->filtered)
        member->filtered->ops->discard(member->filtered);
    member->filtered = NULL;
    member->is_alive = member->is_dead = member->is_draining = false;
    member->stopped_until = 0;
}

static void start(struct csim_member *member)
{
    static const char *const topics[] = {"t"};
    struct csim_world *w = member->world;
    const struct csim_options *o = &w->options;
    struct ow_consumer_options options;
    struct ow_error err = {0};
    ow_consumer_options_default(&options);
    options.name = "sim";
    options.topics = topics;
    options.topic_count = 1;
    options.order = o->order;
    options.in_flight = o->in_flight;
    options.window = (struct ow_window_limits){.count_max = o->window_count, .bytes_max = 1 << 20};
    options.retry = (struct ow_retry_policy){.initial_ms = 100,
                                             .max_ms = 1000,
                                             .multiplier = 2,
                                             .jitter = 0.2,
                                             .attempts_max = o->attempts_max,
                                             .elapsed_max_ms = o->elapsed_max_ms};
    options.reconnect = (struct ow_retry_policy){.initial_ms = 20, .max_ms = 200, .multiplier = 2, .jitter = 0.2};
    options.breaker = (struct ow_breaker_policy){
        .failures = o->failures, .probes = o->probes, .open_ms = 500, .open_ms_max = 4000};
    options.parks = o->parks;
    options.keeps_letters = o->keeps_letters;
    options.keeps_offsets = o->keeps_offsets;
    options.ends_at_end = o->ends_at_end;
    options.drain_ms = o->drain_ms;
    options.make_letter = csim_make_letter;
    options.world = (struct ow_world){now_ms, dice, member, wall_ms};
    options.listener = listen;
    options.listener_context = member;
    member->inbox = (struct csim_inbox){.base.ops = &csim_inbox_ops, .member = member};
    member->filter = (struct csim_filter){.base.ops = &csim_filter_ops, .member = member};
    member->handler.ops = o->in_transaction ? &csim_sql_ops : &csim_call_ops;
    member->topic = (struct csim_topic){.base.ops = &csim_topic_ops, .member = member};
    memset(&member->subscriber, 0, sizeof member->subscriber);
    memset(member->attempts, 0, sizeof member->attempts);
    member->target_fails = 0;
    member->no_calls_until = 0;
    member->life = ++w->lives;
    csim_trace(w, "member %d starts", member->number);
    struct ow_inbox *inbox = o->has_inbox ? &member->inbox.base : NULL;
    if (inbox && o->has_filter && ow_inbox_filtered_new(inbox, &member->filter.base, &member->filtered, &err) == 0)
        inbox = member->filtered;
    if (ow_consumer_init(&member->consumer, &options, csim_subscribe, member, inbox, &member->handler,
                         o->has_topic ? &member->topic.base : NULL, &err) < 0) {
        csim_fail(w, "ow_consumer_init: %s", err.text);
        return;
    }
    member->is_alive = member->is_fresh = true;
}

static size_t check_window(struct csim_world *w, const struct ow_consumer_partition *p)
{
    const char *broken = ow_window_broken(&p->window);
    if (broken)
        csim_fail(w, "a window is broken: %s", broken);
    return p->window.bytes;
}

static void check_member(const struct csim_member *member)
{
    struct csim_world *w = member->world;
    const struct ow_consumer *c = &member->consumer;
    size_t bytes = 0;
    if (c->calls_used > w->options.in_flight)
        csim_fail(w, "%u calls of at most %u", c->calls_used, w->options.in_flight);
    for (size_t i = 0; i < c->partition_count; i++)
        bytes += check_window(w, c->partitions[i]);
    if (c->replays)
        bytes += check_window(w, c->replays);
    if (bytes != c->bytes)
        csim_fail(w, "the windows have %zu bytes, and %zu are counted", bytes, c->bytes);
}

static void step(struct csim_member *member)
{
    struct csim_world *w = member->world;
    struct ow_error err = {0};
    member->is_fresh = false;
    int r = ow_consumer_step(&member->consumer, &member->wait, &err);
    if (member->is_dead) {
        bury(member);
        return;
    }
    check_member(member);
    if (r < 0) {
        csim_fail(w, "the consumer ended: %s", err.text);
        bury(member);
    } else if (member->is_draining && ow_consumer_is_idle(&member->consumer)) {
        csim_happened(CSIM_DRAINED);
        csim_trace(w, "member %d is drained", member->number);
        bury(member);
    }
}

static bool waits_for(const struct csim_member *member, int fd)
{
    for (unsigned i = 0; i < member->wait.count; i++)
        if (member->wait.fds[i].fd == fd)
            return true;
    return false;
}

static bool is_awake(const struct csim_member *member)
{
    const struct csim_world *w = member->world;
    if (!member->is_alive || member->is_inside || member->stopped_until > w->now_ms)
        return false;
    return member->is_fresh || w->now_ms >= member->wait.deadline_ms ||
           (waits_for(member, CSIM_GROUP_FD) && csim_group_has_news(member)) ||
           (waits_for(member, CSIM_HANDLER_FD) && csim_handler_has_news(member)) ||
           (waits_for(member, CSIM_TOPIC_FD) && member->topic.count > 0);
}

/* --- what happens --------------------------------------------------------------------------------------------- */

static void produce(struct csim_world *w)
{
    const struct csim_options *o = &w->options;
    bool repeats = w->message_count > 0 && sim_chance(&w->dice, o->repeats_pm);
    if (!repeats && w->message_count >= o->messages)
        return;
    uint32_t i = repeats ? sim_roll(&w->dice, w->message_count) : w->message_count;
    struct csim_message *m = &w->messages[i];
    if (!repeats) {
        uint32_t key = sim_roll(&w->dice, o->keys + 1);
        *m = (struct csim_message){.has_key = key < o->keys, .number = i, .lock = CSIM_NOBODY};
        (void)snprintf(m->id, sizeof m->id, "m%u", i);
        (void)snprintf(m->key, sizeof m->key, "k%u", key % CSIM_KEYS_MAX);
        m->partition = (m->has_key ? key : sim_roll(&w->dice, 10)) % o->partitions;
        if (sim_chance(&w->dice, o->poison))
            m->fails = UINT32_MAX;
        else if (sim_chance(&w->dice, o->passing))
            m->fails = sim_between(&w->dice, 1, 3);
        m->is_refused = m->fails > 0 && sim_chance(&w->dice, o->refused);
        m->is_bad = sim_chance(&w->dice, o->bad);
        if (m->is_bad)
            csim_happened(CSIM_BAD);
        w->message_count++;
    }
    if (w->partitions[m->partition].count >= CSIM_LOG_MAX)
        return;
    w->partitions[m->partition].messages[w->partitions[m->partition].count++] = i;
    csim_trace(w, "%s%s (%s) is sent", m->id, repeats ? " again" : "", m->has_key ? m->key : "no key");
}

/* The operator repairs a message, or not, and has its letter replayed. */
static void operate(struct csim_world *w)
{
    if (w->letter_count == 0)
        return;
    int64_t n = sim_between(&w->dice, 1, w->letter_count);
    struct csim_letter *l = &w->letters[n];
    if (!l->is_there || l->is_queued || l->is_parked || w->messages[l->message].lock != CSIM_NOBODY)
        return;
    for (uint32_t later = (uint32_t)n + 1; later <= w->letter_count; later++)
        if (w->letters[later].is_there && w->letters[later].is_queued && w->messages[l->message].has_key &&
            strcmp(w->messages[w->letters[later].message].key, w->messages[l->message].key) == 0)
            csim_happened(CSIM_QUEUED_LATE);
    if (sim_chance(&w->dice, 600))
        w->messages[l->message].fails = 0;
    l->is_queued = true;
    csim_trace(w, "letter %lld of %s is queued%s", (long long)n, w->messages[l->message].id,
               w->messages[l->message].fails ? "" : ", repaired");
}

static void disturb(struct csim_world *w, int except)
{
    const struct csim_options *o = &w->options;
    struct csim_member *member = &w->members[sim_roll(&w->dice, o->members)];
    if (sim_chance(&w->dice, o->rebalance))
        csim_rebalance(w);
    if (sim_chance(&w->dice, 30))
        w->target_is_down = !w->target_is_down;
    if (sim_chance(&w->dice, 60))
        operate(w);
    if (member->number == except || member->is_inside)
        return;
    if (!member->is_alive) {
        if (sim_chance(&w->dice, 100))
            start(member);
    } else if (sim_chance(&w->dice, o->crash)) {
        csim_happened(CSIM_CRASH);
        csim_trace(w, "member %d is killed", member->number);
        member->is_dead = true;
        bury(member);
    } else if (sim_chance(&w->dice, o->stop)) {
        csim_happened(CSIM_STOPPED);
        member->stopped_until = w->now_ms + sim_roll(&w->dice, 4000);
        csim_trace(w, "member %d is stopped", member->number);
    } else if (sim_chance(&w->dice, 3)) {
        csim_trace(w, "member %d drains", member->number);
        ow_consumer_drain(&member->consumer);
        member->is_draining = member->is_fresh = true;
    }
}

static void pass_time(struct csim_world *w)
{
    int64_t next = csim_handler_due_ms(w);
    for (uint32_t i = 0; i < w->options.members; i++) {
        const struct csim_member *m = &w->members[i];
        if (m->is_alive && m->stopped_until > w->now_ms && m->stopped_until < next)
            next = m->stopped_until;
        else if (m->is_alive && !m->is_inside && m->stopped_until <= w->now_ms && m->wait.deadline_ms < next)
            next = m->wait.deadline_ms;
    }
    for (int i = 0; i < w->session_count; i++)
        if (w->sessions[i].is_ghost && w->sessions[i].expires_ms < next)
            next = w->sessions[i].expires_ms;
    if (next > w->now_ms + 1000)
        next = w->now_ms + 1000; /* somebody sends something, somebody comes */
    w->now_ms = next > w->now_ms ? next : w->now_ms + 1;
}

bool csim_event(struct csim_world *w, int except)
{
    w->events++;
    w->tick++;
    csim_group_tend(w);
    csim_target_tend(w);
    if (!w->is_calm) {
        if (sim_chance(&w->dice, 200))
            produce(w);
        disturb(w, except);
    }
    uint32_t first = sim_roll(&w->dice, w->options.members);
    for (uint32_t i = 0; i < w->options.members; i++) {
        struct csim_member *member = &w->members[(first + i) % w->options.members];
        if (member->number == except || !is_awake(member))
            continue;
        step(member);
        w->now_ms += sim_roll(&w->dice, 3);
        return true;
    }
    pass_time(w);
    return false;
}

/* --- the end ------------------------------------------------------------------------------------------------- */

static bool is_over(const struct csim_world *w)
{
    const struct csim_options *o = &w->options;
    for (uint32_t n = 1; n <= w->letter_count; n++)
        if (w->letters[n].is_there)
            return false;
    for (uint32_t p = 0; p < o->partitions; p++)
        if ((o->keeps_offsets ? w->partitions[p].kept : w->partitions[p].settled) < w->partitions[p].count &&
            w->partitions[p].count > 0)
            return false;
    return true;
}

static void come_to_rest(struct csim_world *w)
{
    bool keeps_letters = w->options.keeps_letters;
    csim_trace(w, "the faults stop");
    w->is_calm = true;
    w->target_is_down = false;
    for (uint32_t i = 0; i < w->message_count; i++)
        if (keeps_letters || w->options.attempts_max == 0 || !w->options.has_topic)
            w->messages[i].fails = 0;
    for (uint32_t i = 0; i < w->options.members; i++) {
        if (!w->members[i].is_alive)
            start(&w->members[i]);
        w->members[i].stopped_until = 0;
    }
    int64_t until = w->now_ms + CALM_MS_MAX;
    for (uint32_t i = 0; i < CALM_EVENTS_MAX && w->now_ms < until && !w->has_failed && !is_over(w); i++) {
        (void)csim_event(w, CSIM_NOBODY);
        for (uint32_t m = 0; m < w->options.members; m++) /* one that was draining is followed */
            if (!w->members[m].is_alive)
                start(&w->members[m]);
        for (uint32_t n = 1; n <= w->letter_count; n++)
            w->letters[n].is_queued = w->letters[n].is_queued || !w->letters[n].is_parked;
    }
    if (!w->has_failed && !is_over(w))
        csim_fail(w, "it never comes to its end");
}

static void check_end(struct csim_world *w)
{
    for (uint32_t i = 0; i < w->message_count; i++) {
        const struct csim_message *m = &w->messages[i];
        bool is_done = m->effects > 0 || (!w->options.keeps_letters && m->in_topic);
        if (!is_done)
            csim_fail(w, "%s is lost", m->id);
    }
}

static void choose(struct csim_world *w)
{
    struct csim_options *o = &w->options;
    struct sim_dice *d = &w->dice;
    *o = (struct csim_options){0};
    o->in_transaction = sim_chance(d, 450);
    o->has_inbox = o->in_transaction || sim_chance(d, 900);
    o->order = sim_chance(d, 750) ? OW_ORDER_KEY : sim_chance(d, 500) ? OW_ORDER_ALL : OW_ORDER_NONE;
    o->keeps_letters = o->has_inbox && sim_chance(d, 750);
    o->parks = o->keeps_letters && o->order != OW_ORDER_NONE && sim_chance(d, 700);
    o->has_topic = sim_chance(d, 350);
    o->keeps_offsets = o->has_inbox && sim_chance(d, 250);
    o->ends_at_end = sim_chance(d, 300);
    o->settles_at_once = sim_chance(d, 300);
    o->partitions = sim_between(d, 1, CSIM_PARTITIONS_MAX);
    o->members = sim_between(d, 1, CSIM_MEMBERS_MAX);
    o->messages = sim_between(d, 3, CSIM_MESSAGES_MAX - 4);
    o->keys = sim_between(d, 1, CSIM_KEYS_MAX);
    o->steps = sim_between(d, 50, 600);
    o->in_flight = sim_between(d, 1, 8);
    o->window_count = sim_between(d, 1, 16);
    o->attempts_max = sim_chance(d, 850) ? sim_between(d, 1, 4) : 0;
    o->elapsed_max_ms = sim_chance(d, 200) ? (int64_t)sim_between(d, 1, 1500) : 0;
    o->drain_ms = sim_chance(d, 500) ? 3000 : 30;
    o->failures = sim_chance(d, 700) ? sim_between(d, 1, 4) : 0;
    o->probes = sim_between(d, 1, 3);
    o->repeats_pm = sim_chance(d, 700) ? sim_roll(d, 400) : 0;
    o->has_filter = o->has_inbox && sim_chance(d, 300);
    o->filter_lies = sim_chance(d, 500) ? sim_roll(d, 500) : 0;
    bool is_rough = sim_chance(d, 750);
    o->crash = is_rough ? sim_roll(d, 15) : 0;
    o->crash_inside = is_rough ? sim_roll(d, 6) : 0;
    o->stop = is_rough ? sim_roll(d, 15) : 0;
    o->stop_inside = is_rough ? sim_roll(d, 8) : 0;
    o->rebalance = is_rough ? sim_roll(d, 60) : 0;
    o->inbox_error = sim_chance(d, 500) ? sim_roll(d, 25) : 0;
    o->group_error = sim_chance(d, 500) ? sim_roll(d, 10) : 0;
    o->topic_error = sim_chance(d, 500) ? sim_roll(d, 50) : 0;
    o->commit_lost = sim_chance(d, 500) ? sim_roll(d, 40) : 0;
    o->poison = sim_chance(d, 700) ? sim_roll(d, 250) : 0;
    o->refused = sim_chance(d, 500) ? sim_roll(d, 300) : 0;
    o->bad = sim_chance(d, 300) && o->keeps_letters ? sim_roll(d, 60) : 0;
    o->passing = sim_roll(d, 300);
    o->lost_answer = sim_chance(d, 500) ? sim_roll(d, 100) : 0;
    o->held_up = sim_chance(d, 300) ? sim_roll(d, 100) : 0;
    o->retry_after = sim_chance(d, 500) ? 300 : 0;
}

void csim_run(struct csim_world *w, uint64_t seed, bool traces)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->dice.state = seed;
    w->traces = traces;
    w->now_ms = START_MS;
    w->tick = 1;
    w->replay_holder = CSIM_NOBODY;
    choose(w);
    for (uint32_t p = 0; p < CSIM_PARTITIONS_MAX; p++) {
        w->partitions[p].owner = w->partitions[p].target = CSIM_NOBODY;
        w->partitions[p].kept = -1;
    }
    for (int k = 0; k < CSIM_KEYS_MAX; k++)
        w->last_first[k] = -1;
    for (int i = 0; i < CSIM_MEMBERS_MAX; i++) {
        w->members[i].world = w;
        w->members[i].number = i;
    }
    start(&w->members[0]);
    for (uint32_t i = 0; i < w->options.steps && !w->has_failed; i++)
        (void)csim_event(w, CSIM_NOBODY);
    if (!w->has_failed)
        come_to_rest(w);
    if (!w->has_failed)
        check_end(w);
    for (uint32_t i = 0; i < w->options.members; i++)
        if (w->members[i].is_alive)
            bury(&w->members[i]);
}
