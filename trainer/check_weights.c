/* The change of the weights: ‖ΔW‖/‖W‖ and the effective rank of ΔW, per layer and over all (docs/checks.md). */
#include <math.h>
#include <stdio.h>

#include "common/hash.h"
#include "trainer/check.h"
#include "trainer/packed.h"
#include "trainer/weight_change.h"

/* Sums over the matrices of a layer. */
struct layer_change {
    double squared_change, squared_weight, ranks;
    int n_matrices, n_ranks; /* all; changed ones */
    int n_not_affine;
};

static void add_matrix(struct layer_change *layer, const struct weight_change *change)
{
    if (!change->is_affine) {
        layer->n_not_affine++;
        return;
    }
    layer->squared_change += change->squared_change;
    layer->squared_weight += change->squared_weight;
    layer->n_matrices++;
    if (!isnan(change->effective_rank)) {
        layer->ranks += change->effective_rank;
        layer->n_ranks++;
    }
}

static void add_layer(struct layer_change *all, const struct layer_change *layer)
{
    all->squared_change += layer->squared_change;
    all->squared_weight += layer->squared_weight;
    all->ranks += layer->ranks;
    all->n_matrices += layer->n_matrices;
    all->n_ranks += layer->n_ranks;
    all->n_not_affine += layer->n_not_affine;
}

static double relative_change(const struct layer_change *layer)
{
    return layer->squared_weight > 0 ? sqrt(layer->squared_change / layer->squared_weight) : (double)NAN;
}

static double mean_rank(const struct layer_change *layer)
{
    return layer->n_ranks > 0 ? layer->ranks / layer->n_ranks : (double)NAN;
}

/* The model's folder read once more, without methods: its tensors lie in the same pages. */
static int open_base(struct trial *trial, struct model *base, struct arena *arena, struct err *err)
{
    struct model_options options = {
        .task = trial->job->model_task,
        .pooling = trial->model.pooling,
        .n_classes = trial->model.n_classes,
        .keeps_packed = trial->model.keeps_packed,
        .dropout = 0,
        .attention_dropout = 0,
    };
    return model_open(base, trial->job->model, &options, arena, err);
}

/* Slot 0: embeddings; 1 …: layers; the last: above them. */
static size_t slot_of(const struct model *model, int layer)
{
    return (size_t)((layer < -1 ? -1 : layer > model->n_layers ? model->n_layers : layer) + 1);
}

/* Whether an earlier site has the same weight: tied embeddings count once. */
static bool is_counted(const struct model *model, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (model->sites[i]->weight == model->sites[index]->weight)
            return true;
    return false;
}

static int measure_site(struct model *model, struct site *site, const struct param *original, struct arena *arena,
                        struct weight_change *change, struct err *err)
{
    struct arena_mark mark = arena_mark(arena);
    const real *before = original->value.data;
    if (!before) {
        real *expanded = arena_alloc(arena, param_size(original) * sizeof(real));
        if (!expanded)
            return err_set(err, ERR_NOMEM, "no memory to expand '%s'", original->name);
        weight_rows(&original->value, 0, original->value.rows, expanded);
        before = expanded;
    }
    int rc = site->kind == SITE_LINEAR ? weight_change_site(model, site, before, true, arena, change, err)
                                       : weight_change_embedding(model, site, before, change, err);
    arena_rewind(arena, mark);
    return rc;
}

static int measure(struct trial *trial, const struct model *base, struct layer_change *layers, struct arena *arena,
                   struct err *err)
{
    struct model *model = &trial->model;
    int rc = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        struct site *site = model->sites[i];
        const struct param *original = site->weight ? params_find(&base->params, site->weight->name) : NULL;
        struct weight_change change;
        if (!original || is_counted(model, i) || (site->kind != SITE_LINEAR && site->kind != SITE_EMBEDDING))
            continue;
        rc = measure_site(model, site, original, arena, &change, err);
        if (rc == 0)
            add_matrix(&layers[slot_of(model, site->layer)], &change);
    }
    return rc;
}

/* ‖Δb‖/‖b‖ over the vectors of the base model: biases and norms, all that BitFit trains. */
static double vector_change(const struct trial *trial, const struct model *base)
{
    double change = 0, size = 0;
    for (size_t i = 0; i < base->params.count; i++) {
        const struct param *before = base->params.items[i];
        const struct param *now = before->n_dims == 1 && before->origin == PARAM_BASE
                                      ? params_find(&trial->model.params, before->name)
                                      : NULL;
        for (size_t k = 0; now && k < param_size(before); k++) {
            double was = (double)before->value.data[k], difference = (double)now->value.data[k] - was;
            change += difference * difference;
            size += was * was;
        }
    }
    return size > 0 ? sqrt(change / size) : (double)NAN;
}

static void add_metric(struct text *metrics, const char *name, double value)
{
    text_add(metrics, metrics->len ? ",\"" : "\"");
    text_add(metrics, name);
    text_add(metrics, "\":");
    if (isfinite(value))
        text_add_double(metrics, value);
    else
        text_add(metrics, "null");
}

static void slot_name(char *out, size_t size, const struct model *model, size_t slot, const char *metric)
{
    if (slot == 0)
        snprintf(out, size, "%s/embeddings", metric);
    else if (slot == (size_t)model->n_layers + 1)
        snprintf(out, size, "%s/above", metric);
    else
        snprintf(out, size, "%s/layer_%zu", metric, slot - 1);
}

static void add_both(struct trial *trial, const struct trial_check *check, struct text *metrics, const char *place,
                     const struct layer_change *layer)
{
    char name[64];
    const struct {
        const char *name;
        double value;
    } both[] = {{"relative_change", relative_change(layer)}, {"effective_rank", mean_rank(layer)}};
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "%s%s", both[i].name, place);
        if (isfinite(both[i].value))
            check_point(trial, check, name, both[i].value);
        add_metric(metrics, name, both[i].value);
    }
}

static void send_result(struct trial *trial, const struct trial_check *check, const struct layer_change *layers,
                        double vectors)
{
    const struct model *model = &trial->model;
    size_t n = (size_t)model->n_layers + 2;
    struct layer_change all = {0};
    struct text metrics = {0};
    char place[32];
    for (size_t i = 0; i < n; i++)
        add_layer(&all, &layers[i]);
    add_both(trial, check, &metrics, "", &all);
    check_point(trial, check, "vector_change", vectors);
    add_metric(&metrics, "vector_change", vectors);
    for (size_t i = 0; i < n; i++)
        if (layers[i].n_matrices > 0) {
            slot_name(place, sizeof(place), model, i, "");
            add_both(trial, check, &metrics, place, &layers[i]);
        }
    struct text *line = check_begin(trial, check);
    text_printf(line, ",\"metrics\":{%s}", metrics.data ? metrics.data : "");
    records_add_int(line, "n_items", all.n_matrices);
    records_add_text(line, "item_set_sha256", trial->model_hash);
    records_add_int(line, "not_affine", all.n_not_affine);
    line->failed = line->failed || metrics.failed;
    records_send(trial->records);
    text_done(&metrics);
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct arena arena = {0};
    struct model base = {0};
    int rc = open_base(trial, &base, &arena, err);
    struct layer_change *layers = arena_calloc(&arena, (size_t)trial->model.n_layers + 2, sizeof(*layers));
    if (rc == 0 && !layers)
        rc = err_set(err, ERR_NOMEM, "no memory for %d layers", trial->model.n_layers);
    if (rc == 0)
        rc = measure(trial, &base, layers, &arena, err);
    if (rc == 0)
        send_result(trial, check, layers, vector_change(trial, &base));
    model_close(&base);
    arena_done(&arena);
    return rc;
}

const struct check_kind check_weights = {.name = "weights", .run = run};
