/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a command line against the tables of options. */
#include "cmd/command.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "config/option.h"

static const char *const log_formats[] = {"auto", "text", "logfmt", "json", NULL};

const struct ow_flag ow_flags_common[] = {
    {"quiet", 'q', NULL, OW_FLAG_BOOL, NULL, "say nothing but errors and data",
     offsetof(struct ow_common_options, is_quiet)},
    {"verbose", 'v', NULL, OW_FLAG_BOOL, NULL, "log what is done in detail",
     offsetof(struct ow_common_options, is_verbose)},
    {"log-format", 0, "FORMAT", OW_FLAG_CHOICE, "auto",
     "how the log is written; auto is text on a terminal, else logfmt", offsetof(struct ow_common_options, log_format),
     log_formats},
    {"help", 'h', NULL, OW_FLAG_BOOL, NULL, "show this help", offsetof(struct ow_common_options, wants_help)},
    {0},
};

const struct ow_flag ow_flag_version[] = {
    {"version", 0, NULL, OW_FLAG_BOOL, NULL, "show the version", 0},
    {0},
};

static const struct ow_flag no_options[] = {{0}};
static const struct ow_argument no_arguments[] = {{0}};

/* --- values ------------------------------------------------------------------------------------------- */

static int bad_value(const struct ow_flag *option, const char *text, const char *what, struct ow_error *err)
{
    return ow_error_set(err, OW_EUSAGE, "option --%s: \"%.*s\" %s", option->name, OW_PRINT(ow_bytes_of(text)), what);
}

static int set_choice(const struct ow_flag *option, const char *text, int *ret, struct ow_error *err)
{
    char all[160] = "is none of ";
    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *ret = i;
            return 0;
        }
        size_t n = strlen(all);
        (void)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", option->choices[i]);
    }
    return bad_value(option, text, all, err);
}

static int set_number(const struct ow_flag *option, const char *text, int64_t *ret, struct ow_error *err)
{
    bool is_bounded = option->low || option->high;
    int64_t low = is_bounded ? option->low : 0, high = is_bounded ? option->high : INT64_MAX, value = 0;
    struct ow_bytes bytes = ow_bytes_of(text);
    int r = option->type == OW_FLAG_DURATION ? ow_duration_parse(bytes, &value, err)
            : option->type == OW_FLAG_SIZE   ? ow_size_parse(bytes, &value, err)
                                             : ow_integer_parse(bytes, low, high, &value, err);
    if (r < 0) {
        (void)ow_error_prefix(err, "option --%s", option->name);
        err->code = OW_EUSAGE;
        return OW_EUSAGE;
    }
    if (value < low || value > high) {
        char low_text[OW_UNIT_TEXT_SIZE], high_text[OW_UNIT_TEXT_SIZE], what[128];
        char *(*format)(int64_t, char *) = option->type == OW_FLAG_SIZE ? ow_size_format : ow_duration_format;
        (void)snprintf(what, sizeof what, "is not within %s and %s", format(low, low_text), format(high, high_text));
        return bad_value(option, text, what, err);
    }
    *ret = value;
    return 0;
}

static int set_option(const struct ow_flag *option, const char *text, void *base, struct ow_error *err)
{
    void *field = (char *)base + option->offset;
    switch (option->type) {
    case OW_FLAG_BOOL:
        *(bool *)field = true;
        return 0;
    case OW_FLAG_STRING:
        *(const char **)field = text;
        return 0;
    case OW_FLAG_LIST:
        ((struct ow_flag_list *)field)->values[((struct ow_flag_list *)field)->count++] = text;
        return 0;
    case OW_FLAG_CHOICE:
        return set_choice(option, text, field, err);
    case OW_FLAG_INTEGER:
    case OW_FLAG_DURATION:
    case OW_FLAG_SIZE:
        return set_number(option, text, field, err);
    }
    return ow_error_set(err, OW_EINTERNAL, "option --%s has no type", option->name);
}

/* Room in each list for all the words that there are. */
static int make_lists(const struct ow_flag *options, void *base, size_t words, struct ow_error *err)
{
    for (; options->name; options++) {
        if (options->type != OW_FLAG_LIST)
            continue;
        struct ow_flag_list *list = (void *)((char *)base + options->offset);
        list->values = calloc(words + 1, sizeof *list->values);
        if (!list->values)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    return 0;
}

static int set_defaults(const struct ow_flag *options, void *base, struct ow_error *err)
{
    for (; options->name; options++) {
        int r = options->default_text ? set_option(options, options->default_text, base, err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- words -------------------------------------------------------------------------------------------- */

/* Where an option was found: the tables that are searched, each with the struct that it fills. */
struct tables {
    const struct ow_flag *options[3];
    void *bases[3];
    size_t count;
    const char *hint; /* what to read for more: "onewrite relay --help" */
};

static const struct ow_flag *find_long(const struct tables *tables, const char *name, size_t length, void **ret_base)
{
    for (size_t t = 0; t < tables->count; t++)
        for (const struct ow_flag *o = tables->options[t]; o->name; o++)
            if (strlen(o->name) == length && memcmp(o->name, name, length) == 0) {
                *ret_base = tables->bases[t];
                return o;
            }
    return NULL;
}

static const struct ow_flag *find_short(const struct tables *tables, char letter, void **ret_base)
{
    for (size_t t = 0; t < tables->count; t++)
        for (const struct ow_flag *o = tables->options[t]; o->name; o++)
            if (o->letter == letter) {
                *ret_base = tables->bases[t];
                return o;
            }
    return NULL;
}

static int unknown_option(const struct tables *tables, const char *name, size_t length, struct ow_error *err)
{
    struct ow_nearest nearest = {.word = {name, length}};
    for (size_t t = 0; t < tables->count; t++)
        for (const struct ow_flag *o = tables->options[t]; o->name; o++)
            ow_nearest_offer(&nearest, o->name);
    if (nearest.best)
        return ow_error_set(err, OW_EUSAGE, "unknown option --%.*s; did you mean --%s?", OW_PRINT(nearest.word),
                            nearest.best);
    return ow_error_set(err, OW_EUSAGE, "unknown option --%.*s; see %s", OW_PRINT(nearest.word), tables->hint);
}

/* argv[*at] is "--name" or "--name=value". */
static int read_long(const struct tables *tables, int argc, char *const *argv, int *at, struct ow_error *err)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    void *base;
    const struct ow_flag *option = find_long(tables, name, length, &base);
    if (!option)
        return unknown_option(tables, name, length, err);
    if (option->type == OW_FLAG_BOOL && equals)
        return ow_error_set(err, OW_EUSAGE, "option --%s takes no value", option->name);
    const char *value = equals ? equals + 1 : NULL;
    if (option->type != OW_FLAG_BOOL && !value) {
        if (*at + 1 >= argc)
            return ow_error_set(err, OW_EUSAGE, "option --%s needs a value: --%s %s", option->name, option->name,
                                option->argument);
        value = argv[++*at];
    }
    return set_option(option, value, base, err);
}

/* argv[*at] is "-a", "-abc", "-ovalue" or "-o value". */
static int read_short(const struct tables *tables, int argc, char *const *argv, int *at, struct ow_error *err)
{
    for (const char *s = argv[*at] + 1; *s; s++) {
        void *base;
        const struct ow_flag *option = find_short(tables, *s, &base);
        if (!option)
            return ow_error_set(err, OW_EUSAGE, "unknown option -%c; see %s", *s, tables->hint);
        if (option->type == OW_FLAG_BOOL) {
            int r = set_option(option, NULL, base, err);
            if (r < 0)
                return r;
            continue;
        }
        const char *value = s[1] == '=' ? s + 2 : s + 1;
        if (!s[1]) {
            if (*at + 1 >= argc)
                return ow_error_set(err, OW_EUSAGE, "option -%c needs a value: -%c %s", *s, *s, option->argument);
            value = argv[++*at];
        }
        return set_option(option, value, base, err);
    }
    return 0;
}

static int check_arguments(const struct ow_command *command, char *const *arguments, size_t count, struct ow_error *err)
{
    const struct ow_argument *a = command->arguments ? command->arguments : no_arguments;
    size_t i = 0;
    for (; a->name && i < count; a += a->kind != OW_ARGUMENT_TEXTS, i++)
        if (arguments[i][0] == '\0')
            return ow_error_set(err, OW_EUSAGE, "%s is empty; see onewrite %s --help", a->name, command->name);
    if (i < count)
        return ow_error_set(err, OW_EUSAGE, "\"%.*s\" is one argument too many; see onewrite %s --help",
                            OW_PRINT(ow_bytes_of(arguments[i])), command->name);
    if (a->name && !a->is_optional)
        return ow_error_set(err, OW_EUSAGE, "%s is missing; see onewrite %s --help", a->name, command->name);
    return 0;
}

int ow_flags_parse(const struct ow_command *command, int argc, char *const *argv, struct ow_parsed *ret,
                   struct ow_error *err)
{
    char hint[64];
    const struct ow_flag *own = command->options ? command->options : no_options;
    (void)snprintf(hint, sizeof hint, "onewrite %s --help", command->name);
    ret->command = command;
    ret->options = calloc(1, command->options_size ? command->options_size : 1);
    char **arguments = ret->arguments = calloc((size_t)argc + 1, sizeof *arguments);
    if (!ret->options || !arguments)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    int r = make_lists(own, ret->options, (size_t)argc, err);
    if (r == 0)
        r = set_defaults(own, ret->options, err);
    if (r < 0)
        return r;
    struct tables tables = {
        .options = {own, ow_flags_common}, .bases = {ret->options, &ret->common}, .count = 2, .hint = hint};
    bool is_ended = false;
    size_t count = 0;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        r = 0;
        if (is_ended || word[0] != '-' || word[1] == '\0')
            arguments[count++] = argv[i];
        else if (word[1] != '-')
            r = read_short(&tables, argc, argv, &i, err);
        else if (word[2] == '\0')
            is_ended = true;
        else
            r = read_long(&tables, argc, argv, &i, err);
        if (r < 0)
            return r;
        ret->consumed = (size_t)i + 1;
    }
    ret->argument_count = count;
    return ret->common.wants_help ? 0 : check_arguments(command, arguments, count, err);
}

int ow_flags_parse_global(int argc, char *const *argv, struct ow_parsed *ret, bool *ret_wants_version,
                          struct ow_error *err)
{
    struct tables tables = {.options = {ow_flags_common, ow_flag_version},
                            .bases = {&ret->common, ret_wants_version},
                            .count = 2,
                            .hint = "onewrite --help"};
    int r = set_defaults(ow_flags_common, &ret->common, err);
    int i = 0;
    for (; r == 0 && i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        r = argv[i][1] == '-' ? read_long(&tables, argc, argv, &i, err) : read_short(&tables, argc, argv, &i, err);
    }
    ret->consumed = (size_t)i;
    return r;
}

void ow_parsed_done(struct ow_parsed *parsed)
{
    const struct ow_flag *o = parsed->command && parsed->command->options ? parsed->command->options : no_options;
    for (; parsed->options && o->name; o++)
        if (o->type == OW_FLAG_LIST)
            free(((struct ow_flag_list *)(void *)((char *)parsed->options + o->offset))->values);
    free(parsed->options);
    free(parsed->arguments);
    parsed->options = NULL;
    parsed->arguments = NULL;
}
