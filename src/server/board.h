/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Board: where pipelines tell how they are, for others to read. A pipeline writes its own desk of it, from its own
 * thread and not more often than every 100 ms; whoever reads gets copies. One lock, held for a copy only.
 */
#ifndef OW_SERVER_BOARD_H
#define OW_SERVER_BOARD_H

#include "pattern/consumer/consumer.h"
#include "pattern/relay/relay.h"

enum {
    OW_BOARD_EVERY_MS = 100,
    OW_BOARD_PLACES_MAX = 4096, /* partitions of one consumer that are told of */
};

enum ow_work_kind { OW_WORK_RELAY, OW_WORK_CONSUMER };
enum ow_work_state {
    OW_WORK_STARTING,
    OW_WORK_STANDBY, /* a relay, while another one works */
    OW_WORK_WORKING,
    OW_WORK_PAUSED, /* a consumer, by an operator */
    OW_WORK_TROUBLE,
    OW_WORK_STOPPED,
    OW_WORK_FAILED, /* ended by an error */
};
/* "standing_by" */
const char *ow_work_state_name(enum ow_work_state state);
const char *ow_breaker_state_name(enum ow_breaker_state state);

struct ow_snapshot {
    enum ow_work_state state;
    char trouble[400];         /* why, in TROUBLE, STANDBY and FAILED; else empty */
    uint64_t troubles;         /* times that a side failed and was tried again until it worked */
    uint64_t in_flight, bytes; /* messages that were read and are not settled, and their size in memory */
    int64_t retained_bytes;    /* of a relay: the log that its database keeps for it; -1: not known, or none */
    int64_t oldest_ms;         /* the time of the oldest of them, wall clock; 0: none, or not known */
    struct ow_relay_counters relay;
    struct ow_consumer_counters consumer;
    uint32_t calls; /* of a consumer, now */
    enum ow_breaker_state breaker;
};

/* A partition of a consumer; -1: not known. */
struct ow_place_at {
    char topic[256];
    int64_t partition;
    struct ow_standing at;
    int64_t oldest_ms; /* wall clock: when the oldest record that is not settled was written or, where none of them has
                          been read yet, since when there are such; 0: there is none */
    int64_t unread_ms; /* the latter, for who tells it */
};
/* How many records are still to be settled; -1: not known. */
int64_t ow_place_lag(const struct ow_place_at *place);

/* Of a relay: what stands in its store and is not published yet; -1: not known. */
struct ow_backlog {
    int64_t messages;
    int64_t oldest_ms;                 /* wall clock; 0: there is none */
    int64_t log_bytes, retained_bytes; /* behind what is confirmed, and kept for it */
};

/* Dead letters of one source in one state. */
struct ow_letter_count {
    char source[140]; /* "polling", a slot, "consumer/NAME" */
    char state[16];
    int64_t count;
};

struct ow_desk;
struct ow_board;

int ow_board_new(struct ow_board **ret, struct ow_error *err) OW_MUST_CHECK;
/* All desks have been removed. NULL is allowed. */
void ow_board_free(struct ow_board *board);

/* wake_fd is an eventfd of the pipeline, which is written when somebody wants something of it; it must outlive the
   desk. The texts are copied. */
int ow_board_add(struct ow_board *board, enum ow_work_kind kind, const char *name, const char *from, const char *to,
                 int wake_fd, struct ow_desk **ret, struct ow_error *err) OW_MUST_CHECK;
void ow_board_remove(struct ow_desk *desk); /* NULL is allowed */

/* --- the pipeline's side -------------------------------------------------------------------------------- */

void ow_desk_tell(struct ow_desk *desk, const struct ow_snapshot *snapshot);
/* The places replace those of before; what there is no memory for is left out. */
void ow_desk_tell_places(struct ow_desk *desk, const struct ow_place_at *places, size_t count);
bool ow_desk_is_to_pause(const struct ow_desk *desk);

/* --- the side of who asks stores ------------------------------------------------------------------------ */

/* What was told last stays, also when a store cannot be asked for a while. Nobody by this name: nothing happens. */
void ow_board_tell_backlog(struct ow_board *board, const char *relay, const struct ow_backlog *backlog);
/* Dead letters of a relay or consumer that wait for a person, what is parked behind included. */
void ow_board_tell_letters(struct ow_board *board, const char *pipeline, int64_t open);
/* The counts replace those of before; NULL: they stay as they are. What there is no memory for is left out. */
void ow_board_tell_store(struct ow_board *board, const char *store, bool has_answered,
                         const struct ow_letter_count *letters, size_t letter_count);
void ow_board_forget_stores(struct ow_board *board);

/* --- the reader's side ---------------------------------------------------------------------------------- */

struct ow_board_line {
    enum ow_work_kind kind;
    char *name, *from, *to;
    struct ow_snapshot now;
    struct ow_place_at *places;
    size_t place_count;
    struct ow_backlog backlog;
    int64_t letters; /* open ones; -1: not known */
};
struct ow_board_store {
    char *name;
    bool has_answered; /* when it was asked last */
    struct ow_letter_count *letters;
    size_t letter_count;
};
struct ow_board_view {
    struct ow_board_line *lines; /* relays first, each kind in the order in which they were added */
    size_t count;
    struct ow_board_store *stores; /* in the order in which they answered first */
    size_t store_count;
};
int ow_board_read(struct ow_board *board, struct ow_board_view *ret, struct ow_error *err) OW_MUST_CHECK;
void ow_board_view_done(struct ow_board_view *view);
/* The sum of what is known of its partitions; -1: nothing is known. */
int64_t ow_board_lag(const struct ow_board_line *line);
/* Of a relay, the log that its database keeps for it: as was asked, for a relay that is held up by a broker may have
   looked long ago, or else as it tells itself; -1: not known, or there is none. */
int64_t ow_board_retained(const struct ow_board_line *line);
/* Since when the record is there that waits longest in any of them, wall clock; 0: there is none; -1: nothing is known.
 */
int64_t ow_board_behind_since(const struct ow_board_line *line);
/* OW_ENOTFOUND: there is no such consumer. It is paused until it is resumed or started anew. */
int ow_board_pause(struct ow_board *board, const char *name, bool is_to_pause, struct ow_error *err) OW_MUST_CHECK;

#endif
