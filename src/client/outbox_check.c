/* SPDX-License-Identifier: Apache-2.0 */
#include "client/outbox_check.h"

int ow_outbox_check(const struct ow_outbox_message *message, struct ow_message *m,
                    struct ow_header headers[OW_OUTBOX_HEADERS_MAX], struct ow_error *err)
{
    const struct {
        const char *name, *value;
    } needed[] = {
        {"aggregate_type", message->aggregate_type}, {"aggregate_id", message->aggregate_id}, {"type", message->type}};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!needed[i].value || !*needed[i].value)
            return ow_error_set(err, OW_EINVALID, "%s is empty", needed[i].name);
    if (message->header_count > OW_OUTBOX_HEADERS_MAX)
        return ow_error_set(err, OW_ETOOBIG, "the message has %zu headers, the limit is %d", message->header_count,
                            OW_OUTBOX_HEADERS_MAX);
    for (size_t i = 0; i < message->header_count; i++)
        headers[i] = (struct ow_header){ow_bytes_of(message->headers[i].name), ow_bytes_of(message->headers[i].value)};
    *m = (struct ow_message){
        .id = ow_bytes_of(message->id),
        .aggregate_type = ow_bytes_of(message->aggregate_type),
        .aggregate_id = ow_bytes_of(message->aggregate_id),
        .type = ow_bytes_of(message->type),
        .payload = {message->payload, message->payload ? message->payload_size : 0},
        .headers = headers,
        .header_count = message->header_count,
        .time_ms = message->time_ms,
    };
    return ow_message_check(m, &ow_message_limits_default, err);
}
