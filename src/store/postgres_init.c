/* SPDX-License-Identifier: Apache-2.0 */
/* What `onewrite init` makes in a PostgreSQL database, and what a relay makes at its start. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "sql.h"
#include "store/postgres.h"

void ow_postgres_init_report_done(struct ow_postgres_init_report *report)
{
    ow_buf_done(&report->missing);
    ow_buf_done(&report->why);
}

/* --- slots -------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const char *text)
{
    return ow_murmur2(ow_bytes_of(text));
}

void ow_postgres_slot_name(const char *database, const char *kind, char to[OW_POSTGRES_NAME_SIZE])
{
    char clean[OW_POSTGRES_NAME_SIZE];
    size_t n = 0, room = OW_POSTGRES_NAME_SIZE - 1 - strlen("onewrite__") - strlen(kind);
    bool is_same = strlen(database) <= room;
    for (; database[n] && n < room; n++) {
        char c = database[n];
        bool is_fit = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        clean[n] = is_fit ? c : '_';
        is_same = is_same && is_fit;
    }
    clean[n] = '\0';
    if (!is_same) { /* slots are the cluster's: another database must not come to the same name */
        size_t at = n + 9 > room ? room - 9 : n;
        (void)snprintf(clean + at, sizeof clean - at, "_%08x", hash_of(database));
    }
    (void)snprintf(to, OW_POSTGRES_NAME_SIZE, "onewrite_%.*s_%s", (int)room, clean, kind);
}

static int check_slot(const PGresult *found, const char *shown, const char *slot, struct ow_error *err)
{
    const char *plugin = PQgetvalue(found, 0, 0), *database = PQgetvalue(found, 0, 1),
               *status = PQgetvalue(found, 0, 3);
    if (strcmp(PQgetvalue(found, 0, 2), "logical") != 0 || strcmp(plugin, "pgoutput") != 0)
        return ow_error_set(err, OW_ECORRUPT,
                            "%s: slot %s is there, but of plugin \"%s\"; onewrite reads pgoutput. Drop it if "
                            "nobody needs it: SELECT pg_drop_replication_slot('%s')",
                            shown, slot, plugin, slot);
    if (strcmp(database, PQgetvalue(found, 0, 4)) != 0)
        return ow_error_set(err, OW_ECORRUPT, "%s: slot %s belongs to database \"%s\"; name another one", shown, slot,
                            database);
    if (strcmp(status, "lost") == 0)
        return ow_error_set(err, OW_ECORRUPT,
                            "%s: slot %s is lost: the server has removed WAL that it needed (max_slot_wal_keep_size)",
                            shown, slot);
    return 0;
}

static int fail_slot(PGconn *conn, const char *shown, const char *sql, struct ow_error *err)
{
    if (strstr(err->text, "wal_level"))
        return ow_error_set(
            err, OW_EINVALID,
            "%s: wal_level is not logical; a DBA may run: ALTER SYSTEM SET wal_level = logical; and restart "
            "the server",
            shown);
    if (err->code == OW_EFULL || strstr(err->text, "all replication slots are in use"))
        return ow_error_set(err, OW_EFULL, "%s: all replication slots are in use; raise max_replication_slots", shown);
    if (err->code == OW_EDENIED)
        return ow_error_set(err, OW_EDENIED,
                            "%s: role %s may not make a slot; a DBA may run: ALTER ROLE \"%s\" REPLICATION, or: %s",
                            shown, PQuser(conn), PQuser(conn), sql);
    return ow_error_prefix(err, "making the slot");
}

int ow_postgres_ensure_slot(PGconn *conn, const char *shown, const char *slot, bool *ret_made, struct ow_error *err)
{
    PGresult *result = NULL;
    char sql[200];
    *ret_made = false;
    int r = ow_postgres_query_params(conn, shown, ow_sql_pg_init_find_slot, 1, &slot, &result, err);
    bool is_there = r == 0 && PQntuples(result) > 0;
    if (is_there)
        r = check_slot(result, shown, slot, err);
    PQclear(result);
    if (r < 0 || is_there)
        return r;
    /* A name of ours has nothing in it that needs to be quoted; of a name by --slot the server checks the letters. */
    (void)snprintf(sql, sizeof sql, "SELECT pg_create_logical_replication_slot('%s', 'pgoutput'%s)", slot,
                   PQserverVersion(conn) >= 170000 ? ", false, false, true" : "");
    if (strchr(slot, '\'') || strlen(slot) >= OW_POSTGRES_NAME_SIZE)
        return ow_error_set(err, OW_EINVALID, "\"%s\" is no name for a slot", slot);
    result = NULL;
    r = ow_postgres_query(conn, shown, sql, &result, err);
    PQclear(result);
    if (r < 0 && strstr(err->text, "already exists")) /* another init was first */
        return 0;
    *ret_made = r == 0;
    return r < 0 ? fail_slot(conn, shown, sql, err) : 0;
}

/* --- steps of init ------------------------------------------------------------------------------------ */

static int ask(struct ow_store *store, const char *sql, int64_t *ret, struct ow_error *err)
{
    return ow_store_query_integer(store, sql, NULL, 0, 0, ret, err);
}

/* In a transaction of its own, under the lock of init. */
static int run_alone(struct ow_store *store, const char *sql, struct ow_error *err)
{
    int r = store->ops->begin(store, OW_TRANSACTION_WRITE, err);
    if (r == 0)
        r = store->ops->script(store, ow_sql_pg_schema_lock, err);
    if (r == 0)
        r = store->ops->script(store, sql, err);
    if (r == 0)
        return store->ops->commit(store, err);
    store->ops->rollback(store);
    return r;
}

static void add_missing(struct ow_postgres_init_report *report, const char *sql, const struct ow_error *why)
{
    ow_buf_add_text(&report->missing, sql);
    ow_buf_add_char(&report->missing, '\n');
    if (report->why.size == 0)
        ow_buf_add_text(&report->why, why->text);
}

/* What the role may not do is left to a DBA; any other failure is one. */
static int run_if_permitted(struct ow_store *store, const char *sql, struct ow_postgres_init_report *report,
                            struct ow_error *err)
{
    struct ow_error why = {0};
    int r = run_alone(store, sql, &why);
    if (r == OW_EDENIED) {
        add_missing(report, sql, &why);
        return 0;
    }
    report->has_changed |= r == 0;
    return r < 0 ? ow_error_set(err, r, "%s", why.text) : 0;
}

static int make_roles(struct ow_store *store, struct ow_postgres_init_report *report, struct ow_error *err)
{
    int64_t roles = 0, grants = 0;
    int r = ask(store, ow_sql_pg_init_count_roles, &roles, err);
    if (r == 0 && roles < 3)
        r = run_if_permitted(store, ow_sql_pg_init_create_roles, report, err);
    if (r == 0)
        r = ask(store, ow_sql_pg_init_count_roles, &roles, err);
    if (r == 0)
        r = ask(store, ow_sql_pg_init_has_grants, &grants, err);
    if (r < 0 || grants)
        return r;
    if (roles == 3)
        return run_if_permitted(store, ow_sql_pg_init_grant, report, err);
    ow_buf_add_text(&report->missing, ow_sql_pg_init_grant);
    return 0;
}

static int make_publication(struct ow_store *store, struct ow_postgres_init_report *report, struct ow_error *err)
{
    int64_t count = 0;
    int r = ask(store, ow_sql_pg_init_has_publication, &count, err);
    if (r < 0 || count)
        return r;
    r = run_if_permitted(store, ow_sql_pg_init_create_publication, report, err);
    return r < 0 && strstr(err->text, "already exists") ? 0 : r;
}

static int read_mode(struct ow_store *store, struct ow_buf *ret, struct ow_error *err)
{
    struct ow_value mode = ow_value_null();
    int r = ow_store_query_row(store, ow_sql_pg_init_read_mode, NULL, 0, &mode, 1, ret, err);
    return r < 0 ? r : 0;
}

static int write_mode(struct ow_store *store, const char *mode, struct ow_error *err)
{
    struct ow_value value = ow_value_text(ow_bytes_of(mode));
    bool is_message = strcmp(mode, "message") == 0;
    int r = store->ops->begin(store, OW_TRANSACTION_WRITE, err);
    if (r < 0)
        return r;
    r = store->ops->script(store, ow_sql_pg_schema_lock, err);
    if (r == 0)
        r = store->ops->script(store, is_message ? ow_sql_pg_init_publish_message : ow_sql_pg_init_publish_table, err);
    if (r == 0)
        r = store->ops->script(store, ow_sql_pg_init_make_uuid, err);
    if (r == 0)
        r = ow_store_execute(store, ow_sql_pg_init_write_mode, &value, 1, err);
    if (r == 0)
        return store->ops->commit(store, err);
    store->ops->rollback(store);
    return r;
}

/* The slot comes first: a message that is written before its slot exists is never seen. */
static int make_mode(struct ow_store *store, enum ow_postgres_outbox outbox, struct ow_postgres_init_report *report,
                     struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf mode = {0};
    PGconn *conn = ow_postgres_connection(store);
    int r = read_mode(store, &mode, err);
    bool has_mode = mode.size > 0,
         is_message = ow_bytes_is((struct ow_bytes){mode.data, mode.size ? mode.size - 1 : 0}, "message");
    if (r < 0)
        return r;
    if (outbox == OW_POSTGRES_MESSAGE) {
        char slot[OW_POSTGRES_NAME_SIZE];
        ow_postgres_slot_name(PQdb(conn), "message", slot);
        r = ow_postgres_ensure_slot(conn, ow_postgres_shown(store), slot, &report->made_slot, err);
        if (r < 0)
            return r;
        report->has_changed |= report->made_slot;
    }
    bool wants_message = outbox == OW_POSTGRES_MESSAGE || (outbox == OW_POSTGRES_AS_IT_IS && is_message);
    if (has_mode && wants_message == is_message)
        return 0;
    report->has_changed = true;
    return write_mode(store, wants_message ? "message" : "table", err);
}

/* --- init --------------------------------------------------------------------------------------------- */

static int make_tables(struct ow_store *store, struct ow_postgres_init_report *report, struct ow_error *err)
{
    size_t applied = 0;
    int r = ow_schema_version(store, &ow_schema_outbox_postgres, &report->version_before, err);
    if (r == 0)
        r = ow_schema_migrate(store, &ow_schema_outbox_postgres, &applied, err);
    report->has_changed |= applied > 0;
    return r;
}

int ow_postgres_init(struct ow_store *store, enum ow_postgres_outbox outbox, struct ow_postgres_init_report *report,
                     struct ow_error *err)
{
    PGconn *conn = ow_postgres_connection(store);
    if (outbox == OW_POSTGRES_MESSAGE && PQserverVersion(conn) < 140000)
        return ow_error_set(
            err, OW_EUNSUPPORTED,
            "the server is PostgreSQL %d: its logical decoding hands on no messages, which it does from 14 on; "
            "use the table (--outbox table)",
            PQserverVersion(conn) / 10000);
    int r = make_tables(store, report, err);
    if (r == OW_EDENIED)
        ow_postgres_init_print(outbox, PQdb(conn), &report->missing);
    /* Before the slot: what is decoded looks for the publication as the catalog was at that point of the log. */
    if (r == 0)
        r = make_publication(store, report, err);
    if (r == 0)
        r = make_mode(store, outbox, report, err);
    if (r == 0)
        r = make_roles(store, report, err);
    if (r == 0)
        r = ow_buf_check(&report->missing, err);
    return r;
}

int ow_postgres_ensure(struct ow_store *store, struct ow_error *err)
{
    struct ow_postgres_init_report report = {0};
    int64_t version = 0;
    int r = ow_schema_version(store, &ow_schema_outbox_postgres, &version, err);
    /* Where the tables are as they should be, nothing else is anybody's business at a start. */
    if (r < 0 || version == (int64_t)ow_schema_outbox_postgres.count)
        return r;
    r = ow_postgres_init(store, OW_POSTGRES_AS_IT_IS, &report, err);
    if (r == OW_EDENIED) {
        PGconn *conn = ow_postgres_connection(store);
        r = ow_error_set(
            err, OW_EDENIED,
            "there is no outbox in database %s, and role %s may not make one; a DBA may run what onewrite init "
            "--print prints, or: GRANT CREATE ON DATABASE \"%s\" TO \"%s\"",
            PQdb(conn), PQuser(conn), PQdb(conn), PQuser(conn));
    }
    ow_postgres_init_report_done(&report);
    return r;
}

/* Its name has the name of the database in it. */
static void print_slot(const char *database, struct ow_buf *to)
{
    char slot[OW_POSTGRES_NAME_SIZE];
    ow_postgres_slot_name(database, "message", slot);
    ow_buf_printf(
        to,
        "\n-- The slot comes before the first message, and after the publication, which is looked for as it was at\n"
        "-- that point of the log. From PostgreSQL 17 on it goes along with a failover.\n"
        "DO $$\nBEGIN\n"
        "    IF current_setting('server_version_num')::int >= 170000 THEN\n"
        "        PERFORM pg_create_logical_replication_slot('%1$s', 'pgoutput', false, false, true);\n"
        "    ELSE\n"
        "        PERFORM pg_create_logical_replication_slot('%1$s', 'pgoutput');\n"
        "    END IF;\nEND\n$$;\n",
        slot);
}

void ow_postgres_init_print(enum ow_postgres_outbox outbox, const char *database, struct ow_buf *to)
{
    bool is_message = outbox == OW_POSTGRES_MESSAGE;
    ow_buf_add_text(to, "-- Run it with psql -v ON_ERROR_STOP=1, as a role that may create schemas and roles.\n");
    ow_schema_print(&ow_schema_outbox_postgres, to);
    ow_buf_printf(to, "\n%s", ow_sql_pg_init_create_publication);
    if (is_message)
        print_slot(database, to);
    ow_buf_printf(to,
                  "\n%s\n%s\nINSERT INTO onewrite.meta (name, value) VALUES ('outbox', '%s')\n"
                  "ON CONFLICT (name) DO UPDATE SET value = excluded.value;\n\n%s\n%s",
                  is_message ? ow_sql_pg_init_publish_message : ow_sql_pg_init_publish_table, ow_sql_pg_init_make_uuid,
                  is_message ? "message" : "table", ow_sql_pg_init_create_roles, ow_sql_pg_init_grant);
}
