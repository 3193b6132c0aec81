/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON document as a tree: private to the expansion of payloads, which has to see all of it before it knows the
   type of any part. Within the limits of the reader that Debezium has: 1,000 levels, 1,000 digits. */
#ifndef OW_CODEC_DEBEZIUM_TREE_H
#define OW_CODEC_DEBEZIUM_TREE_H

#include "codec/debezium_value.h"

enum ow_dbz_node_kind {
    OW_DBZ_NODE_NULL,
    OW_DBZ_NODE_BOOLEAN,
    OW_DBZ_NODE_INT32,
    OW_DBZ_NODE_INT64,
    OW_DBZ_NODE_BIG, /* an integer beyond 64 bits; no value */
    OW_DBZ_NODE_DOUBLE,
    OW_DBZ_NODE_STRING,
    OW_DBZ_NODE_ARRAY,
    OW_DBZ_NODE_OBJECT,
};

struct ow_dbz_node {
    enum ow_dbz_node_kind kind;
    struct ow_dbz_value value;  /* of a scalar */
    struct ow_bytes name;       /* of a member of an object */
    struct ow_dbz_node **items; /* of an array or object; names are unique */
    size_t count;
};

/* The first value of the text. NULL: it is not JSON, or over a limit; *ret_why (static) says so. */
struct ow_dbz_node *ow_dbz_tree_read(struct ow_dbz_arena *arena, struct ow_bytes text, const char **ret_why);

#endif
