/* AdaLoRA: y = W x + b + (α/r) B ((A ⊙ E) dropout(x)), a singular value decomposition whose factors A (r, in), B (out,
 * r) are held near orthonormal by an extra loss w · mean(‖A Aᵀ − I‖, ‖Bᵀ B − I‖), and whose ranks are allocated while
 * training: triplets (row of A, element of E, column of B) of low importance get E = 0.
 *
 * Importance of an element: I = |p g|, Ī = β₁ Ī + (1 − β₁) I, Ū = β₂ Ū + (1 − β₂) |I − Ī|, score Ī Ū; of a triplet:
 * E's score + mean over A's row + mean over B's column. Budget of step t: all until `warmup`, then
 * target + (all − target)(1 − (t − warmup)/(T − final − warmup))³, from T − final on the target, masks frozen.
 * Zhang et al. 2023, arXiv:2303.10512, 3.1-3.3 and Algorithm 1, with PEFT's constants (scaling α/(r + 1e-5)). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/lora.h"

struct adalora {
    struct lora lora;
    struct param *e;                          /* (r, 1) */
    struct param *sensitivity[3], *doubts[3]; /* Ī and Ū of A, B, E */
    struct param *mask;                       /* (r): 1 while the triplet is kept */
    double weight;                            /* of one orthogonality term */
    struct adalora *next;
};

static struct value *adalora_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct adalora *adalora = state;
    const struct lora *lora = &adalora->lora;
    struct tape *tape = pass->tape;
    struct value *dropped = op_dropout(tape, x, lora->dropout, lora->dropout_site);
    struct value *low = op_linear(tape, dropped, &lora->a->value, NULL);
    low = op_multiply_row(tape, low, op_reshape(tape, &adalora->e->value, 1, lora->rank));
    if (tape->is_recording && adalora->weight > 0) {
        pass_add_loss(pass, op_scale(tape, op_orthogonality(tape, &lora->a->value, false), adalora->weight));
        pass_add_loss(pass, op_scale(tape, op_orthogonality(tape, &lora->b->value, true), adalora->weight));
    }
    return op_add_scaled(tape, y, op_linear(tape, low, &lora->b->value, NULL), lora->scaling);
}

static int add_state(struct model *model, struct param **state, const struct param *of, const char *what,
                     struct err *err)
{
    struct method_param shape = {"adalora", of->layer, of->value.rows, of->value.cols, true};
    int rc = method_add(model, state, shape, err, "%s.%s", of->name, what);
    if (rc == 0)
        (*state)->is_state = true;
    return rc;
}

static int add_site(struct model *model, struct adalora *adalora, const struct site *site, const cJSON *settings,
                    struct err *err)
{
    struct lora *lora = &adalora->lora;
    int rc = lora_add(model, lora, site, settings, "adalora", "", err);
    if (rc == 0)
        rc = method_add(model, &adalora->e, (struct method_param){"adalora", site->layer, lora->rank, 1, false}, err,
                        "%s.lora_E", site->name);
    if (rc < 0)
        return rc;
    lora->scaling = setting_number(settings, "alpha", 16) / (lora->rank + 1e-5);
    const struct param *const factors[3] = {lora->a, lora->b, adalora->e};
    for (int k = 0; k < 3 && rc == 0; k++) {
        rc = add_state(model, &adalora->sensitivity[k], factors[k], "sensitivity", err);
        if (rc == 0)
            rc = add_state(model, &adalora->doubts[k], factors[k], "uncertainty", err);
    }
    if (rc == 0)
        rc = add_state(model, &adalora->mask, adalora->e, "mask", err);
    return rc;
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, uint64_t seed,
                       struct adalora **last, struct err *err)
{
    struct adalora *adalora = arena_calloc(model->params.arena, 1, sizeof(*adalora));
    if (!adalora)
        return err_set(err, ERR_NOMEM, "no memory for AdaLoRA at '%s'", site->name);
    int rc = add_site(model, adalora, site, settings, err);
    if (rc < 0)
        return rc;
    method_init_normal(adalora->lora.a, seed, 0.02);
    method_init_normal(adalora->lora.b, seed, 0.02);
    method_init_fill(adalora->mask, 1);
    adalora->next = *last;
    *last = adalora;
    const struct hook hook = {.output = adalora_output, .state = adalora};
    return site_hook(site, model->params.arena, &hook, err);
}

static int adalora_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct adalora *last = NULL;
    int rc = 0, n = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++)
        if (lora_wants(model, settings, model->sites[i]))
            rc = attach_site(model, model->sites[i], settings, seed, &last, err);
    for (const struct adalora *site = last; site; site = site->next)
        n++;
    for (struct adalora *site = last; site; site = site->next)
        site->weight = setting_number(settings, "orthogonality_weight", 0.5) / (2 * n);
    return rc < 0 ? rc : method_keep(model, &method_adalora, last, err);
}

/* Allocation ------------------------------------------------------------------------------------------------------- */

/* Ī and Ū from the values and gradients of this step. */
static void update_importance(struct adalora *sites, double beta1, double beta2)
{
    for (struct adalora *site = sites; site; site = site->next) {
        struct param *const factors[3] = {site->lora.a, site->lora.b, site->e};
        for (int k = 0; k < 3; k++) {
            const real *p = factors[k]->value.data, *g = factors[k]->value.grad;
            real *mean = site->sensitivity[k]->value.data, *doubt = site->doubts[k]->value.data;
            for (size_t i = 0; i < param_size(factors[k]); i++) {
                double now = fabs((double)p[i] * (double)g[i]);
                mean[i] = (real)(beta1 * (double)mean[i] + (1 - beta1) * now);
                doubt[i] = (real)(beta2 * (double)doubt[i] + (1 - beta2) * fabs(now - (double)mean[i]));
            }
        }
    }
}

static double element_score(const struct adalora *site, int factor, size_t index)
{
    return (double)site->sensitivity[factor]->value.data[index] * (double)site->doubts[factor]->value.data[index];
}

static double triplet_score(const struct adalora *site, int k)
{
    const struct lora *lora = &site->lora;
    double row = 0, column = 0;
    for (int i = 0; i < lora->site->in; i++)
        row += element_score(site, 0, (size_t)k * (size_t)lora->site->in + (size_t)i);
    for (int i = 0; i < lora->site->out; i++)
        column += element_score(site, 1, (size_t)i * (size_t)lora->rank + (size_t)k);
    return element_score(site, 2, (size_t)k) + row / lora->site->in + column / lora->site->out;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Keeps the `budget` triplets of highest score; those that tie with the best dropped one go too. */
static int allocate(struct adalora *sites, int budget, struct err *err)
{
    int all = 0, at = 0;
    for (const struct adalora *site = sites; site; site = site->next)
        all += site->lora.rank;
    double *scores = calloc((size_t)all, sizeof(*scores));
    if (!scores)
        return err_set(err, ERR_NOMEM, "no memory to allocate %d ranks", all);
    for (const struct adalora *site = sites; site; site = site->next)
        for (int k = 0; k < site->lora.rank; k++)
            scores[at++] = triplet_score(site, k);
    qsort(scores, (size_t)all, sizeof(*scores), ascending);
    double threshold = budget < all ? scores[all - budget - 1] : -1;
    for (struct adalora *site = sites; site; site = site->next)
        for (int k = 0; k < site->lora.rank; k++)
            site->mask->value.data[k] = triplet_score(site, k) > threshold;
    free(scores);
    return 0;
}

static void apply_masks(struct adalora *sites)
{
    for (struct adalora *site = sites; site; site = site->next)
        for (int k = 0; k < site->lora.rank; k++)
            site->e->value.data[k] *= site->mask->value.data[k];
}

static int budget_of(const struct adalora *sites, const cJSON *settings, int64_t step, int64_t warmup, int64_t span)
{
    int all = 0, n = 0;
    for (const struct adalora *site = sites; site; site = site->next, n++)
        all += site->lora.rank;
    int target = n * (int)setting_number(settings, "target_rank", 8);
    double left = span > 0 && step < warmup + span ? 1 - (double)(step - warmup) / (double)span : 0;
    return target >= all ? all : (int)((all - target) * left * left * left + target);
}

/* Whole steps of a share; 2/12 of 12 steps are 2 though the product may lie below. */
static int64_t share_of(double share, int64_t total)
{
    return (int64_t)floor(share * (double)total + 1e-9);
}

static int adalora_step(struct model *model, const cJSON *settings, int64_t step, int64_t total, struct err *err)
{
    struct adalora *sites = method_kept(model, &method_adalora);
    int64_t warmup = share_of(setting_number(settings, "allocation_warmup", 0.1), total);
    int64_t final = share_of(setting_number(settings, "allocation_final", 0.3), total);
    int64_t every = (int64_t)setting_number(settings, "allocation_every", 1);
    int rc = 0;
    if (step < total - final) /* the last allocation goes by what was known before, as PEFT's does */
        update_importance(sites, setting_number(settings, "allocation_beta1", 0.85),
                          setting_number(settings, "allocation_beta2", 0.85));
    if (step > warmup && step <= total - final) {
        if (step % every == 0 || step == total - final)
            rc = allocate(sites, budget_of(sites, settings, step, warmup, total - final - warmup), err);
        if (rc == 0 && (step % every == 0 || step == total - final))
            apply_masks(sites);
    } else if (step > total - final) {
        apply_masks(sites);
    }
    return rc;
}

static int adalora_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct text extra = {0};
    int rank = (int)setting_number(settings, "rank", 8);
    text_printf(&extra, "\"peft_type\":\"ADALORA\",\"init_r\":%d,\"target_r\":%d,\"total_step\":1000000,", rank,
                (int)setting_number(settings, "target_rank", 8));
    text_add(&extra, "\"orth_reg_weight\":");
    text_add_double(&extra, setting_number(settings, "orthogonality_weight", 0.5));
    text_add(&extra, ",");
    int rc = extra.failed ? err_set(err, ERR_NOMEM, "no memory to save AdaLoRA")
                          : lora_save_files(model, settings, "adalora", extra.data, folder, err);
    text_done(&extra);
    return rc;
}

static int adalora_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc =
        path ? method_file_read(model, "adalora", path, err) : err_set(err, ERR_NOMEM, "no memory to load AdaLoRA");
    free(path);
    return rc;
}

const struct method_kind method_adalora = {
    .name = "adalora",
    .spans_layers = true,
    .paper = "arXiv:2303.10512",
    .attach = adalora_attach,
    .step = adalora_step,
    .save = adalora_save,
    .load = adalora_load,
};
