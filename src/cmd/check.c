/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onewrite check: whether the stores and brokers of a configuration can be worked with. Nothing is created and
 * nothing is written.
 */
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/output.h"
#include "cmd/places.h"
#include "config/construct.h"
#include "sql.h"
#include "store/migrate.h"
#include "store/postgres.h"

struct check_options {
    int output;
};

static int open_existing(const struct ow_url *url, struct ow_store **ret, struct ow_error *err)
{
    /* Not read-only: a file that can be read but not written is of no use to a relay. */
    struct ow_sqlite_options how = {.path = url->path, .mode = OW_SQLITE_MUST_EXIST};
    return ow_sqlite_open(&how, ret, err);
}

static int check_schema(const struct ow_url *url, const struct ow_schema *schema, int64_t *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    int r = open_existing(url, &store, err);
    if (r < 0)
        return r;
    r = ow_schema_version(store, schema, ret, err);
    return r < 0 ? ow_error_prefix(err, "%s", url->path) : 0;
}

static int check_outbox(const struct ow_url *url, struct ow_error *err)
{
    int64_t version = 0;
    int r = check_schema(url, &ow_schema_outbox, &version, err);
    if (r == 0 && version == 0)
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is no outbox in it; make it with onewrite init %s", url->path,
                            url->text);
    return r;
}

static int check_postgres(const struct ow_url *url, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_postgres_options how = {.url = url->path, .shown = url->text};
    int64_t version = 0;
    int r = ow_postgres_open(&how, &store, err);
    if (r < 0)
        return r;
    r = ow_schema_version(store, &ow_schema_outbox_postgres, &version, err);
    if (r < 0)
        return ow_error_prefix(err, "%s", url->text);
    if (version == 0)
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is no outbox in it; make it with onewrite init", url->text);
    /* Whether a relay of this role could read it. */
    return store->ops->script(store, ow_sql_pg_outbox_count_dead_letters, err);
}

/* What a broker keeps in a file is made at the first publish; its folder has to be there. */
static int check_folder(const char *path, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf copy = {0};
    struct stat st;
    ow_buf_add_text(&copy, path);
    int r = ow_buf_check(&copy, err);
    if (r < 0)
        return r;
    const char *folder = dirname(copy.data);
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is no folder %s; make it", path, folder);
    if (access(folder, W_OK | X_OK) != 0)
        return ow_error_set(err, OW_EDENIED, "%s: cannot be made in %s, which this user may not write to", path,
                            folder);
    return 0;
}

static int check_file(const struct ow_url *url, struct ow_error *err)
{
    struct stat st;
    if (stat(url->path, &st) == 0 && S_ISDIR(st.st_mode))
        return ow_error_set(err, OW_EINVALID, "%s: is a folder; name a file", url->path);
    if (access(url->path, W_OK) != 0)
        return ow_error_set(err, OW_EDENIED, "%s: the file is read-only for this user", url->path);
    return 0;
}

/* Opening is connecting, and being let in. */
static int check_reach(const struct ow_url *url, struct ow_error *err)
{
    struct ow_broker *broker = NULL;
    int r = ow_config_new_broker(url, &broker, err);
    if (r < 0)
        return r;
    r = broker->ops->open(broker, err);
    broker->ops->discard(broker);
    return r;
}

static int check_place(const struct ow_url *url, struct ow_error *err)
{
    int64_t version = 0;
    switch (url->scheme->id) {
    case OW_SCHEME_SQLITE:
        return check_outbox(url, err);
    case OW_SCHEME_POSTGRES:
        return check_postgres(url, err);
    case OW_SCHEME_JOURNAL:
        return access(url->path, F_OK) != 0 ? check_folder(url->path, err)
                                            : check_schema(url, &ow_schema_journal, &version, err);
    case OW_SCHEME_FILE:
        return access(url->path, F_OK) != 0 ? check_folder(url->path, err) : check_file(url, err);
    case OW_SCHEME_KAFKA:
        return check_reach(url, err);
    case OW_SCHEME_STDOUT:
        return 0;
    case OW_SCHEME_OTHER:
        break;
    }
    return ow_error_set(err, OW_EUNSUPPORTED, "%s cannot be checked", url->text);
}

/* A file that is not there is a dependency that cannot be reached: somebody may still make it. */
static int status_of(int code)
{
    int status = ow_error_exit_status(code);
    return status == 4 ? 69 : status;
}

static int worse(int a, int b)
{
    static const int order[] = {78, 77, 69};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return a > b ? a : b;
}

static const struct ow_column columns[] = {
    {"name", OW_COLUMN_TEXT},
    {"url", OW_COLUMN_TEXT},
    {"ok", OW_COLUMN_BOOL},
    {"problem", OW_COLUMN_TEXT},
};

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)count;
    const struct check_options *o = options;
    OW_CLEANUP(ow_places_done) struct ow_places places = {0};
    struct ow_output out;
    int status = 0, r = ow_places_read(arguments[0], &places, err);
    if (r != 0)
        return r;
    ow_output_init(&out, o->output);
    for (size_t i = 0; i < places.count; i++) {
        const struct ow_place *place = &places.items[i];
        struct ow_error problem = {0};
        /* In a table the columns of a store are those of a broker: one section for both. */
        const char *kind = place->url->scheme->kinds & OW_URL_STORE ? "store" : "broker";
        if (i == 0 || o->output != OW_OUTPUT_TABLE)
            ow_output_section(&out, kind, columns, o->output == OW_OUTPUT_TABLE ? 3 : 4);
        r = check_place(place->url, &problem);
        ow_output_text(&out, place->name);
        ow_output_text(&out, place->url->text);
        ow_output_number(&out, r == 0);
        if (o->output != OW_OUTPUT_TABLE)
            ow_output_text(&out, r == 0 ? NULL : problem.text);
        if (r < 0 && places.config)
            ow_complain("%s %s: %s", kind, place->name, problem.text);
        else if (r < 0)
            ow_complain("%s", problem.text);
        if (r < 0)
            status = worse(status, status_of(r));
    }
    r = ow_output_finish(&out, err);
    return r < 0 ? r : status;
}

static const struct ow_flag options[] = {
    OW_FLAG_OUTPUT(struct check_options),
    {0},
};

static const struct ow_argument arguments[] = {
    {"CONFIG", "the configuration file, or a URL", OW_ARGUMENT_FILE, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite check onewrite.yaml", "opens every store and broker, and says what is wrong with which"},
    {0},
};

const struct ow_command ow_command_check = {
    .name = "check",
    .summary = "check that every store and broker of a configuration can be worked with",
    .arguments = arguments,
    .description =
        "Opens each store and broker that the configuration names, without making or changing anything. What a broker "
        "makes by itself, a journal or a file, may be missing if its folder is there. Each problem is a line on "
        "standard error. Ends with 78 for a mistake in the configuration, else 77 if something is not permitted, else "
        "69 if something is missing or cannot be reached.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct check_options),
    .run = run,
};
