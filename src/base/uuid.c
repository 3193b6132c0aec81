/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <errno.h>
#include <sys/random.h>

#include "base/units.h"

int ow_uuid_v7(char to[OW_UUID_TEXT_SIZE], struct ow_error *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return ow_error_errno(err, errno, "the system gives no random bytes");
    uint64_t ms = (uint64_t)ow_clock_wall_ms();
    for (int i = 0; i < 6; i++)
        b[i] = (unsigned char)(ms >> (40 - 8 * i));
    b[6] = (b[6] & 0x0f) | 0x70;
    b[8] = (b[8] & 0x3f) | 0x80;
    char *s = to;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *s++ = '-';
        *s++ = digits[b[i] >> 4];
        *s++ = digits[b[i] & 15];
    }
    *s = '\0';
    return 0;
}
