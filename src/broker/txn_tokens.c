/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/txn_tokens.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 1024 };

int ow_txn_tokens_add(struct ow_txn_tokens *t, uint64_t token, struct ow_error *err)
{
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? t->capacity * 2 : CAPACITY_FIRST;
        uint64_t *grown = reallocarray(t->items, capacity, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        t->items = grown;
        t->capacity = capacity;
    }
    t->items[t->count++] = token;
    return 0;
}

size_t ow_txn_tokens_give(struct ow_txn_tokens *t, struct ow_receipt *receipts, size_t max)
{
    size_t n = 0;
    for (; n < max && ow_txn_tokens_are_due(t); n++) {
        receipts[n].token = t->items[t->given++];
        receipts[n].verdict = OW_ACCEPTED;
        receipts[n].reason[0] = '\0';
    }
    return n;
}

void ow_txn_tokens_drop(struct ow_txn_tokens *t)
{
    t->count = t->accepted;
    if (t->given == t->accepted)
        ow_txn_tokens_clear(t);
}

void ow_txn_tokens_clear(struct ow_txn_tokens *t)
{
    t->given = t->accepted = t->count = 0;
}

void ow_txn_tokens_done(struct ow_txn_tokens *t)
{
    free(t->items);
    *t = (struct ow_txn_tokens){0};
}
