/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion scripts for bash, zsh and fish, written from the tables of commands and options. They complete
 * commands, options, choices, and names of files, also behind the scheme of a URL where the shell can.
 */
#include "cmd/output.h"
#include "config/url.h"

/* Names and helps come from our own tables; only quotes and what a shell or _arguments reads need care. */
static void add_quoted(struct ow_buf *to, const char *text, const char *special)
{
    for (; *text; text++) {
        if (*text == '\'') {
            ow_buf_add_text(to, "'\\''");
            continue;
        }
        if (strchr(special, *text))
            ow_buf_add_char(to, '\\');
        ow_buf_add_char(to, *text);
    }
}

static bool names_file(const struct ow_flag *o)
{
    return o->argument && (strcmp(o->argument, "FILE") == 0 || strcmp(o->argument, "DIR") == 0);
}

#define EACH_COMMAND(c)                                                                     \
    for (const struct ow_command *const *at_##c = ow_commands, *c; (c = *at_##c); at_##c++) \
        if (!c->is_hidden)

/* "sqlite: journal: …" */
static void add_schemes(struct ow_buf *to)
{
    size_t count = 0;
    for (const struct ow_scheme *s = ow_schemes; s->name; s++)
        if (s->is_supported)
            ow_buf_printf(to, "%s%s", count++ ? " " : "", s->form);
}

/* --- bash --------------------------------------------------------------------------------------------- */

static void bash_words(struct ow_buf *to, const struct ow_flag *options)
{
    for (const struct ow_flag *o = options; o && o->name; o++) {
        ow_buf_printf(to, " --%s", o->name);
        if (o->letter)
            ow_buf_printf(to, " -%c", o->letter);
    }
}

static void bash_values(struct ow_buf *to, const char *command, const struct ow_flag *options)
{
    for (const struct ow_flag *o = options; o && o->name; o++) {
        if (o->type == OW_FLAG_BOOL)
            continue;
        ow_buf_printf(to, "    %s,--%s", command, o->name);
        if (o->letter)
            ow_buf_printf(to, " | %s,-%c", command, o->letter);
        ow_buf_add_text(to, ") ");
        if (o->type == OW_FLAG_CHOICE) {
            ow_buf_add_text(to, "COMPREPLY=($(compgen -W '");
            for (size_t i = 0; o->choices[i]; i++)
                ow_buf_printf(to, "%s%s", i ? " " : "", o->choices[i]);
            ow_buf_add_text(to, "' -- \"$cur\")); ");
        } else if (names_file(o)) {
            ow_buf_add_text(to, "COMPREPLY=($(compgen -f -- \"$cur\")); ");
        }
        ow_buf_add_text(to, "return ;;\n");
    }
}

static void bash_script(struct ow_buf *to)
{
    ow_buf_add_text(to, "# bash completion for onewrite\n"
                        "_onewrite()\n{\n"
                        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i\n"
                        "    COMPREPLY=()\n"
                        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                        "        case ${COMP_WORDS[i]} in -*) ;; *) command=${COMP_WORDS[i]}; break ;; esac\n"
                        "    done\n"
                        "    local words='");
    EACH_COMMAND(c)
    ow_buf_printf(to, "%s ", c->name);
    ow_buf_add_text(to, "--version");
    bash_words(to, ow_flags_common);
    ow_buf_add_text(to, "'\n    case $command,$prev in\n");
    EACH_COMMAND(c)
    bash_values(to, c->name, c->options);
    bash_values(to, "*", ow_flags_common);
    ow_buf_add_text(to, "    esac\n    case $command in\n");
    EACH_COMMAND(c)
    {
        ow_buf_printf(to, "    %s) words='", c->name);
        for (const struct ow_argument *a = c->arguments; a && a->name; a++)
            if (a->kind == OW_ARGUMENT_COMMAND)
                EACH_COMMAND(other)
        ow_buf_printf(to, "%s ", other->name);
        bash_words(to, c->options);
        bash_words(to, ow_flags_common);
        ow_buf_add_text(to, "' ;;\n");
    }
    /* Bash cuts words at colons: behind "sqlite:" the word to complete is the path alone. */
    ow_buf_add_text(to, "    esac\n"
                        "    if [[ $cur == -* || -z $command || $command == help ]]; then\n"
                        "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                        "        return\n"
                        "    fi\n"
                        "    [[ $cur == : ]] && cur=\n"
                        "    COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                        "    [[ $prev == : || ${COMP_WORDS[COMP_CWORD]} == : ]] ||\n"
                        "        COMPREPLY+=($(compgen -W '");
    add_schemes(to);
    ow_buf_add_text(to, "' -- \"$cur\"))\n}\ncomplete -o filenames -F _onewrite onewrite\n");
}

/* --- zsh ---------------------------------------------------------------------------------------------- */

static void zsh_option(struct ow_buf *to, const struct ow_flag *o)
{
    ow_buf_add_text(to, "        '");
    if (o->type == OW_FLAG_LIST)
        ow_buf_add_char(to, '*');
    ow_buf_printf(to, o->type == OW_FLAG_BOOL ? "--%s[" : "--%s=[", o->name);
    add_quoted(to, o->help, "[]:\\");
    ow_buf_add_char(to, ']');
    if (o->type != OW_FLAG_BOOL) {
        ow_buf_printf(to, ":%s:", o->argument ? o->argument : "value");
        if (names_file(o))
            ow_buf_add_text(to, "_files");
        if (o->type == OW_FLAG_CHOICE) {
            ow_buf_add_char(to, '(');
            for (size_t i = 0; o->choices[i]; i++)
                ow_buf_printf(to, "%s%s", i ? " " : "", o->choices[i]);
            ow_buf_add_char(to, ')');
        }
    }
    ow_buf_add_text(to, "' \\\n");
}

static void zsh_command(struct ow_buf *to, const struct ow_command *c)
{
    ow_buf_printf(to, "    %s)\n        _arguments \\\n", c->name);
    for (const struct ow_flag *o = c->options; o && o->name; o++)
        zsh_option(to, o);
    for (const struct ow_flag *o = ow_flags_common; o->name; o++)
        zsh_option(to, o);
    for (const struct ow_argument *a = c->arguments; a && a->name; a++) {
        ow_buf_printf(to, "        '%s:%s:", a->kind == OW_ARGUMENT_TEXTS ? "*" : a->is_optional ? ":" : "", a->name);
        if (a->kind == OW_ARGUMENT_FILE)
            ow_buf_add_text(to, "_files");
        else if (a->kind == OW_ARGUMENT_URL)
            ow_buf_add_text(to, "_onewrite_url");
        else if (a->kind == OW_ARGUMENT_COMMAND)
            ow_buf_add_text(to, "_onewrite_commands");
        ow_buf_add_text(to, "' \\\n");
    }
    ow_buf_add_text(to, "        && return ;;\n");
}

static void zsh_script(struct ow_buf *to)
{
    ow_buf_add_text(to, "#compdef onewrite\n"
                        "_onewrite_commands()\n{\n    local -a commands=(\n");
    EACH_COMMAND(c)
    {
        ow_buf_printf(to, "        '%s:", c->name);
        add_quoted(to, c->summary, ":\\");
        ow_buf_add_text(to, "'\n");
    }
    ow_buf_add_text(to, "    )\n    _describe command commands\n}\n"
                        "_onewrite_url()\n{\n"
                        "    if compset -P '*:'; then\n        _files\n    else\n        compadd -S '' -- ");
    add_schemes(to);
    ow_buf_add_text(to, "\n        _files\n    fi\n}\n"
                        "_onewrite()\n{\n"
                        "    local context state line\n    local -A opt_args\n"
                        "    _arguments -C '--version[show the version]' '1: :_onewrite_commands' '*:: :->rest' "
                        "&& [[ $state != rest ]] && return\n"
                        "    [[ $state == rest ]] || return\n"
                        "    case $line[1] in\n");
    EACH_COMMAND(c)
    zsh_command(to, c);
    ow_buf_add_text(
        to, "    esac\n}\n"
            "if [ \"$funcstack[1]\" = _onewrite ]; then _onewrite \"$@\"; else compdef _onewrite onewrite; fi\n");
}

/* --- fish --------------------------------------------------------------------------------------------- */

static void fish_option(struct ow_buf *to, const struct ow_flag *o, const char *command)
{
    ow_buf_add_text(to, "complete -c onewrite");
    if (command)
        ow_buf_printf(to, " -n '__fish_seen_subcommand_from %s'", command);
    ow_buf_printf(to, " -l %s", o->name);
    if (o->letter)
        ow_buf_printf(to, " -s %c", o->letter);
    if (o->type == OW_FLAG_CHOICE) {
        ow_buf_add_text(to, " -x -a '");
        for (size_t i = 0; o->choices[i]; i++)
            ow_buf_printf(to, "%s%s", i ? " " : "", o->choices[i]);
        ow_buf_add_char(to, '\'');
    } else if (o->type != OW_FLAG_BOOL) {
        ow_buf_add_text(to, names_file(o) ? " -r -F" : " -x");
    }
    ow_buf_add_text(to, " -d '");
    /* Fish, unlike the others, knows \' within single quotes. */
    for (const char *s = o->help; *s; s++) {
        if (*s == '\'' || *s == '\\')
            ow_buf_add_char(to, '\\');
        ow_buf_add_char(to, *s);
    }
    ow_buf_add_text(to, "'\n");
}

static void fish_script(struct ow_buf *to)
{
    ow_buf_add_text(to, "# fish completion for onewrite\n"
                        "complete -c onewrite -n __fish_use_subcommand -f -l version -d 'show the version'\n");
    EACH_COMMAND(c)
    {
        ow_buf_printf(to, "complete -c onewrite -n __fish_use_subcommand -f -a %s -d '", c->name);
        ow_buf_add_text(to, c->summary);
        ow_buf_add_text(to, "'\n");
        for (const struct ow_argument *a = c->arguments; a && a->name; a++) {
            if (a->kind == OW_ARGUMENT_COMMAND)
                EACH_COMMAND(other)
            ow_buf_printf(to, "complete -c onewrite -n '__fish_seen_subcommand_from %s' -f -a %s\n", c->name,
                          other->name);
            if (a->kind != OW_ARGUMENT_URL)
                continue;
            ow_buf_printf(to, "complete -c onewrite -n '__fish_seen_subcommand_from %s' -a '", c->name);
            add_schemes(to);
            ow_buf_add_text(to, "'\n");
        }
        for (const struct ow_flag *o = c->options; o && o->name; o++)
            fish_option(to, o, c->name);
    }
    for (const struct ow_flag *o = ow_flags_common; o->name; o++)
        fish_option(to, o, NULL);
}

/* --- the command -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*script)(struct ow_buf *to);
} shells[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    (void)options, (void)count;
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(arguments[0], shells[i].name) != 0)
            continue;
        OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
        shells[i].script(&text);
        int r = ow_buf_check(&text, err);
        return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
    }
    return ow_error_set(err, OW_EUSAGE, "unknown shell \"%.*s\"; write bash, zsh or fish",
                        OW_PRINT(ow_bytes_of(arguments[0])));
}

static const struct ow_argument arguments[] = {
    {"SHELL", "bash, zsh or fish", OW_ARGUMENT_TEXT, false},
    {0},
};

static const struct ow_example examples[] = {
    {"source <(onewrite completion bash)", "completes commands, options and files in this shell"},
    {"onewrite completion fish > ~/.config/fish/completions/onewrite.fish", "does so in every fish"},
    {0},
};

const struct ow_command ow_command_completion = {
    .name = "completion",
    .summary = "print a script that completes command lines in a shell",
    .arguments = arguments,
    .description =
        "Prints a completion script for the shell on standard output. Source it from the shell's start file, "
        "or put it where the shell looks for completions.",
    .examples = examples,
    .run = run,
};
