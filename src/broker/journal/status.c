/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/journal.h"

#include <stdlib.h>

#include "broker/journal/file.h"
#include "broker/journal/groups.h"
#include "sql.h"

/* The texts of a status, each in a block of its own, so that none moves. */
struct text {
    struct text *next;
    char bytes[];
};

struct reading {
    struct ow_store *store;
    const char *path;
    struct ow_journal_status *status;
    struct text *texts;
    bool has_failed; /* out of memory */
};

static const char *keep_text(struct reading *rd, struct ow_bytes bytes)
{
    struct text *text = malloc(sizeof *text + bytes.size + 1);
    if (!text) {
        rd->has_failed = true;
        return "";
    }
    if (bytes.size > 0)
        memcpy(text->bytes, bytes.data, bytes.size);
    text->bytes[bytes.size] = '\0';
    text->next = rd->texts;
    rd->texts = text;
    return text->bytes;
}

/* Room for one more at the end of *items: arrays grow at powers of two. NULL: out of memory. */
static void *append(struct reading *rd, void **items, size_t *count, size_t size)
{
    if ((*count & (*count - 1)) == 0) {
        void *grown = reallocarray(*items, *count ? *count * 2 : 1, size);
        if (!grown) {
            rd->has_failed = true;
            return NULL;
        }
        *items = grown;
    }
    return (char *)*items + (*count)++ * size;
}

typedef void add_row(struct reading *rd, const struct ow_value *row);

static void add_partition(struct reading *rd, const struct ow_value *row)
{
    struct ow_journal_status *s = rd->status;
    void *items = s->partitions;
    struct ow_journal_partition_status *p = append(rd, &items, &s->partition_count, sizeof *p);
    s->partitions = items;
    if (p)
        *p = (struct ow_journal_partition_status){keep_text(rd, row[0].bytes), row[1].integer, row[2].integer,
                                                  row[3].integer};
}

static void add_group(struct reading *rd, const struct ow_value *row)
{
    struct ow_journal_status *s = rd->status;
    void *items = s->groups;
    struct ow_journal_group_status *g = append(rd, &items, &s->group_count, sizeof *g);
    s->groups = items;
    if (!g)
        return;
    int64_t offset = row[4].integer, end = row[5].integer, first = row[8].integer;
    int64_t from = offset < first ? first : offset;
    *g = (struct ow_journal_group_status){.group = keep_text(rd, row[1].bytes),
                                          .topic = keep_text(rd, row[2].bytes),
                                          .partition = row[3].integer,
                                          .offset = offset,
                                          .lag = end > from ? end - from : 0,
                                          .time_ms = row[6].integer};
    if (ow_journal_member_is_alive(rd->path, row[7].integer))
        g->process = row[9].integer;
}

static void add_source(struct reading *rd, const struct ow_value *row)
{
    struct ow_journal_status *s = rd->status;
    void *items = s->sources;
    struct ow_journal_source_status *source = append(rd, &items, &s->source_count, sizeof *source);
    s->sources = items;
    if (source)
        *source = (struct ow_journal_source_status){keep_text(rd, row[0].bytes), keep_text(rd, row[1].bytes),
                                                    row[2].integer};
}

static int read_rows(struct reading *rd, const char *sql, size_t columns, add_row *add, struct ow_error *err)
{
    struct ow_value row[10];
    struct ow_statement *statement = NULL;
    int r = rd->store->ops->prepare(rd->store, sql, &statement, err);
    if (r == 0)
        r = rd->store->ops->start(statement, NULL, 0, err);
    while (r == 0 && (r = rd->store->ops->row(statement, row, columns, err)) == 1) {
        add(rd, row);
        r = rd->has_failed ? ow_error_set(err, OW_ENOMEM, "out of memory") : 0;
    }
    rd->store->ops->discard(statement);
    return r;
}

static int read_bytes(struct reading *rd, struct ow_error *err)
{
    const char *const sql[] = {ow_sql_journal_read_page_size, ow_sql_journal_read_page_count,
                               ow_sql_journal_read_free_count};
    int64_t values[3];
    for (size_t i = 0; i < 3; i++) {
        int r = ow_store_query_integer(rd->store, sql[i], NULL, 0, 0, &values[i], err);
        if (r < 0)
            return r;
    }
    rd->status->bytes_file = values[0] * values[1];
    rd->status->bytes_used = values[0] * (values[1] - values[2]);
    return 0;
}

static int read_all(struct reading *rd, struct ow_error *err)
{
    int r = rd->store->ops->begin(rd->store, OW_TRANSACTION_READ, err);
    if (r == 0)
        r = read_rows(rd, ow_sql_journal_read_status_partitions, 4, add_partition, err);
    if (r == 0)
        r = read_rows(rd, ow_sql_journal_read_status_groups, 10, add_group, err);
    if (r == 0)
        r = read_rows(rd, ow_sql_journal_read_status_sources, 3, add_source, err);
    if (r == 0)
        r = read_bytes(rd, err);
    rd->store->ops->rollback(rd->store);
    return r;
}

int ow_journal_status_read(const char *path, struct ow_journal_status *ret, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    *ret = (struct ow_journal_status){0};
    int r = ow_journal_open(path, OW_JOURNAL_READ, &store, err);
    if (r < 0)
        return r;
    struct reading rd = {.store = store, .path = path, .status = ret};
    r = read_all(&rd, err);
    ret->texts = rd.texts;
    if (r < 0)
        ow_journal_status_done(ret);
    return r;
}

void ow_journal_status_done(struct ow_journal_status *status)
{
    for (struct text *text = status->texts, *next; text; text = next) {
        next = text->next;
        free(text);
    }
    free(status->partitions);
    free(status->groups);
    free(status->sources);
    *status = (struct ow_journal_status){0};
}
