/* `nightsweep cancel`: ends trials, or a whole sweep, for good. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/choice.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"
#include "orchestrator/printable.h"

static int print_done(const struct command_line *line, const struct choice *choice, int64_t n, struct err *err)
{
    struct text out = {0};
    if (command_has(line, "json")) {
        text_add(&out, "{\"v\":1,\"sweep\":");
        printable_add_json(&out, choice->sweep);
        text_printf(&out, ",\"canceled\":%" PRId64 "}\n", n);
    } else {
        text_printf(&out, "%" PRId64 " trial%s of sweep '", n, n == 1 ? "" : "s");
        printable_add(&out, choice->sweep);
        text_printf(&out, "' canceled%s\n", n == 0 ? ": nothing was left to do" : "");
    }
    return command_print(&out, "the answer", 0, err);
}

static int cancel(const struct command_line *line, const struct choice *choice, struct err *err)
{
    const struct control_request request = {
        .op = CONTROL_CANCEL, .sweep = choice->sweep, .trial = choice->trial, .reason = command_value(line, "reason")};
    cJSON *answer = NULL;
    int64_t n = 0;
    int rc = control_perform(line->store, &request, &answer, err);
    if (rc == 0)
        rc = json_get_int64(answer, "changed", "answer", &n, err);
    if (rc == 0)
        rc = print_done(line, choice, n, err);
    json_free(answer);
    return rc;
}

/* Every argument is looked up before the first trial is ended. */
static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct choice *choices = calloc((size_t)line->n_arguments, sizeof(*choices));
    int rc = choices ? store_open(&store, line->store, STORE_READ, err) : err_set(err, ERR_NOMEM, "no memory");
    for (int i = 0; i < line->n_arguments && rc == 0; i++)
        rc = choice_read_target(line, store, line->arguments[i], &choices[i], err);
    store_close(store);
    for (int i = 0; i < line->n_arguments && rc == 0; i++)
        rc = cancel(line, &choices[i], err);
    for (int i = 0; i < line->n_arguments && choices; i++)
        free(choices[i].sweep);
    free(choices);
    return rc;
}

static const struct command_option options[] = {
    {"reason", "TEXT", "why, for the record (default: canceled by a person)"},
    {"json", NULL, "write one JSON object for each sweep or trial"},
    {NULL, NULL, NULL},
};

const struct command command_cancel = {
    .name = "cancel",
    .arguments = "SWEEP|SWEEP/TRIAL...",
    .summary = "end trials, or a whole sweep, for good",
    .description =
        "Trials that wait, pause or run become PRUNED, with the reason; finished ones stay as they are. What runs is "
        "ended at once, by the run itself when one is using the store. A canceled sweep is STOPPED, and its run goes "
        "on "
        "with the next one.\n\n"
        "Canceled trials are not trained by a later `run` of the same definition. A search that proposes trials as it "
        "goes learns from what a canceled trial reported, and counts one without a report as failed.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
