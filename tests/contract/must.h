/* SPDX-License-Identifier: Apache-2.0 */
/* For contracts that are programs of their own: what does not hold ends them, with the promise and the line. */
#ifndef CONTRACT_MUST_H
#define CONTRACT_MUST_H

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

#define OW_COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define MUST(condition)    must((condition), #condition, __LINE__)
#define DO(call)           must_do((call), &err, __LINE__) /* with a struct ow_error err around it */

static const char *what; /* is promised */

static void must(bool holds, const char *text, int line)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s: line %d: does not hold: %s\n", what, line, text);
    exit(1);
}

static void must_do(int r, const struct ow_error *err, int line)
{
    if (r >= 0)
        return;
    (void)fprintf(stderr, "%s: line %d: %s\n", what, line, err->text);
    exit(1);
}

#endif
