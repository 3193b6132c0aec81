/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

int ow_store_run(struct ow_store *store, struct ow_statement *statement, const struct ow_value *values, size_t count,
                 struct ow_error *err)
{
    int r = store->ops->start(statement, values, count, err);
    while (r == 0 && (r = store->ops->row(statement, NULL, 0, err)) == 1)
        r = 0;
    return r < 0 ? r : 0;
}

int ow_store_execute(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                     struct ow_error *err)
{
    struct ow_statement *statement = NULL;
    int r = store->ops->prepare(store, sql, &statement, err);
    if (r == 0)
        r = ow_store_run(store, statement, values, count, err);
    store->ops->discard(statement);
    return r;
}

int ow_store_query_row(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                       struct ow_value *columns, size_t column_count, struct ow_buf *keep, struct ow_error *err)
{
    struct ow_statement *statement = NULL;
    int r = store->ops->prepare(store, sql, &statement, err);
    if (r == 0)
        r = store->ops->start(statement, values, count, err);
    if (r == 0)
        r = store->ops->row(statement, columns, column_count, err);
    size_t needed = 0;
    for (size_t i = 0; r == 1 && i < column_count; i++)
        needed += columns[i].bytes.size + 1;
    if (r == 1 && keep && !ow_buf_reserve(keep, needed))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; r == 1 && i < column_count; i++) {
        if (columns[i].kind != OW_VALUE_TEXT && columns[i].kind != OW_VALUE_BLOB)
            continue;
        size_t at = keep ? keep->size : 0;
        if (keep) { /* room was made above: it does not move */
            ow_buf_add_bytes(keep, columns[i].bytes);
            ow_buf_add_char(keep, '\0');
        }
        columns[i].bytes.data = keep ? keep->data + at : NULL;
    }
    store->ops->discard(statement);
    return r;
}

int ow_store_query_integer(struct ow_store *store, const char *sql, const struct ow_value *values, size_t count,
                           int64_t otherwise, int64_t *ret, struct ow_error *err)
{
    struct ow_value column = ow_value_null();
    int r = ow_store_query_row(store, sql, values, count, &column, 1, NULL, err);
    if (r < 0)
        return r;
    *ret = r == 1 && column.kind == OW_VALUE_INTEGER ? column.integer : otherwise;
    return 0;
}
