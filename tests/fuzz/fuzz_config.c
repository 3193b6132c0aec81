/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a configuration, in a world of its own: no environment, no file. What is accepted is
 * complete and within its bounds; what is refused says why, in lines, and never with the value of SECRET.
 */
#include "fuzz.h"

#include "config/config.h"
#include "core/route.h"

#define SECRET "kept/to:our?selves"

static const char *get_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "S") == 0 || strcmp(name, "SECRET") == 0 ? SECRET
           : strcmp(name, "A") == 0                              ? "sqlite:a.db"
           : strcmp(name, "E") == 0                              ? ""
                                                                 : NULL;
}

static int read_file(void *context, const char *path, size_t size_max, struct ow_buf *to, struct ow_error *err)
{
    (void)context;
    (void)size_max;
    if (*path == 'x')
        return ow_error_set(err, OW_ENOTFOUND, "cannot read \"%s\"", path);
    ow_buf_add_text(to, *path == 's' ? SECRET "\n" : "journal:b.db\n");
    return ow_buf_check(to, err);
}

static const struct ow_substitution_world world = {get_variable, read_file, NULL};

static void check_template(const char *template)
{
    struct ow_route route;
    must(ow_route_init(&route, ow_bytes_of(template), NULL) == 0, "a template that can be used");
    ow_route_done(&route);
}

static void check_good(const struct ow_config *config)
{
    must(config->relay_count > 0, "a relay");
    for (size_t i = 0; i < config->store_count; i++)
        must(config->stores[i].url.scheme->kinds & OW_URL_STORE, "a store");
    for (size_t i = 0; i < config->broker_count; i++)
        must(config->brokers[i].url.scheme->kinds & OW_URL_BROKER, "a broker");
    for (size_t i = 0; i < config->relay_count; i++) {
        const struct ow_config_relay *relay = &config->relays[i];
        must(ow_name_is_valid(ow_bytes_of(relay->name)), "a name");
        must(relay->store && relay->broker && relay->outbox.path, "both sides");
        must(relay->window.count_max >= 1 && relay->window.count_max <= 1000000, "a window");
        must(relay->retry.initial_ms >= 1 && relay->retry.max_ms >= relay->retry.initial_ms, "a time to wait");
        must(relay->retry.multiplier >= 1 && relay->retry.jitter >= 0 && relay->retry.jitter <= 1, "a policy");
        check_template(relay->topic);
        check_template(relay->key);
        for (size_t j = 0; j < i; j++)
            must(config->relays[j].store != relay->store && strcmp(config->relays[j].name, relay->name) != 0,
                 "relays apart");
    }
}

static void check_lines(const struct ow_diagnostics *diagnostics, bool may_be_written)
{
    struct ow_buf lines = {0};
    size_t count = 0;
    ow_diagnostics_print(diagnostics, &lines);
    for (size_t i = 0; i < lines.size; i++) {
        must((unsigned char)lines.data[i] >= 0x20 || lines.data[i] == '\n', "no control character");
        count += lines.data[i] == '\n';
    }
    must(count == diagnostics->count + (diagnostics->left_out > 0), "one line each");
    must(ow_utf8_is_valid(ow_buf_bytes(&lines)), "UTF-8");
    must(may_be_written || !strstr(lines.data, SECRET), "a secret kept");
    ow_buf_done(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes text = {(const char *)data, size};
    struct ow_diagnostics diagnostics = {0};
    struct ow_config *config = NULL;
    int r = ow_config_parse(text, "fuzz.yaml", &world, &diagnostics, &config);
    must((r == 0) == (config != NULL), "a configuration or an error");
    must((r == 0) == (diagnostics.count == 0), "an error that is told");
    if (config)
        check_good(config);
    else
        check_lines(&diagnostics, size && memmem(data, size, "selves", 6));
    ow_diagnostics_done(&diagnostics);
    ow_config_free(config);
    return 0;
}
