/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "server/http.h"

static const char *title_of(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

void ow_http_problem(struct ow_http_answer *answer, unsigned status, const char *format, ...)
{
    char detail[700];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    answer->status = status;
    answer->type = "application/problem+json";
    ow_buf_clear(&answer->body);
    ow_buf_printf(&answer->body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"",
                  title_of(status), status);
    ow_json_escape(&answer->body, ow_bytes_of(detail));
    ow_buf_add_text(&answer->body, "\"}\n");
}
