/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite init: makes the tables of a store, or the file of a journal. Running it again changes nothing. */
#include "base/units.h"
#include "cmd/output.h"
#include "config/construct.h"
#include "sql.h"
#include "store/migrate.h"
#include "store/postgres.h"

struct init_options {
    bool prints, keeps_rollback_journal;
    int outbox; /* an enum ow_postgres_outbox, or PARTITIONED */
    int64_t partition_rows;
    const char *notify; /* NULL: as it is */
};

enum { PARTITIONED = OW_POSTGRES_MESSAGE + 1, NOTIFY_MS_MAX = 60000 };

static const char *const outboxes[] = {[OW_POSTGRES_AS_IT_IS] = "as-it-is",
                                       [OW_POSTGRES_TABLE] = "table",
                                       [OW_POSTGRES_MESSAGE] = "message",
                                       [PARTITIONED] = "partitioned",
                                       NULL};

static enum ow_postgres_outbox mode_of(const struct init_options *options)
{
    return options->outbox == PARTITIONED ? OW_POSTGRES_TABLE : (enum ow_postgres_outbox)options->outbox;
}

static void print_layout(const struct init_options *options, struct ow_buf *to)
{
    int64_t notify_ms = 0;
    struct ow_error ignored;
    if (options->outbox == PARTITIONED)
        ow_buf_printf(to, "\nBEGIN;\nSET LOCAL onewrite.partition_rows = %lld;\n%s\n%s\nCOMMIT;\n",
                      (long long)options->partition_rows, ow_sql_pg_init_partition, ow_sql_pg_init_grant_partitioned);
    if (options->notify && ow_duration_parse(ow_bytes_of(options->notify), &notify_ms, &ignored) == 0)
        ow_buf_printf(to, "\nBEGIN;\nSET LOCAL onewrite.notify_ms = %lld;\n%s\nCOMMIT;\n", (long long)notify_ms,
                      notify_ms ? ow_sql_pg_init_notify_on : ow_sql_pg_init_notify_off);
}

/* What to run by hand in place of this command. */
static int print_sql(const struct ow_url *url, const struct init_options *options, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    bool is_journal = url->scheme->id == OW_SCHEME_JOURNAL;
    if (url->scheme->id == OW_SCHEME_POSTGRES) {
        OW_CLEANUP(ow_buf_done) struct ow_buf database = {0};
        int failed = ow_postgres_database_of(url->postgres.url, &database, err);
        if (failed < 0)
            return failed;
        ow_postgres_init_print(mode_of(options), database.data, &text);
        print_layout(options, &text);
        failed = ow_buf_check(&text, err);
        return failed < 0 ? failed : ow_output_write(ow_buf_bytes(&text), err);
    }
    if (is_journal || !options->keeps_rollback_journal)
        ow_buf_add_text(&text, "PRAGMA journal_mode = wal;\n\n");
    ow_schema_print(is_journal ? &ow_schema_journal : &ow_schema_outbox, &text);
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

static void tell(const char *path, const char *what, int64_t before, int64_t now)
{
    if (before == now)
        ow_say("%s: nothing to do, schema version %lld", path, (long long)now);
    else if (before == 0)
        ow_say("%s: created %s (schema version %lld)", path, what, (long long)now);
    else
        ow_say("%s: brought from schema version %lld to %lld", path, (long long)before, (long long)now);
}

static int make_outbox(const struct ow_url *url, const struct init_options *options, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_sqlite_options how = {
        .path = url->path, .mode = OW_SQLITE_CREATE, .is_durable = true, .wants_wal = !options->keeps_rollback_journal};
    int64_t before = 0;
    size_t applied = 0;
    int r = ow_sqlite_open(&how, &store, err);
    if (r < 0)
        return r;
    r = ow_schema_version(store, &ow_schema_outbox, &before, err);
    if (r < 0)
        return ow_error_prefix(err, "%s", url->path);
    r = ow_schema_migrate(store, &ow_schema_outbox, &applied, err);
    if (r < 0)
        return r;
    tell(url->path, "onewrite_outbox and onewrite_dead_letter", before, (int64_t)ow_schema_outbox.count);
    return 0;
}

/* The SQL goes to standard output, so that it can be handed on; what it is for to standard error. */
static int hand_over(const struct ow_url *url, const struct ow_postgres_init_report *report, struct ow_error *err)
{
    if (report->missing.size == 0)
        return 0;
    ow_complain("%s; a DBA may run what is on standard output, against %s",
                report->why.size ? report->why.data : err->text, url->text);
    struct ow_error ignored;
    return ow_output_write(ow_buf_bytes(&report->missing), &ignored);
}

static int lay_out(struct ow_store *store, const struct ow_url *url, const struct init_options *options,
                   struct ow_error *err)
{
    bool has_changed = false;
    int64_t notify_ms = 0;
    int r = 0;
    if (options->outbox == PARTITIONED)
        r = ow_postgres_partition(store, options->partition_rows, &has_changed, err);
    if (r == 0 && has_changed)
        ow_say("%s: the outbox is in partitions of %lld rows now", url->text, (long long)options->partition_rows);
    has_changed = false;
    if (r == 0 && options->notify)
        r = ow_duration_parse(ow_bytes_of(options->notify), &notify_ms, err);
    if (r == 0 && options->notify)
        r = ow_postgres_set_notify(store, notify_ms, &has_changed, err);
    if (r == 0 && has_changed)
        ow_say("%s: %s", url->text,
               notify_ms ? "inserts into the outbox wake the relay now" : "inserts into the outbox wake nobody now");
    if (r < 0 && strncmp(err->text, url->text, strlen(url->text)) == 0) /* the server's: it is named */
        return r;
    return r < 0 ? ow_error_prefix(err, "%s", url->text) : 0;
}

static int make_postgres(const struct ow_url *url, const struct init_options *options, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    OW_CLEANUP(ow_postgres_init_report_done) struct ow_postgres_init_report report = {0};
    struct ow_postgres_options how = {.url = url->path, .shown = url->text};
    int r = ow_postgres_open(&how, &store, err);
    if (r < 0)
        return r;
    r = ow_postgres_init(store, mode_of(options), &report, err);
    if (report.missing.size > 0 && hand_over(url, &report, err) == 0 && r < 0)
        return ow_error_exit_status(r);
    if (r < 0)
        return r == OW_EVERSION || r == OW_EUNSUPPORTED ? ow_error_prefix(err, "%s", url->text) : r;
    if (report.version_before == 0)
        ow_say("%s: created schema onewrite (schema version %zu)", url->text, ow_schema_outbox_postgres.count);
    else if (report.version_before != (int64_t)ow_schema_outbox_postgres.count)
        ow_say("%s: brought from schema version %lld to %zu", url->text, (long long)report.version_before,
               ow_schema_outbox_postgres.count);
    else
        ow_say("%s: %s, schema version %zu", url->text, report.has_changed ? "made what was missing" : "nothing to do",
               ow_schema_outbox_postgres.count);
    if (report.made_slot)
        ow_say("%s: made the slot of the outbox without a table; the server keeps WAL from now on until a relay "
               "--by message has read it",
               url->text);
    return lay_out(store, url, options, err);
}

static int read_journal_version(const char *path, int64_t *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_sqlite_options how = {.path = path, .mode = OW_SQLITE_READ_ONLY};
    *ret = 0;
    int r = ow_sqlite_open(&how, &store, err);
    if (r == OW_ENOTFOUND)
        return 0;
    if (r == 0)
        r = ow_schema_version(store, &ow_schema_journal, ret, err);
    return r == OW_EVERSION ? ow_error_prefix(err, "%s", path) : r;
}

/* The broker itself makes its file, so that it is the same however it came to be. */
static int make_journal(const struct ow_url *url, struct ow_error *err)
{
    struct ow_broker *broker = NULL;
    int64_t before = 0;
    int r = read_journal_version(url->path, &before, err);
    if (r < 0)
        return r;
    r = ow_config_new_broker(url, &broker, err);
    if (r < 0)
        return r;
    r = broker->ops->open(broker, err);
    broker->ops->discard(broker);
    if (r < 0)
        return r;
    tell(url->path, "the journal", before, (int64_t)ow_schema_journal.count);
    return 0;
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)count;
    const struct init_options *o = options;
    OW_CLEANUP(ow_url_done) struct ow_url url = {0};
    int64_t notify_ms = 0;
    int r = ow_command_url(arguments[0], OW_URL_STORE | OW_URL_BROKER, &url, err);
    if (r < 0)
        return r;
    if (url.scheme->id != OW_SCHEME_SQLITE && url.scheme->id != OW_SCHEME_JOURNAL &&
        url.scheme->id != OW_SCHEME_POSTGRES)
        return ow_error_set(err, OW_EUSAGE, "%s needs no init; it is made when something is published", url.text);
    if (url.scheme->id == OW_SCHEME_JOURNAL && o->keeps_rollback_journal)
        return ow_error_set(err, OW_EUSAGE, "option --no-wal is for stores; a journal is always in WAL mode");
    if (url.scheme->id == OW_SCHEME_POSTGRES && o->keeps_rollback_journal)
        return ow_error_set(err, OW_EUSAGE, "option --no-wal is for SQLite");
    if (url.scheme->id != OW_SCHEME_POSTGRES && o->outbox != OW_POSTGRES_AS_IT_IS)
        return ow_error_set(err, OW_EUSAGE, "option --outbox is for PostgreSQL");
    if (url.scheme->id != OW_SCHEME_POSTGRES && o->notify)
        return ow_error_set(err, OW_EUSAGE, "option --notify is for PostgreSQL");
    if (o->notify && (ow_duration_parse(ow_bytes_of(o->notify), &notify_ms, err) < 0 || notify_ms > NOTIFY_MS_MAX))
        return ow_error_set(err, OW_EUSAGE, "option --notify: \"%s\" is no duration from 0 to 1m, such as 10ms",
                            o->notify);
    if (o->prints)
        return print_sql(&url, o, err);
    if (url.scheme->id == OW_SCHEME_POSTGRES)
        return make_postgres(&url, o, err);
    return url.scheme->id == OW_SCHEME_JOURNAL ? make_journal(&url, err) : make_outbox(&url, o, err);
}

static const struct ow_flag options[] = {
    {"print", 0, NULL, OW_FLAG_BOOL, NULL, "print the SQL on standard output and touch nothing",
     offsetof(struct init_options, prints)},
    {"no-wal", 0, NULL, OW_FLAG_BOOL, NULL,
     "leave the database in the journal mode that it has; readers and writers then wait for one another",
     offsetof(struct init_options, keeps_rollback_journal)},
    {"outbox", 0, "HOW", OW_FLAG_CHOICE, "as-it-is",
     "PostgreSQL: onewrite.publish() writes into the table, or a WAL message and no table; a new one begins with the "
     "table. partitioned: a table whose accepted rows go by TRUNCATE of a whole partition",
     offsetof(struct init_options, outbox), outboxes, 0, 0},
    {"partition-rows", 0, "N", OW_FLAG_INTEGER, "1000000", "with --outbox partitioned: how many rows a partition has",
     offsetof(struct init_options, partition_rows), NULL, 100, 1000000000},
    {"notify", 0, "DURATION", OW_FLAG_STRING, NULL,
     "PostgreSQL: inserts wake the relay by polling with NOTIFY, at most once in that time; 0: not any more",
     offsetof(struct init_options, notify)},
    {0},
};

static const struct ow_argument arguments[] = {
    {"URL", "sqlite:PATH, postgres://… or journal:PATH", OW_ARGUMENT_URL, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite init sqlite:shop.db", "makes onewrite_outbox and onewrite_dead_letter in shop.db"},
    {"onewrite init postgres://localhost/shop", "makes the schema onewrite, roles and a publication"},
    {"onewrite init --print sqlite:shop.db > outbox.sql", "writes the SQL to a file, to be run by other means"},
    {0},
};

const struct ow_command ow_command_init = {
    .name = "init",
    .summary = "make the outbox in a store, or the file of a journal",
    .arguments = arguments,
    .description =
        "Creates what is missing and brings an older schema up to date, in one transaction; what is there already is "
        "left as it is, so that running it again changes nothing. An SQLite file that does not exist is made. The file "
        "is put into WAL mode, in which the service writes while the relay reads.\n\n"
        "In PostgreSQL it makes the schema onewrite, the roles onewrite_app and onewrite_relay with as few rights as "
        "they "
        "need, and a publication of the outbox table alone. What the role of the URL may not make is printed as SQL "
        "for "
        "somebody who may: with status 77 if it is the schema itself.\n\n"
        "A journal needs no init: a relay makes its file. Doing it beforehand sets who owns the file.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct init_options),
    .run = run,
};
