/* The table of subcommands and the reading of a command line by it. */
#include "orchestrator/command.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "orchestrator/command_kinds.h"

/* clang-format off */
const struct command *const commands[] = {
    &command_init,
    &command_plan,
    &command_run,
    &command_pause,
    &command_resume,
    &command_adjust,
    &command_cancel,
    &command_retry,
    &command_status,
    &command_names,
    &command_show,
    &command_explain,
    &command_compare,
    &command_advise,
    &command_score,
    &command_export,
    &command_serve,
    &command_train,
    &command_data,
    &command_generate,
    &command_predict,
    &command_eval,
    &command_merge,
    &command_vocabulary,
    &command_extend,
    &command_doctor,
    &command_suggest,
    &command_tell,
    &command_import,
    &command_recover,
    &command_archive,
    &command_delete,
    &command_gc,
    &command_backup,
    &command_slurm,
    NULL,
};
/* clang-format on */

const struct command_option command_common_options[] = {
    {"store", "FILE", "the store (default: $NIGHTSWEEP_STORE, or runs/nightsweep.db)"},
    {"help", NULL, "print this text and end"},
    {NULL, NULL, NULL},
};

const struct command *command_find(const char *name)
{
    for (const struct command *const *command = commands; *command; command++)
        if (text_equal((*command)->name, name))
            return *command;
    return NULL;
}

static int position(const struct command_option *options, const char *name, size_t n)
{
    for (int i = 0; options && options[i].name; i++)
        if (strlen(options[i].name) == n && memcmp(options[i].name, name, n) == 0)
            return i;
    return -1;
}

/* Messages ----------------------------------------------------------------------------------------------------------
 */

static int refuse_command(const char *name, struct err *err)
{
    const char *names[COMMANDS_MAX] = {0};
    int n = 0;
    for (const struct command *const *command = commands; *command && n < COMMANDS_MAX - 1; command++)
        names[n++] = (*command)->name;
    const char *nearest = text_nearest(name, names);
    return err_set(err, ERR_USAGE, "unknown command '%.80s'%s%s%s (`nightsweep --help` lists them)", name,
                   nearest ? ", nearest is '" : "", nearest ? nearest : "", nearest ? "'" : "");
}

static int refuse_option(const struct command *command, const char *name, size_t n, struct err *err)
{
    const char *names[COMMAND_MAX_OPTIONS + 8] = {0};
    const struct command_option *tables[] = {command->options, command_common_options};
    char own[64] = "";
    size_t count = 0;
    for (int t = 0; t < 2; t++)
        for (int i = 0; tables[t] && tables[t][i].name; i++)
            names[count++] = tables[t][i].name;
    memcpy(own, name, n < sizeof(own) - 1 ? n : sizeof(own) - 1);
    const char *nearest = text_nearest(own, names);
    return err_set(err, ERR_USAGE, "%s: unknown option '--%s'%s%s%s (`nightsweep %s --help` lists them)", command->name,
                   own, nearest ? ", nearest is '--" : "", nearest ? nearest : "", nearest ? "'" : "", command->name);
}

/* Reading -----------------------------------------------------------------------------------------------------------
 */

/* Reads the option argv[*i], and the value behind it, which *i then stands on. */
static int read_option(struct command_line *line, int argc, char **argv, int *i, struct err *err)
{
    const struct command *command = line->command;
    const char *name = argv[*i] + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    int own = position(command->options, name, n), common = position(command_common_options, name, n);
    if (own < 0 && common < 0)
        return refuse_option(command, name, n, err);
    const struct command_option *option = own >= 0 ? &command->options[own] : &command_common_options[common];
    if (value && !option->value)
        return err_set(err, ERR_USAGE, "%s: --%s takes no value", command->name, option->name);
    if (option->value && !value && *i + 1 >= argc)
        return err_set(err, ERR_USAGE, "%s: --%s: %s is missing behind it", command->name, option->name, option->value);
    if (option->value && !value)
        value = argv[++*i];
    if (own >= 0 && line->values[own])
        return err_set(err, ERR_USAGE, "%s: --%s is given twice", command->name, option->name);
    if (own >= 0)
        line->values[own] = value ? value : "";
    else if (option->value)
        line->store = line->given_store = value;
    else
        line->action = COMMAND_HELP;
    return 0;
}

static int check_count(const struct command_line *line, struct err *err)
{
    const struct command *command = line->command;
    if (line->n_arguments >= command->least_arguments && line->n_arguments <= command->most_arguments)
        return 0;
    bool is_short = line->n_arguments < command->least_arguments;
    return err_set(err, ERR_USAGE, "%s: %s%.80s%s (usage: nightsweep %s [options]%s%s)", command->name,
                   is_short ? "an argument is missing" : "'", is_short ? "" : line->arguments[command->most_arguments],
                   is_short ? "" : "' is one too many", command->name, *command->arguments ? " " : "",
                   command->arguments);
}

static int read_command(struct command_line *line, int argc, char **argv, struct err *err)
{
    bool is_behind = false; /* of "--" */
    line->arguments = argv;
    for (int i = 0; i < argc; i++) {
        int rc = 0;
        if (!is_behind && text_equal(argv[i], "--"))
            is_behind = true;
        else if (!is_behind && (text_equal(argv[i], "-h")))
            line->action = COMMAND_HELP;
        else if (!is_behind && text_starts_with(argv[i], "--"))
            rc = read_option(line, argc, argv, &i, err);
        else if (!is_behind && argv[i][0] == '-' && argv[i][1])
            rc = err_set(err, ERR_USAGE, "%s: unknown option '%.80s', options begin with two dashes",
                         line->command->name, argv[i]);
        else
            line->arguments[line->n_arguments++] = argv[i];
        if (rc < 0)
            return rc;
    }
    if (line->action == COMMAND_RUN && line->store && !*line->store)
        return err_set(err, ERR_USAGE, "%s: --store: a file was expected", line->command->name);
    return line->action == COMMAND_RUN ? check_count(line, err) : 0;
}

/* --help, --version, --man [COMMAND], help [COMMAND]. */
static int read_program(struct command_line *line, int argc, char **argv, struct err *err)
{
    static const char *const options[] = {"--help", "--version", NULL};
    const char *word = argc > 1 ? argv[1] : "--help", *nearest = text_nearest(word, options);
    bool names_command = text_equal(word, "--man") || text_equal(word, "help");
    if (text_equal(word, "--version"))
        line->action = COMMAND_VERSION;
    else if (text_equal(word, "--man"))
        line->action = COMMAND_MAN;
    else if (text_equal(word, "--commands"))
        line->action = COMMAND_LIST;
    else if (text_equal(word, "--crash-points"))
        line->action = COMMAND_CRASH_POINTS;
    else if (text_equal(word, "--completion")) {
        line->action = COMMAND_COMPLETION;
        line->shell = argc > 2 ? argv[2] : "bash";
    } else if (text_equal(word, "--help") || text_equal(word, "-h") || text_equal(word, "help"))
        line->action = COMMAND_HELP;
    else
        return err_set(err, ERR_USAGE, "unknown option '%.80s'%s%s (`nightsweep --help`)", word,
                       nearest ? ", nearest is " : "", nearest ? nearest : "");
    if (names_command && argc > 2 && !(line->command = command_find(argv[2])))
        return refuse_command(argv[2], err);
    return 0;
}

int command_line_parse(struct command_line *line, int argc, char **argv, struct err *err)
{
    const char *store = getenv("NIGHTSWEEP_STORE");
    *line = (struct command_line){.store = store && *store ? store : "runs/nightsweep.db"};
    if (argc < 2)
        return err_set(err, ERR_USAGE, "a command is missing (`nightsweep --help` lists them)");
    if (argv[1][0] == '-' || text_equal(argv[1], "help"))
        return read_program(line, argc, argv, err);
    line->command = command_find(argv[1]);
    return line->command ? read_command(line, argc - 2, argv + 2, err) : refuse_command(argv[1], err);
}

/* Values ------------------------------------------------------------------------------------------------------------
 */

const char *command_value(const struct command_line *line, const char *name)
{
    int i = position(line->command->options, name, strlen(name));
    assert(i >= 0 && i < COMMAND_MAX_OPTIONS);
    return line->values[i];
}

bool command_has(const struct command_line *line, const char *name)
{
    return command_value(line, name) != NULL;
}

int command_get_int(const struct command_line *line, const char *name, int64_t least, int64_t most, int64_t *out,
                    struct err *err)
{
    const char *value = command_value(line, name);
    int64_t number;
    if (!value)
        return 0;
    if (text_parse_int64(value, &number, NULL) < 0 || number < least || number > most)
        return err_set(err, ERR_USAGE, "%s: --%s: '%.80s' is no whole number from %lld to %lld", line->command->name,
                       name, value, (long long)least, (long long)most);
    *out = number;
    return 0;
}

int command_get_duration(const struct command_line *line, const char *name, double *seconds, struct err *err)
{
    const char *value = command_value(line, name);
    double number;
    if (!value)
        return 0;
    if (text_parse_duration(value, &number, NULL) < 0)
        return err_set(err, ERR_USAGE, "%s: --%s: '%.80s' is no duration like 20m, 1h30m or 45s", line->command->name,
                       name, value);
    *seconds = number;
    return 0;
}

static bool read_clock(const char *s, int *hour, int *minute)
{
    for (int i = 0; i < 5; i++)
        if (i == 2 ? s[i] != ':' : s[i] < '0' || s[i] > '9')
            return false;
    *hour = (s[0] - '0') * 10 + (s[1] - '0');
    *minute = (s[3] - '0') * 10 + (s[4] - '0');
    return s[5] == '\0' && *hour < 24 && *minute < 60;
}

int command_get_clock(const struct command_line *line, const char *name, int64_t now, double *seconds, struct err *err)
{
    const char *value = command_value(line, name);
    int hour, minute;
    if (!value)
        return 0;
    if (!read_clock(value, &hour, &minute))
        return err_set(err, ERR_USAGE, "%s: --%s: '%.80s' is no time of day like 07:00", line->command->name, name,
                       value);
    time_t start = (time_t)now, then = start;
    struct tm local;
    /* mktime finds the day's own offset, so that a night with a change of clocks ends at the hour that was named. */
    for (int day = 0; day < 2 && then <= start; day++) {
        localtime_r(&start, &local);
        local.tm_mday += day;
        local.tm_hour = hour;
        local.tm_min = minute;
        local.tm_sec = 0;
        local.tm_isdst = -1;
        then = mktime(&local);
    }
    *seconds = (double)(then - start);
    return 0;
}

int command_print(struct text *out, const char *what, int rc, struct err *err)
{
    if (rc == 0 && out->failed)
        rc = err_set(err, ERR_NOMEM, "no memory for %s", what);
    if (rc == 0)
        fputs(out->data ? out->data : "", stdout);
    text_done(out);
    return rc;
}
