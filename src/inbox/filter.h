/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filter: the contract of what stands in front of an inbox and saves it work, and an inbox that has one.
 *
 * A filter marks ids, and says which it had marked before. What it says is a hint: it may forget everything, and it may
 * know what never was. A message that it knows is looked up in the inbox, outside a transaction; one that the inbox
 * knows, too, is done with and enters no transaction. All others are claimed as without a filter. So the inbox alone
 * decides, always, and a filter that is wrong costs a statement, never an effect.
 *
 * One thread, that of the inbox.
 */
#ifndef OW_INBOX_FILTER_H
#define OW_INBOX_FILTER_H

#include "inbox/inbox.h"

struct ow_inbox_filter;

struct ow_inbox_filter_ops {
    /* Marks the ids of these entries (there may be none) and says of each whether it was marked before. It has no
       errors: without an answer in its time none is known. */
    void (*mark)(struct ow_inbox_filter *filter, const struct ow_inbox_entry *entries, size_t count, bool *ret_known);
    void (*close)(struct ow_inbox_filter *filter);   /* may be used again */
    void (*discard)(struct ow_inbox_filter *filter); /* closes and frees */
};

struct ow_inbox_filter {
    const struct ow_inbox_filter_ops *ops;
    /* Whoever made it may set these: that it is left out, and why, once; and that it works again. */
    void (*tell)(void *context, bool is_trouble, const char *text);
    void *tell_context;
};

/* The inbox with the filter in front of begin(). Both are taken over, also on failure. */
int ow_inbox_filtered_new(struct ow_inbox *inbox, struct ow_inbox_filter *filter, struct ow_inbox **ret,
                          struct ow_error *err) OW_MUST_CHECK;

/* --- Redis (redis_filter.c): SET onewrite:CONSUMER:ID 1 NX EX seconds ----------------------------------------------
 */

enum { OW_REDIS_PORT = 6379 };

struct ow_redis_filter_options {
    const char *url;      /* redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] */
    const char *consumer; /* all are copied */
    int64_t expire_ms;    /* a mark is forgotten after that; 0: an hour */
    int64_t timeout_ms;   /* of a connect, and of an answer; 0: 100 ms. Looking up a name may take longer */
};
/* Connects to nothing yet. While Redis is away, slow or talks nonsense it is left out and tried again after 1 s, then
   at growing intervals up to 30 s. OW_EINVALID: the URL; OW_EUNSUPPORTED in a build without hiredis, or for TLS. */
int ow_redis_filter_new(const struct ow_redis_filter_options *options, struct ow_inbox_filter **ret,
                        struct ow_error *err) OW_MUST_CHECK;

#endif
