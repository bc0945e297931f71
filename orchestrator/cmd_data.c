/* `nightsweep data SWEEP.json`: what a sweep's data is like, before anything is trained on it. The trainer beside this
 * program reads the files; here its findings are judged and shown. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/settings.h"
#include "orchestrator/child.h"
#include "orchestrator/columns.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/printable.h"
#include "orchestrator/stages.h"

/* Asking ----------------------------------------------------------------------------------------------------------- */

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    cJSON **findings = context;
    json_free(*findings);
    *findings = NULL;
    return json_parse(line, n, findings, err);
}

static double longest(const struct definition *definition)
{
    const cJSON *given = json_get(definition->settings, "max_tokens");
    const struct setting *setting = settings_find("max_tokens");
    double value = 0;
    if (cJSON_IsNumber(given))
        return given->valuedouble;
    return setting && setting->default_json && text_parse_double(setting->default_json, &value, NULL) == 0 ? value : 0;
}

static int ask(const struct definition *definition, cJSON **findings, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--data-check", NULL};
    struct text request = {0};
    text_add(&request, "{\"task\":");
    json_add(&request, definition->task);
    text_add(&request, ",\"model\":");
    text_add_json(&request, definition->model ? definition->model : definition->stand_in);
    text_printf(&request, ",\"max_tokens\":%.0f}\n", longest(definition));
    const struct child_options options = {
        .argv = argv, .input = request.data, .input_len = request.len, .on_line = on_line, .context = findings};
    int rc = request.failed ? err_set(err, ERR_NOMEM, "no memory for a request") : child_run(&options, err);
    if (rc == 0 && !*findings)
        rc = err_set(err, ERR_INTERNAL, "nightsweep-trainer ended without findings");
    text_done(&request);
    return rc;
}

/* Judging ---------------------------------------------------------------------------------------------------------- */

static double number(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

static const char *string(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    return cJSON_IsString(value) ? value->valuestring : "";
}

/* What --strict refuses: test or validation rows that training has seen, and equal texts with different labels. */
static int count_problems(const cJSON *findings)
{
    int n = 0;
    const cJSON *overlap;
    cJSON_ArrayForEach(overlap, json_get(findings, "duplicates"))
    {
        bool is_leak = !text_equal(string(overlap, "from"), string(overlap, "to"));
        n += is_leak && number(overlap, "equal") + number(overlap, "near") > 0;
    }
    return n + (number(json_get(findings, "label_conflicts"), "equal") > 0);
}

/* Showing ---------------------------------------------------------------------------------------------------------- */

static void add_sizes(struct columns *columns, const cJSON *sizes)
{
    if (sizes)
        columns_printf(columns, "%.0f / %.0f / %.0f", number(sizes, "median"), number(sizes, "p95"),
                       number(sizes, "max"));
    else
        columns_add(columns, NULL);
}

static void add_splits(struct text *out, const cJSON *findings)
{
    const char *const titles[] = {
        "split",   ">rows", ">classes", ">balance", ">largest/smallest", ">characters (median / 95 % / max)",
        ">tokens", ">cut"};
    struct columns columns;
    const cJSON *split;
    columns_init(&columns, 8, titles);
    cJSON_ArrayForEach(split, json_get(findings, "splits"))
    {
        columns_add(&columns, string(split, "split"));
        columns_add_count(&columns, (int64_t)number(split, "rows"));
        columns_printf(&columns, "%.0f", number(split, "classes"));
        columns_printf(&columns, "%.3f", number(split, "balance"));
        columns_printf(&columns, "%.2f", number(split, "largest_by_smallest"));
        add_sizes(&columns, json_get(split, "characters"));
        add_sizes(&columns, json_get(split, "tokens"));
        if (json_get(split, "truncated"))
            columns_printf(&columns, "%.1f %%", 100 * number(split, "truncated") / number(split, "rows"));
        else
            columns_add(&columns, NULL);
    }
    columns_write(out, &columns, "");
    columns_done(&columns);
}

/* ", as lines 3 and 17" of the first example. */
static void add_example(struct text *out, const cJSON *examples)
{
    const cJSON *pair = examples ? examples->child : NULL;
    if (pair)
        text_printf(out, " (first: %s line %.0f, %s line %.0f)", string(pair->child, "split"),
                    number(pair->child, "line"), string(pair->child->next, "split"), number(pair->child->next, "line"));
}

static void add_overlaps(struct text *out, const cJSON *findings)
{
    const cJSON *overlap;
    cJSON_ArrayForEach(overlap, json_get(findings, "duplicates"))
    {
        double equal = number(overlap, "equal"), near = number(overlap, "near");
        const char *from = string(overlap, "from"), *to = string(overlap, "to");
        bool is_leak = !text_equal(from, to);
        if (equal + near <= 0)
            continue;
        text_printf(out, "%s: %.0f equal and %.0f nearly equal rows of %s", is_leak ? "leakage" : "duplicates", equal,
                    near, to);
        text_printf(out, is_leak ? " stand in %s too" : " repeat earlier ones", from);
        add_example(out, json_get(overlap, "examples"));
        text_add(out, "\n");
    }
    const cJSON *conflicts = json_get(findings, "label_conflicts");
    double equal = number(conflicts, "equal"), near = number(conflicts, "near");
    if (equal + near > 0) {
        text_printf(out, "label conflicts: %.0f rows equal another one with a different label, %.0f pairs nearly",
                    equal, near);
        add_example(out, json_get(conflicts, "examples"));
        text_add(out, "\n");
    }
    if (out->len > 0 && count_problems(findings) == 0)
        text_add(out, "no leakage between splits, no equal texts with different labels\n");
}

/* "likely label errors: 31 of 1,500 training rows (2.1 %)", and the worst of them. */
static void add_label_errors(struct text *out, const cJSON *findings)
{
    const cJSON *errors = json_get(findings, "label_errors"), *example;
    double likely = number(errors, "likely");
    if (!(likely > 0))
        return;
    text_printf(
        out, "likely label errors: %.0f of %.0f training rows (%.1f %%), by a linear model that is right on %.1f %%\n",
        likely, number(errors, "rows"), 100 * likely / number(errors, "rows"), 100 * number(errors, "model_accuracy"));
    cJSON_ArrayForEach(example, json_get(errors, "examples"))
    {
        text_printf(out, "  line %.0f: labelled '", number(example, "line"));
        printable_add(out, string(example, "label"));
        text_add(out, "', rather '");
        printable_add(out, string(example, "suggested"));
        text_printf(out, "' (%.2f against %.2f)\n", number(example, "p_suggested"), number(example, "p_label"));
    }
}

static int show(const struct command_line *line, const cJSON *findings, struct err *err)
{
    struct text out = {0};
    if (command_has(line, "json")) {
        json_add(&out, findings);
        text_add_char(&out, '\n');
    } else {
        add_splits(&out, findings);
        add_overlaps(&out, findings);
        add_label_errors(&out, findings);
    }
    return command_print(&out, "the findings", 0, err);
}

/* Stages may share their data: it is looked at once. */
static bool is_known(const struct stages *stages, int index)
{
    for (int i = 0; i < index; i++)
        if (json_equal(stages->items[i].task, stages->items[index].task))
            return true;
    return false;
}

static int run(const struct command_line *line, struct err *err)
{
    struct stages stages;
    int problems = 0, rc = stages_read(&stages, line->arguments[0], NULL, err);
    for (int i = 0; i < stages.n && rc == 0; i++) {
        cJSON *findings = NULL;
        if (is_known(&stages, i))
            continue;
        rc = ask(&stages.items[i], &findings, err);
        if (rc == 0)
            rc = show(line, findings, err);
        problems += rc == 0 ? count_problems(findings) : 0;
        json_free(findings);
    }
    if (rc == 0 && problems > 0 && command_has(line, "strict"))
        rc = err_set(err, ERR_DATA, "data: %d problem%s that would make the scores worthless (--strict)", problems,
                     problems == 1 ? "" : "s");
    stages_done(&stages);
    return rc;
}

static const struct command_option options[] = {
    {"strict", NULL, "end with status 2 when rows leak between splits or equal texts have different labels"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_data = {
    .name = "data",
    .arguments = "SWEEP.json",
    .summary = "look a sweep's data over before anything is trained on it",
    .description =
        "Reads the task's files and tells of each split how many rows it has, how even its classes are, how long its "
        "texts are and how many are cut at max_tokens; which rows are equal or nearly equal to others of the same "
        "split or of another one (leakage), which equal texts have different labels, and which labels are likely "
        "wrong. docs/data.md says how each is measured.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
