/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_changes.h"

#include <stdlib.h>

#include "base/units.h"
#include "source/postgres_log.h"

int ow_pg_changes_init(struct ow_pg_changes *changes, struct ow_error *err)
{
    changes->before = calloc(OW_PG_COLUMNS_MAX, sizeof *changes->before);
    return changes->before ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

void ow_pg_changes_done(struct ow_pg_changes *changes)
{
    free(changes->before);
    *changes = (struct ow_pg_changes){0};
}

void ow_pg_changes_forget(struct ow_pg_changes *changes)
{
    changes->step = changes->count = 0;
}

static struct ow_bytes bytes_of(const struct ow_pg_value *value)
{
    return value->kind == OW_PG_UNCHANGED ? (struct ow_bytes){ow_row_unchanged, 0} : value->bytes;
}

static void read_rows(struct ow_pg_log *log, const struct ow_pgoutput *change)
{
    struct ow_pg_changes *c = &log->changes;
    struct ow_pg_tuple old = change->row.old_row, new = change->row.new_row;
    for (unsigned i = 0; change->row.old_kind && old.count > 0; i++)
        c->before[i] = ow_pg_next_value(&old).bytes;
    for (unsigned i = 0; change->row.has_new && new.count > 0; i++) {
        struct ow_pg_value value = ow_pg_next_value(&new);
        bool is_known = value.kind == OW_PG_UNCHANGED && change->row.old_kind == 'O';
        log->values[i] = is_known ? c->before[i] : bytes_of(&value);
    }
}

/* Whether an UPDATE has changed what other systems know the row by. */
static bool has_other_key(const struct ow_pg_log *log, const struct ow_row_table *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].key_place > 0 && !ow_row_is_unchanged(log->values[i]) &&
            !ow_bytes_equal(log->values[i], log->changes.before[i]))
            return true;
    return false;
}

static void add_step(struct ow_pg_changes *c, enum ow_row_op op)
{
    c->steps[c->count++] = op;
}

static void plan_steps(struct ow_pg_log *log, const struct ow_pgoutput *change)
{
    struct ow_pg_changes *c = &log->changes;
    bool has_old = change->row.old_kind != 0;
    c->change.is_key_change = change->kind == OW_PGOUTPUT_UPDATE && has_old &&
                              has_other_key(log, &log->tables[c->outbox].table);
    if (change->kind == OW_PGOUTPUT_DELETE || c->change.is_key_change) {
        add_step(c, OW_ROW_DELETE);
        add_step(c, OW_ROW_GONE);
    }
    if (change->kind == OW_PGOUTPUT_INSERT || c->change.is_key_change)
        add_step(c, OW_ROW_INSERT);
    else if (change->kind == OW_PGOUTPUT_UPDATE)
        add_step(c, OW_ROW_UPDATE);
}

int ow_pg_changes_take(struct ow_pg_log *log, const struct ow_pg_layout *layout, const struct ow_pgoutput *change,
                       uint64_t lsn, bool is_taken, struct ow_error *err)
{
    struct ow_pg_changes *c = &log->changes;
    bool has_old = change->row.old_kind != 0, has_new = change->row.has_new;
    if ((has_old && change->row.old_row.count != layout->column_count) ||
        (has_new && change->row.new_row.count != layout->column_count) || (!has_old && !has_new))
        return ow_error_set(err, OW_ECORRUPT, "%s: a row in the log does not fit what the log says of its table",
                            log->shown);
    read_rows(log, change);
    c->outbox = layout->outbox;
    c->is_taken = is_taken;
    c->has_row = has_new;
    c->step = c->count = 0;
    c->change = (struct ow_row_change){
        .before = has_old ? c->before : NULL,
        .database = ow_bytes_of(ow_pg_side_database(&log->side)),
        .transaction = log->xid,
        .lsn = lsn,
        .previous_commit_lsn = log->last_commit_lsn,
        .time_us = log->time_us,
    };
    plan_steps(log, change);
    return 0;
}

/* Nothing of it can be put back by itself: it is no row of an outbox. */
static void lend(struct ow_pg_log *log, enum ow_row_op op, int outbox, const struct ow_bytes *values,
                 struct ow_message *ret)
{
    const struct ow_row_table *table = &log->tables[outbox].table;
    log->row = (struct ow_row){.op = op, .table = table, .values = values, .change = &log->changes.change};
    *ret = (struct ow_message){
        .row = &log->row, .type = table->name, .time_ms = log->changes.change.time_us / 1000, .image = OW_BYTES("")};
}

int ow_pg_changes_next(struct ow_pg_log *log, struct ow_message *ret, struct ow_error *err)
{
    struct ow_pg_changes *c = &log->changes;
    while (c->step < c->count) {
        struct ow_position position = {log->commit_lsn, ++log->ordinal};
        enum ow_row_op op = c->steps[c->step++];
        int r = c->is_taken ? 0 : ow_pg_track_row(&log->track, position, 0, err);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        lend(log, op, c->outbox, c->has_row ? log->values : NULL, ret);
        ret->position = position;
        return 1;
    }
    return 0;
}

/* What Debezium calls a row of the snapshot. */
static const char *snapshot_mark(const struct ow_pg_log *log, bool is_first, bool is_last)
{
    size_t table = (size_t)log->snapshot.layout.outbox;
    if (is_last && table + 1 == log->rows.outbox_count)
        return "last";
    if (is_first && table == 0)
        return "first";
    return is_last ? "last_in_data_collection" : is_first ? "first_in_data_collection" : "true";
}

int ow_pg_changes_of_snapshot(struct ow_pg_log *log, bool is_first_of_table, struct ow_message *ret,
                              struct ow_error *err)
{
    int is_last = ow_pg_snapshot_is_last(&log->snapshot, err);
    if (is_last < 0)
        return is_last;
    log->changes.change = (struct ow_row_change){
        .snapshot = snapshot_mark(log, is_first_of_table, is_last),
        .database = ow_bytes_of(ow_pg_side_database(&log->side)),
        .lsn = log->slot_start,
        .time_us = ow_clock_wall_ms() * 1000,
    };
    lend(log, OW_ROW_SNAPSHOT, log->snapshot.layout.outbox, log->snapshot.values, ret);
    return 0;
}
