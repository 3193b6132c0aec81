/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's log: one line an event, on standard error, as text, logfmt or JSON. Used by src/cmd and
 * what stands beside it, never by the layers below, which return errors or tell a listener.
 *
 *     ow_log(OW_LOG_WARN, "cannot reach the broker", "relay", name, "error", err.text, NULL);
 *
 * Keys and values come in pairs of strings, ended by NULL. Each line is one write(2): lines of several
 * threads do not mix. ow_log_setup() is called once, before threads start.
 */
#ifndef OW_BASE_LOG_H
#define OW_BASE_LOG_H

#include "base/bytes.h"

enum ow_log_level { OW_LOG_DEBUG, OW_LOG_INFO, OW_LOG_WARN, OW_LOG_ERROR };
enum ow_log_format { OW_LOG_AUTO, OW_LOG_TEXT, OW_LOG_LOGFMT, OW_LOG_JSON };

/* What the command line says. OW_LOG_AUTO: text on a terminal, else logfmt. */
void ow_log_setup(enum ow_log_level lowest, enum ow_log_format format);
/* What a configuration says: it counts where the command line left the default (OW_LOG_INFO, OW_LOG_AUTO). */
void ow_log_configure(enum ow_log_level lowest, enum ow_log_format format);
void ow_log(enum ow_log_level level, const char *message, ...) __attribute__((sentinel));

/* Appends `text` as the inside of a JSON string: quotes, backslashes and controls escaped, bytes that are
   not UTF-8 replaced by U+FFFD. */
void ow_json_escape(struct ow_buf *to, struct ow_bytes text);

#endif
