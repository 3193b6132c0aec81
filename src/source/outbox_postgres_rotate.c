/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partitioned outbox. Its rows are not deleted one by one: that one is accepted is a bit, and a whole partition is
 * emptied when nothing in it waits (onewrite.rotate()). What is below `below` is accepted, all of it, and known by that
 * number alone; the bits above it stand in onewrite.accepted, and here, since a row that is read again must not be
 * published again.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "source/outbox_postgres.h"
#include "sql.h"

enum {
    CHUNK_BITS = 8192,
    GAP_MAX = 512, /* numbers that may lie between two of one run of bits */
};

struct ow_pg_chunk {
    int64_t number; /* seq / CHUNK_BITS */
    uint8_t bits[CHUNK_BITS / 8];
};

/* --- what is accepted, in memory ------------------------------------------------------------------------ */

/* The place of a chunk, or where it would be. */
static size_t place_of(const struct ow_pg_outbox *o, int64_t number)
{
    size_t low = 0, high = o->chunk_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (o->chunks[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ow_pg_accepted_has(const struct ow_pg_outbox *o, int64_t seq)
{
    size_t at = place_of(o, seq / CHUNK_BITS);
    int64_t bit = seq % CHUNK_BITS;
    return at < o->chunk_count && o->chunks[at].number == seq / CHUNK_BITS &&
           o->chunks[at].bits[bit / 8] >> bit % 8 & 1;
}

static int note(struct ow_pg_outbox *o, int64_t seq, struct ow_error *err)
{
    int64_t number = seq / CHUNK_BITS, bit = seq % CHUNK_BITS;
    size_t at = place_of(o, number);
    if (at == o->chunk_count || o->chunks[at].number != number) {
        struct ow_pg_chunk *more = realloc(o->chunks, (o->chunk_count + 1) * sizeof *more);
        if (!more)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        o->chunks = more;
        memmove(&more[at + 1], &more[at], (o->chunk_count - at) * sizeof *more);
        more[at] = (struct ow_pg_chunk){.number = number};
        o->chunk_count++;
    }
    o->chunks[at].bits[bit / 8] |= (uint8_t)(1U << bit % 8);
    return 0;
}

static void forget_below(struct ow_pg_outbox *o, int64_t seq)
{
    size_t gone = place_of(o, seq / CHUNK_BITS);
    if (gone == 0)
        return;
    memmove(o->chunks, o->chunks + gone, (o->chunk_count - gone) * sizeof *o->chunks);
    o->chunk_count -= gone;
}

/* --- and on record -------------------------------------------------------------------------------------- */

int ow_pg_accepted_open(struct ow_pg_outbox *o, struct ow_error *err)
{
    PGresult *result = NULL;
    bool has_cache = false;
    int r = ow_pg_outbox_exec(o, "is_partitioned", 0, NULL, NULL, NULL, 0, &result, err);
    if (r == 0) {
        o->is_partitioned = strcmp(PQgetvalue(result, 0, 0), "0") != 0;
        has_cache = strcmp(PQgetvalue(result, 0, 1), "1") != 0;
    }
    PQclear(result);
    result = NULL;
    if (r == 0 && o->is_partitioned && has_cache)
        r = ow_error_set(err, OW_EINVALID,
                         "%s: sessions keep numbers of the outbox for later, which a partitioned one cannot have; run: "
                         "ALTER SEQUENCE onewrite.outbox_seq_seq CACHE 1",
                         o->shown);
    if (r == 0 && o->is_partitioned && o->options.after == OW_OUTBOX_MARK)
        r = ow_error_set(
            err, OW_EINVALID,
            "%s: the outbox is partitioned, and accepted rows go with their partition: after=mark cannot be", o->shown);
    if (r < 0 || !o->is_partitioned)
        return r;
    r = ow_pg_outbox_take_result(o, PQsendPrepare(o->conn, "rotate", ow_sql_pg_outbox_rotate, 0, NULL), &result, err);
    PQclear(result);
    return r;
}

static int64_t int64_at(const char *bytes)
{
    uint64_t big;
    memcpy(&big, bytes, sizeof big);
    return (int64_t)be64toh(big);
}

int ow_pg_accepted_load(struct ow_pg_outbox *o, struct ow_error *err)
{
    char base[24];
    PGresult *result = NULL;
    o->needs_accepted = false;
    if (!o->is_partitioned)
        return 0;
    (void)snprintf(base, sizeof base, "%" PRId64, o->below);
    int r = ow_pg_outbox_exec(o, "accepted", 1, (const char *const[]){base}, NULL, NULL, 1, &result, err);
    for (int i = 0; r == 0 && i < PQntuples(result); i++) {
        int64_t first = int64_at(PQgetvalue(result, i, 0));
        const char *bits = PQgetvalue(result, i, 1);
        for (int n = 0; r == 0 && n < PQgetlength(result, i, 1) * 8; n++)
            if (bits[n / 8] >> n % 8 & 1)
                r = note(o, first + n, err);
    }
    PQclear(result);
    o->needs_accepted = r < 0;
    return r;
}

static void put_be32(struct ow_buf *to, uint32_t value)
{
    value = htobe32(value);
    ow_buf_add(to, &value, sizeof value);
}

static int compare_seqs(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The bits from seqs[0] on, as long as the gaps are small; how many they stand for. */
static size_t put_run(struct ow_pg_outbox *o, const int64_t *seqs, size_t count)
{
    size_t n = 1;
    while (n < count && seqs[n] - seqs[n - 1] <= GAP_MAX && seqs[n] - seqs[0] < CHUNK_BITS)
        n++;
    size_t size = (size_t)((seqs[n - 1] - seqs[0]) / 8 + 1);
    uint8_t bits[CHUNK_BITS / 8] = {0};
    for (size_t i = 0; i < n; i++)
        bits[(seqs[i] - seqs[0]) / 8] |= (uint8_t)(1U << (seqs[i] - seqs[0]) % 8);
    put_be32(&o->bits, (uint32_t)size);
    ow_buf_add(&o->bits, bits, size);
    ow_pg_array_add(&o->parameter, seqs[0]);
    return n;
}

/* In place of the array of numbers in o->parameter: first numbers there, bytea[] in o->bits. */
int ow_pg_accepted_encode(struct ow_pg_outbox *o, int64_t *seqs, size_t count, struct ow_error *err)
{
    uint32_t runs = 0;
    qsort(seqs, count, sizeof *seqs, compare_seqs);
    ow_pg_array_begin(&o->parameter);
    ow_buf_clear(&o->bits);
    put_be32(&o->bits, 1);  /* dimensions */
    put_be32(&o->bits, 0);  /* no nulls */
    put_be32(&o->bits, 17); /* bytea */
    put_be32(&o->bits, 0);  /* how many: below */
    put_be32(&o->bits, 1);  /* from index 1 */
    for (size_t i = 0; i < count; runs++)
        i += put_run(o, seqs + i, count - i);
    int r = ow_pg_array_end(&o->parameter, err);
    if (r == 0)
        r = ow_buf_check(&o->bits, err);
    if (r < 0)
        return r;
    uint32_t big_endian = htobe32(runs);
    memcpy(o->bits.data + 12, &big_endian, sizeof big_endian);
    return 0;
}

int ow_pg_accepted_note(struct ow_pg_outbox *o, const int64_t *seqs, size_t count, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++)
        r = note(o, seqs[i], err);
    return r;
}

/* --- the base ------------------------------------------------------------------------------------------- */

/* Everything below it that is of our shards was yielded and confirmed, and no transaction that may still bring
   something is there. */
void ow_pg_outbox_move_base(struct ow_pg_outbox *o)
{
    int64_t base = o->ended_seq + 1;
    if (!o->is_partitioned || o->needs_accepted)
        return;
    if (o->floor < base)
        base = o->floor;
    if (o->batch && o->batch_floor < base)
        base = o->batch_floor;
    if ((o->ahead || o->is_reading) && o->read_floor < base)
        base = o->read_floor;
    for (size_t i = o->head; i < o->tail; i++)
        if (!o->entries[i].is_done && o->entries[i].seq < base)
            base = o->entries[i].seq;
    if (base <= o->below)
        return;
    o->below = base;
    forget_below(o, base);
}

int ow_pg_outbox_rotate(struct ow_pg_outbox *o, struct ow_error *err)
{
    PGresult *result = NULL;
    if (!o->is_partitioned || o->shards[0].state != OW_PG_SHARD_OURS)
        return 0;
    int r = ow_pg_outbox_exec(o, "rotate", 0, NULL, NULL, NULL, 0, &result, err);
    PQclear(result);
    return r;
}
