/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the import share. Private to it. */
#ifndef OW_CODEC_DEBEZIUM_IMPORT_PARTS_H
#define OW_CODEC_DEBEZIUM_IMPORT_PARTS_H

#include "codec/debezium_import.h"

struct ow_import_set {
    const char *name;
    struct ow_bytes value;
};

#define OW_IMPORT_SET_MAX 64
struct ow_import {
    struct ow_debezium_import *to;
    struct ow_properties properties;
    bool has_router, skips_updates;
    struct ow_bytes predicate, negate;           /* of the router */
    struct ow_bytes offsets;                     /* null: none are given */
    struct ow_import_set set[OW_IMPORT_SET_MAX]; /* options of the router that are said */
    size_t set_count;
};

void ow_import_lose(struct ow_import *in, const char *name, const char *why);
void ow_import_lose_bytes(struct ow_import *in, struct ow_bytes name, const char *why);
/* A property by its name in Kafka Connect; in the Server's file it has that prefix. */
struct ow_bytes ow_import_get(struct ow_import *in, const char *server_prefix, const char *name);
/* The same, its full name. */
struct ow_bytes ow_import_name(struct ow_import *in, const char *server_prefix, const char *name);
/* Puts values in the place of the Server's placeholders, but in connections (debezium_import_expand.c). */
int ow_import_expand(struct ow_import *in, struct ow_error *err) OW_MUST_CHECK;
/* Takes the next item off a list with commas; false: there is none. */
bool ow_import_next_item(struct ow_bytes *list, struct ow_bytes *ret);

/* Writes the YAML (debezium_import_write.c), the brokers by the second (debezium_import_kafka.c), the tables by the
   third (debezium_import_tables.c). */
int ow_import_write(struct ow_import *in, struct ow_error *err) OW_MUST_CHECK;
void ow_import_write_broker(struct ow_import *in);
int ow_import_write_tables(struct ow_import *in, struct ow_error *err) OW_MUST_CHECK;
/* A scalar between double quotes, with Debezium's placeholders made ours and every other dollar sign doubled.
   `is_url`: other letters than those of a URL become %XX. Placeholders that have no counterpart are told. */
void ow_import_write_scalar(struct ow_import *in, struct ow_bytes value, bool is_url);
/* The same, without the quotes, to `to`. */
void ow_import_add_scalar(struct ow_import *in, struct ow_buf *to, struct ow_bytes value, bool is_url);
bool ow_import_has_placeholder(struct ow_bytes value);

#endif
