/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handler: the contract of what is done with a message. There are two kinds.
 *
 * in_transaction (SQL, a callback): the effect is part of the transaction of the inbox; both are there, or neither.
 * run() may block as its store may.
 *
 * Otherwise (HTTP, a program): start() only begins, outcomes come from step(), and nothing blocks. The same message may
 * be handed over again, with the same id: after a crash, a timeout, a rebalance.
 *
 * An implementation embeds struct ow_handler as its first member and sets `ops`. A handler belongs to one thread.
 */
#ifndef OW_HANDLER_HANDLER_H
#define OW_HANDLER_HANDLER_H

#include "base/wait.h"
#include "core/record.h"
#include "store/store.h"

/* A message as a handler gets it. */
struct ow_task {
    const struct ow_record *record;
    struct ow_bytes id; /* names the message for ever: the inbox's key, and an HTTP call's Idempotency-Key */
    uint32_t attempt;   /* 1: the first */
    uint64_t token;
};

enum ow_outcome_kind {
    OW_OUTCOME_DONE,
    OW_OUTCOME_FAILED,  /* the same message may be handled later */
    OW_OUTCOME_REFUSED, /* it never will be */
    OW_OUTCOME_HELD_UP, /* the handler itself cannot work now; says nothing about the message, and is no attempt */
};

struct ow_outcome {
    uint64_t token;
    enum ow_outcome_kind kind;
    int64_t retry_after_ms; /* FAILED: not before; -1: nothing is said of it */
    bool is_of_target;      /* it tells of what is called, not of the message: the breaker counts it */
    char class[48];         /* what policies name: "http 503", "timeout", "23505"; "" when DONE */
    char reason[512];       /* one line; "" when DONE */
    /* DONE: messages that are to be published with the effect, lent until the next call; they are put into the outbox
       in the transaction of the inbox. */
    const struct ow_message *emitted;
    size_t emitted_count;
};

struct ow_handler;

struct ow_handler_ops {
    const char *name; /* "sql", "http", "exec", "callback" */
    bool in_transaction;

    /* Checks, prepares, starts a program. Errors as the store's; HTTP connects to nothing here. */
    int (*open)(struct ow_handler *handler, struct ow_store *store, struct ow_error *err);

    /* in_transaction: the effects of these tasks, in their order, in the transaction that is open on the store. 0: all
       of them are there. < 0: the transaction is of no use any more; *ret_failed is the index of the task that is to
       blame and `outcome` what became of it, or *ret_failed is `count`: the store itself is in trouble (*err).
       Nothing but the commit comes behind it, so that it may go along with the last statement. */
    int (*run)(struct ow_handler *handler, const struct ow_task *tasks, size_t count, size_t *ret_failed,
               struct ow_outcome *outcome, struct ow_error *err);

    /* Otherwise. The task's bytes live until its outcome or forget(). OW_EAGAIN: full now. */
    int (*start)(struct ow_handler *handler, const struct ow_task *task, struct ow_error *err);
    /* Writes at most `max` outcomes and says how many; fewer than `max`: no more for now. < 0: the handler is broken,
       what it had begun is forgotten, and it may be opened again. */
    int (*step)(struct ow_handler *handler, struct ow_outcome *outcomes, size_t max, struct ow_error *err);
    /* No outcome is wanted any more: the call is given up, or goes on unheard. */
    void (*forget)(struct ow_handler *handler, uint64_t token);
    void (*wait)(struct ow_handler *handler, struct ow_wait *wait);

    void (*close)(struct ow_handler *handler);   /* may be opened again */
    void (*discard)(struct ow_handler *handler); /* closes and frees */
};

struct ow_handler {
    const struct ow_handler_ops *ops;
    /* Whoever made it may set these: what is to be known beside the outcomes, one line each. `is_output`: what a
       program has written to its standard error, which may be much. */
    void (*tell)(void *context, bool is_output, const char *text);
    void *tell_context;
};

#endif
