/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the journal: its file, its prepared statements, its records' headers, the locks beside it.
 *
 * One SQLite file in WAL mode, used by many processes at once. Records lie in one table in the order of
 * their `seq`, so that publishing is appending and costs what it costs to append to a plain table; a sparse
 * index (a row about every OW_JOURNAL_INDEX_STEP records of a partition) says where in that order a
 * partition's offset is to be found.
 */
#ifndef OW_BROKER_JOURNAL_FILE_H
#define OW_BROKER_JOURNAL_FILE_H

#include "base/lock.h"
#include "core/message.h"
#include "store/store.h"

enum {
    OW_JOURNAL_INDEX_STEP = 512,
    OW_JOURNAL_PARTITIONS_DEFAULT = 4,
    OW_JOURNAL_PARTITIONS_MAX = 1024,
};

enum ow_journal_mode { OW_JOURNAL_PUBLISH, OW_JOURNAL_JOIN, OW_JOURNAL_READ };

/* PUBLISH makes the file and its schema if they are missing; JOIN and READ want a journal that is there
   (OW_ENOTFOUND, OW_ECORRUPT, OW_EVERSION); READ never writes. */
int ow_journal_open(const char *path, enum ow_journal_mode mode, struct ow_store **ret,
                    struct ow_error *err) OW_MUST_CHECK;

/* A statement of this journal, prepared at the first use and kept in *slot. */
int ow_journal_statement(struct ow_store *store, struct ow_statement **slot, const char *sql,
                         struct ow_error *err) OW_MUST_CHECK;
/* Prepares at the first use and runs to its end. */
int ow_journal_run(struct ow_store *store, struct ow_statement **slot, const char *sql, const struct ow_value *values,
                   size_t count, struct ow_error *err) OW_MUST_CHECK;
/* The same for one integer; *ret is `otherwise` if there is no row or it is null. */
int ow_journal_integer(struct ow_store *store, struct ow_statement **slot, const char *sql,
                       const struct ow_value *values, size_t count, int64_t otherwise, int64_t *ret,
                       struct ow_error *err) OW_MUST_CHECK;

/* Appends headers in the form of 0001_journal.sql. */
void ow_journal_headers_write(struct ow_buf *to, const struct ow_header *headers, size_t count);
/* Reads that form: fills at most `max` headers, which point into `from`, and returns how many there are;
   OW_ECORRUPT if it is not that form. */
int ow_journal_headers_read(struct ow_bytes from, struct ow_header *headers, size_t max,
                            struct ow_error *err) OW_MUST_CHECK;

#endif
