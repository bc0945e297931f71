/* How far rows (or columns) are from orthonormal.   Zhang et al. 2023, arXiv:2303.10512, 3.1 */
#include <math.h>

#include "trainer/op_internal.h"

struct orthogonality_node {
    struct tape_node node;
    struct value *x;
    real *excess; /* G = X Xᵀ − I or Xᵀ X − I, (r, r) */
    bool of_columns;
};

static void orthogonality_backward(struct tape *tape, struct tape_node *base)
{
    struct orthogonality_node *node = (struct orthogonality_node *)base;
    struct value *x = node->x;
    real length = base->output->data[0], slope = length > 0 ? 2 * base->output->grad[0] / length : 0;
    bool is_first;
    int r = node->of_columns ? x->cols : x->rows;
    /* d‖G‖ = G/‖G‖; G is symmetric, so X receives (G + Gᵀ) X = 2 G X. */
    real *dx = tape_grad(tape, x, &is_first), beta = is_first ? 0 : 1;
    if (!dx)
        return;
    if (node->of_columns)
        gemm(false, false, x->rows, r, r, slope, x->data, r, node->excess, r, beta, dx, r);
    else
        gemm(false, false, r, x->cols, r, slope, node->excess, r, x->data, x->cols, beta, dx, x->cols);
}

struct value *op_orthogonality(struct tape *tape, struct value *x, bool of_columns)
{
    if (!x)
        return NULL;
    int r = of_columns ? x->cols : x->rows, n = of_columns ? x->rows : x->cols;
    real *excess = tape_alloc(tape, "orthogonality", (size_t)r * (size_t)r * sizeof(real));
    struct value *y = tape_value(tape, "orthogonality", 1, 1, NULL);
    double total = 0;
    if (!excess || !y)
        return NULL;
    gemm(of_columns, !of_columns, r, r, n, 1, x->data, x->cols, x->data, x->cols, 0, excess, r);
    for (int i = 0; i < r; i++)
        excess[(size_t)i * (size_t)r + (size_t)i] -= 1;
    for (size_t i = 0; i < (size_t)r * (size_t)r; i++)
        total += (double)excess[i] * (double)excess[i];
    y->data[0] = (real)sqrt(total);
    if (!tape->is_recording || !needs(x))
        return y;
    struct orthogonality_node *node = op_node(tape, "orthogonality", sizeof(*node), y, orthogonality_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->excess = excess;
    node->of_columns = of_columns;
    return y;
}
