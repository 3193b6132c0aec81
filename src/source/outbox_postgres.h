/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to outbox_postgres*.c: an outbox table in PostgreSQL by polling, shared by several relays.
 *
 * Shards. A key belongs to shard hash(aggregateid) % N. Each shard has one holder at a time, by a row of
 * onewrite.lease: its epoch grows with each holder, and every statement that forgets rows has the epochs in it.
 * A lease lasts 5 s and is renewed every 1.5 s. Beside it the holder's session has an advisory lock whose key is
 * made of shard and epoch; whoever can take that lock knows that the holder's connection has ended, and need not
 * wait for the 5 s. With more relays than before each gives up what is over its share, after what is in flight
 * of it was confirmed.
 *
 * Order. There is no cursor in the database: what is in the table and was not yielded yet is read in the order of
 * seq, in one snapshot. Of two messages of one key whose transactions serialise on the key before they insert,
 * the first has the lower seq and is visible in every snapshot that shows the second.
 *
 * Positions must rise, and a row may become visible late, below others that were yielded. Its position is then
 * (highest seq yielded so far, 1, 2 …); a row in its turn has (seq, 0). Which row a position stands for is kept in
 * `entries` until it is confirmed, also while the connection is away.
 *
 * The floor. Deleted rows stay in the index until vacuum, so that a read from the beginning would get slower with
 * every row that was ever published. Below `floor` every row was yielded: numbers up to `settled_seq` were given
 * out to transactions that have all ended (each holds a lock on the table until then), so that a snapshot taken
 * later shows all of them that there will ever be.
 * A transaction that stays open must not hold the floor back. It is late after a while: the floor passes it, and
 * goes back to the first number that it may have (`above`) when it ends. Whoever reads above it looks, after the
 * read and before a row of it is yielded, whether it is still there: a snapshot taken before that does not show it,
 * nor a later message of one of its keys. Else the rows are read again, with those of it.
 *
 * Reading ahead. While a batch is yielded the next one is on its way; whatever else the connection is used for waits
 * for it, and tend() takes it in as it comes, so that no snapshot stays open while a broker is away.
 */
#ifndef OW_SOURCE_OUTBOX_POSTGRES_H
#define OW_SOURCE_OUTBOX_POSTGRES_H

#include <libpq-fe.h>

#include "source/dead_letters.h"
#include "source/source.h"
#include "store/postgres.h"

enum ow_pg_shard_state { OW_PG_SHARD_FREE, OW_PG_SHARD_OURS, OW_PG_SHARD_LEAVING };

struct ow_pg_shard {
    enum ow_pg_shard_state state;
    int64_t epoch;        /* while it is ours; after a lost connection what it was */
    int64_t base;         /* of a partitioned outbox: rows of it below this are accepted */
    uint32_t outstanding; /* entries of it */
};

struct ow_pg_entry { /* a row that was yielded and is not confirmed */
    struct ow_position position;
    int64_t seq;
    uint32_t shard;
    bool is_done;
};

struct ow_pg_writer { /* a transaction that has written to the outbox, or is about to */
    uint64_t id;      /* made of its name */
    int64_t above;    /* its numbers are higher than this one */
    int64_t since_ms; /* seen first */
    bool is_there;    /* at the last look */
    bool is_prepared;
};

struct ow_pg_chunk;

struct ow_pg_outbox {
    struct ow_source base;
    struct ow_outbox_postgres_options options;
    char *url, *shown;
    char holder[96];
    struct ow_store *store;
    PGconn *conn; /* the store's */
    struct ow_buf identity;
    struct ow_dead_letters letters;
    bool letters_are_old; /* their keys are to be read */
    /* shards */
    struct ow_pg_shard shards[OW_OUTBOX_SHARDS_MAX];
    uint32_t shard_count;
    bool has_agreed;     /* with the others on shard_count, on this connection */
    bool has_lost_shard; /* somebody else has worked on what was ours */
    int64_t next_renew_ms, next_balance_ms, next_alive_ms;
    /* entries[head … tail), positions rising */
    struct ow_pg_entry *entries;
    size_t head, tail, capacity;
    struct ow_position last;
    /* reading */
    PGresult *batch, *ahead; /* what is yielded, from `row` on; what comes after it */
    int row, batch_rows, ahead_rows;
    bool is_reading;                  /* the answer is not here yet */
    bool is_void;                     /* it will not count */
    bool is_careful, reads_careful;   /* the next read, and that one, go by bytes: there are large rows */
    int64_t read_floor, read_settled; /* when the last read was sent */
    /* the floor */
    int64_t floor, settled_seq, looked_seq;
    int64_t ended_seq; /* numbers up to it were given out to transactions that have all ended, the late ones too */
    struct ow_pg_writer *writers;
    size_t writer_count, late_count;
    /* a partitioned outbox */
    bool is_partitioned, needs_accepted; /* the bits are to be read: of shards that were not ours */
    int64_t below;                       /* what is of our shards below it is accepted */
    int64_t batch_floor;
    struct ow_pg_chunk *chunks; /* rising */
    size_t chunk_count;
    struct ow_buf bits;
    bool listens;
    int64_t next_look_ms, next_reset_ms;
    int64_t poll_ms, next_poll_ms, next_purge_ms;
    struct ow_buf parameter, names, epochs, scratch;
    struct ow_header headers[256];
};

/* Takes what shards can be had. OW_ESTANDBY: none, or some that were ours went to somebody else. */
int ow_pg_leases_open(struct ow_pg_outbox *o, struct ow_error *err) OW_MUST_CHECK;
/* Renews, takes, gives up, when it is time. OW_ESTANDBY: a lease was lost. */
int ow_pg_leases_tend(struct ow_pg_outbox *o, int64_t now_ms, struct ow_error *err) OW_MUST_CHECK;
/* Gives up all of them, as far as the connection can. */
void ow_pg_leases_close(struct ow_pg_outbox *o);
/* Fills o->names and o->epochs with arrays of what is held. */
int ow_pg_leases_list(struct ow_pg_outbox *o, struct ow_error *err) OW_MUST_CHECK;
/* Notes it: OW_ESTANDBY, always. */
int ow_pg_leases_lost(struct ow_pg_outbox *o, struct ow_error *err);
uint32_t ow_pg_leases_held(const struct ow_pg_outbox *o);

/* A statement prepared as `name`; text parameters; the result in `format` (0 text, 1 binary). */
int ow_pg_outbox_exec(struct ow_pg_outbox *o, const char *name, int count, const char *const *values,
                      const int *lengths, const int *formats, int format, PGresult **ret,
                      struct ow_error *err) OW_MUST_CHECK;

/* The one result of what was sent. */
int ow_pg_outbox_take_result(struct ow_pg_outbox *o, bool was_sent, PGresult **ret, struct ow_error *err) OW_MUST_CHECK;
int ow_pg_outbox_make_room(struct ow_pg_outbox *o, struct ow_error *err) OW_MUST_CHECK;

static inline struct ow_pg_outbox *ow_pg_outbox_of(struct ow_source *source)
{
    return (struct ow_pg_outbox *)source;
}

/* --- reading (outbox_postgres_read.c) --- */

/* bigint[] in binary, as a parameter. */
void ow_pg_array_begin(struct ow_buf *to);
void ow_pg_array_add(struct ow_buf *to, int64_t value);
int ow_pg_array_end(struct ow_buf *to, struct ow_error *err) OW_MUST_CHECK;

int ow_pg_outbox_next(struct ow_source *source, struct ow_message *ret, struct ow_error *err);
void ow_pg_outbox_wait(struct ow_source *source, struct ow_wait *wait);
/* Waits for the read that is under way, if there is one. */
int ow_pg_outbox_end_read(struct ow_pg_outbox *o, struct ow_error *err) OW_MUST_CHECK;
/* Takes in what has come of it, without waiting. */
int ow_pg_outbox_tend_read(struct ow_pg_outbox *o, struct ow_wait *wait, struct ow_error *err) OW_MUST_CHECK;
/* What was read ahead does not count, and is read again. */
void ow_pg_outbox_drop_ahead(struct ow_pg_outbox *o);

/* --- the floor (outbox_postgres_floor.c) --- */

/* From the beginning again: rows of a shard that was not ours before, and what is left of a batch, lie below it. */
void ow_pg_outbox_reset_floor(struct ow_pg_outbox *o);
/* Another connection, or numbers that were set back: what was known of the writers does not hold any more. */
void ow_pg_outbox_forget_writers(struct ow_pg_outbox *o);
/* Moves settled_seq on, if it is time to look, or must be. 1: a late transaction has ended, and the floor went back;
   what was read ahead is dropped. */
int ow_pg_outbox_look(struct ow_pg_outbox *o, int64_t now_ms, bool must, struct ow_error *err) OW_MUST_CHECK;
/* The newest number that the table has given out. */
int ow_pg_outbox_last_seq(struct ow_pg_outbox *o, int64_t *ret, struct ow_error *err) OW_MUST_CHECK;

/* --- a partitioned outbox (outbox_postgres_rotate.c) --- */

/* Whether it is one. */
int ow_pg_accepted_open(struct ow_pg_outbox *o, struct ow_error *err) OW_MUST_CHECK;
/* What others have accepted above the base. */
int ow_pg_accepted_load(struct ow_pg_outbox *o, struct ow_error *err) OW_MUST_CHECK;
bool ow_pg_accepted_has(const struct ow_pg_outbox *o, int64_t seq);
/* Sorts `seqs`, and fills o->parameter and o->bits for the statement that records them. */
int ow_pg_accepted_encode(struct ow_pg_outbox *o, int64_t *seqs, size_t count, struct ow_error *err) OW_MUST_CHECK;
int ow_pg_accepted_note(struct ow_pg_outbox *o, const int64_t *seqs, size_t count, struct ow_error *err) OW_MUST_CHECK;
void ow_pg_outbox_move_base(struct ow_pg_outbox *o);
/* Empties partitions in which nothing waits. */
int ow_pg_outbox_rotate(struct ow_pg_outbox *o, struct ow_error *err) OW_MUST_CHECK;

#endif
