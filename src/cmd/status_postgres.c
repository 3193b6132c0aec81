/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/status_postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "core/position.h"
#include "sql.h"

enum { RETAINED_MUCH = 64 << 20 };

static void copy_text(const struct ow_value *from, char *to, size_t size)
{
    int n = (int)(from->bytes.size < size ? from->bytes.size : size - 1);
    (void)snprintf(to, size, "%.*s", from->kind == OW_VALUE_TEXT ? n : 0, from->bytes.data ? from->bytes.data : "");
}

/* One more of an array that grows by doubling. NULL: out of memory. */
static void *add_item(void **items, size_t count, size_t size)
{
    if ((count & (count - 1)) == 0) {
        void *more = realloc(*items, (count ? count * 2 : 1) * size);
        if (!more)
            return NULL;
        *items = more;
    }
    return (char *)*items + count * size;
}

static int take_lease(struct ow_postgres_status *status, const struct ow_value *row, struct ow_error *err)
{
    void *items = status->leases;
    struct ow_lease_status *lease = add_item(&items, status->lease_count, sizeof *lease);
    status->leases = items;
    if (!lease)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    copy_text(&row[0], lease->name, sizeof lease->name);
    copy_text(&row[1], lease->holder, sizeof lease->holder);
    lease->epoch = row[2].integer;
    lease->left_ms = row[3].integer;
    status->lease_count++;
    return 0;
}

/* As the server writes it: the end of a commit; the ordinal within it tells nobody anything. */
static void show_as_lsn(char *position, size_t size)
{
    struct ow_position at;
    struct ow_error ignored;
    if (ow_position_parse(ow_bytes_of(position), &at, &ignored) == 0)
        (void)snprintf(position, size, "%X/%X", (unsigned)(at.major >> 32), (unsigned)(at.major & UINT32_MAX));
}

static int take_slot(struct ow_postgres_status *status, const struct ow_value *row, struct ow_error *err)
{
    void *items = status->slots;
    struct ow_slot_status *slot = add_item(&items, status->slot_count, sizeof *slot);
    status->slots = items;
    if (!slot)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    copy_text(&row[0], slot->name, sizeof slot->name);
    copy_text(&row[1], slot->by, sizeof slot->by);
    slot->is_there = row[2].integer != 0;
    slot->pid = row[3].integer;
    copy_text(&row[4], slot->state, sizeof slot->state);
    slot->retained = row[5].integer;
    slot->lag = row[6].integer;
    slot->inactive_ms = row[7].integer;
    copy_text(&row[8], slot->position, sizeof slot->position);
    show_as_lsn(slot->position, sizeof slot->position);
    slot->recorded_ms = row[9].integer;
    copy_text(&row[10], slot->why, sizeof slot->why);
    status->slot_count++;
    return 0;
}

typedef int take_row(struct ow_postgres_status *status, const struct ow_value *row, struct ow_error *err);

static int read_rows(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                     size_t columns, take_row *take, struct ow_postgres_status *ret, struct ow_error *err)
{
    struct ow_statement *statement = NULL;
    struct ow_value row[11];
    int r = store->ops->prepare(store, sql, &statement, err);
    if (r == 0)
        r = store->ops->start(statement, values, count, err);
    while (r == 0 && (r = store->ops->row(statement, row, columns, err)) == 1)
        r = take(ret, row, err);
    store->ops->discard(statement);
    return r;
}

int ow_postgres_status_read(struct ow_store *store, const char *slots, struct ow_postgres_status *ret,
                            struct ow_error *err)
{
    const struct ow_value names = ow_value_text(ow_bytes_of(slots));
    int r = read_rows(store, ow_sql_pg_outbox_status_leases, NULL, 0, 4, take_lease, ret, err);
    return r == 0 ? read_rows(store, ow_sql_pg_ops_slots, &names, 1, 11, take_slot, ret, err) : r;
}

void ow_postgres_status_done(struct ow_postgres_status *status)
{
    free(status->leases);
    free(status->slots);
    *status = (struct ow_postgres_status){0};
}

bool ow_postgres_status_is_at_work(const struct ow_postgres_status *status)
{
    bool is_at_work = false;
    for (size_t i = 0; i < status->lease_count; i++)
        is_at_work |= status->leases[i].left_ms > 0;
    for (size_t i = 0; i < status->slot_count; i++)
        is_at_work |= status->slots[i].pid != 0;
    return is_at_work;
}

/* --- printing ------------------------------------------------------------------------------------------ */

const struct ow_column ow_lease_columns[OW_LEASE_COLUMNS] = {
    {"store", OW_COLUMN_TEXT},   {"lease", OW_COLUMN_TEXT},       {"holder", OW_COLUMN_TEXT},
    {"epoch", OW_COLUMN_NUMBER}, {"left_ms", OW_COLUMN_DURATION},
};

const struct ow_column ow_slot_columns[OW_SLOT_COLUMNS] = {
    {"store", OW_COLUMN_TEXT},
    {"slot", OW_COLUMN_TEXT},
    {"by", OW_COLUMN_TEXT},
    {"active", OW_COLUMN_BOOL},
    {"pid", OW_COLUMN_NUMBER},
    {"wal_status", OW_COLUMN_TEXT},
    {"retained", OW_COLUMN_BYTES},
    {"lag", OW_COLUMN_BYTES},
    {"inactive_ms", OW_COLUMN_DURATION},
    {"position", OW_COLUMN_TEXT},
    {"recorded_ms", OW_COLUMN_DURATION},
    {"invalidation_reason", OW_COLUMN_TEXT},
};

void ow_postgres_status_print_leases(struct ow_output *out, const char *place, const struct ow_postgres_status *status)
{
    for (size_t i = 0; i < status->lease_count; i++) {
        const struct ow_lease_status *lease = &status->leases[i];
        ow_output_text(out, place);
        ow_output_text(out, lease->name);
        ow_output_text(out, lease->holder);
        ow_output_number(out, lease->epoch);
        ow_output_number(out, lease->left_ms);
    }
}

static void print_known(struct ow_output *out, int64_t number)
{
    if (number >= 0)
        ow_output_number(out, number);
    else
        ow_output_null(out);
}

void ow_postgres_status_print_slots(struct ow_output *out, const char *place, const struct ow_postgres_status *status)
{
    for (size_t i = 0; i < status->slot_count; i++) {
        const struct ow_slot_status *slot = &status->slots[i];
        ow_output_text(out, place);
        ow_output_text(out, slot->name);
        ow_output_text(out, slot->by[0] ? slot->by : NULL);
        ow_output_number(out, slot->pid != 0);
        print_known(out, slot->pid ? slot->pid : -1);
        ow_output_text(out, slot->state[0] ? slot->state : NULL);
        print_known(out, slot->retained);
        print_known(out, slot->lag);
        print_known(out, slot->inactive_ms);
        ow_output_text(out, slot->position[0] ? slot->position : NULL);
        print_known(out, slot->recorded_ms);
        ow_output_text(out, slot->why[0] ? slot->why : NULL);
    }
}

static void warn_of(const struct ow_slot_status *slot, const char *place, const char *url)
{
    char size[OW_UNIT_TEXT_SIZE];
    if (!slot->is_there) {
        ow_complain("%s: slot %s is gone, although a position of it is on record: its relay will not go on by itself; "
                    "see relay --accept-gap, or give it up: onewrite drop --slot %s %s",
                    place, slot->name, slot->name, url);
        return;
    }
    if (strcmp(slot->state, "lost") == 0 || slot->why[0]) {
        ow_complain("%s: slot %s is lost%s%s: the server has removed the log that it needs; see relay --accept-gap, or "
                    "give it up: onewrite drop --slot %s %s",
                    place, slot->name, slot->why[0] ? ", " : "", slot->why, slot->name, url);
        return;
    }
    if (slot->pid == 0 && slot->retained >= RETAINED_MUCH)
        ow_complain("%s: nobody reads from slot %s, and the server keeps %s of WAL for it: start its relay, or give it "
                    "up: onewrite drop --slot %s %s",
                    place, slot->name, ow_size_format(slot->retained, size), slot->name, url);
}

void ow_postgres_status_warn(const struct ow_place *place, const struct ow_postgres_status *status)
{
    for (size_t i = 0; i < status->slot_count; i++)
        warn_of(&status->slots[i], place->name, place->url->text);
}
