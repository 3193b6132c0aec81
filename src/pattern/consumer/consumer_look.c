/* SPDX-License-Identifier: Apache-2.0 */
/* What can be seen of a consumer from outside, between its steps. */
#include "pattern/consumer/consumer_private.h"

void ow_consumer_hold(struct ow_consumer *c, bool is_held)
{
    c->is_held = is_held;
}

static void add_window(const struct ow_window *window, struct ow_consumer_view *to)
{
    const struct ow_message *oldest = ow_window_oldest(window);
    to->messages += window->count;
    to->bytes += window->bytes;
    if (oldest && oldest->time_ms > 0 && (to->oldest_ms == 0 || oldest->time_ms < to->oldest_ms))
        to->oldest_ms = oldest->time_ms;
}

void ow_consumer_look(const struct ow_consumer *c, struct ow_consumer_view *ret)
{
    *ret = (struct ow_consumer_view){.calls = c->calls_used,
                                     .is_working = ow_consumer_is_open(c, OW_SIDE_SUBSCRIBER) &&
                                                   ow_consumer_is_open(c, OW_SIDE_HANDLER) &&
                                                   (!c->inbox || ow_consumer_is_open(c, OW_SIDE_INBOX)) &&
                                                   (!c->letters || ow_consumer_is_open(c, OW_SIDE_LETTERS))};
    for (enum ow_consumer_side side = 0; side < OW_SIDE_COUNT; side++)
        ret->has_trouble = ret->has_trouble || c->sides[side].has_trouble;
    for (size_t i = 0; i < c->partition_count; i++)
        if (!c->partitions[i]->is_gone)
            add_window(&c->partitions[i]->window, ret);
    if (c->replays)
        add_window(&c->replays->window, ret);
}

bool ow_consumer_standing(const struct ow_consumer *c, size_t i, const char **ret_topic, int64_t *ret_partition,
                          struct ow_standing *ret, int64_t *ret_oldest_ms)
{
    if (i >= c->partition_count)
        return false;
    const struct ow_consumer_partition *p = c->partitions[i];
    *ret_topic = p->topic;
    *ret_partition = p->partition;
    const struct ow_message *oldest = ow_window_oldest(&p->window);
    *ret_oldest_ms = oldest && oldest->time_ms > 0 ? oldest->time_ms : 0;
    if (p->is_gone || !c->subscriber ||
        c->subscriber->ops->look(c->subscriber, ow_bytes_of(p->topic), (uint32_t)p->partition, ret) < 0)
        *ret = (struct ow_standing){-1, -1, -1};
    return true;
}
