/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API: what is answered over HTTP (docs/openapi.yaml). Health and readiness are told to anybody, everything else to who
 * may read; what changes something is for operators.
 */
#ifndef OW_SERVER_API_H
#define OW_SERVER_API_H

#include <stdatomic.h>

#include "server/board.h"
#include "server/http.h"
#include "server/metrics.h"

/* Dead letters, which stand in stores; they are the caller's, and are called from any thread. `id` is that of the path;
   NULL: the list. */
typedef void ow_api_letters(void *context, const struct ow_http_request *request, const char *id,
                            struct ow_http_answer *answer);

struct ow_api {
    struct ow_board *board;
    struct ow_metrics_process process; /* now_ms is set at each request */
    atomic_bool has_started;           /* every pipeline has been made; before that nothing is ready */
    ow_api_letters *list_letters, *show_letter, *replay_letter, *discard_letter;
    void *letters_context;
};

/* The context is the struct ow_api. */
ow_http_serve ow_api_serve;

/* A line of the board as a JSON object. */
void ow_api_add_line(struct ow_buf *to, const struct ow_board_line *line, int64_t now_ms);

#endif
