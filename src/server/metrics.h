/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: OpenMetrics 1.0 text, and the older text format of Prometheus, made of it. Families one after the other, all
 * samples of one together; names end in their unit and, of counters, in _total.
 */
#ifndef OW_SERVER_METRICS_H
#define OW_SERVER_METRICS_H

#include "server/board.h"

#define OW_METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

#define OW_METRICS_PLAIN_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct ow_metrics_process {
    const char *version, *build;
    int64_t start_ms, now_ms; /* wall clock */
};

/* Appends everything, to the # EOF. */
void ow_metrics_write(struct ow_buf *to, const struct ow_board_view *view, const struct ow_metrics_process *process);
/* Appends the same in the older format: what ow_metrics_write() has written. */
void ow_metrics_as_plain(struct ow_bytes openmetrics, struct ow_buf *to);
/* Whether a header "Accept" asks for OpenMetrics; NULL: there is none. */
bool ow_metrics_is_wanted(const char *accept);
/* A label's value: backslash, quote and line break are escaped. */
void ow_metrics_label(struct ow_buf *to, const char *value);

/* Of this process, from /proc; -1: not known. */
int64_t ow_process_resident_bytes(void);
int64_t ow_process_open_fds(void);

#endif
