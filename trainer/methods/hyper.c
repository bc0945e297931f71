/* The part of a hypernetwork that does not depend on what it makes. */
#include "trainer/methods/hyper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/safetensors.h"

#define NORM_EPSILON 1e-5

/* Tensors ---------------------------------------------------------------------------------------------------------- */

int hyper_add_tensor(const struct hyper *hyper, struct model *model, struct param **param, const char *method,
                     const char *prefix, int rows, int cols, const char *name, struct err *err)
{
    return method_add(model, param, (struct method_param){method, -1, rows, cols, hyper->is_frozen}, err, "%s.%s",
                      prefix, name);
}

static int read_tasks(struct hyper *hyper, const struct model *model, const cJSON *settings, struct err *err)
{
    int known = model->token_kinds ? model->token_kinds->n_tasks : 0;
    hyper->fixed_task = (int)setting_number(settings, "hyper_task", known > 0 ? -1 : 0);
    hyper->n_tasks = (int)setting_number(settings, "hyper_tasks", known > 0 ? known : hyper->fixed_task + 1);
    hyper->is_frozen = strcmp(setting_text(settings, "hyper_trained", "all"), "task") == 0;
    if (hyper->fixed_task >= hyper->n_tasks)
        return err_set(err, ERR_UNSUPPORTED, "settings.hyper_task: %d, but hyper_tasks is %d (tasks count from 0)",
                       hyper->fixed_task, hyper->n_tasks);
    if (hyper->fixed_task < 0 && known > hyper->n_tasks)
        return err_set(err, ERR_UNSUPPORTED, "settings.hyper_tasks: %d, but the training data has %d tasks",
                       hyper->n_tasks, known);
    return 0;
}

int hyper_add(struct hyper *hyper, struct model *model, const char *method, const char *prefix, const cJSON *settings,
              uint64_t seed, struct err *err)
{
    int size = (int)setting_number(settings, "hyper_embedding_size", 64);
    int hidden = (int)setting_number(settings, "hyper_hidden_size", 128), rc = read_tasks(hyper, model, settings, err);
    hyper->projected = (int)setting_number(settings, "hyper_projected_size", size);
    struct {
        struct param **param;
        int rows, cols;
        const char *name;
    } const parts[] = {{&hyper->task, hyper->n_tasks, size, "task.weight"},
                       {&hyper->layer, model->n_layers, size, "layer.weight"},
                       {&hyper->place, 2, size, "pos.weight"},
                       {&hyper->proj1, hidden, 3 * size, "proj1.weight"},
                       {&hyper->proj1_bias, 0, hidden, "proj1.bias"},
                       {&hyper->proj2, hyper->projected, hidden, "proj2.weight"},
                       {&hyper->proj2_bias, 0, hyper->projected, "proj2.bias"},
                       {&hyper->norm, 0, hyper->projected, "ln.weight"},
                       {&hyper->norm_bias, 0, hyper->projected, "ln.bias"}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == 0; i++) {
        struct hyper own = {.is_frozen = hyper->is_frozen && i > 0};
        rc = hyper_add_tensor(&own, model, parts[i].param, method, prefix, parts[i].rows, parts[i].cols, parts[i].name,
                              err);
    }
    if (rc < 0)
        return rc;
    method_init_normal(hyper->task, seed, 1);
    method_init_normal(hyper->layer, seed, 1);
    method_init_normal(hyper->place, seed, 1);
    method_init_linear(hyper->proj1, hyper->proj1_bias, seed);
    method_init_linear(hyper->proj2, hyper->proj2_bias, seed);
    method_init_fill(hyper->norm, 1);
    return 0;
}

/* Forward ---------------------------------------------------------------------------------------------------------- */

static struct value *linear(struct tape *tape, struct value *x, struct param *w, struct param *b)
{
    return op_linear(tape, x, &w->value, &b->value);
}

static struct value *row(struct tape *tape, struct param *table, int index)
{
    return op_row_range(tape, &table->value, index, 1);
}

struct value *hyper_embedding(const struct hyper *hyper, struct tape *tape, int task, int layer, int place)
{
    struct value *z = op_beside(tape, row(tape, hyper->task, task), row(tape, hyper->layer, layer));
    z = op_beside(tape, z, row(tape, hyper->place, place));
    struct value *e = op_activation(tape, linear(tape, z, hyper->proj1, hyper->proj1_bias), ACTIVATION_RELU);
    return op_layer_norm(tape, linear(tape, e, hyper->proj2, hyper->proj2_bias), &hyper->norm->value,
                         &hyper->norm_bias->value, NORM_EPSILON);
}

struct value *hyper_generate(struct tape *tape, struct value *e, struct param *weight, struct param *bias, int rows,
                             int cols)
{
    return op_reshape(tape, linear(tape, e, weight, bias), rows, cols);
}

static int task_of(const struct hyper *hyper, const struct pass *pass, int segment)
{
    return hyper->fixed_task >= 0 ? hyper->fixed_task : pass->batch->tasks ? pass->batch->tasks[segment] : 0;
}

/* The rows of x whose sequences belong to the task. */
static int rows_of(const struct hyper *hyper, const struct pass *pass, const struct layout *layout, int task,
                   int32_t *rows)
{
    int n = 0;
    for (int s = 0; s < layout->n_segments; s++)
        for (int i = 0; task_of(hyper, pass, s) == task && i < layout->segments[s].rows; i++)
            rows[n++] = layout->segments[s].first + i;
    return n;
}

/* The task of all sequences, or −1. */
static int common_task(const struct hyper *hyper, const struct pass *pass, const struct layout *layout)
{
    int task = task_of(hyper, pass, 0);
    for (int s = 1; s < layout->n_segments; s++)
        if (task_of(hyper, pass, s) != task)
            return -1;
    return task;
}

struct value *hyper_by_task(const struct hyper *hyper, struct pass *pass, struct value *x, int cols, hyper_fn f,
                            const void *context)
{
    struct tape *tape = pass->tape;
    size_t n_tasks = (size_t)hyper->n_tasks;
    if (!x)
        return NULL;
    int common = common_task(hyper, pass, x->layout), n_parts = 0;
    if (common >= 0)
        return f(context, pass, common, x);
    struct value **parts = tape_alloc(tape, "hyper", n_tasks * sizeof(struct value *));
    const int32_t **rows = tape_alloc(tape, "hyper", n_tasks * sizeof(int32_t *));
    int32_t *all = tape_alloc(tape, "hyper", (size_t)x->rows * sizeof(*all));
    if (!parts || !rows || !all)
        return NULL;
    for (int task = 0; task < hyper->n_tasks; task++) {
        int n = rows_of(hyper, pass, x->layout, task, all);
        if (n == 0)
            continue;
        rows[n_parts] = all;
        parts[n_parts++] = f(context, pass, task, op_take_rows(tape, x, all, n));
        all += n;
    }
    return op_sum_at_rows(tape, parts, rows, n_parts, x->rows, cols, x->layout);
}

/* Files ------------------------------------------------------------------------------------------------------------ */

int hyper_save(const struct model *model, const char *method, const char *folder, struct err *err)
{
    const struct token_kinds *kinds = model->token_kinds;
    struct text json = {0};
    char *path = file_join(folder, "tensors.safetensors");
    int rc = path ? method_file_write(model, method, "", true, path, err)
                  : err_set(err, ERR_NOMEM, "no memory to save '%s'", method);
    free(path);
    text_add(&json, "[");
    for (int task = 0; kinds && task < kinds->n_tasks; task++) {
        text_add(&json, task ? "," : "");
        text_add_json(&json, kinds->tasks[task]);
    }
    text_add(&json, "]");
    if (rc == 0)
        return method_file_write_text(folder, "tasks.json", &json, err);
    text_done(&json);
    return rc;
}

/* The row of a task in the file, or −1. Files without names keep their order. */
static int row_of(const cJSON *names, const char *name, int index, int n_rows)
{
    int row = 0;
    if (!names || !names->child || !name)
        return index < n_rows ? index : -1;
    for (const cJSON *item = names->child; item && row < n_rows; item = item->next, row++)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return row;
    return -1;
}

/* Where a task that the file does not know begins. */
static int start_task(const cJSON *names, const real *rows, int n_rows, int size, const cJSON *settings, real *out,
                      struct err *err)
{
    const char *start = setting_text(settings, "hyper_start", NULL);
    int from = start ? row_of(names, start, n_rows, n_rows) : -1;
    if (start && from < 0)
        return err_set(err, ERR_UNSUPPORTED, "settings.hyper_start: the adapter knows no task '%s'", start);
    if (from >= 0) {
        memcpy(out, rows + (size_t)from * (size_t)size, (size_t)size * sizeof(real));
        return 0;
    }
    for (int k = 0; k < size; k++) {
        double sum = 0;
        for (int i = 0; i < n_rows; i++)
            sum += (double)rows[(size_t)i * (size_t)size + (size_t)k];
        out[k] = (real)(sum / n_rows);
    }
    return 0;
}

static int load_tasks(const struct model *model, struct param *param, const struct tensor *tensor, const cJSON *names,
                      const cJSON *settings, struct err *err)
{
    const struct token_kinds *kinds = model->token_kinds;
    int size = param->value.cols, n_rows = (int)tensor->shape[0], rc = 0;
    if (tensor->n_dims != 2 || tensor->shape[1] != size || n_rows < 1)
        return err_set(err, ERR_FORMAT, "tensor '%s' has %zu elements in another shape than (tasks x %d)", tensor->name,
                       tensor->n, size);
    if (names && cJSON_GetArraySize(names) > 1 && (!kinds || kinds->n_tasks == 0) && !json_get(settings, "hyper_task"))
        return err_set(err, ERR_UNSUPPORTED, "the adapter knows %d tasks, and nothing here says which one is meant",
                       cJSON_GetArraySize(names));
    real *rows = calloc(tensor->n, sizeof(*rows));
    if (!rows)
        return err_set(err, ERR_NOMEM, "no memory for the tasks of an adapter");
    rc = safetensors_read(tensor, rows, err);
    for (int task = 0; task < param->value.rows && rc == 0; task++) {
        const char *name = kinds && task < kinds->n_tasks ? kinds->tasks[task] : NULL;
        int from = row_of(names, name, task, n_rows);
        real *out = param->value.data + (size_t)task * (size_t)size;
        if (from >= 0)
            memcpy(out, rows + (size_t)from * (size_t)size, (size_t)size * sizeof(real));
        else
            rc = start_task(names, rows, n_rows, size, settings, out, err);
    }
    free(rows);
    return rc;
}

static int load_tensor(struct model *model, const char *tasks_name, const struct tensor *tensor, const cJSON *names,
                       const cJSON *settings, struct err *err)
{
    struct param *param = params_find(&model->params, tensor->name);
    if (!param || (param->origin == PARAM_BASE))
        return err_set(err, ERR_FORMAT, "tensor '%s' belongs to nothing in this model with this method", tensor->name);
    if (strcmp(tensor->name, tasks_name) == 0)
        return load_tasks(model, param, tensor, names, settings, err);
    if (tensor->n_dims != param->n_dims ||
        memcmp(tensor->shape, param->shape, (size_t)param->n_dims * sizeof(int64_t)) != 0)
        return err_set(err, ERR_FORMAT, "tensor '%s' has %zu elements in another shape than '%s' (%d x %d)",
                       tensor->name, tensor->n, param->name, param->value.rows, param->value.cols);
    return safetensors_read(tensor, param->value.data, err);
}

/* The first tensor of the network that the file does not have. */
static const char *missing(const struct model *model, const char *prefix, const struct safetensors *file)
{
    size_t n = strlen(prefix);
    for (size_t i = 0; i < model->params.count; i++) {
        const char *name = model->params.items[i]->name;
        if (strncmp(name, prefix, n) == 0 && name[n] == '.' && !safetensors_find(file, name))
            return name;
    }
    return NULL;
}

static int read_names(const char *folder, cJSON **names, struct err *err)
{
    char *path = file_join(folder, "tasks.json");
    int rc = path ? 0 : err_set(err, ERR_NOMEM, "no memory to load");
    *names = NULL;
    if (rc == 0 && file_exists(path))
        rc = json_read_file(path, names, err);
    if (rc == 0 && *names && !cJSON_IsArray(*names))
        rc = err_set(err, ERR_FORMAT, "'%s': a list of names was expected", path);
    free(path);
    return rc;
}

int hyper_load(struct model *model, const char *prefix, const cJSON *settings, const char *folder, struct err *err)
{
    struct safetensors *file = NULL;
    cJSON *names = NULL;
    char tasks_name[64];
    char *path = file_join(folder, "tensors.safetensors");
    snprintf(tasks_name, sizeof(tasks_name), "%s.task.weight", prefix);
    int rc = path ? read_names(folder, &names, err) : err_set(err, ERR_NOMEM, "no memory to load");
    if (rc == 0)
        rc = safetensors_open(&file, path, err);
    for (size_t t = 0; rc == 0 && t < safetensors_count(file); t++)
        rc = load_tensor(model, tasks_name, safetensors_at(file, t), names, settings, err);
    const char *absent = rc == 0 ? missing(model, prefix, file) : NULL;
    if (absent)
        rc = err_set(err, ERR_NOT_FOUND, "tensor '%s' is missing", absent);
    if (rc < 0 && path)
        err_wrap(err, "'%s'", path);
    safetensors_close(file);
    json_free(names);
    free(path);
    return rc;
}
