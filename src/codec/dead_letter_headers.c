/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/dead_letter_headers.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/units.h"

/* --- names -------------------------------------------------------------------------------------------- */

enum family { SPRING, RETRY, CONNECT, BUS };

enum field {
    /* of a place; a set each */
    TOPIC,
    PARTITION,
    OFFSET,
    TIME,
    TIME_TYPE,
    GROUP,
    /* of a failure; a set each */
    EXCEPTION,
    CAUSE,
    MESSAGE,
    STACKTRACE,
    KEY_EXCEPTION,
    KEY_MESSAGE,
    KEY_STACKTRACE,
    STAGE,
    STAGE_CLASS,
    TASK,
    FAILED,
    /* by themselves; the last counts */
    ATTEMPT,      /* this one */
    NEXT_ATTEMPT, /* the one that would come */
    RETRIES,      /* so many before this one */
    ASIDE,
};

static const struct name {
    const char *text;
    enum family family;
    enum field field;
} names[] = {
    {"kafka_dlt-original-topic", SPRING, TOPIC},
    {"kafka_dlt-original-partition", SPRING, PARTITION},
    {"kafka_dlt-original-offset", SPRING, OFFSET},
    {"kafka_dlt-original-timestamp", SPRING, TIME},
    {"kafka_dlt-original-timestamp-type", SPRING, TIME_TYPE},
    {"kafka_dlt-original-consumer-group", SPRING, GROUP}, /* RETRY has the same */
    {"kafka_dlt-exception-fqcn", SPRING, EXCEPTION},
    {"kafka_dlt-exception-cause-fqcn", SPRING, CAUSE},
    {"kafka_dlt-exception-message", SPRING, MESSAGE},
    {"kafka_dlt-exception-stacktrace", SPRING, STACKTRACE},
    {"kafka_dlt-key-exception-fqcn", SPRING, KEY_EXCEPTION},
    {"kafka_dlt-key-exception-message", SPRING, KEY_MESSAGE},
    {"kafka_dlt-key-exception-stacktrace", SPRING, KEY_STACKTRACE},
    {"kafka_deliveryAttempt", SPRING, ATTEMPT},
    {"kafka_original-topic", RETRY, TOPIC},
    {"kafka_original-partition", RETRY, PARTITION},
    {"kafka_original-offset", RETRY, OFFSET},
    {"kafka_original-timestamp", RETRY, TIME},
    {"kafka_original-timestamp-type", RETRY, TIME_TYPE},
    {"kafka_original-consumer-group", RETRY, GROUP},
    {"kafka_exception-fqcn", RETRY, EXCEPTION},
    {"kafka_exception-cause-fqcn", RETRY, CAUSE},
    {"kafka_exception-message", RETRY, MESSAGE},
    {"kafka_exception-stacktrace", RETRY, STACKTRACE},
    {"kafka_key-exception-fqcn", RETRY, KEY_EXCEPTION},
    {"kafka_key-exception-message", RETRY, KEY_MESSAGE},
    {"kafka_key-exception-stacktrace", RETRY, KEY_STACKTRACE},
    {"retry_topic-attempts", RETRY, NEXT_ATTEMPT},
    {"retry_topic-original-timestamp", RETRY, ASIDE},
    {"retry_topic-backoff-timestamp", RETRY, ASIDE},
    {"__connect.errors.topic", CONNECT, TOPIC},
    {"__connect.errors.partition", CONNECT, PARTITION},
    {"__connect.errors.offset", CONNECT, OFFSET},
    {"__connect.errors.connector.name", CONNECT, GROUP},
    {"__connect.errors.task.id", CONNECT, TASK},
    {"__connect.errors.stage", CONNECT, STAGE},
    {"__connect.errors.class.name", CONNECT, STAGE_CLASS},
    {"__connect.errors.exception.class.name", CONNECT, EXCEPTION},
    {"__connect.errors.exception.message", CONNECT, MESSAGE},
    {"__connect.errors.exception.stacktrace", CONNECT, STACKTRACE},
    {"NServiceBus.FailedQ", BUS, TOPIC},
    {"NServiceBus.ProcessingEndpoint", BUS, GROUP},
    {"NServiceBus.ExceptionInfo.ExceptionType", BUS, EXCEPTION},
    {"NServiceBus.ExceptionInfo.InnerExceptionType", BUS, CAUSE},
    {"NServiceBus.ExceptionInfo.Message", BUS, MESSAGE},
    {"NServiceBus.ExceptionInfo.StackTrace", BUS, STACKTRACE},
    {"NServiceBus.ExceptionInfo.Source", BUS, STAGE_CLASS},
    {"NServiceBus.ExceptionInfo.HelpLink", BUS, ASIDE},
    {"NServiceBus.TimeOfFailure", BUS, FAILED},
    {"NServiceBus.Retries", BUS, RETRIES},
    {"NServiceBus.Retries.Timestamp", BUS, ASIDE},
};

static const struct name *name_of(struct ow_bytes text)
{
    if (text.size < 16 || !strchr("kr_N", text.data[0]))
        return NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (ow_bytes_is(text, names[i].text))
            return &names[i];
    return NULL;
}

/* --- numbers ------------------------------------------------------------------------------------------ */

/* Big-endian two's complement of 1 to 8 bytes; -1 for what is none, or is negative. */
static int64_t read_binary(struct ow_bytes bytes)
{
    uint64_t n = 0;
    if (bytes.size < 1 || bytes.size > 8 || (bytes.data[0] & 0x80))
        return -1;
    for (size_t i = 0; i < bytes.size; i++)
        n = n << 8 | (unsigned char)bytes.data[i];
    return (int64_t)n;
}

static int64_t read_decimal(struct ow_bytes bytes)
{
    int64_t n = 0;
    if (bytes.size < 1 || bytes.size > 18)
        return -1;
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] < '0' || bytes.data[i] > '9')
            return -1;
        n = n * 10 + (bytes.data[i] - '0');
    }
    return n;
}

static int64_t read_number(enum family family, struct ow_bytes bytes)
{
    return family == SPRING || family == RETRY ? read_binary(bytes) : read_decimal(bytes);
}

/* "2026-11-21 12:40:00:123456 Z", in UTC. */
static int64_t read_bus_time(struct ow_bytes text)
{
    char usual[] = "2026-11-21T12:40:00.123456Z";
    int64_t ms;
    if (text.size != sizeof usual || text.data[10] != ' ' || text.data[19] != ':' || text.data[26] != ' ' ||
        text.data[27] != 'Z')
        return -1;
    memcpy(usual, text.data, 26);
    usual[10] = 'T';
    usual[19] = '.';
    return ow_time_parse(ow_bytes_of(usual), &ms, NULL) == 0 ? ms : -1;
}

/* --- reading ------------------------------------------------------------------------------------------ */

struct reader {
    struct ow_dead_letter *letter;
    struct ow_dead_letter_place place; /* the set that is being read */
    uint32_t has;                      /* fields of it */
    enum family family, failure_family;
    uint32_t failure_has, place_count;
    struct ow_bytes key_exception, key_message, key_stacktrace;
};

static uint32_t bit(enum field field)
{
    return 1u << field;
}

static void end_place(struct reader *r)
{
    if (!r->has)
        return;
    if (r->place_count == 0)
        r->letter->origin = r->place;
    if (r->place_count == 0 || (r->has & bit(TOPIC))) { /* else it is the rest of a set that somebody has torn */
        r->letter->last = r->place;
        r->place_count++;
    }
    r->has = 0;
    r->place = OW_DEAD_LETTER_PLACE_UNKNOWN;
}

static void read_place(struct reader *r, const struct name *name, struct ow_bytes value)
{
    bool is_of_any = name->family == SPRING && name->field == GROUP;
    /* All write the topic first: what stands before it is of another set, which lacks its own. */
    bool is_first = name->field == TOPIC && (r->has & ~bit(GROUP));
    if (is_first || (r->has & bit(name->field)) || (r->has && name->family != r->family && !is_of_any))
        end_place(r);
    if (!r->has || !is_of_any)
        r->family = name->family;
    r->has |= bit(name->field);
    switch (name->field) {
    case TOPIC:
        r->place.topic = value;
        break;
    case PARTITION:
        r->place.partition = read_number(name->family, value);
        break;
    case OFFSET:
        r->place.offset = read_number(name->family, value);
        break;
    case TIME:
        r->place.time_ms = read_number(name->family, value);
        break;
    case TIME_TYPE:
        r->place.time_type = ow_bytes_is(value, "CreateTime")      ? OW_TIME_CREATED
                             : ow_bytes_is(value, "LogAppendTime") ? OW_TIME_APPENDED
                                                                   : OW_TIME_UNKNOWN;
        break;
    default:
        r->place.group = value;
        break;
    }
}

static void begin_failure(struct reader *r, enum family family)
{
    struct ow_dead_letter *l = r->letter;
    l->exception = l->cause = l->message = l->stacktrace = OW_NULL_BYTES;
    l->stage = l->stage_class = l->task = OW_NULL_BYTES;
    r->key_exception = r->key_message = r->key_stacktrace = OW_NULL_BYTES;
    l->failed_ms = -1;
    r->failure_family = family;
    r->failure_has = 0;
}

static void read_failure(struct reader *r, const struct name *name, struct ow_bytes value)
{
    struct ow_dead_letter *l = r->letter;
    struct ow_bytes *const fields[] = {
        [EXCEPTION] = &l->exception,
        [CAUSE] = &l->cause,
        [MESSAGE] = &l->message,
        [STACKTRACE] = &l->stacktrace,
        [STAGE] = &l->stage,
        [STAGE_CLASS] = &l->stage_class,
        [TASK] = &l->task,
        [KEY_EXCEPTION] = &r->key_exception,
        [KEY_MESSAGE] = &r->key_message,
        [KEY_STACKTRACE] = &r->key_stacktrace,
    };
    if ((r->failure_has & bit(name->field)) || (r->failure_has && name->family != r->failure_family))
        begin_failure(r, name->family);
    r->failure_family = name->family;
    r->failure_has |= bit(name->field);
    if (name->field == FAILED)
        l->failed_ms = read_bus_time(value);
    else
        *fields[name->field] = value;
}

static void read_attempts(struct reader *r, const struct name *name, struct ow_bytes value)
{
    int64_t n = read_number(name->family, value);
    if (name->field == NEXT_ATTEMPT)
        n--;
    else if (name->field == RETRIES)
        n = n < 0 ? n : n + 1;
    if (n > 0 && n <= UINT32_MAX)
        r->letter->attempts = (uint32_t)n;
}

static void end_failure(struct reader *r)
{
    struct ow_dead_letter *l = r->letter;
    if (!l->exception.data) {
        l->exception = r->key_exception;
        l->message = l->message.data ? l->message : r->key_message;
        l->stacktrace = l->stacktrace.data ? l->stacktrace : r->key_stacktrace;
    }
}

int ow_dead_letter_read(const struct ow_header *headers, size_t count, struct ow_dead_letter *ret)
{
    static const enum ow_dead_letter_form forms[] = {[SPRING] = OW_DEAD_LETTER_SPRING,
                                                     [RETRY] = OW_DEAD_LETTER_SPRING_RETRY,
                                                     [CONNECT] = OW_DEAD_LETTER_CONNECT,
                                                     [BUS] = OW_DEAD_LETTER_NSERVICEBUS};
    *ret = (struct ow_dead_letter){
        .origin = OW_DEAD_LETTER_PLACE_UNKNOWN, .last = OW_DEAD_LETTER_PLACE_UNKNOWN, .failed_ms = -1};
    struct reader r = {.letter = ret, .place = OW_DEAD_LETTER_PLACE_UNKNOWN};
    for (size_t i = 0; i < count; i++) {
        const struct name *name = name_of(headers[i].name);
        if (!name || name->field == ASIDE)
            continue;
        if (name->field <= GROUP)
            read_place(&r, name, headers[i].value);
        else if (name->field <= FAILED)
            read_failure(&r, name, headers[i].value);
        else
            read_attempts(&r, name, headers[i].value);
    }
    end_place(&r);
    end_failure(&r);
    ret->form = forms[r.failure_has ? r.failure_family : r.family];
    ret->replays = r.place_count > 1 ? r.place_count - 1 : 0;
    return r.place_count > 0 || r.failure_has;
}

/* --- sent back ---------------------------------------------------------------------------------------- */

static bool is_dropped(const struct name *name)
{
    if (!name)
        return false;
    return name->family == RETRY || name->family == BUS || (name->family == SPRING && name->field > GROUP);
}

size_t ow_dead_letter_strip(const struct ow_header *headers, size_t count, struct ow_header *to)
{
    size_t n = 0, spring_topics = 0;
    for (size_t i = 0; i < count; i++)
        spring_topics += ow_bytes_is(headers[i].name, "kafka_dlt-original-topic");
    for (size_t i = 0; i < count; i++) {
        const struct name *name = name_of(headers[i].name);
        /* Alone it is @RetryableTopic's. */
        bool is_retry_group = spring_topics == 0 && name && name->family == SPRING;
        if (!is_dropped(name) && !is_retry_group)
            to[n++] = headers[i];
    }
    return n;
}

/* --- writing ------------------------------------------------------------------------------------------ */

struct writer {
    struct ow_header *to;
    size_t count;
    struct ow_dead_letter_scratch *scratch;
    size_t used;
};

static void put(struct writer *w, const char *name, struct ow_bytes value)
{
    w->to[w->count++] = (struct ow_header){ow_bytes_of(name), value};
}

static void put_known(struct writer *w, const char *name, struct ow_bytes value)
{
    if (value.data)
        put(w, name, value);
}

static void put_binary(struct writer *w, const char *name, int64_t value, size_t size)
{
    char *at = w->scratch->bytes + w->used;
    for (size_t i = 0; i < size; i++)
        at[i] = (char)((uint64_t)value >> (8 * (size - 1 - i)));
    w->used += size;
    put(w, name, (struct ow_bytes){at, size});
}

static void put_decimal(struct writer *w, const char *name, int64_t value)
{
    char *at = w->scratch->bytes + w->used;
    size_t size = (size_t)snprintf(at, 24, "%" PRId64, value);
    w->used += size;
    put(w, name, (struct ow_bytes){at, size});
}

static void copy_without(struct writer *w, const struct ow_header *headers, size_t count,
                         bool (*is_renewed)(const struct name *name))
{
    for (size_t i = 0; i < count; i++) {
        const struct name *name = name_of(headers[i].name);
        if (!name || !is_renewed(name))
            w->to[w->count++] = headers[i];
    }
}

static bool is_springs_failure(const struct name *name)
{
    return name->family == SPRING && name->field > GROUP && name->field != ATTEMPT;
}

static bool is_springs_failure_or_attempt(const struct name *name)
{
    return name->family == SPRING && name->field > GROUP;
}

static bool is_bus(const struct name *name)
{
    return name->family == BUS;
}

static void write_spring(struct writer *w, const struct ow_header *headers, size_t count,
                         const struct ow_dead_letter *l)
{
    const struct ow_dead_letter_place *p = &l->last;
    copy_without(w, headers, count, l->attempts > 0 ? is_springs_failure_or_attempt : is_springs_failure);
    if (l->attempts > 0)
        put_binary(w, "kafka_deliveryAttempt", l->attempts, 4);
    put_known(w, "kafka_dlt-exception-fqcn", l->exception);
    put_known(w, "kafka_dlt-exception-cause-fqcn", l->cause);
    put_known(w, "kafka_dlt-exception-message", l->message);
    put_known(w, "kafka_dlt-exception-stacktrace", l->stacktrace);
    put_known(w, "kafka_dlt-original-topic", p->topic);
    if (p->partition >= 0)
        put_binary(w, "kafka_dlt-original-partition", p->partition, 4);
    if (p->offset >= 0)
        put_binary(w, "kafka_dlt-original-offset", p->offset, 8);
    /* Of a record without a time: -1, and the name of that. */
    put_binary(w, "kafka_dlt-original-timestamp", p->time_ms, 8);
    put(w, "kafka_dlt-original-timestamp-type",
        p->time_type == OW_TIME_CREATED    ? OW_BYTES("CreateTime")
        : p->time_type == OW_TIME_APPENDED ? OW_BYTES("LogAppendTime")
                                           : OW_BYTES("NoTimestampType"));
    put_known(w, "kafka_dlt-original-consumer-group", p->group);
}

static struct ow_bytes or_else(struct ow_bytes value, const char *otherwise)
{
    return value.data ? value : ow_bytes_of(otherwise);
}

static void write_connect(struct writer *w, const struct ow_header *headers, size_t count,
                          const struct ow_dead_letter *l)
{
    const struct ow_dead_letter_place *p = &l->last;
    for (size_t i = 0; i < count; i++)
        w->to[w->count++] = headers[i];
    put(w, "__connect.errors.topic", or_else(p->topic, ""));
    put_decimal(w, "__connect.errors.partition", p->partition);
    put_decimal(w, "__connect.errors.offset", p->offset);
    put(w, "__connect.errors.connector.name", or_else(p->group, ""));
    put(w, "__connect.errors.task.id", or_else(l->task, "0"));
    put(w, "__connect.errors.stage", or_else(l->stage, "TASK_PUT"));
    put(w, "__connect.errors.class.name", or_else(l->stage_class, "org.apache.kafka.connect.sink.SinkTask"));
    put(w, "__connect.errors.exception.class.name", or_else(l->exception, ""));
    put(w, "__connect.errors.exception.message", l->message);
    put(w, "__connect.errors.exception.stacktrace", or_else(l->stacktrace, ""));
}

static void write_bus(struct writer *w, const struct ow_header *headers, size_t count, const struct ow_dead_letter *l)
{
    copy_without(w, headers, count, is_bus);
    put_known(w, "NServiceBus.ExceptionInfo.ExceptionType", l->exception);
    put_known(w, "NServiceBus.ExceptionInfo.InnerExceptionType", l->cause);
    put_known(w, "NServiceBus.ExceptionInfo.Message", l->message);
    put_known(w, "NServiceBus.ExceptionInfo.Source", l->stage_class);
    put_known(w, "NServiceBus.ExceptionInfo.StackTrace", l->stacktrace);
    put_known(w, "NServiceBus.FailedQ", l->last.topic);
    put_known(w, "NServiceBus.ProcessingEndpoint", l->last.group);
    if (l->attempts > 1)
        put_decimal(w, "NServiceBus.Retries", (int64_t)l->attempts - 1);
    if (l->failed_ms < 0)
        return;
    char usual[OW_TIME_TEXT_SIZE], *at = w->scratch->bytes + w->used;
    (void)ow_time_format(l->failed_ms, usual);
    int size = snprintf(at, 40, "%.10s %.8s:%.3s000 Z", usual, usual + 11, usual + 20);
    put(w, "NServiceBus.TimeOfFailure", (struct ow_bytes){at, (size_t)size});
}

size_t ow_dead_letter_write(enum ow_dead_letter_form form, const struct ow_header *headers, size_t count,
                            const struct ow_dead_letter *letter, struct ow_header *to,
                            struct ow_dead_letter_scratch *scratch)
{
    struct writer w = {.to = to, .scratch = scratch};
    if (form == OW_DEAD_LETTER_CONNECT)
        write_connect(&w, headers, count, letter);
    else if (form == OW_DEAD_LETTER_NSERVICEBUS)
        write_bus(&w, headers, count, letter);
    else
        write_spring(&w, headers, count, letter);
    return w.count;
}
