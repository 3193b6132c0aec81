/* SPDX-License-Identifier: Apache-2.0 */
/* Keyset: a set of keys, any bytes, in memory. One thread; what is asked costs one look-up. */
#ifndef OW_CORE_KEYSET_H
#define OW_CORE_KEYSET_H

#include "base/bytes.h"

struct ow_keyset { /* zeroed: empty */
    struct ow_keyset_entry **buckets;
    size_t bucket_count, count;
};

/* Copies the key; one that is there already changes nothing. */
int ow_keyset_add(struct ow_keyset *set, struct ow_bytes key, struct ow_error *err) OW_MUST_CHECK;
bool ow_keyset_has(const struct ow_keyset *set, struct ow_bytes key);
void ow_keyset_remove(struct ow_keyset *set, struct ow_bytes key);
void ow_keyset_done(struct ow_keyset *set); /* empty again, and all memory given back */

#endif
