/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML: one document, within bounds, as libyaml's tree of nodes, every node with its line and column.
 * The bounds are checked on the stream of events before a tree is built. Aliases are allowed; a reader
 * descends by its own schema, so that an alias of its own ancestor leads nowhere.
 */
#ifndef OW_CONFIG_YAML_H
#define OW_CONFIG_YAML_H

#include <yaml.h>

#include "config/diagnostics.h"

#define OW_YAML_SIZE_MAX    ((size_t)1 << 20)
#define OW_YAML_DEPTH_MAX   32
#define OW_YAML_NODES_MAX   100000
#define OW_YAML_ANCHORS_MAX 1000 /* libyaml compares each with all before it */

struct ow_yaml {
    yaml_document_t document;
    bool is_loaded;
};

/* OW_ECONFIG with a diagnostic, OW_ENOMEM. After success the document has a root. */
int ow_yaml_load(struct ow_yaml *yaml, struct ow_bytes text, const char *name,
                 struct ow_diagnostics *diagnostics) OW_MUST_CHECK;
void ow_yaml_done(struct ow_yaml *yaml);

static inline struct ow_bytes ow_yaml_text(const yaml_node_t *scalar)
{
    return (struct ow_bytes){(const char *)scalar->data.scalar.value, scalar->data.scalar.length};
}
/* "a map", "a list", "a string", "a number", "nothing": for errors. */
const char *ow_yaml_kind(const yaml_node_t *node);
/* The value of a key in a map; NULL: there is none, or this is no map. */
yaml_node_t *ow_yaml_get(yaml_document_t *document, const yaml_node_t *map, const char *key);

#endif
