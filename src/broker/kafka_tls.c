/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with files and certificates, in words that help: librdkafka's own say neither which file nor why. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/kafka.h"

/* The numbers are OpenSSL's (X509_V_ERR_…), which does not change them. */
static const struct {
    int code;
    const char *what;
} faults[] = {
    {2, "is not from an authority that we know; name its file in tls: ca"},
    {9, "is not valid yet; is the clock right?"},
    {10, "has expired"},
    {18, "is signed by itself; name its file in tls: ca if that is meant to be"},
    {19, "is not from an authority that we know; name its file in tls: ca"},
    {20, "is not from an authority that we know; name its file in tls: ca"},
    {21, "is not from an authority that we know; name its file in tls: ca"},
    {23, "was revoked"},
    {62, "is for another host name than the one in the URL"},
    {64, "is for another address than the one in the URL"},
};

int ow_kafka_tls_check(const struct ow_kafka_settings *settings, struct ow_error *err)
{
    static const char *const names[] = {"ssl.ca.location", "ssl.certificate.location", "ssl.key.location"};
    for (size_t i = 0; i < settings->properties.count; i++) {
        const struct ow_kafka_property *p = &settings->properties.items[i];
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++)
            if (strcmp(p->name, names[j]) == 0 && strcmp(p->value, "probe") != 0 && access(p->value, R_OK) != 0)
                return ow_error_errno(err, errno, "%s: cannot read %s", settings->text, p->value);
    }
    return 0;
}

bool ow_kafka_scram_is_old(const struct ow_kafka_settings *settings)
{
    bool is_scram = false;
    for (size_t i = 0; i < settings->properties.count; i++)
        if (strcmp(settings->properties.items[i].name, "sasl.mechanisms") == 0)
            is_scram = strncmp(settings->properties.items[i].value, "SCRAM", 5) == 0;
    return is_scram && rd_kafka_version() < 0x02060100;
}

/* In a thread of librdkafka. Its verdict stands: what OpenSSL finds fault with is not trusted. */
static int judge(rd_kafka_t *rk, const char *broker, int32_t id, int *fault, int depth, const char *der, size_t size,
                 char *why, size_t why_size, void *context)
{
    struct ow_kafka_client *c = context;
    (void)rk, (void)broker, (void)id, (void)depth, (void)der, (void)size;
    if (*fault == 0)
        return 1;
    atomic_store(&c->untrusted, *fault);
    (void)snprintf(why, why_size, "X.509 error %d", *fault);
    return 0;
}

void ow_kafka_tls_watch(struct ow_kafka_client *client, rd_kafka_conf_t *conf)
{
    atomic_store(&client->untrusted, 0);
    rd_kafka_conf_set_opaque(conf, client);
    (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf, judge); /* fails where librdkafka has no TLS, and then says so */
}

void ow_kafka_tls_explain(struct ow_kafka_client *client)
{
    char *at = strstr(client->reason, ": SSL handshake failed");
    int fault = atomic_load(&client->untrusted);
    if (!at)
        at = strstr(client->reason, ": error:");
    size_t room = at ? sizeof client->reason - (size_t)(at - client->reason) : 0;
    if (!at || fault == 0 || !strstr(at, "certificate verify failed"))
        return;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (faults[i].code == fault) {
            (void)snprintf(at, room, ": the certificate of the broker %s", faults[i].what);
            return;
        }
    }
    (void)snprintf(at, room, ": the certificate of the broker cannot be trusted (X.509 error %d)", fault);
}
