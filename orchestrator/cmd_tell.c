/* `nightsweep tell`: reports a trial that was trained elsewhere to the sweep of `suggest --store`. */
#include <stdio.h>
#include <string.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/suggest.h"

/* "loss=0.4" → "loss":0.4 */
static int add_metric(struct text *request, const char *argument, struct err *err)
{
    const char *equals = strchr(argument, '=');
    double value = 0;
    if (!equals || equals == argument)
        return err_set(err, ERR_USAGE, "tell: '%.80s', METRIC=VALUE was expected", argument);
    if (text_parse_double(equals + 1, &value, err) < 0)
        return err_wrap(err, "tell: '%.80s'", argument);
    struct text name = {0};
    text_add_n(&name, argument, (size_t)(equals - argument));
    text_add_json(request, name.data);
    text_done(&name);
    text_add_char(request, ':');
    text_add_double(request, value);
    return 0;
}

static int build(const struct command_line *line, struct text *request, struct err *err)
{
    int64_t trial = 0, step = 0;
    bool is_failure = command_has(line, "fail");
    if (text_parse_int64(line->arguments[1], &trial, err) < 0)
        return err_wrap(err, "tell: trial");
    int rc = command_get_int(line, "step", 1, INT64_MAX, &step, err);
    text_printf(request, "{\"op\":\"%s\",\"trial\":%lld", is_failure ? "fail" : "tell", (long long)trial);
    if (step > 0)
        text_printf(request, ",\"step\":%lld", (long long)step);
    if (!is_failure)
        text_add(request, ",\"metrics\":{");
    for (int i = 2; i < line->n_arguments && rc == 0 && !is_failure; i++) {
        text_add(request, i > 2 ? "," : "");
        rc = add_metric(request, line->arguments[i], err);
    }
    text_add(request, is_failure ? "}" : "}}");
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct suggest *suggest = NULL;
    struct text request = {0}, reply = {0};
    int rc = build(line, &request, err);
    if (rc == 0)
        rc = suggest_open(&suggest, line->arguments[0], line->store, err);
    if (rc == 0)
        rc = suggest_answer(suggest, request.data, request.len, &reply, err);
    if (rc == 0 && text_starts_with(reply.data, "{\"error\""))
        rc = err_set(err, ERR_USAGE, "tell: %s", err->message);
    if (rc == 0)
        printf("%s\n", reply.data);
    suggest_close(suggest);
    text_done(&request);
    text_done(&reply);
    return rc;
}

static const struct command_option options[] = {
    {"step", "N", "an intermediate report at this step: the reply says whether the trial goes on"},
    {"fail", NULL, "the trial failed"},
    {"json", NULL, "accepted: the reply is JSON anyway"},
    {NULL, NULL, NULL},
};

const struct command command_tell = {
    .name = "tell",
    .arguments = "SWEEP.json TRIAL [METRIC=VALUE...]",
    .summary = "report a trial that was trained elsewhere",
    .description = "Reports to the sweep that `nightsweep suggest --store FILE SWEEP.json` keeps in the store.",
    .options = options,
    .least_arguments = 2,
    .most_arguments = 64,
    .run = run,
};
