/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/units.h"

static enum ow_log_level lowest_level = OW_LOG_INFO;
static enum ow_log_format line_format = OW_LOG_LOGFMT;
static bool has_colour;

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colours[] = {"\033[2m", "", "\033[33m", "\033[31m"};

static enum ow_log_format format_asked; /* on the command line */

void ow_log_setup(enum ow_log_level lowest, enum ow_log_format format)
{
    bool is_terminal = isatty(STDERR_FILENO) == 1;
    const char *no_colour = getenv("NO_COLOR");
    lowest_level = lowest;
    format_asked = format;
    line_format = format != OW_LOG_AUTO ? format : is_terminal ? OW_LOG_TEXT : OW_LOG_LOGFMT;
    has_colour = is_terminal && line_format == OW_LOG_TEXT && !(no_colour && *no_colour);
}

void ow_log_configure(enum ow_log_level lowest, enum ow_log_format format)
{
    ow_log_setup(lowest_level == OW_LOG_INFO ? lowest : lowest_level,
                 format_asked == OW_LOG_AUTO ? format : format_asked);
}

void ow_json_escape(struct ow_buf *to, struct ow_bytes text)
{
    const char *s = text.data ? text.data : "", *end = s + text.size;
    while (s < end) {
        const char *run = s;
        while (s < end && (unsigned char)*s >= 0x20 && (unsigned char)*s < 0x7f && *s != '"' && *s != '\\')
            s++;
        ow_buf_add(to, run, (size_t)(s - run));
        if (s == end)
            break;
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            ow_buf_add_char(to, '\\');
            ow_buf_add_char(to, (char)c);
            s++;
        } else if (c == '\n' || c == '\r' || c == '\t') {
            ow_buf_add_text(to, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
            s++;
        } else if (c < 0x80) {
            ow_buf_printf(to, "\\u%04x", c);
            s++;
        } else {
            size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            if (length <= (size_t)(end - s) && ow_utf8_is_valid((struct ow_bytes){s, length})) {
                ow_buf_add(to, s, length);
                s += length;
            } else {
                ow_buf_add_text(to, "\xef\xbf\xbd");
                s++;
            }
        }
    }
}

static void add_value(struct ow_buf *line, const char *value)
{
    bool is_plain = *value != '\0';
    for (const char *s = value; *s && is_plain; s++)
        is_plain = (unsigned char)*s > 0x20 && (unsigned char)*s < 0x7f && *s != '"' && *s != '=' && *s != '\\';
    if (is_plain && line_format != OW_LOG_JSON) {
        ow_buf_add_text(line, value);
        return;
    }
    ow_buf_add_char(line, '"');
    ow_json_escape(line, ow_bytes_of(value));
    ow_buf_add_char(line, '"');
}

void ow_log(enum ow_log_level level, const char *message, ...)
{
    if (level < lowest_level)
        return;
    OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
    char now[OW_TIME_TEXT_SIZE];
    ow_time_format(ow_clock_wall_ms(), now);
    if (line_format == OW_LOG_TEXT)
        ow_buf_printf(&line, "%s%.8s %-5s %s", has_colour ? level_colours[level] : "", now + 11, level_names[level],
                      message);
    else if (line_format == OW_LOG_LOGFMT)
        ow_buf_printf(&line, "time=%s level=%s msg=", now, level_names[level]);
    else
        ow_buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", now, level_names[level]);
    if (line_format != OW_LOG_TEXT)
        add_value(&line, message);
    va_list args;
    va_start(args, message);
    for (const char *key; (key = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        ow_buf_printf(&line, line_format == OW_LOG_JSON ? ",\"%s\":" : " %s=", key);
        add_value(&line, value ? value : "");
    }
    va_end(args);
    if (line_format == OW_LOG_JSON)
        ow_buf_add_char(&line, '}');
    if (has_colour)
        ow_buf_add_text(&line, "\033[0m");
    ow_buf_add_char(&line, '\n');
    if (!line.has_failed && write(STDERR_FILENO, line.data, line.size) < 0) {
        /* A log that cannot be written is nobody's error: there is nowhere left to say so. */
    }
}
