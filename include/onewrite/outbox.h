/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox from inside an application: put a message beside your data, in your own transaction.
 *
 *     sqlite3_exec(db, "BEGIN IMMEDIATE", …);
 *     sqlite3_exec(db, "INSERT INTO orders …", …);
 *     struct ow_outbox_message placed = {.aggregate_type = "order", .aggregate_id = "4711", .type = "OrderPlaced",
 *                                        .payload = json, .payload_size = strlen(json)};
 *     if (ow_outbox_put_sqlite(db, &placed, NULL, &err) < 0)
 *         … ROLLBACK: neither the order nor the message …
 *     sqlite3_exec(db, "COMMIT", …);
 *
 * Link with `pkg-config --cflags --libs onewrite`. The table is made by `onewrite init sqlite:PATH`. A plain
 * INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) does the same, in any language;
 * the function adds an id that sorts by time (UUID version 7), the checks, and the form of the headers.
 *
 * Threads: a connection at a time, as SQLite itself. Nothing is kept between calls; nothing is logged.
 */
#ifndef ONEWRITE_OUTBOX_H
#define ONEWRITE_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include <onewrite/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3;

#define OW_OUTBOX_ID_SIZE 37

struct ow_outbox_header {
    const char *name;  /* UTF-8, not empty, no control characters */
    const char *value; /* UTF-8, no line breaks; NULL: null */
};

/* All strings end in NUL, are UTF-8 without control characters, and stay the caller's. */
struct ow_outbox_message {
    const char *id;             /* unique for ever; NULL: one is made */
    const char *aggregate_type; /* e.g. "order": the topic is made from it */
    const char *aggregate_id;   /* the key: messages of one aggregate keep their order */
    const char *type;           /* what happened, e.g. "OrderPlaced" */
    const void *payload;        /* bytes, passed on as they are; NULL: a tombstone */
    size_t payload_size;        /* at most 1 MiB */
    const struct ow_outbox_header *headers;
    size_t header_count;
    int64_t time_ms; /* milliseconds since 1970 UTC; 0: now */
};

/*
 * Inserts the message with the application's own connection: it commits and rolls back with whatever
 * transaction is open there. ret_id (may be NULL) is OW_OUTBOX_ID_SIZE bytes for the id that was made; it is
 * left alone if the message brought its own.
 *
 * 0, or with the text in err (may be NULL): OW_EINVALID, OW_ETOOBIG (the message; nothing was inserted),
 * OW_ENOTFOUND (there is no outbox table), OW_EBUSY (SQLite is busy; as for any statement), OW_EFULL, OW_EIO,
 * OW_EDENIED, OW_ENOMEM.
 */
int ow_outbox_put_sqlite(struct sqlite3 *db, const struct ow_outbox_message *message, char *ret_id,
                         struct ow_error *err) __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif
#endif
