/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite validate: everything that is wrong with a configuration, without connecting to anything. */
#include "cmd/places.h"

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)options, (void)count;
    OW_CLEANUP(ow_config_cleanup) struct ow_config *config = NULL;
    int r = ow_places_load_config(arguments[0], &config, err);
    if (r != 0)
        return r;
    ow_say("%s: good: %zu store%s, %zu broker%s, %zu relay%s", arguments[0], config->store_count,
           config->store_count == 1 ? "" : "s", config->broker_count, config->broker_count == 1 ? "" : "s",
           config->relay_count, config->relay_count == 1 ? "" : "s");
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
