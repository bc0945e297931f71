/* `nightsweep pause`: let a run's trials write checkpoints and wait. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/choice.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"
#include "orchestrator/printable.h"

/* Without an argument the sweep that the run works on. */
static int find_sweep(const struct command_line *line, char **sweep, struct err *err)
{
    cJSON *state = NULL;
    const char *name = NULL;
    if (line->n_arguments > 0)
        *sweep = strdup(line->arguments[0]);
    else if (control_find_state(line->store, &state) && json_get_string(state, "sweep", "answer", &name, err) == 0)
        *sweep = strdup(name);
    else
        return err_set(err, ERR_USAGE, "%s: no run is using the store '%s'", line->command->name, line->store);
    json_free(state);
    return *sweep ? 0 : err_set(err, ERR_NOMEM, "no memory for a name");
}

static int print_done(const struct command_line *line, const char *sweep, const char *word, struct err *err)
{
    struct text out = {0};
    text_add(&out, command_has(line, "json") ? "{\"v\":1,\"sweep\":" : "sweep '");
    if (command_has(line, "json"))
        printable_add_json(&out, sweep);
    else
        printable_add(&out, sweep);
    if (command_has(line, "json"))
        text_add(&out, "}\n");
    else
        text_printf(&out, "' %s\n", word);
    return command_print(&out, "the answer", 0, err);
}

static int ask(const struct command_line *line, enum control_op op, const char *word, struct err *err)
{
    struct control_request request = {.op = op};
    char *sweep = NULL;
    cJSON *answer = NULL;
    int rc = find_sweep(line, &sweep, err);
    request.sweep = sweep;
    if (rc == 0)
        rc = control_perform(line->store, &request, &answer, err);
    if (rc == 0)
        rc = print_done(line, sweep, word, err);
    json_free(answer);
    free(sweep);
    return rc;
}

static int run_pause(const struct command_line *line, struct err *err)
{
    return ask(line, CONTROL_PAUSE, "pauses: running trials write their checkpoints", err);
}

static int run_resume(const struct command_line *line, struct err *err)
{
    return ask(line, CONTROL_RESUME, "goes on", err);
}

static const struct command_option options[] = {
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_pause = {
    .name = "pause",
    .arguments = "[SWEEP]",
    .summary = "let a run's trials write checkpoints and wait",
    .description = "The run that works on the sweep asks its trials to write checkpoints and starts no others, until "
                   "`nightsweep resume`. It stays, keeps the store, and its deadline still counts. The processors are "
                   "free once the checkpoints are written, usually within a second.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run_pause,
};

const struct command command_resume = {
    .name = "resume",
    .arguments = "[SWEEP]",
    .summary = "let a paused run go on",
    .description = "Undoes `nightsweep pause`: trials go on from their checkpoints, bit for bit as if nothing had "
                   "been. A run that was stopped or killed is not resumed by this but by `nightsweep run`.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run_resume,
};
