/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin: the board, and what goes out from there: the HTTP API and alerts, as a configuration has them. Without either
 * there is no board, and pipelines do not write. What cannot be started is a warning: the pipelines are what counts.
 */
#ifndef OW_CMD_ADMIN_H
#define OW_CMD_ADMIN_H

#include "cmd/survey.h"
#include "config/config.h"
#include "server/alert.h"
#include "server/api.h"

struct ow_admin {
    struct ow_board *board; /* NULL: nobody wants to know anything */
    struct ow_api api;
    struct ow_http *http;
    struct ow_alerts *alerts;
    struct ow_alert_memory memory; /* of alerts */
    struct ow_survey *survey;
    const struct ow_config *config; /* what runs now was made of this; it must outlive that */
    struct ow_buf what, asked;      /* texts that are others when something of it is, or of what the survey asks */
};

/* Starts what the configuration says, or, if it runs otherwise, starts it anew. True: the configuration is kept. */
bool ow_admin_configure(struct ow_admin *admin, const struct ow_config *config);
/* Every pipeline has been made. */
void ow_admin_has_started(struct ow_admin *admin);
/* Nobody asks any more, and nobody is told. Pipelines may run on, until ow_admin_done(). */
void ow_admin_stop(struct ow_admin *admin);
void ow_admin_done(struct ow_admin *admin); /* after the pipelines */

/* admin_letters.c; the context is the struct ow_admin. */
ow_api_letters ow_admin_list_letters, ow_admin_show_letter, ow_admin_replay_letter, ow_admin_discard_letter;

#endif
