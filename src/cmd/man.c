/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite(1), in the man macros of roff, from the tables that drive parsing and help. */
#include <stdio.h>

#include "cmd/output.h"
#include "config/config.h"
#include "config/url.h"

static const struct ow_example environment[] = {
    {"NO_COLOR", "if set and not empty, the log has no colours, also on a terminal"},
    {"NOTIFY_SOCKET", "where a service manager is told that the pipelines run and that they stop (see sd_notify(3))"},
    {"any other", "is read where a configuration file says ${NAME}"},
    {0},
};

static const struct ow_example files[] = {
    {"PATH, PATH-wal, PATH-shm", "of sqlite:PATH and journal:PATH: an SQLite database in WAL mode. The three belong "
                                 "together; copy them only with the backup function of SQLite"},
    {"PATH-onewrite.lock", "beside sqlite:PATH: an empty file on which the relay at work holds a lock of the operating "
                           "system. It may stay; removing it while a relay runs would let a second one in"},
    {"PATH.1, PATH.2, ...", "of file:PATH: what was rotated away, the newest first"},
    {0},
};

/* One character of UTF-8, which our own texts are, as roff writes it in plain ASCII. Returns its last byte. */
static const char *add_character(struct ow_buf *to, const char *text)
{
    unsigned char first = (unsigned char)*text;
    int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    unsigned code = first & (0x3fu >> more);
    for (; more > 0 && text[1]; more--)
        code = code << 6 | ((unsigned char)*++text & 0x3fu);
    ow_buf_printf(to, "\\[u%04X]", code);
    return text;
}

/* Text of a paragraph: backslashes and hyphens shown as they are, no line taken for a request. */
static void add_text(struct ow_buf *to, const char *text)
{
    bool is_line_start = to->size == 0 || to->data[to->size - 1] == '\n';
    for (; *text; text++) {
        if (is_line_start && (*text == '.' || *text == '\''))
            ow_buf_add_text(to, "\\&");
        if (*text == '\\')
            ow_buf_add_text(to, "\\e");
        else if (*text == '-')
            ow_buf_add_text(to, "\\-");
        else if ((unsigned char)*text >= 0x80)
            text = add_character(to, text);
        else
            ow_buf_add_char(to, *text);
        is_line_start = *text == '\n';
    }
}

/* Paragraphs, and lines that begin with two spaces as they are. */
static void add_paragraphs(struct ow_buf *to, const char *text)
{
    bool is_verbatim = false;
    while (*text) {
        const char *end = strchrnul(text, '\n');
        bool is_code = text[0] == ' ' && text[1] == ' ';
        if (is_code != is_verbatim)
            ow_buf_add_text(to, is_code ? ".PP\n.nf\n" : ".fi\n.PP\n");
        is_verbatim = is_code;
        OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
        ow_buf_add(&line, text, (size_t)(end - text));
        if (line.size)
            add_text(to, line.data);
        else
            ow_buf_add_text(to, ".PP");
        ow_buf_add_char(to, '\n');
        text = *end ? end + 1 : end;
    }
    if (is_verbatim)
        ow_buf_add_text(to, ".fi\n");
}

static void add_heading(struct ow_buf *to, const char *kind, const char *text)
{
    ow_buf_printf(to, "%s \"", kind);
    add_text(to, text);
    ow_buf_add_text(to, "\"\n");
}

static void add_entry(struct ow_buf *to, const char *name, const char *help)
{
    ow_buf_add_text(to, ".TP\n\\fB");
    add_text(to, name);
    ow_buf_add_text(to, "\\fR\n");
    add_text(to, help);
    ow_buf_add_char(to, '\n');
}

static void add_entries(struct ow_buf *to, const char *title, const struct ow_example *entries)
{
    add_heading(to, ".SH", title);
    for (const struct ow_example *e = entries; e->line; e++)
        add_entry(to, e->line, e->help);
}

static void add_option(struct ow_buf *to, const struct ow_flag *o)
{
    ow_buf_add_text(to, ".TP\n");
    if (o->letter)
        ow_buf_printf(to, "\\fB\\-%c\\fR, ", o->letter);
    ow_buf_add_text(to, "\\fB\\-\\-");
    add_text(to, o->name);
    ow_buf_add_text(to, "\\fR");
    for (size_t i = 0; o->type == OW_FLAG_CHOICE && o->choices[i]; i++)
        ow_buf_printf(to, "%s\\fB%s\\fR", i ? "|" : " ", o->choices[i]);
    if (o->type != OW_FLAG_CHOICE && o->argument)
        ow_buf_printf(to, " \\fI%s\\fR", o->argument);
    ow_buf_add_char(to, '\n');
    add_text(to, o->help);
    if (o->type == OW_FLAG_LIST)
        ow_buf_add_text(to, " (may be given many times)");
    if (o->default_text) {
        ow_buf_add_text(to, "; the default is \\fB");
        add_text(to, o->default_text);
        ow_buf_add_text(to, "\\fR");
    }
    ow_buf_add_char(to, '\n');
}

static void add_command(struct ow_buf *to, const struct ow_command *command)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf synopsis = {0};
    ow_help_synopsis(command, &synopsis);
    if (synopsis.has_failed) {
        to->has_failed = true;
        return;
    }
    add_heading(to, ".SS", synopsis.data);
    add_text(to, command->summary);
    ow_buf_add_text(to, ".\n");
    if (command->description) {
        ow_buf_add_text(to, ".PP\n");
        add_paragraphs(to, command->description);
    }
    for (const struct ow_argument *a = command->arguments; a && a->name; a++)
        add_entry(to, a->name, a->help);
    for (const struct ow_flag *o = command->options; o && o->name; o++)
        add_option(to, o);
}

static void add_examples(struct ow_buf *to, const struct ow_example *examples)
{
    for (const struct ow_example *e = examples; e && e->line; e++)
        add_entry(to, e->line, e->help);
}

static void add_urls(struct ow_buf *to)
{
    add_heading(to, ".SH", "URLS");
    add_text(to, "A URL names a store or a broker. Options follow the path: "
                 "journal:bus.db?partitions=8&retention=30d. In path and values %XX is one byte.\n");
    for (const struct ow_scheme *s = ow_schemes; s->name; s++) {
        char form[40];
        if (!s->is_supported || s->is_alias)
            continue;
        (void)snprintf(form, sizeof form, "%s%s", s->form, s->rest ? s->rest : s->has_path ? "PATH" : "");
        add_entry(to, form, s->help);
        for (const struct ow_option *o = s->options; o && o->key; o++) {
            const char *value = o->fallback ? o->fallback : o->choices ? o->choices[0] : NULL;
            if (!value) /* a map, which stands in a configuration file */
                continue;
            ow_buf_printf(to, ".RS\n.TP\n\\fB%s=\\fI%s\\fR\n", o->key, value);
            add_text(to, o->help);
            ow_buf_add_text(to, "\n.RE\n");
        }
    }
}

void ow_man_page(struct ow_buf *to)
{
    ow_buf_add_text(to, ".TH ONEWRITE 1 \"\" \"onewrite " OW_VERSION "\" \"User Commands\"\n.nh\n.ad l\n"
                        ".SH NAME\nonewrite \\- write to one, derive the rest\n"
                        ".SH SYNOPSIS\n.B onewrite\n\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n"
                        ".SH DESCRIPTION\n");
    add_paragraphs(to, ow_program_description);
    ow_buf_add_text(to, ".PP\nData goes to standard output, all else to standard error. Options may stand before, "
                        "between and after the arguments; \\fB\\-\\-\\fR ends them.\n.SH COMMANDS\n");
    for (const struct ow_command *const *c = ow_commands; *c; c++)
        if (!(*c)->is_hidden)
            add_command(to, *c);
    add_heading(to, ".SH", "OPTIONS OF EVERY COMMAND");
    for (const struct ow_flag *o = ow_flags_common; o->name; o++)
        add_option(to, o);
    add_urls(to);
    add_heading(to, ".SH", "EXIT STATUS");
    for (const struct ow_exit_status *s = ow_exit_statuses; s->meaning; s++) {
        char number[8];
        (void)snprintf(number, sizeof number, "%d", s->status);
        add_entry(to, number, s->meaning);
    }
    add_entries(to, "ENVIRONMENT", environment);
    add_entries(to, "FILES", files);
    add_heading(to, ".SH", "EXAMPLES");
    add_examples(to, ow_program_examples);
    for (const struct ow_command *const *c = ow_commands; *c; c++)
        if (!(*c)->is_hidden)
            add_examples(to, (*c)->examples);
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)options, (void)arguments, (void)count;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_man_page(&text);
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

const struct ow_command ow_command_man = {
    .name = "man",
    .summary = "print the manual page onewrite(1) as roff source",
    .is_hidden = true,
    .run = run,
};

/* --- onewrite config-reference ------------------------------------------------------------------------- */

static int run_config_reference(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)options, (void)arguments, (void)count;
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_config_print_reference(&text);
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

const struct ow_command ow_command_config_reference = {
    .name = "config-reference",
    .summary = "print a configuration with every key, its default and its meaning",
    .run = run_config_reference,
};
