/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/admin.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"

static void start_http(struct ow_admin *a)
{
    struct ow_error err = {0};
    a->api.board = a->board;
    if (a->api.process.start_ms == 0)
        a->api.process = (struct ow_metrics_process){OW_VERSION, OW_PRESET, ow_clock_wall_ms(), 0};
    a->api.list_letters = ow_admin_list_letters;
    a->api.show_letter = ow_admin_show_letter;
    a->api.replay_letter = ow_admin_replay_letter;
    a->api.discard_letter = ow_admin_discard_letter;
    a->api.letters_context = a;
    if (ow_http_start(&a->config->admin, ow_api_serve, &a->api, &a->http, &err) < 0)
        ow_log(OW_LOG_WARN, "no admin API; all else works on", "error", err.text, NULL);
    else
        ow_log(OW_LOG_INFO, "admin API", "listen", ow_http_address(a->http), NULL);
}

/* The folder that a service manager gives us to keep things in: the first, where there are several. */
static void load_memory(struct ow_alert_memory *memory)
{
    const char *folders = getenv("STATE_DIRECTORY");
    char folder[PATH_MAX];
    struct ow_error err = {0};
    if (!folders || !*folders || memory->path)
        return;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)strcspn(folders, ":"), folders);
    if (ow_alert_memory_load(memory, folder, &err) < 0)
        ow_log(OW_LOG_WARN, "what alerts were told before is not known", "error", err.text, NULL);
}

static void start_alerts(struct ow_admin *a)
{
    struct ow_error err = {0};
    load_memory(&a->memory);
    if (ow_alerts_start(a->config, a->board, &a->memory, &a->alerts, &err) < 0)
        ow_log(OW_LOG_WARN, "no alerts; all else works on", "error", err.text, NULL);
}

void ow_admin_stop(struct ow_admin *a)
{
    ow_http_stop(a->http);
    ow_alerts_stop(a->alerts);
    ow_survey_stop(a->survey);
    a->http = NULL;
    a->alerts = NULL;
    a->survey = NULL;
}

void ow_admin_done(struct ow_admin *a)
{
    ow_admin_stop(a);
    ow_board_free(a->board);
    ow_buf_done(&a->what);
    ow_buf_done(&a->asked);
    ow_alert_memory_done(&a->memory);
    a->board = NULL;
}

void ow_admin_has_started(struct ow_admin *a)
{
    atomic_store(&a->api.has_started, true);
}

static bool is_same(const struct ow_buf *now, const struct ow_buf *before)
{
    return !now->has_failed && ow_bytes_equal(ow_buf_bytes(now), ow_buf_bytes(before));
}

static void take(struct ow_buf *to, struct ow_buf *from)
{
    ow_buf_done(to);
    *to = *from;
    *from = (struct ow_buf){0};
}

/* Asks stores as the configuration has them, if there is a board to put it on. */
static void survey(struct ow_admin *a, const struct ow_config *config)
{
    struct ow_error err = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf asked = {0};
    ow_survey_describe(config, &asked);
    if (!a->board || (a->survey && is_same(&asked, &a->asked)))
        return;
    ow_survey_stop(a->survey);
    a->survey = NULL;
    ow_board_forget_stores(a->board);
    take(&a->asked, &asked);
    if (ow_survey_start(config, a->board, &a->survey, &err) < 0)
        ow_log(OW_LOG_WARN, "stores are not asked for backlog and dead letters; all else works on", "error", err.text,
               NULL);
}

static bool configure(struct ow_admin *a, const struct ow_config *config)
{
    struct ow_error err = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf what = {0};
    ow_config_describe_admin(config, &what);
    if (a->config && is_same(&what, &a->what))
        return false;
    ow_admin_stop(a);
    a->config = config;
    take(&a->what, &what);
    bool is_wanted = config->admin.listen || config->alert_count > 0;
    if (is_wanted && !a->board)
        atomic_store(&a->api.has_started, false);
    if (is_wanted && !a->board && ow_board_new(&a->board, &err) < 0)
        ow_log(OW_LOG_WARN, "no admin API; all else works on", "error", err.text, NULL);
    if (!a->board)
        return true;
    if (config->admin.listen)
        start_http(a);
    if (config->alert_count > 0)
        start_alerts(a);
    return true;
}

bool ow_admin_configure(struct ow_admin *a, const struct ow_config *config)
{
    bool is_kept = configure(a, config);
    bool is_wanted = config->admin.listen || config->alert_count > 0;
    if (is_wanted)
        survey(a, config);
    return is_kept;
}
