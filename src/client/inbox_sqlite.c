/* SPDX-License-Identifier: Apache-2.0 */
#include <onewrite/inbox.h>
#include <sqlite3.h>

#include "base/units.h"
#include "client/failure.h"
#include "client/inbox_check.h"
#include "sql.h"

enum { BYTES_MAX = 64 * 1024 };

int ow_inbox_claim_sqlite(sqlite3 *db, const char *consumer, const char *id, struct ow_error *err)
{
    sqlite3_stmt *statement = NULL;
    int r = ow_inbox_check(consumer, id, BYTES_MAX, err);
    if (r < 0)
        return r;
    if (sqlite3_get_autocommit(db))
        return ow_error_set(err, OW_EUSAGE, "the inbox: no transaction is open; BEGIN one, and put the effect into it");
    int result = sqlite3_prepare_v2(db, ow_sql_inbox_claim, -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 1, consumer, -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 2, id, -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 3, ow_clock_wall_ms());
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    r = result == SQLITE_DONE ? sqlite3_changes(db) > 0 : ow_client_fail_sqlite(db, result, "the inbox", err);
    (void)sqlite3_finalize(statement);
    return r;
}
