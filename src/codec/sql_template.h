/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL template: a statement with ${!FIELD} in it, where the fields are those of core/route.h. Each becomes a parameter
 * of the statement, so that what a message holds is bound and never pasted. A field in a string literal, a quoted name
 * or a comment is refused: it would not be a parameter there.
 *
 * Values are text, as the message has it: a JSON number stays the text that it was, and the database gives it the type
 * that the place in the statement has. An object or array is its JSON text. What is not there, or null, is NULL. A
 * payload that is no UTF-8 text is bytes.
 */
#ifndef OW_CODEC_SQL_TEMPLATE_H
#define OW_CODEC_SQL_TEMPLATE_H

#include "core/route.h"

enum { OW_SQL_PARAMETERS_MAX = 64 };

struct ow_sql_template {
    char *sql; /* owned: with $1 … or ?1 … */
    struct ow_route *fields;
    size_t count;
};

enum ow_sql_dialect { OW_SQL_NUMBERED_BY_DOLLAR, OW_SQL_NUMBERED_BY_QUESTION_MARK };

/* OW_EINVALID with the place in the text. */
int ow_sql_template_init(struct ow_sql_template *template, struct ow_bytes text, enum ow_sql_dialect dialect,
                         struct ow_error *err) OW_MUST_CHECK;
void ow_sql_template_done(struct ow_sql_template *template);
/* The value of parameter `i`: text or bytes in *ret (null bytes: NULL), pointing into the message or appended to
   `scratch`, at *ret_at in it (SIZE_MAX: not in it), since it may move. OW_EINVALID: the payload is no JSON; OW_ENOMEM.
 */
int ow_sql_template_value(const struct ow_sql_template *template, size_t i, const struct ow_message *message,
                          struct ow_buf *scratch, struct ow_bytes *ret, size_t *ret_at,
                          struct ow_error *err) OW_MUST_CHECK;

#endif
