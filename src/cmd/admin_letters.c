/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters over HTTP: what onewrite dlq does, one letter a request. Each opens the store for itself, and waits for
   it in the thread of its connection. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/units.h"
#include "cmd/admin.h"
#include "cmd/dlq_choose.h"
#include "cmd/dlq_show.h"

enum {
    LIST_DEFAULT = 100,
    LIST_MAX = 1000,
    REPLAYS_MAX = 5, /* as dlq has it by default */
};

struct letters {
    struct ow_store *store;
    struct ow_letters all;
};

static void letters_done(struct letters *l)
{
    ow_letters_done(&l->all);
    if (l->store)
        l->store->ops->close(l->store);
}

static void refuse(struct ow_http_answer *answer, const struct ow_error *err)
{
    unsigned status = err->code == OW_ENOTFOUND ? 404 : ow_error_class(err->code) == OW_CLASS_RETRYABLE ? 503 : 500;
    ow_http_problem(answer, status, "%s", err->text);
}

/* The store that is asked for, or the only one. */
static const struct ow_config_place *store_of(const struct ow_config *config, const struct ow_http_request *request,
                                              struct ow_http_answer *answer)
{
    const char *name = request->query(request, "store");
    for (size_t i = 0; i < config->store_count; i++)
        if ((name && strcmp(config->stores[i].name, name) == 0) || (!name && config->store_count == 1))
            return &config->stores[i];
    if (name)
        ow_http_problem(answer, 404, "there is no store \"%.64s\"", name);
    else
        ow_http_problem(answer, 400, "there are %zu stores; say which: ?store=NAME", config->store_count);
    return NULL;
}

/* False: the answer says why. Where a word is wanted those letters are chosen. */
static bool open_letters(const struct ow_admin *a, const struct ow_http_request *request,
                         const struct ow_letters_wanted *wanted, bool is_to_change, struct letters *ret,
                         struct ow_http_answer *answer)
{
    struct ow_error err = {0};
    char *words[] = {(char *)wanted->word};
    const struct ow_config_place *place = store_of(a->config, request, answer);
    if (!place)
        return false;
    int r = ow_letters_open(&place->url, is_to_change, &ret->store, &err);
    if (r == 0 && is_to_change)
        r = ow_letters_settle(ret->store, &err);
    if (r == 0)
        r = ow_letters_read_some(ret->store, is_to_change, wanted->word && !is_to_change, wanted, &ret->all, &err);
    if (r == 0 && wanted->word)
        r = ow_letters_choose(&ret->all, words, 1, &err);
    if (r < 0)
        refuse(answer, &err);
    return r == 0;
}

/* "limit", "after" (a number) and "state"; false: one of them is wrong. */
static bool read_page(const struct ow_http_request *request, struct ow_letters_wanted *ret,
                      struct ow_http_answer *answer)
{
    const char *limit = request->query(request, "limit"), *after = request->query(request, "after");
    struct ow_error err;
    *ret = (struct ow_letters_wanted){.limit = LIST_DEFAULT, .state = request->query(request, "state")};
    if (limit && ow_integer_parse(ow_bytes_of(limit), 1, LIST_MAX, &ret->limit, &err) < 0) {
        ow_http_problem(answer, 400, "limit: expected a whole number from 1 to %d", LIST_MAX);
        return false;
    }
    if (after && ow_integer_parse(ow_bytes_of(after), 0, INT64_MAX, &ret->after, &err) < 0) {
        ow_http_problem(answer, 400, "after: expected the number of a dead letter");
        return false;
    }
    if (ret->state && strcmp(ret->state, "dead") != 0 && strcmp(ret->state, "parked") != 0 &&
        strcmp(ret->state, "queued") != 0) {
        ow_http_problem(answer, 400, "state: expected dead, parked or queued");
        return false;
    }
    return true;
}

void ow_admin_list_letters(void *context, const struct ow_http_request *request, const char *id,
                           struct ow_http_answer *answer)
{
    OW_CLEANUP(letters_done) struct letters letters = {0};
    struct ow_letters_wanted wanted;
    size_t count = 0;
    (void)id;
    if (!read_page(request, &wanted, answer) || !open_letters(context, request, &wanted, false, &letters, answer))
        return;
    for (size_t i = 0; i < letters.all.count; i++)
        letters.all.items[i].is_chosen = true;
    answer->status = 200;
    ow_buf_add_text(&answer->body, "{\"items\":");
    ow_dlq_show(&answer->body, OW_OUTPUT_JSON, &letters.all, &count);
    ow_dlq_show_end(&answer->body, OW_OUTPUT_JSON, count);
    ow_buf_add_text(&answer->body, "}\n");
}

void ow_admin_show_letter(void *context, const struct ow_http_request *request, const char *id,
                          struct ow_http_answer *answer)
{
    OW_CLEANUP(letters_done) struct letters letters = {0};
    size_t count = 0;
    if (!open_letters(context, request, &(struct ow_letters_wanted){.word = id}, false, &letters, answer))
        return;
    answer->status = 200;
    ow_dlq_show(&answer->body, OW_OUTPUT_JSONL, &letters.all, &count);
}

/* --- what changes something ------------------------------------------------------------------------------------ */

static void answer_replay(struct ow_http_answer *answer, const struct ow_replay_plan *plan, size_t queued)
{
    if (queued == 0) { /* one letter was asked for, and it stays */
        ow_http_problem(answer, 409, "%s",
                        plan->refused_count ? plan->refused[0].why : "somebody else has put it back meanwhile");
        return;
    }
    answer->status = 202;
    ow_buf_printf(&answer->body, "{\"queued\":%zu}\n", queued);
}

void ow_admin_replay_letter(void *context, const struct ow_http_request *request, const char *id,
                            struct ow_http_answer *answer)
{
    OW_CLEANUP(letters_done) struct letters letters = {0};
    OW_CLEANUP(ow_replay_plan_done) struct ow_replay_plan plan = {0};
    struct ow_error err = {0};
    size_t queued = 0, all = 0;
    if (!open_letters(context, request, &(struct ow_letters_wanted){.word = id, .with_key = true}, true, &letters,
                      answer))
        return;
    int r = ow_replay_plan_make(&letters.all, REPLAYS_MAX, &plan, &err);
    for (size_t i = 0; i < plan.group_count && r == 0; i++) {
        r = ow_letters_replay(letters.store, plan.groups[i].letters, plan.groups[i].count, &queued, &err);
        all += r == 0 ? queued : 0;
    }
    if (r == 0 && all > 0)
        r = ow_letters_settle(letters.store, &err);
    if (r < 0)
        refuse(answer, &err);
    else
        answer_replay(answer, &plan, all);
}

void ow_admin_discard_letter(void *context, const struct ow_http_request *request, const char *id,
                             struct ow_http_answer *answer)
{
    OW_CLEANUP(letters_done) struct letters letters = {0};
    struct ow_letter *chosen[1];
    struct ow_error err = {0};
    size_t count = 0;
    if (!open_letters(context, request, &(struct ow_letters_wanted){.word = id}, true, &letters, answer))
        return;
    for (size_t i = 0; i < letters.all.count; i++)
        count += letters.all.items[i].is_chosen;
    if (count > 1) {
        ow_http_problem(answer, 409, "there are %zu dead letters with this id; use the number of one", count);
        return;
    }
    for (size_t i = 0; i < letters.all.count; i++)
        if (letters.all.items[i].is_chosen)
            chosen[0] = &letters.all.items[i];
    if (count == 0 || ow_letters_discard(letters.store, chosen, count, &err) < 0) {
        if (count > 0)
            refuse(answer, &err);
        else
            ow_http_problem(answer, 404, "it is not there any more");
        return;
    }
    answer->status = 200;
    ow_buf_add_text(&answer->body, "{\"discarded\":1}\n");
}
