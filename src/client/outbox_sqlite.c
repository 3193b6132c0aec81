/* SPDX-License-Identifier: Apache-2.0 */
#include <onewrite/outbox.h>
#include <sqlite3.h>

#include "base/uuid.h"
#include "client/failure.h"
#include "client/outbox_check.h"
#include "codec/json.h"
#include "sql.h"

enum parameter { ID = 1, AGGREGATE_TYPE, AGGREGATE_ID, TYPE, PAYLOAD, HEADERS, TIME };

static int bind_text(sqlite3_stmt *statement, enum parameter i, struct ow_bytes text)
{
    return sqlite3_bind_text64(statement, (int)i, text.data, text.size, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_all(sqlite3_stmt *statement, const struct ow_message *m, struct ow_bytes headers)
{
    int result = bind_text(statement, ID, m->id);
    if (result == SQLITE_OK)
        result = bind_text(statement, AGGREGATE_TYPE, m->aggregate_type);
    if (result == SQLITE_OK)
        result = bind_text(statement, AGGREGATE_ID, m->aggregate_id);
    if (result == SQLITE_OK)
        result = bind_text(statement, TYPE, m->type);
    /* Text stays text, for people who look with SQL; what is not UTF-8 is a blob. */
    if (result == SQLITE_OK && m->payload.data && ow_utf8_is_valid(m->payload))
        result = bind_text(statement, PAYLOAD, m->payload);
    else if (result == SQLITE_OK && m->payload.data)
        result = sqlite3_bind_blob64(statement, PAYLOAD, m->payload.data, m->payload.size, SQLITE_STATIC);
    if (result == SQLITE_OK && m->header_count)
        result = bind_text(statement, HEADERS, headers);
    if (result == SQLITE_OK && m->time_ms)
        result = sqlite3_bind_int64(statement, TIME, m->time_ms);
    return result;
}

int ow_outbox_put_sqlite(sqlite3 *db, const struct ow_outbox_message *message, char *ret_id, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf headers_text = {0};
    struct ow_header headers[OW_OUTBOX_HEADERS_MAX];
    struct ow_message m = {0};
    struct ow_outbox_message with_id = *message;
    char id[OW_UUID_TEXT_SIZE] = "";
    bool makes_id = !message->id;
    int r = 0;
    if (makes_id) {
        r = ow_uuid_v7(id, err);
        with_id.id = id;
    }
    if (r == 0)
        r = ow_outbox_check(&with_id, &m, headers, err);
    if (r < 0)
        return r;
    ow_json_write_headers(&headers_text, headers, m.header_count);
    r = ow_buf_check(&headers_text, err);
    if (r < 0)
        return r;
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(db, ow_sql_outbox_insert, -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = bind_all(statement, &m, ow_buf_bytes(&headers_text));
    if (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_DONE)
        result = SQLITE_OK;
    r = result == SQLITE_OK ? 0 : ow_client_fail_sqlite(db, result, "the outbox", err);
    (void)sqlite3_finalize(statement);
    if (r == 0 && makes_id && ret_id)
        memcpy(ret_id, id, sizeof id);
    return r;
}
