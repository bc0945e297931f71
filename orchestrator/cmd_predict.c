/* `nightsweep predict`: what a trial's adapter says of new rows. `nightsweep eval`: how good it is on labelled ones,
 * beside what the sweep recorded. The trainer beside this program computes (trainer/predict_command.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "orchestrator/child.h"
#include "orchestrator/choice.h"
#include "orchestrator/columns.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/csv_cell.h"
#include "orchestrator/trained.h"

/* A trial's adapter, and what the trainer answers. */
struct predicting {
    struct trained trained;
    cJSON *labels, *metrics;
    struct text rows; /* as they are written */
    bool is_labeled, writes_json;
};

static void predicting_done(struct predicting *p)
{
    trained_done(&p->trained);
    json_free(p->labels);
    json_free(p->metrics);
    text_done(&p->rows);
}

/* What the trainer answers ------------------------------------------------------------------------------------------
 */

static void add_number_cell(struct text *out, const cJSON *value)
{
    text_add_char(out, ',');
    if (cJSON_IsNumber(value))
        text_add_double(out, value->valuedouble);
}

static const char *const text_cells[] = {"text", "text_pair", "label", "predicted"};
enum { TEXT_CELLS = sizeof(text_cells) / sizeof(text_cells[0]) };

/* The titles fit the first row: a language model's rows have no labels. */
static void add_titles(struct predicting *p, const cJSON *row)
{
    text_add(&p->rows, "line");
    for (int i = 0; i < TEXT_CELLS; i++)
        if (json_get(row, text_cells[i]))
            text_printf(&p->rows, ",%s", text_cells[i]);
    for (const cJSON *label = p->labels->child; label; label = label->next) {
        struct text title = {0};
        text_printf(&title, "p(%s)", label->valuestring);
        text_add_char(&p->rows, ',');
        csv_cell_add(&p->rows, title.data);
        text_done(&title);
    }
    if (json_get(row, "tokens"))
        text_add(&p->rows, ",tokens,loss");
    text_add(&p->rows, "\n");
}

static void add_row(struct predicting *p, const cJSON *row)
{
    const cJSON *probabilities = json_get(row, "probabilities");
    if (p->rows.len == 0)
        add_titles(p, row);
    text_add_double(&p->rows, json_get(row, "line")->valuedouble);
    for (int i = 0; i < TEXT_CELLS; i++) {
        const cJSON *cell = json_get(row, text_cells[i]);
        text_add(&p->rows, cell ? "," : "");
        csv_cell_add(&p->rows, cell ? cell->valuestring : NULL);
    }
    for (const cJSON *value = probabilities ? probabilities->child : NULL; value; value = value->next)
        add_number_cell(&p->rows, value);
    if (json_get(row, "tokens")) {
        add_number_cell(&p->rows, json_get(row, "tokens"));
        add_number_cell(&p->rows, json_get(row, "loss"));
    }
    text_add(&p->rows, "\n");
}

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    struct predicting *p = context;
    cJSON *answer = NULL;
    int rc = json_parse(line, n, &answer, err);
    if (rc < 0)
        return rc;
    if (json_get(answer, "labels")) {
        p->labels = cJSON_DetachItemFromObjectCaseSensitive(answer, "labels");
    } else if (json_get(answer, "metrics")) {
        p->metrics = cJSON_DetachItemFromObjectCaseSensitive(answer, "metrics");
    } else if (!p->labels || !json_get(answer, "line")) {
        rc = err_set(err, ERR_INTERNAL, "nightsweep-trainer gave an answer that is no row");
    } else if (p->writes_json) {
        text_add_n(&p->rows, line, n);
        text_add(&p->rows, "\n");
    } else {
        add_row(p, answer);
    }
    json_free(answer);
    if (rc == 0 && p->rows.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for the predictions");
    return rc;
}

static int ask(struct predicting *p, const char *input, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--predict", NULL};
    struct text request = {0};
    text_add(&request, "{\"model\":");
    text_add_json(&request, p->trained.definition.model);
    text_add(&request, ",\"adapter\":");
    text_add_json(&request, p->trained.adapter);
    text_add(&request, ",\"input\":");
    text_add_json(&request, input);
    text_add(&request, ",\"task\":");
    json_add(&request, p->trained.definition.task);
    text_printf(&request, ",\"labeled\":%s}\n", p->is_labeled ? "true" : "false");
    const struct child_options options = {
        .argv = argv, .input = request.data, .input_len = request.len, .on_line = on_line, .context = p};
    int rc = request.failed ? err_set(err, ERR_NOMEM, "no memory for a request") : child_run(&options, err);
    text_done(&request);
    return rc;
}

/* The commands ------------------------------------------------------------------------------------------------------
 */

static int check_output(const struct command_line *line, struct predicting *p, struct err *err)
{
    const char *output = command_value(line, "output");
    p->writes_json = command_has(line, "json") || (output && text_ends_with(output, ".jsonl"));
    if (output && !p->writes_json && !text_ends_with(output, ".csv"))
        return err_set(err, ERR_USAGE, "--output: '%s', a name that ends with .csv or .jsonl was expected", output);
    return 0;
}

static int write_rows(const struct command_line *line, struct predicting *p, struct text *out, struct err *err)
{
    const char *output = command_value(line, "output");
    const char *rows = p->rows.data ? p->rows.data : "";
    if (output)
        return file_write_atomic(output, rows, p->rows.len, err);
    text_add(out, rows);
    return 0;
}

static int predict(struct text *out, const struct command_line *line, struct store *store, int64_t id, struct err *err)
{
    struct predicting p = {0};
    const char *input = command_value(line, "input");
    int rc = input ? check_output(line, &p, err) : err_set(err, ERR_USAGE, "predict: --input FILE was expected");
    if (rc == 0)
        rc = trained_read(&p.trained, store, id, err);
    if (rc == 0) {
        p.is_labeled = p.trained.definition.task_info->is_labelled; /* what is to be learned comes out of the text */
        rc = ask(&p, input, err);
    }
    if (rc == 0)
        rc = write_rows(line, &p, out, err);
    predicting_done(&p);
    return rc;
}

static void add_metrics(struct text *out, const struct predicting *p, bool compares)
{
    static const char *const titles[] = {"metric", ">now", ">recorded", ">difference"};
    struct columns columns;
    columns_init(&columns, compares ? 4 : 2, titles);
    for (const cJSON *metric = p->metrics->child; metric; metric = metric->next) {
        const cJSON *was = compares ? json_get(p->trained.recorded, metric->string) : NULL;
        if (!cJSON_IsNumber(metric))
            continue;
        columns_add(&columns, metric->string);
        columns_printf(&columns, "%.6f", metric->valuedouble);
        if (compares && cJSON_IsNumber(was)) {
            columns_printf(&columns, "%.6f", was->valuedouble);
            columns_printf(&columns, "%.1e", metric->valuedouble - was->valuedouble);
        } else if (compares) {
            columns_add(&columns, NULL);
            columns_add(&columns, NULL);
        }
    }
    columns_write(out, &columns, "");
    columns_done(&columns);
}

static int eval(struct text *out, const struct command_line *line, struct store *store, int64_t id, struct err *err)
{
    struct predicting p = {.is_labeled = true};
    const char *input = command_value(line, "input");
    int rc = trained_read(&p.trained, store, id, err);
    bool is_test = !input || (p.trained.test && text_equal(input, p.trained.test));
    if (rc == 0 && !input && !p.trained.test)
        rc = err_set(err, ERR_USAGE, "eval: the sweep's task has no test file; --input FILE was expected");
    if (rc == 0)
        rc = ask(&p, input ? input : p.trained.test, err);
    if (rc == 0 && !p.metrics)
        rc = err_set(err, ERR_INTERNAL, "nightsweep-trainer ended without metrics");
    if (rc == 0 && command_has(line, "json")) {
        text_add(out, "{\"v\":1,\"metrics\":");
        json_add(out, p.metrics);
        text_add(out, ",\"recorded\":");
        if (is_test && p.trained.recorded)
            json_add(out, p.trained.recorded);
        else
            text_add(out, "null");
        text_add(out, "}\n");
    } else if (rc == 0) {
        add_metrics(out, &p, is_test && p.trained.recorded);
    }
    predicting_done(&p);
    return rc;
}

static int run_predict(const struct command_line *line, struct err *err)
{
    return trained_run(line, predict, err);
}

static int run_eval(const struct command_line *line, struct err *err)
{
    return trained_run(line, eval, err);
}

static const struct command_option predict_options[] = {
    {"trial", "TRIAL", "the same as the argument"},
    {"sweep", "SWEEP", "the trial's sweep; not needed when the store has only one"},
    {"input", "FILE", "rows to predict: JSON lines, CSV or TSV with the columns of the sweep's task but the label"},
    {"output", "FILE", "write them there, .csv or .jsonl; without it standard output"},
    {"json", NULL, "write JSON lines"},
    {NULL, NULL, NULL},
};

const struct command command_predict = {
    .name = "predict",
    .arguments = "[TRIAL]",
    .summary = "what a trial's adapter says of new rows",
    .description = "TRIAL is a number, or SWEEP/NUMBER. Loads the base model with the adapter that the trial kept and "
                   "writes, for each row of the input, the predicted label and the probability of each; for language "
                   "models the tokens predicted and their mean loss. Refused when the base is not the one the "
                   "adapter was trained on.",
    .options = predict_options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run_predict,
};

static const struct command_option eval_options[] = {
    {"trial", "TRIAL", "the same as the argument"},
    {"sweep", "SWEEP", "the trial's sweep; not needed when the store has only one"},
    {"input", "FILE", "labelled rows; without it the test file of the sweep's task"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_eval = {
    .name = "eval",
    .arguments = "[TRIAL]",
    .summary = "how good a trial's adapter is, beside what the sweep recorded",
    .description =
        "TRIAL is a number, or SWEEP/NUMBER. Computes the metrics of the adapter that the trial kept on labelled "
        "rows; on the sweep's own test file beside the recorded ones, with the difference.",
    .options = eval_options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run_eval,
};
