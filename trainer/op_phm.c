/* A parameterised hypercomplex weight.   Zhang et al. 2021, arXiv:2102.08597; low rank: Karimi Mahabadi et al. 2021,
 * arXiv:2106.04647, 4 */
#include "trainer/op_internal.h"

struct phm_node {
    struct tape_node node;
    struct value *rule, *left, *right;
    real *products; /* H_i = left_i right_i, (n, p·q) */
    int p, q, k;
};

/* out (+)= weights_i ⊙ the blocks of W: for all a, c: factor A_i[a, c] between H_i and block (a, c) of W (np, nq). */
static void add_blocks(const struct phm_node *phm, int i, real *weight)
{
    int n = phm->rule->rows;
    const real *product = phm->products + (size_t)i * (size_t)(phm->p * phm->q);
    for (int a = 0; a < n; a++)
        for (int s = 0; s < phm->p; s++)
            for (int c = 0; c < n; c++)
                kernels()->axpy(weight + ((size_t)(a * phm->p + s) * (size_t)n + (size_t)c) * (size_t)phm->q,
                                product + (size_t)s * (size_t)phm->q, value_row(phm->rule, i)[a * n + c],
                                (size_t)phm->q);
}

/* dH_i and dA_i from the slopes of W. */
static void blocks_backward(const struct phm_node *phm, int i, const real *slopes, real *dproduct)
{
    int n = phm->rule->rows;
    const real *product = phm->products + (size_t)i * (size_t)(phm->p * phm->q);
    memset(dproduct, 0, (size_t)(phm->p * phm->q) * sizeof(real));
    for (int a = 0; a < n; a++)
        for (int s = 0; s < phm->p; s++)
            for (int c = 0; c < n; c++) {
                const real *block = slopes + ((size_t)(a * phm->p + s) * (size_t)n + (size_t)c) * (size_t)phm->q;
                kernels()->axpy(dproduct + (size_t)s * (size_t)phm->q, block, value_row(phm->rule, i)[a * n + c],
                                (size_t)phm->q);
                if (needs(phm->rule))
                    grad_row(phm->rule, i)[a * n + c] +=
                        kernels()->dot(product + (size_t)s * (size_t)phm->q, block, (size_t)phm->q);
            }
}

static bool open_grad(struct tape *tape, struct value *value)
{
    bool is_first;
    if (!needs(value))
        return true;
    if (!tape_grad(tape, value, &is_first))
        return false;
    if (is_first)
        memset(value->grad, 0, value_size(value) * sizeof(real));
    return true;
}

static void phm_backward(struct tape *tape, struct tape_node *base)
{
    struct phm_node *phm = (struct phm_node *)base;
    int p = phm->p, q = phm->q, k = phm->k;
    real *dproduct = tape_alloc(tape, "phm_weight", (size_t)(p * q) * sizeof(real));
    if (!dproduct || !open_grad(tape, phm->rule) || !open_grad(tape, phm->left) || !open_grad(tape, phm->right))
        return;
    for (int i = 0; i < phm->rule->rows; i++) {
        blocks_backward(phm, i, base->output->grad, dproduct);
        if (needs(phm->left))
            gemm(false, true, p, k, q, 1, dproduct, q, value_row(phm->right, i), q, 1, grad_row(phm->left, i), k);
        if (needs(phm->right))
            gemm(true, false, k, q, p, 1, value_row(phm->left, i), k, dproduct, q, 1, grad_row(phm->right, i), q);
    }
}

struct value *op_phm_weight(struct tape *tape, struct value *rule, struct value *left, struct value *right, int rank)
{
    if (!rule || !left || !right)
        return NULL;
    int n = rule->rows, p = left->cols / rank, q = right->cols / rank;
    assert(rule->cols == n * n && left->rows == n && right->rows == n);
    struct value *y = tape_value(tape, "phm_weight", n * p, n * q, NULL);
    struct phm_node phm = {.rule = rule, .left = left, .right = right, .p = p, .q = q, .k = rank};
    phm.products = tape_alloc(tape, "phm_weight", (size_t)n * (size_t)(p * q) * sizeof(real));
    if (!y || !phm.products)
        return NULL;
    memset(y->data, 0, value_size(y) * sizeof(real));
    for (int i = 0; i < n; i++) {
        gemm(false, false, p, q, rank, 1, value_row(left, i), rank, value_row(right, i), q, 0,
             phm.products + (size_t)i * (size_t)(p * q), q);
        add_blocks(&phm, i, y->data);
    }
    if (!tape->is_recording || !(needs(rule) || needs(left) || needs(right)))
        return y;
    struct phm_node *node = op_node(tape, "phm_weight", sizeof(*node), y, phm_backward);
    if (!node)
        return NULL;
    phm.node = node->node;
    *node = phm;
    return y;
}
