/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Route: a template such as "outbox.event.${!aggregatetype}", parsed once, filled in for each message.
 *
 *     ${!field}   id topic key type aggregatetype aggregateid time payload headers.NAME payload.a.b
 *     $$          a dollar sign
 *
 * Anything else after a dollar sign is an error at parse time. A field that a message does not have (null,
 * no such header, no such place in the payload) makes the result null if the template is that field
 * alone, else it is an error.
 */
#ifndef OW_CORE_ROUTE_H
#define OW_CORE_ROUTE_H

#include "core/message.h"

struct ow_route_part;

struct ow_route {
    struct ow_route_part *parts; /* owned */
    size_t count;
    char *text; /* owned; what the parts point into */
};

/* Looks up a path ("a.b") in a payload that is JSON and appends the scalar found there as text.
   1: found, 0: not there or null, < 0: the payload is not JSON, or what is there is no scalar. The core
   knows no JSON: who relays passes the codec's function. */
typedef int ow_route_lookup(struct ow_bytes payload, struct ow_bytes path, struct ow_buf *to, struct ow_error *err);

/* OW_EINVALID with the place in the template and the fields there are. */
int ow_route_init(struct ow_route *route, struct ow_bytes template, struct ow_error *err) OW_MUST_CHECK;
void ow_route_done(struct ow_route *route);

/* 1: *ret is the result; it points into `scratch` or, where the template is one field alone or plain
   text, straight into the message or the route. 0: null. < 0: OW_EINVALID, OW_ENOMEM.
   `scratch` is appended to. If it grows, earlier results in it move: render one, use it, or reserve. */
int ow_route_render(const struct ow_route *route, const struct ow_message *message, ow_route_lookup *lookup,
                    struct ow_buf *scratch, struct ow_bytes *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
