/* SPDX-License-Identifier: Apache-2.0 */
/* The list of commands, and what is said of the program as a whole. */
#include "cmd/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "config/url.h"

const struct ow_command *const ow_commands[] = {
    &ow_command_relay,
    &ow_command_run,
    &ow_command_validate,
    &ow_command_check,
    &ow_command_config_reference,
    &ow_command_init,
    &ow_command_publish,
    &ow_command_tail,
    &ow_command_status,
    &ow_command_dlq,
    &ow_command_drop,
    &ow_command_import_debezium,
    &ow_command_demo,
    &ow_command_completion,
    &ow_command_version,
    &ow_command_help,
    &ow_command_man,
#ifdef OW_WITH_CRASH_POINTS
    &ow_command_crash_points,
#endif
    NULL,
};

const char ow_program_description[] =
    "Write to one, derive the rest. A service commits once, to its own database, and leaves its messages there, in an "
    "outbox, within the same transaction. onewrite reads the outbox and publishes what it finds to a broker: nothing "
    "is lost, nothing is published that did not commit, and the messages of one key stay in order, whatever is killed "
    "and whenever.";

const struct ow_example ow_program_examples[] = {
    {"onewrite init sqlite:shop.db", "makes the outbox in the service's database"},
    {"onewrite relay sqlite:shop.db journal:bus.db", "publishes what the service leaves there, until it is stopped"},
    {"onewrite tail journal:bus.db --from beginning", "shows what was published, and what comes"},
    {"onewrite run onewrite.yaml", "does all that a configuration file says"},
    {0},
};

const struct ow_command *ow_command_find(const char *name)
{
    for (const struct ow_command *const *c = ow_commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

int ow_command_unknown(const char *name, struct ow_error *err)
{
    struct ow_nearest nearest = {.word = ow_bytes_of(name)};
    for (const struct ow_command *const *c = ow_commands; *c; c++)
        if (!(*c)->is_hidden)
            ow_nearest_offer(&nearest, (*c)->name);
    if (nearest.best)
        return ow_error_set(err, OW_EUSAGE, "unknown command \"%.*s\"; did you mean \"%s\"?", OW_PRINT(nearest.word),
                            nearest.best);
    return ow_error_set(err, OW_EUSAGE, "unknown command \"%.*s\"; see onewrite --help", OW_PRINT(ow_bytes_of(name)));
}

int ow_command_url(const char *text, unsigned kinds, struct ow_url *ret, struct ow_error *err)
{
    int r = ow_url_parse(ow_bytes_of(text), ow_bytes_of(text), kinds, ret, err);
    if (r == OW_EINVALID) {
        err->code = OW_EUSAGE;
        return OW_EUSAGE;
    }
    return r;
}

/* --- what commands say on standard error --------------------------------------------------------------- */

static bool says_nothing;

void ow_say_setup(bool is_quiet)
{
    says_nothing = is_quiet;
}

bool ow_is_quiet(void)
{
    return says_nothing;
}

/* One write for the line, so that lines of several processes on one terminal do not mix; a text from
   outside may hold line breaks, which must not look like lines of ours. */
static void print_line(const char *prefix, const char *format, va_list args)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
    char text[2048];
    (void)vsnprintf(text, sizeof text, format, args);
    for (char *s = text; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
    ow_buf_printf(&line, "%s%s\n", prefix, text);
    if (!line.has_failed && write(STDERR_FILENO, line.data, line.size) < 0) {
        /* There is nowhere left to say so. */
    }
}

void ow_say(const char *format, ...)
{
    va_list args;
    if (says_nothing)
        return;
    va_start(args, format);
    print_line("", format, args);
    va_end(args);
}

void ow_complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("onewrite: ", format, args);
    va_end(args);
}
