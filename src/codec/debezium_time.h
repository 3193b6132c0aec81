/* SPDX-License-Identifier: Apache-2.0 */
/* Dates, times and intervals: from the text of PostgreSQL (DateStyle ISO, IntervalStyle postgres) to the numbers and
   texts of Debezium and Java. The calendar is the proleptic Gregorian one, with a year zero. */
#ifndef OW_CODEC_DEBEZIUM_TIME_H
#define OW_CODEC_DEBEZIUM_TIME_H

#include "base/bytes.h"

/* What the infinities of PostgreSQL are in the eyes of Debezium. */
#define OW_DBZ_DATE_INFINITY            (-2147472692)
#define OW_DBZ_DATE_MINUS_INFINITY      (-2147472691)
#define OW_DBZ_TIMESTAMP_INFINITY       9223372036825200000
#define OW_DBZ_TIMESTAMP_MINUS_INFINITY (-9223372036832400000)

/* Days since 1970-01-01: "2021-03-04", "0044-03-15 BC", "infinity". */
int ow_dbz_date_parse(struct ow_bytes text, int64_t *ret_days, struct ow_error *err) OW_MUST_CHECK;
/* Microseconds since midnight: "13:14:15.123456", up to "24:00:00"; and, where the text has one, the offset from
   UTC in seconds: "13:14:15+02", "+05:30", "-08:00:30". */
int ow_dbz_time_parse(struct ow_bytes text, int64_t *ret_us, int32_t *ret_offset_s, struct ow_error *err) OW_MUST_CHECK;
/* Microseconds since 1970-01-01 00:00 UTC, or, without an offset in the text, local. */
int ow_dbz_timestamp_parse(struct ow_bytes text, int64_t *ret_us, struct ow_error *err) OW_MUST_CHECK;

struct ow_dbz_interval {
    int64_t months, days, us;
};
/* "1 year 2 mons 3 days 04:05:06.789", "-1 years -2 mons +3 days -04:05:06". */
int ow_dbz_interval_parse(struct ow_bytes text, struct ow_dbz_interval *ret, struct ow_error *err) OW_MUST_CHECK;
/* In microseconds, a year being 365.25 days. */
int64_t ow_dbz_interval_us(const struct ow_dbz_interval *interval);
/* "P1Y2M3DT4H5M6.789S". */
void ow_dbz_interval_text(struct ow_buf *to, const struct ow_dbz_interval *interval);

/* "2021-03-04T11:14:15.123456Z" with so many digits of the second; 0: as many as are needed, in threes; years of
   more or less than four digits with a sign; "infinity". */
void ow_dbz_timestamp_text(struct ow_buf *to, int64_t us, int digits);
/* "11:14:15.5Z": the time in UTC, within one day. */
void ow_dbz_time_text(struct ow_buf *to, int64_t us, int32_t offset_s);
/* java.util.Date.toString() in UTC: "Thu Mar 04 13:14:15 UTC 2021". */
void ow_dbz_java_date(struct ow_buf *to, int64_t ms);

#endif
