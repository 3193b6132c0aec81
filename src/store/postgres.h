/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL: connecting, the store over libpq, and what `onewrite init` makes in a database.
 *
 * A connection belongs to one thread. Every call here waits for the server itself, with a limit (the
 * statement timeout and a little more), so that a server that is stopped or cut off never holds a pipeline
 * for ever. No message holds a password: servers are named by their `shown` text.
 *
 * Where this program was built without libpq everything here returns OW_EUNSUPPORTED (postgres_absent.c).
 */
#ifndef OW_STORE_POSTGRES_H
#define OW_STORE_POSTGRES_H

#include "store/migrate.h"
#include "store/store.h"

struct pg_conn;   /* PGconn */
struct pg_result; /* PGresult */

/* --- connecting (postgres_connect.c) ------------------------------------------------------------------ */

enum {
    OW_POSTGRES_TIMEOUT_MS = 30000,     /* of a statement, unless told otherwise */
    OW_POSTGRES_CONNECT_TIMEOUT_S = 10, /* unless the URL says connect_timeout */
    OW_POSTGRES_DEAD_PEER_MS = 10000,   /* tcp_user_timeout, likewise */
    OW_POSTGRES_NAME_SIZE = 64,         /* NAMEDATALEN */
};

struct ow_postgres_options {
    const char *url;        /* a libpq URI, secrets and all; ow_postgres_check_url() has passed it */
    const char *shown;      /* what messages call it */
    bool is_replication;    /* a walsender connection on that database (replication=database) */
    bool keeps_search_path; /* as the role and the URL have it: for statements that are a user's */
    int32_t timeout_ms;     /* statement_timeout; 0: OW_POSTGRES_TIMEOUT_MS. A walsender connection has none */
};

/* Offline: whether it is a URI that libpq takes, with parameters that it knows, and one that does not go to
   another host in plain text without saying so. *ret_shown gets scheme, user, hosts, ports and database.
   OW_EINVALID; the text never holds the password. */
int ow_postgres_check_url(const char *url, struct ow_buf *ret_shown, struct ow_error *err) OW_MUST_CHECK;
/* Offline: the database that such a URL means, by itself or by the environment. */
int ow_postgres_database_of(const char *url, struct ow_buf *to, struct ow_error *err) OW_MUST_CHECK;
/* Whether libpq has a connection parameter of this name. */
bool ow_postgres_has_parameter(struct ow_bytes name);

/* Connects. TLS is verified in full unless the host is this one or the URL says otherwise; keepalives and
   tcp_user_timeout are on; application_name is "onewrite" unless said; DateStyle, TimeZone, search_path and
   the like are as the program needs them (search_path = pg_catalog: every name in our SQL is qualified).
   OW_EUNREACHABLE, OW_EDENIED (who may not connect, or a certificate that is not trusted), OW_ENOTFOUND (no
   such database). The caller ends it with PQfinish(). */
int ow_postgres_connect(const struct ow_postgres_options *options, struct pg_conn **ret,
                        struct ow_error *err) OW_MUST_CHECK;

/* The next result of what was sent, waited for until `timeout_ms`; NULL in *ret: there is no more. The
   caller frees it. OW_EUNREACHABLE: the connection is lost, or nothing came in that time. */
int ow_postgres_result(struct pg_conn *conn, const char *shown, int64_t timeout_ms, struct pg_result **ret,
                       struct ow_error *err) OW_MUST_CHECK;
/* One simple query, its last result (the caller's to free; not an error result: that is a code). */
int ow_postgres_query(struct pg_conn *conn, const char *shown, const char *sql, struct pg_result **ret,
                      struct ow_error *err) OW_MUST_CHECK;
/* The same with text parameters. */
int ow_postgres_query_params(struct pg_conn *conn, const char *shown, const char *sql, int count,
                             const char *const *values, struct pg_result **ret, struct ow_error *err) OW_MUST_CHECK;
/* Reads and drops whatever is left of a query. */
void ow_postgres_drain(struct pg_conn *conn, int64_t timeout_ms);

/* What a failed result or, with `result` NULL, a failed connection means: by SQLSTATE class, with the exact
   GRANT where a right is missing. Fills err, returns the code; never 0. */
int ow_postgres_fail(struct pg_conn *conn, const struct pg_result *result, const char *shown, struct ow_error *err);

/* --- the store (postgres.c) --------------------------------------------------------------------------- */

/*
 * One statement runs at a time on a connection: starting another one, or a transaction, ends the one that
 * runs, its rows unread. Rows come one by one from the socket; memory is bounded by the largest. Integers,
 * text, bytea, float8 and bool come as the value kinds that they are; every other type as its text.
 */
int ow_postgres_open(const struct ow_postgres_options *options, struct ow_store **ret,
                     struct ow_error *err) OW_MUST_CHECK;
/* The store's, until close; nothing may be running on it. */
struct pg_conn *ow_postgres_connection(struct ow_store *store);
/* What messages call it; the store's. */
const char *ow_postgres_shown(struct ow_store *store);

/* --- what is in the database (postgres_init.c) --------------------------------------------------------- */

extern const struct ow_schema ow_schema_outbox_postgres;

enum ow_postgres_outbox {
    OW_POSTGRES_AS_IT_IS, /* a new one: a table */
    OW_POSTGRES_TABLE,    /* onewrite.publish() inserts into onewrite.outbox */
    OW_POSTGRES_MESSAGE,  /* it writes a WAL message; PostgreSQL 14 and later */
};

struct ow_postgres_init_report {
    int64_t version_before;
    bool has_changed; /* anything at all was made */
    bool made_slot;
    struct ow_buf missing; /* SQL that this role may not run and that a DBA should; empty: nothing */
    struct ow_buf why;     /* why not: one line */
};
void ow_postgres_init_report_done(struct ow_postgres_init_report *report);

/* Makes what is missing: schema, roles, publication; and with OW_POSTGRES_MESSAGE the slot, before the first
   message could be written. Running it again changes nothing; several may run at once. What the role may not
   make although the tables are there (roles, publication) goes to `missing`. OW_EDENIED: the tables cannot be
   made; `missing` then holds the whole SQL. OW_EUNSUPPORTED: the server is too old for `outbox`. */
int ow_postgres_init(struct ow_store *store, enum ow_postgres_outbox outbox, struct ow_postgres_init_report *report,
                     struct ow_error *err) OW_MUST_CHECK;
/* The SQL of all of it, runnable by psql in that database. */
void ow_postgres_init_print(enum ow_postgres_outbox outbox, const char *database, struct ow_buf *to);
/* --- how the outbox table is laid out (postgres_layout.c) ---------------------------------------------- */

/* A trigger that wakes relays by polling with NOTIFY, at most once in `interval_ms`; 0: none. *ret_changed: it was
   otherwise before. OW_EDENIED: only the owner of the table may. */
int ow_postgres_set_notify(struct ow_store *store, int64_t interval_ms, bool *ret_changed,
                           struct ow_error *err) OW_MUST_CHECK;
/* In eight partitions of so many rows in turn, for ever; rows that wait move along. Waits for everybody who writes to
   the table. OW_EUNSUPPORTED before PostgreSQL 13; OW_EBUSY: a relay is at work by polling, or a slot reads the table.
 */
int ow_postgres_partition(struct ow_store *store, int64_t rows, bool *ret_changed, struct ow_error *err) OW_MUST_CHECK;

/* The tables and functions only, for a relay at its start: as ow_postgres_init(), with roles and publication made
   if that is permitted and passed over if not. OW_EDENIED names the SQL that a DBA runs. */
int ow_postgres_ensure(struct ow_store *store, struct ow_error *err) OW_MUST_CHECK;

/* onewrite_<database>_<log|message>: letters, digits and underscores, at most 63, distinct for distinct
   databases. `kind` is "log" or "message". */
void ow_postgres_slot_name(const char *database, const char *kind, char to[OW_POSTGRES_NAME_SIZE]);
/* Makes the logical slot (pgoutput; failover slots where the server has them) unless it is there.
   *ret_made says which. OW_EDENIED with the SQL that a DBA runs; OW_EINVALID: wal_level is not logical; OW_EFULL: no
   slot is free; OW_ECORRUPT: a slot of this name is lost, of another plugin or another database. */
int ow_postgres_ensure_slot(struct pg_conn *conn, const char *shown, const char *slot, bool *ret_made,
                            struct ow_error *err) OW_MUST_CHECK;

/* Names in the database. */
#define OW_POSTGRES_PUBLICATION    "onewrite_outbox"
#define OW_POSTGRES_MESSAGE_PREFIX "onewrite"

#endif
