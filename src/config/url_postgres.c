/* SPDX-License-Identifier: Apache-2.0 */
#include "config/url_postgres.h"

#include <stdlib.h>

#include "store/postgres.h"

static const char *const afters[] = {[OW_OUTBOX_DELETE] = "delete", [OW_OUTBOX_MARK] = "mark", NULL};

const struct ow_option ow_url_postgres_options[] = {
    {.key = "after",
     .type = OW_OPTION_CHOICE,
     .fallback = "delete",
     .choices = afters,
     .help = "By polling: what becomes of the rows of accepted messages, delete or mark.",
     OW_OPTION_AT(struct ow_url, postgres.after)},
    {.key = "keep",
     .type = OW_OPTION_DURATION,
     .fallback = "7d",
     .needs = "after: mark",
     .help = "How long marked rows are kept; 0: for ever.",
     OW_OPTION_AT(struct ow_url, postgres.keep_marked_ms)},
    {.key = "shards",
     .type = OW_OPTION_INTEGER,
     .fallback = "0",
     .low = 0,
     .high = OW_OUTBOX_SHARDS_MAX,
     .help = "By polling: into how many parts the keys are cut for the relays that share the work,\n"
             "1 to 64; 0: as the database has it, at first 8.",
     OW_OPTION_AT(struct ow_url, postgres.shards)},
    {0},
};

int ow_url_postgres_begin(struct ow_url *url, struct ow_bytes rest, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    if (rest.size < 2 || rest.data[0] != '/' || rest.data[1] != '/')
        return ow_error_set(err, OW_EINVALID, "%s needs two slashes: postgres://USER@HOST:PORT/DATABASE",
                            url->scheme->form);
    ow_buf_printf(&text, "%s:", url->scheme->name);
    ow_buf_add_bytes(&text, rest);
    int r = ow_buf_check(&text, err);
    if (r < 0)
        return r;
    url->path = text.data;
    text = (struct ow_buf){0};
    return 0;
}

bool ow_url_postgres_is_parameter(struct ow_bytes name)
{
    return ow_postgres_has_parameter(name);
}

int ow_url_postgres_add(struct ow_url *url, struct ow_bytes pair, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_buf_printf(&text, "%s%c", url->path, strchr(url->path, '?') ? '&' : '?');
    ow_buf_add_bytes(&text, pair);
    int r = ow_buf_check(&text, err);
    if (r < 0)
        return r;
    free(url->path);
    url->path = text.data;
    text = (struct ow_buf){0};
    return 0;
}

int ow_url_postgres_end(struct ow_url *url, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf shown = {0};
    int r = ow_postgres_check_url(url->path, &shown, err);
    if (r < 0)
        return r;
    url->text = shown.data;
    shown = (struct ow_buf){0};
    url->postgres.url = url->path;
    url->postgres.shown = url->text;
    return 0;
}
