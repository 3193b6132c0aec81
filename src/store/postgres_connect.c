/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/units.h"
#include "store/postgres.h"

enum { PARAMETERS_MAX = 64, GRACE_MS = 5000 };

/* --- parameters --------------------------------------------------------------------------------------- */

static void free_options(PQconninfoOption **options)
{
    PQconninfoFree(*options);
}

/* The value in the URL, else of the environment, else libpq's own; NULL: none. */
static const char *value_of(const PQconninfoOption *given, const PQconninfoOption *defaults, const char *name)
{
    for (const PQconninfoOption *o = given; o && o->keyword; o++)
        if (strcmp(o->keyword, name) == 0 && o->val && *o->val)
            return o->val;
    for (const PQconninfoOption *o = defaults; o && o->keyword; o++)
        if (strcmp(o->keyword, name) == 0 && o->val && *o->val)
            return o->val;
    return NULL;
}

bool ow_postgres_has_parameter(struct ow_bytes name)
{
    OW_CLEANUP(free_options) PQconninfoOption *known = PQconndefaults();
    for (const PQconninfoOption *o = known; o && o->keyword; o++)
        if (ow_bytes_is(name, o->keyword))
            return true;
    return ow_bytes_is(name, "ssl"); /* a JDBC spelling that libpq takes */
}

static bool is_this_machine(struct ow_bytes host)
{
    static const char *const names[] = {"localhost", "::1", "[::1]", NULL};
    if (host.size == 0 || host.data[0] == '/' || host.data[0] == '@')
        return true;
    for (size_t i = 0; names[i]; i++)
        if (host.size == strlen(names[i]) && strncasecmp(host.data, names[i], host.size) == 0)
            return true;
    return host.size > 4 && memcmp(host.data, "127.", 4) == 0 && strspn(host.data, "0123456789.") >= host.size;
}

/* Of a list with commas. */
static bool are_all_this_machine(const char *hosts)
{
    while (hosts) {
        const char *comma = strchr(hosts, ',');
        if (!is_this_machine((struct ow_bytes){hosts, comma ? (size_t)(comma - hosts) : strlen(hosts)}))
            return false;
        hosts = comma ? comma + 1 : NULL;
    }
    return true;
}

/* What decides about TLS. */
struct target {
    bool is_local;
    const char *sslmode; /* as given; NULL: nowhere */
};

static struct target target_of(const PQconninfoOption *given, const PQconninfoOption *defaults)
{
    const char *address = value_of(given, defaults, "hostaddr"), *host = value_of(given, defaults, "host");
    const char *said = value_of(given, NULL, "sslmode"), *from_file = value_of(NULL, defaults, "sslmode");
    if (!said && getenv("PGSSLMODE"))
        said = getenv("PGSSLMODE");
    /* What PGSERVICE names is among the defaults, and prefer is what libpq itself would do. */
    if (!said && getenv("PGSERVICE") && from_file && strcmp(from_file, "prefer") != 0)
        said = from_file;
    /* A service that the URL names may have any host. */
    bool is_open = !value_of(given, NULL, "service");
    return (struct target){.is_local = is_open && are_all_this_machine(address ? address : host), .sslmode = said};
}

static int check_tls(const struct target *target, struct ow_error *err)
{
    if (target->is_local || !target->sslmode)
        return 0;
    if (strcmp(target->sslmode, "prefer") == 0 || strcmp(target->sslmode, "allow") == 0)
        return ow_error_set(
            err, OW_EINVALID,
            "sslmode=%s may go to another host in plain text without a word; say verify-full, or disable "
            "where plain text is what you want",
            target->sslmode);
    return 0;
}

/* So that it reads back to the same, and is one line. */
static void show_part(struct ow_buf *to, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~,/-";
    for (; *text; text++) {
        if (strchr(plain, *text))
            ow_buf_add_char(to, *text);
        else
            ow_buf_printf(to, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

static void show_host(struct ow_buf *to, const char *host)
{
    if (strchr(host, ':') && strspn(host, "0123456789abcdefABCDEF:.") == strlen(host))
        ow_buf_printf(to, "[%s]", host);
    else
        show_part(to, host);
}

static void show(const char *url, const PQconninfoOption *given, struct ow_buf *to)
{
    const char *user = value_of(given, NULL, "user"), *host = value_of(given, NULL, "host");
    const char *address = value_of(given, NULL, "hostaddr"), *port = value_of(given, NULL, "port");
    const char *name = value_of(given, NULL, "dbname");
    host = host ? host : address;
    bool is_folder = host && (host[0] == '/' || host[0] == '@');
    ow_buf_printf(to, "%.*s://", (int)strcspn(url, ":"), url);
    if (user) {
        show_part(to, user);
        ow_buf_add_char(to, '@');
    }
    if (host && !is_folder) {
        show_host(to, host);
        if (port && !strchr(host, ',')) {
            ow_buf_add_char(to, ':');
            show_part(to, port);
        }
    }
    ow_buf_add_char(to, '/');
    show_part(to, name ? name : "");
    if (is_folder) {
        ow_buf_add_text(to, "?host=");
        show_part(to, host);
        ow_buf_add_text(to, port ? "&port=" : "");
        show_part(to, port ? port : "");
    }
}

int ow_postgres_check_url(const char *url, struct ow_buf *ret_shown, struct ow_error *err)
{
    char *text = NULL;
    OW_CLEANUP(free_options) PQconninfoOption *given = PQconninfoParse(url, &text);
    OW_CLEANUP(free_options) PQconninfoOption *defaults = PQconndefaults();
    PQfreemem(text); /* it may quote what is secret */
    if (!given)
        return ow_error_set(
            err, OW_EINVALID,
            "not a URL that PostgreSQL takes; write postgres://USER@HOST:PORT/DATABASE, and what is special "
            "in a part of it as %%XX");
    struct target target = target_of(given, defaults);
    int r = check_tls(&target, err);
    if (r < 0)
        return r;
    show(url, given, ret_shown);
    return ow_buf_check(ret_shown, err);
}

int ow_postgres_database_of(const char *url, struct ow_buf *to, struct ow_error *err)
{
    OW_CLEANUP(free_options) PQconninfoOption *given = PQconninfoParse(url, NULL);
    OW_CLEANUP(free_options) PQconninfoOption *defaults = PQconndefaults();
    const char *name = value_of(given, defaults, "dbname");
    name = name ? name : value_of(given, defaults, "user"); /* as libpq has it */
    ow_buf_add_text(to, name ? name : "");
    ow_buf_add_char(to, '\0');
    return ow_buf_check(to, err);
}

/* --- errors ------------------------------------------------------------------------------------------- */

/* One line, without what libpq and the server put around it. */
static void flatten(const char *from, char *to, size_t size)
{
    size_t n = 0;
    for (; *from && n + 3 < size; from++) {
        if (*from == '\n' || *from == '\r' || *from == '\t') {
            while (from[1] == '\n' || from[1] == '\r' || from[1] == '\t' || from[1] == ' ')
                from++;
            if (!from[1])
                break;
            to[n++] = ';';
            to[n++] = ' ';
        } else {
            to[n++] = (unsigned char)*from < 0x20 ? '?' : *from;
        }
    }
    to[n] = '\0';
}

static bool says(const char *text, const char *const *parts)
{
    for (; *parts; parts++)
        if (strstr(text, *parts))
            return true;
    return false;
}

/* A connection that was refused has no SQLSTATE that libpq would show; its text is all there is. */
static int fail_to_connect(PGconn *conn, const char *shown, struct ow_error *err)
{
    static const char *const denied[] = {
        "authentication failed",      "no pg_hba.conf entry", "no password supplied", "permission denied for database",
        "is not permitted to log in", "pg_hba.conf rejects",  "fe_sendauth",          NULL};
    static const char *const untrusted[] = {"certificate", "server does not support SSL", NULL};
    char text[400];
    flatten(PQerrorMessage(conn), text, sizeof text);
    if (PQconnectionNeedsPassword(conn))
        return ow_error_set(err, OW_EDENIED,
                            "%s: the server wants a password; put it into the URL, PGPASSWORD or ~/.pgpass", shown);
    if (says(text, denied) || (strstr(text, "role \"") && strstr(text, "does not exist")))
        return ow_error_set(err, OW_EDENIED, "%s: %s", shown, text);
    if (says(text, untrusted))
        return ow_error_set(
            err, OW_EDENIED,
            "%s: %s (TLS is verified in full unless the URL says sslmode; a private authority is named by "
            "sslrootcert=FILE)",
            shown, text);
    if (strstr(text, "database \"") && strstr(text, "does not exist"))
        return ow_error_set(err, OW_ENOTFOUND, "%s: %s", shown, text);
    return ow_error_set(err, OW_EUNREACHABLE, "%s: %s", shown, *text ? text : "the connection is lost");
}

/* What a DBA would run. The text of the server decides; where it speaks another language the general line
   stands. */
static int fail_denied(PGconn *conn, const char *text, const char *shown, struct ow_error *err)
{
    const char *user = PQuser(conn), *database = PQdb(conn);
    if (strstr(text, "for database"))
        return ow_error_set(err, OW_EDENIED, "%s: %s; a DBA may run: GRANT CREATE ON DATABASE \"%s\" TO \"%s\"", shown,
                            text, database, user);
    if (strstr(text, "replication"))
        return ow_error_set(err, OW_EDENIED, "%s: %s; a DBA may run: ALTER ROLE \"%s\" REPLICATION", shown, text, user);
    if (strstr(text, "create role"))
        return ow_error_set(err, OW_EDENIED, "%s: %s; a DBA may run: ALTER ROLE \"%s\" CREATEROLE", shown, text, user);
    return ow_error_set(err, OW_EDENIED, "%s: %s; a DBA may run: GRANT onewrite_relay TO \"%s\"", shown, text, user);
}

static int code_of(const char *state)
{
    static const struct {
        const char *prefix;
        int code;
    } codes[] = {
        {"08", OW_EUNREACHABLE}, {"57P", OW_EUNREACHABLE}, {"53300", OW_EUNREACHABLE}, {"25006", OW_EUNREACHABLE},
        {"57014", OW_EBUSY},     {"40", OW_EBUSY},         {"55P03", OW_EBUSY},        {"55006", OW_EBUSY},
        {"53200", OW_ENOMEM},    {"53", OW_EFULL},         {"42501", OW_EDENIED},      {"28", OW_EDENIED},
        {"42P01", OW_ENOTFOUND}, {"3F000", OW_ENOTFOUND},  {"42883", OW_ENOTFOUND},    {"3D000", OW_ENOTFOUND},
        {"42703", OW_ENOTFOUND}, {"58P01", OW_ENOTFOUND},  {"42704", OW_ENOTFOUND},    {"58", OW_EIO},
        {"XX001", OW_ECORRUPT},  {"XX002", OW_ECORRUPT},   {"0A", OW_EUNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    return OW_EINVALID;
}

/* A table has changed since a statement on it was prepared: on a new connection it is prepared anew. The SQLSTATE is
   that of what a server cannot do at all, and the text is in the server's language. */
static bool is_stale_plan(const PGresult *result, const char *state)
{
    const char *where = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    return where && strcmp(state, "0A000") == 0 && strcmp(where, "RevalidateCachedQuery") == 0;
}

int ow_postgres_fail(PGconn *conn, const PGresult *result, const char *shown, struct ow_error *err)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    char text[300];
    if (!state) { /* libpq's own: the connection, or memory */
        flatten(PQerrorMessage(conn), text, sizeof text);
        return ow_error_set(err, PQstatus(conn) == CONNECTION_OK && *text ? OW_EIO : OW_EUNREACHABLE, "%s: %s", shown,
                            *text ? text : "the connection is lost");
    }
    flatten(primary ? primary : "", text, sizeof text);
    int code = is_stale_plan(result, state) ? OW_EUNREACHABLE : code_of(state);
    switch (code) {
    case OW_EDENIED:
        return fail_denied(conn, text, shown, err);
    case OW_ENOTFOUND:
        return ow_error_set(err, code, "%s: %s; is this the right database? onewrite init makes what is missing", shown,
                            text);
    case OW_EBUSY:
        return ow_error_set(err, code, "%s: %s; it is tried again", shown, text);
    default:
        return ow_error_set(err, code, "%s: %s (SQLSTATE %s)", shown, text, state);
    }
}

/* --- connecting --------------------------------------------------------------------------------------- */

struct parameters {
    const char *names[PARAMETERS_MAX + 1], *values[PARAMETERS_MAX + 1];
    size_t count;
};

static void add(struct parameters *p, const char *name, const char *value)
{
    if (value && p->count < PARAMETERS_MAX) {
        p->names[p->count] = name;
        p->values[p->count++] = value;
    }
}

/* Debian and its kin keep the authorities that the system trusts here; libpq alone looks in the home only. */
static const char *system_authorities(const PQconninfoOption *given)
{
    static const char bundle[] = "/etc/ssl/certs/ca-certificates.crt";
    const char *home = getenv("HOME");
    char own[512];
    (void)snprintf(own, sizeof own, "%s/.postgresql/root.crt", home ? home : "");
    if (value_of(given, NULL, "sslrootcert") || getenv("PGSSLROOTCERT") || access(own, R_OK) == 0)
        return NULL;
    return access(bundle, R_OK) == 0 ? bundle : NULL;
}

static void add_tls(struct parameters *p, const PQconninfoOption *given, const struct target *target)
{
    if (target->is_local)
        return;
    if (!target->sslmode)
        add(p, "sslmode", "verify-full");
    if (!target->sslmode || strncmp(target->sslmode, "verify", 6) == 0)
        add(p, "sslrootcert", system_authorities(given));
}

/* A database of SQL_ASCII does not know what its bytes are and would refuse to send as UTF-8 what is none. They are
   judged message by message here, so that one does not hold up the others. */
static const char *encoding_of(PGconn *conn)
{
    const char *server = PQparameterStatus(conn, "server_encoding");
    return server && strcmp(server, "SQL_ASCII") == 0 ? "SQL_ASCII" : "UTF8";
}

/* As the program needs them, whatever role and database have been given. */
static int settle_session(PGconn *conn, const struct ow_postgres_options *options, struct ow_error *err)
{
    /* Not where statements of a user run: they may want it otherwise. */
    static const char own[] = "SET search_path = pg_catalog; SET lock_timeout = 0; "
                              "SET default_transaction_isolation = 'read committed'; ";
    char sql[700];
    PGresult *result = NULL;
    int32_t timeout_ms = options->is_replication ? 0
                         : options->timeout_ms   ? options->timeout_ms
                                                 : OW_POSTGRES_TIMEOUT_MS;
    (void)snprintf(sql, sizeof sql,
                   "SET statement_timeout = %d; %sSET DateStyle = 'ISO, YMD'; "
                   "SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; "
                   "SET bytea_output = 'hex'; SET client_encoding = '%s'; SET standard_conforming_strings = on; "
                   "SET idle_in_transaction_session_timeout = %d; SET synchronous_commit = on; "
                   "SET default_transaction_read_only = off%s%s",
                   timeout_ms, options->keeps_search_path ? "" : own, encoding_of(conn),
                   options->is_replication ? 0 : 60000,
                   PQserverVersion(conn) >= 140000 ? "; SET idle_session_timeout = 0" : "",
                   PQserverVersion(conn) >= 170000 ? "; SET transaction_timeout = 0" : "");
    int r = ow_postgres_query(conn, options->shown, sql, &result, err);
    PQclear(result);
    return r;
}

/* Notices are for people at a terminal; libpq would print them. */
static void drop_notice(void *context, const PGresult *notice)
{
    (void)context;
    (void)notice;
}

int ow_postgres_connect(const struct ow_postgres_options *options, PGconn **ret, struct ow_error *err)
{
    OW_CLEANUP(free_options) PQconninfoOption *given = PQconninfoParse(options->url, NULL);
    OW_CLEANUP(free_options) PQconninfoOption *defaults = PQconndefaults();
    if (!given || !defaults)
        return ow_error_set(err, OW_EINVALID, "%s: not a URL that PostgreSQL takes", options->shown);
    struct target target = target_of(given, defaults);
    int r = check_tls(&target, err);
    if (r < 0)
        return ow_error_prefix(err, "%s", options->shown);
    struct parameters p = {0};
    char connect_timeout[16], user_timeout[16];
    (void)snprintf(connect_timeout, sizeof connect_timeout, "%d", OW_POSTGRES_CONNECT_TIMEOUT_S);
    (void)snprintf(user_timeout, sizeof user_timeout, "%d", OW_POSTGRES_DEAD_PEER_MS);
    /* What comes later wins, so ours come first. */
    add(&p, "application_name", "onewrite");
    add(&p, "connect_timeout", connect_timeout);
    add(&p, "keepalives", "1");
    add(&p, "keepalives_idle", "5");
    add(&p, "keepalives_interval", "2");
    add(&p, "keepalives_count", "3");
    add(&p, "tcp_user_timeout", user_timeout);
    add_tls(&p, given, &target);
    for (const PQconninfoOption *o = given; o->keyword; o++)
        if (o->val && *o->val)
            add(&p, o->keyword, o->val);
    add(&p, "client_encoding", "UTF8");
    if (options->is_replication)
        add(&p, "replication", "database");
    PGconn *conn = PQconnectdbParams(p.names, p.values, 0);
    if (!conn)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    (void)PQsetNoticeReceiver(conn, drop_notice, NULL);
    r = PQstatus(conn) == CONNECTION_OK ? 0 : fail_to_connect(conn, options->shown, err);
    if (r == 0 && PQserverVersion(conn) < 100000)
        r = ow_error_set(err, OW_EUNSUPPORTED, "%s: the server is PostgreSQL %d; onewrite needs 10 or later",
                         options->shown, PQserverVersion(conn) / 10000);
    if (r == 0 && PQsetnonblocking(conn, 1) != 0)
        r = ow_postgres_fail(conn, NULL, options->shown, err);
    if (r == 0)
        r = settle_session(conn, options, err);
    if (r < 0) {
        PQfinish(conn);
        return r;
    }
    *ret = conn;
    return 0;
}

/* --- queries ------------------------------------------------------------------------------------------ */

static int wait_for_socket(PGconn *conn, const char *shown, short events, int64_t deadline_ms, struct ow_error *err)
{
    for (;;) {
        int64_t left = deadline_ms - ow_clock_monotonic_ms();
        if (left <= 0)
            return ow_error_set(err, OW_EUNREACHABLE, "%s: the server has not answered in time", shown);
        struct pollfd fd = {.fd = PQsocket(conn), .events = events};
        int n = poll(&fd, 1, left > 60000 ? 60000 : (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return ow_error_errno(err, errno, "%s: waiting for the server", shown);
    }
}

int ow_postgres_result(PGconn *conn, const char *shown, int64_t timeout_ms, PGresult **ret, struct ow_error *err)
{
    int64_t deadline_ms = 0; /* most answers are here already, and need no clock */
    for (;;) {
        int unsent = PQflush(conn);
        if (unsent < 0)
            break;
        if (!unsent && !PQisBusy(conn)) {
            *ret = PQgetResult(conn);
            return 0;
        }
        deadline_ms = deadline_ms ? deadline_ms : ow_clock_monotonic_ms() + timeout_ms;
        int r = wait_for_socket(conn, shown, (short)(unsent ? POLLIN | POLLOUT : POLLIN), deadline_ms, err);
        if (r < 0)
            return r;
        if (!PQconsumeInput(conn))
            break;
    }
    /* The server may have said why before it went: "terminating connection due to administrator command". */
    PGresult *last = PQgetResult(conn);
    int r = ow_postgres_fail(conn, last && PQresultStatus(last) == PGRES_FATAL_ERROR ? last : NULL, shown, err);
    PQclear(last);
    if (PQstatus(conn) != CONNECTION_OK && ow_error_class(r) != OW_CLASS_RETRYABLE) {
        err->code = r = OW_EUNREACHABLE;
    }
    return r;
}

void ow_postgres_drain(PGconn *conn, int64_t timeout_ms)
{
    struct ow_error ignored;
    PGresult *result = NULL;
    while (PQstatus(conn) == CONNECTION_OK && ow_postgres_result(conn, "", timeout_ms, &result, &ignored) == 0 &&
           result) {
        if (PQresultStatus(result) == PGRES_COPY_IN || PQresultStatus(result) == PGRES_COPY_BOTH)
            (void)PQputCopyEnd(conn, "not wanted");
        PQclear(result);
        result = NULL;
    }
}

/* The last result of what was sent, or the first that failed. */
static int finish(PGconn *conn, const char *shown, bool was_sent, PGresult **ret, struct ow_error *err)
{
    PGresult *last = NULL, *result = NULL;
    if (!was_sent)
        return ow_postgres_fail(conn, NULL, shown, err);
    int r;
    while ((r = ow_postgres_result(conn, shown, OW_POSTGRES_TIMEOUT_MS + GRACE_MS, &result, err)) == 0 && result) {
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
            r = ow_postgres_fail(conn, result, shown, err);
            PQclear(result);
            break;
        }
        PQclear(last);
        last = result;
        if (status == PGRES_COPY_BOTH || status == PGRES_COPY_OUT || status == PGRES_COPY_IN)
            break; /* the caller goes on */
    }
    if (r < 0) {
        PQclear(last);
        ow_postgres_drain(conn, GRACE_MS);
        return r;
    }
    *ret = last;
    return last ? 0 : ow_error_set(err, OW_EIO, "%s: the server gave no answer", shown);
}

int ow_postgres_query(PGconn *conn, const char *shown, const char *sql, PGresult **ret, struct ow_error *err)
{
    return finish(conn, shown, PQsendQuery(conn, sql), ret, err);
}

int ow_postgres_query_params(PGconn *conn, const char *shown, const char *sql, int count, const char *const *values,
                             PGresult **ret, struct ow_error *err)
{
    return finish(conn, shown, PQsendQueryParams(conn, sql, count, NULL, values, NULL, NULL, 0), ret, err);
}
