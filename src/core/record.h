/* SPDX-License-Identifier: Apache-2.0 */
/* Record: a message as it stands in a broker, at an offset of a partition of a topic. */
#ifndef OW_CORE_RECORD_H
#define OW_CORE_RECORD_H

#include "core/message.h"

enum ow_time_type { OW_TIME_UNKNOWN, OW_TIME_CREATED, OW_TIME_APPENDED }; /* as its broker says */

struct ow_record {
    struct ow_message message; /* topic, key, id, type, headers, payload and time as published */
    int64_t partition;         /* -1: there is no such thing here (a file) */
    int64_t offset;            /* counts from 0 in its partition; -1: not known */
    enum ow_time_type time_type;
};

#endif
