/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_replication.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/units.h"

enum {
    STATUS_EVERY_MS = 1000,
    REPLY_MS = 30000,        /* how long the server may take to begin to stream */
    GULP_BYTES = 256 * 1024, /* while behind, how much is left to gather: more, and the server has to wait */
    GULP_US_MIN = 200,       /* how long that may take */
    GULP_US_MAX = 5000,
    LOCAL_GULP_US = 300,            /* by a local socket, which has room for little */
    NEAR_BUFFER_BYTES = 128 * 1024, /* on the server's own machine, how much of it gathers here */
    LOOK_MS = 4,                    /* so often it is seen how much has come, */
    BEHIND_BYTES_MS = 16 * 1024,    /* and who gets so much in a millisecond is behind, */
    SMALL_BYTES = 1024,             /* and in messages of so little does well to gather them */
};

/* --- opening and closing ------------------------------------------------------------------------------ */

static void clear_result(PGresult **result)
{
    PQclear(*result);
}

static int identify(struct ow_pg_replication *r, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    int code = ow_postgres_query(r->conn, r->shown, "IDENTIFY_SYSTEM", &result, err);
    if (code < 0)
        return code;
    if (PQntuples(result) != 1 || PQnfields(result) < 4)
        return ow_error_set(err, OW_ECORRUPT, "%s: the server does not identify itself; is there a pooler in between?",
                            r->shown);
    code = ow_pg_lsn_parse(ow_bytes_of(PQgetvalue(result, 0, 2)), &r->wal_end, err);
    if (code < 0)
        return code;
    r->system_identifier = strdup(PQgetvalue(result, 0, 0));
    return r->system_identifier ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

int ow_pg_replication_open(struct ow_pg_replication *r, const char *url, const char *shown, struct ow_error *err)
{
    const struct ow_postgres_options options = {.url = url, .shown = shown, .is_replication = true};
    *r = (struct ow_pg_replication){.shown = shown};
    int code = ow_postgres_connect(&options, &r->conn, err);
    if (code < 0)
        return code;
    r->server_version = PQserverVersion(r->conn);
    code = identify(r, err);
    if (code < 0)
        ow_pg_replication_close(r);
    return code;
}

void ow_pg_replication_close(struct ow_pg_replication *r)
{
    struct ow_error ignored;
    if (r->is_streaming && PQstatus(r->conn) == CONNECTION_OK)
        (void)!ow_pg_replication_status(r, true, false, &ignored);
    PQfreemem(r->held);
    PQfinish(r->conn);
    free(r->system_identifier);
    *r = (struct ow_pg_replication){0};
}

/* --- the slot ----------------------------------------------------------------------------------------- */

/* A slot's name is of letters, digits and underscores: it needs no more than the quotes. */
static bool is_slot_name(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size < OW_POSTGRES_NAME_SIZE && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == size;
}

int ow_pg_replication_create(struct ow_pg_replication *r, const char *slot, struct ow_error *err)
{
    char command[200];
    if (!is_slot_name(slot))
        return ow_error_set(err, OW_EINVALID,
                            "\"%s\" cannot name a slot; use small letters, digits and underscores, at most 63", slot);
    const char *options = r->server_version >= 170000 ? "(SNAPSHOT 'export', FAILOVER true)" : "EXPORT_SNAPSHOT";
    (void)snprintf(command, sizeof command, "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput %s", slot, options);
    return PQsendQuery(r->conn, command) == 1 ? 0 : ow_postgres_fail(r->conn, NULL, r->shown, err);
}

static int take_created(struct ow_pg_replication *r, const PGresult *result, uint64_t *ret_lsn, char **ret_snapshot,
                        struct ow_error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state && strcmp(state, "42710") == 0)
        return ow_error_set(err, OW_EBUSY, "%s: another one has made the slot meanwhile", r->shown);
    if (state && strcmp(state, "53400") == 0)
        return ow_error_set(err, OW_EFULL,
                            "%s: no slot is free; raise max_replication_slots, or drop a slot that nobody needs",
                            r->shown);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        return ow_postgres_fail(r->conn, result, r->shown, err);
    int code = ow_pg_lsn_parse(ow_bytes_of(PQgetvalue(result, 0, 1)), ret_lsn, err);
    if (code < 0)
        return code;
    *ret_snapshot = strdup(PQgetvalue(result, 0, 2));
    return *ret_snapshot ? 1 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

int ow_pg_replication_created(struct ow_pg_replication *r, uint64_t *ret_lsn, char **ret_snapshot, struct ow_error *err)
{
    if (PQflush(r->conn) < 0 || PQconsumeInput(r->conn) == 0)
        return ow_postgres_fail(r->conn, NULL, r->shown, err);
    if (PQisBusy(r->conn))
        return 0;
    OW_CLEANUP(clear_result) PGresult *result = PQgetResult(r->conn);
    int code = take_created(r, result, ret_lsn, ret_snapshot, err);
    ow_postgres_drain(r->conn, REPLY_MS);
    return code;
}

/* --- the stream --------------------------------------------------------------------------------------- */

/* What the server's version knows: streaming of transactions in progress and messages came with 14. They do not go
   together: in such a stream a message has the number of its transaction, not that of its savepoint, so that one that
   was rolled back could not be told from the others. */
static unsigned protocol_of(int server_version)
{
    return server_version >= 160000 ? 4 : server_version >= 150000 ? 3 : server_version >= 140000 ? 2 : 1;
}

static int start_command(const struct ow_pg_replication *r, const char *slot, const char *publication,
                         bool has_messages, struct ow_buf *to, struct ow_error *err)
{
    char *name = PQescapeIdentifier(r->conn, publication, strlen(publication));
    char *literal = name ? PQescapeLiteral(r->conn, name, strlen(name)) : NULL;
    PQfreemem(name);
    if (!literal)
        return ow_error_set(err, OW_EINVALID, "\"%s\" cannot name a publication", publication);
    ow_buf_printf(to, "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (proto_version '%u', publication_names %s", slot,
                  protocol_of(r->server_version), literal);
    PQfreemem(literal);
    if (has_messages)
        ow_buf_add_text(to, ", messages 'true'");
    else if (r->server_version >= 140000)
        ow_buf_add_text(to, ", streaming 'on'");
    ow_buf_add_char(to, ')');
    return ow_buf_check(to, err);
}

static int start_failed(struct ow_pg_replication *r, const PGresult *result, struct ow_error *err)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (state && strcmp(state, "55006") == 0)
        return ow_error_set(err, OW_ESTANDBY, "%s: %s", r->shown, text ? text : "the slot is active");
    if (state && strcmp(state, "55000") == 0)
        return ow_error_set(err, OW_ECORRUPT, "%s: %s", r->shown, text ? text : "the slot cannot be read");
    return ow_postgres_fail(r->conn, result, r->shown, err);
}

int ow_pg_replication_start(struct ow_pg_replication *r, const char *slot, const char *publication, bool has_messages,
                            struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf command = {0};
    OW_CLEANUP(clear_result) PGresult *result = NULL;
    if (!is_slot_name(slot))
        return ow_error_set(err, OW_EINVALID,
                            "\"%s\" cannot name a slot; use small letters, digits and underscores, at most 63", slot);
    int code = start_command(r, slot, publication, has_messages, &command, err);
    if (code < 0)
        return code;
    if (PQsendQuery(r->conn, command.data) != 1)
        return ow_postgres_fail(r->conn, NULL, r->shown, err);
    code = ow_postgres_result(r->conn, r->shown, REPLY_MS, &result, err);
    if (code < 0)
        return code;
    if (PQresultStatus(result) != PGRES_COPY_BOTH) {
        code = start_failed(r, result, err);
        ow_postgres_drain(r->conn, REPLY_MS);
        return code;
    }
    r->is_streaming = true;
    return 0;
}

/* Why the stream has ended: the server says so in a last result, or the connection is lost. */
static int stream_ended(struct ow_pg_replication *r, struct ow_error *err)
{
    OW_CLEANUP(clear_result) PGresult *result = PQgetResult(r->conn);
    if (result && PQresultStatus(result) == PGRES_FATAL_ERROR) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        int code = ow_postgres_fail(r->conn, result, r->shown, err);
        /* The end of a session is no end of the work. */
        if (state && strncmp(state, "57", 2) == 0)
            err->code = code = OW_EUNREACHABLE;
        return code;
    }
    return ow_error_set(err, OW_EUNREACHABLE, "%s: the server has ended the stream of changes", r->shown);
}

static bool is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
    if (a->ss_family != b->ss_family)
        return false;
    return a->ss_family == AF_INET ? a4->sin_addr.s_addr == b4->sin_addr.s_addr
                                   : a->ss_family == AF_INET6 && IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

/* With less room here more of it gathers at the server. From elsewhere TCP finds out what room it takes. */
static void begin_to_gulp(struct ow_pg_replication *r)
{
    struct sockaddr_storage peer = {0}, self = {0};
    socklen_t peer_size = sizeof peer, self_size = sizeof self;
    int bytes = NEAR_BUFFER_BYTES, fd = PQsocket(r->conn);
    bool is_known = getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 &&
                    getsockname(fd, (struct sockaddr *)&self, &self_size) == 0;
    r->gulp_us = GULP_US_MIN;
    r->gulp_us_max = is_known && peer.ss_family == AF_UNIX ? LOCAL_GULP_US : GULP_US_MAX;
    if (is_known && is_same_host(&peer, &self))
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static void look_whether_behind(struct ow_pg_replication *r)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now - r->look_ms < LOOK_MS)
        return;
    r->is_behind = r->drained > (size_t)(now - r->look_ms) * BEHIND_BYTES_MS && r->drained < r->frames * SMALL_BYTES;
    r->drained = r->frames = 0;
    r->look_ms = now;
    if (r->is_behind && r->gulp_us_max == 0)
        begin_to_gulp(r);
}

/* Whoever was woken for something else leaves it to gather. */
static bool is_worth_reading(const struct ow_pg_replication *r)
{
    return !r->is_behind || ow_clock_monotonic_us() >= r->gulp_due_us;
}

/* All that was there is read. The next takes half as long as this one did, and half as long as this one should have. */
static void end_gulp(struct ow_pg_replication *r)
{
    int64_t right_us = r->gulp > 0 ? r->gulp_us * GULP_BYTES / (int64_t)r->gulp : r->gulp_us_max;
    r->gulp_us = (r->gulp_us + (right_us < r->gulp_us_max ? right_us : r->gulp_us_max)) / 2;
    r->gulp_us = r->gulp_us > GULP_US_MIN ? r->gulp_us : GULP_US_MIN;
    r->gulp_due_us = ow_clock_monotonic_us() + r->gulp_us;
    r->gulp = 0;
}

/* > 0: the size of what is in r->held; 0: nothing is there now; < 0. */
static int take_frame(struct ow_pg_replication *r, struct ow_error *err)
{
    for (int turn = 0; turn < 2; turn++) {
        int size = PQgetCopyData(r->conn, &r->held, 1);
        if (size > 0)
            return size;
        if (size == -1)
            return stream_ended(r, err);
        if (turn == 0 && size == 0 && !is_worth_reading(r))
            return 0;
        if (size < -1 || (turn == 0 && PQconsumeInput(r->conn) == 0))
            return ow_postgres_fail(r->conn, NULL, r->shown, err);
    }
    end_gulp(r);
    look_whether_behind(r);
    return 0;
}

/* Nothing is there now. What stands between may have lost the connection without a word, and TCP sees only as far as
   the next host: a server that lives answers when it is asked. */
static int bear_silence(struct ow_pg_replication *r, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms();
    if (!r->is_streaming)
        return 0;
    if (r->quiet_since_ms == 0) {
        r->quiet_since_ms = now;
        r->asked_ms = 0;
    }
    if (r->asked_ms == 0 && now - r->quiet_since_ms >= OW_PG_SILENT_MS / 2) {
        r->asked_ms = now;
        return ow_pg_replication_status(r, true, true, err);
    }
    if (r->asked_ms != 0 && now - r->asked_ms >= OW_PG_SILENT_MS / 2)
        return ow_error_set(err, OW_EUNREACHABLE, "%s: the server has not said anything for %" PRId64 " s", r->shown,
                            (now - r->quiet_since_ms) / 1000);
    return 0;
}

int ow_pg_replication_next(struct ow_pg_replication *r, struct ow_pg_frame *ret, struct ow_error *err)
{
    PQfreemem(r->held);
    r->held = NULL;
    int size = take_frame(r, err);
    if (size <= 0)
        return size < 0 ? size : bear_silence(r, err);
    r->quiet_since_ms = 0;
    r->drained += (size_t)size;
    r->frames++;
    r->gulp += (size_t)size;
    int code = ow_pg_frame_read((struct ow_bytes){r->held, (size_t)size}, ret, err);
    if (code < 0)
        return ow_error_prefix(err, "%s", r->shown);
    if (ret->kind == OW_PG_KEEPALIVE && ret->end_lsn > r->received)
        r->received = ret->end_lsn;
    if (ret->kind == OW_PG_DATA && ret->start_lsn > r->received)
        r->received = ret->start_lsn;
    if (ret->kind == OW_PG_KEEPALIVE && ret->wants_reply)
        code = ow_pg_replication_status(r, true, false, err);
    return code < 0 ? code : 1;
}

int ow_pg_replication_status(struct ow_pg_replication *r, bool now, bool wants_reply, struct ow_error *err)
{
    char status[OW_PG_STATUS_SIZE];
    int64_t clock_ms = ow_clock_monotonic_ms();
    if (!r->is_streaming || (!now && clock_ms < r->status_due_ms))
        return 0;
    uint64_t received = r->received > r->flushed ? r->received : r->flushed;
    ow_pg_status_write(received, r->flushed, (ow_clock_wall_ms() - OW_PG_EPOCH_MS) * 1000, wants_reply, status);
    int result = PQputCopyData(r->conn, status, sizeof status);
    if (result < 0 || PQflush(r->conn) < 0)
        return ow_postgres_fail(r->conn, NULL, r->shown, err);
    if (result > 0)
        r->told = r->flushed;
    r->status_due_ms = clock_ms + STATUS_EVERY_MS;
    return 0;
}

void ow_pg_replication_wait(struct ow_pg_replication *r, struct ow_wait *wait)
{
    if (!r->conn)
        return;
    if (r->is_behind)
        ow_wait_nap(wait, r->gulp_due_us - ow_clock_monotonic_us());
    else
        ow_wait_add(wait, PQsocket(r->conn), POLLIN);
}
