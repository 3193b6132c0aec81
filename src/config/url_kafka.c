/* SPDX-License-Identifier: Apache-2.0 */
#include "config/url_kafka.h"

#include <stdlib.h>

static const char *const deliveries[] = {
    [OW_KAFKA_AT_LEAST_ONCE] = "at_least_once", [OW_KAFKA_EXACTLY_ONCE] = "exactly_once", NULL};
static const char *const compressions[] = {
    [OW_KAFKA_LZ4] = "lz4",   [OW_KAFKA_ZSTD] = "zstd",           [OW_KAFKA_SNAPPY] = "snappy",
    [OW_KAFKA_GZIP] = "gzip", [OW_KAFKA_NO_COMPRESSION] = "none", NULL};
static const char *const mechanisms[] = {[OW_KAFKA_SASL_NONE] = "none",
                                         [OW_KAFKA_SASL_PLAIN] = "plain",
                                         [OW_KAFKA_SASL_SCRAM_SHA_256] = "scram-sha-256",
                                         [OW_KAFKA_SASL_SCRAM_SHA_512] = "scram-sha-512",
                                         [OW_KAFKA_SASL_OAUTHBEARER] = "oauthbearer",
                                         NULL};
static const char *const falses[] = {"false", "true", NULL};
static const char *const trues[] = {"true", "false", NULL}; /* for what is stored the other way round */

static const struct ow_option tls_options[] = {
    {.key = "ca",
     .type = OW_OPTION_TEXT,
     .sample = "/etc/ssl/kafka-ca.pem",
     .help = "A PEM file of the authorities that are believed. Default: the system's.",
     OW_OPTION_AT(struct ow_url, kafka.tls_ca)},
    {.key = "cert",
     .type = OW_OPTION_TEXT,
     .sample = "/etc/onewrite/client.pem",
     .help = "The certificate that we show, a PEM file.",
     OW_OPTION_AT(struct ow_url, kafka.tls_cert)},
    {.key = "key",
     .type = OW_OPTION_TEXT,
     .sample = "/etc/onewrite/client.key",
     .help = "Its key, a PEM file without a password.",
     OW_OPTION_AT(struct ow_url, kafka.tls_key)},
    {0},
};

static const struct ow_option sasl_options[] = {
    {.key = "mechanism",
     .type = OW_OPTION_CHOICE,
     .fallback = "none",
     .choices = mechanisms,
     .help = "none, plain, scram-sha-256, scram-sha-512 or oauthbearer.",
     OW_OPTION_AT(struct ow_url, kafka.sasl)},
    {.key = "username",
     .type = OW_OPTION_TEXT,
     .sample = "onewrite",
     .help = "With oauthbearer: the principal, for the broker's log.",
     OW_OPTION_AT(struct ow_url, kafka.sasl_username)},
    {.key = "password",
     .type = OW_OPTION_TEXT,
     .sample = "${KAFKA_PASSWORD}",
     .help = "Better is password_file.",
     OW_OPTION_AT(struct ow_url, kafka.sasl_password)},
    {.key = "password_file",
     .type = OW_OPTION_TEXT,
     .sample = "/run/secrets/kafka",
     .help = "A file of one line; read at each connection, so that a new password needs no restart.",
     OW_OPTION_AT(struct ow_url, kafka.sasl_password_file)},
    {.key = "token_file",
     .type = OW_OPTION_TEXT,
     .sample = "/run/secrets/token",
     .help = "oauthbearer: a file of one line that something else keeps fresh; read every minute.",
     OW_OPTION_AT(struct ow_url, kafka.sasl_token_file)},
    {0},
};

static const struct ow_option topics_options[] = {
    {.key = "create",
     .type = OW_OPTION_CHOICE,
     .fallback = "true",
     .choices = trues,
     .help = "Whether a topic that is missing is made, where this user may.",
     OW_OPTION_AT(struct ow_url, kafka.leave_topics)},
    {.key = "partitions",
     .type = OW_OPTION_INTEGER,
     .fallback = "0",
     .low = 0,
     .high = 100000,
     .help = "Of topics that are made; 0: as the broker has it.",
     OW_OPTION_AT(struct ow_url, kafka.topic_partitions)},
    {.key = "replication",
     .type = OW_OPTION_INTEGER,
     .fallback = "0",
     .low = 0,
     .high = 1000,
     .help = "Replicas of topics that are made; 0: as the broker has it.",
     OW_OPTION_AT(struct ow_url, kafka.topic_replication)},
    {.key = "config",
     .type = OW_OPTION_MAP,
     .sample = "{ cleanup.policy: compact }",
     .help = "Kafka's own options of topics that are made.",
     OW_OPTION_AT(struct ow_url, kafka_topic_config)},
    {0},
};

const struct ow_option ow_url_kafka_options[] = {
    {.key = "delivery",
     .type = OW_OPTION_CHOICE,
     .fallback = "at_least_once",
     .choices = deliveries,
     .help = "at_least_once, or exactly_once for readers of committed records: in transactions that carry the\n"
             "position of the source, which must be a log.",
     OW_OPTION_AT(struct ow_url, kafka.delivery)},
    {.key = "compression",
     .type = OW_OPTION_CHOICE,
     .fallback = "lz4",
     .choices = compressions,
     .help = "lz4, zstd, snappy, gzip or none.",
     OW_OPTION_AT(struct ow_url, kafka.compression)},
    {.key = "linger",
     .type = OW_OPTION_DURATION,
     .fallback = "0",
     .low = 0,
     .high = 60000,
     .help = "How long a message may wait for others to share a request with. What is sent while earlier\n"
             "requests are on their way shares one anyway.",
     OW_OPTION_AT(struct ow_url, kafka.linger_ms)},
    {.key = "tls",
     .type = OW_OPTION_GROUP,
     .choices = falses,
     .sample = "true",
     .help = "true, or a map of files. The broker's certificate and its name are verified.",
     .group = tls_options,
     OW_OPTION_AT(struct ow_url, kafka.use_tls)},
    {.key = "sasl", .type = OW_OPTION_GROUP, .help = "How we prove who we are.", .group = sasl_options},
    {.key = "topics", .type = OW_OPTION_GROUP, .help = "Topics that are missing.", .group = topics_options},
    {.key = "properties",
     .type = OW_OPTION_MAP,
     .sample = "{ socket.timeout.ms: 30000 }",
     .help = "Any other of librdkafka. In a URL: ?socket.timeout.ms=30000",
     OW_OPTION_AT(struct ow_url, kafka_properties)},
    {0},
};

static bool is_server(struct ow_bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(".-_:[]", c)))
            return false;
    }
    return text.size > 0 && text.data[0] != ':';
}

int ow_url_kafka_servers(struct ow_url *url, struct ow_bytes servers, bool is_secret, struct ow_error *err)
{
    const char *form = url->scheme->form;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    /* A password must not come back in the error. */
    if (servers.size > 0 && memchr(servers.data, '@', servers.size))
        return ow_error_set(err, OW_EINVALID,
                            "%s takes no user and password; in a configuration file say sasl: { mechanism: …, "
                            "username: …, password_file: … } beside url",
                            form);
    if (servers.size < 2 || memcmp(servers.data, "//", 2) != 0)
        return ow_error_set(err, OW_EINVALID, "write %sHOST:PORT, or %sHOST:PORT,HOST:PORT", form, form);
    servers = (struct ow_bytes){servers.data + 2, servers.size - 2};
    if (servers.size > 0 && servers.data[servers.size - 1] == '/')
        servers.size--;
    ow_buf_printf(&text, "%s%.*s", form, (int)servers.size, servers.data);
    for (struct ow_bytes rest = servers; rest.data;) {
        const char *comma = memchr(rest.data, ',', rest.size);
        struct ow_bytes one = {rest.data, comma ? (size_t)(comma - rest.data) : rest.size};
        if (!is_server(one) && is_secret)
            return ow_error_set(err, OW_EINVALID, "names no server; write %sHOST:PORT,HOST:PORT", form);
        if (!is_server(one))
            return ow_error_set(err, OW_EINVALID, "\"%.*s\" names no server; write %sHOST:PORT,HOST:PORT",
                                OW_PRINT(one), form);
        rest = comma ? (struct ow_bytes){comma + 1, rest.size - one.size - 1} : OW_NULL_BYTES;
    }
    int result = ow_buf_check(&text, err);
    if (result < 0)
        return result;
    url->path = ow_bytes_text(servers);
    url->text = text.data;
    text = (struct ow_buf){0};
    return url->path ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

int ow_url_add_property(struct ow_kafka_properties *to, struct ow_bytes name, struct ow_bytes value,
                        struct ow_error *err)
{
    struct ow_kafka_property *grown = reallocarray(to->items, to->count + 1, sizeof *grown);
    if (!grown)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    to->items = grown;
    struct ow_kafka_property *p = &grown[to->count++];
    *p = (struct ow_kafka_property){ow_bytes_text(name), ow_bytes_text(value)};
    return p->name && p->value ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

static void free_properties(struct ow_kafka_properties *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        free(properties->items[i].name);
        if (properties->items[i].value)
            explicit_bzero(properties->items[i].value, strlen(properties->items[i].value));
        free(properties->items[i].value);
    }
    free(properties->items);
}

void ow_url_kafka_done(struct ow_kafka_options *kafka)
{
    if (kafka->sasl_password)
        explicit_bzero(kafka->sasl_password, strlen(kafka->sasl_password));
    free_properties(&kafka->properties);
    free_properties(&kafka->topic_config);
}
