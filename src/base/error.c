/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    const char *text;
    enum ow_error_class class;
    int exit_status;
} errors[] = {
#define ROW(name, value, text, class, status) {name, text, class, status},
    OW_ERRORS(ROW)
#undef ROW
};

static int index_of(int code)
{
    int i = -code - 1;
    return i >= 0 && i < (int)(sizeof errors / sizeof errors[0]) ? i : -1;
}

const char *ow_error_name(int code)
{
    int i = index_of(code);
    return i >= 0 ? errors[i].text : code == 0 ? "no error" : "unknown error";
}

enum ow_error_class ow_error_class(int code)
{
    int i = index_of(code);
    return i >= 0 ? errors[i].class : OW_CLASS_BUG;
}

int ow_error_exit_status(int code)
{
    int i = index_of(code);
    return i >= 0 ? errors[i].exit_status : code == 0 ? 0 : 1;
}

/* Whatever is quoted in it, from a file or a server: an error is one line. */
static void make_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

int(ow_error_set)(struct ow_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        make_one_line(err->text);
    }
    return code;
}

int ow_error_prefix(struct ow_error *err, const char *format, ...)
{
    if (!err)
        return OW_EINTERNAL;
    char before[sizeof err->text];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(before, sizeof before, format, args);
    va_end(args);
    make_one_line(before);
    size_t n = strnlen(before, sizeof before - 3);
    memmove(err->text + n + 2, err->text, sizeof err->text - n - 2);
    memcpy(err->text, before, n);
    memcpy(err->text + n, ": ", 2);
    err->text[sizeof err->text - 1] = '\0';
    return err->code;
}

static int code_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
        return OW_ENOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return OW_EDENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return OW_EFULL;
    case ENOMEM:
        return OW_ENOMEM;
    case EAGAIN:
        return OW_EAGAIN;
    case EBUSY:
        return OW_EBUSY;
    case EPIPE:
        return OW_ECLOSED;
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return OW_EUNREACHABLE;
    default:
        return OW_EIO;
    }
}

int(ow_error_errno)(struct ow_error *err, int errno_value, const char *format, ...)
{
    int code = code_of_errno(errno_value);
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        int n = vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        char reason[128];
        const char *text = strerror_r(errno_value, reason, sizeof reason);
        if (n >= 0 && (size_t)n < sizeof err->text)
            (void)snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", text);
    }
    return code;
}
