/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands: one table of what the program can do, and for each command one table of its options. The same
 * tables drive parsing, --help, the man page and the completions of shells, so that none of them can tell
 * another story than the rest.
 *
 * A command lives in one file, which defines its `struct ow_command`; command.c lists them all. main()
 * parses the line, sets up the log, runs the command, prints its error once, and ends with its status.
 * All of this belongs to the main thread.
 *
 *     struct relay_options {
 *         const char *topic;
 *         int64_t wait_ms;
 *     };
 *     static const struct ow_flag options[] = {
 *         {"topic", 't', "TEMPLATE", OW_FLAG_STRING, "outbox.event.${!aggregatetype}",
 *          "where messages go", offsetof(struct relay_options, topic)},
 *         {"wait", 0, "DURATION", OW_FLAG_DURATION, "0", "wait this long for …",
 *          offsetof(struct relay_options, wait_ms)},
 *         {0},
 *     };
 */
#ifndef OW_CMD_COMMAND_H
#define OW_CMD_COMMAND_H

#include "base/bytes.h"
#include "base/log.h"

/* What an option is, and the type of the field it is stored in. A "flag" is an option of the command line, not
   one of the configuration (config/option.h). */
enum ow_flag_type {
    OW_FLAG_BOOL,     /* bool; no argument: it is there or not */
    OW_FLAG_STRING,   /* const char *; points into argv or to the default text */
    OW_FLAG_LIST,     /* struct ow_flag_list; may be given many times */
    OW_FLAG_INTEGER,  /* int64_t, within [low, high] */
    OW_FLAG_DURATION, /* int64_t in milliseconds, within [low, high] */
    OW_FLAG_SIZE,     /* int64_t in bytes, within [low, high] */
    OW_FLAG_CHOICE,   /* int: the index in `choices` */
};

struct ow_flag_list {
    const char **values; /* the parser's, with the rest of the options */
    size_t count;
};

struct ow_flag {
    const char *name;     /* long name without dashes; NULL ends a table */
    char letter;          /* short name; 0: none. q, v and h are everybody's */
    const char *argument; /* "URL", "DURATION"; NULL for BOOL; for CHOICE the choices are shown instead */
    enum ow_flag_type type;
    const char *default_text;   /* as a person would write it, shown in the help; NULL: the field stays zero */
    const char *help;           /* a clause without capital and full stop */
    size_t offset;              /* of the field in the command's struct of options */
    const char *const *choices; /* CHOICE: ended by NULL */
    int64_t low, high;          /* both 0: from 0 to INT64_MAX */
};

/* What a person has to put there: for the completions of shells. */
enum ow_argument_kind {
    OW_ARGUMENT_TEXT,
    OW_ARGUMENT_URL,
    OW_ARGUMENT_FILE,
    OW_ARGUMENT_COMMAND,
    OW_ARGUMENT_TEXTS, /* any number of them; the last */
};

struct ow_argument {
    const char *name; /* "FROM"; NULL ends the list */
    const char *help;
    enum ow_argument_kind kind;
    bool is_optional;
};

struct ow_example {
    const char *line; /* what to type; NULL ends the list */
    const char *help; /* what it does */
};

struct ow_command {
    const char *name;
    const char *summary;                 /* one line without full stop */
    const struct ow_argument *arguments; /* NULL: takes none */
    const char *description;             /* paragraphs, an empty line between; wrapped when printed */
    const struct ow_example *examples;   /* may be NULL */
    const struct ow_flag *options;       /* may be NULL */
    size_t options_size;                 /* sizeof its struct of options */
    bool is_hidden;                      /* left out of the lists, but works */
    /* `options` is the struct that the options table describes. Returns 0; an OW_E… code, `err` filled, which
       main() prints as "onewrite: <text>" and turns into its exit status; or an exit status > 0, taken as it
       is, where the command has said on standard error all there is to say. */
    int (*run)(const void *options, char *const *arguments, size_t count, struct ow_error *err);
};

/* All of them, in the order of the help, ended by NULL. */
extern const struct ow_command *const ow_commands[];
/* NULL: there is none of this name. */
const struct ow_command *ow_command_find(const char *name);
/* OW_EUSAGE with the nearest name. */
int ow_command_unknown(const char *name, struct ow_error *err);

/* What help and man page say of the program as a whole. */
extern const char ow_program_description[];
extern const struct ow_example ow_program_examples[];

/* --- options that every command has (flags.c) ------------------------------------------------------- */

struct ow_common_options {
    bool is_quiet, is_verbose, wants_help;
    int log_format; /* enum ow_log_format */
};
extern const struct ow_flag ow_flags_common[];
extern const struct ow_flag ow_flag_version[]; /* --version, before any command */

/* --- parsing (flags.c) ------------------------------------------------------------------------------ */

struct ow_parsed {
    void *options; /* of options_size bytes; owned, with the lists in it */
    struct ow_common_options common;
    char **arguments; /* owned array of pointers into argv */
    size_t argument_count;
    size_t consumed;                  /* words of argv that were looked at */
    const struct ow_command *command; /* private to the parser */
};

/* Reads argv[0 … argc), the words after the command's name. Options may stand anywhere, "--name=value",
   "--name value", "-nvalue" and "-n value" are the same, "--" ends them, a single "-" is an argument.
   OW_EUSAGE names the word at fault and, where one is near, what may have been meant. With wants_help set
   no missing argument is an error. */
int ow_flags_parse(const struct ow_command *command, int argc, char *const *argv, struct ow_parsed *ret,
                   struct ow_error *err) OW_MUST_CHECK;
/* Reads the common options (and --version) that stand before the command's name; ret->consumed words. */
int ow_flags_parse_global(int argc, char *const *argv, struct ow_parsed *ret, bool *ret_wants_version,
                          struct ow_error *err) OW_MUST_CHECK;
void ow_parsed_done(struct ow_parsed *parsed);

/* --- texts made of the tables (help.c, man.c, completion.c) -------------------------------------------- */

void ow_help_short(struct ow_buf *to);                                      /* usage and commands */
void ow_help_program(struct ow_buf *to);                                    /* onewrite --help */
void ow_help_command(const struct ow_command *command, struct ow_buf *to);  /* onewrite COMMAND --help */
void ow_help_synopsis(const struct ow_command *command, struct ow_buf *to); /* "onewrite relay [OPTION]… FROM TO" */
/* Breaks text into lines of at most `width` columns, each begun with `indent` spaces but the first of each
   paragraph, which goes on where the buffer stands. Lines that begin with two spaces are left as they are. */
void ow_help_wrap(struct ow_buf *to, const char *text, size_t indent, size_t width);

struct ow_exit_status {
    int status;
    const char *meaning; /* NULL ends the table */
};
extern const struct ow_exit_status ow_exit_statuses[];

/* The manual page onewrite(1), as roff source. */
void ow_man_page(struct ow_buf *to);

/* --- for commands -------------------------------------------------------------------------------------- */

/* A line for a person on standard error, without prefix; nothing with --quiet. */
void ow_say(const char *format, ...) OW_PRINTF(1, 2);
/* "onewrite: <text>" on standard error, also with --quiet: for a command that has several to print. */
void ow_complain(const char *format, ...) OW_PRINTF(1, 2);
bool ow_is_quiet(void);
void ow_say_setup(bool is_quiet);

/* Reads a URL that a person typed; `kinds` are of enum ow_url_kind. Errors as ow_url_parse(), but OW_EUSAGE
   where the text is no URL or none of these kinds. End it with ow_url_done(). */
struct ow_url;
int ow_command_url(const char *text, unsigned kinds, struct ow_url *ret, struct ow_error *err) OW_MUST_CHECK;

extern const struct ow_command ow_command_relay, ow_command_run, ow_command_validate, ow_command_check, ow_command_init,
    ow_command_status, ow_command_drop, ow_command_publish, ow_command_tail, ow_command_demo, ow_command_completion,
    ow_command_version, ow_command_help, ow_command_dlq, ow_command_import_debezium, ow_command_man,
    ow_command_config_reference, ow_command_crash_points;

#endif
