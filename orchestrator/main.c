/* Entry point: reads the command line by the table of subcommands, runs one, and turns errors into an exit status. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "common/crash.h"
#include "common/version.h"
#include "orchestrator/command.h"
#include "orchestrator/printable.h"

/* Blocks of this size and more grow in place and go back to the system when they are freed: by itself the library stops
 * doing so after the first. */
enum { LARGE_BLOCK_BYTES = 256 << 10 };

/* The message may name files and values of any content, on several lines. */
static int fail(const struct err *err)
{
    struct text message = {0};
    printable_add_lines(&message, err->message, "");
    fprintf(stderr, "nightsweep: %s", message.data ? message.data : "no memory\n");
    text_done(&message);
    return err_exit_status(err->code);
}

/* Standard output may be a full disk: what was printed must be known to have arrived. A reader that had enough of it
 * (`| head`) is no failure. */
static int flush(int status, struct err *err)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE)
        return status;
    err_set_errno(err, "standard output");
    return status == 0 ? fail(err) : status;
}

static int print(const struct command_line *line, struct err *err)
{
    struct text out = {0};
    int rc = 0;
    if (line->action == COMMAND_VERSION)
        text_printf(&out, "nightsweep %s (%s)\n", version_program(), version_commit());
    else if (line->action == COMMAND_MAN)
        command_add_man(&out, line->command);
    else if (line->action == COMMAND_COMPLETION)
        rc = command_add_completion(&out, line->shell, err);
    else if (line->action == COMMAND_LIST)
        for (const struct command *const *command = commands; *command; command++)
            text_printf(&out, "%s\n", (*command)->name);
    else if (line->action == COMMAND_CRASH_POINTS)
        for (int i = 0; i < CRASH_POINT_COUNT; i++)
            text_printf(&out, "%s\t%s\t%s\n", crash_points[i].name, crash_points[i].where, crash_points[i].state);
    else
        command_add_help(&out, line->command);
    if (rc == 0 && out.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for the help");
    if (rc == 0)
        fputs(out.data, stdout);
    text_done(&out);
    return rc;
}

int main(int argc, char **argv)
{
    struct command_line line;
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    int rc = command_line_parse(&line, argc, argv, &err);
    if (rc == 0)
        rc = line.action == COMMAND_RUN ? line.command->run(&line, &err) : print(&line, &err);
    return flush(rc < 0 ? fail(&err) : rc, &err);
}
