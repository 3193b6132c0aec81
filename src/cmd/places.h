/* SPDX-License-Identifier: Apache-2.0 */
/* Places: the stores and brokers that one argument names, a URL or a configuration file. */
#ifndef OW_CMD_PLACES_H
#define OW_CMD_PLACES_H

#include "cmd/command.h"
#include "config/config.h"

struct ow_place {
    const char *name; /* as the configuration calls it; of a URL alone the URL itself */
    const struct ow_url *url;
};

struct ow_places {
    struct ow_place *items; /* owned; the stores first */
    size_t count;
    struct ow_config *config; /* owned; NULL: it was a URL */
    struct ow_url url;        /* owned */
};

/* 0; an exit status > 0 after the configuration's diagnostics were printed on standard error; or < 0. */
int ow_places_read(const char *argument, struct ow_places *ret, struct ow_error *err) OW_MUST_CHECK;
void ow_places_done(struct ow_places *places);

/* Reads a configuration file for a command: as ow_places_read(). */
int ow_places_load_config(const char *path, struct ow_config **ret, struct ow_error *err) OW_MUST_CHECK;

#endif
