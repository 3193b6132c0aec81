/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "core/mutant.h"
#include "inbox/filter.h"

struct filtered {
    struct ow_inbox base;
    struct ow_inbox *inner;
    struct ow_inbox_filter *filter;
    struct ow_inbox_entry *entries; /* some of those of a begin(), for the inner one */
    size_t *places;                 /* of each of them in that begin() */
    bool *known;
    size_t max;
    bool is_begun;     /* there is a transaction; else all of the last begin() was done with */
    size_t begun;      /* entries of the last begin() */
    size_t left_alone; /* so many that come next are those of a transaction that was rolled back: they would be known */
};

static struct filtered *self_of(struct ow_inbox *inbox)
{
    return (struct filtered *)inbox;
}

static int make_room(struct filtered *f, size_t count, struct ow_error *err)
{
    if (count <= f->max)
        return 0;
    struct ow_inbox_entry *entries = reallocarray(f->entries, count, sizeof *entries);
    f->entries = entries ? entries : f->entries;
    size_t *places = reallocarray(f->places, count, sizeof *places);
    f->places = places ? places : f->places;
    bool *known = reallocarray(f->known, count, sizeof *known);
    f->known = known ? known : f->known;
    if (!entries || !places || !known)
        return ow_error_set(err, OW_ENOMEM, "out of memory for %zu messages", count);
    f->max = count;
    return 0;
}

static bool is_done_with(const struct ow_inbox_entry *entry)
{
    return entry->state != OW_INBOX_NEW && entry->state != OW_INBOX_BLOCKED;
}

/* What is known to the filter is looked up; all others are NEW for now. A letter is known for what it is. */
static int ask(struct filtered *f, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    size_t asked = 0, found = 0;
    for (size_t i = 0; i < count; i++) {
        entries[i].state = OW_INBOX_NEW;
        if (entries[i].letter)
            continue;
        f->entries[asked] = entries[i];
        f->places[asked++] = i;
    }
    f->filter->ops->mark(f->filter, f->entries, asked, f->known);
    for (size_t i = 0; i < asked; i++)
        if (f->known[i]) {
            f->entries[found] = f->entries[i];
            f->places[found++] = f->places[i];
        }
    int r = found > 0 ? f->inner->ops->look(f->inner, f->entries, found, err) : 0;
    for (size_t i = 0; r == 0 && i < found; i++)
        entries[f->places[i]].state = OW_MUTANT(FILTER_DECIDES) ? OW_INBOX_HANDLED : f->entries[i].state;
    return r;
}

static int begin_rest(struct filtered *f, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    size_t rest = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_done_with(&entries[i])) {
            f->entries[rest] = entries[i];
            f->places[rest++] = i;
        }
    if (rest == 0)
        return 0;
    int r = f->inner->ops->begin(f->inner, f->entries, rest, err);
    for (size_t i = 0; r == 0 && i < rest; i++)
        entries[f->places[i]].state = f->entries[i].state;
    f->is_begun = r == 0;
    return r;
}

static int filtered_begin(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    struct filtered *f = self_of(inbox);
    bool is_as_it_is = count == 0 || f->left_alone > 0; /* none: a transaction for something else */
    f->is_begun = false;
    f->begun = count;
    f->left_alone -= count < f->left_alone ? count : f->left_alone;
    if (is_as_it_is) {
        int r = f->inner->ops->begin(f->inner, entries, count, err);
        f->is_begun = r == 0;
        return r;
    }
    int r = make_room(f, count, err);
    if (r == 0)
        r = ask(f, entries, count, err);
    return r < 0 ? r : begin_rest(f, entries, count, err);
}

static int filtered_seal(struct ow_inbox *inbox, struct ow_error *err)
{
    struct filtered *f = self_of(inbox);
    return f->is_begun && f->inner->ops->seal ? f->inner->ops->seal(f->inner, err) : 0;
}

static int filtered_commit(struct ow_inbox *inbox, struct ow_error *err)
{
    struct filtered *f = self_of(inbox);
    bool is_begun = f->is_begun;
    f->is_begun = false;
    return is_begun ? f->inner->ops->commit(f->inner, err) : 0;
}

static void filtered_rollback(struct ow_inbox *inbox)
{
    struct filtered *f = self_of(inbox);
    if (f->is_begun)
        f->left_alone = f->begun;
    f->is_begun = false;
    f->inner->ops->rollback(f->inner);
}

/* --- passed on --------------------------------------------------------------------------------------------- */

static int filtered_open(struct ow_inbox *inbox, struct ow_error *err)
{
    return self_of(inbox)->inner->ops->open(self_of(inbox)->inner, err);
}

static int filtered_look(struct ow_inbox *inbox, struct ow_inbox_entry *entries, size_t count, struct ow_error *err)
{
    return self_of(inbox)->inner->ops->look(self_of(inbox)->inner, entries, count, err);
}

static int filtered_set_aside(struct ow_inbox *inbox, const struct ow_inbox_entry *entry,
                              const struct ow_inbox_failure *failure, struct ow_error *err)
{
    return self_of(inbox)->inner->ops->set_aside(self_of(inbox)->inner, entry, failure, err);
}

static int filtered_publish(struct ow_inbox *inbox, const struct ow_message *messages, size_t count,
                            struct ow_error *err)
{
    return self_of(inbox)->inner->ops->publish(self_of(inbox)->inner, messages, count, err);
}

static int filtered_next_queued(struct ow_inbox *inbox, int64_t after, struct ow_inbox_letter *ret,
                                struct ow_error *err)
{
    return self_of(inbox)->inner->ops->next_queued(self_of(inbox)->inner, after, ret, err);
}

static int filtered_store_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t next,
                                 struct ow_error *err)
{
    return self_of(inbox)->inner->ops->store_offset(self_of(inbox)->inner, topic, partition, next, err);
}

static int filtered_read_offset(struct ow_inbox *inbox, struct ow_bytes topic, int64_t partition, int64_t *ret,
                                struct ow_error *err)
{
    return self_of(inbox)->inner->ops->read_offset(self_of(inbox)->inner, topic, partition, ret, err);
}

static int filtered_save_breaker(struct ow_inbox *inbox, const char *state, struct ow_error *err)
{
    return self_of(inbox)->inner->ops->save_breaker(self_of(inbox)->inner, state, err);
}

static int filtered_load_breaker(struct ow_inbox *inbox, struct ow_buf *to, struct ow_error *err)
{
    return self_of(inbox)->inner->ops->load_breaker(self_of(inbox)->inner, to, err);
}

static int filtered_tend(struct ow_inbox *inbox, struct ow_wait *wait, struct ow_error *err)
{
    struct ow_inbox *inner = self_of(inbox)->inner;
    return inner->ops->tend ? inner->ops->tend(inner, wait, err) : 0;
}

static struct ow_store *filtered_store(struct ow_inbox *inbox)
{
    return self_of(inbox)->inner->ops->store(self_of(inbox)->inner);
}

static void filtered_close(struct ow_inbox *inbox)
{
    struct filtered *f = self_of(inbox);
    f->is_begun = false;
    f->left_alone = 0;
    f->filter->ops->close(f->filter);
    f->inner->ops->close(f->inner);
}

static void filtered_discard(struct ow_inbox *inbox)
{
    struct filtered *f = self_of(inbox);
    if (!inbox)
        return;
    f->filter->ops->discard(f->filter);
    f->inner->ops->discard(f->inner);
    free(f->entries);
    free(f->places);
    free(f->known);
    free(f);
}

static const struct ow_inbox_ops filtered_ops = {
    .open = filtered_open,
    .look = filtered_look,
    .begin = filtered_begin,
    .set_aside = filtered_set_aside,
    .publish = filtered_publish,
    .seal = filtered_seal,
    .commit = filtered_commit,
    .rollback = filtered_rollback,
    .next_queued = filtered_next_queued,
    .store_offset = filtered_store_offset,
    .read_offset = filtered_read_offset,
    .save_breaker = filtered_save_breaker,
    .load_breaker = filtered_load_breaker,
    .tend = filtered_tend,
    .store = filtered_store,
    .close = filtered_close,
    .discard = filtered_discard,
};

int ow_inbox_filtered_new(struct ow_inbox *inbox, struct ow_inbox_filter *filter, struct ow_inbox **ret,
                          struct ow_error *err)
{
    struct filtered *f = calloc(1, sizeof *f);
    if (!f) {
        filter->ops->discard(filter);
        inbox->ops->discard(inbox);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    f->base.ops = &filtered_ops;
    f->inner = inbox;
    f->filter = filter;
    *ret = &f->base;
    return 0;
}
