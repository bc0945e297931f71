/* `nightsweep predict`: what a trial's adapter says of new rows. `nightsweep eval`: how good it is on labelled ones,
 * beside what the sweep recorded. The trainer beside this program computes (trainer/predict_command.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "orchestrator/child.h"
#include "orchestrator/choice.h"
#include "orchestrator/columns.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/csv_cell.h"
#include "orchestrator/definition.h"

/* A trial's adapter and what it was trained with. */
struct trained {
    struct definition definition;
    char *adapter;    /* its folder */
    char *test;       /* the task's test file, or NULL */
    cJSON *recorded;  /* the metrics of its final test, or NULL */
    cJSON *metrics;   /* those of now */
    struct text rows; /* as they are written */
    cJSON *labels;
    bool is_labeled, writes_json;
};

static void trained_done(struct trained *t)
{
    definition_done(&t->definition);
    free(t->adapter);
    free(t->test);
    json_free(t->recorded);
    json_free(t->metrics);
    json_free(t->labels);
    text_done(&t->rows);
}

/* What the store has -------------------------------------------------------------------------------------------------
 */

/* ?1 the trial; its adapter is its own, or that of an equal trial whose result it took. */
static const char query[] =
    "SELECT s.definition, s.folder, o.output_folder, t.state, t.number, a.path, (SELECT e.model_sha256 FROM attempt r"
    " JOIN environment e ON e.id = r.environment_id WHERE r.trial_id = a.trial_id ORDER BY r.number DESC LIMIT 1),"
    " (SELECT metrics FROM evaluation WHERE trial_id = t.id AND split = 'test' AND is_final) FROM trial t"
    " JOIN sweep s ON s.id = t.sweep_id LEFT JOIN trial k ON k.identity = t.identity AND EXISTS (SELECT 1 FROM artifact"
    " WHERE trial_id = k.id AND path LIKE '%/nightsweep.json') LEFT JOIN artifact a ON a.trial_id = k.id AND a.path "
    "LIKE"
    " '%/nightsweep.json' LEFT JOIN sweep o ON o.id = k.sweep_id WHERE t.id = ?1 ORDER BY k.id = t.id DESC LIMIT 1";

static const char *column(sqlite3_stmt *row, int i)
{
    return (const char *)sqlite3_column_text(row, i);
}

/* The base must be the one that the adapter was trained on. */
static int check_model(const struct trained *t, const char *trained_on, struct err *err)
{
    char now[HASH_HEX_SIZE];
    int rc = hash_model(t->definition.model, NULL, now, err);
    if (rc == 0 && trained_on && !text_equal(now, trained_on))
        rc = err_set(err, ERR_DATA, "the model '%s' is not the one the trial was trained on (hash %.12s, %.12s was)",
                     t->definition.model, now, trained_on);
    return rc;
}

static int read_row(struct trained *t, sqlite3_stmt *row, struct err *err)
{
    const char *path = column(row, 5), *metrics = column(row, 7);
    if (!path)
        return err_set(err, ERR_NOT_FOUND, "trial %d is %s and has no adapter", sqlite3_column_int(row, 4),
                       column(row, 3));
    int rc = definition_parse(&t->definition, column(row, 0), column(row, 1), "the stored definition", err);
    if (rc < 0)
        return rc;
    char *file = file_join(column(row, 2), path);
    t->adapter = file ? file_folder(file) : NULL;
    free(file);
    if (!t->adapter)
        return err_set(err, ERR_NOMEM, "no memory for a path");
    if (!file_is_folder(t->adapter))
        return err_set(err, ERR_NOT_FOUND, "the adapter '%s' is gone (deleted, or never kept)", t->adapter);
    const cJSON *test = json_get(t->definition.task, "test");
    if (cJSON_IsString(test) && !(t->test = strdup(test->valuestring)))
        return err_set(err, ERR_NOMEM, "no memory for a path");
    if (metrics)
        rc = json_parse(metrics, strlen(metrics), &t->recorded, err);
    return rc < 0 ? rc : check_model(t, column(row, 6), err);
}

static int read_trial(struct trained *t, struct store *store, int64_t id, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), query, -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "'%s': %s", store_path(store), sqlite3_errmsg(store_database(store)));
    sqlite3_bind_int64(row, 1, id);
    int rc = sqlite3_step(row) == SQLITE_ROW
                 ? read_row(t, row, err)
                 : err_set(err, ERR_STORE, "'%s': the trial cannot be read", store_path(store));
    sqlite3_finalize(row);
    return rc;
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
static void add_titles(struct trained *t, const cJSON *row)
{
    text_add(&t->rows, "line");
    for (int i = 0; i < TEXT_CELLS; i++)
        if (json_get(row, text_cells[i]))
            text_printf(&t->rows, ",%s", text_cells[i]);
    for (const cJSON *label = t->labels->child; label; label = label->next) {
        struct text title = {0};
        text_printf(&title, "p(%s)", label->valuestring);
        text_add_char(&t->rows, ',');
        csv_cell_add(&t->rows, title.data);
        text_done(&title);
    }
    if (json_get(row, "tokens"))
        text_add(&t->rows, ",tokens,loss");
    text_add(&t->rows, "\n");
}

static void add_row(struct trained *t, const cJSON *row)
{
    const cJSON *probabilities = json_get(row, "probabilities");
    if (t->rows.len == 0)
        add_titles(t, row);
    text_add_double(&t->rows, json_get(row, "line")->valuedouble);
    for (int i = 0; i < TEXT_CELLS; i++) {
        const cJSON *cell = json_get(row, text_cells[i]);
        text_add(&t->rows, cell ? "," : "");
        csv_cell_add(&t->rows, cell ? cell->valuestring : NULL);
    }
    for (const cJSON *p = probabilities ? probabilities->child : NULL; p; p = p->next)
        add_number_cell(&t->rows, p);
    if (json_get(row, "tokens")) {
        add_number_cell(&t->rows, json_get(row, "tokens"));
        add_number_cell(&t->rows, json_get(row, "loss"));
    }
    text_add(&t->rows, "\n");
}

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    struct trained *t = context;
    cJSON *answer = NULL;
    int rc = json_parse(line, n, &answer, err);
    if (rc < 0)
        return rc;
    if (json_get(answer, "labels")) {
        t->labels = cJSON_DetachItemFromObjectCaseSensitive(answer, "labels");
    } else if (json_get(answer, "metrics")) {
        t->metrics = cJSON_DetachItemFromObjectCaseSensitive(answer, "metrics");
    } else if (!t->labels || !json_get(answer, "line")) {
        rc = err_set(err, ERR_INTERNAL, "nightsweep-trainer gave an answer that is no row");
    } else if (t->writes_json) {
        text_add_n(&t->rows, line, n);
        text_add(&t->rows, "\n");
    } else {
        add_row(t, answer);
    }
    json_free(answer);
    if (rc == 0 && t->rows.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for the predictions");
    return rc;
}

static int ask(struct trained *t, const char *input, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--predict", NULL};
    static struct child child;
    struct text request = {0};
    uv_loop_t loop;
    text_add(&request, "{\"model\":");
    text_add_json(&request, t->definition.model);
    text_add(&request, ",\"adapter\":");
    text_add_json(&request, t->adapter);
    text_add(&request, ",\"input\":");
    text_add_json(&request, input);
    text_add(&request, ",\"task\":");
    json_add(&request, t->definition.task);
    text_printf(&request, ",\"labeled\":%s}\n", t->is_labeled ? "true" : "false");
    int rc = request.failed            ? err_set(err, ERR_NOMEM, "no memory for a request")
             : uv_loop_init(&loop) < 0 ? err_set(err, ERR_IO, "cannot start an event loop")
                                       : 0;
    if (rc == 0) {
        struct child_options options = {
            .argv = argv, .input = request.data, .input_len = request.len, .on_line = on_line, .context = t};
        rc = child_start(&child, &loop, &options, err);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
    }
    if (rc == 0)
        rc = child_result(&child, 0, err);
    text_done(&request);
    return rc;
}

/* The commands ------------------------------------------------------------------------------------------------------
 */

static int check_output(const struct command_line *line, struct trained *t, struct err *err)
{
    const char *output = command_value(line, "output");
    t->writes_json = command_has(line, "json") || (output && text_ends_with(output, ".jsonl"));
    if (output && !t->writes_json && !text_ends_with(output, ".csv"))
        return err_set(err, ERR_USAGE, "--output: '%s', a name that ends with .csv or .jsonl was expected", output);
    return 0;
}

static int write_rows(const struct command_line *line, struct trained *t, struct text *out, struct err *err)
{
    const char *output = command_value(line, "output");
    const char *rows = t->rows.data ? t->rows.data : "";
    if (output)
        return file_write_atomic(output, rows, t->rows.len, err);
    text_add(out, rows);
    return 0;
}

static int predict(struct text *out, const struct command_line *line, struct store *store, int64_t id, struct err *err)
{
    struct trained t = {0};
    const char *input = command_value(line, "input");
    int rc = input ? check_output(line, &t, err) : err_set(err, ERR_USAGE, "predict: --input FILE was expected");
    if (rc == 0)
        rc = read_trial(&t, store, id, err);
    t.is_labeled = t.definition.is_language; /* its targets are what is predicted */
    if (rc == 0)
        rc = ask(&t, input, err);
    if (rc == 0)
        rc = write_rows(line, &t, out, err);
    trained_done(&t);
    return rc;
}

static void add_metrics(struct text *out, const struct trained *t, bool compares)
{
    static const char *const titles[] = {"metric", ">now", ">recorded", ">difference"};
    struct columns columns;
    columns_init(&columns, compares ? 4 : 2, titles);
    for (const cJSON *metric = t->metrics->child; metric; metric = metric->next) {
        const cJSON *was = compares ? json_get(t->recorded, metric->string) : NULL;
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
    struct trained t = {.is_labeled = true};
    const char *input = command_value(line, "input");
    int rc = read_trial(&t, store, id, err);
    bool is_test = !input || (t.test && text_equal(input, t.test));
    if (rc == 0 && !input && !t.test)
        rc = err_set(err, ERR_USAGE, "eval: the sweep's task has no test file; --input FILE was expected");
    if (rc == 0)
        rc = ask(&t, input ? input : t.test, err);
    if (rc == 0 && !t.metrics)
        rc = err_set(err, ERR_INTERNAL, "nightsweep-trainer ended without metrics");
    if (rc == 0 && command_has(line, "json")) {
        text_add(out, "{\"v\":1,\"metrics\":");
        json_add(out, t.metrics);
        text_add(out, ",\"recorded\":");
        if (is_test && t.recorded)
            json_add(out, t.recorded);
        else
            text_add(out, "null");
        text_add(out, "}\n");
    } else if (rc == 0) {
        add_metrics(out, &t, is_test && t.recorded);
    }
    trained_done(&t);
    return rc;
}

/* The trial is the argument, or --trial. */
static int run_trial(const struct command_line *line, choice_trial_fn answer, struct err *err)
{
    struct command_line own = *line;
    const char *trial = command_value(line, "trial");
    if (trial && line->n_arguments > 0)
        return err_set(err, ERR_USAGE, "%s: the trial is named twice, by '%.80s' and by --trial", line->command->name,
                       line->arguments[0]);
    if (!trial && line->n_arguments == 0)
        return err_set(err, ERR_USAGE, "%s: a trial was expected, a number or SWEEP/NUMBER", line->command->name);
    char *arguments[] = {(char *)(uintptr_t)trial}; /* only read */
    if (trial) {
        own.arguments = arguments;
        own.n_arguments = 1;
    }
    return choice_run_trial(&own, line->command->name, answer, err);
}

static int run_predict(const struct command_line *line, struct err *err)
{
    return run_trial(line, predict, err);
}

static int run_eval(const struct command_line *line, struct err *err)
{
    return run_trial(line, eval, err);
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
