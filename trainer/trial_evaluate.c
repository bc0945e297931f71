/* Batches, predictions and evaluations. */
#include <math.h>
#include <string.h>

#include "trainer/task.h"
#include "trainer/trial.h"

enum { EVALUATION_TOKENS = 256 };

const struct batch *trial_pack(const struct task_kind *task, const struct packing *packing)
{
    struct arena *arena = packing->arena;
    size_t n = packing->n;
    uint32_t index;
    size_t n_tokens = 0, n_segments = 0;
    for (size_t i = 0; i < n; i++) {
        const struct example *example = packing_example(packing, i, &index);
        n_tokens += (size_t)example->n_tokens;
        n_segments += example->n_parts ? (size_t)example->n_parts : 1;
    }
    struct batch *batch = arena_alloc(arena, sizeof(*batch));
    struct segment *segments = arena_alloc(arena, n_segments * sizeof(*segments)), *segment = segments;
    int32_t *ids = arena_alloc(arena, 2 * n_tokens * sizeof(*ids)), *types = ids ? ids + n_tokens : NULL;
    int32_t *labels = arena_alloc(arena, (n + n_segments) * sizeof(*labels)), *tasks = labels ? labels + n : NULL;
    if (!batch || !segments || !ids || !labels)
        return NULL;
    int at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct example *example = packing_example(packing, i, &index);
        for (int part = 0, first = at; part == 0 || part < example->n_parts; part++) {
            int rows = example->n_parts ? example->parts[part] : example->n_tokens;
            uint32_t number = example->n_parts ? index * ROWS_MAX_LIST + (uint32_t)part : index;
            tasks[segment - segments] = example->task;
            *segment++ = (struct segment){first, rows, rows, 0, number};
            first += rows;
        }
        memcpy(ids + at, example->ids, (size_t)example->n_tokens * sizeof(*ids));
        for (int k = 0; k < example->n_tokens; k++)
            types[at + k] = example->type_ids[k];
        labels[i] = example->label;
        at += example->n_tokens;
    }
    *batch = (struct batch){
        .layout = {.n_segments = (int)n_segments, .n_rows = at, .segments = segments},
        .n_items = (int)n,
        .ids = ids,
        .type_ids = types,
        .labels = labels,
        .tasks = tasks,
    };
    return !task->pack || task->pack(packing, batch) ? batch : NULL;
}

/* What the lanes of a prediction share. */
struct prediction {
    const struct trial *trial;
    const struct dataset *dataset;
    struct predictions *p;
    size_t stride;
};

static int predict_batch(struct lane *lane, const struct prediction *work, size_t first, size_t n, struct err *err)
{
    const struct task_kind *task = work->trial->job->task_kind;
    tape_begin(lane->tape, lane->step);
    const struct packing packing = {.trial = work->trial,
                                    .examples = work->dataset->examples,
                                    .first = first,
                                    .n = n,
                                    .step = TASK_EVALUATION_STEP,
                                    .arena = lane->step};
    const struct batch *batch = trial_pack(task, &packing);
    struct pass pass = {.tape = lane->tape, .model = lane->model, .batch = batch};
    struct loss_options options = {0};
    struct task_result result = {0};
    struct value *loss = batch ? task_loss(task, &pass, &options, &result) : NULL;
    int rc = tape_check(lane->tape, err);
    if (rc < 0)
        return rc;
    if (!loss)
        return err_set(err, ERR_NOMEM, "no memory for an evaluation batch");
    task->keep(work->trial, work->dataset, batch, &result, work->p, first, n);
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
    struct predictions p = {.n = dataset->count};
    p.labels = arena_alloc(arena, p.n * sizeof(*p.labels));
    p.predicted = arena_alloc(arena, p.n * sizeof(*p.predicted));
    p.losses = arena_alloc(arena, p.n * sizeof(*p.losses));
    if (!p.labels || !p.predicted || !p.losses)
        return err_set(err, ERR_NOMEM, "no memory for %zu predictions", p.n);
    int rc = trial->job->task_kind->start(trial, &p, arena, err);
    if (rc < 0)
        return rc;
    struct prediction work = {trial, dataset, &p, trial->lanes.has_thread ? 2 : 1};
    rc = lanes_run(trial, (int)work.stride, predict_lane, &work, err);
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
    int64_t step = is_final ? trial->progress.best_step : trial->progress.step;
    char name[64];
    bool is_curve = !is_final || strcmp(split, "test") == 0; /* the final validation repeats a point of the curve */
    for (const struct task_metric *metric = metrics->task->metrics; metric->name && is_curve; metric++) {
        if (!metric->is_curve)
            continue;
        snprintf(name, sizeof(name), "%s/%s", split, metric->name);
        records_point(trial->records, name, step, metrics_get(metrics, metric->name));
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

/* What methods counted in a prediction, as curve points. */
struct measured {
    struct trial *trial;
    const char *split;
    int64_t step;
    bool is_repeated; /* a final validation repeats a point of the curve: only the details are new */
};

static void send_measured(void *context, const char *name, double value)
{
    const struct measured *measured = context;
    char full[256];
    if (!measured->trial || (measured->is_repeated && !strchr(name, '/')))
        return;
    snprintf(full, sizeof(full), "%s/%s", measured->split, name);
    records_point(measured->trial->records, full, measured->step, value);
}

static void measure(struct trial *trial, bool is_final, struct measured *measured)
{
    struct model *const models[TRIAL_LANES] = {&trial->model, &trial->lanes.second};
    methods_measure(trial->job->settings, models, TRIAL_LANES, is_final, send_measured, measured);
}

/* Those of the examples of one task; its arrays in `arena`. */
static int take_task(const struct predictions *all, const struct dataset *dataset, int task, struct predictions *own,
                     struct arena *arena, struct err *err)
{
    size_t classes = (size_t)all->n_classes;
    *own = (struct predictions){.n_classes = all->n_classes};
    own->labels = arena_alloc(arena, all->n * sizeof(*own->labels));
    own->predicted = arena_alloc(arena, all->n * sizeof(*own->predicted));
    own->losses = arena_alloc(arena, all->n * sizeof(*own->losses));
    own->n_tokens = all->n_tokens ? arena_alloc(arena, all->n * sizeof(*own->n_tokens)) : NULL;
    own->probabilities = all->probabilities ? arena_alloc(arena, all->n * classes * sizeof(*own->probabilities)) : NULL;
    if (!own->labels || !own->predicted || !own->losses || (all->n_tokens && !own->n_tokens) ||
        (all->probabilities && !own->probabilities))
        return err_set(err, ERR_NOMEM, "no memory for the predictions of a task");
    for (size_t i = 0; i < all->n; i++) {
        if (dataset->examples[i].task != task)
            continue;
        own->labels[own->n] = all->labels[i];
        own->predicted[own->n] = all->predicted[i];
        own->losses[own->n] = all->losses[i];
        if (own->n_tokens)
            own->n_tokens[own->n] = all->n_tokens[i];
        if (own->probabilities)
            memcpy(own->probabilities + own->n * classes, all->probabilities + i * classes,
                   classes * sizeof(*own->probabilities));
        own->n++;
    }
    return 0;
}

/* Each task's metrics, as curve points "test/task/NAME/loss". */
static int measure_tasks(const struct measured *measured, const struct dataset *dataset, const struct predictions *all,
                         struct arena *arena, struct err *err)
{
    const struct token_kinds *kinds = &measured->trial->token_kinds;
    const struct task_kind *kind = measured->trial->job->task_kind;
    bool is_ours = kind->measure == task_class_measure || kind->measure == task_token_measure;
    bool is_new = is_ours && !measured->is_repeated; /* the curve has them */
    int rc = 0;
    for (int task = 0; is_new && rc == 0 && task < kinds->n_tasks; task++) {
        struct predictions own;
        struct metrics metrics;
        const struct evaluated evaluated = {.trial = measured->trial, .dataset = dataset, .predictions = &own};
        metrics_begin(&metrics, kind->name);
        rc = take_task(all, dataset, task, &own, arena, err);
        if (rc == 0 && own.n == 0)
            continue;
        if (rc == 0)
            rc = kind->measure(&evaluated, &metrics, arena, err);
        for (const struct task_metric *metric = metrics.task->metrics; rc == 0 && metric->name; metric++) {
            char name[256];
            snprintf(name, sizeof(name), "%s/task/%s/%s", measured->split, kinds->tasks[task], metric->name);
            records_point(measured->trial->records, name, measured->step, metrics_get(&metrics, metric->name));
        }
    }
    return rc;
}

int trial_evaluate(struct trial *trial, const char *split, bool is_final, struct arena *arena, struct metrics *metrics,
                   struct err *err)
{
    bool is_test = strcmp(split, "test") == 0;
    struct predictions predictions;
    const struct evaluated evaluated = {.trial = trial,
                                        .dataset = is_test ? &trial->test : &trial->validation,
                                        .rows = is_test ? &trial->test_rows : &trial->validation_rows,
                                        .predictions = &predictions};
    metrics_begin(metrics, trial->job->task_kind->name);
    struct measured nobody = {0}, measured = {.trial = trial,
                                              .split = split,
                                              .step = is_final ? trial->progress.best_step : trial->progress.step,
                                              .is_repeated = is_final && strcmp(split, "test") != 0};
    measure(trial, is_final, &nobody); /* of checks, and whatever else ran before */
    int rc = trial_predict(trial, evaluated.dataset, &predictions, arena, err);
    if (rc == 0)
        rc = trial->job->task_kind->measure(&evaluated, metrics, arena, err);
    if (rc == 0)
        send_evaluation(trial, split, is_final, evaluated.dataset, &predictions, metrics);
    if (rc == 0)
        measure(trial, is_final, &measured);
    return rc < 0 ? rc : measure_tasks(&measured, evaluated.dataset, &predictions, arena, err);
}
