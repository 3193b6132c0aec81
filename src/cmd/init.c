/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite init: makes the tables of a store, or the file of a journal. Running it again changes nothing. */
#include "cmd/output.h"
#include "config/construct.h"
#include "store/migrate.h"

struct init_options {
    bool prints, keeps_rollback_journal;
};

/* What to run by hand in place of this command. */
static int print_sql(const struct ow_url *url, const struct init_options *options, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    bool is_journal = url->scheme->id == OW_SCHEME_JOURNAL;
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
    int r = ow_command_url(arguments[0], OW_URL_STORE | OW_URL_BROKER, &url, err);
    if (r < 0)
        return r;
    if (url.scheme->id != OW_SCHEME_SQLITE && url.scheme->id != OW_SCHEME_JOURNAL)
        return ow_error_set(err, OW_EUSAGE, "%s needs no init; it is made when something is published", url.text);
    if (url.scheme->id == OW_SCHEME_JOURNAL && o->keeps_rollback_journal)
        return ow_error_set(err, OW_EUSAGE, "option --no-wal is for stores; a journal is always in WAL mode");
    if (o->prints)
        return print_sql(&url, o, err);
    return url.scheme->id == OW_SCHEME_JOURNAL ? make_journal(&url, err) : make_outbox(&url, o, err);
}

static const struct ow_flag options[] = {
    {"print", 0, NULL, OW_FLAG_BOOL, NULL, "print the SQL on standard output and touch nothing",
     offsetof(struct init_options, prints)},
    {"no-wal", 0, NULL, OW_FLAG_BOOL, NULL,
     "leave the database in the journal mode that it has; readers and writers then wait for one another",
     offsetof(struct init_options, keeps_rollback_journal)},
    {0},
};

static const struct ow_argument arguments[] = {
    {"URL", "sqlite:PATH or journal:PATH", OW_ARGUMENT_URL, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite init sqlite:shop.db", "makes onewrite_outbox and onewrite_dead_letter in shop.db"},
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
        "A journal needs no init: a relay makes its file. Doing it beforehand sets who owns the file.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct init_options),
    .run = run,
};
