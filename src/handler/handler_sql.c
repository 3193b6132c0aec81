/* SPDX-License-Identifier: Apache-2.0 */
/* SQL, in the transaction of the inbox: every statement for every message, all of a batch in one go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/sql_template.h"
#include "handler/handlers.h"

struct prepared {
    char *text;
    struct ow_sql_template template;
    struct ow_statement *statement; /* NULL: not prepared */
};

struct sql {
    struct ow_handler base;
    struct ow_store *store; /* the inbox's */
    struct prepared *statements;
    size_t count;
    struct ow_buf *scratch; /* of each statement that is queued: its values live until finish() */
    size_t scratch_count;
};

static struct sql *self_of(struct ow_handler *handler)
{
    return (struct sql *)handler;
}

static void sql_close(struct ow_handler *handler)
{
    struct sql *s = self_of(handler);
    for (size_t i = 0; i < s->count; i++) {
        if (s->store)
            s->store->ops->discard(s->statements[i].statement);
        s->statements[i].statement = NULL;
        ow_sql_template_done(&s->statements[i].template);
    }
    s->store = NULL;
}

static int sql_open(struct ow_handler *handler, struct ow_store *store, struct ow_error *err)
{
    struct sql *s = self_of(handler);
    bool is_sqlite = ow_store_is_sqlite(store);
    sql_close(handler);
    s->store = store;
    for (size_t i = 0; i < s->count; i++) {
        struct prepared *p = &s->statements[i];
        int r = ow_sql_template_init(&p->template, ow_bytes_of(p->text),
                                     is_sqlite ? OW_SQL_NUMBERED_BY_QUESTION_MARK : OW_SQL_NUMBERED_BY_DOLLAR, err);
        if (r == 0)
            r = store->ops->prepare(store, p->template.sql, &p->statement, err);
        if (r < 0) {
            sql_close(handler);
            return ow_error_prefix(err, "handler sql, statement %zu", i + 1);
        }
    }
    return 0;
}

static struct ow_buf *next_scratch(struct sql *s, size_t n)
{
    if (n >= s->scratch_count) {
        struct ow_buf *more = realloc(s->scratch, (n + 1) * sizeof *more);
        if (!more)
            return NULL;
        s->scratch = more;
        s->scratch[n] = (struct ow_buf){0};
        s->scratch_count = n + 1;
    }
    ow_buf_clear(&s->scratch[n]);
    return &s->scratch[n];
}

static int queue_one(struct sql *s, const struct prepared *p, const struct ow_message *message, struct ow_buf *scratch,
                     struct ow_error *err)
{
    struct ow_value values[OW_SQL_PARAMETERS_MAX];
    struct ow_bytes found[OW_SQL_PARAMETERS_MAX];
    size_t at[OW_SQL_PARAMETERS_MAX];
    for (size_t i = 0; i < p->template.count; i++) {
        int r = ow_sql_template_value(&p->template, i, message, scratch, &found[i], &at[i], err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < p->template.count; i++) {
        if (at[i] != SIZE_MAX)
            found[i].data = scratch->data + at[i];
        values[i] = ow_utf8_is_valid(found[i]) ? ow_value_text(found[i]) : ow_value_blob(found[i]);
    }
    return s->store->ops->queue(p->statement, values, p->template.count, err);
}

static void blame(struct ow_outcome *outcome, const char *class, const struct ow_error *err)
{
    *outcome = (struct ow_outcome){.kind = OW_OUTCOME_FAILED, .retry_after_ms = -1};
    (void)snprintf(outcome->class, sizeof outcome->class, "%s", class);
    (void)snprintf(outcome->reason, sizeof outcome->reason, "%s", err->text);
}

/* What the message has cannot be made a value: no attempt will change that. */
static bool is_bad_message(int code)
{
    return code == OW_EINVALID || code == OW_ETOOBIG;
}

static int sql_run(struct ow_handler *handler, const struct ow_task *tasks, size_t count, size_t *ret_failed,
                   struct ow_outcome *outcome, struct ow_error *err)
{
    struct sql *s = self_of(handler);
    struct ow_store_failure failure;
    struct ow_error bad = {0};
    size_t queued = 0, failed = count, first = 0; /* the first task of those in the queue now */
    int r = 0;
    *ret_failed = count;
    for (size_t i = 0; i < count && r == 0; i++) {
        for (size_t k = 0; k < s->count && r == 0; k++) {
            struct ow_buf *scratch = next_scratch(s, queued);
            r = scratch ? queue_one(s, &s->statements[k], &tasks[i].record->message, scratch, &bad)
                        : ow_error_set(&bad, OW_ENOMEM, "out of memory");
            queued += r == 0;
        }
        if (r < 0)
            failed = i;
        if (r == 0 && queued + s->count <= OW_STORE_QUEUE_MAX && i + 1 < count)
            continue;
        int finished = s->store->ops->finish(s->store, r == 0 && i + 1 == count, &failure, err);
        if (finished < 0) {
            bool is_known = s->count > 0 && failure.index < queued && ow_error_class(finished) != OW_CLASS_RETRYABLE;
            *ret_failed = is_known ? first + failure.index / s->count : count;
            blame(outcome, failure.class, err);
            return finished;
        }
        queued = 0;
        first = i + 1;
    }
    if (r == 0)
        return 0;
    if (is_bad_message(r)) {
        *ret_failed = failed;
        blame(outcome, "bad message", &bad);
        outcome->kind = OW_OUTCOME_REFUSED;
    }
    return ow_error_set(err, r, "%s", bad.text);
}

static void sql_discard(struct ow_handler *handler)
{
    struct sql *s = self_of(handler);
    if (!handler)
        return;
    sql_close(handler);
    for (size_t i = 0; i < s->count; i++)
        free(s->statements[i].text);
    for (size_t i = 0; i < s->scratch_count; i++)
        ow_buf_done(&s->scratch[i]);
    free(s->statements);
    free(s->scratch);
    free(s);
}

static const struct ow_handler_ops sql_ops = {
    .name = "sql",
    .in_transaction = true,
    .open = sql_open,
    .run = sql_run,
    .close = sql_close,
    .discard = sql_discard,
};

int ow_handler_sql_new(const char *const *statements, size_t count, struct ow_handler **ret, struct ow_error *err)
{
    struct sql *s = calloc(1, sizeof *s);
    if (s)
        s->statements = calloc(count ? count : 1, sizeof *s->statements);
    int r = s && s->statements ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0 && (count == 0 || count > OW_HANDLER_STATEMENTS_MAX))
        r = ow_error_set(err, OW_EINVALID, "a sql handler has 1 to %d statements", OW_HANDLER_STATEMENTS_MAX);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct ow_sql_template checked;
        r = ow_sql_template_init(&checked, ow_bytes_of(statements[i]), OW_SQL_NUMBERED_BY_DOLLAR, err);
        if (r == 0)
            ow_sql_template_done(&checked);
        if (r == 0 && !(s->statements[i].text = strdup(statements[i])))
            r = ow_error_set(err, OW_ENOMEM, "out of memory");
        s->count = i + 1;
    }
    if (r < 0) {
        if (s && s->statements)
            sql_discard(&s->base);
        else
            free(s);
        return r;
    }
    s->base.ops = &sql_ops;
    *ret = &s->base;
    return 0;
}
