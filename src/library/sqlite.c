/* SPDX-License-Identifier: Apache-2.0 */
/* How the function has left a connection of SQLite. */
#include <sqlite3.h>

#include "library/member.h"

/* What commits is ours alone: claims of messages whose turn has not come stand in the transaction. */
static int on_commit(void *context)
{
    struct ow_member *member = context;
    member->has_met_commit = member->has_met_commit || member->is_in_call;
    return member->is_in_call;
}

void ow_member_guard_sqlite(struct ow_member *member)
{
    member->has_met_commit = false;
    (void)sqlite3_commit_hook(member->connection.sqlite, on_commit, member);
}

int ow_member_look_sqlite(struct ow_member *member, struct ow_error *err)
{
    sqlite3 *db = member->connection.sqlite;
    /* One that still reads would keep its snapshot beyond the transaction. */
    for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s))
        if (sqlite3_stmt_busy(s))
            (void)sqlite3_reset(s);
    if (member->has_met_commit)
        return ow_error_set(err, OW_EUSAGE,
                            "the callback has tried to commit; the transaction is the consumer's, which commits it");
    return sqlite3_get_autocommit(db); /* rolled back: by SQLite itself, or by the function */
}

enum ow_consumer_answer ow_consumer_failed_sqlite(sqlite3 *db, struct ow_consumer_reply *reply)
{
    int code = sqlite3_errcode(db) & 0xff;
    ow_member_say(reply, sqlite3_errstr(code), sqlite3_errmsg(db));
    switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT:
        return OW_ANSWER_STORE;
    default:
        return OW_ANSWER_RETRY;
    }
}
