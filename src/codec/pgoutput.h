/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgoutput: what PostgreSQL's logical decoding writes with its own plugin, protocol versions 1 to 4, and the
 * frames of the replication stream around it. (Format: PostgreSQL's manual, "Logical Replication Message Formats" and
 * "Streaming Replication Protocol".)
 *
 * A frame or message is read as a whole and checked to its last byte before anything of it is given out, so that
 * going through its columns cannot fail. Nothing is copied: every struct ow_bytes points into what was read. A log
 * sequence number (LSN) is a byte offset in the server's log; times are microseconds since 2000-01-01 UTC.
 */
#ifndef OW_CODEC_PGOUTPUT_H
#define OW_CODEC_PGOUTPUT_H

#include "base/bytes.h"

#define OW_PG_EPOCH_MS INT64_C(946684800000) /* 2000-01-01 UTC in milliseconds since 1970 */

/* --- frames ------------------------------------------------------------------------------------------- */

enum ow_pg_frame_kind { OW_PG_DATA, OW_PG_KEEPALIVE };

struct ow_pg_frame {
    enum ow_pg_frame_kind kind;
    uint64_t start_lsn; /* of DATA */
    uint64_t end_lsn;   /* how far the server has read */
    int64_t time_us;
    bool wants_reply;     /* of KEEPALIVE */
    struct ow_bytes data; /* of DATA: one message */
};

/* OW_ECORRUPT: no such frame. */
int ow_pg_frame_read(struct ow_bytes bytes, struct ow_pg_frame *ret, struct ow_error *err) OW_MUST_CHECK;

#define OW_PG_STATUS_SIZE 34
/* The client's standby status: what was received and what the server may forget (0: says nothing). */
void ow_pg_status_write(uint64_t received_lsn, uint64_t flushed_lsn, int64_t time_us, bool wants_reply,
                        char to[OW_PG_STATUS_SIZE]);

/* --- messages ----------------------------------------------------------------------------------------- */

/* X(name, letter) */
#define OW_PGOUTPUT_KINDS(X) \
    X(BEGIN, 'B')            \
    X(COMMIT, 'C')           \
    X(ORIGIN, 'O')           \
    X(RELATION, 'R')         \
    X(TYPE, 'Y')             \
    X(INSERT, 'I')           \
    X(UPDATE, 'U')           \
    X(DELETE, 'D')           \
    X(TRUNCATE, 'T')         \
    X(MESSAGE, 'M')          \
    X(STREAM_START, 'S')     \
    X(STREAM_STOP, 'E')      \
    X(STREAM_COMMIT, 'c')    \
    X(STREAM_ABORT, 'A')

enum ow_pgoutput_kind {
#define OW_PGOUTPUT_ENUM(name, letter) OW_PGOUTPUT_##name = letter,
    OW_PGOUTPUT_KINDS(OW_PGOUTPUT_ENUM)
#undef OW_PGOUTPUT_ENUM
};

enum ow_pg_value_kind {
    OW_PG_NULL = 'n',
    OW_PG_UNCHANGED = 'u', /* a large value that an update did not touch: it is not in the stream */
    OW_PG_TEXT = 't',
    OW_PG_BINARY = 'b',
};

struct ow_pg_value {
    enum ow_pg_value_kind kind;
    struct ow_bytes bytes; /* null unless TEXT or BINARY */
};

struct ow_pg_tuple { /* values in the order of the relation's columns */
    unsigned count;
    struct ow_bytes raw;
};

struct ow_pg_column {
    bool is_key;
    struct ow_bytes name;
    uint32_t type; /* OID */
    int32_t modifier;
};

struct ow_pg_relation {
    uint32_t id;                  /* OID; what rows refer to */
    struct ow_bytes schema, name; /* schema "": pg_catalog */
    char identity;                /* d: primary key, n: nothing, f: the whole row, i: an index */
    unsigned column_count;
    struct ow_bytes raw;
};

struct ow_pgoutput {
    enum ow_pgoutput_kind kind;
    uint32_t xid; /* BEGIN, STREAM_*; inside a stream also of every change: of its (sub)transaction. Else 0 */
    union {
        struct { /* BEGIN: commit_lsn and time; COMMIT, STREAM_COMMIT: all */
            uint64_t commit_lsn, end_lsn;
            int64_t time_us;
        } transaction;
        struct {
            uint64_t lsn;
            struct ow_bytes name;
        } origin;
        struct ow_pg_relation relation;
        struct {
            uint32_t id;
            struct ow_bytes schema, name;
        } type;
        struct { /* INSERT, UPDATE, DELETE */
            uint32_t relation;
            char old_kind; /* K: the key, O: the whole old row, 0: there is none */
            bool has_new;
            struct ow_pg_tuple old_row, new_row;
        } row;
        struct {
            uint32_t count;
            bool is_cascade, restarts_identity;
            struct ow_bytes raw; /* count OIDs of four bytes */
        } truncate;
        struct {
            bool is_transactional;
            uint64_t lsn;
            struct ow_bytes prefix, content;
        } message;
        struct {
            bool is_first; /* STREAM_START */
        } stream;
        struct {
            uint32_t subxid; /* equal to xid: the whole transaction */
        } abort;
    };
};

/* One message. `in_stream`: it stands between STREAM_START and STREAM_STOP, where changes carry their xid.
   OW_ECORRUPT: it is no such message. OW_EUNSUPPORTED: a kind that was never asked for (two-phase). */
int ow_pgoutput_read(struct ow_bytes bytes, bool in_stream, struct ow_pgoutput *ret,
                     struct ow_error *err) OW_MUST_CHECK;

/* Goes through values or columns: start with a copy of the tuple or relation; each call takes one from its front. */
struct ow_pg_value ow_pg_next_value(struct ow_pg_tuple *rest);           /* while rest->count > 0 */
struct ow_pg_column ow_pg_next_column(struct ow_pg_relation *rest);      /* while rest->column_count > 0 */
uint32_t ow_pg_truncated(const struct ow_pgoutput *message, uint32_t i); /* OID of the i-th table of a TRUNCATE */

/* --- text forms --------------------------------------------------------------------------------------- */

#define OW_PG_LSN_TEXT_SIZE 20
char *ow_pg_lsn_format(uint64_t lsn, char to[OW_PG_LSN_TEXT_SIZE]); /* "16/B374D848" */
int ow_pg_lsn_parse(struct ow_bytes text, uint64_t *ret, struct ow_error *err) OW_MUST_CHECK;
/* What bytea looks like as text, "\x48656c6c6f", appended as bytes. OW_EINVALID: it is not that. */
int ow_pg_bytea_decode(struct ow_buf *to, struct ow_bytes text, struct ow_error *err) OW_MUST_CHECK;
/* A timestamp as text in ISO style, "2026-11-21 13:55:55.123456+01"; without an offset it counts as UTC. Milliseconds
   since 1970. OW_EINVALID: it is not that, or infinite, or before the common era. */
int ow_pg_time_parse(struct ow_bytes text, int64_t *ret_ms, struct ow_error *err) OW_MUST_CHECK;

#endif
