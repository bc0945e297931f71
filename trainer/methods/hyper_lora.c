/* LoRA whose matrices a network makes from what they are for: task, layer and place,
 *     e = hyper_embedding(task, layer, place),   A = view(H_A e) (r, in),   B = view(H_B e) (out, r),
 * one network for all of them. H_B starts at 0, so training starts at the model.
 * After HyperFormer++: Karimi Mahabadi et al. 2021, arXiv:2106.04489, 3.2, which makes adapters instead. */
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "trainer/methods/hyper.h"

struct hyper_lora {
    struct hyper hyper;
    struct param *a, *a_bias, *b, *b_bias; /* (r·in, size), (out·r, size) */
    int rank, in, out;
    double scaling, dropout;
};

struct hyper_site {
    const struct hyper_lora *own;
    int layer, place;
    uint32_t dropout_site;
};

/* B A x of a task. */
static struct value *update(const void *context, struct pass *pass, int task, struct value *x)
{
    const struct hyper_site *site = context;
    const struct hyper_lora *own = site->own;
    struct tape *tape = pass->tape;
    struct value *e = hyper_embedding(&own->hyper, tape, task, site->layer, site->place);
    struct value *a = hyper_generate(tape, e, own->a, own->a_bias, own->rank, own->in);
    struct value *b = hyper_generate(tape, e, own->b, own->b_bias, own->out, own->rank);
    return op_linear(tape, op_linear(tape, x, a, NULL), b, NULL);
}

static struct value *hyper_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct hyper_site *site = state;
    const struct hyper_lora *own = site->own;
    x = op_dropout(pass->tape, x, own->dropout, site->dropout_site);
    x = hyper_by_task(&own->hyper, pass, x, own->out, update, site);
    return op_add_scaled(pass->tape, y, x, own->scaling);
}

static int add_tensors(struct model *model, struct hyper_lora *own, struct err *err)
{
    int size = own->hyper.projected, rc = 0;
    struct {
        struct param **param;
        int rows, cols;
        const char *name;
    } const parts[] = {{&own->a, own->rank * own->in, size, "hA.weight"},
                       {&own->a_bias, 0, own->rank * own->in, "hA.bias"},
                       {&own->b, own->out * own->rank, size, "hB.weight"},
                       {&own->b_bias, 0, own->out * own->rank, "hB.bias"}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == 0; i++)
        rc = hyper_add_tensor(&own->hyper, model, parts[i].param, "hyper_lora", "hyper", parts[i].rows, parts[i].cols,
                              parts[i].name, err);
    return rc;
}

/* Queries are place 0, values place 1; −1: neither, or not wanted. */
static int place_of(const struct model *model, const cJSON *settings, const struct site *site)
{
    if (site->kind != SITE_LINEAR || site->layer < 0 || !setting_has_layer(model, settings, site->layer))
        return -1;
    return strcmp(site->role, "query") == 0 ? 0 : strcmp(site->role, "value") == 0 ? 1 : -1;
}

/* One network gives one shape. */
static int read_shape(const struct model *model, const cJSON *settings, struct hyper_lora *own, struct err *err)
{
    for (size_t i = 0; i < model->n_sites; i++) {
        const struct site *site = model->sites[i];
        if (place_of(model, settings, site) < 0)
            continue;
        if (own->in && (own->in != site->in || own->out != site->out))
            return err_set(err, ERR_UNSUPPORTED,
                           "hyper_lora makes matrices of one shape, but '%s' is %d x %d and others are %d x %d",
                           site->name, site->out, site->in, own->out, own->in);
        own->in = site->in;
        own->out = site->out;
    }
    return own->in ? 0
                   : err_set(err, ERR_UNSUPPORTED,
                             "hyper_lora: this model has no query and value projections of their own");
}

static int hook_site(struct model *model, struct site *site, const struct hyper_lora *own, int place, struct err *err)
{
    struct hyper_site *made = arena_calloc(model->params.arena, 1, sizeof(*made));
    if (!made)
        return err_set(err, ERR_NOMEM, "no memory for hyper_lora at '%s'", site->name);
    *made = (struct hyper_site){own, site->layer, place, rng_site(site->name) + 2};
    const struct hook hook = {.output = hyper_output, .state = made};
    return site_hook(site, model->params.arena, &hook, err);
}

static int hyper_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct hyper_lora *own = arena_calloc(model->params.arena, 1, sizeof(*own));
    if (!own)
        return err_set(err, ERR_NOMEM, "no memory for hyper_lora");
    own->rank = (int)setting_number(settings, "rank", 8);
    own->scaling = setting_number(settings, "alpha", 16) / own->rank;
    own->dropout = setting_number(settings, "method_dropout", 0);
    int rc = read_shape(model, settings, own, err);
    if (rc == 0)
        rc = hyper_add(&own->hyper, model, "hyper_lora", "hyper", settings, seed, err);
    if (rc == 0)
        rc = add_tensors(model, own, err);
    if (rc < 0)
        return rc;
    /* A as LoRA's, whatever e is; small differences between sites. */
    method_init_normal(own->a, seed, 1e-2);
    method_init_uniform(own->a_bias, seed, 1 / sqrt((double)own->in));
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        int place = place_of(model, settings, model->sites[i]);
        if (place >= 0)
            rc = hook_site(model, model->sites[i], own, place, err);
    }
    return rc;
}

static int hyper_lora_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    return hyper_save(model, "hyper_lora", folder, err);
}

static int hyper_lora_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return hyper_load(model, "hyper", settings, folder, err);
}

const struct method_kind method_hyper_lora = {.name = "hyper_lora",
                                              .paper = "arXiv:2106.04489",
                                              .attach = hyper_attach,
                                              .save = hyper_lora_save,
                                              .load = hyper_lora_load};
