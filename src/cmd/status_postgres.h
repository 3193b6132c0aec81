/* SPDX-License-Identifier: Apache-2.0 */
/* What `onewrite status` shows of a PostgreSQL store beside its outbox: leases, and replication slots. */
#ifndef OW_CMD_STATUS_POSTGRES_H
#define OW_CMD_STATUS_POSTGRES_H

#include "cmd/output.h"
#include "cmd/places.h"
#include "store/store.h"

struct ow_lease_status {
    char name[64], holder[96];
    int64_t epoch, left_ms;
};

struct ow_slot_status {
    char name[64], by[16], state[48], position[48], why[64]; /* by: "" is not known */
    bool is_there;
    int64_t pid;                      /* 0: nobody reads from it */
    int64_t retained, lag;            /* bytes; -1: not known */
    int64_t inactive_ms, recorded_ms; /* how long ago; -1: not known */
};

struct ow_postgres_status {
    struct ow_lease_status *leases;
    size_t lease_count;
    struct ow_slot_status *slots;
    size_t slot_count;
};

/* `slots`: names that count beside the usual ones, separated by commas. Nothing is changed. */
int ow_postgres_status_read(struct ow_store *store, const char *slots, struct ow_postgres_status *ret,
                            struct ow_error *err) OW_MUST_CHECK;
void ow_postgres_status_done(struct ow_postgres_status *status);
/* Whether a relay holds a lease, or reads from a slot. */
bool ow_postgres_status_is_at_work(const struct ow_postgres_status *status);

enum { OW_LEASE_COLUMNS = 5, OW_SLOT_COLUMNS = 12 };
extern const struct ow_column ow_lease_columns[OW_LEASE_COLUMNS], ow_slot_columns[OW_SLOT_COLUMNS];
void ow_postgres_status_print_leases(struct ow_output *out, const char *place, const struct ow_postgres_status *status);
void ow_postgres_status_print_slots(struct ow_output *out, const char *place, const struct ow_postgres_status *status);
/* On standard error: slots that keep much for nobody, and such as cannot be used any more. */
void ow_postgres_status_warn(const struct ow_place *place, const struct ow_postgres_status *status);

#endif
