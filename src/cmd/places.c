/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/places.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int ow_places_load_config(const char *path, struct ow_config **ret, struct ow_error *err)
{
    struct ow_diagnostics diagnostics = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    int r = ow_config_load(path, &diagnostics, ret);
    size_t count = diagnostics.count;
    ow_diagnostics_print(&diagnostics, &text);
    ow_diagnostics_done(&diagnostics);
    if (r == 0)
        return 0;
    if (count == 0)
        return ow_error_set(err, r, "%s: %s", path, ow_error_name(r));
    if (text.has_failed || write(STDERR_FILENO, text.data, text.size) < 0) {
        /* There is nowhere left to say so; the status tells. */
    }
    return ow_error_exit_status(r);
}

/* A path without its scheme, of what is no YAML for certain. */
static bool is_sqlite_file(const char *path)
{
    static const char magic[] = "SQLite format 3";
    char head[sizeof magic] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool is_one = read(fd, head, sizeof head) == (ssize_t)sizeof head && memcmp(head, magic, sizeof magic) == 0;
    (void)close(fd);
    return is_one;
}

/* "scheme:…", and not the name of a file that happens to have a colon in it. */
static bool looks_like_url(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-");
    return n > 0 && text[n] == ':' && access(text, F_OK) != 0;
}

static int add_all(struct ow_places *places, struct ow_error *err)
{
    const struct ow_config *config = places->config;
    places->items = calloc(config->store_count + config->broker_count + 1, sizeof *places->items);
    if (!places->items)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < config->store_count; i++)
        places->items[places->count++] = (struct ow_place){config->stores[i].name, &config->stores[i].url};
    for (size_t i = 0; i < config->broker_count; i++)
        places->items[places->count++] = (struct ow_place){config->brokers[i].name, &config->brokers[i].url};
    return 0;
}

int ow_places_read(const char *argument, struct ow_places *ret, struct ow_error *err)
{
    if (!looks_like_url(argument) && !is_sqlite_file(argument)) {
        int r = ow_places_load_config(argument, &ret->config, err);
        return r == 0 ? add_all(ret, err) : r;
    }
    int r = ow_command_url(argument, OW_URL_STORE | OW_URL_BROKER, &ret->url, err);
    if (r < 0)
        return r;
    ret->items = calloc(1, sizeof *ret->items);
    if (!ret->items)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    ret->items[ret->count++] = (struct ow_place){ret->url.text, &ret->url};
    return 0;
}

void ow_places_done(struct ow_places *places)
{
    free(places->items);
    ow_config_free(places->config);
    ow_url_done(&places->url);
    *places = (struct ow_places){0};
}
