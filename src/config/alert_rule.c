/* SPDX-License-Identifier: Apache-2.0 */
/* The condition of an alert, as a person writes it. */
#include <string.h>

#include "base/units.h"
#include "config/admin.h"
#include "config/option.h"

enum unit { UNIT_COUNT, UNIT_DURATION, UNIT_BYTES, UNIT_YES };

static const struct {
    const char *name;
    enum unit unit;
} metrics[] = {
    [OW_ALERT_RELAY_IN_FLIGHT] = {"relay_in_flight", UNIT_COUNT},
    [OW_ALERT_RELAY_OLDEST_AGE] = {"relay_oldest_age", UNIT_DURATION},
    [OW_ALERT_RELAY_BACKLOG] = {"relay_backlog", UNIT_COUNT},
    [OW_ALERT_RELAY_LAG] = {"relay_lag", UNIT_BYTES},
    [OW_ALERT_RELAY_RETAINED] = {"relay_retained", UNIT_BYTES},
    [OW_ALERT_RELAY_TROUBLE] = {"relay_trouble", UNIT_YES},
    [OW_ALERT_CONSUMER_IN_FLIGHT] = {"consumer_in_flight", UNIT_COUNT},
    [OW_ALERT_CONSUMER_OLDEST_AGE] = {"consumer_oldest_age", UNIT_DURATION},
    [OW_ALERT_CONSUMER_LAG] = {"consumer_lag", UNIT_COUNT},
    [OW_ALERT_CONSUMER_LAG_AGE] = {"consumer_lag_age", UNIT_DURATION},
    [OW_ALERT_CONSUMER_BREAKER_OPEN] = {"consumer_breaker_open", UNIT_YES},
    [OW_ALERT_CONSUMER_PAUSED] = {"consumer_paused", UNIT_YES},
    [OW_ALERT_CONSUMER_TROUBLE] = {"consumer_trouble", UNIT_YES},
    [OW_ALERT_DEAD_LETTERS] = {"dead_letters", UNIT_COUNT},
    [OW_ALERT_DEAD_LETTERS_OPEN] = {"dead_letters_open", UNIT_COUNT},
    [OW_ALERT_ENDED] = {"ended", UNIT_YES},
};

static struct ow_bytes next_word(struct ow_bytes *rest)
{
    while (rest->size > 0 && *rest->data == ' ')
        *rest = (struct ow_bytes){rest->data + 1, rest->size - 1};
    struct ow_bytes word = {rest->data, 0};
    while (word.size < rest->size && word.data[word.size] != ' ')
        word.size++;
    *rest = (struct ow_bytes){rest->data + word.size, rest->size - word.size};
    return word;
}

static int find_metric(struct ow_bytes word, enum ow_alert_metric *ret, struct ow_error *err)
{
    struct ow_nearest nearest = {.word = word};
    for (size_t i = 0; i < OW_ALERT_METRIC_COUNT; i++) {
        ow_nearest_offer(&nearest, metrics[i].name);
        if (ow_bytes_is(word, metrics[i].name)) {
            *ret = (enum ow_alert_metric)i;
            return 0;
        }
    }
    if (nearest.best)
        return ow_error_set(err, OW_EINVALID, "there is no metric \"%.*s\"; did you mean \"%s\"?", OW_PRINT(word),
                            nearest.best);
    return ow_error_set(err, OW_EINVALID,
                        "there is no metric \"%.*s\"; write for example \"consumer_lag > 10000 for 5m\"",
                        OW_PRINT(word));
}

static int read_threshold(struct ow_bytes word, enum unit unit, int64_t *ret, struct ow_error *err)
{
    switch (unit) {
    case UNIT_DURATION:
        return ow_duration_parse(word, ret, err);
    case UNIT_BYTES:
        return ow_size_parse(word, ret, err);
    case UNIT_COUNT:
    case UNIT_YES:
        break;
    }
    if (ow_integer_parse(word, 0, INT64_MAX, ret, err) == 0)
        return 0;
    return ow_error_set(err, OW_EINVALID, "expected a whole number, found \"%.*s\"", OW_PRINT(word));
}

static int read_for(struct ow_bytes *rest, struct ow_alert_rule *rule, struct ow_error *err)
{
    struct ow_bytes word = next_word(rest);
    if (word.size == 0)
        return 0;
    if (!ow_bytes_is(word, "for"))
        return ow_error_set(err, OW_EINVALID, "expected \"for\" and a duration, found \"%.*s\"", OW_PRINT(word));
    int r = ow_duration_parse(next_word(rest), &rule->for_ms, err);
    if (r < 0)
        return r;
    word = next_word(rest);
    return word.size ? ow_error_set(err, OW_EINVALID, "nothing may follow the duration, found \"%.*s\"", OW_PRINT(word))
                     : 0;
}

int ow_alert_rule_parse(struct ow_bytes text, struct ow_alert_rule *ret, struct ow_error *err)
{
    struct ow_alert_rule rule = {0};
    struct ow_bytes rest = text;
    int r = find_metric(next_word(&rest), &rule.metric, err);
    if (r < 0)
        return r;
    struct ow_bytes word = next_word(&rest);
    bool is_flag = metrics[rule.metric].unit == UNIT_YES;
    if (is_flag && (word.size == 0 || ow_bytes_is(word, "for"))) { /* "relay_trouble for 1m" */
        rest = (struct ow_bytes){word.data, word.size + rest.size};
        memcpy(rule.comparison, ">=", sizeof ">=");
        rule.threshold = 1;
    } else {
        if (!ow_bytes_is(word, ">") && !ow_bytes_is(word, ">=") && !ow_bytes_is(word, "<") && !ow_bytes_is(word, "<="))
            return ow_error_set(err, OW_EINVALID, "expected >, >=, < or <= behind %s, found \"%.*s\"",
                                metrics[rule.metric].name, OW_PRINT(word));
        memcpy(rule.comparison, word.data, word.size);
        r = read_threshold(next_word(&rest), metrics[rule.metric].unit, &rule.threshold, err);
    }
    if (r == 0)
        r = read_for(&rest, &rule, err);
    if (r == 0)
        *ret = rule;
    return r;
}

bool ow_alert_rule_holds(const struct ow_alert_rule *rule, int64_t value)
{
    if (rule->comparison[0] == '>')
        return rule->comparison[1] ? value >= rule->threshold : value > rule->threshold;
    return rule->comparison[1] ? value <= rule->threshold : value < rule->threshold;
}
