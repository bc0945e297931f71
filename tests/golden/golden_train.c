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
#include "trainer/task.h"
#include "trainer/task_head.h"

enum { MAX_ROWS = 256, MAX_TOKENS = 8192 };

/* Sequences one behind the other. */
struct stream {
    struct segment segments[MAX_ROWS]; /* first: into ids */
    int32_t ids[MAX_TOKENS], types[MAX_TOKENS], labels[MAX_TOKENS];
    int n, n_tokens;
};

struct case_rows {
    struct stream inputs, decoder; /* decoder: seq2seq, with the labels */
    int32_t classes[MAX_ROWS];
    int32_t places[2 * MAX_ROWS]; /* qa: both ends, in the row */
    real values[MAX_ROWS];        /* reg */
    int n, n_parts;               /* rows; sequences of each (mc) */
};

struct run {
    struct arena trial, step;
    const struct task_kind *task;
    struct model model;
    struct tape tape;
    struct case_rows train, eval;
};

/* Reads lists of one length; types and labels may be NULL. */
static int add_sequence(struct stream *stream, const cJSON *ids, const cJSON *types, const cJSON *labels,
                        struct err *err)
{
    int n = cJSON_GetArraySize(ids);
    if (n == 0 || stream->n == MAX_ROWS || stream->n_tokens + n > MAX_TOKENS ||
        (labels && cJSON_GetArraySize(labels) != n))
        return err_set(err, ERR_FORMAT, "row %d has %d tokens", stream->n, n);
    stream->segments[stream->n] = (struct segment){stream->n_tokens, n, n, 0, (uint32_t)stream->n};
    stream->n++;
    const cJSON *type = types ? types->child : NULL, *label = labels ? labels->child : NULL;
    for (const cJSON *id = ids->child; id; id = id->next, stream->n_tokens++) {
        stream->ids[stream->n_tokens] = (int32_t)id->valuedouble;
        stream->types[stream->n_tokens] = type ? (int32_t)type->valuedouble : 0;
        stream->labels[stream->n_tokens] = label ? (int32_t)label->valuedouble : -100;
        type = type ? type->next : NULL;
        label = label ? label->next : NULL;
    }
    return 0;
}

static double number_of(const cJSON *row, const char *key, double fallback)
{
    const cJSON *item = json_get(row, key);
    return item ? item->valuedouble : fallback;
}

static int add_row(struct case_rows *rows, const cJSON *row, struct err *err)
{
    const cJSON *ids = json_get(row, "input_ids"), *labels = json_get(row, "labels"),
                *choices = json_get(row, "choices");
    const cJSON *decoder = json_get(row, "decoder_input_ids");
    int n = rows->n++, rc = 0;
    rows->classes[n] = (int32_t)number_of(row, "label", -100);
    rows->values[n] = (real)number_of(row, "value", 0);
    rows->places[2 * n] = (int32_t)number_of(row, "start", 0);
    rows->places[2 * n + 1] = (int32_t)number_of(row, "end", 0);
    rows->n_parts = choices ? cJSON_GetArraySize(choices) : 1;
    for (const cJSON *choice = choices ? choices->child : NULL; choice && rc == 0; choice = choice->next)
        rc = add_sequence(&rows->inputs, choice, NULL, NULL, err);
    if (!choices)
        rc = add_sequence(&rows->inputs, ids, json_get(row, "token_type_ids"), decoder ? NULL : labels, err);
    return rc == 0 && decoder ? add_sequence(&rows->decoder, decoder, NULL, labels, err) : rc;
}

static int read_rows(struct case_rows *rows, const char *folder, const char *name, struct err *err)
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

/* The layout of sequences [first, first + n): their tokens lie behind each other already. */
static struct layout pack(const struct stream *stream, int first, int n, struct segment *segments)
{
    int base = n && stream->n ? stream->segments[first].first : 0, n_rows = 0;
    for (int i = 0; i < n && stream->n; i++) {
        segments[i] = stream->segments[first + i];
        segments[i].first -= base;
        n_rows += segments[i].rows;
    }
    return (struct layout){.n_segments = n, .n_rows = n_rows, .segments = segments};
}

static struct batch batch_of(const struct run *run, const struct case_rows *rows, int first, int n)
{
    static struct segment segments[MAX_ROWS], decoder_segments[MAX_ROWS];
    static int32_t places[2 * MAX_ROWS];
    const struct stream *inputs = &rows->inputs, *decoder = &rows->decoder;
    int parts = rows->n_parts, base = inputs->segments[first * parts].first,
        decoder_base = decoder->segments[first].first;
    struct batch batch = {.layout = pack(inputs, first * parts, n * parts, segments),
                          .ids = inputs->ids + base,
                          .type_ids = inputs->types + base,
                          .labels = rows->classes + first,
                          .values = rows->values + first,
                          .places = places,
                          .n_items = n};
    for (int i = 0; i < 2 * n; i++)
        places[i] = segments[i / 2 * parts].first + rows->places[2 * first + i];
    if (run->model.task == TASK_CAUSAL || run->model.task == TASK_TOKENS || run->model.task == TASK_MASKED)
        batch.labels = inputs->labels + base;
    if (run->model.task != TASK_SEQ2SEQ)
        return batch;
    batch.decoder_layout = pack(decoder, first, n, decoder_segments);
    batch.decoder_ids = decoder->ids + decoder_base;
    batch.labels = decoder->labels + decoder_base;
    return batch;
}

static void add_number(struct text *json, const char *separator, double value)
{
    text_add(json, separator);
    if (isfinite(value))
        text_add_double(json, value);
    else
        text_add(json, "null");
}

/* Whether part i of the loss is row s's: of tags every row of the batch has a part. */
static bool belongs(const struct batch *batch, const struct task_result *result, int i, int s)
{
    const struct segment *segment = &batch->layout.segments[s];
    if (result->n == batch->layout.n_rows && result->logits)
        return i >= segment->first && i < segment->first + segment->rows && batch->labels[i] >= 0;
    return (result->sequences ? result->sequences[i] : i) == s;
}

/* Sums and numbers of labelled tokens a sequence. */
static void add_examples(struct text *json, const struct batch *batch, const struct task_result *result, int n)
{
    for (int part = 0; part < 2; part++) {
        text_add(json, part ? ",\"example_tokens\":[" : ",\"example_nll\":[");
        for (int s = 0; s < n; s++) {
            double total = 0;
            for (int i = 0; i < result->n; i++)
                if (belongs(batch, result, i, s))
                    total += part ? 1 : (double)result->losses[i];
            add_number(json, s ? "," : "", total);
        }
        text_add(json, "]");
    }
}

/* Of masked models the logits at masked tokens. */
static struct value *masked_logits(struct pass *pass)
{
    struct targets targets;
    struct value *x = task_hidden(pass);
    if (!x || !targets_find(pass, x->layout, pass->batch->labels, false, &targets))
        return NULL;
    x = task_head_masked(pass, op_select_rows(pass->tape, x, targets.rows, targets.n));
    return site_linear(pass, pass->model->output_embedding, x);
}

/* Columns without their mean over rows [first, first + n), rows without their own: what all have in common does not
 * show in a softmax over them. */
static void center(real *x, int n, int stride)
{
    double mean = 0;
    for (int i = 0; i < n; i++)
        mean += (double)x[i * stride] / n;
    for (int i = 0; i < n; i++)
        x[i * stride] -= (real)mean;
}

static void center_logits(const struct pass *pass, struct value *x)
{
    const struct layout *layout = &pass->batch->layout;
    for (int i = 0; pass->model->task == TASK_CHOICE && i < x->rows; i++)
        center(x->data + i * x->cols, x->cols, 1);
    for (int s = 0; pass->model->task == TASK_SPAN && s < layout->n_segments; s++)
        for (int c = 0; c < x->cols; c++)
            center(x->data + layout->segments[s].first * x->cols + c, layout->segments[s].rows, x->cols);
}

static struct value *logits_of(struct pass *pass, const struct task_result *result)
{
    switch (pass->model->task) {
    case TASK_CAUSAL:
    case TASK_SEQ2SEQ:
        return task_last_logits(pass, pass->model->kind->decode(pass));
    case TASK_MASKED:
        return masked_logits(pass);
    default:
        return result->logits;
    }
}

static int evaluate(struct run *run, const char *name, struct text *json, struct err *err)
{
    struct batch batch = batch_of(run, &run->eval, 0, run->eval.n);
    struct pass pass = {.tape = &run->tape, .model = &run->model, .batch = &batch};
    struct loss_options options = {0};
    struct task_result result = {0};
    run->tape.is_training = run->tape.is_recording = false;
    tape_begin(&run->tape, &run->step);
    struct value *loss = task_loss(run->task, &pass, &options, &result);
    struct value *logits = loss ? logits_of(&pass, &result) : NULL;
    int rc = tape_check(&run->tape, err);
    if (rc < 0)
        return rc;
    center_logits(&pass, logits);
    text_printf(json, ",\"%s\":{\"loss\":", name);
    add_number(json, "", (double)loss->data[0]);
    add_examples(json, &batch, &result, run->eval.n);
    text_add(json, ",\"logits\":[");
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
    params_zero_grad(&run->model.params, NULL);
    for (int part = 0; part < parts && rc == 0; part++) {
        struct batch batch = batch_of(run, &run->train, (step * parts + part) % n_batches * size, size);
        struct pass pass = {.tape = &run->tape, .model = &run->model, .batch = &batch};
        struct loss_options options = {0};
        run->tape.is_training = run->tape.is_recording = true;
        tape_begin(&run->tape, &run->step);
        struct value *value = task_loss(run->task, &pass, &options, NULL);
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
        double norm = optimizer_grad_norm(&optimizer, &run->model.params, NULL);
        optimizer_step(&optimizer, &run->model.params, rate, norm, NULL);
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

/* What FORMAT.md calls the tasks. */
static const char *golden_task_name(const char *task)
{
    static const char *const names[][2] = {{"clm", "causal"},
                                           {"s2s", "seq2seq"},
                                           {"reg", "regression"},
                                           {"mc", "multiple_choice"},
                                           {"tok", "token_classification"},
                                           {"qa", "question_answering"},
                                           {"mlm", "masked"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(task, names[i][0]) == 0)
            return names[i][1];
    return "classification";
}

static int run_case(struct run *run, const cJSON *spec, const cJSON *settings, const char *folder, const char *out,
                    struct err *err)
{
    struct text json = {0};
    struct golden_outputs *outputs = NULL;
    char frozen[2][65];
    const char *task = json_get(spec, "task")->valuestring;
    run->task = task_kind_find(golden_task_name(task));
    struct model_options options = {
        .task = run->task->model_task,
        .pooling = "pooler",
        .use_model_head = true,
        .dropout = -1,
        .attention_dropout = -1,
    };
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
