/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts: rules over the board, looked at once a second by a thread of its own, which tells a webhook or PagerDuty when
 * one begins and when it is over. What cannot be told is told later; an alert that is over before it could be told is
 * not told at all. What was told is remembered over a reload and, where there is a folder for it, over a restart. The
 * key of an alert is the same at each start, so that its receiver knows it again: onewrite:HOST:ALERT:PIPELINE.
 */
#ifndef OW_SERVER_ALERT_H
#define OW_SERVER_ALERT_H

#include <stdatomic.h>

#include "server/board.h"

struct ow_config;
struct ow_config_alert;
struct ow_alert_rule;

/* --- one alert of one pipeline; pure (alert_state.c) ------------------------------------------------------------- */

enum ow_alert_has_told {
    OW_ALERT_TOLD_NOTHING,
    OW_ALERT_TOLD_MAYBE,  /* by an earlier process that nothing is known of */
    OW_ALERT_TOLD_BEFORE, /* by an earlier process, or before a reload, as is remembered */
    OW_ALERT_TOLD_BEGIN,
};
enum ow_alert_due { OW_ALERT_NOTHING, OW_ALERT_BEGIN, OW_ALERT_END };

enum {
    OW_ALERT_MINUTES = 10,      /* dead letters are counted over so many */
    OW_ALERT_SETTLE_MS = 30000, /* after a start nothing from before is said to be over: much is not known yet */
};

struct ow_alert_state {
    int64_t watched_ms; /* monotonic: since when it is looked at */
    bool holds, is_firing;
    int64_t since_ms;      /* monotonic: when it began to hold */
    int64_t since_wall_ms; /* the same for people */
    enum ow_alert_has_told told;
    int64_t told_ms, due_ms;         /* when; and before when it is not tried again */
    uint32_t failures;               /* to tell it, in a row */
    int64_t value;                   /* the last */
    uint64_t base[OW_ALERT_MINUTES]; /* dead letters, at the begin of this minute and those before */
    int64_t minute;                  /* -1: no count yet */
};

/* The number that a rule is about; INT64_MIN: there is none for this pipeline. *state remembers what it takes. is_new:
   the pipeline has come while we watched, so that its counters began at 0. */
int64_t ow_alert_value(const struct ow_alert_rule *rule, const struct ow_board_line *line, bool is_new,
                       struct ow_alert_state *state, int64_t now_ms, int64_t wall_ms);
/* What is to be told now. */
enum ow_alert_due ow_alert_judge(const struct ow_config_alert *alert, bool holds, struct ow_alert_state *state,
                                 int64_t now_ms, int64_t wall_ms);
/* It was told, or could not be. */
void ow_alert_was_told(struct ow_alert_state *state, enum ow_alert_due what, bool is_done, int64_t now_ms);

/* --- telling (alert_tell.c, where there is libcurl) ----------------------------------------------------------------
 */

struct ow_alert_news {
    const struct ow_config_alert *alert;
    enum ow_alert_due what;
    const char *host, *kind, *name;  /* of the pipeline */
    int64_t value, since_ms, now_ms; /* wall clock */
};
/* Appends the body for whom the alert names. */
void ow_alert_format(struct ow_buf *to, const struct ow_alert_news *news);
/* Sends it; waits up to 10 s, or until *is_stopping. OW_EUNREACHABLE: try again; others: it is refused. */
int ow_alert_tell(const struct ow_alert_news *news, const atomic_bool *is_stopping, struct ow_error *err) OW_MUST_CHECK;

/* --- all of them (alert.c)
 * --------------------------------------------------------------------------------------------- */

/* --- what was told and is not over (alert_memory.c) --------------------------------------------------------- */

struct ow_alert_memory {
    struct ow_buf told; /* a line each: alert, kind and name of the pipeline, with tabs between */
    char *path;         /* of the file that has it; NULL: nobody else knows */
};
struct ow_alert_told {
    struct ow_bytes alert, name;
    enum ow_work_kind kind;
};
/* From now on it is kept in the file "alerts" of this folder; what is there is read. */
int ow_alert_memory_load(struct ow_alert_memory *memory, const char *folder, struct ow_error *err) OW_MUST_CHECK;
/* The next of `rest`, which begins as memory->told; lines that are none are passed over. */
bool ow_alert_memory_next(struct ow_bytes *rest, struct ow_alert_told *ret);
void ow_alert_memory_add(struct ow_alert_memory *memory, const char *alert, enum ow_work_kind kind, const char *name);
int ow_alert_memory_save(const struct ow_alert_memory *memory, struct ow_error *err) OW_MUST_CHECK;
void ow_alert_memory_done(struct ow_alert_memory *memory);

struct ow_alerts;
/* All three must outlive it; the memory is its own until it is stopped. OW_EUNSUPPORTED: a build without libcurl. */
int ow_alerts_start(const struct ow_config *config, struct ow_board *board, struct ow_alert_memory *memory,
                    struct ow_alerts **ret, struct ow_error *err) OW_MUST_CHECK;
void ow_alerts_stop(struct ow_alerts *alerts); /* NULL is allowed */

#endif
