/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routing of topics by a regular expression and a replacement, with the meaning that they have in Kafka
 * Connect's RegexRouter: if the expression matches the whole name, its first match in it (which may be shorter) is
 * replaced; else the name stays.
 *
 * Expressions are Java's. They are run by PCRE2, which has the same language but for details: those are translated,
 * or refused with what they are. Without PCRE2 in the build only (.*) and (?<name>.*) are there.
 * In a replacement $1 and ${name} are groups, and a backslash takes a character as it is.
 */
#ifndef OW_CODEC_DEBEZIUM_REGEX_H
#define OW_CODEC_DEBEZIUM_REGEX_H

#include "base/bytes.h"

struct ow_java_regex;

/* OW_ECONFIG with the place: an expression or a replacement that Java refuses too, or a construct that is not
   carried over. */
int ow_java_regex_new(struct ow_bytes pattern, struct ow_bytes replacement, struct ow_java_regex **ret,
                      struct ow_error *err) OW_MUST_CHECK;
void ow_java_regex_free(struct ow_java_regex *regex);

/* Appends the topic. OW_EINVALID: the expression takes too long on this name; OW_ENOMEM. One thread at a time. */
int ow_java_regex_route(struct ow_java_regex *regex, struct ow_bytes name, struct ow_buf *to,
                        struct ow_error *err) OW_MUST_CHECK;

#endif
