/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a struct ow_error (see onewrite/error.h for the table and the rules). */
#ifndef OW_BASE_ERROR_H
#define OW_BASE_ERROR_H

#include <onewrite/error.h>

#define OW_MUST_CHECK          __attribute__((warn_unused_result))
#define OW_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* Sets code and text (one line: a control character in it becomes a blank), returns `code`, so that `return
 * ow_error_set(err, …)` reads as one step. */
int ow_error_set(struct ow_error *err, int code, const char *format, ...) OW_PRINTF(3, 4);

/* Puts "prefix: " before the text that is already there; keeps the code and returns it. */
int ow_error_prefix(struct ow_error *err, const char *format, ...) OW_PRINTF(2, 3);

/* Makes an error from errno: ENOENT -> OW_ENOTFOUND, EACCES -> OW_EDENIED, ENOSPC -> OW_EFULL …,
   the text being "<formatted>: <strerror>". */
int ow_error_errno(struct ow_error *err, int errno_value, const char *format, ...) OW_PRINTF(3, 4);

/* The same two, with what they return in sight of the caller's compiler: analyzers then know that what comes after
   a failure does not happen. */
#define ow_error_set(err, code, ...)                           \
    __extension__({                                            \
        int ow_code_set = (code);                              \
        (void)(ow_error_set)((err), ow_code_set, __VA_ARGS__); \
        ow_code_set;                                           \
    })
#define ow_error_errno(err, errno_value, ...)                                    \
    __extension__({                                                              \
        int ow_code_errno = (ow_error_errno)((err), (errno_value), __VA_ARGS__); \
        if (ow_code_errno >= 0)                                                  \
            __builtin_unreachable();                                             \
        ow_code_errno;                                                           \
    })

#endif
