/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promises of inbox/inbox.h, over a real store:
 *
 *   contract_inbox             a file of SQLite, made and removed
 *   contract_inbox postgres:…  a database of PostgreSQL, which must be empty
 *
 * and the same behind filters that are wrong.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "contract/must.h"
#include "inbox/filter.h"
#include "store/migrate.h"
#include "store/postgres.h"

static const char *url; /* NULL: SQLite */
static char folder[64], path[96];

static int open_store(void *context, struct ow_store **ret, struct ow_error *err)
{
    (void)context;
    if (url) {
        const struct ow_postgres_options options = {.url = url, .shown = "postgres"};
        int r = ow_postgres_open(&options, ret, err);
        return r < 0 ? r : ow_postgres_ensure(*ret, err);
    }
    const struct ow_sqlite_options options = {.path = path, .mode = OW_SQLITE_CREATE, .wants_wal = true};
    size_t applied;
    int r = ow_sqlite_open(&options, ret, err);
    return r < 0 ? r : ow_schema_migrate(*ret, &ow_schema_outbox, &applied, err);
}

enum filter_kind { NO_FILTER, KNOWS_NOTHING, KNOWS_ALL, GUESSES, FILTER_KIND_COUNT };
static enum filter_kind filter_kind;

struct filter {
    struct ow_inbox_filter base;
    enum filter_kind kind;
    uint32_t guesses;
};

static void mark(struct ow_inbox_filter *filter, const struct ow_inbox_entry *entries, size_t count, bool *ret_known)
{
    struct filter *f = (struct filter *)filter;
    (void)entries;
    for (size_t i = 0; i < count; i++)
        ret_known[i] = f->kind == KNOWS_ALL ||
                       (f->kind == GUESSES && (f->guesses = f->guesses * 1103515245 + 12345) >> 31);
}

static void close_filter(struct ow_inbox_filter *filter)
{
    (void)filter;
}

static void discard_filter(struct ow_inbox_filter *filter)
{
    free(filter);
}

static const struct ow_inbox_filter_ops filter_ops = {.mark = mark, .close = close_filter, .discard = discard_filter};

/* Each promise has a consumer of its own, and so nothing of the others. */
static struct ow_inbox *new_inbox(bool remembers, int64_t retention_count)
{
    const struct ow_inbox_options options = {.consumer = what,
                                             .open_store = open_store,
                                             .remembers = remembers,
                                             .keeps_letters = true,
                                             .parks = true,
                                             .retention_count = retention_count};
    struct ow_inbox *inbox = NULL;
    struct ow_error err = {0};
    DO(ow_inbox_store_new(&options, &inbox, &err));
    if (filter_kind != NO_FILTER) {
        struct filter *filter = calloc(1, sizeof *filter);
        MUST(filter);
        *filter = (struct filter){.base.ops = &filter_ops, .kind = filter_kind};
        DO(ow_inbox_filtered_new(inbox, &filter->base, &inbox, &err));
    }
    DO(inbox->ops->open(inbox, &err));
    return inbox;
}

static struct ow_inbox_entry entry_of(struct ow_record *record, const char *id, const char *key, int64_t offset)
{
    *record = (struct ow_record){.partition = 3, .offset = offset};
    record->message = (struct ow_message){.id = ow_bytes_of(id),
                                          .topic = OW_BYTES("t"),
                                          .key = key ? ow_bytes_of(key) : OW_NULL_BYTES,
                                          .payload = OW_BYTES("{\"a\":1}")};
    return (struct ow_inbox_entry){.record = record, .id = record->message.id};
}

static enum ow_inbox_state begin_one(struct ow_inbox *inbox, struct ow_inbox_entry *entry)
{
    struct ow_error err = {0};
    DO(inbox->ops->begin(inbox, entry, 1, &err));
    return entry->state;
}

static void commit(struct ow_inbox *inbox)
{
    struct ow_error err = {0};
    DO(inbox->ops->commit(inbox, &err));
}

static void set_aside(struct ow_inbox *inbox, const char *id, const char *key, int64_t offset, bool is_parked)
{
    const struct ow_inbox_failure failure = {
        .class = "test", .reason = "it failed", .attempts = 2, .is_parked = is_parked};
    struct ow_record record;
    struct ow_error err = {0};
    struct ow_inbox_entry entry = entry_of(&record, id, key, offset);
    MUST(begin_one(inbox, &entry) == (is_parked ? OW_INBOX_BLOCKED : OW_INBOX_NEW));
    DO(inbox->ops->set_aside(inbox, &entry, &failure, &err));
    commit(inbox);
}

static void queue(struct ow_inbox *inbox, const char *id)
{
    struct ow_store *store = inbox->ops->store(inbox);
    struct ow_error err = {0};
    char sql[200];
    (void)snprintf(sql, sizeof sql, "UPDATE onewrite%cdead_letter SET state = 'queued' WHERE id = '%s'",
                   url ? '.' : '_', id);
    DO(store->ops->script(store, sql, &err));
}

static enum ow_inbox_state look(struct ow_inbox *inbox, const char *id, const char *key)
{
    struct ow_record record;
    struct ow_error err = {0};
    struct ow_inbox_entry entry = entry_of(&record, id, key, 99);
    DO(inbox->ops->look(inbox, &entry, 1, &err));
    return entry.state;
}

/* --- the promises ------------------------------------------------------------------------------------------- */

static void claimed_once(void)
{
    struct ow_inbox *inbox = new_inbox(true, 0);
    struct ow_record records[3];
    struct ow_error err = {0};
    struct ow_inbox_entry entries[] = {entry_of(&records[0], "c1", "k", 0), entry_of(&records[1], "c1", "k", 1),
                                       entry_of(&records[2], "c2", NULL, 2)};
    DO(inbox->ops->begin(inbox, entries, 3, &err)); /* a repeat in one batch: the first counts */
    MUST(entries[0].state == OW_INBOX_NEW && entries[1].state == OW_INBOX_HANDLED && entries[2].state == OW_INBOX_NEW);
    inbox->ops->rollback(inbox);
    MUST(look(inbox, "c1", "k") == OW_INBOX_NEW);
    MUST(begin_one(inbox, &entries[0]) == OW_INBOX_NEW);
    commit(inbox);
    MUST(look(inbox, "c1", "k") == OW_INBOX_HANDLED);
    MUST(begin_one(inbox, &entries[0]) == OW_INBOX_HANDLED);
    commit(inbox);
    inbox->ops->rollback(inbox); /* harmless */
    inbox->ops->close(inbox);
    DO(inbox->ops->open(inbox, &err));
    MUST(look(inbox, "c1", "k") == OW_INBOX_HANDLED);
    inbox->ops->discard(inbox);
}

static void parked_behind(void)
{
    struct ow_inbox *inbox = new_inbox(true, 0);
    set_aside(inbox, "p1", "k", 0, false);
    MUST(look(inbox, "p1", "k") == OW_INBOX_ASIDE);
    MUST(look(inbox, "p2", "k") == OW_INBOX_BLOCKED && look(inbox, "p2", "other") == OW_INBOX_NEW);
    MUST(look(inbox, "p2", NULL) == OW_INBOX_NEW);
    set_aside(inbox, "p2", "k", 1, true);
    MUST(look(inbox, "p2", "k") == OW_INBOX_PARKED);
    inbox->ops->discard(inbox);
}

static struct ow_inbox_letter next(struct ow_inbox *inbox, int64_t after)
{
    struct ow_inbox_letter letter = {0};
    struct ow_error err = {0};
    int r = inbox->ops->next_queued(inbox, after, &letter, &err);
    DO(r);
    return r == 1 ? letter : (struct ow_inbox_letter){0};
}

/* Takes the letter in a transaction. */
static void replay(struct ow_inbox *inbox, const struct ow_inbox_letter *letter, bool fails)
{
    const struct ow_inbox_failure failure = {.class = "again", .reason = "it failed again", .attempts = 1};
    struct ow_error err = {0};
    struct ow_record record = letter->record;
    struct ow_inbox_entry entry = {.record = &record, .id = letter->id, .letter = letter->number};
    MUST(begin_one(inbox, &entry) == OW_INBOX_NEW);
    if (fails)
        DO(inbox->ops->set_aside(inbox, &entry, &failure, &err));
    commit(inbox);
}

static void replayed_in_order(void)
{
    struct ow_inbox *inbox = new_inbox(true, 0);
    set_aside(inbox, "r1", "k", 7, false);
    set_aside(inbox, "r2", "k", 8, true);
    set_aside(inbox, "r3", "other", 9, false);
    MUST(next(inbox, 0).number == 0);
    queue(inbox, "r3");
    struct ow_inbox_letter third = next(inbox, 0);
    MUST(ow_bytes_is(third.id, "r3"));
    queue(inbox, "r1"); /* behind what was taken: nothing of its key may pass it */
    MUST(next(inbox, third.number).number == 0);
    struct ow_inbox_letter first = next(inbox, 0);
    MUST(ow_bytes_is(first.id, "r1") && first.record.partition == 3 && first.record.offset == 7);
    MUST(ow_bytes_is(first.record.message.payload, "{\"a\":1}") && ow_bytes_is(first.record.message.key, "k"));
    MUST(next(inbox, first.number).number != 0 && ow_bytes_is(next(inbox, first.number).id, "r3"));
    first = next(inbox, 0);
    uint32_t replays = first.replays;
    replay(inbox, &first, true); /* it failed again, and holds its key again */
    MUST(look(inbox, "r1", "k") == OW_INBOX_ASIDE && ow_bytes_is(next(inbox, 0).id, "r3"));
    queue(inbox, "r1");
    first = next(inbox, 0);
    MUST(ow_bytes_is(first.id, "r1") && first.replays == replays + 1);
    replay(inbox, &first, false);
    MUST(look(inbox, "r1", "k") == OW_INBOX_HANDLED && look(inbox, "r9", "k") == OW_INBOX_BLOCKED);
    struct ow_inbox_letter second = next(inbox, 0); /* was parked: goes by itself */
    MUST(ow_bytes_is(second.id, "r2"));
    replay(inbox, &second, false);
    MUST(look(inbox, "r9", "k") == OW_INBOX_NEW);
    inbox->ops->discard(inbox);
}

static void one_replays(void)
{
    struct ow_inbox *a = new_inbox(true, 0), *b = new_inbox(true, 0);
    set_aside(a, "o1", "k", 0, false);
    queue(a, "o1");
    MUST(next(a, 0).number > 0);
    MUST(next(b, 0).number == 0);
    a->ops->discard(a);
    /* The server gives up a lock a moment after its session has gone. */
    int64_t until = ow_clock_monotonic_ms() + 10000;
    while (url && next(b, 0).number == 0) {
        MUST(ow_clock_monotonic_ms() < until);
        struct timespec pause = {.tv_nsec = 10000000};
        (void)nanosleep(&pause, NULL);
    }
    b->ops->discard(b);
}

static void kept_beside(void)
{
    struct ow_inbox *inbox = new_inbox(true, 0);
    struct ow_error err = {0};
    int64_t offset = -1;
    OW_CLEANUP(ow_buf_done) struct ow_buf state = {0};
    MUST(inbox->ops->read_offset(inbox, OW_BYTES("t"), 3, &offset, &err) == 0);
    MUST(inbox->ops->load_breaker(inbox, &state, &err) == 0);
    static const int64_t stored[] = {9, 10, 8, 100}, expected[] = {9, 10, 10, 100}; /* forwards only, as numbers */
    for (size_t i = 0; i < OW_COUNT_OF(stored); i++) {
        DO(inbox->ops->begin(inbox, NULL, 0, &err));
        DO(inbox->ops->store_offset(inbox, OW_BYTES("t"), 3, stored[i], &err));
        commit(inbox);
        MUST(inbox->ops->read_offset(inbox, OW_BYTES("t"), 3, &offset, &err) == 1 && offset == expected[i]);
    }
    DO(inbox->ops->begin(inbox, NULL, 0, &err));
    DO(inbox->ops->store_offset(inbox, OW_BYTES("t"), 3, 200, &err));
    inbox->ops->rollback(inbox);
    MUST(inbox->ops->read_offset(inbox, OW_BYTES("t"), 3, &offset, &err) == 1 && offset == 100);
    MUST(inbox->ops->read_offset(inbox, OW_BYTES("t"), 4, &offset, &err) == 0);
    DO(inbox->ops->save_breaker(inbox, "open opened=2 until=5", &err));
    DO(inbox->ops->save_breaker(inbox, "closed opened=0 until=0", &err));
    MUST(inbox->ops->load_breaker(inbox, &state, &err) == 1);
    MUST(ow_bytes_is(ow_buf_bytes(&state), "closed opened=0 until=0"));
    inbox->ops->discard(inbox);
}

static void pruned(void)
{
    struct ow_inbox *inbox = new_inbox(true, 2);
    struct ow_record record;
    struct ow_error err = {0};
    struct ow_wait wait;
    set_aside(inbox, "x0", "k", 0, false);
    for (int i = 1; i <= 5; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "x%d", i);
        struct ow_inbox_entry entry = entry_of(&record, id, NULL, i);
        MUST(begin_one(inbox, &entry) == OW_INBOX_NEW);
        commit(inbox);
    }
    ow_wait_init(&wait);
    DO(inbox->ops->tend(inbox, &wait, &err));
    MUST(look(inbox, "x0", "k") == OW_INBOX_ASIDE); /* its letter is there */
    int left = 0;
    for (int i = 1; i <= 5; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "x%d", i);
        left += look(inbox, id, NULL) == OW_INBOX_HANDLED;
    }
    MUST(left == 2);
    inbox->ops->discard(inbox);
}

/* Another member that waits for this one's transaction. */
struct racer {
    struct ow_inbox *inbox;
    struct ow_inbox_entry *entries;
    size_t count;
    struct ow_error err;
    int r;
};

static void *race(void *argument)
{
    struct racer *racer = argument;
    racer->r = racer->inbox->ops->begin(racer->inbox, racer->entries, racer->count, &racer->err);
    return NULL;
}

/* While it waits, or before it begins: what it is told is the same. */
static void run_race(struct racer *racer, struct ow_inbox *first, bool commits)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, race, racer) == 0);
    (void)usleep(50000); /* makes it likely that it waits; nothing depends on it */
    if (commits)
        commit(first);
    else
        first->ops->rollback(first);
    MUST(pthread_join(thread, NULL) == 0);
    must_do(racer->r, &racer->err, __LINE__);
}

static void raced(void)
{
    const struct ow_inbox_failure failure = {.class = "test", .reason = "it failed", .attempts = 2};
    struct ow_inbox *a = new_inbox(true, 0), *b = new_inbox(true, 0);
    struct ow_record mine[2], other[3];
    struct ow_error err = {0};
    struct ow_inbox_entry given = entry_of(&mine[0], "w1", "k", 0);
    struct ow_inbox_entry entries[] = {entry_of(&other[0], "w1", "k", 0), entry_of(&other[1], "w2", "k", 1),
                                       entry_of(&other[2], "w3", "free", 2)};
    struct racer racer = {.inbox = b, .entries = entries, .count = 3};
    MUST(begin_one(a, &given) == OW_INBOX_NEW);
    run_race(&racer, a, false); /* rolled back: it is the other's */
    MUST(entries[0].state == OW_INBOX_NEW && entries[1].state == OW_INBOX_NEW && entries[2].state == OW_INBOX_NEW);
    b->ops->rollback(b);
    MUST(begin_one(a, &given) == OW_INBOX_NEW);
    DO(a->ops->set_aside(a, &given, &failure, &err));
    run_race(&racer, a, true); /* set aside meanwhile: the next of its key is behind it */
    MUST(entries[0].state != OW_INBOX_NEW && entries[0].state != OW_INBOX_BLOCKED);
    MUST(entries[1].state == OW_INBOX_BLOCKED && entries[2].state == OW_INBOX_NEW);
    b->ops->rollback(b);
    /* The same letter, replayed by two. */
    queue(a, "w1");
    struct ow_inbox_letter letter = next(a, 0);
    MUST(letter.number > 0);
    given = entry_of(&mine[0], "w1", "k", 0);
    given.letter = letter.number;
    entries[0] = entry_of(&other[0], "w1", "k", 0);
    entries[0].letter = letter.number;
    racer.count = 1;
    MUST(begin_one(a, &given) == OW_INBOX_NEW);
    run_race(&racer, a, true);
    MUST(entries[0].state == OW_INBOX_HANDLED);
    b->ops->rollback(b);
    a->ops->discard(a);
    b->ops->discard(b);
}

/* What is asked first finds the connection lost before it is prepared. */
static void lost(void)
{
    struct ow_inbox *a = url ? new_inbox(true, 0) : NULL, *b = url ? new_inbox(true, 0) : NULL;
    struct ow_error err = {0};
    struct ow_inbox_letter letter;
    struct ow_record record;
    struct ow_inbox_entry entry = entry_of(&record, "l1", "k", 0);
    int64_t pid = 0, offset = 0;
    char sql[100];
    if (!url)
        return;
    entry.letter = 1;
    DO(ow_store_query_integer(a->ops->store(a), "SELECT pg_backend_pid()", NULL, 0, 0, &pid, &err));
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%lld)", (long long)pid);
    DO(b->ops->store(b)->ops->script(b->ops->store(b), sql, &err));
    MUST(ow_error_class(a->ops->next_queued(a, 0, &letter, &err)) == OW_CLASS_RETRYABLE);
    MUST(ow_error_class(a->ops->read_offset(a, OW_BYTES("t"), 0, &offset, &err)) == OW_CLASS_RETRYABLE);
    MUST(ow_error_class(a->ops->look(a, &entry, 1, &err)) == OW_CLASS_RETRYABLE);
    MUST(ow_error_class(a->ops->begin(a, &entry, 1, &err)) == OW_CLASS_RETRYABLE);
    a->ops->discard(a);
    b->ops->discard(b);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } promises[] = {
        {"claimed once", claimed_once},
        {"parked behind", parked_behind},
        {"replayed in order", replayed_in_order},
        {"one replays", one_replays},
        {"kept beside", kept_beside},
        {"pruned", pruned},
        {"raced", raced},
        {"lost", lost},
    };
    url = argc > 1 ? argv[1] : NULL;
    (void)snprintf(folder, sizeof folder, "/tmp/onewrite-inbox-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof path, "%s/inbox.db", folder);
    static const char *const kinds[] = {"", ", behind a filter that knows nothing", ", behind one that knows all",
                                        ", behind one that guesses"};
    for (size_t i = 0; i < FILTER_KIND_COUNT * OW_COUNT_OF(promises); i++) {
        static char name[80];
        filter_kind = (enum filter_kind)(i / OW_COUNT_OF(promises));
        (void)snprintf(name, sizeof name, "%s%s", promises[i % OW_COUNT_OF(promises)].name, kinds[filter_kind]);
        what = name;
        promises[i % OW_COUNT_OF(promises)].run();
        printf("%s: kept\n", what);
    }
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < OW_COUNT_OF(ends); i++) {
        char file[128];
        (void)snprintf(file, sizeof file, "%s%s", path, ends[i]);
        (void)unlink(file);
    }
    return rmdir(folder) < 0;
}
