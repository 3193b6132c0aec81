/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite status: how things stand in stores and brokers, read without disturbing anybody. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/units.h"
#include "broker/journal/journal.h"
#include "cmd/output.h"
#include "cmd/places.h"
#include "cmd/status_postgres.h"
#include "cmd/survey.h"
#include "sql.h"
#include "store/migrate.h"
#include "store/postgres.h"

struct status_options {
    int output;
};

struct outbox_status {
    int64_t waiting, oldest_ms, bytes, dead_letters, schema_version;
    bool relay_is_at_work;
};

/* What was read of one place; which member counts, the scheme says. */
struct reading {
    bool is_good;
    struct outbox_status outbox;
    struct ow_letter_count *letters;
    size_t letter_count;
    struct ow_postgres_status postgres;
    struct ow_journal_status journal;
    int64_t file_bytes, file_time_ms;
};

/* --- reading ------------------------------------------------------------------------------------------- */

/* Whether a relay holds the lock beside the file. Looks, and does not make the lock file. */
static bool relay_is_at_work(const char *path)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf lock_path = {0};
    char *canonical = realpath(path, NULL);
    ow_buf_printf(&lock_path, "%s-onewrite.lock", canonical ? canonical : path);
    free(canonical);
    struct ow_lock_file lock = {.fd = lock_path.has_failed ? -1 : open(lock_path.data, O_RDONLY | O_CLOEXEC)};
    bool is_held = lock.fd >= 0 && ow_lock_is_held(&lock, 0);
    ow_lock_file_close(&lock);
    return is_held;
}

static int read_counts(struct ow_store *store, struct outbox_status *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    struct ow_value row[3];
    int r = ow_store_query_row(store, ow_sql_outbox_status, NULL, 0, row, 3, &keep, err);
    if (r < 0)
        return r;
    ret->waiting = row[0].integer;
    ret->oldest_ms = row[1].kind == OW_VALUE_INTEGER ? ow_clock_wall_ms() - row[1].integer : -1;
    if (ret->waiting > 0 && ret->oldest_ms < 0) /* a clock that was set back, or a time of the application's own */
        ret->oldest_ms = 0;
    ret->bytes = row[2].integer;
    return ow_store_query_integer(store, ow_sql_outbox_count_dead_letters, NULL, 0, 0, &ret->dead_letters, err);
}

static int read_letters(struct ow_store *store, bool is_postgres, struct reading *ret, struct ow_error *err)
{
    ret->letters = calloc(OW_SURVEY_SOURCES_MAX, sizeof *ret->letters);
    if (!ret->letters)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int r = ow_survey_count_letters(store, is_postgres, INT64_MAX, ret->letters, &ret->letter_count, err);
    struct ow_letter_count *less = reallocarray(ret->letters, ret->letter_count + 1, sizeof *less);
    ret->letters = less ? less : ret->letters;
    return r;
}

static int read_outbox(const struct ow_url *url, struct reading *reading, struct ow_error *err)
{
    struct outbox_status *ret = &reading->outbox;
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_sqlite_options how = {.path = url->path, .mode = OW_SQLITE_READ_ONLY};
    int r = ow_sqlite_open(&how, &store, err);
    if (r < 0)
        return r;
    r = ow_schema_version(store, &ow_schema_outbox, &ret->schema_version, err);
    if (r < 0)
        return ow_error_prefix(err, "%s", url->path);
    if (ret->schema_version == 0)
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is no outbox in it; make it with onewrite init %s", url->path,
                            url->text);
    r = store->ops->begin(store, OW_TRANSACTION_READ, err);
    if (r == 0)
        r = read_counts(store, ret, err);
    if (r == 0)
        r = read_letters(store, false, reading, err);
    store->ops->rollback(store);
    ret->relay_is_at_work = relay_is_at_work(url->path);
    return r;
}

static int read_postgres_counts(struct ow_store *store, struct outbox_status *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    struct ow_value row[3];
    int r = ow_store_query_row(store, ow_sql_pg_outbox_status, NULL, 0, row, 3, &keep, err);
    if (r < 0)
        return r;
    ret->waiting = row[0].integer;
    ret->oldest_ms = row[1].kind == OW_VALUE_INTEGER ? row[1].integer : -1;
    if (ret->waiting > 0 && ret->oldest_ms < 0)
        ret->oldest_ms = 0;
    ret->bytes = row[2].integer;
    return ow_store_query_integer(store, ow_sql_pg_outbox_count_dead_letters, NULL, 0, 0, &ret->dead_letters, err);
}

static int read_postgres(const struct ow_url *url, const char *slots, struct reading *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_postgres_options how = {.url = url->path, .shown = url->text};
    int r = ow_postgres_open(&how, &store, err);
    if (r < 0)
        return r;
    r = ow_schema_version(store, &ow_schema_outbox_postgres, &ret->outbox.schema_version, err);
    if (r < 0)
        return r == OW_EVERSION ? ow_error_prefix(err, "%s", url->text) : r;
    if (ret->outbox.schema_version == 0)
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is no outbox in it; make it with onewrite init", url->text);
    r = store->ops->begin(store, OW_TRANSACTION_READ, err);
    if (r == 0)
        r = read_postgres_counts(store, &ret->outbox, err);
    if (r == 0)
        r = read_letters(store, true, ret, err);
    if (r == 0)
        r = ow_postgres_status_read(store, slots, &ret->postgres, err);
    ret->outbox.relay_is_at_work = ow_postgres_status_is_at_work(&ret->postgres);
    store->ops->rollback(store);
    return r;
}

static int read_file(const struct ow_url *url, struct reading *ret, struct ow_error *err)
{
    struct stat st;
    if (stat(url->path, &st) != 0)
        return errno == ENOENT ? ow_error_set(err, OW_ENOTFOUND, "%s: no such file", url->path)
                               : ow_error_errno(err, errno, "%s", url->path);
    ret->file_bytes = st.st_size;
    ret->file_time_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 0;
}

static int read_place(const struct ow_url *url, const char *slots, struct reading *ret, struct ow_error *err)
{
    switch (url->scheme->id) {
    case OW_SCHEME_SQLITE:
        return read_outbox(url, ret, err);
    case OW_SCHEME_POSTGRES:
        return read_postgres(url, slots, ret, err);
    case OW_SCHEME_JOURNAL:
        return ow_journal_status_read(url->path, &ret->journal, err);
    case OW_SCHEME_FILE:
        return read_file(url, ret, err);
    case OW_SCHEME_STDOUT:
    case OW_SCHEME_KAFKA:
    case OW_SCHEME_OTHER:
        break;
    }
    return ow_error_set(err, OW_EUNSUPPORTED, "%s has no status", url->text);
}

/* --- printing ------------------------------------------------------------------------------------------ */

static const struct ow_column outbox_columns[] = {
    {"store", OW_COLUMN_TEXT},
    {"waiting", OW_COLUMN_NUMBER},
    {"oldest_ms", OW_COLUMN_DURATION},
    {"bytes", OW_COLUMN_BYTES},
    {"dead_letters", OW_COLUMN_NUMBER},
    {"relay_at_work", OW_COLUMN_BOOL},
    {"schema_version", OW_COLUMN_NUMBER},
};

static const struct ow_column letter_columns[] = {
    {"store", OW_COLUMN_TEXT},
    {"source", OW_COLUMN_TEXT},
    {"state", OW_COLUMN_TEXT},
    {"letters", OW_COLUMN_NUMBER},
};

static const struct ow_column journal_columns[] = {
    {"journal", OW_COLUMN_TEXT},     {"topics", OW_COLUMN_NUMBER},    {"records", OW_COLUMN_NUMBER},
    {"bytes_used", OW_COLUMN_BYTES}, {"bytes_file", OW_COLUMN_BYTES},
};

static const struct ow_column partition_columns[] = {
    {"journal", OW_COLUMN_TEXT},        {"topic", OW_COLUMN_TEXT},         {"partition", OW_COLUMN_NUMBER},
    {"first_offset", OW_COLUMN_NUMBER}, {"next_offset", OW_COLUMN_NUMBER},
};

static const struct ow_column group_columns[] = {
    {"journal", OW_COLUMN_TEXT},     {"group", OW_COLUMN_TEXT},     {"topic", OW_COLUMN_TEXT},
    {"partition", OW_COLUMN_NUMBER}, {"offset", OW_COLUMN_NUMBER},  {"lag", OW_COLUMN_NUMBER},
    {"time_ms", OW_COLUMN_TIME},     {"process", OW_COLUMN_NUMBER},
};

static const struct ow_column source_columns[] = {
    {"journal", OW_COLUMN_TEXT},
    {"source", OW_COLUMN_TEXT},
    {"position", OW_COLUMN_TEXT},
    {"time_ms", OW_COLUMN_TIME},
};

static const struct ow_column file_columns[] = {
    {"file", OW_COLUMN_TEXT},
    {"bytes", OW_COLUMN_BYTES},
    {"time_ms", OW_COLUMN_TIME},
};

static void print_outbox(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    const struct outbox_status *s = &reading->outbox;
    if (place->url->scheme->id != OW_SCHEME_SQLITE && place->url->scheme->id != OW_SCHEME_POSTGRES)
        return;
    ow_output_text(out, place->name);
    ow_output_number(out, s->waiting);
    if (s->oldest_ms >= 0)
        ow_output_number(out, s->oldest_ms);
    else
        ow_output_null(out);
    ow_output_number(out, s->bytes);
    ow_output_number(out, s->dead_letters);
    ow_output_number(out, s->relay_is_at_work);
    ow_output_number(out, s->schema_version);
}

static void print_letters(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    for (size_t i = 0; i < reading->letter_count; i++) {
        ow_output_text(out, place->name);
        ow_output_text(out, reading->letters[i].source);
        ow_output_text(out, reading->letters[i].state);
        ow_output_number(out, reading->letters[i].count);
    }
}

static void print_leases(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    ow_postgres_status_print_leases(out, place->name, &reading->postgres);
}

static void print_slots(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    ow_postgres_status_print_slots(out, place->name, &reading->postgres);
}

static void print_journal(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    const struct ow_journal_status *s = &reading->journal;
    int64_t topics = 0, records = 0;
    if (place->url->scheme->id != OW_SCHEME_JOURNAL)
        return;
    for (size_t i = 0; i < s->partition_count; i++) {
        topics += i == 0 || strcmp(s->partitions[i].topic, s->partitions[i - 1].topic) != 0;
        records += s->partitions[i].next_offset - s->partitions[i].first_offset;
    }
    ow_output_text(out, place->name);
    ow_output_number(out, topics);
    ow_output_number(out, records);
    ow_output_number(out, s->bytes_used);
    ow_output_number(out, s->bytes_file);
}

static void print_partitions(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    for (size_t i = 0; i < reading->journal.partition_count; i++) {
        const struct ow_journal_partition_status *p = &reading->journal.partitions[i];
        ow_output_text(out, place->name);
        ow_output_text(out, p->topic);
        ow_output_number(out, p->partition);
        ow_output_number(out, p->first_offset);
        ow_output_number(out, p->next_offset);
    }
}

static void print_groups(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    for (size_t i = 0; i < reading->journal.group_count; i++) {
        const struct ow_journal_group_status *g = &reading->journal.groups[i];
        ow_output_text(out, place->name);
        ow_output_text(out, g->group);
        ow_output_text(out, g->topic);
        ow_output_number(out, g->partition);
        ow_output_number(out, g->offset);
        ow_output_number(out, g->lag);
        ow_output_number(out, g->time_ms);
        if (g->process)
            ow_output_number(out, g->process);
        else
            ow_output_null(out);
    }
}

static void print_sources(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    for (size_t i = 0; i < reading->journal.source_count; i++) {
        const struct ow_journal_source_status *s = &reading->journal.sources[i];
        ow_output_text(out, place->name);
        ow_output_text(out, s->name);
        ow_output_text(out, s->position);
        ow_output_number(out, s->time_ms);
    }
}

static void print_file(struct ow_output *out, const struct ow_place *place, const struct reading *reading)
{
    if (place->url->scheme->id != OW_SCHEME_FILE)
        return;
    ow_output_text(out, place->name);
    ow_output_number(out, reading->file_bytes);
    ow_output_number(out, reading->file_time_ms);
}

#define COLUMNS(array) array, sizeof(array) / sizeof((array)[0])
static const struct {
    const char *kind;
    const struct ow_column *columns;
    size_t column_count;
    void (*print)(struct ow_output *out, const struct ow_place *place, const struct reading *reading);
} sections[] = {
    {"outbox", COLUMNS(outbox_columns), print_outbox},    {"dead_letters", COLUMNS(letter_columns), print_letters},
    {"slot", COLUMNS(ow_slot_columns), print_slots},      {"lease", COLUMNS(ow_lease_columns), print_leases},
    {"journal", COLUMNS(journal_columns), print_journal}, {"partition", COLUMNS(partition_columns), print_partitions},
    {"group", COLUMNS(group_columns), print_groups},      {"source", COLUMNS(source_columns), print_sources},
    {"file", COLUMNS(file_columns), print_file},
};

/* --- the command --------------------------------------------------------------------------------------- */

/* The slots that relays of a configuration name, of this store. */
static int list_slots(const struct ow_places *places, const struct ow_place *place, struct ow_buf *to,
                      struct ow_error *err)
{
    ow_buf_clear(to);
    ow_buf_add_text(to, "");
    for (size_t i = 0; places->config && i < places->config->relay_count; i++) {
        const struct ow_config_relay *relay = &places->config->relays[i];
        if (relay->slot && &relay->store->url == place->url)
            ow_buf_printf(to, "%s%s", to->size ? "," : "", relay->slot);
    }
    return ow_buf_check(to, err);
}

/* Reads all that can be read; the first error is kept, and of a configuration every one is printed. */
static int read_all(const struct ow_places *places, struct reading *readings, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf slots = {0};
    int first = 0;
    for (size_t i = 0; i < places->count; i++) {
        const struct ow_place *place = &places->items[i];
        struct ow_error problem = {0};
        if (places->config && (place->url->scheme->id == OW_SCHEME_STDOUT || place->url->scheme->id == OW_SCHEME_KAFKA))
            continue;
        int r = list_slots(places, place, &slots, &problem);
        r = r == 0 ? read_place(place->url, slots.data ? slots.data : "", &readings[i], &problem) : r;
        readings[i].is_good = r == 0;
        if (r < 0 && places->config)
            ow_complain("%s: %s", place->name, problem.text);
        if (r < 0 && first == 0) {
            first = r;
            *err = problem;
        }
    }
    return first;
}

static void reading_done(struct reading *reading)
{
    free(reading->letters);
    ow_postgres_status_done(&reading->postgres);
    ow_journal_status_done(&reading->journal);
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)count;
    const struct status_options *o = options;
    OW_CLEANUP(ow_places_done) struct ow_places places = {0};
    struct ow_output out;
    int read = ow_places_read(arguments[0], &places, err);
    if (read != 0)
        return read;
    struct reading *readings = calloc(places.count + 1, sizeof *readings);
    if (!readings)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    read = read_all(&places, readings, err);
    if (read < 0 && !places.config) {
        reading_done(&readings[0]);
        free(readings);
        return read;
    }
    ow_output_init(&out, o->output);
    for (size_t s = 0; s < sizeof sections / sizeof sections[0]; s++) {
        ow_output_section(&out, sections[s].kind, sections[s].columns, sections[s].column_count);
        for (size_t i = 0; i < places.count; i++)
            if (readings[i].is_good)
                sections[s].print(&out, &places.items[i], &readings[i]);
    }
    int r = ow_output_finish(&out, err);
    for (size_t i = 0; i < places.count; i++) {
        ow_postgres_status_warn(&places.items[i], &readings[i].postgres);
        reading_done(&readings[i]);
    }
    free(readings);
    return r < 0 ? r : ow_error_exit_status(read);
}

static const struct ow_flag options[] = {
    OW_FLAG_OUTPUT(struct status_options),
    {0},
};

static const struct ow_argument arguments[] = {
    {"URL|CONFIG", "a store, a broker, or a configuration file that names several", OW_ARGUMENT_URL, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite status sqlite:shop.db", "how many messages wait in the outbox, and since when"},
    {"onewrite status postgres://localhost/shop", "and how much of its log the server keeps for the relay"},
    {"onewrite status journal:bus.db -o jsonl", "topics, groups and how far they are behind, an object a line"},
    {0},
};

const struct ow_command ow_command_status = {
    .name = "status",
    .summary = "show how things stand in a store or a broker",
    .arguments = arguments,
    .description =
        "Of an outbox: the messages that wait, the age of the oldest, the bytes of their payloads, the dead letters, "
        "and whether a relay is at work on it; the dead letters of relays and consumers by source and state; in "
        "PostgreSQL also the replication slots of onewrite (who reads, how much of the log the server keeps for it, "
        "how far it lags, how long nobody has read, and the position on record), and who holds the leases by polling. "
        "A slot that keeps much for nobody, or is lost, is named on standard error with what to do. Of a journal: its "
        "topics and partitions with the first offset that is there and the next one to come, the consumer groups with "
        "their lag, the positions of its sources, and its size. Of a file: its size and when it was written last.\n\n"
        "Each object of -o json and jsonl has a member \"kind\": outbox, dead_letters, slot, lease, journal, "
        "partition, "
        "group, source or file. Nothing is changed or locked. Of a configuration what cannot be read is named on "
        "standard error and the rest is shown; the exit status is that of the first: 4, there is no such file or no "
        "outbox in it; 69, it cannot be reached; 77, it may not be read.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct status_options),
    .run = run,
};
