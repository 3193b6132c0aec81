/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/units.h"
#include "broker/kafka_subscribe.h"

enum { ANSWER_MS = 5000, QUICK_ANSWER_MS = 500 };

static void add_new(struct ow_kafka_subscriber *s, const struct rd_kafka_metadata_topic *topic,
                    rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < topic->partition_cnt; i++)
        if (!ow_kafka_place_find(s, ow_bytes_of(topic->topic), topic->partitions[i].id))
            rd_kafka_topic_partition_list_add(list, topic->topic, topic->partitions[i].id);
}

/* One topic, or all: which librdkafka does not ask for by a list of names. */
static int ask(struct ow_kafka_subscriber *s, const char *name, int timeout_ms, rd_kafka_topic_partition_list_t *list,
               struct ow_error *err)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *handle = name ? rd_kafka_topic_new(s->client.rk, name, NULL) : NULL;
    if (name && !handle)
        return ow_error_set(err, OW_EINVALID, "%s: no topic can be called \"%.*s\"", s->settings.text,
                            OW_PRINT(ow_bytes_of(name)));
    rd_kafka_resp_err_t code = rd_kafka_metadata(s->client.rk, name ? 0 : 1, handle, &metadata, timeout_ms);
    if (handle)
        rd_kafka_topic_destroy(handle);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return ow_error_set(err, OW_EUNREACHABLE, "%s: cannot ask for topics: %s", s->settings.text,
                            rd_kafka_err2str(code));
    int r = 0;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if (name && topic->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            r = ow_error_set(err, OW_EDENIED, "%s: topic %s: this user may not read it", s->settings.text, name);
        else if (name && topic->partition_cnt == 0)
            (void)snprintf(s->absent, sizeof s->absent, "topic %s is not there yet", name);
        else if (name || strncmp(topic->topic, "__", 2) != 0)
            add_new(s, topic, list);
    }
    rd_kafka_metadata_destroy(metadata);
    return r;
}

/* So it is for a moment with a topic that was just made, and with a partition whose leader changes. */
static bool is_passing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static rd_kafka_resp_err_t ask_for_ends(struct ow_kafka_subscriber *s, bool is_first,
                                        rd_kafka_topic_partition_list_t *ends)
{
    int64_t until = ow_clock_monotonic_ms() + (is_first ? ANSWER_MS : 0);
    for (;;) {
        for (int i = 0; i < ends->cnt; i++)
            ends->elems[i].offset = RD_KAFKA_OFFSET_END;
        rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(s->client.rk, ends, ANSWER_MS);
        for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < ends->cnt; i++)
            code = ends->elems[i].err;
        if (!is_passing(code) || ow_clock_monotonic_ms() >= until)
            return code;
        ow_kafka_nap();
    }
}

/* Where each of them starts: an explicit offset, so that what comes from now on is behind it. */
static int set_starts(struct ow_kafka_subscriber *s, bool is_first, rd_kafka_topic_partition_list_t *list,
                      struct ow_error *err)
{
    rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t code = ask_for_ends(s, is_first, ends);
    int r = code == RD_KAFKA_RESP_ERR_NO_ERROR
                ? 0
                : ow_error_set(err, code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ? OW_EDENIED : OW_EUNREACHABLE,
                               "%s: cannot ask for offsets: %s", s->settings.text, rd_kafka_err2str(code));
    for (int i = 0; r == 0 && i < list->cnt; i++) {
        rd_kafka_topic_partition_t *one = &list->elems[i];
        int64_t end = ends->elems[i].offset;
        struct ow_kafka_place *p = ow_kafka_place_add(s, one->topic, one->partition);
        if (!p) {
            r = ow_error_set(err, OW_ENOMEM, "out of memory");
            break;
        }
        p->end_at_open = is_first ? end : 0;
        one->offset = s->from;
        if (!is_first || s->from == OW_OFFSET_BEGINNING)
            one->offset = RD_KAFKA_OFFSET_BEGINNING;
        else if (s->from == OW_OFFSET_END || s->from > end)
            one->offset = end;
        p->least = s->from > 0 ? s->from : 0;
        p->next = one->offset >= 0 ? one->offset : end == 0 ? 0 : -1;
    }
    rd_kafka_topic_partition_list_destroy(ends);
    return r;
}

int ow_kafka_alone_look(struct ow_kafka_subscriber *s, bool is_first, struct ow_error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    int timeout_ms = is_first ? ANSWER_MS : QUICK_ANSWER_MS;
    int r = s->topic_count == 0 ? ask(s, NULL, timeout_ms, list, err) : 0;
    s->absent[0] = '\0';
    for (size_t i = 0; r == 0 && i < s->topic_count; i++)
        r = ask(s, s->topics[i], timeout_ms, list, err);
    if (r == 0 && list->cnt > 0)
        r = set_starts(s, is_first, list, err);
    if (r == 0 && list->cnt > 0) {
        rd_kafka_error_t *error = rd_kafka_incremental_assign(s->client.rk, list);
        if (error) {
            r = ow_error_set(err, OW_EIO, "%s: %s", s->settings.text, rd_kafka_error_string(error));
            rd_kafka_error_destroy(error);
        }
    }
    for (int i = 0; r < 0 && i < list->cnt; i++) { /* looked for again */
        struct ow_kafka_place *p = ow_kafka_place_find(s, ow_bytes_of(list->elems[i].topic), list->elems[i].partition);
        if (p)
            ow_kafka_place_remove(s, p);
    }
    rd_kafka_topic_partition_list_destroy(list);
    s->has_assignment = true;
    s->look_due_ms = ow_clock_monotonic_ms() + OW_KAFKA_LOOK_MS;
    if (r == OW_EUNREACHABLE && !is_first) /* the next look may have better luck */
        r = 0;
    return r;
}
