/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/units.h"
#include "cmd/command.h"
#include "cmd/demo.h"

#define ERASE "\r\033[K"

/* 71204 as "71,204". */
static char *grouped(int64_t number, char to[OW_UNIT_TEXT_SIZE])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRId64, number), at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            to[at++] = ',';
        to[at++] = digits[i];
    }
    to[at] = '\0';
    return to;
}

/* --- while it runs ------------------------------------------------------------------------------------- */

static bool shows_progress(void)
{
    return !ow_is_quiet() && isatty(STDERR_FILENO) == 1;
}

static void put(const struct ow_buf *line)
{
    if (!line->has_failed && write(STDERR_FILENO, line->data, line->size) < 0) {
        /* Nobody sees it: so be it. */
    }
}

void ow_demo_progress_show(const struct ow_demo_progress *progress)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
    char committed[OW_UNIT_TEXT_SIZE], accepted[OW_UNIT_TEXT_SIZE];
    if (!shows_progress())
        return;
    ow_buf_printf(&line, ERASE "%s: %s orders committed, %s accepted, relay killed %" PRId64 " times", progress->phase,
                  grouped(progress->committed, committed), grouped(progress->accepted, accepted), progress->kills);
    if (progress->left_ms >= 0)
        ow_buf_printf(&line, ", %" PRId64 " s left", (progress->left_ms + 999) / 1000);
    put(&line);
}

void ow_demo_progress_clear(void)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
    if (!shows_progress())
        return;
    ow_buf_add_text(&line, ERASE);
    put(&line);
}

/* --- at the end ---------------------------------------------------------------------------------------- */

struct row {
    const char *name, *key;
    int64_t values[OW_DEMO_SIDES];
};

enum { ROWS = 7 };

static void make_rows(const struct ow_demo_result *result, struct row rows[ROWS])
{
    const struct ow_demo_counts *o = &result->counts[OW_DEMO_ONEWRITE], *n = &result->counts[OW_DEMO_NAIVE];
    const struct row made[ROWS] = {
        {"orders committed", "committed", {o->committed, n->committed}},
        {"events accepted", "accepted", {o->accepted, n->accepted}},
        {"lost", "lost", {o->lost, n->lost}},
        {"ghosts", "ghosts", {o->ghosts, n->ghosts}},
        {"out of order", "out_of_order", {o->out_of_order, n->out_of_order}},
        {"duplicates", "duplicates", {o->duplicates, n->duplicates}},
        {"kills", "kills", {result->kills[OW_DEMO_ONEWRITE], result->kills[OW_DEMO_NAIVE]}},
    };
    for (int i = 0; i < ROWS; i++)
        rows[i] = made[i];
}

static void add_broken(struct ow_buf *to, int64_t count, const char *what)
{
    if (count != 0)
        ow_buf_printf(to, "%s%" PRId64 " %s", to->size ? ", " : "", count, what);
}

void ow_demo_broken(const struct ow_demo_result *result, struct ow_buf *to)
{
    const struct ow_demo_counts *counts = &result->counts[OW_DEMO_ONEWRITE];
    add_broken(to, counts->lost, "lost");
    add_broken(to, counts->ghosts, "ghosts");
    add_broken(to, counts->out_of_order, "out of order");
    add_broken(to, counts->duplicates, "duplicates");
    add_broken(to, result->waiting, "still in the outbox");
    if (counts->committed == 0)
        ow_buf_printf(to, "%sno order was committed", to->size ? ", " : "");
    if (result->kills[OW_DEMO_ONEWRITE] == 0)
        ow_buf_printf(to, "%sthe relay was never killed", to->size ? ", " : "");
}

static void add_verdict(const struct ow_demo_result *result, struct ow_buf *to)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf broken = {0};
    const struct ow_demo_counts *naive = &result->counts[OW_DEMO_NAIVE];
    char committed[OW_UNIT_TEXT_SIZE];
    ow_demo_broken(result, &broken);
    if (broken.size) {
        ow_buf_printf(to, "onewrite did not keep its word: %s.\n", broken.data);
        return;
    }
    ow_buf_printf(to,
                  "onewrite published each of %s committed orders exactly once and in order,\n"
                  "through %" PRId64 " kills of the relay and %" PRId64 " of writers; the shop that writes twice\n"
                  "lost %" PRId64 " and told of %" PRId64 " that never were.\n",
                  grouped(result->counts[OW_DEMO_ONEWRITE].committed, committed), result->kills[OW_DEMO_ONEWRITE],
                  result->writer_kills, naive->lost, naive->ghosts);
}

void ow_demo_table(const struct ow_demo_result *result, struct ow_buf *to)
{
    struct row rows[ROWS];
    char left[OW_UNIT_TEXT_SIZE], right[OW_UNIT_TEXT_SIZE];
    make_rows(result, rows);
    ow_buf_printf(to, "%-18s %12s %12s\n", "", "onewrite", "naive");
    for (int i = 0; i < ROWS; i++)
        ow_buf_printf(to, "%-18s %12s %12s\n", rows[i].name, grouped(rows[i].values[OW_DEMO_ONEWRITE], left),
                      grouped(rows[i].values[OW_DEMO_NAIVE], right));
    ow_buf_add_char(to, '\n');
    add_verdict(result, to);
}

void ow_demo_json(const struct ow_demo_result *result, struct ow_buf *to)
{
    struct row rows[ROWS];
    make_rows(result, rows);
    for (int side = 0; side < OW_DEMO_SIDES; side++) {
        ow_buf_add_text(to, side == OW_DEMO_ONEWRITE ? "{\"onewrite\":{" : "},\"naive\":{");
        for (int i = 0; i < ROWS; i++)
            ow_buf_printf(to, "%s\"%s\":%" PRId64, i ? "," : "", rows[i].key, rows[i].values[side]);
        if (side != OW_DEMO_ONEWRITE)
            continue;
        ow_buf_printf(to, ",\"writer_kills\":%" PRId64 ",\"wal_bytes_max\":%" PRId64, result->writer_kills,
                      result->wal_bytes_max);
        if (result->outbox_bytes_max < 0)
            ow_buf_add_text(to, ",\"outbox_bytes_max\":null");
        else
            ow_buf_printf(to, ",\"outbox_bytes_max\":%" PRId64, result->outbox_bytes_max);
    }
    ow_buf_add_text(to, "}}\n");
}
