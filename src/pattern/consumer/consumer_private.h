/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the consumer share. */
#ifndef OW_PATTERN_CONSUMER_CONSUMER_PRIVATE_H
#define OW_PATTERN_CONSUMER_CONSUMER_PRIVATE_H

#include "pattern/consumer/consumer.h"

enum ow_consumer_call_state {
    OW_CALL_FREE,
    OW_CALL_TAKEN,    /* out of its window, and nothing begun */
    OW_CALL_RUNNING,  /* the handler has it */
    OW_CALL_HANDLED,  /* its effect is there; the inbox does not know yet */
    OW_CALL_FAILED,   /* for good: its letter is to be written */
    OW_CALL_SENT,     /* the letter is on its way to the topic */
    OW_CALL_ASIDE,    /* the letter is there, or goes to the inbox alone: to be recorded */
    OW_CALL_REPEATED, /* done with before */
};

/* A message that was taken out of its window, until it is settled or put back. */
struct ow_consumer_call {
    enum ow_consumer_call_state state;
    struct ow_consumer_partition *partition;
    struct ow_slot *slot;
    struct ow_record record;
    struct ow_task task;
    int64_t letter;   /* the number of the letter that it is replayed from; 0 */
    bool is_parked;   /* FAILED … ASIDE: because of a message before it */
    bool is_probe;    /* of the breaker, half open */
    int64_t until_ms; /* of the breaker, when it began: which opening it probes */
    uint32_t generation, next_free;
    struct ow_message **emitted; /* owned */
    size_t emitted_count;
    struct ow_outcome outcome; /* of the last attempt */
};

/* What the window has no place for, by token. */
struct ow_consumer_note {
    int64_t first_failed_ms;   /* monotonic; 0: it has not failed */
    int64_t partition, offset; /* of a letter: where the record stood */
};

struct ow_consumer_partition {
    char *topic; /* NULL: the letters that are replayed */
    int64_t partition;
    struct ow_window window;
    struct ow_consumer_note *notes; /* of window.limits.count_max; NULL while nothing is noted */
    bool is_paused;                 /* this one alone */
    bool is_leaving;
    bool needs_offset;     /* held back until the inbox has said where it begins */
    bool is_gone;          /* somebody else's; to be freed */
    int64_t settle_offset; /* the last that was popped and not settled; -1: nothing */
    uint32_t running;
};

enum ow_consumer_side { OW_SIDE_INBOX, OW_SIDE_HANDLER, OW_SIDE_LETTERS, OW_SIDE_SUBSCRIBER, OW_SIDE_COUNT };

/* --- consumer_call.c: taking, and what becomes of what was taken -------------------------------------------- */

/* NULL: there is none to be had now, or no room. `alone_only`: one that has failed before stands alone in a
   transaction, so it is given only first. */
struct ow_consumer_call *ow_consumer_take(struct ow_consumer *consumer);
struct ow_consumer_call *ow_consumer_find_call(struct ow_consumer *consumer, uint64_t token);
/* Settles it in its window. */
void ow_consumer_finish(struct ow_consumer *consumer, struct ow_consumer_call *call);
/* Back into its window: not before `due_ms`, and, if it counts, with one more failure. */
void ow_consumer_put_back(struct ow_consumer *consumer, struct ow_consumer_call *call, int64_t due_ms, bool counts);
/* A failed attempt: back off, or set aside. */
void ow_consumer_failed(struct ow_consumer *consumer, struct ow_consumer_call *call, const struct ow_outcome *outcome);
/* If it is a probe of the breaker, nothing will come of it. */
void ow_consumer_give_up(struct ow_consumer *consumer, struct ow_consumer_call *call);
/* Forgets everything that was taken of this partition. */
void ow_consumer_forget(struct ow_consumer *consumer, struct ow_consumer_partition *partition);

/* Begins what may begin, outside a transaction. < 0: ends the consumer. */
int ow_consumer_start_calls(struct ow_consumer *consumer, struct ow_error *err);
int ow_consumer_take_outcomes(struct ow_consumer *consumer, struct ow_error *err);
/* Writes letters to their topic and takes receipts. */
int ow_consumer_write_letters(struct ow_consumer *consumer, struct ow_error *err);
/* Records what was handled or set aside, in one transaction, and settles it. */
int ow_consumer_record(struct ow_consumer *consumer, struct ow_error *err);

/* --- consumer_batch.c: effects in the transaction of the inbox ---------------------------------------------- */

int ow_consumer_run_batch(struct ow_consumer *consumer, struct ow_error *err);

/* --- consumer_side.c: opening, trouble -------------------------------------------------------------------- */

int ow_consumer_open_sides(struct ow_consumer *consumer, struct ow_error *err);
/* 0: it will be opened again; < 0: an error that ends the consumer. */
int ow_consumer_side_failed(struct ow_consumer *consumer, enum ow_consumer_side side, struct ow_error *err);
void ow_consumer_side_works(struct ow_consumer *consumer, enum ow_consumer_side side);
bool ow_consumer_is_open(const struct ow_consumer *consumer, enum ow_consumer_side side);
void ow_consumer_close_side(struct ow_consumer *consumer, enum ow_consumer_side side);
int64_t ow_consumer_side_due_ms(const struct ow_consumer *consumer, enum ow_consumer_side side);
void ow_consumer_tell(struct ow_consumer *consumer, enum ow_consumer_event event, const char *format, ...)
    OW_PRINTF(3, 4);

/* --- consumer_partition.c: reading, settling, partitions that come and go ------------------------------------ */

ow_subscriber_listener ow_consumer_on_partition;
/* Reading was held back, and need not be any more: the next step goes on with it. */
bool ow_consumer_may_resume(const struct ow_consumer *consumer);
int ow_consumer_read(struct ow_consumer *consumer, struct ow_error *err);
int ow_consumer_read_letters(struct ow_consumer *consumer, struct ow_error *err);
int ow_consumer_settle(struct ow_consumer *consumer, bool at_once, struct ow_error *err);
/* Frees what is somebody else's by now. */
void ow_consumer_sweep(struct ow_consumer *consumer);
void ow_consumer_drop_partitions(struct ow_consumer *consumer);
struct ow_consumer_note *ow_consumer_note(struct ow_consumer_partition *partition, const struct ow_slot *slot);

static inline int64_t ow_consumer_now_ms(const struct ow_consumer *consumer)
{
    return consumer->options.world.now_ms(consumer->options.world.context);
}

#endif
