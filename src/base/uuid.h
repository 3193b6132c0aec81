/* SPDX-License-Identifier: Apache-2.0 */
/* UUID version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then random bits. */
#ifndef OW_BASE_UUID_H
#define OW_BASE_UUID_H

#include "base/error.h"

#define OW_UUID_TEXT_SIZE 37
/* 36 characters and NUL. Fails only if the system gives no random bytes (OW_EIO). Any thread. */
int ow_uuid_v7(char to[OW_UUID_TEXT_SIZE], struct ow_error *err) OW_MUST_CHECK;

#endif
