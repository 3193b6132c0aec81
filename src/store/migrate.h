/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations: the versions of a schema that we own, each an SQL file in sql/, applied in order, each in one
 * transaction with its version number (table onewrite_meta, in PostgreSQL onewrite.meta, name 'schema.<component>').
 */
#ifndef OW_STORE_MIGRATE_H
#define OW_STORE_MIGRATE_H

#include "store/store.h"

struct ow_migration {
    const char *name; /* "0001_outbox" */
    const char *sql;
};

struct ow_schema {
    const char *component; /* "outbox", "journal" */
    const char *dialect;   /* of the stores that it is for: their ops->name; NULL: "sqlite" */
    const struct ow_migration *migrations;
    size_t count; /* the newest version that this program knows */
};

extern const struct ow_schema ow_schema_outbox;  /* in the user's database */
extern const struct ow_schema ow_schema_journal; /* the journal's own file */

/* The version that the database has; 0: none. OW_EVERSION: newer than `schema`. */
int ow_schema_version(struct ow_store *store, const struct ow_schema *schema, int64_t *ret,
                      struct ow_error *err) OW_MUST_CHECK;
/* Brings the database to the newest version; *ret_applied counts the steps taken (0: nothing to do).
   Several processes may do it at once. */
int ow_schema_migrate(struct ow_store *store, const struct ow_schema *schema, size_t *ret_applied,
                      struct ow_error *err) OW_MUST_CHECK;
/* The whole schema as SQL that a person may run by hand. */
void ow_schema_print(const struct ow_schema *schema, struct ow_buf *to);
/* The identity of the database: a random text made with its first schema. */
int ow_schema_identity(struct ow_store *store, struct ow_buf *to, struct ow_error *err) OW_MUST_CHECK;

#endif
