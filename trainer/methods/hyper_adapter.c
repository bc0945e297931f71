/* HyperFormer++: adapters whose tensors a network makes from what they are for: task, layer and place (behind the
 * feed-forward, behind attention), one network for all of them:
 *     e = hyper_embedding(task, layer, place),   W = view(H_W e),
 *     h' = h + LN_{γ,β}(U f(D h + b_D) + b_U)   with D (b, d), U (d, b), their biases, γ and β made.
 * Generators start at normal(0, 1e-2), so γ is small and training starts near the model.
 * Karimi Mahabadi et al. 2021, arXiv:2106.04489, 3.2 */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/methods/hyper.h"

#define NORM_EPSILON 1e-5

enum generated { DOWN, DOWN_BIAS, UP, UP_BIAS, GAMMA, BETA, N_GENERATED };

static const char *const generated_names[N_GENERATED] = {"down", "down_bias", "up", "up_bias", "gamma", "beta"};

struct hyper_adapter {
    struct hyper hyper;
    struct param *weights[N_GENERATED], *biases[N_GENERATED];
    int width, size;
    enum activation activation;
    double dropout;
};

struct hyper_place {
    const struct hyper_adapter *own;
    int layer, place;
    uint32_t dropout_site;
};

/* Rows and columns of what is made. */
static void shape_of(const struct hyper_adapter *own, enum generated which, int *rows, int *cols)
{
    *rows = which == DOWN ? own->size : which == UP ? own->width : 1;
    *cols = which == DOWN ? own->width : which == UP || which == DOWN_BIAS ? own->size : own->width;
}

static struct value *make(const struct hyper_adapter *own, struct tape *tape, struct value *e, enum generated which)
{
    int rows, cols;
    shape_of(own, which, &rows, &cols);
    return hyper_generate(tape, e, own->weights[which], own->biases[which], rows, cols);
}

/* What a task's adapter adds. */
static struct value *adapt(const void *context, struct pass *pass, int task, struct value *h)
{
    const struct hyper_place *place = context;
    const struct hyper_adapter *own = place->own;
    struct tape *tape = pass->tape;
    struct value *e = hyper_embedding(&own->hyper, tape, task, place->layer, place->place);
    h = op_linear(tape, h, make(own, tape, e, DOWN), make(own, tape, e, DOWN_BIAS));
    h = op_activation(tape, h, own->activation);
    h = op_linear(tape, h, make(own, tape, e, UP), make(own, tape, e, UP_BIAS));
    return op_layer_norm(tape, h, make(own, tape, e, GAMMA), make(own, tape, e, BETA), NORM_EPSILON);
}

static struct value *hyper_sublayer(void *state, struct pass *pass, struct value *h, struct value *z)
{
    const struct hyper_place *place = state;
    const struct hyper_adapter *own = place->own;
    (void)z;
    struct value *update = hyper_by_task(&own->hyper, pass, h, own->width, adapt, place);
    return op_add(pass->tape, h, op_dropout(pass->tape, update, own->dropout, place->dropout_site));
}

static int add_generators(struct model *model, struct hyper_adapter *own, uint64_t seed, struct err *err)
{
    int rc = 0;
    for (enum generated which = 0; which < N_GENERATED && rc == 0; which++) {
        int rows, cols;
        char name[32];
        shape_of(own, which, &rows, &cols);
        snprintf(name, sizeof(name), "%s.weight", generated_names[which]);
        rc = hyper_add_tensor(&own->hyper, model, &own->weights[which], "hyper_adapter", "hyper_adapter", rows * cols,
                              own->hyper.projected, name, err);
        snprintf(name, sizeof(name), "%s.bias", generated_names[which]);
        if (rc == 0)
            rc = hyper_add_tensor(&own->hyper, model, &own->biases[which], "hyper_adapter", "hyper_adapter", 0,
                                  rows * cols, name, err);
        if (rc == 0)
            method_init_normal(own->weights[which], seed, 1e-2);
    }
    return rc;
}

/* Behind feed-forwards: 0, behind (self) attention: 1; −1: neither, or not wanted. */
static int place_of(const struct model *model, const cJSON *settings, const struct site *site)
{
    if (site->kind != SITE_SUBLAYER || !setting_has_layer(model, settings, site->layer))
        return -1;
    return strcmp(site->role, "feed_forward") == 0 ? 0 : strcmp(site->role, "attention") == 0 ? 1 : -1;
}

static int hook_place(struct model *model, struct site *site, const struct hyper_adapter *own, int place,
                      struct err *err)
{
    struct hyper_place *made = arena_calloc(model->params.arena, 1, sizeof(*made));
    if (!made)
        return err_set(err, ERR_NOMEM, "no memory for hyper_adapter at '%s'", site->name);
    *made = (struct hyper_place){own, site->layer, place, rng_site(site->name) + 3};
    const struct hook hook = {.sublayer = hyper_sublayer, .state = made};
    return site_hook(site, model->params.arena, &hook, err);
}

static int hyper_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct hyper_adapter *own = arena_calloc(model->params.arena, 1, sizeof(*own));
    if (!own)
        return err_set(err, ERR_NOMEM, "no memory for hyper_adapter");
    own->width = model->hidden_size;
    own->size = (int)setting_number(settings, "adapter_size", 64);
    own->dropout = setting_number(settings, "method_dropout", 0);
    own->activation = (enum activation)activation_from_name(setting_text(settings, "activation", "silu"));
    int rc = hyper_add(&own->hyper, model, "hyper_adapter", "hyper_adapter", settings, seed, err);
    if (rc == 0)
        rc = add_generators(model, own, seed, err);
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        int place = place_of(model, settings, model->sites[i]);
        if (place >= 0)
            rc = hook_place(model, model->sites[i], own, place, err);
    }
    return rc;
}

static int hyper_adapter_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    return hyper_save(model, "hyper_adapter", folder, err);
}

static int hyper_adapter_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return hyper_load(model, "hyper_adapter", settings, folder, err);
}

const struct method_kind method_hyper_adapter = {.name = "hyper_adapter",
                                                 .paper = "arXiv:2106.04489",
                                                 .attach = hyper_attach,
                                                 .save = hyper_adapter_save,
                                                 .load = hyper_adapter_load};
