/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers that there are; each is made with its options, which are copied, and connects nowhere yet. */
#ifndef OW_PATTERN_CONSUMER_HANDLERS_H
#define OW_PATTERN_CONSUMER_HANDLERS_H

#include "pattern/consumer/handler.h"

enum { OW_HANDLER_STATEMENTS_MAX = 32 };

/* SQL statements (codec/sql_template.h), in the transaction of the inbox, in their order. A class of failure is the
   SQLSTATE in PostgreSQL ("23505"), SQLite's own words there, "bad message" where the message lacks what is asked of it.
   OW_EINVALID with the place in the statement. */
int ow_handler_sql_new(const char *const *statements, size_t count, struct ow_handler **ret,
                       struct ow_error *err) OW_MUST_CHECK;

#endif
