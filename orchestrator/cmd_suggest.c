/* `nightsweep suggest`: proposes configurations to people who train elsewhere. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/suggest.h"

enum { ASKS_MAX = 100000 };

/* One reply, one line, at once: the other side waits for it. */
static int write_line(const struct text *reply, struct err *err)
{
    if (fputs(reply->data, stdout) == EOF || fputc('\n', stdout) == EOF || fflush(stdout) != 0)
        return err_set_errno(err, "standard output");
    return 0;
}

static int answer(struct suggest *suggest, const char *request, size_t n, struct err *err)
{
    struct text reply = {0};
    int rc = suggest_answer(suggest, request, n, &reply, err);
    if (rc == 0)
        rc = write_line(&reply, err);
    text_done(&reply);
    return rc;
}

static int serve(struct suggest *suggest, struct err *err)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = getline(&line, &capacity, stdin)) > 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        if (n > 0)
            rc = answer(suggest, line, (size_t)n, err);
    }
    free(line);
    return rc == 0 && ferror(stdin) ? err_set_errno(err, "standard input") : rc;
}

static int ask(struct suggest *suggest, int64_t count, struct err *err)
{
    static const char request[] = "{\"op\":\"ask\"}";
    int rc = 0;
    for (int64_t i = 0; i < count && rc == 0; i++)
        rc = answer(suggest, request, sizeof(request) - 1, err);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct suggest *suggest = NULL;
    int64_t count = 1;
    int rc = command_get_int(line, "count", 1, ASKS_MAX, &count, err);
    if (rc == 0)
        rc = suggest_open(&suggest, line->arguments[0], line->given_store, err);
    if (rc == 0 && !command_has(line, "quiet"))
        fprintf(stderr, "%s%s\n", suggest_remarks(suggest), suggest_explain(suggest));
    if (rc == 0)
        rc = command_has(line, "serve") ? serve(suggest, err) : ask(suggest, count, err);
    suggest_close(suggest);
    return rc;
}

static const struct command_option options[] = {
    {"serve", NULL, "answer requests from standard input, JSON lines, until it ends"},
    {"count", "N", "without --serve: how many configurations to propose (default 1)"},
    {"quiet", NULL, "do not say on standard error which algorithm is at work"},
    {"json", NULL, "accepted: replies are JSON anyway"},
    {NULL, NULL, NULL},
};

const struct command command_suggest = {
    .name = "suggest",
    .arguments = "SWEEP.json",
    .summary = "propose configurations for trials that are trained elsewhere",
    .description =
        "Proposes the next configuration of a definition, which needs no model or task; without a model names and "
        "values of its parameters are free.\n\n"
        "With --serve it reads requests, one JSON object a line: {\"op\":\"ask\"} is answered by {\"trial\":1,"
        "\"parameters\":{...}}, or {\"done\":true} when the budget or the space is used up; "
        "{\"op\":\"tell\",\"trial\":1,"
        "\"metrics\":{\"loss\":0.4}} by {\"ok\":true}, and with \"step\":9 by {\"ok\":true,\"continue\":false} when "
        "the "
        "stopping rule ends the trial; {\"op\":\"fail\",\"trial\":1} by {\"ok\":true}. What is wrong with a request is "
        "answered by {\"error\":\"...\"}. Several trials may be open at once.\n\n"
        "Algorithms (search.algorithm): auto, the default, which says what it chose and why; grid, random, sobol, tpe, "
        "gp, cmaes, nsga2. Stopping rules (stopping.rule): asha, hyperband, median, patience, threshold, "
        "predicted.\n\n"
        "Nothing is kept without --store (NIGHTSWEEP_STORE is not looked at); with it a killed session goes on.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
