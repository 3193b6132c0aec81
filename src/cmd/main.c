/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program: finds the command, reads its options, runs it, says once what went wrong, and ends with the
 * status that stands in the table of errors.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cmd/output.h"

static void setup_log(const struct ow_common_options *global, const struct ow_common_options *own)
{
    bool is_quiet = global->is_quiet || own->is_quiet, is_verbose = global->is_verbose || own->is_verbose;
    int format = own->log_format != OW_LOG_AUTO ? own->log_format : global->log_format;
    ow_log_setup(is_quiet ? OW_LOG_ERROR : is_verbose ? OW_LOG_DEBUG : OW_LOG_INFO, (enum ow_log_format)format);
    ow_say_setup(is_quiet);
}

static int print_help(const struct ow_command *command, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    if (command)
        ow_help_command(command, &text);
    else
        ow_help_program(&text);
    int r = ow_buf_check(&text, err);
    return r < 0 ? r : ow_output_write(ow_buf_bytes(&text), err);
}

static int refuse_without_command(void)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_help_short(&text);
    if (!text.has_failed && write(STDERR_FILENO, text.data, text.size) < 0) {
        /* There is nowhere left to say so. */
    }
    return 2;
}

static int run_command(const char *name, const struct ow_common_options *global, int argc, char *const *argv,
                       struct ow_error *err)
{
    OW_CLEANUP(ow_parsed_done) struct ow_parsed parsed = {0};
    const struct ow_command *command = ow_command_find(name);
    if (!command)
        return ow_command_unknown(name, err);
    int r = ow_flags_parse(command, argc, argv, &parsed, err);
    if (r < 0)
        return r;
    if (global->wants_help || parsed.common.wants_help)
        return print_help(command, err);
    setup_log(global, &parsed.common);
    return command->run(parsed.options, parsed.arguments, parsed.argument_count, err);
}

static int run(int argc, char *const *argv, struct ow_error *err)
{
    OW_CLEANUP(ow_parsed_done) struct ow_parsed global = {0};
    bool wants_version = false;
    int r = ow_flags_parse_global(argc - 1, argv + 1, &global, &wants_version, err);
    if (r < 0)
        return r;
    int at = 1 + (int)global.consumed;
    if (wants_version)
        return run_command("version", &global.common, 0, NULL, err);
    if (at < argc)
        return run_command(argv[at], &global.common, argc - at - 1, argv + at + 1, err);
    return global.common.wants_help ? print_help(NULL, err) : refuse_without_command();
}

/* Started with a standard descriptor closed, the program must not get a database under its number. What stands in
   for it cannot be written to: what is printed is not lost silently. */
static void keep_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
}

int main(int argc, char **argv)
{
    struct ow_error err = {0};
    keep_standard_descriptors();
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error of write(2), not the end */
    (void)signal(SIGXFSZ, SIG_IGN); /* and so is a limit of the size of files */
    int r = run(argc, argv, &err);
    if (r >= 0)
        return r;
    if (r == OW_ECLOSED && ow_output_is_closed())
        return 0;
    ow_complain("%s", err.text[0] ? err.text : ow_error_name(r));
    return ow_error_exit_status(r);
}
