/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum type { GAUGE, COUNTER };
enum unit { PLAIN, BYTES, SECONDS };

struct line_context {
    const struct ow_board_line *line;
    int64_t now_ms;
};
/* INT64_MIN: there is nothing to tell. Of SECONDS in milliseconds. */
typedef int64_t read_value(const struct line_context *of);

struct family {
    enum ow_work_kind kind;
    const char *name; /* behind onewrite_relay_ or onewrite_consumer_; without _total */
    enum type type;
    enum unit unit;
    read_value *read;
    const char *help;
};

#define NONE INT64_MIN

static const char *const unit_names[] = {[BYTES] = "bytes", [SECONDS] = "seconds"};

void ow_metrics_label(struct ow_buf *to, const char *value)
{
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            ow_buf_add_char(to, '\\');
        if (*value == '\n')
            ow_buf_add_text(to, "\\n");
        else
            ow_buf_add_char(to, *value);
    }
}

int64_t ow_process_resident_bytes(void)
{
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return -1;
    (void)!fgets(line, sizeof line, file);
    (void)fclose(file);
    const char *second = strchr(line, ' '); /* pages, of all and of what is resident */
    return second ? strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE) : -1;
}

int64_t ow_process_open_fds(void)
{
    int64_t count = -3; /* ".", "..", and the folder that is being read */
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return -1;
    while (readdir(folder))
        count++;
    (void)closedir(folder);
    return count;
}

/* --- what there is of a relay and of a consumer ------------------------------------------------------------- */

#define COUNTER_OF(group, field)                                  \
    static int64_t group##_##field(const struct line_context *of) \
    {                                                             \
        return (int64_t)of->line->now.group.field;                \
    }
COUNTER_OF(relay, read)
COUNTER_OF(relay, sent)
COUNTER_OF(relay, accepted)
COUNTER_OF(relay, retried)
COUNTER_OF(relay, set_aside)
COUNTER_OF(relay, parked)
COUNTER_OF(relay, confirmed)
COUNTER_OF(relay, already_accepted)
COUNTER_OF(relay, dropped)
COUNTER_OF(consumer, read)
COUNTER_OF(consumer, handled)
COUNTER_OF(consumer, repeated)
COUNTER_OF(consumer, retried)
COUNTER_OF(consumer, set_aside)
COUNTER_OF(consumer, parked)
COUNTER_OF(consumer, replayed)
COUNTER_OF(consumer, settled)
COUNTER_OF(consumer, transactions)
COUNTER_OF(consumer, calls)

static int64_t in_flight(const struct line_context *of)
{
    return (int64_t)of->line->now.in_flight;
}

static int64_t in_flight_bytes(const struct line_context *of)
{
    return (int64_t)of->line->now.bytes;
}

static int64_t known(int64_t value)
{
    return value < 0 ? NONE : value;
}

static int64_t age(int64_t since_ms, int64_t now_ms)
{
    return since_ms < 0 ? NONE : since_ms > 0 && now_ms > since_ms ? now_ms - since_ms : 0;
}

static int64_t retained(const struct line_context *of)
{
    return known(ow_board_retained(of->line));
}

static int64_t oldest_age(const struct line_context *of)
{
    return age(of->line->now.oldest_ms, of->now_ms);
}

static int64_t backlog(const struct line_context *of)
{
    return known(of->line->backlog.messages);
}

static int64_t backlog_age(const struct line_context *of)
{
    return age(of->line->backlog.oldest_ms, of->now_ms);
}

static int64_t log_lag(const struct line_context *of)
{
    return known(of->line->backlog.log_bytes);
}

static int64_t troubles(const struct line_context *of)
{
    return (int64_t)of->line->now.troubles;
}

static int64_t is_up(const struct line_context *of)
{
    return of->line->now.state != OW_WORK_STOPPED && of->line->now.state != OW_WORK_FAILED;
}

static int64_t is_in_trouble(const struct line_context *of)
{
    return of->line->now.state == OW_WORK_TROUBLE || of->line->now.state == OW_WORK_FAILED;
}

static int64_t is_standing_by(const struct line_context *of)
{
    return of->line->now.state == OW_WORK_STANDBY;
}

static int64_t is_paused(const struct line_context *of)
{
    return of->line->now.state == OW_WORK_PAUSED;
}

static int64_t calls_in_flight(const struct line_context *of)
{
    return of->line->now.calls;
}

static const struct family families[] = {
    {OW_WORK_RELAY, "messages_read", COUNTER, PLAIN, relay_read, "Messages that the source has yielded."},
    {OW_WORK_RELAY, "messages_sent", COUNTER, PLAIN, relay_sent, "Messages that were given to the broker."},
    {OW_WORK_RELAY, "messages_accepted", COUNTER, PLAIN, relay_accepted, "Messages that the broker has acknowledged."},
    {OW_WORK_RELAY, "messages_retried", COUNTER, PLAIN, relay_retried, "Attempts that are to be made again."},
    {OW_WORK_RELAY, "messages_set_aside", COUNTER, PLAIN, relay_set_aside, "Messages that became dead letters."},
    {OW_WORK_RELAY, "messages_parked", COUNTER, PLAIN, relay_parked,
     "Messages that were set aside behind a dead letter of their key."},
    {OW_WORK_RELAY, "messages_confirmed", COUNTER, PLAIN, relay_confirmed,
     "Messages that the source was told it may forget."},
    {OW_WORK_RELAY, "messages_already_accepted", COUNTER, PLAIN, relay_already_accepted,
     "Messages that the broker had from before a restart."},
    {OW_WORK_RELAY, "messages_dropped", COUNTER, PLAIN, relay_dropped, "Rows of which nothing is published."},
    {OW_WORK_RELAY, "in_flight_messages", GAUGE, PLAIN, in_flight, "Messages that were read and are not confirmed."},
    {OW_WORK_RELAY, "in_flight_bytes", GAUGE, BYTES, in_flight_bytes, "The size of the window in memory."},
    {OW_WORK_RELAY, "oldest_age_seconds", GAUGE, SECONDS, oldest_age,
     "How long ago the oldest message in flight was written; 0: there is none."},
    {OW_WORK_RELAY, "backlog_messages", GAUGE, PLAIN, backlog,
     "Messages in the outbox that are not published yet, by log with those that are and are not pruned yet; from "
     "100000 "
     "on estimated. Not there by message, and where rows are not ours to delete."},
    {OW_WORK_RELAY, "backlog_age_seconds", GAUGE, SECONDS, backlog_age,
     "How long ago the oldest message of the backlog was written; 0: there is none."},
    {OW_WORK_RELAY, "lag_bytes", GAUGE, BYTES, log_lag,
     "The log of the database behind the position that is confirmed to it, by log and by message."},
    {OW_WORK_RELAY, "retained_bytes", GAUGE, BYTES, retained,
     "The log that the database keeps because of what is not confirmed."},
    {OW_WORK_RELAY, "up", GAUGE, PLAIN, is_up, "1 while it runs."},
    {OW_WORK_RELAY, "trouble", GAUGE, PLAIN, is_in_trouble,
     "1 while a side fails and is tried again, or after an error has ended it."},
    {OW_WORK_RELAY, "standing_by", GAUGE, PLAIN, is_standing_by, "1 while another relay works on the source."},
    {OW_WORK_RELAY, "reconnects", COUNTER, PLAIN, troubles, "Times that a side failed and was opened again."},
    {OW_WORK_CONSUMER, "messages_read", COUNTER, PLAIN, consumer_read, "Records that were read from the broker."},
    {OW_WORK_CONSUMER, "messages_handled", COUNTER, PLAIN, consumer_handled, "Messages whose effect is there."},
    {OW_WORK_CONSUMER, "messages_repeated", COUNTER, PLAIN, consumer_repeated,
     "Messages that the inbox knew already and that were not handled again."},
    {OW_WORK_CONSUMER, "messages_retried", COUNTER, PLAIN, consumer_retried, "Attempts that are to be made again."},
    {OW_WORK_CONSUMER, "messages_set_aside", COUNTER, PLAIN, consumer_set_aside, "Messages that became dead letters."},
    {OW_WORK_CONSUMER, "messages_parked", COUNTER, PLAIN, consumer_parked,
     "Messages that were set aside behind a dead letter of their key."},
    {OW_WORK_CONSUMER, "messages_replayed", COUNTER, PLAIN, consumer_replayed, "Dead letters that were handled later."},
    {OW_WORK_CONSUMER, "settles", COUNTER, PLAIN, consumer_settled, "Times that a partition's offset was settled."},
    {OW_WORK_CONSUMER, "transactions", COUNTER, PLAIN, consumer_transactions, "Transactions in the inbox."},
    {OW_WORK_CONSUMER, "calls", COUNTER, PLAIN, consumer_calls, "Calls of the handler."},
    {OW_WORK_CONSUMER, "in_flight_messages", GAUGE, PLAIN, in_flight, "Messages that were read and are not settled."},
    {OW_WORK_CONSUMER, "in_flight_bytes", GAUGE, BYTES, in_flight_bytes, "The size of all windows in memory."},
    {OW_WORK_CONSUMER, "in_flight_calls", GAUGE, PLAIN, calls_in_flight, "Calls that run now."},
    {OW_WORK_CONSUMER, "oldest_age_seconds", GAUGE, SECONDS, oldest_age,
     "How long ago the oldest message in flight was written; 0: there is none, or its time is not known."},
    {OW_WORK_CONSUMER, "up", GAUGE, PLAIN, is_up, "1 while it runs."},
    {OW_WORK_CONSUMER, "trouble", GAUGE, PLAIN, is_in_trouble,
     "1 while a side fails and is tried again, or after an error has ended it."},
    {OW_WORK_CONSUMER, "paused", GAUGE, PLAIN, is_paused, "1 while an operator has paused it."},
    {OW_WORK_CONSUMER, "reconnects", COUNTER, PLAIN, troubles, "Times that a side failed and was opened again."},
};

static const char *prefix_of(enum ow_work_kind kind)
{
    return kind == OW_WORK_RELAY ? "relay" : "consumer";
}

static void head(struct ow_buf *to, const char *name, enum type type, enum unit unit, const char *help)
{
    ow_buf_printf(to, "# TYPE %s %s\n", name, type == COUNTER ? "counter" : "gauge");
    if (unit != PLAIN)
        ow_buf_printf(to, "# UNIT %s %s\n", name, unit_names[unit]);
    ow_buf_printf(to, "# HELP %s %s\n", name, help);
}

static void number(struct ow_buf *to, enum unit unit, int64_t value)
{
    if (unit == SECONDS)
        ow_buf_printf(to, " %" PRId64 ".%03" PRId64 "\n", value / 1000, value % 1000);
    else
        ow_buf_printf(to, " %" PRId64 "\n", value);
}

static void write_family(struct ow_buf *to, const struct family *f, const struct ow_board_view *view, int64_t now_ms)
{
    char name[128];
    bool has_head = false;
    (void)snprintf(name, sizeof name, "onewrite_%s_%s", prefix_of(f->kind), f->name);
    for (size_t i = 0; i < view->count; i++) {
        const struct line_context of = {&view->lines[i], now_ms};
        int64_t value = of.line->kind == f->kind ? f->read(&of) : NONE;
        if (value == NONE)
            continue;
        if (!has_head)
            head(to, name, f->type, f->unit, f->help);
        has_head = true;
        ow_buf_printf(to, "%s%s{%s=\"", name, f->type == COUNTER ? "_total" : "", prefix_of(f->kind));
        ow_metrics_label(to, of.line->name);
        ow_buf_add_text(to, "\"}");
        number(to, f->unit, value);
    }
}

/* --- what has more labels ------------------------------------------------------------------------------------- */

static void write_breakers(struct ow_buf *to, const struct ow_board_view *view)
{
    static const char name[] = "onewrite_consumer_breaker";
    bool has_head = false;
    for (size_t i = 0; i < view->count; i++) {
        const struct ow_board_line *line = &view->lines[i];
        if (line->kind != OW_WORK_CONSUMER)
            continue;
        if (!has_head)
            ow_buf_printf(to, "# TYPE %s stateset\n# HELP %s The state of the circuit breaker.\n", name, name);
        has_head = true;
        for (enum ow_breaker_state s = OW_BREAKER_CLOSED; s <= OW_BREAKER_HALF_OPEN; s++) {
            ow_buf_printf(to, "%s{consumer=\"", name);
            ow_metrics_label(to, line->name);
            ow_buf_printf(to, "\",%s=\"%s\"} %d\n", name, ow_breaker_state_name(s), line->now.breaker == s);
        }
    }
}

static void write_place(struct ow_buf *to, const char *name, const struct ow_board_line *line,
                        const struct ow_place_at *place)
{
    ow_buf_printf(to, "%s{consumer=\"", name);
    ow_metrics_label(to, line->name);
    ow_buf_add_text(to, "\",topic=\"");
    ow_metrics_label(to, place->topic);
    ow_buf_printf(to, "\",partition=\"%" PRId64 "\"}", place->partition);
}

static void write_lags(struct ow_buf *to, const struct ow_board_view *view)
{
    static const char name[] = "onewrite_consumer_lag_messages";
    bool has_head = false;
    for (size_t i = 0; i < view->count; i++) {
        const struct ow_board_line *line = &view->lines[i];
        for (size_t k = 0; k < line->place_count; k++) {
            int64_t lag = ow_place_lag(&line->places[k]);
            if (lag < 0)
                continue;
            if (!has_head)
                head(to, name, GAUGE, PLAIN, "Records of a partition that are not settled yet.");
            has_head = true;
            write_place(to, name, line, &line->places[k]);
            number(to, PLAIN, lag);
        }
    }
}

static void write_lag_ages(struct ow_buf *to, const struct ow_board_view *view, int64_t now_ms)
{
    static const char name[] = "onewrite_consumer_lag_seconds";
    bool has_head = false;
    for (size_t i = 0; i < view->count; i++) {
        const struct ow_board_line *line = &view->lines[i];
        for (size_t k = 0; k < line->place_count; k++) {
            int64_t behind = age(line->places[k].oldest_ms, now_ms);
            if (behind == NONE)
                continue;
            if (!has_head)
                head(to, name, GAUGE, SECONDS,
                     "How long ago the oldest record of a partition that is not settled was written or, where none of "
                     "them has been read yet, since when there are such; 0: all are settled.");
            has_head = true;
            write_place(to, name, line, &line->places[k]);
            number(to, SECONDS, behind);
        }
    }
}

/* --- what was asked of stores ---------------------------------------------------------------------------------- */

static void write_stores(struct ow_buf *to, const struct ow_board_view *view)
{
    static const char name[] = "onewrite_store_up";
    for (size_t i = 0; i < view->store_count; i++) {
        if (i == 0)
            head(
                to, name, GAUGE, PLAIN,
                "1: the store has answered when it was asked last for its backlog and dead letters; 0: what is told of "
                "them is older.");
        ow_buf_printf(to, "%s{store=\"", name);
        ow_metrics_label(to, view->stores[i].name);
        ow_buf_add_text(to, "\"}");
        number(to, PLAIN, view->stores[i].has_answered);
    }
}

static void write_letters(struct ow_buf *to, const struct ow_board_view *view)
{
    static const char name[] = "onewrite_dead_letters";
    bool has_head = false;
    for (size_t i = 0; i < view->store_count; i++) {
        const struct ow_board_store *store = &view->stores[i];
        for (size_t k = 0; k < store->letter_count; k++) {
            const struct ow_letter_count *letters = &store->letters[k];
            if (!has_head)
                head(to, name, GAUGE, PLAIN,
                     "Dead letters in a store, by source (polling, a slot, or consumer/NAME) and state (dead, parked "
                     "behind a dead one, queued to be tried again); counted to 100000.");
            has_head = true;
            ow_buf_printf(to, "%s{store=\"", name);
            ow_metrics_label(to, store->name);
            ow_buf_add_text(to, "\",source=\"");
            ow_metrics_label(to, letters->source);
            ow_buf_printf(to, "\",state=\"%s\"}", letters->state);
            number(to, PLAIN, letters->count);
        }
    }
}

static void write_process(struct ow_buf *to, const struct ow_metrics_process *p)
{
    int64_t resident = ow_process_resident_bytes(), fds = ow_process_open_fds();
    ow_buf_printf(to,
                  "# TYPE onewrite_build info\n# HELP onewrite_build What runs.\n"
                  "onewrite_build_info{version=\"%s\",build=\"%s\"} 1\n",
                  p->version, p->build);
    head(to, "process_start_time_seconds", GAUGE, SECONDS, "When the process started, in seconds since 1970.");
    ow_buf_add_text(to, "process_start_time_seconds");
    number(to, SECONDS, p->start_ms);
    if (resident >= 0) {
        head(to, "process_resident_memory_bytes", GAUGE, BYTES, "Memory of the process that is not swapped out.");
        ow_buf_add_text(to, "process_resident_memory_bytes");
        number(to, BYTES, resident);
    }
    if (fds >= 0) {
        head(to, "process_open_fds", GAUGE, PLAIN, "Open file descriptors.");
        ow_buf_add_text(to, "process_open_fds");
        number(to, PLAIN, fds);
    }
}

void ow_metrics_write(struct ow_buf *to, const struct ow_board_view *view, const struct ow_metrics_process *process)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        write_family(to, &families[i], view, process->now_ms);
    write_breakers(to, view);
    write_lags(to, view);
    write_lag_ages(to, view, process->now_ms);
    write_letters(to, view);
    write_stores(to, view);
    write_process(to, process);
    ow_buf_add_text(to, "# EOF\n");
}

/* --- the older format ------------------------------------------------------------------------------------------- */

static bool is_after(struct ow_bytes *line, const char *prefix)
{
    size_t size = strlen(prefix);
    if (line->size < size || memcmp(line->data, prefix, size) != 0)
        return false;
    *line = (struct ow_bytes){line->data + size, line->size - size};
    return true;
}

static struct ow_bytes take_word(struct ow_bytes *line)
{
    const char *end = line->size ? memchr(line->data, ' ', line->size) : NULL;
    struct ow_bytes word = {line->data, end ? (size_t)(end - line->data) : line->size};
    *line = end ? (struct ow_bytes){end + 1, line->size - word.size - 1}
                : (struct ow_bytes){line->data + line->size, 0};
    return word;
}

/* There a family is called as its samples are, and has one of the types that there are. */
static void add_plain_head(struct ow_buf *to, const char *what, struct ow_bytes name, const char *suffix,
                           struct ow_bytes rest)
{
    ow_buf_printf(to, "# %s %.*s%s %.*s\n", what, OW_PRINT(name), suffix, OW_PRINT(rest));
}

void ow_metrics_as_plain(struct ow_bytes openmetrics, struct ow_buf *to)
{
    const char *suffix = "";
    while (openmetrics.size > 0) {
        const char *end = memchr(openmetrics.data, '\n', openmetrics.size);
        struct ow_bytes line = {openmetrics.data, end ? (size_t)(end - openmetrics.data) : openmetrics.size};
        size_t taken = line.size + (end != NULL);
        if (is_after(&line, "# TYPE ")) {
            struct ow_bytes name = take_word(&line);
            bool is_counter = ow_bytes_is(line, "counter"), is_info = ow_bytes_is(line, "info");
            suffix = is_counter ? "_total" : is_info ? "_info" : "";
            add_plain_head(to, "TYPE", name, suffix, ow_bytes_of(is_counter ? "counter" : "gauge"));
        } else if (is_after(&line, "# HELP ")) {
            struct ow_bytes name = take_word(&line);
            add_plain_head(to, "HELP", name, suffix, line);
        } else if (!is_after(&line, "# ")) { /* neither UNIT nor EOF */
            ow_buf_add(to, line.data, line.size);
            ow_buf_add_char(to, '\n');
        }
        openmetrics = (struct ow_bytes){openmetrics.data + taken, openmetrics.size - taken};
    }
}

bool ow_metrics_is_wanted(const char *accept)
{
    static const char type[] = "application/openmetrics-text";
    for (; accept && *accept; accept++)
        if (strncasecmp(accept, type, sizeof type - 1) == 0)
            return true;
    return false;
}
