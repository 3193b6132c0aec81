/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URL: how stores and brokers are named, on the command line and in the configuration.
 *
 *     sqlite:PATH   sqlite:///PATH   journal:PATH   file:PATH   stdout:
 *     PATH?option=value&option=value
 *     kafka://HOST:PORT,HOST:PORT?option=value
 *
 *     postgres://USER@HOST:PORT/DATABASE?option=value, the options ours or libpq's
 *
 * In path and values %XX is one byte; a question mark that belongs to the path is written %3F, a percent
 * sign %25. One table of schemes says what there is, which of it this build can do, and which options it
 * takes; the same options may be said as keys beside `url:` in the configuration.
 */
#ifndef OW_CONFIG_URL_H
#define OW_CONFIG_URL_H

#include "broker/broker.h"
#include "config/option.h"
#include "source/source.h"

enum ow_url_kind { OW_URL_STORE = 1, OW_URL_BROKER = 2 }; /* bits */

enum ow_scheme_id {
    OW_SCHEME_SQLITE,
    OW_SCHEME_JOURNAL,
    OW_SCHEME_FILE,
    OW_SCHEME_STDOUT,
    OW_SCHEME_KAFKA,
    OW_SCHEME_POSTGRES,
    OW_SCHEME_OTHER
};

struct ow_scheme {
    const char *name; /* "kafka" */
    const char *form; /* "kafka://" */
    enum ow_scheme_id id;
    unsigned kinds; /* of enum ow_url_kind */
    bool is_supported, has_path;
    bool is_alias;                   /* another name of the one before: left out of lists */
    const struct ow_option *options; /* offsets in struct ow_url; NULL: it takes none */
    /* For the reference. `rest`: what follows the form; NULL: PATH, where there is a path. */
    const char *rest;
    const char *sample_name, *sample, *help;
};
/* Ends with a row whose name is NULL. */
extern const struct ow_scheme ow_schemes[];

struct ow_url {
    const struct ow_scheme *scheme; /* never NULL once it was read */
    char *path;                     /* owned; decoded; NULL: the scheme has none */
    char *text;                     /* owned; scheme and path, for messages: no options and nothing secret */
    uint32_t given;                 /* bit n: options[n] was said */
    /* The one of its scheme counts; their paths point to `path`. */
    struct ow_outbox_polling_options outbox;
    struct ow_outbox_postgres_options postgres; /* its url is `path`, a URI for libpq: it may hold a password */
    struct ow_journal_options journal;
    struct ow_file_options file;
    struct ow_kafka_options kafka; /* its texts are the URL's, but for servers and text: `path` and `text` */
    /* Maps in a configuration (nodes, while it is read): the properties in them are added by ow_url_add_property(). */
    const void *kafka_properties, *kafka_topic_config;
};

/* Reads a URL of one of `kinds`. `shown` is what errors quote of the text: the text itself, or, where it may
   hold a secret, something that stands for it. On failure *ret is zeroed.
   OW_EINVALID: not such a URL. OW_EUNSUPPORTED: this build has no support for the scheme. Any thread. */
int ow_url_parse(struct ow_bytes text, struct ow_bytes shown, unsigned kinds, struct ow_url *ret,
                 struct ow_error *err) OW_MUST_CHECK;
void ow_url_done(struct ow_url *url);

/* The same in three steps, for options that are said outside of the URL: read it, set more options of
   url->scheme->options (OW_EINVALID also if one was said before), check that they go together. */
int ow_url_read(struct ow_bytes text, struct ow_bytes shown, unsigned kinds, struct ow_url *ret,
                struct ow_error *err) OW_MUST_CHECK;
int ow_url_set(struct ow_url *url, const struct ow_option *option, struct ow_bytes value, struct ow_bytes shown,
               struct ow_error *err) OW_MUST_CHECK;
int ow_url_add_property(struct ow_kafka_properties *to, struct ow_bytes name, struct ow_bytes value,
                        struct ow_error *err) OW_MUST_CHECK;
int ow_url_check(const struct ow_url *url, struct ow_error *err) OW_MUST_CHECK;

/* "sqlite:, journal:" : the supported schemes of these kinds. */
void ow_url_list(unsigned kinds, struct ow_buf *to);

#endif
