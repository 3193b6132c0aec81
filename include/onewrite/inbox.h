/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inbox from inside an application that reads its broker itself: whether a message is new, in the transaction of
 * its effect.
 *
 *     sqlite3_exec(db, "BEGIN IMMEDIATE", …);
 *     int r = ow_inbox_claim_sqlite(db, "billing", id, &err);
 *     if (r == 1)
 *         … the effect …
 *     sqlite3_exec(db, r < 0 ? "ROLLBACK" : "COMMIT", …);
 *
 * Link with `pkg-config --cflags --libs onewrite`. The table is made by `onewrite init sqlite:PATH`; a plain INSERT
 * INTO onewrite_inbox (consumer, message_id, handled_at) … ON CONFLICT DO NOTHING does the same, in any language.
 *
 * Threads: a connection at a time, as SQLite itself. Nothing is kept between calls; nothing is logged.
 */
#ifndef ONEWRITE_INBOX_H
#define ONEWRITE_INBOX_H

#include <onewrite/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3;

/*
 * In the transaction that is open on the connection. 1: the message is new to this consumer, and claimed as soon as the
 * transaction commits; 0: it was handled, or set aside, before. consumer and id: UTF-8, not empty, at most 64 KiB.
 *
 * < 0, with the text in err (may be NULL): OW_EINVALID, OW_ETOOBIG (an argument), OW_EUSAGE (no transaction is open),
 * OW_ENOTFOUND (there is no inbox), OW_EBUSY (as for any statement), OW_EFULL, OW_EIO, OW_EDENIED, OW_ENOMEM.
 */
int ow_inbox_claim_sqlite(struct sqlite3 *db, const char *consumer, const char *id, struct ow_error *err)
    __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif
#endif
