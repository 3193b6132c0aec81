/* SPDX-License-Identifier: Apache-2.0 */
/* An outbox table in PostgreSQL, by polling: see outbox_postgres.h. */
#include "source/outbox_postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/units.h"
#include "base/uuid.h"
#include "source/postgres_guard.h"
#include "sql.h"

enum {
    BATCH_DEFAULT = 1000,
    TIMEOUT_MS = 30000,
    GRACE_MS = 5000,
    POLL_MS_MIN = 1,
    RESET_EVERY_MS = 60000,
};

/* --- statements ----------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *sql;
} statements[] = {
    {"read_batch", ow_sql_pg_outbox_read_batch},
    {"read_large", ow_sql_pg_outbox_read_large},
    {"delete_rows", ow_sql_pg_outbox_delete_rows},
    {"mark_rows", ow_sql_pg_outbox_mark_rows},
    {"accept_rows", ow_sql_pg_outbox_accept_rows},
    {"accepted", ow_sql_pg_outbox_accepted},
    {"is_partitioned", ow_sql_pg_outbox_is_partitioned},
    {"listens", ow_sql_pg_outbox_listens},
    {"purge_marked", ow_sql_pg_outbox_purge_marked},
    {"set_aside", ow_sql_pg_outbox_set_aside},
    {"last_seq", ow_sql_pg_outbox_last_seq},
    {"writers", ow_sql_pg_outbox_writers},
    {"lease_make", ow_sql_pg_outbox_lease_make},
    {"lease_look", ow_sql_pg_outbox_lease_look},
    {"lease_take", ow_sql_pg_outbox_lease_take},
    {"lease_renew", ow_sql_pg_outbox_lease_renew},
    {"lease_free", ow_sql_pg_outbox_lease_free},
    {"lease_probe", ow_sql_pg_outbox_lease_probe},
    {"lease_unlock", ow_sql_pg_outbox_lease_unlock},
    {"relay_join", ow_sql_pg_outbox_relay_join},
    {"relay_count", ow_sql_pg_outbox_relay_count},
    {"relays_connected", ow_sql_pg_outbox_relays_connected},
    {"relay_lives", ow_sql_pg_outbox_relay_lives},
    {"relay_leaves", ow_sql_pg_outbox_relay_leaves},
    {"shards_read", ow_sql_pg_outbox_shards_read},
    {"shards_write", ow_sql_pg_outbox_shards_write},
};

int ow_pg_outbox_take_result(struct ow_pg_outbox *o, bool was_sent, PGresult **ret, struct ow_error *err)
{
    PGresult *result = NULL;
    int r = was_sent ? ow_postgres_result(o->conn, o->shown, TIMEOUT_MS + GRACE_MS, &result, err)
                     : ow_postgres_fail(o->conn, NULL, o->shown, err);
    ExecStatusType status = r == 0 && result ? PQresultStatus(result) : PGRES_FATAL_ERROR;
    if (r == 0 && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        r = ow_postgres_fail(o->conn, result, o->shown, err);
    ow_postgres_drain(o->conn, GRACE_MS);
    if (r < 0)
        PQclear(result);
    else
        *ret = result;
    return r;
}

int ow_pg_outbox_exec(struct ow_pg_outbox *o, const char *name, int count, const char *const *values,
                      const int *lengths, const int *formats, int format, PGresult **ret, struct ow_error *err)
{
    int r = ow_pg_outbox_end_read(o, err);
    if (r < 0)
        return r;
    bool was_sent = PQsendQueryPrepared(o->conn, name, count, values, lengths, formats, format);
    return ow_pg_outbox_take_result(o, was_sent, ret, err);
}

/* The indexes are right for every statement here, whatever the statistics of a table that is empty one minute and
   full the next make of it. */
static int prepare_all(struct ow_pg_outbox *o, struct ow_error *err)
{
    int r = o->store->ops->script(o->store,
                                  "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; "
                                  "SET enable_mergejoin = off; SET enable_sort = off; SET jit = off",
                                  err);
    if (r == OW_ENOTFOUND) /* jit is of PostgreSQL 11 */
        r = 0;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && r == 0; i++) {
        PGresult *result = NULL;
        r = ow_pg_outbox_take_result(o, PQsendPrepare(o->conn, statements[i].name, statements[i].sql, 0, NULL), &result,
                                     err);
        PQclear(result);
    }
    return r;
}

/* --- entries -------------------------------------------------------------------------------------------- */

static void clear_entries(struct ow_pg_outbox *o)
{
    o->head = o->tail = 0;
    o->last = (struct ow_position){0};
    for (uint32_t i = 0; i < OW_OUTBOX_SHARDS_MAX; i++)
        o->shards[i].outstanding = 0;
    ow_pg_outbox_reset_floor(o);
}

int ow_pg_outbox_make_room(struct ow_pg_outbox *o, struct ow_error *err)
{
    if (o->tail < o->capacity)
        return 0;
    if (o->head > o->capacity / 2) {
        memmove(o->entries, o->entries + o->head, (o->tail - o->head) * sizeof *o->entries);
        o->tail -= o->head;
        o->head = 0;
        return 0;
    }
    size_t capacity = o->capacity ? o->capacity * 2 : 4096;
    struct ow_pg_entry *more = realloc(o->entries, capacity * sizeof *more);
    if (!more)
        return ow_error_set(err, OW_ENOMEM, "out of memory for %zu messages in flight", capacity);
    o->entries = more;
    o->capacity = capacity;
    return 0;
}

static struct ow_pg_entry *find_entry(struct ow_pg_outbox *o, struct ow_position position)
{
    size_t low = o->head, high = o->tail;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = ow_position_compare(o->entries[middle].position, position);
        if (order == 0)
            return o->entries[middle].is_done ? NULL : &o->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- open and close ------------------------------------------------------------------------------------- */

static void disconnect(struct ow_pg_outbox *o)
{
    ow_pg_outbox_reset_floor(o); /* rows of the batch that were not yielded lie below it */
    ow_pg_outbox_forget_writers(o);
    o->is_reading = false;
    o->below = 0; /* read again with the leases */
    o->chunk_count = 0;
    if (o->store)
        o->store->ops->close(o->store);
    o->store = NULL;
    o->conn = NULL;
    o->has_agreed = false;
    o->next_alive_ms = 0;
}

static void outbox_close(struct ow_source *source)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    if (o->conn)
        ow_pg_leases_close(o);
    disconnect(o);
}

static void outbox_discard(struct ow_source *source)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    outbox_close(source);
    ow_buf_done(&o->identity);
    ow_dead_letters_done(&o->letters);
    ow_buf_done(&o->parameter);
    ow_buf_done(&o->names);
    ow_buf_done(&o->epochs);
    ow_buf_done(&o->scratch);
    free(o->entries);
    ow_buf_done(&o->bits);
    free(o->writers);
    free(o->chunks);
    free(o->url);
    free(o->shown);
    free(o);
}

static int listen_if_told(struct ow_pg_outbox *o, struct ow_error *err)
{
    PGresult *result = NULL;
    int r = ow_pg_outbox_exec(o, "listens", 0, NULL, NULL, NULL, 0, &result, err);
    o->listens = r == 0 && strcmp(PQgetvalue(result, 0, 0), "0") != 0;
    PQclear(result);
    return r == 0 && o->listens ? o->store->ops->script(o->store, ow_sql_pg_outbox_listen, err) : r;
}

/* Where a role may not work on the tables that are there: what a DBA would run. */
static int check_rights(struct ow_pg_outbox *o, struct ow_error *err)
{
    PGresult *result = NULL;
    int r = ow_postgres_query(o->conn, o->shown, ow_sql_pg_outbox_missing_rights, &result, err);
    if (r == 0 && PQntuples(result) > 0)
        r = ow_error_set(err, OW_EDENIED,
                         "%s: role %s lacks rights to read the outbox; a DBA may run, in this database: %s", o->shown,
                         PQuser(o->conn), PQgetvalue(result, 0, 0));
    PQclear(result);
    return r;
}

static int connect_store(struct ow_pg_outbox *o, struct ow_error *err)
{
    struct ow_postgres_options options = {.url = o->url, .shown = o->shown, .timeout_ms = TIMEOUT_MS};
    OW_CLEANUP(ow_buf_done) struct ow_buf before = {0};
    PGresult *result = NULL;
    int r = ow_postgres_open(&options, &o->store, err);
    if (r < 0)
        return r;
    o->conn = ow_postgres_connection(o->store);
    r = check_rights(o, err);
    if (r < 0)
        return r;
    if (ow_postgres_ensure(o->store, err) < 0)
        return ow_error_prefix(err, "%s", o->shown);
    ow_buf_add_bytes(&before, ow_buf_bytes(&o->identity));
    ow_buf_clear(&o->identity);
    r = ow_schema_identity(o->store, &o->identity, err);
    if (r == 0 && !ow_bytes_equal(ow_buf_bytes(&before), ow_buf_bytes(&o->identity)))
        clear_entries(o); /* another database: the relay starts afresh too */
    if (r == 0)
        r = ow_pg_guard_take(o->conn, o->shown, OW_PG_GUARD_POLLING, err);
    if (r == 0)
        r = prepare_all(o, err);
    if (r == 0)
        r = ow_pg_accepted_open(o, err);
    if (r == 0)
        r = listen_if_told(o, err);
    if (r == 0)
        r = ow_pg_outbox_exec(o, "relay_join", 0, NULL, NULL, NULL, 0, &result, err);
    PQclear(result);
    return r;
}

/* What was yielded stays with the relay while the connection is away, and is not yielded again; but if another relay
   has worked on it meanwhile, or the database is at an earlier time now, both sides forget it: told by OW_ESTANDBY. */
static int settle_after_break(struct ow_pg_outbox *o, struct ow_error *err)
{
    int64_t last_seq = 0;
    int r = ow_pg_outbox_last_seq(o, &last_seq, err);
    if (r < 0)
        return r;
    bool went_back = (uint64_t)last_seq < o->last.major;
    if (!o->has_lost_shard && !went_back)
        return 0;
    clear_entries(o);
    o->has_lost_shard = false;
    return ow_error_set(err, OW_ESTANDBY,
                        went_back ? "%s: the database went back in time; reading it afresh"
                                  : "%s: another relay has worked on what was this one's; reading it afresh",
                        o->shown);
}

static int outbox_open(struct ow_source *source, struct ow_error *err)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    int r = o->store ? 0 : connect_store(o, err);
    if (r == 0)
        r = ow_pg_leases_open(o, err);
    if (r == OW_ESTANDBY) { /* the connection stays: its end would be taken for ours */
        clear_entries(o);
        o->has_lost_shard = false;
        return r;
    }
    if (r == 0)
        r = settle_after_break(o, err);
    if (r == OW_ESTANDBY)
        return r;
    if (r < 0) {
        disconnect(o);
        return r;
    }
    int64_t now = ow_clock_monotonic_ms();
    o->poll_ms = POLL_MS_MIN;
    o->next_poll_ms = o->next_look_ms = now;
    o->next_reset_ms = now + RESET_EVERY_MS;
    return 0;
}

static const char *outbox_identity(struct ow_source *source)
{
    return ow_pg_outbox_of(source)->identity.data;
}

static int outbox_resume(struct ow_source *source, const struct ow_position *position, struct ow_error *err)
{
    /* What is in the table was not confirmed: all of it is yielded, and the broker knows what it has. */
    (void)source;
    (void)position;
    (void)err;
    return 0;
}

/* --- forgetting ----------------------------------------------------------------------------------------- */

static int count_ours(struct ow_pg_outbox *o, const PGresult *result, uint32_t wanted, struct ow_error *err)
{
    bool is_ours = strtol(PQgetvalue(result, 0, 0), NULL, 10) == (long)wanted;
    return is_ours ? 0 : ow_pg_leases_lost(o, err);
}

static void forget_entries(struct ow_pg_outbox *o, const struct ow_position *positions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ow_pg_entry *entry = find_entry(o, positions[i]);
        if (!entry)
            continue;
        entry->is_done = true;
        o->shards[entry->shard].outstanding--;
    }
    while (o->head < o->tail && o->entries[o->head].is_done)
        o->head++;
    if (o->head == o->tail)
        o->head = o->tail = 0;
}

/* The numbers of these positions, the caller's to free; *ret_count of them. */
static int64_t *list_seqs(struct ow_pg_outbox *o, const struct ow_position *positions, size_t count, size_t *ret_count)
{
    int64_t *seqs = malloc((count + 1) * sizeof *seqs);
    size_t n = 0;
    for (size_t i = 0; seqs && i < count; i++) {
        const struct ow_pg_entry *entry = find_entry(o, positions[i]);
        if (entry)
            seqs[n++] = entry->seq;
    }
    *ret_count = n;
    return seqs;
}

static int forget_rows(struct ow_pg_outbox *o, int64_t *seqs, size_t count, struct ow_error *err)
{
    PGresult *result = NULL;
    int r = 0;
    ow_pg_array_begin(&o->parameter);
    for (size_t i = 0; i < count && !o->is_partitioned; i++)
        ow_pg_array_add(&o->parameter, seqs[i]);
    r = o->is_partitioned ? ow_pg_accepted_encode(o, seqs, count, err) : ow_pg_array_end(&o->parameter, err);
    if (r == 0)
        r = ow_pg_leases_list(o, err);
    if (r < 0)
        return r;
    const char *const values[] = {o->parameter.data, o->names.data, o->epochs.data, o->bits.data};
    const int lengths[] = {(int)o->parameter.size, 0, 0, (int)o->bits.size}, formats[] = {1, 0, 0, 1};
    const char *statement = o->is_partitioned                    ? "accept_rows"
                            : o->options.after == OW_OUTBOX_MARK ? "mark_rows"
                                                                 : "delete_rows";
    bool was_sent = PQsendQueryPrepared(o->conn, statement, o->is_partitioned ? 4 : 3, values, lengths, formats, 0);
    OW_CRASH_POINT(OUTBOX_MID_CONFIRM);
    r = ow_pg_outbox_take_result(o, was_sent, &result, err);
    if (r == 0)
        r = count_ours(o, result, ow_pg_leases_held(o), err);
    PQclear(result);
    return r == 0 && o->is_partitioned ? ow_pg_accepted_note(o, seqs, count, err) : r;
}

static int outbox_confirm(struct ow_source *source, const struct ow_position *positions, size_t count,
                          struct ow_error *err)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    size_t found = 0;
    int r = ow_pg_outbox_end_read(o, err);
    if (r < 0)
        return r;
    int64_t *seqs = list_seqs(o, positions, count, &found);
    if (!seqs)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    r = forget_rows(o, seqs, found, err);
    free(seqs);
    if (r == 0)
        forget_entries(o, positions, count);
    return r;
}

/* A text that ends in NUL, as libpq wants it; NULL where there is none. */
static const char *text_of(struct ow_buf *keep, struct ow_bytes bytes)
{
    ow_buf_add_bytes(keep, bytes);
    ow_buf_add_char(keep, '\0');
    return bytes.data ? keep->data : NULL;
}

/* NULL: it is parked. */
static int move_row(struct ow_pg_outbox *o, const struct ow_pg_entry *entry, const struct ow_message *m,
                    const char *reason, uint32_t attempts, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf topic = {0};
    char seq[24], tries[16], name[24], epoch[24];
    const char *why = reason ? reason : OW_PARKED_REASON;
    PGresult *result = NULL;
    (void)snprintf(seq, sizeof seq, "%" PRId64, entry->seq);
    (void)snprintf(tries, sizeof tries, "%u", attempts);
    (void)snprintf(name, sizeof name, "outbox/%u", entry->shard);
    (void)snprintf(epoch, sizeof epoch, "%" PRId64, o->shards[entry->shard].epoch);
    const char *const values[] = {
        seq, why, tries, name, epoch, text_of(&topic, m->topic), m->key.data, reason ? "dead" : "parked"};
    const int lengths[] = {0, 0, 0, 0, 0, 0, (int)m->key.size, 0}, formats[] = {0, 0, 0, 0, 0, 0, 1, 0};
    if (topic.has_failed)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    bool was_sent = PQsendQueryPrepared(o->conn, "set_aside", 8, values, lengths, formats, 0);
    OW_CRASH_POINT(OUTBOX_MID_ASIDE);
    int r = ow_pg_outbox_take_result(o, was_sent, &result, err);
    if (r == 0)
        r = count_ours(o, result, 1, err);
    PQclear(result);
    return r;
}

static int find_to_move(struct ow_pg_outbox *o, const struct ow_message *m, struct ow_pg_entry **ret,
                        struct ow_error *err)
{
    *ret = find_entry(o, m->position);
    if (!*ret)
        return ow_error_set(err, OW_EAGAIN, "%s: the message at this position is not in this relay's hands", o->shown);
    return ow_pg_outbox_end_read(o, err);
}

static int outbox_set_aside(struct ow_source *source, const struct ow_message *message, const char *reason,
                            uint32_t attempts, struct ow_error *err)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    struct ow_pg_entry *entry;
    int r = find_to_move(o, message, &entry, err);
    if (r == 0 && source->parks)
        r = ow_dead_letters_note(&o->letters, message->key, err);
    return r < 0 ? r : move_row(o, entry, message, reason, attempts, err);
}

/* What other relays have set aside of keys that are ours now is read anew whenever a shard was taken over. */
static int outbox_park(struct ow_source *source, const struct ow_message *message, struct ow_error *err)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    struct ow_pg_entry *entry;
    int r = 0;
    if (o->letters_are_old) {
        r = ow_pg_outbox_end_read(o, err);
        if (r == 0)
            r = ow_dead_letters_load(&o->letters, o->store, err);
        o->letters_are_old = r < 0;
    }
    if (r < 0 || !ow_keyset_has(&o->letters.keys, message->key))
        return r;
    r = find_to_move(o, message, &entry, err);
    if (r == 0)
        r = ow_dead_letters_stand_before(&o->letters, o->store, message, (uint64_t)entry->seq, err);
    if (r == 1) {
        r = move_row(o, entry, message, NULL, 0, err);
        r = r < 0 ? r : 1;
    }
    return r;
}

static int outbox_tend(struct ow_source *source, struct ow_wait *wait, struct ow_error *err)
{
    struct ow_pg_outbox *o = ow_pg_outbox_of(source);
    int r = ow_pg_outbox_tend_read(o, wait, err);
    if (r == 0)
        r = ow_pg_leases_tend(o, ow_clock_monotonic_ms(), err);
    ow_wait_until(wait, o->next_renew_ms < o->next_balance_ms ? o->next_renew_ms : o->next_balance_ms);
    return r;
}

static const struct ow_source_ops outbox_ops = {
    .name = "outbox by polling",
    .commits_late = true,
    .open = outbox_open,
    .identity = outbox_identity,
    .resume = outbox_resume,
    .next = ow_pg_outbox_next,
    .confirm = outbox_confirm,
    .set_aside = outbox_set_aside,
    .park = outbox_park,
    .wait = ow_pg_outbox_wait,
    .tend = outbox_tend,
    .close = outbox_close,
    .discard = outbox_discard,
};

static void name_holder(struct ow_pg_outbox *o)
{
    char host[32] = "", random[OW_UUID_TEXT_SIZE] = "";
    struct ow_error ignored;
    (void)gethostname(host, sizeof host - 1);
    if (ow_uuid_v7(random, &ignored) < 0)
        (void)snprintf(random, sizeof random, "%" PRId64, ow_clock_wall_ms());
    (void)snprintf(o->holder, sizeof o->holder, "%s:%ld:%s", host, (long)getpid(), random);
}

int ow_outbox_postgres_new(const struct ow_outbox_postgres_options *options, struct ow_source **ret,
                           struct ow_error *err)
{
    struct ow_pg_outbox *o = calloc(1, sizeof *o);
    if (!o)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    o->base.ops = &outbox_ops;
    o->options = *options;
    o->letters = (struct ow_dead_letters){.source = "polling"};
    o->letters_are_old = true;
    o->url = strdup(options->url);
    o->shown = strdup(options->shown);
    if (!o->url || !o->shown) {
        outbox_discard(&o->base);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    if (o->options.batch_max == 0)
        o->options.batch_max = BATCH_DEFAULT;
    name_holder(o);
    *ret = &o->base;
    return 0;
}
