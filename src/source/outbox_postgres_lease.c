/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "source/outbox_postgres.h"

enum {
    LEASE_MS = 5000,
    RENEW_MS = 1500,
    BALANCE_MS = 500,
    SHARDS_DEFAULT = 8,
};

#define LEASE_MS_TEXT "5000"

uint32_t ow_pg_leases_held(const struct ow_pg_outbox *o)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < o->shard_count; i++)
        held += o->shards[i].state != OW_PG_SHARD_FREE;
    return held;
}

int ow_pg_leases_list(struct ow_pg_outbox *o, struct ow_error *err)
{
    ow_buf_clear(&o->names);
    ow_buf_clear(&o->epochs);
    for (uint32_t i = 0; i < o->shard_count; i++) {
        if (o->shards[i].state == OW_PG_SHARD_FREE)
            continue;
        const char *comma = o->names.size ? "," : "{";
        ow_buf_printf(&o->names, "%soutbox/%u", comma, i);
        ow_buf_printf(&o->epochs, "%s%" PRId64, comma, o->shards[i].epoch);
    }
    ow_buf_add_text(&o->names, o->names.size ? "}" : "{}");
    ow_buf_add_text(&o->epochs, o->epochs.size ? "}" : "{}");
    return ow_buf_check(&o->names, err) == 0 ? ow_buf_check(&o->epochs, err) : OW_ENOMEM;
}

int ow_pg_leases_lost(struct ow_pg_outbox *o, struct ow_error *err)
{
    o->has_lost_shard = true;
    return ow_error_set(err, OW_ESTANDBY,
                        "%s: this relay stood still for longer than its lease, and another one took over", o->shown);
}

static int ask_number(struct ow_pg_outbox *o, const char *name, int count, const char *const *values, int64_t *ret,
                      struct ow_error *err)
{
    PGresult *result = NULL;
    int r = ow_pg_outbox_exec(o, name, count, values, NULL, NULL, 0, &result, err);
    if (r == 0 && PQntuples(result) == 1) {
        const char *text = PQgetvalue(result, 0, 0);
        *ret = text[0] == 't' ? 1 : text[0] == 'f' ? 0 : strtoll(text, NULL, 10);
    }
    PQclear(result);
    return r;
}

/* --- one shard ---------------------------------------------------------------------------------------- */

struct look { /* a row of onewrite.lease */
    uint32_t shard;
    int64_t epoch;
    bool is_free, is_by_us;
};

static int unlock(struct ow_pg_outbox *o, uint32_t shard, int64_t epoch, struct ow_error *err)
{
    char name[24], number[24];
    int64_t ignored;
    (void)snprintf(name, sizeof name, "outbox/%u", shard);
    (void)snprintf(number, sizeof number, "%" PRId64, epoch);
    return ask_number(o, "lease_unlock", 2, (const char *const[]){name, number}, &ignored, err);
}

/* 1: it is ours now; 0: somebody else was faster; < 0 */
static int take(struct ow_pg_outbox *o, const struct look *look, struct ow_error *err)
{
    char name[24], epoch[24];
    int64_t taken = 0, base = 0;
    PGresult *result = NULL;
    (void)snprintf(name, sizeof name, "outbox/%u", look->shard);
    (void)snprintf(epoch, sizeof epoch, "%" PRId64, look->epoch);
    int r = ow_pg_outbox_exec(o, "lease_take", 4, (const char *const[]){name, epoch, o->holder, LEASE_MS_TEXT}, NULL,
                              NULL, 0, &result, err);
    if (r == 0 && PQntuples(result) == 1) {
        taken = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        base = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    }
    PQclear(result);
    if (r < 0)
        return r;
    if (taken == 0) /* the lock may have been had without the row */
        return unlock(o, look->shard, look->epoch + 1, err);
    struct ow_pg_shard *shard = &o->shards[look->shard];
    if (base < o->below || ow_pg_leases_held(o) == 0)
        o->below = base;
    o->needs_accepted = true;
    shard->state = OW_PG_SHARD_OURS;
    shard->epoch = taken;
    shard->base = base;
    o->letters_are_old = true;
    if (!look->is_by_us)
        ow_pg_outbox_reset_floor(o);
    return 1;
}

/* 1: its holder's connection has ended; 0: it lives */
static int probe(struct ow_pg_outbox *o, const struct look *look, struct ow_error *err)
{
    char name[24], epoch[24];
    int64_t is_gone = 0;
    (void)snprintf(name, sizeof name, "outbox/%u", look->shard);
    (void)snprintf(epoch, sizeof epoch, "%" PRId64, look->epoch);
    int r = ask_number(o, "lease_probe", 2, (const char *const[]){name, epoch}, &is_gone, err);
    return r < 0 ? r : is_gone != 0;
}

static int release(struct ow_pg_outbox *o, uint32_t i, struct ow_error *err)
{
    char name[24], epoch[24];
    PGresult *result = NULL;
    struct ow_pg_shard *shard = &o->shards[i];
    (void)snprintf(name, sizeof name, "outbox/%u", i);
    (void)snprintf(epoch, sizeof epoch, "%" PRId64, shard->epoch);
    int r = ow_pg_outbox_exec(o, "lease_free", 2, (const char *const[]){name, epoch}, NULL, NULL, 0, &result, err);
    PQclear(result);
    if (r == 0)
        r = unlock(o, i, shard->epoch, err);
    shard->state = OW_PG_SHARD_FREE;
    shard->epoch = 0;
    return r;
}

/* --- all of them -------------------------------------------------------------------------------------- */

static int read_looks(struct ow_pg_outbox *o, struct look looks[OW_OUTBOX_SHARDS_MAX], struct ow_error *err)
{
    PGresult *result = NULL;
    int r = ow_pg_outbox_exec(o, "lease_look", 0, NULL, NULL, NULL, 0, &result, err);
    int count = r == 0 ? PQntuples(result) : 0;
    for (int i = 0; i < count; i++) {
        unsigned long shard = strtoul(PQgetvalue(result, i, 0) + strlen("outbox/"), NULL, 10);
        if (shard >= o->shard_count)
            continue;
        struct look *look = &looks[shard];
        look->epoch = strtoll(PQgetvalue(result, i, 1), NULL, 10);
        look->is_free = PQgetvalue(result, i, 2)[0] == '\0' || PQgetvalue(result, i, 3)[0] == 't';
        look->is_by_us = strcmp(PQgetvalue(result, i, 2), o->holder) == 0 && look->epoch == o->shards[shard].epoch;
    }
    PQclear(result);
    return r;
}

/* That it is alive, and for how long that is good. */
static int say_alive(struct ow_pg_outbox *o, int64_t now_ms, struct ow_error *err)
{
    PGresult *result = NULL;
    if (now_ms < o->next_alive_ms)
        return 0;
    o->next_alive_ms = now_ms + RENEW_MS;
    int r = ow_pg_outbox_exec(o, "relay_lives", 2, (const char *const[]){o->holder, LEASE_MS_TEXT}, NULL, NULL, 0,
                              &result, err);
    PQclear(result);
    return r;
}

static int read_share(struct ow_pg_outbox *o, uint32_t *ret, struct ow_error *err)
{
    int64_t relays = 1;
    int r = ask_number(o, "relay_count", 0, NULL, &relays, err);
    uint32_t count = relays < 1 ? 1 : (uint32_t)relays;
    *ret = (o->shard_count + count - 1) / count;
    return r;
}

/* Takes free shards, its own of before first, up to `share` in all. */
static int take_free(struct ow_pg_outbox *o, uint32_t share, struct ow_error *err)
{
    struct look looks[OW_OUTBOX_SHARDS_MAX] = {0};
    for (uint32_t i = 0; i < o->shard_count; i++)
        looks[i] = (struct look){.shard = i, .epoch = -1};
    int r = read_looks(o, looks, err);
    for (int pass = 0; pass < 2 && r == 0; pass++) {
        /* Those that look at the same time begin at different places. */
        uint32_t first = (uint32_t)(ow_hash(ow_bytes_of(o->holder)) % o->shard_count);
        for (uint32_t n = 0; n < o->shard_count && r == 0; n++) {
            const struct look *look = &looks[(first + n) % o->shard_count];
            if (o->shards[look->shard].state != OW_PG_SHARD_FREE || look->epoch < 0 || look->is_by_us != (pass == 0))
                continue;
            if (pass == 1 && ow_pg_leases_held(o) >= share)
                break;
            r = look->is_free || look->is_by_us ? 1 : probe(o, look, err);
            if (r == 1)
                r = take(o, look, err);
            r = r < 0 ? r : 0;
        }
    }
    return r;
}

/* All relays must cut the keys alike. The number is in the database; it may change while no other relay is there. */
static int agree_on_shards(struct ow_pg_outbox *o, struct ow_error *err)
{
    char wanted[16];
    int64_t count = 0, relays = 0;
    (void)snprintf(wanted, sizeof wanted, "%u", o->options.shards ? o->options.shards : SHARDS_DEFAULT);
    if (o->has_agreed) /* it stays as it is while this relay is there */
        return 0;
    int r = o->store->ops->begin(o->store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    r = ask_number(o, "shards_read", 1, (const char *const[]){wanted}, &count, err);
    if (r == 0 && o->options.shards && count != o->options.shards) {
        r = ask_number(o, "relays_connected", 0, NULL, &relays, err);
        if (r == 0 && relays > 1)
            r = ow_error_set(err, OW_EINVALID,
                             "%s: the relays at work have cut the keys into %" PRId64
                             " shards, and this one was told %u; say "
                             "shards=%" PRId64 ", or stop the others first",
                             o->shown, count, o->options.shards, count);
        if (r == 0)
            r = ask_number(o, "shards_write", 1, (const char *const[]){wanted}, &count, err);
    }
    if (r == 0 && (count < 1 || count > OW_OUTBOX_SHARDS_MAX))
        r = ow_error_set(err, OW_ECORRUPT, "%s: onewrite.lease says %" PRId64 " shards", o->shown, count);
    if (r == 0) {
        char number[16];
        PGresult *result = NULL;
        (void)snprintf(number, sizeof number, "%" PRId64, count);
        r = ow_pg_outbox_exec(o, "lease_make", 1, (const char *const[]){number}, NULL, NULL, 0, &result, err);
        PQclear(result);
    }
    if (r == 0)
        r = o->store->ops->commit(o->store, err);
    else
        o->store->ops->rollback(o->store);
    o->has_agreed = r == 0;
    if (r == 0)
        o->shard_count = (uint32_t)count;
    return r;
}

int ow_pg_leases_open(struct ow_pg_outbox *o, struct ow_error *err)
{
    bool was_ours[OW_OUTBOX_SHARDS_MAX] = {false};
    uint32_t share = 0, before = o->shard_count;
    for (uint32_t i = 0; i < o->shard_count; i++) {
        was_ours[i] = o->shards[i].state != OW_PG_SHARD_FREE;
        o->shards[i].state = OW_PG_SHARD_FREE;
    }
    int64_t now = ow_clock_monotonic_ms();
    int r = agree_on_shards(o, err);
    if (r == 0)
        r = say_alive(o, now, err);
    if (r == 0)
        r = read_share(o, &share, err);
    if (r == 0)
        r = take_free(o, share, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < before; i++)
        o->has_lost_shard |= was_ours[i] && (o->shards[i].state == OW_PG_SHARD_FREE || before != o->shard_count);
    o->next_renew_ms = now + RENEW_MS;
    o->next_balance_ms = now + BALANCE_MS;
    if (ow_pg_leases_held(o) == 0)
        return ow_error_set(err, OW_ESTANDBY, "%s: other relays are at work on all of it", o->shown);
    return 0;
}

static int renew(struct ow_pg_outbox *o, struct ow_error *err)
{
    char below[24];
    PGresult *result = NULL;
    ow_pg_outbox_move_base(o);
    (void)snprintf(below, sizeof below, "%" PRId64, o->below);
    int r = ow_pg_leases_list(o, err);
    if (r == 0)
        r = ow_pg_outbox_exec(o, "lease_renew", 4,
                              (const char *const[]){o->names.data, o->epochs.data, LEASE_MS_TEXT, below}, NULL, NULL, 0,
                              &result, err);
    bool has_all = r == 0 && PQntuples(result) == (int)ow_pg_leases_held(o);
    PQclear(result);
    return r < 0 || has_all ? r : ow_pg_leases_lost(o, err);
}

/* Each relay has at most its share; who has more lets the last ones run dry and gives them up. */
static int balance(struct ow_pg_outbox *o, struct ow_error *err)
{
    uint32_t share = 0, staying = 0;
    int r = read_share(o, &share, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < o->shard_count && r == 0; i++) {
        struct ow_pg_shard *shard = &o->shards[i];
        if (shard->state == OW_PG_SHARD_OURS && ++staying > share)
            shard->state = OW_PG_SHARD_LEAVING;
        if (shard->state == OW_PG_SHARD_LEAVING && shard->outstanding == 0)
            r = release(o, i, err);
    }
    if (r == 0 && ow_pg_leases_held(o) < share)
        r = take_free(o, share, err);
    return r;
}

int ow_pg_leases_tend(struct ow_pg_outbox *o, int64_t now_ms, struct ow_error *err)
{
    int r = 0;
    if (now_ms >= o->next_renew_ms) {
        o->next_renew_ms = now_ms + RENEW_MS;
        r = say_alive(o, now_ms, err);
        if (r == 0)
            r = renew(o, err);
        if (r == 0)
            r = ow_pg_outbox_rotate(o, err);
    }
    if (r == 0 && now_ms >= o->next_balance_ms) {
        o->next_balance_ms = now_ms + BALANCE_MS;
        r = balance(o, err);
    }
    return r;
}

void ow_pg_leases_close(struct ow_pg_outbox *o)
{
    struct ow_error ignored;
    for (uint32_t i = 0; i < o->shard_count; i++)
        if (o->shards[i].state != OW_PG_SHARD_FREE && o->conn && PQstatus(o->conn) == CONNECTION_OK &&
            o->shards[i].outstanding == 0 && release(o, i, &ignored) < 0)
            return; /* the end of the connection gives them up */
    if (o->conn && PQstatus(o->conn) == CONNECTION_OK) {
        PGresult *result = NULL;
        int r = ow_pg_outbox_exec(o, "relay_leaves", 1, (const char *const[]){o->holder}, NULL, NULL, 0, &result,
                                  &ignored);
        if (r < 0) {
            /* It counts for some seconds more. */
        }
        PQclear(result);
    }
}
