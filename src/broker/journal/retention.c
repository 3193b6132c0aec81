/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/retention.h"

#include "base/units.h"
#include "sql.h"

enum {
    STEP_RECORDS = 1000, /* and twice what was added, so that it keeps up with any publisher */
    LOOK_MS = 1000,
    CLOCK_MS_MIN = 50,
    CLOCK_MS_MAX = 60000,
};

void ow_journal_retention_init(struct ow_journal_retention *retention, int64_t age_ms, int64_t bytes)
{
    *retention = (struct ow_journal_retention){.age_ms = age_ms, .bytes = bytes};
}

bool ow_journal_retention_is_due(const struct ow_journal_retention *retention, int64_t now_ms)
{
    return (retention->age_ms > 0 || retention->bytes > 0) && (retention->is_behind || now_ms >= retention->next_ms);
}

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Notes the time now and then, and finds the record up to which everything is too old. */
static int cut_by_age(struct ow_journal_retention *rt, struct ow_store *store, int64_t next_seq, int64_t *ret,
                      struct ow_error *err)
{
    int64_t now = ow_clock_wall_ms(), newest = 0, every = rt->age_ms / 100;
    every = every < CLOCK_MS_MIN ? CLOCK_MS_MIN : min_of(every, CLOCK_MS_MAX);
    int r = ow_journal_integer(store, &rt->clock_newest, ow_sql_journal_read_clock_newest, NULL, 0, 0, &newest, err);
    if (r == 0 && now - newest >= every) {
        struct ow_value note[] = {ow_value_integer(now), ow_value_integer(next_seq)};
        r = ow_journal_run(store, &rt->insert_clock, ow_sql_journal_insert_clock, note, 2, err);
    }
    struct ow_value before = ow_value_integer(now - rt->age_ms);
    if (r == 0)
        r = ow_journal_integer(store, &rt->clock_cut, ow_sql_journal_read_clock_cut, &before, 1, 0, ret, err);
    return r;
}

/* How many of the oldest records have to go for the used space to be within its bound. */
static int count_by_size(struct ow_journal_retention *rt, struct ow_store *store, int64_t records, int64_t *ret,
                         struct ow_error *err)
{
    int64_t pages = 0, free_pages = 0;
    int r = 0;
    if (rt->page_bytes == 0)
        r = ow_journal_integer(store, &rt->page_size, ow_sql_journal_read_page_size, NULL, 0, 4096, &rt->page_bytes,
                               err);
    if (r == 0)
        r = ow_journal_integer(store, &rt->page_count, ow_sql_journal_read_page_count, NULL, 0, 0, &pages, err);
    if (r == 0)
        r = ow_journal_integer(store, &rt->free_count, ow_sql_journal_read_free_count, NULL, 0, 0, &free_pages, err);
    if (r < 0)
        return r;
    int64_t used = (pages - free_pages) * rt->page_bytes;
    int64_t each = records > 0 ? used / records + 1 : used + 1;
    *ret = used > rt->bytes ? (used - rt->bytes) / each + 1 : 0;
    return 0;
}

struct cut {
    int64_t partition, first_offset;
};

static int move_first(struct ow_journal_retention *rt, struct ow_store *store, struct cut cut, struct ow_error *err)
{
    struct ow_value values[] = {ow_value_integer(cut.partition), ow_value_integer(cut.first_offset)};
    int r = ow_journal_run(store, &rt->write_first, ow_sql_journal_write_first_offset, values, 2, err);
    return r < 0 ? r : ow_journal_run(store, &rt->delete_index, ow_sql_journal_delete_index, values, 2, err);
}

/* first_offset of every partition that loses records. The rows of a statement and changes to other tables
   do not get into each other's way within one transaction. */
static int move_firsts(struct ow_journal_retention *rt, struct ow_store *store, int64_t cut, struct ow_error *err)
{
    struct ow_value value = ow_value_integer(cut), columns[2];
    int r = ow_journal_statement(store, &rt->cut_offsets, ow_sql_journal_read_cut_offsets, err);
    if (r == 0)
        r = store->ops->start(rt->cut_offsets, &value, 1, err);
    while (r == 0 && (r = store->ops->row(rt->cut_offsets, columns, 2, err)) == 1)
        r = move_first(rt, store, (struct cut){columns[0].integer, columns[1].integer + 1}, err);
    if (rt->cut_offsets)
        store->ops->stop(rt->cut_offsets);
    return r < 0 ? r : 0;
}

static int cut_records(struct ow_journal_retention *rt, struct ow_store *store, int64_t cut, struct ow_error *err)
{
    struct ow_value value = ow_value_integer(cut);
    int r = move_firsts(rt, store, cut, err);
    return r < 0 ? r : ow_journal_run(store, &rt->delete_records, ow_sql_journal_delete_records, &value, 1, err);
}

int ow_journal_retention_step(struct ow_journal_retention *rt, struct ow_store *store, int64_t keep_from,
                              int64_t next_seq, int64_t more, struct ow_error *err)
{
    int64_t first = 0, by_age = 0, by_size = 0;
    int r = rt->age_ms > 0 ? cut_by_age(rt, store, next_seq, &by_age, err) : 0;
    if (r == 0)
        r = ow_journal_integer(store, &rt->first_seq, ow_sql_journal_read_first_seq, NULL, 0, next_seq, &first, err);
    if (r == 0 && rt->bytes > 0)
        r = count_by_size(rt, store, next_seq - first, &by_size, err);
    if (r < 0)
        return r;
    int64_t wanted = by_age > first + by_size ? by_age : first + by_size;
    wanted = min_of(wanted, keep_from);
    int64_t cut = min_of(wanted, first + STEP_RECORDS + 2 * more);
    rt->is_behind = cut < wanted;
    rt->next_ms = ow_clock_monotonic_ms() + LOOK_MS;
    if (cut > first)
        r = cut_records(rt, store, cut, err);
    if (r == 0 && by_age > 0 && cut >= by_age) {
        struct ow_value values[] = {ow_value_integer(ow_clock_wall_ms() - rt->age_ms), ow_value_integer(cut)};
        r = ow_journal_run(store, &rt->delete_clock, ow_sql_journal_delete_clock, values, 2, err);
    }
    return r;
}
