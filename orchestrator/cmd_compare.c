/* `nightsweep compare SWEEP...`: which method is better, by how much, how sure that is, and at what cost. */
#include <stdio.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/compare.h"

static int read_options(const struct command_line *line, struct compare_options *options, struct err *err)
{
    const char *margin = command_value(line, "margin");
    int64_t resamples = 10000;
    *options = (struct compare_options){.margin = 0.01, .reference = command_value(line, "reference")};
    int rc = command_get_int(line, "resamples", 100, 1000000, &resamples, err);
    options->resamples = (int)resamples;
    if (rc == 0 && margin && (text_parse_double(margin, &options->margin, NULL) < 0 || !(options->margin > 0)))
        rc = err_set(err, ERR_USAGE, "compare: --margin: '%.80s' is no number above 0", margin);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct arena arena = {0};
    struct text out = {0};
    struct comparison comparison;
    struct compare_options options;
    int rc = read_options(line, &options, err);
    if (rc == 0)
        rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = compare_sweeps(store, (const char *const *)line->arguments, line->n_arguments, &options, &arena,
                            &comparison, err);
    if (rc == 0 && command_has(line, "json"))
        compare_add_json(&out, &comparison);
    else if (rc == 0)
        compare_add_text(&out, &comparison);
    rc = command_print(&out, "a comparison", rc, err);
    arena_done(&arena);
    store_close(store);
    return rc;
}

static const struct command_option options[] = {
    {"margin", "X",
     "how much worse than the reference still counts as not inferior, in the metric's units (default "
     "0.01)"},
    {"reference", "METHOD", "what the others must not be inferior to (default: full)"},
    {"resamples", "N", "resamples of the bootstrap (default 10000)"},
    {"json", NULL, "write one JSON object, numbers with all their digits"},
    {NULL, NULL, NULL},
};

const struct command command_compare = {
    .name = "compare",
    .arguments = "SWEEP...",
    .summary = "which method is better, how sure that is, and what it costs",
    .description =
        "Of each method it takes the configuration that is best on the validation objective and compares their test "
        "scores: intervals over seeds, paired bootstrap over the test items nested over the seeds, Holm's correction "
        "over all pairs, effect sizes, almost stochastic order, and in words what cannot be told apart. Then "
        "non-inferiority to full fine-tuning at a margin, Pareto fronts, the expected best by budget, and a table of "
        "traditional against parameter-efficient fine-tuning. Several sweeps are compared together when they have the "
        "same objective.\n\n"
        "Reads the store alone, also while a run writes to it. docs/compare.md has every formula.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 64,
    .run = run,
};
