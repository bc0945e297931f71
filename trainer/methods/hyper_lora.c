/* LoRA whose matrices a network makes from what they are for: task, layer and place,
 *     e = LN(W₂ ReLU(W₁ [z_task; z_layer; z_place])),   A = view(H_A e) (r, in),   B = view(H_B e) (out, r),
 * one network for all of them. H_B starts at 0, so training starts at the model.
 * After HyperFormer++: Karimi Mahabadi et al. 2021, arXiv:2106.04489, 3.2, which makes adapters instead. */
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "trainer/methods/lora.h"

#define NORM_EPSILON 1e-5

struct hyper {
    struct param *task, *layer, *place; /* embeddings (n, size) */
    struct param *proj1, *proj1_bias, *proj2, *proj2_bias, *norm, *norm_bias;
    struct param *a, *a_bias, *b, *b_bias; /* (r·in, size), (out·r, size) */
    int current_task, rank, in, out;
    double scaling, dropout;
};

struct hyper_site {
    const struct hyper *hyper;
    int layer, place;
    uint32_t dropout_site;
};

static struct value *linear(struct tape *tape, struct value *x, struct param *w, struct param *b)
{
    return op_linear(tape, x, &w->value, &b->value);
}

static struct value *row(struct tape *tape, struct param *table, int index)
{
    return op_row_range(tape, &table->value, index, 1);
}

static struct value *hyper_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct hyper_site *site = state;
    const struct hyper *hyper = site->hyper;
    struct tape *tape = pass->tape;
    struct value *z =
        op_beside(tape, row(tape, hyper->task, hyper->current_task), row(tape, hyper->layer, site->layer));
    z = op_beside(tape, z, row(tape, hyper->place, site->place));
    struct value *e = op_activation(tape, linear(tape, z, hyper->proj1, hyper->proj1_bias), ACTIVATION_RELU);
    e = op_layer_norm(tape, linear(tape, e, hyper->proj2, hyper->proj2_bias), &hyper->norm->value,
                      &hyper->norm_bias->value, NORM_EPSILON);
    struct value *a = op_reshape(tape, linear(tape, e, hyper->a, hyper->a_bias), hyper->rank, hyper->in);
    struct value *b = op_reshape(tape, linear(tape, e, hyper->b, hyper->b_bias), hyper->out, hyper->rank);
    struct value *low = op_linear(tape, op_dropout(tape, x, hyper->dropout, site->dropout_site), a, NULL);
    return op_add_scaled(tape, y, op_linear(tape, low, b, NULL), hyper->scaling);
}

static int add_tensors(struct model *model, struct hyper *hyper, const cJSON *settings, struct err *err)
{
    int size = (int)setting_number(settings, "hyper_embedding_size", 64);
    int hidden = (int)setting_number(settings, "hyper_hidden_size", 128);
    int tasks = (int)setting_number(settings, "hyper_tasks", 1);
    struct {
        struct param **param;
        int rows, cols;
        const char *name;
    } const parts[] = {{&hyper->task, tasks, size, "task.weight"},
                       {&hyper->layer, model->n_layers, size, "layer.weight"},
                       {&hyper->place, 2, size, "pos.weight"},
                       {&hyper->proj1, hidden, 3 * size, "proj1.weight"},
                       {&hyper->proj1_bias, 0, hidden, "proj1.bias"},
                       {&hyper->proj2, size, hidden, "proj2.weight"},
                       {&hyper->proj2_bias, 0, size, "proj2.bias"},
                       {&hyper->norm, 0, size, "ln.weight"},
                       {&hyper->norm_bias, 0, size, "ln.bias"},
                       {&hyper->a, hyper->rank * hyper->in, size, "hA.weight"},
                       {&hyper->a_bias, 0, hyper->rank * hyper->in, "hA.bias"},
                       {&hyper->b, hyper->out * hyper->rank, size, "hB.weight"},
                       {&hyper->b_bias, 0, hyper->out * hyper->rank, "hB.bias"}};
    int rc = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == 0; i++)
        rc = method_add(model, parts[i].param,
                        (struct method_param){"hyper_lora", -1, parts[i].rows, parts[i].cols, false}, err, "hyper.%s",
                        parts[i].name);
    return rc;
}

static void init(struct hyper *hyper, uint64_t seed)
{
    method_init_normal(hyper->task, seed, 1);
    method_init_normal(hyper->layer, seed, 1);
    method_init_normal(hyper->place, seed, 1);
    method_init_linear(hyper->proj1, hyper->proj1_bias, seed);
    method_init_linear(hyper->proj2, hyper->proj2_bias, seed);
    method_init_fill(hyper->norm, 1);
    /* A as LoRA's, whatever e is; small differences between sites. */
    method_init_normal(hyper->a, seed, 1e-2);
    method_init_uniform(hyper->a_bias, seed, 1 / sqrt((double)hyper->in));
}

/* Queries are place 0, values place 1; −1: neither, or not wanted. */
static int place_of(const struct model *model, const cJSON *settings, const struct site *site)
{
    if (site->kind != SITE_LINEAR || site->layer < 0 || !setting_has_layer(model, settings, site->layer))
        return -1;
    return strcmp(site->role, "query") == 0 ? 0 : strcmp(site->role, "value") == 0 ? 1 : -1;
}

/* One network gives one shape. */
static int read_shape(const struct model *model, const cJSON *settings, struct hyper *hyper, struct err *err)
{
    for (size_t i = 0; i < model->n_sites; i++) {
        const struct site *site = model->sites[i];
        if (place_of(model, settings, site) < 0)
            continue;
        if (hyper->in && (hyper->in != site->in || hyper->out != site->out))
            return err_set(err, ERR_UNSUPPORTED,
                           "hyper_lora makes matrices of one shape, but '%s' is %d x %d and others are %d x %d",
                           site->name, site->out, site->in, hyper->out, hyper->in);
        hyper->in = site->in;
        hyper->out = site->out;
    }
    return hyper->in ? 0
                     : err_set(err, ERR_UNSUPPORTED,
                               "hyper_lora: this model has no query and value projections of their own");
}

static int hook_site(struct model *model, struct site *site, const struct hyper *hyper, int place, struct err *err)
{
    struct hyper_site *made = arena_calloc(model->params.arena, 1, sizeof(*made));
    if (!made)
        return err_set(err, ERR_NOMEM, "no memory for hyper_lora at '%s'", site->name);
    *made = (struct hyper_site){hyper, site->layer, place, rng_site(site->name) + 2};
    const struct hook hook = {.output = hyper_output, .state = made};
    return site_hook(site, model->params.arena, &hook, err);
}

static int hyper_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct hyper *hyper = arena_calloc(model->params.arena, 1, sizeof(*hyper));
    if (!hyper)
        return err_set(err, ERR_NOMEM, "no memory for hyper_lora");
    hyper->rank = (int)setting_number(settings, "rank", 8);
    hyper->scaling = setting_number(settings, "alpha", 16) / hyper->rank;
    hyper->dropout = setting_number(settings, "method_dropout", 0);
    hyper->current_task = (int)setting_number(settings, "hyper_task", 0);
    if (hyper->current_task >= (int)setting_number(settings, "hyper_tasks", 1))
        return err_set(err, ERR_UNSUPPORTED, "settings.hyper_task: %d, but hyper_tasks is %d (tasks count from 0)",
                       hyper->current_task, (int)setting_number(settings, "hyper_tasks", 1));
    int rc = read_shape(model, settings, hyper, err);
    if (rc == 0)
        rc = add_tensors(model, hyper, settings, err);
    if (rc < 0)
        return rc;
    init(hyper, seed);
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        int place = place_of(model, settings, model->sites[i]);
        if (place >= 0)
            rc = hook_site(model, model->sites[i], hyper, place, err);
    }
    return rc;
}

const struct method_kind method_hyper_lora = {
    .name = "hyper_lora", .paper = "arXiv:2106.04489", .attach = hyper_attach};
