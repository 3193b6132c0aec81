/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Window: the messages between a source and a broker. It takes verdicts in any order and gives one
 * durable position; it holds the later messages of a key while an earlier one is tried again; and it is
 * bounded in count and in bytes.
 *
 * A slot is one message. Its states:
 *
 *            admit
 *              |
 *     +--------+--------+
 *     v                 v
 *   READY <---------- HELD      an earlier message of its key is not settled
 *     |  ^              ^       (or, where the broker keeps order, is being tried again)
 *  take  | due          | later
 *     v  |              |
 *   SENT -> BACKOFF ----+       retry; a later one of a key that backs off goes to HELD
 *     |
 *     v settle
 *   SETTLED  -> popped when everything before it is settled too
 *
 * Two kinds of broker:
 *  keeps_order     any number of messages of a key may be in flight. The broker promises: what was sent
 *                  first is accepted first, and if a message of a key comes back for a retry, every later
 *                  one of that key in flight comes back too.
 *  !keeps_order    at most one message of a key is READY, SENT or in BACKOFF.
 * Messages with a null key have no order among themselves.
 *
 * Cost per message: one look-up in a table, no allocation after ow_window_init(). One thread.
 */
#ifndef OW_CORE_WINDOW_H
#define OW_CORE_WINDOW_H

#include "core/message.h"

/* What keeps its order. A relay has OW_ORDER_KEY. */
enum ow_window_order {
    OW_ORDER_KEY, /* messages of a key; those with a null key have none */
    OW_ORDER_ALL, /* all of them, as if they had one key */
    OW_ORDER_NONE,
};

struct ow_window_limits {
    uint32_t count_max; /* messages, 1 .. 1,000,000; default 10,000 */
    size_t bytes_max;   /* of ow_message_size(); default 16 MiB. One message larger than this is admitted alone */
    bool keeps_order;   /* as the broker declares */
    enum ow_window_order order;
};
extern const struct ow_window_limits ow_window_limits_default; /* keeps_order: false */

enum ow_slot_state { OW_SLOT_FREE, OW_SLOT_READY, OW_SLOT_HELD, OW_SLOT_SENT, OW_SLOT_BACKOFF, OW_SLOT_SETTLED };

struct ow_slot {
    struct ow_message *message; /* owned by the window from admission to ow_window_pop() */
    uint64_t token;             /* counts from 1 in the order of the source; what a broker is given */
    size_t size;
    uint32_t failures; /* attempts that failed */
    enum ow_slot_state state;
    bool is_retrying;   /* was in BACKOFF at least once */
    bool is_aside;      /* settled by being set aside, not by being accepted */
    bool is_unfit;      /* the caller's: it will never be sent, only set aside */
    bool is_dropped;    /* the caller's: it will never be sent, only settled */
    int64_t due_ms;     /* in BACKOFF: monotonic */
    int64_t failing_ms; /* the caller's: when it failed first */
    /* private to window.c */
    uint32_t key, next_of_key, list_next, list_previous;
};

struct ow_window {
    struct ow_window_limits limits;
    uint32_t count;   /* slots in use */
    uint32_t settled; /* of them, settled but not popped */
    size_t bytes;
    /* private to window.c */
    struct ow_slot *slots;
    struct ow_window_key *keys;
    uint32_t *table;
    uint32_t mask, table_mask, free_key, backoff_count, sent_count;
    int64_t due_min_ms;
    uint64_t head, tail; /* tokens: head is the oldest in use, tail the next to be given */
    uint32_t ready_first, ready_last;
};

int ow_window_init(struct ow_window *window, const struct ow_window_limits *limits, struct ow_error *err) OW_MUST_CHECK;
void ow_window_done(struct ow_window *window);  /* frees the messages in it */
void ow_window_clear(struct ow_window *window); /* the same, and it is empty; tokens go on counting */

/* Whether one more message of `size` bytes may be admitted. */
bool ow_window_has_room(const struct ow_window *window, size_t size);
/* Takes the message over (positions must rise). The caller has asked ow_window_has_room(). */
struct ow_slot *ow_window_admit(struct ow_window *window, struct ow_message *message);

/* The next message to send, oldest first; it is SENT from now on. NULL: none may be sent now. */
struct ow_slot *ow_window_take(struct ow_window *window);
bool ow_window_has_ready(const struct ow_window *window);
/* Puts back what was just taken and not sent after all (the broker said OW_EAGAIN). Only the newest taken. */
void ow_window_put_back(struct ow_window *window, struct ow_slot *slot);
/* The slot of a token that is SENT; NULL for any other token: a receipt that comes late or twice. */
struct ow_slot *ow_window_find(struct ow_window *window, uint64_t token);

/* SENT -> SETTLED: accepted, or set aside. */
void ow_window_settle(struct ow_window *window, struct ow_slot *slot, bool is_aside);
/* SENT -> BACKOFF (or HELD, behind an earlier one of its key). Counts a failure if `counts`. */
void ow_window_retry(struct ow_window *window, struct ow_slot *slot, int64_t due_ms, bool counts);
/* The broker has forgotten what was in flight: everything SENT may be sent again, in its old order. */
void ow_window_recall(struct ow_window *window);
/* Moves what is due at now_ms to READY. */
void ow_window_wake(struct ow_window *window, int64_t now_ms);
/* When ow_window_wake() has something to do; INT64_MAX: nothing waits. */
int64_t ow_window_due_ms(const struct ow_window *window);

/* Oldest first: the message of the oldest slot if it is settled, else NULL. The caller frees it and, once
   its position is confirmed, nothing remembers it. */
struct ow_message *ow_window_pop(struct ow_window *window, bool *ret_is_aside);

/* The oldest message in the window, its own; NULL: it is empty. */
const struct ow_message *ow_window_oldest(const struct ow_window *window);
/* Whether a message at this position is in the window. */
bool ow_window_has(const struct ow_window *window, struct ow_position position);
/* How many slots are SENT. */
uint32_t ow_window_in_flight(const struct ow_window *window);
/* The position up to which everything would be settled if all that is SENT were accepted now: what a
   broker with transactions stores beside them. False: there is no such position. */
bool ow_window_position_if_accepted(const struct ow_window *window, struct ow_position *ret);

/* Whether others wait behind messages of this slot's key: more than one of it is not settled, and they are more than
   half of what the window may hold, in count or in bytes. */
bool ow_window_is_hogged(const struct ow_window *window, const struct ow_slot *slot);

/* The token of the oldest slot, at or after `from`, that is neither SENT nor SETTLED; if there is none, the
   token that the next message will get. */
uint64_t ow_window_next_open(const struct ow_window *window, uint64_t from);

/* Checks every promise of this header; for tests and the simulator. NULL, or what does not hold. */
const char *ow_window_broken(const struct ow_window *window);

#endif
