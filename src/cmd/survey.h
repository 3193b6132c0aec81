/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Survey: what pipelines cannot tell of themselves is asked of the stores and put on the board: what waits in an outbox
 * and since when, how far a slot is behind, dead letters. A thread and a connection of its own for each store, so that
 * neither a pipeline nor another store waits for one that is slow; every 10 s, or less often where an answer takes long
 * (a twentieth of the time at most). What is counted has a bound, and what a store is asked for a time limit.
 */
#ifndef OW_CMD_SURVEY_H
#define OW_CMD_SURVEY_H

#include "server/board.h"
#include "store/store.h"

struct ow_config;

enum {
    OW_SURVEY_COUNTED = 100000, /* rows; what is beyond is estimated, of dead letters left out */
    OW_SURVEY_MARKED = 1000000, /* where rows are marked and kept: so many numbers are looked at */
    OW_SURVEY_EVERY_MS = 10000,
    OW_SURVEY_SOURCES_MAX = 1000, /* of letters, each in one state: as the statements have it */
};

struct ow_survey;
/* Copies what it takes of the configuration. The board must outlive it. */
int ow_survey_start(const struct ow_config *config, struct ow_board *board, struct ow_survey **ret,
                    struct ow_error *err) OW_MUST_CHECK;
/* Waits for what is being asked: for as long as a store may let one wait. NULL is allowed. */
void ow_survey_stop(struct ow_survey *survey);
/* Appends a text that is another one when something else is to be asked. */
void ow_survey_describe(const struct ow_config *config, struct ow_buf *to);

/* --- one store (survey_store.c) -------------------------------------------------------------------------- */

struct ow_survey_pipeline {
    char *name;
    bool is_consumer;
    bool has_rows;  /* of a relay: what it reads are rows of our outbox, which leave it */
    bool is_marked; /* or are marked */
    bool is_log;
    char slot[64]; /* of a log; "": the usual one, which is found when there is a connection */
    bool by_message;
};
struct ow_survey_store {
    char *name, *path, *shown;
    bool is_postgres;
    struct ow_survey_pipeline *pipelines;
    size_t pipeline_count;
    struct ow_store *connection; /* NULL: not connected */
};
/* Asks all of it and tells the board. An error of one question does not keep the others from being asked. */
int ow_survey_ask(struct ow_survey_store *store, struct ow_board *board, struct ow_error *err) OW_MUST_CHECK;
/* Appends to `to`, which has room for OW_SURVEY_SOURCES_MAX, how many of the first `bound` letters have each source and
   state. */
int ow_survey_count_letters(struct ow_store *store, bool is_postgres, int64_t bound, struct ow_letter_count *to,
                            size_t *count, struct ow_error *err) OW_MUST_CHECK;
void ow_survey_hang_up(struct ow_survey_store *store);

#endif
