/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd wants to hear of a service of Type=notify (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Without
   that variable nothing happens. Main thread. */
#ifndef OW_CMD_NOTIFY_H
#define OW_CMD_NOTIFY_H

#include <stdint.h>

void ow_notify(const char *state);   /* "READY=1", "STOPPING=1", "RELOADING=1", "WATCHDOG=1" */
int64_t ow_notify_watchdog_ms(void); /* how often to say WATCHDOG=1; 0: never */

#endif
