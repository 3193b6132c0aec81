/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipeline: a relay or a consumer, with what it reads and what it writes, in a thread of its own. Everything of it
 * belongs to that thread from ow_pipeline_start() on, but for the calls named below; what happens is told to the log.
 */
#ifndef OW_CMD_PIPELINE_H
#define OW_CMD_PIPELINE_H

#include "config/consumer.h"
#include "pattern/relay/relay.h"
#include "server/board.h"

struct ow_pipeline;
struct ow_work;

/* What a pipeline does: a relay (pipeline_relay.c), a consumer (pipeline_consumer.c). */
struct ow_work_ops {
    const char *what; /* "relay" */
    int (*open)(struct ow_work *work, struct ow_error *err);
    int (*step)(struct ow_work *work, struct ow_wait *wait, struct ow_error *err);
    void (*drain)(struct ow_work *work);
    bool (*is_idle)(struct ow_work *work);
    /* How it is, between two steps. `end`: what it ended with, or NULL. */
    void (*look)(struct ow_work *work, const struct ow_error *end, struct ow_snapshot *ret);
    /* Where it stands in its partitions. NULL: it has none. *ret is freed by the caller. */
    size_t (*look_at_places)(struct ow_work *work, struct ow_place_at **ret);
    void (*pause)(struct ow_work *work, bool is_to_pause);              /* NULL: it cannot be paused */
    void (*tell_end)(struct ow_work *work, const struct ow_error *end); /* code 0: it was told to stop, or is done */
    void (*close)(struct ow_work *work);                                /* at the end of its thread */
    void (*free)(struct ow_work *work);
};
struct ow_work {
    const struct ow_work_ops *ops;
    enum ow_work_kind kind;
    const char *name, *from, *to;       /* to: of a consumer its handler */
    const struct ow_pipeline *pipeline; /* set by ow_pipeline_new() */
};

/* The work is taken over, also on failure. ended_fd: an eventfd that is written when the thread ends; -1: none. */
int ow_pipeline_new(struct ow_work *work, bool ends_when_idle, int ended_fd, struct ow_pipeline **ret,
                    struct ow_error *err) OW_MUST_CHECK;
/* Whether work that has to wait may go on with that: who was told to stop has so long. Any thread. */
bool ow_pipeline_may_wait(const struct ow_pipeline *pipeline);

struct ow_relay_pipeline_options {
    const char *name, *from, *to; /* for the log; copied */
    struct ow_source *source;     /* taken over, also on failure */
    struct ow_broker *broker;
    struct ow_relay_options relay;           /* listener and world are set here */
    void (*free_shape)(void *shape_context); /* relay.shape_context is taken over, as source and broker; may be NULL */
    bool ends_when_idle;                     /* the end of the backlog is the end of the pipeline */
    int ended_fd;
};
int ow_relay_pipeline_new(const struct ow_relay_pipeline_options *options, struct ow_pipeline **ret,
                          struct ow_error *err) OW_MUST_CHECK;

/* The parts are taken over, also on failure. */
int ow_consumer_pipeline_new(struct ow_consumer_parts *parts, const char *from, bool ends_when_idle, int ended_fd,
                             struct ow_pipeline **ret, struct ow_error *err) OW_MUST_CHECK;

/* Before start(): from then on it tells the board how it is, until it is freed. */
int ow_pipeline_attach(struct ow_pipeline *pipeline, struct ow_board *board, struct ow_error *err) OW_MUST_CHECK;
/* Connects both sides. What cannot be reached, a file that is not there included, is OW_EUNREACHABLE. To stand by
   behind another relay is no error. */
int ow_pipeline_open(struct ow_pipeline *pipeline, struct ow_error *err) OW_MUST_CHECK;
int ow_pipeline_start(struct ow_pipeline *pipeline, struct ow_error *err) OW_MUST_CHECK;

/* Any thread: it stops reading, waits at most 5 s for what is in flight, and ends. */
void ow_pipeline_stop(struct ow_pipeline *pipeline);
/* Any thread: whether the thread has ended. */
bool ow_pipeline_has_ended(const struct ow_pipeline *pipeline);
/* Waits for its end; 0, or the error that it ended with. */
int ow_pipeline_join(struct ow_pipeline *pipeline, struct ow_error *err);
/* Stops and joins it if it runs. NULL is allowed. */
void ow_pipeline_free(struct ow_pipeline *pipeline);

#endif
