/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dlq_choose.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"

/* --- by number, by id ---------------------------------------------------------------------------------- */

static bool choose_number(struct ow_letters *letters, struct ow_bytes word)
{
    int64_t number;
    struct ow_error ignored;
    if (ow_integer_parse(word, 1, INT64_MAX, &number, &ignored) < 0)
        return false;
    for (size_t i = 0; i < letters->count; i++)
        if (letters->items[i].columns[OW_LETTER_NUMBER].integer == number) {
            letters->items[i].is_chosen = true;
            return true;
        }
    return false;
}

static bool choose_id(struct ow_letters *letters, struct ow_bytes word)
{
    bool has_found = false;
    for (size_t i = 0; i < letters->count; i++)
        if (ow_bytes_equal(ow_letter_text(&letters->items[i], OW_LETTER_ID), word))
            has_found = letters->items[i].is_chosen = true;
    return has_found;
}

int ow_letters_choose(struct ow_letters *letters, char *const *ids, size_t count, struct ow_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct ow_bytes word = ow_bytes_of(ids[i]);
        if (!choose_number(letters, word) && !choose_id(letters, word))
            return ow_error_set(err, OW_ENOTFOUND,
                                "there is no dead letter \"%.*s\", by number or by id; nothing was done",
                                OW_PRINT(word));
    }
    return 0;
}

/* --- by field ------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum ow_letter_column column;
} fields[] = {
    {"state", OW_LETTER_STATE},
    {"source", OW_LETTER_SOURCE},
    {"id", OW_LETTER_ID},
    {"topic", OW_LETTER_TOPIC},
    {"key", OW_LETTER_KEY},
    {"type", OW_LETTER_TYPE},
    {"aggregatetype", OW_LETTER_AGGREGATE_TYPE},
    {"aggregateid", OW_LETTER_AGGREGATE_ID},
    {"reason", OW_LETTER_REASON},
};

struct condition {
    enum ow_letter_column column;
    bool holds; /* else: is */
    struct ow_bytes value;
};

static bool read_condition(const char *text, struct condition *ret)
{
    size_t length = strcspn(text, "=~");
    for (size_t i = 0; text[length] && i < sizeof fields / sizeof fields[0]; i++)
        if (ow_bytes_is((struct ow_bytes){text, length}, fields[i].name)) {
            *ret = (struct condition){fields[i].column, text[length] == '~', ow_bytes_of(text + length + 1)};
            return true;
        }
    return false;
}

int ow_letters_check_where(const struct ow_flag_list *where, struct ow_error *err)
{
    struct condition ignored;
    for (size_t i = 0; i < where->count; i++)
        if (!read_condition(where->values[i], &ignored))
            return ow_error_set(
                err, OW_EUSAGE,
                "--where \"%.*s\": expected FIELD=VALUE or FIELD~TEXT, with one of state source id topic "
                "key type aggregatetype aggregateid reason",
                OW_PRINT(ow_bytes_of(where->values[i])));
    return 0;
}

static bool is_met(const struct ow_letter *letter, const struct condition *condition)
{
    struct ow_bytes bytes = ow_letter_text(letter, condition->column);
    if (!bytes.data)
        return false;
    if (!condition->holds)
        return ow_bytes_equal(bytes, condition->value);
    return condition->value.size == 0 || memmem(bytes.data, bytes.size, condition->value.data, condition->value.size);
}

void ow_letters_choose_where(struct ow_letters *letters, const struct ow_flag_list *where)
{
    for (size_t i = 0; i < letters->count; i++) {
        struct ow_letter *letter = &letters->items[i];
        struct condition condition;
        letter->is_chosen = true;
        for (size_t k = 0; k < where->count && letter->is_chosen; k++)
            letter->is_chosen = read_condition(where->values[k], &condition) && is_met(letter, &condition);
    }
}

/* --- the order of putting back ------------------------------------------------------------------------- */

void ow_replay_plan_done(struct ow_replay_plan *plan)
{
    free(plan->groups);
    free(plan->letters);
    free(plan->refused);
    *plan = (struct ow_replay_plan){0};
}

static int compare(const void *a, const void *b)
{
    const struct ow_letter *one = *(struct ow_letter *const *)a, *two = *(struct ow_letter *const *)b;
    static const enum ow_letter_column columns[] = {OW_LETTER_SOURCE, OW_LETTER_KEY};
    for (size_t i = 0; i < 2; i++) {
        struct ow_bytes x = ow_letter_text(one, columns[i]), y = ow_letter_text(two, columns[i]);
        int order = memcmp(x.data ? x.data : "", y.data ? y.data : "", x.size < y.size ? x.size : y.size);
        if (order == 0)
            order = (x.size > y.size) - (x.size < y.size);
        if (order != 0)
            return order;
    }
    int64_t x = one->columns[OW_LETTER_NUMBER].integer, y = two->columns[OW_LETTER_NUMBER].integer;
    return (x > y) - (x < y);
}

static bool has_same_key(const struct ow_letter *one, const struct ow_letter *two)
{
    struct ow_bytes key = ow_letter_text(one, OW_LETTER_KEY);
    return key.data && ow_bytes_equal(key, ow_letter_text(two, OW_LETTER_KEY)) &&
           ow_bytes_equal(ow_letter_text(one, OW_LETTER_SOURCE), ow_letter_text(two, OW_LETTER_SOURCE));
}

/* "" or why it may not be put back, whatever stands around it. */
static const char *bar(const struct ow_letter *letter, int64_t replays_max, char why[128])
{
    why[0] = '\0';
    if (ow_letter_is(letter, "queued"))
        (void)snprintf(why, 128, "it is on its way already");
    else if (ow_bytes_is(ow_letter_text(letter, OW_LETTER_ORIGIN), "other"))
        (void)snprintf(why, 128, "it came from no outbox, and so there is none to put it back into");
    else if (letter->columns[OW_LETTER_REPLAYS].integer >= replays_max)
        (void)snprintf(why, 128, "it was put back %lld times; --force does so once more",
                       (long long)letter->columns[OW_LETTER_REPLAYS].integer);
    return why;
}

static void refuse(struct ow_replay_plan *plan, struct ow_letter *letter, const char *why)
{
    struct ow_replay_refusal *refusal = &plan->refused[plan->refused_count++];
    refusal->number = letter->columns[OW_LETTER_NUMBER].integer;
    (void)snprintf(refusal->why, sizeof refusal->why, "%s", why);
    letter->is_chosen = false;
}

/* Those of one key (or one alone), in their order: everything from the first that is chosen on goes as far as letters
   are chosen, or parked behind one that goes; nothing of it may go past one that stays, if it was parked for it. */
static void plan_key(struct ow_replay_plan *plan, struct ow_letter **letters, size_t count, int64_t replays_max,
                     size_t *used)
{
    const struct ow_letter *stays = NULL;
    bool goes = false;
    char why[128];
    struct ow_replay_group *group = &plan->groups[plan->group_count];
    *group = (struct ow_replay_group){.letters = plan->letters + *used};
    for (size_t i = 0; i < count; i++) {
        struct ow_letter *letter = letters[i];
        bool is_parked = ow_letter_is(letter, "parked");
        if (is_parked && goes && !stays)
            letter->is_chosen = true;
        if (!letter->is_chosen) {
            if (!ow_letter_is(letter, "queued"))
                stays = letter;
            continue;
        }
        bar(letter, replays_max, why);
        if (!why[0] && is_parked && stays)
            (void)snprintf(why, sizeof why, "it is parked behind number %lld, which has to go first",
                           (long long)stays->columns[OW_LETTER_NUMBER].integer);
        if (why[0]) {
            if (!ow_letter_is(letter, "queued"))
                stays = letter;
            refuse(plan, letter, why);
            continue;
        }
        goes = true;
        group->letters[group->count++] = letter;
        ++*used;
    }
    plan->group_count += group->count > 0;
}

/* Groups in the order of their oldest letters: what was set aside first goes first. */
static int compare_groups(const void *a, const void *b)
{
    const struct ow_replay_group *one = a, *two = b;
    int64_t x = one->letters[0]->columns[OW_LETTER_NUMBER].integer,
            y = two->letters[0]->columns[OW_LETTER_NUMBER].integer;
    return (x > y) - (x < y);
}

int ow_replay_plan_make(struct ow_letters *letters, int64_t replays_max, struct ow_replay_plan *ret,
                        struct ow_error *err)
{
    struct ow_letter **sorted = calloc(letters->count + 1, sizeof *sorted);
    ret->letters = calloc(letters->count + 1, sizeof(struct ow_letter *));
    ret->groups = calloc(letters->count + 1, sizeof *ret->groups);
    ret->refused = calloc(letters->count + 1, sizeof *ret->refused);
    if (!sorted || !ret->letters || !ret->groups || !ret->refused) {
        free(sorted);
        ow_replay_plan_done(ret);
        return ow_error_set(err, OW_ENOMEM, "out of memory for %zu dead letters", letters->count);
    }
    for (size_t i = 0; i < letters->count; i++)
        sorted[i] = &letters->items[i];
    qsort(sorted, letters->count, sizeof *sorted, compare);
    size_t used = 0;
    for (size_t i = 0, end; i < letters->count; i = end) {
        end = i + 1;
        while (end < letters->count && has_same_key(sorted[i], sorted[end]))
            end++;
        plan_key(ret, sorted + i, end - i, replays_max, &used);
    }
    qsort(ret->groups, ret->group_count, sizeof *ret->groups, compare_groups);
    free(sorted);
    return 0;
}
