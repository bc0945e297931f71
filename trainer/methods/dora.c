/* DoRA: the weight's rows keep a trained length m and LoRA turns their direction,
 *     y = b + (m/n) ⊙ ((W + s B A) x),   n = ‖W + s B A‖ of each output row, taken as a constant in backward.
 * With dropout the change alone reads the dropped input: y = W x + b + (m/n − 1) ⊙ W x' + (m/n) ⊙ s B A x'.
 * Liu et al. 2024, arXiv:2402.09353, 4.1-4.3; a row of W is what the paper calls a column.
 *
 * n needs no product of W's size: n_i² = ‖W_i‖² + 2 s B_i·(W Aᵀ)_i + s² B_i (A Aᵀ) B_iᵀ. */
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "trainer/gemm.h"
#include "trainer/kernels.h"
#include "trainer/methods/lora.h"

struct dora {
    struct lora lora;
    struct param *magnitude; /* m (out) */
    double *squares;         /* ‖W_i‖² */
};

static double row_square(const struct site *site, int row)
{
    const real *w = site->weight->value.data;
    double total = 0;
    for (int k = 0; k < site->in; k++) {
        double element = (double)(site->is_transposed ? w[(size_t)k * (size_t)site->out + (size_t)row]
                                                      : w[(size_t)row * (size_t)site->in + (size_t)k]);
        total += element * element;
    }
    return total;
}

/* 1/n of each output row, as a value of the step without gradient. */
static struct value *inverse_lengths(const struct dora *dora, struct tape *tape)
{
    const struct lora *lora = &dora->lora;
    const struct site *site = lora->site;
    int r = lora->rank;
    const real *a = lora->a->value.data, *b = lora->b->value.data;
    real *projected = tape_alloc(tape, "dora", (size_t)site->out * (size_t)r * sizeof(real));
    real *gram = tape_alloc(tape, "dora", (size_t)r * (size_t)r * sizeof(real));
    struct value *inverse = tape_value(tape, "dora", 1, site->out, NULL);
    if (!projected || !gram || !inverse)
        return NULL;
    lora_project_weight(site, site->weight->value.data, a, r, projected);
    gemm(false, true, r, r, site->in, 1, a, site->in, a, site->in, 0, gram, r);
    for (int i = 0; i < site->out; i++) {
        const real *row = b + (size_t)i * (size_t)r, *product = projected + (size_t)i * (size_t)r;
        double total = dora->squares[i];
        for (int k = 0; k < r; k++) {
            double turned = 0;
            for (int l = 0; l < r; l++)
                turned += (double)gram[k * r + l] * (double)row[l];
            total += lora->scaling * (double)row[k] * (2 * (double)product[k] + lora->scaling * turned);
        }
        inverse->data[i] = (real)(1 / sqrt(total));
    }
    return inverse;
}

static struct value *dora_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct dora *dora = state;
    const struct lora *lora = &dora->lora;
    const struct site *site = lora->site;
    struct tape *tape = pass->tape;
    struct value *bias = site->bias ? &site->bias->value : NULL;
    struct value *ratio = op_multiply(tape, inverse_lengths(dora, tape), &dora->magnitude->value);
    struct value *dropped = op_dropout(tape, x, lora->dropout, lora->dropout_site), *plain = y;
    struct value *update = op_linear(tape, op_linear(tape, dropped, &lora->a->value, NULL), &lora->b->value, NULL);
    if (dropped != x)
        plain = site->is_transposed ? op_linear_transposed(tape, dropped, &site->weight->value, NULL)
                                    : op_linear(tape, dropped, &site->weight->value, NULL);
    else if (bias)
        plain = op_add_row(tape, y, bias, -1);
    struct value *turned = op_multiply_row(tape, op_add_scaled(tape, plain, update, lora->scaling), ratio);
    if (dropped != x)
        return op_add(tape, op_add_scaled(tape, y, plain, -1), turned);
    return bias ? op_add_row(tape, turned, bias, 1) : turned;
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct dora *dora = arena_calloc(model->params.arena, 1, sizeof(*dora));
    double *squares = arena_alloc(model->params.arena, (size_t)site->out * sizeof(*squares));
    if (!dora || !squares)
        return err_set(err, ERR_NOMEM, "no memory for DoRA at '%s'", site->name);
    if (site->weight->is_trained)
        return err_set(err, ERR_UNSUPPORTED, "DoRA at '%s': another method trains its weight", site->name);
    int rc = param_expand(&model->params, site->weight, err); /* the lengths of its rows are asked for in every step */
    if (rc == 0)
        rc = lora_add(model, &dora->lora, site, settings, "dora", ".weight", err);
    if (rc == 0)
        rc = method_add(model, &dora->magnitude, (struct method_param){"dora", site->layer, 0, site->out, false}, err,
                        "%s.lora_magnitude_vector", site->name);
    if (rc < 0)
        return rc;
    lora_init(&dora->lora, settings, seed);
    dora->squares = squares;
    for (int i = 0; i < site->out; i++) {
        squares[i] = row_square(site, i);
        dora->magnitude->value.data[i] = (real)sqrt(squares[i]);
    }
    dora->magnitude->never_decays = true; /* a length is not small by nature */
    const struct hook hook = {.output = dora_output, .state = dora};
    return site_hook(site, model->params.arena, &hook, err);
}

static int dora_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++)
        if (lora_wants(model, settings, model->sites[i]))
            rc = attach_site(model, model->sites[i], settings, seed, err);
    return rc;
}

static int dora_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return lora_save_files(model, settings, "dora", "\"peft_type\":\"LORA\",\"use_dora\":true,", folder, err);
}

static int dora_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return lora_load_files(model, settings, "dora", folder, err);
}

const struct method_kind method_dora = {.name = "dora",
                                        .paper = "arXiv:2402.09353",
                                        .detaches = true,
                                        .attach = dora_attach,
                                        .save = dora_save,
                                        .load = dora_load};
