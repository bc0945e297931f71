/* Batches, predictions and evaluations. */
#include <math.h>
#include <string.h>

#include "trainer/language_data.h"
#include "trainer/task.h"
#include "trainer/trial.h"

enum { EVALUATION_TOKENS = 256 };

const struct batch *trial_pack(const struct example *examples, const uint32_t *indices, size_t first, size_t n,
                               struct arena *arena)
{
    size_t n_tokens = 0;
    for (size_t i = 0; i < n; i++)
        n_tokens += (size_t)examples[indices ? indices[first + i] : first + i].n_tokens;
    struct batch *batch = arena_alloc(arena, sizeof(*batch));
    struct segment *segments = arena_alloc(arena, n * sizeof(*segments));
    int32_t *ids = arena_alloc(arena, 2 * n_tokens * sizeof(*ids)), *types = ids ? ids + n_tokens : NULL;
    int32_t *labels = arena_alloc(arena, n * sizeof(*labels));
    if (!batch || !segments || !ids || !labels)
        return NULL;
    int at = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t index = indices ? indices[first + i] : (uint32_t)(first + i);
        const struct example *example = &examples[index];
        segments[i] = (struct segment){at, example->n_tokens, example->n_tokens, 0, index};
        memcpy(ids + at, example->ids, (size_t)example->n_tokens * sizeof(*ids));
        for (int k = 0; k < example->n_tokens; k++)
            types[at + k] = example->type_ids[k];
        labels[i] = example->label;
        at += example->n_tokens;
    }
    *batch = (struct batch){
        .layout = {.n_segments = (int)n, .n_rows = at, .segments = segments},
        .ids = ids,
        .type_ids = types,
        .labels = labels,
    };
    bool is_language = n > 0 && examples[indices ? indices[first] : first].targets;
    return !is_language || language_pack(batch, examples, indices, first, n, arena) ? batch : NULL;
}

static int argmax(const real *values, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = values[i] > values[best] ? i : best;
    return best;
}

/* The tokens' losses of each sequence, averaged. */
static void mean_losses(const struct task_result *result, struct predictions *p, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p->losses[first + i] = 0;
        p->n_tokens[first + i] = 0;
        p->predicted[first + i] = -1;
    }
    for (int k = 0; k < result->n; k++) {
        size_t i = first + (size_t)result->sequences[k];
        p->n_tokens[i]++;
        p->losses[i] += (result->losses[k] - p->losses[i]) / (real)p->n_tokens[i];
    }
    for (size_t i = 0; i < n; i++)
        p->labels[first + i] = p->n_tokens[first + i];
}

/* What the lanes of a prediction share. */
struct prediction {
    const struct dataset *dataset;
    struct predictions *p;
    size_t stride;
};

static int predict_batch(struct lane *lane, const struct prediction *work, size_t first, size_t n, struct err *err)
{
    struct predictions *p = work->p;
    tape_begin(lane->tape, lane->step);
    const struct batch *batch = trial_pack(work->dataset->examples, NULL, first, n, lane->step);
    struct pass pass = {.tape = lane->tape, .model = lane->model, .batch = batch};
    struct loss_options options = {0};
    struct task_result result = {0};
    bool is_language = p->n_tokens != NULL;
    size_t classes = (size_t)p->n_classes;
    struct value *loss =
        batch ? task_loss(&pass, &options, &result, is_language ? NULL : p->probabilities + first * classes) : NULL;
    int rc = tape_check(lane->tape, err);
    if (rc < 0)
        return rc;
    if (!loss)
        return err_set(err, ERR_NOMEM, "no memory for an evaluation batch");
    if (is_language)
        mean_losses(&result, p, first, n);
    for (size_t i = 0; i < n && !is_language; i++) {
        p->losses[first + i] = result.losses[i];
        p->labels[first + i] = batch->labels[i];
        p->predicted[first + i] = argmax(p->probabilities + (first + i) * classes, p->n_classes);
    }
    return 0;
}

/* How many examples from `first` are computed together: as many as have EVALUATION_TOKENS, one at least. */
static size_t batch_at(const struct dataset *dataset, size_t first)
{
    size_t n = 1, tokens = (size_t)dataset->examples[first].n_tokens;
    for (; first + n < dataset->count; n++) {
        tokens += (size_t)dataset->examples[first + n].n_tokens;
        if (tokens > EVALUATION_TOKENS)
            break;
    }
    return n;
}

static void predict_lane(struct trial *trial, struct lane *lane, int index, void *context)
{
    const struct prediction *work = context;
    size_t number = 0, n;
    (void)trial;
    lane->tape->is_training = lane->tape->is_recording = false;
    for (size_t first = 0; first < work->dataset->count && lane->rc == 0; first += n, number++) {
        n = batch_at(work->dataset, first);
        if (number % work->stride == (size_t)index)
            lane->rc = predict_batch(lane, work, first, n, &lane->err);
    }
}

int trial_predict(struct trial *trial, const struct dataset *dataset, struct predictions *predictions,
                  struct arena *arena, struct err *err)
{
    struct predictions p = {.n = dataset->count, .n_classes = trial->labels.count};
    p.labels = arena_alloc(arena, p.n * sizeof(*p.labels));
    p.predicted = arena_alloc(arena, p.n * sizeof(*p.predicted));
    p.losses = arena_alloc(arena, p.n * sizeof(*p.losses));
    bool is_language = trial->job->model_task != TASK_CLASSIFICATION;
    if (is_language)
        p.n_tokens = arena_alloc(arena, p.n * sizeof(*p.n_tokens));
    else
        p.probabilities = arena_alloc(arena, p.n * (size_t)p.n_classes * sizeof(*p.probabilities));
    if (!p.labels || !p.predicted || !p.losses || !(is_language ? (void *)p.n_tokens : (void *)p.probabilities))
        return err_set(err, ERR_NOMEM, "no memory for %zu predictions", p.n);
    struct prediction work = {dataset, &p, trial->lanes.has_thread ? 2 : 1};
    int rc = lanes_run(trial, (int)work.stride, predict_lane, &work, err);
    if (rc == 0)
        *predictions = p;
    return rc;
}

/* int32 label, int32 prediction, float32 loss, C float32 probabilities an item; little endian. */
static void add_items(struct text *line, const struct predictions *p)
{
    struct text blob = {0};
    for (size_t i = 0; i < p->n; i++) {
        float loss = (float)p->losses[i];
        text_add_n(&blob, (const char *)&p->labels[i], 4);
        text_add_n(&blob, (const char *)&p->predicted[i], 4);
        text_add_n(&blob, (const char *)&loss, 4);
        for (int c = 0; c < p->n_classes; c++) {
            float probability = (float)p->probabilities[i * (size_t)p->n_classes + (size_t)c];
            text_add_n(&blob, (const char *)&probability, 4);
        }
    }
    text_add(line, ",\"items\":\"");
    text_add_base64(line, blob.data ? blob.data : "", blob.len);
    text_add(line, "\"");
    line->failed = line->failed || blob.failed;
    text_done(&blob);
}

static void send_evaluation(struct trial *trial, const char *split, bool is_final, const struct dataset *dataset,
                            const struct predictions *predictions, const struct metrics *metrics)
{
    const char *const *names = metrics_names(metrics);
    int64_t step = is_final ? trial->progress.best_step : trial->progress.step;
    char name[64];
    bool is_curve = !is_final || strcmp(split, "test") == 0; /* the final validation repeats a point of the curve */
    for (size_t i = 0; names[i] && is_curve; i++) {
        snprintf(name, sizeof(name), "%s/%s", split, names[i]);
        records_point(trial->records, name, step, metrics_get(metrics, names[i]));
    }
    struct text *line = records_begin(trial->records, "evaluation");
    records_add_text(line, "split", split);
    records_add_int(line, "step", step);
    text_printf(line, ",\"is_final\":%s", is_final ? "true" : "false");
    records_add_int(line, "n_items", (int64_t)predictions->n);
    text_add(line, ",\"metrics\":");
    metrics_add_json(line, metrics, &trial->labels);
    records_add_text(line, "item_set_sha256", dataset->sha256);
    if (is_final)
        add_items(line, predictions);
    records_send(trial->records);
}

int trial_evaluate(struct trial *trial, const char *split, bool is_final, struct arena *arena, struct metrics *metrics,
                   struct err *err)
{
    const struct dataset *dataset = strcmp(split, "test") == 0 ? &trial->test : &trial->validation;
    struct predictions predictions;
    int rc = trial_predict(trial, dataset, &predictions, arena, err);
    if (rc == 0)
        rc = metrics_compute(metrics, &predictions, arena, err);
    if (rc == 0)
        send_evaluation(trial, split, is_final, dataset, &predictions, metrics);
    return rc;
}
