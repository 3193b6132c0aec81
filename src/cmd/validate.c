/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite validate: everything that is wrong with a configuration, without connecting to anything. */
#include "cmd/places.h"

static void add(struct ow_buf *to, size_t count, const char *what)
{
    ow_buf_printf(to, "%s%zu %s%s", to->size > 0 ? ", " : "", count, what, count == 1 ? "" : "s");
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)options, (void)count;
    OW_CLEANUP(ow_config_cleanup) struct ow_config *config = NULL;
    int r = ow_places_load_config(arguments[0], &config, err);
    if (r != 0)
        return r;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    add(&text, config->store_count, "store");
    add(&text, config->broker_count, "broker");
    if (config->relay_count > 0 || config->consumer_count == 0)
        add(&text, config->relay_count, "relay");
    if (config->consumer_count > 0)
        add(&text, config->consumer_count, "consumer");
    r = ow_buf_check(&text, err);
    if (r < 0)
        return r;
    ow_say("%s: good: %s", arguments[0], text.data);
    return 0;
}

static const struct ow_argument arguments[] = {
    {"CONFIG", "the configuration file", OW_ARGUMENT_FILE, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite validate onewrite.yaml", "prints a line for each mistake: file:line:column: key: what, and what to do"},
    {0},
};

const struct ow_command ow_command_validate = {
    .name = "validate",
    .summary = "check a configuration file, offline",
    .arguments = arguments,
    .description =
        "Reads the file as onewrite run would, variables of the environment included, and prints all that is wrong "
        "with "
        "it on standard error, a line each. It opens no store and no broker: onewrite check does. Ends with 78 if "
        "there is a mistake.",
    .examples = examples,
    .run = run,
};
