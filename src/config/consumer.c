/* SPDX-License-Identifier: Apache-2.0 */
#include "config/consumer.h"

#include <stdlib.h>

#include "codec/sql_template.h"
#include "config/check.h"
#include "config/construct.h"
#include "config/schema.h"
#include "inbox/filter.h"

struct checking {
    struct ow_check at;
    struct ow_consumer_draft *draft;
    const struct ow_config *config;
};

/* --- what the tables leave as nodes --------------------------------------------------------------------------- */

/* "a, b" -> {"a", "b", NULL}. The words belong to the list. */
static int split(const char *words, char ***ret, size_t *ret_count)
{
    size_t count = 0;
    char **list = calloc(strlen(words ? words : "") / 2 + 3, sizeof *list);
    if (!list)
        return OW_ENOMEM;
    while (words && *words) {
        words += strspn(words, ", ");
        struct ow_bytes word = {words, strcspn(words, ",")};
        words += word.size;
        while (word.size > 0 && word.data[word.size - 1] == ' ')
            word.size--;
        if (word.size > 0 && !(list[count++] = ow_bytes_text(word)))
            break;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

static void read_statement(struct ow_reader *reader, const yaml_node_t *node, struct ow_config_consumer *consumer)
{
    static const struct ow_option option = {.type = OW_OPTION_STATEMENT};
    struct ow_bytes value;
    struct ow_sql_template checked;
    struct ow_error err;
    if (!ow_reader_scalar(reader, node, &option, &value))
        return;
    int r = ow_sql_template_init(&checked, value, OW_SQL_NUMBERED_BY_DOLLAR, &err);
    if (r < 0) {
        ow_reader_report(reader, node, "%s", err.text);
        return;
    }
    ow_sql_template_done(&checked);
    char *text = ow_bytes_text(value);
    reader->has_no_memory = reader->has_no_memory || !text;
    consumer->statements[consumer->statement_count++] = text;
}

static int read_statements(struct ow_reader *reader, const yaml_node_t *node, struct ow_config_consumer *consumer)
{
    bool is_list = node && node->type == YAML_SEQUENCE_NODE;
    size_t count = !is_list ? 1 : (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (!node)
        return 0;
    consumer->statements = calloc(count + 1, sizeof *consumer->statements);
    if (!consumer->statements)
        return OW_ENOMEM;
    size_t path = ow_reader_enter(reader, OW_BYTES("handler"));
    (void)ow_reader_enter(reader, OW_BYTES("sql"));
    if (count == 0 || count > OW_HANDLER_STATEMENTS_MAX)
        ow_reader_report(reader, node, "write 1 to %d statements", OW_HANDLER_STATEMENTS_MAX);
    else
        for (size_t i = 0; i < count; i++)
            read_statement(
                reader, is_list ? yaml_document_get_node(reader->document, node->data.sequence.items.start[i]) : node,
                consumer);
    ow_reader_leave(reader, path);
    return 0;
}

static int read_headers(struct ow_reader *reader, const yaml_node_t *map, struct ow_config_consumer *consumer)
{
    static const struct ow_option option = {.type = OW_OPTION_TEXT};
    if (!map)
        return 0;
    consumer->http.headers = calloc((size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start) + 1,
                                    sizeof *consumer->http.headers);
    if (!consumer->http.headers)
        return OW_ENOMEM;
    struct ow_reader_pairs pairs = ow_reader_pairs(map);
    struct ow_reader_pair pair;
    while (ow_reader_next(reader, &pairs, &pair)) {
        struct ow_bytes value;
        if (!ow_reader_scalar(reader, pair.value, &option, &value))
            continue;
        struct ow_handler_http_header *header = &consumer->http.headers[consumer->http.header_count++];
        header->name = ow_bytes_text(pair.name);
        header->value = ow_bytes_text(value);
        if (!header->name || !header->value)
            return OW_ENOMEM;
    }
    return 0;
}

/* [program, argument, …], or a program alone. */
static int read_command(struct ow_reader *reader, const yaml_node_t *node, struct ow_config_consumer *consumer)
{
    static const struct ow_option option = {.type = OW_OPTION_TEXT};
    bool is_list = node && node->type == YAML_SEQUENCE_NODE;
    size_t count = !is_list ? 1 : (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    struct ow_bytes value;
    if (!node)
        return 0;
    consumer->exec.command = calloc(count + 1, sizeof *consumer->exec.command);
    if (!consumer->exec.command)
        return OW_ENOMEM;
    size_t path = ow_reader_enter(reader, OW_BYTES("handler"));
    (void)ow_reader_enter(reader, OW_BYTES("exec"));
    (void)ow_reader_enter(reader, OW_BYTES("command"));
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *item = is_list ? yaml_document_get_node(reader->document, node->data.sequence.items.start[i])
                                          : node;
        if (!ow_reader_scalar(reader, item, &option, &value))
            break;
        if (!is_list && memchr(value.data, ' ', value.size))
            ow_reader_report(reader, node, "no shell reads this; write a list: [PROGRAM, ARGUMENT, …]");
        if (!(consumer->exec.command[i] = ow_bytes_text(value)))
            return OW_ENOMEM;
    }
    ow_reader_leave(reader, path);
    return 0;
}

static int read_environment(struct ow_reader *reader, const yaml_node_t *map, struct ow_config_consumer *consumer)
{
    static const struct ow_option option = {.type = OW_OPTION_TEXT};
    size_t count = 0;
    if (!map)
        return 0;
    consumer->exec.environment = calloc((size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start) + 1,
                                        sizeof *consumer->exec.environment);
    if (!consumer->exec.environment)
        return OW_ENOMEM;
    struct ow_reader_pairs pairs = ow_reader_pairs(map);
    struct ow_reader_pair pair;
    while (ow_reader_next(reader, &pairs, &pair)) {
        struct ow_buf text = {0};
        struct ow_bytes value;
        if (!ow_reader_scalar(reader, pair.value, &option, &value))
            continue;
        ow_buf_add_bytes(&text, pair.name);
        ow_buf_add_char(&text, '=');
        ow_buf_add_bytes(&text, value);
        consumer->exec.environment[count++] = text.data;
        if (text.has_failed)
            return OW_ENOMEM;
    }
    return 0;
}

/* --- checks --------------------------------------------------------------------------------------------------- */

static void check_parts(const struct checking *c, const struct ow_config_consumer *consumer)
{
    struct ow_handler *handler = NULL;
    struct ow_error err;
    bool is_http = consumer->handler == OW_CONFIG_HANDLER_HTTP;
    if (!is_http && consumer->handler != OW_CONFIG_HANDLER_EXEC)
        return;
    if ((is_http ? ow_handler_http_new(&consumer->http, &handler, &err)
                 : ow_handler_exec_new(&consumer->exec, &handler, &err)) < 0)
        ow_check_report(&c->at, "handler", is_http ? "http" : "exec", "%s", err.text);
    else
        handler->ops->discard(handler);
}

static void check_handler(const struct checking *c)
{
    static const char *const names[] = {
        [OW_CONFIG_HANDLER_SQL] = "sql", [OW_CONFIG_HANDLER_HTTP] = "http", [OW_CONFIG_HANDLER_EXEC] = "exec"};
    struct ow_config_consumer *consumer = &c->draft->consumer;
    const bool has[] = {[OW_CONFIG_HANDLER_SQL] = c->draft->sql,
                        [OW_CONFIG_HANDLER_HTTP] = consumer->http.url,
                        [OW_CONFIG_HANDLER_EXEC] = c->draft->exec_command,
                        [OW_CONFIG_HANDLER_CALLBACK] = c->draft->handler_word == 0};
    for (enum ow_config_handler i = OW_CONFIG_HANDLER_SQL; i <= OW_CONFIG_HANDLER_CALLBACK; i++) {
        if (has[i] && consumer->handler)
            ow_check_report(&c->at, "handler", names[i], "there is %s handler already; a consumer has one handler",
                            consumer->handler == OW_CONFIG_HANDLER_SQL ? "an sql" : "an http");
        else if (has[i])
            consumer->handler = i;
    }
    if (!consumer->handler)
        ow_check_report(&c->at, NULL, "handler",
                        "names no handler; write sql:, http: with a url, exec: with a command, or handler: callback");
    if ((has[OW_CONFIG_HANDLER_SQL] || has[OW_CONFIG_HANDLER_CALLBACK]) && !c->draft->store)
        ow_check_report(&c->at, NULL, "inbox", "%s works in the transaction of an inbox; write inbox: { store: … }",
                        has[OW_CONFIG_HANDLER_SQL] ? "an sql handler" : "a callback");
    check_parts(c, consumer);
}

static void check_filter(const struct checking *c)
{
    const struct ow_config_consumer *consumer = &c->draft->consumer;
    const struct ow_redis_filter_options options = {.url = consumer->filter, .consumer = ""};
    struct ow_inbox_filter *filter = NULL;
    struct ow_error err;
    if (!consumer->filter)
        return;
    if (ow_redis_filter_new(&options, &filter, &err) < 0)
        ow_check_report(&c->at, "inbox", "filter", "%s", err.text);
    else
        filter->ops->discard(filter);
    if (!c->draft->store)
        ow_check_report(&c->at, "inbox", "filter", "stands in front of an inbox, and there is none; write store: …");
    else if (consumer->handler == OW_CONFIG_HANDLER_HTTP || consumer->handler == OW_CONFIG_HANDLER_EXEC)
        ow_check_report(&c->at, "inbox", "filter",
                        "saves nothing here: before a call the inbox is asked in any case; leave it out");
}

static void check_letters(const struct checking *c)
{
    struct ow_config_consumer *consumer = &c->draft->consumer;
    const struct ow_config *config = c->config;
    const struct ow_check *at = &c->at;
    consumer->letter_store = ow_check_resolve(at, "dead_letter", "store", c->draft->letter_store, config->stores,
                                              config->store_count);
    consumer->letter_broker = ow_check_resolve(at, "dead_letter", "broker", c->draft->letter_broker, config->brokers,
                                               config->broker_count);
    if (!consumer->letter_broker && consumer->letter_topic)
        consumer->letter_broker = consumer->broker;
    if (consumer->letter_store && consumer->inbox && consumer->letter_store != consumer->inbox)
        ow_check_report(at, "dead_letter", "store",
                        "is another store than the inbox's; a message becomes a dead letter in the transaction that "
                        "writes its row in the inbox, so write %s",
                        consumer->inbox->name);
    if (consumer->then == OW_THEN_PARK && !c->draft->letter_store)
        ow_check_report(
            at, "dead_letter", "then",
            "to park messages takes a store, where they wait; write dead_letter: { store: … }, or then: skip");
    if (consumer->then == OW_THEN_PARK && consumer->order == OW_ORDER_NONE)
        ow_check_report(at, "dead_letter", "then", "with order: none there is nothing to park for; write then: skip");
    if (consumer->then == OW_THEN_AUTO)
        consumer->then = consumer->letter_store && consumer->order == OW_ORDER_KEY ? OW_THEN_PARK : OW_THEN_SKIP;
}

/* Digits that count, then x for those that do not. */
static bool is_code(const char *text, size_t size, const char *digits)
{
    size_t fixed = strspn(text, digits);
    return fixed > 0 && fixed + strspn(text + fixed, "x") == size && text[size] == '\0';
}

/* NULL: failures of the handler can be of this class. */
static const char *flaw_of_class(const struct ow_config_consumer *consumer, const char *class)
{
    static const char *const of_http[] = {"timeout", "unreachable", "tls", "broken answer", "publish", "bad message"};
    bool is_postgres = consumer->inbox && consumer->inbox->url.scheme &&
                       consumer->inbox->url.scheme->id == OW_SCHEME_POSTGRES;
    if (consumer->handler == OW_CONFIG_HANDLER_HTTP) {
        for (size_t i = 0; i < sizeof of_http / sizeof of_http[0]; i++)
            if (strcmp(class, of_http[i]) == 0)
                return NULL;
        return strncmp(class, "http ", 5) == 0 && is_code(class + 5, 3, "0123456789")
                   ? NULL
                   : "is no class of an http handler; there are http STATUS (http 409, or http 4xx for all that begin "
                     "with 4), timeout, unreachable, tls, broken answer, publish";
    }
    if (consumer->handler == OW_CONFIG_HANDLER_SQL && is_postgres && strcmp(class, "commit") != 0 &&
        strcmp(class, "bad message") != 0 && !is_code(class, 5, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        return "is no class of an sql handler; write the five characters of an SQLSTATE (23505, or 23xxx for all that "
               "begin with 23), or commit";
    return NULL;
}

static void check_classes(const struct checking *c)
{
    const struct ow_config_consumer *consumer = &c->draft->consumer;
    for (char *const *class = consumer->no_retry; class && *class; class ++) {
        const char *flaw = flaw_of_class(consumer, *class);
        if (flaw)
            ow_check_report(&c->at, "retry", "never", "\"%s\" %s", *class, flaw);
    }
}

static void check_name(const struct checking *c)
{
    const char *name = c->draft->consumer.name;
    for (size_t i = 0; name && i < c->config->relay_count; i++)
        if (c->config->relays[i].name && strcmp(c->config->relays[i].name, name) == 0)
            ow_check_report(&c->at, NULL, "name", "relays[%zu] is called \"%s\" already; names must be unique", i,
                            name);
    for (size_t i = 0; name && i < c->config->consumer_count; i++)
        if (c->config->consumers[i].name && strcmp(c->config->consumers[i].name, name) == 0)
            ow_check_report(&c->at, NULL, "name", "consumers[%zu] is called \"%s\" already; names must be unique", i,
                            name);
}

static bool has_field(const char *template)
{
    return strstr(template, "${!") != NULL;
}

/* What can be told of a topic here: that Kafka has none of such a name. */
static void check_topic(const struct checking *c, const char *group, const char *key, const char *topic,
                        const struct ow_config_place *broker)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (broker && broker->url.scheme && broker->url.scheme->id == OW_SCHEME_KAFKA && !has_field(topic) &&
        (topic[strspn(topic, letters)] || strlen(topic) > 249))
        ow_check_report(&c->at, group, key,
                        "\"%s\" is no name of a topic; it has up to 249 of the characters A-Z a-z 0-9 . _ -", topic);
}

static void check_topics(const struct checking *c)
{
    const struct ow_config_consumer *consumer = &c->draft->consumer;
    const char *letters = consumer->letter_topic;
    if (consumer->topic_words && consumer->topic_count == 0)
        ow_check_report(&c->at, "from", "topics", "names no topic");
    for (size_t i = 0; i < consumer->topic_count; i++) {
        check_topic(c, "from", "topics", consumer->topics[i], consumer->broker);
        if (letters && consumer->letter_broker == consumer->broker &&
            (strcmp(letters, consumer->topics[i]) == 0 || strcmp(letters, "${!topic}") == 0)) {
            ow_check_report(&c->at, "dead_letter", "topic",
                            "is what this consumer reads: its letters would come back for ever; write another, such "
                            "as \"${!topic}-dlt\"");
            return;
        }
    }
    if (letters)
        check_topic(c, "dead_letter", "topic", letters, consumer->letter_broker);
}

static void check_consumer(const struct checking *c)
{
    struct ow_config_consumer *consumer = &c->draft->consumer;
    const struct ow_config *config = c->config;
    consumer->broker = ow_check_resolve(&c->at, "from", "broker", c->draft->broker, config->brokers,
                                        config->broker_count);
    consumer->inbox = ow_check_resolve(&c->at, "inbox", "store", c->draft->store, config->stores, config->store_count);
    if (consumer->broker && consumer->broker->url.scheme && consumer->broker->url.scheme->id != OW_SCHEME_KAFKA &&
        consumer->broker->url.scheme->id != OW_SCHEME_JOURNAL)
        ow_check_report(&c->at, "from", "broker", "%s keeps no consumer groups; kafka: and journal: do",
                        consumer->broker->url.scheme->form);
    if (consumer->id && !has_field(consumer->id))
        ow_check_report(&c->at, NULL, "id",
                        "has no field in it: all messages would be one, and only the first of them handled; write "
                        "such as \"${!payload.eventId}\"");
    if (consumer->keeps_offsets && !consumer->inbox)
        ow_check_report(&c->at, "from", "offsets", "to keep them in the inbox takes one; write inbox: { store: … }");
    if (consumer->retry.max_ms < consumer->retry.initial_ms)
        ow_check_report(&c->at, "retry", "max", "is less than initial; make it at least as long");
    check_handler(c);
    check_filter(c);
    check_letters(c);
    check_topics(c);
    check_classes(c);
    check_name(c);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void free_words(char **words)
{
    for (char **word = words; word && *word; word++)
        free(*word);
    free(words);
}

/* What the table of options does not own. */
static void free_parts(struct ow_config_consumer *consumer)
{
    for (size_t i = 0; i < consumer->statement_count; i++)
        free(consumer->statements[i]);
    for (size_t i = 0; i < consumer->http.header_count; i++) {
        free(consumer->http.headers[i].name);
        free(consumer->http.headers[i].value);
    }
    free(consumer->statements);
    free(consumer->http.headers);
    free_words(consumer->topics);
    free_words(consumer->no_retry);
    free_words(consumer->exec.command);
    free_words(consumer->exec.environment);
}

static int read_parts(struct ow_reader *reader, struct ow_consumer_draft *draft)
{
    size_t ignored;
    int r = split(draft->consumer.topic_words, &draft->consumer.topics, &draft->consumer.topic_count);
    if (r == 0)
        r = split(draft->consumer.no_retry_words, &draft->consumer.no_retry, &ignored);
    if (r == 0)
        r = read_statements(reader, draft->sql, &draft->consumer);
    if (r == 0)
        r = read_headers(reader, draft->http_headers, &draft->consumer);
    if (r == 0)
        r = read_command(reader, draft->exec_command, &draft->consumer);
    return r < 0 ? r : read_environment(reader, draft->exec_env, &draft->consumer);
}

static int read_consumer(struct ow_reader *reader, const yaml_node_t *node, struct ow_config *config)
{
    struct ow_consumer_draft draft = {.handler_word = UINT32_MAX};
    struct ow_error err;
    int r = ow_option_set_defaults(ow_consumer_options, &draft, &err);
    if (r == 0 && ow_reader_group(reader, node, ow_consumer_options, &draft)) {
        r = read_parts(reader, &draft);
        if (r == 0)
            check_consumer(&(struct checking){{reader, node}, &draft, config});
    }
    struct ow_config_consumer *consumer = &config->consumers[config->consumer_count++];
    *consumer = draft.consumer;
    /* The texts go over; only the names of places are the draft's. */
    free(draft.broker);
    free(draft.store);
    free(draft.letter_store);
    free(draft.letter_broker);
    return r;
}

int ow_config_read_consumers(struct ow_reader *reader, const struct yaml_node_s *list, struct ow_config *config)
{
    if (!list)
        return 0;
    const yaml_node_item_t *items = list->data.sequence.items.start;
    size_t count = (size_t)(list->data.sequence.items.top - items);
    size_t outer = ow_reader_enter(reader, OW_BYTES("consumers"));
    if (count == 0)
        ow_reader_report(reader, list, "the list is empty; begin each consumer with \"- name: NAME\"");
    if (count > OW_CONFIG_ENTRIES_MAX) {
        ow_reader_report(reader, list, "more than %d consumers; use several files", OW_CONFIG_ENTRIES_MAX);
        return OW_ECONFIG;
    }
    config->consumers = calloc(count + 1, sizeof *config->consumers);
    int r = config->consumers ? 0 : OW_ENOMEM;
    for (size_t i = 0; r == 0 && i < count && !ow_diagnostics_is_full(reader->diagnostics); i++) {
        size_t path = ow_reader_enter_index(reader, i);
        r = read_consumer(reader, yaml_document_get_node(reader->document, items[i]), config);
        ow_reader_leave(reader, path);
    }
    ow_reader_leave(reader, outer);
    return r;
}

static void describe_text(struct ow_buf *to, const char *text)
{
    ow_buf_printf(to, "|%zu:", text ? strlen(text) : 0);
    ow_buf_add_text(to, text ? text : "-");
}

static void describe_place(struct ow_buf *to, const struct ow_config_place *place)
{
    describe_text(to, place ? place->name : NULL);
    describe_text(to, place ? place->url.path : NULL);
    describe_text(to, place ? place->url.text : NULL);
}

void ow_config_describe_consumer(const struct ow_config_consumer *c, struct ow_buf *to)
{
    const char *texts[] = {
        c->name,        c->group,        c->topic_words,    c->id,    c->http.url, c->http.unix_socket, c->http.ca,
        c->http.secret, c->letter_topic, c->no_retry_words, c->filter};
    const struct ow_config_place *places[] = {c->broker, c->inbox, c->letter_store, c->letter_broker};
    ow_buf_add_text(to, "consumer");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        describe_text(to, texts[i]);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        describe_place(to, places[i]);
    for (size_t i = 0; i < c->statement_count; i++)
        describe_text(to, c->statements[i]);
    for (size_t i = 0; i < c->http.header_count; i++) {
        describe_text(to, c->http.headers[i].name);
        describe_text(to, c->http.headers[i].value);
    }
    for (char *const *text = c->exec.command; text && *text; text++)
        describe_text(to, *text);
    for (char *const *text = c->exec.environment; text && *text; text++)
        describe_text(to, *text);
    ow_buf_printf(to, "|%lld %lld", (long long)c->exec.timeout_ms, (long long)c->exec.grace_ms);
    ow_buf_printf(to, "|%lld %lld", (long long)c->filter_expire_ms, (long long)c->filter_timeout_ms);
    ow_buf_printf(to, "|%u %u %lld %lld %d %lld %u %u %u %zu", c->start, c->keeps_offsets, (long long)c->retention_ms,
                  (long long)c->retention_count, (int)c->handler, (long long)c->http.timeout_ms, c->order, c->in_flight,
                  c->window.count_max, c->window.bytes_max);
    ow_buf_printf(to, " %lld %lld %g %g %u %lld", (long long)c->retry.initial_ms, (long long)c->retry.max_ms,
                  c->retry.multiplier, c->retry.jitter, c->retry.attempts_max, (long long)c->retry.elapsed_max_ms);
    ow_buf_printf(to, " %u %g %u %u %lld %lld %u %u %u", c->breaker.failures, c->breaker.rate, c->breaker.window,
                  c->breaker.probes, (long long)c->breaker.open_ms, (long long)c->breaker.open_ms_max, c->letter_form,
                  c->then, c->replay_rate);
}

void ow_config_free_consumers(struct ow_config *config)
{
    for (size_t i = 0; i < config->consumer_count; i++) {
        struct ow_consumer_draft draft = {.consumer = config->consumers[i]};
        free_parts(&draft.consumer);
        ow_option_done(ow_consumer_options, &draft);
    }
    free(config->consumers);
}
