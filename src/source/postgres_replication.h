/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replication connection: PostgreSQL's stream of changes, over libpq, without ever waiting inside a call once it
 * streams. Private to src/source.
 *
 * The server writes each message by itself. Who wakes up for each of them burns two processors, and each is carried
 * through the whole of TCP at the cost of the server's process, which is what decoding waits for. So while the reader
 * is behind it leaves what comes alone for some milliseconds: then most of it gathers at the server, and comes in one
 * piece (docs/benchmarks.md). Caught up, it waits for the first byte.
 */
#ifndef OW_SOURCE_POSTGRES_REPLICATION_H
#define OW_SOURCE_POSTGRES_REPLICATION_H

#include "base/wait.h"
#include "codec/pgoutput.h"
#include "store/postgres.h"

/* A server that says nothing for half of this is asked to, and is taken for gone after the whole. */
enum { OW_PG_SILENT_MS = 60000 };

struct ow_pg_replication {
    const char *shown;       /* the caller's: how messages call the server */
    char *system_identifier; /* owned */
    uint64_t wal_end;        /* how far the server's log was written when we connected */
    int server_version;      /* 150018 */
    uint64_t received;       /* how far the server has read and sent */
    uint64_t flushed;        /* what the next status says may be forgotten; 0: nothing yet. Never goes back */
    /* private */
    struct pg_conn *conn;
    char *held; /* libpq's buffer with the frame that was given out last */
    bool is_streaming, is_behind;
    size_t drained, frames; /* bytes and messages that were read since look_ms */
    int64_t look_ms;        /* when it was seen last whether it is behind */
    size_t gulp;            /* bytes that were read since it was left to gather, */
    int64_t gulp_us;        /* for so long, */
    int64_t gulp_us_max;    /* at most; 0: it never was behind */
    int64_t gulp_due_us;    /* when the next one may be read */
    uint64_t told;          /* flushed, as the server knows it */
    int64_t status_due_ms;
    int64_t quiet_since_ms, asked_ms; /* 0: something has just come; it was not asked since */
};

/* Connects and identifies the system. OW_EDENIED names the right that is missing; others as the store's. */
int ow_pg_replication_open(struct ow_pg_replication *r, const char *url, const char *shown,
                           struct ow_error *err) OW_MUST_CHECK;
void ow_pg_replication_close(struct ow_pg_replication *r); /* tells the server once more what may be forgotten */
static inline bool ow_pg_replication_is_open(const struct ow_pg_replication *r)
{
    return r->conn != NULL;
}

/* Asks for the slot. What it needs of the server may take as long as the oldest transaction there:
   ow_pg_replication_created() says when it is made: 1, with the LSN at which its stream begins and the name of the
   snapshot that shows everything before it (the caller frees it); 0: not yet; < 0: OW_EBUSY if it was there already. */
int ow_pg_replication_create(struct ow_pg_replication *r, const char *slot, struct ow_error *err) OW_MUST_CHECK;
int ow_pg_replication_created(struct ow_pg_replication *r, uint64_t *ret_lsn, char **ret_snapshot,
                              struct ow_error *err) OW_MUST_CHECK;

/* Begins to stream from where the slot stands. OW_ESTANDBY: another one streams from it; the text has its pid. */
int ow_pg_replication_start(struct ow_pg_replication *r, const char *slot, const char *publication, bool has_messages,
                            struct ow_error *err) OW_MUST_CHECK;
/* 1: a frame, which lives until the next call; 0: none now; < 0. To be called every few seconds while it streams, or
   what ends by OW_PG_SILENT_MS ends later. */
int ow_pg_replication_next(struct ow_pg_replication *r, struct ow_pg_frame *ret, struct ow_error *err) OW_MUST_CHECK;
/* Sends a status if it is due or `now` is said; `wants_reply`: and asks the server how far it is. */
int ow_pg_replication_status(struct ow_pg_replication *r, bool now, bool wants_reply,
                             struct ow_error *err) OW_MUST_CHECK;
/* The socket, for who is going to read. */
void ow_pg_replication_wait(struct ow_pg_replication *r, struct ow_wait *wait);

#endif
