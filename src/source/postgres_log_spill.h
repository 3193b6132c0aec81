/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spill: transactions that the server streams while they are still in progress. Whether they commit is not known yet,
 * so what they hold is put aside: a little in memory, then in a file without a name, which is gone when the process
 * is. At the commit it is read back in its order, without what its rolled-back subtransactions wrote.
 * Private to src/source.
 */
#ifndef OW_SOURCE_POSTGRES_LOG_SPILL_H
#define OW_SOURCE_POSTGRES_LOG_SPILL_H

#include "base/bytes.h"

struct ow_pg_spilled;

struct ow_pg_spill {
    char *folder;                  /* owned */
    struct ow_pg_spilled *first;   /* transactions in progress, and the one that is read back */
    struct ow_pg_spilled *reading; /* NULL: none */
};

/* NULL: $TMPDIR, or /tmp. */
int ow_pg_spill_init(struct ow_pg_spill *spill, const char *folder, struct ow_error *err) OW_MUST_CHECK;
void ow_pg_spill_clear(struct ow_pg_spill *spill); /* drops every transaction */
void ow_pg_spill_done(struct ow_pg_spill *spill);

struct ow_pg_change {
    uint32_t xid, subxid; /* of the transaction, and of the part of it that wrote the change; may be the same */
    bool survives;        /* it counts also if `subxid` is rolled back */
    uint64_t lsn;         /* where it stands in the log */
    struct ow_bytes bytes;
};

/* OW_EFULL, OW_EIO, OW_ENOMEM. */
int ow_pg_spill_add(struct ow_pg_spill *spill, const struct ow_pg_change *change, struct ow_error *err) OW_MUST_CHECK;
/* `subxid` was rolled back; if it is `xid`, all of it. */
int ow_pg_spill_abort(struct ow_pg_spill *spill, uint32_t xid, uint32_t subxid, struct ow_error *err) OW_MUST_CHECK;

/* From now on ow_pg_spill_next() gives the changes of `xid`. False: there are none. */
bool ow_pg_spill_read(struct ow_pg_spill *spill, uint32_t xid);
/* 1: a change, its bytes and its LSN, until the next call; 0: that was all, and the transaction is dropped; < 0. */
int ow_pg_spill_next(struct ow_pg_spill *spill, struct ow_pg_change *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
