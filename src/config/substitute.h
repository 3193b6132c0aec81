/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Substitution in one scalar of a configuration, after YAML was parsed, so that a value can never change
 * the structure of the file:
 *
 *     ${VAR}            the variable; unset is an error
 *     ${VAR:-default}   the default where the variable is unset or empty; it may hold ${…} itself
 *     ${VAR:?message}   an error with this message where it is unset or empty
 *     ${file:PATH}      what the file holds, without one line break at its end
 *     $$                a dollar sign
 *
 * In a template ${!field} and $$ stay as they are, for core/route.h reads them. Any other dollar sign is
 * an error. Errors name variables and files, never what they hold.
 */
#ifndef OW_CONFIG_SUBSTITUTE_H
#define OW_CONFIG_SUBSTITUTE_H

#include "base/bytes.h"

#define OW_SUBSTITUTE_SIZE_MAX  ((size_t)16 << 10) /* of the result */
#define OW_SUBSTITUTE_DEPTH_MAX 8                  /* defaults within defaults */

/* Where values come from; the fuzzer has its own. */
struct ow_substitution_world {
    const char *(*get_variable)(void *context, const char *name); /* NULL: not set */
    /* Appends the content; an error if it is larger than size_max. */
    int (*read_file)(void *context, const char *path, size_t size_max, struct ow_buf *to, struct ow_error *err);
    void *context;
};
extern const struct ow_substitution_world ow_substitution_world_real; /* the environment and the file system */

/* Appends the result to `to`. OW_EINVALID, OW_ETOOBIG, OW_ENOMEM or what reading a file gave. */
int ow_substitute(struct ow_bytes text, bool is_template, const struct ow_substitution_world *world, struct ow_buf *to,
                  struct ow_error *err) OW_MUST_CHECK;

/* Appends a whole file, at most size_max bytes (OW_ETOOBIG). */
int ow_config_read_file(const char *path, size_t size_max, struct ow_buf *to, struct ow_error *err) OW_MUST_CHECK;

#endif
