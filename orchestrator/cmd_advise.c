/* `nightsweep advise [SWEEP]`: which method to take within limits, with the evidence. */
#include <stdio.h>

#include "orchestrator/advise.h"
#include "orchestrator/command_kinds.h"

static int get_bytes(const struct command_line *line, const char *name, double *out, struct err *err)
{
    const char *given = command_value(line, name);
    uint64_t bytes = 0;
    if (!given)
        return 0;
    if (text_parse_bytes(given, &bytes, NULL) < 0 || bytes == 0)
        return err_set(err, ERR_USAGE, "advise: --%s: '%.80s', a size above 0 as 500KiB or 2GiB was expected", name,
                       given);
    *out = (double)bytes;
    return 0;
}

static int read_limits(const struct command_line *line, struct advice_limits *limits, struct err *err)
{
    *limits = (struct advice_limits){0};
    int rc = get_bytes(line, "bytes", &limits->bytes, err);
    if (rc == 0)
        rc = get_bytes(line, "memory", &limits->memory_bytes, err);
    return rc < 0 ? rc : command_get_duration(line, "time", &limits->seconds, err);
}

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct arena arena = {0};
    struct text out = {0};
    struct advice advice;
    struct advice_limits limits;
    int rc = read_limits(line, &limits, err);
    if (rc == 0)
        rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = advise(store, line->n_arguments ? line->arguments[0] : NULL, &limits, &arena, &advice, err);
    if (rc == 0 && command_has(line, "json"))
        advice_add_json(&out, &advice);
    else if (rc == 0)
        advice_add_text(&out, &advice);
    rc = command_print(&out, "advice", rc, err);
    arena_done(&arena);
    store_close(store);
    return rc;
}

static const struct command_option options[] = {
    {"bytes", "SIZE", "most that may be stored for the trained part: 500KiB, 20MiB"},
    {"memory", "SIZE", "most memory that training may need"},
    {"time", "TIME", "longest that a trial may take: 90s, 20m"},
    {"json", NULL, "write one JSON object, numbers with all their digits"},
    {NULL, NULL, NULL},
};

const struct command command_advise = {
    .name = "advise",
    .arguments = "[SWEEP]",
    .summary = "which method to take within limits, with the evidence",
    .description = "Of the sweep's configurations that keep the limits (by default the newest sweep's, without limits) "
                   "it names the one "
                   "that is best on the validation objective, what it costs as measured, whether it under- or overfits "
                   "and what to try "
                   "next, how it was told apart from the other methods, a cheaper method that was not, what the limits "
                   "kept out, and "
                   "how the method stood in the store's other sweeps with the same objective.\n\n"
                   "Reads the store alone. docs/choosing.md has the rules.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run,
};
