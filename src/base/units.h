/* SPDX-License-Identifier: Apache-2.0 */
/* Time, durations and sizes: reading the clocks, and the text forms that people write. */
#ifndef OW_BASE_UNITS_H
#define OW_BASE_UNITS_H

#include <stdint.h>

#include "base/bytes.h"

int64_t ow_clock_wall_ms(void);      /* milliseconds since 1970-01-01 UTC */
int64_t ow_clock_monotonic_ms(void); /* for waiting and for measuring; never goes back */
int64_t ow_clock_monotonic_us(void); /* likewise, for less than a millisecond */
double ow_dice_roll(void);           /* [0, 1), from the system's generator; any thread */

#define OW_TIME_TEXT_SIZE 32
/* RFC 3339 in UTC with milliseconds: 2026-11-21T12:40:00.123Z. Returns `to`. */
char *ow_time_format(int64_t wall_ms, char to[OW_TIME_TEXT_SIZE]);
/* RFC 3339 with any offset (what is finer than a millisecond is cut off), and whatever ow_time_format() writes. */
int ow_time_parse(struct ow_bytes text, int64_t *ret_wall_ms, struct ow_error *err) OW_MUST_CHECK;

/* "250ms" "10s" "5m" "2h" "7d", sums such as "1h30m", or "0". A number without a unit is refused. */
int ow_duration_parse(struct ow_bytes text, int64_t *ret_ms, struct ow_error *err) OW_MUST_CHECK;
/* "512B" "64KiB" "16MiB" "2GiB", and kB MB GB as powers of ten. A number without a unit is refused, but "0". */
int ow_size_parse(struct ow_bytes text, int64_t *ret_bytes, struct ow_error *err) OW_MUST_CHECK;
/* Digits only, within [low, high]. */
int ow_integer_parse(struct ow_bytes text, int64_t low, int64_t high, int64_t *ret, struct ow_error *err) OW_MUST_CHECK;

#define OW_UNIT_TEXT_SIZE 32
char *ow_duration_format(int64_t ms, char to[OW_UNIT_TEXT_SIZE]); /* "1h30m", "250ms", "0s" */
char *ow_size_format(int64_t bytes, char to[OW_UNIT_TEXT_SIZE]);  /* "16MiB", "1.5GiB", "12B" */

#endif
