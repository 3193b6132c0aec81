/* SPDX-License-Identifier: Apache-2.0 */
/* The reading side of an outbox table in PostgreSQL, by polling: see outbox_postgres.h. */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "codec/json.h"
#include "source/outbox_postgres.h"

enum {
    BATCH_BYTES = 4 << 20,
    POLL_MS_MIN = 1,
    POLL_MS_MAX = 100,
    POLL_MS_MAX_NOTIFIED = 500,
    RESET_EVERY_MS = 60000,
    PURGE_EVERY_MS = 1000,
    PURGE_PAUSE_MS = 10,
    PURGE_ROWS = 1000,
    CLOCK_OFFSET_S_TO_2000 = 946684800, /* from 1970 to PostgreSQL's epoch */
};

enum column { SEQ, ID, AGGREGATE_TYPE, AGGREGATE_ID, TYPE, PAYLOAD, PAYLOAD_BYTES, HEADERS, TIME, SHARD, IS_LARGE };

/* --- parameters ----------------------------------------------------------------------------------------- */

static void put_be32(struct ow_buf *to, uint32_t value)
{
    value = htobe32(value);
    ow_buf_add(to, &value, sizeof value);
}

static void put_be64(struct ow_buf *to, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);
    ow_buf_add(to, &big, sizeof big);
}

/* As array_recv() reads it; the count is patched in at the end. */
void ow_pg_array_begin(struct ow_buf *to)
{
    ow_buf_clear(to);
    put_be32(to, 1);  /* dimensions */
    put_be32(to, 0);  /* no nulls */
    put_be32(to, 20); /* int8 */
    put_be32(to, 0);  /* how many: later */
    put_be32(to, 1);  /* from index 1 */
}

void ow_pg_array_add(struct ow_buf *to, int64_t value)
{
    put_be32(to, 8);
    put_be64(to, value);
}

int ow_pg_array_end(struct ow_buf *to, struct ow_error *err)
{
    int r = ow_buf_check(to, err);
    if (r < 0)
        return r;
    uint32_t count = htobe32((uint32_t)((to->size - 20) / 12));
    memcpy(to->data + 12, &count, sizeof count);
    return 0;
}

static void list_shards(const struct ow_pg_outbox *o, char *to, size_t size)
{
    size_t n = 0;
    to[n++] = '{';
    for (uint32_t i = 0; i < o->shard_count; i++)
        if (o->shards[i].state == OW_PG_SHARD_OURS)
            n += (size_t)snprintf(to + n, size - n, "%s%u", n > 1 ? "," : "", i);
    (void)snprintf(to + n, size - n, "}");
}

/* --- cells ---------------------------------------------------------------------------------------------- */

static struct ow_bytes bytes_of(const PGresult *batch, int row, enum column column)
{
    if (PQgetisnull(batch, row, (int)column))
        return OW_NULL_BYTES;
    return (struct ow_bytes){PQgetvalue(batch, row, (int)column), (size_t)PQgetlength(batch, row, (int)column)};
}

static int64_t int64_of(const PGresult *batch, int row, enum column column)
{
    uint64_t big;
    memcpy(&big, PQgetvalue(batch, row, (int)column), sizeof big);
    return (int64_t)be64toh(big);
}

static uint32_t uint32_of(const PGresult *batch, int row, enum column column)
{
    uint32_t big;
    memcpy(&big, PQgetvalue(batch, row, (int)column), sizeof big);
    return be32toh(big);
}

/* --- a batch -------------------------------------------------------------------------------------------- */

void ow_pg_outbox_drop_ahead(struct ow_pg_outbox *o)
{
    if (!o->ahead && !o->is_reading)
        return;
    o->is_void = o->is_reading;
    PQclear(o->ahead);
    o->ahead = NULL;
    if (o->read_floor < o->floor)
        o->floor = o->read_floor;
}

/* Without what was yielded already, or is going to be. */
static int list_known(struct ow_pg_outbox *o, struct ow_error *err)
{
    ow_pg_array_begin(&o->parameter);
    for (size_t i = o->head; i < o->tail; i++)
        if (!o->entries[i].is_done && o->entries[i].seq >= o->floor)
            ow_pg_array_add(&o->parameter, o->entries[i].seq);
    for (int row = o->row; o->batch && row < o->batch_rows; row++)
        if (int64_of(o->batch, row, SEQ) >= o->floor)
            ow_pg_array_add(&o->parameter, int64_of(o->batch, row, SEQ));
    return ow_pg_array_end(&o->parameter, err);
}

static int begin_read(struct ow_pg_outbox *o, struct ow_error *err)
{
    char floor[24], shards[OW_OUTBOX_SHARDS_MAX * 3 + 4], count[16], limit[16], bytes[16];
    if (o->is_partitioned && o->floor < o->below)
        o->floor = o->below;
    int r = list_known(o, err);
    if (r < 0)
        return r;
    (void)snprintf(floor, sizeof floor, "%" PRId64, o->floor);
    (void)snprintf(count, sizeof count, "%u", o->shard_count);
    (void)snprintf(limit, sizeof limit, "%u", o->options.batch_max);
    (void)snprintf(bytes, sizeof bytes, "%d", BATCH_BYTES);
    list_shards(o, shards, sizeof shards);
    const char *const values[] = {floor, o->parameter.data, shards, count, limit, bytes};
    const int lengths[] = {0, (int)o->parameter.size, 0, 0, 0, 0}, formats[] = {0, 1, 0, 0, 0, 0};
    if (!PQsendQueryPrepared(o->conn, o->is_careful ? "read_large" : "read_batch", o->is_careful ? 6 : 5, values,
                             lengths, formats, 1))
        return ow_postgres_fail(o->conn, NULL, o->shown, err);
    o->is_reading = true;
    o->reads_careful = o->is_careful;
    o->is_void = false;
    o->read_floor = o->floor;
    o->read_settled = o->settled_seq; /* before the read: its snapshot shows all of them */
    return 0;
}

/* Up to the first that came without its large cells. Bytes are counted as long as there are large rows. */
static int usable_rows(struct ow_pg_outbox *o, const PGresult *result)
{
    int rows = PQntuples(result), first = 0;
    while (first < rows && !PQgetvalue(result, first, IS_LARGE)[0])
        first++;
    o->is_careful = first < rows;
    return o->reads_careful ? rows : first;
}

int ow_pg_outbox_end_read(struct ow_pg_outbox *o, struct ow_error *err)
{
    PGresult *result = NULL;
    if (!o->is_reading)
        return 0;
    o->is_reading = false;
    int r = ow_pg_outbox_take_result(o, true, &result, err);
    if (r < 0 || o->is_void) {
        PQclear(result);
        return r;
    }
    int rows = usable_rows(o, result);
    if (rows == 0 && PQntuples(result) > 0) { /* all of it is to be read by bytes */
        PQclear(result);
        return 0;
    }
    o->ahead = result;
    o->ahead_rows = rows;
    /* Whether the rows end here, or the batch does, by count or by bytes, is not told: after the last row read there
       may be more, unless there was none. */
    int64_t covered = o->read_settled;
    if (rows > 0 && int64_of(result, rows - 1, SEQ) < covered)
        covered = int64_of(result, rows - 1, SEQ);
    if (covered + 1 > o->floor)
        o->floor = covered + 1;
    return 0;
}

int ow_pg_outbox_tend_read(struct ow_pg_outbox *o, struct ow_wait *wait, struct ow_error *err)
{
    if (!o->is_reading)
        return 0;
    if (!PQconsumeInput(o->conn))
        return ow_postgres_fail(o->conn, NULL, o->shown, err);
    if (!PQisBusy(o->conn))
        return ow_pg_outbox_end_read(o, err);
    ow_wait_add(wait, PQsocket(o->conn), POLLIN);
    return 0;
}

static bool has_more(const struct ow_pg_outbox *o)
{
    return o->batch_rows >= (int)o->options.batch_max || PQresultMemorySize(o->batch) > BATCH_BYTES;
}

/* 1: a batch with rows is there; 0: there is nothing; < 0 */
static int read_batch(struct ow_pg_outbox *o, int64_t now, struct ow_error *err)
{
    int r = 0;
    PQclear(o->batch);
    o->batch = NULL;
    o->row = 0;
    do {
        if (!o->ahead && !o->is_reading) {
            r = ow_pg_outbox_look(o, now, false, err);
            if (r >= 0 && o->needs_accepted)
                r = ow_pg_accepted_load(o, err);
            r = r < 0 ? r : begin_read(o, err);
        }
        if (r == 0)
            r = ow_pg_outbox_end_read(o, err);
        if (r == 0 && o->late_count > 0) /* whether it shows all that is due below it */
            r = ow_pg_outbox_look(o, now, true, err);
        if (r < 0)
            return r;
        r = 0;
    } while (!o->ahead);
    o->batch = o->ahead;
    o->batch_rows = o->ahead_rows;
    o->batch_floor = o->read_floor;
    o->ahead = NULL;
    if (o->batch_rows == 0)
        return 0;
    if (!has_more(o))
        return 1;
    r = ow_pg_outbox_look(o, now, false, err);
    r = r < 0 ? r : begin_read(o, err);
    return r < 0 ? r : 1;
}

/* --- rows ----------------------------------------------------------------------------------------------- */

static void fill(struct ow_pg_outbox *o, int row, struct ow_message *m)
{
    const PGresult *batch = o->batch;
    struct ow_bytes payload = bytes_of(batch, row, PAYLOAD), headers = bytes_of(batch, row, HEADERS);
    *m = (struct ow_message){
        .position = o->last,
        .id = bytes_of(batch, row, ID),
        .aggregate_type = bytes_of(batch, row, AGGREGATE_TYPE),
        .aggregate_id = bytes_of(batch, row, AGGREGATE_ID),
        .type = bytes_of(batch, row, TYPE),
        .payload = payload.data ? payload : bytes_of(batch, row, PAYLOAD_BYTES),
        .headers = o->headers,
        .time_ms = int64_of(batch, row, TIME) / 1000 + (int64_t)CLOCK_OFFSET_S_TO_2000 * 1000,
    };
    if (!headers.data)
        return;
    struct ow_error err = {0};
    ow_buf_clear(&o->scratch);
    int r = ow_json_read_headers(headers, o->headers, sizeof o->headers / sizeof o->headers[0], &m->header_count,
                                 &o->scratch, &err);
    if (r < 0) { /* it still has to leave the outbox: the relay sets it aside */
        m->header_count = 0;
        ow_buf_clear(&o->scratch);
        ow_buf_printf(&o->scratch, "headers: %s", err.text);
        m->defect = ow_buf_bytes(&o->scratch);
    }
}

static struct ow_position next_position(const struct ow_pg_outbox *o, int64_t seq)
{
    if ((uint64_t)seq > o->last.major)
        return (struct ow_position){(uint64_t)seq, 0};
    return (struct ow_position){o->last.major, o->last.minor + 1};
}

/* 1: *ret is a row of the batch; 0: there is none left of shards that are ours; < 0 */
static int yield_row(struct ow_pg_outbox *o, struct ow_message *ret, struct ow_error *err)
{
    while (o->batch && o->row < o->batch_rows) {
        int row = o->row;
        uint32_t shard = uint32_of(o->batch, row, SHARD);
        if (shard >= o->shard_count || o->shards[shard].state != OW_PG_SHARD_OURS) {
            o->row++; /* it was given up meanwhile */
            continue;
        }
        int64_t seq = int64_of(o->batch, row, SEQ);
        if (o->is_partitioned && (seq < o->shards[shard].base || ow_pg_accepted_has(o, seq))) {
            o->row++; /* its row stays until its partition goes */
            continue;
        }
        int r = ow_pg_outbox_make_room(o, err);
        if (r < 0)
            return r;
        o->row++;
        o->last = next_position(o, seq);
        o->entries[o->tail++] = (struct ow_pg_entry){.position = o->last, .seq = seq, .shard = shard};
        o->shards[shard].outstanding++;
        fill(o, row, ret);
        return 1;
    }
    return 0;
}

/* Old marked rows go when nothing else is to be done. */
static void purge(struct ow_pg_outbox *o, int64_t now)
{
    char age[24], rows[16];
    struct ow_error ignored;
    PGresult *result = NULL;
    if (o->options.after != OW_OUTBOX_MARK || o->options.keep_marked_ms == 0 || now < o->next_purge_ms)
        return;
    (void)snprintf(age, sizeof age, "%" PRId64, o->options.keep_marked_ms);
    (void)snprintf(rows, sizeof rows, "%d", PURGE_ROWS);
    int r = ow_pg_outbox_exec(o, "purge_marked", 2, (const char *const[]){age, rows}, NULL, NULL, 0, &result, &ignored);
    bool is_full = r == 0 && strtol(PQcmdTuples(result), NULL, 10) == PURGE_ROWS;
    PQclear(result);
    o->next_purge_ms = now + (is_full ? PURGE_PAUSE_MS : PURGE_EVERY_MS);
}

/* Also a row whose number somebody chose himself, below the others, is found, if not at once. */
static void reset_now_and_then(struct ow_pg_outbox *o, int64_t now)
{
    if (now < o->next_reset_ms)
        return;
    o->next_reset_ms = now + RESET_EVERY_MS;
    if (o->options.after == OW_OUTBOX_DELETE && o->head == o->tail)
        o->floor = 0;
}

/* What the server has told meanwhile; looking at once, and at short intervals again. */
static bool was_notified(struct ow_pg_outbox *o)
{
    bool is_told = false;
    PGnotify *told;
    while (o->listens && (told = PQnotifies(o->conn))) {
        is_told = true;
        PQfreemem(told);
    }
    if (is_told) {
        o->poll_ms = POLL_MS_MIN;
        o->next_poll_ms = 0;
    }
    return is_told;
}

int ow_pg_outbox_next(struct ow_source *source, struct ow_message *ret, struct ow_error *err)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    for (;;) {
        int r = yield_row(o, ret, err);
        if (r != 0)
            return r;
        int64_t now = ow_clock_monotonic_ms();
        bool is_idle = !o->batch && !o->ahead && !o->is_reading;
        if (is_idle && o->listens && !PQconsumeInput(o->conn))
            return ow_postgres_fail(o->conn, NULL, o->shown, err);
        if (is_idle && now < o->next_poll_ms && !was_notified(o))
            return 0;
        r = read_batch(o, now, err);
        if (r < 0)
            return r;
        if (r == 1) {
            o->poll_ms = POLL_MS_MIN;
            continue;
        }
        PQclear(o->batch);
        o->batch = NULL;
        purge(o, now);
        reset_now_and_then(o, now);
        now = ow_clock_monotonic_ms();
        o->next_poll_ms = now + o->poll_ms;
        int64_t longest = o->listens ? POLL_MS_MAX_NOTIFIED : POLL_MS_MAX;
        o->poll_ms = o->poll_ms * 2 > longest ? longest : o->poll_ms * 2;
        return 0;
    }
}

void ow_pg_outbox_wait(struct ow_source *source, struct ow_wait *wait)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    if (o->is_reading)
        return; /* what is on its way wakes by itself, see tend */
    if (!o->ahead && o->listens && !was_notified(o))
        ow_wait_add(wait, PQsocket(o->conn), POLLIN);
    ow_wait_until(wait, o->ahead ? 0 : o->next_poll_ms);
}
