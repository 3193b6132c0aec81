/* SPDX-License-Identifier: Apache-2.0 */
#include "config/url.h"

#include <stdlib.h>
#include <strings.h>

#include "config/url_kafka.h"
#include "config/url_postgres.h"

static const char *const afters[] = {[OW_OUTBOX_DELETE] = "delete", [OW_OUTBOX_MARK] = "mark", NULL};
static const char *const fsyncs[] = {[OW_FSYNC_ALWAYS] = "always", [OW_FSYNC_NEVER] = "never", NULL};

static const struct ow_option sqlite_options[] = {
    {.key = "after",
     .type = OW_OPTION_CHOICE,
     .fallback = "delete",
     .choices = afters,
     .help = "What becomes of the rows of accepted messages: delete or mark.",
     OW_OPTION_AT(struct ow_url, outbox.after)},
    {.key = "keep",
     .type = OW_OPTION_DURATION,
     .fallback = "7d",
     .needs = "after: mark",
     .help = "How long marked rows are kept; 0: for ever.",
     OW_OPTION_AT(struct ow_url, outbox.keep_marked_ms)},
    {0},
};

static const struct ow_option journal_options[] = {
    {.key = "partitions",
     .type = OW_OPTION_INTEGER,
     .fallback = "4",
     .low = 1,
     .high = 1024,
     .help = "Partitions of a topic that is made from now on, 1 to 1024.",
     OW_OPTION_AT(struct ow_url, journal.partitions)},
    {.key = "retention",
     .type = OW_OPTION_DURATION,
     .fallback = "7d",
     .help = "Records older than this may go; 0: they stay for ever.",
     OW_OPTION_AT(struct ow_url, journal.retention_ms)},
    {.key = "retention_size",
     .type = OW_OPTION_SIZE,
     .fallback = "0",
     .help = "Above this much used space the oldest records go; 0: no bound.",
     OW_OPTION_AT(struct ow_url, journal.retention_bytes)},
    {0},
};

static const struct ow_option file_options[] = {
    {.key = "fsync",
     .type = OW_OPTION_CHOICE,
     .fallback = "always",
     .choices = fsyncs,
     .help = "always: a message is accepted when it is on the disk; never: when it is written.",
     OW_OPTION_AT(struct ow_url, file.fsync)},
    {.key = "rotate",
     .type = OW_OPTION_SIZE,
     .fallback = "0",
     .help = "At this size PATH becomes PATH.1, PATH.1 becomes PATH.2 and so on; 0: never.",
     OW_OPTION_AT(struct ow_url, file.rotate_bytes)},
    {.key = "keep",
     .type = OW_OPTION_INTEGER,
     .fallback = "0",
     .low = 0,
     .high = 100000,
     .needs = "rotate: SIZE",
     .help = "How many rotated files are kept; 0: all.",
     OW_OPTION_AT(struct ow_url, file.keep)},
    {0},
};

#define PLANNED(scheme, kind)                                                        \
    {                                                                                \
        .name = scheme, .form = scheme "://", .id = OW_SCHEME_OTHER, .kinds = (kind) \
    }

#define POSTGRES(scheme, alias)                                                                                   \
    {                                                                                                             \
        .name = scheme, .form = scheme "://", .id = OW_SCHEME_POSTGRES, .kinds = OW_URL_STORE,                    \
        .is_supported = OW_WITH_POSTGRES, .has_path = true, .is_alias = alias, .rest = "USER@HOST/DATABASE",      \
        .options = ow_url_postgres_options, .sample_name = "shop", .sample = "postgres://localhost/shop",         \
        .help = "A PostgreSQL database: postgres://USER@HOST:PORT/DATABASE, with any parameter of libpq beside\n" \
                "ours. TLS is verified in full unless the host is this machine or sslmode says otherwise.",       \
    }

const struct ow_scheme ow_schemes[] = {
    {.name = "sqlite",
     .form = "sqlite:",
     .id = OW_SCHEME_SQLITE,
     .kinds = OW_URL_STORE,
     .is_supported = true,
     .has_path = true,
     .options = sqlite_options,
     .sample_name = "orders",
     .sample = "sqlite:orders.db",
     .help = "An SQLite database: sqlite:PATH, or sqlite:///PATH where the path is absolute."},
    {.name = "journal",
     .form = "journal:",
     .id = OW_SCHEME_JOURNAL,
     .kinds = OW_URL_BROKER,
     .is_supported = true,
     .has_path = true,
     .options = journal_options,
     .sample_name = "bus",
     .sample = "journal:bus.db",
     .help = "The embedded journal, for one machine: topics, partitions and groups in an SQLite file."},
    {.name = "file",
     .form = "file:",
     .id = OW_SCHEME_FILE,
     .kinds = OW_URL_BROKER,
     .is_supported = true,
     .has_path = true,
     .options = file_options,
     .sample_name = "lines",
     .sample = "file:messages.jsonl",
     .help = "A file of JSON lines."},
    {.name = "stdout",
     .form = "stdout:",
     .id = OW_SCHEME_STDOUT,
     .kinds = OW_URL_BROKER,
     .is_supported = true,
     .sample_name = "screen",
     .sample = "stdout:",
     .help = "JSON lines on standard output."},
    POSTGRES("postgres", false),
    POSTGRES("postgresql", true),
    PLANNED("mariadb", OW_URL_STORE),
    PLANNED("mysql", OW_URL_STORE),
    {.name = "kafka",
     .form = "kafka://",
     .id = OW_SCHEME_KAFKA,
     .kinds = OW_URL_BROKER,
     .is_supported = OW_WITH_KAFKA,
     .has_path = true,
     .options = ow_url_kafka_options,
     .rest = "HOST:PORT,…",
     .sample_name = "kafka",
     .sample = "kafka://localhost:9092",
     .help = "Apache Kafka."},
    PLANNED("amqp", OW_URL_BROKER),
    PLANNED("amqps", OW_URL_BROKER),
    PLANNED("nats", OW_URL_BROKER),
    PLANNED("redis", OW_URL_BROKER),
    PLANNED("http", OW_URL_BROKER),
    PLANNED("https", OW_URL_BROKER),
    {0},
};

void ow_url_list(unsigned kinds, struct ow_buf *to)
{
    bool is_first = true;
    for (const struct ow_scheme *s = ow_schemes; s->name; s++) {
        if (!s->is_supported || s->is_alias || !(s->kinds & kinds))
            continue;
        ow_buf_printf(to, "%s%s", is_first ? "" : ", ", s->form);
        is_first = false;
    }
}

/* A URL while it is read: what there is left of it, and how it may be spoken of. */
struct reading {
    struct ow_bytes rest;
    bool is_secret; /* parts of the text must not be quoted */
    struct ow_bytes shown;
    struct ow_error *err;
};

static struct ow_bytes quote(const struct reading *r, struct ow_bytes part)
{
    return r->is_secret ? r->shown : part;
}

static bool is_scheme_char(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!is_first && ((c >= '0' && c <= '9') || c == '+' || c == '.' || c == '-'));
}

/* Takes "scheme:" off. */
static bool take_scheme(struct reading *r, struct ow_bytes *ret)
{
    size_t n = 0;
    while (n < r->rest.size && is_scheme_char(r->rest.data[n], n == 0))
        n++;
    if (n == 0 || n >= r->rest.size || r->rest.data[n] != ':')
        return false;
    *ret = (struct ow_bytes){r->rest.data, n};
    r->rest = (struct ow_bytes){r->rest.data + n + 1, r->rest.size - n - 1};
    return true;
}

static int refuse_text(const struct reading *r, unsigned kinds)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf forms = {0};
    ow_url_list(kinds, &forms);
    struct ow_bytes text = quote(r, r->rest);
    const char *example = kinds & OW_URL_STORE ? "sqlite:" : "journal:";
    for (const struct ow_scheme *s = ow_schemes; s->name && !r->is_secret; s++)
        if (ow_bytes_is(text, s->name))
            return ow_error_set(r->err, OW_EINVALID, "\"%s\" is not a URL; write %s%s", s->name, s->form,
                                s->id == OW_SCHEME_STDOUT ? "" : "…");
    bool is_plain = !r->is_secret && text.size > 0 && text.size <= 64 && !memchr(text.data, ':', text.size);
    if (is_plain)
        return ow_error_set(r->err, OW_EINVALID, "\"%.*s\" is not a URL; write it as %s%.*s", OW_PRINT(text), example,
                            OW_PRINT(text));
    return ow_error_set(r->err, OW_EINVALID, "\"%.*s\" is not a URL; it begins with one of %s", OW_PRINT(text),
                        ow_buf_bytes(&forms).data);
}

static int refuse_scheme(const struct reading *r, struct ow_bytes name)
{
    struct ow_nearest nearest = {.word = name};
    OW_CLEANUP(ow_buf_done) struct ow_buf known = {0};
    for (const struct ow_scheme *s = ow_schemes; s->name; s++) {
        ow_nearest_offer(&nearest, s->name);
        if (s->is_supported && !s->is_alias)
            ow_buf_printf(&known, "%s%s", known.size ? ", " : "", s->name);
    }
    if (r->is_secret)
        return ow_error_set(r->err, OW_EINVALID, "unknown URL scheme in \"%.*s\"; known: %s", OW_PRINT(r->shown),
                            ow_buf_bytes(&known).data);
    if (nearest.best)
        return ow_error_set(r->err, OW_EINVALID, "unknown URL scheme \"%.*s\"; did you mean \"%s\"?", OW_PRINT(name),
                            nearest.best);
    return ow_error_set(r->err, OW_EINVALID, "unknown URL scheme \"%.*s\"; known: %s", OW_PRINT(name),
                        ow_buf_bytes(&known).data);
}

static int find_scheme(const struct reading *r, struct ow_bytes name, unsigned kinds, const struct ow_scheme **ret)
{
    const struct ow_scheme *s = ow_schemes;
    while (s->name && !(strlen(s->name) == name.size && strncasecmp(s->name, name.data, name.size) == 0))
        s++;
    if (!s->name)
        return refuse_scheme(r, name);
    OW_CLEANUP(ow_buf_done) struct ow_buf forms = {0};
    if (!(s->kinds & kinds)) {
        ow_url_list(kinds, &forms);
        bool wants_store = kinds & OW_URL_STORE;
        return ow_error_set(r->err, OW_EINVALID, "%s names a %s, but a %s is needed here: %s", s->form,
                            wants_store ? "broker" : "store", wants_store ? "store" : "broker",
                            ow_buf_bytes(&forms).data);
    }
    if (!s->is_supported) {
        ow_url_list(OW_URL_STORE | OW_URL_BROKER, &forms);
        return ow_error_set(r->err, OW_EUNSUPPORTED, "this build of onewrite has no support for %s; it has %s", s->form,
                            ow_buf_bytes(&forms).data);
    }
    *ret = s;
    return 0;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int decode(const struct reading *r, struct ow_bytes text, struct ow_buf *to)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '%') {
            ow_buf_add_char(to, text.data[i]);
            continue;
        }
        int high = i + 2 < text.size ? hex(text.data[i + 1]) : -1, low = i + 2 < text.size ? hex(text.data[i + 2]) : -1;
        int byte = high < 0 || low < 0 ? -1 : high * 16 + low;
        if (byte < 0)
            return ow_error_set(r->err, OW_EINVALID, "a percent sign in \"%.*s\" begins no escape; write it as %%25",
                                OW_PRINT(quote(r, text)));
        if (byte < 0x20 || byte == 0x7f)
            return ow_error_set(r->err, OW_EINVALID, "\"%.*s\" holds an escaped control character; leave it out",
                                OW_PRINT(quote(r, text)));
        ow_buf_add_char(to, (char)byte);
        i += 2;
    }
    return ow_buf_check(to, r->err);
}

/* The inverse, as far as a path needs it: what ow_url_parse() reads back to the same. */
static void encode(const char *path, struct ow_buf *to)
{
    for (; *path; path++) {
        if (*path == '%' || *path == '?')
            ow_buf_printf(to, "%%%02X", (unsigned)*path);
        else
            ow_buf_add_char(to, *path);
    }
}

static int read_path(struct reading *r, struct ow_url *url)
{
    const char *question = memchr(r->rest.data, '?', r->rest.size);
    size_t size = question ? (size_t)(question - r->rest.data) : r->rest.size;
    struct ow_bytes path = {r->rest.data, size};
    r->rest = question ? (struct ow_bytes){question + 1, r->rest.size - size - 1} : OW_NULL_BYTES;
    const struct ow_scheme *scheme = url->scheme;
    if (scheme->id == OW_SCHEME_KAFKA)
        return ow_url_kafka_servers(url, path, r->is_secret, r->err);
    if (scheme->id == OW_SCHEME_POSTGRES)
        return ow_url_postgres_begin(url, path, r->err);
    if (!scheme->has_path) {
        if (path.size > 0)
            return ow_error_set(r->err, OW_EINVALID, "%s takes no path; leave out what comes after the colon",
                                scheme->form);
        url->text = strdup(scheme->form);
        return url->text ? 0 : ow_error_set(r->err, OW_ENOMEM, "out of memory");
    }
    if (path.size >= 2 && path.data[0] == '/' && path.data[1] == '/') {
        if (path.size == 2 || path.data[2] != '/')
            return ow_error_set(
                r->err, OW_EINVALID,
                "%s// would name a host; write %s///PATH for an absolute path, %sPATH for a relative one", scheme->form,
                scheme->form, scheme->form);
        path = (struct ow_bytes){path.data + 2, path.size - 2};
    }
    if (path.size == 0)
        return ow_error_set(r->err, OW_EINVALID, "%s needs a path: %sPATH", scheme->form, scheme->form);
    OW_CLEANUP(ow_buf_done) struct ow_buf decoded = {0}, text = {0};
    int result = decode(r, path, &decoded);
    if (result < 0)
        return result;
    if (ow_bytes_is(ow_buf_bytes(&decoded), ":memory:"))
        return ow_error_set(r->err, OW_EINVALID, "%s:memory: cannot be shared with another process; name a file",
                            scheme->form);
    ow_buf_add_text(&text, scheme->form);
    /* Two slashes at the start of a path would be read as a host. */
    if (decoded.size >= 2 && decoded.data[0] == '/' && decoded.data[1] == '/')
        ow_buf_add_text(&text, "//");
    encode(ow_buf_bytes(&decoded).data, &text);
    result = ow_buf_check(&text, r->err);
    if (result < 0)
        return result;
    url->path = decoded.data;
    url->text = text.data;
    decoded = text = (struct ow_buf){0};
    return 0;
}

static int refuse_option(const struct reading *r, const struct ow_scheme *scheme, struct ow_bytes name)
{
    if (!scheme->options)
        return ow_error_set(r->err, OW_EINVALID, "%s takes no options; leave out what comes after the question mark",
                            scheme->form);
    struct ow_nearest nearest = {.word = name};
    OW_CLEANUP(ow_buf_done) struct ow_buf known = {0};
    for (const struct ow_option *o = scheme->options; o->key; o++) {
        ow_nearest_offer(&nearest, o->key);
        ow_buf_printf(&known, "%s%s", known.size ? ", " : "", o->key);
    }
    if (nearest.best && !r->is_secret)
        return ow_error_set(r->err, OW_EINVALID, "%s has no option \"%.*s\"; did you mean \"%s\"?", scheme->form,
                            OW_PRINT(name), nearest.best);
    return ow_error_set(r->err, OW_EINVALID, "%s has no option \"%.*s\"; known: %s", scheme->form,
                        OW_PRINT(quote(r, name)), ow_buf_bytes(&known).data);
}

static int read_option(const struct reading *r, struct ow_url *url, struct ow_bytes pair)
{
    const char *equal = pair.size ? memchr(pair.data, '=', pair.size) : NULL;
    struct ow_bytes name = {pair.data, equal ? (size_t)(equal - pair.data) : pair.size};
    const struct ow_option *option = ow_option_find(url->scheme->options, name);
    /* librdkafka's properties have a point in their names, ours have not. */
    bool is_property = url->scheme->id == OW_SCHEME_KAFKA && name.size > 0 && memchr(name.data, '.', name.size);
    if (!option && url->scheme->id == OW_SCHEME_POSTGRES && ow_url_postgres_is_parameter(name))
        return ow_url_postgres_add(url, pair, r->err);
    if (!option && !is_property)
        return refuse_option(r, url->scheme, name);
    if (!equal)
        return ow_error_set(r->err, OW_EINVALID, "option %.*s has no value; write %.*s=%s", OW_PRINT(name),
                            OW_PRINT(name), option && option->fallback ? option->fallback : "VALUE");
    OW_CLEANUP(ow_buf_done) struct ow_buf value = {0};
    struct ow_bytes text = {equal + 1, pair.size - name.size - 1};
    int result = decode(r, text, &value);
    if (result < 0)
        return result;
    if (is_property)
        return ow_url_add_property(&url->kafka.properties, name, ow_buf_bytes(&value), r->err);
    result = ow_url_set(url, option, ow_buf_bytes(&value), quote(r, text), r->err);
    return result < 0 ? ow_error_prefix(r->err, "option %s", option->key) : 0;
}

int ow_url_set(struct ow_url *url, const struct ow_option *option, struct ow_bytes value, struct ow_bytes shown,
               struct ow_error *err)
{
    uint32_t bit = (uint32_t)1 << (option - url->scheme->options);
    if (url->given & bit)
        return ow_error_set(err, OW_EINVALID, "is said twice; keep one of the two");
    url->given |= bit;
    if (option->type == OW_OPTION_GROUP && option->choices) { /* one that may also be said in a word */
        struct ow_option word = *option;
        word.type = OW_OPTION_CHOICE;
        return ow_option_set(&word, url, value, shown, err);
    }
    if (option->type == OW_OPTION_GROUP || option->type == OW_OPTION_MAP)
        return ow_error_set(err, OW_EINVALID, "is a map, which only a configuration file can hold");
    return ow_option_set(option, url, value, shown, err);
}

static int read_url(struct reading *r, unsigned kinds, struct ow_url *url)
{
    struct ow_bytes name;
    for (size_t i = 0; i < r->rest.size; i++)
        if ((unsigned char)r->rest.data[i] < 0x20 || r->rest.data[i] == 0x7f)
            return ow_error_set(r->err, OW_EINVALID, "a URL cannot hold a line break or another control character");
    if (!take_scheme(r, &name))
        return refuse_text(r, kinds);
    int result = find_scheme(r, name, kinds, &url->scheme);
    if (result < 0)
        return result;
    if (url->scheme->options) {
        result = ow_option_set_defaults(url->scheme->options, url, r->err);
        if (result < 0)
            return result;
    }
    result = read_path(r, url);
    while (result == 0 && r->rest.data) {
        const char *and = r->rest.size ? memchr(r->rest.data, '&', r->rest.size) : NULL;
        struct ow_bytes pair = {r->rest.data, and? (size_t)(and-r->rest.data) : r->rest.size};
        r->rest = and? (struct ow_bytes){and+1, r->rest.size - pair.size - 1} : OW_NULL_BYTES;
        result = read_option(r, url, pair);
    }
    return result == 0 && url->scheme->id == OW_SCHEME_POSTGRES ? ow_url_postgres_end(url, r->err) : result;
}

int ow_url_read(struct ow_bytes text, struct ow_bytes shown, unsigned kinds, struct ow_url *ret, struct ow_error *err)
{
    struct reading r = {.rest = text, .is_secret = !ow_bytes_equal(text, shown), .shown = shown, .err = err};
    *ret = (struct ow_url){0};
    int result = text.size ? read_url(&r, kinds, ret) : refuse_text(&r, kinds);
    if (result < 0) {
        ow_url_done(ret);
        return result;
    }
    ret->outbox.path = ret->journal.path = ret->file.path = ret->path;
    ret->kafka.servers = ret->path;
    ret->kafka.text = ret->text;
    return 0;
}

int ow_url_check(const struct ow_url *url, struct ow_error *err)
{
    if (!url->scheme->options)
        return 0;
#if OW_WITH_KAFKA
    if (url->scheme->id == OW_SCHEME_KAFKA)
        return ow_kafka_options_check(&url->kafka, err);
#endif
    for (size_t i = 0; url->scheme->options[i].key; i++) {
        const struct ow_option *option = &url->scheme->options[i];
        bool has_effect = (url->scheme->id != OW_SCHEME_SQLITE || url->outbox.after == OW_OUTBOX_MARK) &&
                          (url->scheme->id != OW_SCHEME_POSTGRES || url->postgres.after == OW_OUTBOX_MARK) &&
                          (url->scheme->id != OW_SCHEME_FILE || url->file.rotate_bytes > 0);
        if (option->needs && (url->given >> i & 1) && !has_effect)
            return ow_error_set(err, OW_EINVALID, "%s has no effect without %s; say both or neither", option->key,
                                option->needs);
    }
    return 0;
}

int ow_url_parse(struct ow_bytes text, struct ow_bytes shown, unsigned kinds, struct ow_url *ret, struct ow_error *err)
{
    int r = ow_url_read(text, shown, kinds, ret, err);
    if (r < 0)
        return r;
    r = ow_url_check(ret, err);
    if (r < 0)
        ow_url_done(ret);
    return r;
}

void ow_url_done(struct ow_url *url)
{
    ow_url_kafka_done(&url->kafka);
    if (url->scheme && url->scheme->options)
        ow_option_done(url->scheme->options, url);
    if (url->path && url->scheme && url->scheme->id == OW_SCHEME_POSTGRES)
        explicit_bzero(url->path, strlen(url->path));
    free(url->path);
    free(url->text);
    *url = (struct ow_url){0};
}
