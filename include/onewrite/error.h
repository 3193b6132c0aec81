/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: one table of codes, one small struct that carries a code and a line of text.
 *
 * A fallible function returns 0 (or a count) or a negative OW_E… code, and fills the struct ow_error
 * that it was given where the failure happened. The struct is the caller's; NULL is allowed where the
 * text is not wanted. Nothing here allocates, and everything may be called from any thread.
 */
#ifndef ONEWRITE_ERROR_H
#define ONEWRITE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* What may be done about an error. The class decides whether an operation is tried again, never the text. */
enum ow_error_class {
    OW_CLASS_RETRYABLE, /* the same call may succeed later: busy, unreachable, full */
    OW_CLASS_PERMANENT, /* the same call will fail again until a person or a program changes something */
    OW_CLASS_BUG,       /* onewrite broke its own rules */
};

/* X(name, value, text, class, exit status of the program) */
#define OW_ERRORS(X)                                                         \
    X(OW_EINVALID, -1, "invalid value", OW_CLASS_PERMANENT, 1)               \
    X(OW_EUSAGE, -2, "wrong usage", OW_CLASS_PERMANENT, 2)                   \
    X(OW_ECONFIG, -3, "bad configuration", OW_CLASS_PERMANENT, 78)           \
    X(OW_ENOTFOUND, -4, "no such thing", OW_CLASS_PERMANENT, 4)              \
    X(OW_EUNREACHABLE, -5, "cannot be reached", OW_CLASS_RETRYABLE, 69)      \
    X(OW_EBUSY, -6, "busy", OW_CLASS_RETRYABLE, 69)                          \
    X(OW_EDENIED, -7, "not permitted", OW_CLASS_PERMANENT, 77)               \
    X(OW_EFULL, -8, "no space left", OW_CLASS_RETRYABLE, 1)                  \
    X(OW_EIO, -9, "input or output failed", OW_CLASS_RETRYABLE, 1)           \
    X(OW_ECORRUPT, -10, "not what it should be", OW_CLASS_PERMANENT, 1)      \
    X(OW_EVERSION, -11, "written by a newer version", OW_CLASS_PERMANENT, 1) \
    X(OW_ETOOBIG, -12, "over a limit", OW_CLASS_PERMANENT, 1)                \
    X(OW_ENOMEM, -13, "out of memory", OW_CLASS_RETRYABLE, 1)                \
    X(OW_EAGAIN, -14, "not now", OW_CLASS_RETRYABLE, 1)                      \
    X(OW_ECLOSED, -15, "closed by the other side", OW_CLASS_PERMANENT, 1)    \
    X(OW_EUNSUPPORTED, -16, "not supported", OW_CLASS_PERMANENT, 1)          \
    X(OW_EDIFFERENT, -17, "a difference was found", OW_CLASS_PERMANENT, 3)   \
    X(OW_ESTANDBY, -18, "another one is at work", OW_CLASS_RETRYABLE, 69)    \
    X(OW_EINTERNAL, -19, "internal error", OW_CLASS_BUG, 1)

enum ow_error_code {
    OW_OK = 0,
#define OW_ERROR_ENUM(name, value, text, class, status) name = value,
    OW_ERRORS(OW_ERROR_ENUM)
#undef OW_ERROR_ENUM
};

struct ow_error {
    int code;       /* an enum ow_error_code; 0 while nothing failed */
    char text[508]; /* one line, no full stop: what failed, with what, what to do; cut off if longer */
};

/* "no space left" for OW_EFULL; "unknown error" for a value that is no code. */
const char *ow_error_name(int code);
enum ow_error_class ow_error_class(int code);
/* The exit status of the program that ends with this error (sysexits where one fits). */
int ow_error_exit_status(int code);

#ifdef __cplusplus
}
#endif
#endif
