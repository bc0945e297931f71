/* Adapters to use elsewhere: a folder a chosen trial with the files that training left (Hugging Face PEFT's or
 * AdapterHub's layout), each checked against its hash, and a model card, README.md. Chosen are the trials named, else
 * of each method's best configuration the trial with the best score. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "orchestrator/export_rows.h"
#include "orchestrator/summary.h"

enum { MAX_ADAPTER_BYTES = 2000 << 20 };

struct adapters {
    const struct export_request *request;
    struct summary summary;
    struct text output;      /* the sweep's output folder, as it is in the store */
    struct text model, task; /* of the definition: the model's name, the task as JSON */
    struct text license;     /* of the model, as the store has it; empty: not said */
    struct text files;       /* of the trial, those that were copied */
    struct text folder;      /* of the trial that is being written */
    struct text card, rows;
    const struct export_trial *trial;
    int64_t *chosen;
    int n_chosen, n_written;
};

static void add_cell(struct text *out, const char *s)
{
    for (; s && *s; s++)
        text_add(out, *s == '|' ? "\\|" : *s == '\n' ? " " : (char[]){*s, '\0'});
}

/* The file's place in the new folder: without the trial's own folder in front. */
static const char *short_path(const char *path, int64_t number)
{
    char front[32];
    int n = snprintf(front, sizeof(front), "%lld/", (long long)number);
    if (strncmp(path, front, (size_t)n) == 0)
        path += n;
    return strncmp(path, "adapter/", 8) == 0 ? path + 8 : path;
}

static int copy_file(const char *from, const char *to, const char *sha256, struct err *err)
{
    char *data = NULL, hash[HASH_HEX_SIZE];
    size_t n = 0;
    int rc = file_read(from, MAX_ADAPTER_BYTES, &data, &n, err);
    if (rc < 0)
        return rc;
    hash_bytes(data, n, hash);
    struct text content = {.data = data, .len = n, .capacity = n + 1};
    if (!text_equal(hash, sha256))
        rc = err_set(err, ERR_DATA, "'%s' has the hash %.12s…, the store says %.12s…: it was changed after training",
                     from, hash, sha256);
    else
        rc = export_write_file(to, &content, err);
    free(data);
    return rc;
}

static int copy_artifact(sqlite3_stmt *row, void *context, struct err *err)
{
    struct adapters *a = context;
    const char *path = (const char *)sqlite3_column_text(row, 1), *sha256 = (const char *)sqlite3_column_text(row, 3);
    struct text from = {0}, to = {0};
    if (strstr(path, ".."))
        return err_set(err, ERR_DATA, "trial %lld: the path '%s' leaves its folder", (long long)a->trial->number, path);
    text_printf(&from, "%s/%s", a->output.data, path);
    text_printf(&to, "%s/%s", a->folder.data, short_path(path, a->trial->number));
    int rc = from.failed || to.failed ? err_set(err, ERR_NOMEM, "no memory for a path")
                                      : copy_file(from.data, to.data, sha256, err);
    text_printf(&a->files, "| `%s` | %s | %lld | `%s` |\n", short_path(path, a->trial->number),
                (const char *)sqlite3_column_text(row, 0), (long long)sqlite3_column_int64(row, 2), sha256);
    text_done(&from);
    text_done(&to);
    return rc;
}

/* The card -----------------------------------------------------------------------------------------------------------
 */

static int add_score(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct adapters *a = context;
    text_printf(&a->rows, "| %s | ", (const char *)sqlite3_column_text(row, 0));
    add_cell(&a->rows, (const char *)sqlite3_column_text(row, 1));
    text_printf(&a->rows, " | %.4f | %lld |\n", sqlite3_column_double(row, 2), (long long)sqlite3_column_int64(row, 3));
    return 0;
}

static int add_check(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct adapters *a = context;
    text_add(&a->rows, "| ");
    add_cell(&a->rows, (const char *)sqlite3_column_text(row, 0));
    text_printf(&a->rows, ": %s | ", (const char *)sqlite3_column_text(row, 1));
    if (sqlite3_column_type(row, 2) != SQLITE_NULL)
        text_printf(&a->rows, "%.4f", sqlite3_column_double(row, 2));
    text_printf(&a->rows, " | %.4f | ", sqlite3_column_double(row, 3));
    if (sqlite3_column_type(row, 4) != SQLITE_NULL)
        text_printf(&a->rows, "%+.4f [%+.4f, %+.4f]", sqlite3_column_double(row, 4), sqlite3_column_double(row, 5),
                    sqlite3_column_double(row, 6));
    text_printf(&a->rows, " | %lld |\n", (long long)sqlite3_column_int64(row, 7));
    return 0;
}

/* `settings` of the configuration, a line each. */
static void add_settings(struct text *out, const char *settings)
{
    cJSON *root = NULL;
    struct err err;
    if (json_parse(settings, strlen(settings), &root, &err) < 0)
        return;
    for (const cJSON *item = root->child; item; item = item->next) {
        struct text value = {0};
        json_add(&value, item);
        text_printf(out, "| `%s` | `", item->string);
        add_cell(out, value.data);
        text_add(out, "` |\n");
        text_done(&value);
    }
    json_free(root);
}

/* Other methods leave AdapterHub's files, or tensors under the base model's own names. */
static bool is_for_peft(const struct adapters *a)
{
    return a->files.data && strstr(a->files.data, "`adapter_model.safetensors`");
}

static void add_head(struct adapters *a)
{
    const struct export_trial *t = a->trial;
    text_printf(&a->card, "---\n%sbase_model: ", is_for_peft(a) ? "library_name: peft\n" : "");
    text_add_json(&a->card, a->model.data ? a->model.data : "");
    text_printf(&a->card, "\ntags:\n- nightsweep\n---\n\n# %s, trial %lld: ", t->sweep, (long long)t->number);
    add_cell(&a->card, t->method);
    text_printf(&a->card, "\n\nTrained by the sweep `%s`, configuration %lld, seed %s. ", t->sweep,
                (long long)t->configuration, t->seed);
    if (t->trained_parameters.is_known) {
        summary_add_count(&a->card, t->trained_parameters.value);
        text_add(&a->card, " parameters were trained. ");
    }
    for (int i = 0; i < a->summary.n_methods; i++) {
        const struct summary_method *m = &a->summary.methods[i];
        if (m->configuration != t->configuration)
            continue;
        text_printf(&a->card, "Over %d seeds this configuration reaches %s ", m->score.n, a->summary.metric);
        summary_add_interval(&a->card, m->score);
        text_add(&a->card, " (95 %, Student)");
        if (m->test.n > 0) {
            text_add(&a->card, ", on test ");
            summary_add_interval(&a->card, m->test);
        }
        text_add(&a->card, ".");
    }
    text_add(&a->card, "\n");
}

static void add_rows(struct adapters *a, const char *title, const char *head)
{
    if (a->rows.len > 0)
        text_printf(&a->card, "\n## %s\n\n%s%s", title, head, a->rows.data);
    text_reset(&a->rows);
}

static int add_pair(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct adapters *a = context;
    text_printf(&a->rows, "| %s | `", (const char *)sqlite3_column_text(row, 0));
    add_cell(&a->rows, (const char *)sqlite3_column_text(row, 1));
    text_add(&a->rows, "` |\n");
    return 0;
}

/* A line of what it was trained on: role, name, license, who said so. */
static int add_input(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct adapters *a = context;
    const char *path = (const char *)sqlite3_column_text(row, 1), *slash = strrchr(path, '/');
    text_printf(&a->rows, "| %s | `", (const char *)sqlite3_column_text(row, 0));
    add_cell(&a->rows, slash ? slash + 1 : path);
    text_add(&a->rows, "` | ");
    add_cell(&a->rows, (const char *)sqlite3_column_text(row, 2));
    text_add(&a->rows, " | ");
    add_cell(&a->rows, (const char *)sqlite3_column_text(row, 3));
    text_add(&a->rows, " |\n");
    return 0;
}

/* The data and the model as their hashes, and how many items were evaluated. */
static const char data_sql[] =
    "SELECT 'data, SHA-256', e.data_sha256 FROM attempt a JOIN environment e ON e.id = a.environment_id"
    " WHERE a.trial_id = ?1 GROUP BY e.data_sha256"
    " UNION ALL SELECT 'model, SHA-256', e.model_sha256 FROM attempt a JOIN environment e ON e.id = a.environment_id"
    " WHERE a.trial_id = ?1 GROUP BY e.model_sha256"
    " UNION ALL SELECT split || ' items', CAST(n_items AS TEXT) FROM evaluation WHERE trial_id = ?1 AND is_final";
static const char inputs_sql[] =
    "SELECT i.role, i.path, COALESCE(i.license, 'not said'), COALESCE(i.license_source, '') FROM input i JOIN trial t"
    " ON t.sweep_id = i.sweep_id WHERE t.id = ?1"
    " ORDER BY i.role <> 'model', i.role <> 'train', i.role <> 'validation'";
static const char scores_sql[] =
    "SELECT e.split, j.key, j.value, e.n_items FROM evaluation e, json_each(e.metrics) j WHERE e.trial_id = ?1"
    " AND e.is_final AND j.type IN ('real', 'integer') ORDER BY e.split, j.key";
static const char checks_sql[] = "SELECT check_name, metric, before, after, delta, low, high, n_items FROM bias_check"
                                 " WHERE trial_id = ?1 ORDER BY id";

static int write_card(struct adapters *a, struct err *err)
{
    struct text path = {0};
    struct store *store = a->request->store;
    text_reset(&a->card);
    text_reset(&a->rows);
    add_head(a);
    add_settings(&a->rows, a->task.data ? a->task.data : "{}");
    int rc = export_each(store, data_sql, a->trial->id, add_pair, a, err);
    add_rows(a, "Data", "Paths start at the folder of the sweep's definition.\n\n| task | |\n|---|---|\n");
    if (rc == 0)
        rc = export_each(store, inputs_sql, a->trial->id, add_input, a, err);
    add_rows(a, "Licenses of what it was trained on", "| | | license | said by |\n|---|---|---|---|\n");
    if (rc == 0)
        rc = export_each(store, scores_sql, a->trial->id, add_score, a, err);
    add_rows(a, "Scores of this trial", "| split | metric | value | items |\n|---|---|---:|---:|\n");
    if (rc == 0)
        rc = export_each(store, checks_sql, a->trial->id, add_check, a, err);
    add_rows(
        a, "Bias and other checks",
        "Before is the untrained model with a linear probe of the same seed; the interval is a paired bootstrap.\n\n"
        "| check | before | after | change, 95 % | items |\n|---|---:|---:|---:|---:|\n");
    add_settings(&a->rows, a->trial->settings);
    add_rows(a, "Configuration", "| setting | value |\n|---|---|\n");
    text_add(&a->card, "\n## How to load it\n\n");
    if (is_for_peft(a))
        text_add(&a->card, "```python\nfrom peft import PeftModel\nfrom transformers import "
                           "AutoModelForSequenceClassification\n\nbase = AutoModelForSequenceClassification.from_"
                           "pretrained(BASE)\nmodel = PeftModel.from_pretrained(base, \"THIS FOLDER\")\n```\n\n");
    text_add(&a->card, "`\"init_adapter\"` in a sweep definition or a job starts from this folder. The tensors are in "
                       "safetensors files, named after the base model's own modules.\n");
    text_printf(&a->card, "\n## Files\n\n| file | kind | bytes | SHA-256 |\n|---|---|---:|---|\n%s",
                a->files.len ? a->files.data : "");
    text_printf(&path, "%s/README.md", a->folder.data);
    if (rc == 0)
        rc =
            path.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : export_write_file(path.data, &a->card, err);
    text_done(&path);
    return rc;
}

/* Choosing and writing -----------------------------------------------------------------------------------------------
 */

static bool is_chosen(const struct adapters *a, int64_t number)
{
    for (int i = 0; i < a->n_chosen; i++)
        if (a->chosen[i] == number)
            return true;
    return false;
}

static int write_trial(const struct export_trial *trial, void *context, struct err *err)
{
    struct adapters *a = context;
    if (!is_chosen(a, trial->number))
        return 0;
    a->trial = trial;
    text_reset(&a->files);
    text_reset(&a->folder);
    text_printf(&a->folder, "%s/", a->request->path);
    export_add_path_part(&a->folder, trial->sweep);
    text_printf(&a->folder, "-%04lld-", (long long)trial->number);
    export_add_path_part(&a->folder, trial->method);
    if (a->folder.failed)
        return err_set(err, ERR_NOMEM, "no memory for a path");
    int rc = export_each(a->request->store,
                         "SELECT kind, path, bytes, sha256 FROM artifact WHERE trial_id = ?1 ORDER BY path", trial->id,
                         copy_artifact, a, err);
    if (rc == 0 && a->files.len == 0)
        rc = err_set(err, ERR_NOT_FOUND, "trial %lld of sweep '%s' (%s) left no adapter", (long long)trial->number,
                     trial->sweep, trial->state);
    if (rc == 0)
        rc = write_card(a, err);
    a->n_written++;
    return rc;
}

struct best {
    int64_t configuration, number;
    double value;
    bool is_maximized;
};

static int take_better(const struct export_trial *trial, void *context, struct err *err)
{
    (void)err;
    struct best *best = context;
    if (trial->configuration != best->configuration || !text_equal(trial->state, "COMPLETE") || !trial->value.is_known)
        return 0;
    if (best->number == 0 ||
        (best->is_maximized ? trial->value.value > best->value : trial->value.value < best->value)) {
        best->number = trial->number;
        best->value = trial->value.value;
    }
    return 0;
}

static int choose(struct adapters *a, int64_t sweep_id, struct err *err)
{
    int rc = 0, n = a->request->trials ? a->request->n_trials : a->summary.n_methods;
    free(a->chosen);
    a->chosen = calloc((size_t)n + 1, sizeof(*a->chosen));
    a->n_chosen = 0;
    if (!a->chosen)
        return err_set(err, ERR_NOMEM, "no memory for a choice of trials");
    for (int i = 0; rc == 0 && i < n; i++) {
        struct best best = {.is_maximized = text_equal(a->summary.goal, "maximize")};
        if (a->request->trials) {
            a->chosen[a->n_chosen++] = a->request->trials[i];
            continue;
        }
        best.configuration = a->summary.methods[i].configuration;
        rc = export_each_trial(a->request->store, sweep_id, take_better, &best, err);
        if (best.number != 0)
            a->chosen[a->n_chosen++] = best.number;
    }
    return rc;
}

static int read_sweep(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct adapters *a = context;
    text_reset(&a->output);
    text_reset(&a->model);
    text_reset(&a->task);
    text_add(&a->output, (const char *)sqlite3_column_text(row, 0));
    const char *model = (const char *)sqlite3_column_text(row, 1);
    const char *slash = model ? strrchr(model, '/') : NULL;
    text_add(&a->model, slash ? slash + 1 : model ? model : "");
    const char *task = (const char *)sqlite3_column_text(row, 2);
    text_add(&a->task, task ? task : "{}");
    return 0;
}

static int write_sweep(int64_t sweep_id, const char *name, void *context, struct err *err)
{
    struct adapters *a = context;
    struct arena arena = {0};
    int written = a->n_written;
    int rc = summary_read(a->request->store, name, &arena, &a->summary, err);
    if (rc == 0)
        rc = export_each(
            a->request->store,
            "SELECT output_folder, iif(json_valid(definition), json_extract(definition, '$.model'), ''),"
            " iif(json_valid(definition), json_extract(definition, '$.task'), NULL) FROM sweep WHERE id = ?1",
            sweep_id, read_sweep, a, err);
    if (rc == 0)
        rc = choose(a, sweep_id, err);
    if (rc == 0)
        rc = export_each_trial(a->request->store, sweep_id, write_trial, a, err);
    if (rc == 0 && a->n_written == written)
        rc = err_set(err, ERR_NOT_FOUND, "sweep '%s' has none of the trials wanted", name);
    arena_done(&arena);
    return rc;
}

static int write_adapters(const struct export_request *request, struct err *err)
{
    struct adapters a = {.request = request};
    int rc = export_each_sweep(request, write_sweep, &a, err);
    struct text *texts[] = {&a.output, &a.model, &a.task, &a.files, &a.folder, &a.card, &a.rows};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        text_done(texts[i]);
    free(a.chosen);
    return rc;
}

const struct export_format export_adapters = {
    "adapters", "-adapters", "a folder a chosen trial, in PEFT's format with a model card", write_adapters};
