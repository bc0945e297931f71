/* `nightsweep retry --failed`: failed trials wait again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/choice.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"
#include "orchestrator/printable.h"

static int print_done(const struct command_line *line, const char *sweep, int64_t n, struct err *err)
{
    struct text out = {0};
    if (command_has(line, "json")) {
        text_add(&out, "{\"v\":1,\"sweep\":");
        printable_add_json(&out, sweep);
        text_printf(&out, ",\"retried\":%" PRId64 "}\n", n);
    } else {
        text_printf(&out, "%" PRId64 " failed trial%s of sweep '", n, n == 1 ? "" : "s");
        printable_add(&out, sweep);
        text_add(&out,
                 n > 0 ? "' to be tried again: by the run that is working, or the next `nightsweep run`\n" : "'\n");
    }
    return command_print(&out, "the answer", 0, err);
}

static int retry(const struct command_line *line, const struct choice *choice, struct err *err)
{
    const struct control_request request = {.op = CONTROL_RETRY, .sweep = choice->sweep, .trial = choice->trial};
    cJSON *answer = NULL;
    int64_t n = 0;
    int rc = control_perform(line->store, &request, &answer, err);
    if (rc == 0)
        rc = json_get_int64(answer, "changed", "answer", &n, err);
    if (rc == 0)
        rc = print_done(line, choice->sweep, n, err);
    json_free(answer);
    return rc;
}

/* Without an argument the store's only sweep. A whole sweep needs --failed, so that the command says what it does. */
static int read_choice(const struct command_line *line, struct choice *choice, struct err *err)
{
    struct store *store = NULL;
    int rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0 && line->n_arguments == 0)
        rc = choice_only_sweep(store, "retry", &choice->sweep, err);
    else if (rc == 0)
        rc = choice_read_target(line, store, line->arguments[0], choice, err);
    store_close(store);
    if (rc == 0 && choice->trial == 0 && !command_has(line, "failed"))
        rc = err_set(err, ERR_USAGE, "retry: --failed was expected: all failed trials of sweep '%s', or SWEEP/TRIAL",
                     choice->sweep);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct choice choice = {0};
    int rc = read_choice(line, &choice, err);
    if (rc == 0)
        rc = retry(line, &choice, err);
    free(choice.sweep);
    return rc;
}

static const struct command_option options[] = {
    {"failed", NULL, "all failed trials of the sweep"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_retry = {
    .name = "retry",
    .arguments = "[SWEEP|SWEEP/TRIAL]",
    .summary = "let failed trials wait to be trained again",
    .description =
        "FAILED trials become WAITING. Their attempts stay in the store and use up no retry any more; one that has a "
        "checkpoint goes on from it. A run that is using the store takes them at once, otherwise the next `nightsweep "
        "run` of the definition does. A search that proposes trials as it goes still counts them as failed.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run,
};
