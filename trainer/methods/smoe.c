/* A stratified mixture of bottleneck experts behind each layer, the model frozen: tokens are sent to one expert of two
 * strata; those that get one of the first go on to one of the second, so a token's capacity is one or two experts.
 *     p = softmax(G₁ LN₁(x)) over all experts, t = argmax p
 *     t in the first stratum:  x₁ = x + p_t E_t(LN₁ x);  q = softmax(G₂ LN₂(x₁)), u = argmax q;  y = x₁ + q_u E_u(LN₂
 * x₁) t in the second:         y = x + p_t E_t(LN₂ x) with a balance loss n Σ_e f_e mean(p_e) a gate (f: share of its
 * tokens whose argmax is e), the mean over a layer's gates, summed over layers.   Xu et al. 2023, arXiv:2305.02176, 3,
 * as adapters; top-1. */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/methods/method_file.h"

#define NORM_EPSILON 1e-5

struct expert {
    struct param *down, *down_bias, *up, *up_bias;
};

struct smoe {
    int n[2];               /* experts of each stratum */
    struct expert *experts; /* of the first, then of the second */
    struct param *norm[2], *norm_bias[2], *gate[2];
    double balance_weight;
};

/* Rows of a value and where they are, for one expert. */
struct share {
    int32_t *rows;
    int n;
};

static int32_t argmax(const struct value *p, int row)
{
    const real *values = p->data + (size_t)row * (size_t)p->cols;
    int best = 0;
    for (int k = 1; k < p->cols; k++)
        best = values[k] > values[best] ? k : best;
    return best;
}

/* The best expert of every row of p. */
static int32_t *choose(struct tape *tape, const struct value *p)
{
    int32_t *chosen = tape_alloc(tape, "smoe", (size_t)p->rows * sizeof(*chosen));
    for (int i = 0; chosen && i < p->rows; i++)
        chosen[i] = argmax(p, i);
    return chosen;
}

static struct share share_of(struct tape *tape, const int32_t *chosen, int n, int expert)
{
    struct share share = {tape_alloc(tape, "smoe", (size_t)n * sizeof(int32_t)), 0};
    for (int i = 0; share.rows && i < n; i++)
        if (chosen[i] == expert)
            share.rows[share.n++] = i;
    return share;
}

/* y plus, in the rows of each expert, its weighted output. `chosen` counts experts from `first`. */
static struct value *add_experts(struct tape *tape, const struct smoe *smoe, int first, int n_experts,
                                 const int32_t *chosen, struct value *x, struct value *weights, struct value *y)
{
    for (int e = 0; e < n_experts && !tape->failed; e++) {
        const struct expert *expert = &smoe->experts[first + e];
        struct share share = share_of(tape, chosen, x->rows, e);
        if (share.n == 0 || tape->failed)
            continue;
        struct value *own = op_take_rows(tape, x, share.rows, share.n);
        own = op_linear(tape, own, &expert->down->value, &expert->down_bias->value);
        own = op_linear(tape, op_activation(tape, own, ACTIVATION_RELU), &expert->up->value, &expert->up_bias->value);
        own = op_multiply_column(tape, own, op_take_rows(tape, weights, share.rows, share.n));
        y = op_add_at_rows(tape, y, own, share.rows);
    }
    return y;
}

/* n Σ_e f_e mean(p_e). */
static struct value *balance(struct tape *tape, struct value *p, const int32_t *chosen)
{
    int n = p->rows, experts = p->cols;
    real *ones = tape_alloc(tape, "smoe", (size_t)n * sizeof(real));
    real *shares = tape_alloc(tape, "smoe", (size_t)experts * sizeof(real));
    if (!ones || !shares)
        return NULL;
    memset(shares, 0, (size_t)experts * sizeof(real));
    for (int i = 0; i < n; i++) {
        ones[i] = 1 / (real)n;
        shares[chosen[i]] += (real)experts / (real)n;
    }
    struct value *means = op_matmul(tape, tape_constant(tape, ones, 1, n, NULL), false, p, false);
    return op_matmul(tape, means, false, tape_constant(tape, shares, experts, 1, NULL), false);
}

static struct value *norm(struct tape *tape, const struct smoe *smoe, int stratum, struct value *x)
{
    return op_layer_norm(tape, x, &smoe->norm[stratum]->value, &smoe->norm_bias[stratum]->value, NORM_EPSILON);
}

/* The second gate's say on the tokens that went through the first stratum: their weight into the result, the others' as
 * they were, and everybody's expert of the second stratum into `experts`. *loss: its balance. */
static struct value *second_gate(struct tape *tape, const struct smoe *smoe, struct value *n2, struct value *weights,
                                 const int32_t *chosen, int32_t *experts, struct value **loss)
{
    int n = n2->rows, n_inner = 0;
    int32_t *inner = tape_alloc(tape, "smoe", (size_t)n * sizeof(*inner));
    real *keeps = tape_alloc(tape, "smoe", (size_t)n * sizeof(real));
    if (!inner || !keeps)
        return NULL;
    for (int i = 0; i < n; i++) {
        bool is_inner = chosen[i] < smoe->n[0];
        keeps[i] = is_inner ? 0 : 1;
        experts[i] = chosen[i] - smoe->n[0];
        if (is_inner)
            inner[n_inner++] = i;
    }
    *loss = NULL;
    if (n_inner == 0)
        return weights;
    struct value *p = op_take_rows(tape, n2, inner, n_inner);
    p = op_softmax(tape, op_linear(tape, p, &smoe->gate[1]->value, NULL));
    int32_t *second = p ? choose(tape, p) : NULL;
    if (!second)
        return NULL;
    for (int i = 0; i < n_inner; i++)
        experts[inner[i]] = second[i];
    *loss = balance(tape, p, second);
    struct value *kept = op_multiply(tape, weights, tape_constant(tape, keeps, n, 1, NULL));
    return op_add_at_rows(tape, kept, op_pick(tape, p, second), inner);
}

static struct value *smoe_block(void *state, struct pass *pass, struct value *x)
{
    const struct smoe *smoe = state;
    struct tape *tape = pass->tape;
    struct value *n1 = norm(tape, smoe, 0, x), *second_loss = NULL;
    struct value *p = op_softmax(tape, op_linear(tape, n1, &smoe->gate[0]->value, NULL));
    int32_t *chosen = p ? choose(tape, p) : NULL;
    if (!chosen)
        return NULL;
    struct value *loss = balance(tape, p, chosen), *weights = op_pick(tape, p, chosen);
    struct value *x1 = add_experts(tape, smoe, 0, smoe->n[0], chosen, n1, weights, x);
    struct value *n2 = norm(tape, smoe, 1, x1);
    int32_t *experts = n2 ? tape_alloc(tape, "smoe", (size_t)n2->rows * sizeof(*experts)) : NULL;
    if (!experts)
        return NULL;
    weights = second_gate(tape, smoe, n2, weights, chosen, experts, &second_loss);
    if (second_loss)
        loss = op_scale(tape, op_add(tape, loss, second_loss), 0.5);
    if (tape->is_recording && smoe->balance_weight > 0)
        pass_add_loss(pass, op_scale(tape, loss, smoe->balance_weight));
    return weights ? add_experts(tape, smoe, smoe->n[0], smoe->n[1], experts, n2, weights, x1) : NULL;
}

static int add_expert(struct model *model, const struct site *site, struct expert *expert, int stratum, int index,
                      int size, uint64_t seed, struct err *err)
{
    int d = site->out, rc = 0;
    struct {
        struct param **param;
        int rows, cols;
        const char *part;
    } const parts[] = {{&expert->down, size, d, "down.weight"},
                       {&expert->down_bias, 0, size, "down.bias"},
                       {&expert->up, d, size, "up.weight"},
                       {&expert->up_bias, 0, d, "up.bias"}};
    for (size_t i = 0; i < 4 && rc == 0; i++)
        rc = method_add(model, parts[i].param,
                        (struct method_param){"smoe", site->layer, parts[i].rows, parts[i].cols, false}, err,
                        "%s.smoe.e%d.%d.%s", site->name, stratum + 1, index, parts[i].part);
    if (rc == 0)
        method_init_linear(expert->down, expert->down_bias, seed); /* up stays 0: training starts at the model */
    return rc;
}

static int add_stratum(struct model *model, const struct site *site, struct smoe *smoe, int stratum, int size,
                       uint64_t seed, struct err *err)
{
    int d = site->out, n_seen = smoe->n[1] + (stratum == 0 ? smoe->n[0] : 0);
    struct method_param vector = {"smoe", site->layer, 0, d, false};
    int rc = method_add(model, &smoe->norm[stratum], vector, err, "%s.smoe.ln%d.weight", site->name, stratum + 1);
    if (rc == 0)
        rc = method_add(model, &smoe->norm_bias[stratum], vector, err, "%s.smoe.ln%d.bias", site->name, stratum + 1);
    if (rc == 0)
        rc = method_add(model, &smoe->gate[stratum], (struct method_param){"smoe", site->layer, n_seen, d, false}, err,
                        "%s.smoe.g%d.weight", site->name, stratum + 1);
    for (int e = 0; e < smoe->n[stratum] && rc == 0; e++)
        rc = add_expert(model, site, &smoe->experts[stratum * smoe->n[0] + e], stratum, e, size, seed, err);
    if (rc < 0)
        return rc;
    method_init_fill(smoe->norm[stratum], 1);
    method_init_normal(smoe->gate[stratum], seed, 0.02);
    return 0;
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct smoe *smoe = arena_calloc(model->params.arena, 1, sizeof(*smoe));
    int n1 = (int)setting_number(settings, "first_experts", 4), n2 = (int)setting_number(settings, "second_experts", 4);
    struct expert *experts = arena_calloc(model->params.arena, (size_t)(n1 + n2), sizeof(*experts));
    if (!smoe || !experts)
        return err_set(err, ERR_NOMEM, "no memory for experts at '%s'", site->name);
    *smoe = (struct smoe){
        .n = {n1, n2}, .experts = experts, .balance_weight = setting_number(settings, "balance_weight", 0.01)};
    int size = (int)setting_number(settings, "expert_size", 16), rc = 0;
    for (int stratum = 0; stratum < 2 && rc == 0; stratum++)
        rc = add_stratum(model, site, smoe, stratum, size, seed, err);
    const struct hook hook = {.replace = smoe_block, .state = smoe};
    return rc < 0 ? rc : site_hook(site, model->params.arena, &hook, err);
}

static int smoe_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        struct site *site = model->sites[i];
        if (site->kind == SITE_BLOCK && strcmp(site->role, "layer") == 0 &&
            setting_has_layer(model, settings, site->layer))
            rc = attach_site(model, site, settings, seed, err);
    }
    return rc;
}

const struct method_kind method_smoe = {
    .name = "smoe", .spans_layers = true, .paper = "arXiv:2305.02176", .looks_at_batch = true, .attach = smoe_attach};
