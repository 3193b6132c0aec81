/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters of consumers, for onewrite dlq: they are queued, and the running consumer replays them. And letters of
 * anybody that are changed. Belongs to one thread; calls wait for the store. */
#ifndef OW_CMD_DLQ_CONSUMER_H
#define OW_CMD_DLQ_CONSUMER_H

#include "cmd/command.h"
#include "cmd/dlq_store.h"

bool ow_letter_is_of_consumer(const struct ow_letter *letter);
/* Keeps the letters of this consumer alone. */
void ow_letters_keep_consumer(struct ow_letters *letters, const char *consumer);

/* 1: it is queued, or parked and follows by itself; 0: somebody else has dealt with it. */
int ow_letter_queue(struct ow_store *store, const struct ow_letter *letter, struct ow_error *err) OW_MUST_CHECK;

/* Waits until no consumer has a letter to replay among those that are chosen; what is parked behind one that is dead
   again is not. 1: that is so; 0: it is not, and the time is up (timeout_ms; 0: it never is). */
int ow_letters_wait(struct ow_store *store, const struct ow_letters *letters, int64_t timeout_ms,
                    struct ow_error *err) OW_MUST_CHECK;
/* How many of those that are chosen are still there; complains about each that is dead again. */
int ow_letters_tell_left(struct ow_store *store, const struct ow_letters *letters, size_t *ret,
                         struct ow_error *err) OW_MUST_CHECK;

/* Another payload (null bytes: as it is), and headers that replace or add to those it has; what it was goes into the
   history. The letter was read with its contents. OW_EINVALID: it cannot be changed, or not now. */
int ow_letter_edit(struct ow_store *store, const struct ow_letter *letter, struct ow_bytes payload,
                   const struct ow_flag_list *headers, struct ow_error *err) OW_MUST_CHECK;

#endif
