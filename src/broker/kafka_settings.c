/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/kafka.h"

enum { SECRET_SIZE_MAX = 65536 };

static const char *const mechanisms[] = {
    [OW_KAFKA_SASL_PLAIN] = "PLAIN",
    [OW_KAFKA_SASL_SCRAM_SHA_256] = "SCRAM-SHA-256",
    [OW_KAFKA_SASL_SCRAM_SHA_512] = "SCRAM-SHA-512",
    [OW_KAFKA_SASL_OAUTHBEARER] = "OAUTHBEARER",
};
static const char *const compressions[] = {
    [OW_KAFKA_LZ4] = "lz4",   [OW_KAFKA_ZSTD] = "zstd",           [OW_KAFKA_SNAPPY] = "snappy",
    [OW_KAFKA_GZIP] = "gzip", [OW_KAFKA_NO_COMPRESSION] = "none",
};

/* What a user may not say, because a promise or the user's safety rests on it, and what to do instead. */
static const struct {
    const char *name, *remedy;
} forbidden[] = {
    {"bootstrap.servers", "name the servers in the URL"},
    {"metadata.broker.list", "name the servers in the URL"},
    {"enable.idempotence", "order rests on it"},
    {"enable.gapless.guarantee", "order rests on it"},
    {"acks", "a message is accepted when all replicas in sync have it"},
    {"request.required.acks", "a message is accepted when all replicas in sync have it"},
    {"retries", "a message that is not accepted is tried for ever"},
    {"message.send.max.retries", "a message that is not accepted is tried for ever"},
    {"message.timeout.ms", "a message that is not accepted is tried for ever"},
    {"delivery.timeout.ms", "a message that is not accepted is tried for ever"},
    {"transactional.id", "say delivery: exactly_once"},
    {"group.id", "name the group where you subscribe; a relay joins none"},
    {"enable.auto.commit", "an offset is settled when its record is done with"},
    {"enable.auto.offset.store", "an offset is settled when its record is done with"},
    {"auto.offset.reset", "say from: where you subscribe"},
    {"isolation.level", "what was aborted must not be read"},
    {"enable.partition.eof", "reading until the end rests on it"},
    {"plugin.library.paths", "onewrite loads no code"},
    {"sasl.password", "say sasl: { password_file: PATH }"},
    {"ssl.key.password", "use a key without a password that only this user can read"},
};

void ow_kafka_wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static void free_properties(struct ow_kafka_properties *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        free(properties->items[i].name);
        ow_kafka_wipe(properties->items[i].value);
    }
    free(properties->items);
    *properties = (struct ow_kafka_properties){0};
}

static int add(struct ow_kafka_properties *to, const char *name, const char *value, struct ow_error *err)
{
    struct ow_kafka_property *grown = reallocarray(to->items, to->count + 1, sizeof *grown);
    if (!grown)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    to->items = grown;
    struct ow_kafka_property *p = &grown[to->count++];
    *p = (struct ow_kafka_property){strdup(name), strdup(value)};
    return p->name && p->value ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

static int add_all(struct ow_kafka_properties *to, const struct ow_kafka_properties *from, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < from->count; i++)
        r = add(to, from->items[i].name, from->items[i].value, err);
    return r;
}

/* --- what is ours to decide --------------------------------------------------------------------------- */

static const struct ow_kafka_pair for_all[] = {
    {"client.id", "onewrite"},
    /* With more, messages are given up on long after the brokers are back. */
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"},
    {"socket.keepalive.enable", "true"},
    {"socket.nagle.disable", "true"},
    {"log.connection.close", "false"},
    {NULL, NULL},
};

static int add_fixed(struct ow_kafka_settings *s, const struct ow_kafka_pair *fixed, struct ow_error *err)
{
    int r = 0;
    for (; r == 0 && fixed->name; fixed++)
        r = add(&s->properties, fixed->name, fixed->value, err);
    return r;
}

static int add_subscribers(struct ow_kafka_settings *s, const struct ow_kafka_options *o, struct ow_error *err)
{
    static const struct ow_kafka_pair fixed[] = {
        {"isolation.level", "read_committed"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "earliest"}, /* where an offset is gone; where to begin is said by us */
        {"enable.partition.eof", "true"},
        {"partition.assignment.strategy", "cooperative-sticky"},
        {"session.timeout.ms", "10000"},
        {"heartbeat.interval.ms", "1000"}, /* a member hears of a rebalance by its next heartbeat */
        {"check.crcs", "true"},
        /* How much is fetched ahead; what is in a queue counts for all partitions together. Once there is so much,
           librdkafka looks again only after a second: it is what a quick consumer does in that time. */
        {"queued.max.messages.kbytes", "32768"},
        {"queued.min.messages", "100000"},
        {"fetch.max.bytes", "8388608"},
        {"receive.message.max.bytes", "1000000000"}, /* the topic's own limit decides */
        /* How long until a topic that is waited for, or a new partition, is seen. */
        {"topic.metadata.refresh.interval.ms", "5000"},
        {NULL, NULL},
    };
    int r = add(&s->properties, "bootstrap.servers", o->servers, err);
    if (r == 0)
        r = add_fixed(s, for_all, err);
    return r < 0 ? r : add_fixed(s, fixed, err);
}

static int add_producers(struct ow_kafka_settings *s, const struct ow_kafka_options *o, struct ow_error *err)
{
    static const struct ow_kafka_pair fixed[] = {
        {"enable.idempotence", "true"},
        {"acks", "all"},
        /* After a request that the broker refused nothing behind it may be accepted: the producer stops, and
           what has no receipt is sent again in order. */
        {"enable.gapless.guarantee", "true"},
        {"partitioner", "murmur2_random"}, /* as the Java client */
        /* Far above what the relay's window lets through. */
        {"queue.buffering.max.messages", "10000000"},
        {"queue.buffering.max.kbytes", "2147483647"},
        {"message.max.bytes", "1000000000"}, /* the topic's own limit decides */
        /* How long a topic that was just made may still be unknown to a broker. */
        {"topic.metadata.propagation.max.ms", "5000"},
        {NULL, NULL},
    };
    char linger[16];
    int r = add(&s->properties, "bootstrap.servers", o->servers, err);
    if (r == 0)
        r = add_fixed(s, for_all, err);
    if (r == 0)
        r = add_fixed(s, fixed, err);
    (void)snprintf(linger, sizeof linger, "%u", o->linger_ms);
    if (r == 0)
        r = add(&s->properties, "linger.ms", linger, err);
    if (r == 0)
        r = add(&s->properties, "compression.codec", compressions[o->compression], err);
    return r;
}

static int add_tls(struct ow_kafka_settings *s, const struct ow_kafka_options *o, struct ow_error *err)
{
    const struct ow_kafka_pair files[] = {
        {"ssl.ca.location", o->tls_ca}, {"ssl.certificate.location", o->tls_cert}, {"ssl.key.location", o->tls_key}};
    if ((o->tls_cert != NULL) != (o->tls_key != NULL))
        return ow_error_set(err, OW_EINVALID, "tls: a certificate needs its key; say both cert and key, or neither");
    bool has_file = o->tls_ca || o->tls_cert;
    if (has_file && !o->use_tls)
        return ow_error_set(err, OW_EINVALID, "tls: ca, cert and key mean nothing without TLS; say tls: true");
    const char *protocol = o->use_tls ? (o->sasl ? "sasl_ssl" : "ssl") : (o->sasl ? "sasl_plaintext" : "plaintext");
    int r = add(&s->properties, "security.protocol", protocol, err);
    for (size_t i = 0; r == 0 && i < sizeof files / sizeof files[0]; i++)
        if (files[i].value)
            r = add(&s->properties, files[i].name, files[i].value, err);
    if (r == 0 && o->use_tls)
        r = add(&s->properties, "enable.ssl.certificate.verification", "true", err);
    if (r == 0 && o->use_tls)
        r = add(&s->properties, "ssl.endpoint.identification.algorithm", "https", err);
    return r;
}

static bool is_jwt_of_properties(const struct ow_kafka_options *o)
{
    for (size_t i = 0; i < o->properties.count; i++)
        if (strncmp(o->properties.items[i].name, "sasl.oauthbearer.", 17) == 0 ||
            strcmp(o->properties.items[i].name, "enable.sasl.oauthbearer.unsecure.jwt") == 0)
            return true;
    return false;
}

static int check_sasl(const struct ow_kafka_options *o, struct ow_error *err)
{
    bool has_any = o->sasl_username || o->sasl_password || o->sasl_password_file || o->sasl_token_file;
    if (!o->sasl)
        return has_any ? ow_error_set(err, OW_EINVALID, "sasl: mechanism is missing; say for example scram-sha-512")
                       : 0;
    if (o->sasl == OW_KAFKA_SASL_OAUTHBEARER) {
        if (o->sasl_password || o->sasl_password_file)
            return ow_error_set(err, OW_EINVALID, "sasl: oauthbearer takes no password; say token_file");
        if (!o->sasl_token_file && !is_jwt_of_properties(o))
            return ow_error_set(err, OW_EINVALID, "sasl: oauthbearer needs token_file, a file that holds the token");
        return 0;
    }
    if (o->sasl_token_file)
        return ow_error_set(err, OW_EINVALID, "sasl: token_file is for oauthbearer; say password_file");
    if (!o->sasl_username || (o->sasl_password != NULL) == (o->sasl_password_file != NULL))
        return ow_error_set(err, OW_EINVALID, "sasl: say username, and one of password and password_file");
    return 0;
}

static int add_sasl(struct ow_kafka_settings *s, const struct ow_kafka_options *o, struct ow_error *err)
{
    int r = check_sasl(o, err);
    if (r < 0 || !o->sasl)
        return r;
    r = add(&s->properties, "sasl.mechanisms", mechanisms[o->sasl], err);
    if (r == 0 && o->sasl_username && o->sasl != OW_KAFKA_SASL_OAUTHBEARER)
        r = add(&s->properties, "sasl.username", o->sasl_username, err);
    if (r == 0 && o->sasl_password)
        r = add(&s->properties, "sasl.password", o->sasl_password, err);
    return r;
}

static int add_users(struct ow_kafka_settings *s, const struct ow_kafka_options *o, struct ow_error *err)
{
    for (size_t i = 0; i < o->properties.count; i++)
        for (size_t j = 0; j < sizeof forbidden / sizeof forbidden[0]; j++)
            if (strcmp(o->properties.items[i].name, forbidden[j].name) == 0)
                return ow_error_set(err, OW_EINVALID, "property %s cannot be set: %s", forbidden[j].name,
                                    forbidden[j].remedy);
    return add_all(&s->properties, &o->properties, err);
}

/* --- life --------------------------------------------------------------------------------------------- */

static char *copy(const char *text, int *r)
{
    char *is = text ? strdup(text) : NULL;
    if (text && !is)
        *r = OW_ENOMEM;
    return is;
}

static int settings_init(struct ow_kafka_settings *s, const struct ow_kafka_options *o, bool subscribes,
                         struct ow_error *err)
{
    *s = (struct ow_kafka_settings){.creates_topics = !o->leave_topics,
                                    .partitions = o->topic_partitions ? (int)o->topic_partitions : -1,
                                    .replication = o->topic_replication ? (int)o->topic_replication : -1};
    int r = 0;
    s->text = copy(o->text ? o->text : "kafka://", &r);
    s->password_file = copy(o->sasl_password_file, &r);
    s->token_file = copy(o->sasl_token_file, &r);
    s->username = copy(o->sasl_username, &r);
    if (r < 0)
        (void)ow_error_set(err, r, "out of memory");
    if (r == 0)
        r = subscribes ? add_subscribers(s, o, err) : add_producers(s, o, err);
    if (r == 0)
        r = add_tls(s, o, err);
    if (r == 0)
        r = add_sasl(s, o, err);
    if (r == 0)
        r = add_users(s, o, err);
    if (r == 0)
        r = add_all(&s->topic_config, &o->topic_config, err);
    if (r == 0 && o->leave_topics && (o->topic_partitions || o->topic_replication || o->topic_config.count))
        r = ow_error_set(err, OW_EINVALID, "topics: with create: false the other keys have no effect; leave them out");
    for (size_t i = 0; i < s->properties.count; i++)
        if (strcmp(s->properties.items[i].name, "partitioner") == 0)
            s->partitioner = s->properties.items[i].value; /* a user's comes later */
    if (r < 0)
        ow_kafka_settings_done(s);
    return r;
}

int ow_kafka_settings_init(struct ow_kafka_settings *s, const struct ow_kafka_options *o, struct ow_error *err)
{
    return settings_init(s, o, false, err);
}

int ow_kafka_settings_init_subscriber(struct ow_kafka_settings *s, const struct ow_kafka_options *o,
                                      struct ow_error *err)
{
    return settings_init(s, o, true, err);
}

void ow_kafka_settings_done(struct ow_kafka_settings *s)
{
    free_properties(&s->properties);
    free_properties(&s->topic_config);
    free(s->text);
    free(s->password_file);
    free(s->token_file);
    free(s->username);
    *s = (struct ow_kafka_settings){0};
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct ow_error *err)
{
    char why[512];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK)
        return 0;
    /* librdkafka repeats the value; one that may be a secret is not printed. */
    if (strstr(name, "password") || strstr(name, "secret") || strstr(name, "pem") || strstr(name, "oauthbearer"))
        return ow_error_set(err, OW_EINVALID, "property %s has a value that librdkafka does not take", name);
    return ow_error_set(err, OW_EINVALID, "property %s: %s", name, why);
}

int ow_kafka_settings_conf(const struct ow_kafka_settings *s, const struct ow_kafka_pair *extra, rd_kafka_conf_t **ret,
                           struct ow_error *err)
{
    char *password = NULL;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->properties.count; i++)
        r = set(conf, s->properties.items[i].name, s->properties.items[i].value, err);
    for (size_t i = 0; r == 0 && extra && extra[i].name; i++)
        r = set(conf, extra[i].name, extra[i].value, err);
    if (r == 0 && s->password_file)
        r = ow_kafka_read_secret(s->password_file, &password, err);
    if (r == 0 && password)
        r = set(conf, "sasl.password", password, err);
    ow_kafka_wipe(password);
    if (r < 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    *ret = conf;
    return 0;
}

int ow_kafka_read_secret(const char *path, char **ret, struct ow_error *err)
{
    char *text = calloc(1, SECRET_SIZE_MAX + 1);
    if (!text)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, SECRET_SIZE_MAX);
    int problem = errno;
    if (fd >= 0)
        (void)close(fd);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        text[--n] = '\0';
    if (n > 0 && !strpbrk(text, "\r\n")) {
        *ret = text;
        return 0;
    }
    explicit_bzero(text, SECRET_SIZE_MAX);
    free(text);
    if (n < 0)
        return ow_error_errno(err, problem, "cannot read %s", path);
    return ow_error_set(err, OW_EINVALID, "%s: expected one line that holds the secret", path);
}

int ow_kafka_options_check(const struct ow_kafka_options *options, struct ow_error *err)
{
    struct ow_kafka_settings settings;
    rd_kafka_conf_t *conf = NULL;
    int r = ow_kafka_settings_init(&settings, options, err);
    if (r < 0)
        return r;
    free(settings.password_file); /* nothing but the options is looked at */
    settings.password_file = NULL;
    r = ow_kafka_settings_conf(&settings, NULL, &conf, err);
    if (r == 0)
        rd_kafka_conf_destroy(conf);
    ow_kafka_settings_done(&settings);
    return r;
}
