/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exec: a program that runs all the time and gets a line a message (exec_line.h); its answers come in any order.
 *
 *   QUEUED   handed over, not written yet: there is no program just now, or enough on its way to it
 *   SENT     written, or in the buffer that is; it has `timeout` from here
 *   LOST     the program has ended before it answered
 *
 * Whoever is to blame for an end is found out: what was in flight goes back without a word, and comes again one by one,
 * until as many as there were are settled. What is alone when the program ends is to blame; of what takes too long the
 * oldest is. A program that has hung is killed, with all of its group: what it had begun must not go on beside the
 * next attempt.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "codec/json.h"
#include "core/retry.h"
#include "handler/emitted.h"
#include "handler/exec_line.h"
#include "handler/handlers.h"
#include "handler/process.h"

enum {
    READ_MAX = 256 * 1024,        /* in one step, of what it answers; of its errors a fourth */
    WRITE_AHEAD = 256 * 1024,     /* what is written into the buffer before the pipe */
    ANSWER_MAX = 8 * 1024 * 1024, /* a line */
    SAID_MAX = 8 * 1024,          /* a line of its errors */
    STRAY_MAX = 1000,             /* lines that are no answers, in a row */
    END_MS = 300,                 /* that it has to end in once it has closed a pipe */
    ASK_MS = 50,                  /* where there is no descriptor that tells of the end */
};

enum place { QUEUED, SENT, LOST, PLACES };

struct entry {
    struct entry *next, *before;
    enum place place;
    struct ow_task task; /* its record is lent until it is SENT */
    char *id;            /* owned; NULL before it is SENT */
    size_t id_size;
    int64_t due_ms;    /* SENT */
    bool is_forgotten; /* SENT: nobody wants its answer */
    bool is_blamed;    /* LOST */
};

struct list {
    struct entry *first, *last;
    size_t count;
};

enum state { DOWN, UP, ENDING };

struct exec {
    struct ow_handler base;
    struct ow_handler_exec_options options; /* texts owned */
    char **environment;                     /* of the program: ours and what is added; its own array */
    bool can_publish, is_open;
    enum state state;
    struct ow_process process;
    struct list lists[PLACES];
    struct ow_buf out, in, errors, scratch;
    size_t out_at, in_at;
    bool is_killed;   /* by us: `end` says why */
    uint64_t answers; /* good ones of this run */
    uint32_t failures, stray;
    size_t alone_left;
    int64_t start_due_ms, kill_due_ms;
    char end_class[16], end[200];
    struct ow_emitted *emitted; /* of the outcomes that were given last */
};

static struct exec *self_of(struct ow_handler *handler)
{
    return (struct exec *)handler;
}

static void tell(struct exec *h, bool is_output, const char *text)
{
    if (h->base.tell)
        h->base.tell(h->base.tell_context, is_output, text);
}

/* --- lists ---------------------------------------------------------------------------------------------- */

static void append(struct exec *h, struct entry *entry, enum place place)
{
    struct list *list = &h->lists[place];
    entry->place = place;
    entry->next = NULL;
    entry->before = list->last;
    *(list->last ? &list->last->next : &list->first) = entry;
    list->last = entry;
    list->count++;
}

static void take_out(struct exec *h, struct entry *entry)
{
    struct list *list = &h->lists[entry->place];
    *(entry->before ? &entry->before->next : &list->first) = entry->next;
    *(entry->next ? &entry->next->before : &list->last) = entry->before;
    list->count--;
}

static void drop(struct exec *h, struct entry *entry)
{
    take_out(h, entry);
    free(entry->id);
    free(entry);
}

static struct entry *find_sent(struct exec *h, struct ow_bytes id)
{
    for (struct entry *e = h->lists[SENT].first; e; e = e->next)
        if (e->id_size == id.size && memcmp(e->id, id.data, id.size) == 0)
            return e;
    return NULL;
}

/* --- the program ------------------------------------------------------------------------------------------ */

static void close_pipes(struct exec *h)
{
    ow_process_close(&h->process.in);
    ow_process_close(&h->process.out);
    ow_process_close(&h->process.errors);
    ow_buf_clear(&h->out);
    ow_buf_clear(&h->in);
    ow_buf_clear(&h->errors);
    h->out_at = h->in_at = 0;
}

static int start_program(struct exec *h, struct ow_error *err)
{
    int r = ow_process_start(&h->process, h->options.command, h->environment, err);
    if (r < 0)
        return r;
    h->state = UP;
    h->answers = 0;
    h->stray = 0;
    h->is_killed = false;
    h->kill_due_ms = INT64_MAX;
    return 0;
}

static void put_off_start(struct exec *h)
{
    int64_t delay = h->failures == 0 ? 0 : ow_retry_delay_ms(&ow_retry_policy_default, h->failures, ow_dice_roll());
    h->start_due_ms = ow_clock_monotonic_ms() + delay;
}

/* It will not do any more: what it has not said by now is not heard. */
static void kill_program(struct exec *h, const char *class, const char *why)
{
    h->is_killed = true;
    (void)snprintf(h->end_class, sizeof h->end_class, "%s", class);
    (void)snprintf(h->end, sizeof h->end, "%s", why);
    h->state = ENDING;
    h->kill_due_ms = INT64_MAX;
    ow_process_signal(&h->process, SIGKILL);
    close_pipes(h);
}

/* It has closed a pipe: most likely it is about to end. */
static void expect_end(struct exec *h)
{
    h->state = ENDING;
    if (h->kill_due_ms == INT64_MAX)
        h->kill_due_ms = ow_clock_monotonic_ms() + END_MS;
}

static void say_ended(struct exec *h)
{
    char text[600];
    (void)snprintf(text, sizeof text, "%.180s %.200s, with %zu messages unanswered", h->options.command[0], h->end,
                   h->lists[SENT].count);
    tell(h, false, text);
}

/* Nothing of it is left; everything that it had said was read. */
static void program_ended(struct exec *h)
{
    struct list *sent = &h->lists[SENT];
    if (!h->is_killed) {
        ow_process_describe(&h->process, h->end, sizeof h->end);
        (void)snprintf(h->end_class, sizeof h->end_class, "exit");
    }
    say_ended(h);
    close_pipes(h);
    h->state = DOWN;
    bool is_good = !h->is_killed && h->process.status == 0 && h->answers > 0;
    h->failures = is_good ? 0 : h->answers > 0 ? 1 : h->failures + 1;
    put_off_start(h);
    bool is_one = sent->count == 1, is_timeout = strcmp(h->end_class, "timeout") == 0;
    if (is_one && h->alone_left > 0)
        h->alone_left--;
    if (sent->count > 1)
        h->alone_left = sent->count - is_timeout;
    for (bool is_first = true; sent->first; is_first = false) {
        struct entry *e = sent->first;
        take_out(h, e);
        append(h, e, LOST);
        e->is_blamed = is_one || (is_timeout && is_first);
        if (e->is_forgotten)
            drop(h, e);
    }
}

/* --- to it ------------------------------------------------------------------------------------------------ */

/* Only where there is room, and, after an end, one at a time. */
static void write_lines(struct exec *h)
{
    while (h->lists[QUEUED].first && h->out.size - h->out_at < WRITE_AHEAD &&
           (h->alone_left == 0 || h->lists[SENT].count == 0)) {
        struct entry *e = h->lists[QUEUED].first;
        size_t before = h->out.size;
        ow_exec_write_task(&h->out, &e->task);
        e->id = ow_bytes_text(e->task.id);
        take_out(h, e);
        if (h->out.has_failed || !e->id) {
            h->out.size = before;
            h->out.has_failed = false;
            append(h, e, LOST);
            continue;
        }
        e->id_size = e->task.id.size;
        e->task.record = NULL;
        e->due_ms = ow_clock_monotonic_ms() + h->options.timeout_ms;
        append(h, e, SENT);
    }
}

static void feed(struct exec *h)
{
    while (h->state == UP) {
        write_lines(h);
        if (h->out_at == h->out.size)
            return;
        ssize_t n = write(h->process.in, h->out.data + h->out_at, h->out.size - h->out_at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            expect_end(h);
        if (n < 0)
            return;
        h->out_at += (size_t)n;
        if (h->out_at == h->out.size) {
            h->out_at = 0;
            ow_buf_clear(&h->out);
        } else if (h->out_at >= WRITE_AHEAD) {
            h->out.size -= h->out_at;
            memmove(h->out.data, h->out.data + h->out_at, h->out.size);
            h->out_at = 0;
        }
    }
}

/* --- from it ---------------------------------------------------------------------------------------------- */

/* At most `max` bytes. True: there is no more for now. */
static bool read_some(int *fd, struct ow_buf *to, size_t max)
{
    while (*fd >= 0 && max > 0) {
        size_t size = max < 16384 ? max : 16384;
        char *room = ow_buf_reserve(to, size);
        ssize_t n = room ? read(*fd, room, size) : -1;
        if (!room)
            return false;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            ow_process_close(fd);
            return true;
        }
        to->size += (size_t)n;
        max -= (size_t)n;
    }
    return *fd < 0;
}

/* One line of text that may be shown. */
static void make_plain(struct ow_bytes from, char *to, size_t size)
{
    size_t n = from.size < size ? from.size : size - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = from.data[i] ? from.data[i] : ' ';
    to[n] = '\0';
    ow_text_make_plain(to);
}

static void hear_errors(struct exec *h, bool is_last)
{
    char text[SAID_MAX];
    size_t at = 0;
    (void)read_some(&h->process.errors, &h->errors, READ_MAX / 4);
    while (at < h->errors.size) {
        const char *line = h->errors.data + at, *end = memchr(line, '\n', h->errors.size - at);
        size_t left = h->errors.size - at, size = end ? (size_t)(end - line) : left;
        if (!end && left < SAID_MAX - 1 && !is_last)
            break;
        if (size > SAID_MAX - 1)
            size = SAID_MAX - 1;
        make_plain((struct ow_bytes){line, size}, text, sizeof text);
        if (text[0])
            tell(h, true, text);
        at += size + (end == line + size);
    }
    if (at > 0) {
        h->errors.size -= at;
        memmove(h->errors.data, h->errors.data + at, h->errors.size);
    }
}

static struct ow_outcome outcome_of(const struct entry *e, enum ow_outcome_kind kind)
{
    return (struct ow_outcome){.token = e->task.token, .kind = kind, .retry_after_ms = -1};
}

static void set_class(struct ow_outcome *outcome, struct ow_bytes class, struct ow_bytes reason)
{
    make_plain(class, outcome->class, sizeof outcome->class);
    make_plain(reason, outcome->reason, sizeof outcome->reason);
}

static void judge_published(struct exec *h, const struct ow_exec_answer *answer, struct ow_outcome *outcome)
{
    struct ow_error why = {0};
    struct ow_emitted *emitted = NULL;
    int r = h->can_publish ? ow_emitted_read_list(answer->publish, &emitted, &why)
                           : ow_error_set(&why, OW_EUNSUPPORTED,
                                          "its answer publishes, which takes an outbox beside an inbox; write inbox: { "
                                          "store: … }");
    if (r == 0) {
        outcome->emitted = emitted->messages;
        outcome->emitted_count = emitted->count;
        emitted->next = h->emitted;
        h->emitted = emitted;
        return;
    }
    outcome->kind = r == OW_EUNSUPPORTED ? OW_OUTCOME_REFUSED : r == OW_ENOMEM ? OW_OUTCOME_HELD_UP : OW_OUTCOME_FAILED;
    set_class(outcome, OW_BYTES("publish"), ow_bytes_of(why.text));
}

static void judge(struct exec *h, const struct entry *e, const struct ow_exec_answer *answer,
                  struct ow_outcome *outcome)
{
    *outcome = outcome_of(e, answer->is_ok        ? OW_OUTCOME_DONE
                             : answer->is_retried ? OW_OUTCOME_FAILED
                                                  : OW_OUTCOME_REFUSED);
    if (answer->is_ok && answer->publish.data)
        judge_published(h, answer, outcome);
    if (answer->is_ok)
        return;
    outcome->retry_after_ms = answer->is_retried ? answer->retry_after_ms : -1;
    set_class(outcome, answer->class.size ? answer->class : OW_BYTES("program"),
              answer->reason.size ? answer->reason : OW_BYTES("the program said no more than that it failed"));
}

/* A line that is no answer to anything: of one that has no answer yet it may be the reason. */
static void pass_over(struct exec *h, struct ow_bytes line, const char *why)
{
    char text[400], shown[120];
    make_plain(line, shown, sizeof shown);
    (void)snprintf(text, sizeof text, "%.160s; passed over: %s", why, shown);
    tell(h, false, text);
    if (++h->stray < STRAY_MAX)
        return;
    kill_program(h, "broken answer", "wrote 1000 lines in a row that are no answers, and was killed");
}

/* 1: an outcome. */
static int read_answer(struct exec *h, struct ow_bytes line, struct ow_outcome *outcome)
{
    struct ow_exec_answer answer;
    struct ow_error why = {0};
    if (line.size == 0)
        return 0;
    int r = ow_exec_read_answer(line, &h->scratch, &answer, &why);
    struct entry *e = answer.id.data ? find_sent(h, answer.id) : NULL;
    if (!e) {
        pass_over(h, line, r < 0 ? why.text : "an answer to nothing that was asked");
        return 0;
    }
    bool is_wanted = !e->is_forgotten;
    if (r == 0) {
        judge(h, e, &answer, outcome);
        h->answers++;
        h->failures = h->stray = 0;
    } else {
        *outcome = outcome_of(e, OW_OUTCOME_FAILED);
        set_class(outcome, OW_BYTES("broken answer"), ow_bytes_of(why.text));
    }
    if (h->alone_left > 0)
        h->alone_left--;
    drop(h, e);
    return is_wanted;
}

/* Of what was read; *ret_is_dry: there is no whole line left. */
static size_t read_answers(struct exec *h, struct ow_outcome *outcomes, size_t max, bool *ret_is_dry)
{
    size_t count = 0;
    *ret_is_dry = false;
    while (count < max && h->state != DOWN) {
        const char *line = h->in.data + h->in_at;
        size_t left = h->in.size - h->in_at;
        const char *end = left ? memchr(line, '\n', left) : NULL;
        if (!end) {
            *ret_is_dry = true;
            if (left > ANSWER_MAX)
                kill_program(h, "broken answer", "wrote a line of more than 8 MiB, and was killed");
            break;
        }
        h->in_at += (size_t)(end - line) + 1;
        count += (size_t)read_answer(h, (struct ow_bytes){line, (size_t)(end - line)}, &outcomes[count]);
    }
    if (*ret_is_dry && h->in_at > 0) {
        h->in.size -= h->in_at;
        memmove(h->in.data, h->in.data + h->in_at, h->in.size);
        h->in_at = 0;
    }
    return count;
}

/* --- a step ----------------------------------------------------------------------------------------------- */

static void look_at_time(struct exec *h)
{
    int64_t now = ow_clock_monotonic_ms();
    char why[120], limit[OW_UNIT_TEXT_SIZE];
    if (h->state == ENDING && now >= h->kill_due_ms)
        kill_program(h, "exit", "closed its standard input or output without an end, and was killed");
    const struct entry *oldest = h->lists[SENT].first;
    if (h->state == DOWN || h->is_killed || !oldest || now < oldest->due_ms)
        return;
    (void)snprintf(why, sizeof why, "gave no answer within %s, and was killed",
                   ow_duration_format(h->options.timeout_ms, limit));
    kill_program(h, "timeout", why);
}

static size_t give_lost(struct exec *h, struct ow_outcome *outcomes, size_t max)
{
    size_t count = 0;
    for (struct entry *e; count < max && (e = h->lists[LOST].first); count++) {
        outcomes[count] = outcome_of(e, e->is_blamed ? OW_OUTCOME_FAILED : OW_OUTCOME_HELD_UP);
        outcomes[count].is_of_target = e->is_blamed;
        if (e->is_blamed) {
            (void)snprintf(outcomes[count].class, sizeof outcomes[count].class, "%s", h->end_class);
            (void)snprintf(outcomes[count].reason, sizeof outcomes[count].reason, "%.180s %.200s",
                           h->options.command[0], h->end);
        }
        drop(h, e);
    }
    return count;
}

static int exec_step(struct ow_handler *handler, struct ow_outcome *outcomes, size_t max, struct ow_error *err)
{
    struct exec *h = self_of(handler);
    struct ow_error why;
    bool is_dry = true, has_no_more = true;
    size_t count = 0;
    (void)err;
    ow_emitted_free(h->emitted);
    h->emitted = NULL;
    if (h->state == DOWN && ow_clock_monotonic_ms() >= h->start_due_ms && start_program(h, &why) < 0) {
        tell(h, false, why.text);
        h->failures++;
        put_off_start(h);
    }
    if (h->state != DOWN) {
        /* It is asked first: what it wrote before its end is in the pipe then. */
        bool has_ended = ow_process_has_ended(&h->process);
        hear_errors(h, has_ended);
        has_no_more = read_some(&h->process.out, &h->in, READ_MAX);
        count = read_answers(h, outcomes, max, &is_dry);
        if (has_ended && is_dry && has_no_more)
            program_ended(h);
        else if (h->process.out < 0 && !h->is_killed)
            expect_end(h);
        if (h->state != DOWN && !has_ended)
            look_at_time(h);
        feed(h);
    }
    return (int)(count + give_lost(h, outcomes + count, max - count));
}

static int exec_start(struct ow_handler *handler, const struct ow_task *task, struct ow_error *err)
{
    struct exec *h = self_of(handler);
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return ow_error_set(err, OW_ENOMEM, "out of memory for a message to %s", h->options.command[0]);
    e->task = *task;
    append(h, e, QUEUED);
    return 0;
}

static void exec_forget(struct ow_handler *handler, uint64_t token)
{
    struct exec *h = self_of(handler);
    for (int place = 0; place < PLACES; place++)
        for (struct entry *e = h->lists[place].first; e; e = e->next) {
            if (e->task.token != token || e->is_forgotten)
                continue;
            e->is_forgotten = true;
            if (place != SENT)
                drop(h, e);
            return;
        }
}

static void exec_wait(struct ow_handler *handler, struct ow_wait *wait)
{
    struct exec *h = self_of(handler);
    int64_t now = ow_clock_monotonic_ms();
    if (h->state == DOWN) {
        ow_wait_until(wait, h->start_due_ms);
        return;
    }
    ow_wait_add(wait, h->process.fd, POLLIN);
    ow_wait_add(wait, h->process.out, POLLIN);
    ow_wait_add(wait, h->process.errors, POLLIN);
    if (h->out_at < h->out.size && h->state == UP)
        ow_wait_add(wait, h->process.in, POLLOUT);
    if (h->state == UP && h->out_at == h->out.size && h->lists[QUEUED].first &&
        (h->alone_left == 0 || h->lists[SENT].count == 0))
        ow_wait_until(wait, now);
    if (h->process.pid == 0)
        ow_wait_until(wait, now);
    else if (h->process.fd < 0)
        ow_wait_until(wait, now + ASK_MS);
    ow_wait_until(wait, h->kill_due_ms);
    if (h->lists[SENT].first && !h->is_killed)
        ow_wait_until(wait, h->lists[SENT].first->due_ms);
}

/* --- life ------------------------------------------------------------------------------------------------- */

static void exec_close(struct ow_handler *handler)
{
    struct exec *h = self_of(handler);
    if (h->state != DOWN) {
        hear_errors(h, false);
        ow_process_end(&h->process, h->options.grace_ms);
    }
    close_pipes(h);
    h->state = DOWN;
    for (int place = 0; place < PLACES; place++)
        while (h->lists[place].first)
            drop(h, h->lists[place].first);
    ow_emitted_free(h->emitted);
    h->emitted = NULL;
    h->alone_left = 0;
}

static int exec_open(struct ow_handler *handler, struct ow_store *store, struct ow_error *err)
{
    struct exec *h = self_of(handler);
    h->can_publish = store;
    h->failures = 0;
    return start_program(h, err);
}

static void free_texts(char **texts)
{
    for (char **text = texts; text && *text; text++)
        free(*text);
    free(texts);
}

static void exec_discard(struct ow_handler *handler)
{
    struct exec *h = self_of(handler);
    if (!handler)
        return;
    exec_close(handler);
    ow_buf_done(&h->out);
    ow_buf_done(&h->in);
    ow_buf_done(&h->errors);
    ow_buf_done(&h->scratch);
    free_texts(h->options.command);
    free_texts(h->options.environment);
    free(h->environment);
    free(h);
}

static const struct ow_handler_ops exec_ops = {
    .name = "exec",
    .open = exec_open,
    .start = exec_start,
    .step = exec_step,
    .forget = exec_forget,
    .wait = exec_wait,
    .close = exec_close,
    .discard = exec_discard,
};

static size_t count_texts(char *const *texts)
{
    size_t count = 0;
    while (texts && texts[count])
        count++;
    return count;
}

static char **copy_texts(char *const *texts)
{
    char **copies = calloc(count_texts(texts) + 1, sizeof *copies);
    for (size_t i = 0; copies && texts && texts[i]; i++)
        if (!(copies[i] = strdup(texts[i]))) {
            free_texts(copies);
            return NULL;
        }
    return copies;
}

static bool is_replaced(const char *variable, char *const *by)
{
    size_t size = strcspn(variable, "=");
    for (; by && *by; by++)
        if (strncmp(*by, variable, size) == 0 && (*by)[size] == '=')
            return true;
    return false;
}

/* Ours, as it is now, and what is added. */
static char **make_environment(char *const *added)
{
    char **made = calloc(count_texts(environ) + count_texts(added) + 1, sizeof *made);
    size_t n = 0;
    for (size_t i = 0; made && environ && environ[i]; i++)
        if (!is_replaced(environ[i], added))
            made[n++] = environ[i];
    for (size_t i = 0; made && added && added[i]; i++)
        made[n++] = added[i];
    return made;
}

int ow_handler_exec_new(const struct ow_handler_exec_options *options, struct ow_handler **ret, struct ow_error *err)
{
    if (!options->command || !options->command[0] || !options->command[0][0])
        return ow_error_set(err, OW_EINVALID, "names no program; write command: [PROGRAM, ARGUMENT, …]");
    struct exec *h = calloc(1, sizeof *h);
    if (!h)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    h->base.ops = &exec_ops;
    h->process = OW_PROCESS_NONE;
    h->options = (struct ow_handler_exec_options){.command = copy_texts(options->command),
                                                  .environment = copy_texts(options->environment),
                                                  .timeout_ms = options->timeout_ms ? options->timeout_ms : 30000,
                                                  .grace_ms = options->grace_ms ? options->grace_ms : 5000};
    h->environment = make_environment(h->options.environment);
    if (!h->options.command || !h->options.environment || !h->environment) {
        exec_discard(&h->base);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    *ret = &h->base;
    return 0;
}
