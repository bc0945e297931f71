/* What gates and mixtures need: sums with a row or a column spread out, softmax over columns, means over sequences. */
#include "trainer/op_internal.h"

struct spread_node {
    struct tape_node node;
    struct value *x, *v;
    real s;
    bool is_causal;
};

static struct spread_node *record(struct tape *tape, const char *name, struct value *y, struct value *x,
                                  struct value *v, void (*backward)(struct tape *, struct tape_node *))
{
    if (!y || !tape->is_recording || !(needs(x) || needs(v)))
        return NULL;
    struct spread_node *node = op_node(tape, name, sizeof(*node), y, backward);
    if (node) {
        node->x = x;
        node->v = v;
    }
    return node;
}

/* The gradient of `value` if it needs one, zeroed when it is new. */
static real *open_grad(struct tape *tape, struct value *value)
{
    bool is_first;
    real *grad = needs(value) ? tape_grad(tape, value, &is_first) : NULL;
    if (grad && is_first)
        memset(grad, 0, value_size(value) * sizeof(real));
    return grad;
}

static void add_row_backward(struct tape *tape, struct tape_node *base)
{
    struct spread_node *node = (struct spread_node *)base;
    grad_add(tape, node->x, base->output->grad, 1);
    real *dv = open_grad(tape, node->v);
    for (int i = 0; dv && i < base->output->rows; i++)
        kernels()->axpy(dv, grad_row(base->output, i), node->s, (size_t)base->output->cols);
}

struct value *op_add_row(struct tape *tape, struct value *x, struct value *v, double s)
{
    if (!x || !v)
        return NULL;
    assert(v->rows == 1 && v->cols == x->cols);
    struct value *y = tape_value(tape, "add_row", x->rows, x->cols, x->layout);
    if (!y)
        return NULL;
    memcpy(y->data, x->data, value_size(x) * sizeof(real));
    for (int i = 0; i < x->rows; i++)
        kernels()->axpy(value_row(y, i), v->data, (real)s, (size_t)x->cols);
    struct spread_node *node = record(tape, "add_row", y, x, v, add_row_backward);
    if (node)
        node->s = (real)s;
    return y;
}

static void multiply_column_backward(struct tape *tape, struct tape_node *base)
{
    struct spread_node *node = (struct spread_node *)base;
    struct value *x = node->x, *v = node->v, *y = base->output;
    real *dx = open_grad(tape, x), *dv = open_grad(tape, v);
    for (int i = 0; i < y->rows; i++) {
        if (dx)
            kernels()->axpy(grad_row(x, i), grad_row(y, i), v->data[i], (size_t)y->cols);
        if (dv)
            dv[i] += kernels()->dot(grad_row(y, i), value_row(x, i), (size_t)y->cols);
    }
}

struct value *op_multiply_column(struct tape *tape, struct value *x, struct value *v)
{
    if (!x || !v)
        return NULL;
    assert(v->cols == 1 && v->rows == x->rows);
    struct value *y = tape_value(tape, "multiply_column", x->rows, x->cols, x->layout);
    if (!y)
        return NULL;
    memset(y->data, 0, value_size(x) * sizeof(real));
    for (int i = 0; i < x->rows; i++)
        kernels()->axpy(value_row(y, i), value_row(x, i), v->data[i], (size_t)x->cols);
    record(tape, "multiply_column", y, x, v, multiply_column_backward);
    return y;
}

static void softmax_backward(struct tape *tape, struct tape_node *base)
{
    struct spread_node *node = (struct spread_node *)base;
    struct value *x = node->x, *y = base->output;
    real *dx = open_grad(tape, x);
    for (int i = 0; dx && i < y->rows; i++) {
        const real *p = value_row(y, i), *dp = grad_row(y, i);
        real mean = kernels()->dot(p, dp, (size_t)y->cols), *row = grad_row(x, i);
        for (int k = 0; k < y->cols; k++)
            row[k] += p[k] * (dp[k] - mean);
    }
}

struct value *op_softmax(struct tape *tape, struct value *x)
{
    struct value *y = x ? tape_value(tape, "softmax", x->rows, x->cols, x->layout) : NULL;
    if (!y)
        return NULL;
    for (int i = 0; i < x->rows; i++) {
        real shift = kernels()->max(value_row(x, i), (size_t)x->cols), *row = value_row(y, i);
        real factor = 1 / kernels()->exp_sum(row, value_row(x, i), shift, (size_t)x->cols);
        for (int k = 0; k < x->cols; k++)
            row[k] *= factor;
    }
    record(tape, "softmax", y, x, NULL, softmax_backward);
    return y;
}

static void row_dot_backward(struct tape *tape, struct tape_node *base)
{
    struct spread_node *node = (struct spread_node *)base;
    struct value *sides[2] = {node->x, node->v};
    for (int side = 0; side < 2; side++) {
        real *grad = open_grad(tape, sides[side]);
        for (int i = 0; grad && i < base->output->rows; i++)
            kernels()->axpy(grad_row(sides[side], i), value_row(sides[1 - side], i), base->output->grad[i],
                            (size_t)sides[side]->cols);
    }
}

struct value *op_row_dot(struct tape *tape, struct value *a, struct value *b)
{
    if (!a || !b)
        return NULL;
    assert(a->rows == b->rows && a->cols == b->cols);
    struct value *y = tape_value(tape, "row_dot", a->rows, 1, a->layout);
    for (int i = 0; y && i < a->rows; i++)
        y->data[i] = kernels()->dot(value_row(a, i), value_row(b, i), (size_t)a->cols);
    record(tape, "row_dot", y, a, b, row_dot_backward);
    return y;
}

/* Rows of a segment from the first to the last of a mean: all of them, or those up to row i. */
static void sequence_mean_backward(struct tape *tape, struct tape_node *base)
{
    struct spread_node *node = (struct spread_node *)base;
    struct value *x = node->x, *y = base->output;
    size_t d = (size_t)x->cols;
    real *sum = tape_alloc(tape, "sequence_mean", d * sizeof(real));
    if (!sum || !open_grad(tape, x))
        return;
    for (int s = 0; s < x->layout->n_segments; s++) {
        const struct segment *segment = &x->layout->segments[s];
        memset(sum, 0, d * sizeof(real));
        /* A row counts in the means of all rows, or of itself and those behind it. */
        for (int i = segment->rows - 1; i >= 0; i--) {
            kernels()->axpy(sum, grad_row(y, segment->first + i), 1 / (real)(node->is_causal ? i + 1 : segment->rows),
                            d);
            if (node->is_causal)
                kernels()->add(grad_row(x, segment->first + i), grad_row(x, segment->first + i), sum, d);
        }
        for (int i = 0; !node->is_causal && i < segment->rows; i++)
            kernels()->add(grad_row(x, segment->first + i), grad_row(x, segment->first + i), sum, d);
    }
}

struct value *op_sequence_mean(struct tape *tape, struct value *x, bool is_causal)
{
    if (!x)
        return NULL;
    size_t d = (size_t)x->cols;
    struct value *y = tape_value(tape, "sequence_mean", x->rows, x->cols, x->layout);
    real *sum = tape_alloc(tape, "sequence_mean", d * sizeof(real));
    if (!y || !sum)
        return NULL;
    assert(x->layout);
    memset(y->data, 0, value_size(y) * sizeof(real));
    for (int s = 0; s < x->layout->n_segments; s++) {
        const struct segment *segment = &x->layout->segments[s];
        memset(sum, 0, d * sizeof(real));
        for (int i = 0; i < segment->rows; i++) {
            kernels()->add(sum, sum, value_row(x, segment->first + i), d);
            if (is_causal)
                kernels()->axpy(value_row(y, segment->first + i), sum, 1 / (real)(i + 1), d);
        }
        for (int i = 0; !is_causal && i < segment->rows; i++)
            kernels()->axpy(value_row(y, segment->first + i), sum, 1 / (real)segment->rows, d);
    }
    struct spread_node *node = record(tape, "sequence_mean", y, x, NULL, sequence_mean_backward);
    if (node)
        node->is_causal = is_causal;
    return y;
}
