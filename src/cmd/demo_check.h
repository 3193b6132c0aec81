/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo's checker: what a shop committed, against what its journal holds. Pure: it is told events and
 * orders, from wherever they were read, and counts.
 *
 *   lost          a committed order that no event speaks of
 *   ghost         an event of no committed order: its id is unknown, or customer or number are not the order's
 *   duplicate     an event of a committed order that was accepted before
 *   out of order  an event, the first of its order, that comes after one of a later order of the same customer
 *
 * The orders of a customer are numbered from 1 by transactions that serialise on the customer's row, so the
 * numbers are the order of the commits.
 */
#ifndef OW_CMD_DEMO_CHECK_H
#define OW_CMD_DEMO_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct ow_demo_order {
    int64_t id, customer, number;
};

struct ow_demo_orders { /* grows; zeroed at the start */
    struct ow_demo_order *items;
    size_t count, capacity;
};

struct ow_demo_counts {
    int64_t committed, accepted; /* orders; events, all of them */
    int64_t lost, ghosts, out_of_order, duplicates;
};

void ow_demo_orders_done(struct ow_demo_orders *orders);
int ow_demo_orders_add(struct ow_demo_orders *orders, struct ow_demo_order order, struct ow_error *err) OW_MUST_CHECK;

/* The order in a payload as the shops write it; what is no such object, or lacks one of the three, is
   OW_EINVALID. */
int ow_demo_order_read(struct ow_bytes payload, struct ow_demo_order *ret, struct ow_error *err) OW_MUST_CHECK;

/* `events` in the order of their acceptance (within a customer), `committed` in any order. OW_ENOMEM;
   OW_EINTERNAL: an id stands twice among the committed. */
int ow_demo_check(const struct ow_demo_orders *committed, const struct ow_demo_orders *events,
                  struct ow_demo_counts *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
