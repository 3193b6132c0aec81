/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/file.h"

#include "sql.h"
#include "store/migrate.h"

/* Larger pages than SQLite's own: records are appended in batches, and fewer, larger pages make that about
   a fifth cheaper. */
enum { PAGE_BYTES = 8192 };

static int check_schema(struct ow_store *store, const char *path, enum ow_journal_mode mode, struct ow_error *err)
{
    int64_t version = 0;
    size_t applied = 0;
    int r = ow_schema_version(store, &ow_schema_journal, &version, err);
    if (r < 0)
        return ow_error_prefix(err, "%s", path);
    if (mode == OW_JOURNAL_PUBLISH)
        return ow_schema_migrate(store, &ow_schema_journal, &applied, err);
    if (version > 0)
        return 0;
    int64_t tables = 0;
    r = ow_store_query_integer(store, ow_sql_schema_count_tables, NULL, 0, 0, &tables, err);
    if (r < 0)
        return ow_error_prefix(err, "%s", path);
    if (tables == 0) /* somebody may be about to make it one */
        return ow_error_set(err, OW_EUNREACHABLE,
                            "%s: an empty database, not a journal yet; nobody has published to it", path);
    return ow_error_set(err, OW_ECORRUPT, "%s: an SQLite database, but not a journal", path);
}

int ow_journal_open(const char *path, enum ow_journal_mode mode, struct ow_store **ret, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    struct ow_sqlite_options options = {
        .path = path,
        .mode = mode == OW_JOURNAL_PUBLISH ? OW_SQLITE_CREATE
                : mode == OW_JOURNAL_JOIN  ? OW_SQLITE_MUST_EXIST
                                           : OW_SQLITE_READ_ONLY,
        .is_durable = mode != OW_JOURNAL_READ,
        .wants_wal = mode == OW_JOURNAL_PUBLISH,
        .page_bytes = PAGE_BYTES,
    };
    int r = ow_sqlite_open(&options, &store, err);
    if (r == 0)
        r = check_schema(store, path, mode, err);
    if (r < 0)
        return r;
    *ret = store;
    store = NULL;
    return 0;
}

int ow_journal_statement(struct ow_store *store, struct ow_statement **slot, const char *sql, struct ow_error *err)
{
    return *slot ? 0 : store->ops->prepare(store, sql, slot, err);
}

int ow_journal_run(struct ow_store *store, struct ow_statement **slot, const char *sql, const struct ow_value *values,
                   size_t count, struct ow_error *err)
{
    int r = ow_journal_statement(store, slot, sql, err);
    return r < 0 ? r : ow_store_run(store, *slot, values, count, err);
}

int ow_journal_integer(struct ow_store *store, struct ow_statement **slot, const char *sql,
                       const struct ow_value *values, size_t count, int64_t otherwise, int64_t *ret,
                       struct ow_error *err)
{
    struct ow_value column = ow_value_null();
    int r = ow_journal_statement(store, slot, sql, err);
    if (r == 0)
        r = store->ops->start(*slot, values, count, err);
    if (r == 0)
        r = store->ops->row(*slot, &column, 1, err);
    if (*slot)
        store->ops->stop(*slot);
    if (r < 0)
        return r;
    *ret = column.kind == OW_VALUE_INTEGER ? column.integer : otherwise;
    return 0;
}

/* --- headers ----------------------------------------------------------------------------------------- */

static void write_size(struct ow_buf *to, uint32_t size)
{
    char bytes[4] = {(char)(size & 0xff), (char)(size >> 8 & 0xff), (char)(size >> 16 & 0xff), (char)(size >> 24)};
    ow_buf_add(to, bytes, sizeof bytes);
}

void ow_journal_headers_write(struct ow_buf *to, const struct ow_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        write_size(to, (uint32_t)headers[i].name.size);
        ow_buf_add_bytes(to, headers[i].name);
        write_size(to, headers[i].value.data ? (uint32_t)headers[i].value.size : UINT32_MAX);
        ow_buf_add_bytes(to, headers[i].value);
    }
}

/* Takes a size and that many bytes from the front. False: there are not as many. */
static bool read_sized(struct ow_bytes *from, struct ow_bytes *ret)
{
    if (from->size < 4)
        return false;
    const unsigned char *at = (const unsigned char *)from->data;
    uint32_t size = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    from->data += 4;
    from->size -= 4;
    *ret = OW_NULL_BYTES;
    if (size == UINT32_MAX)
        return true;
    if (size > from->size)
        return false;
    *ret = (struct ow_bytes){from->data, size};
    from->data += size;
    from->size -= size;
    return true;
}

int ow_journal_headers_read(struct ow_bytes from, struct ow_header *headers, size_t max, struct ow_error *err)
{
    size_t count = 0;
    while (from.size > 0) {
        struct ow_header header;
        if (!read_sized(&from, &header.name) || !header.name.data || !read_sized(&from, &header.value))
            return ow_error_set(err, OW_ECORRUPT, "the headers of a record in the journal cannot be read");
        if (count < max)
            headers[count] = header;
        count++;
    }
    return (int)count;
}
