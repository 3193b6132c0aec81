/* SPDX-License-Identifier: Apache-2.0 */
/* The broker of an import: the Java producer's properties, under the names that ours have. */

#include "codec/debezium_import_parts.h"

#define PRODUCER "debezium.sink.kafka.producer."

enum fate {
    KEPT,   /* a property of librdkafka, with the other name */
    DROPPED /* done here anyway, or not needed */
};

static const struct {
    const char *name, *ours;
    enum fate fate;
} producer_options[] = {
    {"client.id", "client.id", KEPT},
    {"max.request.size", "message.max.bytes", KEPT},
    {"batch.size", "batch.size", KEPT},
    {"request.timeout.ms", "request.timeout.ms", KEPT},
    {"metadata.max.age.ms", "metadata.max.age.ms", KEPT},
    {"reconnect.backoff.ms", "reconnect.backoff.ms", KEPT},
    {"reconnect.backoff.max.ms", "reconnect.backoff.max.ms", KEPT},
    {"connections.max.idle.ms", "connections.max.idle.ms", KEPT},
    {"send.buffer.bytes", "socket.send.buffer.bytes", KEPT},
    {"receive.buffer.bytes", "socket.receive.buffer.bytes", KEPT},
    {"ssl.endpoint.identification.algorithm", "ssl.endpoint.identification.algorithm", KEPT},
    {"sasl.kerberos.service.name", "sasl.kerberos.service.name", KEPT},
    {"key.serializer", NULL, DROPPED},
    {"value.serializer", NULL, DROPPED},
    {"acks", NULL, DROPPED},
    {"enable.idempotence", NULL, DROPPED},
    {"retries", NULL, DROPPED},
    {"retry.backoff.ms", NULL, DROPPED},
    {"delivery.timeout.ms", NULL, DROPPED},
    {"max.block.ms", NULL, DROPPED},
    {"buffer.memory", NULL, DROPPED},
    {"max.in.flight.requests.per.connection", NULL, DROPPED},
};

static struct ow_bytes producer(struct ow_import *in, const char *name)
{
    struct ow_bytes full = ow_dbz_printf(&in->properties.arena, "%s%s", PRODUCER, name);
    return full.data ? ow_properties_get(&in->properties, full.data) : OW_NULL_BYTES;
}

static void write_line(struct ow_import *in, const char *key, struct ow_bytes value)
{
    if (!value.data)
        return;
    ow_buf_printf(&in->to->yaml, "%s: ", key);
    ow_import_write_scalar(in, value, false);
    ow_buf_add_char(&in->to->yaml, '\n');
}

/* username="…" out of a line of JAAS. */
static struct ow_bytes jaas_value(struct ow_import *in, struct ow_bytes jaas, const char *key)
{
    const char *at = jaas.data ? memmem(jaas.data, jaas.size, key, strlen(key)) : NULL;
    const char *end = jaas.data ? jaas.data + jaas.size : NULL;
    if (!at)
        return OW_NULL_BYTES;
    at += strlen(key);
    while (at < end && (*at == ' ' || *at == '='))
        at++;
    char quote = at < end && (*at == '"' || *at == '\'') ? *at++ : ' ';
    char *text = ow_dbz_alloc(&in->properties.arena, (size_t)(end - at) + 1);
    size_t size = 0;
    for (; text && at < end && *at != quote && (quote != ' ' || *at != ';'); at++) {
        if (*at == '\\' && at + 1 < end && quote != ' ')
            at++;
        text[size++] = *at;
    }
    return (struct ow_bytes){text, size};
}

static void write_sasl(struct ow_import *in)
{
    struct ow_bytes mechanism = producer(in, "sasl.mechanism"), jaas = producer(in, "sasl.jaas.config");
    static const char *const known[] = {"plain", "scram-sha-256", "scram-sha-512", "oauthbearer"};
    if (!mechanism.data && !jaas.data)
        return;
    ow_buf_add_text(&in->to->yaml, "    sasl:\n");
    size_t found = 0;
    while (found < 4 && (!mechanism.data || mechanism.size != strlen(known[found]) ||
                         strncasecmp(mechanism.data, known[found], mechanism.size) != 0))
        found++;
    if (found == 4)
        ow_import_lose(in, PRODUCER "sasl.mechanism", "not carried over (PLAIN, SCRAM and OAUTHBEARER are)");
    ow_buf_printf(&in->to->yaml, "      mechanism: %s\n", found < 4 ? known[found] : "none");
    struct ow_bytes user = jaas_value(in, jaas, "username"), password = jaas_value(in, jaas, "password");
    write_line(in, "      username", user);
    write_line(in, "      password", password);
    if (jaas.data && !user.data)
        ow_import_lose(in, PRODUCER "sasl.jaas.config", "no username and password in it that could be read");
}

static void write_tls(struct ow_import *in)
{
    struct ow_bytes protocol = producer(in, "security.protocol"), trust = producer(in, "ssl.truststore.location"),
                    trust_type = producer(in, "ssl.truststore.type");
    bool is_tls = ow_bytes_is(protocol, "SSL") || ow_bytes_is(protocol, "SASL_SSL");
    if (is_tls && trust.data && ow_bytes_is(trust_type, "PEM")) {
        ow_buf_add_text(&in->to->yaml, "    tls:\n");
        write_line(in, "      ca", trust);
    } else if (is_tls) {
        ow_buf_add_text(&in->to->yaml, "    tls: true\n");
        if (trust.data)
            ow_import_lose(
                in, PRODUCER "ssl.truststore.location",
                "a key store of Java; write its certificates to a PEM file and name it as tls: { ca: FILE }");
    }
}

static void write_properties(struct ow_import *in)
{
    bool has_any = false;
    for (size_t i = 0; i < sizeof(producer_options) / sizeof(*producer_options); i++) {
        struct ow_bytes value = producer(in, producer_options[i].name);
        if (!value.data || producer_options[i].fate == DROPPED)
            continue;
        if (!has_any)
            ow_buf_add_text(&in->to->yaml, "    properties:\n");
        has_any = true;
        ow_buf_printf(&in->to->yaml, "      %s: ", producer_options[i].ours);
        ow_import_write_scalar(in, value, false);
        ow_buf_add_char(&in->to->yaml, '\n');
    }
}

void ow_import_write_broker(struct ow_import *in)
{
    struct ow_bytes servers = producer(in, "bootstrap.servers");
    ow_buf_add_text(&in->to->yaml, "brokers:\n  bus:\n    url: \"");
    if (servers.data) {
        struct ow_bytes item;
        bool is_first = true;
        ow_buf_add_text(&in->to->yaml, "kafka://");
        while (ow_import_next_item(&servers, &item)) {
            ow_buf_add_text(&in->to->yaml, is_first ? "" : ",");
            ow_import_add_scalar(in, &in->to->yaml, item, false);
            is_first = false;
        }
    } else {
        ow_buf_add_text(&in->to->yaml, "${KAFKA_URL:?set KAFKA_URL to kafka://HOST:PORT}");
        ow_import_lose(in, in->properties.is_json ? "bootstrap.servers" : PRODUCER "bootstrap.servers",
                       "not said; set the variable KAFKA_URL to kafka://HOST:PORT");
    }
    ow_buf_add_text(&in->to->yaml, "\"\n");
    write_tls(in);
    write_sasl(in);
    write_line(in, "    compression", producer(in, "compression.type"));
    struct ow_bytes linger = producer(in, "linger.ms");
    if (linger.data && linger.size > 0)
        write_line(in, "    linger", ow_dbz_printf(&in->properties.arena, "%.*sms", OW_PRINT(linger)));
    write_properties(in);
}
