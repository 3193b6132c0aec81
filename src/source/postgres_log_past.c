/* SPDX-License-Identifier: Apache-2.0 */
#include "source/postgres_log_past.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/mutant.h"

void ow_pg_past_done(struct ow_pg_past *past)
{
    for (size_t i = 0; i < past->count; i++)
        free(past->attempts[i].rows);
    free(past->tables);
    *past = (struct ow_pg_past){0};
}

static void drop(struct ow_pg_past *past, size_t i)
{
    free(past->attempts[i].rows);
    past->count--;
    memmove(&past->attempts[i], &past->attempts[i + 1], (past->count - i) * sizeof *past->attempts);
}

/* --- as text ------------------------------------------------------------------------------------------ */

void ow_pg_past_format(const struct ow_pg_past *past, struct ow_buf *to)
{
    if (past->count > 0)
        ow_buf_printf(to, " %s", past->tables);
    for (size_t i = 0; i < past->count; i++) {
        const struct ow_pg_attempt *a = &past->attempts[i];
        char before[OW_POSITION_TEXT_SIZE];
        ow_buf_printf(to, " %" PRIu64 " %" PRIu64 " %s %s", a->lsn, a->place, ow_position_format(a->before, before),
                      a->rows);
    }
}

/* What stands before the next blank; null at the end. */
static struct ow_bytes next_word(struct ow_bytes *rest)
{
    while (rest->size > 0 && *rest->data == ' ')
        *rest = (struct ow_bytes){rest->data + 1, rest->size - 1};
    if (rest->size == 0)
        return OW_NULL_BYTES;
    const char *blank = memchr(rest->data, ' ', rest->size);
    struct ow_bytes word = {rest->data, blank ? (size_t)(blank - rest->data) : rest->size};
    *rest = (struct ow_bytes){rest->data + word.size, rest->size - word.size};
    return word;
}

/* 1: an attempt; 0: it cannot be understood. */
static int read_attempt(struct ow_bytes *rest, struct ow_pg_attempt *ret, struct ow_error *err)
{
    struct ow_position lsn, place, before;
    struct ow_bytes words[4];
    for (int i = 0; i < 4; i++)
        words[i] = next_word(rest);
    if (!words[3].data || ow_position_parse(words[0], &lsn, NULL) < 0 ||
        ow_position_parse(words[1], &place, NULL) < 0 || ow_position_parse(words[2], &before, NULL) < 0 || lsn.minor ||
        place.minor)
        return 0;
    *ret = (struct ow_pg_attempt){lsn.major, place.major, before, ow_bytes_text(words[3])};
    return ret->rows ? 1 : ow_error_set(err, OW_ENOMEM, "out of memory");
}

int ow_pg_past_parse(struct ow_bytes text, struct ow_pg_past *past, struct ow_error *err)
{
    ow_pg_past_done(past);
    struct ow_bytes tables = next_word(&text);
    int r = 1;
    if (tables.data && !(past->tables = ow_bytes_text(tables)))
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    while (r == 1 && text.size > 0) {
        r = past->count < OW_PG_PAST_MAX ? read_attempt(&text, &past->attempts[past->count], err) : 0;
        past->count += r == 1;
    }
    if (r != 1 || past->count == 0)
        ow_pg_past_done(past);
    return r < 0 ? r : 0;
}

/* --- what they have come to --------------------------------------------------------------------------- */

/* An attempt leaves out what those before it have published: where it came as far, they say nothing more. */
static void drop_outdone(struct ow_pg_past *past)
{
    uint64_t furthest = 0;
    for (size_t i = past->count; i-- > 0;) {
        if (past->attempts[i].place <= furthest)
            drop(past, i);
        else
            furthest = past->attempts[i].place;
    }
}

enum ow_pg_past_end ow_pg_past_settle(struct ow_pg_past *past, struct ow_position record)
{
    const struct ow_pg_attempt *last = past->count > 0 ? &past->attempts[past->count - 1] : NULL;
    bool is_judged = !last || last->place > 0;
    bool is_of_before = ow_position_is_zero(record) || (last && ow_position_compare(record, last->before) == 0);
    if (!is_judged && !is_of_before && record.major >= last->lsn && !OW_MUTANT(PAST_THROUGH_UNSEEN))
        return OW_PG_PAST_THROUGH;
    /* Of an earlier one only where somebody who had been followed has put it back. */
    for (size_t i = 0; i < past->count && !is_of_before && !OW_MUTANT(PAST_FORGOTTEN); i++) {
        struct ow_pg_attempt *a = &past->attempts[i];
        if (record.major == a->lsn - 1 && record.minor > a->place)
            a->place = record.minor;
    }
    drop_outdone(past);
    return OW_PG_PAST_AGAIN;
}

int ow_pg_past_begin(struct ow_pg_past *past, uint64_t lsn, struct ow_position before, const char *rows,
                     const char *tables, struct ow_error *err)
{
    if (past->tables && strcmp(past->tables, tables) != 0)
        ow_pg_past_done(past);
    if (past->count == OW_PG_PAST_MAX)
        drop(past, 0);
    if (!past->tables && !(past->tables = strdup(tables)))
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    struct ow_pg_attempt attempt = {lsn, 0, before, strdup(rows)};
    if (!attempt.rows)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    past->attempts[past->count++] = attempt;
    return 0;
}

bool ow_pg_past_has(const struct ow_pg_past *past, uint64_t place, const char *seen)
{
    for (size_t i = 0; i < past->count && seen[i]; i++)
        if ((seen[i] == '1' || OW_MUTANT(PAST_BY_PLACE)) && place <= past->attempts[i].place)
            return true;
    return false;
}
