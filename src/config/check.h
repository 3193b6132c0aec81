/* SPDX-License-Identifier: Apache-2.0 */
/* What the checks of relays and consumers share: errors at the place of a key, and names that stand for places. Private
   to src/config. */
#ifndef OW_CONFIG_CHECK_H
#define OW_CONFIG_CHECK_H

#include "config/config.h"
#include "config/read.h"

/* An entry while it is checked: its nodes are asked for again, for the places of errors. */
struct ow_check {
    struct ow_reader *reader;
    const yaml_node_t *node;
};

/* At group.key, or as near to it as the file has it. `group` may be NULL. */
void ow_check_report(const struct ow_check *check, const char *group, const char *key, const char *format, ...)
    OW_PRINTF(4, 5);
/* As it stands in the file: what a variable held is not repeated. */
struct ow_bytes ow_check_written(const struct ow_check *check, const char *group, const char *key);
/* The store or broker of this name; NULL: there is none, which is reported, or `name` is NULL. `what`: "store". */
const struct ow_config_place *ow_check_resolve(const struct ow_check *check, const char *group, const char *what,
                                               const char *name, const struct ow_config_place *places, size_t count);

#endif
