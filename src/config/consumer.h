/* SPDX-License-Identifier: Apache-2.0 */
/* The consumers of a configuration: read, checked, and made. Private to src/config but for the last part. */
#ifndef OW_CONFIG_CONSUMER_H
#define OW_CONFIG_CONSUMER_H

#include "config/config.h"
#include "inbox/filter.h"
#include "pattern/consumer/consumer.h"

struct ow_reader;
struct yaml_node_s;

int ow_config_read_consumers(struct ow_reader *reader, const struct yaml_node_s *list, struct ow_config *config);
void ow_config_free_consumers(struct ow_config *config);
/* Appends a text that is another one as soon as anything of it is, what is secret included. */
void ow_config_describe_consumer(const struct ow_config_consumer *consumer, struct ow_buf *to);

/* --- what works (construct_consumer.c) ------------------------------------------------------------------------ */

/* The parts of a consumer, not opened yet; all of them the caller's. What is in the configuration must outlive them. */
struct ow_consumer_parts {
    struct ow_consumer_options options; /* world and listener are left as they are by default */
    ow_consumer_subscribe *subscribe;
    void *subscribe_context;
    struct ow_inbox *inbox;         /* may be NULL */
    struct ow_inbox_filter *filter; /* the inbox's, for whoever wants to be told; NULL: none */
    struct ow_handler *handler;
    struct ow_broker *letters; /* may be NULL */
    void *letter_context;
};
/* `callback`: for `handler: callback`; copied. NULL: there is none, and such a consumer is OW_EUSAGE. */
int ow_config_new_consumer(const struct ow_config_consumer *consumer,
                           const struct ow_handler_callback_options *callback, struct ow_consumer_parts *ret,
                           struct ow_error *err) OW_MUST_CHECK;
void ow_config_free_consumer_parts(struct ow_consumer_parts *parts);

#endif
