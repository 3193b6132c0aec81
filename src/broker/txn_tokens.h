/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens of what a broker was sent within transactions, in order: what one transaction took is accepted with
 * its commit, or forgotten with its end; what was accepted waits for step() to give its receipts.
 */
#ifndef OW_BROKER_TXN_TOKENS_H
#define OW_BROKER_TXN_TOKENS_H

#include "broker/broker.h"

/* [0, given): receipts were given; [given, accepted): committed; [accepted, count): in this transaction */
struct ow_txn_tokens {
    uint64_t *items;
    size_t given, accepted, count, capacity;
};

/* Sent in this transaction. OW_ENOMEM. */
int ow_txn_tokens_add(struct ow_txn_tokens *tokens, uint64_t token, struct ow_error *err) OW_MUST_CHECK;
/* Up to `max` receipts for what was accepted; returns how many. */
size_t ow_txn_tokens_give(struct ow_txn_tokens *tokens, struct ow_receipt *receipts, size_t max);
/* What this transaction took is forgotten: it was rolled back, or a new one begins. */
void ow_txn_tokens_drop(struct ow_txn_tokens *tokens);
/* All of them are forgotten; the memory stays. */
void ow_txn_tokens_clear(struct ow_txn_tokens *tokens);
void ow_txn_tokens_done(struct ow_txn_tokens *tokens);

static inline size_t ow_txn_tokens_sent(const struct ow_txn_tokens *tokens)
{
    return tokens->count - tokens->accepted;
}
static inline bool ow_txn_tokens_are_due(const struct ow_txn_tokens *tokens)
{
    return tokens->given < tokens->accepted;
}
static inline void ow_txn_tokens_accept(struct ow_txn_tokens *tokens)
{
    tokens->accepted = tokens->count;
}

#endif
