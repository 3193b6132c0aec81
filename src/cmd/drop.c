/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite drop: takes away what onewrite has made in a store, from the slot to the tables. */
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "cmd/output.h"
#include "config/construct.h"
#include "sql.h"
#include "store/migrate.h"
#include "store/postgres.h"

struct drop_options {
    const char *slot;
    bool is_dry, prints, with_schema, is_sure;
    int output;
};

struct item { /* what is to be dropped */
    char kind[16], name[64];
    char *sql; /* owned */
};

struct plan {
    struct item *items;
    size_t count;
};

static void plan_done(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->items[i].sql);
    free(plan->items);
}

static int add(struct plan *plan, struct ow_bytes kind, struct ow_bytes name, struct ow_bytes sql, struct ow_error *err)
{
    struct item *more = realloc(plan->items, (plan->count + 1) * sizeof *more);
    if (!more)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    plan->items = more;
    struct item *item = &more[plan->count];
    (void)snprintf(item->kind, sizeof item->kind, "%.*s", OW_PRINT(kind));
    (void)snprintf(item->name, sizeof item->name, "%.*s", OW_PRINT(name));
    item->sql = ow_bytes_text(sql);
    plan->count += item->sql != NULL;
    return item->sql ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

/* --- PostgreSQL: what there is ------------------------------------------------------------------------- */

static int refuse_at_work(const char *shown, struct ow_bytes slot, int64_t pid, struct ow_error *err)
{
    return ow_error_set(err, OW_EBUSY, "%s: a relay is at work on slot %.*s (PID %lld of the server): stop it first",
                        shown, OW_PRINT(slot), (long long)pid);
}

/* Also against a relay that is just beginning. */
static int lock_slot(struct ow_store *store, const char *shown, struct ow_bytes slot, struct ow_error *err)
{
    const struct ow_value name = ow_value_text(slot);
    int64_t is_ours = 0;
    int r = ow_store_query_integer(store, ow_sql_pg_ops_lock_slot, &name, 1, 0, &is_ours, err);
    if (r == 0 && !is_ours)
        r = ow_error_set(err, OW_EBUSY, "%s: a relay is at work on slot %.*s: stop it first", shown, OW_PRINT(slot));
    return r;
}

static int add_rows(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                    const char *shown, struct plan *plan, struct ow_error *err)
{
    struct ow_statement *statement = NULL;
    struct ow_value row[4];
    int r = store->ops->prepare(store, sql, &statement, err);
    if (r == 0)
        r = store->ops->start(statement, values, count, err);
    while (r == 0 && (r = store->ops->row(statement, row, 4, err)) == 1) {
        r = row[3].integer ? refuse_at_work(shown, row[1].bytes, row[3].integer, err) : 0;
        if (r == 0)
            r = add(plan, row[0].bytes, row[1].bytes, row[2].bytes, err);
    }
    store->ops->discard(statement);
    return r;
}

static int refuse_pollers(struct ow_store *store, const char *shown, struct ow_error *err)
{
    int64_t pollers = 0;
    int r = ow_store_query_integer(store, ow_sql_pg_ops_pollers, NULL, 0, 0, &pollers, err);
    if (r == 0 && pollers)
        r = ow_error_set(err, OW_EBUSY, "%s: a relay is at work by polling: stop it first", shown);
    return r;
}

static int make_plan(struct ow_store *store, const struct ow_url *url, const struct drop_options *o, struct plan *plan,
                     struct ow_error *err)
{
    char log[OW_POSTGRES_NAME_SIZE], message[OW_POSTGRES_NAME_SIZE];
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    struct ow_value database;
    int64_t has_schema = 0, has_any = 0;
    int r = ow_store_query_row(store, ow_sql_pg_ops_database, NULL, 0, &database, 1, &keep, err);
    if (r < 0)
        return r;
    char *name = ow_bytes_text(database.bytes);
    if (!name)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ow_postgres_slot_name(name, "log", log);
    ow_postgres_slot_name(name, "message", message);
    free(name);
    const struct ow_value values[] = {ow_value_text(ow_bytes_of(o->slot ? o->slot : "")),
                                      ow_value_text(ow_bytes_of(log)), ow_value_text(ow_bytes_of(message))};
    r = o->slot ? 0 : refuse_pollers(store, url->text, err);
    if (r == 0)
        r = add_rows(store, ow_sql_pg_ops_plan_slots, values, 3, url->text, plan, err);
    for (size_t i = 0; i < plan->count && r == 0; i++)
        if (strcmp(plan->items[i].kind, "slot") == 0)
            r = lock_slot(store, url->text, ow_bytes_of(plan->items[i].name), err);
    if (r == 0)
        r = ow_store_query_integer(store, ow_sql_pg_ops_has_schema, NULL, 0, 0, &has_schema, err);
    if (r == 0 && has_schema && !o->with_schema)
        r = add_rows(store, ow_sql_pg_ops_plan_rows, values, 3, url->text, plan, err);
    if (r == 0 && o->with_schema)
        r = ow_store_query_integer(store, ow_sql_pg_ops_has_any_schema, NULL, 0, 0, &has_any, err);
    if (r == 0 && has_any)
        r = add_rows(store, ow_sql_pg_ops_plan_schema, NULL, 0, url->text, plan, err);
    return r;
}

/* What goes with the tables, for who has not said yet that he means it. */
static int ask_if_sure(struct ow_store *store, const char *sql, const char *shown, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf keep = {0};
    struct ow_value row[2];
    int r = ow_store_query_row(store, sql, NULL, 0, row, 2, &keep, err);
    if (r < 0)
        return r;
    return ow_error_set(
        err, OW_EUSAGE,
        "%s: option --schema drops the tables with all that is in them: %lld messages that wait, %lld dead "
        "letters; say --yes as well if that is meant",
        shown, (long long)row[0].integer, (long long)row[1].integer);
}

/* --- doing it ------------------------------------------------------------------------------------------ */

static int print_sql(const struct plan *plan, size_t from, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    for (size_t i = from; i < plan->count; i++)
        ow_buf_printf(&text, "%s;\n", plan->items[i].sql);
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

static const struct ow_column columns[] = {
    {"store", OW_COLUMN_TEXT},
    {"what", OW_COLUMN_TEXT},
    {"name", OW_COLUMN_TEXT},
    {"done", OW_COLUMN_BOOL},
};

static int print_items(const struct ow_url *url, const struct plan *plan, const struct drop_options *o,
                       struct ow_error *err)
{
    struct ow_output out;
    ow_output_init(&out, o->output);
    ow_output_section(&out, "drop", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < plan->count; i++) {
        ow_output_text(&out, url->text);
        ow_output_text(&out, plan->items[i].kind);
        ow_output_text(&out, plan->items[i].name);
        ow_output_number(&out, !o->is_dry);
    }
    return ow_output_finish(&out, err);
}

/* A broker keeps what it was given, and a start without the slot that it speaks of is refused. */
static void tell_what_stays(const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->items[i].kind, "slot") == 0)
            ow_say("of slot %s a Kafka that its relay published to keeps the position, in the group "
                   "onewrite-postgres/…/%s: delete that group, or say --accept-gap at the next start",
                   plan->items[i].name, plan->items[i].name);
}

static int carry_out(struct ow_store *store, const struct ow_url *url, const struct plan *plan,
                     const struct drop_options *o, struct ow_error *err)
{
    if (plan->count == 0)
        return ow_error_set(err, OW_ENOTFOUND, "%s: there is nothing to drop", url->text);
    if (o->prints)
        return print_sql(plan, 0, err);
    for (size_t i = 0; i < plan->count && !o->is_dry; i++) {
        int r = store->ops->script(store, plan->items[i].sql, err);
        if (r == OW_EDENIED) {
            ow_complain("%s; a DBA may run what is on standard output, against %s", err->text, url->text);
            r = print_sql(plan, i, err);
            return r < 0 ? r : ow_error_exit_status(OW_EDENIED);
        }
        if (r < 0)
            return ow_error_prefix(err, "%s: %s %s", url->text, plan->items[i].kind, plan->items[i].name);
    }
    tell_what_stays(plan);
    return print_items(url, plan, o, err);
}

static int drop_postgres(const struct ow_url *url, const struct drop_options *o, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    OW_CLEANUP(plan_done) struct plan plan = {0};
    struct ow_postgres_options how = {.url = url->path, .shown = url->text};
    int r = ow_postgres_open(&how, &store, err);
    if (r == 0)
        r = make_plan(store, url, o, &plan, err);
    if (r < 0)
        return r;
    bool has_schema = plan.count > 0 && strcmp(plan.items[plan.count - 1].kind, "schema") == 0;
    if (has_schema && !o->is_sure && !o->is_dry && !o->prints)
        return ask_if_sure(store, ow_sql_pg_ops_losses, url->text, err);
    return carry_out(store, url, &plan, o, err);
}

/* --- SQLite -------------------------------------------------------------------------------------------- */

static int drop_sqlite(const struct ow_url *url, const struct drop_options *o, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    OW_CLEANUP(plan_done) struct plan plan = {0};
    struct ow_sqlite_options how = {.path = url->path, .mode = OW_SQLITE_MUST_EXIST, .is_durable = true};
    int64_t version = 0;
    if (o->slot)
        return ow_error_set(err, OW_EUSAGE, "option --slot is for PostgreSQL");
    if (!o->with_schema)
        return ow_error_set(
            err, OW_EUSAGE,
            "%s: in SQLite there is nothing beside the tables, no slot and no lease; --schema drops them", url->path);
    int r = ow_sqlite_open(&how, &store, err);
    if (r < 0)
        return r;
    r = store->ops->lock(store, err);
    if (r == OW_ESTANDBY)
        return ow_error_set(err, OW_EBUSY, "%s: a relay is at work on it: stop it first", url->path);
    if (r == 0)
        r = ow_schema_version(store, &ow_schema_outbox, &version, err);
    if (r == 0 && version > 0)
        r = add(&plan, ow_bytes_of("tables"), ow_bytes_of("onewrite_*"), ow_bytes_of(ow_sql_outbox_drop), err);
    if (r == 0 && version > 0 && !o->is_sure && !o->is_dry && !o->prints)
        r = ask_if_sure(store, ow_sql_outbox_losses, url->path, err);
    return r < 0 ? r : carry_out(store, url, &plan, o, err);
}

/* --- the command --------------------------------------------------------------------------------------- */

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)count;
    const struct drop_options *o = options;
    OW_CLEANUP(ow_url_done) struct ow_url url = {0};
    if (o->is_sure && !o->with_schema)
        return ow_error_set(err, OW_EUSAGE, "option --yes goes with --schema");
    if (o->slot && o->with_schema)
        return ow_error_set(err, OW_EUSAGE, "options --slot and --schema exclude one another: drop the slot first");
    int r = ow_command_url(arguments[0], OW_URL_STORE | OW_URL_BROKER, &url, err);
    if (r < 0)
        return r;
    if (url.scheme->id == OW_SCHEME_POSTGRES)
        return drop_postgres(&url, o, err);
    if (url.scheme->id == OW_SCHEME_SQLITE)
        return drop_sqlite(&url, o, err);
    return ow_error_set(
        err, OW_EUSAGE,
        url.scheme->id == OW_SCHEME_KAFKA
            ? "%s: onewrite drops nothing in a broker; what it has recorded there is in two consumer groups, "
              "which kafka-consumer-groups.sh --delete --group takes away"
            : "%s: onewrite drops nothing in a broker; its file can be removed when nobody uses it",
        url.text);
}

static const struct ow_flag options[] = {
    {"slot", 0, "NAME", OW_FLAG_STRING, NULL,
     "PostgreSQL: this slot, its position and its publication, and nothing else", offsetof(struct drop_options, slot)},
    {"dry-run", 'n', NULL, OW_FLAG_BOOL, NULL, "say what would be dropped, and drop nothing",
     offsetof(struct drop_options, is_dry)},
    {"print", 0, NULL, OW_FLAG_BOOL, NULL, "print the SQL on standard output, and drop nothing",
     offsetof(struct drop_options, prints)},
    {"schema", 0, NULL, OW_FLAG_BOOL, NULL,
     "also the tables of onewrite with all that is in them: outbox, dead letters, inbox, functions",
     offsetof(struct drop_options, with_schema)},
    {"yes", 0, NULL, OW_FLAG_BOOL, NULL, "with --schema: that is meant", offsetof(struct drop_options, is_sure)},
    OW_FLAG_OUTPUT(struct drop_options),
    {0},
};

static const struct ow_argument arguments[] = {
    {"URL", "the store: postgres://… or sqlite:PATH", OW_ARGUMENT_URL, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite drop postgres://localhost/shop", "the server keeps no more log for a relay that is given up"},
    {"onewrite drop --dry-run postgres://localhost/shop", "what that would be"},
    {"onewrite drop --schema --yes postgres://localhost/shop", "and the tables"},
    {0},
};

const struct ow_command ow_command_drop = {
    .name = "drop",
    .summary = "take away the slot of a relay, or all that onewrite has made in a store",
    .arguments = arguments,
    .description =
        "Drops the replication slots of the database that have the usual names, the publication, the positions on "
        "record "
        "and the leases, in this order; what was dropped is printed. While a relay is at work it refuses. Running it "
        "again goes on where it was broken off; status 4 says that there is nothing to drop.\n\n"
        "What was not published when the slot goes is published no more by that slot; the rows in the outbox stay, and "
        "a "
        "new slot begins with them. The tables stay too, unless --schema is said. The roles onewrite_app and "
        "onewrite_relay, which all databases of a server share, are left.\n\n"
        "What the role of the URL may not drop is printed as SQL for somebody who may, with status 77. A position that "
        "Kafka keeps is in consumer groups there: kafka-consumer-groups.sh --delete --group.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct drop_options),
    .run = run,
};
