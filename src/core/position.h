/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Position: a point in a source. Ordered like the source's commits, printable, and opaque to all but the
 * source that made it: an outbox by polling counts in `major`; a log puts the commit there and the
 * ordinal within the transaction in `minor`. Text form: "42" or "42/3". The zero position is "nothing yet".
 */
#ifndef OW_CORE_POSITION_H
#define OW_CORE_POSITION_H

#include <stdint.h>

#include "base/bytes.h"

struct ow_position {
    uint64_t major, minor;
};

static inline int ow_position_compare(struct ow_position a, struct ow_position b)
{
    if (a.major != b.major)
        return a.major < b.major ? -1 : 1;
    return a.minor < b.minor ? -1 : a.minor > b.minor;
}
static inline bool ow_position_is_zero(struct ow_position p)
{
    return p.major == 0 && p.minor == 0;
}

#define OW_POSITION_TEXT_SIZE 48
char *ow_position_format(struct ow_position position, char to[OW_POSITION_TEXT_SIZE]);
/* OW_EINVALID if it is not what ow_position_format() writes. */
int ow_position_parse(struct ow_bytes text, struct ow_position *ret, struct ow_error *err) OW_MUST_CHECK;

#endif
