/* The command line: one table of subcommands that dispatch, help, man pages and shell completion are made from.
 *
 * A subcommand is one file, cmd_<name>.c, with one `struct command`, and one row in command.c. Options may stand
 * anywhere behind the subcommand's name, as `--name value` or `--name=value`; `--` ends them. */
#ifndef ORCHESTRATOR_COMMAND_H
#define ORCHESTRATOR_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/text.h"

struct command_option {
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* what its value is called, "HH:MM"; NULL: it takes none */
    const char *help;  /* one sentence */
};

struct command_line;

struct command {
    const char *name;
    const char *arguments;                /* in the usage line: "SWEEP.json..." */
    const char *summary;                  /* one line, no full stop */
    const char *description;              /* paragraphs, an empty line between two */
    const struct command_option *options; /* its own; NULL: none. Every subcommand has --store and --help too. */
    int least_arguments, most_arguments;
    /* Exit status, or a negative error code whose message main prints. */
    int (*run)(const struct command_line *line, struct err *err);
};

extern const struct command *const commands[]; /* NULL-terminated, in the order of the help */
extern const struct command_option command_common_options[];
const struct command *command_find(const char *name);

enum { COMMANDS_MAX = 64, COMMAND_MAX_OPTIONS = 24, COMMAND_MAX_FILES = 4096 };

enum command_action {
    COMMAND_RUN,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_MAN,
    COMMAND_LIST,
    COMMAND_CRASH_POINTS,
    COMMAND_COMPLETION
};

struct command_line {
    enum command_action action;
    const struct command *command;           /* NULL: help, version or man page of the whole program */
    const char *store;                       /* --store, else NIGHTSWEEP_STORE, else runs/nightsweep.db */
    const char *given_store;                 /* --store alone; NULL: it was not given */
    const char *values[COMMAND_MAX_OPTIONS]; /* by position in command->options; NULL: not given, "" for a flag */
    char **arguments;                        /* in argv */
    int n_arguments;
    const char *shell; /* of COMMAND_COMPLETION */
};

/* Reads argv (which is reordered, and kept by `line`). ERR_USAGE for what is not in the table, with the nearest name
 * that is, for a missing or superfluous value and for a wrong number of arguments. */
int command_line_parse(struct command_line *line, int argc, char **argv, struct err *err) MUST_CHECK;
/* The value of an option, "" for a flag that was given, NULL for what was not. The name must be in the table. */
const char *command_value(const struct command_line *line, const char *name);
bool command_has(const struct command_line *line, const char *name);
/* Option values; *out keeps its value when the option was not given. ERR_USAGE with the option's name. */
int command_get_int(const struct command_line *line, const char *name, int64_t least, int64_t most, int64_t *out,
                    struct err *err) MUST_CHECK;
int command_get_duration(const struct command_line *line, const char *name, double *seconds,
                         struct err *err) MUST_CHECK;
/* "HH:MM" → seconds from `now` (Unix time) to the next such local time, 0 < seconds <= 25 hours. */
int command_get_clock(const struct command_line *line, const char *name, int64_t now, double *seconds,
                      struct err *err) MUST_CHECK;

/* Help of a subcommand, or of the program (NULL). */
void command_add_help(struct text *out, const struct command *command);
/* The same as a man page (roff, man(7)). */
void command_add_man(struct text *out, const struct command *command);
/* Completion of commands and options for "bash", "zsh" or "fish". ERR_USAGE for another shell. */
int command_add_completion(struct text *out, const char *shell, struct err *err) MUST_CHECK;

/* Ends a command that wrote its answer into `out`: prints it when rc is 0, and frees it. rc, or ERR_NOMEM "no memory
 * for WHAT" when the text had no room. */
int command_print(struct text *out, const char *what, int rc, struct err *err) MUST_CHECK;

#endif
