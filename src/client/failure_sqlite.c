/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>

#include "client/failure.h"

int ow_client_fail_sqlite(sqlite3 *db, int result, const char *whose, struct ow_error *err)
{
    int code = OW_EIO;
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = OW_EBUSY;
        break;
    case SQLITE_FULL:
        code = OW_EFULL;
        break;
    case SQLITE_READONLY:
    case SQLITE_AUTH:
    case SQLITE_PERM:
        code = OW_EDENIED;
        break;
    case SQLITE_NOMEM:
        code = OW_ENOMEM;
        break;
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
        code = OW_EINVALID;
        break;
    case SQLITE_ERROR: /* what the statement names is not there */
        return ow_error_set(err, OW_ENOTFOUND, "%s: %s; make it with `onewrite init sqlite:PATH`", whose,
                            sqlite3_errmsg(db));
    default:
        break;
    }
    return ow_error_set(err, code, "%s: %s", whose, sqlite3_errmsg(db));
}
