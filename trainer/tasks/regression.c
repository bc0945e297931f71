/* Regression: a number for a text, or for two; the mean squared error of a head with one output. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/task.h"
#include "trainer/trial.h"

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    const struct labels none = {0};
    int rc = dataset_encode(dataset, rows, &none, trial->tokenizer, trial->max_tokens, err);
    for (size_t i = 0; rc == 0 && i < dataset->count; i++)
        dataset->examples[i].value = (real)strtod(rows->items[i].label, NULL); /* rows_read has looked at it */
    return rc;
}

static bool pack(const struct packing *packing, struct batch *batch)
{
    real *values = arena_alloc(packing->arena, (packing->n + 1) * sizeof(*values));
    uint32_t index;
    for (size_t i = 0; values && i < packing->n; i++)
        values[i] = packing_example(packing, i, &index)->value;
    batch->values = values;
    return values != NULL;
}

static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    struct value *x = pass->model->kind->classify(pass);
    size_t n = (size_t)pass->batch->layout.n_segments;
    real *losses = tape_alloc(pass->tape, "targets", n * sizeof(*losses));
    if (!x || !losses)
        return NULL;
    if (result)
        *result = (struct task_result){.logits = x, .n = (int)n, .losses = losses};
    return op_squared_error(pass->tape, x, pass->batch->values, options.divisor, losses);
}

static int start(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err)
{
    (void)trial;
    p->values = arena_alloc(arena, (2 * p->n + 1) * sizeof(*p->values));
    p->targets = p->values ? p->values + p->n : NULL;
    return p->values ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu predictions", p->n);
}

/* An item counts once; it has no class. */
static void keep(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                 const struct task_result *result, struct predictions *p, size_t first, size_t n)
{
    (void)trial;
    (void)dataset;
    for (size_t i = 0; i < n; i++) {
        p->losses[first + i] = result->losses[i];
        p->labels[first + i] = 1;
        p->predicted[first + i] = -1;
        p->values[first + i] = result->logits->data[i];
        p->targets[first + i] = batch->values[i];
    }
}

static int measure(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena, struct err *err)
{
    return metrics_of_numbers(metrics, evaluated->predictions, arena, err);
}

static void add_answer(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line)
{
    if (is_labelled) {
        text_add(line, ",\"label\":");
        text_add_json(line, evaluated->rows->items[i].label);
    }
    text_add(line, ",\"predicted\":\"");
    text_add_double(line, (double)evaluated->predictions->values[i]);
    text_add(line, "\"");
}

const struct task_kind task_regression = {
    .name = "regression",
    .model_task = TASK_CLASSIFICATION,
    .n_outputs = 1,
    .encode = encode,
    .pack = pack,
    .weight = task_weight_one,
    .loss = loss,
    .start = start,
    .keep = keep,
    .measure = measure,
    .add_answer = add_answer,
};
