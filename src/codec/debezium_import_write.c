/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML of an import: connection, outbox, slot, publication, router. */
#include "codec/debezium_import_parts.h"
#include "codec/debezium_offset.h"
#include "codec/debezium_regex.h"

/* --- scalars ------------------------------------------------------------------------------------------------- */

bool ow_import_has_placeholder(struct ow_bytes value)
{
    return value.data && memmem(value.data, value.size, "${", 2);
}

static bool is_variable(struct ow_bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return name.size > 0;
}

/* Between ${ and }: a variable of the environment, or nothing that we know. */
static void add_placeholder(struct ow_import *in, struct ow_buf *to, struct ow_bytes inside)
{
    if (inside.size > 4 && memcmp(inside.data, "env:", 4) == 0)
        inside = (struct ow_bytes){inside.data + 4, inside.size - 4};
    const char *colon = memchr(inside.data, ':', inside.size);
    struct ow_bytes name = {inside.data, colon ? (size_t)(colon - inside.data) : inside.size};
    bool is_quarkus = !in->properties.is_json && is_variable(name);
    if (is_variable(inside) || (colon && is_quarkus && !ow_bytes_is(name, "file"))) {
        ow_buf_add_text(to, "${");
        ow_buf_add_bytes(to, name);
        if (colon)
            ow_buf_printf(to, ":-%.*s", (int)(inside.size - name.size - 1), colon + 1);
        ow_buf_add_char(to, '}');
        return;
    }
    /* A key in a file of properties, a secret of a vault …: its last part names a variable. */
    const char *last = memrchr(inside.data, ':', inside.size);
    struct ow_bytes key = last ? (struct ow_bytes){last + 1, (size_t)(inside.data + inside.size - last - 1)} : inside;
    struct ow_buf variable = {0};
    for (size_t i = 0; i < key.size; i++) {
        char c = key.data[i];
        bool is_lower = c >= 'a' && c <= 'z';
        bool is_word = is_lower || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9' && i > 0);
        ow_buf_add_char(&variable, is_word ? (char)(is_lower ? c - 'a' + 'A' : c) : '_');
    }
    if (variable.size == 0)
        ow_buf_add_text(&variable, "DEBEZIUM_SECRET");
    ow_buf_printf(to, "${%s:?set %s}", variable.data, variable.data);
    struct ow_bytes why = ow_dbz_printf(&in->properties.arena, "set the variable %s instead, or write ${file:PATH}",
                                        variable.data);
    ow_import_lose_bytes(in, ow_dbz_printf(&in->properties.arena, "${%.*s}", (int)inside.size, inside.data),
                         why.data ? why.data : "");
    ow_buf_done(&variable);
}

static void add_letter(struct ow_buf *to, char c, bool is_url)
{
    bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
    if (c == '\0')
        return;
    if (is_url && !is_plain)
        ow_buf_printf(to, "%%%02X", (unsigned)(unsigned char)c);
    else if (c == '$')
        ow_buf_add_text(to, "$$");
    else if (c == '"' || c == '\\')
        ow_buf_printf(to, "\\%c", c);
    else if ((unsigned char)c < 0x20)
        ow_buf_printf(to, "\\x%02X", (unsigned)(unsigned char)c);
    else
        ow_buf_add_char(to, c);
}

void ow_import_add_scalar(struct ow_import *in, struct ow_buf *to, struct ow_bytes value, bool is_url)
{
    for (size_t i = 0; i < value.size; i++) {
        if (!in->properties.is_json && i + 1 < value.size && value.data[i + 1] == '$' &&
            strchr("\\$", value.data[i])) { /* an ordinary one */
            add_letter(to, value.data[++i], is_url);
            continue;
        }
        const char *close = i + 1 < value.size && value.data[i] == '$' && value.data[i + 1] == '{'
                                ? memchr(value.data + i, '}', value.size - i)
                                : NULL;
        if (!close) {
            add_letter(to, value.data[i], is_url);
            continue;
        }
        add_placeholder(in, to, (struct ow_bytes){value.data + i + 2, (size_t)(close - value.data) - i - 2});
        i = (size_t)(close - value.data);
    }
}

void ow_import_write_scalar(struct ow_import *in, struct ow_bytes value, bool is_url)
{
    struct ow_buf *to = &in->to->yaml;
    ow_buf_add_char(to, '"');
    ow_import_add_scalar(in, to, value, is_url);
    ow_buf_add_char(to, '"');
}

/* An option of the router: a dollar sign is always itself there. */
static void write_literal(struct ow_buf *to, struct ow_bytes value)
{
    ow_buf_add_char(to, '"');
    for (size_t i = 0; i < value.size; i++)
        add_letter(to, value.data[i], false);
    ow_buf_add_char(to, '"');
}

/* --- the store ----------------------------------------------------------------------------------------------- */

static struct ow_bytes source(struct ow_import *in, const char *name)
{
    return ow_import_get(in, "debezium.source.", name);
}

static void add_parameter(struct ow_import *in, bool *has_any, const char *name, struct ow_bytes value)
{
    if (!value.data || value.size == 0)
        return;
    ow_buf_printf(&in->to->yaml, "%c%s=", *has_any ? '&' : '?', name);
    ow_import_add_scalar(in, &in->to->yaml, value, true);
    *has_any = true;
}

static bool is_this_machine(struct ow_bytes host)
{
    return !host.data || host.size == 0 || host.data[0] == '/' || ow_bytes_is(host, "localhost") ||
           ow_bytes_is(host, "::1") || (host.size > 4 && memcmp(host.data, "127.", 4) == 0);
}

/* Debezium's default, prefer, may go to another host in plain text without a word; ours does not. */
static void write_tls(struct ow_import *in, bool *has_any, struct ow_bytes host, struct ow_bytes mode)
{
    bool is_weak = !mode.data || ow_bytes_is(mode, "prefer") || ow_bytes_is(mode, "allow");
    if (!is_weak)
        add_parameter(in, has_any, "sslmode", mode);
    else if (!is_this_machine(host))
        ow_import_lose(
            in, "database.sslmode",
            "prefer (the default) is not carried over: TLS is verified in full; put sslmode=disable into the "
            "URL where plain text is what you want");
}

static void write_store(struct ow_import *in)
{
    struct ow_buf *to = &in->to->yaml;
    struct ow_bytes host = source(in, "database.hostname"), port = source(in, "database.port"),
                    user = source(in, "database.user"), password = source(in, "database.password"),
                    database = source(in, "database.dbname"), mode = source(in, "database.sslmode");
    ow_buf_add_text(to, "stores:\n  source:\n    url: \"postgres://");
    ow_import_add_scalar(in, to, user.data ? user : OW_BYTES("postgres"), true);
    if (password.data) {
        ow_buf_add_char(to, ':');
        ow_import_add_scalar(in, to, password, true);
    }
    ow_buf_add_char(to, '@');
    bool is_path = host.size > 0 && host.data[0] == '/';
    ow_import_add_scalar(in, to, host.data ? host : OW_BYTES("localhost"),
                         !(host.data && memchr(host.data, ':', host.size)) || is_path);
    ow_buf_add_char(to, ':');
    ow_import_add_scalar(in, to, port.data ? port : OW_BYTES("5432"), true);
    ow_buf_add_char(to, '/');
    ow_import_add_scalar(in, to, database.data ? database : OW_BYTES("postgres"), true);
    bool has_any = false;
    write_tls(in, &has_any, host, mode);
    add_parameter(in, &has_any, "sslrootcert", source(in, "database.sslrootcert"));
    add_parameter(in, &has_any, "sslcert", source(in, "database.sslcert"));
    add_parameter(in, &has_any, "sslkey", source(in, "database.sslkey"));
    add_parameter(in, &has_any, "sslpassword", source(in, "database.sslpassword"));
    ow_buf_add_text(to, "\"\n");
    if (!host.data)
        ow_import_lose(in, "database.hostname", "not said; localhost is taken");
    if (!database.data)
        ow_import_lose(in, "database.dbname", "not said; postgres is taken");
    if (ow_import_has_placeholder(password))
        ow_buf_add_text(to,
                        "    # a password with letters other than a-z A-Z 0-9 - . _ ~ must be written %XX in a URL\n");
}

/* --- the outbox ---------------------------------------------------------------------------------------------- */

static bool is_one_of(struct ow_bytes value, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (value.size == strlen(words[i]) && strncasecmp(value.data, words[i], value.size) == 0)
            return true;
    return false;
}

/* Whether rows that are there before the slot is made are published. */
static int write_snapshot(struct ow_import *in, struct ow_error *err)
{
    static const char *const modes[] = {"initial", "when_needed",  "no_data", "never",
                                        "always",  "initial_only", "custom",  "configuration_based"};
    struct ow_bytes said = source(in, "snapshot.mode"), mode = said;
    if (said.size > 0 && !ow_import_next_item(&said, &mode)) /* without the blanks around it */
        mode.size = 0;
    if (!mode.data || is_one_of(mode, modes, 2))
        return 0;
    if (!is_one_of(mode, modes, 8))
        return ow_error_set(err, OW_ECONFIG, "snapshot.mode: \"%.*s\" is no mode of Debezium", OW_PRINT(mode));
    if (is_one_of(mode, modes + 2, 2))
        ow_buf_add_text(&in->to->yaml, "      snapshot: never\n");
    else
        ow_import_lose(in, "snapshot.mode",
                       "this mode is not carried over; rows that are there when the slot is made come first, once");
    return 0;
}

static int write_start(struct ow_import *in, struct ow_error *err)
{
    struct ow_debezium_offset offset;
    if (!in->offsets.data)
        return 0;
    int r = ow_debezium_offset_find(in->offsets, ow_bytes_of(in->to->options.topic_prefix), &offset, err);
    if (r != 0)
        return ow_error_prefix(err, "offsets");
    if (offset.is_in_snapshot)
        return ow_error_set(
            err, OW_EINVALID,
            "offsets: Debezium is in the midst of its initial snapshot; let it finish, or drop its slot "
            "and begin anew without its offsets");
    ow_buf_add_text(&in->to->yaml, "      start_after: \"");
    ow_debezium_offset_format(&offset, &in->to->yaml);
    ow_buf_add_text(&in->to->yaml, "\" # counts until the relay has a position of its own\n");
    return 0;
}

static int write_from(struct ow_import *in, struct ow_error *err)
{
    struct ow_buf *to = &in->to->yaml;
    struct ow_bytes slot = source(in, "slot.name"), publication = source(in, "publication.name"),
                    plugin = source(in, "plugin.name");
    ow_buf_add_text(to, "relays:\n  - name: outbox\n    from:\n      store: source\n");
    int r = ow_import_write_tables(in, err);
    if (r != 0)
        return r;
    ow_buf_add_text(to, "      by: log\n      slot: ");
    ow_import_write_scalar(in, slot.data ? slot : OW_BYTES("debezium"), false);
    ow_buf_add_text(to, "\n      publication: ");
    ow_import_write_scalar(in, publication.data ? publication : OW_BYTES("dbz_publication"), false);
    ow_buf_add_text(to, "\n      prune: never # what is in the table stays the service's own\n");
    r = write_snapshot(in, err);
    if (r == 0)
        r = write_start(in, err);
    if (r != 0)
        return r;
    static const char *const plugins[] = {"pgoutput", "decoderbufs"};
    if (plugin.data && !is_one_of(plugin, plugins, 2))
        return ow_error_set(err, OW_ECONFIG, "plugin.name: \"%.*s\" is no plugin of Debezium", OW_PRINT(plugin));
    if (plugin.data && !is_one_of(plugin, plugins, 1))
        ow_import_lose(in, "plugin.name", "its slot is of another plugin and cannot be read; name another slot");
    return 0;
}

/* --- the router ---------------------------------------------------------------------------------------------- */

static void write_router(struct ow_import *in)
{
    struct ow_buf *to = &in->to->yaml;
    ow_buf_add_text(to, "    to:\n      broker: bus\n      debezium:\n");
    for (size_t i = 0; i < in->set_count; i++) {
        /* an UPDATE that is skipped does not come to the router */
        bool is_skipped = in->skips_updates && strcmp(in->set[i].name, "table.op.invalid.behavior") == 0;
        ow_buf_printf(to, "        %s: ", in->set[i].name);
        write_literal(to, is_skipped ? OW_BYTES("warn") : in->set[i].value);
        ow_buf_add_char(to, '\n');
    }
    if (in->set_count == 0) {
        ow_buf_add_text(to, "        route.by.field: aggregatetype\n");
    }
    for (size_t i = 0; i < in->to->options.placement_count; i++)
        if (in->to->options.placements[i].kind == OW_DBZ_PLACED_AS_PARTITION && in->properties.is_json)
            ow_import_lose(in, "table.fields.additional.placement",
                           "a placement as partition has no effect: the partition follows from the key");
}

int ow_import_write(struct ow_import *in, struct ow_error *err)
{
    /* An expression that Java refuses stops Debezium at start. */
    struct ow_java_regex *regex;
    int r = ow_java_regex_new(ow_bytes_of(in->to->options.topic_regex), ow_bytes_of(in->to->options.topic_replacement),
                              &regex, err);
    if (r != 0)
        return ow_error_prefix(err, "route.topic.regex, route.topic.replacement");
    ow_java_regex_free(regex);
    ow_buf_add_text(&in->to->yaml, "version: 1\n");
    write_store(in);
    ow_import_write_broker(in);
    r = write_from(in, err);
    if (r == 0)
        write_router(in);
    return r;
}
