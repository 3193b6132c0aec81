/* SPDX-License-Identifier: Apache-2.0 */
/* What this program is, and which stores and brokers it was built with. */
#include <sqlite3.h>
#include <stdio.h>
#include <yaml.h>
#if OW_WITH_POSTGRES
#include <libpq-fe.h>
#endif
#if OW_WITH_KAFKA
#include <librdkafka/rdkafka.h>
#endif
#if OW_WITH_HTTP
#include <curl/curl.h>
#endif
#if OW_WITH_ADMIN
#include <microhttpd.h>
#endif
#if OW_WITH_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

#if OW_WITH_REDIS
#include <hiredis/hiredis.h>
#endif

#include "cmd/output.h"
#include "config/url.h"

#ifndef OW_PRESET
#define OW_PRESET "unknown"
#endif

struct version_options {
    int output;
};

/* The version that this process runs with; NULL: the build has none. */
static const char *kafka_library(void)
{
#if OW_WITH_KAFKA
    return rd_kafka_version_str();
#else
    return NULL;
#endif
}

/* "15.18"; empty: the build has none. */
static const char *postgres_library(char to[16])
{
    to[0] = '\0';
#if OW_WITH_POSTGRES
    (void)snprintf(to, 16, "%d.%d", PQlibVersion() / 10000, PQlibVersion() % 10000);
#endif
    return to;
}

static const char *http_library(void)
{
#if OW_WITH_HTTP
    return curl_version_info(CURLVERSION_NOW)->version;
#else
    return NULL;
#endif
}

static const char *admin_library(void)
{
#if OW_WITH_ADMIN
    return MHD_get_version();
#else
    return NULL;
#endif
}

/* The version that it was built with: the library does not say its own. Empty: the build has none. */
static const char *redis_library(char to[24])
{
    to[0] = '\0';
#if OW_WITH_REDIS
    (void)snprintf(to, 24, "%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
#endif
    return to;
}

/* "10.42"; empty: the build has none. */
static const char *regex_library(char to[64])
{
    to[0] = '\0';
#if OW_WITH_PCRE2
    (void)pcre2_config(PCRE2_CONFIG_VERSION, to); /* "10.42 2022-12-11", at most 24 bytes by its manual */
    to[strcspn(to, " ")] = '\0';
#endif
    return to;
}

/* "sqlite" or "postgres, mariadb": the schemes of one kind that this build has, or those it has not. */
static void add_list(struct ow_buf *to, enum ow_url_kind kind, bool is_supported)
{
    size_t count = 0;
    for (const struct ow_scheme *s = ow_schemes; s->name; s++)
        if ((s->kinds & kind) && s->is_supported == is_supported)
            ow_buf_printf(to, "%s%s", count++ ? ", " : "", s->name);
    if (count == 0)
        ow_buf_add_text(to, "none");
}

static void print_text(struct ow_buf *to)
{
    char libpq[16], pcre2[64], hiredis[24];
    ow_buf_printf(to, "onewrite %s (%s build)\n", OW_VERSION, OW_PRESET);
    ow_buf_printf(to, "libraries:  SQLite %s, libyaml %s", sqlite3_libversion(), yaml_get_version_string());
    if (*postgres_library(libpq))
        ow_buf_printf(to, ", libpq %s", libpq);
    if (kafka_library())
        ow_buf_printf(to, ", librdkafka %s", kafka_library());
    if (http_library())
        ow_buf_printf(to, ", libcurl %s", http_library());
    if (admin_library())
        ow_buf_printf(to, ", libmicrohttpd %s", admin_library());
    if (*regex_library(pcre2))
        ow_buf_printf(to, ", PCRE2 %s", pcre2);
    if (*redis_library(hiredis))
        ow_buf_printf(to, ", hiredis %s", hiredis);
    ow_buf_add_char(to, '\n');
    if (!admin_library())
        ow_buf_add_text(to, "left out:   the admin API, for want of libmicrohttpd\n");
    ow_buf_add_text(to, "stores:     ");
    add_list(to, OW_URL_STORE, true);
    ow_buf_add_text(to, " (not in this build: ");
    add_list(to, OW_URL_STORE, false);
    ow_buf_add_text(to, ")\nbrokers:    ");
    add_list(to, OW_URL_BROKER, true);
    ow_buf_add_text(to, " (not in this build: ");
    add_list(to, OW_URL_BROKER, false);
    ow_buf_add_text(to, ")\n");
}

static void add_object(struct ow_buf *to, const char *name, enum ow_url_kind kind)
{
    size_t count = 0;
    ow_buf_printf(to, ",\"%s\":{", name);
    for (const struct ow_scheme *s = ow_schemes; s->name; s++)
        if (s->kinds & kind)
            ow_buf_printf(to, "%s\"%s\":%s", count++ ? "," : "", s->name, s->is_supported ? "true" : "false");
    ow_buf_add_char(to, '}');
}

static void print_json(struct ow_buf *to)
{
    char libpq[16], pcre2[64], hiredis[24];
    ow_buf_printf(to, "{\"version\":\"%s\",\"build\":\"%s\",\"libraries\":{\"sqlite\":\"%s\",\"libyaml\":\"%s\"",
                  OW_VERSION, OW_PRESET, sqlite3_libversion(), yaml_get_version_string());
    if (*postgres_library(libpq))
        ow_buf_printf(to, ",\"libpq\":\"%s\"", libpq);
    if (kafka_library())
        ow_buf_printf(to, ",\"librdkafka\":\"%s\"", kafka_library());
    if (http_library())
        ow_buf_printf(to, ",\"libcurl\":\"%s\"", http_library());
    if (admin_library())
        ow_buf_printf(to, ",\"libmicrohttpd\":\"%s\"", admin_library());
    if (*regex_library(pcre2))
        ow_buf_printf(to, ",\"pcre2\":\"%s\"", pcre2);
    if (*redis_library(hiredis))
        ow_buf_printf(to, ",\"hiredis\":\"%s\"", hiredis);
    ow_buf_add_char(to, '}');
    add_object(to, "stores", OW_URL_STORE);
    add_object(to, "brokers", OW_URL_BROKER);
    ow_buf_add_text(to, "}\n");
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)arguments, (void)count;
    const struct version_options *o = options;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    if (o->output == OW_OUTPUT_TABLE)
        print_text(&text);
    else
        print_json(&text);
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

static const struct ow_flag options[] = {
    OW_FLAG_OUTPUT(struct version_options),
    {0},
};

const struct ow_command ow_command_version = {
    .name = "version",
    .summary = "show the version, and which stores and brokers this build has",
    .options = options,
    .options_size = sizeof(struct version_options),
    .run = run,
};
