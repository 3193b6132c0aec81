/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Import: from the configuration of Debezium Server (application.properties) or of a connector of Kafka Connect
 * (JSON) to ours (YAML), with the same outbox, slot, publication, connection, router and formats.
 *
 * Placeholders stay placeholders: ${DB_PASSWORD} and ${env:DB_PASSWORD} name the same variable afterwards.
 */
#ifndef OW_CODEC_DEBEZIUM_IMPORT_H
#define OW_CODEC_DEBEZIUM_IMPORT_H

#include "codec/debezium_options.h"

/* --- reading (debezium_import_read.c) -------------------------------------------------------------------- */

struct ow_property {
    struct ow_bytes name, value;
    bool is_used; /* somebody has asked for it */
};

struct ow_properties {
    struct ow_property *items; /* owned; a name stands once, with its last value */
    size_t count;
    struct ow_dbz_arena arena; /* of the texts */
    bool is_json;
};

/* A text that begins with { is JSON (the connector, or its "config"), else Java properties. OW_EINVALID with the
   line. */
int ow_properties_read(struct ow_bytes text, struct ow_properties *ret, struct ow_error *err) OW_MUST_CHECK;
void ow_properties_done(struct ow_properties *properties);
/* Null: not there. Marks it as used. */
struct ow_bytes ow_properties_get(struct ow_properties *properties, const char *name);

/* --- the import -------------------------------------------------------------------------------------------- */

struct ow_debezium_import {
    struct ow_buf yaml; /* our configuration */
    struct ow_buf lost; /* what could not be carried over, a line each; empty: nothing */
    struct ow_debezium_options options;
};

/* OW_ECONFIG: Debezium itself would stop at start, for this reason. OW_EINVALID: no such file. OW_EUNSUPPORTED:
   nothing in it that onewrite does: another database, another sink, no event router. */
int ow_debezium_import(struct ow_bytes text, struct ow_debezium_import *ret, struct ow_error *err) OW_MUST_CHECK;
/* The same, to go on behind what Debezium has published: `offsets` as codec/debezium_offset.h reads them; null: none.
   OW_EINVALID also: nothing can be taken over from them. */
int ow_debezium_import_behind(struct ow_bytes text, struct ow_bytes offsets, struct ow_debezium_import *ret,
                              struct ow_error *err) OW_MUST_CHECK;
void ow_debezium_import_done(struct ow_debezium_import *import);

#endif
