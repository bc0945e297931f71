/* Runs one case: fixed batches, no shuffling, no dropout; the trainer's own model, methods and optimiser. */
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
static struct value *logits_of(struct run *run, const struct rows *rows, int first, int n, struct batch *batch,
                               struct value **extra_loss)
{
    static struct segment segments[MAX_ROWS];
    int base = rows->segments[first].first, n_rows = 0;
    for (int i = 0; i < n; i++) {
        segments[i] = rows->segments[first + i];
        segments[i].first -= base;
        n_rows += segments[i].rows;
    }
    *batch = (struct batch){
        .layout = {.n_segments = n, .n_rows = n_rows, .segments = segments},
        .ids = rows->ids + base,
        .type_ids = rows->types + base,
        .labels = rows->labels + first,
    };
    struct pass pass = {.tape = &run->tape, .model = &run->model, .batch = batch};
    struct value *logits = run->model.kind->classify(&pass);
    *extra_loss = pass.extra_loss;
    return logits;
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
    struct value *extra;
    real losses[MAX_ROWS];
    run->tape.is_training = run->tape.is_recording = false;
    tape_begin(&run->tape, &run->step);
    struct value *logits = logits_of(run, &run->eval, 0, run->eval.n, &batch, &extra);
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
        struct value *extra;
        run->tape.is_training = run->tape.is_recording = true;
        tape_begin(&run->tape, &run->step);
        struct value *logits =
            logits_of(run, &run->train, (step * parts + part) % n_batches * size, size, &batch, &extra);
        struct loss_options options = {.labels = batch.labels};
        struct value *value = op_cross_entropy(&run->tape, logits, &options, NULL, NULL);
        value = extra ? op_add(&run->tape, value, extra) : value;
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
        rc = methods_step(&run->model, settings, step + 1, steps, err);
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

static int run_case(struct run *run, const cJSON *spec, const cJSON *settings, const char *folder, const char *out,
                    struct err *err)
{
    struct text json = {0};
    struct golden_outputs *outputs = NULL;
    char frozen[2][65];
    struct model_options options = {
        .pooling = "pooler", .use_model_head = true, .dropout = -1, .attention_dropout = -1};
    char *model_folder = file_join(folder, json_get(spec, "model_dir")->valuestring);
    int rc = model_head_classes(model_folder, &options.n_classes, err);
    if (rc == 0)
        rc = model_open(&run->model, model_folder, &options, &run->trial, err);
    if (rc == 0)
        rc = methods_attach(&run->model, settings, 0, err);
    if (rc == 0)
        rc = golden_start(&run->model, spec, settings, folder, &outputs, err);
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
        rc = golden_finish(&run->model, settings, outputs, out, err);
    text_done(&json);
    free(model_folder);
    return rc;
}

int golden_train(const cJSON *spec, const cJSON *settings, const char *folder, const char *out, struct err *err)
{
    struct run *run = calloc(1, sizeof(*run));
    int rc = run ? run_case(run, spec, settings, folder, out, err) : err_set(err, ERR_NOMEM, "no memory for a case");
    if (run) {
        model_close(&run->model);
        arena_done(&run->trial);
        arena_done(&run->step);
    }
    free(run);
    return rc;
}
