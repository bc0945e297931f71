/* Runs one case: fixed batches, no shuffling, no dropout; the trainer's own model, methods and optimiser. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "tests/golden/golden.h"
#include "trainer/methods/method_file.h"
#include "trainer/optimizer.h"
#include "trainer/safetensors.h"

enum { MAX_ROWS = 256, MAX_TOKENS = 4096 };

struct rows {
    struct segment segments[MAX_ROWS]; /* first: into ids */
    int32_t ids[MAX_TOKENS], types[MAX_TOKENS], labels[MAX_ROWS];
    int n, n_tokens;
};

struct run {
    struct arena trial, step;
    struct model model;
    struct tape tape;
    struct rows train, eval;
};

static int add_row(struct rows *rows, const cJSON *row, struct err *err)
{
    const cJSON *ids = json_get(row, "input_ids"), *types = json_get(row, "token_type_ids");
    int n = cJSON_GetArraySize(ids);
    if (n == 0 || rows->n == MAX_ROWS || rows->n_tokens + n > MAX_TOKENS)
        return err_set(err, ERR_FORMAT, "row %d has %d tokens", rows->n, n);
    rows->segments[rows->n] = (struct segment){rows->n_tokens, n, n, 0, (uint32_t)rows->n};
    rows->labels[rows->n++] = (int32_t)json_get(row, "label")->valuedouble;
    const cJSON *type = types ? types->child : NULL;
    for (const cJSON *id = ids->child; id; id = id->next, type = type ? type->next : NULL) {
        rows->types[rows->n_tokens] = type ? (int32_t)type->valuedouble : 0;
        rows->ids[rows->n_tokens++] = (int32_t)id->valuedouble;
    }
    return 0;
}

static int read_rows(struct rows *rows, const char *folder, const char *name, struct err *err)
{
    char *path = file_join(folder, name), *text = NULL;
    size_t n = 0;
    int rc = file_read(path, 1 << 20, &text, &n, err);
    for (char *line = text; rc == 0 && line && *line;) {
        cJSON *row = NULL;
        size_t length = strcspn(line, "\n");
        rc = length ? json_parse(line, length, &row, err) : 0;
        if (rc == 0 && row)
            rc = add_row(rows, row, err);
        json_free(row);
        line += length + (line[length] == '\n');
    }
    free(text);
    free(path);
    return rc;
}

/* Rows [first, first + n) packed: their tokens lie behind each other already. */
static struct value *logits_of(struct run *run, const struct rows *rows, int first, int n, struct batch *batch)
{
    static struct segment segments[MAX_ROWS];
    int base = rows->segments[first].first, n_rows = 0;
    for (int i = 0; i < n; i++) {
        segments[i] = rows->segments[first + i];
        segments[i].first -= base;
        n_rows += segments[i].rows;
    }
    *batch = (struct batch){{n, n_rows, segments}, rows->ids + base, rows->types + base, rows->labels + first};
    struct pass pass = {&run->tape, &run->model, batch};
    return run->model.kind->classify(&pass);
}

static void add_number(struct text *json, const char *separator, double value)
{
    text_add(json, separator);
    if (isfinite(value))
        text_add_double(json, value);
    else
        text_add(json, "null");
}

static int evaluate(struct run *run, const char *name, struct text *json, struct err *err)
{
    struct batch batch;
    real losses[MAX_ROWS];
    run->tape.is_training = run->tape.is_recording = false;
    tape_begin(&run->tape, &run->step);
    struct value *logits = logits_of(run, &run->eval, 0, run->eval.n, &batch);
    struct loss_options options = {.labels = batch.labels};
    struct value *loss = op_cross_entropy(&run->tape, logits, &options, losses, NULL);
    int rc = tape_check(&run->tape, err);
    if (rc < 0)
        return rc;
    text_printf(json, ",\"%s\":{\"loss\":", name);
    add_number(json, "", (double)loss->data[0]);
    text_add(json, ",\"example_nll\":[");
    for (int i = 0; i < run->eval.n; i++)
        add_number(json, i ? "," : "", (double)losses[i]);
    text_add(json, "],\"example_tokens\":[");
    for (int i = 0; i < run->eval.n; i++)
        text_add(json, i ? ",1" : "1");
    text_add(json, "],\"logits\":[");
    for (int i = 0; i < logits->rows; i++) {
        text_add(json, i ? ",[" : "[");
        for (int c = 0; c < logits->cols; c++)
            add_number(json, c ? "," : "", (double)logits->data[i * logits->cols + c]);
        text_add(json, "]");
    }
    text_add(json, "]}");
    return 0;
}

static int train_step(struct run *run, const cJSON *optim, int step, double *loss, struct err *err)
{
    int size = (int)json_get(optim, "batch_size")->valuedouble, parts = (int)json_get(optim, "grad_accum")->valuedouble;
    int n_batches = run->train.n / size, rc = 0;
    *loss = 0;
    params_zero_grad(&run->model.params);
    for (int part = 0; part < parts && rc == 0; part++) {
        struct batch batch;
        run->tape.is_training = run->tape.is_recording = true;
        tape_begin(&run->tape, &run->step);
        struct value *logits = logits_of(run, &run->train, (step * parts + part) % n_batches * size, size, &batch);
        struct loss_options options = {.labels = batch.labels};
        struct value *value = op_cross_entropy(&run->tape, logits, &options, NULL, NULL);
        tape_backward(&run->tape, value, 1.0 / parts);
        rc = tape_check(&run->tape, err);
        if (rc == 0)
            *loss += (double)value->data[0] / parts;
    }
    return rc;
}

static int train(struct run *run, const cJSON *spec, const cJSON *settings, struct text *json, struct err *err)
{
    const cJSON *optim = json_get(spec, "optim");
    int steps = (int)json_get(optim, "steps")->valuedouble;
    struct text losses = {0}, norms = {0}, rates = {0};
    struct optimizer optimizer;
    struct schedule schedule;
    optimizer_init(&optimizer, settings);
    schedule_init(&schedule, settings, steps);
    int rc = golden_groups(&run->model.params, optim, err);
    if (rc == 0)
        rc = optimizer_start(&optimizer, &run->model.params, err);
    for (int step = 0; step < steps && rc == 0; step++) {
        double loss = 0, rate = setting_number(settings, "learning_rate", 0) * schedule_factor(&schedule, step);
        if ((rc = train_step(run, optim, step, &loss, err)) < 0)
            break;
        double norm = optimizer_grad_norm(&run->model.params);
        optimizer_step(&optimizer, &run->model.params, rate, norm);
        add_number(&losses, step ? "," : "", loss);
        add_number(&norms, step ? "," : "", norm);
        add_number(&rates, step ? "," : "", rate);
    }
    if (rc == 0)
        text_printf(json, ",\"loss\":[%s],\"grad_norm\":[%s],\"lr\":[%s]", losses.data, norms.data, rates.data);
    text_done(&losses);
    text_done(&norms);
    text_done(&rates);
    return rc;
}

/* Files of tensors ------------------------------------------------------------------------------------------------- */

static struct param *find_param(const struct model *model, const char *key)
{
    char name[512], own[512];
    method_file_name(key, name, sizeof(name));
    for (size_t i = 0; i < model->params.count; i++) {
        method_file_name(model->params.items[i]->name, own, sizeof(own));
        if (strcmp(own, name) == 0)
            return model->params.items[i];
    }
    return NULL;
}

struct outputs {
    struct tensor_source items[1024];
    size_t n;
};

static int add_output(struct outputs *outputs, const struct model *model, struct arena *arena, const char *key,
                      struct err *err)
{
    const struct param *param = find_param(model, key);
    if (!param)
        return err_set(err, ERR_FORMAT, "tensor '%s' is no parameter of ours", key);
    if (outputs->n == sizeof(outputs->items) / sizeof(outputs->items[0]))
        return err_set(err, ERR_NOMEM, "more than %zu tensors", outputs->n);
    outputs->items[outputs->n++] =
        (struct tensor_source){arena_strdup(arena, key), param->n_dims, param->shape, param->value.data};
    return 0;
}

/* Loads a start file and lists its tensors as outputs; what it trains beside the method is trained. */
static int load_start(struct run *run, const char *folder, const char *name, struct outputs *outputs, struct err *err)
{
    char *path = file_join(folder, name);
    struct safetensors *file = NULL;
    bool is_extra = strcmp(name, "extra.safetensors") == 0;
    int rc = safetensors_open(&file, path, err);
    for (size_t i = 0; rc == 0 && i < safetensors_count(file); i++) {
        const char *key = safetensors_at(file, i)->name;
        struct param *param = find_param(&run->model, key);
        if (is_extra && param)
            rc = param_train(&run->model.params, param, "partial", err);
        if (rc == 0)
            rc = add_output(outputs, &run->model, &run->trial, key, err);
    }
    if (rc == 0)
        rc = method_file_read(&run->model, NULL, path, err);
    safetensors_close(file);
    free(path);
    return rc;
}

static int start(struct run *run, const cJSON *spec, const char *folder, struct outputs *outputs, struct err *err)
{
    static const char *const names[] = {"adapter_model.safetensors", "adapter.safetensors", "extra.safetensors",
                                        "head.safetensors"};
    char *init = file_join(folder, "init_adapter");
    int rc = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && rc == 0; i++) {
        char *path = file_join(init, names[i]);
        if (file_exists(path))
            rc = load_start(run, init, names[i], outputs, err);
        free(path);
    }
    for (const cJSON *item = json_get(spec, "trainable")->child; rc == 0 && outputs->n < 1024 && item;
         item = item->next)
        if (!file_is_folder(init))
            rc = add_output(outputs, &run->model, &run->trial, item->valuestring, err);
    free(init);
    return rc;
}

/* What is trained must be what the case trains, neither more nor less. */
static int check_trained(const struct model *model, const cJSON *spec, struct err *err)
{
    size_t n = 0, expected = (size_t)cJSON_GetArraySize(json_get(spec, "trainable"));
    for (const cJSON *item = json_get(spec, "trainable")->child; item; item = item->next) {
        const struct param *param = find_param(model, item->valuestring);
        if (!param || !param->is_trained)
            return err_set(err, ERR_NUMERIC, "'%s' should be trained", item->valuestring);
    }
    for (size_t i = 0; i < model->params.count; i++)
        n += model->params.items[i]->is_trained;
    return n == expected ? 0 : err_set(err, ERR_NUMERIC, "%zu tensors are trained, %zu should be", n, expected);
}

static int run_case(struct run *run, const cJSON *spec, const cJSON *settings, const char *folder, const char *out,
                    struct outputs *outputs, struct err *err)
{
    struct text json = {0};
    char frozen[2][65];
    struct model_options options = {
        .pooling = "pooler", .use_model_head = true, .dropout = -1, .attention_dropout = -1};
    char *model_folder = file_join(folder, json_get(spec, "model_dir")->valuestring);
    char *adapter_path = file_join(out, "adapter.safetensors");
    int rc = model_head_classes(model_folder, &options.n_classes, err);
    if (rc == 0)
        rc = model_open(&run->model, model_folder, &options, &run->trial, err);
    if (rc == 0)
        rc = methods_attach(&run->model, settings, 0, err);
    if (rc == 0)
        rc = start(run, spec, folder, outputs, err);
    if (rc == 0)
        rc = check_trained(&run->model, spec, err);
    if (rc == 0)
        rc = read_rows(&run->train, folder, "data.jsonl", err);
    if (rc == 0)
        rc = read_rows(&run->eval, folder, "eval.jsonl", err);
    text_add(&json, "{\"status\":\"ok\"");
    if (rc == 0)
        params_hash_frozen(&run->model.params, frozen[0]);
    if (rc == 0)
        rc = evaluate(run, "eval_init", &json, err);
    if (rc == 0)
        rc = train(run, spec, settings, &json, err);
    if (rc == 0)
        rc = evaluate(run, "eval_final", &json, err);
    if (rc == 0)
        params_hash_frozen(&run->model.params, frozen[1]);
    if (rc == 0 && strcmp(frozen[0], frozen[1]) != 0)
        rc = err_set(err, ERR_NUMERIC, "tensors that the method does not train have changed");
    text_add(&json, "}");
    if (rc == 0)
        rc = method_file_write_text(out, "result.json", &json, err);
    if (rc == 0)
        rc = safetensors_write(adapter_path, outputs->items, outputs->n, err);
    text_done(&json);
    free(model_folder);
    free(adapter_path);
    return rc;
}

int golden_train(const cJSON *spec, const cJSON *settings, const char *folder, const char *out, struct err *err)
{
    struct run *run = calloc(1, sizeof(*run));
    struct outputs *outputs = calloc(1, sizeof(*outputs));
    int rc = run && outputs ? run_case(run, spec, settings, folder, out, outputs, err)
                            : err_set(err, ERR_NOMEM, "no memory for a case");
    if (run) {
        model_close(&run->model);
        arena_done(&run->trial);
        arena_done(&run->step);
    }
    free(run);
    free(outputs);
    return rc;
}
