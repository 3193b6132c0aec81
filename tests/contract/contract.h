/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contracts of broker.h and subscriber.h as checks that run over any implementation. A check gets a folder
 * of its own and returns NULL, or a line that says which promise was broken: so that the suite can be shown
 * to find a broker that lies (fake.c has some).
 */
#ifndef OW_CONTRACT_H
#define OW_CONTRACT_H

#include "broker/broker.h"
#include "broker/subscriber.h"

/* One way of carrying messages. */
struct contract_subject {
    const char *name;
    int (*new_broker)(const char *folder, struct ow_broker **ret, struct ow_error *err);
    int (*new_subscriber)(const char *folder, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                          struct ow_error *err);
    bool waits_for_topics; /* where there is nothing yet, open() succeeds */
};

typedef const char *contract_check(const struct contract_subject *subject, const char *folder);

struct contract_case {
    const char *name;
    contract_check *check;
};
/* Each ends with a row whose name is NULL. */
extern const struct contract_case contract_publishing[];
extern const struct contract_case contract_subscribing[];
extern const struct contract_case contract_groups[];

/* Memory in place of a broker; `liar` NULL: an honest one. */
enum fake_lie {
    FAKE_HONEST,
    FAKE_ACCEPTS_AND_LOSES, /* says yes to what it forgets with its connection */
    FAKE_RECEIPT_TWICE,     /* every receipt comes twice */
    FAKE_SWAPS,             /* two messages of a key change places */
    FAKE_REMEMBERS,         /* what was sent before close() comes through afterwards */
    FAKE_NULL_IS_EMPTY,     /* a null payload comes back as an empty one */
    FAKE_LIE_COUNT,
};
extern enum fake_lie fake_lie;
extern const struct contract_subject contract_fake;
void fake_forget(void); /* starts anew */

/* --- for the checks ------------------------------------------------------------------------------------ */

/* What was broken, as a line; valid until the next one. */
const char *contract_broken(const char *format, ...) OW_PRINTF(1, 2);

struct ow_message contract_message(const char *topic, uint64_t number, char text[64]);
/* Sends `count` messages numbered from `from` (their token and, in decimals, their id, key number % keys) and
   steps until every one has its receipt. NULL: all accepted, each once. */
const char *contract_publish(struct ow_broker *broker, const char *topic, uint64_t from, uint64_t count, uint64_t keys);
/* 1: a record within the time; 0: none; < 0. */
int contract_next(struct ow_subscriber *subscriber, struct ow_record *ret, int64_t ms, struct ow_error *err);

#define CONTRACT_TRY(expression)            \
    do {                                    \
        const char *broken_ = (expression); \
        if (broken_)                        \
            return broken_;                 \
    } while (0)
#define CONTRACT_MUST(condition)                                                                \
    do {                                                                                        \
        if (!(condition))                                                                       \
            return contract_broken("%s:%d: does not hold: %s", __FILE__, __LINE__, #condition); \
    } while (0)

static inline void contract_discard(struct ow_broker **broker)
{
    if (*broker)
        (*broker)->ops->discard(*broker);
}
static inline void contract_close(struct ow_subscriber **subscriber)
{
    if (*subscriber)
        (*subscriber)->ops->close(*subscriber);
}

#endif
