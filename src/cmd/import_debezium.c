/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite import-debezium: from Debezium's configuration to ours. */
#include <errno.h>
#include <stdio.h>

#include "cmd/command.h"
#include "codec/debezium_import.h"
#include "config/substitute.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)
#define STATUS_PART    3

struct import_options {
    const char *offsets; /* NULL: none */
};

/* Each line of what could not be carried over. */
static void complain(struct ow_bytes lost)
{
    while (lost.size > 0) {
        const char *end = memchr(lost.data, '\n', lost.size);
        size_t size = end ? (size_t)(end - lost.data) : lost.size;
        ow_complain("%.*s", (int)size, lost.data);
        lost = (struct ow_bytes){lost.data + size + (end != NULL), lost.size - size - (end != NULL)};
    }
}

/* A file, or the object itself as it was copied from somewhere. */
static int read_offsets(const char *given, struct ow_buf *to, struct ow_error *err)
{
    if (!given)
        return 0;
    if (*given != '{')
        return ow_config_read_file(given, FILE_BYTES_MAX, to, err);
    ow_buf_add_text(to, given);
    return ow_buf_check(to, err);
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    const struct import_options *given = options;
    (void)count;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf offsets = {0};
    OW_CLEANUP(ow_debezium_import_done) struct ow_debezium_import import = {0};
    int r = ow_config_read_file(arguments[0], FILE_BYTES_MAX, &text, err);
    if (r == 0)
        r = read_offsets(given->offsets, &offsets, err);
    if (r == 0) {
        r = ow_debezium_import_behind(ow_buf_bytes(&text), given->offsets ? ow_buf_bytes(&offsets) : OW_NULL_BYTES,
                                      &import, err);
        if (r != 0)
            return ow_error_prefix(err, "%s", arguments[0]);
    }
    if (r != 0)
        return r;
    if (fwrite(import.yaml.data, 1, import.yaml.size, stdout) != import.yaml.size || fflush(stdout) != 0)
        return ow_error_errno(err, errno, "standard output");
    complain(ow_buf_bytes(&import.lost));
    return import.lost.size > 0 ? STATUS_PART : 0;
}

static const struct ow_flag flags[] = {
    {"offsets", 0, "FILE|JSON", OW_FLAG_STRING, NULL,
     "Debezium's stored offset: the relay begins exactly behind what it has published",
     offsetof(struct import_options, offsets), NULL, 0, 0},
    {0},
};

static const struct ow_argument arguments[] = {
    {"FILE", "application.properties of Debezium Server, or a connector's JSON", OW_ARGUMENT_FILE, false},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite import-debezium application.properties > onewrite.yaml",
     "takes over connection, slot, outbox, router and formats"},
    {"onewrite import-debezium --offsets offsets.dat application.properties > onewrite.yaml",
     "and goes on behind what Debezium has published"},
    {0},
};

const struct ow_command ow_command_import_debezium = {
    .name = "import-debezium",
    .summary = "make a configuration of Debezium's",
    .arguments = arguments,
    .description =
        "Reads the configuration of a Debezium connector for PostgreSQL with the outbox event router and prints ours, "
        "which publishes the same records: with the same connection, slot, publication, table and formats. A file that "
        "begins with { is a connector of Kafka Connect in JSON, any other the properties of Debezium Server.\n\n"
        "What could not be carried over is told on standard error, a line each, and the status is 3 then. An option "
        "that stops Debezium itself at start ends with 78. Placeholders of variables stay placeholders.\n\n"
        "Stop Debezium before you start the result: a slot has one reader. Its slot stands a little behind what it has "
        "published; --offsets takes where it really was from the file of its offset storage, from what a console "
        "consumer prints of the topic (with the keys), or from the JSON object itself.",
    .examples = examples,
    .options = flags,
    .options_size = sizeof(struct import_options),
    .run = run,
};
