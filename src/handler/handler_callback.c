/* SPDX-License-Identifier: Apache-2.0 */
/* A function of the program that we are part of, in the transaction of the inbox: one task after the other. */
#include <stdlib.h>

#include "handler/handlers.h"

struct callback {
    struct ow_handler base;
    struct ow_handler_callback_options options;
    struct ow_store *store; /* the inbox's; NULL: not open */
};

static struct callback *self_of(struct ow_handler *handler)
{
    return (struct callback *)handler;
}

static void callback_close(struct ow_handler *handler)
{
    struct callback *c = self_of(handler);
    struct ow_store *store = c->store;
    c->store = NULL;
    if (store)
        c->options.disconnecting(c->options.context, store);
}

static int callback_open(struct ow_handler *handler, struct ow_store *store, struct ow_error *err)
{
    struct callback *c = self_of(handler);
    callback_close(handler);
    int r = c->options.connected(c->options.context, store, err);
    if (r == 0)
        c->store = store;
    return r;
}

static int callback_run(struct ow_handler *handler, const struct ow_task *tasks, size_t count, size_t *ret_failed,
                        struct ow_outcome *outcome, struct ow_error *err)
{
    struct callback *c = self_of(handler);
    *ret_failed = count;
    /* The connection is the function's now: nothing of ours may be on its way. */
    int r = c->store->ops->finish(c->store, false, NULL, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        *outcome = (struct ow_outcome){.token = tasks[i].token, .kind = OW_OUTCOME_DONE, .retry_after_ms = -1};
        r = c->options.handle(c->options.context, c->store, &tasks[i], outcome, err);
        if (r == 0 && outcome->kind != OW_OUTCOME_DONE) {
            *ret_failed = i;
            return ow_error_set(err, OW_EINVALID, "%s", outcome->reason);
        }
    }
    return r;
}

static void callback_discard(struct ow_handler *handler)
{
    if (handler)
        callback_close(handler);
    free(handler);
}

static const struct ow_handler_ops callback_ops = {
    .name = "callback",
    .in_transaction = true,
    .open = callback_open,
    .run = callback_run,
    .close = callback_close,
    .discard = callback_discard,
};

int ow_handler_callback_new(const struct ow_handler_callback_options *options, struct ow_handler **ret,
                            struct ow_error *err)
{
    struct callback *c = calloc(1, sizeof *c);
    if (!c)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    c->base.ops = &callback_ops;
    c->options = *options;
    *ret = &c->base;
    return 0;
}
