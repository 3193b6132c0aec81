/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/sources.h"

#include "base/units.h"
#include "sql.h"

/* How many of a source's records are looked back over at least. More than a relay ever has accepted and not
   confirmed: one window, 10,000 messages unless it is told otherwise, and never more than one transaction. */
enum { LOOK_BACK_MIN = 20000 };

int ow_journal_source_read(struct ow_journal_sources *sources, struct ow_store *store, const char *name,
                           struct ow_journal_source *ret, struct ow_position *ret_position, struct ow_error *err)
{
    struct ow_value value = ow_value_text(ow_bytes_of(name)), columns[5] = {{0}};
    int r = ow_journal_statement(store, &sources->read, ow_sql_journal_read_source, err);
    if (r == 0)
        r = store->ops->start(sources->read, &value, 1, err);
    if (r == 0)
        r = store->ops->row(sources->read, columns, 5, err);
    if (r == 1 && ret_position && ow_position_parse(columns[1].bytes, ret_position, err) < 0)
        r = ow_error_prefix(err, "the journal's position of source %s", name);
    if (r == 1)
        *ret = (struct ow_journal_source){.id = columns[0].integer,
                                          .since = columns[2].integer,
                                          .mark = columns[3].integer,
                                          .mark_count = columns[4].integer};
    if (sources->read)
        store->ops->stop(sources->read);
    return r;
}

/* `since` moves on only to a mark that has enough records after it, and a mark only to the beginning of a
   transaction: so all of the newest transaction lies at or after `since`. */
static void move_since(struct ow_journal_source *s, int64_t first_seq, int64_t next_seq)
{
    int64_t count = next_seq - first_seq;
    if (s->id == 0) {
        s->since = s->mark = first_seq;
        s->mark_count = count;
    } else if (count > 0 && s->mark_count >= LOOK_BACK_MIN) {
        s->since = s->mark;
        s->mark = first_seq;
        s->mark_count = count;
    } else {
        s->mark_count += count;
    }
}

int ow_journal_source_write(struct ow_journal_sources *sources, struct ow_store *store, const char *name,
                            struct ow_position position, int64_t first_seq, int64_t next_seq,
                            struct ow_journal_source *s, struct ow_error *err)
{
    char text[OW_POSITION_TEXT_SIZE];
    bool is_new = s->id == 0;
    move_since(s, first_seq, next_seq);
    struct ow_value values[] = {
        ow_value_text(ow_bytes_of(name)), ow_value_text(ow_bytes_of(ow_position_format(position, text))),
        ow_value_integer(s->since),       ow_value_integer(s->mark),
        ow_value_integer(s->mark_count),  ow_value_integer(ow_clock_wall_ms())};
    int r = ow_journal_run(store, &sources->write, ow_sql_journal_write_source, values, 6, err);
    if (r == 0 && is_new)
        r = ow_journal_source_read(sources, store, name, s, NULL, err);
    return r < 0 ? r : 0;
}
