/* Tests of orchestrator/command: every way a command line can be wrong, the values of options, help and man pages. */
#include "orchestrator/command.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Splits at spaces into a copy that argv points into; "_" is an empty word. */
struct words {
    char text[512];
    char *argv[32];
    int argc;
};

static void split(struct words *words, const char *line)
{
    char *next;
    snprintf(words->text, sizeof(words->text), "nightsweep %s", line);
    words->argc = 0;
    for (char *word = strtok_r(words->text, " ", &next); word; word = strtok_r(NULL, " ", &next))
        words->argv[words->argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
    words->argv[words->argc] = NULL;
}

static void accept(struct command_line *line, struct words *words, const char *text)
{
    struct err err = {0};
    split(words, text);
    cr_assert_eq(command_line_parse(line, words->argc, words->argv, &err), 0, "'%s': %s", text, err.message);
}

Test(command, options_stand_anywhere)
{
    static const char *const lines[] = {"show --sweep ranks --json 7 --store x.db",
                                        "show 7 --store=x.db --sweep=ranks --json",
                                        "show --json --store x.db --sweep ranks -- 7"};
    struct command_line line;
    struct words words;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        accept(&line, &words, lines[i]);
        cr_assert_eq(line.action, COMMAND_RUN);
        cr_assert_str_eq(line.command->name, "show");
        cr_assert_str_eq(line.store, "x.db");
        cr_assert_str_eq(command_value(&line, "sweep"), "ranks");
        cr_assert(command_has(&line, "json"));
        cr_assert_eq(line.n_arguments, 1);
        cr_assert_str_eq(line.arguments[0], "7");
    }
    accept(&line, &words, "export -- --odd -x");
    cr_assert_eq(line.n_arguments, 2);
    cr_assert_str_eq(line.arguments[0], "--odd");
    cr_assert_str_eq(line.arguments[1], "-x");
}

Test(command, store_from_the_environment)
{
    struct command_line line;
    struct words words;
    unsetenv("NIGHTSWEEP_STORE");
    accept(&line, &words, "status");
    cr_assert_str_eq(line.store, "runs/nightsweep.db");
    setenv("NIGHTSWEEP_STORE", "", 1);
    accept(&line, &words, "status");
    cr_assert_str_eq(line.store, "runs/nightsweep.db");
    setenv("NIGHTSWEEP_STORE", "other.db", 1);
    accept(&line, &words, "status");
    cr_assert_str_eq(line.store, "other.db");
    cr_assert_null(line.given_store);
    accept(&line, &words, "status --store own.db");
    cr_assert_str_eq(line.store, "own.db");
    cr_assert_str_eq(line.given_store, "own.db");
}

Test(command, wrong_lines_are_refused)
{
    static const struct {
        const char *line, *part;
    } cases[] = {
        {"", "a command is missing"},
        {"statu", "unknown command 'statu', nearest is 'status'"},
        {"frobnicate", "unknown command 'frobnicate' ("},
        {"_", "unknown command ''"},
        {"help shwo", "unknown command 'shwo', nearest is 'show'"},
        {"--man shwo", "nearest is 'show'"},
        {"--verson", "unknown option '--verson', nearest is --version"},
        {"status --jsn", "status: unknown option '--jsn', nearest is '--json'"},
        {"status --stor x", "nearest is '--store'"},
        {"status --", NULL},
        {"status --=x", "unknown option '--'"},
        {"status -j", "unknown option '-j', options begin with two dashes"},
        {"status --json=1", "--json takes no value"},
        {"status --json --json", "--json is given twice"},
        {"status --store", "--store: FILE is missing"},
        {"status --store=", "--store: a file was expected"},
        {"show", "an argument is missing (usage: nightsweep show [options] TRIAL)"},
        {"show 1 2", "'2' is one too many"},
        {"doctor now", "'now' is one too many"},
        {"export --output a --output b x", "--output is given twice"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct command_line line;
        struct words words;
        struct err err = {0};
        split(&words, cases[i].line);
        int rc = command_line_parse(&line, words.argc, words.argv, &err);
        cr_assert_eq(rc, cases[i].part ? ERR_USAGE : 0, "'%s' gives %d", cases[i].line, rc);
        cr_assert(!cases[i].part || strstr(err.message, cases[i].part), "'%s': %s", cases[i].line, err.message);
    }
}

Test(command, help_wins_over_a_wrong_number_of_arguments)
{
    struct command_line line;
    struct words words;
    static const char *const lines[] = {"show --help", "show 1 2 3 --help", "show -h", "help show"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        accept(&line, &words, lines[i]);
        cr_assert_eq(line.action, COMMAND_HELP, "%s", lines[i]);
        cr_assert_str_eq(line.command->name, "show");
    }
    accept(&line, &words, "--help");
    cr_assert(line.action == COMMAND_HELP && !line.command);
    accept(&line, &words, "--version");
    cr_assert_eq(line.action, COMMAND_VERSION);
}

/* A command of this test's own, with an option of every kind of value. */
static const struct command_option own_options[] = {
    {"slots", "N", "h"}, {"for", "DURATION", "h"}, {"until", "HH:MM", "h"}, {NULL, NULL, NULL}};
static const struct command own = {.name = "own", .options = own_options};

Test(command, numbers_and_durations)
{
    struct command_line line = {.command = &own};
    struct err err = {0};
    int64_t slots = 5;
    double seconds = -1;
    cr_assert_eq(command_get_int(&line, "slots", 1, 8, &slots, &err), 0);
    cr_assert_eq(slots, 5, "an option that is not given changes nothing");
    line.values[0] = "8";
    cr_assert_eq(command_get_int(&line, "slots", 1, 8, &slots, &err), 0);
    cr_assert_eq(slots, 8);
    static const char *const bad[] = {"0", "9", "", "2x", "1.5", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        line.values[0] = bad[i];
        cr_assert_eq(command_get_int(&line, "slots", 1, 8, &slots, &err), ERR_USAGE, "%s", bad[i]);
        cr_assert_not_null(strstr(err.message, "own: --slots: '"), "%s", err.message);
    }
    line.values[1] = "1h30m";
    cr_assert_eq(command_get_duration(&line, "for", &seconds, &err), 0);
    cr_assert_eq(seconds, 5400);
    line.values[1] = "soon";
    cr_assert_eq(command_get_duration(&line, "for", &seconds, &err), ERR_USAGE);
}

Test(command, time_of_day)
{
    struct command_line line = {.command = &own};
    struct err err = {0};
    double seconds = 0;
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    const int64_t noon = 1764154800; /* 2025-11-26 12:00 in Berlin */
    static const struct {
        const char *clock;
        double seconds;
    } cases[] = {{"12:01", 60}, {"11:59", 86340}, {"12:00", 86400}, {"07:00", 68400}, {"00:00", 43200}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        line.values[2] = cases[i].clock;
        cr_assert_eq(command_get_clock(&line, "until", noon, &seconds, &err), 0, "%s", err.message);
        cr_assert_eq(seconds, cases[i].seconds, "%s: %g", cases[i].clock, seconds);
    }
    /* 2026-03-28 22:00; the night has 23 hours, so 07:00 is 8 hours away and not 9. */
    line.values[2] = "07:00";
    cr_assert_eq(command_get_clock(&line, "until", 1774731600, &seconds, &err), 0);
    cr_assert_eq(seconds, 8 * 3600, "%g", seconds);
    static const char *const bad[] = {"7:00", "24:00", "12:60", "12-00", "1200", "12:00:00", "", "noon", "12:0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        line.values[2] = bad[i];
        cr_assert_eq(command_get_clock(&line, "until", noon, &seconds, &err), ERR_USAGE, "%s", bad[i]);
    }
}

/* The table is what everything is made from: nothing in it is empty, help and man page name all of it. */
Test(command, help_and_man_pages_name_everything)
{
    struct text help = {0}, man = {0};
    for (const struct command *const *command = commands; *command; command++) {
        const struct command *c = *command;
        text_reset(&help);
        text_reset(&man);
        command_add_help(&help, c);
        command_add_man(&man, c);
        cr_assert(c->run && *c->summary && *c->description, "%s", c->name);
        cr_assert_neq(c->summary[strlen(c->summary) - 1], '.', "%s", c->name);
        cr_assert_not_null(strstr(man.data, ".SH EXIT STATUS"), "%s", c->name);
        int n = 0;
        for (const struct command_option *o = c->options; o && o->name; o++, n++) {
            cr_assert(*o->help, "%s --%s", c->name, o->name);
            cr_assert_not_null(strstr(help.data, o->name), "%s --%s", c->name, o->name);
            for (const struct command_option *common = command_common_options; common->name; common++)
                cr_assert_str_neq(o->name, common->name, "%s", c->name);
        }
        cr_assert_leq(n, COMMAND_MAX_OPTIONS, "%s", c->name);
        for (const char *at = help.data; *at; at += strcspn(at, "\n") + 1)
            cr_assert_leq(strcspn(at, "\n"), 104, "%s: a long line", c->name);
    }
    text_reset(&help);
    command_add_help(&help, NULL);
    for (const struct command *const *command = commands; *command; command++)
        cr_assert_not_null(strstr(help.data, (*command)->summary), "%s", (*command)->name);
    text_done(&help);
    text_done(&man);
}
