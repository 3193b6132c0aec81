/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guard: a relay reads what onewrite.publish() writes, and reads it alone. Relays by polling and relays by log do not
 * work on onewrite.outbox at the same time, which would publish every row twice. Many of one kind may (they share the
 * keys, or stand by); the second kind is refused.
 */
#ifndef OW_SOURCE_POSTGRES_GUARD_H
#define OW_SOURCE_POSTGRES_GUARD_H

#include "base/bytes.h"

struct pg_conn;

enum ow_pg_guard { OW_PG_GUARD_POLLING, OW_PG_GUARD_LOG };

/* Held by the session until it ends; taking it again changes nothing. A relay that has just been killed may hold it
   for a moment longer: waits for that for two seconds. OW_EINVALID: one of the other kind is at work. */
int ow_pg_guard_take(struct pg_conn *conn, const char *shown, enum ow_pg_guard kind,
                     struct ow_error *err) OW_MUST_CHECK;

/* *notice: NULL, or what to tell whoever reads by message, or rows of onewrite.outbox, while onewrite.publish() leaves
   messages elsewhere. */
int ow_pg_guard_look(struct pg_conn *conn, const char *shown, bool by_message, const char **notice,
                     struct ow_error *err) OW_MUST_CHECK;

#endif
