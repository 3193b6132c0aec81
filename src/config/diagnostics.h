/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics: everything that is wrong with a file, not only the first thing. Each is one line:
 *
 *     orders.yaml:4:5: relays[0].form: unknown key; did you mean "from"?
 *     FILE:LINE:COLUMN: PATH: PROBLEM; REMEDY
 *
 * At most OW_DIAGNOSTICS_MAX are kept, the others are counted. Control characters become question marks,
 * so that somebody's data cannot break the line. Zeroed is empty.
 */
#ifndef OW_CONFIG_DIAGNOSTICS_H
#define OW_CONFIG_DIAGNOSTICS_H

#include "base/bytes.h"

#define OW_DIAGNOSTICS_MAX 50

struct ow_diagnostic {
    char *file; /* owned, as the others */
    char *path; /* "relays[0].from.store"; "" where the whole file is meant */
    char *text;
    size_t line, column; /* from 1; line 0: no place in the file */
};

struct ow_diagnostics {
    struct ow_diagnostic items[OW_DIAGNOSTICS_MAX];
    size_t count;
    size_t left_out; /* more than fitted */
};

void ow_diagnostics_done(struct ow_diagnostics *diagnostics); /* frees; empty afterwards */
void ow_diagnostics_add(struct ow_diagnostics *diagnostics, const char *file, size_t line, size_t column,
                        struct ow_bytes path, const char *format, ...) OW_PRINTF(6, 7);
static inline bool ow_diagnostics_is_full(const struct ow_diagnostics *diagnostics)
{
    return diagnostics->count == OW_DIAGNOSTICS_MAX;
}
/* By line and column; what stands at the same place stays in its order. */
void ow_diagnostics_sort(struct ow_diagnostics *diagnostics);
/* One line each, ended by a line break. */
void ow_diagnostics_print(const struct ow_diagnostics *diagnostics, struct ow_buf *to);

#endif
