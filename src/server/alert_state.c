/* SPDX-License-Identifier: Apache-2.0 */
/* When an alert begins and ends. Pure: the caller brings the clock. */
#include "config/config.h"
#include "server/alert.h"

enum {
    MINUTE_MS = 60000,
    AGAIN_MS = 5000, /* after a failure to tell it; twice as long each time, */
    AGAIN_MS_MAX = 300000,
};

/* Of the last ten minutes, in steps of one. */
static int64_t recent_letters(const struct ow_board_line *line, bool is_new, struct ow_alert_state *s, int64_t now_ms)
{
    const struct ow_snapshot *n = &line->now;
    uint64_t count = n->relay.set_aside + n->relay.parked + n->consumer.set_aside + n->consumer.parked;
    int64_t minute = now_ms / MINUTE_MS;
    if (s->minute < 0 || count < s->base[0]) { /* or its counters began anew */
        for (int i = 0; i < OW_ALERT_MINUTES; i++)
            s->base[i] = s->minute < 0 && !is_new ? count : 0;
        s->minute = minute;
    }
    for (int steps = 0; s->minute < minute; s->minute++) {
        if (steps++ >= OW_ALERT_MINUTES) {
            s->minute = minute;
            break;
        }
        for (int i = OW_ALERT_MINUTES - 1; i > 0; i--)
            s->base[i] = s->base[i - 1];
        s->base[0] = count;
    }
    return (int64_t)(count - s->base[OW_ALERT_MINUTES - 1]);
}

static int64_t age_of(int64_t time_ms, int64_t wall_ms)
{
    return time_ms > 0 && wall_ms > time_ms ? wall_ms - time_ms : 0;
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t known(int64_t value)
{
    return value < 0 ? INT64_MIN : value;
}

int64_t ow_alert_value(const struct ow_alert_rule *rule, const struct ow_board_line *line, bool is_new,
                       struct ow_alert_state *state, int64_t now_ms, int64_t wall_ms)
{
    const struct ow_snapshot *n = &line->now;
    bool is_relay = line->kind == OW_WORK_RELAY;
    switch (rule->metric) {
    case OW_ALERT_RELAY_IN_FLIGHT:
        return is_relay ? (int64_t)n->in_flight : INT64_MIN;
    case OW_ALERT_RELAY_OLDEST_AGE: /* in flight, or still in the outbox */
        return is_relay ? max_of(age_of(n->oldest_ms, wall_ms), age_of(line->backlog.oldest_ms, wall_ms)) : INT64_MIN;
    case OW_ALERT_RELAY_BACKLOG:
        return is_relay ? known(line->backlog.messages) : INT64_MIN;
    case OW_ALERT_RELAY_LAG:
        return is_relay ? known(line->backlog.log_bytes) : INT64_MIN;
    case OW_ALERT_RELAY_RETAINED:
        return is_relay ? known(ow_board_retained(line)) : INT64_MIN;
    case OW_ALERT_RELAY_TROUBLE:
        return is_relay ? n->state == OW_WORK_TROUBLE : INT64_MIN;
    case OW_ALERT_CONSUMER_IN_FLIGHT:
        return is_relay ? INT64_MIN : (int64_t)n->in_flight;
    case OW_ALERT_CONSUMER_OLDEST_AGE:
        return is_relay ? INT64_MIN : age_of(n->oldest_ms, wall_ms);
    case OW_ALERT_CONSUMER_LAG:
        return is_relay ? INT64_MIN : known(ow_board_lag(line));
    case OW_ALERT_CONSUMER_LAG_AGE:
        return is_relay || ow_board_behind_since(line) < 0 ? INT64_MIN : age_of(ow_board_behind_since(line), wall_ms);
    case OW_ALERT_CONSUMER_BREAKER_OPEN:
        return is_relay ? INT64_MIN : n->breaker != OW_BREAKER_CLOSED;
    case OW_ALERT_CONSUMER_PAUSED:
        return is_relay ? INT64_MIN : n->state == OW_WORK_PAUSED;
    case OW_ALERT_CONSUMER_TROUBLE:
        return is_relay ? INT64_MIN : n->state == OW_WORK_TROUBLE;
    case OW_ALERT_DEAD_LETTERS:
        return recent_letters(line, is_new, state, now_ms);
    case OW_ALERT_DEAD_LETTERS_OPEN:
        return known(line->letters);
    case OW_ALERT_ENDED:
        return n->state == OW_WORK_FAILED;
    case OW_ALERT_METRIC_COUNT:
        break;
    }
    return INT64_MIN;
}

enum ow_alert_due ow_alert_judge(const struct ow_config_alert *alert, bool holds, struct ow_alert_state *s,
                                 int64_t now_ms, int64_t wall_ms)
{
    if (holds && !s->holds) {
        s->since_ms = now_ms;
        s->since_wall_ms = wall_ms;
    }
    s->holds = holds;
    bool was_firing = s->is_firing;
    s->is_firing = holds && now_ms - s->since_ms >= alert->rule.for_ms;
    if (was_firing != s->is_firing) { /* other news: they are told at once */
        s->due_ms = 0;
        s->failures = 0;
    }
    if (now_ms < s->due_ms)
        return OW_ALERT_NOTHING;
    bool is_to_repeat = alert->repeat_ms > 0 && s->told == OW_ALERT_TOLD_BEGIN &&
                        now_ms - s->told_ms >= alert->repeat_ms;
    if (s->is_firing && s->told == OW_ALERT_TOLD_BEFORE) {
        s->told = OW_ALERT_TOLD_BEGIN;
        s->told_ms = now_ms;
    }
    if (s->is_firing)
        return s->told != OW_ALERT_TOLD_BEGIN || is_to_repeat ? OW_ALERT_BEGIN : OW_ALERT_NOTHING;
    if ((s->told == OW_ALERT_TOLD_MAYBE || s->told == OW_ALERT_TOLD_BEFORE) &&
        now_ms < s->watched_ms + OW_ALERT_SETTLE_MS)
        return OW_ALERT_NOTHING;
    return !holds && s->told != OW_ALERT_TOLD_NOTHING ? OW_ALERT_END : OW_ALERT_NOTHING;
}

void ow_alert_was_told(struct ow_alert_state *s, enum ow_alert_due what, bool is_done, int64_t now_ms)
{
    if (is_done) {
        s->told = what == OW_ALERT_BEGIN ? OW_ALERT_TOLD_BEGIN : OW_ALERT_TOLD_NOTHING;
        s->told_ms = now_ms;
        s->due_ms = 0;
        s->failures = 0;
        return;
    }
    uint32_t doubled = s->failures < 6 ? s->failures : 6;
    int64_t delay_ms = (int64_t)AGAIN_MS << doubled;
    s->due_ms = now_ms + (delay_ms < AGAIN_MS_MAX ? delay_ms : AGAIN_MS_MAX);
    s->failures++;
}
