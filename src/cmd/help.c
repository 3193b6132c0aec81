/* SPDX-License-Identifier: Apache-2.0 */
/* The help of the program and of each command, and the `help` command. */
#include <ctype.h>
#include <stdio.h>

#include "cmd/output.h"
#include "config/url.h"

#define WIDTH          90
#define COMMANDS_BEGIN 20 /* after the longest name */
#define HELP_BEGIN     30 /* the column in which the help of an option begins */

const struct ow_exit_status ow_exit_statuses[] = {
    {0, "done"},
    {1, "it failed; the line on standard error says why"},
    {2, "wrong usage: an option, an argument or a value is not one that the command takes"},
    {3, "a check found a difference, or only a part was done"},
    {4, "no such file, topic or other thing"},
    {69, "a store or a broker cannot be reached, or another process is at work on it"},
    {77, "not permitted"},
    {78, "bad configuration"},
    {0, NULL},
};

static void add_spaces(struct ow_buf *to, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ow_buf_add_char(to, ' ');
}

/* Where the buffer stands in its last line, in code points. */
static size_t column_of(const struct ow_buf *to)
{
    size_t column = 0;
    for (size_t i = to->size; i > 0 && to->data[i - 1] != '\n'; i--)
        column += ((unsigned char)to->data[i - 1] & 0xc0) != 0x80;
    return column;
}

static size_t width_of(const char *text, size_t size)
{
    size_t width = 0;
    for (size_t i = 0; i < size; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

/* One paragraph, or one line that is left as it is: up to `end`, without its line break. */
static void wrap_words(struct ow_buf *to, const char *text, const char *end, size_t indent, size_t width)
{
    bool is_first = true;
    while (text < end) {
        size_t size = 0;
        while (text + size < end && text[size] != ' ' && text[size] != '\n')
            size++;
        if (!is_first && column_of(to) + 1 + width_of(text, size) > width) {
            ow_buf_add_char(to, '\n');
            add_spaces(to, indent);
        } else if (!is_first) {
            ow_buf_add_char(to, ' ');
        }
        ow_buf_add(to, text, size);
        is_first = false;
        text += size;
        while (text < end && (*text == ' ' || *text == '\n'))
            text++;
    }
    ow_buf_add_char(to, '\n');
}

void ow_help_wrap(struct ow_buf *to, const char *text, size_t indent, size_t width)
{
    while (*text) {
        const char *line_end = strchrnul(text, '\n'), *end = line_end;
        bool is_verbatim = text[0] == ' ' && text[1] == ' ';
        if (*text == '\n') {
            ow_buf_add_char(to, '\n');
            text++;
            continue;
        }
        if (column_of(to) < indent)
            add_spaces(to, indent - column_of(to));
        if (is_verbatim) {
            ow_buf_add(to, text, (size_t)(line_end - text));
            ow_buf_add_char(to, '\n');
        } else {
            while (*end && end[1] && end[1] != '\n' && !(end[1] == ' ' && end[2] == ' '))
                end = strchrnul(end + 1, '\n');
            wrap_words(to, text, end, indent, width);
        }
        text = *end ? end + 1 : end;
    }
}

/* A name on the left, its help on the right. */
static void add_entry(struct ow_buf *to, const char *name, const char *help, size_t begin)
{
    ow_buf_printf(to, "  %s", name);
    if (column_of(to) + 2 > begin)
        ow_buf_add_char(to, '\n');
    add_spaces(to, begin - column_of(to));
    ow_help_wrap(to, help, begin, WIDTH);
}

static void add_option(struct ow_buf *to, const struct ow_flag *option)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf name = {0}, help = {0};
    if (option->letter)
        ow_buf_printf(&name, "-%c, ", option->letter);
    else
        ow_buf_add_text(&name, "    ");
    ow_buf_printf(&name, "--%s", option->name);
    for (size_t i = 0; option->type == OW_FLAG_CHOICE && option->choices[i]; i++)
        ow_buf_printf(&name, "%s%s", i ? "|" : " ", option->choices[i]);
    if (option->type != OW_FLAG_CHOICE && option->argument)
        ow_buf_printf(&name, " %s", option->argument);
    ow_buf_add_text(&help, option->help);
    if (option->type == OW_FLAG_LIST)
        ow_buf_add_text(&help, " (may be given many times)");
    if (option->default_text)
        ow_buf_printf(&help, " (default: %s)", option->default_text);
    if (name.has_failed || help.has_failed)
        to->has_failed = true;
    else
        add_entry(to, name.data, help.data, HELP_BEGIN);
}

void ow_help_synopsis(const struct ow_command *command, struct ow_buf *to)
{
    ow_buf_printf(to, "onewrite %s", command->name);
    if (command->options)
        ow_buf_add_text(to, " [OPTION]...");
    for (const struct ow_argument *a = command->arguments; a && a->name; a++)
        ow_buf_printf(to, a->is_optional ? " [%s]%s" : " %s%s", a->name, a->kind == OW_ARGUMENT_TEXTS ? "..." : "");
}

void ow_help_command(const struct ow_command *command, struct ow_buf *to)
{
    ow_buf_add_text(to, "Usage: ");
    ow_help_synopsis(command, to);
    ow_buf_printf(to, "\n\n%c%s.\n", toupper((unsigned char)command->summary[0]), command->summary + 1);
    if (command->description) {
        ow_buf_add_char(to, '\n');
        ow_help_wrap(to, command->description, 0, WIDTH);
    }
    if (command->arguments) {
        ow_buf_add_text(to, "\nArguments:\n");
        for (const struct ow_argument *a = command->arguments; a->name; a++)
            add_entry(to, a->name, a->help, 14);
    }
    if (command->options) {
        ow_buf_add_text(to, "\nOptions:\n");
        for (const struct ow_flag *o = command->options; o->name; o++)
            add_option(to, o);
    }
    ow_buf_add_text(to, "\nOptions of every command:\n");
    for (const struct ow_flag *o = ow_flags_common; o->name; o++)
        add_option(to, o);
    if (!command->examples)
        return;
    ow_buf_add_text(to, "\nExamples:\n");
    for (const struct ow_example *e = command->examples; e->line; e++) {
        ow_buf_printf(to, "  %s\n", e->line);
        add_spaces(to, 6);
        ow_help_wrap(to, e->help, 6, WIDTH);
    }
}

static void add_commands(struct ow_buf *to)
{
    ow_buf_add_text(to, "Commands:\n");
    for (const struct ow_command *const *c = ow_commands; *c; c++)
        if (!(*c)->is_hidden)
            add_entry(to, (*c)->name, (*c)->summary, COMMANDS_BEGIN);
}

void ow_help_short(struct ow_buf *to)
{
    ow_buf_add_text(to, "Usage: onewrite COMMAND [OPTION]... [ARGUMENT]...\n\n");
    add_commands(to);
    ow_buf_add_text(to, "\nSee onewrite --help, and onewrite COMMAND --help.\n");
}

static void add_scheme(struct ow_buf *to, const struct ow_scheme *scheme)
{
    char form[40];
    OW_CLEANUP(ow_buf_done) struct ow_buf help = {0};
    (void)snprintf(form, sizeof form, "%s%s", scheme->form,
                   scheme->rest       ? scheme->rest
                   : scheme->has_path ? "PATH"
                                      : "");
    ow_buf_printf(&help, "a %s. %s", scheme->kinds & OW_URL_STORE ? "store" : "broker", scheme->help);
    for (const struct ow_option *o = scheme->options; o && o->key; o++)
        if (o->fallback)
            ow_buf_printf(&help, "%s%s=%s", o == scheme->options ? " Options: ?" : "&", o->key, o->fallback);
    if (help.has_failed)
        to->has_failed = true;
    else
        add_entry(to, form, help.data, HELP_BEGIN);
}

void ow_help_program(struct ow_buf *to)
{
    ow_buf_add_text(to, "Usage: onewrite COMMAND [OPTION]... [ARGUMENT]...\n\n");
    ow_help_wrap(to, ow_program_description, 0, WIDTH);
    ow_buf_add_char(to, '\n');
    add_commands(to);
    ow_buf_add_text(to, "\nOptions of every command:\n");
    for (const struct ow_flag *o = ow_flags_common; o->name; o++)
        add_option(to, o);
    add_option(to, ow_flag_version);
    ow_buf_add_text(to, "\nURLs:\n");
    for (const struct ow_scheme *scheme = ow_schemes; scheme->name; scheme++)
        if (scheme->is_supported && !scheme->is_alias)
            add_scheme(to, scheme);
    ow_buf_add_text(to, "\nExamples:\n");
    for (const struct ow_example *e = ow_program_examples; e->line; e++) {
        ow_buf_printf(to, "  %s\n", e->line);
        add_spaces(to, 6);
        ow_help_wrap(to, e->help, 6, WIDTH);
    }
    ow_buf_add_text(to, "\nExit status:\n");
    for (const struct ow_exit_status *s = ow_exit_statuses; s->meaning; s++) {
        char number[8];
        (void)snprintf(number, sizeof number, "%d", s->status);
        add_entry(to, number, s->meaning, 6);
    }
    ow_buf_add_text(to, "\nonewrite COMMAND --help tells more of a command, man onewrite of all of it.\n");
}

/* --- onewrite help ------------------------------------------------------------------------------------ */

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)options;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    if (count == 0) {
        ow_help_program(&text);
    } else {
        const struct ow_command *command = ow_command_find(arguments[0]);
        if (!command)
            return ow_command_unknown(arguments[0], err);
        ow_help_command(command, &text);
    }
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

static const struct ow_argument arguments[] = {
    {"COMMAND", "the command to explain", OW_ARGUMENT_COMMAND, true},
    {0},
};

const struct ow_command ow_command_help = {
    .name = "help",
    .summary = "explain the program or a command",
    .arguments = arguments,
    .run = run,
};
