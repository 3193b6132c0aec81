/* SPDX-License-Identifier: Apache-2.0 */
/* The reference of the configuration, written from the tables that read it. */
#include "config/schema.h"

static void indent(struct ow_buf *to, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        ow_buf_add_text(to, "  ");
}

static void comment(struct ow_buf *to, unsigned depth, const char *text)
{
    while (text) {
        const char *line_end = strchr(text, '\n');
        size_t size = line_end ? (size_t)(line_end - text) : strlen(text);
        indent(to, depth);
        ow_buf_printf(to, "# %.*s\n", (int)size, text);
        text = line_end ? line_end + 1 : NULL;
    }
}

/* Quoted where YAML would read something else. */
static void value(struct ow_buf *to, const char *text)
{
    size_t n = strlen(text);
    bool is_plain = n > 0 && !strpbrk(text, "{}[]!&*#?|<>=%@`\"'$") && text[n - 1] != ':' && !strstr(text, ": ");
    ow_buf_printf(to, is_plain ? " %s\n" : " \"%s\"\n", text);
}

static void scalar(struct ow_buf *to, unsigned depth, const struct ow_option *option)
{
    comment(to, depth, option->help);
    bool is_optional = !option->is_required && !option->fallback;
    indent(to, depth);
    /* What would not stand alone, or would hide what another place says, is shown and left out. */
    ow_buf_printf(to, "%s%s:", is_optional || option->needs ? "# " : "", option->key);
    value(to, option->fallback ? option->fallback : option->sample);
    if (option->needs) {
        to->size--;
        ow_buf_printf(to, "   # with %s\n", option->needs);
    }
}

/* What a place may be told beside its URL. Maps are shown and left out: what is in them needs the rest. */
static void place_option(struct ow_buf *to, unsigned depth, const struct ow_option *option)
{
    if (option->type != OW_OPTION_GROUP && option->type != OW_OPTION_MAP) {
        scalar(to, depth, option);
        return;
    }
    comment(to, depth, option->help);
    indent(to, depth);
    if (option->type == OW_OPTION_MAP) {
        ow_buf_printf(to, "# %s: %s\n", option->key, option->sample);
        return;
    }
    ow_buf_printf(to, "# %s:%s%s\n", option->key, option->sample ? " " : "", option->sample ? option->sample : "");
    for (const struct ow_option *inner = option->group; inner->key; inner++) {
        OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
        place_option(&text, 0, inner);
        const char *line = ow_buf_bytes(&text).data;
        while (*line) {
            size_t size = strcspn(line, "\n");
            indent(to, depth);
            ow_buf_printf(to, "#   %.*s\n", (int)size, line);
            line += size + (line[size] == '\n');
        }
    }
}

static void places(struct ow_buf *to, unsigned depth, unsigned kind)
{
    for (const struct ow_scheme *scheme = ow_schemes; scheme->name; scheme++) {
        if (!scheme->is_supported || scheme->is_alias || !(scheme->kinds & kind))
            continue;
        comment(to, depth, scheme->help);
        indent(to, depth);
        ow_buf_printf(to, "%s:", scheme->sample_name);
        if (!scheme->options) {
            value(to, scheme->sample);
            continue;
        }
        ow_buf_add_char(to, '\n');
        indent(to, depth + 1);
        ow_buf_add_text(to, "url:");
        value(to, scheme->sample);
        for (const struct ow_option *option = scheme->options; option->key; option++)
            place_option(to, depth + 1, option);
    }
}

static void table(struct ow_buf *to, unsigned depth, const struct ow_option *options)
{
    for (const struct ow_option *option = options; option->key; option++) {
        bool is_nested = option->type == OW_OPTION_GROUP || option->type == OW_OPTION_MAP ||
                         option->type == OW_OPTION_LIST;
        if (option->type == OW_OPTION_LATER)
            continue;
        if (depth == 0)
            ow_buf_add_char(to, '\n');
        if (!is_nested) {
            scalar(to, depth, option);
            continue;
        }
        bool is_instead = option->type == OW_OPTION_GROUP && option->needs;
        if ((option->type == OW_OPTION_MAP && depth > 0) || is_instead) {
            place_option(to, depth, option);
            continue;
        }
        comment(to, depth, option->help);
        indent(to, depth);
        ow_buf_printf(to, "%s:\n", option->key);
        if (option->type == OW_OPTION_MAP) {
            places(to, depth + 1, strcmp(option->key, "stores") == 0 ? OW_URL_STORE : OW_URL_BROKER);
        } else if (option->type == OW_OPTION_LIST) {
            indent(to, depth + 1);
            ow_buf_add_text(to, "-\n");
            table(to, depth + 2, option->group);
        } else {
            table(to, depth + 1, option->group);
        }
    }
}

void ow_config_print_reference(struct ow_buf *to)
{
    ow_buf_add_text(to,
                    "# A configuration of onewrite with every key, its default and what it means. Of these, version,\n"
                    "# relays, and in a relay name, from.store and to.broker are required.\n"
                    "#\n"
                    "# In values ${VAR} is a variable of the environment, ${VAR:-default} the same with a default,\n"
                    "# ${VAR:?message} with an error, ${file:PATH} what a file holds, and $$ a dollar sign.\n"
                    "# Durations are 250ms, 10s, 5m, 2h, 7d, sizes 512B, 64KiB, 16MiB, 2GiB.\n");
    table(to, 0, ow_config_options);
}
