/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader: goes through a YAML document by the tables of options, fills structs, and reports everything that
 * is wrong. It knows no key by name. Private to src/config.
 */
#ifndef OW_CONFIG_READ_H
#define OW_CONFIG_READ_H

#include "config/diagnostics.h"
#include "config/option.h"
#include "config/substitute.h"
#include "config/yaml.h"

struct ow_reader {
    yaml_document_t *document;
    const struct ow_substitution_world *world;
    struct ow_diagnostics *diagnostics;
    const char *name;    /* of the file */
    struct ow_buf path;  /* "relays[0].from" */
    struct ow_buf value; /* of the scalar read last */
    bool has_no_memory;
};
void ow_reader_done(struct ow_reader *reader);

/* Reports at the place of a node, under the reader's path. */
void ow_reader_report(struct ow_reader *reader, const yaml_node_t *at, const char *format, ...) OW_PRINTF(3, 4);

/* Go down by a key or an index; leave() takes what enter() returned. */
size_t ow_reader_enter(struct ow_reader *reader, struct ow_bytes key);
size_t ow_reader_enter_index(struct ow_reader *reader, size_t index);
void ow_reader_leave(struct ow_reader *reader, size_t path);

/* The pairs of a map whose keys are plain words said once; the others are reported and passed over. Ends
   early when the diagnostics are full. */
struct ow_reader_pairs {
    const yaml_node_t *map;
    const yaml_node_pair_t *next;
};
struct ow_reader_pair {
    const yaml_node_t *key, *value;
    struct ow_bytes name;
};
struct ow_reader_pairs ow_reader_pairs(const yaml_node_t *map);
bool ow_reader_next(struct ow_reader *reader, struct ow_reader_pairs *pairs, struct ow_reader_pair *ret);

/* The value of a scalar after substitution, valid until the next call. False: reported. */
bool ow_reader_scalar(struct ow_reader *reader, const yaml_node_t *node, const struct ow_option *option,
                      struct ow_bytes *ret);
/* Reads a map by its table. False: it is no map; whatever else is wrong is reported only. */
bool ow_reader_group(struct ow_reader *reader, const yaml_node_t *node, const struct ow_option *table, void *base);

#endif
