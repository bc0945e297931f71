/* What the table of subcommands says, as help for a terminal and as man pages. */
#include <string.h>

#include "common/version.h"
#include "orchestrator/command.h"

enum { HELP_WIDTH = 100, OPTION_COLUMN = 26 };

/* What every page says. */
struct entry {
    const char *name, *text;
};
static const struct entry exit_statuses[] = {
    {"0", "done"},
    {"1", "some trials failed, or are left because the deadline came or the run was stopped"},
    {"2", "wrong usage, definition or input"},
    {"3", "the environment: a file, the store, memory, a missing program"},
    {"70", "a bug in Nightsweep"},
};
static const struct entry variables[] = {
    {"NIGHTSWEEP_STORE", "the store when --store is not given"},
    {"NIGHTSWEEP_JOURNAL",
     "wal or rollback: how the store is kept whole; without it rollback on file systems that hosts share"},
    {"NIGHTSWEEP_CPU", "portable, avx2 or avx512: the kernels of the trainer, instead of the best that the CPU has"},
    {"OPENBLAS_CORETYPE",
     "the BLAS library's kernels, chosen for the processor when unset (SkylakeX with AVX-512, Haswell "
     "with AVX2); results are bit for bit the same only within one"},
    {"NIGHTSWEEP_DEBUG", "components whose log goes to standard error: scheduler,worker"},
    {"NIGHTSWEEP_TRACE", "a file that events are written to, as JSON lines"},
    {"NO_COLOR", "no colours when set"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Help --------------------------------------------------------------------------------------------------------------
 */

/* The words of `s`, lines broken before HELP_WIDTH; follow-up lines are indented. `column` is where the first begins.
 */
static void wrap(struct text *out, const char *s, size_t column, size_t indent)
{
    bool is_first = true;
    while (*s) {
        size_t n = strcspn(s, " \n");
        if (!is_first && column + 1 + n > HELP_WIDTH) {
            text_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!is_first) {
            text_add_char(out, ' ');
            column++;
        }
        text_add_n(out, s, n);
        column += n;
        is_first = false;
        s += n + (s[n] != '\0');
    }
    text_add_char(out, '\n');
}

/* Calls wrap for every paragraph. */
static void add_paragraphs(struct text *out, const char *s)
{
    while (*s) {
        const char *end = strstr(s, "\n\n");
        struct text paragraph = {0};
        text_add_n(&paragraph, s, end ? (size_t)(end - s) : strlen(s));
        text_add_char(out, '\n');
        wrap(out, paragraph.data ? paragraph.data : "", 0, 0);
        text_done(&paragraph);
        s = end ? end + 2 : "";
    }
}

static void add_entry(struct text *out, const char *name, const char *help)
{
    size_t width = strlen(name) + 2;
    text_printf(out, "  %s", name);
    if (width + 2 > OPTION_COLUMN)
        text_printf(out, "\n%*s", OPTION_COLUMN, "");
    else
        text_printf(out, "%*s", (int)(OPTION_COLUMN - width), "");
    wrap(out, help, OPTION_COLUMN, OPTION_COLUMN);
}

static void add_options(struct text *out, const struct command_option *options)
{
    for (; options && options->name; options++) {
        struct text name = {0};
        text_printf(&name, "--%s%s%s", options->name, options->value ? " " : "", options->value ? options->value : "");
        add_entry(out, name.data ? name.data : "", options->help);
        text_done(&name);
    }
}

static void add_command_help(struct text *out, const struct command *command)
{
    text_printf(out, "usage: nightsweep %s [options]%s%s\n\n", command->name, *command->arguments ? " " : "",
                command->arguments);
    text_printf(out, "%c%s.\n", command->summary[0] & ~0x20, command->summary + 1);
    add_paragraphs(out, command->description);
    text_add(out, "\nOptions:\n");
    add_options(out, command->options);
    add_options(out, command_common_options);
}

static void add_program_help(struct text *out)
{
    text_add(out,
             "usage: nightsweep COMMAND [options] [arguments]\n\n"
             "Compares ways of fine-tuning a model: trains every configuration of a sweep, keeps everything in one "
             "store,\nand says which method is best at which cost.\n\nCommands:\n");
    for (const struct command *const *command = commands; *command; command++)
        add_entry(out, (*command)->name, (*command)->summary);
    text_add(out, "\n`nightsweep COMMAND --help` says more about one. Every command takes:\n");
    add_options(out, command_common_options);
    text_add(out, "\nExit status:\n");
    for (size_t i = 0; i < COUNT(exit_statuses); i++)
        add_entry(out, exit_statuses[i].name, exit_statuses[i].text);
    text_add(out, "\nEnvironment:\n");
    for (size_t i = 0; i < COUNT(variables); i++)
        add_entry(out, variables[i].name, variables[i].text);
}

void command_add_help(struct text *out, const struct command *command)
{
    if (command)
        add_command_help(out, command);
    else
        add_program_help(out);
}

/* Man pages ---------------------------------------------------------------------------------------------------------
 */

/* Text as roff: no character of ours is a request or an escape, and a dash is one that can be copied. */
static void roff(struct text *out, const char *s)
{
    bool begins = true;
    for (; *s; s++) {
        if (begins && (*s == '.' || *s == '\''))
            text_add(out, "\\&");
        if (*s == '\\')
            text_add(out, "\\e");
        else if (*s == '-')
            text_add(out, "\\-");
        else
            text_add_char(out, *s);
        begins = *s == '\n';
    }
}

static void roff_upper(struct text *out, const char *s)
{
    for (; *s; s++)
        text_add_char(out, *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s);
}

static void roff_paragraphs(struct text *out, const char *s)
{
    struct text paragraph = {0};
    for (bool is_first = true; *s; is_first = false) {
        const char *end = strstr(s, "\n\n");
        text_reset(&paragraph);
        text_add_n(&paragraph, s, end ? (size_t)(end - s) : strlen(s));
        text_add(out, is_first ? "" : ".PP\n");
        roff(out, paragraph.data ? paragraph.data : "");
        text_add_char(out, '\n');
        s = end ? end + 2 : "";
    }
    text_done(&paragraph);
}

static void roff_entry(struct text *out, const char *prefix, const char *name, const char *value, const char *help)
{
    text_add(out, ".TP\n\\fB");
    roff(out, prefix);
    roff(out, name);
    text_add(out, "\\fR");
    if (value) {
        text_add(out, " \\fI");
        roff(out, value);
        text_add(out, "\\fR");
    }
    text_add_char(out, '\n');
    roff(out, help);
    text_add_char(out, '\n');
}

static void roff_options(struct text *out, const struct command_option *options)
{
    for (; options && options->name; options++)
        roff_entry(out, "--", options->name, options->value, options->help);
}

static void roff_head(struct text *out, const char *name, const char *summary)
{
    text_add(out, ".TH NIGHTSWEEP");
    text_add(out, *name ? "\\-" : "");
    roff_upper(out, name);
    text_printf(out, " 1 \"\" \"Nightsweep %s\" \"Nightsweep\"\n.SH NAME\nnightsweep%s%s \\- ", version_program(),
                *name ? "\\-" : "", name);
    roff(out, summary);
    text_add_char(out, '\n');
}

static void roff_tail(struct text *out, const struct command *own)
{
    text_add(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < COUNT(exit_statuses); i++)
        roff_entry(out, "", exit_statuses[i].name, NULL, exit_statuses[i].text);
    text_add(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < COUNT(variables); i++)
        roff_entry(out, "", variables[i].name, NULL, variables[i].text);
    text_add(out, ".SH SEE ALSO\n");
    const char *comma = "";
    if (own) {
        text_add(out, ".BR nightsweep (1)");
        comma = ",\n";
    }
    for (const struct command *const *command = commands; *command; command++)
        if (*command != own) {
            text_printf(out, "%s.BR nightsweep\\-%s (1)", comma, (*command)->name);
            comma = ",\n";
        }
    text_add_char(out, '\n');
}

static void add_command_man(struct text *out, const struct command *command)
{
    roff_head(out, command->name, command->summary);
    text_printf(out, ".SH SYNOPSIS\n.B nightsweep %s\n[\\fIoptions\\fR]\n", command->name);
    if (*command->arguments) {
        text_add(out, ".I ");
        roff(out, command->arguments);
        text_add_char(out, '\n');
    }
    text_add(out, ".SH DESCRIPTION\n");
    roff_paragraphs(out, command->description);
    text_add(out, ".SH OPTIONS\n");
    roff_options(out, command->options);
    roff_options(out, command_common_options);
    roff_tail(out, command);
}

static void add_program_man(struct text *out)
{
    roff_head(out, "", "compare ways of fine-tuning a language model");
    text_add(out, ".SH SYNOPSIS\n.B nightsweep\n.I COMMAND\n[\\fIoptions\\fR] [\\fIarguments\\fR]\n.SH DESCRIPTION\n"
                  "Trains every configuration of a sweep, keeps everything in one store (an SQLite file), and says "
                  "which method is best at which cost.\n.SH COMMANDS\n");
    for (const struct command *const *command = commands; *command; command++)
        roff_entry(out, "", (*command)->name, *(*command)->arguments ? (*command)->arguments : NULL,
                   (*command)->summary);
    text_add(out, ".SH OPTIONS\nEvery command takes these.\n");
    roff_options(out, command_common_options);
    roff_tail(out, NULL);
}

void command_add_man(struct text *out, const struct command *command)
{
    if (command)
        add_command_man(out, command);
    else
        add_program_man(out);
}
